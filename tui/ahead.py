"""Keys that are typed ahead of a page which is still being made: they are meant for it.

A slow line brings `3jj` and Enter in one piece. Must neither lose such keys nor give them to the
page before, and must never hold keys back for long, whatever becomes of the page.
"""

from textual import events
from textual.app import App

from tui.doors import monotonic_ms

HELD_MS_MAX = 2_000
# Leaving is for whatever is there.
AT_ONCE = ("ctrl+c", "ctrl+q", "ctrl+z")


class Ahead:
    """Holds keys from `begin` until `end`."""

    def __init__(self) -> None:
        self._until_ms: int | None = None
        self._held: list[events.Key] = []

    def begin(self) -> None:
        """A page is being made."""
        self._until_ms = monotonic_ms() + HELD_MS_MAX

    def end(self) -> list[events.Key]:
        """The page stands, or its keys wait no longer: those that were held, in order."""
        held, self._held, self._until_ms = self._held, [], None
        return held

    def is_late(self) -> bool:
        """Whether the page took too long, and keys must go on without it."""
        return self._until_ms is not None and monotonic_ms() > self._until_ms

    def holds(self, event: events.Event) -> bool:
        """Take an event that came first, if it is a key and a page is waited for."""
        if self._until_ms is None or not isinstance(event, events.Key) or event.is_forwarded:
            return False
        if event.key in AT_ONCE:
            return False
        self._held.append(event)
        return True


class TypedAhead(App[int]):
    """An application that holds keys while `ahead` waits; `type_ahead` does them then.

    `last_input_ms` is when somebody last did something, by a clock that never goes back.
    """

    def __init__(self) -> None:
        super().__init__()
        self.ahead = Ahead()
        self.last_input_ms = 0

    async def on_event(self, event: events.Event) -> None:
        """Note when somebody last did something; Textual does the rest."""
        if isinstance(event, events.InputEvent):
            self.last_input_ms = monotonic_ms()
            if self.ahead.is_late():
                await self.type_ahead()
            if self.ahead.holds(event):
                return
        await self._go_on(event)

    async def type_ahead(self) -> None:
        """Do what was typed while a page was made; one of the keys may open another."""
        for event in self.ahead.end():
            if not self.ahead.holds(event):
                await self._go_on(event)

    async def _go_on(self, event: events.Event) -> None:
        fresh = isinstance(event, events.Key) and not event.is_forwarded
        if not (fresh and isinstance(event, events.Key) and self.begins(event)):
            await super().on_event(event)

    def begins(self, event: events.Key) -> bool:
        """Whether a key opened a dialog: at once, for what is typed after it is meant for that."""
        return False
