"""The tables of the dashboard: how brokers, topics, partitions and events are drawn.

Nothing here keeps state: rows come from `tui.model`, numbers over time from `tui.store`.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from rich.text import Text

from clusters.watch.events import ClusterEvent
from tui.drawing import (
    ALARMING,
    CLASSES,
    EVENT_SIGNS,
    SIGNS,
    brokers_text,
    count,
    number_text,
    replicas_text,
    size,
    sparkline,
    trail_phase,
    trail_text,
)
from tui.fields import event_fields, partition_fields
from tui.model import BrokerRow, Health, PartitionRow, TopicRow, describe_event
from tui.store import Store
from tui.table import Column, LiveTable

Now = Callable[[], int]
BROKERS_MAX = 12
GRID, GRID_COLUMN = "brokers", 2
SEVERITY = [Health.OFFLINE, Health.UNDER_MIN_ISR, Health.UNDER_REPLICATED, Health.OK]
STATE_SIGNS = {"up": "●", "stopping": "◐"}
# In place of its state, for one that counts as up.
HEARD = {"silent": "? silent", "slow": "◔ slow", "unreachable": "◌ unseen"}
RANK = {health: rank for rank, health in enumerate(SEVERITY)}
OK = Health.OK
RANK_OK = RANK[OK]


def brokers_table(store: Store, now_ms: Now, id_: str = "brokers") -> LiveTable[BrokerRow]:
    """Brokers: id, address, rack, state, leaders, replicas, replicas out of sync, sizes."""
    view = store.view

    def size_of(row: BrokerRow) -> tuple[int | None, int | None, int | None]:
        return store.broker_sizes.get(row.id, (None, None, None))

    def row_class(row: BrokerRow) -> str:
        if view.broker_flash(row.id, now_ms()) is not None:
            return "flash"
        if row.heard == "silent" or (row.state == "up" and row.out_of_room):
            return "error"
        return {"up": "warning" if row.heard else "", "stopping": "warning"}.get(row.state, "error")

    def draw_state(row: BrokerRow) -> str:
        if row.state == "up" and row.out_of_room and row.heard != "silent":
            return "◐ no room"
        return HEARD.get(row.heard) or f"{STATE_SIGNS.get(row.state, '✖')} {row.state}"

    def disk(row: BrokerRow) -> str:
        _, total, free = size_of(row)
        return "-" if not total or free is None else f"{100 - free * 100 // total} %"

    return LiveTable(
        [
            Column("id", 4, lambda r: f"{r.id}{'★' if r.is_controller else ''}", lambda r: r.id),
            Column("address", 0, lambda r: r.address, lambda r: r.address),
            Column("rack", 5, lambda r: r.rack or "-", lambda r: r.rack, wide=60),
            Column("state", 10, draw_state, lambda r: (r.state, r.heard)),
            Column("leads", 6, lambda r: str(r.leaders), lambda r: r.leaders, right=True),
            Column("holds", 6, lambda r: str(r.replicas), lambda r: r.replicas, right=True),
            Column(
                "behind",
                6,
                lambda r: number_text(r.out_of_sync),
                lambda r: -r.out_of_sync,
                True,
                wide=52,
            ),
            Column(
                "size", 9, lambda r: size(size_of(r)[0]), lambda r: size_of(r)[0] or 0, True, 75
            ),
            Column("disk", 6, disk, disk, True, 82),
        ],
        key=lambda r: r.id,
        search=lambda r: f"{r.id} {r.address} {r.rack} {r.state} {draw_state(r)}",
        row_class=row_class,
        phase=lambda r: view.broker_flash(r.id, now_ms()) is not None,
        title="Brokers",
        query_table="brokers",
        fields=broker_fields,
        id=id_,
    )


def broker_fields(row: BrokerRow) -> Mapping[str, Any]:
    """What a condition can ask of a broker."""
    host, _, port = row.address.rpartition(":")
    return {
        "broker": row.id,
        "host": host or row.address,
        "port": int(port) if port.isdigit() else None,
        "rack": row.rack or None,
        "state": {"stopping": "up"}.get(row.state, row.state),
        "controller": row.is_controller,
        "leaders": row.leaders,
        "replicas": row.replicas,
    }


def topics_table(store: Store, id_: str = "topics") -> LiveTable[TopicRow]:
    """Topics with the sum of their partitions' health, and how much is written."""

    def rate(row: TopicRow) -> float | None:
        samples = store.ends.get(row.name)
        return samples.per_second() if samples is not None else None

    def draw_trend(row: TopicRow) -> str:
        samples = store.ends.get(row.name)
        return sparkline(samples.rates(), 16) if samples is not None else ""

    def size_of(row: TopicRow) -> int | None:
        return store.topic_sizes.get(row.name)

    def number(get: Callable[[TopicRow], int]) -> dict[str, Any]:
        return {
            "draw": lambda r: number_text(get(r)),
            "sort": lambda r: -get(r),
            "right": True,
        }

    return LiveTable(
        [
            Column("topic", 0, lambda r: f"{SIGNS[r.health]} {r.name}", lambda r: r.name),
            Column("parts", 6, **number(lambda r: r.partitions)),
            Column("repl", 5, **number(lambda r: r.replication_factor)),
            Column("under", 6, **number(lambda r: r.under_replicated)),
            Column("<minISR", 8, **number(lambda r: r.under_min_isr), wide=70),
            Column("offline", 8, **number(lambda r: r.offline), wide=58),
            Column("msg/s", 7, lambda r: count(rate(r)), lambda r: -(rate(r) or 0), True, 50),
            Column("written", 16, draw_trend, lambda r: -(rate(r) or 0), False, 100),
            Column("size", 9, lambda r: size(size_of(r)), lambda r: -(size_of(r) or 0), True, 80),
        ],
        key=lambda r: r.name,
        search=lambda r: f"{r.name} {r.health}",
        row_class=lambda r: CLASSES[r.health],
        title="Topics",
        query_table="topics",
        fields=topic_fields,
        id=id_,
    )


