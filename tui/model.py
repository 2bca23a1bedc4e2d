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
    RESOURCE_BROKER,
    RESOURCE_TOPIC,
    BrokerRegistration,
    MetadataImage,
    TopicImage,
)
from clusters.polls.series import Buckets
from clusters.watch.events import ClusterEvent, EventKind

FLASH_MS = 4_000
TRAIL_MS = 60_000
TRAIL_MAX = 6
SWEEP_MS = 1_200
MOVES_WINDOW_MS = 60_000
MOVES_MINUTES = 30
MIN_ISR = "min.insync.replicas"
DOWN = (EventKind.BROKER_FENCED, EventKind.BROKER_LEFT, EventKind.BROKER_STOPPING)


class Health(StrEnum):
    """How a partition or topic stands, from best to worst."""

    OK = "ok"
    UNDER_REPLICATED = "under-replicated"
    UNDER_MIN_ISR = "under min ISR"
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
    out_of_sync: int = 0


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
    min_isr: int | None = None
    adding: tuple[int, ...] = ()
    removing: tuple[int, ...] = ()

    @property
    def key(self) -> tuple[str, int]:
        """(topic, partition)."""
        return self.topic, self.partition

    @property
    def at_min_isr(self) -> bool:
        """Whether one more loss stops acks=all; False where min.insync.replicas is not known."""
        return self.min_isr is not None and 0 < len(self.isr) == self.min_isr < len(self.replicas)

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
    under_min_isr: int = 0
    at_min_isr: int = 0
    not_preferred: int = 0

    @property
    def health(self) -> Health:
        """The worst of its partitions."""
        if self.offline:
            return Health.OFFLINE
        if self.under_min_isr:
            return Health.UNDER_MIN_ISR
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
    under_min_isr: int = 0
    at_min_isr: int = 0


@dataclass(frozen=True, slots=True)
class Flash:
    """A change that is still to be seen: what kind, and when it happened (monotonic ms)."""

    kind: EventKind
    at_ms: int


@dataclass(frozen=True, slots=True)
class _TopicSums:
    """What one topic adds to the counts; made again only when its image changed."""

    image: TopicImage
    min_isr: int | None
    rows: list[PartitionRow]
    row: TopicRow
    leaders: Mapping[int, int]
    replicas: Mapping[int, int]
    out_of_sync: Mapping[int, int]


@dataclass(slots=True)
class ClusterView:
    """The latest image and what was derived from it. `update` is its only change.

    `version` grows with each change of rows; `events_version` with each event.
    """

    image: MetadataImage = EMPTY_IMAGE
    controller_id: int = -1
    brokers: list[BrokerRow] = field(default_factory=list)
    topics: list[TopicRow] = field(default_factory=list)
    partitions: list[PartitionRow] = field(default_factory=list)
    events: list[ClusterEvent] = field(default_factory=list)
    flashes: dict[tuple[str, int], Flash] = field(default_factory=dict)
    broker_flashes: dict[int, Flash] = field(default_factory=dict)
    trails: dict[tuple[str, int], list[Flash]] = field(default_factory=dict)
    sweeps: dict[int, int] = field(default_factory=dict)
    moves_ms: list[int] = field(default_factory=list)
    moves: Buckets = field(default_factory=lambda: Buckets(60_000, MOVES_MINUTES))
    events_max: int = 5_000
    version: int = 0
    events_version: int = 0
    default_min_isr: int | None = None
    _cache: dict[str, _TopicSums] = field(default_factory=dict)

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
            if event.kind is EventKind.LEADER_MOVED:
                self.moves.add(event.at_ms)
            if not replaying:
                self._flash(event, now_ms)
        if events:
            self.events_version += 1
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

    def set_default_min_isr(self, number: int | None) -> None:
        """The brokers' own min.insync.replicas, which the metadata log does not tell."""
        if number != self.default_min_isr:
            self.default_min_isr = number
            self._derive()

    def rows_of(self, topic: str) -> list[PartitionRow]:
        """The partitions of a topic; none when there is no such topic."""
        known = self._cache.get(topic)
        return known.rows if known is not None else []

    def topic_row(self, topic: str) -> TopicRow | None:
        """The row of a topic, or None."""
        known = self._cache.get(topic)
        return known.row if known is not None else None

    def health(self) -> HealthCounts:
        """The cluster in one line."""
        return HealthCounts(
            brokers=len(self.brokers),
            brokers_up=sum(row.state == "up" for row in self.brokers),
            topics=len(self.topics),
            partitions=len(self.partitions),
            under_replicated=sum(row.under_replicated for row in self.topics),
            offline=sum(row.offline for row in self.topics),
            not_preferred=sum(row.not_preferred for row in self.topics),
            under_min_isr=sum(row.under_min_isr for row in self.topics),
            at_min_isr=sum(row.at_min_isr for row in self.topics),
        )

    def flash(self, topic: str, partition: int, now_ms: int) -> Flash | None:
        """The change of a partition that is not older than FLASH_MS."""
        found = self.flashes.get((topic, partition))
        return found if found is not None and now_ms - found.at_ms < FLASH_MS else None

    def broker_flash(self, broker: int, now_ms: int) -> Flash | None:
        """The change of a broker that is not older than FLASH_MS."""
        found = self.broker_flashes.get(broker)
        return found if found is not None and now_ms - found.at_ms < FLASH_MS else None

    def trail(self, topic: str, partition: int) -> Sequence[Flash]:
        """The last changes of a partition, the newest at the end."""
        return self.trails.get((topic, partition), ())

    def swept(self, replicas: Sequence[int], place: float, now_ms: int) -> bool:
        """Whether a sweep is passing over `place` (0 the first line, 1 the last)."""
        for broker, at_ms in self.sweeps.items():
            front = (now_ms - at_ms) / SWEEP_MS
            if broker in replicas and front - 0.25 < place <= front < 1.3:
                return True
        return False

    def sweeping(self, now_ms: int) -> bool:
        """Whether a broker that went down is sweeping over the screen."""
        return any(now_ms - at_ms < SWEEP_MS * 1.3 for at_ms in self.sweeps.values())

    def forget_old(self, now_ms: int) -> bool:
        """Drop changes that have faded; whether any are still to be seen."""
        self.flashes = {k: v for k, v in self.flashes.items() if now_ms - v.at_ms < FLASH_MS}
        self.broker_flashes = {
            k: v for k, v in self.broker_flashes.items() if now_ms - v.at_ms < FLASH_MS
        }
        self.trails = {k: v for k, v in self.trails.items() if now_ms - v[-1].at_ms < TRAIL_MS}
        self.sweeps = {k: v for k, v in self.sweeps.items() if now_ms - v < 2 * SWEEP_MS}
        self.moves_ms = [at for at in self.moves_ms if now_ms - at < MOVES_WINDOW_MS]
        return bool(self.flashes or self.broker_flashes or self.trails)

    def _flash(self, event: ClusterEvent, now_ms: int) -> None:
        flash = Flash(event.kind, now_ms)
        if event.topic is not None and event.partition is not None:
            key = (event.topic, event.partition)
            self.flashes[key] = flash
            trail = self.trails.setdefault(key, [])
            trail.append(flash)
            del trail[:-TRAIL_MAX]
        elif event.broker is not None:
            self.broker_flashes[event.broker] = flash
            if event.kind in DOWN:
                self.sweeps[event.broker] = now_ms
        if event.kind is EventKind.LEADER_MOVED:
            self.moves_ms.append(now_ms)

    def _derive(self) -> None:
        cache: dict[str, _TopicSums] = {}
        partitions: list[PartitionRow] = []
        topics: list[TopicRow] = []
        leaders: dict[int, int] = {}
        replicas: dict[int, int] = {}
        out_of_sync: dict[int, int] = {}
        for name in sorted(self.image.topics):
            image, min_isr = self.image.topics[name], self._min_isr(name)
            sums = self._cache.get(name)
            if sums is None or sums.image is not image or sums.min_isr != min_isr:
                sums = _topic_sums(image, min_isr, sums)
            cache[name] = sums
            partitions += sums.rows
            topics.append(sums.row)
            for into, counts in (
                (leaders, sums.leaders),
                (replicas, sums.replicas),
                (out_of_sync, sums.out_of_sync),
            ):
                for broker, number in counts.items():
                    into[broker] = into.get(broker, 0) + number
        self._cache, self.partitions, self.topics = cache, partitions, topics
        self.brokers = _broker_rows(
            self.image.brokers, leaders, replicas, out_of_sync, self.controller_id
        )
        self.version += 1

    def _min_isr(self, topic: str) -> int | None:
        for key in ((RESOURCE_TOPIC, topic), (RESOURCE_BROKER, "")):
            value = self.image.configs.get(key, {}).get(MIN_ISR, "")
            if value.isdigit():
                return int(value)
        return self.default_min_isr


