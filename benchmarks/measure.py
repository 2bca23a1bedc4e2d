"""What is measured, with librdkafka as the client on every side."""

import os
import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from benchmarks.peers import Cluster

QUIET = {"log_level": 0}
IDLE_END_S = 1.0


def quiet(_: object) -> None:
    """Errors while brokers come and go are expected; what matters is what is delivered."""


def create_topic(cluster: Cluster, name: str, partitions: int, replicas: int) -> None:
    """Create a topic and wait until it can be written."""
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap, "error_cb": quiet, **QUIET})
    deadline = time.monotonic() + 60
    while True:
        topic = NewTopic(name, num_partitions=partitions, replication_factor=replicas)
        try:
            admin.create_topics([topic], operation_timeout=10)[name].result(20)
            return
        except (KafkaException, TimeoutError) as error:
            if isinstance(error, KafkaException) and (
                error.args[0].name() == "TOPIC_ALREADY_EXISTS"
            ):
                return
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def first_record(cluster: Cluster) -> float:
    """Seconds from the start of the processes to the first record acknowledged by all replicas."""
    create_topic(cluster, "first", 1, min(3, cluster.brokers))
    producer = Producer(
        {"bootstrap.servers": cluster.bootstrap, "acks": "all", "error_cb": quiet, **QUIET}
    )
    done = threading.Event()
    producer.produce(
        "first", b"hello", on_delivery=lambda error, _: done.set() if error is None else None
    )
    producer.flush(60)
    if not done.is_set():
        raise RuntimeError("the first record was not acknowledged within 60 s")
    return time.monotonic() - cluster.started_at


@dataclass(frozen=True)
class Idle:
    """One broker at rest."""

    rss_mib: float
    cpu_percent: float


def idle(cluster: Cluster, seconds: float) -> Idle:
    """Memory and processor share of a broker of a cluster that no one uses, the mean over brokers."""
    time.sleep(3)
    processes = [psutil.Process(p.pid) for p in cluster.processes.values()]
    before = [sum(p.cpu_times()[:2]) for p in processes]
    started = time.monotonic()
    time.sleep(seconds)
    took = time.monotonic() - started
    used = [sum(p.cpu_times()[:2]) - b for p, b in zip(processes, before, strict=True)]
    return Idle(
        rss_mib=statistics.mean(p.memory_info().rss for p in processes) / 2**20,
        cpu_percent=100 * statistics.mean(used) / took,
    )


def produce(cluster: Cluster, topic: str, size: int, seconds: float, acks: str = "all") -> float:
    """MB/s of acknowledged values of `size` bytes."""
    producer = Producer(
        {
            "bootstrap.servers": cluster.bootstrap,
            "acks": acks,
            "linger.ms": 5,
            "batch.size": 1_000_000,
            "queue.buffering.max.messages": 200_000,
            "queue.buffering.max.kbytes": 256_000,
            "error_cb": quiet,
            **QUIET,
        }
    )
    delivered = failed = 0

    def on_delivery(error: object, _: object) -> None:
        nonlocal delivered, failed
        if error is None:
            delivered += 1
        else:
            failed += 1

    value = os.urandom(size)
    started = time.monotonic()
    end = started + seconds
    while time.monotonic() < end:
        for _ in range(200):
            try:
                producer.produce(topic, value, on_delivery=on_delivery)
            except BufferError:
                producer.poll(0.01)
        producer.poll(0)
    producer.flush(60)
    took = time.monotonic() - started
    if failed:
        raise RuntimeError(f"{failed} records failed on {topic}")
    return delivered * size / took / 1e6


def consume(cluster: Cluster, topic: str, partitions: int, size: int, seconds: float) -> float:
    """MB/s of values read from the start, by assignment."""
    consumer = Consumer(
        {
            "bootstrap.servers": cluster.bootstrap,
            "group.id": "benchmark",
            "enable.auto.commit": False,
            "fetch.min.bytes": 1,
            "queued.max.messages.kbytes": 65_536,
            "error_cb": quiet,
            **QUIET,
        }
    )
    try:
        consumer.assign([TopicPartition(topic, p, 0) for p in range(partitions)])
        count = 0
        first = None
        last = time.monotonic()
        end = time.monotonic() + seconds + 5
        while time.monotonic() < end:
            messages = consumer.consume(1000, timeout=0.5)
            good = sum(1 for m in messages if m.error() is None)
            now = time.monotonic()
            if good and first is None:
                # The clock starts with the first answer, whose records do not count.
                first = last = now
            elif good:
                count += good
                last = now
            if first is not None and (last - first > seconds or now - last > IDLE_END_S):
                break
        if first is None or not count:
            raise RuntimeError(f"too little could be read from {topic}")
        return count * size / (last - first) / 1e6
    finally:
        consumer.close()


def latency(
    cluster: Cluster, topic: str, rate: int, seconds: float, acks: str = "all", size: int = 100
) -> tuple[float, float]:
    """Milliseconds (p50, p99) from produce to acknowledgement at a fixed rate."""
    producer = Producer(
        {
            "bootstrap.servers": cluster.bootstrap,
            "acks": acks,
            "linger.ms": 0,
            "error_cb": quiet,
            **QUIET,
        }
    )
    taken: list[float] = []
    value = os.urandom(size)

    def stamped(sent: float) -> Callable[[object, object], None]:
        def on_delivery(error: object, _: object) -> None:
            if error is None:
                taken.append((time.monotonic() - sent) * 1000)

        return on_delivery

    producer.produce(topic, value)
    producer.flush(10)
    started = time.monotonic()
    for number in range(int(rate * seconds)):
        due = started + number / rate
        while (wait := due - time.monotonic()) > 0:
            producer.poll(min(wait, 0.001))
        producer.produce(topic, value, on_delivery=stamped(time.monotonic()))
    producer.flush(30)
    taken.sort()
    return statistics.median(taken), taken[int(len(taken) * 0.99)]


def failover(cluster: Cluster, topic: str) -> float:
    """Milliseconds from kill -9 of the leader of partition 0 to the first write acknowledged afterwards.

    The write is sent after the kill, acks=all, one record at a time.
    """
    config = {
        "bootstrap.servers": cluster.bootstrap,
        "acks": "all",
        "linger.ms": 0,
        "error_cb": quiet,
        "retry.backoff.ms": 10,
        "reconnect.backoff.ms": 10,
        "reconnect.backoff.max.ms": 50,
        "topic.metadata.refresh.fast.interval.ms": 50,
        "socket.connection.setup.timeout.ms": 1000,
        **QUIET,
    }
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap, "error_cb": quiet, **QUIET})
    leader = admin.list_topics(topic, timeout=20).topics[topic].partitions[0].leader
    producer = Producer(config)
    producer.produce(topic, b"before", partition=0)
    if producer.flush(20):
        raise RuntimeError("the record before the kill was not acknowledged")
    acknowledged: list[float] = []
    killed = time.monotonic()
    cluster.kill(leader)
    producer.produce(
        topic,
        b"after",
        partition=0,
        on_delivery=lambda error, _: (
            acknowledged.append(time.monotonic()) if error is None else None
        ),
    )
    producer.flush(60)
    if not acknowledged:
        raise RuntimeError("no record was acknowledged within 60 s after the kill")
    return (acknowledged[0] - killed) * 1000


def machine() -> str:
    """The machine, for the report."""
    cpu = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            cpu = line.split(":", 1)[1].strip()
            break
    return f"{os.cpu_count()} cores ({cpu}), {psutil.virtual_memory().total / 2**30:.0f} GiB"