def topic_fields(row: TopicRow) -> Mapping[str, Any]:
    """What a condition can ask of a topic."""
    return {
        "topic": row.name,
        "partitions": row.partitions,
        "replication": row.replication_factor,
        "internal": row.name.startswith("__"),
        "under_replicated": row.under_replicated + row.filling,
        "offline": row.offline,
        "under_min_isr": row.under_min_isr,
    }


def _draw_leader(row: PartitionRow) -> str:
    leader = str(row.leader) if row.leader >= 0 else "none"
    return leader if row.on_preferred_leader or row.leader < 0 else f"{leader}≠"


def _draw_min(row: PartitionRow) -> str:
    return "-" if row.min_isr is None else str(row.min_isr)


def _draw_state(row: PartitionRow) -> str:
    if row.is_moving:
        told = [f"+{each}" for each in row.adding] + [f"-{each}" for each in row.removing]
        return f"⇢ {' '.join(told)}"
    return "at min ISR" if row.health is not Health.OK and row.at_min_isr else str(row.health)


def partitions_table(
    store: Store, now_ms: Now, id_: str = "partitions", extra: tuple[Column[PartitionRow], ...] = ()
) -> LiveTable[PartitionRow]:
    """The grid of partitions: a row of brokers, leader, ISR, epoch, state, and what changed."""
    view = store.view

    def row_class(row: PartitionRow) -> str:
        if view.flash(row.topic, row.partition, now_ms()) is not None:
            return "flash"
        return CLASSES[row.health]

    def draw_grid(row: PartitionRow) -> Text:
        brokers = [each.id for each in view.brokers]
        if len(brokers) > BROKERS_MAX:
            return replicas_text(row)
        fresh = view.flash(row.topic, row.partition, now_ms()) is not None
        down = [each.id for each in view.brokers if each.state in ("fenced", "down")]
        return brokers_text(row, brokers, fresh, down, view.silent_brokers())

    def phase(row: PartitionRow) -> Any:
        now = now_ms()
        lit = view.flash(row.topic, row.partition, now) is not None
        return lit, trail_phase(view.trail(*row.key), now)

    def severity(row: PartitionRow) -> int:
        # The cluster's own topics after those that people have made; alike, by name as they come.
        own = row.topic.startswith("__")
        # Nearly all of thousands of rows are well, and an enum takes long to be looked up.
        return 2 * (RANK_OK if row.health is OK else RANK[row.health]) + own

    return LiveTable(
        [
            Column(
                "partition",
                0,
                lambda r: f"{SIGNS[r.health]} {r.name}",
                lambda r: (r.topic, r.partition),
                numbered=True,
            ),
            Column("now", 4, lambda r: trail_text(view.trail(*r.key), now_ms()), lambda r: r.key),
            Column(GRID, 14, draw_grid, lambda r: r.replicas),
            Column("leader", 6, _draw_leader, lambda r: r.leader, right=True),
            Column("replicas", 12, replicas_text, lambda r: r.replicas, wide=100),
            Column("isr", 9, lambda r: " ".join(map(str, r.isr)), lambda r: (len(r.isr), r.isr)),
            Column("min", 3, _draw_min, lambda r: r.min_isr or 0, right=True, wide=90),
            Column("epoch", 5, lambda r: str(r.leader_epoch), lambda r: r.leader_epoch, right=True),
            *extra,
            Column("state", 16, _draw_state, severity),
        ],
        key=lambda r: (r.topic, r.partition),
        search=partition_words,
        row_class=row_class,
        title="Partitions",
        query_table="partitions",
        fields=partition_fields(store).of,
        swept=lambda row, place: view.swept(row.replicas, place, now_ms()),
        phase=phase,
        id=id_,
    )


