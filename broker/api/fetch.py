"""Fetch (1), versions 4-18: records; on controller listeners the metadata log.

v5 log start offset; v7 sessions (KIP-227); v9 leader epoch; v11 rack (KIP-392); v12 flexible,
divergence (KIP-595); v13 topic ids; v15 replica state; v16 leader hints (KIP-951); v17 directory
id; v18 high watermark (KIP-1166). A fetch waits for min_bytes or max_wait_ms, and answers at once
when any of its partitions has an error.
"""

from uuid import UUID

from broker.api.forwarded import BOTH
from broker.api.node import Node
from broker.api.registry import CONTROLLER, Api, Reply, RequestContext
from broker.protocol.api_keys import ApiKey
from broker.protocol.errors import ErrorCode
from broker.protocol.hot import FetchedPartition, decode_fetch_request, encode_fetch_response
from broker.protocol.struct import ZERO_UUID, Struct
from broker.runtime.fetch_sessions import (
    FINAL_EPOCH,
    INITIAL_EPOCH,
    NO_SESSION,
    forgotten_keys,
    next_epoch,
)
from broker.runtime.read_replicas import RACK_AWARE, nearest_replica
from broker.runtime.replica_requests import CONSUMER_ID, FetchPartition, FetchQuery, FetchResult

TOPIC_IDS_SINCE = 13
FOLLOWER_READS_SINCE = 11
HINTS_SINCE = 16
READ_COMMITTED = 1
# For these Kafka answers no aborted transactions instead of null.
_UNKNOWN = frozenset({ErrorCode.unknown_topic_or_partition, ErrorCode.unknown_topic_id})


async def handle(node: Node, context: RequestContext, request: Struct) -> Reply:
    """Read each partition asked for, waiting for data as long as the request allows."""
    if context.role == CONTROLLER:
        return await node.quorum.handle(context.api_key, context.api_version, request)
    epoch = request.session_epoch
    if epoch in (INITIAL_EPOCH, FINAL_EPOCH):
        wanted = _partitions(node, context, request)
        if request.session_id == NO_SESSION and epoch == FINAL_EPOCH:
            return _response(node, context, await _read(node, context, request, wanted))
        return await _full(node, context, request, wanted)
    return await _incremental(node, context, request)


async def _full(
    node: Node, context: RequestContext, request: Struct, wanted: list[FetchPartition]
) -> Reply:
    """A full request ends the session that it names, and begins one unless it says not to."""
    sessions = node.fetch_sessions
    sessions.remove(request.session_id)
    results = await _read(node, context, request, wanted)
    session_id = NO_SESSION
    if request.session_epoch == INITIAL_EPOCH:
        session_id = sessions.create(
            wanted,
            results,
            size=len(wanted),
            privileged=_replica_id(context, request) >= 0,
            by_id=context.api_version >= TOPIC_IDS_SINCE,
            now_ms=node.clock.monotonic_ms(),
        )
    return _response(node, context, results, session_id=session_id)


async def _incremental(node: Node, context: RequestContext, request: Struct) -> Reply:
    """Changes to a session's partitions; the answer holds what is new about any of them."""
    sessions, by_id = node.fetch_sessions, context.api_version >= TOPIC_IDS_SINCE
    epoch = request.session_epoch
    now_ms = node.clock.monotonic_ms()
    session = sessions.find(request.session_id, epoch, by_id=by_id, now_ms=now_ms)
    if isinstance(session, ErrorCode):
        return _response(node, context, [], error_code=session)
    changed = _partitions(node, context, request)
    session.update(changed, forgotten_keys(request, by_id=by_id))
    if not session.partitions:
        sessions.remove(session.id)
        return _response(node, context, await _read(node, context, request, changed))
    session.resolve_names(node.image.topic_names.get)
    results = await _read(node, context, request, session.asked())
    if session.epoch != next_epoch(epoch):
        # Another request went on with the session while this one waited.
        code = ErrorCode.invalid_fetch_session_epoch
        return _response(node, context, [], error_code=code, session_id=session.id)
    return _response(node, context, session.remember(results), session_id=session.id)


