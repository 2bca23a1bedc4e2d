"""What a log checks before it writes a batch that a producer sent (semantics of LogValidator).

Pure functions over header tuples and bytes. They must never decompress records, except where a
compacted topic has to see the keys.
"""

from typing import NamedTuple

from crc32c import crc32c

from broker.protocol.batch import Compression
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
    LENGTH,
    LENGTH_MIN,
    MAGIC,
    MAX_TIMESTAMP,
    PREFIX_BYTES,
    PRODUCER_EPOCH,
    PRODUCER_ID,
    TRANSACTIONAL,
    Header,
    header_problem,
)
from broker.storage.errors import (
    BatchTooLarge,
    CorruptBatch,
    InvalidBatch,
    InvalidRecord,
    InvalidTimestamp,
    LargerThanSegment,
    OldMagic,
    TornBatch,
)
from broker.storage.log_config import LogConfig
from broker.storage.producers import ProducerState
from broker.storage.record_scan import (
    COMPRESSION_BITS,
    RECORD_BYTES_MIN,
    TIMESTAMP_DELTA,
    keyless,
    scan_records,
    unpacked,
)

MAGIC_PLACE = 3  # in a Header
NO_TIMESTAMP = -1
KEYLESS = "a compacted topic does not accept a record without a key"


class AppendInfo(NamedTuple):
    """What an append did. ``duplicate``: nothing was written, the offsets are the original ones.

    ``log_append_time_ms`` is -1 when the timestamps are the producer's; for a duplicate it is the
    largest timestamp of the batch that is there, as Kafka has it.
    """

    first_offset: int
    last_offset: int
    max_timestamp_ms: int
    log_append_time_ms: int
    records_count: int
    size_bytes: int
    duplicate: bool = False


def read_headers(view: memoryview, *, whole: bool) -> list[tuple[int, Header]]:
    """Position and header of each batch in ``view``.

    Raises InvalidBatch for nonsense and TornBatch when the last batch is cut off; with ``whole``
    False a cut-off last batch after whole ones is left out instead.
    """
    found: list[tuple[int, Header]] = []
    position = 0
    total = len(view)
    while position < total:
        if total - position < HEADER_BYTES:
            if found and not whole:
                break
            raise TornBatch(f"{total - position} bytes are no whole batch header")
        header: Header = HEADER.unpack_from(view, position)
        if (problem := header_problem(header)) is not None:
            raise _nonsense(header, f"the batch at byte {position} has {problem}", whole)
        size = header[LENGTH] + PREFIX_BYTES
        if position + size > total:
            if found and not whole:
                break
            raise TornBatch(f"the batch at byte {position} ends {position + size - total} late")
        found.append((position, header))
        position += size
    if not found:
        raise TornBatch("there is no batch to append")
    return found


def _nonsense(header: Header, message: str, produced: bool) -> Exception:
    """What to raise for a header: producers are told of some mistakes more exactly."""
    if produced and header[MAGIC_PLACE] in (0, 1):
        return OldMagic(message)
    counts = header[COUNT] < 0 or header[LAST_DELTA] < 0
    if produced and counts and header[MAGIC_PLACE] == MAGIC and header[LENGTH] >= LENGTH_MIN:
        return InvalidRecord(message)
    return InvalidBatch(message)


def covers(header: Header, offset: int) -> bool:
    """Whether the batch begins below ``offset`` and ends at or above it."""
    return header[BASE_OFFSET] < offset <= header[BASE_OFFSET] + header[LAST_DELTA]


def check_checksum(view: memoryview, position: int, header: Header) -> None:
    """Raise CorruptBatch when the checksum does not match."""
    end = position + header[LENGTH] + PREFIX_BYTES
    if crc32c(view[position + CRC_FROM : end]) != header[4]:
        raise CorruptBatch(
            f"the checksum of the batch with base offset {header[BASE_OFFSET]} does not match"
        )