def fit_grid(table: LiveTable[PartitionRow], store: Store) -> None:
    """Put the ids of the brokers above their places in the rows of a partitions table."""
    ids = [str(each.id) for each in store.view.brokers]
    if 0 < len(ids) <= BROKERS_MAX:
        title = " ".join(ids)
        table.set_column(GRID_COLUMN, title, max(len(title) + 1, len(GRID)))
    else:
        table.set_column(GRID_COLUMN, GRID, 14)


def partition_words(row: PartitionRow) -> str:
    """What words are looked for in."""
    health = "ok" if row.health is OK else row.health.value
    moved = "" if row.on_preferred_leader else "not-preferred"
    return f"{row.topic}-{row.partition} {health} leader={row.leader} {moved}"


def event_time(event: ClusterEvent) -> str:
    """The record's time of day in UTC, with milliseconds."""
    try:
        at = datetime.fromtimestamp(event.at_ms / 1000, UTC)
    except (OverflowError, ValueError, OSError):  # a time that no calendar has
        return str(event.at_ms)
    return f"{at:%H:%M:%S}.{event.at_ms % 1000:03d}"


def events_table(id_: str = "events") -> LiveTable[ClusterEvent]:
    """Cluster events as they happened, the newest at the end."""

    def draw_kind(event: ClusterEvent) -> str:
        return f"{EVENT_SIGNS.get(event.kind, '·')} {event.kind}"

    def row_class(event: ClusterEvent) -> str:
        if event.kind in ALARMING:
            return "warning"
        return "" if event.kind in EVENT_SIGNS else "dim"

    def sort_key(event: ClusterEvent) -> tuple[int, str, int]:
        return event.offset, event.topic or "", event.partition or 0

    return LiveTable(
        [
            Column("time (UTC)", 12, event_time, sort_key),
            Column("event", 19, draw_kind, lambda e: (str(e.kind), e.offset)),
            Column(
                "subject",
                0,
                lambda e: describe_event(e)[0],
                lambda e: describe_event(e)[0],
                numbered=True,
            ),
            Column(
                "change",
                0,
                lambda e: describe_event(e)[1],
                lambda e: describe_event(e)[1],
                fill=True,
            ),
            Column("offset", 7, lambda e: str(e.offset), lambda e: e.offset, right=True),
        ],
        key=lambda e: (e.offset, str(e.kind), e.topic, e.partition, e.broker),
        search=lambda e: f"{e.kind} {' '.join(describe_event(e))}",
        row_class=row_class,
        title="Events",
        sort_column=None,
        follow_end=True,
        query_table="events",
        fields=event_fields().of,
        id=id_,
    )
