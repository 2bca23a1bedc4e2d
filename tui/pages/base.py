"""What every page of the dashboard is: tables and texts between the shared header and footer.

A page reads the store and paints; it never asks a cluster anything. It says what has to be polled
while it is seen (`wants`), and what the cursor is on (`subject`), for actions.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

from rich.cells import cell_len, chop_cells
from textual.content import Content
from textual.geometry import Size
from textual.message import Message
from textual.widgets import Static

from clusters.polls import Answer, Poll
from tui.done import DoneLog, done_log
from tui.doors import Commander
from tui.drawing import age
from tui.looks import PutsOffLooks
from tui.panel import Frame, Panel
from tui.rings import forget_lines
from tui.store import FRESH_MS, STALE_MS, Store
from tui.table import LiveTable

# Of a panel's width its title has less by so many cells, and so high are facts beside a name.
TITLE_EDGES = 2
FACTS_HEIGHT = 5


class Place(NamedTuple):
    """A page, and what it is about: ("topic", "orders")."""

    kind: str
    subject: str = ""


@dataclass(frozen=True, slots=True)
class Subject:
    """What the cursor is on: `kind` broker, topic, partition, group, setting, event or cluster."""

    kind: str
    name: str = ""
    partition: int | None = None
    data: Any = None

    def __str__(self) -> str:
        return self.name if self.partition is None else f"{self.name}-{self.partition}"


class Open(Message):
    """Somebody wants to see another page."""

    def __init__(self, place: Place) -> None:
        self.place = place
        super().__init__()


class Stands(Message):
    """A page is there, with its tables."""

    def __init__(self, page: "Page") -> None:
        self.page = page
        super().__init__()


@dataclass(frozen=True, slots=True)
class Desk:
    """What pages are made with: store, clocks (monotonic, since 1970), who runs commands."""

    store: Store
    now_ms: Callable[[], int]
    wall_ms: Callable[[], int]
    commander: Commander | None = None
    read_only: bool = False
    # The name of the cluster that is shown.
    cluster: str = ""
    # The name of the colour of its context.
    color: str | None = None
    # What was run from dashboards.
    done: DoneLog = field(default_factory=done_log)

    @property
    def acts(self) -> bool:
        """Whether the cluster can be changed from here."""
        return self.commander is not None and not self.read_only


class Page(PutsOffLooks, Frame):
    """`KIND` is its name in commands, `TITLE` in the header, `HELP` what the help page says."""

    # All of it lies under its parts: to draw it costs as much as to draw them.
    BLANK = True
    _size_painted = Size(0, 0)
    _name_lines: Sequence[str] = ()
    KIND: ClassVar[str] = ""
    TITLE: ClassVar[str] = ""
    HELP: ClassVar[str] = ""
    DEFAULT_TABLE: ClassVar[str] = ""

    def __init__(self, desk: Desk, subject: str = "") -> None:
        super().__init__(classes=f"page {self.KIND}")
        self.desk = desk
        self.store = desk.store
        self.about = subject
        self.tables: dict[str, LiveTable[Any]] = {}
        self.texts: dict[str, Static] = {}

    def on_mount(self) -> None:
        """Draw what is known at once, with the cursor where work begins."""
        self.paint()
        self.post_message(Stands(self))

    def on_resize(self) -> None:
        """Fit what is drawn to the new size, once its parts know theirs."""
        if self.display and self.size != self._size_painted:
            self._size_painted = self.size
            self.call_after_refresh(self.paint)

    @property
    def size(self) -> Size:
        """Its size; while it is hidden the last one, so that it is fitted before it is shown."""
        return super().size or self._size_painted

    def add_table(self, table: LiveTable[Any]) -> LiveTable[Any]:
        """Keep a table by its id."""
        self.tables[str(table.id)] = table
        return table

    def add_text(self, name: str, title: str = "") -> Panel:
        """A panel of text, kept by its id."""
        panel = self.texts[name] = Panel(id=name, classes="panel")
        panel.border_title = title
        return panel

    @property
    def crumb(self) -> str:
        """Where this is, for the header."""
        return f"{self.TITLE.lower()} {self.about}".strip()

    def main_table(self) -> LiveTable[Any] | None:
        """The table that has the focus first."""
        return self.tables.get(self.DEFAULT_TABLE)

    def wants(self) -> Sequence[Poll]:
        """What has to be polled while this page is seen."""
        return ()

    def paint(self) -> None:
        """Draw what the store says now."""
        raise NotImplementedError

    def mark_stale(self, lost: bool) -> None:
        """Draw dim what is no longer known to be so; events have happened, whatever came then."""
        for name, table in self.tables.items():
            table.set_class(lost and name != "events", "stale")
        for panel in self.texts.values():
            panel.set_class(lost, "stale")

    def forget(self) -> None:
        """Let go of rows and drawn lines once this page is closed (see `tui.rings`)."""
        for table in self.tables.values():
            table.forget()
        forget_lines(self)

    def is_ageing(self) -> bool:
        """Whether an age is shown that grows while nothing comes."""
        if self.store.view.silent_brokers():
            return True
        now = self.desk.now_ms()
        answers = [self.store.answer(poll) for poll in self.wants()]
        return any(each.problem or (each.age_ms(now) or 0) > FRESH_MS for each in answers)

    def refresh_trails(self) -> None:
        """Draw again what fades."""
        for table in self.tables.values():
            table.refresh_fading()

    def subject(self) -> Subject | None:
        """What the cursor of the focused table is on."""
        table = self.focused_table()
        row = table.cursor_row if table is not None else None
        return subject_of(row) if row is not None else None

    def subjects(self) -> list[Subject | None]:
        """What an action may be about, the nearest first; None stands for the whole cluster.

        On the page of a group or broker that comes before its rows, on the page of a topic after
        them; the topic of a row comes last.
        """
        row, page = self.subject(), self.page_subject()
        nearest = (page, row) if page is not None and page.kind != "topic" else (row, page)
        found: list[Subject | None] = [each for each in nearest if each is not None]
        if row is not None and row.kind == "partition":
            found.append(Subject("topic", row.name))
        return [*found, None]

    def page_subject(self) -> Subject | None:
        """The topic, broker or group that this page is about."""
        known = self.about and self.KIND in ("topic", "broker", "group")
        return Subject(self.KIND, self.about) if known else None

    def focused_table(self) -> LiveTable[Any] | None:
        """The table with the focus, else the main one."""
        for table in self.tables.values():
            if table.has_focus:
                return table
        return self.main_table()

    def place_of(self, row: Any) -> Place | None:
        """Where Enter on a row leads."""
        subject = subject_of(row)
        if subject is None:
            return None
        if subject.kind in ("broker", "group"):
            return Place(subject.kind, subject.name)
        return Place("topic", subject.name) if subject.kind in ("topic", "partition") else None

    def come_from(self, row: Any) -> None:
        """Put the cursor on what a row of another page was about, where that is shown here."""

    def tell_facts(self, facts: Content) -> None:
        """Draw them, below the name of what this page is about where the title cuts it."""
        panel = self.texts["facts"]
        width, title = panel.size.width, f"{self.TITLE} {self.about}"
        lines = chop_cells(self.about, width) if 0 < width < cell_len(title) + TITLE_EDGES else ()
        if lines != self._name_lines:
            self._name_lines = lines
            panel.styles.height = "auto" if lines else None
            panel.styles.max_height = FACTS_HEIGHT + len(lines) if lines else None
        name = Content("".join(f"{line}\n" for line in lines)).stylize("bold")
        panel.update(name + facts if lines else facts)

    def note(self, answer: Answer, fresh_ms: int = 2 * STALE_MS) -> str:
        """What is to be said of an answer's age; "" while it is fresh."""
        old_ms = answer.age_ms(self.desk.now_ms())
        if old_ms is None:
            return f"⚠ {answer.problem}" if answer.problem else "asking …"
        if answer.problem:
            return f"⚠ {age(old_ms)} old: {answer.problem}"
        return f"{age(old_ms)} old" if old_ms > fresh_ms else ""


