"""What a reader learns of transactions: which record is of one, how it ended, what it left out.

aiokafka's consumer drops control records (KIP-98) and says of no record whether it was written in
a transaction. The class that takes fetched batches apart is replaced here by one that hands out
both. Must never change what a reader without interest gets: records of no transaction, as before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from aiokafka import TopicPartition
from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException, KafkaError
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.record.control_record import ControlRecord

COMMITTED, ABORTED, OPEN, UNKNOWN = "committed", "aborted", "open", "unknown"
COMMIT, ABORT, DAMAGED = "commit", "abort", "damaged"
READ_UNCOMMITTED, READ_COMMITTED = "read_uncommitted", "read_committed"
ISOLATION_LEVELS = (READ_UNCOMMITTED, READ_COMMITTED)

_MARKERS = {0: ABORT, 1: COMMIT}
_ENDS = {ABORT: ABORTED, COMMIT: COMMITTED}
# Asking again how a transaction ended, where a leader has moved.
_TRIES = 10
_PAUSE_S = 0.3
_ASK_MAX_WAIT_MS = 0
_ASK_MAX_BYTES = 1


@dataclass(frozen=True, slots=True)
class Transaction:
    """What wrote a record, and how it ended: one of the words above."""

    producer_id: int
    producer_epoch: int
    state: str

    def to_json(self) -> dict[str, Any]:
        """As data."""
        return {
            "producer_id": self.producer_id,
            "producer_epoch": self.producer_epoch,
            "state": self.state,
        }


@dataclass(frozen=True, slots=True)
class Part:
    """A record of a transaction, as fetched; `state` is None when the fetch does not say."""

    record: Any
    producer_id: int
    producer_epoch: int
    state: str | None

    @property
    def offset(self) -> int:
        """Where it stands."""
        return int(self.record.offset)


@dataclass(frozen=True, slots=True)
class Marker:
    """A control record: here a transaction ended. `timestamp_ms` counts from 1970 in UTC."""

    offset: int
    timestamp_ms: int
    producer_id: int
    producer_epoch: int
    control: str


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A batch of an aborted transaction that was passed over; `records` as it was written."""

    offset: int
    next_offset: int
    records: int


_plain: Any = fetcher.PartitionRecords
_telling: ContextVar[bool] = ContextVar("telling", default=False)


class _Batches(fetcher.PartitionRecords):  # type: ignore[misc]
    """One partition's part of a fetch: records, `Part`, `Marker` and `LeftOut`, in order."""

    def _unpack_records(self) -> Iterator[Any]:
        batches = []
        while self._records.has_next():
            batches.append(self._records.next_batch())
        markers = {
            number: marker
            for number, batch in enumerate(batches)
            if _is_control(batch) and (marker := self._marker(batch)) is not None
        }
        ends = _ends(batches, markers)
        for number, batch in enumerate(batches):
            if _is_control(batch):
                yield from self._passed(batch, markers.get(number))
            elif not _is_transactional(batch):
                self._check(batch)
                yield from self._records_of(batch)
            else:
                self._check(batch)
                yield from self._of_transaction(batch, ends.get(number))
            # Also where compaction removed the last records of a batch, or all.
            self.next_fetch_offset = batch.next_offset

    def _passed(self, batch: Any, marker: Marker | None) -> Iterator[Marker]:
        if marker is None:
            return
        if marker.control == DAMAGED:
            raise CorruptRecordException(f"Invalid CRC - {self._tp}")
        # First those that began before: a fetch may begin with the marker.
        self._consume_aborted_up_to(batch.base_offset)
        if marker.control == ABORT:
            self._aborted_producers.discard(marker.producer_id)
        if marker.offset >= self.next_fetch_offset:
            self.next_fetch_offset = batch.next_offset
            yield marker

    def _of_transaction(self, batch: Any, end: str | None) -> Iterator[Part | LeftOut]:
        committed = self._isolation_level == fetcher.READ_COMMITTED
        if committed:
            self._consume_aborted_up_to(batch.base_offset)
            if batch.producer_id in self._aborted_producers:
                start = max(batch.base_offset, self.next_fetch_offset)
                self.next_fetch_offset = batch.next_offset
                if start < batch.next_offset:
                    yield LeftOut(start, batch.next_offset, batch.next_offset - start)
                return
        state = COMMITTED if committed else end
        for record in self._records_of(batch):
            yield Part(record, batch.producer_id, batch.producer_epoch, state)

    def _check(self, batch: Any) -> None:
        if self._check_crcs and not batch.validate_crc():
            raise CorruptRecordException(f"Invalid CRC - {self._tp}")

    def _records_of(self, batch: Any) -> Iterator[Any]:
        for record in batch:
            # The batch may begin before what was asked for.
            if record.offset >= self.next_fetch_offset:
                told = self._consumer_record(self._tp, record)
                self.next_fetch_offset = record.offset + 1
                yield told

    def _marker(self, batch: Any) -> Marker | None:
        """The commit or abort of a control batch; None of another kind."""
        place = batch.base_offset, batch.max_timestamp, batch.producer_id, batch.producer_epoch
        if self._check_crcs and not batch.validate_crc():
            # Told when it is reached: what stands before it is good.
            return Marker(*place, DAMAGED)
        record = next(iter(batch), None)
        if record is None or record.key is None:
            return None
        control = _MARKERS.get(ControlRecord.parse(record.key).type_)
        return None if control is None else Marker(*place, control)


