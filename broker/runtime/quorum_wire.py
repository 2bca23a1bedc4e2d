"""The quorum's messages as Kafka's: Vote 2, BeginQuorumEpoch 1, EndQuorumEpoch 1, Fetch 18,
FetchSnapshot 1, all of the one partition of the metadata log.

Must never decide anything but whether a message is well formed and meant for this cluster and node.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, assert_never
from uuid import UUID

from broker.protocol.api_keys import METADATA_TOPIC, METADATA_TOPIC_ID, ApiKey
from broker.protocol.errors import ErrorCode, ServerError, WireError
from broker.protocol.struct import ZERO_UUID, Struct
from broker.raft import messages as ms
from broker.raft.types import NO_NODE, UNKNOWN_HIGH_WATERMARK, EpochEndOffset, SnapshotId

VERSIONS: dict[ApiKey, int] = {
    ApiKey.VOTE: 2,
    ApiKey.BEGIN_QUORUM_EPOCH: 1,
    ApiKey.END_QUORUM_EPOCH: 1,
    ApiKey.FETCH: 18,
    ApiKey.FETCH_SNAPSHOT: 1,
}
"""The versions that voters speak among each other."""

Endpoints = Mapping[int, tuple[str, int]]


@dataclass(frozen=True, slots=True)
class Malformed:
    """A request that is refused as a whole."""

    error: ErrorCode


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who this node is, for the fields that name it and the checks of those that do."""

    node_id: int
    cluster_id: str
    directory_id: UUID
    listener_name: str
    voters: Endpoints


# -- requests, outgoing -------------------------------------------------------------------------


def encode_peer_request(me: Identity, to: int, request: ms.Request) -> tuple[ApiKey, Struct]:
    """The request as a body in the version of ``VERSIONS``."""
    match request:
        case ms.VoteRequest():
            return ApiKey.VOTE, _vote(me, to, request)
        case ms.BeginQuorumEpochRequest():
            return ApiKey.BEGIN_QUORUM_EPOCH, _begin(me, to, request)
        case ms.EndQuorumEpochRequest():
            return ApiKey.END_QUORUM_EPOCH, _end(me, request)
        case ms.FetchRequest():
            return ApiKey.FETCH, _fetch(me, request)
        case ms.FetchSnapshotRequest():
            return ApiKey.FETCH_SNAPSHOT, _fetch_snapshot(me, request)
        case _ as unreachable:
            assert_never(unreachable)


def _topic(**partition: Any) -> list[Struct]:
    return [Struct(topic_name=METADATA_TOPIC, partitions=[Struct(partition_index=0, **partition)])]


def _leader_endpoints(me: Identity) -> list[Struct]:
    host, port = me.voters[me.node_id]
    return [Struct(name=me.listener_name, host=host, port=port)]


def _vote(me: Identity, to: int, request: ms.VoteRequest) -> Struct:
    topics = _topic(
        replica_epoch=request.epoch,
        replica_id=request.candidate_id,
        replica_directory_id=request.candidate_directory_id,
        voter_directory_id=ZERO_UUID,
        last_offset_epoch=request.last_epoch,
        last_offset=request.last_offset,
        pre_vote=request.pre_vote,
    )
    return Struct(cluster_id=me.cluster_id, voter_id=to, topics=topics)


def _begin(me: Identity, to: int, request: ms.BeginQuorumEpochRequest) -> Struct:
    topics = _topic(
        voter_directory_id=ZERO_UUID, leader_id=request.leader_id, leader_epoch=request.epoch
    )
    return Struct(
        cluster_id=me.cluster_id,
        voter_id=to,
        topics=topics,
        leader_endpoints=_leader_endpoints(me),
    )


def _end(me: Identity, request: ms.EndQuorumEpochRequest) -> Struct:
    candidates = [
        Struct(candidate_id=i, candidate_directory_id=ZERO_UUID)
        for i in request.preferred_successors
    ]
    topics = _topic(
        leader_id=request.leader_id,
        leader_epoch=request.epoch,
        preferred_successors=list(request.preferred_successors),
        preferred_candidates=candidates,
    )
    return Struct(cluster_id=me.cluster_id, topics=topics, leader_endpoints=_leader_endpoints(me))


def _fetch(me: Identity, request: ms.FetchRequest) -> Struct:
    partition = Struct(
        partition=0,
        current_leader_epoch=request.epoch,
        fetch_offset=request.offset,
        last_fetched_epoch=request.last_fetched_epoch,
        log_start_offset=-1,
        partition_max_bytes=request.bytes_max,
        replica_directory_id=request.directory_id,
        high_watermark=request.high_watermark,
    )
    return Struct(
        cluster_id=me.cluster_id,
        replica_state=Struct(replica_id=request.replica_id, replica_epoch=-1),
        max_wait_ms=request.wait_ms_max,
        min_bytes=1,
        max_bytes=request.bytes_max,
        topics=[Struct(topic=METADATA_TOPIC, topic_id=METADATA_TOPIC_ID, partitions=[partition])],
    )


