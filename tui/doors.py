"""What the dashboard needs of the outside: a feed, a story to tell, clocks; tests bring others."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol

from clusters.watch import FeedStatus, FeedUpdate


class Feed(Protocol):
    """What the dashboard needs of `clusters.watch.ClusterFeed`."""

    async def __aenter__(self) -> Any: ...

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

    @property
    def status(self) -> FeedStatus:
        """How the feed is doing right now."""
        ...

    def updates(self) -> AsyncIterator[FeedUpdate]:
        """The first update holds the present state, each later one what changed."""
        ...


class Guide(Protocol):
    """A story told in the guide line; `advance` plays the next step when the person says so."""

    @property
    def text(self) -> str:
        """What is happening, or what the next step will do."""
        ...

    @property
    def busy(self) -> bool:
        """Whether a step is under way."""
        ...

    @property
    def finished(self) -> bool:
        """Whether the story is over."""
        ...

    async def advance(self) -> None:
        """Play the next step to its end."""
        ...


OnLine = Callable[[str], Awaitable[None] | None]


class Commander(Protocol):
    """Runs `logctl` commands on the cluster that is shown, as a person would in a terminal."""

    @property
    def deploys(self) -> bool:
        """Whether logctl runs the brokers' processes of this cluster."""
        ...

    def shown(self, words: Sequence[str]) -> str:
        """The command as it can be pasted into a terminal."""
        ...

    async def run(self, words: Sequence[str], on_line: OnLine) -> int:
        """Run a command; each line it writes is told, and the next one read once what
        `on_line` returned is done. One that begins with "\\r" is progress, and takes the place
        of such a one before it. Returns its exit code.

        When cancelled the command is interrupted as by Ctrl-C.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A cluster to show, and the ways to it, each with what its context says of security."""

    name: str
    bootstrap: Sequence[str]
    read_only: bool = False
    feed: Feed | None = None
    admin_of: Callable[[], Any] | None = None
    commander: Commander | None = None
    # The name of a colour, so that nobody takes one cluster for another.
    color: str | None = None
    # What is saved of the context it was made of, and how to make it of that again: it raises
    # TargetProblem. None where there is no context.
    saved: Any = None
    again: "Callable[[], Target] | None" = None


class TargetProblem(Exception):
    """A cluster that cannot be shown; the message is for the person."""


TargetOf = Callable[[str], Target]


def saved_target(name: str) -> Target:
    """A saved context, without what it says of security. Raises TargetProblem, StateError."""
    from clusters import state
    from clusters.nearest import nearest

    known = state.contexts()
    if name not in known:
        near = nearest(name, known)
        meant = f' Did you mean "{near}"?' if near else ""
        raise TargetProblem(f'There is no context "{name}".{meant}')
    context = known[name]
    return Target(
        name=name,
        bootstrap=context.bootstrap,
        read_only=context.read_only,
        color=context.color,
        saved=context,
        again=lambda: saved_target(name),
    )


def monotonic_ms() -> int:
    """The clock of ages and flashes."""
    return time.monotonic_ns() // 1_000_000


def wall_ms() -> int:
    """Milliseconds since 1970, for the age of the last answer."""
    return time.time_ns() // 1_000_000


class MonotonicClock:
    """The clock of polls, so that their ages are those of the screen."""

    def __init__(self, now_ms: Any, since_1970_ms: Any) -> None:
        self._now_ms, self._since_1970_ms = now_ms, since_1970_ms

    def monotonic_ms(self) -> int:
        """Never goes back."""
        return int(self._now_ms())

    def wall_ms(self) -> int:
        """Since 1970."""
        return int(self._since_1970_ms())
