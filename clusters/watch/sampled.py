"""Where the metadata log cannot be read: the same image by polling, honest about its gaps.

A change that is undone between two polls is never seen. Of settings only those are looked at that
say how partitions stand (see `clusters.watch.sampled_settings`). What changed between the log and
the first poll, or the last poll and the log, is told as far as both can know it (`bridging`).
"""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from broker.protocol.api_keys import ApiKey
from broker.protocol.client import BrokerConnection
from broker.protocol.errors import ErrorCode, UnsupportedVersion
from broker.protocol.image import (
    BrokerRegistration,
    Endpoint,
    MetadataImage,
    PartitionState,
    TopicImage,
)
from broker.protocol.struct import ZERO_UUID, Struct
from clusters.watch.differences import Stamp, comparing
from clusters.watch.events import ClusterEvent
from clusters.watch.slices import Work, in_slices, listed

# That it takes long is told long before.
SAMPLE_MS = 5_000
NO_OFFSET = -1


async def sample(connection: BrokerConnection) -> tuple[MetadataImage, int]:
    """(image, controller id or -1) as one broker tells them now. Raises WireError.

    With a metadata quorum there is no telling from Metadata: Apache Kafka names any live broker
    (KIP-631), another each time. DescribeQuorum knows, and its answer may take the controller's.
    """
    metadata = await connection.request(
        ApiKey.METADATA, Struct(topics=None, allow_auto_topic_creation=False), timeout_ms=SAMPLE_MS
    )
    fenced: dict[int, Struct] = {}
    try:
        cluster = await connection.request(
            ApiKey.DESCRIBE_CLUSTER, Struct(include_fenced_brokers=True), timeout_ms=SAMPLE_MS
        )
        if cluster.error_code == ErrorCode.none:
            fenced = {each.broker_id: each for each in cluster.brokers if each.get("is_fenced")}
    except UnsupportedVersion:
        pass
    image = await in_slices(_sampled_image(metadata, fenced))
    if ApiKey.DESCRIBE_QUORUM in connection.api_versions:
        return image, -1
    return image, int(metadata.get("controller_id", -1))


def _sampled_image(metadata: Struct, fenced: dict[int, Struct]) -> Work[MetadataImage]:
    """The image of a Metadata response and the fenced brokers of DescribeCluster. Pure."""
    brokers = {
        each.node_id: _broker(each.node_id, each.host, each.port, each.rack, fenced=False)
        for each in metadata.brokers
    }
    for node, each in fenced.items():
        brokers[node] = _broker(node, each.host, each.port, each.rack, fenced=True)
    topics: dict[str, TopicImage] = {}
    names: dict[UUID, str] = {}
    for topic in metadata.topics:
        if topic.error_code != ErrorCode.none or not topic.name:
            continue
        topic_id: UUID = topic.get("topic_id") or ZERO_UUID
        states = yield from _partitions(topic.partitions)
        topics[topic.name] = TopicImage(topic.name, topic_id, states)
        names[topic_id] = topic.name
        yield
    return MetadataImage(brokers=brokers, topics=topics, topic_names=names, offset=NO_OFFSET)


def _broker(
    node: int, host: str, port: int, rack: str | None, *, fenced: bool
) -> BrokerRegistration:
    return BrokerRegistration(
        id=node,
        epoch=-1,
        incarnation_id=ZERO_UUID,
        endpoints=(Endpoint("", host, port),),
        rack=rack,
        fenced=fenced,
    )


def _partitions(partitions: list[Struct]) -> Work[tuple[PartitionState, ...]]:
    ordered = sorted(partitions, key=lambda each: int(each.partition_index))
    states = yield from listed(
        PartitionState(
            replicas=tuple(each.replica_nodes),
            isr=tuple(each.isr_nodes),
            leader=each.leader_id,
            leader_epoch=each.get("leader_epoch", -1),
            partition_epoch=-1,
        )
        for each in ordered
    )
    return tuple(states)


def keeping(before: MetadataImage, after: MetadataImage) -> Work[MetadataImage]:
    """`after`, with topics that did not change as the very objects they were. Pure."""
    topics: dict[str, TopicImage] = {}
    for name, topic in after.topics.items():
        topics[name] = before.topics[name] if before.topics.get(name) == topic else topic
        yield
    return replace(after, topics=topics)


def bridging(before: MetadataImage, after: MetadataImage, stamp: Stamp) -> Work[list[ClusterEvent]]:
    """Events between a sample and an image of the log, either way round, as work in slices. Pure.

    Compared is only what both know for sure: leader, ISR and replicas of partitions that are in
    both, and whether brokers are fenced. A topic that is in one alone may be one that the user may
    not see, and a broker that lags behind must not look like a change back.
    """
    topics: dict[str, TopicImage] = {}
    for name, new in after.topics.items():
        old = before.topics.get(name)
        if old is None or old.id != new.id:
            continue
        pairs = zip(old.partitions, new.partitions, strict=False)
        states = [_as_told(was, now) for was, now in pairs]
        topics[name] = replace(old, partitions=(*states, *old.partitions[len(states) :]))
        yield
    brokers = {
        node: replace(broker, fenced=after.brokers[node].fenced)
        for node, broker in before.brokers.items()
        if node in after.brokers
    }
    known = replace(
        before,
        topics={name: before.topics[name] for name in topics},
        brokers={node: before.brokers[node] for node in brokers},
    )
    return (yield from comparing(known, replace(known, topics=topics, brokers=brokers), stamp))


def _as_told(was: PartitionState, now: PartitionState) -> PartitionState:
    if (was.leader, was.isr, was.replicas) == (now.leader, now.isr, now.replicas):
        return was
    if now.leader_epoch < was.leader_epoch:
        return was
    return replace(
        was,
        leader=now.leader,
        isr=now.isr,
        replicas=now.replicas,
        leader_epoch=now.leader_epoch,
        partition_epoch=now.partition_epoch,
    )
