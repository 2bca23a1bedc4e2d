"""Every reply of the controller, granted or refused, is one its API can carry."""

import pytest

from broker.metadata.replies import refusal
from broker.protocol.api_keys import ApiKey
from broker.protocol.codec import decode_response, encode_response
from broker.protocol.errors import ErrorCode
from broker.protocol.struct import ZERO_UUID, Struct

VERSIONS = {
    ApiKey.BROKER_REGISTRATION: (0, 4),
    ApiKey.BROKER_HEARTBEAT: (0, 1),
    ApiKey.UNREGISTER_BROKER: (0, 0),
    ApiKey.CREATE_TOPICS: (2, 7),
    ApiKey.DELETE_TOPICS: (1, 6),
    ApiKey.CREATE_PARTITIONS: (0, 3),
    ApiKey.ALTER_PARTITION: (2, 3),
    ApiKey.ELECT_LEADERS: (0, 2),
    ApiKey.INCREMENTAL_ALTER_CONFIGS: (0, 1),
    ApiKey.ALTER_CONFIGS: (0, 2),
    ApiKey.ALLOCATE_PRODUCER_IDS: (0, 0),
}
RESOURCES = [Struct(resource_type=2, resource_name="t", configs=[])]
ASKED = {
    ApiKey.CREATE_TOPICS: Struct(topics=[Struct(name="t")]),
    ApiKey.DELETE_TOPICS: Struct(topics=[Struct(name="t", topic_id=ZERO_UUID)], topic_names=[]),
    ApiKey.CREATE_PARTITIONS: Struct(topics=[Struct(name="t")]),
    ApiKey.ELECT_LEADERS: Struct(topic_partitions=[Struct(topic="t", partitions=[0, 1])]),
    ApiKey.INCREMENTAL_ALTER_CONFIGS: Struct(resources=RESOURCES),
    ApiKey.ALTER_CONFIGS: Struct(resources=RESOURCES),
}


def travels(api_key, reply):
    for version in range(VERSIONS[api_key][0], VERSIONS[api_key][1] + 1):
        decode_response(api_key, version, encode_response(api_key, version, reply))


@pytest.mark.parametrize("api_key", list(VERSIONS))
def test_refusals(api_key):
    asked = ASKED.get(api_key, Struct())
    travels(api_key, refusal(api_key, asked, ErrorCode.not_controller, "elsewhere"))


def test_answers(world):
    controller = world.controller
    world.assigned("t", (1, 2, 3))
    topic = world.image.topics["t"]
    travels(ApiKey.BROKER_REGISTRATION, world.register(4))
    travels(ApiKey.BROKER_HEARTBEAT, world.beat(4))
    answer = world.do(controller.decide_unregister_broker(Struct(broker_id=4), 0))
    travels(ApiKey.UNREGISTER_BROKER, answer)
    part = Struct(
        partition_index=0,
        leader_epoch=0,
        partition_epoch=0,
        new_isr_with_epochs=[Struct(broker_id=1, broker_epoch=-1)],
    )
    wrong = part.replace(partition_index=9)
    wanted = Struct(
        broker_id=1,
        broker_epoch=world.epochs[1],
        topics=[Struct(topic_id=topic.id, partitions=[part, wrong])],
    )
    travels(ApiKey.ALTER_PARTITION, world.do(controller.decide_alter_partition(wanted, 0)))
    wanted = Struct(
        topics=[Struct(name=n, count=2, assignments=None) for n in ("t", "zz")],
        validate_only=False,
    )
    travels(ApiKey.CREATE_PARTITIONS, world.do(controller.decide_create_partitions(wanted, 0)))
    wanted = Struct(election_type=0, topic_partitions=[Struct(topic="t", partitions=[0, 9])])
    travels(ApiKey.ELECT_LEADERS, world.do(controller.decide_elect_leaders(wanted, 0)))
    wanted = Struct(resources=[*RESOURCES, Struct(resource_type=9, resource_name="", configs=[])])
    wanted.validate_only = False
    decide = controller.decide_incremental_alter_configs
    travels(ApiKey.INCREMENTAL_ALTER_CONFIGS, world.do(decide(wanted, 0)))
    travels(ApiKey.ALTER_CONFIGS, world.do(controller.decide_alter_configs(wanted, 0)))
    wanted = Struct(broker_id=1, broker_epoch=world.epochs[1])
    answer = world.do(controller.decide_allocate_producer_ids(wanted, 0))
    travels(ApiKey.ALLOCATE_PRODUCER_IDS, answer)
    names = [Struct(name=n, topic_id=ZERO_UUID) for n in ("t", "zz")]
    answer = world.do(controller.decide_delete_topics(Struct(topics=names), 0))
    travels(ApiKey.DELETE_TOPICS, answer)
    travels(ApiKey.CREATE_TOPICS, Struct(throttle_time_ms=0, topics=[world.create("t2", 2, 2)]))
