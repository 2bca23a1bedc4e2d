"""The full-screen dashboard: one frame around pages that show the cluster as it is now.

Fed by `clusters.watch` and `clusters.polls`. Tasks only store what arrived; painting happens in one
place and only for the page that is seen, so that a thousand events in a second are painted a few
times. It must never draw a stale state as live: the first line of every page says how it stands.
"""

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, ClassVar

from textual import events
from textual.app import App, ComposeResult, SystemCommand
from textual.await_complete import AwaitComplete
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widgets import Input, Static

from broker.protocol.errors import LogctlError
from clusters.polls import Poll, Poller, PollKind, Questions
from clusters.watch import ClusterFeed, FeedUpdate
from clusters.watch.slices import in_slices
from tui import keys, preferences
from tui.actions import (
    ACTIONS,
    Action,
    Offer,
    offers,
    possible_actions,
    why_impossible,
)
from tui.ahead import TypedAhead
from tui.collecting import Collector
from tui.commands import CommandProblem
from tui.copying import row_as_json
from tui.dialog import Palette
from tui.doors import (
    Commander,
    Feed,
    Guide,
    MonotonicClock,
    Target,
    TargetOf,
    TargetProblem,
    monotonic_ms,
    saved_target,
    wall_ms,
)
from tui.ending import draw_anew, told_to_end
from tui.help import help_of, last_line
from tui.later import call_after
from tui.line import WordsLine
from tui.names import known_names
from tui.obeying import obey
from tui.pages import MAIN_PAGES, PAGES, Open, Page, Place, Subject, make_page, page_id
from tui.pages.base import Desk, Stands
from tui.palette import own_commands
from tui.panel import Frame
from tui.refusal import CSS as REFUSAL_CSS
from tui.refusal import refusal_text
from tui.rings import forget_lines
from tui.status import address_text, guide_text, keys_text, status_text, tabs_text
from tui.store import Store
from tui.table import LiveTable

PAINT_S = 0.03
PAINT_SHARE = 3
PAUSE_S_MAX = 0.25
AT_ONCE_S = 0.002
# What a key changes is drawn before what comes from the cluster meanwhile.
KEY_FIRST_S = 0.08
ROWS_AT_ONCE = 2_000
TICK_S = 0.5
SWEEP_FRAME_S = 0.06
POLL_TIMEOUT_MS = 4_000
PLACES_MAX = 50
PROBLEM_S = 15
TABS = [(kind, page.TITLE) for kind, page in MAIN_PAGES.items()]
FeedOf = Callable[[Sequence[str]], Feed]


def _feed(bootstrap: Sequence[str]) -> Feed:
    return ClusterFeed(bootstrap, from_start=True)


