"""Unmodified clients against three broker processes: create, produce, consume, byte for byte."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.interop, pytest.mark.timeout(180)]

START_SECONDS = 20
# Bytes that are no text, as an image would be.
IMAGE = bytes(range(256)) * 64


class Processes:
    """Three brokers as processes; only what was started here is ever signalled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        sockets = [socket.socket() for _ in range(6)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        ports = [each.getsockname()[1] for each in sockets]
        for each in sockets:
            each.close()
        self.client_ports, controller_ports = ports[:3], ports[3:]
        voters = ",".join(f"{i + 1}@127.0.0.1:{port}" for i, port in enumerate(controller_ports))
        self.running: dict[int, subprocess.Popen[bytes]] = {}
        for index in range(3):
            client, controller = ports[index], controller_ports[index]
            listeners = f"PLAINTEXT://127.0.0.1:{client},CONTROLLER://127.0.0.1:{controller}"
            lines = [
                f"node.id={index + 1}",
                "process.roles=broker,controller",
                f"listeners={listeners}",
                "controller.listener.names=CONTROLLER",
                f"controller.quorum.voters={voters}",
                f"log.dirs={folder}/{index + 1}",
                "cluster.id=4L6g3nShT-eMCtK--X86sw",
                "default.replication.factor=3",
                "num.partitions=4",
                "min.insync.replicas=2",
            ]
            (folder / f"{index + 1}.properties").write_text("\n".join(lines) + "\n")
        self.bootstrap = ",".join(f"127.0.0.1:{port}" for port in self.client_ports)

    def log(self, node_id: int) -> str:
        return (self.folder / f"{node_id}.log").read_text()

    def start(self, node_id: int) -> None:
        with (self.folder / f"{node_id}.log").open("ab") as log:
            self.running[node_id] = subprocess.Popen(
                [sys.executable, "-m", "broker", "--config", f"{self.folder}/{node_id}.properties"],
                stderr=log,
                cwd=Path(__file__).parents[2],
            )

    def wait_unfenced(self, node_id: int) -> None:
        limit = time.monotonic() + START_SECONDS
        while '"unfenced"' not in self.log(node_id):
            assert self.running[node_id].poll() is None, self.log(node_id)
            assert time.monotonic() < limit, self.log(node_id)
            time.sleep(0.02)

    def stop(self) -> dict[int, int]:
        for process in self.running.values():
            process.send_signal(signal.SIGTERM)
        codes = {}
        for node_id, process in self.running.items():
            try:
                codes[node_id] = process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                codes[node_id] = process.wait()
        self.running.clear()
        return codes


@pytest.fixture(scope="module")
def brokers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    processes = Processes(tmp_path_factory.mktemp("brokers"))
    for node_id in (1, 2, 3):
        processes.start(node_id)
    try:
        for node_id in (1, 2, 3):
            processes.wait_unfenced(node_id)
        yield processes
        for node_id in (1, 2, 3):
            assert '"level": "error"' not in processes.log(node_id), processes.log(node_id)
            assert '"level": "critical"' not in processes.log(node_id), processes.log(node_id)
    finally:
        codes = processes.stop()
    assert codes == {1: 0, 2: 0, 3: 0}


def values_for(name: str, count: int = 200) -> list[bytes]:
    return [b"%s-%d-" % (name.encode(), n) + os.urandom(40) for n in range(count)] + [IMAGE]


# librdkafka, by confluent-kafka


def confluent_consume(bootstrap: str, topic: str, partition: int, count: int) -> list[Any]:
    from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

    consumer = Consumer(
        {"bootstrap.servers": bootstrap, "group.id": "unused", "enable.auto.commit": False}
    )
    consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING)])
    found: list[Any] = []
    limit = time.monotonic() + 20
    while len(found) < count and time.monotonic() < limit:
        message = consumer.poll(0.2)
        if message is not None:
            assert message.error() is None, message.error()
            found.append(message)
    consumer.close()
    return found


@pytest.mark.parametrize("compression", ["none", "gzip", "snappy", "lz4", "zstd"])
@pytest.mark.parametrize("idempotent", [False, True])
def test_confluent_kafka(brokers: Processes, compression: str, idempotent: bool) -> None:
    from confluent_kafka import Producer
    from confluent_kafka.admin import AdminClient, NewTopic

    topic = f"confluent-{compression}-{idempotent}"
    admin = AdminClient({"bootstrap.servers": brokers.bootstrap})
    for future in admin.create_topics([NewTopic(topic, 2, 3)], request_timeout=10).values():
        future.result(10)
    producer = Producer(
        {
            "bootstrap.servers": brokers.bootstrap,
            "acks": "all",
            "compression.type": compression,
            "enable.idempotence": idempotent,
            "linger.ms": 5,
        }
    )
    failures: list[Any] = []

    def delivered(error: Any, message: Any) -> None:
        if error is not None:
            failures.append(error)

    values = values_for(topic)
    for number, value in enumerate(values):
        producer.produce(
            topic,
            value,
            key=b"k%d" % number,
            partition=1,
            headers=[("n", b"%d" % number), ("null", None)],
            on_delivery=delivered,
        )
    assert producer.flush(20) == 0
    assert failures == []
    # Any broker is a way in.
    for port in brokers.client_ports[:2]:
        found = confluent_consume(f"127.0.0.1:{port}", topic, 1, len(values))
        assert [message.value() for message in found] == values
        assert [message.offset() for message in found] == list(range(len(values)))
        assert found[3].key() == b"k3"
        assert found[3].headers() == [("n", b"3"), ("null", None)]