def _ends(batches: Sequence[Any], markers: Mapping[int, Marker]) -> dict[int, str]:
    """How the transaction of each batch ended, where the marker stands behind it."""
    ends: dict[int, str] = {}
    later: dict[int, str] = {}
    for number in range(len(batches) - 1, -1, -1):
        producer_id = batches[number].producer_id
        if (marker := markers.get(number)) is not None and marker.control in _ENDS:
            later[producer_id] = _ENDS[marker.control]
        elif producer_id in later and _is_transactional(batches[number]):
            ends[number] = later[producer_id]
    return ends


def _is_control(batch: Any) -> bool:
    return bool(batch.is_control_batch)


def _is_transactional(batch: Any) -> bool:
    return bool(batch.is_transactional) and batch.producer_id is not None


@contextmanager
def told() -> Iterator[None]:
    """Have consumers that are started in here hand out `Part`, `Marker` and `LeftOut` as well."""
    fetcher.PartitionRecords = _chosen
    token = _telling.set(True)
    try:
        yield
    finally:
        _telling.reset(token)


def _chosen(*args: Any) -> Any:
    # The tasks of a consumer have the context that it was started in.
    return (_Batches if _telling.get() else _plain)(*args)


def last_stable_end(consumer: Any, home: TopicPartition) -> int | None:
    """The last stable offset as the newest fetch told it; None when it did not."""
    if not consumer.assignment().issuperset({home}):
        return None
    stable_end: int | None = consumer.last_stable_offset(home)
    return None if stable_end is None or stable_end < 0 else stable_end


class Outcomes:
    """How the transactions that one consumer meets have ended."""

    def __init__(self, consumer: Any) -> None:
        self._consumer = consumer
        # Of a transaction whose marker was not read yet: what the leader said of it.
        self._decided: dict[tuple[TopicPartition, int], str] = {}

    def passed(self, home: TopicPartition, marker: Marker) -> None:
        """Take note of a marker: what the producer writes after it is another transaction."""
        self._decided.pop((home, marker.producer_id), None)

    async def of(self, home: TopicPartition, part: Part) -> Transaction:
        """The transaction of a record: what the fetch says, or else what the leader does."""
        state = part.state or self._decided.get((home, part.producer_id))
        if state is None:
            state = await self._asked(home, part)
            if state in {COMMITTED, ABORTED}:
                self._decided[home, part.producer_id] = state
        return Transaction(part.producer_id, part.producer_epoch, state)

    async def _asked(self, home: TopicPartition, part: Part) -> str:
        stable_end = last_stable_end(self._consumer, home)
        if stable_end is not None and stable_end <= part.offset:
            return OPEN
        for number in range(_TRIES):
            if number:
                await asyncio.sleep(_PAUSE_S)
            try:
                found = await self._ask(home, part)
            except KafkaError:
                found = None
            if found is not None:
                return found
        return UNKNOWN

    async def _ask(self, home: TopicPartition, part: Part) -> str | None:
        """One fetch of what is committed, for the aborted transactions that it names."""
        client = self._consumer._client
        leader = client.cluster.leader_for_partition(home)
        if leader is None or leader < 0:
            return None
        request = FetchRequest(
            _ASK_MAX_WAIT_MS,
            0,
            _ASK_MAX_BYTES,
            fetcher.READ_COMMITTED,
            [(home.topic, [(home.partition, part.offset, _ASK_MAX_BYTES)])],
            rack_id="",
        )
        answer = await client.send(leader, request)
        for _, partitions in answer.topics:
            for _, code, _, *told in partitions:
                if code:
                    return None
                if told[0] <= part.offset:
                    return OPEN
                aborted = (told[2] if answer.API_VERSION >= 11 else told[-2]) or ()
                is_aborted = any(
                    producer_id == part.producer_id and first <= part.offset
                    for producer_id, first in aborted
                )
                return ABORTED if is_aborted else COMMITTED
        return None
