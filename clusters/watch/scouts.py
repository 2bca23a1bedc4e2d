"""Finds the controller that leads: one scout for each, all at once, on connections that they keep.

A controller that hangs or is far away costs nothing while another one leads. A scout never moves
the place reached: it asks for the log from there, and who wins hands over connection and answer.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from broker.protocol.client import BrokerConnection
from broker.protocol.errors import LogctlError
from clusters.admin.connections import why
from clusters.admin.denied import allowed_by
from clusters.admin.errors import AuthenticationRefused
from clusters.admin.opening import Opener
from clusters.watch.ending import end_task
from clusters.watch.quorum_reader import (
    Fetched,
    LogChanged,
    NotLeader,
    QuorumReader,
    Refused,
    RightLacking,
)

# A link with a second of delay takes three of these to connect, ask for versions, and fetch.
PATIENCE_MS = 3_000
SECURED_PATIENCE_MS = 6_000
# The one that is said to lead goes first; the others follow when it does not answer at once.
STAGGER_MS = 120
PAUSE_S_MIN = 0.03
PAUSE_S_MAX = 0.5


@dataclass(frozen=True, slots=True)
class Position:
    """The place reached in the log, and the newest epoch of the quorum that was heard of."""

    offset: int
    last_epoch: int
    quorum_epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Leading:
    """The controller that leads, with its first answer, which took `took_ms` and had no wait."""

    address: str
    connection: BrokerConnection
    reader: QuorumReader
    first: Fetched
    took_ms: int


def patience_ms(opener: Opener) -> int:
    """How long opening a connection may take before it is given up."""
    return PATIENCE_MS if opener.within_ms(1) == 1 else SECURED_PATIENCE_MS


class Scouts:
    """Use as `async with Scouts(...) as scouts: scouts.send(...); await scouts.found(...)`.

    `note` is told of each NotLeader and returns the address of who leads as far as known, or "".
    """

    def __init__(
        self,
        opener: Callable[[], Opener],
        position: Callable[[], Position],
        note: Callable[[NotLeader], str],
    ) -> None:
        self._opener, self._position, self._note = opener, position, note
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._go: dict[str, asyncio.Event] = {}
        self._news = asyncio.Event()
        self._winner: Leading | None = None
        self._changed: LogChanged | None = None
        self._failed_anew: set[str] = set()
        # The last outcome of those that do not answer, and of those that refuse the log.
        self.failed: dict[str, str] = {}
        self.refused = ""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.end()

    def send(self, addresses: Sequence[str]) -> None:
        """Have a scout at each address, those that are first in order first; others come home."""
        for address in self._tasks.keys() - set(addresses):
            self._tasks.pop(address).cancel()
            self.failed.pop(address, None)
        for place, address in enumerate(addresses):
            if address not in self._tasks or self._tasks[address].done():
                self._go[address] = asyncio.Event()
                after_s = self._opener().within_ms(place * STAGGER_MS) / 1000
                task = asyncio.create_task(self._scout(address, after_s), name=f"scout {address}")
                task.add_done_callback(lambda _: self._news.set())
                self._tasks[address] = task

    async def found(self, limit_ms: int) -> Leading | None:
        """Who leads; None when each scout has failed since the call, or the time is over.

        Raises LogChanged when the one that leads has another log than was read so far.
        """
        self._failed_anew.clear()
        deadline_s = time.monotonic() + limit_ms / 1000
        while self._winner is None and self._changed is None and not self._over():
            self._news.clear()
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                break
            try:
                async with asyncio.timeout(left_s):
                    await self._news.wait()
            except TimeoutError:
                break
        if self._changed is not None:
            raise self._changed
        for task in self._tasks.values():
            # A bug must be seen, and not wait for an answer that never comes.
            if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                raise error
        winner, self._winner = self._winner, None
        return winner

    @property
    def all_gone(self) -> bool:
        """Whether none of the controllers answers."""
        return bool(self._tasks) and set(self._tasks) <= set(self.failed)

    async def end(self) -> None:
        """Call all of them home and close what nobody took."""
        tasks, self._tasks = list(self._tasks.values()), {}
        for task in tasks:
            await end_task(task)
        if self._winner is not None:
            self._winner.connection.close()
            self._winner = None

    def _over(self) -> bool:
        done = {address for address, task in self._tasks.items() if task.done()}
        return bool(self.refused) or set(self._tasks) <= self._failed_anew | done

    async def _scout(self, address: str, after_s: float) -> None:
        pause_s = PAUSE_S_MIN
        await self._pause(address, after_s)
        while True:
            try:
                await self._ask(address)
            except LogChanged as error:
                self._changed = error
            except LogctlError as error:
                self.failed[address] = why(error)
                self._failed_anew.add(address)
                if isinstance(error, Refused):
                    self.refused = f"{address} {why(error)}"
                if isinstance(error, RightLacking):
                    self.refused += allowed_by(
                        self._opener().principal, "--cluster", "ClusterAction"
                    )
                if isinstance(error, AuthenticationRefused):
                    # Tried again and again, it gets its user locked out.
                    return
            self._news.set()
            if self._winner is not None or self._changed is not None or self.refused:
                return
            await self._pause(address, pause_s)
            pause_s = min(PAUSE_S_MAX, pause_s * 1.5)

    async def _ask(self, address: str) -> None:
        """Ask until this one leads; who does not is asked again on the same connection."""
        opener = self._opener()
        connection = await opener.open(address, patience_ms(opener), controller=True)
        won = False
        try:
            reader = QuorumReader(connection, opener.cluster_id)
            pause_s = PAUSE_S_MIN
            while True:
                at, start_s = self._position(), time.monotonic()
                try:
                    first = await reader.fetch(
                        at.offset, at.last_epoch, at.quorum_epoch, 0, timeout_ms=PATIENCE_MS
                    )
                except NotLeader as moved:
                    self.failed.pop(address, None)
                    leader = self._note(moved)
                    if leader == address and self._position().quorum_epoch > at.quorum_epoch:
                        continue  # it leads, in an epoch that we had not heard of
                    if leader in self._go:
                        self._go[leader].set()
                    await self._pause(address, pause_s)
                    pause_s = min(PAUSE_S_MAX, pause_s * 1.5)
                    continue
                if self._winner is None and self._changed is None:
                    won = True
                    self._winner = Leading(
                        address=address,
                        connection=connection,
                        reader=reader,
                        first=first,
                        took_ms=round((time.monotonic() - start_s) * 1000),
                    )
                return
        finally:
            if not won:
                connection.close()

    async def _pause(self, address: str, pause_s: float) -> None:
        """Wait, or until another one says that this one leads."""
        go = self._go[address]
        try:
            async with asyncio.timeout(pause_s):
                await go.wait()
        except TimeoutError:
            pass
        go.clear()