@pytest.mark.parametrize("acks", ["0", "1", "all"])
def test_confluent_kafka_acks(brokers: Processes, acks: str) -> None:
    from confluent_kafka import Producer

    topic = f"confluent-acks-{acks}"
    producer = Producer({"bootstrap.servers": brokers.bootstrap, "acks": acks})
    # The topic is made by asking for it. Without acknowledgement nothing tells that its leader does
    # not know of it yet, so the first record waits for one.
    opener = Producer({"bootstrap.servers": brokers.bootstrap, "acks": "all"})
    opener.produce(topic, b"first", partition=0)
    assert opener.flush(20) == 0
    for number in range(50):
        producer.produce(topic, b"%d" % number, partition=0)
    assert producer.flush(20) == 0
    found = confluent_consume(brokers.bootstrap, topic, 0, 51)
    assert [message.value() for message in found] == [
        b"first",
        *(b"%d" % number for number in range(50)),
    ]


def test_confluent_kafka_admin_reads(brokers: Processes) -> None:
    from confluent_kafka import TopicPartition
    from confluent_kafka.admin import (
        AdminClient,
        AlterConfigOpType,
        ConfigEntry,
        ConfigResource,
        NewPartitions,
        NewTopic,
        OffsetSpec,
    )

    admin = AdminClient({"bootstrap.servers": brokers.bootstrap})
    admin.create_topics([NewTopic("admin", 1, 3)])["admin"].result(10)
    cluster = admin.describe_cluster(request_timeout=10).result(10)
    assert cluster.cluster_id == "4L6g3nShT-eMCtK--X86sw"
    assert sorted(node.id for node in cluster.nodes) == [1, 2, 3]
    resource = ConfigResource(
        ConfigResource.Type.TOPIC,
        "admin",
        incremental_configs=[
            ConfigEntry("retention.ms", "1234567", incremental_operation=AlterConfigOpType.SET)
        ],
    )
    for future in admin.incremental_alter_configs([resource]).values():
        future.result(10)

    def retention() -> str:
        (described,) = admin.describe_configs(
            [ConfigResource(ConfigResource.Type.TOPIC, "admin")]
        ).values()
        return str(described.result(10)["retention.ms"].value)

    limit = time.monotonic() + 10
    while retention() != "1234567":
        assert time.monotonic() < limit
        time.sleep(0.05)
    admin.create_partitions([NewPartitions("admin", 3)])["admin"].result(10)
    while len(admin.list_topics("admin", timeout=10).topics["admin"].partitions) != 3:
        assert time.monotonic() < limit
        time.sleep(0.05)
    offsets = admin.list_offsets({TopicPartition("admin", 0): OffsetSpec.latest()})
    for offset in offsets.values():
        assert offset.result(10).offset == 0
    admin.delete_topics(["admin"])["admin"].result(10)
    # The first client asks for its topic again, and asking creates.
    fresh = AdminClient({"bootstrap.servers": brokers.bootstrap})
    while "admin" in fresh.list_topics(timeout=10).topics:
        assert time.monotonic() < limit
        time.sleep(0.05)


# aiokafka


@pytest.mark.parametrize(
    ("compression", "idempotent"),
    [(None, True), ("gzip", False), ("snappy", False), ("lz4", True), ("zstd", False)],
)
async def test_aiokafka(brokers: Processes, compression: str | None, idempotent: bool) -> None:
    from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
    from aiokafka.admin import AIOKafkaAdminClient, NewTopic

    topic = f"aiokafka-{compression}"
    admin = AIOKafkaAdminClient(bootstrap_servers=brokers.bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, 2, 3)])
    finally:
        await admin.close()
    values = values_for(topic)
    producer = AIOKafkaProducer(
        bootstrap_servers=brokers.bootstrap,
        acks="all",
        compression_type=compression,
        enable_idempotence=idempotent,
    )
    await producer.start()
    try:
        pending = [
            await producer.send(topic, value, key=b"k", partition=0, headers=[("h", b"\x00")])
            for value in values
        ]
        sent = await asyncio.gather(*pending)
    finally:
        await producer.stop()
    assert [each.offset for each in sent] == list(range(len(values)))
    consumer = AIOKafkaConsumer(bootstrap_servers=brokers.bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        consumer.assign([TopicPartition(topic, 0)])
        found: list[Any] = []
        async with asyncio.timeout(20):
            while len(found) < len(values):
                for records in (await consumer.getmany(timeout_ms=500)).values():
                    found += records
    finally:
        await consumer.stop()
    assert [record.value for record in found] == values
    assert found[0].headers == (("h", b"\x00"),)


# kafka-python


# Its other compressions need packages that only it would use; aiokafka covers them.
@pytest.mark.parametrize("compression", [None, "gzip"])
def test_kafka_python(brokers: Processes, compression: str | None) -> None:
    from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
    from kafka.admin import NewTopic

    topic = f"kafka-python-{compression}"
    admin = KafkaAdminClient(bootstrap_servers=brokers.bootstrap)
    admin.create_topics([NewTopic(topic, num_partitions=2, replication_factor=3)])
    admin.close()
    values = values_for(topic, 100)
    producer = KafkaProducer(
        bootstrap_servers=brokers.bootstrap, acks="all", compression_type=compression
    )
    futures = [
        producer.send(topic, value, key=b"k", partition=1, headers=[("h", b"\xff")])
        for value in values
    ]
    assert [future.get(20).offset for future in futures] == list(range(len(values)))
    producer.close()
    consumer = KafkaConsumer(
        bootstrap_servers=brokers.bootstrap,
        auto_offset_reset="earliest",
        consumer_timeout_ms=10_000,
    )
    consumer.assign([TopicPartition(topic, 1)])
    found = []
    for record in consumer:
        found.append(record)
        if len(found) == len(values):
            break
    consumer.close()
    assert [record.value for record in found] == values
    assert [tuple(header) for header in found[0].headers] == [("h", b"\xff")]
