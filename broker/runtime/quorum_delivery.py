"""Delivery of the committed metadata to listeners: each batch once, in order, decoded once.

A batch may change every partition of the cluster. It is decoded and heard in pieces, so that the
quorum's own messages never wait for it. Must never deliver what is not committed, nor tell a
listener that this node leads before all records of earlier epochs were delivered to it.
"""

import logging
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Protocol

from broker.protocol.metadata_records import MetadataRecord
from broker.raft.types import LeaderAndEpoch
from broker.runtime.quorum_files import LoadedSnapshot
from broker.runtime.quorum_log import CommittedBatch, MetadataLog

logger = logging.getLogger("logd.quorum")

# How many pieces, of some milliseconds at most, make one turn of the loop.
PIECES_A_TURN = 2
SMALL_BATCHES_A_PIECE = 8
NOTHING_UNSAVED = -1
Hearing = Generator[None, None, None]


class QuorumListener(Protocol):
    """Hears what the quorum has committed. Called on the event loop; must be quick."""

    def on_committed(self, batch: CommittedBatch) -> Hearing | None:
        """One committed batch. Work that takes long is returned: it is done piece by piece, and
        the next batch waits for its end.
        """
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
        self.oldest_unsaved_ms = NOTHING_UNSAVED
        """When the first record was written that no snapshot holds (wall clock)."""
        self.last_timestamp_ms = 0
        self._leader: LeaderAndEpoch | None = None
        self._leader_from = 0
        self._told = True
        # The batch that is being heard; dropped when a snapshot takes its place.
        self._hearing: Iterator[None] | None = None

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
                for _ in _heard(listener, batch):
                    pass
            if self._told and self._leader is not None:
                _call(listener.on_leader_change, self._leader)
        self._listeners.append(listener)

    def install(self, snapshot: LoadedSnapshot) -> None:
        """A snapshot replaces everything delivered so far."""
        snapshot_id = snapshot.snapshot_id
        self._hearing = None
        self.position = snapshot_id.end_offset
        self.snapshot_begun()
        for listener in list(self._listeners):
            _call(listener.on_snapshot, snapshot_id.end_offset, snapshot_id.epoch, snapshot.records)

    def snapshot_begun(self) -> None:
        """A snapshot of what was delivered so far is there, or on its way."""
        self.bytes_since_snapshot = 0
        self.oldest_unsaved_ms = NOTHING_UNSAVED

    def leader_changed(self, leader: LeaderAndEpoch, deliver_from: int) -> None:
        """Tell of a leader once everything below ``deliver_from`` was delivered."""
        self._leader, self._leader_from, self._told = leader, deliver_from, False
        self._tell()

    def advance(self, high_watermark: int) -> bool:
        """Deliver towards the high watermark; True when there is more, for a later turn.

        A node that starts may have many megabytes to deliver, and the death of a broker may change
        ten thousand partitions at once; timers and messages must come in between.
        """
        for _ in range(PIECES_A_TURN):
            if self._hearing is None:
                if self.position >= high_watermark:
                    break
                self._hearing = self._deliver(high_watermark)
            hearing = self._hearing
            if next(hearing, self) is self and self._hearing is hearing:
                self._hearing = None
        self._tell()
        return self._hearing is not None or self.position < high_watermark

    def _deliver(self, upto: int) -> Iterator[None]:
        """Deliver batch after batch; yields after each piece of work."""
        small = 0
        for batch in self._log.decoding(self.position, upto):
            if batch is None:
                yield
                continue
            for listener in list(self._listeners):
                for _ in _heard(listener, batch):
                    yield
            self.position = batch.last_offset + 1
            if not self.bytes_since_snapshot:
                self.oldest_unsaved_ms = batch.append_timestamp_ms
            self.bytes_since_snapshot += batch.size_bytes
            self.last_timestamp_ms = batch.append_timestamp_ms
            small += 1
            if small % SMALL_BATCHES_A_PIECE == 0:
                yield

    def _tell(self) -> None:
        if self._told or self._leader is None or self.position < self._leader_from:
            return
        self._told = True
        leader = self._leader
        for listener in list(self._listeners):
            _call(listener.on_leader_change, leader)


def _heard(listener: QuorumListener, batch: CommittedBatch) -> Iterator[None]:
    """Have one listener hear a batch, piece by piece."""
    try:
        work = listener.on_committed(batch)
        if work is not None:
            yield from work
    except Exception:
        logger.exception("a listener of the metadata log failed")


def _call(fn: Callable[..., None], *args: object) -> None:
    """One listener's fault must not keep the others from hearing."""
    try:
        fn(*args)
    except Exception:
        logger.exception("a listener of the metadata log failed")
