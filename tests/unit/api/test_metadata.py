"""Metadata, DescribeCluster, DescribeTopicPartitions, ApiVersions: what clients learn."""

from typing import Any

import pytest

from broker.protocol import metadata_records as rec
from broker.protocol.api_keys import ApiKey
from broker.protocol.errors import ErrorCode
from broker.protocol.image import apply
from broker.protocol.struct import ZERO_UUID, Struct
from tests.unit.api.conftest import EVENTS_ID, ORDERS_ID, Caller, partition

BY_NAME_VERSIONS = [0, 1, 4, 5, 7, 9, 10, 12, 13]


def named(*names: str) -> list[Struct]:
    return [Struct(name=name) for name in names]


@pytest.mark.parametrize("version", BY_NAME_VERSIONS)
async def test_a_topic_by_name_in_every_version(call: Caller, version: int) -> None:
    response = await call(ApiKey.METADATA, version, topics=named("orders"))
    assert [(b.node_id, b.host, b.port) for b in response.brokers] == [
        (1, "b1.plaintext", 9001),
        (2, "b2.plaintext", 9002),
    ]
    (topic,) = response.topics
    assert (topic.error_code, topic.name) == (ErrorCode.none, "orders")
    first, second, third = topic.partitions
    assert (first.leader_id, first.replica_nodes, first.isr_nodes) == (1, [1, 2, 3], [1, 2, 3])
    assert second.leader_id == 2
    # its leader is fenced
    assert (third.error_code, third.leader_id) == (ErrorCode.leader_not_available, -1)
    if version >= 5:
        assert first.offline_replicas == [3]
    if version >= 7:
        assert first.leader_epoch == 5
    if version >= 10:
        assert topic.topic_id == ORDERS_ID
    if version >= 1:
        # the active controller, which is a live broker, too
        assert response.controller_id == 2
    if version >= 2:
        assert response.cluster_id == "test-cluster"


async def test_null_means_all_topics_and_empty_means_none(call: Caller) -> None:
    everything = await call(ApiKey.METADATA, 9, topics=None)
    assert [topic.name for topic in everything.topics] == ["events", "orders"]
    assert (await call(ApiKey.METADATA, 9, topics=[])).topics == []
    assert [t.name for t in (await call(ApiKey.METADATA, 0, topics=[])).topics] == [
        "events",
        "orders",
    ]


async def test_endpoints_are_those_of_the_listener_the_client_used(call: Caller) -> None:
    response = await call(ApiKey.METADATA, 9, listener="OUTSIDE", topics=named("orders"))
    assert [(b.node_id, b.host) for b in response.brokers] == [(1, "b1.outside")]
    codes = [p.error_code for p in response.topics[0].partitions]
    assert codes[:2] == [ErrorCode.none, ErrorCode.listener_not_found]
    old = await call(ApiKey.METADATA, 5, listener="OUTSIDE", topics=named("orders"))
    assert old.topics[0].partitions[1].error_code == ErrorCode.leader_not_available


async def test_topics_by_id(call: Caller) -> None:
    unknown = Struct(topic_id=call_id(0x99), name=None)
    response = await call(
        ApiKey.METADATA, 12, topics=[Struct(topic_id=EVENTS_ID, name=None), unknown]
    )
    known, missing = response.topics
    assert (known.name, known.topic_id) == ("events", EVENTS_ID)
    assert (missing.error_code, missing.name) == (ErrorCode.unknown_topic_id, None)
    early = await call(ApiKey.METADATA, 10, topics=[Struct(topic_id=EVENTS_ID, name="events")])
    assert early.topics[0].error_code == ErrorCode.invalid_request


def call_id(number: int) -> Any:
    return type(ZERO_UUID)(int=number)


async def test_missing_topics_without_creation(call: Caller) -> None:
    response = await call(
        ApiKey.METADATA, 9, topics=named("absent", "bad name"), allow_auto_topic_creation=False
    )
    assert [t.error_code for t in response.topics] == [
        ErrorCode.unknown_topic_or_partition,
        ErrorCode.invalid_topic_exception,
    ]
    assert call.channel.asked == []


async def test_a_missing_topic_is_created_and_answered_at_once(call: Caller) -> None:
    publisher = call.node.publisher

    def create(request: Struct) -> Struct:
        (topic,) = request.topics
        assert (topic.name, topic.num_partitions, topic.replication_factor) == ("fresh", -1, -1)
        topic_id = call_id(7)
        records = [rec.TopicRecord(name="fresh", topic_id=topic_id), partition(topic_id, 0, 1, [1])]
        publisher.image, _ = apply(publisher.image, publisher.image.offset + 1, 1, records)
        return Struct(topics=[Struct(name="fresh", error_code=ErrorCode.none)])

    call.channel.answer = create
    response = await call(ApiKey.METADATA, 9, topics=named("fresh"))
    (topic,) = response.topics
    assert (topic.error_code, topic.partitions[0].leader_id) == (ErrorCode.none, 1)


