"""Record batches of format 2 (magic 2): the unit that is produced, stored, replicated and fetched.

A broker looks at the 61 bytes of header and at the checksum, and patches base offset and leader
epoch, which the checksum does not cover; it must never take records apart unless it has to. The
checksum is CRC-32C over everything from the attributes (byte 21) to the end of the batch. Control
batches, at the end of this file, are what a log says about itself; consumers never see them.
"""

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, NamedTuple

from broker.protocol.checksum import crc32c
from broker.protocol.codec import encode_data
from broker.protocol.compression import (
    DECOMPRESSED_BYTES_MAX,
    Compression,
    compress,
    decompress,
)
from broker.protocol.errors import (
    BufferUnderflow,
    EncodeError,
    InvalidBatch,
    InvalidValue,
    TornBatch,
)
from broker.protocol.primitives import Buffer, encode_varlong, read_varlong
from broker.protocol.struct import Struct

__all__ = [
    "CRC_START",
    "DECOMPRESSED_BYTES_MAX",
    "HEADER_BYTES",
    "MAGIC",
    "BatchHeader",
    "Compression",
    "ControlType",
    "Record",
    "control_type",
    "crc_matches",
    "decode_records",
    "encode_batch",
    "encode_control_batch",
    "encode_leader_change",
    "encode_snapshot_footer",
    "encode_snapshot_header",
    "iter_batches",
    "patch",
    "patch_log_append_time",
    "read_header",
]

MAGIC: Final = 2
HEADER_BYTES: Final = 61
# Base offset and length come before what the length counts.
LENGTH_OVERHEAD: Final = 12
BATCH_LENGTH_MIN: Final = HEADER_BYTES - LENGTH_OVERHEAD
CRC_START: Final = 21
RECORD_BYTES_MIN: Final = 7

_COMPRESSION_BITS: Final = 0x07
_LOG_APPEND_TIME: Final = 0x08
_TRANSACTIONAL: Final = 0x10
_CONTROL: Final = 0x20
_SEQUENCE_LIMIT: Final = 2**31

_HEADER: Final = struct.Struct(">qiibIhiqqqhii")
_AFTER_CRC: Final = struct.Struct(">hiqqqhii")
_CRC: Final = struct.Struct(">I")
_EPOCH_POSITION: Final = 12
_CRC_POSITION: Final = 17
_MAX_TIMESTAMP_POSITION: Final = 35
_unpack_header = _HEADER.unpack_from


class BatchHeader(NamedTuple):
    """The header of a batch. ``batch_length`` counts the bytes after itself, as on the wire."""

    base_offset: int
    batch_length: int
    leader_epoch: int
    magic: int
    crc: int
    attributes: int
    last_offset_delta: int
    base_timestamp_ms: int
    max_timestamp_ms: int
    producer_id: int
    producer_epoch: int
    base_sequence: int
    records_count: int

    @property
    def size_bytes(self) -> int:
        """All bytes of the batch."""
        return LENGTH_OVERHEAD + self.batch_length

    @property
    def last_offset(self) -> int:
        """The offset of the last record."""
        return self.base_offset + self.last_offset_delta

    @property
    def next_offset(self) -> int:
        """The offset after the last record."""
        return self.base_offset + self.last_offset_delta + 1

    @property
    def compression(self) -> Compression:
        """How the records are compressed."""
        return Compression(self.attributes & _COMPRESSION_BITS)

    @property
    def log_append_time(self) -> bool:
        """Whether every record's timestamp is max_timestamp_ms, set by the broker."""
        return bool(self.attributes & _LOG_APPEND_TIME)

    @property
    def is_transactional(self) -> bool:
        """Whether the batch belongs to a transaction."""
        return bool(self.attributes & _TRANSACTIONAL)

    @property
    def is_control(self) -> bool:
        """Whether the batch holds control records, which no consumer sees."""
        return bool(self.attributes & _CONTROL)

    @property
    def last_sequence(self) -> int:
        """The sequence number of the last record, -1 without; wraps from 2^31-1 to 0."""
        if self.base_sequence < 0:
            return -1
        return (self.base_sequence + self.last_offset_delta) % _SEQUENCE_LIMIT


