"""Whatever is decided, replaying the records gives the same image, and rules are never broken."""

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broker.protocol.errors import ErrorCode
from broker.protocol.image import from_snapshot, image_records, same_contents
from broker.protocol.metadata_records import PartitionChangeRecord, decode_record, encode_record
from broker.protocol.struct import ZERO_UUID, Struct

BROKERS = (1, 2, 3, 4)
TOPICS = ("a", "b", "c")


def live_or_die(world, rng):
    """Something happens to a broker."""
    broker = rng.choice(BROKERS)
    match rng.randrange(7):
        case 0:
            world.register(broker)
        case 1:
            world.incarnations.setdefault(broker, ZERO_UUID)
            world.restart(broker)
        case 2 | 3:
            for each in rng.sample(BROKERS, 3):
                world.beat(each)
        case 4:
            world.beat(broker, want_shut_down=True)
        case 5:
            world.do(world.controller.broker_gone(broker, world.now_ms))
        case 6:
            world.pass_ms(rng.randrange(12_000))


def ask(world, rng):
    """Somebody wants a topic changed; it may well be refused."""
    name = rng.choice(TOPICS)
    topic = world.image.topics.get(name)
    kind = rng.randrange(6)
    if topic is None:
        unclean = rng.choice(["true", "false"])
        config = Struct(name="unclean.leader.election.enable", value=unclean)
        world.create(name, rng.randrange(1, 4), rng.randrange(1, 4), configs=[config])
    elif kind == 0:
        request = Struct(topics=[Struct(name=name, topic_id=ZERO_UUID)])
        world.do(world.controller.decide_delete_topics(request, world.now_ms))
    elif kind == 1:
        wish = Struct(name=name, count=len(topic.partitions) + 1, assignments=None)
        request = Struct(topics=[wish], validate_only=False)
        world.do(world.controller.decide_create_partitions(request, world.now_ms))
    elif kind == 2:
        request = Struct(election_type=rng.randrange(2), topic_partitions=None)
        world.do(world.controller.decide_elect_leaders(request, world.now_ms))
    else:
        index = rng.randrange(len(topic.partitions))
        state = topic.partitions[index]
        if state.leader in world.epochs:
            others = [r for r in state.replicas if r != state.leader and rng.random() < 0.7]
            world.alter(name, [state.leader, *others], index)


def random_step(world, rng):
    """One thing that happens in the life of a cluster."""
    rng.choice((live_or_die, ask))(world, rng)


def check_rules(world):
    for topic, index, state in world.image.iter_partitions():
        where = f"{topic.name}-{index}: {state}"
        assert state.isr, where
        assert set(state.isr) <= set(state.replicas), where
        assert len(set(state.isr)) == len(state.isr), where
        if state.leader != -1:
            assert state.leader in state.isr, where
            broker = world.image.brokers.get(state.leader)
            assert broker is not None, where
            assert not broker.fenced, where
            assert not broker.in_controlled_shutdown, where
            for member in state.isr:
                assert world.image.is_active(member), where
        elif any(world.image.is_active(r) for r in state.isr):
            raise AssertionError(f"an in-sync replica lives, yet nobody leads {where}")


def check_epochs(world, seen):
    for topic, index, state in world.image.iter_partitions():
        key = (topic.id, index)
        leader_epoch, partition_epoch, leader = seen.get(key, (-1, -1, None))
        assert state.leader_epoch >= leader_epoch
        assert state.partition_epoch >= partition_epoch
        if leader is not None and leader != state.leader:
            assert state.leader_epoch > leader_epoch, "a new leader without a new epoch"
        seen[key] = (state.leader_epoch, state.partition_epoch, state.leader)


@settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(seed=st.integers(0, 2**32))
def test_any_history_replays_to_the_same_image(make_world, seed):
    rng = random.Random(seed)
    world = make_world(seed)
    world.start(*BROKERS[: rng.randrange(1, 5)])
    seen = {}
    for _ in range(rng.randrange(10, 60)):
        random_step(world, rng)
        check_rules(world)
        check_epochs(world, seen)
    assert world.replayed() == world.image
    snapshot = [decode_record(encode_record(r)) for r in image_records(world.image)]
    read = from_snapshot(world.next_offset, 3, snapshot)
    assert read == world.image


def test_deciding_changes_nothing_before_the_replay(world):
    world.create("t", 3, 3)
    image = world.image
    topic = Struct(name="u", num_partitions=1, replication_factor=1, assignments=[], configs=[])
    request = Struct(topics=[topic], timeout_ms=1, validate_only=False)
    assert world.controller.decide_create_topics(request, world.now_ms).records
    assert world.controller.broker_gone(1, world.now_ms).records
    assert world.image is image


