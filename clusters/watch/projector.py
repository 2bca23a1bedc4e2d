"""From the records of the metadata log to the cluster's state and its events. Pure.

The same history gives the same image and the same events, however it is cut into answers and
however often the reader starts again at `next_offset`. Each event has the offset of its record, so
records are applied in the smallest groups that mean one decision, never a whole batch at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from broker.protocol import metadata_records as rec
from broker.protocol.errors import LogctlError
from broker.protocol.image import (
    EMPTY_IMAGE,
    RESOURCE_TOPIC,
    MetadataImage,
    applying,
)
from clusters.watch.differences import Key, Stamp, comparing, telling
from clusters.watch.events import ClusterEvent, EventKind
from clusters.watch.slices import Work, at_once

TRANSACTION_RECORDS_MAX = 1_000_000
# Each takes about a millisecond.
ENTRIES_AT_ONCE = 128
CHANGES_AT_ONCE = 64


class ProjectionError(LogctlError):
    """The log does not continue where it was left; the reader has to start from the beginning."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One record of the log."""

    offset: int
    epoch: int
    at_ms: int
    record: rec.MetadataRecord


class Projector:
    """Holds the image. Invariant: every record below `next_offset` is applied or buffered."""

    def __init__(self) -> None:
        self.image: MetadataImage = EMPTY_IMAGE
        self.next_offset = 0
        # Epoch of the record before next_offset: readers must tell it when they fetch on.
        self.last_epoch = 0
        self.controller_id = -1
        self.controller_epoch = -1
        self._transaction: list[Entry] | None = None

    def apply_batch(self, entries: Sequence[Entry]) -> list[ClusterEvent]:
        """Apply the records of one batch; those already applied are skipped.

        Raises ProjectionError for a gap, ImageError for a record that does not fit.
        """
        return at_once(self.applying_batch(entries))

    def applying_batch(self, entries: Sequence[Entry]) -> Work[list[ClusterEvent]]:
        """`apply_batch` as work in slices; `image` holds all of the batch, or nothing of it."""
        events: list[ClusterEvent] = []
        ready: list[Entry] = []
        for count, entry in enumerate(entries, 1):
            if not count % ENTRIES_AT_ONCE:
                yield
            if entry.offset < self.next_offset:
                continue
            self._advance(entry.offset, entry.offset, entry.epoch)
            ready += self._through_transaction(entry)
        image = self.image
        for group in _groups(ready):
            if group:
                image, told = yield from _applying_group(image, group)
                events += told
            yield
        self.image = image
        return events

    def skip_batch(self, base_offset: int, last_offset: int, epoch: int) -> None:
        """Pass over a control batch that carries no change."""
        if last_offset >= self.next_offset:
            self._advance(base_offset, last_offset, epoch)

    def leader_change(
        self, offset: int, epoch: int, at_ms: int, leader_id: int
    ) -> list[ClusterEvent]:
        """Apply the control record that a new leader of the quorum writes first."""
        if offset < self.next_offset:
            return []
        self._advance(offset, offset, epoch)
        return [self._controller_event(offset, epoch, at_ms, leader_id)]

    def learn_leader(self, leader_id: int, epoch: int, at_ms: int) -> list[ClusterEvent]:
        """Take who leads from an answer, where a snapshot has swallowed the control record.

        A snapshot holds no control records. Only the leader of the epoch reached is taken: that of
        a later one has its own record, which is yet to come. The first one ever is no event.
        """
        if leader_id < 0 or epoch != self.last_epoch or epoch <= self.controller_epoch:
            return []
        known = self.controller_id >= 0
        event = self._controller_event(self.next_offset - 1, epoch, at_ms, leader_id)
        return [event] if known else []

    def _controller_event(
        self, offset: int, epoch: int, at_ms: int, leader_id: int
    ) -> ClusterEvent:
        before = self.controller_id if self.controller_id >= 0 else None
        self.controller_id = leader_id
        self.controller_epoch = epoch
        return ClusterEvent(
            at_ms=at_ms,
            offset=offset,
            kind=EventKind.CONTROLLER_CHANGED,
            broker=leader_id,
            before=before,
            after=leader_id,
            leader_epoch=epoch,
        )

    def load_snapshot(
        self, end_offset: int, epoch: int, at_ms: int, records: Sequence[rec.MetadataRecord]
    ) -> list[ClusterEvent]:
        """Jump to a snapshot; events tell the net difference, all at its last offset.

        From the empty state there are no events: a snapshot tells what is, not what happened.
        """
        return at_once(self.loading_snapshot(end_offset, epoch, at_ms, records))

    def loading_snapshot(
        self, end_offset: int, epoch: int, at_ms: int, records: Sequence[rec.MetadataRecord]
    ) -> Work[list[ClusterEvent]]:
        """`load_snapshot` as work in slices; nothing is changed before its end."""
        image, _ = yield from applying(EMPTY_IMAGE, epoch, records, last_offset=end_offset - 1)
        events: list[ClusterEvent] = []
        if self.next_offset > 0:
            stamp = Stamp(end_offset - 1, at_ms)
            events = yield from comparing(self.image, image, stamp)
        self.image = image
        self.next_offset = end_offset
        self.last_epoch = epoch
        self._transaction = None
        return events

    def _advance(self, base_offset: int, last_offset: int, epoch: int) -> None:
        if base_offset > self.next_offset:
            raise ProjectionError(
                f"the metadata log continues at offset {base_offset}, expected {self.next_offset}"
            )
        self.next_offset = last_offset + 1
        self.last_epoch = epoch

    def _through_transaction(self, entry: Entry) -> list[Entry]:
        """The records that take effect with this one (KIP-868: all or none)."""
        record = entry.record
        if isinstance(record, rec.BeginTransactionRecord):
            self._transaction = []
            return []
        if isinstance(record, rec.AbortTransactionRecord):
            self._transaction = None
            return []
        if isinstance(record, rec.EndTransactionRecord):
            done, self._transaction = self._transaction, None
            return done or []
        if self._transaction is None:
            return [entry]
        if len(self._transaction) >= TRANSACTION_RECORDS_MAX:
            raise ProjectionError(f"a transaction has more than {TRANSACTION_RECORDS_MAX} records")
        self._transaction.append(entry)
        return []


