"""Bytes of the metadata log into the projector, up to the high watermark. No I/O.

Uncommitted batches are never looked into: they may still be replaced. A batch is applied whole or
not at all, though work on it may be interrupted (`clusters.watch.slices`).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from broker.protocol import metadata_records as rec
from broker.protocol.batch import (
    BatchHeader,
    ControlType,
    control_type,
    crc_matches,
    decode_records,
    iter_batches,
    iter_records,
)
from broker.protocol.errors import DecodeError
from clusters.watch.events import ClusterEvent
from clusters.watch.projector import Entry, Projector
from clusters.watch.slices import Work, at_once, listed

Buffer = bytes | memoryview


class DamagedLog(DecodeError):
    """A batch whose checksum does not fit what it covers."""


def read_committed(
    projector: Projector, records: Buffer, high_watermark: int
) -> list[ClusterEvent]:
    """Apply every whole batch below the high watermark; returns the events.

    Raises DecodeError, ProjectionError or ImageError; the projector keeps what was applied.
    """
    events: list[ClusterEvent] = []
    at_once(reading_committed(projector, records, high_watermark, events))
    return events


def reading_committed(
    projector: Projector, records: Buffer, high_watermark: int, events: list[ClusterEvent]
) -> Work[None]:
    """`read_committed` as work in slices, which puts the events of each whole batch into `events`.

    So they are there also when a later batch cannot be read.
    """
    for position, header in iter_batches(records, partial_tail=True):
        if header.next_offset > high_watermark:
            break
        if header.next_offset <= projector.next_offset:
            continue
        if not crc_matches(records, position, header):
            raise DamagedLog(f"the batch at offset {header.base_offset} has a wrong checksum")
        if header.is_control:
            events += _control(projector, records, position, header)
        else:
            entries = yield from listed(_entries(records, position, header))
            events += yield from projector.applying_batch(entries)
            # A batch without records (compacted away) still moves the reader on.
            projector.skip_batch(
                max(header.base_offset, projector.next_offset),
                header.last_offset,
                header.leader_epoch,
            )
        yield


def _control(
    projector: Projector, records: Buffer, position: int, header: BatchHeader
) -> list[ClusterEvent]:
    events: list[ClusterEvent] = []
    for record in decode_records(records, position):
        if control_type(record) == ControlType.LEADER_CHANGE:
            leader_id = _leader_id(record.value)
            events += projector.leader_change(
                record.offset, header.leader_epoch, record.timestamp_ms, leader_id
            )
        else:
            projector.skip_batch(record.offset, record.offset, header.leader_epoch)
    return events


def _leader_id(value: bytes | None) -> int:
    # LeaderChangeMessage starts with its version and the leader in every version.
    try:
        _, leader_id = struct.unpack_from(">hi", value or b"")
    except struct.error:
        raise DecodeError("a leader change record is too short") from None
    return int(leader_id)


def _entries(records: Buffer, position: int, header: BatchHeader) -> Iterator[Entry]:
    for record in iter_records(records, position):
        yield Entry(
            offset=record.offset,
            epoch=header.leader_epoch,
            at_ms=record.timestamp_ms,
            record=rec.decode_record(record.value or b""),
        )


def snapshot_records(content: Buffer) -> Work[tuple[int, list[rec.MetadataRecord]]]:
    """(time of the last batch in ms, records) of a whole snapshot (KIP-630), as work in slices."""
    found: list[rec.MetadataRecord] = []
    at_ms = 0
    for position, header in iter_batches(content):
        if not crc_matches(content, position, header):
            raise DamagedLog("the snapshot has a batch with a wrong checksum")
        at_ms = max(at_ms, header.max_timestamp_ms)
        if header.is_control:
            continue
        entries = _entries(content, position, header)
        found += yield from listed(entry.record for entry in entries)
    return at_ms, found
