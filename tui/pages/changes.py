"""What is otherwise than at a moment that was marked: the net difference, not each step."""

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content

from clusters.watch.events import EventKind
from clusters.watch.slices import in_slices
from tui.drawing import ALARMING, EVENT_SIGNS, age
from tui.marks import CAME_BACK, ISR_CHANGED, Change, Mark, changes_since
from tui.model import value_text
from tui.pages.base import Desk, Page
from tui.prose import Prose
from tui.table import Column, LiveTable

CHANGE_SIGNS = {CAME_BACK: "↺", ISR_CHANGED: "▼"} | {
    str(kind): sign for kind, sign in EVENT_SIGNS.items()
}
WORRYING = {ISR_CHANGED, *map(str, ALARMING)}


class ChangesPage(Page):
    """The difference between a mark and now."""

    KIND, TITLE, DEFAULT_TABLE = "changes", "Changes", "changes"
    HELP = (
        "How the cluster differs from what it was at a mark: when the dashboard began, when you "
        "last pressed a key before you were away, and each moment that you marked. Only what is "
        "otherwise now is told, and what moved away and came back (↺); events have each step."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left_square_bracket", "step(-1)", "Earlier mark", id="changes.earlier"),
        Binding("right_square_bracket", "step(1)", "Later mark", id="changes.later"),
    ]

    def __init__(self, desk: Desk, subject: str = "") -> None:
        super().__init__(desk, subject)
        self._mark: Mark | None = None
        # What was compared last, or is being compared; whether it still is.
        self._compared: tuple[Any, ...] = ()
        self._due = False
        self._rows: list[Change] = []
        self.add_text("facts", "Since")
        self.add_table(_changes_table())

    def compose(self) -> ComposeResult:
        """What is compared, above the differences."""
        yield self.texts["facts"]
        yield self.tables["changes"]

    @property
    def mark(self) -> Mark | None:
        """What is compared with: the newest mark, until somebody steps to another."""
        marks = self.store.marks.all
        if self._mark not in marks:
            self._mark = marks[-1] if marks else None
        return self._mark

    def paint(self) -> None:
        """Draw what was found, and look again where something came since."""
        mark, view = self.mark, self.store.view
        if mark is None:
            self.texts["facts"].update("nothing was told yet")
            return
        self.texts["facts"].update(self._facts(mark))
        if not self._due and self._compared != (mark, view.image, view.controller_id):
            self._due = True
            self.run_worker(self._compare(mark), group="changes", exclusive=True)

    async def _compare(self, mark: Mark) -> None:
        view = self.store.view
        try:
            self._compared = (mark, view.image, view.controller_id)
            now = Mark("", self.desk.wall_ms(), view.image, view.controller_id)
            rows = await in_slices(changes_since(mark, now))
        finally:
            self._due = False
        if mark is self.mark:
            self._rows = rows
            self.tables["changes"].set_rows(rows)
        self.paint()

    def _facts(self, mark: Mark) -> Content:
        marks, prose = self.store.marks.all, Prose()
        since = age(self.desk.wall_ms() - mark.at_ms)
        prose.append(f"{clock_text(mark.at_ms)} UTC", "bold").append(f", {since} ago: {mark.why}")
        prose.append(f"   mark {marks.index(mark) + 1} of {len(marks)}", "dim")
        kinds = Counter(row.kind for row in self._rows)
        said = "   ".join(
            f"{CHANGE_SIGNS.get(kind, '·')} {number} {kind}" for kind, number in kinds.items()
        )
        if said:
            prose.line().append(said, "bold" if WORRYING & set(kinds) else "")
        elif self._compared:
            prose.line().append("● nothing is otherwise than it was then")
        return prose.content()

    def action_step(self, step: int) -> None:
        """Compare with an earlier or a later mark."""
        marks, mark = self.store.marks.all, self.mark
        if mark is not None:
            place = min(max(0, marks.index(mark) + step), len(marks) - 1)
            self.show(marks[place])

    def show(self, mark: Mark) -> None:
        """Compare with this mark."""
        self._mark = mark
        self._due = False
        self.paint()


def clock_text(at_ms: int) -> str:
    """Time of day in UTC."""
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%H:%M:%S}"


def _setting(row: Change) -> str:
    """The name of a setting that is otherwise."""
    return str(row.now if row.now is not None else row.then).partition("=")[0]


def _changes_table() -> LiveTable[Change]:
    def subject(row: Change) -> str:
        if row.topic is not None:
            of = row.topic if row.partition is None else f"{row.topic}-{row.partition}"
        else:
            of = "cluster" if row.broker is None else f"broker {row.broker}"
        return f"{of} {_setting(row)}" if row.kind == EventKind.CONFIG_CHANGED else of

    def row_class(row: Change) -> str:
        return "warning" if row.kind in WORRYING else "dim" if row.kind == CAME_BACK else ""

    def value(row: Change, told: Any) -> str:
        if row.kind == EventKind.CONFIG_CHANGED:
            return "default" if told is None else str(told).partition("=")[2]
        if isinstance(told, Mapping) and "host" in told:
            return f"{told['host']}:{told['port']}"
        leads = row.kind in (EventKind.LEADER_MOVED, CAME_BACK)
        return value_text(None if leads and told == -1 else told)

    def times(number: int | None) -> str:
        return "-" if number is None else str(number)

    return LiveTable(
        [
            Column(
                "what", 20, lambda r: f"{CHANGE_SIGNS.get(r.kind, '·')} {r.kind}", lambda r: r.kind
            ),
            Column(
                "subject", 0, subject, lambda r: (r.topic or "", r.partition or 0), numbered=True
            ),
            Column("then", 0, lambda r: value(r, r.then), lambda r: str(r.then)),
            Column("now", 0, lambda r: value(r, r.now), lambda r: str(r.now), fill=True),
            Column(
                "changes", 7, lambda r: times(r.changes), lambda r: -(r.changes or 0), True, 100
            ),
            Column("leaders", 7, lambda r: times(r.moves), lambda r: -(r.moves or 0), True, 100),
        ],
        key=lambda r: (r.kind, r.topic, r.partition, r.broker, str(r.then), str(r.now)),
        search=lambda r: f"{r.kind} {subject(r)} {r.then} {r.now}",
        row_class=row_class,
        title="Otherwise than then",
        sort_column=None,
        query_table="events",
        fields=lambda r: {
            "kind": r.kind,
            "topic": r.topic,
            "partition": r.partition,
            "broker": r.broker,
            "before": str(r.then),
            "after": r.now,
        },
        id="changes",
    )
