"""Asks each broker that counts as up whether it is there, about once a second.

One connection to each, which is told at once when a process dies, and the cheapest question there
is, which one that hangs does not answer. The rate is bounded however many brokers there are. Must
never make events of what it finds: the cluster's log alone says what the cluster decided.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Hashable, Mapping
from typing import Protocol

from broker.protocol.errors import ConnectionFailed, LogctlError, RequestTimedOut
from clusters.admin.connections import why
from clusters.admin.errors import AuthenticationRefused
from clusters.polls.standing import UNKNOWN, Heard, Standing
from clusters.watch.ending import end_task
from clusters.watch.status import Clock, SystemClock

EVERY_MS = 600
# However many brokers there are: a question costs some 150 microseconds of a core.
PER_SECOND_MAX = 30
TICK_MS = 150
# Later than that by more, and it was this process that did not run.
STILL_MS = 300
OPEN_MS = 6_000
# Then another connection is tried: this one may be dead without a word.
GIVE_UP_MS = 6_000
AGAIN_MS_MAX = 3_000
# A refused password that is tried again and again gets its user locked out.
NOT_LET_IN_MS = 30_000
TLS_AGAIN_MS = 10_000
ADDRESSES_EVERY_MS = 2_000
REACHED_MAX = 1_000


class Line(Protocol):
    """What is needed of `broker.protocol.client.BrokerConnection`."""

    async def ask_for_life(self, timeout_ms: int) -> None:
        """Return once anything was answered. Raises ConnectionFailed or RequestTimedOut."""

    async def wait_closed(self) -> None:
        """Return when the connection is gone."""

    def close(self) -> None:
        """Close it."""


class Ways(Protocol):
    """What is needed of `clusters.admin.AdminClient`."""

    async def addresses(self) -> Mapping[int, str]:
        """`host:port` of each broker. Raises LogctlError."""

    async def connect(self, address: str, timeout_ms: int) -> Line:
        """A connection, proven. Raises LogctlError."""


class Pulse:
    """`want` says who is to be asked; `run` asks until it is cancelled.

    `on_change` is called on the event loop when one stands otherwise than before.
    """

    def __init__(
        self,
        ways: Ways,
        *,
        clock: Clock | None = None,
        on_change: Callable[[], None] = lambda: None,
        every_ms: int = EVERY_MS,
    ) -> None:
        self._ways = ways
        self._clock = clock if clock is not None else SystemClock()
        self._on_change = on_change
        self._every_ms = every_ms
        self._wanted: dict[int, Hashable] = {}
        self._addresses: dict[int, str] = {}
        # What each broker was registered as when its address was learned.
        self._learned: dict[int, Hashable] = {}
        self._learned_ms: int | None = None
        self._learning: asyncio.Task[None] | None = None
        self._watching: dict[int, asyncio.Task[None]] = {}
        self._watched_at: dict[int, str] = {}
        self._heard: dict[int, Heard] = {}
        # Where each has answered once.
        self._reached: dict[int, str] = {}
        self._closed_to_us_until_ms = 0
        self._ticked_ms = 0
        self._still_at_ms: int | None = None
        self._standings: dict[int, Standing] = {}
        self._wake = asyncio.Event()

    @property
    def standings(self) -> Mapping[int, Standing]:
        """How each wanted broker stands, a new mapping with each change."""
        return self._standings

    def want(self, brokers: Mapping[int, Hashable]) -> None:
        """Ask exactly these, by id; a value that changes says that one was registered anew."""
        if brokers != self._wanted:
            self._wanted = dict(brokers)
            self._wake.set()

    async def run(self) -> None:
        """Ask until cancelled; connections and tasks end with it."""
        self._ticked_ms = self._now_ms()
        try:
            while True:
                self._wake.clear()
                now_ms = self._now_ms()
                still_ms = now_ms - self._ticked_ms - TICK_MS
                if still_ms > STILL_MS:
                    self._still_at_ms = now_ms
                    for heard in self._heard.values():
                        heard.stood_still(still_ms, now_ms)
                self._ticked_ms = now_ms
                self._learn(now_ms)
                await self._begin_and_end()
                self._tell(now_ms)
                try:
                    async with asyncio.timeout(_to_a_tick_s(TICK_MS)):
                        await self._wake.wait()
                except TimeoutError:
                    pass
        finally:
            for task in [*self._watching.values(), self._learning]:
                await end_task(task)

    def _just_stood_still(self) -> bool:
        """Whether a time that is over may be over because this process did not run."""
        now_ms = self._now_ms()
        unseen = now_ms - self._ticked_ms > TICK_MS + STILL_MS
        at_ms = self._still_at_ms
        return unseen or (at_ms is not None and now_ms - at_ms < STILL_MS)

    def _now_ms(self) -> int:
        return self._clock.monotonic_ms()

    # Who is where

    def _learn(self, now_ms: int) -> None:
        """Ask for addresses when one is wanted of which none, or only an old one, is known."""
        if self._learning is not None and not self._learning.done():
            return
        if self._learning is not None and not self._learning.cancelled():
            self._learning.result()  # a bug must be seen
        if all(self._learned.get(id_) == said for id_, said in self._wanted.items()):
            return
        if self._learned_ms is None or now_ms - self._learned_ms >= ADDRESSES_EVERY_MS:
            self._learned_ms = now_ms
            self._learning = asyncio.create_task(self._ask_addresses(), name="addresses")

    async def _ask_addresses(self) -> None:
        asked = dict(self._wanted)
        try:
            found = await self._ways.addresses()
        except (LogctlError, OSError):
            return  # the feed and the polls tell of that
        for id_, said in asked.items():
            if id_ in found:
                self._addresses[id_], self._learned[id_] = found[id_], said
        for id_ in self._learned.keys() - asked.keys():
            del self._learned[id_], self._addresses[id_]
        self._wake.set()

    async def _begin_and_end(self) -> None:
        for id_ in list(self._watching):
            address = self._addresses.get(id_)
            if id_ not in self._wanted or address != self._watched_at[id_]:
                del self._heard[id_], self._watched_at[id_]
                await end_task(self._watching.pop(id_))
            elif self._watching[id_].done():
                self._watching[id_].result()  # a bug must be seen
        new = [id_ for id_ in self._wanted if id_ not in self._watching and id_ in self._addresses]
        for place, id_ in enumerate(new):
            address = self._addresses[id_]
            heard = self._heard[id_] = Heard(reached=self._reached.get(id_) == address)
            self._watched_at[id_] = address
            # Spread, so that a hundred are not all asked in the same moment.
            after_ms = self._pace_ms() * place // len(new)
            self._watching[id_] = asyncio.create_task(
                self._watch(id_, address, heard, after_ms), name=f"pulse of {address}"
            )

    # Asking

    def _pace_ms(self) -> int:
        return max(self._every_ms, len(self._wanted) * 1000 // PER_SECOND_MAX)

    async def _watch(self, id_: int, address: str, heard: Heard, after_ms: int) -> None:
        """Ask one broker until cancelled."""
        await asyncio.sleep(after_ms / 1000)
        failures = 0
        while True:
            pause_ms = self._pace_ms()
            opened_ms = self._now_ms()
            try:
                await self._on_one_line(id_, address, heard)
                failures = 0
                if self._now_ms() - opened_ms >= pause_ms:
                    continue  # it ended: is somebody there to open another?
                pause_ms = min(pause_ms, self._every_ms)
            except AuthenticationRefused:
                self._answered(id_, address, heard)
                pause_ms = NOT_LET_IN_MS
                self._closed_to_us_until_ms = self._now_ms() + NOT_LET_IN_MS
            except (ConnectionFailed, RequestTimedOut, OSError) as error:
                if isinstance(error.__cause__, ssl.SSLError):
                    # No way in for us, but somebody is there.
                    self._answered(id_, address, heard)
                    pause_ms = TLS_AGAIN_MS
                elif self._just_stood_still() and not getattr(error, "refused", False):
                    pause_ms = TICK_MS  # what is waited for may have come long ago
                else:
                    failures += 1
                    timed_out = isinstance(error, RequestTimedOut)
                    heard.failed(self._now_ms(), "no answer" if timed_out else why(error))
                    pause_ms = min(max(AGAIN_MS_MAX, pause_ms), pause_ms * failures)
            except LogctlError:
                self._answered(id_, address, heard)
                pause_ms = NOT_LET_IN_MS
            self._wake.set()
            await asyncio.sleep(pause_ms / 1000)

    async def _on_one_line(self, id_: int, address: str, heard: Heard) -> None:
        """Ask over one connection until it ends. Raises LogctlError when there is no answer."""
        barred_ms = self._closed_to_us_until_ms - self._now_ms()
        if barred_ms > 0:
            await asyncio.sleep(barred_ms / 1000)
        heard.asked(self._now_ms())
        line = await self._ways.connect(address, OPEN_MS)
        self._answered(id_, address, heard)
        ended = asyncio.create_task(line.wait_closed())
        try:
            while True:
                await asyncio.wait({ended}, timeout=_to_a_tick_s(self._pace_ms()))
                heard.asked(self._now_ms())
                if ended.done():
                    return
                await line.ask_for_life(GIVE_UP_MS)
                self._answered(id_, address, heard)
        except ConnectionFailed:
            return  # it broke off: whether anybody is there is seen when it is opened anew
        finally:
            ended.cancel()
            line.close()

    def _answered(self, id_: int, address: str, heard: Heard) -> None:
        heard.answered(self._now_ms())
        if self._reached.get(id_) != address:
            self._reached[id_] = address
            while len(self._reached) > REACHED_MAX:
                del self._reached[next(iter(self._reached))]

    # Telling

    def _tell(self, now_ms: int) -> None:
        now = dict.fromkeys(self._wanted, UNKNOWN)
        before = self._standings
        for id_, heard in self._heard.items():
            was = before.get(id_, UNKNOWN)
            calm = heard.is_calm and was.state == "answers"
            now[id_] = was if calm else heard.standing(now_ms)
        if _told(now) != _told(before):
            self._standings = now
            self._on_change()


def _to_a_tick_s(pause_ms: int) -> float:
    """A pause, made to end with others: a process that is woken seldom costs less."""
    now_s, pause_s, tick_s = asyncio.get_running_loop().time(), pause_ms / 1000, TICK_MS / 1000
    return max(pause_s / 2, round((now_s + pause_s) / tick_s) * tick_s - now_s)


def _told(standings: Mapping[int, Standing]) -> dict[int, tuple[object, ...]]:
    """What is worth telling again: not each millisecond more."""
    return {
        id_: (each.state, each.since_ms, each.reason, each.state == "slow" and each.took_ms)
        for id_, each in standings.items()
    }
