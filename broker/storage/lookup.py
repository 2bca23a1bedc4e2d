"""Finding offsets by timestamp (ListOffsets). Reads headers by the time index, then one batch.

It decompresses at most the batches whose largest timestamp says that the answer may lie in them.
"""

from broker.protocol.batch import decode_records
from broker.storage.batches import (
    BASE_OFFSET,
    COUNT,
    LAST_DELTA,
    LEADER_EPOCH,
    LENGTH,
    MAX_TIMESTAMP,
    PREFIX_BYTES,
    Header,
)
from broker.storage.index import NO_TIMESTAMP
from broker.storage.segment import Segment

Found = tuple[int, int, int]  # (offset, timestamp_ms, leader epoch)


def first_at_or_after(
    segments: list[Segment], timestamp_ms: int, start: int, upto: int
) -> Found | None:
    """The first record in ``[start, upto)`` with a timestamp at or above ``timestamp_ms``."""
    for segment in segments:
        if segment.end_offset <= start:
            continue
        if segment.base_offset >= upto:
            return None
        if segment.largest_timestamp()[0] < timestamp_ms:
            continue
        hint = max(segment.time_index.lookup(timestamp_ms), start, segment.base_offset)
        position, base = segment.position_of(hint)
        for at, header in segment.walk(position, base):
            if header[BASE_OFFSET] >= upto:
                return None
            if header[MAX_TIMESTAMP] < timestamp_ms:
                continue
            for record in _records(segment, at, header):
                if record[0] >= max(start, 0) and record[1] >= timestamp_ms:
                    return record if record[0] < upto else None
    return None


def largest(segments: list[Segment], start: int, upto: int) -> Found | None:
    """The first record with the largest timestamp in ``[start, upto)``; None without any."""
    best = NO_TIMESTAMP
    winner: tuple[Segment, int, Header] | None = None
    for segment in segments:
        if segment.end_offset <= start or segment.base_offset >= upto:
            continue
        if segment.base_offset >= start and segment.end_offset <= upto:
            timestamp_ms, last_offset = segment.largest_timestamp()
            if timestamp_ms <= best:
                continue
            first = last_offset
        else:
            # Only a part of the segment counts: begin at the largest timestamp known to be in it.
            timestamp_ms, first = segment.time_index.before(upto)
            first = max(first, start) if timestamp_ms > best else max(start, segment.base_offset)
        position, base = segment.position_of(first)
        for at, header in segment.walk(position, base):
            if header[BASE_OFFSET] >= upto:
                break
            if header[MAX_TIMESTAMP] > best and header[COUNT]:
                best, winner = header[MAX_TIMESTAMP], (segment, at, header)
    if winner is None:
        return None
    in_range = [r for r in _records(*winner) if start <= r[0] < upto]
    return max(in_range, key=lambda r: (r[1], -r[0]), default=None)


def _records(segment: Segment, position: int, header: Header) -> list[Found]:
    if not header[COUNT]:
        return []  # compaction left only its header
    data = segment.file.read(position, header[LENGTH] + PREFIX_BYTES)
    epoch = header[LEADER_EPOCH]
    if header[LAST_DELTA] == 0 and header[BASE_OFFSET] >= 0:
        return [(header[BASE_OFFSET], header[MAX_TIMESTAMP], epoch)]
    return [(record.offset, record.timestamp_ms, epoch) for record in decode_records(data)]
