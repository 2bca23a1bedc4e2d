"""Polls: only what is wanted, a few at a time, back-off when it fails, and ages that are true."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.protocol.errors import ErrorCode, LogctlError
from clusters.admin import UnknownGroup
from clusters.polls import Answer, Buckets, Poll, Poller, PollKind, Samples

WAIT_S = 60.0


class HandClock:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now_ms = 1_000

    def monotonic_ms(self) -> int:
        return self.now_ms

    def wall_ms(self) -> int:
        return self.now_ms


async def until(condition: Callable[[], bool], what: str) -> None:
    for _ in range(int(WAIT_S / 0.005)):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError(f"not within {WAIT_S} s: {what}")


@asynccontextmanager
async def running(poller: Poller) -> AsyncIterator[None]:
    task = asyncio.create_task(poller.run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_only_what_is_wanted_is_asked() -> None:
    asked: list[str] = []

    async def ask(subject: str) -> str:
        asked.append(subject)
        return subject.upper()

    poller = Poller({"a": PollKind(ask, 5)})
    async with running(poller):
        await asyncio.sleep(0)
        assert asked == []
        poller.want([Poll("a", "x"), Poll("unknown")])
        await until(lambda: asked.count("x") >= 3, "x is asked again and again")
        assert poller.answer(Poll("a", "x")).value == "X"
        poller.want([Poll("a", "y")])
        await until(lambda: asked.count("y") >= 3, "y is asked")
        assert asked[-2:] == ["y", "y"]
    assert poller.answer(Poll("a", "x")).value == "X"


async def test_never_more_than_a_few_at_once() -> None:
    under_way, most = 0, 0
    gate = asyncio.Event()

    async def ask(_: str) -> int:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await gate.wait()
        under_way -= 1
        return 1

    poller = Poller({"a": PollKind(ask, 60_000)}, concurrent_max=3)
    polls = [Poll("a", str(n)) for n in range(10)]
    async with running(poller):
        poller.want(polls)
        await until(lambda: under_way == 3, "three under way")
        gate.set()
        await until(lambda: all(poller.answer(p).value == 1 for p in polls), "all answered")
    assert most == 3


async def test_a_failure_keeps_the_old_answer_and_says_why() -> None:
    clock, told = HandClock(), []
    fail = False

    async def ask(_: str) -> str:
        if fail:
            raise LogctlError("broker 2 refused the connection")
        return "good"

    poll = Poll("a")
    poller = Poller(
        {"a": PollKind(ask, 1_000)}, clock=clock, on_answer=lambda _, answer: told.append(answer)
    )
    async with running(poller):
        poller.want([poll])
        await until(lambda: len(told) == 1, "the first answer")
        fail = True
        clock.now_ms += 7_000
        poller.again(poll)
        await until(lambda: len(told) == 2, "the failure")
    answer = poller.answer(poll)
    assert answer.value == "good"
    assert answer.age_ms(clock.now_ms) == 7_000
    assert answer.problem == "broker 2 refused the connection"


async def test_a_failure_is_known_by_its_code_and_an_answer_clears_it() -> None:
    told: asyncio.Queue[Answer] = asyncio.Queue()
    outcomes = iter([UnknownGroup("mailer"), TimeoutError(), UnknownGroup("mailer"), None])

    async def ask(_: str) -> str:
        if (outcome := next(outcomes, None)) is not None:
            raise outcome
        return "there"

    poll = Poll("group", "mailer")
    poller = Poller(
        {"group": PollKind(ask, 1)}, on_answer=lambda _, answer: told.put_nowait(answer)
    )
    async with running(poller), asyncio.timeout(WAIT_S):
        poller.want([poll])
        codes = [(await told.get()).code for _ in range(4)]
    gone = int(ErrorCode.group_id_not_found)
    assert codes == [gone, None, gone, None]


async def test_what_fails_is_asked_less_and_less() -> None:
    clock = HandClock()
    asked: list[int] = []

    async def ask(_: str) -> str:
        asked.append(clock.now_ms)
        raise LogctlError("no")

    poller = Poller({"a": PollKind(ask, 1_000)}, clock=clock)
    poll = Poll("a")
    async with running(poller):
        poller.want([poll])
        await until(lambda: poller.answer(poll).failures == 1, "the first failure")
        for failures in range(2, 8):
            due = poller._due_ms[poll]
            clock.now_ms = due
            poller._wake.set()
            await until(lambda n=failures: poller.answer(poll).failures == n, "one more failure")
    pauses = [after - before for before, after in itertools.pairwise(asked)]
    assert pauses == [2_000, 4_000, 8_000, 16_000, 30_000, 30_000]


async def test_a_question_without_answer_ends_at_its_limit() -> None:
    async def ask(_: str) -> None:
        await asyncio.Event().wait()

    poller = Poller({"a": PollKind(ask, 1_000, timeout_ms=30)})
    async with running(poller):
        poller.want([Poll("a")])
        await until(lambda: bool(poller.answer(Poll("a")).problem), "the limit")
    assert "no answer within 0.03 s" in poller.answer(Poll("a")).problem


async def test_a_bug_in_a_question_ends_with_the_poller_and_not_before_others() -> None:
    async def broken(_: str) -> None:
        raise LogctlError("cannot")

    async def fine(_: str) -> int:
        return 7

    poller = Poller({"broken": PollKind(broken, 5), "fine": PollKind(fine, 5)})
    async with running(poller):
        poller.want([Poll("broken"), Poll("fine")])
        await until(lambda: poller.answer(Poll("fine")).value == 7, "the one that works")


def test_an_answer_that_never_came_has_no_age() -> None:
    assert Answer().age_ms(5) is None


@given(st.lists(st.integers(0, 100_000), max_size=200))
def test_buckets_count_what_falls_into_them(times: list[int]) -> None:
    times.sort()
    buckets = Buckets(1_000, 10)
    for at_ms in times:
        buckets.add(at_ms)
    now = times[-1] if times else 0
    first = (now // 1_000 - 9) * 1_000
    assert sum(buckets.values(now)) == sum(at_ms >= first for at_ms in times)
    assert len(buckets.values(now)) == 10
    assert len(buckets._counts) <= 10


def test_a_trend_is_told_from_ups_and_downs() -> None:
    still, falls, waves, leaps = (Samples() for _ in range(4))
    assert still.trend(30_000) is None
    for second in range(0, 60, 2):
        still.add(second * 1_000, 7)
        falls.add(second * 1_000, 900 - 3 * second)
        waves.add(second * 1_000, 100 * (second % 5))
        leaps.add(second * 1_000, max(0, second - 55) * 1_000)
    assert still.trend(30_000) == 0.0
    assert falls.trend(30_000) == pytest.approx(-3)
    assert waves.trend(30_000) == 0.0
    assert leaps.trend(30_000) > 20
    falls.add(60_000, 5_000)
    assert falls.trend(30_000) != pytest.approx(-3)
    assert falls.trend(1_000) == pytest.approx((5_000 - 726) / 2)


def test_rates_come_from_samples_within_the_window() -> None:
    samples = Samples(5)
    assert samples.per_second() is None
    for second, value in enumerate([0, 100, 200, 200, 200, 500, 800]):
        samples.add(second * 1_000, value)
    assert samples.per_second(2_000) == pytest.approx(300.0)
    assert samples.rates() == [0.0, 0.0, 300.0, 300.0]
    samples.add(7_000, 100)
    assert samples.rates()[-1] == 0.0
    assert samples.last == 100


async def test_what_takes_an_answer_may_take_its_time_and_is_ended_with_the_polls() -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def take(poll: Poll, answer: Answer) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    asked: list[str] = []

    async def ask(subject: str) -> str:
        asked.append(subject)
        return subject

    poller = Poller({"a": PollKind(ask, 1)}, on_answer=take)
    poller.want([Poll("a")])
    async with running(poller):
        await asyncio.wait_for(begun.wait(), WAIT_S)
        poller.again(Poll("a"))
        await asyncio.sleep(0.02)
        assert asked == [""], "it is not asked again while its answer is being taken"
    assert ended.is_set()
