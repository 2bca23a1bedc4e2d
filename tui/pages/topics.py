"""Topics, one topic, and all partitions with their filters."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal

from clusters.polls import Poll
from tui.drawing import count, size, sparkline
from tui.model import Health, PartitionRow
from tui.pages.base import Desk, Page
from tui.panels import fit_grid, partitions_table, topics_table
from tui.store import ENDS, LAGS, LOG_DIRS
from tui.table import Column

ONLY: dict[str, tuple[str, Callable[[PartitionRow], bool]]] = {
    "problems": ("with problems", lambda row: row.health is not Health.OK),
    "under-replicated": ("under-replicated", lambda row: len(row.isr) < len(row.replicas)),
    "offline": ("offline", lambda row: row.leader < 0),
    "under-min-isr": ("under min ISR", lambda row: row.health is Health.UNDER_MIN_ISR),
    "at-min-isr": ("at min ISR", lambda row: row.at_min_isr),
    "not-preferred": ("not on the preferred leader", lambda row: not row.on_preferred_leader),
}


class TopicsPage(Page):
    """Every topic."""

    KIND, TITLE, DEFAULT_TABLE = "topics", "Topics", "topics"
    HELP = (
        "Topics with the health of their partitions, records written per second, and size of all "
        "replicas. Enter opens one topic."
    )

    def __init__(self, desk: Desk, subject: str = "") -> None:
        super().__init__(desk, subject)
        self.add_table(topics_table(self.store))

    def compose(self) -> ComposeResult:
        """One table."""
        yield self.tables["topics"]

    def wants(self) -> Sequence[Poll]:
        """Rates and sizes."""
        return (ENDS, LOG_DIRS)

    def paint(self) -> None:
        """Draw the table."""
        table = self.tables["topics"]
        ends = self.store.answer(ENDS)
        view = self.store.view
        sizes = self.store.answer(LOG_DIRS)
        table.set_rows(view.topics, (view.version, ends.at_ms, sizes.at_ms))
        table.set_title("Topics", self.note(ends))


class TopicPage(Page):
    """One topic: its partitions, what is written, settings, groups that read it."""

    KIND, TITLE, DEFAULT_TABLE = "topic", "Topic", "partitions"
    HELP = "Partitions with their offsets, records per second, settings, and groups that read it."

    def __init__(self, desk: Desk, subject: str = "") -> None:
        super().__init__(desk, subject)
        ranges = Poll("ranges", subject)

        def offset(row: PartitionRow, side: int) -> Any:
            value = self.store.answer(ranges).value or {}
            return value.get(row.key, (None, None))[side]

        extra: tuple[Column[PartitionRow], ...] = (
            Column(
                "start", 9, lambda r: count(offset(r, 0)), lambda r: offset(r, 0) or 0, True, 100
            ),
            Column("end", 9, lambda r: count(offset(r, 1)), lambda r: offset(r, 1) or 0, True, 85),
        )
        self.add_text("facts", f"Topic {subject}".replace("[", "\\["))
        self.add_text("settings", "Settings that are not default")
        self.add_text("readers", "Groups that read it")
        self.add_table(partitions_table(self.store, desk.now_ms, extra=extra))

    def compose(self) -> ComposeResult:
        """Facts, partitions, and what belongs to them below."""
        yield self.texts["facts"]
        yield self.tables["partitions"]
        with Horizontal(id="below"):
            yield self.texts["settings"]
            yield self.texts["readers"]

    def wants(self) -> Sequence[Poll]:
        """Offsets of this topic, settings, groups, sizes."""
        name = self.about
        return (Poll("ranges", name), Poll("configs", name), LAGS, LOG_DIRS)

    def paint(self) -> None:
        """Draw all panels."""
        view = self.store.view
        row = view.topic_row(self.about)
        table = self.tables["partitions"]
        ranges = self.store.answer(Poll("ranges", self.about))
        fit_grid(table, self.store)
        table.set_rows(view.rows_of(self.about), (view.version, ranges.at_ms))
        table.set_title("Partitions", self.note(ranges))
        if row is None:
            self.texts["facts"].update(f"There is no topic {self.about}.")
            return
        samples = self.store.ends.get(self.about)
        known = [pair for pair in (ranges.value or {}).values() if None not in pair]
        records = sum(end - start for start, end in known) if known else None
        text = Text(no_wrap=True, overflow="ellipsis")
        text.append(
            f"{row.health}   {row.partitions} partitions x {row.replication_factor}", "bold"
        )
        text.append(
            f"   records {count(records)}   size {size(self.store.topic_sizes.get(row.name))}"
        )
        rates = samples.rates() if samples is not None else []
        now = samples.per_second() if samples is not None else None
        text.append(f"\nwritten {count(now)}/s ", "bold")
        text.append(sparkline(rates, max(8, min(60, self.size.width - 24))))
        self.texts["facts"].update(text)
        self.texts["settings"].update(self._settings())
        self.texts["readers"].update(self._readers())

    def _settings(self) -> Text:
        answer = self.store.answer(Poll("configs", self.about))
        text = Text(no_wrap=True, overflow="ellipsis")
        chosen = [entry for entry in answer.value or () if not entry.is_default]
        for entry in chosen:
            value = "(hidden)" if entry.value is None else entry.value
            text.append(f"{entry.name}={value}\n")
        if answer.value is not None and not chosen:
            text.append("all as the brokers have them\n")
        return text.append(self.note(answer))

    def _readers(self) -> Text:
        answer = self.store.answer(LAGS)
        text = Text(no_wrap=True, overflow="ellipsis")
        readers = 0
        for group, lag in sorted((answer.value or {}).items()):
            mine = [] if isinstance(lag, str) else [p for p in lag if p.topic == self.about]
            if mine:
                readers += 1
                behind = sum(each.lag or 0 for each in mine)
                text.append(f"{group}  lag {count(behind)}\n")
        if answer.value is not None and not readers:
            text.append("none\n")
        return text.append(self.note(answer))


class PartitionsPage(Page):
    """All partitions; keys narrow them to what needs attention."""

    KIND, TITLE, DEFAULT_TABLE = "partitions", "Partitions", "partitions"
    HELP = (
        "u under-replicated, o offline, m under min ISR, a at min ISR, p not on the preferred "
        "leader; the same key again shows all. / takes words or a condition: isr < replicas."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("u", "only('under-replicated')", "Under-replicated", id="only.under-replicated"),
        Binding("o", "only('offline')", "Offline", id="only.offline"),
        Binding("m", "only('under-min-isr')", "Under min ISR", id="only.under-min-isr"),
        Binding("a", "only('at-min-isr')", "At min ISR", id="only.at-min-isr"),
        Binding("p", "only('not-preferred')", "Not preferred", id="only.not-preferred"),
    ]

    def __init__(self, desk: Desk, subject: str = "") -> None:
        super().__init__(desk)
        self._only = ""
        self.add_table(partitions_table(self.store, desk.now_ms))
        if subject:
            self.show_only(subject)

    def compose(self) -> ComposeResult:
        """One table."""
        yield self.tables["partitions"]

    def paint(self) -> None:
        """Draw the table."""
        view = self.store.view
        fit_grid(self.tables["partitions"], self.store)
        self.tables["partitions"].set_rows(view.partitions, view.version)

    def show_only(self, name: str) -> None:
        """Narrow to one of ONLY; "" shows all."""
        self._only = name
        label, wanted = ONLY.get(name, ("", None))
        self.tables["partitions"].set_only(wanted, label)

    def action_only(self, name: str) -> None:
        """Narrow, or show all again."""
        self.show_only("" if self._only == name else name)
