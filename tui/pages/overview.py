"""The overview: how the cluster stands, what is wrong, what just happened."""

from collections.abc import Sequence
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widget import Widget

from clusters.polls import Poll
from tui.attention import Trouble, troubles
from tui.charts import chart
from tui.drawing import age, count, sparkline
from tui.model import MOVES_MINUTES
from tui.pages.base import Desk, Open, Page
from tui.panel import Frame, Row
from tui.panels import (
    SEVERITY,
    brokers_table,
    events_table,
    fit_grid,
    partitions_table,
    topics_table,
)
from tui.prose import Prose
from tui.quorum import is_silent, standing
from tui.rights import RIGHTS, limit_note
from tui.store import ENDS, FRESH_MS, LOG_DIRS, QUORUM

# Room for panels beside one another, and for more than a few lines of each.
MEDIUM_WIDTH, WIDE_WIDTH = 100, 150
SHORT_HEIGHT, HIGH_HEIGHT = 30, 50


class OverviewPage(Page):
    """What needs attention, brokers, quorum, throughput, topics, partitions, events."""

    KIND, TITLE, DEFAULT_TABLE = "overview", "Overview", "partitions"
    HELP = (
        "Everything in one page. What needs attention is named with what to do about it; ! or a "
        "click goes there. Tab goes from panel to panel, Enter opens what the cursor is on. "
        "Partitions that need attention stand first."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("exclamation_mark", "worst", "Worst", id="overview.worst"),
    ]

    def __init__(self, desk: Desk, subject: str = "") -> None:
        super().__init__(desk, subject)
        store, now = self.store, desk.now_ms
        self.add_table(brokers_table(store, now))
        self.add_table(topics_table(store))
        partitions = self.add_table(partitions_table(store, now))
        partitions.sort_column = len(partitions.columns) - 1
        self.add_table(events_table())
        self.add_text("quorum", "Quorum")
        self.add_text("rates", "Records written per second").redraw = self._plot
        self.add_text("moves", "Leader moves per minute").redraw = self._plot
        self.add_text("attention", "Attention")
        self._top = Row(id="top")
        self._known: tuple[object, ...] = ()
        self._troubles: list[Trouble] = []

    def compose(self) -> ComposeResult:
        """Rows of panels."""
        with self._top:
            yield self.tables["brokers"]
            yield self.texts["quorum"]
            yield self.texts["rates"]
            yield self.texts["moves"]
        yield self.texts["attention"]
        with Frame(id="lower"):
            with Row(id="middle"):
                yield self.tables["topics"]
                yield self.tables["partitions"]
            yield self.tables["events"]

    def wants(self) -> Sequence[Poll]:
        """The quorum's lag, how much is written, sizes."""
        return (QUORUM, ENDS, LOG_DIRS, RIGHTS)

    def paint(self) -> None:
        """Draw all panels."""
        view = self.store.view
        store = self.store
        sizes, ends = store.answer(LOG_DIRS).at_ms, store.answer(ENDS).at_ms
        self._fit()
        self.tables["brokers"].set_rows(view.brokers, (view.version, sizes))
        if self.size.width >= WIDE_WIDTH:
            self.tables["topics"].set_rows(view.topics, (view.version, sizes, ends))
        fit_grid(self.tables["partitions"], store)
        self.tables["partitions"].set_rows(view.partitions, view.version)
        self.tables["partitions"].set_title("Partitions", limit_note(store, "topic"))
        self.tables["events"].set_rows(view.events, view.events_version)
        self.texts["attention"].update(self._attention())
        if self.size.width < MEDIUM_WIDTH:
            return
        self.texts["quorum"].update(self._quorum())
        self._plot()

    def _plot(self) -> None:
        if self.size.width >= MEDIUM_WIDTH:
            self.texts["rates"].update(self._rates())
        if self.size.width >= WIDE_WIDTH:
            self.texts["moves"].update(self._moves())

    def _fit(self) -> None:
        """Give the brokers the lines they need, and no more than the page can spare."""
        wanted = len(self.store.view.brokers) + 3
        if self.size.width >= MEDIUM_WIDTH:
            wanted = max(wanted, 13 if self.size.height >= HIGH_HEIGHT else 8)
        most = 13 if self.size.height >= HIGH_HEIGHT else 8
        _heighten(self._top, min(wanted, most))

    # -- what needs attention

    def _attention(self) -> Content:
        view, now = self.store.view, self.desk.wall_ms()
        told = [self.store.answer(poll) for poll in (LOG_DIRS, QUORUM, ENDS)]
        heard = (self.store.status.mode, *[(each.at_ms, each.problem) for each in told[:2]])
        # How long one has been silent is told to a tenth of a second.
        moment = self.desk.now_ms() // 100 if view.silent_brokers() else now // 1000
        known = (view.version, view.events_version, heard, told[2].problem, moment)
        if known != self._known:
            desk, acts = self.desk, self.desk.acts
            deploys = acts and desk.commander is not None and desk.commander.deploys
            self._known = known
            self._troubles = troubles(
                self.store, now, now_ms=desk.now_ms(), deploys=deploys, acts=acts
            )
        found, prose = self._troubles, Prose()
        panel = self.texts["attention"]
        if self.size.width < MEDIUM_WIDTH:
            self._summary(prose)
        short = self.size.height < SHORT_HEIGHT
        room = 3 if short else 12 if self.size.height >= HIGH_HEIGHT else 6
        # A line that says "and 1 more" is better spent on that one.
        shown = found if len(found) <= room else found[: room - 1]
        for trouble in shown:
            prose.line().append(f"{trouble.sign} {trouble.words}", trouble.tone)
            if trouble.todo:
                prose.append(f"   → {trouble.todo}", "accent")
        if len(found) > len(shown):
            prose.line().append(f"… and {len(found) - len(shown)} more", "dim")
        if not found:
            self._all_well(prose)
        title = f"Attention ({len(found)})" if found else "Attention"
        title = title if self.store.is_live() else f"{title}, as it was"
        if title != panel.border_title:
            panel.border_title = title
        panel.set_class(any(each.tone == "error" for each in found), "bad")
        panel.set_class(bool(found) and all(each.tone != "error" for each in found), "uneasy")
        content = prose.content()
        _heighten(panel, content.plain.count("\n") + 3)
        return content

    def _all_well(self, prose: Prose) -> None:
        view = self.store.view
        if not view.brokers:
            if self.store.status.mode == "lost":
                prose.line().append("? nobody has answered: nothing is known of this cluster yet")
            else:
                prose.line().append("asking …", "dim")
            return
        if not self.store.is_live():
            prose.line().append("? not known: nobody answers", "warning")
            if self.desk.acts and self.desk.commander is not None and self.desk.commander.deploys:
                prose.append("   → `logctl cluster status` says what runs", "accent")
            return
        prose.line().append("● all well", "good")
        health = view.health()
        prose.append(f"   {health.partitions} partitions in sync on {health.brokers} brokers")
        if view.events:
            ago = self.desk.wall_ms() - view.events[-1].at_ms
            prose.append(f"   last event {age(ago)} ago", "dim")

    def _summary(self, prose: Prose) -> None:
        """One line of numbers where there is no room for plots."""
        samples = self.store.ends.get("")
        rate = samples.per_second() if samples is not None else None
        prose.append(f"written {count(rate)}/s ", "bold")
        prose.append(sparkline(samples.rates() if samples is not None else [], 12), "accent")
        moves = self.store.view.moves.values(self.desk.wall_ms())
        prose.append(f"  ⇄ {len(self.store.view.moves_ms)}/min ", "bold")
        prose.append(sparkline(moves, 10, 1), "accent")
        quorum = self.store.answer(QUORUM).value
        controller = self.store.view.controller_id
        prose.append(f"  ★ {controller if controller >= 0 else '-'} ", "bold")
        if quorum is not None:
            away = [each.id for each in quorum.voters if is_silent(quorum, each)]
            worst = max((quorum.lag(voter) or 0 for voter in quorum.voters), default=0)
            silent = f"voter {' '.join(map(str, away))} silent" if away else ""
            lag = f"quorum lag {worst}" if worst > 0 else "quorum in step"
            prose.append(silent or lag, "warning" if silent else "")
        if note := self.note(self.store.answer(ENDS), FRESH_MS):
            prose.append(f"  {note}", "warning")

    def on_click(self, event: events.Click) -> None:
        """A line about a trouble opens the page that shows it."""
        panel = self.texts["attention"]
        place = event.get_content_offset(panel) if event.widget is panel else None
        if place is None:
            return
        index = place.y - (1 if self.size.width < MEDIUM_WIDTH else 0)
        if 0 <= index < len(self._troubles):
            self.post_message(Open(self._troubles[index].place))

    def action_worst(self) -> None:
        """Go to what is worst."""
        if self._troubles:
            self.post_message(Open(self._troubles[0].place))
        else:
            self.notify("Nothing needs attention.")

    # -- quorum and plots

    def _quorum(self) -> Content:
        """Controller and voters, with the age of the answer when it is old."""
        answer, prose = self.store.answer(QUORUM), Prose()
        quorum = answer.value
        if quorum is None:
            return prose.append(self.note(answer, FRESH_MS), "dim").content()
        known = self.store.view.controller_id
        leader = known if known >= 0 else quorum.leader_id
        prose.append(f"controller ★ {leader}" if leader >= 0 else "no controller", "bold")
        prose.line().append(f"epoch {quorum.leader_epoch}  end {quorum.high_watermark}")
        for voter in quorum.voters:
            how, alarming = standing(quorum, voter)
            prose.line().append(f"voter {voter.id}  {how}", "warning" if alarming else "")
        if quorum.observers:
            prose.line().append(f"observers {len(quorum.observers)}", "dim")
        if note := self.note(answer, FRESH_MS):
            prose.line().append(note, "warning")
        return prose.content()

    def _rates(self) -> Content:
        """Records written, as a plot."""
        panel, prose = self.texts["rates"], Prose()
        samples = self.store.ends.get("")
        rate = samples.per_second() if samples is not None else None
        prose.append("counting …" if rate is None else f"{count(rate)}/s now", "bold")
        if note := self.note(self.store.answer(ENDS), FRESH_MS):
            prose.append(f"  {note}", "warning")
        if samples is not None:
            width, height = panel.size.width, panel.size.height - 1
            chart(prose, samples.rates(), width, height, over_ms=samples.span_ms)
        return prose.content()

    def _moves(self) -> Content:
        """Leaders moved, as a plot."""
        panel, prose = self.texts["moves"], Prose()
        moves = self.store.view.moves.values(self.desk.wall_ms())
        now = len(self.store.view.moves_ms)
        prose.append(f"⇄ {now}/min, {sum(moves)} in {MOVES_MINUTES} min", "bold")
        width, height = panel.size.width, panel.size.height - 1
        chart(prose, moves, width, height, over_ms=MOVES_MINUTES * 60_000)
        return prose.content()


def _heighten(widget: Widget, lines: int) -> None:
    height = widget.styles.height
    if height is None or height.value != lines:
        widget.styles.height = lines


__all__ = ["SEVERITY", "OverviewPage"]
