"""The frame of the dashboard, the page that is seen in it, and when both are painted.

Tasks only store what arrived (`tui.following`); painting happens in one place and only for the page
that is seen, so that a thousand events in a second are painted a few times. It must never draw a
stale state as live, nor come before what a key has just changed.
"""

import time
from collections.abc import Callable
from itertools import groupby, takewhile
from typing import Any

from textual.app import App
from textual.widgets import Static

from clusters.polls import Poll, Poller, Pulse
from clusters.watch import FeedUpdate
from tui import keys, preferences
from tui.ahead import TypedAhead
from tui.badge import badge, badge_text
from tui.collecting import Collector
from tui.doors import Commander, Feed, Guide, monotonic_ms
from tui.drawing import age
from tui.holding import Hold
from tui.later import call_after
from tui.line import WordsLine
from tui.looks import RememberingStylesheet
from tui.marks import LOOKED, START, Mark
from tui.model import ClusterView
from tui.once import PageScreen
from tui.pages import MAIN_PAGES, Page, Place, Subject, make_page, page_id
from tui.pages.base import Desk
from tui.panel import Frame
from tui.refusal import refusal_text
from tui.status import address_text, guide_text, keys_text, status_text, tabs_text
from tui.store import LOG_DIRS, Store
from tui.table import LiveTable

PAINT_S = 0.03
PAINT_SHARE = 3
PAUSE_S_MAX = 0.25
AT_ONCE_S = 0.002
# What a key changes is drawn before what comes from the cluster meanwhile.
KEY_FIRST_S = 0.08
LOOK_S = 0.005
ROWS_AT_ONCE = 2_000
SWEEP_FRAME_S = 0.06
PLACES_MAX = 50
# Modes in which the cluster is heard; the others only look for it.
FOLLOWING = ("live", "slow", "sampled")
TABS = [(kind, page.TITLE) for kind, page in MAIN_PAGES.items()]


def _standing(view: ClusterView) -> list[tuple[int, str, bool]]:
    """Of each broker whether it is up and has room."""
    return [(broker.id, broker.state, broker.out_of_room) for broker in view.brokers]


