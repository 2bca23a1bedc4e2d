"""A producer and a reader for simulated clusters, written to be checked.

The producer is idempotent and keeps one batch in flight, so that whatever the cluster goes
through, every record that was acknowledged must be in the log exactly once, in the order of its
sending. It must never give up on a batch: an unknown outcome is retried until it is known.
"""

import asyncio
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from broker.protocol.api_keys import ApiKey
from broker.protocol.batch import Record, decode_records, encode_batch, iter_batches
from broker.protocol.client import BrokerConnection
from broker.protocol.errors import ErrorCode, WireError
from broker.protocol.network import Network
from broker.protocol.struct import Struct
from broker.simulation.violations import SafetyViolation

Address = tuple[str, int]
REQUEST_TIMEOUT_MS = 3_000
RETRY_S = 0.05
WALL_START_MS = 1_700_000_000_000


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """A record that the cluster said it has."""

    partition: int
    offset: int
    value: str


class WorkloadError(SafetyViolation):
    """The cluster gave an answer that a correct one can't give."""


def wall_ms() -> int:
    """What a client's clock says; clients' clocks are never wrong here."""
    return WALL_START_MS + int(asyncio.get_running_loop().time() * 1000)


class Client:
    """Knows where leaders are and asks again when they move.

    As Kafka's clients do, it never goes back to the leader of an older epoch, whatever a broker
    with old metadata says: a deposed leader that has not heard of it knows nothing of the batches
    that its successor has.
    """

    def __init__(self, network: Network, bootstrap: Sequence[Address], rng: random.Random) -> None:
        self._network = network
        self._bootstrap = list(bootstrap)
        self._rng = rng
        self._connections: dict[Address, BrokerConnection] = {}
        self._leader_epochs: dict[tuple[str, int], int] = {}

    async def ask(self, address: Address, key: ApiKey, body: Struct, max_version: int) -> Struct:
        """One request to one broker. Raises WireError when there is no answer."""
        connection = self._connections.get(address)
        if connection is None or connection.closed:
            connection = await BrokerConnection.open(
                self._network, *address, client_id="workload", timeout_ms=REQUEST_TIMEOUT_MS
            )
            self._connections[address] = connection
        low, high = connection.api_versions[key]
        assert low <= max_version
        try:
            return await connection.request(
                key, body, version=min(high, max_version), timeout_ms=REQUEST_TIMEOUT_MS
            )
        except WireError:
            connection.close()
            raise

    async def ask_any(self, key: ApiKey, body: Struct, max_version: int) -> Struct:
        """One request to whichever broker answers first in a random order."""
        last: WireError | None = None
        for address in self._rng.sample(self._bootstrap, len(self._bootstrap)):
            try:
                return await self.ask(address, key, body, max_version)
            except WireError as error:
                last = error
        assert last is not None
        raise last

    async def create_topic(
        self, name: str, partitions: int, replicas: int, configs: Mapping[str, str] | None = None
    ) -> None:
        """Create a topic, asking until it is there."""
        wanted = {"min.insync.replicas": "2", **(configs or {})}
        topic = Struct(
            name=name,
            num_partitions=partitions,
            replication_factor=replicas,
            assignments=[],
            configs=[Struct(name=key, value=value) for key, value in sorted(wanted.items())],
        )
        body = Struct(topics=[topic], timeout_ms=REQUEST_TIMEOUT_MS)
        while True:
            try:
                response = await self.ask_any(ApiKey.CREATE_TOPICS, body, 7)
            except WireError:
                await asyncio.sleep(RETRY_S)
                continue
            code = response.topics[0].error_code
            if code in (ErrorCode.none, ErrorCode.topic_already_exists):
                return
            await asyncio.sleep(RETRY_S)

    async def delete_topic(self, name: str) -> None:
        """Delete a topic, asking until it is gone."""
        body = Struct(topics=[Struct(name=name)], topic_names=[name], timeout_ms=REQUEST_TIMEOUT_MS)
        while True:
            try:
                response = await self.ask_any(ApiKey.DELETE_TOPICS, body, 5)
            except WireError:
                await asyncio.sleep(RETRY_S)
                continue
            code = response.responses[0].error_code
            if code in (ErrorCode.none, ErrorCode.unknown_topic_or_partition):
                return
            await asyncio.sleep(RETRY_S)

    async def leader(self, topic: str, partition: int) -> Address | None:
        """Where the newest known leader of a partition is, or None when no one knows."""
        body = Struct(topics=[Struct(name=topic)], allow_auto_topic_creation=False)
        response = await self.ask_any(ApiKey.METADATA, body, 8)
        brokers = {each.node_id: (each.host, each.port) for each in response.brokers}
        for each in response.topics[0].partitions:
            if each.partition_index == partition:
                key = (topic, partition)
                if each.leader_epoch < self._leader_epochs.get(key, -1):
                    return None
                self._leader_epochs[key] = each.leader_epoch
                return brokers.get(each.leader_id)
        return None

    async def producer_id(self) -> int:
        """A producer id and its epoch 0, asking until there is one."""
        body = Struct(transactional_id=None, transaction_timeout_ms=60_000)
        while True:
            try:
                response = await self.ask_any(ApiKey.INIT_PRODUCER_ID, body, 4)
            except WireError:
                await asyncio.sleep(RETRY_S)
                continue
            if response.error_code == ErrorCode.none:
                return int(response.producer_id)
            await asyncio.sleep(RETRY_S)

    def close(self) -> None:
        """Drop every connection."""
        for connection in self._connections.values():
            connection.close()


