"""CreateTopics, DeleteTopics, CreatePartitions: every error, and what they leave behind."""

from collections import Counter

import pytest

from broker.protocol.api_keys import ApiKey
from broker.protocol.codec import decode_request, decode_response, encode_request, encode_response
from broker.protocol.errors import ErrorCode
from broker.protocol.struct import ZERO_UUID, Struct


def assignments(*replicas):
    return [Struct(partition_index=i, broker_ids=list(r)) for i, r in enumerate(replicas)]


def delete(world, *names, topic_id=None):
    topics = [Struct(name=name, topic_id=ZERO_UUID) for name in names]
    if topic_id is not None:
        topics.append(Struct(name=None, topic_id=topic_id))
    decision = world.controller.decide_delete_topics(Struct(topics=topics, timeout_ms=1), 0)
    return world.do(decision).responses


def grow(world, name, count, assigned=None, *, validate_only=False):
    topic = Struct(name=name, count=count, assignments=assigned)
    request = Struct(topics=[topic], timeout_ms=1, validate_only=validate_only)
    return world.do(world.controller.decide_create_partitions(request, 0)).results[0]


def test_a_topic_is_created_with_its_partitions_and_all_its_settings_told(world):
    row = world.create("orders", 6, 3, configs=[Struct(name="retention.ms", value="1000")])
    assert (row.error_code, row.num_partitions, row.replication_factor) == (ErrorCode.none, 6, 3)
    topic = world.image.topics["orders"]
    assert topic.id == row.topic_id
    assert len(topic.partitions) == 6
    for state in topic.partitions:
        assert sorted(state.replicas) == [1, 2, 3]
        assert state.isr == state.replicas
        assert (state.leader, state.leader_epoch, state.partition_epoch) == (state.isr[0], 0, 0)
        assert [d.int for d in state.directories] == [500 + r for r in state.replicas]
    configs = {c.name: c for c in row.configs}
    assert (configs["retention.ms"].value, configs["retention.ms"].config_source) == ("1000", 1)
    assert (configs["cleanup.policy"].value, configs["cleanup.policy"].config_source) == (
        "delete",
        5,
    )
    assert len(configs) > 25


def test_leaders_are_even_over_the_brokers(world):
    world.create("t", 12, 2)
    leaders = Counter(s.leader for s in world.image.topics["t"].partitions)
    assert leaders == {1: 4, 2: 4, 3: 4}


def test_minus_one_means_the_defaults(make_world):
    world = make_world(default_partitions=4, default_replication_factor=2)
    world.start(1, 2)
    row = world.create("t", -1, -1)
    assert (row.num_partitions, row.replication_factor) == (4, 2)


def test_validate_only_writes_nothing(world):
    before = world.next_offset
    row = world.create("t", 2, 2, validate_only=True)
    assert (row.error_code, row.num_partitions) == (ErrorCode.none, 2)
    assert "t" not in world.image.topics
    assert world.next_offset == before


@pytest.mark.parametrize("name", ["", ".", "..", "a b", "a/b", "ü", "x" * 250])
def test_illegal_names(world, name):
    row = world.create(name)
    assert row.error_code == ErrorCode.invalid_topic_exception
    assert row.error_message
    assert world.image.topics == {}


def test_legal_names(world):
    for name in ("x" * 249, "A-z_0.9", "__consumer_offsets"):
        assert world.create(name).error_code == ErrorCode.none


def test_a_name_is_taken_once_and_dots_collide_with_underscores(world):
    world.create("a.b")
    assert world.create("a.b").error_code == ErrorCode.topic_already_exists
    assert world.create("a_b").error_code == ErrorCode.invalid_topic_exception
    assert world.create("__cluster_metadata").error_code == ErrorCode.invalid_request


def test_topics_of_one_request_are_judged_one_by_one(world):
    def topic(name, partitions=1):
        return Struct(
            name=name, num_partitions=partitions, replication_factor=1, assignments=[], configs=[]
        )

    answer = world.create_many(
        topic("a"), topic("twice"), topic("b", 0), topic("twice"), topic("c.d"), topic("c_d")
    )
    codes = {row.name: row.error_code for row in answer.topics}
    assert len(answer.topics) == 5
    assert codes == {
        "a": ErrorCode.none,
        "twice": ErrorCode.invalid_request,
        "b": ErrorCode.invalid_partitions,
        "c.d": ErrorCode.none,
        # Kafka looks for collisions only among the topics there were before.
        "c_d": ErrorCode.none,
    }
    assert sorted(world.image.topics) == ["a", "c.d", "c_d"]


