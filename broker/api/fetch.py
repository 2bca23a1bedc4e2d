"""Fetch (1), versions 4-18: records; on controller listeners the metadata log.

v5 log start offset; v7 sessions (KIP-227); v9 leader epoch; v11 rack; v12 flexible, divergence
(KIP-595); v13 topic ids; v15 replica state; v16 leader hints (KIP-951); v17 directory id; v18
high watermark (KIP-1166). Every answer is sessionless (session id 0), which every client accepts.
A fetch waits for min_bytes or max_wait_ms, and answers at once when any of its partitions has an
error.
"""

from uuid import UUID

from broker.api.forwarded import BOTH
from broker.api.node import Node
from broker.api.registry import CONTROLLER, Api, Reply, RequestContext
from broker.protocol.api_keys import ApiKey
from broker.protocol.errors import ErrorCode
from broker.protocol.hot import FetchedPartition, decode_fetch_request, encode_fetch_response
from broker.protocol.struct import ZERO_UUID, Struct
from broker.runtime.replica_requests import CONSUMER_ID, FetchPartition, FetchQuery, FetchResult

TOPIC_IDS_SINCE = 13
FOLLOWER_READS_SINCE = 11
HINTS_SINCE = 16
READ_COMMITTED = 1


async def handle(node: Node, context: RequestContext, request: Struct) -> Reply:
    """Read each partition asked for, waiting for data as long as the request allows."""
    if context.role == CONTROLLER:
        return await node.quorum.handle(context.api_key, context.api_version, request)
    if request.session_id != 0:
        code = ErrorCode.fetch_session_id_not_found
        return encode_fetch_response(
            context.api_version, context.correlation_id, [], error_code=code
        )
    wanted, refused = _partitions(node, context, request)
    query = _query(node, context, request, wanted)
    if refused:
        query.max_wait_ms = 0
    results = await node.partitions.fetch(query) if wanted else []
    return _response(node, context, [*results, *refused])


def _query(
    node: Node, context: RequestContext, request: Struct, wanted: list[FetchPartition]
) -> FetchQuery:
    state = request.replica_state
    in_state = context.api_version >= 15
    replica_id = state.replica_id if in_state else request.replica_id
    is_follower = replica_id >= 0
    limit = request.max_bytes
    if not is_follower:
        limit = min(limit, node.settings.integer("fetch.max.bytes"))
    return FetchQuery(
        partitions=wanted,
        max_wait_ms=request.max_wait_ms,
        min_bytes=request.min_bytes,
        max_bytes=limit,
        replica_id=replica_id if is_follower else CONSUMER_ID,
        broker_epoch=state.replica_epoch if in_state else -1,
        read_committed=request.isolation_level == READ_COMMITTED,
        only_from_leader=is_follower or context.api_version < FOLLOWER_READS_SINCE,
    )


def _partitions(
    node: Node, context: RequestContext, request: Struct
) -> tuple[list[FetchPartition], list[FetchResult]]:
    wanted: list[FetchPartition] = []
    refused: list[FetchResult] = []
    by_id = context.api_version >= TOPIC_IDS_SINCE
    for topic in request.topics:
        topic_id = topic.topic_id if by_id else ZERO_UUID
        name = node.image.topic_names.get(topic_id) if by_id else topic.topic
        if name is None:
            code = ErrorCode.unknown_topic_id
            refused.extend(
                FetchResult(topic="", topic_id=topic_id, index=each.partition, error=code)
                for each in topic.partitions
            )
            continue
        wanted.extend(
            FetchPartition(
                topic=name,
                index=each.partition,
                fetch_offset=each.fetch_offset,
                max_bytes=each.partition_max_bytes,
                topic_id=topic_id,
                current_leader_epoch=each.current_leader_epoch,
                last_fetched_epoch=each.last_fetched_epoch,
                log_start_offset=each.log_start_offset,
            )
            for each in topic.partitions
        )
    return wanted, refused


def _response(node: Node, context: RequestContext, results: list[FetchResult]) -> Reply:
    topics: list[tuple[str, UUID, list[FetchedPartition]]] = []
    leaders: set[int] = set()
    hinted = context.api_version >= HINTS_SINCE
    for result in results:
        if not topics or topics[-1][0] != result.topic or topics[-1][1] != result.topic_id:
            topics.append((result.topic, result.topic_id, []))
        leader = result.leader if hinted else None
        if leader is not None:
            leaders.add(leader.leader_id)
        topics[-1][2].append(
            FetchedPartition(
                result.index,
                result.error,
                result.high_watermark,
                result.last_stable_offset,
                result.log_start_offset,
                result.records,
                result.aborted_transactions,
                result.preferred_read_replica,
                result.diverging_epoch,
                leader,
            )
        )
    return encode_fetch_response(
        context.api_version,
        context.correlation_id,
        topics,
        node_endpoints=node.node_endpoints(leaders, context.listener) if leaders else (),
    )


API = Api(
    key=ApiKey.FETCH,
    min_version=4,
    max_version=18,
    handler=handle,
    listeners=BOTH,
    decode=decode_fetch_request,
)
