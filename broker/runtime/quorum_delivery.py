"""Delivery of the committed metadata to listeners: each batch once, in order, decoded once.

Must never deliver what is not committed, nor tell a listener that this node leads before all
records of earlier epochs were delivered to it.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from broker.protocol.metadata_records import MetadataRecord
from broker.raft.types import LeaderAndEpoch
from broker.runtime.quorum_files import LoadedSnapshot
from broker.runtime.quorum_log import CommittedBatch, MetadataLog

logger = logging.getLogger("logd.quorum")

TURN_BYTES_MAX = 128 * 1024


class QuorumListener(Protocol):
    """Hears what the quorum has committed. Called on the event loop; must be quick."""

    def on_committed(self, batch: CommittedBatch) -> None:
        """One committed batch."""
        ...

    def on_snapshot(self, end_offset: int, epoch: int, records: Sequence[MetadataRecord]) -> None:
        """Everything below ``end_offset``, instead of its batches."""
        ...

    def on_leader_change(self, leader: LeaderAndEpoch) -> None:
        """Another node (or nobody, -1) leads; of this node only when it is ready to decide."""
        ...


class Delivery:
    """Brings every listener to the high watermark."""

    def __init__(self, log: MetadataLog) -> None:
        self._log = log
        self._listeners: list[QuorumListener] = []
        self._running = False
        self.position = 0
        """Offset of the next record to deliver."""
        self.bytes_since_snapshot = 0
        self.last_timestamp_ms = 0
        self._leader: LeaderAndEpoch | None = None
        self._leader_from = 0
        self._told = True

    def begin(self, snapshot: LoadedSnapshot | None) -> None:
        """Start at a snapshot, or at offset 0."""
        self._running = True
        if snapshot is not None:
            self.install(snapshot)

    def add(self, listener: QuorumListener) -> None:
        """A new listener; it first hears all that was delivered before. Twice the same is once."""
        if any(known is listener for known in self._listeners):
            return
        if self._running:
            offset = 0
            newest = self._log.newest_snapshot
            if newest is not None and newest.end_offset <= self.position:
                offset = newest.end_offset
                records = self._log.snapshots.load(newest).records
                _call(listener.on_snapshot, offset, newest.epoch, records)
            for batch in self._log.committed(offset, self.position):
                _call(listener.on_committed, batch)
            if self._told and self._leader is not None:
                _call(listener.on_leader_change, self._leader)
        self._listeners.append(listener)

    def install(self, snapshot: LoadedSnapshot) -> None:
        """A snapshot replaces everything delivered so far."""
        snapshot_id = snapshot.snapshot_id
        self.position = snapshot_id.end_offset
        self.bytes_since_snapshot = 0
        for listener in list(self._listeners):
            _call(listener.on_snapshot, snapshot_id.end_offset, snapshot_id.epoch, snapshot.records)

    def leader_changed(self, leader: LeaderAndEpoch, deliver_from: int) -> None:
        """Tell of a leader once everything below ``deliver_from`` was delivered."""
        self._leader, self._leader_from, self._told = leader, deliver_from, False
        self._tell()

    def advance(self, high_watermark: int) -> bool:
        """Deliver towards the high watermark; True when there is more, for a later turn.

        A node that starts may have many megabytes to deliver; its timers must fire in between.
        """
        delivered_bytes = 0
        if self.position < high_watermark:
            for batch in self._log.committed(self.position, high_watermark):
                self.position = batch.last_offset + 1
                self.bytes_since_snapshot += batch.size_bytes
                self.last_timestamp_ms = batch.append_timestamp_ms
                for listener in list(self._listeners):
                    _call(listener.on_committed, batch)
                delivered_bytes += batch.size_bytes
                if delivered_bytes >= TURN_BYTES_MAX:
                    break
        self._tell()
        return self.position < high_watermark

    def _tell(self) -> None:
        if self._told or self._leader is None or self.position < self._leader_from:
            return
        self._told = True
        leader = self._leader
        for listener in list(self._listeners):
            _call(listener.on_leader_change, leader)


def _call(fn: Callable[..., None], *args: object) -> None:
    """One listener's fault must not keep the others from hearing."""
    try:
        fn(*args)
    except Exception:
        logger.exception("a listener of the metadata log failed")
