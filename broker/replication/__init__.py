"""Pure partition roles: leader, follower, watermarks, ISR. It must never await or read a clock."""

from broker.replication.follower import Applied, FetchPosition, FollowerRole
from broker.replication.leader import LeaderRole
from broker.replication.offsets import EARLIEST, LATEST, MAX_TIMESTAMP, ListedOffset
from broker.replication.partition import Partition
from broker.replication.ports import (
    Appended,
    BrokerView,
    EpochEnd,
    IsrProposal,
    PartitionLog,
    ReadOutcome,
    ReplicationSettings,
)

__all__ = [
    "EARLIEST",
    "LATEST",
    "MAX_TIMESTAMP",
    "Appended",
    "Applied",
    "BrokerView",
    "EpochEnd",
    "FetchPosition",
    "FollowerRole",
    "IsrProposal",
    "LeaderRole",
    "ListedOffset",
    "Partition",
    "PartitionLog",
    "ReadOutcome",
    "ReplicationSettings",
]
