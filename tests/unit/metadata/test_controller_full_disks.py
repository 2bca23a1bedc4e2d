"""A broker whose data folder takes no records (KIP-858's offline_log_dirs in its heartbeats)."""

import uuid

import pytest

from broker.protocol.errors import ErrorCode
from broker.protocol.image import LOST_DIRECTORY, from_snapshot, image_records
from broker.protocol.struct import Struct


def folder(broker_id):
    return uuid.UUID(int=500 + broker_id)


@pytest.fixture
def full(world):
    """Says that a broker's disk is full, as its heartbeats do."""

    def say(broker_id):
        answer = world.beat(broker_id, offline_log_dirs=[folder(broker_id)])
        assert (answer.error_code, answer.is_fenced) == (ErrorCode.none, False)
        return answer

    return say


def elect(world, topic):
    """Preferred leader election; the partition's error."""
    asked = [Struct(topic=topic, partitions=[0])]
    request = Struct(election_type=0, topic_partitions=asked, timeout_ms=1000)
    answer = world.do(world.controller.decide_elect_leaders(request, world.now_ms))
    return answer.replica_election_results[0].partition_result[0].error_code


def test_leadership_goes_to_a_replica_that_is_in_sync_and_can_write(world, full):
    world.assigned("t", (1, 2, 3))
    epoch = world.state("t").leader_epoch
    full(1)
    state = world.state("t")
    assert (state.leader, state.isr, state.leader_epoch) == (2, (2, 3), epoch + 1)
    assert not world.image.brokers[1].fenced
    assert world.image.brokers[1].out_of_room


def test_a_follower_leaves_the_isr_at_once_and_the_leader_stays(world, full):
    world.assigned("t", (1, 2, 3))
    epoch = world.state("t").leader_epoch
    full(3)
    state = world.state("t")
    assert (state.leader, state.isr, state.leader_epoch) == (1, (1, 2), epoch)


def test_where_nobody_else_is_in_sync_it_leads_on_for_its_readers(world, full):
    world.assigned("alone", (1,))
    full(1)
    assert (world.state("alone").leader, world.state("alone").isr) == (1, (1,))
    full(1)
    assert world.state("alone").partition_epoch == 0


def test_two_full_disks_leave_the_second_as_the_leader(world, full):
    world.assigned("t", (1, 2))
    full(1)
    full(2)
    assert (world.state("t").leader, world.state("t").isr) == (2, (2,))


def test_saying_it_again_changes_nothing(world, full):
    world.assigned("t", (1, 2, 3))
    full(1)
    written = world.next_offset
    full(1)
    assert world.next_offset == written


def test_a_replica_that_gets_in_sync_later_takes_over(world, full):
    world.assigned("t", (1, 2))
    world.beat(2, want_fence=True)
    full(1)
    assert world.state("t").leader == 1
    assert not world.beat(2).is_fenced
    row = world.alter("t", [1, 2])
    assert row.error_code == ErrorCode.none, "the full leader must not stand in its own way"
    full(1)
    assert (world.state("t").leader, world.state("t").isr) == (2, (2,))


def test_it_may_not_join_an_isr_or_lead_until_there_is_room(world, full):
    world.assigned("t", (1, 2, 3))
    full(1)
    assert world.alter("t", [1, 2, 3]).error_code == ErrorCode.ineligible_replica
    assert elect(world, "t") == ErrorCode.preferred_leader_not_available
    assert not world.beat(1).is_fenced
    assert not world.image.brokers[1].out_of_room
    assert world.image.brokers[1].log_dirs == (folder(1),)
    assert world.alter("t", [1, 2, 3]).error_code == ErrorCode.none
    assert elect(world, "t") == ErrorCode.none
    assert world.state("t").leader == 1


def test_new_partitions_are_led_by_others_and_know_the_folder(world, full):
    full(1)
    world.create("fresh", 3, 3)
    for state in world.image.topics["fresh"].partitions:
        assert state.leader != 1
        assert 1 not in state.isr
        assert dict(zip(state.replicas, state.directories, strict=True))[1] == folder(1)


def test_a_snapshot_keeps_it(world, full):
    full(1)
    image = world.image
    again = from_snapshot(image.offset + 1, image.epoch, image_records(image))
    assert again.brokers[1].out_of_room
    assert again.brokers[1].log_dirs == (folder(1), LOST_DIRECTORY)


def test_a_new_process_begins_with_a_clean_slate(world, full):
    full(1)
    assert world.restart(1).error_code != ErrorCode.none, "the old one still lives"
    world.controller.broker_disconnected(1)
    assert world.restart(1).error_code == ErrorCode.none
    assert not world.image.brokers[1].out_of_room


def test_one_folder_of_two_is_no_reason_to_go(make_world):
    world = make_world()
    world.register(1, log_dirs=[folder(1), folder(9)])
    world.beat(1)
    world.start(2)
    world.assigned("t", (1, 2))
    world.beat(1, offline_log_dirs=[folder(9)])
    assert world.state("t").leader == 1
    assert not world.image.brokers[1].out_of_room