def _fetch_snapshot(me: Identity, request: ms.FetchSnapshotRequest) -> Struct:
    snapshot_id = request.snapshot_id
    partition = Struct(
        partition=0,
        current_leader_epoch=request.epoch,
        snapshot_id=Struct(end_offset=snapshot_id.end_offset, epoch=snapshot_id.epoch),
        position=request.position,
        replica_directory_id=me.directory_id,
    )
    return Struct(
        cluster_id=me.cluster_id,
        replica_id=request.replica_id,
        max_bytes=request.bytes_max,
        topics=[Struct(name=METADATA_TOPIC, partitions=[partition])],
    )


# -- requests, incoming -------------------------------------------------------------------------


def decode_peer_request(
    me: Identity, api_key: int, version: int, body: Struct
) -> ms.Request | Malformed:
    """What the request asks of the core, or why it is refused as a whole."""
    cluster_id = body.get("cluster_id")
    if cluster_id is not None and cluster_id != me.cluster_id:
        return Malformed(ErrorCode.inconsistent_cluster_id)
    if body.get("voter_id", NO_NODE) not in (NO_NODE, me.node_id):
        return Malformed(ErrorCode.invalid_voter_key)
    topics = body.get("topics") or []
    if len(topics) != 1 or len(topics[0].partitions) != 1:
        return Malformed(ErrorCode.invalid_request)
    topic, partition = topics[0], topics[0].partitions[0]
    by_id = api_key == ApiKey.FETCH and version >= 13
    name = topic.get("topic_name") or topic.get("name") or topic.get("topic")
    index = partition.get("partition_index", partition.get("partition", -1))
    if index != 0 or (topic.topic_id != METADATA_TOPIC_ID if by_id else name != METADATA_TOPIC):
        return Malformed(ErrorCode.unknown_topic_id if by_id else ErrorCode.invalid_request)
    if partition.get("voter_directory_id", ZERO_UUID) not in (ZERO_UUID, None, me.directory_id):
        return Malformed(ErrorCode.invalid_voter_key)
    return _DECODERS[ApiKey(api_key)](version, body, partition)


def _decode_vote(version: int, body: Struct, partition: Struct) -> ms.Request:
    return ms.VoteRequest(
        epoch=partition.replica_epoch,
        candidate_id=partition.replica_id,
        candidate_directory_id=partition.get("replica_directory_id") or ZERO_UUID,
        last_epoch=partition.last_offset_epoch,
        last_offset=partition.last_offset,
        pre_vote=bool(partition.get("pre_vote", False)),
    )


def _decode_begin(version: int, body: Struct, partition: Struct) -> ms.Request:
    return ms.BeginQuorumEpochRequest(epoch=partition.leader_epoch, leader_id=partition.leader_id)


def _decode_end(version: int, body: Struct, partition: Struct) -> ms.Request:
    candidates = partition.get("preferred_candidates") or []
    successors = tuple(c.candidate_id for c in candidates)
    return ms.EndQuorumEpochRequest(
        epoch=partition.leader_epoch,
        leader_id=partition.leader_id,
        preferred_successors=successors or tuple(partition.get("preferred_successors") or ()),
    )


def _decode_fetch(version: int, body: Struct, partition: Struct) -> ms.Request:
    replica_id = body.replica_state.replica_id if version >= 15 else body.get("replica_id", -1)
    return ms.FetchRequest(
        replica_id=max(NO_NODE, replica_id),
        directory_id=partition.get("replica_directory_id") or ZERO_UUID,
        epoch=partition.current_leader_epoch,
        offset=partition.fetch_offset,
        last_fetched_epoch=partition.get("last_fetched_epoch", -1),
        high_watermark=partition.get("high_watermark", UNKNOWN_HIGH_WATERMARK),
        wait_ms_max=body.max_wait_ms if body.min_bytes > 0 else 0,
        bytes_max=max(0, min(body.max_bytes, partition.partition_max_bytes)),
    )


def _decode_fetch_snapshot(version: int, body: Struct, partition: Struct) -> ms.Request:
    snapshot_id = partition.snapshot_id
    return ms.FetchSnapshotRequest(
        replica_id=max(NO_NODE, body.replica_id),
        epoch=partition.current_leader_epoch,
        snapshot_id=SnapshotId(snapshot_id.end_offset, snapshot_id.epoch),
        position=partition.position,
        bytes_max=max(0, body.max_bytes),
    )


_DECODERS = {
    ApiKey.VOTE: _decode_vote,
    ApiKey.BEGIN_QUORUM_EPOCH: _decode_begin,
    ApiKey.END_QUORUM_EPOCH: _decode_end,
    ApiKey.FETCH: _decode_fetch,
    ApiKey.FETCH_SNAPSHOT: _decode_fetch_snapshot,
}


# -- responses, outgoing ------------------------------------------------------------------------


def encode_refusal(api_key: int, error: ErrorCode) -> Struct:
    """The answer to a request that is refused as a whole."""
    if api_key == ApiKey.FETCH:
        return Struct(error_code=error, responses=[])
    return Struct(error_code=error, topics=[])


