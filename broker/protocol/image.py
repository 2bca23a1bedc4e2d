"""The cluster's state at one offset of the metadata log, and how records change it.

The controller, every broker and the watch feed apply the same records with the same rules, so a
leader epoch means the same thing everywhere. Images are immutable: ``apply`` returns a new one
that shares everything untouched with the old. It must never read a clock, a socket or a random
source, and never guess: a record that does not fit the image raises ``ImageError``.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import field, replace
from functools import cache
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

from broker.protocol import metadata_records as rec
from broker.protocol.errors import LogctlError
from broker.protocol.lazy_dataclass import dataclass

RESOURCE_TOPIC: Final = 2
RESOURCE_BROKER: Final = 4
NO_LEADER: Final = -1
LEADER_UNCHANGED: Final = -2
RECOVERED: Final = 0
RECOVERING: Final = 1
RECOVERY_UNCHANGED: Final = -1
UNASSIGNED_DIRECTORY: Final = UUID(int=0)
# Kafka's id for a folder that is lost. Among a broker's log_dirs: it has none that takes records.
LOST_DIRECTORY: Final = UUID(int=1)
METADATA_VERSION_FEATURE: Final = "metadata.version"


class ImageError(LogctlError):
    """A metadata record does not fit the image it was applied to (unknown topic, wrong epoch)."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a node listens; ``security_protocol`` is Kafka's number (0 = PLAINTEXT)."""

    name: str
    host: str
    port: int
    security_protocol: int = 0


@dataclass(frozen=True, slots=True)
class FeatureRange:
    """The levels of one feature that a node can run with."""

    name: str
    min_level: int
    max_level: int


@dataclass(frozen=True, slots=True)
class BrokerRegistration:
    """A registered broker; ``epoch`` is the offset of its registration record."""

    id: int
    epoch: int
    incarnation_id: UUID
    endpoints: tuple[Endpoint, ...] = ()
    rack: str | None = None
    fenced: bool = True
    in_controlled_shutdown: bool = False
    log_dirs: tuple[UUID, ...] = ()
    features: tuple[FeatureRange, ...] = ()

    @property
    def active(self) -> bool:
        """Whether it may join an ISR or take leadership: it takes part, and will, and can write."""
        return self.serving and not self.out_of_room

    @property
    def serving(self) -> bool:
        """Whether it takes part, and is not about to leave."""
        return not self.fenced and not self.in_controlled_shutdown

    @property
    def out_of_room(self) -> bool:
        """Whether it said that its data folder takes no records (KIP-858)."""
        return LOST_DIRECTORY in self.log_dirs

    def endpoint(self, listener: str) -> Endpoint | None:
        """The endpoint of one listener name, or None."""
        return next((e for e in self.endpoints if e.name == listener), None)


@dataclass(frozen=True, slots=True)
class ControllerRegistration:
    """A registered controller node."""

    id: int
    incarnation_id: UUID
    endpoints: tuple[Endpoint, ...] = ()
    features: tuple[FeatureRange, ...] = ()


@dataclass(frozen=True, slots=True)
class PartitionState:
    """One partition as the controller decided it. ``leader`` is -1 when it has none.

    ``replicas`` are in preferred order: the first is the preferred leader. ``leader_epoch`` grows
    with each named leader, ``partition_epoch`` with every change (KIP-497).
    """

    replicas: tuple[int, ...]
    isr: tuple[int, ...]
    leader: int
    leader_epoch: int = 0
    partition_epoch: int = 0
    adding: tuple[int, ...] = ()
    removing: tuple[int, ...] = ()
    elr: tuple[int, ...] = ()
    last_known_elr: tuple[int, ...] = ()
    leader_recovery_state: int = RECOVERED
    directories: tuple[UUID, ...] = ()

    @property
    def preferred_leader(self) -> int:
        """The first replica, or -1."""
        return self.replicas[0] if self.replicas else NO_LEADER


@dataclass(frozen=True, slots=True)
class TopicImage:
    """A topic; ``partitions[i]`` is partition i."""

    name: str
    id: UUID
    partitions: tuple[PartitionState, ...] = ()


