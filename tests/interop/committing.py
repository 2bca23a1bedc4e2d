"""Members of one group that commit what they saw while brokers suffer, and what must hold of it.

A member may see a record twice, for commits get void. It may never begin behind what was committed
and acknowledged, and no record may be passed over.
"""

import asyncio
import threading
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from broker.protocol.api_keys import ApiKey
from broker.protocol.client import BrokerConnection
from broker.protocol.errors import WireError
from broker.protocol.network import AsyncioNetwork
from broker.protocol.struct import Struct
from tests.interop.clients import QUIET
from tests.interop.producing import PARTITIONS

SESSION_MS = 6_000
CLOSE_SECONDS = 60.0
POLL_SECONDS = 0.2
ASK_EVERY_SECONDS = 0.1


@dataclass
class GroupLedger:
    """What the members of a group saw, and how far commits were acknowledged."""

    group: str
    topic: str
    seen: dict[int, set[int]] = field(default_factory=lambda: defaultdict(set))
    # Offsets that are to be read next, by partition: the largest that was acknowledged.
    committed: dict[int, int] = field(default_factory=dict)
    commits: int = 0
    refused: int = 0
    assignments: int = 0
    reads: int = 0
    stale_reads: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def acknowledge(self, offsets: dict[int, int]) -> None:
        """A commit was answered with success."""
        with self.lock:
            self.commits += 1
            for partition, offset in offsets.items():
                self.committed[partition] = max(self.committed.get(partition, 0), offset)

    def check_all_seen(self, ends: dict[int, int]) -> None:
        """Every record was handed out to some member."""
        for partition, end in ends.items():
            missed = sorted(set(range(end)) - self.seen[partition])
            assert not missed, f"{self.topic}-{partition}: nobody saw {len(missed)}: {missed[:20]}"

    def check_stored(self, stored: dict[int, int]) -> None:
        """What is stored is at least what was acknowledged."""
        for partition, floor in self.committed.items():
            found = stored.get(partition, -1)
            where = f"{self.group} {self.topic}-{partition}"
            assert found >= floor, f"{where}: {found} is stored, {floor} was acknowledged"


class Committer:
    """One librdkafka consumer in a thread of its own; commits all that it was given."""

    def __init__(self, bootstrap: str, ledger: GroupLedger) -> None:
        self._bootstrap, self._ledger = bootstrap, ledger
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._guarded, daemon=True)
        self._thread.start()

    def _guarded(self) -> None:
        try:
            self._run()
        except BaseException as error:
            self._ledger.failures.append(f"a member ended: {error!r}")

    def _run(self) -> None:
        from confluent_kafka import Consumer, KafkaException

        ledger = self._ledger
        consumer = Consumer(
            {
                "bootstrap.servers": self._bootstrap,
                "group.id": ledger.group,
                "auto.offset.reset": "error",
                "enable.auto.commit": False,
                "partition.assignment.strategy": "range",
                "session.timeout.ms": SESSION_MS,
                "heartbeat.interval.ms": 500,
                "reconnect.backoff.max.ms": 500,
                "error_cb": lambda error: None,
                **QUIET,
            }
        )
        consumer.subscribe([ledger.topic], on_assign=self._assigned)
        # Where each partition's next record is, of what is not committed yet.
        owed: dict[int, int] = {}
        try:
            while not self._end.is_set() or owed:
                for message in consumer.consume(500, POLL_SECONDS):
                    if message.error() is not None:
                        ledger.failures.append(f"a member was told: {message.error()}")
                    else:
                        ledger.seen[message.partition()].add(message.offset())
                        owed[message.partition()] = message.offset() + 1
                if not owed:
                    continue
                assigned = {each.partition for each in consumer.assignment()}
                owed = {partition: at for partition, at in owed.items() if partition in assigned}
                if owed and self._commit(consumer, owed):
                    owed = {}
        except KafkaException as error:
            ledger.failures.append(f"a member failed: {error}")
        finally:
            consumer.close()

    def _commit(self, consumer: Any, owed: dict[int, int]) -> bool:
        from confluent_kafka import KafkaException, TopicPartition

        wanted = [TopicPartition(self._ledger.topic, each, at) for each, at in owed.items()]
        try:
            stored = consumer.commit(offsets=wanted, asynchronous=False)
        except KafkaException:
            # Void by a rebalance, or its fate is open: the next one says it again.
            self._ledger.refused += 1
            return False
        done = {each.partition: each.offset for each in stored if each.error is None}
        self._ledger.acknowledge(done)
        return len(done) == len(owed)

    def _assigned(self, consumer: Any, partitions: list[Any]) -> None:
        self._ledger.assignments += 1

    def close(self) -> None:
        """End it as its client wants to be ended, with all committed that it saw."""
        self._end.set()
        self._thread.join(CLOSE_SECONDS)
        if self._thread.is_alive():
            self._ledger.failures.append("a member does not end")


def begin_at_zero(bootstrap: str, ledger: GroupLedger) -> None:
    """Commit 0 for each partition: a member that finds nothing stored afterwards found a loss."""
    from confluent_kafka import Consumer, KafkaException, TopicPartition

    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": ledger.group, **QUIET})
    wanted = [TopicPartition(ledger.topic, each, 0) for each in range(PARTITIONS)]
    limit = time.monotonic() + CLOSE_SECONDS
    try:
        while True:
            try:
                consumer.commit(offsets=wanted, asynchronous=False)
                break
            except KafkaException:
                assert time.monotonic() < limit, "no coordinator takes a first commit"
                time.sleep(0.1)
    finally:
        consumer.close()
    ledger.acknowledge(dict.fromkeys(range(PARTITIONS), 0))


class OffsetsWatcher:
    """Asks each broker all the time what is committed; notes answers below what was acknowledged.

    A coordinator that does not know yet that it was deposed may give one, in Apache Kafka as well:
    a broker that stood still for long has to hear of its successor first.
    """

    def __init__(self, ports: Mapping[int, int], ledger: GroupLedger) -> None:
        self._ledger = ledger
        self._tasks = [asyncio.create_task(self._watch(*each)) for each in ports.items()]

    async def _watch(self, node: int, port: int) -> None:
        connection: BrokerConnection | None = None
        while True:
            await asyncio.sleep(ASK_EVERY_SECONDS)
            try:
                if connection is None or connection.closed:
                    connection = await BrokerConnection.open(AsyncioNetwork(), "127.0.0.1", port)
                await self._ask(node, connection)
            except WireError:
                if connection is not None:
                    connection.close()

    async def _ask(self, node: int, connection: BrokerConnection) -> None:
        ledger = self._ledger
        with ledger.lock:
            floor = dict(ledger.committed)
        asked = Struct(name=ledger.topic, partition_indexes=list(range(PARTITIONS)))
        group = Struct(group_id=ledger.group, topics=[asked])
        body = Struct(groups=[group], require_stable=False)
        answer = (await connection.request(ApiKey.OFFSET_FETCH, body, version=8)).groups[0]
        if answer.error_code:
            return
        ledger.reads += 1
        for told in answer.topics[0].partitions:
            at = floor.get(told.partition_index, -1)
            if not told.error_code and told.committed_offset < at:
                ledger.stale_reads.append(
                    f"{time.strftime('%H:%M:%S')} broker {node}: {told.committed_offset} of "
                    f"{told.partition_index} after {at} was acknowledged"
                )

    async def close(self) -> None:
        """Ask no more."""
        for task in self._tasks:
            task.cancel()
        for ended in await asyncio.gather(*self._tasks, return_exceptions=True):
            if isinstance(ended, Exception):
                raise ended
