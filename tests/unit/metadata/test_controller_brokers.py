"""Registration, heartbeats, sessions, fencing, controlled shutdown."""

import uuid

from broker.protocol.errors import ErrorCode
from broker.protocol.struct import Struct


def test_a_new_log_begins_with_the_metadata_version(make_world):
    world = make_world()
    assert world.image.features == {"metadata.version": 25}
    assert world.log[0][1][0].name == "metadata.version"
    assert world.controller.bootstrap().records == []


def test_broker_epoch_is_the_offset_of_its_record_and_it_starts_fenced(make_world):
    world = make_world()
    offset = world.next_offset
    answer = world.register(7, rack="a")
    assert (answer.error_code, answer.broker_epoch) == (ErrorCode.none, offset)
    broker = world.image.brokers[7]
    assert broker.fenced
    assert broker.rack == "a"
    assert broker.endpoint("PLAINTEXT").port == 9007
    assert broker.endpoint("OTHER") is None


def test_a_foreign_cluster_id_is_refused(make_world):
    world = make_world()
    answer = world.register(1, cluster_id="another")
    assert answer.error_code == ErrorCode.inconsistent_cluster_id
    assert world.image.brokers == {}


def test_a_broker_that_cannot_run_our_level_is_refused(make_world):
    world = make_world()
    old = Struct(name="metadata.version", min_supported_version=1, max_supported_version=20)
    assert world.register(1, features=[old]).error_code == ErrorCode.unsupported_version
    new = Struct(name="metadata.version", min_supported_version=1, max_supported_version=27)
    assert world.register(1, features=[new]).error_code == ErrorCode.none


def test_a_broker_without_listeners_is_refused(make_world):
    assert make_world().register(1, listeners=[]).error_code == ErrorCode.invalid_request


def test_it_stays_fenced_until_it_has_read_its_own_registration(make_world):
    world = make_world()
    world.register(1)
    behind = world.beat(1, current_metadata_offset=world.epochs[1] - 1)
    assert (behind.is_caught_up, behind.is_fenced) == (False, True)
    waiting = world.beat(1, want_fence=True)
    assert (waiting.is_caught_up, waiting.is_fenced) == (True, True)
    ready = world.beat(1)
    assert (ready.is_caught_up, ready.is_fenced) == (True, False)
    assert not world.image.brokers[1].fenced


def test_a_stale_or_unknown_epoch_is_refused(world):
    assert world.beat(1, broker_epoch=0).error_code == ErrorCode.stale_broker_epoch
    assert world.beat(9, broker_epoch=1).error_code == ErrorCode.stale_broker_epoch


def test_another_process_under_a_living_id_is_refused_until_the_session_ends(world):
    first = world.incarnations[1]
    assert world.restart(1).error_code == ErrorCode.duplicate_broker_registration
    assert world.image.brokers[1].incarnation_id == first
    world.pass_ms(9_000)
    assert world.register(1, incarnation_id=uuid.UUID(int=7)).error_code == ErrorCode.none
    assert world.image.brokers[1].fenced


def test_another_process_may_register_once_the_first_ones_connection_is_closed(world):
    world.assigned("t", (1, 2))
    world.controller.broker_disconnected(1)
    old = world.epochs[1]
    assert world.restart(1).error_code == ErrorCode.none
    assert world.epochs[1] > old
    assert world.state("t").leader == 2
    assert world.beat(1, broker_epoch=old).error_code == ErrorCode.stale_broker_epoch


def test_registering_twice_with_the_same_process_keeps_epoch_and_state(world):
    epoch = world.epochs[1]
    assert world.register(1).broker_epoch == epoch
    assert not world.image.brokers[1].fenced


def test_a_silent_broker_is_fenced_after_its_session_and_its_leaders_move(world):
    world.assigned("t", (1, 2, 3))
    epoch = world.state("t").leader_epoch
    world.pass_ms(8_000)
    world.beat(2)
    world.beat(3)
    world.pass_ms(999)
    assert not world.image.brokers[1].fenced
    world.pass_ms(1)
    assert world.image.brokers[1].fenced
    state = world.state("t")
    assert (state.leader, state.isr, state.leader_epoch) == (2, (2, 3), epoch + 1)


def test_a_heartbeat_keeps_the_session(world):
    for _ in range(4):
        world.pass_ms(5_000)
        for broker in (1, 2, 3):
            world.beat(broker)
    assert not any(b.fenced for b in world.image.brokers.values())


def test_a_controller_that_slept_listens_before_it_fences(world):
    world.now_ms += 60_000
    assert world.do(world.controller.tick(world.now_ms)) is not None
    assert not any(b.fenced for b in world.image.brokers.values())
    world.beat(2)
    world.beat(3)
    world.pass_ms(1_000)
    assert [b.id for b in world.image.brokers.values() if b.fenced] == [1]


def test_a_new_active_controller_gives_every_broker_a_fresh_session(world):
    world.pass_ms(8_000)
    world.controller.activate(world.image, world.now_ms)
    world.pass_ms(8_000)
    assert not world.image.brokers[1].fenced
    world.pass_ms(1_000)
    assert world.image.brokers[1].fenced


