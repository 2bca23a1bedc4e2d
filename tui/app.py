"""The full-screen dashboard: brokers, quorum, topics, partitions and events, as they are now.

Fed by `clusters.watch`; everything on the screen comes from the last update and is marked when the
feed is lost. Tasks only store what arrived, painting happens in one place, so that a thousand
events in a second are painted a few times. It must never draw a stale state as live.
"""

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Protocol

from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.widgets import Footer, Input, Static

from broker.protocol.errors import LogctlError
from clusters.admin import AdminClient, QuorumInfo
from clusters.watch import ClusterFeed, FeedStatus, FeedUpdate
from tui.help import HelpScreen
from tui.model import ClusterView, Health, TopicRow
from tui.panels import brokers_table, events_table, partitions_table, topics_table
from tui.status import guide_text, quorum_text, status_text
from tui.table import LiveTable

PAINT_S = 0.03
PAINT_SHARE = 4
TICK_S = 0.5
QUORUM_POLL_S = 2.0
QuorumSource = Callable[[], Awaitable[QuorumInfo]]


class Feed(Protocol):
    """What the dashboard needs of `clusters.watch.ClusterFeed`."""

    async def __aenter__(self) -> Any: ...

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

    @property
    def status(self) -> FeedStatus:
        """How the feed is doing right now."""
        ...

    def updates(self) -> AsyncIterator[FeedUpdate]:
        """The first update holds the present state, each later one what changed."""
        ...


class Guide(Protocol):
    """A story told in the guide line; `advance` plays the next step when the person says so."""

    @property
    def text(self) -> str:
        """What is happening, or what the next step will do."""
        ...

    @property
    def busy(self) -> bool:
        """Whether a step is under way."""
        ...

    @property
    def finished(self) -> bool:
        """Whether the story is over."""
        ...

    async def advance(self) -> None:
        """Play the next step to its end."""
        ...


def monotonic_ms() -> int:
    """The clock of ages and flashes."""
    return time.monotonic_ns() // 1_000_000


def wall_ms() -> int:
    """Milliseconds since 1970, for the age of the last answer."""
    return time.time_ns() // 1_000_000