@dataclass(frozen=True, slots=True)
class Record:
    """One event. A header's key may hold bytes that are no UTF-8, as surrogate escapes."""

    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()


def read_header(buffer: Buffer, position: int = 0) -> BatchHeader:
    """Read the header at a position; the rest of the batch need not be there.

    Raises TornBatch when fewer than 61 bytes are there, InvalidBatch when they make no sense.
    """
    try:
        header = BatchHeader._make(_unpack_header(buffer, position))
    except struct.error:
        left = len(buffer) - position
        raise TornBatch(f"a batch header takes {HEADER_BYTES} bytes, {left} are left") from None
    if header.magic != MAGIC:
        raise InvalidBatch(f"a batch of format {header.magic}; only {MAGIC} is known")
    if header.batch_length < BATCH_LENGTH_MIN:
        raise InvalidBatch(f"a batch of length {header.batch_length}")
    if header.records_count < 0 or header.last_offset_delta < 0 or header.base_offset < 0:
        raise InvalidBatch(
            f"a batch of {header.records_count} records, base offset {header.base_offset}, "
            f"last offset delta {header.last_offset_delta}"
        )
    if header.attributes & _COMPRESSION_BITS > Compression.ZSTD:
        raise InvalidBatch(f"unknown compression {header.attributes & _COMPRESSION_BITS}")
    return header


def iter_batches(
    buffer: Buffer, *, partial_tail: bool = False
) -> Iterator[tuple[int, BatchHeader]]:
    """Every batch with its position.

    Raises TornBatch when the last batch is cut off, unless ``partial_tail`` says that this is fine
    (a fetch answer may end so), and InvalidBatch at nonsense.
    """
    position, end = 0, len(buffer)
    while position < end:
        try:
            header = read_header(buffer, position)
            if header.size_bytes > end - position:
                raise TornBatch(
                    f"the batch at byte {position} takes {header.size_bytes} bytes, "
                    f"{end - position} are left"
                )
        except TornBatch:
            if partial_tail:
                return
            raise
        yield position, header
        position += header.size_bytes


def crc_matches(buffer: Buffer, position: int, header: BatchHeader) -> bool:
    """Whether the checksum fits; raises TornBatch when the batch is cut off."""
    end = position + header.size_bytes
    if end > len(buffer):
        raise TornBatch(f"the batch at byte {position} is cut off")
    with memoryview(buffer) as view, view[position + CRC_START : end] as covered:
        return int(crc32c(covered)) == header.crc


def patch(
    buffer: bytearray | memoryview, position: int, *, base_offset: int, leader_epoch: int
) -> None:
    """Set base offset and leader epoch in place; the checksum stays right."""
    struct.pack_into(">q", buffer, position, base_offset)
    struct.pack_into(">i", buffer, position + _EPOCH_POSITION, leader_epoch)


def patch_log_append_time(buffer: bytearray | memoryview, position: int, timestamp_ms: int) -> None:
    """Give all records of a batch the broker's time, and the batch its new checksum."""
    header = read_header(buffer, position)
    end = position + header.size_bytes
    if end > len(buffer):
        raise TornBatch(f"the batch at byte {position} is cut off")
    struct.pack_into(">h", buffer, position + CRC_START, header.attributes | _LOG_APPEND_TIME)
    struct.pack_into(">q", buffer, position + _MAX_TIMESTAMP_POSITION, timestamp_ms)
    with memoryview(buffer) as view, view[position + CRC_START : end] as covered:
        crc = crc32c(covered)
    _CRC.pack_into(buffer, position + _CRC_POSITION, crc)


def decode_records(
    buffer: Buffer, position: int = 0, *, limit: int = DECOMPRESSED_BYTES_MAX
) -> list[Record]:
    """The records of the batch at a position, decompressed to at most ``limit`` bytes.

    Raises TornBatch when the batch is cut off and InvalidBatch when the records are not what the
    header says. The checksum is not looked at.
    """
    return list(iter_records(buffer, position, limit=limit))


