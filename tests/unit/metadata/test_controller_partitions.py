"""AlterPartition, ElectLeaders and the way leadership goes back to preferred replicas."""

import pytest

from broker.protocol.api_keys import ApiKey
from broker.protocol.codec import decode_request, encode_request
from broker.protocol.errors import ErrorCode
from broker.protocol.image import PartitionState, partition_record
from broker.protocol.metadata_records import TopicRecord
from broker.protocol.struct import Struct


def elect(world, kind, partitions):
    request = Struct(
        election_type=kind,
        topic_partitions=None
        if partitions is None
        else [Struct(topic=t, partitions=list(p)) for t, p in partitions.items()],
        timeout_ms=1,
    )
    answer = world.do(world.controller.decide_elect_leaders(request, world.now_ms))
    rows = {
        (r.topic, p.partition_id): p.error_code
        for r in answer.replica_election_results
        for p in r.partition_result
    }
    return answer.error_code, rows


def test_the_leader_shrinks_and_expands_its_isr(world):
    world.assigned("t", (1, 2, 3))
    row = world.alter("t", [1, 3])
    assert (row.error_code, row.isr, row.partition_epoch) == (ErrorCode.none, [1, 3], 1)
    state = world.state("t")
    assert (state.isr, state.leader_epoch, state.partition_epoch) == ((1, 3), 0, 1)
    assert world.alter("t", [1, 3, 2]).error_code == ErrorCode.none
    assert world.state("t").isr == (1, 3, 2)


def test_asking_for_what_is_there_changes_nothing(world):
    world.assigned("t", (1, 2))
    offset = world.next_offset
    row = world.alter("t", [1, 2])
    assert (row.error_code, row.partition_epoch) == (ErrorCode.none, 0)
    assert world.next_offset == offset


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"partition_epoch": 0}, ErrorCode.invalid_update_version),
        ({"partition_epoch": 2}, ErrorCode.not_controller),
        ({"leader_epoch": 0}, ErrorCode.fenced_leader_epoch),
        ({"leader_epoch": 9}, ErrorCode.not_controller),
        ({"new_isr_with_epochs": []}, ErrorCode.invalid_request),
        ({"leader_recovery_state": 1}, ErrorCode.invalid_request),
        ({"partition_index": 5}, ErrorCode.unknown_topic_or_partition),
    ],
)
def test_proposals_that_do_not_fit(world, change, code):
    world.assigned("t", (1, 2, 3))
    world.beat(1, want_fence=True)
    state = world.state("t")
    assert (state.leader, state.leader_epoch, state.partition_epoch) == (2, 1, 1)
    row = world.alter("t", [2], **change)
    assert row.error_code == code
    assert world.state("t") == state


def test_only_the_leader_may_propose_and_must_stay_in(world):
    world.assigned("t", (1, 2))
    assert world.alter("t", [2], by=2).error_code == ErrorCode.invalid_request
    assert world.alter("t", [2]).error_code == ErrorCode.invalid_request
    assert world.alter("t", [1, 1]).error_code == ErrorCode.invalid_request
    assert world.alter("t", [1, 3]).error_code == ErrorCode.invalid_request


def test_a_stale_leader_is_refused_as_a_whole(world):
    world.assigned("t", (1, 2))
    request = Struct(broker_id=1, broker_epoch=0, topics=[])
    answer = world.do(world.controller.decide_alter_partition(request, 0))
    assert answer.error_code == ErrorCode.stale_broker_epoch


def test_unknown_topic_ids_are_told_apart(world):
    part = Struct(
        partition_index=0,
        leader_epoch=0,
        new_isr_with_epochs=[Struct(broker_id=1, broker_epoch=-1)],
        partition_epoch=0,
    )
    request = Struct(
        broker_id=1,
        broker_epoch=world.epochs[1],
        topics=[Struct(topic_id=world.incarnations[1], partitions=[part])],
    )
    answer = world.do(world.controller.decide_alter_partition(request, 0))
    assert answer.topics[0].partitions[0].error_code == ErrorCode.unknown_topic_id


