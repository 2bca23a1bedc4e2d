"""Keys, clicks and pasted words, one after the other: each waits until the one before is done with.

A burst of somebody's fingers, or one piece from a slow line, must act as if it had been typed
slowly: `jj4`, `3jj` and Enter, words right behind the key that opens a dialog. Must never lose or
swap what was typed, never give it to what was there before, and never hold it back for long,
whatever becomes of a page or a dialog.

Textual handles each event by messages from one widget to the next, and the next key does not wait
for them. So a marker follows each key along the way it took; what that left on its way is followed
again, until nothing is.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator

from textual import events
from textual.app import App
from textual.dom import DOMNode
from textual.errors import NoWidget
from textual.message_pump import MessagePump
from textual.widgets import Input

from tui.doors import monotonic_ms
from tui.pressing import Presses

# A page or a dialog that takes longer than this no longer keeps what is typed from going on.
HELD_MS_MAX = 2_000
# Leaving is for whatever is there, and does not wait so long.
LEAVING = ("ctrl+c", "ctrl+q", "ctrl+z")
LEAVING_MS_MAX = 250
# How often one key's consequences are followed; of what a cluster tells there is always more.
ROUNDS_MAX = 6
LOST_S = 0.05


class Ahead:
    """What was typed and is not yet begun with, and why that waits."""

    def __init__(self) -> None:
        self.held: deque[events.Event] = deque()
        # Whether one is being done, and since when it and what came after it is waited for.
        self.doing = False
        self.since_ms = 0
        self._awaits_page = False

    def begin(self) -> None:
        """A page is being made: what is typed from now on is meant for it."""
        if not self.doing:
            self.since_ms = monotonic_ms()
        self._awaits_page = True

    def end(self) -> None:
        """The page stands."""
        self._awaits_page = False

    @property
    def awaits(self) -> bool:
        """Whether what is typed has to wait."""
        return self.doing or self._awaits_page

    def is_late(self) -> bool:
        """Whether all that is waited for took too long, and what was typed must go on."""
        waited_ms = monotonic_ms() - self.since_ms
        return waited_ms > (LEAVING_MS_MAX if self._leaves() else HELD_MS_MAX)

    def give_up(self) -> None:
        """Wait no more. Who leaves no longer means what was typed before that."""
        self.doing = self._awaits_page = False
        while self._leaves() and not leaves(self.held[0]):
            self.held.popleft()

    def _leaves(self) -> bool:
        return any(leaves(each) for each in self.held)


def leaves(event: events.Event) -> bool:
    """Whether it ends what one is in."""
    return isinstance(event, events.Key) and event.key in LEAVING


class TypedAhead(App[int]):
    """An application that does what is typed in order.

    `last_input_ms` is when somebody last did something, by a clock that never goes back. A screen
    may have `is_ready_for(event)`, to let it wait, and `is_meant(event)`, to let it go unheeded.
    `presses` tells the two which keys were only held down.
    """

    def __init__(self) -> None:
        super().__init__()
        self.ahead = Ahead()
        self.presses = Presses()
        self.last_input_ms = 0
        # The marker that is under way, the nodes that it passes, and the one that has it.
        self._marker = 0
        self._way: list[MessagePump] = []
        self._place = 0
        self._rounds = 0
        # The key that comes back to us, unless something on its way takes it.
        self._sent: events.Event | None = None
        self._watching: asyncio.TimerHandle | None = None

    async def on_event(self, event: events.Event) -> None:
        """Do what somebody did, or keep it until its turn; Textual does the rest."""
        if not isinstance(event, events.InputEvent | events.Paste) or event.is_forwarded:
            await super().on_event(event)
            if event is self._sent:
                self._follow()
            return
        self.last_input_ms = monotonic_ms()
        if isinstance(event, events.Key):
            self.presses.note(event.key, event.time)
        self.ahead.held.append(event)
        await self._go_on()

    async def do_next(self, event: events.Event) -> None:
        """Do what a key stands for, before all that was typed after it."""
        self.ahead.held.appendleft(event)
        await self._go_on()

    async def type_ahead(self) -> None:
        """A page stands: what was typed since it was asked for is meant for it."""
        self.ahead.end()
        await self._go_on()

    async def _go_on(self) -> None:
        held = self.ahead.held
        while held and not self.ahead.awaits and self._is_ready_for(held[0]):
            event = held.popleft()
            if self._is_meant(event):
                await self._do(event)
        if held:
            self._watch()

    def _is_ready_for(self, event: events.Event) -> bool:
        ready: Callable[[events.Event], bool] | None = getattr(self.screen, "is_ready_for", None)
        # What it waits for may have begun long before this came.
        late = monotonic_ms() - event.time * 1000 > HELD_MS_MAX
        return ready is None or (late and self.ahead.is_late()) or ready(event)

    def is_meant(self, event: events.Event) -> bool:
        """Whether a key is to be done at all, whatever is on the screen."""
        return True

    def _is_meant(self, event: events.Event) -> bool:
        if not self.is_meant(event):
            return False
        meant: Callable[[events.Event], bool] | None = getattr(self.screen, "is_meant", None)
        return meant is None or leaves(event) or meant(event)

    async def _do(self, event: events.Event) -> None:
        self.ahead.since_ms = monotonic_ms()
        if isinstance(event, events.MouseMove):
            # Leads to nothing that could be overtaken.
            await super().on_event(event)
            return
        self.ahead.doing = True
        way, takes_words = self._way_of(event), isinstance(self.focused, Input)
        await super().on_event(event)
        self._rounds = 0
        if isinstance(event, events.Key) and event.is_forwarded and not takes_words:
            # It comes back once nothing on its way has taken it.
            self._sent, self._way = event, []
            self._watch()
        else:
            self._follow(way)

    # -- following one event

    def _way_of(self, event: events.Event) -> list[DOMNode]:
        """Where an event goes, and up from there."""
        if isinstance(event, events.MouseEvent):
            try:
                return self.get_widget_at(event.x, event.y)[0].ancestors_with_self
            except NoWidget:
                return []
        return (self.focused or self.screen).ancestors_with_self

    def _follow(self, begun: Iterable[MessagePump] = ()) -> None:
        """Send a marker the way that an event has gone, and the way that the next one would go."""
        self._sent = None
        self._rounds += 1
        now = (self.focused or self.screen).ancestors_with_self
        before = [each for each in dict.fromkeys([*begun, *self._busy()]) if each not in now]
        self._way = [*before, *now]
        self._send(0)

    def _busy(self) -> Iterator[MessagePump]:
        """What has still something to do."""
        return (each for each in self.screen.walk_children(with_self=True)
                if each.message_queue_size)  # fmt: skip

    def _send(self, place: int) -> None:
        """Send the marker to the next node that is still there."""
        self._marker += 1
        self._place = place
        while not self._way[self._place].call_later(self._passed, self._marker):
            if self._place + 1 == len(self._way):
                break
            self._place += 1
        self._watch()

    async def _passed(self, marker: int) -> None:
        if marker != self._marker:
            return
        if self._place + 1 < len(self._way):
            self._send(self._place + 1)
        elif self._rounds < ROUNDS_MAX and (self.message_queue_size or any(self._busy())):
            self._follow()
        else:
            self.ahead.doing = False
            await self._go_on()

    # -- what does not come back

    def _watch(self) -> None:
        if self._watching is None:
            loop = asyncio.get_running_loop()
            self._watching = loop.call_later(LOST_S, self.call_next, self._look)

    async def _look(self) -> None:
        """Go on where a marker went with what closed, or where all takes too long."""
        self._watching = None
        if not self.screen_stack:
            return  # it ends
        if self.ahead.awaits:
            if self.ahead.is_late():
                self._marker, self._sent = self._marker + 1, None
                self.ahead.give_up()
            elif self.ahead.doing and self._is_lost():
                self._follow()
            else:
                self._watch()
        await self._go_on()

    def _is_lost(self) -> bool:
        """Whether the marker closed with the node that has it, or a key was taken on its way."""
        return self._sent is not None or not self._way[self._place].call_later(_nothing)


def _nothing() -> None:
    """Only a node that is still there takes this."""
