"""The doors through which the broker meets the outside: clock, threads, network, disk.

Everything that needs time, a thread, a socket or a file takes one of these as an argument, so that
a simulation can hand in its own. Nothing else in the broker may read a clock or start a thread.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

from broker.protocol.network import AsyncioNetwork, Listener, Network
from broker.storage.disk import Disk, RealDisk

__all__ = [
    "AsyncioNetwork",
    "Clock",
    "Disk",
    "Listener",
    "Network",
    "Offload",
    "RealDisk",
    "SystemClock",
    "ThreadOffload",
]

T = TypeVar("T")
URGENT_THREADS = 2


class Clock(Protocol):
    """Two clocks, both in whole milliseconds."""

    def monotonic_ms(self) -> int:
        """Never goes back; only differences mean something. For deadlines and sessions."""
        ...

    def wall_ms(self) -> int:
        """Milliseconds since the Unix epoch; may jump. For record timestamps and retention."""
        ...


class Offload(Protocol):
    """Runs blocking work (fsync, recovery, large scans) away from the event loop."""

    async def run(self, fn: Callable[[], T], *, urgent: bool = False) -> T:
        """Call `fn` elsewhere and give its result, or raise what it raised.

        What is urgent waits for nothing that is not: the quorum's syncs, without which a leader is
        given up after two seconds.
        """
        ...


class SystemClock:
    """The machine's clocks."""

    def monotonic_ms(self) -> int:
        """See `Clock.monotonic_ms`."""
        return time.monotonic_ns() // 1_000_000

    def wall_ms(self) -> int:
        """See `Clock.wall_ms`."""
        return time.time_ns() // 1_000_000


class ThreadOffload:
    """Runs on the event loop's thread pool; what is urgent on threads of its own."""

    def __init__(self) -> None:
        self._urgent = ThreadPoolExecutor(URGENT_THREADS, thread_name_prefix="urgent")

    async def run(self, fn: Callable[[], T], *, urgent: bool = False) -> T:
        """See `Offload.run`."""
        pool = self._urgent if urgent else None
        return await asyncio.get_running_loop().run_in_executor(pool, fn)
