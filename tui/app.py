"""The full-screen dashboard: one frame around pages that show the cluster as it is now.

Here is what a person can do: keys, mouse, palette, words after `:`. What is drawn and when is in
`tui.painting`, where it comes from in `tui.following`. Nothing here may change a cluster but by an
action that says what it will do.
"""

import asyncio
import contextlib
import io
import os
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from textual import events
from textual.app import ComposeResult, SystemCommand
from textual.await_complete import AwaitComplete
from textual.await_remove import AwaitRemove
from textual.binding import Binding, BindingType
from textual.dom import DOMNode
from textual.screen import Screen
from textual.theme import Theme
from textual.widget import Widget
from textual.widgets import Input

from clusters.watch.slices import in_slices
from tui import keys, preferences, ready
from tui.actions import (
    ACTIONS,
    Action,
    Offer,
    offers,
    possible_actions,
    why_impossible,
)
from tui.collecting import Collector
from tui.commands import CommandProblem
from tui.copying import row_as_json
from tui.dialog import Palette
from tui.done import done_log
from tui.doors import Guide, Target, TargetOf
from tui.ending import draw_anew, told_to_end
from tui.escaping import QuickParser, tell_escapes
from tui.following import Following
from tui.help import HelpScreen, help_of, last_line
from tui.line import WordsLine
from tui.marks import OWN
from tui.names import known_names
from tui.obeying import obey
from tui.pages import PAGES, Open, Place, Subject, page_id
from tui.pages.base import Desk, Stands
from tui.pages.changes import clock_text
from tui.painting import TABS
from tui.palette import WITHOUT, own_commands
from tui.refusal import CSS as REFUSAL_CSS
from tui.rings import forget_lines
from tui.saved import SavedContext
from tui.saving import SavingProblem, file_kind, free_name, keep, row_count, writing
from tui.starting import arrive, start_place
from tui.table import LiveTable

TICK_S = 0.5
PROBLEM_S = 15
PALETTE = "palette"
# How long after the start is read what is not needed yet.
READY_S = 1.5
# What leaves a mark, a file, a step of a story.
ONCE = ("mark", "picture", "next")