def iter_records(
    buffer: Buffer, position: int = 0, *, limit: int = DECOMPRESSED_BYTES_MAX
) -> Iterator[Record]:
    """`decode_records` one by one; what raises for a later record comes after those before it."""
    header = read_header(buffer, position)
    end = position + header.size_bytes
    if end > len(buffer):
        raise TornBatch(f"the batch at byte {position} is cut off")
    packed = memoryview(buffer)[position + HEADER_BYTES : end]
    data = bytes(decompress(header.compression, packed, limit))
    if header.records_count * RECORD_BYTES_MIN > len(data):
        raise InvalidBatch(f"{header.records_count} records in {len(data)} bytes")
    at = 0
    for number in range(header.records_count):
        try:
            record, at = _read_record(data, at, header)
        except (BufferUnderflow, InvalidValue, IndexError) as error:
            raise InvalidBatch(f"record {number} is malformed: {error}") from None
        yield record
    if at != len(data):
        raise InvalidBatch(f"{len(data) - at} bytes follow the last record")


def _read_record(data: bytes, at: int, header: BatchHeader) -> tuple[Record, int]:
    length, at = read_varlong(data, at, len(data))
    end = at + length
    if length < 0 or end > len(data):
        raise InvalidBatch(f"a record of {length} bytes, {len(data) - at} are left")
    at += 1  # The record's own attributes: none are defined.
    timestamp_delta, at = read_varlong(data, at, end)
    offset_delta, at = read_varlong(data, at, end)
    key, at = _read_bytes(data, at, end)
    value, at = _read_bytes(data, at, end)
    count, at = read_varlong(data, at, end)
    # A header takes two bytes or more.
    if not 0 <= count <= (end - at) // 2:
        raise InvalidBatch(f"{count} record headers in {end - at} bytes")
    headers = []
    for _ in range(count):
        name, at = _read_bytes(data, at, end)
        if name is None:
            raise InvalidBatch("a record header without a key")
        content, at = _read_bytes(data, at, end)
        headers.append((name.decode("utf-8", "surrogateescape"), content))
    if at != end:
        raise InvalidBatch(f"a record ends {end - at} bytes before its length says")
    timestamp_ms = header.base_timestamp_ms + timestamp_delta
    if header.log_append_time:
        timestamp_ms = header.max_timestamp_ms
    offset = header.base_offset + offset_delta
    return Record(offset, timestamp_ms, key, value, tuple(headers)), at


def _read_bytes(data: bytes, at: int, end: int) -> tuple[bytes | None, int]:
    length, at = read_varlong(data, at, end)
    if length < 0:
        return None, at
    after = at + length
    if after > end:
        raise InvalidBatch(f"{length} bytes announced, {end - at} are left in the record")
    return data[at:after], after


def encode_batch(
    records: Sequence[Record],
    *,
    base_offset: int = 0,
    leader_epoch: int = -1,
    compression: Compression = Compression.NONE,
    producer_id: int = -1,
    producer_epoch: int = -1,
    base_sequence: int = -1,
    control: bool = False,
    transactional: bool = False,
) -> bytes:
    """One batch of one or more records; raises EncodeError for none, or values out of range.

    Offsets count from the first record's: its place in the log is ``base_offset``.
    """
    if not records:
        raise EncodeError("a batch needs at least one record")
    first = records[0]
    base_timestamp_ms = first.timestamp_ms
    last_delta = records[-1].offset - first.offset
    body = b"".join(
        _encode_record(
            record, record.timestamp_ms - base_timestamp_ms, record.offset - first.offset
        )
        for record in records
    )
    attributes = int(compression)
    attributes |= _TRANSACTIONAL if transactional else 0
    attributes |= _CONTROL if control else 0
    max_timestamp_ms = max(record.timestamp_ms for record in records)
    packed = compress(compression, body)
    try:
        covered = _AFTER_CRC.pack(
            attributes,
            last_delta,
            base_timestamp_ms,
            max_timestamp_ms,
            producer_id,
            producer_epoch,
            base_sequence,
            len(records),
        )
        length = BATCH_LENGTH_MIN + len(packed)
        crc = crc32c(packed, crc32c(covered))
        head = struct.pack(">qiibI", base_offset, length, leader_epoch, MAGIC, crc)
    except struct.error as error:
        raise EncodeError(f"a batch cannot hold these values: {error}") from None
    return b"".join((head, covered, packed))