class Painting(TypedAhead):
    """Pages in a frame. What it draws is given by those who follow a cluster."""

    bootstrap: list[str]
    cluster_name: str
    read_only: bool
    commander: Commander | None
    store: Store
    color: str | None
    hold: Hold
    now_ms: Callable[[], int]
    wall_ms: Callable[[], int]
    _feed: Feed
    _poller: Poller | None
    _pulse: Pulse | None
    _guide: Guide | None
    stylesheet: RememberingStylesheet

    def __init__(self) -> None:
        super().__init__()
        self.stylesheet = RememberingStylesheet(variables=self.get_css_variables())
        self._pages: dict[str, Page] = {}
        self._places: list[Place] = []
        self._waiting: list[FeedUpdate] = []
        self._paint_due = False
        self._sweep_due = False
        # Whose log is followed, "" where none is (sampled); None before any.
        self._told_source: str | None = None
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

    def _begin_dark(self) -> None:
        """Take our usual theme before any style is read: a change later reads them all again."""
        self.set_reactive(App.theme, preferences.DARK.name)
        self.set_class(True, f"-theme-{preferences.DARK.name}", update=False)
        self.stylesheet.set_variables(self.get_css_variables())

    def get_default_screen(self) -> PageScreen:
        """The screen of the frame."""
        return PageScreen(id="_default")

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
                self.note_closed()
        if id_ not in self._pages:
            page = self._pages[id_] = make_page(place, self._desk())
            self.ahead.begin()
            table = page.main_table()
            if table is not None and not self._bar.display:
                table.light_before_drawn()
            self._body.mount(page)
        page = self.page
        if page.is_outdated:
            page.is_outdated = False
            self.stylesheet.update(page)
        page.display = True
        if page.is_mounted:
            self._focus_page()
            self.call_later(self.type_ahead)
        # As things were last drawn: what waits since then comes after the page stands, and so does
        # what it asks of the cluster.
        self._draw_all(time.thread_time())
        self.call_after_refresh(self._want)

    def _focus_page(self) -> None:
        table = self.page.main_table() if not self._bar.display else None
        # Those that had the focus when the page was left look as they did then.
        for other in self.page.tables.values():
            if other is not table and other.is_lit and not other.has_focus:
                other.light(False)
        # One that was made may be gone before it says so.
        if table is not None and self.page.is_attached:
            self.page.screen.set_focus(table)
            # A new page has it without being told so, for it looked so from the first drawing on.
            self.on_live_table_moved()

    def _desk(self) -> Desk:
        times = self.hold.now_ms, self.hold.wall_ms
        return Desk(
            self.store,
            *times,
            self.commander,
            self.read_only,
            cluster=self.cluster_name,
            color=self.color,
        )

    def _want(self) -> None:
        """Have asked what is seen, and who counts as up."""
        if not self._places:
            return
        if self._poller is not None:
            self._poller.want(self._wanted())
        if self._pulse is not None:
            self._pulse.want(self.store.called_up())

    def _wanted(self) -> list[Poll]:
        if self.store.status.refusal:
            return []  # each question would only be refused again
        wanted = list(self.page.wants())
        broker = self.store.default_broker()
        if broker is not None:
            wanted.append(Poll("broker configs", str(broker)))
        # Of a moment that is held what is already known stays as it is.
        held = self.hold.is_on
        return [poll for poll in wanted if not (held and self.store.answer(poll).at_ms is not None)]

    # -- painting

    def _schedule(self) -> None:
        if not self._paint_due:
            self._paint_due, self._came_s = True, time.perf_counter()
            # What comes alone is painted at once. A large cluster takes longer to paint: keys must
            # still find the loop free.
            pause_s = min(PAUSE_S_MAX, max(PAINT_S, PAINT_SHARE * self._paint_took_s))
            due_s = self._painted_s + pause_s - time.perf_counter()
            call_after(self, max(AT_ONCE_S, due_s), self._paint_in_turn)

    def _paint_in_turn(self) -> None:
        """Paint what came, after what a key has just changed, but not late where keys repeat."""
        if not self._paint_due:
            return
        key_s, waited_s = self.key_first_s(), time.perf_counter() - self._came_s
        if waited_s < 2 * PAUSE_S_MAX and self.is_answering():
            call_after(self, LOOK_S, self._paint_in_turn)
        elif 0 < key_s < PAUSE_S_MAX - waited_s:
            call_after(self, key_s, self._paint_in_turn)
        else:
            self._paint()

    def is_answering(self) -> bool:
        """Whether what the last key changed is not on the screen yet."""
        if not self.screen_stack or monotonic_ms() - self.last_input_ms > PAUSE_S_MAX * 1000:
            return False  # it ends, or nobody presses keys
        return self.ahead.awaits or getattr(self.screen, "is_undrawn", False)

    def key_first_s(self) -> float:
        """For how long what a key has just changed goes before all else, seconds; 0 if none has."""
        return max(0.0, (self.last_input_ms - monotonic_ms()) / 1000 + KEY_FIRST_S)

    def _paint(self) -> None:
        self._paint_due = False
        started, view = time.thread_time(), self.store.view
        waiting, self._waiting = self._waiting, []
        if self.hold.is_on:
            self.hold.keep(waiting)
            waiting = []
        elif self._pulse is not None and self._pulse.standings is not view.standings:
            view.set_standings(self._pulse.standings)
        stood = _standing(view)
        for replaying, group in groupby(waiting, key=lambda update: update.replaying):
            updates = list(group)
            news = [event for update in updates for event in update.events]
            image, now = updates[-1].image, self.now_ms()
            view.update(image, news, now, replaying=replaying, limit=ROWS_AT_ONCE)
            self.store.marks.begin(self.moment(START))
        if view.is_behind and not waiting:
            view.update(view.image, (), self.now_ms(), limit=ROWS_AT_ONCE)
        if self._draw_all(started):
            if waiting:
                self._want()
                if self._poller is not None and stood != _standing(view):
                    self._poller.again(LOG_DIRS)  # what was told of disks is of before
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
        still = self.hold.is_on
        if not (still or self._sweep_due) and self.store.view.sweeping(self.now_ms()):
            self._sweep_due = True
            call_after(self, SWEEP_FRAME_S, self._sweep)

    def _sweep(self) -> None:
        self._sweep_due = False
        if self._places and not self.is_answering():
            self.page.refresh_trails()
        self._sweep_on()

    def _paint_status(self) -> None:
        store = self.store
        before, store.status = store.status, self._feed.status
        self._tell_move()
        if not self.hold.is_on:
            store.view.set_controller(store.controller_id())
        lost = not store.is_live()
        if before.mode in ("lost", "connecting") and not lost and store.view.brokers:
            self.action_again()  # what failed meanwhile would be asked seldom
        self.page.mark_stale(lost)
        self._status.set_class(lost, "lost")
        name = self.cluster_name or address_text(self.bootstrap)
        name += " (read-only)" if self.read_only else ""
        refused = bool(store.status.refusal)
        self._status.set_class(refused, "refused")
        self._status.set_class(self.hold.is_on, "held")
        if refused:
            drawn = badge_text(name, self.color, no_color=self.no_color)
            self._draw(self._status, refusal_text(drawn, store.status))
        else:
            now, width = self.wall_ms(), self.size.width
            named = badge(name or "logctl", self.color, no_color=self.no_color)
            said = status_text(named, store.status, store.view, now, width)
            self._draw(self._status, self.hold.text() + said)
        tabs = tabs_text(TABS, self.place.kind, self.page.crumb, self.size.width)
        self._draw(self._tabs, tabs)
        self.on_live_table_moved()
        if self._guide is not None:
            self._draw(self._guide_line, guide_text(self._guide))

    def on_live_table_moved(self) -> None:
        """Name the keys that do something with the row of the cursor."""
        # Under a dialog it stays as it is: nothing jumps away below whoever clicks there next.
        if self._places and len(self.screen_stack) == 1:
            self._draw(self._keys, keys_text(tuple(self._shown_keys()), self.size.width))

    def _draw(self, widget: Static, text: Any) -> None:
        # A line that says the same again need not be laid out again.
        if self._drawn.get(widget) != (text, text.spans):
            self._drawn[widget] = (text, text.spans)
            # One of fixed height leaves the others where they are: nothing is to be laid out.
            widget.update(text, layout=widget.styles.auto_dimensions)

    def _tell_move(self) -> None:
        """Say that the feed goes on at another node, and why it left the one before.

        Who is sampled changes by itself all the time: that it is sampled now, and why, is said once
        after it was not. The first line says all the time how it is.
        """
        status = self.store.status
        if status.mode not in FOLLOWING or not status.source:
            return
        sampled = status.mode == "sampled"
        source, before = "" if sampled else status.source, self._told_source
        self._told_source = source
        if before is None or source == before:
            return
        if sampled:
            self.notify(status.message, markup=False)
        else:
            why = f": {status.message}" if status.message else ""
            self.notify(f"now following {status.source}{why}", markup=False)

    def moment(self, why: str) -> Mark:
        """How the cluster is now, to be compared with later."""
        view = self.store.view
        return Mark(why, self.wall_ms(), view.image, view.controller_id)

    def _welcome(self) -> None:
        """Tell who comes back that something happened meanwhile."""
        back = self.store.marks.tick(self.moment(LOOKED), self.last_input_ms, monotonic_ms())
        if back is not None:
            events = self.store.view.events
            new = sum(1 for _ in takewhile(lambda e: e.at_ms > back.at_ms, reversed(events)))
            since = age(self.wall_ms() - back.at_ms)
            if new:
                said = f"{new} events while you were away for {since}; :changes tells what is new"
                self.notify(said, markup=False)

    def _tick(self) -> None:
        if not self._places:
            return
        self._welcome()
        view = self.store.view
        was_lit = bool(view.flashes or view.broker_flashes or view.trails)
        if not self.hold.is_on and (view.forget_old(self.now_ms()) or was_lit):
            self.page.refresh_trails()
        self._paint_status()
        if not self.store.is_live() or self.page.is_ageing():
            self.page.paint()
        if self._collector is not None:
            loaded = bool(view.topics)
            now_ms, passing = monotonic_ms(), self._is_passing()
            self._collector.tick(now_ms, self.last_input_ms, loaded=loaded, passing=passing)

    def note_closed(self) -> None:
        """A page or a dialog was closed, and leaves what a collector has to find."""
        if self._collector is not None:
            self._collector.closed(monotonic_ms())

    def _is_passing(self) -> bool:
        """Whether something is open that will be closed, and not kept."""
        return len(self.screen_stack) > 1 or any(id_ not in MAIN_PAGES for id_ in self._pages)

    # -- a moment that is held

    def hold_still(self, still: bool) -> None:
        """Hold what is seen, or go on with what came meanwhile."""
        if still == self.hold.is_on:
            return
        if still:
            self.hold.begin()
        else:
            self._waiting = self.hold.end() + self._waiting
            self._schedule()
        if self._poller is not None:
            self._poller.want(self._wanted())
        self._paint_status()

    # -- what those who paint ask of the whole

    def _switch_context(self, name: str) -> None:
        raise NotImplementedError

    def _shown_keys(self) -> list[tuple[str, str, str]]:
        raise NotImplementedError

    def action_again(self) -> None:
        """Ask everything of this page again, now."""
        if self._poller is not None:
            for poll in self.page.wants():
                self._poller.again(poll)
