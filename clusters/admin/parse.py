"""Answers of brokers as the data of model.py. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from broker.protocol.errors import ErrorCode
from broker.protocol.struct import ZERO_UUID, Struct, uuid_to_text
from clusters.admin.errors import AdminError, code_words
from clusters.admin.model import (
    BrokerInfo,
    ClusterInfo,
    ConfigEntry,
    ElectionResult,
    PartitionInfo,
    PlacedPartition,
    QuorumInfo,
    QuorumReplica,
    TopicSummary,
)

# DescribeConfigs: ConfigSource and ConfigType (KIP-226, KIP-569).
CONFIG_SOURCES = {
    1: "topic",
    2: "dynamic broker",
    3: "dynamic default broker",
    4: "static broker",
    5: "default",
    6: "dynamic broker logger",
    7: "client metrics",
    8: "group",
}
CONFIG_TYPES = {
    1: "boolean",
    2: "string",
    3: "int",
    4: "short",
    5: "long",
    6: "double",
    7: "list",
    8: "class",
    9: "password",
}

Partition = tuple[str, int]


def described_cluster(answer: Struct) -> ClusterInfo:
    """ClusterInfo of a DescribeCluster response."""
    brokers = [
        BrokerInfo(
            id=each.broker_id,
            host=each.host,
            port=each.port,
            rack=each.rack,
            state="fenced" if each.get("is_fenced", False) else "up",
            is_controller=each.broker_id == answer.controller_id,
        )
        for each in answer.brokers
    ]
    return ClusterInfo(
        cluster_id=answer.cluster_id,
        controller_id=answer.controller_id,
        brokers=sorted(brokers, key=lambda broker: broker.id),
    )


def metadata_cluster(answer: Struct) -> ClusterInfo:
    """ClusterInfo of a Metadata response; fenced brokers are not in it."""
    brokers = [
        BrokerInfo(
            id=each.node_id,
            host=each.host,
            port=each.port,
            rack=each.rack,
            state="up",
            is_controller=each.node_id == answer.controller_id,
        )
        for each in answer.brokers
    ]
    return ClusterInfo(
        cluster_id=answer.cluster_id or "",
        controller_id=answer.controller_id,
        brokers=sorted(brokers, key=lambda broker: broker.id),
    )


def mark_controller(brokers: Iterable[BrokerInfo], controller_id: int) -> list[BrokerInfo]:
    """The same brokers with the quorum's leader as controller."""
    return [replace(each, is_controller=each.id == controller_id) for each in brokers]


def broker_counts(brokers: Iterable[BrokerInfo], metadata: Struct) -> list[BrokerInfo]:
    """Add counts, and brokers that only replicas tell of ("down")."""
    leaders: dict[int, int] = {}
    replicas: dict[int, int] = {}
    for topic in metadata.topics:
        for partition in topic.partitions:
            leaders[partition.leader_id] = leaders.get(partition.leader_id, 0) + 1
            for node in partition.replica_nodes:
                replicas[node] = replicas.get(node, 0) + 1
    known = {broker.id: broker for broker in brokers}
    for node in replicas:
        known.setdefault(node, BrokerInfo(id=node, host="", port=0, rack=None, state="down"))
    return [
        replace(broker, leaders=leaders.get(node, 0), replicas=replicas.get(node, 0))
        for node, broker in sorted(known.items())
    ]


def topic_summary(topic: Struct) -> TopicSummary:
    """One line of a topic list."""
    partitions = topic.partitions
    return TopicSummary(
        topic=topic.name,
        id=uuid_to_text(topic.get("topic_id") or ZERO_UUID),
        partitions=len(partitions),
        replication_factor=max((len(each.replica_nodes) for each in partitions), default=0),
        under_replicated=sum(
            1 for each in partitions if len(each.isr_nodes) < len(each.replica_nodes)
        ),
        offline=sum(1 for each in partitions if each.leader_id < 0),
        internal=bool(topic.is_internal),
    )


def partitions(topic: Struct) -> list[PartitionInfo]:
    """The partitions of a topic in a Metadata response, sorted."""
    found = [
        PartitionInfo(
            partition=each.partition_index,
            leader=each.leader_id,
            leader_epoch=each.get("leader_epoch", -1),
            replicas=list(each.replica_nodes),
            isr=list(each.isr_nodes),
            offline=sorted(each.get("offline_replicas") or ()),
        )
        for each in topic.partitions
    ]
    return sorted(found, key=lambda info: info.partition)


