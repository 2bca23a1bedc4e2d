"""Events, the quorum, and the choice of another context."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from clusters.polls import Poll
from clusters.watch.events import EventKind
from tui.drawing import age, sparkline
from tui.pages.base import Desk, Page, Place
from tui.panels import events_table
from tui.quorum import lag_text, silent_ms, told_ms
from tui.store import FRESH_MS, QUORUM
from tui.table import Column, LiveTable

KINDS = {
    "leaders": (EventKind.LEADER_MOVED, EventKind.UNCLEAN_ELECTION),
    "isr": (EventKind.ISR_SHRUNK, EventKind.ISR_EXPANDED),
    "brokers": tuple(kind for kind in EventKind if kind.name.startswith(("BROKER", "LOG_DIR"))),
    "topics": (EventKind.TOPIC_CREATED, EventKind.TOPIC_DELETED, EventKind.PARTITIONS_ADDED),
}


class EventsPage(Page):
    """Everything that happened, as the metadata log tells it."""

    KIND, TITLE, DEFAULT_TABLE = "events", "Events", "events"
    HELP = (
        "l leader moves, i ISR changes, b brokers, t topics; the same key again shows all. / takes "
        "words or a condition: topic = orders. Enter goes to what an event is about."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("l", "only('leaders')", "Leader moves", id="events.leaders"),
        Binding("i", "only('isr')", "ISR", id="events.isr"),
        Binding("b", "only('brokers')", "Brokers", id="events.brokers"),
        Binding("t", "only('topics')", "Topics", id="events.topics"),
    ]

    def __init__(self, desk: Desk, subject: str = "") -> None:
        super().__init__(desk)
        self._only = ""
        self.add_text("moves")
        table = self.add_table(events_table())
        if subject:
            table.set_filter(subject)

    def compose(self) -> ComposeResult:
        """Moves per minute above the events."""
        yield self.texts["moves"]
        yield self.tables["events"]

    def paint(self) -> None:
        """Draw the table."""
        view = self.store.view
        moves = view.moves.values(self.desk.wall_ms())
        text = f"⇄ leader moves per minute {sparkline(moves, len(moves), 1)} {moves[-1]}"
        self.texts["moves"].update(text)
        self.tables["events"].set_rows(view.events, view.events_version)

    def action_only(self, name: str) -> None:
        """Narrow to some kinds, or show all again."""
        self._only = "" if self._only == name else name
        kinds = KINDS.get(self._only)
        wanted = None if kinds is None else lambda event: event.kind in kinds
        self.tables["events"].set_only(wanted, self._only)


@dataclass(frozen=True, slots=True)
class QuorumRow:
    """A voter or observer of the metadata quorum; times are milliseconds, None when not told."""

    node: int
    role: str
    end: int
    lag: int | None
    silent_ms: int | None
    behind_ms: int | None
    address: str


class QuorumPage(Page):
    """Who keeps the metadata log, and how far behind each is."""

    KIND, TITLE, DEFAULT_TABLE = "quorum", "Quorum", "quorum"
    HELP = "Voters and observers of the metadata log: how far behind, and since when."

    def __init__(self, desk: Desk, subject: str = "") -> None:
        super().__init__(desk, subject)
        self.add_text("facts", "Metadata quorum")

        def since(value: int | None) -> str:
            return "-" if value is None else age(value)

        table: LiveTable[QuorumRow] = LiveTable(
            [
                Column(
                    "node",
                    6,
                    lambda r: f"{r.node}{'★' if r.role == 'leader' else ''}",
                    lambda r: r.node,
                ),
                Column("role", 10, lambda r: r.role, lambda r: (r.role, r.node)),
                Column("log end", 10, lambda r: str(r.end), lambda r: r.end, True),
                Column(
                    "lag",
                    13,
                    lambda r: lag_text(r.silent_ms, r.lag).removesuffix(" behind"),
                    lambda r: -(r.lag or 0),
                    True,
                ),
                Column(
                    "last fetch", 11, lambda r: since(r.silent_ms), lambda r: r.silent_ms or 0, True
                ),
                Column(
                    "caught up", 11, lambda r: since(r.behind_ms), lambda r: r.behind_ms or 0, True
                ),
                Column("address", 0, lambda r: r.address, lambda r: r.address),
            ],
            key=lambda r: r.node,
            search=lambda r: f"{r.node} {r.role} {r.address}",
            row_class=lambda r: (
                "warning" if r.role == "voter" and lag_text(r.silent_ms, r.lag) != "in step" else ""
            ),
            title="Voters and observers",
            query_table="quorum",
            fields=lambda r: {
                "node": r.node,
                "role": r.role,
                "end": r.end,
                "lag": r.lag,
                "behind": r.behind_ms,
                "silent": r.silent_ms,
            },
            id="quorum",
        )
        self.add_table(table)

    def compose(self) -> ComposeResult:
        """Facts above the nodes."""
        yield self.texts["facts"]
        yield self.tables["quorum"]

    def wants(self) -> Sequence[Poll]:
        """The quorum."""
        return (QUORUM,)

    def place_of(self, row: Any) -> Place | None:
        """The broker of the same id, where there is one."""
        known = {broker.id for broker in self.store.view.brokers}
        return Place("broker", str(row.node)) if row.node in known else None

    def paint(self) -> None:
        """Draw facts and nodes."""
        answer = self.store.answer(QUORUM)
        quorum, text = answer.value, Text()
        if quorum is None:
            self.texts["facts"].update(self.note(answer, FRESH_MS))
            return
        view = self.store.view
        leader = view.controller_id if view.controller_id >= 0 else quorum.leader_id
        text.append(f"★ controller {leader}   epoch {quorum.leader_epoch}", "bold")
        text.append(f"   committed to {quorum.high_watermark}   {self.note(answer, FRESH_MS)}")
        source = self.store.status.source or "nobody"
        if self.store.status.mode == "sampled":
            text.append(f"\nthe log is not read: what there is comes from the broker {source}")
        else:
            text.append(f"\nfollowed at {source}, read up to offset {view.image.offset}")
        self.texts["facts"].update(text)
        now = told_ms(quorum)
        rows = []
        for role, nodes in (("voter", quorum.voters), ("observer", quorum.observers)):
            for node in nodes:
                leads = node.id == leader and role == "voter"
                # The log tells of a new leader at once: of the one before it nothing is known.
                led = node.id == quorum.leader_id and not leads
                behind = quorum.high_watermark - node.log_end_offset
                host, port = quorum.nodes.get(node.id, ("", 0))
                rows.append(
                    QuorumRow(
                        node=node.id,
                        role="leader" if leads else role,
                        end=node.log_end_offset,
                        lag=None if led else behind,
                        silent_ms=silent_ms(quorum, node),
                        behind_ms=_since(node.last_caught_up_ms, now, leads),
                        address=f"{host}:{port}" if host else "",
                    )
                )
        self.tables["quorum"].set_rows(rows, (answer.at_ms, leader))
        self.tables["quorum"].set_title("Voters and observers", self.note(answer, FRESH_MS))


def _since(at_ms: int, now_ms: int, leads: bool) -> int | None:
    return None if at_ms < 0 or leads else max(0, now_ms - at_ms)


@dataclass(frozen=True, slots=True)
class ContextRow:
    """A saved context; `current` is that of the shell, `shown` the one on the screen."""

    name: str
    bootstrap: str
    current: bool
    shown: bool
    read_only: bool


class ContextsPage(Page):
    """The saved contexts; Enter goes to another cluster."""

    KIND, TITLE, DEFAULT_TABLE = "contexts", "Contexts", "contexts"
    HELP = (
        "▶ is the cluster on the screen, ● the current context of the shell. Enter shows another "
        "cluster here; the context of the shell stays as it is."
    )

    def __init__(self, desk: Desk, subject: str = "") -> None:
        super().__init__(desk, subject)
        table: LiveTable[ContextRow] = LiveTable(
            [
                Column(
                    "context",
                    30,
                    lambda r: f"{'▶' if r.shown else ' '}{'●' if r.current else ' '} {r.name}",
                    lambda r: r.name,
                ),
                Column(
                    "changes",
                    10,
                    lambda r: "read-only" if r.read_only else "allowed",
                    lambda r: not r.read_only,
                ),
                Column("brokers", 0, lambda r: r.bootstrap, lambda r: r.bootstrap),
            ],
            key=lambda r: r.name,
            search=lambda r: f"{r.name} {r.bootstrap}",
            title="Contexts",
            id="contexts",
        )
        self.add_table(table)

    def compose(self) -> ComposeResult:
        """One table."""
        yield self.tables["contexts"]

    def place_of(self, row: Any) -> Place | None:
        """The other cluster."""
        return Place("context", row.name)

    def paint(self) -> None:
        """Draw what the configuration file holds."""
        from clusters import state
        from clusters.errors import StateError

        try:
            current = state.current_context()
            rows = [
                ContextRow(
                    name=name,
                    bootstrap=", ".join(each.bootstrap),
                    current=current is not None and current.name == name,
                    shown=name == self.desk.cluster,
                    read_only=each.read_only,
                )
                for name, each in sorted(state.contexts().items())
            ]
        except StateError as error:
            self.tables["contexts"].set_title("Contexts", f"⚠ {error}")
            return
        self.tables["contexts"].set_rows(rows)