class Producer:
    """Sends numbered records to one topic; `acknowledged` is what must be there in the end."""

    def __init__(
        self, client: Client, name: str, topic: str, partitions: int, rng: random.Random
    ) -> None:
        self.acknowledged: list[Acknowledged] = []
        self._client = client
        self._name = name
        self._topic = topic
        self._partitions = partitions
        self._rng = rng
        self._sequences = dict.fromkeys(range(partitions), 0)

    async def run(self, stop: asyncio.Event) -> None:
        """Send until `stop` is set; the batch under way is still brought home."""
        producer_id = await self._client.producer_id()
        number = 0
        while not stop.is_set():
            partition = self._rng.randrange(self._partitions)
            values = [f"{self._name}-{number + i}" for i in range(self._rng.randint(1, 4))]
            number += len(values)
            await self._deliver(producer_id, partition, values)
            await asyncio.sleep(self._rng.uniform(0, 0.05))

    async def _deliver(self, producer_id: int, partition: int, values: list[str]) -> None:
        now_ms = wall_ms()
        records = [
            Record(offset=i, timestamp_ms=now_ms, key=None, value=value.encode(), headers=())
            for i, value in enumerate(values)
        ]
        batch = encode_batch(
            records,
            producer_id=producer_id,
            producer_epoch=0,
            base_sequence=self._sequences[partition],
        )
        while True:
            base_offset = await self._try_once(partition, batch)
            if base_offset is not None:
                break
            await asyncio.sleep(RETRY_S)
        self._sequences[partition] += len(values)
        self.acknowledged += [
            Acknowledged(partition, base_offset + i, value) for i, value in enumerate(values)
        ]

    async def _try_once(self, partition: int, batch: bytes) -> int | None:
        body = Struct(
            transactional_id=None,
            acks=-1,
            timeout_ms=REQUEST_TIMEOUT_MS // 2,
            topic_data=[
                Struct(name=self._topic, partition_data=[Struct(index=partition, records=batch)])
            ],
        )
        try:
            leader = await self._client.leader(self._topic, partition)
            if leader is None:
                return None
            response = await self._client.ask(leader, ApiKey.PRODUCE, body, 8)
        except WireError:
            return None
        answer = response.responses[0].partition_responses[0]
        if answer.error_code == ErrorCode.none:
            return int(answer.base_offset)
        if not ErrorCode(answer.error_code).retriable:
            raise WorkloadError(
                f"{self._name}: {self._topic}-{partition} answered {answer.error_code!r}"
            )
        return None


@dataclass(frozen=True, slots=True)
class Fetched:
    """What one fetch of one partition gave: records by offset, and where to go on."""

    records: dict[int, str]
    next_offset: int
    high_watermark: int


