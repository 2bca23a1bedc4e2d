"""What dialogs have in common: where keys go that are typed around the moment in which one closes.

A key goes to a dialog and up from there, which takes a while. So the keys that close one are done
the moment they come (`priority`): what is typed after them is for the page. What was typed before
is still on its way then, and must not act on the page either.
"""

from typing import ClassVar, TypeVar

from textual import events
from textual.binding import Binding, BindingType
from textual.command import CommandPalette
from textual.screen import ModalScreen

from tui.ahead import LEAVING

T = TypeVar("T")
# What is done with the words alone, beside letters.
WORDS = ("backspace", "delete", "left", "right", "home", "end", "escape", *LEAVING)


def at_once(keys: str, action: str, description: str, *, show: bool = False) -> Binding:
    """A binding of a dialog that is done before the key after it is looked at."""
    return Binding(keys, action, description, show=show, priority=True)


class Dialog(ModalScreen[T]):
    """A screen over the page."""

    async def on_key(self, event: events.Key) -> None:
        """Keep a key that came while this was open, and arrives once it is not."""
        _keep(self, event)


class Palette(CommandPalette):
    """Textual's list of all commands, closed at once."""

    BINDINGS: ClassVar[list[BindingType]] = [at_once("escape", "escape", "Close")]

    def is_ready_for(self, event: events.Event) -> bool:
        """Whether a key may be done: what chooses from the list waits until there is one."""
        if not isinstance(event, events.Key) or event.is_printable or event.key in WORDS:
            return True
        return all(each.is_finished or each.node is not self for each in self.workers)

    async def on_key(self, event: events.Key) -> None:
        """Keep a key that came while this was open, and arrives once it is not."""
        _keep(self, event)


def _keep(dialog: ModalScreen[T], event: events.Key) -> None:
    if not dialog.is_current:
        event.stop()
        event.prevent_default()
