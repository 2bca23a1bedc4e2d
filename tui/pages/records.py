"""Records of a topic as they come, by `logctl tail`: pause, filter, jump, one in full.

Keeps the newest few thousand and reads no faster than it can show: while it is paused or not seen
nothing is read. Must never commit an offset or write anything.
"""

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from tui.drawing import count
from tui.gone import unread_text
from tui.later import call_after
from tui.pages.base import Desk, Page, Subject
from tui.record_screens import ReadScreen, RecordScreen
from tui.records import Progress, Record, read_progress, read_record
from tui.table import Column, LiveTable
from tui.words import command

KEPT_MAX = 5_000
# Characters of the lines as they came: with records of a megabyte fewer are kept.
KEPT_CHARACTERS_MAX = 64_000_000
BURST = 200
PAINT_S = 0.1
FIRST = {"from": "-50", "grep": "", "where": ""}
# Where the column that tells of transactions stands: hidden while no record is of one.
FATE, HIDDEN = 3, 1_000_000
UNDECIDED = {"open", "held"}
COMMITTED = "--isolation-level=read_committed"


class RecordsPage(Page):
    """`subject` is TOPIC or TOPIC:PARTITION."""

    KIND, TITLE, DEFAULT_TABLE = "records", "Records", "records"
    HELP = (
        "The last records and those that come. Space pauses, f reads from another place (an "
        "offset, the last N, a time) or only some, / narrows what is shown, Enter opens one. "
        "Records of aborted and open transactions, and those held behind an open one, are marked "
        "so; o reads only what is committed (read_committed), m shows the commits and aborts."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "pause", "Pause", id="records.pause"),
        Binding("f", "read_from", "Read from", id="records.from"),
        Binding("o", "committed", "Only committed", id="records.committed"),
        Binding("m", "markers", "Commits and aborts", id="records.markers"),
    ]

    def __init__(self, desk: Desk, subject: str = "") -> None:
        super().__init__(desk, subject)
        self.records: deque[Record] = deque()
        self._sizes: deque[int] = deque()
        self._kept = 0
        self.reading = dict(FIRST)
        self.read = 0
        self.paused = False
        # Whether only what is committed is read, and whether control records are shown.
        self.committed = self.markers = False
        # How far each partition is decided, as it was told last.
        self._progress: dict[int, Progress] = {}
        # Of each partition the records that are not decided, as numbers since reading began.
        self._undecided: dict[int, list[int]] = {}
        self._dropped = 0
        self._talk = ""
        # Stands for the reader whose lines are shown.
        self._reader: object = None
        self._version = 0
        self._due = False
        self._burst = 0
        self._go = asyncio.Event()
        self._go.set()
        self.add_table(_records_table())

    def compose(self) -> ComposeResult:
        """One table."""
        yield self.tables["records"]

    def on_mount(self) -> None:
        """Begin to read."""
        super().on_mount()
        self._begin()

    def paint(self) -> None:
        """Draw the table."""
        self._due = False
        table = self.tables["records"]
        table.set_rows(self._rows(), self._version)
        notes = [f"from {self.reading['from'] or 'end'}"]
        if self.committed:
            notes.append("only committed")
        notes += [
            f"{name} {self.reading[name]}" for name in ("grep", "where") if self.reading[name]
        ]
        notes.append(f"{count(self.read)} read")
        left_out = sum(each.left_out for each in self._progress.values())
        if self.committed and left_out:
            notes.append(f"{count(left_out)} aborted left out")
        if self.paused:
            notes.append("⏸ paused")
        subject = self.page_subject()
        where = (subject.name, subject.partition) if subject is not None else (self.about, None)
        if unread := unread_text(self.store, *where, self.desk.wall_ms()):
            notes.append(unread.replace("[", "\\["))
        if self._talk:
            notes.append(self._talk)
        table.set_title(f"Records of {self.about}".replace("[", "\\["), "  ".join(notes))

    def _rows(self) -> list[Record]:
        """The records, and where reading stands while that waits for an open transaction."""
        rows = [each for each in self.records if self.markers or not each.control]
        if self.committed:
            topic = self.about.partition(":")[0]
            for _, progress in sorted(self._progress.items()):
                if (place := progress.place(topic)) is not None:
                    rows.append(place)
        return rows

    def page_subject(self) -> Subject | None:
        """What is read."""
        topic, _, partition = self.about.partition(":")
        if partition.isdigit():
            return Subject("partition", topic, int(partition))
        return Subject("topic", topic)

    # -- reading

    def _begin(self) -> None:
        self.records.clear()
        self._sizes.clear()
        self._kept = 0
        self.read, self._talk = 0, ""
        self._progress, self._undecided, self._dropped = {}, {}, 0
        self._version += 1
        self._reader = None
        if self.desk.commander is None:
            self._talk = "records cannot be read here"
            self.paint()
            return
        self.run_worker(self._read(), group="records", exclusive=True)
        self._soon()

    def _words(self) -> list[str]:
        wanted = self.reading
        only = [f"--{name}={wanted[name]}" for name in ("grep", "where") if wanted[name]]
        since = wanted["from"] or "end"
        level = [COMMITTED] if self.committed else []
        kind = "--format", "json", "--control-records"
        return command("tail", self.about, *kind, "--from", since, *only, *level)

    async def _read(self) -> None:
        commander = self.desk.commander
        assert commander is not None
        self._reader = own = object()

        def hear(line: str) -> Any:
            # One that was interrupted may have lines left: they are of another place.
            return self._hear(line) if self._reader is own else None

        code = await commander.run(self._words(), hear)
        if code and self._reader is own:
            self._talk = self._talk or f"the reader ended with code {code}"
        self._soon()

    def _hear(self, line: str) -> Any:
        if line.startswith("\r"):
            return None  # progress: what is read is counted here
        if self._held:
            return self._later(line)
        self._take(line)
        self._burst += 1
        if self._burst >= BURST:
            # So many in one go: the screen has its turn before the next.
            self._burst = 0
            return asyncio.sleep(PAINT_S)
        return None

    @property
    def _held(self) -> bool:
        return self.paused or not self.display

    async def _later(self, line: str) -> None:
        own = self._reader
        while self._held:
            self._go.clear()
            await self._go.wait()
        if self._reader is own:
            self._take(line)

    def _take(self, line: str) -> None:
        progress = read_progress(line)
        record = read_record(line) if progress is None else None
        if progress is not None:
            self._progress[progress.partition] = progress
            self._decide(progress.partition, progress.told)
            if progress.waits:
                self._show_fates()
        elif record is None:
            self._talk = line.strip() or self._talk
        else:
            self.records.append(record)
            self._sizes.append(len(line))
            self._kept += len(line)
            if record.fate:
                self._show_fates()
            if record.control:
                self._decide(record.partition, record.told)
            elif record.fate in UNDECIDED:
                number = self._dropped + len(self.records) - 1
                self._undecided.setdefault(record.partition, []).append(number)
            while len(self.records) > KEPT_MAX or (
                self._kept > KEPT_CHARACTERS_MAX and len(self.records) > 1
            ):
                self.records.popleft()
                self._dropped += 1
                self._kept -= self._sizes.popleft()
            self.read += not record.control
        self._version += 1
        self._soon()

    def _decide(self, partition: int, control: Mapping[str, Any]) -> None:
        """A control record decides of those before it, which were drawn as open or held."""
        left = []
        for number in self._undecided.pop(partition, ()):
            index = number - self._dropped
            if index >= 0:
                self.records[index] = now = self.records[index].decided(control)
                if now.fate in UNDECIDED:
                    left.append(number)
        if left:
            self._undecided[partition] = left

    def _show_fates(self) -> None:
        columns = self.tables["records"].columns
        if columns[FATE].wide:
            columns[FATE] = replace(columns[FATE], wide=0)

    def on_unmount(self) -> None:
        """The reader ends at once, also while it is paused."""
        self._reader = None
        self._go.set()

    def on_show(self) -> None:
        """Go on when the page is seen again."""
        self._go.set()

    def _soon(self) -> None:
        if not self._due and self.is_attached:
            self._due = True
            call_after(self, PAINT_S, self.paint)

    # -- keys

    def action_pause(self) -> None:
        """Stop reading, or go on where it stopped."""
        self.paused = not self.paused
        if not self.paused:
            self._go.set()
        self.paint()

    def action_read_from(self) -> None:
        """Read from another place, or only some records."""
        self.app.push_screen(ReadScreen(self.reading), self._answered)

    def action_committed(self) -> None:
        """Read only what is committed, or all again: from the same place anew."""
        self.committed = not self.committed
        self.paused = False
        self._go.set()
        self._begin()
        self.paint()

    def action_markers(self) -> None:
        """Show where transactions ended, or hide that."""
        self.markers = not self.markers
        self._version += 1
        self.paint()

    def _answered(self, answers: dict[str, str] | None) -> None:
        if answers is not None:
            self.reading, self.paused = answers, False
            self._go.set()
            self._begin()

    def on_live_table_selected(self, message: LiveTable.Selected) -> None:
        """Enter shows a record in full."""
        message.stop()
        self.app.push_screen(RecordScreen(message.row, self._beside))

    def _beside(self, record: Record, step: int) -> Record | None:
        """The one after or before it; the cursor goes along, so that it is seen behind."""
        table = self.tables["records"]
        # Those that came meanwhile may have taken the cursor along.
        table.move_to_key(_key(record))
        if table.cursor_row is None or _key(table.cursor_row) != _key(record):
            return None
        table.action_cursor(step)
        found: Record = table.cursor_row
        return None if _key(found) == _key(record) else found


def _key(record: Record) -> tuple[str, int, int]:
    return record.topic, record.partition, record.offset


def _records_table() -> LiveTable[Record]:
    columns: list[Column[Record]] = [
        Column("part", 5, lambda r: str(r.partition), lambda r: r.partition, True),
        Column("offset", 12, lambda r: str(r.offset), lambda r: r.offset, True),
        Column("time", 25, lambda r: r.time, lambda r: r.time, wide=90),
        Column("txn", 7, lambda r: r.fate, lambda r: r.fate, wide=HIDDEN),
        Column("key", 18, lambda r: r.key, lambda r: r.key, exact=True),
        Column("value", 0, lambda r: r.value, lambda r: r.value, exact=True),
    ]
    return LiveTable(
        columns,
        key=_key,
        search=lambda r: f"{r.partition} {r.offset} {r.fate} {r.key} {r.value}",
        row_class=lambda r: "dim" if r.fate and r.fate != "held" else "",
        title="Records",
        sort_column=None,
        follow_end=True,
        id="records",
    )