@pytest.mark.parametrize(
    ("partitions", "factor", "code"),
    [
        (0, 1, ErrorCode.invalid_partitions),
        (-2, 1, ErrorCode.invalid_partitions),
        (1, 0, ErrorCode.invalid_replication_factor),
        (1, -2, ErrorCode.invalid_replication_factor),
        (1, 4, ErrorCode.invalid_replication_factor),
        (10_001, 1, ErrorCode.policy_violation),
        (2_000_000_000, 1, ErrorCode.policy_violation),
    ],
)
def test_impossible_numbers(world, partitions, factor, code):
    row = world.create("t", partitions, factor)
    assert row.error_code == code
    assert row.error_message


def test_without_active_brokers_nothing_can_be_placed(make_world):
    world = make_world()
    assert world.create("t").error_code == ErrorCode.invalid_replication_factor
    world.register(1)
    assert world.create("t").error_code == ErrorCode.invalid_replication_factor


def test_a_fenced_broker_gets_replicas_but_no_isr_place(world):
    world.do(world.controller.broker_gone(2, world.now_ms))
    world.create("t", 3, 3)
    for state in world.image.topics["t"].partitions:
        assert state.replicas[2] == 2
        assert 2 not in state.isr
    world.create("u", 4, 2)
    assert all(2 not in s.replicas for s in world.image.topics["u"].partitions)


def test_manual_assignment_is_taken_as_it_is(world):
    topic = world.assigned("t", (3, 1), (2, 3))
    assert [s.replicas for s in topic.partitions] == [(3, 1), (2, 3)]
    assert [s.leader for s in topic.partitions] == [3, 2]


@pytest.mark.parametrize(
    ("replicas", "code"),
    [
        ([[1, 1]], ErrorCode.invalid_replica_assignment),
        ([[1, 9]], ErrorCode.invalid_replica_assignment),
        ([[]], ErrorCode.invalid_replica_assignment),
        ([[1, 2], [3]], ErrorCode.invalid_replica_assignment),
    ],
)
def test_wrong_manual_assignments(world, replicas, code):
    assert world.create("t", -1, -1, assignments=assignments(*replicas)).error_code == code


def test_manual_assignments_must_be_dense_and_exclude_numbers(world):
    gap = [Struct(partition_index=1, broker_ids=[1])]
    wrong = ErrorCode.invalid_replica_assignment
    assert world.create("t", -1, -1, assignments=gap).error_code == wrong
    double = [Struct(partition_index=0, broker_ids=[1])] * 2
    assert world.create("t", -1, -1, assignments=double).error_code == wrong
    given = assignments([1])
    assert world.create("t", 1, -1, assignments=given).error_code == ErrorCode.invalid_request
    assert world.create("t", -1, 1, assignments=given).error_code == ErrorCode.invalid_request


def test_a_manual_assignment_needs_an_active_broker(world):
    world.do(world.controller.broker_gone(2, world.now_ms))
    row = world.create("t", -1, -1, assignments=assignments([2]))
    assert row.error_code == ErrorCode.invalid_replica_assignment


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("no.such", "1"),
        ("retention.ms", "soon"),
        ("retention.ms", "-2"),
        ("cleanup.policy", "shred"),
        ("retention.ms", None),
    ],
)
def test_wrong_settings(world, name, value):
    row = world.create("t", configs=[Struct(name=name, value=value)])
    assert row.error_code == ErrorCode.invalid_config
    assert name in row.error_message
    assert "t" not in world.image.topics


def test_replies_travel_in_every_version(world):
    body = Struct(
        topics=[
            Struct(name="t", num_partitions=1, replication_factor=1, assignments=[], configs=[])
        ],
        timeout_ms=1,
        validate_only=False,
    )
    for version in range(2, 8):
        request = decode_request(
            ApiKey.CREATE_TOPICS, version, encode_request(ApiKey.CREATE_TOPICS, version, body)
        )
        request.topics[0].name = f"t{version}"
        answer = world.do(world.controller.decide_create_topics(request, 0))
        data = encode_response(ApiKey.CREATE_TOPICS, version, answer)
        row = decode_response(ApiKey.CREATE_TOPICS, version, data).topics[0]
        assert row.error_code == ErrorCode.none
        if version >= 7:
            assert row.topic_id == world.image.topics["t7"].id


