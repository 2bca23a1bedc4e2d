"""The help of the page that is seen: its keys, the keys everywhere, and the signs.

It must name every key that works, as it is now: keys can be chosen.
"""

import textwrap
from collections.abc import Callable, Sequence
from typing import ClassVar

from rich.cells import cell_len
from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.widgets import Static

from tui.actions import Offer
from tui.dialog import Dialog, at_once
from tui.keys import ALWAYS, Chosen, Known, bindings_of, sign
from tui.pages.base import Page
from tui.table import shortened

KEY_WIDTH = 18
EDGES = 6
MAIN = ("overview", "brokers", "topics", "partitions", "groups", "events", "quorum")
# Keys by id, or as they are written where they cannot be chosen; what they do.
EVERYWHERE: tuple[tuple[str, str], ...] = (
    (" ".join(f"page.{name}" for name in MAIN), ", ".join(MAIN)),
    ("row.up row.down", "a row up, a row down"),
    ("screen.up screen.down", "a screen up, a screen down"),
    ("half.up half.down", "half a screen up, half a screen down"),
    ("row.first row.last", "the first row, the last row"),
    ("← →", "sideways in a table that is wider than its panel; Ctrl+PageUp, Ctrl+PageDown"),
    ("Enter", "open what the cursor is on"),
    ("Escape", "close, then show all rows again, then go back; also Backspace"),
    ("Tab Shift+Tab", "the next panel, the one before"),
    ("filter", "show rows with these words, !without, or a condition: isr < replicas; ↑ the last"),
    ("command", "go to any page: topic NAME, broker ID, contexts ...; act: delete-topic NAME ..."),
    ("sort reverse", "sort by the next column, the other way round"),
    ("records", "records of a topic or partition; :records NAME"),
    ("hold", "hold the screen still on every page, and go on; on the page of records: pause"),
    ("mark changes", "mark this moment, see what is otherwise than at a mark; :mark, :changes"),
    ("commands", "the commands that actions ran, here and before; :commands"),
    ("settings", "all settings of a topic or broker; :settings NAME, :settings broker ID"),
    ("copy copy.json", "copy the name, the whole row as JSON"),
    ("save", "save the rows that are shown; :save FILE.csv, .jsonl or .json"),
    ("Super+C", "copy what was marked with the mouse; so does Ctrl+C"),
    ("again", "ask again now"),
    ("theme", "the other theme; :theme NAME for more"),
    ("picture", "save the screen as an SVG picture"),
    ("Ctrl+P", "all commands, to be searched"),
    ("suspend", "back to the shell for now; fg comes back here"),
    ("help", "this page"),
    ("quit Ctrl+C", "leave; also Ctrl+Q. In a dialog or line Ctrl+C leaves that alone"),
)
# The same of screens over the page.
OVER: tuple[tuple[str, str], ...] = (
    ("dialog.agree", "show what an action would do; do it; close. Chosen, no other key agrees"),
    ("dialog.leave", "leave without doing anything; interrupt what is under way"),
    ("dialog.next dialog.before", "the next field, the one before"),
    ("dialog.copy", "copy the command"),
    ("dialog.up dialog.down", "look back, look on in what a command says"),
    ("record.next record.before", "the next record, the one before"),
    ("record.down record.up", "scroll a record"),
    ("record.hex", "a record as bytes, as text again"),
    ("record.copy record.copy.json", "copy the value, the whole record as JSON"),
    ("record.close", "close a record, as Escape does"),
    ("help.down help.up", "scroll the help"),
    ("help.page.down help.page.up", "a screen of the help"),
    ("help.first help.last", "the first lines of the help, the last"),
    ("help.close", "close the help, as Escape does"),
)
# Longer names of what an action is about are cut: the page behind has them.
ABOUT_MAX = 32
CLICK = (
    "puts the cursor on a row; again: opens it. A title sorts. Pages above and keys below can be "
    "clicked, too"
)
MOUSE = (
    ("click", CLICK),
    ("wheel", "scrolls; so does dragging the bar on the right"),
    ("Shift + drag", "marks text as the terminal does (Option on a Mac)"),
)
SIGNS = """\
◆ leader  ● in sync  ○ behind  ✖ broker down  · no replica   (a place for each broker)
<2> leader   3 in sync   ✗1 out of sync   1≠ not the preferred leader
● whole  ◐ under-replicated  ◔ under min ISR  ✖ offline, fenced or down
? counts as up, does not answer   ◔ slow to answer   ◌ not reachable from here
⇄ leader moved  ▼ ISR shrunk  ▲ ISR expanded  ⇢ replicas moved  ★ controller"""
END = (
    "What the metadata log tells is live. Offsets, lag and sizes are polled, and each says its age "
    "when it is old."
)
CHOOSING = "Other keys: dashboard.keys in config.yaml, as ID: KEY. The ids, and the keys now:"


