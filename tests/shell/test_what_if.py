"""What the loss of a broker would mean is told before it is stopped or killed."""

from __future__ import annotations

from dataclasses import dataclass

from clusters.admin import PlacedPartition
from shell.what_if import effects
from tests.shell.golden_shapes import check_shape


@dataclass
class Voter:
    id: int


@dataclass
class Quorum:
    leader_id: int
    voters: list[Voter]


def partition(number: int, leader: int, isr: tuple[int, ...], min_isr: int | None = 2):
    return PlacedPartition(
        topic="orders",
        partition=number,
        leader=leader,
        leader_epoch=0,
        replicas=(1, 2, 3),
        isr=isr,
        offline=(),
        internal=False,
        min_isr=min_isr,
    )


QUORUM = Quorum(2, [Voter(1), Voter(2), Voter(3)])
PARTITIONS = [
    partition(0, 2, (1, 2, 3)),
    partition(1, 1, (1, 2)),
    partition(2, 2, (2,), min_isr=1),
    partition(3, 1, (1, 3)),
    partition(4, -1, (2,)),
    partition(5, 2, (2,)),
]


def test_leaders_in_sync_replicas_and_the_quorum():
    found = effects(2, PARTITIONS, QUORUM, "running", frozenset({1, 2, 3}))
    assert found.leaders_move == 1
    assert found.replicas == 4
    assert found.leaderless == ("orders-2", "orders-5")
    # orders-5 is below its minimum already.
    assert found.unwritable == ("orders-1", "orders-2")
    assert (found.controller, found.voters_left, found.quorum_lost) == (True, 2, False)
    for command in ("broker-stop", "broker-kill", "broker-restart"):
        check_shape(command, found.to_json())


def test_a_quorum_that_lost_a_voter_before_is_lost():
    assert effects(2, [], QUORUM, "running", frozenset({2, 3})).quorum_lost


def test_what_nobody_told_is_not_taken_for_harmless():
    found = effects(2, [partition(0, 1, (1, 2), min_isr=None)], None)
    assert (found.unwritable, found.controller, found.voters_left) == (None, None, None)
    assert dict(found.facts().pairs)["below min.insync.replicas"].text == "not known"


def test_a_topic_with_fewer_replicas_than_its_minimum_needs_those_that_it_has():
    alone = PlacedPartition(
        topic="alone",
        partition=0,
        leader=1,
        leader_epoch=0,
        replicas=(1,),
        isr=(1,),
        offline=(),
        internal=False,
        min_isr=2,
    )
    assert (alone.is_under_min_isr, alone.is_at_min_isr) == (False, True)
