"""AlterPartitionReassignments and List: how replicas move, and how a move ends or is given up."""

import pytest

from broker.protocol.errors import ErrorCode
from broker.protocol.struct import Struct


@pytest.fixture
def world(make_world):
    world = make_world()
    world.start(1, 2, 3, 4)
    return world


def move(world, targets, **fields):
    """{(topic, index): replicas or None} to {(topic, index): code}."""
    topics = [
        Struct(name=name, partitions=[Struct(partition_index=index, replicas=replicas)])
        for (name, index), replicas in targets.items()
    ]
    request = Struct(topics=topics, timeout_ms=1000, **fields)
    answer = world.do(world.controller.decide_alter_partition_reassignments(request, world.now_ms))
    assert answer.error_code == ErrorCode.none
    return {
        (t.name, p.partition_index): p.error_code for t in answer.responses for p in t.partitions
    }


def listed(world, topics=None):
    answer = world.do(
        world.controller.decide_list_partition_reassignments(
            Struct(topics=topics, timeout_ms=1), world.now_ms
        )
    )
    return {
        (t.name, p.partition_index): (p.replicas, p.adding_replicas, p.removing_replicas)
        for t in answer.topics
        for p in t.partitions
    }


def test_a_replica_moves_once_the_new_one_is_in_sync(world):
    world.assigned("t", (1, 2))
    assert move(world, {("t", 0): [1, 3]}) == {("t", 0): ErrorCode.none}
    state = world.state("t")
    assert (state.replicas, state.adding, state.removing) == ((1, 3, 2), (3,), (2,))
    assert (state.isr, state.leader, state.leader_epoch) == ((1, 2), 1, 0)
    assert listed(world) == {("t", 0): ([1, 3, 2], [3], [2])}
    row = world.alter("t", [1, 2, 3])
    assert (row.error_code, row.isr, row.leader_id) == (ErrorCode.none, [1, 3], 1)
    state = world.state("t")
    assert (state.replicas, state.adding, state.removing) == ((1, 3), (), ())
    # The epoch grows, so that the one that left is served no more.
    assert (state.isr, state.leader, state.leader_epoch) == ((1, 3), 1, 1)
    assert listed(world) == {}
    assert len(state.directories) == 2


def test_the_leader_itself_moves_away(world):
    world.assigned("t", (1, 2))
    move(world, {("t", 0): [3, 4]})
    assert world.state("t").replicas == (3, 4, 1, 2)
    world.alter("t", [1, 2, 3])
    assert world.state("t").removing == (1, 2), "ended before every new replica is in sync"
    row = world.alter("t", [1, 2, 3, 4])
    assert row.error_code == ErrorCode.new_leader_elected
    state = world.state("t")
    assert (state.replicas, state.isr, state.leader) == ((3, 4), (3, 4), 3)


def test_a_new_order_and_fewer_replicas_take_effect_at_once(world):
    world.assigned("t", (1, 2, 3))
    move(world, {("t", 0): [3, 1, 2]})
    state = world.state("t")
    assert (state.replicas, state.leader, state.leader_epoch) == ((3, 1, 2), 1, 0)
    move(world, {("t", 0): [3, 2]})
    state = world.state("t")
    assert (state.replicas, state.isr, state.leader) == ((3, 2), (2, 3), 3)
    assert listed(world) == {}


def test_fewer_replicas_wait_for_one_that_is_out_of_sync(world):
    world.assigned("t", (1, 2, 3))
    world.alter("t", [1, 3])
    move(world, {("t", 0): [1, 2]})
    assert listed(world) == {("t", 0): ([1, 2, 3], [], [3])}
    world.alter("t", [1, 3, 2])
    assert world.state("t").replicas == (1, 2)


def test_a_move_can_be_cancelled(world):
    world.assigned("t", (1, 2))
    move(world, {("t", 0): [3, 4]})
    world.alter("t", [1, 2, 3])
    assert move(world, {("t", 0): None}) == {("t", 0): ErrorCode.none}
    state = world.state("t")
    assert (state.replicas, state.isr, state.leader) == ((1, 2), (1, 2), 1)
    assert (state.adding, state.removing) == ((), ())
    assert move(world, {("t", 0): None}) == {("t", 0): ErrorCode.no_reassignment_in_progress}


