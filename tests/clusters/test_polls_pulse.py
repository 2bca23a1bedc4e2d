"""Who counts as up is asked whether he is there: real connections to servers that die and hang."""

import asyncio
import contextlib
import ssl
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

import pytest

from broker.protocol.api_keys import ApiKey
from broker.protocol.errors import ConnectionFailed, RequestTimedOut
from clusters.admin import AdminClient
from clusters.admin.errors import AuthenticationRefused, WrongCluster
from clusters.polls.pulse import PER_SECOND_MAX, Pulse
from clusters.polls.standing import State

WAIT_S = 30.0
# Under two where nothing else runs; before the session that a controller goes by is over in any case.
SEEN_S_MAX = 6.0


@asynccontextmanager
async def asking(admin: AdminClient, **options: object) -> AsyncIterator[tuple[Pulse, "States"]]:
    states = States()
    pulse = Pulse(admin, on_change=lambda: states.note(pulse), **options)
    task = asyncio.create_task(pulse.run())
    try:
        yield pulse, states
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


class States:
    """How brokers stood, each time that it was told, and when."""

    def __init__(self) -> None:
        self.told: list[dict[int, State]] = []
        self.now: dict[int, State] = {}
        self._news = asyncio.Event()

    def note(self, pulse: Pulse) -> None:
        self.now = {id_: each.state for id_, each in pulse.standings.items()}
        self.told.append(self.now)
        self._news.set()

    async def until(self, condition: Callable[[Mapping[int, State]], bool]) -> float:
        """Seconds that it took."""
        began_s = time.monotonic()
        async with asyncio.timeout(WAIT_S):
            while not condition(self.now):
                self._news.clear()
                await self._news.wait()
        return time.monotonic() - began_s

    async def all_answer(self) -> None:
        await self.until(lambda now: bool(now) and set(now.values()) == {"answers"})

    def of(self, id_: int) -> list[State]:
        """What was told of one, each state once."""
        said = [states[id_] for states in self.told if id_ in states]
        return [each for each, before in zip(said, [None, *said], strict=False) if each != before]


UP = {1: "a", 2: "b", 3: "c"}


async def test_one_that_dies_is_silent_at_once_and_answers_again_when_it_is_back(
    fake_cluster,
) -> None:
    async with AdminClient(fake_cluster.bootstrap) as admin, asking(admin) as (pulse, states):
        pulse.want(UP)
        await states.all_answer()
        await fake_cluster.brokers[2].stop()
        took_s = await states.until(lambda now: now[2] == "silent")
        assert took_s < SEEN_S_MAX
        assert pulse.standings[2].reason == "connection refused"
        assert states.now == {1: "answers", 2: "silent", 3: "answers"}
        await fake_cluster.brokers[2].start()
        await states.until(lambda now: now[2] == "answers")
    assert states.of(1) == ["unknown", "answers"]


async def test_one_that_hangs_is_silent_long_before_its_session_is_over(fake_cluster) -> None:
    async with AdminClient(fake_cluster.bootstrap) as admin, asking(admin) as (pulse, states):
        pulse.want(UP)
        await states.all_answer()
        server = fake_cluster.brokers[3]
        server.silent = True
        assert await states.until(lambda now: now[3] == "silent") < SEEN_S_MAX
        assert pulse.standings[3].reason == "no answer"
    assert states.of(1) == ["unknown", "answers"]


async def test_one_that_is_always_slow_is_called_slow(fake_cluster) -> None:
    fake_cluster.brokers[2].delay_s = 1.1
    async with AdminClient(fake_cluster.bootstrap) as admin, asking(admin) as (pulse, states):
        pulse.want(UP)
        await states.until(lambda now: now.get(2) == "slow")
        before = len(fake_cluster.brokers[2].requests)
        while len(fake_cluster.brokers[2].requests) < before + 2:
            await asyncio.sleep(0.02)
        assert (pulse.standings[2].took_ms or 0) >= 1_000
    assert "silent" not in states.of(2)


async def test_one_that_cannot_be_reached_from_here_is_not_called_silent(fake_cluster) -> None:
    await fake_cluster.brokers[3].stop()
    async with AdminClient(fake_cluster.bootstrap) as admin, asking(admin) as (pulse, states):
        pulse.want(UP)
        await states.until(lambda now: now.get(3) == "unreachable" and now[1] == "answers")
        assert pulse.standings[3].reason == "connection refused"
        await fake_cluster.brokers[3].start()
        await states.until(lambda now: now[3] == "answers")
    assert "silent" not in states.of(3)


