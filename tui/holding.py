"""The screen held still: one moment to be read in peace, on every page, while the cluster goes on.

What comes meanwhile is kept and counted, and taken all at once afterwards. Must never look as if it
were live: the first line says that it is held, since when, and what has happened since.
"""

from collections import deque
from collections.abc import Callable, Iterable

from textual.content import Content

from clusters.watch import ClusterEvent, FeedUpdate
from tui.drawing import age
from tui.prose import Prose

# What a table of events holds: more could not be shown afterwards.
EVENTS_MAX = 5_000
Clock = Callable[[], int]


class Hold:
    """Off until `begin`. `now_ms` and `wall_ms` are the clocks of what is drawn: they stand still
    with it, so that nothing fades and no age grows.
    """

    def __init__(self, now_ms: Clock, wall_ms: Clock) -> None:
        self._now_ms, self._wall_ms = now_ms, wall_ms
        self._at_ms: tuple[int, int] | None = None
        self._last: FeedUpdate | None = None
        self._events: deque[ClusterEvent] = deque(maxlen=EVENTS_MAX)
        self._replaying = True
        self._count = 0

    @property
    def is_on(self) -> bool:
        """Whether the screen is held."""
        return self._at_ms is not None

    def now_ms(self) -> int:
        """Monotonic."""
        return self._now_ms() if self._at_ms is None else self._at_ms[0]

    def wall_ms(self) -> int:
        """Since 1970."""
        return self._wall_ms() if self._at_ms is None else self._at_ms[1]

    def begin(self) -> None:
        """Hold what is seen."""
        self._at_ms = self._now_ms(), self._wall_ms()

    def keep(self, updates: Iterable[FeedUpdate]) -> None:
        """Keep what came for later, no more of it than can be shown."""
        for update in updates:
            self._last = update
            self._events.extend(update.events)
            self._count += len(update.events)
            self._replaying = self._replaying and update.replaying

    def end(self) -> list[FeedUpdate]:
        """Go on: what came meanwhile, in one."""
        last, events, replaying = self._last, tuple(self._events), self._replaying
        self._at_ms = self._last = None
        self._events.clear()
        self._count, self._replaying = 0, True
        if last is None:
            return []
        return [
            FeedUpdate(image=last.image, events=events, status=last.status, replaying=replaying)
        ]

    def text(self) -> Content:
        """The beginning of the first line, "" when nothing is held."""
        prose = Prose()
        if self._at_ms is not None:
            since = age(self._now_ms() - self._at_ms[0])
            more = f", {self._count} event{'' if self._count == 1 else 's'} since"
            prose.append(f" ⏸ HELD for {since}{more if self._count else ''} ", "bold")
        return prose.content()
