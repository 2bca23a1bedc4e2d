"""The overview: how the cluster stands, what is wrong, what just happened."""

from collections.abc import Sequence

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Horizontal

from clusters.polls import Poll
from tui.drawing import count, plot, sparkline
from tui.pages.base import Desk, Page
from tui.panels import (
    SEVERITY,
    brokers_table,
    events_table,
    fit_grid,
    partitions_table,
    topics_table,
)
from tui.status import quorum_text
from tui.store import ENDS, LOG_DIRS, QUORUM


class OverviewPage(Page):
    """Brokers, quorum, throughput, topics, partitions, events."""

    KIND, TITLE, DEFAULT_TABLE = "overview", "Overview", "partitions"
    HELP = (
        "Everything in one page. Tab goes from panel to panel, Enter opens what the cursor is on. "
        "Partitions that need attention stand first."
    )

    def __init__(self, desk: Desk, subject: str = "") -> None:
        super().__init__(desk, subject)
        store, now = self.store, desk.now_ms
        self.add_table(brokers_table(store, now))
        self.add_table(topics_table(store))
        partitions = self.add_table(partitions_table(store, now))
        partitions.sort_column = len(partitions.columns) - 1
        self.add_table(events_table())
        self.add_text("quorum", "Quorum")
        self.add_text("rates", "Now")

    def compose(self) -> ComposeResult:
        """Three rows of panels."""
        with Horizontal(id="top"):
            yield self.tables["brokers"]
            yield self.texts["quorum"]
            yield self.texts["rates"]
        with Horizontal(id="middle"):
            yield self.tables["topics"]
            yield self.tables["partitions"]
        yield self.tables["events"]

    def wants(self) -> Sequence[Poll]:
        """The quorum's lag, how much is written, sizes."""
        return (QUORUM, ENDS, LOG_DIRS)

    def paint(self) -> None:
        """Draw all panels."""
        view = self.store.view
        store = self.store
        sizes, ends = store.answer(LOG_DIRS).at_ms, store.answer(ENDS).at_ms
        self.tables["brokers"].set_rows(view.brokers, (view.version, sizes))
        if self.size.width >= 150:
            self.tables["topics"].set_rows(view.topics, (view.version, sizes, ends))
        fit_grid(self.tables["partitions"], self.store)
        self.tables["partitions"].set_rows(view.partitions, view.version)
        self.tables["events"].set_rows(view.events, view.events_version)
        answer = self.store.answer(QUORUM)
        old_ms = answer.age_ms(self.desk.now_ms()) or 0
        self.texts["quorum"].update(quorum_text(answer.value, view, old_ms, answer.problem))
        self.texts["rates"].update(self._rates())

    def _rates(self) -> Text:
        """Records written and leaders moved, as plots."""
        text = Text(no_wrap=True, overflow="crop")
        width = max(8, self.texts["rates"].size.width - 2)
        samples = self.store.ends.get("")
        rate = samples.per_second() if samples is not None else None
        text.append(f"written {count(rate)}/s ", "bold")
        if note := self.note(self.store.answer(ENDS)):
            text.append(note)
        for line in plot(samples.rates() if samples is not None else [], width, 2):
            text.append(f"\n{line}")
        moves = self.store.view.moves.values(self.desk.wall_ms())
        text.append(f"\n⇄ {moves[-1]} moves this minute, {sum(moves)} in 30", "bold")
        text.append(f"\n{sparkline(moves, min(width, len(moves)), 1)}")
        health = self.store.view.health()
        text.append(f"\nat min ISR {health.at_min_isr}  not preferred {health.not_preferred}")
        return text


__all__ = ["SEVERITY", "OverviewPage"]
