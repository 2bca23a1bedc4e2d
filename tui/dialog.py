"""What dialogs have in common: where keys go that are typed around the moment in which one closes.

A key goes to a dialog and up from there, which takes a while. So the keys that close one are done
the moment they come (`priority`): what is typed after them is for the page. What was typed before
is still on its way then, and must not act on the page either.
"""

from collections.abc import Iterable
from typing import ClassVar, TypeVar

from rich.text import Text
from textual import events
from textual.await_complete import AwaitComplete
from textual.binding import Binding, BindingType
from textual.command import CommandInput, CommandPalette
from textual.screen import ModalScreen, Screen
from textual.widget import Widget
from textual.widgets import Input

from tui.ahead import LEAVING
from tui.dimmed import OverPage
from tui.hints import hint_text
from tui.keys import ALWAYS, NO_KEY, Chosen, bindings_of
from tui.once import DrawnOnce

T = TypeVar("T")
# What is done with the words alone, beside letters.
WORDS = ("backspace", "delete", "left", "right", "home", "end", "escape", *LEAVING)


def at_once(
    keys: str,
    action: str,
    description: str,
    *,
    show: bool = False,
    name: str | None = None,
) -> Binding:
    """A binding of a dialog that is done before the key after it is looked at.

    `name` is its id, by which other keys can be chosen.
    """
    return Binding(keys, action, description, show=show, priority=True, id=name)


def chosen_only(action: str, description: str, name: str) -> Binding:
    """A binding for the keys that somebody chose beside the one that always does it."""
    return at_once(NO_KEY, action, description, name=name)


class Dialog(DrawnOnce, OverPage, ModalScreen[T]):
    """A screen over the page."""

    # Dialogs fit themselves to any width: to give them classes by it has all of them styled anew.
    HORIZONTAL_BREAKPOINTS = []

    def key_of(self, name: str) -> str:
        """The key for the binding of this id, as it was chosen or made; a key is itself."""
        for each in bindings_of(type(self)):
            if each.id == name:
                chosen: Chosen = getattr(self.app, "chosen_keys", Chosen())
                keys = chosen.keys_of(each) or ALWAYS.get(name, ())
                return keys[0] if keys else ""
        return name

    def hint(self, before: str, hints: Iterable[tuple[str, str, str]]) -> Text:
        """The last line: `before`, then (key or id of a binding, what it does, action)."""
        told = [(self.key_of(name), what, action) for name, what, action in hints]
        return hint_text(before, told)

    async def on_key(self, event: events.Key) -> None:
        """Keep a key that came while this was open, and arrives once it is not."""
        _keep(self, event)


class Palette(DrawnOnce, OverPage, CommandPalette):
    """Textual's list of all commands, closed at once, and kept for the next time.

    To make its parts takes longer than all else until it stands.
    """

    BINDINGS: ClassVar[list[BindingType]] = [at_once("escape", "escape", "Close")]
    HORIZONTAL_BREAKPOINTS = []

    def is_ready_for(self, event: events.Event) -> bool:
        """Whether a key may be done: what chooses from the list waits until there is one."""
        if not isinstance(event, events.Key) or event.is_printable or event.key in WORDS:
            return True
        return not self._searches()

    async def on_key(self, event: events.Key) -> None:
        """Keep a key that came while this was open, and arrives once it is not."""
        _keep(self, event)

    def _on_mount(self, event: events.Mount) -> None:
        # What Textual's palette does here is done each time it is opened.
        event.prevent_default()
        for kind in (Screen, Widget):
            kind._on_mount(self, event)
        # It may be made long before it is shown, and the theme be another one then.
        self._known_looks = self.app.stylesheet.rules

    def on_screen_resume(self) -> None:
        """List what can be done now."""
        self.app.post_message(CommandPalette.Opened())
        self._selected_command = None
        self._calling_screen = below = self.app.screen_stack[-2]
        style = self.get_visual_style("command-palette--highlight", partial=True)
        self._providers = [kind(below, style) for kind in self._provider_classes]
        for provider in self._providers:
            provider._post_init()
        self._gather_commands("")

    def dismiss(self, result: None = None) -> AwaitComplete:
        """Close it, with nothing typed: what is typed the next time may come before it is drawn."""
        with self.prevent(Input.Changed):
            self.query_one(CommandInput).value = ""
        return super().dismiss(result)

    def _searches(self) -> bool:
        return any(each.node is self and not each.is_finished for each in self.workers)

    def _is_awaited(self) -> bool:
        return self._searches() or super()._is_awaited()


def _keep(dialog: ModalScreen[T], event: events.Key) -> None:
    if not dialog.is_current:
        event.stop()
        event.prevent_default()
