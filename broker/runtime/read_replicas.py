"""Which replica a consumer had better read from (KIP-392).

Decided by the leader alone. It must never name a replica that has not got the wanted records.
"""

from collections.abc import Callable
from typing import Final

from broker.replication import Partition

RACK_AWARE: Final = "org.apache.kafka.common.replica.RackAwareReplicaSelector"
LEADER_ONLY: Final = "org.apache.kafka.common.replica.LeaderSelector"


def nearest_replica(
    partition: Partition, fetch_offset: int, leader_epoch: int, in_rack: Callable[[int], bool]
) -> int:
    """The in-sync follower in the consumer's rack that has most; -1: read from the leader.

    So it is when we do not lead, when the leader is in the rack itself, and when no follower there
    has the offset.
    """
    leader = partition.leader
    if leader is None or partition.check_epoch(leader_epoch) or in_rack(partition.local_id):
        return -1
    best, best_end = -1, -1
    for replica_id, progress in sorted(leader.followers.items()):
        if (
            replica_id in leader.isr.committed
            and progress.log_start_offset <= fetch_offset <= progress.log_end_offset
            and progress.log_end_offset > best_end
            and in_rack(replica_id)
        ):
            best, best_end = replica_id, progress.log_end_offset
    return best