async def test_only_who_is_wanted_is_asked_and_it_is_remembered_who_was_reached(
    fake_cluster,
) -> None:
    async with AdminClient(fake_cluster.bootstrap) as admin, asking(admin) as (pulse, states):
        pulse.want({1: "a", 2: "b"})
        await states.all_answer()
        assert set(states.now) == {1, 2}
        assert not any(
            key == ApiKey.API_VERSIONS for key, version in fake_cluster.brokers[3].requests
        )
        pulse.want({1: "a"})  # the controller has called it down
        await states.until(lambda now: set(now) == {1})
        await fake_cluster.brokers[2].stop()
        pulse.want({1: "a", 2: "registered anew"})
        await states.until(lambda now: now.get(2) == "silent")
    assert "unreachable" not in states.of(2)


class Hall:
    """Brokers that answer without a wire, or as a test says."""

    def __init__(self, brokers: int) -> None:
        self.brokers = brokers
        self.asked = 0
        self.opened: list[str] = []
        self.refusal: Exception | None = None
        self.late_s = 0.0

    async def addresses(self) -> dict[int, str]:
        return {id_: f"10.0.0.{id_}:9092" for id_ in range(self.brokers)}

    async def connect(self, address: str, timeout_ms: int) -> "Hall":
        self.opened.append(address)
        if self.refusal is not None:
            raise self.refusal
        return self

    async def ask_for_life(self, timeout_ms: int) -> None:
        self.asked += 1
        if self.late_s:
            # The whole process is stopped meanwhile, or the machine sleeps.
            late_s, self.late_s = self.late_s, 0.0
            time.sleep(late_s)
            raise RequestTimedOut("no answer within some time")

    async def wait_closed(self) -> None:
        await asyncio.Event().wait()

    def close(self) -> None:
        pass


async def test_many_brokers_are_not_asked_more_often_than_a_bounded_rate() -> None:
    hall, brokers = Hall(50), 50
    began_s = time.monotonic()
    async with asking(hall) as (pulse, states):
        pulse.want(dict.fromkeys(range(brokers), "a"))
        await states.all_answer()
        async with asyncio.timeout(WAIT_S):
            while hall.asked < 2 * PER_SECOND_MAX:
                await asyncio.sleep(0.02)
        # After a pause of this process all may be due at once, and no more than once.
        passed_s = time.monotonic() - began_s
        assert hall.asked <= 1.1 * PER_SECOND_MAX * passed_s + brokers
    assert len(hall.opened) == brokers


@pytest.mark.parametrize(
    "refusal",
    [
        AuthenticationRefused("10.0.0.0:9092", "wrong password"),
        WrongCluster("ours", "theirs", "10.0.0.0:9092"),
    ],
)
async def test_who_does_not_let_us_in_is_there_and_is_not_asked_again_and_again(refusal) -> None:
    hall = Hall(3)
    hall.refusal = refusal
    async with asking(hall, every_ms=5) as (pulse, states):
        pulse.want(UP | {0: "a"})
        await states.until(lambda now: "answers" in now.values())
        for _ in range(20):
            await asyncio.sleep(0.005)
    assert len(hall.opened) == len(set(hall.opened))
    assert not {"silent", "unreachable"} & {each for told in states.told for each in told.values()}


async def test_a_broken_handshake_says_that_somebody_is_there() -> None:
    hall = Hall(2)
    hall.refusal = ConnectionFailed("10.0.0.1:9092", "its certificate is not trusted")
    hall.refusal.__cause__ = ssl.SSLError("unknown ca")
    async with asking(hall) as (pulse, states):
        pulse.want({1: "a"})
        await states.until(lambda now: now.get(1) == "answers")


@pytest.mark.parametrize(("stood_still_s", "silent"), [(1.5, False), (0.001, True)])
async def test_time_is_over_for_a_broker_only_where_this_process_ran(stood_still_s, silent) -> None:
    hall = Hall(2)
    async with asking(hall, every_ms=20) as (pulse, states):
        pulse.want({1: "a"})
        await states.all_answer()
        opened, hall.late_s = len(hall.opened), stood_still_s
        async with asyncio.timeout(WAIT_S):
            while len(hall.opened) == opened or pulse.standings[1].state != "answers":
                await asyncio.sleep(0.01)
    assert ("silent" in states.of(1)) == silent