def test_a_dead_process_is_fenced_at_once(world):
    world.assigned("t", (3, 1))
    world.do(world.controller.broker_gone(3, world.now_ms))
    assert world.image.brokers[3].fenced
    assert world.state("t").leader == 1
    assert world.controller.broker_gone(3, world.now_ms).records == []
    assert world.restart(3).error_code == ErrorCode.none


def test_the_last_isr_member_stays_and_leads_again_when_it_returns(world):
    world.assigned("t", (1, 2))
    world.do(world.controller.broker_gone(2, world.now_ms))
    world.do(world.controller.broker_gone(1, world.now_ms))
    lost = world.state("t")
    assert (lost.leader, lost.isr) == (-1, (1,))
    world.restart(2)
    world.beat(2)
    assert world.state("t").leader == -1, "a replica out of sync must not lead"
    world.restart(1)
    world.beat(1)
    back = world.state("t")
    assert (back.leader, back.isr) == (1, (1,))
    assert back.leader_epoch == lost.leader_epoch + 1


def test_all_replicas_gone_at_once_keep_one_that_has_everything(world):
    world.assigned("t", (1, 2, 3))
    world.pass_ms(9_000)
    assert all(b.fenced for b in world.image.brokers.values())
    assert world.state("t").leader == -1
    assert world.state("t").isr == (1,)


def test_unclean_election_only_where_the_topic_allows_it(world):
    world.assigned("safe", (1, 2))
    world.assigned("fast", (1, 2), unclean_leader_election_enable="true")
    world.do(world.controller.broker_gone(2, world.now_ms))
    world.restart(2)
    world.beat(2)
    world.do(world.controller.broker_gone(1, world.now_ms))
    assert world.state("safe").leader == -1
    fast = world.state("fast")
    assert (fast.leader, fast.isr, fast.leader_recovery_state) == (2, (2,), 1)


def test_a_broker_may_ask_to_be_fenced(world):
    world.assigned("t", (1, 2))
    answer = world.beat(1, want_fence=True)
    assert answer.is_fenced
    assert world.state("t").leader == 2


def test_controlled_shutdown_moves_leaders_then_waits_for_the_others_to_know(world):
    world.assigned("t", (1, 2, 3))
    answer = world.beat(1, want_shut_down=True)
    assert (answer.should_shut_down, answer.is_fenced) == (False, False)
    assert world.image.brokers[1].in_controlled_shutdown
    state = world.state("t")
    assert (state.leader, state.isr) == (2, (2, 3))
    told = world.next_offset - 1
    assert not world.beat(1, want_shut_down=True).should_shut_down
    world.beat(2, current_metadata_offset=told)
    world.beat(3, current_metadata_offset=told - 1)
    assert not world.beat(1, want_shut_down=True).should_shut_down
    world.beat(3, current_metadata_offset=told)
    answer = world.beat(1, want_shut_down=True)
    assert (answer.should_shut_down, answer.is_fenced) == (True, True)
    assert world.image.brokers[1].fenced
    assert world.beat(1, want_shut_down=True).should_shut_down, "a repeated question"
    assert world.restart(1).error_code == ErrorCode.none
    assert not world.image.brokers[1].in_controlled_shutdown


def test_a_broker_that_leads_nothing_may_stop_at_once(world):
    answer = world.beat(2, want_shut_down=True)
    assert answer.should_shut_down
    assert world.image.brokers[2].fenced


def test_the_last_broker_may_stop_though_its_partitions_have_no_other(make_world):
    world = make_world()
    world.start(1)
    world.assigned("t", (1,))
    assert not world.beat(1, want_shut_down=True).should_shut_down
    assert world.beat(1, want_shut_down=True).should_shut_down
    assert world.state("t").isr == (1,)


def test_a_fenced_broker_may_always_stop(make_world):
    world = make_world()
    world.register(1)
    assert world.beat(1, want_shut_down=True).should_shut_down


def test_unregister_forgets_a_broker(world):
    world.assigned("t", (1, 2))
    request = Struct(broker_id=1)
    decide = world.controller.decide_unregister_broker
    assert world.do(decide(request, world.now_ms)).error_code == ErrorCode.none
    assert 1 not in world.image.brokers
    assert world.state("t").leader == 2
    again = world.do(decide(request, world.now_ms))
    assert again.error_code == ErrorCode.broker_id_not_registered
    assert world.beat(1).error_code == ErrorCode.stale_broker_epoch


def test_producer_ids_come_in_blocks_that_never_repeat(world):
    decide = world.controller.decide_allocate_producer_ids
    blocks = []
    for broker in (1, 2, 1):
        request = Struct(broker_id=broker, broker_epoch=world.epochs[broker])
        answer = world.do(decide(request, world.now_ms))
        blocks.append((answer.producer_id_start, answer.producer_id_len))
    assert blocks == [(0, 1000), (1000, 1000), (2000, 1000)]
    stale = world.do(decide(Struct(broker_id=1, broker_epoch=0), world.now_ms))
    assert stale.error_code == ErrorCode.stale_broker_epoch
    assert world.image.next_producer_id == 3000
