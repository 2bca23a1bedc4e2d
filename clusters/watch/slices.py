"""Long work in short turns, so that keys and answers are not kept waiting by it.

Work is a generator that yields where it may be interrupted and returns its result. Nobody may look
at what it is changing before it is done.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextvars import ContextVar
from typing import TypeVar

T = TypeVar("T")
Work = Generator[None, None, T]

# A key is answered in several turns of the loop, each of which may wait for one of these.
SLICE_S = 0.002
# Who has something more urgent to do says here for how many seconds work is to rest now; those who
# are started in its context ask it between slices, and rest no longer than this in all.
RESTING: ContextVar[Callable[[], float]] = ContextVar("RESTING", default=lambda: 0.0)
REST_S_MAX = 0.25
# Work yields after so many steps of some ten microseconds.
STEPS = 32


def at_once(work: Work[T]) -> T:
    """The result, without a pause."""
    while True:
        try:
            next(work)
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]


async def in_slices(work: Work[T]) -> T:
    """The result, with pauses in which others get their turn, and have it while they need it."""
    resting, left_s = RESTING.get(), REST_S_MAX
    while True:
        while (rest_s := min(left_s, resting())) > 0:
            left_s -= rest_s
            await asyncio.sleep(rest_s)
        until_s = time.perf_counter() + SLICE_S
        try:
            while time.perf_counter() < until_s:
                next(work)
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]
        await asyncio.sleep(0)


def listed(items: Iterable[T], steps: int = STEPS) -> Work[list[T]]:
    """A list of what takes a while to make."""
    found: list[T] = []
    iterator: Iterator[T] = iter(items)
    for item in iterator:
        found.append(item)
        if not len(found) % steps:
            yield
    return found