def _applying_group(
    before: MetadataImage, group: list[Entry]
) -> Work[tuple[MetadataImage, list[ClusterEvent]]]:
    first, last = group[0], group[-1]
    records = [entry.record for entry in group]
    after, delta = yield from applying(before, last.epoch, records, last_offset=last.offset)
    stamps: dict[Key, Stamp] = {}
    for count, entry in enumerate(group, 1):
        stamps[_key(entry.record, after)] = Stamp(entry.offset, entry.at_ms)
        if not count % ENTRIES_AT_ONCE:
            yield
    other = Stamp(first.offset, first.at_ms)
    events = yield from telling(before, after, delta, lambda key: stamps.get(key, other))
    return after, events


def _key(record: rec.MetadataRecord, image: MetadataImage) -> Key:
    if isinstance(record, rec.PartitionRecord | rec.PartitionChangeRecord):
        return ("partition", image.topic_names.get(record.topic_id), record.partition_id)
    if isinstance(record, rec.ConfigRecord):
        return ("config", record.resource_type, record.resource_name, record.name)
    return ("record",)


def _groups(entries: Sequence[Entry]) -> Iterator[list[Entry]]:
    """Cut records into groups that can be applied at once without losing an event.

    A topic goes with the settings and partitions that follow it; changes of different partitions
    go together (a dead broker changes thousands); everything else stands alone. An empty group is
    but a place to pause.
    """
    group: list[Entry] = []
    seen: set[Key] = set()
    for entry in entries:
        key = _identity(entry.record)
        continues = group and _continues(group[0].record, entry.record) and key not in seen
        if isinstance(entry.record, rec.PartitionChangeRecord):
            # No change of one partition says anything of another's.
            continues = continues and len(group) < CHANGES_AT_ONCE
        if group and not continues:
            yield group
            group, seen = [], set()
        group.append(entry)
        seen.add(key)
        if not len(group) % ENTRIES_AT_ONCE:
            yield []
    if group:
        yield group


def _identity(record: Any) -> Key:
    if isinstance(record, rec.PartitionRecord | rec.PartitionChangeRecord):
        return ("partition", record.topic_id, record.partition_id)
    if isinstance(record, rec.ConfigRecord):
        return ("config", record.resource_type, record.resource_name, record.name)
    return (id(record),)


def _continues(first: rec.MetadataRecord, record: rec.MetadataRecord) -> bool:
    if isinstance(first, rec.TopicRecord):
        if isinstance(record, rec.UnknownRecord):
            # It changes nothing here. Where a topic has a minimum of in-sync replicas of its own,
            # Apache Kafka 4 clears its eligible leaders (KIP-966) before it adds the partitions.
            return True
        if isinstance(record, rec.PartitionRecord):
            return record.topic_id == first.topic_id
        return (
            isinstance(record, rec.ConfigRecord)
            and record.resource_type == RESOURCE_TOPIC
            and record.resource_name == first.name
        )
    if isinstance(first, rec.PartitionRecord):
        return isinstance(record, rec.PartitionRecord) and record.topic_id == first.topic_id
    return isinstance(first, rec.PartitionChangeRecord) and isinstance(
        record, rec.PartitionChangeRecord
    )
