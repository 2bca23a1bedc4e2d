"""The commands of actions that were run from dashboards: what was done, for whoever asks later."""

from datetime import UTC, datetime
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content

from tui.done import Done
from tui.drawing import age
from tui.pages.base import Desk, Page, Subject
from tui.prose import Prose
from tui.table import Column, LiveTable

SIGNS = {"done": "●", "under way": "…", "end not known": "?", "interrupted": "◌", "refused": "○"}


class CommandsPage(Page):
    """What was run, the newest first."""

    KIND, TITLE, DEFAULT_TABLE = "commands", "Commands", "commands"
    HELP = (
        "The commands that actions ran, from this dashboard and others of yours on this machine: "
        "when, on which context, how it ended and what it said last. y copies the command, Y all "
        "of the row, w saves the table. Values of records and secrets are not kept."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("o", "own", "Only this cluster", id="commands.own"),
    ]

    def __init__(self, desk: Desk, subject: str = "") -> None:
        super().__init__(desk, subject)
        self._own = False
        self.add_table(_commands_table())
        self.add_text("facts")

    def compose(self) -> ComposeResult:
        """The commands, and all of the one under the cursor."""
        yield self.tables["commands"]
        yield self.texts["facts"]

    def subject(self) -> Subject | None:
        """The command under the cursor, to be copied; no action is about it."""
        row = self.tables["commands"].cursor_row
        return None if row is None else Subject("command", row.command, data=row)

    def is_ageing(self) -> bool:
        """Other dashboards write the same log."""
        return True

    def paint(self) -> None:
        """Draw what the log holds."""
        log, table = self.desk.done, self.tables["commands"]
        rows = log.entries()
        table.set_rows(rows, (id(rows),))
        table.set_title("Commands of actions", f"⚠ {log.problem}" if log.problem else "")
        self._explain()

    def mark_stale(self, lost: bool) -> None:
        """What was done was done, whatever the cluster tells."""

    def on_live_table_moved(self) -> None:
        """Tell of another one."""
        self._explain()

    def _explain(self) -> None:
        row, panel = self.tables["commands"].cursor_row, self.texts["facts"]
        panel.border_title = "" if row is None else f"{moment(row.at_ms)} UTC"
        panel.update("Nothing was run from a dashboard yet." if row is None else _explained(row))

    def action_own(self) -> None:
        """Only what was run on the cluster that is shown, or all again."""
        self._own = not self._own
        shown = self.desk.cluster
        wanted = (lambda row: row.context == shown) if self._own else None
        self.tables["commands"].set_only(wanted, f"on {shown or 'clusters without a context'}")


def moment(at_ms: int) -> str:
    """Date and time of day in UTC."""
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M:%S}"


def _explained(row: Done) -> Content:
    failed = row.code not in (0, None)
    prose = Prose().append(f"$ {row.command}", "bold").line()
    prose.append(f"{SIGNS.get(row.ended, '✖')} {row.ended}", "error" if failed else "")
    if row.took_ms is not None:
        prose.append(f" after {age(row.took_ms)}")
    prose.append(f"   on {row.context}" if row.context else "")
    return prose.line().append(row.said, "dim").content()


def _commands_table() -> LiveTable[Done]:
    def ended(row: Done) -> str:
        return f"{SIGNS.get(row.ended, '✖')} {row.ended}"

    def command(row: Done) -> str:
        # Where is told beside it.
        return row.command.removeprefix(f"logctl --context {row.context} ")

    def row_class(row: Done) -> str:
        return "" if row.code == 0 or row.ended == "under way" else "warning"

    return LiveTable(
        [
            Column("when, UTC", 19, lambda r: moment(r.at_ms), lambda r: -r.at_ms),
            Column("context", 16, lambda r: r.context or "-", lambda r: r.context, wide=90),
            Column("ended", 15, ended, lambda r: r.ended),
            Column(
                "took",
                8,
                lambda r: "-" if r.took_ms is None else age(r.took_ms),
                lambda r: -(r.took_ms or 0),
                True,
                100,
            ),
            Column("command", 0, command, lambda r: r.command, fill=True),
        ],
        key=lambda r: r.id,
        search=lambda r: f"{moment(r.at_ms)} {r.context} {r.ended} {r.command} {r.said}",
        row_class=row_class,
        title="Commands of actions",
        sort_column=None,
        id="commands",
    )