class DashboardApp(TypedAhead):
    """`bootstrap` lists addresses of brokers; a dead one is passed over."""

    CSS_PATH = "dashboard.tcss"
    CSS = REFUSAL_CSS
    TITLE = "logctl"
    ENABLE_COMMAND_PALETTE = True
    # The page says which of its tables has the focus.
    AUTO_FOCUS = None
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-medium"), (150, "-wide"), (200, "-wider")]
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "Quit", id="quit"),
        Binding("question_mark", "help", "Help", id="help"),
        # At once: the letters that follow are words, and must not be taken for keys of the page.
        Binding("slash", "filter", "Filter", id="filter", priority=True),
        Binding("colon", "command", "Go to", id="command", priority=True),
        Binding("v", "records", "Records", id="records"),
        Binding("s", "sort", "Sort", id="sort"),
        Binding("S", "reverse", "Reverse", show=False, id="reverse"),
        Binding("tab", "app.focus_next", "Panel", show=False),
        # In dialogs and lines, too.
        Binding("ctrl+c", "give_up", "Leave", show=False, priority=True),
        Binding("ctrl+z", "suspend_process", "Shell", show=False, id="suspend", priority=True),
        *(
            # At once, too: what is typed after it is meant for that page.
            Binding(f"{number}", f"page('{kind}')", title, False, priority=True, id=f"page.{kind}")
            for number, (kind, title) in enumerate(TABS, 1)
        ),
        Binding("escape,backspace", "step_back", "Back", show=False),
        Binding("y", "copy", "Copy", show=False, id="copy"),
        Binding("Y", "copy_row", "Copy as JSON", show=False, id="copy.json"),
        Binding("r", "again", "Ask again", show=False, id="again"),
        Binding("T", "next_theme", "Theme", show=False, id="theme"),
        Binding("n", "advance", "Next step", id="next"),
        Binding("ctrl+s", "picture", "Picture", show=False, id="picture"),
    ]

    def __init__(
        self,
        bootstrap: Sequence[str],
        *,
        feed: Feed | None = None,
        kinds: Mapping[str, PollKind] | None = None,
        guide: Guide | None = None,
        name: str = "",
        read_only: bool = False,
        now_ms: Callable[[], int] = monotonic_ms,
        wall_ms: Callable[[], int] = wall_ms,
        feed_of: FeedOf = _feed,
        admin_of: Callable[[], Any] | None = None,
        commander: Commander | None = None,
        target_of: TargetOf | None = None,
    ) -> None:
        super().__init__()
        self.problem: BaseException | None = None
        self.bootstrap = list(bootstrap)
        self.cluster_name = name
        self.read_only = read_only
        self._feed_of = feed_of
        self._admin_of = admin_of
        self.commander = commander
        self._target_of = target_of if target_of is not None else saved_target
        self._feed = feed if feed is not None else feed_of(self.bootstrap)
        self._kinds = kinds
        self._guide = guide
        self.now_ms = now_ms
        self.wall_ms = wall_ms
        self._clock = MonotonicClock(now_ms, wall_ms)
        self.store = Store(self._feed.status)
        self._poller: Poller | None = None
        self._pages: dict[str, Page] = {}
        self._places: list[Place] = []
        self._waiting: list[FeedUpdate] = []
        self._paint_due = False
        self._sweep_due = False
        self._last_source = ""
        self._paint_took_s = 0.0
        self._painted_s = 0.0
        # When the first came of what waits to be painted.
        self._came_s = 0.0
        self._collector: Collector | None = None
        self._chosen = keys.Chosen()
        # Held here and not looked up: a page on top must not hide them.
        self._status = Static(id="status")
        self._tabs = Static(id="tabs")
        self._body = Frame(id="body")
        self._guide_line = Static(id="guide")
        self._bar = WordsLine()
        # One line of text: Textual's Footer makes a widget of each key, anew for each page.
        self._keys = Static(id="keys")
        self._drawn: dict[Static, Any] = {}
        self.register_theme(preferences.DARK)
        self.register_theme(preferences.LIGHT)
        self._begin_dark()

    # -- composition

    def compose(self) -> ComposeResult:
        """The frame: status, tabs, the page, guide, the line for words, the keys."""
        yield self._status
        yield self._tabs
        yield self._body
        yield self._guide_line
        yield self._bar
        yield self._keys

    def on_mount(self) -> None:
        """Begin to follow the cluster."""
        self._collector = Collector()
        self._guide_line.display = self._guide is not None
        self._prefer()
        self.app_resume_signal.subscribe(self, draw_anew)
        self._begin()
        self.set_interval(TICK_S, self._tick)

    def on_unmount(self) -> None:
        """Give the process back as it was."""
        if self._collector is not None:
            self._collector.end()

    async def on_stands(self, message: Stands) -> None:
        """A page was made: it has the keys, unless somebody types into the line."""
        if message.page is self._pages.get(page_id(self.place)):
            self._focus_page()
            await self.type_ahead()

    def _focus_page(self) -> None:
        table = self.page.main_table()
        if table is not None and not self._bar.display:
            self.page.screen.set_focus(table)

    def _begin_dark(self) -> None:
        """Take our usual theme before any style is read: a change later reads them all again."""
        self.set_reactive(App.theme, preferences.DARK.name)
        self.set_class(True, f"-theme-{preferences.DARK.name}", update=False)
        self.stylesheet.set_variables(self.get_css_variables())

    def _prefer(self) -> None:
        preferred = preferences.load(list(self.available_themes))
        self._chosen = keys.choose(_known_keys(), preferred.keys)
        self.theme = preferred.theme
        if self._chosen.keys:
            self.set_keymap(self._chosen.keymap)
        for problem in (*preferred.problems, *self._chosen.problems):
            self.notify(problem, severity="warning", timeout=PROBLEM_S, markup=False)

    def _begin(self) -> None:
        self.run_worker(self._follow(), group="feed", exclusive=True)
        self.run_worker(self._poll(), group="polls", exclusive=True)
        self.open_place(Place("overview"))

    # -- pages

    @property
    def page(self) -> Page:
        """The page that is seen."""
        return self._pages[page_id(self._places[-1])]

    @property
    def place(self) -> Place:
        """Where the person is."""
        return self._places[-1]

    def table(self, name: str) -> LiveTable[Any]:
        """A table of the page that is seen, by its id."""
        return self.page.tables[name]

    def subject(self) -> Subject | None:
        """What the cursor is on."""
        return self.page.subject()

    def open_place(self, place: Place) -> None:
        """Go to a page; a context changes the cluster."""
        if place.kind == "context":
            self._switch_context(place.subject)
            return
        if place.kind in MAIN_PAGES and not place.subject:
            del self._places[:]
        if self._places and self._places[-1] == place:
            return
        self._places.append(place)
        del self._places[:-PLACES_MAX]
        self._show()

    def _show(self) -> None:
        place, id_ = self.place, page_id(self.place)
        kept = {page_id(each) for each in self._places}
        for other, page in list(self._pages.items()):
            if other == id_:
                continue
            page.display = False
            if other not in kept and other not in MAIN_PAGES:
                del self._pages[other]
                page.forget()
                page.remove()
        if id_ not in self._pages:
            page = self._pages[id_] = make_page(place, self._desk())
            self.ahead.begin()
            self._body.mount(page)
        page = self.page
        page.display = True
        if page.is_mounted:
            self._focus_page()
            self.call_later(self.type_ahead)
        if self._poller is not None:
            self._poller.want(self._wanted())
        # As things were last drawn: what waits since then comes after the page stands.
        self._draw_all(time.thread_time())

    def _desk(self) -> Desk:
        times = self.now_ms, self.wall_ms
        return Desk(self.store, *times, self.commander, self.read_only, self.cluster_name)

    def _wanted(self) -> list[Poll]:
        if self.store.status.refusal:
            return []  # each question would only be refused again
        wanted = list(self.page.wants())
        broker = self.store.default_broker()
        if broker is not None:
            wanted.append(Poll("broker configs", str(broker)))
        return wanted

    def on_open(self, message: Open) -> None:
        """A page asks for another."""
        self.open_place(message.place)

    def on_live_table_selected(self, message: LiveTable.Selected) -> None:
        """Enter or a click on a row opens what it is about."""
        place = self.page.place_of(message.row)
        if place is not None:
            self.open_place(place)
            self.page.come_from(message.row)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """The next step is offered only while a story is told."""
        if action == "records":
            subject = self.subject() if self._places and self.page.is_mounted else None
            known = subject is not None and subject.kind in ("topic", "partition")
            return known and self.commander is not None and self.place.kind != "records"
        if action in ("filter", "command", "page"):
            return len(self.screen_stack) == 1 and not isinstance(self.focused, Input)
        if action == "advance":
            return self._guide is not None and not self._guide.finished
        return True

    # -- what arrives

    async def _follow(self) -> None:
        async with self._feed:
            async for update in self._feed.updates():
                self._waiting.append(update)
                self._schedule()

    async def _poll(self) -> None:
        async with contextlib.AsyncExitStack() as stack:
            kinds = self._kinds
            if kinds is None:
                # Not entered, which asks the cluster: one that does not answer yet, or may not be
                # used, is told by each poll, and never ends the dashboard.
                admin = self._admin()
                stack.push_async_callback(admin.close)
                kinds = Questions(admin, self.store.partitions_of).kinds()
            store = self.store

            async def take(poll: Poll, answer: Any) -> None:
                await in_slices(store.taking(poll, answer))
                self._schedule()

            self._poller = Poller(kinds, clock=self._clock, on_answer=take)
            if self._places:
                self._poller.want(self._wanted())
            await self._poller.run()

    def _admin(self) -> Any:
        if self._admin_of is not None:
            return self._admin_of()
        from clusters.admin import AdminClient

        return AdminClient(self.bootstrap, timeout_ms=POLL_TIMEOUT_MS)

    def _schedule(self) -> None:
        if not self._paint_due:
            self._paint_due, self._came_s = True, time.perf_counter()
            # What comes alone is painted at once. A large cluster takes longer to paint: keys must
            # still find the loop free.
            pause_s = min(PAUSE_S_MAX, max(PAINT_S, PAINT_SHARE * self._paint_took_s))
            due_s = self._painted_s + pause_s - time.perf_counter()
            call_after(self, max(AT_ONCE_S, due_s), self._paint_in_turn)

    # -- painting

    def _paint_in_turn(self) -> None:
        """Paint what came, after what a key has just changed, but not late where keys repeat."""
        if not self._paint_due:
            return
        key_s = (self.last_input_ms - monotonic_ms()) / 1000 + KEY_FIRST_S
        if 0 < key_s < self._came_s + PAUSE_S_MAX - time.perf_counter():
            call_after(self, key_s, self._paint_in_turn)
        else:
            self._paint()

    def _paint(self) -> None:
        self._paint_due = False
        started, view = time.thread_time(), self.store.view
        waiting, self._waiting = self._waiting, []
        for replaying, group in groupby(waiting, key=lambda update: update.replaying):
            updates = list(group)
            news = [event for update in updates for event in update.events]
            image, now = updates[-1].image, self.now_ms()
            view.update(image, news, now, replaying=replaying, limit=ROWS_AT_ONCE)
        if view.is_behind and not waiting:
            view.update(view.image, (), self.now_ms(), limit=ROWS_AT_ONCE)
        if self._draw_all(started):
            if self._poller is not None and waiting:
                self._poller.want(self._wanted())
            if view.is_behind:
                self._schedule()

    def _draw_all(self, started_s: float) -> bool:
        if not self.is_running or not self._status.is_attached or not self._places:
            return False
        self._paint_status()
        if self.page.is_mounted:
            self.page.paint()
        self._sweep_on()
        self.call_after_refresh(self._painted, started_s)
        return True

    def _painted(self, started_s: float) -> None:
        """All is on the screen: what it took of the processor, drawing and all."""
        self._paint_took_s = time.thread_time() - started_s
        self._painted_s = time.perf_counter()

    def _sweep_on(self) -> None:
        # One timer at a time, however often is painted meanwhile.
        if not self._sweep_due and self.store.view.sweeping(self.now_ms()):
            self._sweep_due = True
            call_after(self, SWEEP_FRAME_S, self._sweep)

    def _sweep(self) -> None:
        self._sweep_due = False
        if self._places:
            self.page.refresh_trails()
        self._sweep_on()

    def _paint_status(self) -> None:
        store = self.store
        before, store.status = store.status, self._feed.status
        self._tell_move(before.source)
        store.view.set_controller(store.status.controller_id)
        lost = not store.is_live()
        if before.mode == "lost" and not lost:
            self.action_again()  # what failed meanwhile would be asked seldom
        self.page.mark_stale(lost)
        self._status.set_class(lost, "lost")
        name = self.cluster_name or address_text(self.bootstrap)
        name += " (read-only)" if self.read_only else ""
        refused = bool(store.status.refusal)
        self._status.set_class(refused, "refused")
        if refused:
            self._draw(self._status, refusal_text(name, store.status))
        else:
            now, width = self.wall_ms(), self.size.width
            self._draw(self._status, status_text(name, store.status, store.view, now, width))
        tabs = tabs_text(TABS, self.place.kind, self.page.crumb, self.size.width)
        self._draw(self._tabs, tabs)
        self.on_live_table_moved()
        if self._guide is not None:
            self._draw(self._guide_line, guide_text(self._guide))

    def on_live_table_moved(self) -> None:
        """Name the keys that do something with the row of the cursor."""
        if self._places:
            self._draw(self._keys, keys_text(self._shown_keys()))

    def _shown_keys(self) -> list[tuple[str, str, str]]:
        shown = [(b, f"app.on_page({b.action!r})") for b in keys.bindings_of(type(self.page))]
        shown += [(b, f"app.{b.action}") for b in keys.bindings_of(DashboardApp) if b.show]
        fitting = [each for each in shown if self.check_action(each[0].action, ())]
        return last_line(fitting, self.offers(), self._chosen)

    def _draw(self, widget: Static, text: Any) -> None:
        # A line that says the same again need not be laid out again.
        if self._drawn.get(widget) != (text, text.spans):
            self._drawn[widget] = (text, text.spans)
            # One of fixed height leaves the others where they are: nothing is to be laid out.
            widget.update(text, layout=widget.styles.auto_dimensions)

    def _tell_move(self, before: str) -> None:
        """Say that the feed goes on at another node, and why it left the one before."""
        status = self.store.status
        self._last_source = before or self._last_source
        if status.source and self._last_source and status.source != self._last_source:
            why = f": {status.message}" if status.message else ""
            self.notify(f"now following {status.source}{why}", markup=False)
            self._last_source = status.source

    def _tick(self) -> None:
        if not self._places:
            return
        view = self.store.view
        was_lit = bool(view.flashes or view.broker_flashes or view.trails)
        if view.forget_old(self.now_ms()) or was_lit:
            self.page.refresh_trails()
        self._paint_status()
        if not self.store.is_live() or self.page.is_ageing():
            self.page.paint()
        if self._collector is not None:
            loaded = bool(view.topics)
            self._collector.tick(monotonic_ms(), self.last_input_ms, loaded=loaded)

    # -- the end

    def action_give_up(self) -> None:
        """Ctrl-C ends what one is in: a line, a dialog, what it does; else the dashboard."""
        box = self.focused
        if marked := self.screen.get_selected_text() or getattr(box, "selected_text", ""):
            self.copy_to_clipboard(marked)
            self.notify("copied what was marked")
        elif self._bar.display or len(self.screen_stack) > 1:
            self.post_message(events.Key("escape", None))
        else:
            self.exit()

    def _fatal_error(self) -> None:
        """Keep the error for `show` instead of drawing its traceback over the terminal."""
        self.problem = sys.exc_info()[1]
        self.panic()

    # -- going about

    def pop_screen(self) -> AwaitComplete:
        """Close what is on top, and let go of what was drawn of it."""
        closed = self.screen
        closing = super().pop_screen()
        forget_lines(closed)
        return closing

    def action_page(self, kind: str) -> None:
        """The key of one of the main pages."""
        self.open_place(Place(kind))

    def action_main(self, kind: str) -> None:
        """Open one of the main pages, whatever is typed meanwhile."""
        if self._bar.display:
            self._bar.close()
        self.open_place(Place(kind))

    def action_step_back(self) -> None:
        """Close what is open, then clear what narrows the rows, then go back."""
        if self._bar.display:
            self._bar.close()
            return
        narrowed = [t for t in self.page.tables.values() if t.filter_text or t.is_narrowed]
        if narrowed:
            for table in narrowed:
                table.set_filter("")
                table.set_only(None)
        elif len(self._places) > 1:
            self._places.pop()
            self._show()
        elif self.place.kind != "overview":
            self.open_place(Place("overview"))

    def action_records(self) -> None:
        """Read the records of what the cursor is on."""
        subject = self.subject()
        if subject is not None and subject.kind in ("topic", "partition"):
            where = "" if subject.partition is None else f":{subject.partition}"
            self.open_place(Place("records", f"{subject.name}{where}"))

    def action_help(self) -> None:
        """Explain this page."""
        self.push_screen(help_of(self.page, self.offers(), _known_keys(), self._chosen))

    async def action_on_page(self, action: str) -> None:
        """A click on a key of the page in the last line."""
        await self.run_action(action, self.page)

    def action_act(self, name: str) -> None:
        """A click on the key of an action in the last line."""
        for offer in self.offers():
            if offer.action.name == name:
                self.start_action(offer.action, offer.subject)
                return

    def action_sort(self) -> None:
        """Sort the focused table by its next column."""
        if (table := self.page.focused_table()) is not None:
            table.sort_next()

    def action_reverse(self) -> None:
        """Reverse the order of the focused table."""
        table = self.page.focused_table()
        if table is not None and table.sort_column is not None:
            table.sort_by(table.sort_column)

    def action_again(self) -> None:
        """Ask everything of this page again, now."""
        if self._poller is not None:
            for poll in self.page.wants():
                self._poller.again(poll)

    def action_next_theme(self) -> None:
        """The other of our themes."""
        dark = self.theme == preferences.DARK.name
        self.theme = preferences.LIGHT.name if dark else preferences.DARK.name

    def action_picture(self) -> None:
        """Save the screen as an SVG picture: in the working folder, or where a browser saves."""
        if self.is_web:
            self.deliver_screenshot()  # Textual says it when the browser has it
            return
        try:
            path = self.save_screenshot(path=os.fspath(Path.cwd()))
        except OSError as error:
            problem = f"The picture could not be saved in this folder: {error.strerror}."
            self.notify(problem, severity="error", markup=False)
        else:
            self.notify(f"saved {path}", markup=False)

    def action_copy(self) -> None:
        """Copy the name of what the cursor is on (OSC 52)."""
        subject = self.subject()
        if subject is not None:
            self.copy_to_clipboard(str(subject))
            self.notify(f"copied {subject}", markup=False)

    def action_copy_row(self) -> None:
        """Copy the row under the cursor as JSON (OSC 52)."""
        table = self.page.focused_table()
        row = table.cursor_row if table is not None else None
        if row is not None:
            self.copy_to_clipboard(row_as_json(row))
            self.notify("copied the row as JSON")

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

    # -- actions on the cluster

    def offers(self) -> list[Offer]:
        """What can be done from here, and with what."""
        subjects = self.page.subjects() if self._places and self.page.is_mounted else [None]
        return offers(
            subjects,
            read_only=self.read_only,
            commander=self.commander,
            chosen=self._chosen.keys,
        )

    def actions(self) -> list[Action]:
        """What can be done from here: with what the cursor is on, or what the page is about."""
        return [offer.action for offer in self.offers()]

    def all_actions(self) -> dict[str, Action]:
        """What can be done at all, by the word after `:`; nothing in a read-only context."""
        return possible_actions(read_only=self.read_only, commander=self.commander)

    def begins(self, event: events.Key) -> bool:
        """Open the dialog of an action at once; a binding of the same key goes first."""
        if len(self.screen_stack) != 1 or isinstance(self.focused, Input):
            return False
        chain = self.screen._binding_chain
        bound = any(event.key in each.key_to_bindings for _, each in chain)
        return not bound and self._start_offered(event)

    def _start_offered(self, event: events.Key) -> bool:
        for offer in self.offers():
            if event.key in offer.keys or event.character in offer.keys:
                self.start_action(offer.action, offer.subject)
                return True
        return False

    def on_key(self, event: events.Key) -> None:
        """Keys of actions; all others are bindings."""
        if len(self.screen_stack) > 1:
            # Typed after the key that opened a dialog, and under way before it stood.
            if (early := getattr(self.screen, "early", None)) is not None:
                early(event)
            return
        if isinstance(self.focused, Input):
            return
        if self._start_offered(event):
            event.stop()
            return
        if self.read_only and event.character in {each.key for each in ACTIONS}:
            self.notify(why_impossible(read_only=True), severity="warning", markup=False)

    def start_action(self, action: Action, subject: Subject | None) -> None:
        """Let an action show what it will do, ask, and do it."""
        action.start(self, subject)

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """Pages, actions and what Textual offers, for the palette."""
        yield from own_commands(self, TABS)
        yield from super().get_system_commands(screen)

    def action_command_palette(self) -> None:
        """All commands, to be searched."""
        if not isinstance(self.screen, Palette):
            self.push_screen(Palette(id="--command-palette"))

    def type_command(self, begun: str) -> None:
        """Go on typing after `:` with what is begun."""
        kinds = {name: action.kinds for name, action in self.all_actions().items()}
        self._bar.ask_command(begun, self.known_names(), kinds, self._refocus)

    def action_contexts(self) -> None:
        """The saved contexts."""
        self.open_place(Place("contexts"))

    # -- the line for words

    def action_filter(self) -> None:
        """Type a filter for the focused table."""
        if (table := self.page.focused_table()) is not None:
            self._bar.ask_filter(table, self._refocus)

    def action_command(self) -> None:
        """Type where to go."""
        self.type_command("")

    def _refocus(self) -> None:
        if (table := self.page.focused_table()) is not None:
            self.screen.set_focus(table)

    def known_names(self) -> dict[str, list[str]]:
        """Names that a command can take, by kind."""
        return known_names(self.store, self.available_themes)

    def on_words_line_command(self, message: WordsLine.Command) -> None:
        """Go where the words lead."""
        self.run_command(message.text)

    def run_command(self, text: str) -> None:
        """Do what was typed after `:`."""
        try:
            obey(self, text)
        except CommandProblem as problem:
            self.notify(str(problem), severity="warning", markup=False)

    # -- another cluster

    def _switch_context(self, name: str) -> None:
        try:
            target = self._target_of(name)
        except (TargetProblem, LogctlError) as error:
            self.notify(str(error), severity="error", markup=False)
            return
        self.run_worker(self._switch(target), group="switch", exclusive=True)

    async def _switch(self, target: Target) -> None:
        for group in ("feed", "polls", "action"):
            self.workers.cancel_group(self, group)
        for page in self._pages.values():
            page.forget()
            await page.remove()
        self._pages.clear()
        self._places.clear()
        self._waiting.clear()
        self._drawn.clear()
        self._poller, self._last_source, self._paint_due = None, "", False
        self.bootstrap, self.cluster_name = list(target.bootstrap), target.name
        self.read_only = target.read_only
        self.commander, self._admin_of = target.commander, target.admin_of
        self._feed = target.feed if target.feed is not None else self._feed_of(self.bootstrap)
        self.store = Store(self._feed.status)
        self._begin()


def _known_keys() -> list[keys.Known]:
    owners: dict[str, type] = {keys.APP: DashboardApp, keys.TABLE: LiveTable, **PAGES}
    return keys.known_keys(owners, ACTIONS)


async def show_dashboard(
    target: Target, *, guide: Guide | None = None, target_of: TargetOf | None = None
) -> None:
    """Show the dashboard until the person leaves it. Raises the error that ended it, if one did.

    `target_of` finds the cluster of another context; without it saved addresses are used.
    """
    app = DashboardApp(
        target.bootstrap,
        feed=target.feed,
        guide=guide,
        name=target.name,
        read_only=target.read_only,
        admin_of=target.admin_of,
        commander=target.commander,
        target_of=target_of,
    )
    with told_to_end(app):
        await app.run_async()
    if app.problem is not None:
        raise app.problem
    if app.return_code:
        raise RuntimeError(f"the dashboard ended with code {app.return_code}")
