"""Hundreds of members come and go at once: no step may hold the coordinator's loop for long.

What is measured is this thread's processor time, so that a busy machine changes nothing.
"""

import gc
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from broker.groups.group import EMPTY, PREPARING, STABLE
from broker.protocol.errors import ErrorCode
from tests.unit.groups.group_world import REBALANCE_MS, World, encode_subscription

MEMBERS = 500
# What one decision may take; the largest, which ends a join of all, takes some ten milliseconds.
STEP_SECONDS = 0.05
# All of it takes a tenth of that; if each join looked at all members, it would take many times more.
ALL_SECONDS = 1.0


@pytest.fixture
def own_heap() -> Iterator[None]:
    """What other tests left is not gone through, as a broker does not go through what it loaded."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


class Steps:
    """How long each step took, and all of them."""

    def __init__(self) -> None:
        self.longest = self.total = 0.0

    def take(self, step: Callable[[], Any]) -> Any:
        began = time.thread_time()
        result = step()
        took = time.thread_time() - began
        self.longest = max(self.longest, took)
        self.total += took
        return result


def joined_by_all(world: World, members: list[str], steps: Steps, **options: Any) -> str:
    """All join, and a generation of all of them begins; who leads it."""
    joins = [steps.take(lambda each=each: world.join(each, **options)) for each in members]
    if not all(ticket in world.answers for ticket in joins):
        # The first generation waits for more to come, from one moment to the next.
        assert world.group().state is PREPARING
        steps.take(lambda: world.pass_ms(REBALANCE_MS))
    answers = [world.answers[ticket] for ticket in joins]
    assert {each.error_code for each in answers} == {ErrorCode.none}
    assert len({(each.generation_id, each.leader) for each in answers}) == 1
    leader = str(answers[0].leader)
    told = {each.member_id: len(each.members) for each in answers}
    assert told == dict.fromkeys(members, 0) | {leader: MEMBERS}
    return leader


def synced_by_all(world: World, members: list[str], leader: str, steps: Steps) -> None:
    generation = world.group().generation
    followers = [each for each in members if each != leader]
    syncs = [steps.take(lambda each=each: world.sync(each, generation)) for each in followers]
    assignments = {each: f"to {each}".encode() for each in members}
    steps.take(lambda: world.sync(leader, generation, assignments))
    assert world.group().state is STABLE
    for each, ticket in zip(followers, syncs, strict=True):
        assert world.answers[ticket].assignment == f"to {each}".encode()


@pytest.mark.usefixtures("own_heap")
def test_five_hundred_join_at_once_and_leave_at_once() -> None:
    world, steps = World(), Steps()
    options = {"protocols": {"range": encode_subscription("orders")}, "session_ms": 300_000}
    asked = [steps.take(lambda: world.join(**options)) for _ in range(MEMBERS)]
    members = [world.answers[ticket].member_id for ticket in asked]
    assert len(set(members)) == MEMBERS
    leader = joined_by_all(world, members, steps, **options)
    assert world.group().generation == 1
    synced_by_all(world, members, leader, steps)
    # Another topic for all of them: everybody joins again, and nobody waits for a time limit.
    options["protocols"] = {"range": encode_subscription("orders", "returns")}
    at_ms = world.monotonic_ms
    leader = joined_by_all(world, members, steps, **options)
    assert (world.group().generation, world.monotonic_ms) == (2, at_ms)
    synced_by_all(world, members, leader, steps)
    for each in members:
        assert steps.take(lambda each=each: world.heartbeat(each, 2)) is ErrorCode.none
    half = MEMBERS // 2
    for each in members[:half]:
        ticket = steps.take(lambda each=each: world.leave(each))
        assert world.code(ticket) is ErrorCode.none
    assert (world.group().state, len(world.group().members)) == (PREPARING, MEMBERS - half)
    ticket = steps.take(lambda: world.leave(*members[half:]))
    assert world.code(ticket) is ErrorCode.none
    assert (world.group().state, world.group().members) == (EMPTY, {})
    assert steps.longest < STEP_SECONDS
    assert steps.total < ALL_SECONDS
