"""The panels of the overview: how brokers, topics, partitions and events are drawn.

State is told by sign and word first, by colour second, so that a screen without colour says the
same. Nothing here keeps state: rows come from `tui.model`.
"""

from collections.abc import Callable
from datetime import UTC, datetime

from rich.text import Text

from clusters.watch.events import ClusterEvent, EventKind
from tui.model import BrokerRow, ClusterView, Health, PartitionRow, TopicRow, describe_event
from tui.table import Column, LiveTable

SIGNS = {Health.OK: "●", Health.UNDER_REPLICATED: "◐", Health.OFFLINE: "✖"}
CLASSES = {Health.OK: "", Health.UNDER_REPLICATED: "warning", Health.OFFLINE: "error"}
EVENT_SIGNS = {
    EventKind.LEADER_MOVED: "⇄",
    EventKind.ISR_SHRUNK: "▼",
    EventKind.ISR_EXPANDED: "▲",
    EventKind.BROKER_FENCED: "✖",
    EventKind.BROKER_UNFENCED: "●",
    EventKind.CONTROLLER_CHANGED: "★",
}
ALARMING = (EventKind.ISR_SHRUNK, EventKind.BROKER_FENCED)
Now = Callable[[], int]


def replicas_text(row: PartitionRow) -> Text:
    """Replicas in preferred order: the leader in brackets, one out of sync behind a cross."""
    text = Text()
    for replica in row.replicas:
        if replica == row.leader:
            text.append(f"<{replica}>", "bold")
        elif replica in row.isr:
            text.append(f" {replica} ")
        else:
            text.append(f"✗{replica} ", "dim")
    return text


def brokers_table(view: ClusterView, now_ms: Now) -> LiveTable[BrokerRow]:
    """Brokers: id, address, rack, state, leaders, replicas."""

    def row_class(row: BrokerRow) -> str:
        if view.broker_flash(row.id, now_ms()) is not None:
            return "flash"
        return {"up": "", "stopping": "warning"}.get(row.state, "error")

    def draw_state(row: BrokerRow) -> str:
        sign = {"up": "●", "stopping": "◐"}.get(row.state, "✖")
        return f"{sign} {row.state}"

    return LiveTable(
        [
            Column("id", 4, lambda r: f"{r.id}{'★' if r.is_controller else ''}", lambda r: r.id),
            Column("address", 0, lambda r: r.address, lambda r: r.address),
            Column("rack", 5, lambda r: r.rack or "-", lambda r: r.rack),
            Column("state", 10, draw_state, lambda r: r.state),
            Column("leads", 6, lambda r: str(r.leaders), lambda r: r.leaders, right=True),
            Column("holds", 6, lambda r: str(r.replicas), lambda r: r.replicas, right=True),
        ],
        key=lambda r: r.id,
        search=lambda r: f"{r.id} {r.address} {r.rack} {r.state}",
        row_class=row_class,
        title="Brokers",
        id="brokers",
    )


def topics_table() -> LiveTable[TopicRow]:
    """Topics with the sum of their partitions' health."""
    return LiveTable(
        [
            Column("topic", 0, lambda r: f"{SIGNS[r.health]} {r.name}", lambda r: r.name),
            Column("parts", 5, lambda r: str(r.partitions), lambda r: r.partitions, right=True),
            Column(
                "repl",
                4,
                lambda r: str(r.replication_factor),
                lambda r: r.replication_factor,
                right=True,
            ),
            Column(
                "under",
                6,
                lambda r: str(r.under_replicated),
                lambda r: -r.under_replicated,
                right=True,
            ),
        ],
        key=lambda r: r.name,
        search=lambda r: f"{r.name} {r.health}",
        row_class=lambda r: CLASSES[r.health],
        title="Topics",
        id="topics",
    )


def partitions_table(view: ClusterView, now_ms: Now) -> LiveTable[PartitionRow]:
    """The grid of partitions: leader, replicas, ISR, epoch, state."""

    def row_class(row: PartitionRow) -> str:
        if view.flash(row.topic, row.partition, now_ms()) is not None:
            return "flash"
        return CLASSES[row.health]

    def draw_leader(row: PartitionRow) -> str:
        leader = str(row.leader) if row.leader >= 0 else "none"
        return leader if row.on_preferred_leader or row.leader < 0 else f"{leader}≠"

    return LiveTable(
        [
            Column(
                "partition",
                0,
                lambda r: f"{SIGNS[r.health]} {r.name}",
                lambda r: (r.topic, r.partition),
            ),
            Column("leader", 6, draw_leader, lambda r: r.leader, right=True),
            Column("replicas", 12, replicas_text, lambda r: r.replicas),
            Column("isr", 9, lambda r: " ".join(map(str, r.isr)), lambda r: (len(r.isr), r.isr)),
            Column("epoch", 5, lambda r: str(r.leader_epoch), lambda r: r.leader_epoch, right=True),
            Column("state", 16, lambda r: str(r.health), lambda r: str(r.health)),
        ],
        key=lambda r: (r.topic, r.partition),
        search=lambda r: (
            f"{r.name} {r.health} leader={r.leader} "
            f"{'' if r.on_preferred_leader else 'not-preferred'}"
        ),
        row_class=row_class,
        title="Partitions",
        id="partitions",
    )


def event_time(event: ClusterEvent) -> str:
    """The record's time of day in UTC, with milliseconds."""
    at = datetime.fromtimestamp(event.at_ms / 1000, UTC)
    return f"{at:%H:%M:%S}.{event.at_ms % 1000:03d}"


def events_table() -> LiveTable[ClusterEvent]:
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
            Column("subject", 18, lambda e: describe_event(e)[0], lambda e: describe_event(e)[0]),
            Column("change", 0, lambda e: describe_event(e)[1], lambda e: describe_event(e)[1]),
            Column("offset", 7, lambda e: str(e.offset), lambda e: e.offset, right=True),
        ],
        key=lambda e: (e.offset, str(e.kind), e.topic, e.partition, e.broker),
        search=lambda e: f"{e.kind} {' '.join(describe_event(e))}",
        row_class=row_class,
        title="Events",
        sort_column=None,
        follow_end=True,
        id="events",
    )
