"""Wakes who waits for the cluster as soon as something changes, where the live feed can be had.

A nudge says "look again", nothing more: what holds is always asked of the brokers, which may be a
moment behind the metadata log. So it is followed by a few looks in short order. Without the feed
(no controllers to reach, or no right to read them) there are only the regular looks. Must never
make waiting fail.
"""

from __future__ import annotations

import asyncio
import contextlib
from types import TracebackType
from typing import Self

from broker.protocol.errors import LogctlError
from clusters.watch.ending import end_task
from clusters.watch.status import SystemClock
from shell.exits import ShellError
from shell.session import Session

# Brokers apply what the controller has committed within these.
_AGAIN_MS = (50, 100, 200, 400)
GAP_MS_MIN = 50


class Nudges:
    """Use as `async with Nudges(session) as nudges`, then `await nudges.pause(...)` between looks.

    The feed is opened by the first pause: who has to wait for nothing pays nothing.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._clock = SystemClock()
        self._changed = asyncio.Event()
        self._again: list[int] = []
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await end_task(self._task)

    async def pause(self, longest_ms: int, look_ms: int = 0) -> None:
        """Wait for a change, at most `longest_ms`; `look_ms` is what a look costs.

        A cluster that changes without end is not looked at without end.
        """
        if self._task is None:
            self._task = asyncio.create_task(self._follow(), name="nudges")
        gap_ms = min(longest_ms, max(GAP_MS_MIN, look_ms))
        await asyncio.sleep(gap_ms / 1000)
        if self._again:
            longest_ms = min(longest_ms, self._again.pop(0))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0, longest_ms - gap_ms) / 1000):
                await self._changed.wait()
        if self._changed.is_set():
            self._changed.clear()
            self._again = list(_AGAIN_MS)

    async def _follow(self) -> None:
        with contextlib.suppress(ShellError, LogctlError, OSError):
            async with self._session.feed(from_start=False) as feed:
                before = ""
                async for update in feed.updates():
                    # What happened until it follows the log, it does not tell as events.
                    if update.events or update.status.mode != before:
                        self._changed.set()
                    before = update.status.mode
