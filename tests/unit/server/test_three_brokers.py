"""Three whole brokers: replication, leader moves, requests through any broker, separate roles."""

import asyncio
from collections.abc import Callable
from uuid import UUID

import pytest

from broker.protocol.api_keys import METADATA_TOPIC, ApiKey
from broker.protocol.batch import decode_records, iter_batches
from broker.protocol.errors import ErrorCode
from broker.protocol.struct import Struct
from broker.server import Broker
from clusters.free_ports import free_ports
from tests.unit.server.conftest import Cluster, until

MakeCluster = Callable[..., Cluster]


@pytest.fixture
async def three(make_cluster: MakeCluster) -> Cluster:
    cluster = make_cluster(3)
    await cluster.start()
    return cluster


def values_of(answer: Struct) -> list[bytes | None]:
    found: list[bytes | None] = []
    for position, _ in iter_batches(answer.records):
        found += [record.value for record in decode_records(answer.records, position)]
    return found


def isr(cluster: Cluster, broker: int, topic: str = "orders", index: int = 0) -> set[int]:
    state = cluster.brokers[broker].publisher.image.partition(topic, index)
    return set() if state is None else set(state.isr)


def log_bytes(broker: Broker, topic: str, index: int) -> bytes:
    log = broker.logs.get(topic, index)
    assert log is not None
    if log.end_offset == log.start_offset:
        return b""
    return bytes(log.read(log.start_offset, 1 << 24, upto_offset=log.end_offset))


async def produce_all(cluster: Cluster, topic_id: UUID, values: list[bytes], via: int) -> None:
    """Produce in order, following the leader as metadata names it, until all are acknowledged."""
    for value in values:
        async with asyncio.timeout(60):
            while True:
                leader = cluster.leader("orders", 0, via)
                if leader in cluster.brokers:
                    answer = await cluster.produce(leader, topic_id, 0, value)
                    if answer.error_code == ErrorCode.none:
                        break
                await asyncio.sleep(0.02)


async def test_every_broker_names_the_same_leaders_and_serves_admin_requests(
    three: Cluster,
) -> None:
    for broker in (1, 2, 3):
        await three.connect(broker)
        response = await three.ask(
            ApiKey.CREATE_TOPICS,
            broker,
            topics=[
                Struct(
                    name=f"topic-{broker}",
                    num_partitions=3,
                    replication_factor=3,
                    assignments=[],
                    configs=[],
                )
            ],
            timeout_ms=5000,
        )
        assert response.topics[0].error_code == ErrorCode.none
        # The broker that was asked knows its own topic at once.
        own = await three.ask(ApiKey.METADATA, broker, topics=[Struct(name=f"topic-{broker}")])
        assert own.topics[0].error_code == ErrorCode.none
    await until(lambda: all(len(b.publisher.image.topics) == 3 for b in three.brokers.values()))
    answers = [await three.ask(ApiKey.METADATA, broker, topics=None) for broker in (1, 2, 3)]
    leaders = [
        [(t.name, p.partition_index, p.leader_id) for t in a.topics for p in t.partitions]
        for a in answers
    ]
    assert leaders[0] == leaders[1] == leaders[2]
    assert {leader for _, _, leader in leaders[0]} == {1, 2, 3}
    assert [b.node_id for b in answers[0].brokers] == [1, 2, 3]
    quorums = [
        await three.ask(
            ApiKey.DESCRIBE_QUORUM,
            broker,
            topics=[Struct(topic_name=METADATA_TOPIC, partitions=[Struct(partition_index=0)])],
        )
        for broker in (1, 2, 3)
    ]
    assert len({q.topics[0].partitions[0].leader_id for q in quorums}) == 1
    assert [v.replica_id for v in quorums[0].topics[0].partitions[0].current_voters] == [1, 2, 3]


async def test_acknowledged_records_are_on_all_replicas_byte_for_byte(three: Cluster) -> None:
    topic_id = await three.create("orders", 1, 3)
    await produce_all(three, topic_id, [b"%d" % n for n in range(20)], 1)
    first = log_bytes(three.brokers[1], "orders", 0)
    assert first
    await until(lambda: log_bytes(three.brokers[2], "orders", 0) == first)
    await until(lambda: log_bytes(three.brokers[3], "orders", 0) == first)
    follower = next(b for b in (1, 2, 3) if b != three.leader("orders", 0))
    refused = await three.produce(follower, topic_id, 0, b"x")
    assert refused.error_code == ErrorCode.not_leader_or_follower
    assert refused.current_leader.leader_id == three.leader("orders", 0)


