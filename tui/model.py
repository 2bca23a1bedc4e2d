"""What the dashboard shows, computed from the metadata image: rows, health, changes.

Pure: no widgets, no clock, no protocol calls. Rows of a topic are made again only when its image
changed, so ten thousand partitions cost nothing while they stand still.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from broker.protocol.image import (
    EMPTY_IMAGE,
    NO_LEADER,
    BrokerRegistration,
    MetadataImage,
    TopicImage,
)
from clusters.watch.events import ClusterEvent, EventKind

FLASH_MS = 4_000
MOVES_WINDOW_MS = 60_000


class Health(StrEnum):
    """How a partition or topic stands, from best to worst."""

    OK = "ok"
    UNDER_REPLICATED = "under-replicated"
    OFFLINE = "offline"


@dataclass(frozen=True, slots=True)
class BrokerRow:
    """One broker; `state` is up, fenced or stopping."""

    id: int
    address: str
    rack: str
    state: str
    leaders: int
    replicas: int
    is_controller: bool


@dataclass(frozen=True, slots=True)
class PartitionRow:
    """One partition as the metadata log says it is."""

    topic: str
    partition: int
    leader: int
    leader_epoch: int
    partition_epoch: int
    replicas: tuple[int, ...]
    isr: tuple[int, ...]
    health: Health

    @property
    def name(self) -> str:
        """`topic-partition`, as Kafka writes it."""
        return f"{self.topic}-{self.partition}"

    @property
    def on_preferred_leader(self) -> bool:
        """Whether the first replica leads."""
        return bool(self.replicas) and self.leader == self.replicas[0]


@dataclass(frozen=True, slots=True)
class TopicRow:
    """One topic, its partitions summed up."""

    name: str
    partitions: int
    replication_factor: int
    under_replicated: int
    offline: int

    @property
    def health(self) -> Health:
        """The worst of its partitions."""
        if self.offline:
            return Health.OFFLINE
        return Health.UNDER_REPLICATED if self.under_replicated else Health.OK


@dataclass(frozen=True, slots=True)
class HealthCounts:
    """The line that is read first."""

    brokers: int
    brokers_up: int
    topics: int
    partitions: int
    under_replicated: int
    offline: int
    not_preferred: int


@dataclass(frozen=True, slots=True)
class Flash:
    """A change that is still to be seen: what kind, and when it happened (monotonic ms)."""

    kind: EventKind
    at_ms: int


@dataclass(slots=True)
class ClusterView:
    """The latest image and what was derived from it. `update` is its only change."""

    image: MetadataImage = EMPTY_IMAGE
    controller_id: int = -1
    brokers: list[BrokerRow] = field(default_factory=list)
    topics: list[TopicRow] = field(default_factory=list)
    partitions: list[PartitionRow] = field(default_factory=list)
    events: list[ClusterEvent] = field(default_factory=list)
    flashes: dict[tuple[str, int], Flash] = field(default_factory=dict)
    broker_flashes: dict[int, Flash] = field(default_factory=dict)
    moves_ms: list[int] = field(default_factory=list)
    events_max: int = 5_000
    _cache: dict[str, tuple[TopicImage, list[PartitionRow]]] = field(default_factory=dict)

    def update(
        self,
        image: MetadataImage,
        events: Sequence[ClusterEvent],
        now_ms: int,
        *,
        replaying: bool = False,
    ) -> None:
        """Take the newest image and the events that led to it; `now_ms` is monotonic."""
        for event in events:
            if not replaying:
                self._flash(event, now_ms)
        self.events.extend(events)
        if len(self.events) > self.events_max:
            del self.events[: len(self.events) - self.events_max]
        if image is not self.image or events:
            self.image = image
            self._derive()

    def set_controller(self, controller_id: int) -> None:
        """The quorum's leader, when it is known from elsewhere than an event."""
        if controller_id != self.controller_id:
            self.controller_id = controller_id
            self._derive()

    def health(self) -> HealthCounts:
        """The cluster in one line."""
        return HealthCounts(
            brokers=len(self.brokers),
            brokers_up=sum(row.state == "up" for row in self.brokers),
            topics=len(self.topics),
            partitions=len(self.partitions),
            under_replicated=sum(row.under_replicated for row in self.topics),
            offline=sum(row.offline for row in self.topics),
            not_preferred=sum(not row.on_preferred_leader for row in self.partitions),
        )

    def flash(self, topic: str, partition: int, now_ms: int) -> Flash | None:
        """The change of a partition that is not older than FLASH_MS."""
        found = self.flashes.get((topic, partition))
        return found if found is not None and now_ms - found.at_ms < FLASH_MS else None

    def broker_flash(self, broker: int, now_ms: int) -> Flash | None:
        """The change of a broker that is not older than FLASH_MS."""
        found = self.broker_flashes.get(broker)
        return found if found is not None and now_ms - found.at_ms < FLASH_MS else None

    def forget_old(self, now_ms: int) -> bool:
        """Drop changes that have faded; whether any are still to be seen."""
        self.flashes = {k: v for k, v in self.flashes.items() if now_ms - v.at_ms < FLASH_MS}
        self.broker_flashes = {
            k: v for k, v in self.broker_flashes.items() if now_ms - v.at_ms < FLASH_MS
        }
        self.moves_ms = [at for at in self.moves_ms if now_ms - at < MOVES_WINDOW_MS]
        return bool(self.flashes or self.broker_flashes)

    def _flash(self, event: ClusterEvent, now_ms: int) -> None:
        flash = Flash(event.kind, now_ms)
        if event.topic is not None and event.partition is not None:
            self.flashes[(event.topic, event.partition)] = flash
        elif event.broker is not None:
            self.broker_flashes[event.broker] = flash
        if event.kind is EventKind.LEADER_MOVED:
            self.moves_ms.append(now_ms)

    def _derive(self) -> None:
        cache: dict[str, tuple[TopicImage, list[PartitionRow]]] = {}
        partitions: list[PartitionRow] = []
        topics: list[TopicRow] = []
        leaders: dict[int, int] = {}
        replicas: dict[int, int] = {}
        for name in sorted(self.image.topics):
            topic = self.image.topics[name]
            known = self._cache.get(name)
            rows = known[1] if known is not None and known[0] is topic else _partition_rows(topic)
            cache[name] = (topic, rows)
            partitions += rows
            topics.append(_topic_row(name, rows))
            for row in rows:
                leaders[row.leader] = leaders.get(row.leader, 0) + 1
                for replica in row.replicas:
                    replicas[replica] = replicas.get(replica, 0) + 1
        self._cache, self.partitions, self.topics = cache, partitions, topics
        self.brokers = _broker_rows(self.image.brokers, leaders, replicas, self.controller_id)


