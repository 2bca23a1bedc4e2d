"""The records of a batch as far as compaction looks: key, offset, time, and whether it has a value.

Records stay bytes; nothing is built from them that can be left out, because compaction and
compacted topics look at every record. It must never trust a length inside of a record.
"""

from typing import Final, TypeAlias

from broker.protocol.batch import Compression
from broker.protocol.compression import decompress
from broker.protocol.errors import BufferUnderflow, InvalidBatch, InvalidValue
from broker.protocol.primitives import encode_varlong, read_varlong
from broker.storage.batches import ATTRIBUTES, COUNT, HEADER_BYTES, Header

COMPRESSION_BITS = 0x07
RECORD_BYTES_MIN = 7


# One record in the decompressed bytes of a batch, which lies in data[START:END]. Its timestamp
# delta lies in data[STAMP_AT:AFTER_STAMP]; deltas are relative to the batch. A plain tuple: it is
# made for every record.
ScannedRecord: TypeAlias = tuple[int, int, int, bytes | None, bool, int, int, int]
START: Final = 0
END: Final = 1
OFFSET_DELTA: Final = 2
KEY: Final = 3
HAS_VALUE: Final = 4
TIMESTAMP_DELTA: Final = 5
STAMP_AT: Final = 6
AFTER_STAMP: Final = 7


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
            byte = data[stamp_at]
            if byte < 0x80:
                stamp, after_stamp = byte >> 1 ^ -(byte & 1), stamp_at + 1
            else:
                stamp, after_stamp = _number(data, stamp_at, end)
            byte = data[after_stamp]
            if byte < 0x80:
                delta, at = byte >> 1 ^ -(byte & 1), after_stamp + 1
            else:
                delta, at = _number(data, after_stamp, end)
            byte = data[at]
            if byte < 0x80:
                size, at = byte >> 1 ^ -(byte & 1), at + 1
            else:
                size, at = _number(data, at, end)
            key = None
            if size >= 0:
                key = data[at : at + size]
                at += size
            size, at = _number(data, at, end)
            if at + size > end or at > end:
                raise InvalidBatch("a key or value is longer than its record")
            rows.append((start, end, delta, key, size >= 0, stamp, stamp_at, after_stamp))
            at = end
    except (IndexError, BufferUnderflow, InvalidValue) as error:
        raise InvalidBatch(f"record {len(rows)} is malformed: {error}") from None
    return rows, at


def _number(data: bytes, at: int, end: int) -> tuple[int, int]:
    byte = data[at]
    if byte < 0x80:
        return byte >> 1 ^ -(byte & 1), at + 1
    more = data[at + 1]
    if more < 0x80:
        byte = byte & 0x7F | more << 7
        return byte >> 1 ^ -(byte & 1), at + 2
    return read_varlong(data, at, end)


def with_timestamp_delta(data: bytes, row: ScannedRecord, delta: int) -> bytes:
    """The bytes of a record with another timestamp delta."""
    body = b"".join(
        (
            data[row[STAMP_AT] - 1 : row[STAMP_AT]],
            encode_varlong(delta),
            data[row[AFTER_STAMP] : row[END]],
        )
    )
    return encode_varlong(len(body)) + body


def keyless(batch: memoryview, header: Header) -> list[int]:
    """The places in the batch of records without a key; raises InvalidBatch."""
    rows, _ = scan_records(unpacked(batch, header), 0, header[COUNT])
    return [place for place, row in enumerate(rows) if row[KEY] is None]