async def test_a_leader_that_stops_is_replaced_and_joins_again(three: Cluster) -> None:
    topic_id = await three.create("orders", 1, 3)
    old = three.leader("orders", 0)
    other = next(b for b in (1, 2, 3) if b != old)
    await produce_all(three, topic_id, [b"before"], other)
    await three.stop(old)
    await until(lambda: three.leader("orders", 0, other) not in (old, -1))
    await produce_all(three, topic_id, [b"during"], other)
    assert old not in isr(three, other)
    await three.start(old)
    await until(lambda: isr(three, other) == {1, 2, 3})
    await produce_all(three, topic_id, [b"after"], other)
    leader = three.leader("orders", 0, other)
    answer = await three.fetch(leader, topic_id, 0, 0)
    assert values_of(answer) == [b"before", b"during", b"after"]
    await until(
        lambda: (
            log_bytes(three.brokers[old], "orders", 0)
            == log_bytes(three.brokers[leader], "orders", 0)
        )
    )


async def test_every_broker_restarted_in_turn_loses_nothing(three: Cluster) -> None:
    topic_id = await three.create("orders", 1, 3, min_insync_replicas="2")
    written: list[bytes] = []
    for round_number, broker in enumerate((1, 2, 3)):
        other = broker % 3 + 1
        values = [b"%d-%d" % (round_number, n) for n in range(5)]
        await three.stop(broker)
        await produce_all(three, topic_id, values, other)
        written += values
        await three.start(broker)
        await until(lambda other=other: isr(three, other) == {1, 2, 3})
    leader = three.leader("orders", 0)
    await until(lambda: three.leader("orders", 0) in three.brokers)
    assert values_of(await three.fetch(leader, topic_id, 0, 0)) == written


async def test_too_few_in_sync_replicas_refuse_acks_all(three: Cluster) -> None:
    topic_id = await three.create("orders", 1, 3, min_insync_replicas="3")
    leader = three.leader("orders", 0)
    follower = next(b for b in (1, 2, 3) if b != leader)
    await three.stop(follower)
    await until(lambda: follower not in isr(three, leader))
    refused = await three.produce(leader, topic_id, 0, b"x")
    assert refused.error_code == ErrorCode.not_enough_replicas
    assert refused.log_start_offset == 0, "as Apache Kafka tells it"
    accepted = await three.produce(leader, topic_id, 0, b"y", acks=1)
    assert accepted.error_code == ErrorCode.none


async def test_separate_roles_work_together(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(1)
    (client_port,) = free_ports(1)
    controller = cluster.make(
        1,
        process__roles="controller",
        listeners=f"CONTROLLER://127.0.0.1:{cluster.controller_ports[1]}",
    )
    cluster.client_ports = {1: 0, 2: client_port}
    worker = cluster.make(
        2, process__roles="broker", listeners=f"PLAINTEXT://127.0.0.1:{client_port}"
    )
    cluster.brokers[2] = worker
    try:
        await controller.start()
        async with asyncio.timeout(60):
            await worker.start()
            await worker.wait_unfenced()
        response = await cluster.ask(ApiKey.METADATA, 2, topics=[Struct(name="orders")])
        (topic,) = response.topics
        assert topic.error_code == ErrorCode.none
        answer = await cluster.produce(2, topic.topic_id, 0, b"x")
        assert answer.error_code == ErrorCode.none
        quorum = await cluster.ask(
            ApiKey.DESCRIBE_QUORUM,
            2,
            topics=[Struct(topic_name=METADATA_TOPIC, partitions=[Struct(partition_index=0)])],
        )
        (partition,) = quorum.topics[0].partitions
        assert partition.leader_id == 1
        assert [o.replica_id for o in partition.observers] == [2]
    finally:
        await cluster.stop(2)
        await controller.stop()


async def test_the_first_answer_of_a_new_cluster_names_brokers(make_cluster: MakeCluster) -> None:
    """librdkafka stops asking after an answer without brokers, so there is none."""
    cluster = make_cluster(3)
    for node_id in cluster.client_ports:
        cluster.brokers[node_id] = cluster.make(node_id)
    starting = asyncio.gather(*(broker.start() for broker in cluster.brokers.values()))
    await asyncio.wait_for(starting, 60)
    answers = await asyncio.gather(
        *(cluster.ask(ApiKey.METADATA, node_id, topics=[]) for node_id in cluster.client_ports)
    )
    for node_id, answer in zip(cluster.client_ports, answers, strict=True):
        assert node_id in [broker.node_id for broker in answer.brokers]
        assert answer.controller_id >= 1