def help_text(
    title: str,
    about: str,
    page_keys: Sequence[tuple[str, str]],
    known: Sequence[Known],
    chosen: Chosen,
    width: int,
) -> Text:
    """All of it, in lines of at most `width` cells."""
    text = Text()
    text.append(f"{title}\n", "bold")
    text.append(textwrap.fill(about, width) + "\n")
    keys_now = {each.id: chosen.keys.get(each.id, each.keys) for each in known}
    signs = {id_: [*map(sign, now or ALWAYS.get(id_, ()))] for id_, now in keys_now.items()}
    everywhere, over = (
        [(_first(keys, signs), what + _also(keys, signs)) for keys, what in table]
        for table in (EVERYWHERE, OVER)
    )
    parts = (("Keys of this page", page_keys), ("Keys", everywhere), ("Mouse", MOUSE))
    for heading, keys in parts:
        _append_keys(text, heading, keys, width)
    text.append("\nSigns\n", "bold")
    text.append("".join(textwrap.fill(line, width) + "\n" for line in SIGNS.splitlines()))
    text.append(f"\n{textwrap.fill(END, width)}\n")
    _append_keys(text, "Keys of dialogs, records and this help", over, width)
    text.append("\nKeys of your own\n", "bold")
    text.append(textwrap.fill(CHOOSING, width) + "\n")
    # A key stays in the line of its id.
    ids = "   ".join("\xa0".join([f"{id_}:", *(keys or ["(none)"])]) for id_, keys in signs.items())
    text.append(textwrap.fill(ids, width, break_on_hyphens=False))
    return text


def _append_keys(text: Text, heading: str, keys: Sequence[tuple[str, str]], width: int) -> None:
    if keys:
        text.append(f"\n{heading}\n", "bold")
    for key, what in keys:
        text.append(_item(key, what, width))


def _first(keys: str, signs: dict[str, list[str]]) -> str:
    first = [(signs.get(key, [key]) or ["(none)"])[0] for key in keys.split()]
    in_order = len(first) > 2 and first == [str(number) for number in range(1, len(first) + 1)]
    return f"{first[0]} … {first[-1]}" if in_order else " ".join(first)


def _also(keys: str, signs: dict[str, list[str]]) -> str:
    others = [" ".join(signs.get(key, [])[1:]) for key in keys.split()]
    return f"; also {', '.join(others)}" if any(others) else ""


def _item(key: str, what: str, width: int) -> str:
    begin = f"  {key:<{KEY_WIDTH - 3}} "
    lines = textwrap.wrap(what, max(width - KEY_WIDTH, 10), break_on_hyphens=False) or [""]
    return begin + ("\n" + " " * len(begin)).join(lines) + "\n"


class HelpScreen(Dialog[None]):
    """Keys and signs; any of its keys closes it, and so does a click beside it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        at_once("escape,enter", "dismiss", "Close"),
        at_once("q,question_mark", "dismiss", "Close the help", name="help.close"),
        at_once("down,j", "scroll('down')", "Down", name="help.down"),
        at_once("up,k", "scroll('up')", "Up", name="help.up"),
        at_once(
            "pagedown,ctrl+f,ctrl+d,space", "scroll('page_down')", "Down", name="help.page.down"
        ),
        at_once("pageup,ctrl+b,ctrl+u", "scroll('page_up')", "Up", name="help.page.up"),
        at_once("home,g", "scroll('home')", "Top", name="help.first"),
        at_once("end,G", "scroll('end')", "End", name="help.last"),
    ]

    def __init__(
        self,
        title: str,
        about: str,
        keys: Sequence[tuple[str, str]],
        known: Sequence[Known],
        chosen: Chosen,
    ) -> None:
        super().__init__()
        self._text: Callable[[int], Text] = lambda width: help_text(
            title, about, keys, known, chosen, width
        )
        self._scroll = VerticalScroll(id="help")
        self._said = Static()
        # The width that it was written for, in cells.
        self._written = 0

    def compose(self) -> ComposeResult:
        """One scrolled page."""
        down, up = sign(self.key_of("help.down")), sign(self.key_of("help.up"))
        self._scroll.border_subtitle = f"{up} {down} scroll   Escape closes".replace("[", "\\[")
        self._write(self.app.size.width)
        with self._scroll:
            yield self._said

    def on_resize(self, event: events.Resize) -> None:
        """Write it anew for another width."""
        self._write(event.size.width)

    def _write(self, width: int) -> None:
        width = max(10, min(84, width) - EDGES)
        if width != self._written:
            self._written = width
            text = self._text(width)
            # Its lines are broken already: so its height is known, and need not be worked out.
            self._said.styles.height = text.plain.count("\n") + 1
            self._said.update(text)

    def on_click(self, event: events.Click) -> None:
        """A click beside it closes it."""
        if event.widget is self:
            self.dismiss()

    def action_scroll(self, way: str) -> None:
        """Scroll, at once."""
        getattr(self._scroll, f"scroll_{way}")(animate=False)


def help_of(
    page: Page, offers: Sequence[Offer], known: Sequence[Known], chosen: Chosen
) -> HelpScreen:
    """The help of a page, on which `offers` can be done."""
    keys = [(" ".join(chosen.signs(b)), b.description) for b in bindings_of(type(page))]
    for offer in offers:
        about = str(offer.subject) if offer.action.about_subject and offer.subject else ""
        if cell_len(about) > ABOUT_MAX:
            about = shortened(about, ABOUT_MAX, numbered=True)
        keys.append((" ".join(map(sign, offer.keys)), f"{offer.action.title} {about}"))
    return HelpScreen(page.TITLE, page.HELP, keys, known, chosen)


def last_line(
    shown: Sequence[tuple[Binding, str]], offers: Sequence[Offer], chosen: Chosen
) -> list[tuple[str, str, str]]:
    """(key, what it does, what a click does); `shown` are bindings and what clicks on them do."""
    first = [(chosen.signs(each), each.description, click) for each, click in shown]
    first += [
        ([*map(sign, each.keys)], each.action.title, f"app.act({each.action.name!r})")
        for each in offers
    ]
    return [(signs[0], what, click) for signs, what, click in first if signs]
