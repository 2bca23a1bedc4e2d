"""Asyncio admin client on the Kafka protocol."""

from clusters.admin.acl_model import Acl, AclFilter
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
from clusters.admin.not_served import NotAllowed, NotServed
from clusters.admin.offset_model import OffsetSpec, PartitionOffset
from clusters.admin.offsets import RecordsNotDeleted
from clusters.admin.placement_model import (
    ActiveProducer,
    Feature,
    LogDir,
    Reassignment,
    ReplicaSize,
)
from clusters.admin.quota_model import ClientQuota
from clusters.admin.scram_model import NewCredential, ScramCredential
from clusters.admin.transaction_model import TransactionInfo

__all__ = [
    "Acl",
    "AclFilter",
    "ActiveProducer",
    "AdminClient",
    "AdminError",
    "BrokerInfo",
    "ClientQuota",
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
    "NewCredential",
    "NotAllowed",
    "NotServed",
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
    "ScramCredential",
    "TopicDetail",
    "TopicSummary",
    "TransactionInfo",
    "UnknownGroup",
    "UnknownTopic",
    "WrongCluster",
]