async def fetch(client: Client, topic: str, partition: int, offset: int) -> Fetched | None:
    """One fetch from the leader; None when there was no answer or an error."""
    request = Struct(
        replica_id=-1,
        max_wait_ms=100,
        min_bytes=1,
        max_bytes=1_000_000,
        isolation_level=0,
        session_id=0,
        session_epoch=-1,
        topics=[
            Struct(
                topic=topic,
                partitions=[
                    Struct(partition=partition, fetch_offset=offset, partition_max_bytes=1_000_000)
                ],
            )
        ],
        forgotten_topics_data=[],
    )
    try:
        leader = await client.leader(topic, partition)
        response = leader and await client.ask(leader, ApiKey.FETCH, request, 11)
    except WireError:
        return None
    answer = response.responses[0].partitions[0] if response else None
    if answer is None or answer.error_code != ErrorCode.none:
        return None
    records: dict[int, str] = {}
    next_offset = offset
    data = bytes(answer.records or b"")
    for position, header in iter_batches(data):
        for record in decode_records(data, position):
            # A batch that holds the offset comes as a whole; what lies before it is skipped.
            if record.offset >= next_offset:
                records[record.offset] = bytes(record.value or b"").decode()
        next_offset = header.next_offset
    return Fetched(records, next_offset, answer.high_watermark)


async def latest_offset(client: Client, topic: str, partition: int) -> int | None:
    """What ListOffsets calls the end of a partition; None when there was no answer or an error."""
    body = Struct(
        replica_id=-1,
        isolation_level=0,
        topics=[Struct(name=topic, partitions=[Struct(partition_index=partition, timestamp=-1)])],
    )
    try:
        leader = await client.leader(topic, partition)
        response = leader and await client.ask(leader, ApiKey.LIST_OFFSETS, body, 3)
    except WireError:
        return None
    answer = response.topics[0].partitions[0] if response else None
    return None if answer is None or answer.error_code else int(answer.offset)


class Consumer:
    """Reads every partition again and again while faults go on.

    What it has read was committed: `seen` must be a part of the final history, what is read a
    second time must be the same, and the end of a partition must never go back (KIP-207).
    """

    def __init__(self, client: Client, topic: str, partitions: int, rng: random.Random) -> None:
        self.seen: dict[int, dict[int, str]] = {index: {} for index in range(partitions)}
        self._client = client
        self._topic = topic
        self._rng = rng
        self._ends = dict.fromkeys(self.seen, 0)

    async def run(self, stop: asyncio.Event) -> None:
        """Read until `stop` is set. Raises WorkloadError for a record that was replaced."""
        positions = dict.fromkeys(self.seen, 0)
        while not stop.is_set():
            index = self._rng.choice(sorted(self.seen))
            if self._rng.random() < 0.05:
                positions[index] = self._rng.randint(0, positions[index])
            if self._rng.random() < 0.2:
                await self._look_at_end(index)
            fetched = await fetch(self._client, self._topic, index, positions[index])
            if fetched is not None:
                self._note(index, fetched)
                positions[index] = fetched.next_offset
            await asyncio.sleep(self._rng.uniform(0, 0.1))

    async def _look_at_end(self, index: int) -> None:
        end = await latest_offset(self._client, self._topic, index)
        if end is None:
            return
        if end < self._ends[index]:
            raise WorkloadError(
                f"{self._topic}-{index}: its end went from {self._ends[index]} back to {end}"
            )
        self._ends[index] = end

    def _note(self, index: int, fetched: Fetched) -> None:
        seen = self.seen[index]
        for offset, value in fetched.records.items():
            before = seen.setdefault(offset, value)
            if before != value:
                raise WorkloadError(
                    f"{self._topic}-{index}: offset {offset} was {before}, now it is {value}"
                )
            self._ends[index] = max(self._ends[index], offset + 1)
            if offset >= fetched.high_watermark:
                raise WorkloadError(
                    f"{self._topic}-{index}: offset {offset} was given to a consumer, but the high "
                    f"watermark is {fetched.high_watermark}"
                )


async def read_partition(client: Client, topic: str, partition: int) -> dict[int, str]:
    """Every record of a partition up to its high watermark, as {offset: value}."""
    found: dict[int, str] = {}
    offset = 0
    while True:
        fetched = await fetch(client, topic, partition, offset)
        if fetched is None:
            await asyncio.sleep(RETRY_S)
            continue
        found |= fetched.records
        offset = fetched.next_offset
        if offset >= fetched.high_watermark:
            return found