class DashboardApp(App[int]):
    """`bootstrap` lists addresses of brokers; a dead one is passed over."""

    CSS_PATH = "dashboard.tcss"
    TITLE = "logctl"
    ENABLE_COMMAND_PALETTE = True
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "Quit"),
        Binding("question_mark", "help", "Help"),
        Binding("slash", "filter", "Filter"),
        Binding("s", "sort", "Sort"),
        Binding("S", "reverse", "Reverse", show=False),
        Binding("u", "problems", "Problems"),
        Binding("tab", "app.focus_next", "Panel", show=False),
        Binding("1", "panel('brokers')", show=False),
        Binding("2", "panel('topics')", show=False),
        Binding("3", "panel('partitions')", show=False),
        Binding("4", "panel('events')", show=False),
        Binding("escape", "clear", "Clear", show=False),
        Binding("n", "advance", "Next step"),
        Binding("ctrl+s", "picture", "Picture", show=False),
    ]

    def __init__(
        self,
        bootstrap: Sequence[str],
        *,
        feed: Feed | None = None,
        quorum: QuorumSource | None = None,
        guide: Guide | None = None,
        name: str = "",
        now_ms: Callable[[], int] = monotonic_ms,
        wall_ms: Callable[[], int] = wall_ms,
    ) -> None:
        super().__init__()
        self.problem: BaseException | None = None
        self.view = ClusterView()
        self.quorum: QuorumInfo | None = None
        self.quorum_at_ms = 0
        self.quorum_problem = ""
        self._bootstrap = list(bootstrap)
        self._feed: Feed = feed or ClusterFeed(self._bootstrap, from_start=True)
        self.feed_status = self._feed.status
        self._quorum_source = quorum
        self._guide = guide
        self._cluster_name = name
        self._now_ms = now_ms
        self._wall_ms = wall_ms
        self._waiting: list[FeedUpdate] = []
        self._paint_due = False
        self._last_source = ""
        self._paint_took_s = 0.0
        # Held here and not looked up: a page on top of the overview must not hide them.
        self._status = Static(id="status")
        self._quorum = Static(id="quorum")
        self._guide_line = Static(id="guide")
        self._filter_box = Input(
            placeholder="show rows with these words; Escape shows all", id="filter"
        )
        self._tables: dict[str, LiveTable[Any]] = {
            "brokers": brokers_table(self.view, self._now_ms),
            "topics": topics_table(),
            "partitions": partitions_table(self.view, self._now_ms),
            "events": events_table(),
        }
        self._filtered = self._tables["partitions"]

    # -- composition

    def compose(self) -> ComposeResult:
        """Status, three rows of panels, the filter and the keys."""
        yield self._status
        with Horizontal(id="top"):
            yield self._tables["brokers"]
            yield self._quorum
        with Horizontal(id="middle"):
            yield self._tables["topics"]
            yield self._tables["partitions"]
        yield self._tables["events"]
        yield self._guide_line
        yield self._filter_box
        yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        """Begin to follow the cluster."""
        self._quorum.border_title = "Quorum"
        self._guide_line.display = self._guide is not None
        self._filter_box.display = False
        self.table("partitions").focus()
        self.run_worker(self._follow(), group="feed", exclusive=True)
        self.run_worker(self._poll_quorum(), group="quorum", exclusive=True)
        self.set_interval(TICK_S, self._tick)
        self._paint()

    def table(self, name: str) -> LiveTable[Any]:
        """A panel by its id."""
        return self._tables[name]

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """The next step is offered only while a story is told."""
        if action == "advance":
            return self._guide is not None and not self._guide.finished
        return True

    # -- what arrives

    async def _follow(self) -> None:
        async with self._feed:
            async for update in self._feed.updates():
                self._waiting.append(update)
                self._schedule()

    def _schedule(self) -> None:
        if not self._paint_due:
            self._paint_due = True
            # A large cluster takes longer to paint: keys must still find the loop free.
            self.set_timer(max(PAINT_S, PAINT_SHARE * self._paint_took_s), self._paint)

    async def _poll_quorum(self) -> None:
        while True:
            try:
                self.quorum = await self._ask_quorum()
                self.quorum_at_ms = self._now_ms()
                self.quorum_problem = ""
            except (LogctlError, OSError) as error:
                self.quorum_problem = str(error)
            self._schedule()
            await asyncio.sleep(QUORUM_POLL_S)

    async def _ask_quorum(self) -> QuorumInfo:
        if self._quorum_source is not None:
            return await self._quorum_source()
        async with AdminClient(self._bootstrap, timeout_ms=3_000) as admin:
            return await admin.quorum()

    # -- painting

    def _paint(self) -> None:
        self._paint_due = False
        started = time.perf_counter()
        waiting, self._waiting = self._waiting, []
        for update in waiting:
            self.view.update(
                update.image, update.events, self._now_ms(), replaying=update.replaying
            )
        if not self.is_running or not self._status.is_attached:
            return
        self.table("brokers").set_rows(self.view.brokers)
        self.table("topics").set_rows(self.view.topics)
        self.table("partitions").set_rows(self.view.partitions)
        self.table("events").set_rows(self.view.events)
        self._paint_status()
        self._paint_took_s = time.perf_counter() - started

    def _paint_status(self) -> None:
        now = self._now_ms()
        before, self.feed_status = self.feed_status, self._feed.status
        self._tell_move(before.source)
        self.view.set_controller(self.feed_status.controller_id)
        lost = self.feed_status.mode in ("lost", "connecting")
        for name in ("brokers", "topics", "partitions"):
            self.table(name).set_class(lost, "stale")
        self._status.set_class(lost, "lost")
        self._status.update(
            status_text(self._cluster_name, self.feed_status, self.view, self._wall_ms())
        )
        self._quorum.update(
            quorum_text(self.quorum, self.view, now - self.quorum_at_ms, self.quorum_problem)
        )
        if self._guide is not None:
            self._guide_line.update(guide_text(self._guide))

    def _tell_move(self, before: str) -> None:
        """Say that the feed goes on at another node, and why it left the one before."""
        source = self.feed_status.source
        self._last_source = before or self._last_source
        if source and self._last_source and source != self._last_source:
            why = f": {self.feed_status.message}" if self.feed_status.message else ""
            self.notify(f"now following {source}{why}", markup=False)
            self._last_source = source

    def _tick(self) -> None:
        was_lit = bool(self.view.flashes or self.view.broker_flashes)
        if self.view.forget_old(self._now_ms()) or was_lit:
            self.table("brokers").refresh()
            self.table("partitions").refresh()
        self._paint_status()

    # -- the end

    def action_help_quit(self) -> None:
        """Ctrl-C leaves, as it ends every other command; Textual would only give advice."""
        self.exit()

    def _fatal_error(self) -> None:
        """Keep the error for `show` instead of drawing its traceback over the terminal."""
        self.problem = sys.exc_info()[1]
        self.panic()

    # -- actions

    def _focused_table(self) -> LiveTable[Any]:
        return self.focused if isinstance(self.focused, LiveTable) else self.table("partitions")

    def action_help(self) -> None:
        """Explain the screen."""
        self.push_screen(HelpScreen())

    def action_panel(self, name: str) -> None:
        """Focus a panel."""
        self.table(name).focus()

    def action_sort(self) -> None:
        """Sort the focused panel by its next column."""
        self._focused_table().sort_next()

    def action_reverse(self) -> None:
        """Reverse the order of the focused panel."""
        table = self._focused_table()
        if table.sort_column is not None:
            table.sort_by(table.sort_column)

    def action_filter(self) -> None:
        """Type a filter for the focused panel."""
        if isinstance(self.screen, HelpScreen):
            return
        self._filtered = self._focused_table()
        box = self._filter_box
        box.value = self._filtered.filter_text
        box.display = True
        box.focus()

    def action_problems(self) -> None:
        """Show only partitions that are under-replicated or offline, or all again."""
        table = self.table("partitions")
        if table.is_narrowed:
            table.set_only(None)
        else:
            table.set_only(lambda row: row.health is not Health.OK, "with problems")

    def action_clear(self) -> None:
        """Leave the filter and show all rows."""
        if self._filter_box.display:
            self._close_filter()
        for name in ("brokers", "topics", "partitions", "events"):
            self.table(name).set_filter("")
        self.table("partitions").set_only(None)

    def action_picture(self) -> None:
        """Save the screen as an SVG picture in the working folder."""
        path = self.save_screenshot(path=os.fspath(Path.cwd()))
        self.notify(f"saved {path}")

    async def action_advance(self) -> None:
        """Play the next step of the story."""
        guide = self._guide
        if guide is None or guide.busy or guide.finished:
            return
        self.run_worker(self._play(guide), group="guide")

    async def _play(self, guide: Guide) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await guide.advance()
        self._paint_status()
        self.refresh_bindings()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Filter while typing."""
        if event.input.display:
            self._filtered.set_filter(event.value)

    def on_input_submitted(self) -> None:
        """Keep the filter, go back to the rows."""
        self._close_filter()

    def _close_filter(self) -> None:
        self._filter_box.display = False
        self._filtered.focus()

    def on_live_table_selected(self, message: LiveTable.Selected) -> None:
        """A topic narrows the partitions to its own."""
        if isinstance(message.row, TopicRow):
            table = self.table("partitions")
            table.set_filter("" if table.filter_text == message.row.name else message.row.name)


async def show_dashboard(
    bootstrap: Sequence[str], *, guide: Guide | None = None, name: str = ""
) -> None:
    """Show the dashboard until the person leaves it. Raises the error that ended it, if one did."""
    app = DashboardApp(bootstrap, guide=guide, name=name)
    await app.run_async()
    if app.problem is not None:
        raise app.problem
    if app.return_code:
        raise RuntimeError(f"the dashboard ended with code {app.return_code}")