async def test_a_topic_that_cannot_be_created_is_unknown(call: Caller) -> None:
    call.channel.answer = lambda request: Struct(
        topics=[
            Struct(name="one", error_code=ErrorCode.invalid_replication_factor),
            Struct(name="two", error_code=ErrorCode.request_timed_out),
        ]
    )
    response = await call(ApiKey.METADATA, 9, topics=named("one", "two"))
    assert [t.error_code for t in response.topics] == [
        ErrorCode.invalid_replication_factor,
        ErrorCode.unknown_topic_or_partition,
    ]


async def test_operations_are_listed_only_when_asked_for(call: Caller) -> None:
    silent = await call(ApiKey.METADATA, 9, topics=named("orders"))
    assert silent.topics[0].topic_authorized_operations == -2147483648
    told = await call(
        ApiKey.METADATA, 9, topics=named("orders"), include_topic_authorized_operations=True
    )
    assert told.topics[0].topic_authorized_operations > 0


async def test_describe_cluster_lists_what_its_listener_serves(call: Caller) -> None:
    live = await call(ApiKey.DESCRIBE_CLUSTER, 0)
    assert [b.broker_id for b in live.brokers] == [1, 2]
    assert live.cluster_id == "test-cluster"
    every = await call(ApiKey.DESCRIBE_CLUSTER, 2, endpoint_type=1, include_fenced_brokers=True)
    assert [(b.broker_id, b.is_fenced) for b in every.brokers] == [
        (1, False),
        (2, False),
        (3, True),
    ]
    controllers = await call(
        ApiKey.DESCRIBE_CLUSTER, 1, role="controller", listener="CONTROLLER", endpoint_type=2
    )
    assert [(b.broker_id, b.port) for b in controllers.brokers] == [(1, 9101), (2, 9102)]
    assert controllers.controller_id == 2
    wrong = await call(ApiKey.DESCRIBE_CLUSTER, 1, endpoint_type=2)
    assert wrong.error_code == ErrorCode.mismatched_endpoint_type
    odd = await call(ApiKey.DESCRIBE_CLUSTER, 1, endpoint_type=9)
    assert odd.error_code == ErrorCode.unsupported_endpoint_type


async def test_topic_partitions_come_page_by_page(call: Caller) -> None:
    cursor = None
    seen = []
    for _ in range(10):
        page = await call(
            ApiKey.DESCRIBE_TOPIC_PARTITIONS,
            0,
            topics=[],
            response_partition_limit=2,
            cursor=cursor,
        )
        partitions = [(t.name, p.partition_index) for t in page.topics for p in t.partitions]
        assert 0 < len(partitions) <= 2
        seen += partitions
        cursor = page.next_cursor
        if cursor is None:
            break
    assert seen == [("events", 0), ("orders", 0), ("orders", 1), ("orders", 2)]


async def test_topic_partitions_of_unknown_and_invalid_names(call: Caller) -> None:
    page = await call(
        ApiKey.DESCRIBE_TOPIC_PARTITIONS, 0, topics=named("absent", "bad name", "orders")
    )
    assert [(t.name, t.error_code) for t in page.topics] == [
        ("absent", ErrorCode.unknown_topic_or_partition),
        ("bad name", ErrorCode.invalid_topic_exception),
        ("orders", ErrorCode.none),
    ]
    refused = await call(
        ApiKey.DESCRIBE_TOPIC_PARTITIONS,
        0,
        topics=named("orders"),
        cursor=Struct(topic_name="orders", partition_index=-2),
    )
    assert refused.topics[0].error_code == ErrorCode.invalid_request


async def test_api_versions_tells_the_finalized_level(call: Caller) -> None:
    response = await call(
        ApiKey.API_VERSIONS, 3, client_software_name="librdkafka", client_software_version="2.3.0"
    )
    assert response.error_code == ErrorCode.none
    assert {k.api_key: (k.min_version, k.max_version) for k in response.api_keys}[0] == (0, 13)
    (feature,) = response.finalized_features
    assert (feature.name, feature.max_version_level) == ("metadata.version", 25)
    assert response.finalized_features_epoch == call.node.image.offset
    assert [f.name for f in response.supported_features] == ["metadata.version"]
    strange = await call(
        ApiKey.API_VERSIONS, 3, client_software_name="-?", client_software_version="1"
    )
    assert strange.error_code == ErrorCode.invalid_request
    assert (await call(ApiKey.API_VERSIONS, 0)).error_code == ErrorCode.none


async def test_a_broker_that_just_died_is_listed_but_leads_nothing(call: Caller) -> None:
    publisher = call.node.publisher
    publisher.subscribe(call.node.note_brokers)
    image, delta = apply(
        publisher.image,
        publisher.image.offset + 1,
        1,
        [rec.FenceBrokerRecord(id=2, epoch=2)],
    )
    publisher._publish(image, delta)
    response = await call(ApiKey.METADATA, 9, topics=named("orders"))
    # Broker 3 was never alive here.
    assert [b.node_id for b in response.brokers] == [1, 2]
    assert response.controller_id == 1
    assert [p.leader_id for p in response.topics[0].partitions] == [1, -1, -1]
    assert [b.broker_id for b in (await call(ApiKey.DESCRIBE_CLUSTER, 0)).brokers] == [1]
    call.node.died_at_ms[2] -= 60_000
    later = await call(ApiKey.METADATA, 9, topics=named("orders"))
    assert [b.node_id for b in later.brokers] == [1]