@dataclass(frozen=True, slots=True)
class MetadataImage:
    """Everything the metadata log says, up to and including ``offset`` (written in ``epoch``).

    ``configs`` is keyed by (resource type, resource name): 2 = topic, 4 = broker, where the broker
    name "" holds the cluster-wide defaults. ``kept`` holds records that need no interpretation
    here (quotas, SCRAM credentials, ACLs, tokens) by identity, so that snapshots do not lose them.
    """

    brokers: Mapping[int, BrokerRegistration] = field(default_factory=dict)
    topics: Mapping[str, TopicImage] = field(default_factory=dict)
    topic_names: Mapping[UUID, str] = field(default_factory=dict)
    configs: Mapping[tuple[int, str], Mapping[str, str]] = field(default_factory=dict)
    features: Mapping[str, int] = field(default_factory=dict)
    next_producer_id: int = 0
    controllers: Mapping[int, ControllerRegistration] = field(default_factory=dict)
    kept: Mapping[tuple[Any, ...], rec.MetadataRecord] = field(default_factory=dict)
    offset: int = -1
    epoch: int = -1

    def topic_by_id(self, topic_id: UUID) -> TopicImage | None:
        """The topic with this id, or None."""
        name = self.topic_names.get(topic_id)
        return None if name is None else self.topics[name]

    def partition(self, topic: str, index: int) -> PartitionState | None:
        """The state of one partition, or None when there is no such topic or partition."""
        image = self.topics.get(topic)
        if image is None or not 0 <= index < len(image.partitions):
            return None
        return image.partitions[index]

    def config(self, resource_type: int, name: str) -> Mapping[str, str]:
        """The settings stored for a resource; empty when there are none."""
        return self.configs.get((resource_type, name), _NO_CONFIG)

    def is_active(self, broker_id: int) -> bool:
        """Whether the broker is registered, unfenced, not shutting down, and can write."""
        broker = self.brokers.get(broker_id)
        return broker is not None and broker.active

    def is_unfenced(self, broker_id: int) -> bool:
        """Whether the broker is registered and unfenced (it may be shutting down)."""
        broker = self.brokers.get(broker_id)
        return broker is not None and not broker.fenced

    def iter_partitions(self) -> Iterator[tuple[TopicImage, int, PartitionState]]:
        """Every partition, topics sorted by name."""
        for name in sorted(self.topics):
            topic = self.topics[name]
            for index, state in enumerate(topic.partitions):
                yield topic, index, state

    @property
    def is_empty(self) -> bool:
        """Whether no record was ever applied that leaves a trace."""
        return same_contents(self, EMPTY_IMAGE)


_NO_CONFIG: Final[Mapping[str, str]] = {}
EMPTY_IMAGE: Final = MetadataImage()

PartitionChange = tuple[str, int, PartitionState | None, PartitionState | None]
BrokerChange = tuple[int, BrokerRegistration | None, BrokerRegistration | None]
ConfigChange = tuple[tuple[int, str], Mapping[str, str], Mapping[str, str]]
FeatureChange = tuple[str, int | None, int | None]
ControllerChange = tuple[int, ControllerRegistration | None, ControllerRegistration | None]


