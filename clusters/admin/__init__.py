"""Asyncio admin client on the Kafka protocol."""

from clusters.admin.client import AdminClient
from clusters.admin.errors import (
    AdminError,
    ClusterUnreachable,
    UnknownGroup,
    UnknownTopic,
    WrongCluster,
)
from clusters.admin.gathered import Failure, Gathered
from clusters.admin.group_model import (
    CommittedOffset,
    GroupDetail,
    GroupMember,
    GroupSummary,
    PartitionLag,
)
from clusters.admin.model import (
    BrokerInfo,
    ClusterInfo,
    ConfigEntry,
    CreatedTopic,
    ElectionResult,
    PartitionInfo,
    PlacedPartition,
    QuorumInfo,
    QuorumReplica,
    TopicDetail,
    TopicSummary,
)
from clusters.admin.offset_model import OffsetSpec, PartitionOffset
from clusters.admin.offsets import RecordsNotDeleted
from clusters.admin.placement_model import (
    ActiveProducer,
    Feature,
    LogDir,
    Reassignment,
    ReplicaSize,
)

__all__ = [
    "ActiveProducer",
    "AdminClient",
    "AdminError",
    "BrokerInfo",
    "ClusterInfo",
    "ClusterUnreachable",
    "CommittedOffset",
    "ConfigEntry",
    "CreatedTopic",
    "ElectionResult",
    "Failure",
    "Feature",
    "Gathered",
    "GroupDetail",
    "GroupMember",
    "GroupSummary",
    "LogDir",
    "OffsetSpec",
    "PartitionInfo",
    "PartitionLag",
    "PartitionOffset",
    "PlacedPartition",
    "QuorumInfo",
    "QuorumReplica",
    "Reassignment",
    "RecordsNotDeleted",
    "ReplicaSize",
    "TopicDetail",
    "TopicSummary",
    "UnknownGroup",
    "UnknownTopic",
    "WrongCluster",
]