def test_fenced_leaving_and_restarted_brokers_are_not_eligible(world):
    world.assigned("t", (1, 2, 3))
    assert world.alter("t", [1]).error_code == ErrorCode.none
    epoch = world.epochs[2]
    world.do(world.controller.broker_gone(2, world.now_ms))
    assert world.alter("t", [1, 2]).error_code == ErrorCode.ineligible_replica
    world.restart(2)
    world.beat(2)
    old = [Struct(broker_id=1, broker_epoch=-1), Struct(broker_id=2, broker_epoch=epoch)]
    row = world.alter("t", [1, 2], new_isr_with_epochs=old)
    assert row.error_code == ErrorCode.ineligible_replica
    assert world.alter("t", [1, 2]).error_code == ErrorCode.none
    world.create("other", -1, -1, assignments=[Struct(partition_index=0, broker_ids=[3, 1])])
    world.beat(3, want_shut_down=True)
    assert world.image.brokers[3].in_controlled_shutdown
    assert world.alter("t", [1, 2, 3]).error_code == ErrorCode.ineligible_replica


def test_version_2_names_members_without_epochs(world):
    topic = world.assigned("t", (1, 2))
    part = Struct(partition_index=0, leader_epoch=0, new_isr=[1], partition_epoch=0)
    body = Struct(
        broker_id=1,
        broker_epoch=world.epochs[1],
        topics=[Struct(topic_id=topic.id, partitions=[part])],
    )
    data = encode_request(ApiKey.ALTER_PARTITION, 2, body)
    request = decode_request(ApiKey.ALTER_PARTITION, 2, data)
    answer = world.do(world.controller.decide_alter_partition(request, 0))
    assert answer.topics[0].partitions[0].error_code == ErrorCode.none
    assert world.state("t").isr == (1,)


def test_a_leader_elected_uncleanly_recovers_with_its_first_proposal(world):
    world.assigned("t", (1, 2), unclean_leader_election_enable="true")
    world.alter("t", [1])
    world.do(world.controller.broker_gone(1, world.now_ms))
    state = world.state("t")
    assert (state.leader, state.leader_recovery_state) == (2, 1)
    row = world.alter("t", [2])
    assert (row.error_code, row.leader_recovery_state) == (ErrorCode.none, 0)
    assert world.state("t").leader_recovery_state == 0


def test_a_reassignment_completes_when_the_added_replicas_are_in_sync(world):
    topic_id = world.incarnations[1]
    state = PartitionState(
        replicas=(3, 1, 2), isr=(1, 2), leader=1, adding=(3,), removing=(1,), directories=()
    )
    records = [TopicRecord(name="t", topic_id=topic_id), partition_record(topic_id, 0, state)]
    world.log.append((world.next_offset, tuple(records)))
    world.controller.replay(world.next_offset, 3, records)
    world.next_offset += 2
    row = world.alter("t", [1, 2, 3])
    assert (row.error_code, row.leader_id) == (ErrorCode.new_leader_elected, 3)
    after = world.state("t")
    assert (after.replicas, after.isr, after.leader) == ((3, 2), (2, 3), 3)
    assert (after.adding, after.removing, after.leader_epoch) == ((), (), 1)


def test_preferred_election_and_why_not(world):
    world.assigned("t", (1, 2), (2, 1))
    world.do(world.controller.broker_gone(1, world.now_ms))
    world.restart(1)
    world.beat(1)
    code, rows = elect(world, 0, {"t": [0, 1, 7], "zz": [0]})
    assert code == ErrorCode.none
    assert rows == {
        ("t", 0): ErrorCode.preferred_leader_not_available,
        ("t", 1): ErrorCode.election_not_needed,
        ("t", 7): ErrorCode.unknown_topic_or_partition,
        ("zz", 0): ErrorCode.unknown_topic_or_partition,
    }
    world.alter("t", [2, 1])
    epoch = world.state("t").leader_epoch
    assert elect(world, 0, None) == (ErrorCode.none, {("t", 0): ErrorCode.none})
    assert (world.state("t").leader, world.state("t").leader_epoch) == (1, epoch + 1)
    assert elect(world, 0, None) == (ErrorCode.none, {})