def encode_peer_response(me: Identity, response: ms.Response) -> Struct:
    """The answer as a body; the version's encoder drops what it does not have."""
    leader = {"leader_id": response.leader_id, "leader_epoch": response.epoch}
    endpoints = _node_endpoints(me, response.leader_id)
    match response:
        case ms.VoteResponse():
            topics = _topic(error_code=response.error, vote_granted=response.granted, **leader)
        case ms.BeginQuorumEpochResponse() | ms.EndQuorumEpochResponse():
            topics = _topic(error_code=response.error, **leader)
        case ms.FetchResponse():
            return _fetch_response(response, leader, endpoints)
        case ms.FetchSnapshotResponse():
            partition = Struct(
                index=0,
                error_code=response.error,
                snapshot_id=Struct(
                    end_offset=response.snapshot_id.end_offset, epoch=response.snapshot_id.epoch
                ),
                current_leader=Struct(**leader),
                size=response.size,
                position=response.position,
                unaligned_records=response.data,
            )
            topics = [Struct(name=METADATA_TOPIC, partitions=[partition])]
        case _ as unreachable:
            assert_never(unreachable)
    return Struct(error_code=ErrorCode.none, topics=topics, node_endpoints=endpoints)


def _node_endpoints(me: Identity, leader_id: int) -> list[Struct]:
    if leader_id not in me.voters:
        return []
    host, port = me.voters[leader_id]
    return [Struct(node_id=leader_id, host=host, port=port)]


def _fetch_response(
    response: ms.FetchResponse, leader: dict[str, int], endpoints: list[Struct]
) -> Struct:
    partition = Struct(
        partition_index=0,
        error_code=response.error,
        high_watermark=response.high_watermark,
        last_stable_offset=response.high_watermark,
        log_start_offset=response.log_start_offset,
        current_leader=Struct(**leader),
        aborted_transactions=None,
        records=response.records,
    )
    if response.diverging is not None:
        partition.diverging_epoch = Struct(
            epoch=response.diverging.epoch, end_offset=response.diverging.end_offset
        )
    if response.snapshot_id is not None:
        partition.snapshot_id = Struct(
            end_offset=response.snapshot_id.end_offset, epoch=response.snapshot_id.epoch
        )
    topic = Struct(topic=METADATA_TOPIC, topic_id=METADATA_TOPIC_ID, partitions=[partition])
    return Struct(error_code=ErrorCode.none, responses=[topic], node_endpoints=endpoints)


# -- responses, incoming ------------------------------------------------------------------------


def decode_peer_response(api_key: ApiKey, body: Struct) -> ms.Response:
    """What the peer answered; raises WireError when it refused the request as a whole.

    Records of a Fetch are handed on as bytes, without their spans.
    """
    if body.error_code != ErrorCode.none:
        raise ServerError(body.error_code)
    topics = body.responses if api_key == ApiKey.FETCH else body.topics
    if len(topics) != 1 or len(topics[0].partitions) != 1:
        raise WireError(f"{api_key.name}: expected the answer for one partition")
    partition = topics[0].partitions[0]
    match api_key:
        case ApiKey.VOTE:
            return ms.VoteResponse(granted=partition.vote_granted, **_common(partition, partition))
        case ApiKey.BEGIN_QUORUM_EPOCH:
            return ms.BeginQuorumEpochResponse(**_common(partition, partition))
        case ApiKey.END_QUORUM_EPOCH:
            return ms.EndQuorumEpochResponse(**_common(partition, partition))
        case ApiKey.FETCH:
            return _decode_fetch_response(partition)
        case ApiKey.FETCH_SNAPSHOT:
            return ms.FetchSnapshotResponse(
                snapshot_id=SnapshotId(
                    partition.snapshot_id.end_offset, partition.snapshot_id.epoch
                ),
                position=partition.position,
                size=partition.size,
                data=bytes(partition.unaligned_records or b""),
                **_common(partition, partition.current_leader),
            )
        case _:
            raise WireError(f"{api_key.name} is no message of the quorum")


def _common(partition: Struct, leader: Struct) -> dict[str, Any]:
    return {
        "error": partition.error_code,
        "epoch": leader.leader_epoch,
        "leader_id": leader.leader_id,
    }


def _decode_fetch_response(partition: Struct) -> ms.FetchResponse:
    diverging, snapshot = partition.diverging_epoch, partition.snapshot_id
    response = ms.FetchResponse(
        high_watermark=partition.high_watermark,
        log_start_offset=partition.log_start_offset,
        records=partition.records or b"",
        **_common(partition, partition.current_leader),
    )
    if diverging.epoch >= 0:
        return replace(response, diverging=EpochEndOffset(diverging.epoch, diverging.end_offset))
    if snapshot.end_offset >= 0:
        snapshot_id = SnapshotId(snapshot.end_offset, snapshot.epoch)
        return replace(response, snapshot_id=snapshot_id)
    return response
