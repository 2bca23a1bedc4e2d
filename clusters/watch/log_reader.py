"""Bytes of the metadata log into the projector, up to the high watermark. No I/O.

Uncommitted batches are never looked into: they may still be replaced.
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
)
from broker.protocol.errors import DecodeError
from clusters.watch.events import ClusterEvent
from clusters.watch.projector import Entry, Projector

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
            entries = list(_entries(records, position, header))
            events += projector.apply_batch(entries)
            # A batch without records (compacted away) still moves the reader on.
            projector.skip_batch(
                max(header.base_offset, projector.next_offset),
                header.last_offset,
                header.leader_epoch,
            )
    return events


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
    for record in decode_records(records, position):
        yield Entry(
            offset=record.offset,
            epoch=header.leader_epoch,
            at_ms=record.timestamp_ms,
            record=rec.decode_record(record.value or b""),
        )


def snapshot_records(content: Buffer) -> tuple[int, list[rec.MetadataRecord]]:
    """(time of the last batch in ms, records) of a whole snapshot (KIP-630)."""
    found: list[rec.MetadataRecord] = []
    at_ms = 0
    for position, header in iter_batches(content):
        if not crc_matches(content, position, header):
            raise DamagedLog("the snapshot has a batch with a wrong checksum")
        at_ms = max(at_ms, header.max_timestamp_ms)
        if header.is_control:
            continue
        found += [
            rec.decode_record(record.value or b"") for record in decode_records(content, position)
        ]
    return at_ms, found
