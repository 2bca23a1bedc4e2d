"""The simulator's own promises: pauses, limits, and checkers that can fail."""

import asyncio
import random
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from broker.simulation.guard import cpu_limit
from broker.simulation.loop import SimulatedLoop, SimulationEndless
from broker.simulation.partition_checker import PartitionChecker
from broker.simulation.violations import LivenessViolation, SafetyViolation


@pytest.fixture
def loop():
    loop = SimulatedLoop(random.Random(1))
    yield loop
    loop.close()


def test_a_task_that_never_rests_ends_the_run(loop: SimulatedLoop) -> None:
    async def restless() -> None:
        while True:
            await asyncio.sleep(0)

    with pytest.raises(SimulationEndless, match="without end at 0"):
        loop.run_until_complete(restless())


def test_a_callback_that_never_returns_ends_the_run(loop: SimulatedLoop) -> None:
    async def stuck() -> None:
        while True:
            pass

    with pytest.raises(LivenessViolation, match="processor time"), cpu_limit(0.2):
        loop.run_until_complete(stuck())


def test_what_the_gate_kept_runs_later_in_order(loop: SimulatedLoop) -> None:
    ran: list[int] = []
    kept: list[asyncio.Handle] = []

    def closed(handle: asyncio.Handle) -> bool:
        if handle._callback == ran.append:  # type: ignore[attr-defined]
            kept.append(handle)
            return False
        return True

    async def story() -> None:
        loop.gate = closed
        for number in range(5):
            loop.call_later(number, ran.append, number)
        await asyncio.sleep(10)
        assert ran == []
        loop.gate = None
        loop.requeue(kept)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    loop.run_until_complete(story())
    assert ran == [0, 1, 2, 3, 4]


def test_a_cancelled_timer_does_not_run(loop: SimulatedLoop) -> None:
    """Thousands of them: the heap is cleared of them on the way."""
    ran: list[int] = []

    async def story() -> None:
        timers = [loop.call_later(1 + i / 1e4, ran.append, i) for i in range(3000)]
        for timer in timers[::2]:
            timer.cancel()
        await asyncio.sleep(5)

    loop.run_until_complete(story())
    assert ran == list(range(1, 3000, 2))


TOPIC_ID = UUID(int=7)


class Replicas:
    """What PartitionChecker looks at: one partition of one broker."""

    def __init__(
        self, end: int, watermark: int, *, epoch: int | None = None, offset: int = 1
    ) -> None:
        leader = None if epoch is None else SimpleNamespace(epoch=epoch)
        self._partition = SimpleNamespace(
            topic="t",
            index=0,
            topic_id=TOPIC_ID,
            log=SimpleNamespace(end_offset=end),
            high_watermark=watermark,
            leader=leader,
        )
        topic, state = SimpleNamespace(name="t", id=TOPIC_ID), SimpleNamespace(replicas=(1, 2, 3))
        self.image = SimpleNamespace(offset=offset, iter_partitions=lambda: [(topic, 0, state)])

    def partition(self, topic: str, index: int) -> Any:
        return self._partition


def look(checker: PartitionChecker, **brokers: Replicas) -> None:
    """One round over the brokers n1, n2, n3."""
    for name, replicas in brokers.items():
        checker.observe(int(name[1:]), replicas)  # type: ignore[arg-type]
    checker.compare()


def test_an_honest_cluster_is_not_accused() -> None:
    checker = PartitionChecker()
    look(checker, n1=Replicas(10, 8, epoch=0), n2=Replicas(8, 5), n3=Replicas(8, 7))
    look(checker, n1=Replicas(10, 8, epoch=0), n2=Replicas(8, 8, epoch=1), n3=Replicas(8, 7))
    look(checker, n1=Replicas(8, 8), n2=Replicas(12, 12, epoch=1), n3=Replicas(12, 8))


def test_two_leaders_of_one_epoch_are_noticed() -> None:
    checker = PartitionChecker()
    with pytest.raises(SafetyViolation, match="epoch 3 has two leaders"):
        look(checker, n1=Replicas(1, 0, epoch=3), n2=Replicas(1, 0, epoch=3))


def test_a_watermark_that_goes_back_is_noticed() -> None:
    checker = PartitionChecker()
    look(checker, n1=Replicas(9, 5, epoch=3))
    with pytest.raises(SafetyViolation, match="from 5 back to 4"):
        look(checker, n1=Replicas(9, 4, epoch=3))


def test_a_watermark_above_the_log_is_noticed() -> None:
    with pytest.raises(SafetyViolation, match="high watermark 5 above end 4"):
        look(PartitionChecker(), n1=Replicas(4, 5))


def test_a_leader_without_what_was_committed_is_noticed() -> None:
    checker = PartitionChecker()
    look(checker, n1=Replicas(9, 5, epoch=3), n2=Replicas(4, 4))
    with pytest.raises(SafetyViolation, match="leads epoch 4 with log end 4"):
        look(checker, n2=Replicas(4, 4, epoch=4))


def test_a_commit_that_too_few_hold_is_noticed() -> None:
    checker = PartitionChecker()
    with pytest.raises(SafetyViolation, match="the logs end at"):
        look(checker, n1=Replicas(9, 9, epoch=3), n2=Replicas(8, 4), n3=Replicas(8, 4))


def test_who_is_down_may_hold_it() -> None:
    checker = PartitionChecker()
    look(checker, n1=Replicas(9, 9, epoch=3), n2=Replicas(8, 4))


def test_a_restarted_process_may_know_a_lower_watermark() -> None:
    checker = PartitionChecker()
    look(checker, n1=Replicas(9, 5, epoch=3))
    checker.ended(1)
    look(checker, n1=Replicas(9, 4, epoch=3))
