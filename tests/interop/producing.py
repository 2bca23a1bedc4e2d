"""Idempotent producers that write all the time, and the check of what became of it.

A record is `{producer}:{partition}:{number}` and padding, numbered from 0 without gaps per producer
and partition. Nothing that was acknowledged may be missing, doubled or out of order.
"""

import asyncio
import threading
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from tests.interop.clients import QUIET, Confluent

PARTITIONS = 3
# Per partition, so that one without a leader does not silence the others.
IN_FLIGHT_MAX = 100
# How fast they write where the tests' machine has time for it: so many records, then so long nothing.
BURST = 10
PAUSE_SECONDS = 0.005
# Longer than any disturbance of these tests: a client that gives up would be a failed send.
DELIVERY_SECONDS = 120
DRAIN_SECONDS = 120


@dataclass
class Ledger:
    """What one producer sent, and what was acknowledged with which offset."""

    producer: str
    sent: dict[int, int] = field(default_factory=lambda: dict.fromkeys(range(PARTITIONS), 0))
    answered: dict[int, int] = field(default_factory=lambda: dict.fromkeys(range(PARTITIONS), 0))
    acknowledged: dict[tuple[int, int], int] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    # When each partition was heard of last (seconds), and the longest silences.
    heard: dict[int, float] = field(default_factory=dict)
    longest_gap: dict[int, float] = field(default_factory=lambda: defaultdict(float))

    def next_partition(self, turn: int) -> int | None:
        """Whose turn it is; None when each has as much under way as it may."""
        for step in range(PARTITIONS):
            partition = (turn + step) % PARTITIONS
            if self.sent[partition] - self.answered[partition] < IN_FLIGHT_MAX:
                return partition
        return None

    def next_record(self, partition: int) -> tuple[int, bytes]:
        number = self.sent[partition]
        self.sent[partition] = number + 1
        return number, b"%s:%d:%d " % (self.producer.encode(), partition, number) + b"." * 80

    def refuse(self, partition: int, number: int, error: object) -> None:
        self.answered[partition] += 1
        self.failures.append(f"{partition}:{number}: {error!r}")

    def acknowledge(self, partition: int, number: int, offset: int | None) -> None:
        now = time.monotonic()
        self.longest_gap[partition] = max(
            self.longest_gap[partition], now - self.heard.get(partition, now)
        )
        self.heard[partition] = now
        self.answered[partition] += 1
        if offset is None or offset < 0:
            # librdkafka says so of a batch that was refused when the one behind it was taken. A
            # leader takes or refuses both: a new epoch that it leads as well ends no wait.
            self.failures.append(f"{partition}:{number}: written, and nobody said where")
        else:
            self.acknowledged[partition, number] = offset


class Load(Protocol):
    """A producer that writes until it is told to stop."""

    ledger: Ledger

    async def run(self) -> None: ...

    def stop(self) -> None: ...


LoadKind = Callable[[str, str], Load]


class AioLoad:
    """aiokafka, on the test's own loop."""

    def __init__(self, bootstrap: str, topic: str, *, pause_seconds: float = PAUSE_SECONDS) -> None:
        self.ledger = Ledger("aiokafka")
        self._bootstrap, self._topic = bootstrap, topic
        self._pause_seconds = pause_seconds
        self._stopping = False
        self._pending: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        from aiokafka import AIOKafkaProducer

        producer = AIOKafkaProducer(
            bootstrap_servers=self._bootstrap,
            acks="all",
            enable_idempotence=True,
            request_timeout_ms=DELIVERY_SECONDS * 1000,
        )
        await producer.start()
        try:
            turn = 0
            while not self._stopping:
                turn += 1
                partition = self.ledger.next_partition(turn)
                if partition is None:
                    await asyncio.sleep(self._pause_seconds)
                    continue
                number, value = self.ledger.next_record(partition)
                future = await producer.send(self._topic, value, partition=partition)
                task = asyncio.create_task(self._acknowledged(future, partition, number))
                self._pending.add(task)
                task.add_done_callback(self._pending.discard)
                if turn % BURST == 0:
                    await asyncio.sleep(self._pause_seconds)
            async with asyncio.timeout(DRAIN_SECONDS):
                await asyncio.gather(*self._pending)
        finally:
            await producer.stop()

    async def _acknowledged(self, future: Any, partition: int, number: int) -> None:
        try:
            sent = await future
        except Exception as error:
            self.ledger.refuse(partition, number, error)
        else:
            self.ledger.acknowledge(partition, number, sent.offset)

    def stop(self) -> None:
        self._stopping = True