class DashboardApp(Following):
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
        Binding("c", "settings", "Settings", show=False, id="settings"),
        Binding("w", "save", "Save the table", show=False, id="save"),
        Binding("full_stop", "mark", "Mark this moment", show=False, id="mark"),
        Binding("space", "hold", "Hold the screen", show=False, id="hold"),
        Binding("d", "changes", "Changes since", show=False, id="changes"),
        Binding("h", "commands", "Commands that were run", show=False, id="commands"),
    ]

    def __init__(self, *args: Any, start: str = "", **options: Any) -> None:
        """`start` is the page to begin with, as after `:`. Raises CommandProblem for no page."""
        self._start = start_place(start)
        self.done = done_log()
        super().__init__(*args, **options)

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
        self._begin(self._start)
        self.run_worker(arrive(self, self._start), group="start")
        self.set_interval(TICK_S, self._tick)
        self.run_worker(self._make_ready(), group="ready")

    async def _make_ready(self) -> None:
        await asyncio.sleep(READY_S)
        await in_slices(ready.conditions())
        await in_slices(ready.dialogs(self.stylesheet))
        if not self.screen_stack:
            return  # it ends
        _, made = self._get_screen(self._palette())
        await made
        await in_slices(ready.theme(self, self.stylesheet, self._other_theme()))

    def on_unmount(self) -> None:
        """Give the process back as it was."""
        if self._collector is not None:
            self._collector.end()

    def is_meant(self, event: events.Event) -> bool:
        """What a key does that is held down is wanted once where each time leaves something."""
        typed = len(self.screen_stack) > 1 or isinstance(self.focused, Input)
        if typed or not isinstance(event, events.Key):
            return True
        press = self.presses.find(event.key, event.time)
        return press is None or not press.is_repeat or event.key not in self._once_keys()

    def _once_keys(self) -> set[str]:
        bound = {each.id: each for each in keys.bindings_of(DashboardApp)}
        return {key for name in ONCE for key in self._chosen.keys_of(bound[name])}

    async def on_stands(self, message: Stands) -> None:
        """A page was made: it has the keys, unless somebody types into the line."""
        if message.page is self._pages.get(page_id(self.place)):
            self._focus_page()
            await self.type_ahead()

    @property
    def chosen_keys(self) -> keys.Chosen:
        """The keys that a person chose."""
        return self._chosen

    def _prefer(self) -> None:
        preferred = preferences.load(list(self.available_themes))
        self._chosen = keys.choose(known_keys_now(), preferred.keys)
        self.theme = preferred.theme
        QuickParser.alt_is_chosen = any("alt+" in key for key in self._chosen.keymap.values())
        if self._chosen.keys:
            self.set_keymap(self._chosen.keymap)
        for problem in (*preferred.problems, *self._chosen.problems):
            self.notify(problem, severity="warning", timeout=PROBLEM_S, markup=False)

    # -- pages

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

    # -- keys in the last line

    def _shown_keys(self) -> list[tuple[str, str, str]]:
        shown = [(b, f"app.on_page({b.action!r})") for b in keys.bindings_of(type(self.page))]
        shown += [(b, f"app.{b.action}") for b in keys.bindings_of(DashboardApp) if b.show]
        fitting = [each for each in shown if self.check_action(each[0].action, ())]
        return last_line(fitting, self.offers(), self._chosen)

    # -- the end

    async def action_give_up(self) -> None:
        """Ctrl-C ends what one is in: a line, a dialog, what it does; else the dashboard."""
        box = self.focused
        if marked := self.screen.get_selected_text() or getattr(box, "selected_text", ""):
            self.copy_to_clipboard(marked)
            self.notify("copied what was marked")
        elif self._bar.display or len(self.screen_stack) > 1:
            await self.do_next(events.Key("escape", None))
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
        self.note_closed()
        return closing

    def _prune(self, *nodes: Widget, parent: DOMNode | None = None) -> AwaitRemove:
        # The page is drawn the moment its dialog goes, and stands as it stood: it need not be laid
        # out and drawn once more when the last part of the dialog has ended.
        return super()._prune(*nodes, parent=None if parent is self else parent)

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
        self.push_screen(help_of(self.page, self.offers(), known_keys_now(), self._chosen))

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

    def action_next_theme(self) -> None:
        """The other of our themes."""
        self.theme = self._other_theme().name

    def _other_theme(self) -> Theme:
        dark = self.theme == preferences.DARK.name
        return preferences.LIGHT if dark else preferences.DARK

    def action_settings(self) -> None:
        """All settings of the topic or broker under the cursor, or of that of the page."""
        for subject in (self.subject(), self.page.page_subject()):
            if subject is not None and subject.kind in ("topic", "partition", "broker"):
                kind = "broker" if subject.kind == "broker" else "topic"
                self.open_place(Place("settings", f"{kind} {subject.name}"))
                return
        self.notify("Settings are of a topic or broker: put the cursor on one.", markup=False)

    def action_save(self) -> None:
        """Begin to say where the rows that are shown are to be saved."""
        if (table := self.page.focused_table()) is not None:
            name = f"{table.id}.csv" if self.is_web else free_name(str(table.id))
            self.type_command(f"save {name}")

    def save_rows(self, name: str) -> None:
        """Save the rows that are shown as a file. Raises SavingProblem."""
        kind = file_kind(name)
        if (table := self.page.focused_table()) is not None:
            self.run_worker(self._save([*table.shown], [*table.columns], name, kind), group="save")

    async def _save(self, rows: list[Any], columns: list[Any], name: str, kind: str) -> None:
        text = await in_slices(writing(rows, columns, kind))
        if self.is_web:
            # A browser saves on the machine of who looks, in a folder that it chooses.
            self.deliver_text(io.StringIO(text), save_filename=os.path.basename(name))
            told = f"sent {row_count(rows)} to this browser: {os.path.basename(name)}"
            self.notify(f"{told}, where it keeps downloads", markup=False)
            return
        try:
            path = keep(text, name)
        except SavingProblem as problem:
            self.notify(str(problem), severity="error", markup=False)
        else:
            self.notify(f"saved {row_count(rows)} as {path}", markup=False)

    def action_hold(self) -> None:
        """Hold the screen still to be read in peace; again: go on."""
        self.hold_still(not self.hold.is_on)

    def action_mark(self) -> None:
        """Remember how the cluster is now, to see later what is otherwise."""
        mark = self.moment(OWN)
        self.store.marks.add(mark)
        self.notify(f"marked {clock_text(mark.at_ms)} UTC; :changes tells what is otherwise then")

    def action_changes(self) -> None:
        """What is otherwise than at a mark."""
        self.open_place(Place("changes"))

    def action_commands(self) -> None:
        """What was done from dashboards."""
        self.open_place(Place("commands"))

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

    def _desk(self) -> Desk:
        return replace(super()._desk(), done=self.done)

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

    def on_key(self, event: events.Key) -> None:
        """Keys of actions; all others are bindings."""
        if len(self.screen_stack) > 1 or isinstance(self.focused, Input):
            return
        for offer in self.offers():
            if event.key in offer.keys or event.character in offer.keys:
                event.stop()
                self.start_action(offer.action, offer.subject)
                return
        if self.read_only and event.character in {each.key for each in ACTIONS}:
            why = why_impossible(read_only=True)
            # Once is enough: notes that pile up hide what somebody looks at.
            if all(note.message != why for note in self._notifications):
                self.notify(why, severity="warning", markup=False)

    def start_action(self, action: Action, subject: Subject | None) -> None:
        """Let an action show what it will do, ask, and do it: never on a picture of before."""
        self.hold_still(False)
        action.start(self, subject)

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """Pages, actions and what fits of what Textual offers, for the palette."""
        yield from own_commands(self, TABS)
        for each in super().get_system_commands(screen):
            if each.title not in WITHOUT:
                yield each

    def action_command_palette(self) -> None:
        """All commands, to be searched."""
        if not isinstance(self.screen, Palette):
            self.push_screen(self._palette())

    def _palette(self) -> Palette:
        """The one there is: it takes longer to be made than a key may."""
        if not self.is_screen_installed(PALETTE):
            self.install_screen(Palette(id="--command-palette"), PALETTE)
        palette = self.get_screen(PALETTE)
        assert isinstance(palette, Palette)
        return palette

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


def known_keys_now() -> list[keys.Known]:
    """All keys of the dashboard, and of the screens over its pages."""
    from tui.action_screen import ActionScreen
    from tui.record_screens import RecordScreen

    over = {keys.DIALOG: ActionScreen, keys.HELP: HelpScreen, keys.RECORD: RecordScreen}
    owners: dict[str, type] = {keys.APP: DashboardApp, keys.TABLE: LiveTable, **over, **PAGES}
    return keys.known_keys(owners, ACTIONS)


async def show_dashboard(
    target: Target,
    *,
    guide: Guide | None = None,
    target_of: TargetOf | None = None,
    start: str = "",
) -> None:
    """Show the dashboard until the person leaves it. Raises the error that ended it, if one did.

    `start` is the page to begin with; raises CommandProblem when there is no such one.
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
        color=target.color,
        saved=SavedContext(target),
        start=start,
    )
    tell_escapes(app)
    with told_to_end(app):
        await app.run_async()
    if app.problem is not None:
        raise app.problem
    if app.return_code:
        raise RuntimeError(f"the dashboard ended with code {app.return_code}")