def test_unclean_election_on_request(world):
    world.assigned("t", (1, 2))
    assert elect(world, 1, {"t": [0]})[1] == {("t", 0): ErrorCode.election_not_needed}
    world.alter("t", [1])
    world.do(world.controller.broker_gone(1, world.now_ms))
    world.do(world.controller.broker_gone(2, world.now_ms))
    none = {("t", 0): ErrorCode.eligible_leaders_not_available}
    assert elect(world, 1, {"t": [0]})[1] == none
    world.restart(2)
    world.beat(2)
    assert elect(world, 1, {"t": [0]})[1] == {("t", 0): ErrorCode.none}
    state = world.state("t")
    assert (state.leader, state.isr, state.leader_recovery_state) == (2, (2,), 1)


def test_an_unknown_kind_of_election_is_refused(world):
    assert elect(world, 7, None)[0] == ErrorCode.invalid_request


def keep_alive(world, ms, brokers=(1, 2, 3)):
    for _ in range(ms // 1000):
        world.pass_ms(1_000)
        for broker in brokers:
            world.beat(broker)


def move_away(world):
    """Broker 1 dies and comes back in sync, but leads nothing of what prefers it."""
    world.assigned("t", (1, 2))
    world.do(world.controller.broker_gone(1, world.now_ms))
    world.restart(1)
    world.beat(1)
    world.alter("t", [2, 1])
    assert world.state("t").leader == 2


def test_leadership_goes_back_by_itself_soon_after_a_broker_returned(world):
    move_away(world)
    keep_alive(world, 5_000)
    assert world.state("t").leader == 1


def test_it_looks_again_until_the_returned_broker_is_in_sync(world):
    world.assigned("t", (1, 2))
    world.do(world.controller.broker_gone(1, world.now_ms))
    world.restart(1)
    world.beat(1)
    keep_alive(world, 60_000)
    assert world.state("t").leader == 2
    world.alter("t", [2, 1])
    keep_alive(world, 5_000)
    assert world.state("t").leader == 1


def test_without_a_return_the_check_runs_at_its_interval(make_world):
    world = make_world(rebalance_interval_ms=20_000)
    world.start(1, 2, 3)
    keep_alive(world, 21_000)
    world.assigned("t", (1, 2))
    world.alter("t", [1])
    world.beat(1, want_fence=True)  # Leaderless: 1 is the only one in sync.
    world.beat(1)
    world.alter("t", [1, 2])
    assert elect(world, 0, {"t": [0]})[1] == {("t", 0): ErrorCode.election_not_needed}
    move_topic_leader(world)
    keep_alive(world, 25_000)
    assert world.state("t").leader == 1


def move_topic_leader(world):
    world.beat(1, want_fence=True)
    assert world.state("t").leader == 2
    world.beat(1)
    world.alter("t", [2, 1])


def test_a_small_imbalance_is_left_alone(make_world):
    world = make_world(imbalance_percentage=50)
    world.start(1, 2)
    world.assigned("t", (1, 2), (1, 2), (1, 2))
    for index in range(3):
        world.alter("t", [1], index)
    world.alter("t", [1, 2], 0)
    world.do(world.controller.broker_gone(1, world.now_ms))
    assert [s.leader for s in world.image.topics["t"].partitions] == [2, -1, -1]
    world.restart(1)
    world.beat(1)
    assert [s.leader for s in world.image.topics["t"].partitions] == [2, 1, 1]
    world.alter("t", [2, 1], 0)
    keep_alive(world, 10_000, (1, 2))
    assert world.state("t").leader == 2, "one of three is below half"


def test_rebalancing_can_be_switched_off(make_world):
    world = make_world(rebalance_enabled=False)
    world.start(1, 2, 3)
    move_away(world)
    keep_alive(world, 400_000)
    assert world.state("t").leader == 2