class ConfluentLoad:
    """librdkafka, in a thread of its own."""

    def __init__(self, bootstrap: str, topic: str, *, pause_seconds: float = PAUSE_SECONDS) -> None:
        self.ledger = Ledger("confluent")
        self._bootstrap, self._topic = bootstrap, topic
        self._pause_seconds = pause_seconds
        self._stopping = threading.Event()

    async def run(self) -> None:
        await asyncio.to_thread(self._run)

    def _run(self) -> None:
        from confluent_kafka import Producer

        ledger = self.ledger
        producer = Producer(
            {
                "bootstrap.servers": self._bootstrap,
                "acks": "all",
                "enable.idempotence": True,
                "message.timeout.ms": DELIVERY_SECONDS * 1000,
                # By default it may leave a broker that was restarted alone for 10 s, which says
                # nothing about the cluster.
                "reconnect.backoff.max.ms": 500,
                "error_cb": lambda error: None,
                **QUIET,
            }
        )

        def delivered(number: int, error: Any, message: Any) -> None:
            if error is not None:
                ledger.refuse(message.partition(), number, error)
            else:
                ledger.acknowledge(message.partition(), number, message.offset())

        turn = 0
        while not self._stopping.is_set():
            turn += 1
            partition = ledger.next_partition(turn)
            if partition is None:
                producer.poll(0.005)
                continue
            number, value = ledger.next_record(partition)
            producer.produce(
                self._topic,
                value,
                partition=partition,
                on_delivery=lambda error, message, number=number: delivered(number, error, message),
            )
            if turn % BURST == 0:
                paused = time.monotonic() + self._pause_seconds
                while (left := paused - time.monotonic()) > 0:
                    producer.poll(left)  # comes back with whatever was delivered
        unanswered = producer.flush(DRAIN_SECONDS)
        if unanswered:
            ledger.failures.append(f"{unanswered} records without an answer")

    def stop(self) -> None:
        self._stopping.set()


@asynccontextmanager
async def producing(
    bootstrap: str, topic: str, kinds: Iterable[LoadKind] = (AioLoad, ConfluentLoad)
) -> AsyncIterator[list[Ledger]]:
    """All producers run while the block does, and are drained at its end."""
    loads = [kind(bootstrap, topic) for kind in kinds]
    tasks = [asyncio.create_task(load.run()) for load in loads]
    try:
        async with asyncio.timeout(60):
            while not all(len(load.ledger.heard) == PARTITIONS for load in loads):
                for task in tasks:
                    if task.done():
                        task.result()
                await asyncio.sleep(0.02)
        yield [load.ledger for load in loads]
    finally:
        for load in loads:
            load.stop()
        await asyncio.gather(*tasks)


def check(ledgers: list[Ledger], bootstrap: str, topic: str) -> dict[int, int]:
    """Everything acknowledged is there once and in order; gives the end offset per partition.

    Records that were refused or never answered may be there, at most once.
    """
    by_name = {ledger.producer: ledger for ledger in ledgers}
    reader = Confluent()
    ends: dict[int, int] = {}
    for partition in range(PARTITIONS):
        start, end, _ = reader.offsets(bootstrap, topic, partition, ())
        assert start == 0
        rows = reader.consume(bootstrap, topic, partition, end)
        assert [offset for offset, _ in rows] == list(range(end)), f"{topic}-{partition}"
        last = dict.fromkeys(by_name, -1)
        found: dict[str, dict[int, int]] = {name: {} for name in by_name}
        for offset, row in rows:
            assert row.value is not None
            name, of_partition, number_text = row.value.split(b" ", 1)[0].decode().split(":")
            number = int(number_text)
            where = f"{name} {number} at {topic}-{partition} offset {offset}"
            assert int(of_partition) == partition, f"{where} belongs to {of_partition}"
            assert number not in found[name], f"{where} is also at {found[name][number]}"
            assert number > last[name], f"{where} comes after {last[name]}"
            last[name] = number
            found[name][number] = offset
        for name, ledger in by_name.items():
            wanted = {n: o for (p, n), o in ledger.acknowledged.items() if p == partition}
            lost = sorted(wanted.keys() - found[name].keys())
            assert not lost, f"{len(lost)} of {name} lost in {topic}-{partition}: {lost[:20]}"
            moved = {n: (o, found[name][n]) for n, o in wanted.items() if found[name][n] != o}
            assert not moved, f"{name} in {topic}-{partition}: (acknowledged, found) {moved}"
        ends[partition] = end
    return ends


def figures(ledgers: list[Ledger]) -> str:
    """One line for a person: how much, and how long nothing was acknowledged."""
    parts = []
    for ledger in ledgers:
        gaps = " ".join(f"{gap:.2f}" for _, gap in sorted(ledger.longest_gap.items()))
        parts.append(
            f"{ledger.producer}: {len(ledger.acknowledged)} acknowledged, "
            f"longest gap per partition {gaps} s"
        )
    return "; ".join(parts)
