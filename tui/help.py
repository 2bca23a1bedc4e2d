"""The help screen of the dashboard: keys and signs."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

HELP = """\
[b]Keys[/b]
  Tab, 1 2 3 4      next panel; brokers, topics, partitions, events
  ↑ ↓ j k g G       move; PageUp, PageDown
  Enter, click      on a topic: show its partitions only, again: all
  / words           show rows with these words; Escape shows all
  s, S              sort by the next column, reverse; or click a title
  u                 partitions with problems only
  n                 next step (while a story is told)
  Ctrl+S            save the screen as an SVG picture
  Ctrl+P            all commands
  q                 quit

[b]Signs[/b]
  ● whole   ◐ under-replicated   ✖ offline, fenced or down
  <2>  leader     3  in sync     ✗1  replica out of sync
  1≠   the leader is not the preferred one (the first replica)
  ★    active controller
  ⇄ leader moved   ▼ ISR shrunk   ▲ ISR expanded

The panels follow the cluster's metadata log; nothing is polled but the
quorum. When the log can't be read the first line says so and the rest
is drawn dim: it is how things were.

Escape, q or ? closes this page."""


class HelpScreen(ModalScreen[None]):
    """Keys and signs; any of its keys closes it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,question_mark", "dismiss", "Close"),
    ]

    def compose(self) -> ComposeResult:
        """One scrolled page."""
        with VerticalScroll(id="help"):
            yield Static(HELP)
