"""What the dashboard shows, computed from the metadata image: rows, health, changes.

Pure: no widgets, no clock, no protocol calls. Only rows of partitions that changed are made again,
so ten thousand that stand still cost nothing, and neither do those beside one that changed.
"""

from bisect import bisect_right
from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

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
from clusters.polls.standing import Standing
from clusters.watch.events import ClusterEvent, EventKind
from tui.lapses import LAPSING, Lapses
from tui.rows import Rows
from tui.sums import Health, PartitionRow, Tally, TopicRow, TopicSums, rows_of_all

FLASH_MS = 4_000
TRAIL_MS = 60_000
TRAIL_MAX = 6
SWEEP_MS = 1_200
MOVES_WINDOW_MS = 60_000
MOVES_MINUTES = 30
# Of events that flash nothing so many times as many are taken in one turn.
HISTORY_TIMES = 2
MIN_ISR = "min.insync.replicas"
KINDS = tuple(EventKind)
KIND_BITS = 8
TOLD_STANDINGS = ("slow", "silent", "unreachable")
DOWN = (EventKind.BROKER_FENCED, EventKind.BROKER_LEFT, EventKind.BROKER_STOPPING)

__all__ = [
    "BrokerRow",
    "ClusterView",
    "Flash",
    "Health",
    "HealthCounts",
    "PartitionRow",
    "TopicRow",
    "describe_event",
    "value_text",
]


@dataclass(frozen=True, slots=True)
class BrokerRow:
    """One broker; `state` is up, fenced or stopping, as the controller says.

    `out_of_room`: none of its log dirs takes records, though it is up. `heard` is how one that
    counts as up answers when asked from here: "" as it should or not known, slow, silent, or
    unreachable (see `clusters.polls.standing`).
    """

    id: int
    address: str
    rack: str
    state: str
    leaders: int
    replicas: int
    is_controller: bool
    out_of_sync: int = 0
    out_of_room: bool = False
    heard: str = ""


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
    moving: int = 0
    silent: int = 0


@dataclass(frozen=True, slots=True)
class Flash:
    """A change that is still to be seen: what kind, and when it happened (monotonic ms)."""

    kind: EventKind
    at_ms: int