def _partition_rows(topic: TopicImage) -> list[PartitionRow]:
    rows = []
    for index, state in enumerate(topic.partitions):
        if state.leader < 0:
            health = Health.OFFLINE
        elif len(state.isr) < len(state.replicas):
            health = Health.UNDER_REPLICATED
        else:
            health = Health.OK
        rows.append(
            PartitionRow(
                topic=topic.name,
                partition=index,
                leader=state.leader,
                leader_epoch=state.leader_epoch,
                partition_epoch=state.partition_epoch,
                replicas=state.replicas,
                isr=state.isr,
                health=health,
            )
        )
    return rows


def _topic_row(name: str, rows: Sequence[PartitionRow]) -> TopicRow:
    return TopicRow(
        name=name,
        partitions=len(rows),
        replication_factor=max((len(row.replicas) for row in rows), default=0),
        under_replicated=sum(row.health is not Health.OK for row in rows),
        offline=sum(row.health is Health.OFFLINE for row in rows),
    )


def _broker_rows(
    brokers: Mapping[int, BrokerRegistration],
    leaders: Mapping[int, int],
    replicas: Mapping[int, int],
    controller_id: int,
) -> list[BrokerRow]:
    rows = []
    for id_ in sorted(set(brokers) | {replica for replica in replicas if replica >= 0}):
        broker = brokers.get(id_)
        if broker is None:
            address, rack, state = "not registered", "", "down"
        else:
            endpoint = broker.endpoints[0] if broker.endpoints else None
            address = f"{endpoint.host}:{endpoint.port}" if endpoint else "no address"
            rack = broker.rack or ""
            state = "fenced" if broker.fenced else "up"
            if broker.in_controlled_shutdown and not broker.fenced:
                state = "stopping"
        rows.append(
            BrokerRow(
                id=id_,
                address=address,
                rack=rack,
                state=state,
                leaders=leaders.get(id_, 0),
                replicas=replicas.get(id_, 0),
                is_controller=id_ == controller_id,
            )
        )
    return rows


def describe_event(event: ClusterEvent) -> tuple[str, str]:
    """An event as (subject, what happened), in words."""
    subject = event.topic or (f"broker {event.broker}" if event.broker is not None else "cluster")
    if event.topic is not None and event.partition is not None:
        subject = f"{event.topic}-{event.partition}"
    before, after = event.before, event.after
    if event.kind is EventKind.LEADER_MOVED:
        before, after = (None if leader == NO_LEADER else leader for leader in (before, after))
    change = f"{_value(before)} → {_value(after)}"
    if event.before is None and event.after is not None:
        change = _value(event.after)
    if event.before is None and event.after is None:
        change = ""
    if event.leader_epoch is not None:
        change = f"{change}  epoch {event.leader_epoch}".strip()
    return subject, change


def _value(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, list | tuple):
        return "[" + " ".join(str(each) for each in value) + "]"
    if isinstance(value, dict):
        return ", ".join(f"{key}={_value(each)}" for key, each in value.items())
    return str(value)
