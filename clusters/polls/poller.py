"""Asks what is wanted, again and again, and keeps the last answer with its age.

Only what somebody wants now is asked; never more than a few questions at a time, each within its
time limit, and one that fails is asked less and less often. An answer is never dropped because a
later one failed: it grows old, and says why.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from broker.protocol.errors import LogctlError
from clusters.watch.status import Clock, SystemClock

CONCURRENT_MAX = 4
BACK_OFF_MS_MAX = 30_000
UNWANTED_MS_MAX = 120_000
IDLE_WAIT_MS = 1_000

Ask = Callable[[str], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Poll:
    """A question: its kind, and about what (a topic, a group, "" for all)."""

    kind: str
    subject: str = ""


@dataclass(frozen=True, slots=True)
class PollKind:
    """How a kind of question is asked: how often, and how long it may take."""

    ask: Ask
    every_ms: int
    timeout_ms: int = 3_000


@dataclass(frozen=True, slots=True)
class Answer:
    """The last answer. `at_ms` is monotonic, None before the first; `problem` is why it is old.

    `code` is Kafka's error code where the problem has one: words are for people.
    """

    value: Any = None
    at_ms: int | None = None
    problem: str = ""
    failures: int = 0
    code: int | None = None

    def age_ms(self, now_ms: int) -> int | None:
        """How old it is; None when there is none."""
        return None if self.at_ms is None else max(0, now_ms - self.at_ms)


NO_ANSWER = Answer()


class Poller:
    """`want` says what is to be kept fresh; `run` asks until it is cancelled.

    `on_answer` is called after each answer or failure, on the event loop; an awaitable that it
    returns is waited for.
    """

    def __init__(
        self,
        kinds: Mapping[str, PollKind],
        *,
        clock: Clock | None = None,
        concurrent_max: int = CONCURRENT_MAX,
        on_answer: Callable[[Poll, Answer], Awaitable[None] | None] | None = None,
    ) -> None:
        self._kinds = dict(kinds)
        self._clock = clock if clock is not None else SystemClock()
        self._concurrent_max = concurrent_max
        self._on_answer = on_answer
        self._answers: dict[Poll, Answer] = {}
        self._due_ms: dict[Poll, int] = {}
        self._wanted: frozenset[Poll] = frozenset()
        self._unwanted_ms: dict[Poll, int] = {}
        self._running: dict[Poll, asyncio.Task[None]] = {}
        self._wake = asyncio.Event()
        self._again: set[Poll] = set()

    def want(self, polls: Iterable[Poll]) -> None:
        """Keep exactly these fresh; a new one is asked at once. Unknown kinds are left out."""
        wanted = frozenset(poll for poll in polls if poll.kind in self._kinds)
        if wanted == self._wanted:
            return
        now = self._clock.monotonic_ms()
        for poll in self._wanted - wanted:
            self._unwanted_ms[poll] = now
        for poll in wanted:
            self._unwanted_ms.pop(poll, None)
        self._wanted = wanted
        self._wake.set()

    def answer(self, poll: Poll) -> Answer:
        """The last answer; NO_ANSWER before the first."""
        return self._answers.get(poll, NO_ANSWER)

    def again(self, poll: Poll) -> None:
        """Ask now, whatever was planned."""
        self._due_ms.pop(poll, None)
        if poll in self._running:
            self._again.add(poll)  # what is under way may tell of before
        self._wake.set()

    async def run(self) -> None:
        """Ask until cancelled; every question under way ends with it."""
        try:
            while True:
                self._wake.clear()
                self._forget()
                wait_ms = self._start_due()
                try:
                    async with asyncio.timeout(wait_ms / 1000):
                        await self._wake.wait()
                except TimeoutError:
                    pass
        finally:
            running = list(self._running.values())
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    def _start_due(self) -> int:
        """Start what is due; milliseconds until something else may be."""
        now = self._clock.monotonic_ms()
        waits = [IDLE_WAIT_MS]
        waiting = sorted(
            (poll for poll in self._wanted if poll not in self._running),
            key=lambda poll: (self._due_ms.get(poll, 0), poll.kind, poll.subject),
        )
        for poll in waiting:
            due = self._due_ms.get(poll, 0)
            if due > now:
                waits.append(due - now)
            elif len(self._running) < self._concurrent_max:
                self._running[poll] = asyncio.create_task(self._ask(poll), name=f"poll {poll.kind}")
        return max(1, min(waits))

    def _forget(self) -> None:
        now = self._clock.monotonic_ms()
        for poll, since in list(self._unwanted_ms.items()):
            if now - since > UNWANTED_MS_MAX:
                del self._unwanted_ms[poll]
                self._answers.pop(poll, None)
                self._due_ms.pop(poll, None)

    async def _ask(self, poll: Poll) -> None:
        try:
            answer = await self._asked(poll)
            told = self._on_answer(poll, answer) if self._on_answer is not None else None
            if told is not None:
                await told
        finally:
            self._running.pop(poll, None)
            self._wake.set()

    async def _asked(self, poll: Poll) -> Answer:
        kind = self._kinds[poll.kind]
        before = self.answer(poll)
        try:
            async with asyncio.timeout(kind.timeout_ms / 1000):
                value = await kind.ask(poll.subject)
            answer = Answer(value, self._clock.monotonic_ms())
        except TimeoutError:
            reason = f"no answer within {kind.timeout_ms / 1000:g} s"
            answer = replace(before, problem=reason, failures=before.failures + 1, code=None)
        except (LogctlError, OSError) as error:
            answer = replace(
                before,
                problem=str(error),
                failures=before.failures + 1,
                code=getattr(error, "code", None),
            )
        self._answers[poll] = answer
        pause_ms = kind.every_ms * 2 ** min(answer.failures, 8)
        limit_ms = max(kind.every_ms, BACK_OFF_MS_MAX)
        now = self._clock.monotonic_ms()
        if poll in self._again:
            self._again.discard(poll)
            pause_ms = 0
        self._due_ms[poll] = now + min(pause_ms, limit_ms)
        return answer