def test_a_controller_that_takes_over_decides_from_the_committed_image(make_world, world):
    world.create("t", 3, 3)
    heir = make_world(seed=2)
    heir.controller.activate(world.replayed(), 5_000)
    heir.next_offset, heir.now_ms = world.next_offset, 5_000
    heir.epochs, heir.incarnations = world.epochs, world.incarnations
    assert heir.beat(1).error_code == ErrorCode.none
    heir.do(heir.controller.broker_gone(1, heir.now_ms))
    assert all(s.leader in (2, 3) for s in heir.image.topics["t"].partitions)
    assert not same_contents(heir.image, world.image)


def test_one_record_per_partition_that_changes(world):
    world.create("t", 6, 3)
    decision = world.controller.broker_gone(1, world.now_ms)
    changes = [r for r in decision.records if isinstance(r, PartitionChangeRecord)]
    assert len(changes) == 6
    moved = [c for c in changes if c.leader != -2]
    assert len(moved) == 2


def test_a_broker_with_many_partitions_is_fenced_at_once_and_its_places_go_in_pieces(world):
    world.create("t", 2_000, 3)
    decision = world.controller.broker_gone(2, world.now_ms)
    assert len(decision.records) < 300, "no decision holds up the controller"
    world.do(decision)
    assert world.image.brokers[2].fenced
    led = [s for s in world.image.topics["t"].partitions if s.leader == 2]
    assert led, "not all are moved yet"
    assert world.controller.next_wakeup_ms() == 0, "the rest follows without delay"
    rounds = 0
    while (decision := world.controller.tick(world.now_ms)).records:
        assert len(decision.records) <= 256
        world.do(decision)
        rounds += 1
    assert rounds >= 5
    assert all(2 not in (s.leader, *s.isr) for s in world.image.topics["t"].partitions)
    assert all(s.isr == (1, 3) or s.isr == (3, 1) for s in world.image.topics["t"].partitions)


def test_a_broker_is_not_let_in_again_before_it_has_lost_its_places(world):
    world.create("t", 1_000, 3)
    world.do(world.controller.broker_gone(2, world.now_ms))
    answers = []
    while not answers or answers[-1].is_fenced:
        answers.append(world.beat(2))
        inside = [s for s in world.image.topics["t"].partitions if 2 in s.isr]
        assert answers[-1].is_fenced or not inside
    assert len(answers) > 2


@pytest.mark.parametrize("noticed", [True, False])
def test_a_new_process_holds_nothing_as_of_its_registration(world, noticed):
    """Else it would take roles by it, with a log that may have lost its end."""
    world.create("t", 1_000, 3)
    if noticed:
        world.do(world.controller.broker_gone(2, world.now_ms))
        assert [s for s in world.image.topics["t"].partitions if 2 in s.isr]
    else:
        world.controller.broker_disconnected(2)
    assert world.restart(2).error_code == ErrorCode.none
    assert all(2 not in (s.leader, *s.isr) for s in world.image.topics["t"].partitions)


def test_a_new_controller_finishes_what_another_began(world):
    world.create("t", 1_000, 3)
    world.do(world.controller.broker_gone(2, world.now_ms))
    world.controller.activate(world.image, world.now_ms)
    world.pass_ms(0)
    assert all(2 not in (s.leader, *s.isr) for s in world.image.topics["t"].partitions)


def test_a_broker_with_many_partitions_stops_only_once_others_know_of_all_that_moved(world):
    world.create("t", 1_000, 3)
    rounds = 0
    while True:
        for other in (1, 3):
            world.beat(other)
        answer = world.beat(2, want_shut_down=True)
        if answer.should_shut_down:
            break
        rounds += 1
    assert rounds >= 4
    assert all(2 not in (s.leader, *s.isr) for s in world.image.topics["t"].partitions)


def test_many_partitions_without_leader_are_led_again_when_their_replica_returns(world):
    world.assigned("t", *((2,) for _ in range(1_000)))
    world.do(world.controller.broker_gone(2, world.now_ms))
    world.pass_ms(0)
    assert {s.leader for s in world.image.topics["t"].partitions} == {-1}
    world.restart(2)
    while world.beat(2).is_fenced:
        pass
    world.pass_ms(0)
    assert {s.leader for s in world.image.topics["t"].partitions} == {2}