def _encode_record(record: Record, timestamp_delta: int, offset_delta: int) -> bytes:
    pieces = [b"\x00", encode_varlong(timestamp_delta), encode_varlong(offset_delta)]
    pieces += _encode_bytes(record.key)
    pieces += _encode_bytes(record.value)
    pieces.append(encode_varlong(len(record.headers)))
    for name, content in record.headers:
        pieces += _encode_bytes(name.encode("utf-8", "surrogateescape"))
        pieces += _encode_bytes(content)
    body = b"".join(pieces)
    return encode_varlong(len(body)) + body


def _encode_bytes(value: bytes | None) -> tuple[bytes, bytes]:
    if value is None:
        return b"\x01", b""
    return encode_varlong(len(value)), value


# A control record's key: version 0 and the type. Its value is a data structure of the schema.
_CONTROL_KEY: Final = struct.Struct(">hh")


class ControlType(IntEnum):
    """The types of control records."""

    ABORT = 0
    COMMIT = 1
    LEADER_CHANGE = 2
    SNAPSHOT_HEADER = 3
    SNAPSHOT_FOOTER = 4
    KRAFT_VERSION = 5
    KRAFT_VOTERS = 6


def control_type(record: Record) -> ControlType | int:
    """The type of a control record, or its number when that is newer than our table.

    Raises InvalidBatch when the key is not that of a control record.
    """
    if record.key is None or len(record.key) < _CONTROL_KEY.size:
        raise InvalidBatch("a control record without a version and a type in its key")
    version, kind = _CONTROL_KEY.unpack_from(record.key)
    if version < 0:
        raise InvalidBatch(f"a control record of version {version}")
    try:
        return ControlType(kind)
    except ValueError:
        return int(kind)


def encode_control_batch(
    kind: ControlType,
    value: bytes,
    *,
    base_offset: int,
    leader_epoch: int,
    timestamp_ms: int,
    producer_id: int = -1,
    producer_epoch: int = -1,
    transactional: bool = False,
) -> bytes:
    """A batch with one control record."""
    record = Record(base_offset, timestamp_ms, _CONTROL_KEY.pack(0, kind), value)
    return encode_batch(
        [record],
        base_offset=base_offset,
        leader_epoch=leader_epoch,
        producer_id=producer_id,
        producer_epoch=producer_epoch,
        control=True,
        transactional=transactional,
    )


def encode_leader_change(
    *,
    base_offset: int,
    leader_epoch: int,
    timestamp_ms: int,
    leader_id: int,
    voters: Iterable[int],
    granting_voters: Iterable[int],
) -> bytes:
    """The batch with which a new leader of the quorum opens its epoch (KIP-595).

    Version 0: voters without directory ids, as it is while kraft.version is 0. Readers do not take
    the version from the message but from that feature (KIP-853).
    """
    body = Struct(
        version=0,
        leader_id=leader_id,
        voters=_voters(voters),
        granting_voters=_voters(granting_voters),
    )
    return encode_control_batch(
        ControlType.LEADER_CHANGE,
        encode_data("leader_change_message", 0, body),
        base_offset=base_offset,
        leader_epoch=leader_epoch,
        timestamp_ms=timestamp_ms,
    )


def _voters(ids: Iterable[int]) -> list[Struct]:
    return [Struct(voter_id=node) for node in sorted(ids)]


def encode_snapshot_header(
    *, base_offset: int, leader_epoch: int, timestamp_ms: int, last_contained_log_timestamp: int
) -> bytes:
    """The first batch of a snapshot (KIP-630); the timestamps are milliseconds."""
    body = Struct(version=0, last_contained_log_timestamp=last_contained_log_timestamp)
    return encode_control_batch(
        ControlType.SNAPSHOT_HEADER,
        encode_data("snapshot_header_record", 0, body),
        base_offset=base_offset,
        leader_epoch=leader_epoch,
        timestamp_ms=timestamp_ms,
    )


def encode_snapshot_footer(*, base_offset: int, leader_epoch: int, timestamp_ms: int) -> bytes:
    """The last batch of a snapshot (KIP-630)."""
    return encode_control_batch(
        ControlType.SNAPSHOT_FOOTER,
        encode_data("snapshot_footer_record", 0, Struct(version=0)),
        base_offset=base_offset,
        leader_epoch=leader_epoch,
        timestamp_ms=timestamp_ms,
    )
