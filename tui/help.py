"""The help of the page that is seen: its keys, the keys everywhere, and the signs."""

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

EVERYWHERE = (
    ("1 … 7", "overview, brokers, topics, partitions, groups, events, quorum"),
    ("↑ ↓ j k g G", "move; PageUp, PageDown, Ctrl+D, Ctrl+U"),
    ("Enter, click", "open what the cursor is on; Escape, Backspace go back"),
    ("Tab", "next panel"),
    ("/", "show rows with these words, !without, or a condition: isr < replicas"),
    (":", "go anywhere: topic NAME, broker ID, group NAME; act: delete-topic NAME, ..."),
    ("s, S", "sort by the next column, reverse; or click a title"),
    ("v", "records of a topic or partition; :records NAME"),
    ("capitals", "change things: what a dialog shows first; none where read-only"),
    ("y, Y", "copy the name, or the whole row as JSON"),
    ("r", "ask again now"),
    ("T", "next theme"),
    ("Ctrl+S", "save the screen as an SVG picture"),
    ("Ctrl+P", "all commands"),
    ("q, Ctrl+C", "quit"),
)
SIGNS = """\
◆ leader  ● in sync  ○ behind  ✖ broker down  · no replica   (a place for each broker)
<2> leader   3 in sync   ✗1 out of sync   1≠ not the preferred leader
● whole  ◐ under-replicated  ◔ under min ISR  ✖ offline, fenced or down
⇄ leader moved  ▼ ISR shrunk  ▲ ISR expanded  ⇢ replicas moved  ★ controller"""


class HelpScreen(ModalScreen[None]):
    """Keys and signs; any of its keys closes it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,question_mark", "dismiss", "Close"),
    ]

    def __init__(self, title: str, about: str, keys: Sequence[tuple[str, str]]) -> None:
        super().__init__()
        self._title, self._about, self._page_keys = title, about, keys

    def compose(self) -> ComposeResult:
        """One scrolled page."""
        text = Text()
        text.append(f"{self._title}\n", "bold")
        text.append(f"{self._about}\n")
        for title, keys in (("Keys of this page", self._page_keys), ("Keys", EVERYWHERE)):
            if keys:
                text.append(f"\n{title}\n", "bold")
            for key, what in keys:
                text.append(f"  {key:<14}{what}\n")
        text.append("\nSigns\n", "bold")
        text.append(SIGNS)
        text.append("\n\nWhat the metadata log tells is live. Offsets, lag and sizes are polled, ")
        text.append("and each says its age when it is old. Escape closes this page.")
        with VerticalScroll(id="help"):
            yield Static(text)
