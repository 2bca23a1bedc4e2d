"""Events from the difference of two images. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from operator import attrgetter
from typing import Any

from broker.protocol.image import (
    RECOVERING,
    RESOURCE_BROKER,
    RESOURCE_TOPIC,
    BrokerRegistration,
    ImageDelta,
    MetadataImage,
    PartitionState,
    TopicImage,
    delta_between,
)
from clusters.watch.events import ClusterEvent, EventKind
from clusters.watch.slices import Work, at_once, listed

# What is compared in one turn takes about a millisecond.
PARTITIONS_AT_ONCE = 500
SENSITIVE = ("password", "secret", "credential", "token", "jaas", ".key", "private")


@dataclass(frozen=True, slots=True)
class Stamp:
    """Where and when a change was recorded."""

    offset: int
    at_ms: int


# What changed: ("partition", topic, index) | ("config", type, name, key) | ("other",)
Key = tuple[Any, ...]
StampOf = Callable[[Key], Stamp]


def events_of(
    before: MetadataImage, after: MetadataImage, delta: ImageDelta, stamp_of: StampOf
) -> list[ClusterEvent]:
    """Every event of a delta, sorted by offset; stable within one offset."""
    return at_once(telling(before, after, delta, stamp_of))


def telling(
    before: MetadataImage, after: MetadataImage, delta: ImageDelta, stamp_of: StampOf
) -> Work[list[ClusterEvent]]:
    """`events_of` as work in slices."""
    events = yield from listed(
        chain(
            _topics(before, after, delta, stamp_of),
            _partitions(before, after, delta, stamp_of),
            _configs(after, delta, stamp_of),
            _brokers(delta, stamp_of),
            _features(delta, stamp_of),
        )
    )
    return sorted(events, key=attrgetter("offset"))


def comparing(
    before: MetadataImage, after: MetadataImage, stamp: Stamp
) -> Work[list[ClusterEvent]]:
    """The events of the net change from one image to another, as work in slices."""
    parts: list[ImageDelta] = []
    few: list[str] = []
    weight = 0
    for name in sorted({*before.topics, *after.topics}):
        old, new = before.topics.get(name), after.topics.get(name)
        if old is new:
            continue
        few.append(name)
        weight += 1 + max(len(each.partitions) if each else 0 for each in (old, new))
        if weight > PARTITIONS_AT_ONCE:
            parts.append(delta_between(_only(before, few), _only(after, few)))
            few, weight = [], 0
            yield
    parts.append(delta_between(_only(before, few), _only(after, few)))
    delta = replace(
        delta_between(replace(before, topics={}), replace(after, topics={})),
        topics_created=tuple(each for part in parts for each in part.topics_created),
        topics_deleted=tuple(each for part in parts for each in part.topics_deleted),
        partitions_changed=tuple(each for part in parts for each in part.partitions_changed),
    )
    return (yield from telling(before, after, delta, lambda _: stamp))


def _only(image: MetadataImage, names: list[str]) -> MetadataImage:
    """Nothing of an image but some of its topics."""
    topics = {name: image.topics[name] for name in names if name in image.topics}
    return MetadataImage(topics=topics)


def _size(topic: TopicImage) -> dict[str, int]:
    factor = max((len(state.replicas) for state in topic.partitions), default=0)
    return {"partitions": len(topic.partitions), "replication_factor": factor}


def _topics(
    before: MetadataImage, after: MetadataImage, delta: ImageDelta, stamp_of: StampOf
) -> Iterator[ClusterEvent]:
    stamp = stamp_of(("other",))
    for name, _ in delta.topics_deleted:
        yield ClusterEvent(
            at_ms=stamp.at_ms,
            offset=stamp.offset,
            kind=EventKind.TOPIC_DELETED,
            topic=name,
            before=_size(before.topics[name]),
        )
    for name, _ in delta.topics_created:
        yield ClusterEvent(
            at_ms=stamp.at_ms,
            offset=stamp.offset,
            kind=EventKind.TOPIC_CREATED,
            topic=name,
            after=_size(after.topics[name]),
        )


def _partitions(
    before: MetadataImage, after: MetadataImage, delta: ImageDelta, stamp_of: StampOf
) -> Iterator[ClusterEvent]:
    created = {name for name, _ in delta.topics_created}
    grown: set[str] = set()
    for topic, index, old, new in delta.partitions_changed:
        if new is None or (old is None and topic in created):
            continue
        stamp = stamp_of(("partition", topic, index))
        if old is not None:
            yield from _partition(topic, index, old, new, stamp)
        elif topic not in grown:
            grown.add(topic)
            yield ClusterEvent(
                at_ms=stamp.at_ms,
                offset=stamp.offset,
                kind=EventKind.PARTITIONS_ADDED,
                topic=topic,
                before=len(before.topics[topic].partitions),
                after=len(after.topics[topic].partitions),
            )


def _partition(
    topic: str, index: int, old: PartitionState, new: PartitionState, stamp: Stamp
) -> Iterator[ClusterEvent]:
    def event(kind: EventKind, was: Any, now: Any) -> ClusterEvent:
        return ClusterEvent(
            at_ms=stamp.at_ms,
            offset=stamp.offset,
            kind=kind,
            topic=topic,
            partition=index,
            before=was,
            after=now,
            leader_epoch=new.leader_epoch,
            partition_epoch=new.partition_epoch,
        )

    if new.leader != old.leader:
        yield event(EventKind.LEADER_MOVED, old.leader, new.leader)
    if new.leader_recovery_state == RECOVERING != old.leader_recovery_state:
        yield event(EventKind.UNCLEAN_ELECTION, old.leader, new.leader)
    # Who came first, then who went: the end of a move must not look like a partition without any.
    joined = [*old.isr, *(node for node in new.isr if node not in old.isr)]
    left = any(node not in new.isr for node in old.isr)
    if len(joined) > len(old.isr):
        yield event(EventKind.ISR_EXPANDED, list(old.isr), joined if left else list(new.isr))
    if left:
        yield event(EventKind.ISR_SHRUNK, joined, list(new.isr))
    if (old.replicas, old.adding, old.removing) != (new.replicas, new.adding, new.removing):
        yield event(EventKind.REPLICAS_CHANGED, list(old.replicas), list(new.replicas))


def _shown(name: str, value: str | None) -> str | None:
    if value is None:
        return None
    hidden = any(word in name.lower() for word in SENSITIVE)
    return f"{name}={'(hidden)' if hidden else value}"


def _configs(after: MetadataImage, delta: ImageDelta, stamp_of: StampOf) -> Iterator[ClusterEvent]:
    deleted = {name for name, _ in delta.topics_deleted}
    for (resource_type, resource), old, new in delta.configs_changed:
        if resource_type == RESOURCE_TOPIC and resource in deleted and resource not in after.topics:
            continue
        for key in sorted({*old, *new}):
            if old.get(key) == new.get(key):
                continue
            stamp = stamp_of(("config", resource_type, resource, key))
            is_broker = resource_type == RESOURCE_BROKER and resource.isdigit()
            yield ClusterEvent(
                at_ms=stamp.at_ms,
                offset=stamp.offset,
                kind=EventKind.CONFIG_CHANGED,
                topic=resource if resource_type == RESOURCE_TOPIC else None,
                broker=int(resource) if is_broker else None,
                before=_shown(key, old.get(key)),
                after=_shown(key, new.get(key)),
            )


def _registration(broker: BrokerRegistration | None) -> dict[str, Any] | None:
    if broker is None:
        return None
    endpoint = broker.endpoints[0] if broker.endpoints else None
    return {
        "host": endpoint.host if endpoint else None,
        "port": endpoint.port if endpoint else None,
        "rack": broker.rack,
        "fenced": broker.fenced,
        "epoch": broker.epoch,
    }


def _brokers(delta: ImageDelta, stamp_of: StampOf) -> Iterator[ClusterEvent]:
    stamp = stamp_of(("other",))

    def event(kind: EventKind, node: int, was: Any, now: Any) -> ClusterEvent:
        return ClusterEvent(
            at_ms=stamp.at_ms, offset=stamp.offset, kind=kind, broker=node, before=was, after=now
        )

    for node, old, new in delta.brokers_changed:
        if new is None:
            yield event(EventKind.BROKER_LEFT, node, _registration(old), None)
            continue
        if old is None or old.incarnation_id != new.incarnation_id:
            yield event(EventKind.BROKER_JOINED, node, _registration(old), _registration(new))
        if old is None:
            continue
        if new.fenced and not old.fenced:
            yield event(EventKind.BROKER_FENCED, node, "unfenced", "fenced")
        if old.fenced and not new.fenced:
            yield event(EventKind.BROKER_UNFENCED, node, "fenced", "unfenced")
        if new.in_controlled_shutdown and not old.in_controlled_shutdown:
            yield event(EventKind.BROKER_STOPPING, node, "running", "stopping")
        was, now = _usable_log_dirs(old), _usable_log_dirs(new)
        # Samples and old brokers do not tell of them: that is no change.
        if was != now and old.log_dirs and new.log_dirs:
            kind = EventKind.LOG_DIR_OFFLINE if now < was else EventKind.LOG_DIR_ONLINE
            yield event(kind, node, was, now)


def _usable_log_dirs(broker: BrokerRegistration) -> int:
    """How many of its folders take records (KIP-858)."""
    return 0 if broker.out_of_room else len(broker.log_dirs)


def _features(delta: ImageDelta, stamp_of: StampOf) -> Iterator[ClusterEvent]:
    stamp = stamp_of(("other",))
    for name, old, new in delta.features_changed:
        yield ClusterEvent(
            at_ms=stamp.at_ms,
            offset=stamp.offset,
            kind=EventKind.FEATURE_CHANGED,
            before=None if old is None else f"{name}={old}",
            after=None if new is None else f"{name}={new}",
        )