def check_produced(
    view: memoryview, position: int, header: Header, config: LogConfig, now_ms: int, *, stamp: bool
) -> None:
    """Raise an AppendRefused when a producer must not append this batch.

    ``stamp`` says that the broker sets the timestamps, so that the producer's do not matter.
    """
    check_checksum(view, position, header)
    if header[BASE_OFFSET]:
        raise InvalidRecord(
            f"the batch has base offset {header[BASE_OFFSET]}; producers number from 0"
        )
    if header[COUNT] != header[LAST_DELTA] + 1 or not header[COUNT]:
        raise InvalidRecord(
            f"the batch announces {header[COUNT]} records and last offset delta "
            f"{header[LAST_DELTA]}; offsets in a batch must be dense"
        )
    codec = header[ATTRIBUTES] & COMPRESSION_BITS
    if codec > Compression.ZSTD:
        raise InvalidRecord(f"there is no compression {codec}")
    records_bytes = header[LENGTH] - LENGTH_MIN
    if records_bytes < (1 if codec else header[COUNT] * RECORD_BYTES_MIN):
        raise InvalidRecord(f"{header[COUNT]} records cannot be in {records_bytes} bytes")
    if header[ATTRIBUTES] & CONTROL:
        raise InvalidRecord("control batches are written by brokers only")
    if header[PRODUCER_ID] >= 0:
        if header[BASE_SEQUENCE] < 0 or header[PRODUCER_EPOCH] < 0:
            raise InvalidRecord(
                f"producer {header[PRODUCER_ID]} sent epoch {header[PRODUCER_EPOCH]} and sequence "
                f"{header[BASE_SEQUENCE]}; neither may be negative"
            )
    elif header[ATTRIBUTES] & TRANSACTIONAL:
        raise InvalidRecord("a transactional batch needs a producer id")
    batch = view[position : position + header[LENGTH] + PREFIX_BYTES]
    if not stamp and _may_break_limits(header, config, now_ms):
        _check_timestamps(batch, header, config, now_ms)
    if config.compact:
        _check_keys(batch, header)


def check_size(header: Header, limit: int) -> None:
    """Raise BatchTooLarge when the batch is above ``limit`` bytes."""
    size = header[LENGTH] + PREFIX_BYTES
    if size > limit:
        raise BatchTooLarge(f"the batch has {size} bytes, at most {limit} are allowed")


def check_fits_segment(header: Header, segment_bytes: int) -> None:
    """Raise LargerThanSegment when no segment could hold the batch."""
    size = header[LENGTH] + PREFIX_BYTES
    if size > segment_bytes:
        raise LargerThanSegment(
            f"the batch has {size} bytes, a segment holds {segment_bytes} (segment.bytes)"
        )


def find_duplicate(producers: ProducerState, header: Header) -> AppendInfo | None:
    """What the append of this very batch gave the first time, or None when it is new.

    Raises OutOfOrderSequence, InvalidProducerEpoch.
    """
    if header[BASE_SEQUENCE] < 0:
        return None  # a marker
    batch = producers.check(
        header[PRODUCER_ID], header[PRODUCER_EPOCH], header[BASE_SEQUENCE], header[COUNT]
    )
    if batch is None:
        return None
    return AppendInfo(
        batch.first_offset,
        batch.last_offset,
        batch.timestamp_ms,
        batch.timestamp_ms,
        header[COUNT],
        header[LENGTH] + PREFIX_BYTES,
        duplicate=True,
    )


def _may_break_limits(header: Header, config: LogConfig, now_ms: int) -> bool:
    """Whether the records' timestamps have to be looked at; by default never."""
    if header[MAX_TIMESTAMP] - now_ms > config.message_timestamp_after_max_ms:
        return True
    # Only the first record's timestamp stands in the header, any other may be older.
    return now_ms > config.message_timestamp_before_max_ms


def _check_timestamps(batch: memoryview, header: Header, config: LogConfig, now_ms: int) -> None:
    """Raise InvalidTimestamp, naming every record at fault; InvalidBatch for broken records."""
    earliest = now_ms - config.message_timestamp_before_max_ms
    latest = now_ms + config.message_timestamp_after_max_ms
    rows, _ = scan_records(unpacked(batch, header), 0, header[COUNT])
    errors = []
    for place, row in enumerate(rows):
        timestamp = header[BASE_TIMESTAMP] + row[TIMESTAMP_DELTA]
        if timestamp != NO_TIMESTAMP and not earliest <= timestamp <= latest:
            errors.append((place, f"timestamp {timestamp} is outside {earliest} to {latest}"))
    if errors:
        raise InvalidTimestamp(
            f"record {errors[0][0]}: {errors[0][1]}, as message.timestamp.before.max.ms and "
            f"message.timestamp.after.max.ms allow by the broker's clock",
            tuple(errors),
        )


def _check_keys(batch: memoryview, header: Header) -> None:
    if places := keyless(batch, header):
        raise InvalidRecord(
            f"record {places[0]} has no key, nor have {len(places) - 1} others in the batch; a "
            f"compacted topic needs one in each record",
            tuple((place, KEYLESS) for place in places),
        )