def _topic_sums(topic: TopicImage, min_isr: int | None, before: _TopicSums | None) -> _TopicSums:
    # Most partitions of a topic that changed did not: their rows stay as they are.
    known = before if before is not None and before.min_isr == min_isr else None
    rows = _partition_rows(topic, min_isr, known)
    leaders: dict[int, int] = {}
    replicas: dict[int, int] = {}
    out_of_sync: dict[int, int] = {}
    for row in rows:
        leaders[row.leader] = leaders.get(row.leader, 0) + 1
        for replica in row.replicas:
            replicas[replica] = replicas.get(replica, 0) + 1
            if replica not in row.isr:
                out_of_sync[replica] = out_of_sync.get(replica, 0) + 1
    return _TopicSums(
        topic, min_isr, rows, _topic_row(topic.name, rows), leaders, replicas, out_of_sync
    )


def _partition_rows(
    topic: TopicImage, min_isr: int | None, known: _TopicSums | None
) -> list[PartitionRow]:
    rows = []
    kept = known.image.partitions if known is not None else ()
    for index, state in enumerate(topic.partitions):
        if known is not None and index < len(kept) and kept[index] is state:
            rows.append(known.rows[index])
            continue
        if state.leader < 0:
            health = Health.OFFLINE
        elif min_isr is not None and len(state.isr) < min(min_isr, len(state.replicas)):
            health = Health.UNDER_MIN_ISR
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
                min_isr=min_isr,
                adding=state.adding,
                removing=state.removing,
            )
        )
    return rows


def _topic_row(name: str, rows: Sequence[PartitionRow]) -> TopicRow:
    return TopicRow(
        name=name,
        partitions=len(rows),
        replication_factor=max((len(row.replicas) for row in rows), default=0),
        under_replicated=sum(len(row.isr) < len(row.replicas) for row in rows),
        offline=sum(row.health is Health.OFFLINE for row in rows),
        under_min_isr=sum(row.health is Health.UNDER_MIN_ISR for row in rows),
        at_min_isr=sum(row.at_min_isr for row in rows),
        not_preferred=sum(not row.on_preferred_leader for row in rows),
    )


def _broker_rows(
    brokers: Mapping[int, BrokerRegistration],
    leaders: Mapping[int, int],
    replicas: Mapping[int, int],
    out_of_sync: Mapping[int, int],
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
                out_of_sync=out_of_sync.get(id_, 0),
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
