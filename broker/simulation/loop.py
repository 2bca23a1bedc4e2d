"""A deterministic event loop on virtual time.

Time stands still while callbacks run and jumps to the next timer when nothing is ready, so a
minute of cluster life takes as long as its callbacks. One seed gives one run. The loop must never
touch a real socket, a real clock or a real thread; what tries to is refused.
"""

import asyncio
import heapq
import random
from asyncio import base_events
from collections.abc import Callable, Iterable
from typing import Any, NoReturn, TypeVar

from broker.protocol.errors import LogctlError

T = TypeVar("T")


class SimulationStuck(LogctlError):
    """Nothing is ready and no timer is set: every task waits for something that cannot come."""


class SimulationEndless(LogctlError):
    """The run goes on and on: a task that never rests, or more work than any run needs."""


class _NoSelector:
    """Stands where a real loop has its selector; nothing is ever selected."""

    def close(self) -> None:
        """Nothing to close."""


class SimulatedLoop(base_events.BaseEventLoop):
    """An asyncio loop whose clock is moved by its own timers.

    `rng` draws the latency of work handed to an executor, which runs inline on this thread.
    `gate`, when set, sees each callback before it runs and keeps it when it answers False.
    """

    CALLBACKS_MAX = 5_000_000
    CALLBACKS_AT_ONE_MOMENT_MAX = 100_000
    CANCELLED_TIMERS_MAX = 100

    def __init__(self, rng: random.Random) -> None:
        super().__init__()
        self._now_s = 0.0
        self._rng = rng
        self._clock_resolution = 1e-9
        self._selector = _NoSelector()
        self._ready: Any
        self._scheduled: list[asyncio.TimerHandle]
        self._timer_cancelled_count: int
        self.gate: Callable[[asyncio.Handle], bool] | None = None
        self.disk_delay: Callable[[], float] = lambda: 0.0
        self.callbacks = 0
        self.callbacks_left = self.CALLBACKS_MAX
        self._at_this_moment = 0

    def requeue(self, handles: Iterable[asyncio.Handle]) -> None:
        """Run callbacks that the gate kept, in their order."""
        self._ready.extend(handles)

    def _run_once(self) -> None:
        """One turn: when nothing is ready, jump to the next timer; then run what is ready."""
        self._drop_cancelled_timers()
        timers, ready = self._scheduled, self._ready
        if not ready:
            if not timers:
                raise SimulationStuck(
                    "the simulation is stuck: nothing is ready and no timer is set"
                )
            if timers[0].when() > self._now_s:
                self._now_s = timers[0].when()
                self._at_this_moment = 0
        end_s = self._now_s + self._clock_resolution
        while timers and timers[0].when() < end_s:
            timer = heapq.heappop(timers)
            timer._scheduled = False  # type: ignore[attr-defined]
            ready.append(timer)
        turns = len(ready)
        for _ in range(turns):
            handle = ready.popleft()
            if not handle._cancelled and (self.gate is None or self.gate(handle)):
                handle._run()
        self._account(turns)

    def _account(self, callbacks: int) -> None:
        self.callbacks += callbacks
        self.callbacks_left -= callbacks
        self._at_this_moment += callbacks
        if self._at_this_moment > self.CALLBACKS_AT_ONE_MOMENT_MAX:
            self._at_this_moment = 0
            raise SimulationEndless(f"callbacks without end at {self._now_s:.6f} s")
        if self.callbacks_left < 0:
            self.callbacks_left = self.CALLBACKS_MAX
            raise SimulationEndless(f"more than {self.CALLBACKS_MAX} callbacks in one run")

    def _drop_cancelled_timers(self) -> None:
        timers = self._scheduled
        if self._timer_cancelled_count > self.CANCELLED_TIMERS_MAX:
            kept = [timer for timer in timers if not timer.cancelled()]
            for timer in timers:
                if timer.cancelled():
                    timer._scheduled = False  # type: ignore[attr-defined]
            heapq.heapify(kept)
            self._scheduled[:] = kept
            self._timer_cancelled_count = 0
        while timers and timers[0].cancelled():
            self._timer_cancelled_count -= 1
            heapq.heappop(timers)._scheduled = False  # type: ignore[attr-defined]

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._now_s

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

        self.call_later(self._rng.uniform(0.0001, 0.003) + self.disk_delay(), call)
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

    async def run(self, fn: Callable[[], T], *, urgent: bool = False) -> T:
        """The result of `fn`, which runs on this very thread."""
        del urgent
        return await self._loop.run_in_executor(None, fn)