@dataclass(frozen=True, slots=True)
class ImageDelta:
    """What differs between two images; every list is sorted and holds net changes only.

    ``topics_created`` and ``topics_deleted`` are (name, id). A topic deleted and made again is in
    both, and its partitions appear first as (..., before, None), then as (..., None, after).
    """

    topics_created: tuple[tuple[str, UUID], ...] = ()
    topics_deleted: tuple[tuple[str, UUID], ...] = ()
    partitions_changed: tuple[PartitionChange, ...] = ()
    brokers_changed: tuple[BrokerChange, ...] = ()
    configs_changed: tuple[ConfigChange, ...] = ()
    features_changed: tuple[FeatureChange, ...] = ()
    controllers_changed: tuple[ControllerChange, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether nothing changed."""
        return self == _NO_DELTA


_NO_DELTA: Final = ImageDelta()
# Some hundred microseconds.
_RECORDS_AT_ONCE: Final = 64


def apply(
    image: MetadataImage,
    base_offset: int,
    epoch: int,
    records: Sequence[rec.MetadataRecord],
    *,
    last_offset: int | None = None,
) -> tuple[MetadataImage, ImageDelta]:
    """Apply one batch whose first record stands at ``base_offset``, written in ``epoch``.

    ``last_offset`` is needed only where it is not ``base_offset + len(records) - 1``: a control
    batch (no records here, yet it has an offset; one record is assumed) or a snapshot.
    Raises ImageError when a record does not fit; the given image is never changed.
    """
    if last_offset is None:
        last_offset = base_offset + max(len(records), 1) - 1
    work = applying(image, epoch, records, last_offset=last_offset)
    while True:
        try:
            next(work)
        except StopIteration as done:
            found: tuple[MetadataImage, ImageDelta] = done.value
            return found


def applying(
    image: MetadataImage,
    epoch: int,
    records: Sequence[rec.MetadataRecord],
    *,
    last_offset: int,
) -> Generator[None, None, tuple[MetadataImage, ImageDelta]]:
    """`apply` as work that may be interrupted where it yields; nothing is seen before its end."""
    if not records:
        return replace(image, offset=last_offset, epoch=epoch), _NO_DELTA
    draft = _Draft(image)
    for count, record in enumerate(records, 1):
        draft.apply(record)
        if not count % _RECORDS_AT_ONCE:
            yield
    made = draft.finish(last_offset, epoch)
    if len(records) > _RECORDS_AT_ONCE:
        yield
    return made, draft.delta()


def from_snapshot(
    end_offset: int, epoch: int, records: Sequence[rec.MetadataRecord]
) -> MetadataImage:
    """The image a snapshot holds; ``end_offset`` is exclusive as in its file name (KIP-630)."""
    image, _ = apply(EMPTY_IMAGE, 0, epoch, records, last_offset=end_offset - 1)
    return image


def same_contents(left: MetadataImage, right: MetadataImage) -> bool:
    """Whether two images say the same, at whatever offsets."""
    return replace(left, offset=0, epoch=0) == replace(right, offset=0, epoch=0)


def delta_between(before: MetadataImage, after: MetadataImage) -> ImageDelta:
    """The net change from one image to another, for a reader that jumped over a snapshot."""
    names = {
        n for n in (*before.topics, *after.topics) if before.topics.get(n) != after.topics.get(n)
    }
    return ImageDelta(
        **_topic_delta(before, after, names),
        brokers_changed=tuple(_changed(before.brokers, after.brokers)),
        configs_changed=tuple(
            (key, old or _NO_CONFIG, new or _NO_CONFIG)
            for key, old, new in _changed(before.configs, after.configs)
        ),
        features_changed=tuple(_changed(before.features, after.features)),
        controllers_changed=tuple(_changed(before.controllers, after.controllers)),
    )


def image_records(image: MetadataImage) -> list[rec.MetadataRecord]:
    """The records of a snapshot: applied to the empty image they give the same contents."""
    version = METADATA_VERSION_FEATURE
    records: list[rec.MetadataRecord] = [
        rec.FeatureLevelRecord(name=name, feature_level=image.features[name])
        for name in sorted(image.features, key=lambda n: (n != version, n))
    ]
    records.extend(_controller_record(image.controllers[i]) for i in sorted(image.controllers))
    records.extend(_broker_record(image.brokers[i]) for i in sorted(image.brokers))
    for name in sorted(image.topics):
        topic = image.topics[name]
        records.append(rec.TopicRecord(name=name, topic_id=topic.id))
        records.extend(
            partition_record(topic.id, index, state) for index, state in enumerate(topic.partitions)
        )
    for resource_type, resource_name in sorted(image.configs):
        values = image.configs[resource_type, resource_name]
        records.extend(
            rec.ConfigRecord(
                resource_type=resource_type, resource_name=resource_name, name=n, value=values[n]
            )
            for n in sorted(values)
        )
    if image.next_producer_id:
        records.append(
            rec.ProducerIdsRecord(
                broker_id=-1, broker_epoch=-1, next_producer_id=image.next_producer_id
            )
        )
    records.extend(image.kept[key] for key in sorted(image.kept, key=repr))
    return records


def partition_record(topic_id: UUID, index: int, state: PartitionState) -> rec.PartitionRecord:
    """The record that creates a partition in exactly this state."""
    return rec.PartitionRecord(
        partition_id=index,
        topic_id=topic_id,
        replicas=state.replicas,
        isr=state.isr,
        removing_replicas=state.removing,
        adding_replicas=state.adding,
        leader=state.leader,
        leader_recovery_state=state.leader_recovery_state,
        leader_epoch=state.leader_epoch,
        partition_epoch=state.partition_epoch,
        directories=state.directories,
        eligible_leader_replicas=state.elr or None,
        last_known_elr=state.last_known_elr or None,
    )


def _broker_record(broker: BrokerRegistration) -> rec.RegisterBrokerRecord:
    return rec.RegisterBrokerRecord(
        broker_id=broker.id,
        incarnation_id=broker.incarnation_id,
        broker_epoch=broker.epoch,
        end_points=tuple(
            rec.BrokerEndpoint(
                name=e.name, host=e.host, port=e.port, security_protocol=e.security_protocol
            )
            for e in broker.endpoints
        ),
        features=tuple(
            rec.BrokerFeature(
                name=f.name, min_supported_version=f.min_level, max_supported_version=f.max_level
            )
            for f in broker.features
        ),
        rack=broker.rack,
        fenced=broker.fenced,
        in_controlled_shutdown=broker.in_controlled_shutdown,
        log_dirs=broker.log_dirs,
    )


def _controller_record(controller: ControllerRegistration) -> rec.RegisterControllerRecord:
    return rec.RegisterControllerRecord(
        controller_id=controller.id,
        incarnation_id=controller.incarnation_id,
        zk_migration_ready=False,
        end_points=tuple(
            rec.ControllerEndpoint(
                name=e.name, host=e.host, port=e.port, security_protocol=e.security_protocol
            )
            for e in controller.endpoints
        ),
        features=tuple(
            rec.ControllerFeature(
                name=f.name, min_supported_version=f.min_level, max_supported_version=f.max_level
            )
            for f in controller.features
        ),
    )


def _endpoints(records: Iterable[Any]) -> tuple[Endpoint, ...]:
    return tuple(Endpoint(e.name, e.host, e.port, e.security_protocol) for e in records)


def _features(records: Iterable[Any]) -> tuple[FeatureRange, ...]:
    return tuple(
        FeatureRange(f.name, f.min_supported_version, f.max_supported_version) for f in records
    )


def _changed(before: Mapping[Any, Any], after: Mapping[Any, Any]) -> Iterator[tuple[Any, Any, Any]]:
    if before is after:
        return
    for key in sorted({*before, *after}):
        old, new = before.get(key), after.get(key)
        if old is not new and old != new:
            yield key, old, new


def _topic_delta(
    before: MetadataImage,
    after: MetadataImage,
    names: Iterable[str],
    touched: Mapping[str, Mapping[int, PartitionState]] = MappingProxyType({}),
) -> dict[str, Any]:
    """Created and deleted topics, changed partitions. `touched`: where alone changes can be."""
    created: list[tuple[str, UUID]] = []
    deleted: list[tuple[str, UUID]] = []
    changes: list[PartitionChange] = []
    for name in sorted(names):
        old, new = before.topics.get(name), after.topics.get(name)
        if old is not None and (new is None or new.id != old.id):
            deleted.append((name, old.id))
            changes.extend((name, i, state, None) for i, state in enumerate(old.partitions))
            old = None
        if new is None:
            continue
        if old is None:
            created.append((name, new.id))
        known = old.partitions if old is not None else ()
        # A topic of ten thousand partitions must not be gone through for each of its changes.
        places: Iterable[int] = range(len(new.partitions))
        if old is not None and name in touched:
            places = sorted(touched[name])
        for index in places:
            state = new.partitions[index]
            previous = known[index] if index < len(known) else None
            if previous is not state and previous != state:
                changes.append((name, index, previous, state))
    return {
        "topics_created": tuple(created),
        "topics_deleted": tuple(deleted),
        "partitions_changed": tuple(changes),
    }


class _Draft:
    """An image being changed: each mapping is copied at its first write, each topic likewise."""

    def __init__(self, image: MetadataImage) -> None:
        self.before = image
        self.after = image
        self._copies: dict[str, dict[Any, Any]] = {}
        # Partitions written by this batch, by topic name, over those that stood there before.
        self._partitions: dict[str, dict[int, PartitionState]] = {}
        self._standing: dict[str, tuple[PartitionState, ...]] = {}
        self._touched_topics: set[str] = set()
        self._next_producer_id = image.next_producer_id

    def apply(self, record: rec.MetadataRecord) -> None:
        handler = _handlers().get(type(record))
        if handler is not None:
            handler(self, record)

    def finish(self, offset: int, epoch: int) -> MetadataImage:
        topics = self._read("topics")
        for name in sorted(self._partitions):
            topic = topics[name]
            self._write("topics")[name] = TopicImage(topic.name, topic.id, self._whole(name))
        self.after = replace(
            self.before,
            **self._copies,
            next_producer_id=self._next_producer_id,
            offset=offset,
            epoch=epoch,
        )
        return self.after

    def _whole(self, name: str) -> tuple[PartitionState, ...]:
        """All partitions of a topic, those written put over those that stood there."""
        states = list(self._standing[name])
        written = self._partitions[name]
        for index in sorted(written):
            if index < 0 or index > len(states):
                known = sorted({*range(len(self._standing[name])), *written})
                raise ImageError(
                    f"the partitions of topic {name!r} have gaps: {known[:20]}; "
                    "the metadata log is damaged or was written by an unknown version"
                )
            states[index : index + 1] = [written[index]]
        return tuple(states)

    def delta(self) -> ImageDelta:
        delta = _topic_delta(self.before, self.after, self._touched_topics, self._partitions)
        if len(self._copies) == 1 and "topics" in self._copies:
            return ImageDelta(**delta)
        rest = delta_between(
            replace(self.before, topics={}, topic_names={}),
            replace(self.after, topics={}, topic_names={}),
        )
        return replace(rest, **delta)

    def _read(self, name: str) -> Mapping[Any, Any]:
        copied = self._copies.get(name)
        if copied is not None:
            return copied
        mapping: Mapping[Any, Any] = getattr(self.before, name)
        return mapping

    def _write(self, name: str) -> dict[Any, Any]:
        copied = self._copies.get(name)
        if copied is None:
            copied = self._copies[name] = dict(getattr(self.before, name))
        return copied

    def _topic_name(self, topic_id: UUID, record: rec.MetadataRecord) -> str:
        name = self._read("topic_names").get(topic_id)
        if name is None:
            raise ImageError(
                f"{type(record).__name__} names the unknown topic id {topic_id} "
                f"(image at offset {self.before.offset})"
            )
        return str(name)

    def _states(self, name: str) -> dict[int, PartitionState]:
        states = self._partitions.get(name)
        if states is None:
            self._standing[name] = self._read("topics")[name].partitions
            states = self._partitions[name] = {}
            self._touched_topics.add(name)
        return states

    # One method per record type.

    def topic(self, record: rec.TopicRecord) -> None:
        if record.name in self._read("topics"):
            raise ImageError(f"topic {record.name!r} is created twice")
        self._write("topics")[record.name] = TopicImage(record.name, record.topic_id)
        self._write("topic_names")[record.topic_id] = record.name
        self._partitions[record.name], self._standing[record.name] = {}, ()
        self._touched_topics.add(record.name)

    def remove_topic(self, record: rec.RemoveTopicRecord) -> None:
        name = self._topic_name(record.topic_id, record)
        del self._write("topics")[name]
        del self._write("topic_names")[record.topic_id]
        self._partitions.pop(name, None)
        self._touched_topics.add(name)
        if (RESOURCE_TOPIC, name) in self._read("configs"):
            del self._write("configs")[RESOURCE_TOPIC, name]

    def partition(self, record: rec.PartitionRecord) -> None:
        name = self._topic_name(record.topic_id, record)
        self._states(name)[record.partition_id] = PartitionState(
            replicas=tuple(record.replicas),
            isr=tuple(record.isr),
            leader=record.leader,
            leader_epoch=record.leader_epoch,
            partition_epoch=record.partition_epoch,
            adding=tuple(record.adding_replicas),
            removing=tuple(record.removing_replicas),
            elr=tuple(record.eligible_leader_replicas or ()),
            last_known_elr=tuple(record.last_known_elr or ()),
            leader_recovery_state=record.leader_recovery_state,
            directories=tuple(record.directories),
        )

    def partition_change(self, record: rec.PartitionChangeRecord) -> None:
        name = self._topic_name(record.topic_id, record)
        states, standing = self._states(name), self._standing[name]
        index = record.partition_id
        state = states.get(index)
        if state is None:
            if not 0 <= index < len(standing):
                raise ImageError(f"a change names the unknown partition {name}-{index}")
            state = standing[index]
        states[index] = changed_partition(state, record)

    def config(self, record: rec.ConfigRecord) -> None:
        key = (record.resource_type, record.resource_name)
        values = dict(self._read("configs").get(key, _NO_CONFIG))
        if record.value is None:
            values.pop(record.name, None)
        else:
            values[record.name] = record.value
        configs = self._write("configs")
        if values:
            configs[key] = values
        else:
            configs.pop(key, None)

    def register_broker(self, record: rec.RegisterBrokerRecord) -> None:
        self._write("brokers")[record.broker_id] = BrokerRegistration(
            id=record.broker_id,
            epoch=record.broker_epoch,
            incarnation_id=record.incarnation_id,
            endpoints=_endpoints(record.end_points),
            rack=record.rack,
            fenced=record.fenced,
            in_controlled_shutdown=record.in_controlled_shutdown,
            log_dirs=tuple(record.log_dirs),
            features=_features(record.features),
        )

    def unregister_broker(self, record: rec.UnregisterBrokerRecord) -> None:
        self._broker(record.broker_id, record.broker_epoch, record)
        del self._write("brokers")[record.broker_id]

    def fence_broker(self, record: rec.FenceBrokerRecord) -> None:
        broker = self._broker(record.id, record.epoch, record)
        self._write("brokers")[record.id] = replace(broker, fenced=True)

    def unfence_broker(self, record: rec.UnfenceBrokerRecord) -> None:
        broker = self._broker(record.id, record.epoch, record)
        self._write("brokers")[record.id] = replace(broker, fenced=False)

    def broker_change(self, record: rec.BrokerRegistrationChangeRecord) -> None:
        broker = self._broker(record.broker_id, record.broker_epoch, record)
        fenced = broker.fenced if record.fenced == 0 else record.fenced > 0
        stopping = broker.in_controlled_shutdown or record.in_controlled_shutdown == 1
        log_dirs = tuple(record.log_dirs) or broker.log_dirs
        self._write("brokers")[record.broker_id] = replace(
            broker, fenced=fenced, in_controlled_shutdown=stopping, log_dirs=log_dirs
        )

    def register_controller(self, record: rec.RegisterControllerRecord) -> None:
        self._write("controllers")[record.controller_id] = ControllerRegistration(
            id=record.controller_id,
            incarnation_id=record.incarnation_id,
            endpoints=_endpoints(record.end_points),
            features=_features(record.features),
        )

    def feature_level(self, record: rec.FeatureLevelRecord) -> None:
        if record.feature_level == 0:
            self._write("features").pop(record.name, None)
        else:
            self._write("features")[record.name] = record.feature_level

    def producer_ids(self, record: rec.ProducerIdsRecord) -> None:
        self._next_producer_id = record.next_producer_id

    def keep(self, record: rec.MetadataRecord) -> None:
        self._write("kept")[_identity(record)] = record

    def forget(self, record: rec.MetadataRecord) -> None:
        self._write("kept").pop(_identity(record), None)

    def client_quota(self, record: rec.ClientQuotaRecord) -> None:
        if record.remove:
            self.forget(record)
        else:
            self.keep(record)

    def _broker(self, broker_id: int, epoch: int, record: rec.MetadataRecord) -> BrokerRegistration:
        broker = self._read("brokers").get(broker_id)
        if not isinstance(broker, BrokerRegistration):
            raise ImageError(f"{type(record).__name__} names the unknown broker {broker_id}")
        if broker.epoch != epoch:
            raise ImageError(
                f"{type(record).__name__} for broker {broker_id} carries epoch {epoch}, "
                f"the registered one is {broker.epoch}"
            )
        return broker


def changed_partition(state: PartitionState, record: rec.PartitionChangeRecord) -> PartitionState:
    """The partition after one change record.

    The epochs are implied: the leader epoch grows whenever a leader is named, even the same one
    or none (-1), the partition epoch always. Everything else changes only where not null.
    """
    led = record.leader != LEADER_UNCHANGED
    recovery = record.leader_recovery_state
    return PartitionState(
        replicas=_or(record.replicas, state.replicas),
        isr=_or(record.isr, state.isr),
        leader=record.leader if led else state.leader,
        leader_epoch=state.leader_epoch + 1 if led else state.leader_epoch,
        partition_epoch=state.partition_epoch + 1,
        adding=_or(record.adding_replicas, state.adding),
        removing=_or(record.removing_replicas, state.removing),
        elr=_or(record.eligible_leader_replicas, state.elr),
        last_known_elr=_or(record.last_known_elr, state.last_known_elr),
        leader_recovery_state=(
            state.leader_recovery_state if recovery == RECOVERY_UNCHANGED else recovery
        ),
        directories=_or(record.directories, state.directories),
    )


def _or(changed: Sequence[Any] | None, unchanged: tuple[Any, ...]) -> tuple[Any, ...]:
    return unchanged if changed is None else tuple(changed)


def _identity(record: Any) -> tuple[Any, ...]:
    """What a kept record replaces or removes: the same kind with the same key."""
    match record:
        case rec.ClientQuotaRecord():
            # A null name is the default entity, not the entity called "".
            entity = tuple(
                sorted(
                    (e.entity_type, e.entity_name is None, e.entity_name or "")
                    for e in record.entity
                )
            )
            return ("quota", entity, record.key)
        case rec.UserScramCredentialRecord() | rec.RemoveUserScramCredentialRecord():
            return ("scram", record.name, record.mechanism)
        case rec.AccessControlEntryRecord() | rec.RemoveAccessControlEntryRecord():
            return ("acl", record.id)
        case rec.DelegationTokenRecord() | rec.RemoveDelegationTokenRecord():
            return ("token", record.token_id)
        case _:
            return (type(record).__name__, repr(record))


@cache
def _handlers() -> dict[type, Callable[[_Draft, Any], None]]:
    return {
        rec.TopicRecord: _Draft.topic,
        rec.RemoveTopicRecord: _Draft.remove_topic,
        rec.PartitionRecord: _Draft.partition,
        rec.PartitionChangeRecord: _Draft.partition_change,
        rec.ConfigRecord: _Draft.config,
        rec.RegisterBrokerRecord: _Draft.register_broker,
        rec.UnregisterBrokerRecord: _Draft.unregister_broker,
        rec.FenceBrokerRecord: _Draft.fence_broker,
        rec.UnfenceBrokerRecord: _Draft.unfence_broker,
        rec.BrokerRegistrationChangeRecord: _Draft.broker_change,
        rec.RegisterControllerRecord: _Draft.register_controller,
        rec.FeatureLevelRecord: _Draft.feature_level,
        rec.ProducerIdsRecord: _Draft.producer_ids,
        rec.ClientQuotaRecord: _Draft.client_quota,
        rec.UserScramCredentialRecord: _Draft.keep,
        rec.RemoveUserScramCredentialRecord: _Draft.forget,
        rec.AccessControlEntryRecord: _Draft.keep,
        rec.RemoveAccessControlEntryRecord: _Draft.forget,
        rec.DelegationTokenRecord: _Draft.keep,
        rec.RemoveDelegationTokenRecord: _Draft.forget,
    }