def with_offsets(
    info: PartitionInfo,
    topic: str,
    *,
    start: Mapping[Partition, int | None],
    end: Mapping[Partition, int | None],
) -> PartitionInfo:
    """The same partition with its first and end offset."""
    key = (topic, info.partition)
    return replace(info, start_offset=start.get(key), end_offset=end.get(key))


def placed(metadata: Struct) -> list[PlacedPartition]:
    """Every partition of a Metadata response, sorted."""
    found = [
        PlacedPartition(
            topic=topic.name,
            partition=each.partition_index,
            leader=each.leader_id,
            leader_epoch=each.get("leader_epoch", -1),
            replicas=tuple(each.replica_nodes),
            isr=tuple(each.isr_nodes),
            offline=tuple(sorted(each.get("offline_replicas") or ())),
            internal=bool(topic.is_internal),
        )
        for topic in metadata.topics
        if topic.name
        for each in topic.partitions
    ]
    return sorted(found, key=lambda each: (each.topic, each.partition))


def config_entries(result: Struct) -> list[ConfigEntry]:
    """Settings of one resource, sorted by name."""
    # Its parser is loaded only when settings are read.
    from clusters.admin.documentation import plain_text

    entries = [
        ConfigEntry(
            name=each.name,
            value=None if each.is_sensitive else each.value,
            source=CONFIG_SOURCES.get(each.get("config_source", -1), "unknown"),
            read_only=bool(each.read_only),
            is_sensitive=bool(each.is_sensitive),
            type=CONFIG_TYPES.get(each.get("config_type", 0), "unknown"),
            documentation=plain_text(each.get("documentation")),
            synonyms=[
                (
                    synonym.name,
                    None if each.is_sensitive else synonym.value,
                    CONFIG_SOURCES.get(synonym.source, "unknown"),
                )
                for synonym in each.get("synonyms") or ()
            ],
        )
        for each in result.configs
    ]
    return sorted(entries, key=lambda entry: entry.name)


def quorum(answer: Struct) -> QuorumInfo:
    """QuorumInfo of a DescribeQuorum response. Raises AdminError when the answer is an error."""
    if answer.error_code != ErrorCode.none:
        words = code_words(answer.error_code, answer.get("error_message"))
        raise AdminError(f"The quorum is not told: {words}", code=int(answer.error_code))
    partitions_found = [each for topic in answer.topics for each in topic.partitions]
    if not partitions_found:
        raise AdminError("The quorum is not told: the answer is empty")
    partition = partitions_found[0]
    if partition.error_code != ErrorCode.none:
        words = code_words(partition.error_code, partition.get("error_message"))
        raise AdminError(f"The quorum is not told: {words}", code=int(partition.error_code))
    nodes = {
        node.node_id: (node.listeners[0].host, node.listeners[0].port)
        for node in answer.get("nodes") or ()
        if node.listeners
    }
    return QuorumInfo(
        leader_id=partition.leader_id,
        leader_epoch=partition.leader_epoch,
        high_watermark=partition.high_watermark,
        voters=[_replica(each) for each in partition.current_voters],
        observers=[_replica(each) for each in partition.observers],
        nodes=nodes,
    )


def _replica(each: Struct) -> QuorumReplica:
    directory = each.get("replica_directory_id") or ZERO_UUID
    return QuorumReplica(
        id=each.replica_id,
        directory_id=None if directory == ZERO_UUID else uuid_to_text(directory),
        log_end_offset=each.log_end_offset,
        last_fetch_ms=each.get("last_fetch_timestamp", -1),
        last_caught_up_ms=each.get("last_caught_up_timestamp", -1),
    )


def elections(answer: Struct) -> list[ElectionResult]:
    """Results of an election, sorted by topic and partition."""
    found = []
    for topic in answer.replica_election_results:
        for each in topic.partition_result:
            code = each.error_code
            quiet = code in {ErrorCode.none, ErrorCode.election_not_needed}
            error = None if quiet else code_words(code, each.error_message)
            found.append(
                ElectionResult(
                    topic=topic.topic,
                    partition=each.partition_id,
                    elected=code == ErrorCode.none,
                    error=error,
                )
            )
    return sorted(found, key=lambda result: (result.topic, result.partition))
