"""DescribeQuorum: the quorum as its leader sees it (KIP-595, KIP-853), by any node its voters.

Must never change anything.
"""

from broker.protocol.api_keys import METADATA_TOPIC
from broker.protocol.errors import ErrorCode
from broker.protocol.struct import ZERO_UUID, Struct
from broker.raft.core import Quorum
from broker.raft.roles import Leader, Replica
from broker.raft.types import NO_NODE
from broker.runtime.quorum_wire import Identity


def describe(me: Identity, core: Quorum, request: Struct, wall_offset_ms: int) -> Struct:
    """The answer; ``wall_offset_ms`` is added to monotonic times to make them wall-clock times.

    A node that does not lead says so per partition, and still lists where the voters are;
    nothing is listed for a partition that is not the metadata log's.
    """
    topics = []
    known = True
    for topic in request.get("topics") or []:
        partitions = []
        for partition in topic.partitions:
            index = partition.partition_index
            if topic.topic_name != METADATA_TOPIC or index != 0:
                known = False
                error = ErrorCode.unknown_topic_or_partition
                partitions.append(Struct(partition_index=index, error_code=error))
            else:
                partitions.append(_partition(me, core, wall_offset_ms))
        topics.append(Struct(topic_name=topic.topic_name, partitions=partitions))
    nodes = [
        Struct(node_id=i, listeners=[Struct(name=me.listener_name, host=host, port=port)])
        for i, (host, port) in sorted(me.voters.items())
        if known
    ]
    return Struct(error_code=ErrorCode.none, error_message=None, topics=topics, nodes=nodes)


def _partition(me: Identity, core: Quorum, wall_offset_ms: int) -> Struct:
    leader = core.leader
    role = core.role
    if not isinstance(role, Leader):
        return Struct(
            partition_index=0,
            error_code=ErrorCode.not_leader_or_follower,
            error_message="this node does not lead the metadata quorum",
            leader_id=leader.leader_id,
            leader_epoch=leader.epoch,
            high_watermark=NO_NODE,
            current_voters=[],
            observers=[],
        )

    def state(replica_id: int, replica: Replica) -> Struct:
        return Struct(
            replica_id=replica_id,
            replica_directory_id=ZERO_UUID,
            log_end_offset=replica.match_offset,
            last_fetch_timestamp=_wall(replica.fetch_at_ms, wall_offset_ms),
            last_caught_up_timestamp=_wall(replica.caught_up_at_ms, wall_offset_ms),
        )

    now_ms = core.now_ms
    voters = {**role.replicas, me.node_id: Replica(core.log.end_offset, now_ms, now_ms)}
    return Struct(
        partition_index=0,
        error_code=ErrorCode.none,
        error_message=None,
        leader_id=leader.leader_id,
        leader_epoch=leader.epoch,
        high_watermark=core.high_watermark,
        current_voters=[state(i, replica) for i, replica in sorted(voters.items())],
        observers=[state(i, replica) for i, replica in sorted(role.observers.items())],
    )


def _wall(at_ms: int, wall_offset_ms: int) -> int:
    return at_ms + wall_offset_ms if at_ms >= 0 else -1
