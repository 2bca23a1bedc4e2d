"""The line for words: `/` narrows a table while one types, `:` goes anywhere or begins an action.

What is typed fast must arrive whole and in order: keys reach the line from the moment it is asked
for until it is closed, and no letter of a word may act as a key of the page.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, ClassVar

from textual import events
from textual.message import Message
from textual.widgets import Input

from tui.box import Box
from tui.commands import complete, completions
from tui.rings import ComponentStyles
from tui.suggest import LineSuggester
from tui.table import LiveTable

SHOWN_MAX = 8
REMEMBERED_MAX = 100

Names = Mapping[str, Sequence[str]]
Kinds = Mapping[str, Iterable[str]]


def _remember(said: list[str], text: str) -> None:
    """The newest at the end, and no more than anybody goes back to."""
    if text and said[-1:] != [text]:
        said.append(text)
    del said[:-REMEMBERED_MAX]


class WordsLine(Box):
    """One line that is seen while it is asked for; `Command` tells what was said after `:`."""

    # Done where letters are taken, in the order in which they were typed; a binding comes later.
    KEYS: ClassVar[dict[str, str]] = {
        "tab": "complete",
        "enter": "submit",
        "up": "recall(-1)",
        "down": "recall(1)",
    }

    class Command(Message):
        """`text` was said."""

        def __init__(self, text: str) -> None:
            self.text = text
            super().__init__()

    def __init__(self) -> None:
        super().__init__(id="bar")
        self._component_styles = ComponentStyles()
        self.display = False
        self._table: LiveTable[Any] | None = None
        self._known: Names = {}
        self._kinds: Kinds = {}
        self._said: list[str] = []
        self._filters: list[str] = []
        self._recalled = 0
        # What Tab offers one after the other, and which of them is in the line.
        self._choices: list[str] = []
        self._choice = -1
        self._on_close: Callable[[], None] = lambda: None

    # -- opening and closing

    def ask_filter(self, table: LiveTable[Any], on_close: Callable[[], None]) -> None:
        """Narrow a table while somebody types."""
        self._table, self.suggester = table, None
        self._recalled = len(self._filters)
        hint = "words, !without" + (", or a condition" if table.query_table else "")
        self._open(f"/ {hint}; Escape shows all", table.filter_text, on_close)

    def ask_command(
        self, begun: str, known: Names, kinds: Kinds, on_close: Callable[[], None]
    ) -> None:
        """Ask where to go; `known` are names by kind, `kinds` those that each action takes."""
        self._table, self._known, self._kinds = None, known, kinds
        self.suggester = LineSuggester(lambda text: complete(text, known, kinds))
        self._recalled = len(self._said)
        self._open(": topic NAME, broker ID, group NAME, events ...", begun, on_close)

    def _open(self, placeholder: str, value: str, on_close: Callable[[], None]) -> None:
        self._on_close = on_close
        self.placeholder = placeholder
        self._forget_choices()
        self.value = value
        self.cursor_position = len(value)
        self.display = True
        # `focus` would wait for a turn of the loop, and the next key would miss the line.
        self.screen.set_focus(self)
        self._tell_choices()

    def close(self) -> None:
        """Leave the line; the page has the keys again."""
        self.display = False
        self._on_close()

    def on_blur(self) -> None:
        """A click elsewhere leaves it, too; going to another window does not."""
        if self.display and self.app.app_focus:
            self.display = False

    async def _on_key(self, event: events.Key) -> None:
        if not self.display:
            # Typed ahead: it was meant for what has the focus now.
            event.stop()
            event.prevent_default()
            key = events.Key(event.key, event.character)
            (self.screen.focused or self.screen).post_message(key)
            return
        if event.key in self.KEYS:
            event.stop()
            event.prevent_default()
            await self.run_action(self.KEYS[event.key])
            return
        await super()._on_key(event)

    async def action_submit(self) -> None:
        """Keep the filter, or tell what was said."""
        table, text = self._table, self.value.strip()
        if not self.display:
            return
        self.close()
        if table is not None:
            _remember(self._filters, text)
            table.set_filter(self.value)
            self.screen.set_focus(table)
            if table.filter_problem:
                self.app.notify(table.filter_problem, severity="warning", markup=False)
        elif text:
            _remember(self._said, text)
            self.post_message(self.Command(text))

    # -- while it is typed

    def on_input_changed(self, event: Input.Changed) -> None:
        """Filter while typing, or tell how the words may go on."""
        event.stop()
        if not self.display:
            return
        if self._table is not None:
            self._table.set_filter(event.value)
            return
        if not (0 <= self._choice < len(self._choices)) or (
            self.value.rstrip() != self._choices[self._choice]
        ):
            self._forget_choices()
        self._tell_choices()

    def action_complete(self) -> None:
        """The word that is begun, whole; again: the next that fits. A filter stays, and is left."""
        if self._table is not None:
            table = self._table
            self.close()
            self.screen.set_focus(table)
            return
        if not self._choices:
            self._choices = self._fitting(self.value)
        if self._choices:
            self._choice = (self._choice + 1) % len(self._choices)
            word = self._choices[self._choice]
            takes_name = " " not in word and bool(completions(f"{word} ", self._known, self._kinds))
            only = len(self._choices) == 1
            self.value = f"{word} " if takes_name and only else word
            self.cursor_position = len(self.value)
            if only and takes_name:
                self._forget_choices()

    def action_recall(self, step: int) -> None:
        """What was said before, or after that: after `/` a filter, whichever table it was for."""
        said = self._said if self._table is None else self._filters
        if said:
            self._recalled = min(max(0, self._recalled + step), len(said))
            self.value = said[self._recalled] if self._recalled < len(said) else ""
            self.cursor_position = len(self.value)

    def _fitting(self, text: str) -> list[str]:
        return list(islice(completions(text, self._known, self._kinds), SHOWN_MAX * 4))

    def _forget_choices(self) -> None:
        self._choices, self._choice = [], -1

    def _tell_choices(self) -> None:
        if self._table is not None:
            self.border_subtitle = ""
            return
        choices = self._choices or self._fitting(self.value)
        # After the first word only the names differ.
        prefix = self.value.lstrip().partition(" ")[0] + " " if " " in self.value.lstrip() else ""
        names = [each.removeprefix(prefix) for each in choices]
        more = " …" if len(names) > SHOWN_MAX else ""
        self.border_subtitle = (
            ("Tab: " + "  ".join(names[:SHOWN_MAX]) + more).replace("[", "\\[") if names else ""
        )