def test_deleting_by_name_and_by_id_takes_the_settings_along(world):
    world.create("a", configs=[Struct(name="retention.ms", value="1")])
    world.create("b")
    a, b = world.image.topics["a"], world.image.topics["b"]
    rows = delete(world, "a", topic_id=b.id)
    assert [(r.name, r.topic_id, r.error_code) for r in rows] == [
        ("a", a.id, ErrorCode.none),
        ("b", b.id, ErrorCode.none),
    ]
    assert world.image.topics == {}
    assert world.image.topic_names == {}
    assert world.image.configs == {}
    world.create("a")
    assert world.image.topics["a"].id != a.id


def test_deleting_what_is_not_there_or_twice(world):
    world.create("a")
    topic = world.image.topics["a"]
    codes = [r.error_code for r in delete(world, "zz")]
    assert codes == [ErrorCode.unknown_topic_or_partition]
    assert delete(world, topic_id=ZERO_UUID)[0].error_code == ErrorCode.invalid_request
    missing = delete(world, topic_id=world.incarnations[1])
    assert missing[0].error_code == ErrorCode.unknown_topic_id
    assert [r.error_code for r in delete(world, "a", "a")] == [ErrorCode.invalid_request]
    assert "a" in world.image.topics
    both = [r.error_code for r in delete(world, "a", topic_id=topic.id)]
    assert both == [ErrorCode.none, ErrorCode.invalid_request]


def test_old_versions_delete_by_a_list_of_names(world):
    world.create("a")
    data = encode_request(ApiKey.DELETE_TOPICS, 1, Struct(topic_names=["a"], timeout_ms=1))
    request = decode_request(ApiKey.DELETE_TOPICS, 1, data)
    answer = world.do(world.controller.decide_delete_topics(request, 0))
    assert [r.error_code for r in answer.responses] == [ErrorCode.none]
    assert world.image.topics == {}


def test_deletion_can_be_switched_off(make_world):
    world = make_world(topic_deletion_enabled=False)
    world.start(1)
    world.create("a")
    assert delete(world, "a")[0].error_code == ErrorCode.topic_deletion_disabled


def test_more_partitions_keep_the_old_ones(world):
    world.create("t", 2, 2)
    before = world.image.topics["t"].partitions
    assert grow(world, "t", 5).error_code == ErrorCode.none
    after = world.image.topics["t"].partitions
    assert after[:2] == before
    assert len(after) == 5
    assert all(len(s.replicas) == 2 for s in after)


def test_partitions_only_grow(world):
    world.create("t", 2, 2)
    assert grow(world, "t", 2).error_code == ErrorCode.invalid_partitions
    assert grow(world, "t", 1).error_code == ErrorCode.invalid_partitions
    assert grow(world, "zz", 3).error_code == ErrorCode.unknown_topic_or_partition
    assert grow(world, "t", 20_000).error_code == ErrorCode.policy_violation
    assert grow(world, "t", 3, validate_only=True).error_code == ErrorCode.none
    assert len(world.image.topics["t"].partitions) == 2


def test_more_partitions_by_hand(world):
    world.assigned("t", (1, 2))
    wrong = ErrorCode.invalid_replica_assignment
    assert grow(world, "t", 3, [Struct(broker_ids=[1, 2])]).error_code == wrong
    assert grow(world, "t", 2, [Struct(broker_ids=[1])]).error_code == wrong
    assert grow(world, "t", 2, [Struct(broker_ids=[3, 1])]).error_code == ErrorCode.none
    assert world.state("t", 1).replicas == (3, 1)


def test_one_row_per_topic_when_partitions_are_added(world):
    world.create("t", 1, 1)
    topics = [Struct(name="t", count=n, assignments=None) for n in (2, 3)]
    topics.append(Struct(name="u", count=2, assignments=None))
    request = Struct(topics=topics, timeout_ms=1, validate_only=False)
    rows = world.do(world.controller.decide_create_partitions(request, 0)).results
    assert {r.name: r.error_code for r in rows} == {
        "t": ErrorCode.invalid_request,
        "u": ErrorCode.unknown_topic_or_partition,
    }