async def _read(
    node: Node, context: RequestContext, request: Struct, wanted: list[FetchPartition]
) -> list[FetchResult]:
    """Read what can be read; waits only when all of it can."""
    query = _query(node, context, request, wanted)
    settled = [
        FetchResult("", each.topic_id, each.index, ErrorCode.unknown_topic_id)
        for each in wanted
        if not each.topic
    ]
    if settled:
        query.partitions = [each for each in wanted if each.topic]
    if request.rack_id and not query.only_from_leader and _sends_to_followers(node):
        settled += _sent_to_followers(node, context, request.rack_id, query)
    if settled:
        query.max_wait_ms = 0
    if not query.partitions:
        return settled
    return [*await node.partitions.fetch(query), *settled]


def _sends_to_followers(node: Node) -> bool:
    return node.config.settings.text("replica.selector.class") == RACK_AWARE


def _sent_to_followers(
    node: Node, context: RequestContext, rack: str, query: FetchQuery
) -> list[FetchResult]:
    """KIP-392: the partitions that the consumer had better read from a replica in its rack."""

    def in_rack(broker_id: int) -> bool:
        if node.endpoint(broker_id, context.listener) is None:
            return False
        return node.image.brokers[broker_id].rack == rack

    sent, kept = [], []
    for each in query.partitions:
        partition = node.partitions.partition(each.topic, each.index)
        replica = -1
        if partition is not None and each.topic_id in (ZERO_UUID, partition.topic_id):
            replica = nearest_replica(
                partition, each.fetch_offset, each.current_leader_epoch, in_rack
            )
        if partition is None or replica < 0:
            kept.append(each)
            continue
        sent.append(
            FetchResult(
                each.topic,
                each.topic_id,
                each.index,
                ErrorCode.none,
                partition.high_watermark,
                partition.last_stable_offset,
                partition.log.start_offset,
                preferred_read_replica=replica,
            )
        )
    query.partitions = kept
    return sent


def _replica_id(context: RequestContext, request: Struct) -> int:
    state = request.replica_state
    return int(state.replica_id if context.api_version >= 15 else request.replica_id)


def _query(
    node: Node, context: RequestContext, request: Struct, wanted: list[FetchPartition]
) -> FetchQuery:
    replica_id = _replica_id(context, request)
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
        broker_epoch=request.replica_state.replica_epoch if context.api_version >= 15 else -1,
        read_committed=request.isolation_level == READ_COMMITTED,
        only_from_leader=is_follower or context.api_version < FOLLOWER_READS_SINCE,
    )


def _partitions(node: Node, context: RequestContext, request: Struct) -> list[FetchPartition]:
    """What a request names; the topic is "" where an id is not known."""
    wanted: list[FetchPartition] = []
    by_id = context.api_version >= TOPIC_IDS_SINCE
    for topic in request.topics:
        topic_id = topic.topic_id if by_id else ZERO_UUID
        name = node.image.topic_names.get(topic_id, "") if by_id else topic.topic
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
    return wanted


def _response(
    node: Node,
    context: RequestContext,
    results: list[FetchResult],
    *,
    error_code: ErrorCode = ErrorCode.none,
    session_id: int = NO_SESSION,
) -> Reply:
    topics: list[tuple[str, UUID, list[FetchedPartition]]] = []
    leaders: set[int] = set()
    hinted = context.api_version >= HINTS_SINCE
    for result in results:
        if not topics or topics[-1][0] != result.topic or topics[-1][1] != result.topic_id:
            topics.append((result.topic, result.topic_id, []))
        leader = result.leader if hinted else None
        if leader is not None:
            leaders.add(leader.leader_id)
        if result.error:
            # Kafka tells nothing of a partition that has an error.
            result.high_watermark = result.last_stable_offset = result.log_start_offset = -1
            if result.error in _UNKNOWN:
                result.aborted_transactions = []
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
        error_code=error_code,
        session_id=session_id,
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
