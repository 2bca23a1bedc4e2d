"""A deterministic event loop on virtual time.

Time stands still while callbacks run and jumps to the next timer when nothing is ready, so a
minute of cluster life takes as long as its callbacks. One seed gives one run. The loop must never
touch a real socket, a real clock or a real thread; what tries to is refused.
"""

import asyncio
import random
from asyncio import base_events
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

from broker.protocol.errors import LogctlError

T = TypeVar("T")


class SimulationStuck(LogctlError):
    """Nothing is ready and no timer is set: every task waits for something that cannot come."""


class _VirtualSelector:
    """Stands where a real loop waits for sockets: it never waits, it moves the clock."""

    def __init__(self, loop: "SimulatedLoop") -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise SimulationStuck("the simulation is stuck: nothing is ready and no timer is set")
        if timeout > 0:
            self._loop.advance(timeout)
        return []

    def close(self) -> None:
        """Nothing to close."""


class SimulatedLoop(base_events.BaseEventLoop):
    """An asyncio loop whose clock is moved by its own timers.

    `rng` draws the latency of work handed to an executor, which runs inline on this thread.
    """

    def __init__(self, rng: random.Random) -> None:
        super().__init__()
        self._now_s = 0.0
        self._rng = rng
        self._clock_resolution = 1e-9
        self._selector = _VirtualSelector(self)

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._now_s

    def advance(self, seconds: float) -> None:
        """Move the clock; for the selector only."""
        self._now_s += seconds

    def _process_events(self, event_list: list[Any]) -> None:
        assert not event_list

    def _write_to_self(self) -> None:
        """Wakes a real loop from its selector; this one never sleeps."""

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., T], *args: Any
    ) -> "asyncio.Future[T]":
        """Run `func` inline after a short virtual delay."""
        future: asyncio.Future[T] = self.create_future()

        def call() -> None:
            if future.cancelled():
                return
            try:
                result = func(*args)
            except Exception as error:  # noqa: BLE001 - handed to whoever awaits
                future.set_exception(error)
            else:
                future.set_result(result)

        self.call_later(self._rng.uniform(0.0001, 0.003), call)
        return future

    def _refuse(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise LogctlError("the simulated loop has no real sockets, signals or processes")

    create_connection = _refuse
    create_server = _refuse
    add_signal_handler = _refuse  # type: ignore[assignment]
    subprocess_exec = _refuse


class SimulatedClock:
    """The Clock door on a simulated loop; `skew_ms` shifts the wall clock of one node."""

    WALL_START_MS = 1_700_000_000_000

    def __init__(self, loop: SimulatedLoop, skew_ms: int = 0) -> None:
        self._loop = loop
        self.skew_ms = skew_ms

    def monotonic_ms(self) -> int:
        """Virtual milliseconds since the loop was made."""
        return int(self._loop.time() * 1000)

    def wall_ms(self) -> int:
        """Virtual milliseconds since 1970, as this node believes."""
        return self.WALL_START_MS + self.monotonic_ms() + self.skew_ms


class InlineOffload:
    """The Offload door on a simulated loop: the work runs inline after a short virtual delay."""

    def __init__(self, loop: SimulatedLoop) -> None:
        self._loop = loop

    async def run(self, fn: Callable[[], T]) -> T:
        """The result of `fn`, which runs on this very thread."""
        return await self._loop.run_in_executor(None, fn)
