"""What can be done from the dashboard: the shape of an action, and the list of those there are.

An action says what it will touch before it asks, and which `logctl` command it is. In a read-only
context no action applies. Must never change anything without having shown its preview.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tui.pages.base import Subject

if TYPE_CHECKING:
    from tui.app import DashboardApp


@dataclass(frozen=True, slots=True)
class Action:
    """`name` is its word after `:`, `key` the key on pages where `applies` to the subject.

    `start` shows what will happen, asks, and does it; it is run as a worker of the application.
    """

    name: str
    key: str
    title: str
    applies: Callable[[Subject | None], bool]
    start: Callable[["DashboardApp", Subject | None], Awaitable[Any]]


ACTIONS: list[Action] = []


def actions_for(subject: Subject | None, *, read_only: bool) -> list[Action]:
    """What can be done with a subject; nothing where changes are refused."""
    return [] if read_only else [action for action in ACTIONS if action.applies(subject)]
