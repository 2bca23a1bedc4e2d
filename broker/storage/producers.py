"""What a log remembers of idempotent and transactional producers.

For each producer: its epoch, its last five batches (so that a retry gets its original offsets) and
its open transaction. The state is a function of the log's batches: followers and restarts rebuild
it by replaying headers. It must never be changed by a batch that was not written.

Snapshots are Kafka's ``.snapshot`` files: version i16, CRC-32C u32, then an array of entries. Kafka
keeps the last batch of each producer; this writes one entry for each remembered batch, oldest
first, which Kafka reads as the last one.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from struct import Struct, error
from typing import NamedTuple

from crc32c import crc32c

from broker.storage.errors import CorruptFile, InvalidProducerEpoch, OutOfOrderSequence

SEQUENCE_MAX = 2**31 - 1
REMEMBERED_BATCHES = 5
SNAPSHOT_VERSION = 1
NONE = -1

_PREAMBLE = Struct(">hIi")  # version, crc, count; the crc covers everything after itself
_CRC_END = 6
_ENTRY = Struct(">qhiqiqiq")


def next_sequence(sequence: int) -> int:
    """The sequence number after ``sequence``; it wraps at 2^31-1 to 0."""
    return 0 if sequence == SEQUENCE_MAX else sequence + 1


def last_sequence_of(base_sequence: int, count: int) -> int:
    """The sequence number of the last of ``count`` records."""
    return (base_sequence + count - 1) & SEQUENCE_MAX


class ProducedBatch(NamedTuple):
    """One remembered batch: sequence and offset of its first and last record."""

    first_sequence: int
    last_sequence: int
    first_offset: int
    last_offset: int
    timestamp_ms: int


@dataclass(slots=True)
class ProducerEntry:
    """What is known of one producer."""

    producer_id: int
    epoch: int
    # Invariant: oldest first, all of ``epoch``, at most REMEMBERED_BATCHES.
    batches: list[ProducedBatch] = field(default_factory=list)
    coordinator_epoch: int = NONE
    txn_first_offset: int = NONE
    last_timestamp_ms: int = NONE

    @property
    def last_sequence(self) -> int:
        """Sequence of the last record, or -1."""
        return self.batches[-1].last_sequence if self.batches else NONE


class ProducerState:
    """The producers of one log."""

    __slots__ = ("_entries",)

    def __init__(self) -> None:
        self._entries: dict[int, ProducerEntry] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[ProducerEntry]:
        return iter([self._entries[producer_id] for producer_id in sorted(self._entries)])

    def get(self, producer_id: int) -> ProducerEntry | None:
        """What is known of a producer."""
        return self._entries.get(producer_id)

    @property
    def first_unstable_offset(self) -> int | None:
        """Where the oldest open transaction begins; read_committed ends there."""
        begun = [e.txn_first_offset for e in self._entries.values() if e.txn_first_offset >= 0]
        return min(begun) if begun else None

    def check(
        self, producer_id: int, epoch: int, base_sequence: int, count: int
    ) -> ProducedBatch | None:
        """The batch that this one repeats, or None when it may be appended.

        Raises InvalidProducerEpoch for a producer that was replaced, OutOfOrderSequence for a
        gap. A producer without state is accepted with any sequence (KIP-360).
        """
        entry = self._entries.get(producer_id)
        if entry is None:
            return None
        if epoch < entry.epoch:
            raise InvalidProducerEpoch(
                f"producer {producer_id} has epoch {epoch}, epoch {entry.epoch} replaced it"
            )
        if epoch > entry.epoch:
            if base_sequence != 0:
                raise OutOfOrderSequence(
                    f"producer {producer_id} begins epoch {epoch} with sequence {base_sequence}, "
                    f"not 0"
                )
            return None
        if not entry.batches:
            # Only a marker is known of this epoch, so nothing says which sequence comes next.
            return None
        last = last_sequence_of(base_sequence, count)
        for batch in entry.batches:
            if batch.first_sequence == base_sequence and batch.last_sequence == last:
                return batch
        expected = next_sequence(entry.batches[-1].last_sequence)
        if base_sequence != expected:
            raise OutOfOrderSequence(
                f"producer {producer_id} sent sequence {base_sequence}, {expected} comes next"
            )
        return None

    def record(
        self,
        producer_id: int,
        epoch: int,
        base_sequence: int,
        count: int,
        base_offset: int,
        last_offset: int,
        timestamp_ms: int,
        attributes: int,
    ) -> None:
        """Note a written batch of a producer, given by its header's fields."""
        entry = self._entries.get(producer_id)
        if entry is None:
            entry = self._entries[producer_id] = ProducerEntry(producer_id, epoch)
        elif epoch != entry.epoch:
            entry.epoch = epoch
            entry.batches.clear()
        entry.last_timestamp_ms = timestamp_ms
        if attributes & 0x20:  # a marker ends the transaction
            entry.txn_first_offset = NONE
            return
        if attributes & 0x10 and entry.txn_first_offset < 0:
            entry.txn_first_offset = base_offset
        batches = entry.batches
        if len(batches) == REMEMBERED_BATCHES:
            del batches[0]
        last = last_sequence_of(base_sequence, count)
        batches.append(ProducedBatch(base_sequence, last, base_offset, last_offset, timestamp_ms))

    def truncate(self, offset: int) -> bool:
        """Forget batches at and above ``offset``.

        False when what remains is not known any more, and the log must be replayed: a producer of
        whom no batch is left, or one in a transaction.
        """
        for entry in self._entries.values():
            if not entry.batches or entry.txn_first_offset >= 0:
                return False
            if entry.batches[-1].last_offset < offset:
                continue
            entry.batches = [batch for batch in entry.batches if batch.last_offset < offset]
            if not entry.batches:
                return False
            entry.last_timestamp_ms = entry.batches[-1].timestamp_ms
        return True

    def expire(self, before_ms: int) -> int:
        """Forget producers silent since ``before_ms`` with no open transaction; how many."""
        gone = [
            entry.producer_id
            for entry in self._entries.values()
            if entry.txn_first_offset < 0 and entry.last_timestamp_ms < before_ms
        ]
        for producer_id in gone:
            del self._entries[producer_id]
        return len(gone)

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()

    def encode(self) -> bytes:
        """The contents of a snapshot file."""
        rows = []
        for entry in self:
            tail = (entry.coordinator_epoch, entry.txn_first_offset)
            for batch in entry.batches:
                span = batch.last_offset - batch.first_offset
                row = (batch.last_sequence, batch.last_offset, span, batch.timestamp_ms)
                rows.append(_ENTRY.pack(entry.producer_id, entry.epoch, *row, *tail))
            if not entry.batches:
                row = (NONE, NONE, 0, entry.last_timestamp_ms)
                rows.append(_ENTRY.pack(entry.producer_id, entry.epoch, *row, *tail))
        body = bytearray(_PREAMBLE.pack(SNAPSHOT_VERSION, 0, len(rows)) + b"".join(rows))
        crc = crc32c(memoryview(body)[_CRC_END:])
        _PREAMBLE.pack_into(body, 0, SNAPSHOT_VERSION, crc, len(rows))
        return bytes(body)

    @classmethod
    def decode(cls, path: str, data: bytes) -> "ProducerState":
        """The state that a snapshot holds; raises CorruptFile naming ``path``."""
        try:
            version, crc, count = _PREAMBLE.unpack_from(data)
        except error:
            raise CorruptFile(path, "it is shorter than its header") from None
        if version != SNAPSHOT_VERSION:
            raise CorruptFile(path, f"its version is {version}, not {SNAPSHOT_VERSION}")
        if crc32c(memoryview(data)[_CRC_END:]) != crc:
            raise CorruptFile(path, "its checksum does not match")
        if len(data) != _PREAMBLE.size + count * _ENTRY.size:
            raise CorruptFile(path, f"it announces {count} entries in {len(data)} bytes")
        state = cls()
        for row in _ENTRY.iter_unpack(memoryview(data)[_PREAMBLE.size :]):
            state._load(*row)
        return state

    def _load(
        self,
        producer_id: int,
        epoch: int,
        last_sequence: int,
        last_offset: int,
        span: int,
        timestamp_ms: int,
        coordinator_epoch: int,
        txn_first_offset: int,
    ) -> None:
        entry = self._entries.get(producer_id)
        if entry is None or entry.epoch != epoch:
            entry = self._entries[producer_id] = ProducerEntry(producer_id, epoch)
        entry.coordinator_epoch = coordinator_epoch
        entry.txn_first_offset = txn_first_offset
        entry.last_timestamp_ms = timestamp_ms
        if last_sequence >= 0:
            first = (last_sequence - span) & SEQUENCE_MAX
            entry.batches.append(
                ProducedBatch(first, last_sequence, last_offset - span, last_offset, timestamp_ms)
            )
            del entry.batches[:-REMEMBERED_BATCHES]
