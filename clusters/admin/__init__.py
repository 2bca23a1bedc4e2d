"""Asyncio admin client on the Kafka protocol."""

from clusters.admin.client import AdminClient
from clusters.admin.errors import AdminError, ClusterUnreachable, UnknownTopic
from clusters.admin.model import (
    BrokerInfo,
    ClusterInfo,
    ConfigEntry,
    CreatedTopic,
    ElectionResult,
    PartitionInfo,
    QuorumInfo,
    QuorumReplica,
    TopicDetail,
    TopicSummary,
)

__all__ = [
    "AdminClient",
    "AdminError",
    "BrokerInfo",
    "ClusterInfo",
    "ClusterUnreachable",
    "ConfigEntry",
    "CreatedTopic",
    "ElectionResult",
    "PartitionInfo",
    "QuorumInfo",
    "QuorumReplica",
    "TopicDetail",
    "TopicSummary",
    "UnknownTopic",
]