@dataclass(slots=True)
class ClusterView:
    """The latest image and what was derived from it. `update` is its only change.

    `version` grows with each change of rows; `events_version` with each event; `brokers_version`
    where brokers are drawn otherwise, in the rows of all partitions too.
    """

    image: MetadataImage = EMPTY_IMAGE
    controller_id: int = -1
    brokers: list[BrokerRow] = field(default_factory=list)
    topics: Rows[TopicRow] = field(default_factory=Rows)
    partitions: Rows[PartitionRow] = field(default_factory=Rows)
    events: Rows[ClusterEvent] = field(default_factory=Rows)
    # Those that changed last stand at the end, so that the faded are found at once.
    flashes: OrderedDict[tuple[str, int], Flash] = field(default_factory=OrderedDict)
    broker_flashes: dict[int, Flash] = field(default_factory=dict)
    # Tuples of numbers, `_packed`: Python's garbage collector goes through no such tuple, and in a
    # storm there are more changes to be shown than anything else.
    trails: OrderedDict[tuple[str, int], tuple[int, ...]] = field(default_factory=OrderedDict)
    sweeps: dict[int, int] = field(default_factory=dict)
    moves_ms: list[int] = field(default_factory=list)
    moves: Buckets = field(default_factory=lambda: Buckets(60_000, MOVES_MINUTES))
    lapses: Lapses = field(default_factory=Lapses)
    events_max: int = 5_000
    version: int = 0
    events_version: int = 0
    brokers_version: int = 0
    default_min_isr: int | None = None
    # How brokers that count as up answer when they are asked from here.
    standings: Mapping[int, Standing] = field(default_factory=dict)
    _rows_behind: bool = False
    # Events that are not taken yet, and whether they are history.
    _pending: deque[tuple[Sequence[ClusterEvent], bool]] = field(default_factory=deque)
    _sums: dict[str, TopicSums] = field(default_factory=dict)
    _tally: Tally = field(default_factory=Tally)
    # What the sums were made from.
    _derived: MetadataImage = EMPTY_IMAGE
    _derived_default: int | None = None

    def update(
        self,
        image: MetadataImage,
        events: Sequence[ClusterEvent],
        now_ms: int,
        *,
        replaying: bool = False,
        limit: int | None = None,
    ) -> None:
        """Take the newest image and the events that led to it; `now_ms` is monotonic.

        With a limit no more than that many partitions and events are taken at once: while
        `is_behind` says so, the same image is to be given again.
        """
        if events:
            self._pending.append((events, replaying))
        if image is not self.image or self.is_behind:
            self.image = image
            self._take_events(now_ms, limit)
            self._derive(limit)

    @property
    def is_behind(self) -> bool:
        """Whether rows or events wait to be taken."""
        return self._rows_behind or bool(self._pending)

    def _take_events(self, now_ms: int, limit: int | None) -> None:
        """Take what waits, in its order; of history more at once, as nothing of it flashes."""
        left = limit
        while self._pending and (left is None or left > 0):
            events, replaying = self._pending.popleft()
            times = HISTORY_TIMES if replaying else 1
            if left is not None:
                fitting = left * times
                if len(events) > fitting:
                    self._pending.appendleft((events[fitting:], replaying))
                    events = events[:fitting]
                left -= -(-len(events) // times)
            for event in events:
                if event.kind is EventKind.LEADER_MOVED:
                    self.moves.add(event.at_ms)
                elif event.kind in LAPSING:
                    self.lapses.note(event, self.image)
                if not replaying:
                    self._flash(event, now_ms)
            self.events_version += 1
            self.events.push(events, self.events_max)

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

    def set_standings(self, standings: Mapping[int, Standing]) -> None:
        """How brokers answer, which the metadata log tells late if at all."""
        self.standings = standings
        self._derive()

    def silent_brokers(self) -> list[int]:
        """Those that count as up and do not answer."""
        return [row.id for row in self.brokers if row.heard == "silent"]

    def rows_of(self, topic: str) -> list[PartitionRow]:
        """The partitions of a topic; none when there is no such topic."""
        known = self._sums.get(topic)
        return known.rows if known is not None else []

    def topic_row(self, topic: str) -> TopicRow | None:
        """The row of a topic, or None."""
        known = self._sums.get(topic)
        return known.row if known is not None else None

    def health(self) -> HealthCounts:
        """The cluster in one line."""
        return HealthCounts(
            brokers=len(self.brokers),
            brokers_up=sum(row.state == "up" for row in self.brokers),
            topics=len(self.topics),
            partitions=len(self.partitions),
            under_replicated=self._tally.under_replicated,
            offline=self._tally.offline,
            not_preferred=self._tally.not_preferred,
            under_min_isr=self._tally.under_min_isr,
            at_min_isr=self._tally.at_min_isr,
            moving=self._tally.moving,
            silent=sum(row.heard == "silent" for row in self.brokers),
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
        return [_unpacked(each) for each in self.trails.get((topic, partition), ())]

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
        while self.flashes and now_ms - next(iter(self.flashes.values())).at_ms >= FLASH_MS:
            self.flashes.popitem(last=False)
        while self.trails and now_ms - _at_ms(next(iter(self.trails.values()))[-1]) >= TRAIL_MS:
            self.trails.popitem(last=False)
        self.broker_flashes = {
            k: v for k, v in self.broker_flashes.items() if now_ms - v.at_ms < FLASH_MS
        }
        self.sweeps = {k: v for k, v in self.sweeps.items() if now_ms - v < 2 * SWEEP_MS}
        del self.moves_ms[: bisect_right(self.moves_ms, now_ms - MOVES_WINDOW_MS)]
        return bool(self.flashes or self.broker_flashes or self.trails)

    def _flash(self, event: ClusterEvent, now_ms: int) -> None:
        flash = Flash(event.kind, now_ms)
        if event.topic is not None and event.partition is not None:
            key = (event.topic, event.partition)
            self.flashes[key] = flash
            self.flashes.move_to_end(key)
            last = self.trails.pop(key, ())[1 - TRAIL_MAX :]
            self.trails[key] = (*last, _packed(flash))
        elif event.broker is not None:
            self.broker_flashes[event.broker] = flash
            if event.kind in DOWN:
                self.sweeps[event.broker] = now_ms
        if event.kind is EventKind.LEADER_MOVED:
            self.moves_ms.append(now_ms)

    def _derive(self, limit: int | None = None) -> None:
        """Make rows of what changed since the last time; all of them when topics came or went."""
        image, before = self.image, self._derived
        told_anew = (
            image.configs is not before.configs or self.default_min_isr != self._derived_default
        )
        self._derived, self._derived_default = image, self.default_min_isr
        if told_anew or self._rows_behind or image.topics is not before.topics:
            self._derive_topics(told_anew, limit)
        tally = self._tally
        brokers = _broker_rows(image.brokers, tally, self.standings, self.controller_id)
        if list(map(_drawn_with, brokers)) != list(map(_drawn_with, self.brokers)):
            # Whether replicas are offline is asked of partitions, too.
            self.partitions.touch()
            self.brokers_version += 1
        self.brokers = brokers
        self.version += 1

    def _derive_topics(self, told_anew: bool, limit: int | None) -> None:
        image, known = self.image, self._sums
        self._rows_behind = False
        changed: list[tuple[TopicSums, TopicImage]] = []
        for name, topic in image.topics.items():
            sums = known.get(name)
            if sums is None or len(sums.rows) != len(topic.partitions):
                break
            if told_anew and sums.min_isr != self._min_isr(name):
                break
            if sums.image is not topic:
                changed.append((sums, topic))
        else:
            if len(image.topics) == len(known):
                for sums, topic in changed:
                    if limit is not None and limit <= 0:
                        self._rows_behind = True
                        return
                    taken = self._amend(sums, topic, limit)
                    limit = None if limit is None else limit - taken
                    self._rows_behind = self._rows_behind or sums.image is not topic
                return
        self._derive_all()

    def _amend(self, sums: TopicSums, topic: TopicImage, limit: int | None) -> int:
        """Take the changed partitions of one topic, and say how many."""
        was = sums.row
        changes = sums.changes(topic, limit)
        for index, before, now in changes:
            self._tally.count(before, -1)
            self._tally.count(now)
            self.partitions.put(sums.start + index, now)
        if sums.row != was:
            self.topics.put(sums.place, sums.row)
        return len(changes)

    def _derive_all(self) -> None:
        known, made, tally = self._sums, {}, Tally()
        for name in sorted(self.image.topics):
            topic, min_isr = self.image.topics[name], self._min_isr(name)
            sums = known.get(name)
            if sums is None or sums.image is not topic or sums.min_isr != min_isr:
                sums = TopicSums(topic, min_isr)
            made[name] = sums
            tally.merge(sums.tally)
        self._sums, self._tally = made, tally
        every = list(made.values())
        self.partitions.renew(rows_of_all(every))
        self.topics.renew(each.row for each in every)

    def _min_isr(self, topic: str) -> int | None:
        for key in ((RESOURCE_TOPIC, topic), (RESOURCE_BROKER, "")):
            value = self.image.configs.get(key, {}).get(MIN_ISR, "")
            if value.isdigit():
                return int(value)
        return self.default_min_isr


def _packed(flash: Flash) -> int:
    return flash.at_ms << KIND_BITS | KINDS.index(flash.kind)


def _unpacked(number: int) -> Flash:
    return Flash(KINDS[number & (1 << KIND_BITS) - 1], _at_ms(number))


def _at_ms(number: int) -> int:
    return number >> KIND_BITS


def _drawn_with(row: BrokerRow) -> tuple[int, str, bool]:
    """What rows of partitions are drawn with, of a broker."""
    return row.id, row.state, row.heard == "silent"


def _broker_rows(
    brokers: Mapping[int, BrokerRegistration],
    tally: Tally,
    standings: Mapping[int, Standing],
    controller_id: int,
) -> list[BrokerRow]:
    rows = []
    for id_ in sorted(set(brokers) | {replica for replica in tally.replicas if replica >= 0}):
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
        # One that is down or stopping is expected not to answer.
        standing = standings.get(id_) if state == "up" else None
        heard = standing.state if standing is not None else ""
        rows.append(
            BrokerRow(
                id=id_,
                address=address,
                rack=rack,
                state=state,
                leaders=tally.leaders.get(id_, 0),
                replicas=tally.replicas.get(id_, 0),
                is_controller=id_ == controller_id,
                out_of_sync=tally.out_of_sync.get(id_, 0),
                heard=heard if heard in TOLD_STANDINGS else "",
                out_of_room=broker is not None and broker.out_of_room,
            )
        )
    return rows


def describe_event(event: ClusterEvent) -> tuple[str, str]:
    """An event as (subject, what happened), in words."""
    subject = event.topic or (f"broker {event.broker}" if event.broker is not None else "cluster")
    if event.topic is not None and event.partition is not None:
        subject = f"{event.topic}-{event.partition}"
    before, after = event.before, event.after
    if event.kind in (EventKind.LEADER_MOVED, EventKind.UNCLEAN_ELECTION):
        before, after = (None if leader == NO_LEADER else leader for leader in (before, after))
    change = f"{value_text(before)} → {value_text(after)}"
    if event.kind is EventKind.BROKER_JOINED and isinstance(after, Mapping):
        where = f"at {after.get('host')}:{after.get('port')}"
        return subject, where + (f", rack {after['rack']}" if after.get("rack") else "")
    if event.kind is EventKind.BROKER_LEFT and isinstance(before, Mapping):
        return subject, f"was at {before.get('host')}:{before.get('port')}"
    if event.kind in (EventKind.LOG_DIR_OFFLINE, EventKind.LOG_DIR_ONLINE):
        return subject, f"log dirs that take records {change}"
    if event.kind is EventKind.CONTROLLER_CHANGED:
        change = "is the controller" if before is None else f"controller {change}"
    elif event.before is None and event.after is not None:
        change = value_text(event.after)
    if event.before is None and event.after is None:
        change = ""
    if event.leader_epoch is not None:
        change = f"{change}  epoch {event.leader_epoch}".strip()
    return subject, change


def value_text(value: object) -> str:
    """A JSON value of an event, in words."""
    if value is None:
        return "none"
    if isinstance(value, list | tuple):
        return "[" + " ".join(str(each) for each in value) + "]"
    if isinstance(value, dict):
        return ", ".join(f"{key}={value_text(each)}" for key, each in value.items())
    return str(value)
