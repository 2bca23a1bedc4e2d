"""The records of a batch as far as compaction looks: key, offset, time, and whether it has a value.

Records stay bytes; nothing is built from them that can be left out, because compaction and
compacted topics look at every record. It must never trust a length inside of a record.
"""

from typing import NamedTuple

from broker.protocol.batch import Compression
from broker.protocol.compression import decompress
from broker.protocol.errors import BufferUnderflow, InvalidBatch, InvalidValue
from broker.protocol.primitives import encode_varlong, read_varlong
from broker.storage.batches import ATTRIBUTES, COUNT, HEADER_BYTES, Header

COMPRESSION_BITS = 0x07
RECORD_BYTES_MIN = 7


class ScannedRecord(NamedTuple):
    """One record in the decompressed bytes of a batch: ``data[start:end]``.

    The timestamp delta lies in ``data[stamp_at:after_stamp]``; deltas are relative to the batch.
    """

    start: int
    end: int
    offset_delta: int
    key: bytes | None
    has_value: bool
    timestamp_delta: int
    stamp_at: int
    after_stamp: int


def unpacked(batch: bytes | memoryview, header: Header) -> bytes:
    """The record bytes of one whole batch, decompressed; raises InvalidBatch."""
    codec = header[ATTRIBUTES] & COMPRESSION_BITS
    if codec > Compression.ZSTD:
        raise InvalidBatch(f"unknown compression {codec}")
    data = bytes(decompress(Compression(codec), memoryview(batch)[HEADER_BYTES:]))
    if header[COUNT] * RECORD_BYTES_MIN > len(data):
        raise InvalidBatch(f"{header[COUNT]} records in {len(data)} bytes")
    return data


def scan_records(data: bytes, at: int, count: int) -> tuple[list[ScannedRecord], int]:
    """``count`` records from ``at`` on, and where the next one begins; raises InvalidBatch."""
    rows: list[ScannedRecord] = []
    total = len(data)
    try:
        for _ in range(count):
            start = at
            length, at = _number(data, at, total)
            end = at + length
            if length <= 0 or end > total:
                raise InvalidBatch(f"a record of {length} bytes, {total - at} are left")
            stamp_at = at + 1  # after the record's attributes, of which none are defined
            stamp, after_stamp = _number(data, stamp_at, end)
            delta, at = _number(data, after_stamp, end)
            size, at = _number(data, at, end)
            key = None
            if size >= 0:
                key = data[at : at + size]
                at += size
            size, at = _number(data, at, end)
            if at + max(size, 0) > end:
                raise InvalidBatch("a key or value is longer than its record")
            rows.append(
                ScannedRecord(start, end, delta, key, size >= 0, stamp, stamp_at, after_stamp)
            )
            at = end
    except (IndexError, BufferUnderflow, InvalidValue) as error:
        raise InvalidBatch(f"record {len(rows)} is malformed: {error}") from None
    return rows, at


def _number(data: bytes, at: int, end: int) -> tuple[int, int]:
    byte = data[at]
    if byte < 0x80:
        return (byte >> 1) ^ -(byte & 1), at + 1
    return read_varlong(data, at, end)


def with_timestamp_delta(data: bytes, row: ScannedRecord, delta: int) -> bytes:
    """The bytes of a record with another timestamp delta."""
    body = b"".join(
        (
            data[row.stamp_at - 1 : row.stamp_at],
            encode_varlong(delta),
            data[row.after_stamp : row.end],
        )
    )
    return encode_varlong(len(body)) + body


def keyless(batch: memoryview, header: Header) -> list[int]:
    """The places in the batch of records without a key; raises InvalidBatch."""
    rows, _ = scan_records(unpacked(batch, header), 0, header[COUNT])
    return [place for place, row in enumerate(rows) if row.key is None]
