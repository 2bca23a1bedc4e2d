"""What compaction leaves of one batch: all of it, fewer records, only its header, or nothing.

Offsets, sequences, producer and leader epoch never change. A batch that loses nothing is passed on
byte for byte; the records of others keep their bytes, in the compression the batch had. Pure: it
must never read a file or a clock.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from struct import Struct

from crc32c import crc32c

from broker.protocol.batch import Compression
from broker.protocol.compression import compress
from broker.storage.batches import (
    ATTRIBUTES,
    BASE_OFFSET,
    BASE_SEQUENCE,
    BASE_TIMESTAMP,
    CONTROL,
    COUNT,
    CRC_FROM,
    HEADER,
    HEADER_BYTES,
    LAST_DELTA,
    LEADER_EPOCH,
    LENGTH_MIN,
    LOG_APPEND_TIME,
    MAGIC,
    MAX_TIMESTAMP,
    PRODUCER_EPOCH,
    PRODUCER_ID,
    TRANSACTIONAL,
    Header,
)
from broker.storage.index import NO_TIMESTAMP
from broker.storage.offset_map import OffsetMap
from broker.storage.record_scan import (
    COMPRESSION_BITS,
    END,
    HAS_VALUE,
    KEY,
    OFFSET_DELTA,
    START,
    TIMESTAMP_DELTA,
    ScannedRecord,
    scan_records,
    unpacked,
    with_timestamp_delta,
)

# KIP-534: the base timestamp says until when tombstones in this batch are kept.
DELETE_HORIZON = 0x40
SCAN_RECORDS = 1000

_CRC = Struct(">I")
_CRC_AT = 17


@dataclass(slots=True)
class FilterCounts:
    """What a round kept and dropped."""

    records_read: int = 0
    records_kept: int = 0
    keyless: int = 0
    tombstones_dropped: int = 0


@dataclass(slots=True)
class BatchFilter:
    """The rules of one round.

    ``last_offsets`` holds the last data offset of each active producer: the batch that ends there
    keeps at least its header, so that the producer's sequence survives a restart. Tombstones get
    a horizon of ``now_ms`` + ``delete_retention_ms`` when they are first compacted.
    """

    keys: OffsetMap
    last_offsets: Mapping[int, int]
    now_ms: int
    delete_retention_ms: int
    counts: FilterCounts = field(default_factory=FilterCounts)

    def apply(self, batch: bytes, header: Header, *, keep_header: bool) -> bytes | None:
        """What is left of ``batch``: itself when nothing changes, None when nothing is left.

        ``keep_header`` says that at least the header must stay. Raises InvalidBatch.
        """
        count = header[COUNT]
        self.counts.records_read += count
        if header[BASE_OFFSET] > self.keys.latest or header[ATTRIBUTES] & CONTROL:
            self.counts.records_kept += count
            return batch
        last = header[BASE_OFFSET] + header[LAST_DELTA]
        keep_header |= self.last_offsets.get(header[PRODUCER_ID], -1) == last
        if not count:
            return batch if keep_header else None
        data = unpacked(batch, header)
        rows = scan_records(data, 0, count)[0]
        kept = [row for row in rows if self._keeps(row, header)]
        self.counts.records_kept += len(kept)
        if not kept:
            return header_only(header) if keep_header else None
        has_horizon = header[ATTRIBUTES] & DELETE_HORIZON
        tombstones = not has_horizon and any(
            not row[HAS_VALUE] and header[BASE_OFFSET] + row[OFFSET_DELTA] <= self.keys.latest
            for row in kept
        )
        if len(kept) == count and not tombstones:
            return batch
        horizon = self.now_ms + self.delete_retention_ms if tombstones else None
        return rebuilt(header, data, kept, horizon)

    def _keeps(self, row: ScannedRecord, header: Header) -> bool:
        offset = header[BASE_OFFSET] + row[OFFSET_DELTA]
        if offset > self.keys.latest:
            return True
        key = row[KEY]
        if key is None:
            self.counts.keyless += 1
            return False
        if offset < self.keys.get(key):
            return False
        if row[HAS_VALUE] or not header[ATTRIBUTES] & DELETE_HORIZON:
            return True
        if self.now_ms < header[BASE_TIMESTAMP]:
            return True
        self.counts.tombstones_dropped += 1
        return False


def rebuilt(
    header: Header, data: bytes, rows: list[ScannedRecord], delete_horizon_ms: int | None
) -> bytes:
    """A batch of some of its records; with a delete horizon, time deltas count from there."""
    base_ms = header[BASE_TIMESTAMP]
    attributes = header[ATTRIBUTES]
    if delete_horizon_ms is None:
        body = b"".join([data[row[START] : row[END]] for row in rows])
    else:
        shift = base_ms - delete_horizon_ms
        body = b"".join(
            [with_timestamp_delta(data, row, row[TIMESTAMP_DELTA] + shift) for row in rows]
        )
        attributes |= DELETE_HORIZON
    max_ms = header[MAX_TIMESTAMP]
    if not attributes & LOG_APPEND_TIME:
        max_ms = base_ms + max(row[TIMESTAMP_DELTA] for row in rows)
    base_ms = base_ms if delete_horizon_ms is None else delete_horizon_ms
    packed = compress(Compression(attributes & COMPRESSION_BITS), body)
    return assembled(header, attributes, base_ms, max_ms, len(rows), packed)


def header_only(header: Header) -> bytes:
    """A batch without records that still says which offsets and sequences it had."""
    attributes = header[ATTRIBUTES] & (LOG_APPEND_TIME | TRANSACTIONAL | CONTROL)
    return assembled(header, attributes, NO_TIMESTAMP, header[MAX_TIMESTAMP], 0, b"")


def assembled(
    header: Header, attributes: int, base_ms: int, max_ms: int, count: int, packed: bytes
) -> bytes:
    """A batch with some fields and the records of ``header`` replaced, and a new checksum."""
    head = HEADER.pack(
        header[BASE_OFFSET],
        LENGTH_MIN + len(packed),
        header[LEADER_EPOCH],
        MAGIC,
        0,
        attributes,
        header[LAST_DELTA],
        base_ms,
        max_ms,
        header[PRODUCER_ID],
        header[PRODUCER_EPOCH],
        header[BASE_SEQUENCE],
        count,
    )
    batch = bytearray(HEADER_BYTES + len(packed))
    batch[:HEADER_BYTES] = head
    batch[HEADER_BYTES:] = packed
    _CRC.pack_into(batch, _CRC_AT, crc32c(memoryview(batch)[CRC_FROM:]))
    return bytes(batch)
