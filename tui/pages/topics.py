"""Topics, one topic, and all partitions with their filters."""

from collections.abc import Callable, Mapping, Sequence
from heapq import nlargest
from typing import Any, ClassVar

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content

from broker.protocol.image import RESOURCE_TOPIC
from clusters.polls import NO_ANSWER, Answer, Poll
from tui.behind import is_untold, lag_text
from tui.charts import chart
from tui.drawing import SIGNS, count, said_value, size, sparkline
from tui.gone import deleted_text
from tui.model import Health, PartitionRow, TopicRow
from tui.open_transactions import OpenTransactions
from tui.pages.base import Desk, Page
from tui.pages.groups import trend
from tui.panel import Frame
from tui.panels import fit_grid, partitions_table, topics_table
from tui.prose import Prose
from tui.rights import RIGHTS, limit_note, refusal
from tui.store import ENDS, FRESH_MS, LAGS, LOG_DIRS
from tui.table import Column, shortened

PLOTS_WIDTH = 150
# Groups that are told of before it is known how many there is room for.
READERS_MAX = 10
TONE = {
    Health.OK: "",
    Health.UNDER_REPLICATED: "warning",
    Health.UNDER_MIN_ISR: "error",
    Health.OFFLINE: "error",
}

ONLY: dict[str, tuple[str, Callable[[PartitionRow], bool]]] = {
    "problems": ("with problems", lambda row: row.health is not Health.OK),
    "under-replicated": ("under-replicated", lambda row: bool(row.behind)),
    "offline": ("offline", lambda row: row.leader < 0),
    "under-min-isr": ("under min ISR", lambda row: row.health is Health.UNDER_MIN_ISR),
    "at-min-isr": ("at min ISR", lambda row: row.at_min_isr),
    "moving": ("being moved", lambda row: row.is_moving),
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
        return (ENDS, LOG_DIRS, RIGHTS)

    def paint(self) -> None:
        """Draw the table."""
        table = self.tables["topics"]
        ends = self.store.answer(ENDS)
        view = self.store.view
        sizes = self.store.answer(LOG_DIRS)
        table.set_rows(view.topics, (view.version, ends.at_ms, sizes.at_ms))
        table.set_title("Topics", self.note(ends, FRESH_MS) or limit_note(self.store, "topic"))


class TopicPage(Page):
    """One topic: its partitions, what is written, settings, groups that read it."""

    KIND, TITLE, DEFAULT_TABLE = "topic", "Topic", "partitions"
    HELP = "Partitions with their offsets, records per second, settings, and groups that read it."

    def __init__(self, desk: Desk, subject: str = "") -> None:
        super().__init__(desk, subject)
        self._ranges = Poll("ranges", subject)
        # What was last told of offsets, and what each partition got per second until then.
        self._last: Answer = NO_ANSWER
        self._transactions = OpenTransactions()
        self._rates: dict[Any, float] = {}
        # By group that reads this topic; and those of which it is not known.
        self._lags: Any = None
        self._behind: dict[str, int] = {}
        # Of how many partitions its leader did not say how far that is.
        self._uncounted: dict[str, int] = {}
        self._untold = ""
        self.add_text("facts", f"Topic {subject}".replace("[", "\\["))
        self.add_text("rates", "Records written per second")
        self.add_text("settings", "Settings that are not default")
        self.add_text("readers", "Groups that read it")
        self.add_table(partitions_table(self.store, desk.now_ms, extra=self._columns()))

    def _columns(self) -> tuple[Column[PartitionRow], ...]:
        def offset(row: PartitionRow, side: int) -> Any:
            value = self.store.answer(self._ranges).value or {}
            return value.get(row.key, (None, None))[side]

        def held(row: PartitionRow) -> int | None:
            start, end = offset(row, 0), offset(row, 1)
            return None if start is None or end is None else end - start

        return (
            Column(
                "msg/s",
                7,
                lambda r: count(self._rates.get(r.key)),
                lambda r: -self._rates.get(r.key, 0),
                True,
                76,
            ),
            Column(
                "start", 9, lambda r: count(offset(r, 0)), lambda r: offset(r, 0) or 0, True, 130
            ),
            Column("end", 9, lambda r: count(offset(r, 1)), lambda r: offset(r, 1) or 0, True, 86),
            Column("records", 9, lambda r: count(held(r)), lambda r: held(r) or 0, True, 110),
        )

    def compose(self) -> ComposeResult:
        """Facts, partitions, and what belongs to them beside or below."""
        with Frame(id="around"):
            with Frame(id="main"):
                yield self.texts["facts"]
                yield self.tables["partitions"]
            with Frame(id="below"):
                yield self.texts["rates"]
                yield self.texts["settings"]
                yield self.texts["readers"]

    def come_from(self, row: Any) -> None:
        """The partition that a row was about."""
        if (partition := getattr(row, "partition", None)) is not None:
            self.tables["partitions"].move_to_key((self.about, partition))

    def wants(self) -> Sequence[Poll]:
        """Offsets of this topic, settings, groups, sizes."""
        asked = (Poll("configs", self.about), Poll("transactions", self.about))
        return (self._ranges, *asked, LAGS, LOG_DIRS, RIGHTS)

    def paint(self) -> None:
        """Draw all panels."""
        view = self.store.view
        row = view.topic_row(self.about)
        table = self.tables["partitions"]
        ranges = self.store.answer(self._ranges)
        self._take(ranges)
        fit_grid(table, self.store)
        told = view.version, view.brokers_version, ranges.at_ms
        table.set_rows(view.rows_of(self.about), told)
        table.set_title("Partitions", self.note(ranges, FRESH_MS))
        if row is None:
            gone = deleted_text(self.store, self.about, self.desk.wall_ms())
            said = gone if view.brokers else "asking …"
            self.texts["facts"].update(Prose().append(said, "error").content())
            for name in ("rates", "settings", "readers"):
                self.texts[name].update("")  # of what was there before
            return
        self.tell_facts(self._facts(row, ranges))
        self.texts["rates"].update(self._plot())
        self.texts["settings"].update(self._settings())
        self.texts["readers"].update(self._readers())

    def _take(self, answer: Answer) -> None:
        """Work out what each partition got between the last two answers."""
        before, self._last = self._last, answer
        if answer.at_ms == before.at_ms or answer.at_ms is None or before.at_ms is None:
            return
        seconds = (answer.at_ms - before.at_ms) / 1000
        rates = {}
        for key, (_, end) in (answer.value or {}).items():
            old = (before.value or {}).get(key, (None, None))[1]
            if end is not None and old is not None and seconds > 0:
                rates[key] = max(0.0, (end - old) / seconds)
        self._rates = rates

    def _facts(self, row: TopicRow, ranges: Answer) -> Content:
        told = ranges.value or {}
        known = [pair for pair in told.values() if None not in pair]
        records = sum(end - start for start, end in known) if known else None
        bytes_ = self.store.topic_sizes.get(row.name)
        samples = self.store.ends.get(self.about)
        now = samples.per_second() if samples is not None else None
        prose = Prose()
        health = row.health
        prose.append(f"{SIGNS[health]} {health}", "bold" if health is Health.OK else TONE[health])
        answer = self.store.answer(Poll("transactions", self.about))
        held_up = self._transactions.held_up(answer, self.desk.wall_ms())
        prose.append(f"   {held_up}" if held_up else "", "warning")
        prose.append(f"   {row.partitions} partitions x {row.replication_factor} replicas")
        for number, what in (
            (row.offline, "offline"),
            (row.under_min_isr, "under min ISR"),
            (row.at_min_isr, "at min ISR"),
            (row.not_preferred, "not on the preferred leader"),
        ):
            if number:
                prose.append(f"   {number} {what}", "warning")
        prose.line().append(f"written {count(now)}/s ", "bold")
        if samples is not None and self.size.width < PLOTS_WIDTH:
            prose.append(sparkline(samples.rates(), 16), "accent")
        prose.append(f"   records {count(records)}")
        if known and len(known) < row.partitions:
            prose.append(f" in {len(known)} of {row.partitions} partitions", "warning")
        prose.append(f"   size of all replicas {size(bytes_)}")
        self._tell_moving(prose, row)
        return prose.content()

    def _tell_moving(self, prose: Prose, row: TopicRow) -> None:
        """How far its moves are and what holds them back, or what they have left behind."""
        if row.moving:
            said = [f"⇢ {row.moving} being moved"]
            if copied := self.store.copies.of(row.name):
                said.append(copied.words)
            rows = [each for each in self.store.view.rows_of(row.name) if each.is_moving]
            throttles = self.store.throttles()
            if row.name in throttles.topics:
                brokers = {broker for each in rows for broker in each.replicas}
                said.append(throttles.rate_words(brokers))
            prose.line().append(f"{said[0]}: " if len(said) > 1 else said[0], "warning")
            prose.append(", ".join(filter(None, said[1:])))
        elif row.name in self.store.left_throttled():
            prose.line().append("⇣ a throttle was left behind by a move: ", "warning")
            todo = ":throttle off" if self.desk.acts else "logctl partition throttle off"
            prose.append(f"{todo} removes it")

    def _plot(self) -> Content:
        samples, panel, prose = self.store.ends.get(self.about), self.texts["rates"], Prose()
        if samples is None:
            return prose.append("counting …", "dim").content()
        width, height = panel.size.width, panel.size.height
        return chart(prose, samples.rates(), width, height, over_ms=samples.span_ms).content()

    def _settings(self) -> Content:
        answer, prose = self.store.answer(Poll("configs", self.about)), Prose()
        chosen = self._chosen(answer)
        for name, value in chosen.items():
            said = "(hidden)" if value is None else said_value(name, value)
            prose.append(name, "accent").append(f" = {said}\n")
        if answer.value is not None and not chosen:
            prose.append("all as the brokers have them\n")
        self.texts["settings"].set_class(bool(answer.problem), "told-why")
        return refusal(prose, self.note(answer)).content()

    def _chosen(self, answer: Answer) -> dict[str, str | None]:
        """Settings that somebody chose, by name: the answer, and what the log has told since."""
        own: Mapping[str, str] | None
        own = self.store.view.image.configs.get((RESOURCE_TOPIC, self.about), {})
        if self.store.status.mode == "sampled":
            own = None  # nobody tells all of them but the answer
        found: dict[str, str | None] = dict(own or {})
        for entry in answer.value or ():
            if own is None or entry.source != "topic":
                if not entry.is_default:
                    found.setdefault(entry.name, entry.value)
            elif entry.name not in own:
                # No longer the topic's: what lies below it holds, unless that is the default.
                below = [
                    (value, source) for _, value, source in entry.synonyms if source != "topic"
                ]
                if below and below[0][1] != "default":
                    found[entry.name] = below[0][0]
        return dict(sorted(found.items()))

    def _look_for_readers(self, answer: Answer) -> None:
        """Of each group that reads this topic how far it is behind; once for each answer."""
        if answer.value is self._lags:
            return
        self._lags, self._untold = answer.value, ""
        self._behind, self._uncounted = {}, {}
        for group, lag in sorted((answer.value or {}).items()):
            if isinstance(lag, str):
                # Whether it reads this topic is not known either.
                self._untold += f"⚠ {group}: {lag}\n"
            elif mine := [each for each in lag if each.topic == self.about]:
                self._behind[group] = sum(each.lag or 0 for each in mine)
                self._uncounted[group] = sum(map(is_untold, mine))

    def _readers(self) -> Content:
        answer, prose = self.store.answer(LAGS), Prose()
        self._look_for_readers(answer)
        panel = self.texts["readers"]
        shown, room = [*self._behind], panel.size.height or READERS_MAX
        if more := max(0, len(shown) - room + 1) if len(shown) > room else 0:
            # Those that are further behind than all that are not shown.
            shown = nlargest(room - 1, shown, key=self._behind.__getitem__)
        for group in shown:
            lag = f"  lag {lag_text(self._behind[group], self._uncounted[group])}  "
            where = trend(self.store, group)
            # A long name must not push away what is said of it.
            left = panel.size.width - cell_len(lag) - cell_len(where)
            name = shortened(group, left, False) if 1 < left < cell_len(group) else group
            prose.append(name, "accent").append(lag).append(f"{where}\n", "dim")
        if more:
            prose.append(f"and {more} groups that are less behind\n", "dim")
        if answer.value is not None and not shown and not self._untold:
            prose.append("none\n", "dim")
        prose.append(self._untold, "warning")
        return prose.append(self.note(answer), "warning").content()


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
        if subject in ONLY:
            self.show_only(subject)
        elif subject:
            self.tables["partitions"].set_filter(subject)

    def compose(self) -> ComposeResult:
        """One table."""
        yield self.tables["partitions"]

    def wants(self) -> Sequence[Poll]:
        """Whether these are all."""
        return (RIGHTS,)

    def paint(self) -> None:
        """Draw the table."""
        view = self.store.view
        self.tables["partitions"].set_title("Partitions", limit_note(self.store, "topic"))
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