def subject_of(row: Any) -> Subject | None:
    """What a row is about."""
    from clusters.admin import GroupSummary
    from clusters.watch import ClusterEvent
    from tui.marks import Change
    from tui.model import BrokerRow, PartitionRow, TopicRow
    from tui.pages.groups import GroupRow
    from tui.pages.settings import SettingRow
    from tui.pages.simple import QuorumRow

    if isinstance(row, QuorumRow):
        return Subject("broker", str(row.node), data=row)
    if isinstance(row, SettingRow):
        # What is secret must stand in no command: no action is about it.
        return Subject("secret" if row.sensitive else "setting", row.name, data=row)
    if isinstance(row, BrokerRow):
        return Subject("broker", str(row.id), data=row)
    if isinstance(row, TopicRow):
        return Subject("topic", row.name, data=row)
    if isinstance(row, PartitionRow):
        return Subject("partition", row.topic, row.partition, row)
    if isinstance(row, GroupRow | GroupSummary):
        return Subject("group", row.group, data=row)
    if isinstance(row, ClusterEvent | Change):
        if row.topic is not None:
            kind = "topic" if row.partition is None else "partition"
            return Subject(kind, row.topic, row.partition, row)
        if row.broker is not None:
            return Subject("broker", str(row.broker), data=row)
    topic, partition = getattr(row, "topic", None), getattr(row, "partition", None)
    return Subject("partition", topic, partition, row) if topic is not None else None
