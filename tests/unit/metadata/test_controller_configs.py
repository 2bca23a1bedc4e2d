"""IncrementalAlterConfigs and AlterConfigs: operations, refusals, what is stored."""

import pytest

from broker.protocol.errors import ErrorCode
from broker.protocol.struct import Struct

SET, DELETE, APPEND, SUBTRACT = range(4)
TOPIC, BROKER = 2, 4


def alter(world, *operations, kind=TOPIC, name="t", validate_only=False):
    configs = [Struct(name=n, config_operation=op, value=v) for n, op, v in operations]
    resource = Struct(resource_type=kind, resource_name=name, configs=configs)
    request = Struct(resources=[resource], validate_only=validate_only)
    decide = world.controller.decide_incremental_alter_configs
    return world.do(decide(request, world.now_ms)).responses[0]


def legacy(world, values, kind=TOPIC, name="t", validate_only=False):
    configs = [Struct(name=n, value=v) for n, v in values.items()]
    resource = Struct(resource_type=kind, resource_name=name, configs=configs)
    request = Struct(resources=[resource], validate_only=validate_only)
    return world.do(world.controller.decide_alter_configs(request, world.now_ms)).responses[0]


@pytest.fixture
def topic(world):
    world.create("t")
    return world


def stored(world, kind=TOPIC, name="t"):
    return dict(world.image.config(kind, name))


def test_set_and_delete(topic):
    row = alter(topic, ("retention.ms", SET, "1000"), ("segment.ms", SET, "5"))
    assert (row.error_code, row.resource_name) == (ErrorCode.none, "t")
    assert stored(topic) == {"retention.ms": "1000", "segment.ms": "5"}
    alter(topic, ("retention.ms", DELETE, None))
    assert stored(topic) == {"segment.ms": "5"}


def test_setting_the_same_again_writes_nothing(topic):
    alter(topic, ("retention.ms", SET, "1000"))
    offset = topic.next_offset
    assert alter(topic, ("retention.ms", SET, "1000")).error_code == ErrorCode.none
    assert topic.next_offset == offset


def test_append_and_subtract_work_on_lists_from_the_default(topic):
    alter(topic, ("cleanup.policy", APPEND, "compact"))
    assert stored(topic) == {"cleanup.policy": "delete,compact"}
    alter(topic, ("cleanup.policy", APPEND, "compact"))
    assert stored(topic) == {"cleanup.policy": "delete,compact"}
    alter(topic, ("cleanup.policy", SUBTRACT, "delete"))
    assert stored(topic) == {"cleanup.policy": "compact"}
    # Neither: the records are kept for ever.
    assert alter(topic, ("cleanup.policy", SUBTRACT, "compact")).error_code == ErrorCode.none
    assert stored(topic) == {"cleanup.policy": ""}


def test_append_to_a_number_is_refused(topic):
    assert alter(topic, ("retention.ms", APPEND, "1")).error_code == ErrorCode.invalid_config


@pytest.mark.parametrize(
    ("operations", "code"),
    [
        ([("retention.mss", SET, "1")], ErrorCode.invalid_config),
        ([("retention.ms", SET, "x")], ErrorCode.invalid_config),
        ([("retention.ms", SET, None)], ErrorCode.invalid_request),
        ([("retention.ms", 9, "1")], ErrorCode.invalid_request),
        ([("retention.ms", SET, "1"), ("retention.ms", SET, "2")], ErrorCode.invalid_request),
        ([("segment.ms", SET, "1"), ("retention.ms", SET, "x")], ErrorCode.invalid_config),
        (
            [("min.compaction.lag.ms", SET, "9"), ("max.compaction.lag.ms", SET, "5")],
            ErrorCode.invalid_config,
        ),
    ],
)
def test_refused_changes_leave_everything_as_it_was(topic, operations, code):
    row = alter(topic, *operations)
    assert row.error_code == code
    assert row.error_message
    assert stored(topic) == {}


def test_an_unknown_name_is_answered_with_the_nearest(topic):
    assert "retention.ms" in alter(topic, ("retention.mss", SET, "1")).error_message


def test_validate_only_writes_nothing(topic):
    assert alter(topic, ("retention.ms", SET, "1"), validate_only=True).error_code == 0
    assert legacy(topic, {"retention.ms": "1"}, validate_only=True).error_code == 0
    assert stored(topic) == {}


def test_resources_that_are_not_there(topic):
    change = ("retention.ms", SET, "1")
    unknown = ErrorCode.unknown_topic_or_partition
    assert alter(topic, change, name="zz").error_code == unknown
    assert alter(topic, change, kind=8).error_code == ErrorCode.invalid_request
    broker = ("message.max.bytes", SET, "1")
    assert alter(topic, broker, kind=BROKER, name="one").error_code == ErrorCode.invalid_request
    missing = ErrorCode.broker_id_not_registered
    assert alter(topic, broker, kind=BROKER, name="9").error_code == missing


def test_broker_settings_for_one_and_for_all(topic):
    change = ("log.retention.ms", SET, "7")
    assert alter(topic, change, kind=BROKER, name="").error_code == ErrorCode.none
    assert alter(topic, change, kind=BROKER, name="2").error_code == ErrorCode.none
    assert stored(topic, BROKER, "") == {"log.retention.ms": "7"}
    assert stored(topic, BROKER, "2") == {"log.retention.ms": "7"}


def test_broker_settings_that_need_a_restart_are_refused(topic):
    row = alter(topic, ("node.id", SET, "3"), kind=BROKER, name="")
    assert row.error_code == ErrorCode.invalid_request
    assert row.error_message == "Cannot update these configs dynamically: [node.id]"


def test_allowing_unclean_elections_elects_at_once(world):
    world.assigned("t", (1, 2))
    world.alter("t", [1])
    world.do(world.controller.broker_gone(1, world.now_ms))
    assert world.state("t").leader == -1
    alter(world, ("unclean.leader.election.enable", SET, "true"), kind=BROKER, name="")
    world.pass_ms(1)
    assert world.state("t").leader == 2


def test_the_legacy_call_replaces_everything(topic):
    alter(topic, ("retention.ms", SET, "1000"), ("segment.ms", SET, "5"))
    assert legacy(topic, {"segment.ms": "6", "flush.ms": "9"}).error_code == ErrorCode.none
    assert stored(topic) == {"segment.ms": "6", "flush.ms": "9"}
    assert legacy(topic, {"segment.ms": "x"}).error_code == ErrorCode.invalid_config
    assert legacy(topic, {"zz": "1"}).error_code == ErrorCode.invalid_config
    assert stored(topic) == {"segment.ms": "6", "flush.ms": "9"}
    legacy(topic, {})
    assert stored(topic) == {}


def test_a_resource_named_twice_is_refused(topic):
    resource = Struct(resource_type=TOPIC, resource_name="t", configs=[])
    request = Struct(resources=[resource, resource], validate_only=False)
    decide = topic.controller.decide_incremental_alter_configs
    rows = topic.do(decide(request, 0)).responses
    assert [r.error_code for r in rows] == [ErrorCode.invalid_request]