def test_a_cancelled_move_must_not_lose_records(world):
    world.assigned("t", (1, 2))
    world.assigned("risky", (1, 2), unclean_leader_election_enable="true")
    both = {("t", 0): [3, 4], ("risky", 0): [3, 4]}
    move(world, both)
    for name in ("t", "risky"):
        world.alter(name, [1, 3])
    world.beat(1, want_fence=True)
    assert world.state("t").isr == world.state("risky").isr == (3,)
    world.beat(1)
    codes = move(world, dict.fromkeys(both))
    assert codes == {
        ("t", 0): ErrorCode.invalid_replica_assignment,
        ("risky", 0): ErrorCode.none,
    }
    assert world.state("t").replicas == (3, 4, 1, 2)
    assert world.state("risky").replicas == (1, 2)
    assert world.state("risky").isr == (1,)


def test_a_move_can_be_replaced_by_another(world):
    world.assigned("t", (1, 2))
    move(world, {("t", 0): [1, 3]})
    move(world, {("t", 0): [1, 4]})
    assert world.state("t").replicas == (1, 4, 2, 3)
    world.alter("t", [1, 2, 4])
    state = world.state("t")
    assert (state.replicas, state.isr, state.adding, state.removing) == ((1, 4), (1, 4), (), ())


def test_going_back_by_naming_the_old_replicas(world):
    world.assigned("t", (1, 2))
    move(world, {("t", 0): [1, 3]})
    move(world, {("t", 0): [1, 2]})
    state = world.state("t")
    assert (state.replicas, state.adding, state.removing) == ((1, 2), (), ())


@pytest.mark.parametrize(
    ("replicas", "code"),
    [
        ([], ErrorCode.invalid_replica_assignment),
        ([1, 1], ErrorCode.invalid_replica_assignment),
        ([1, 9], ErrorCode.invalid_replica_assignment),
        ([1, -1], ErrorCode.invalid_replica_assignment),
    ],
)
def test_targets_that_cannot_be(world, replicas, code):
    world.assigned("t", (1, 2))
    before = world.state("t")
    assert move(world, {("t", 0): replicas}) == {("t", 0): code}
    assert world.state("t") == before


def test_unknown_partitions_do_not_stop_the_others(world):
    world.assigned("t", (1, 2))
    codes = move(world, {("t", 1): [1], ("missing", 0): [1], ("t", 0): [1, 3]})
    unknown = ErrorCode.unknown_topic_or_partition
    assert codes == {("t", 1): unknown, ("missing", 0): unknown, ("t", 0): ErrorCode.none}


def test_the_replication_factor_is_kept_when_asked(world):
    world.assigned("t", (1, 2))
    refused = {("t", 0): ErrorCode.invalid_replication_factor}
    fixed = {"allow_replication_factor_change": False}
    assert move(world, {("t", 0): [1, 2, 3]}, **fixed) == refused
    assert move(world, {("t", 0): [1]}, **fixed) == refused
    assert move(world, {("t", 0): [1, 3]}, **fixed) == {("t", 0): ErrorCode.none}
    # While it moves, what counts is where it goes.
    assert move(world, {("t", 0): [1, 4]}, **fixed) == {("t", 0): ErrorCode.none}
    assert move(world, {("t", 0): [1, 2, 3]}, **fixed) == refused


def test_a_new_replica_may_be_down_and_joins_later(world):
    world.assigned("t", (1, 2))
    world.do(world.controller.broker_gone(3, world.now_ms))
    move(world, {("t", 0): [1, 3]})
    assert world.alter("t", [1, 2, 3]).error_code == ErrorCode.ineligible_replica
    world.restart(3)
    world.beat(3)
    assert world.alter("t", [1, 2, 3]).error_code == ErrorCode.none
    assert world.state("t").replicas == (1, 3)


def test_asked_topics_alone_are_listed(world):
    world.assigned("a", (1, 2), (1, 2))
    world.assigned("b", (1, 2))
    move(world, {("a", 0): [1, 3], ("a", 1): [1, 3], ("b", 0): [1, 3]})
    asked = [
        Struct(name="a", partition_indexes=[1, 7]),
        Struct(name="missing", partition_indexes=[0]),
    ]
    assert set(listed(world, asked)) == {("a", 1)}
    assert set(listed(world)) == {("a", 0), ("a", 1), ("b", 0)}
    assert world.replayed() == world.image
