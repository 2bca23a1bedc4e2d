"""What the core knows of its log: where it begins and ends, and where each epoch begins.

A mirror in memory of the log on disk, changed together with it. Must never hold records.
"""

from collections.abc import Iterable

from broker.raft.types import EpochEndOffset, SnapshotId


class LogState:
    """Offsets and epochs of a log.

    Invariants: ``start_offset <= flushed_offset <= end_offset`` (what a trim removes is durable in
    its snapshot); epochs and their start offsets both grow strictly.
    """

    def __init__(
        self,
        *,
        start_offset: int = 0,
        end_offset: int = 0,
        epochs: Iterable[tuple[int, int]] = (),
        snapshot: SnapshotId | None = None,
    ) -> None:
        self.start_offset = start_offset
        self.end_offset = end_offset
        self.flushed_offset = end_offset
        self.snapshot = snapshot
        self._epochs = [(epoch, offset) for epoch, offset in epochs if offset < end_offset]
        self._clamp_epochs()

    @property
    def epochs(self) -> tuple[tuple[int, int], ...]:
        """(epoch, offset of its first record) for every epoch with records in the log."""
        return tuple(self._epochs)

    @property
    def last_epoch(self) -> int:
        """Epoch of the last record, be it in the log or only in the snapshot; 0 for none."""
        if self._epochs:
            return self._epochs[-1][0]
        return self.snapshot.epoch if self.snapshot is not None else 0

    def append(self, base_offset: int, last_offset: int, epoch: int) -> None:
        """Records of one epoch were appended at the end."""
        assert base_offset == self.end_offset, f"append at {base_offset}, end is {self.end_offset}"
        assert last_offset >= base_offset
        assert epoch >= self.last_epoch, f"epoch {epoch} after {self.last_epoch}"
        if not self._epochs or self._epochs[-1][0] != epoch:
            self._epochs.append((epoch, base_offset))
        self.end_offset = last_offset + 1

    def truncate_to(self, offset: int) -> None:
        """Records at and after ``offset`` are gone; epochs that only began there too."""
        assert self.start_offset <= offset <= self.end_offset
        self.end_offset = offset
        self.flushed_offset = min(self.flushed_offset, offset)
        while self._epochs and self._epochs[-1][1] >= offset:
            self._epochs.pop()

    def trim_to(self, offset: int) -> None:
        """Records below ``offset`` are gone."""
        self.start_offset = max(self.start_offset, offset)
        self.flushed_offset = max(self.flushed_offset, self.start_offset)
        self._clamp_epochs()

    def reset_to(self, snapshot: SnapshotId) -> None:
        """The log was replaced by a snapshot: empty, beginning at its end."""
        self.snapshot = snapshot
        self.start_offset = self.end_offset = self.flushed_offset = snapshot.end_offset
        self._epochs = []

    def end_offset_for_epoch(self, epoch: int) -> EpochEndOffset:
        """The largest known epoch not above ``epoch`` and where it ends (KIP-101, KIP-279).

        An epoch older than all known ones ends, empty, where the log begins.
        """
        end = self.end_offset
        for known, start in reversed(self._epochs):
            if known <= epoch:
                return EpochEndOffset(known, end)
            end = start
        if self.snapshot is not None and self.snapshot.epoch <= epoch:
            return EpochEndOffset(self.snapshot.epoch, end)
        return EpochEndOffset(epoch, end)

    def check_fetch(self, offset: int, last_epoch: int) -> EpochEndOffset | SnapshotId | None:
        """Whether a log that ends at ``offset`` with ``last_epoch`` is a prefix of this one.

        None: it is. An ``EpochEndOffset``: it diverges, and that is the last common candidate. A
        ``SnapshotId``: what would tell is only in the snapshot.
        """
        snapshot = self.snapshot
        if snapshot is not None and (
            offset < self.start_offset
            or (offset == self.start_offset == snapshot.end_offset and last_epoch != snapshot.epoch)
            or (self.start_offset > 0 and last_epoch < self._first_known_epoch())
        ):
            return snapshot
        end = self.end_offset_for_epoch(last_epoch)
        if end.epoch != last_epoch or end.end_offset < offset:
            return end
        return None

    def truncation_offset(self, diverging: EpochEndOffset) -> int:
        """Where to cut this log after the leader named ``diverging`` (KIP-595)."""
        own = self.end_offset_for_epoch(diverging.epoch)
        if own.epoch == diverging.epoch:
            return max(self.start_offset, min(own.end_offset, diverging.end_offset))
        return max(self.start_offset, own.end_offset)

    def _first_known_epoch(self) -> int:
        if self.snapshot is not None and self.snapshot.end_offset >= self.start_offset:
            if self._epochs and self._epochs[0][1] < self.snapshot.end_offset:
                return self._epochs[0][0]
            return self.snapshot.epoch
        return self._epochs[0][0] if self._epochs else 0

    def _clamp_epochs(self) -> None:
        """Keep only the epochs with records at or above the start."""
        while len(self._epochs) > 1 and self._epochs[1][1] <= self.start_offset:
            self._epochs.pop(0)
        if self._epochs and self._epochs[0][1] < self.start_offset:
            self._epochs[0] = (self._epochs[0][0], self.start_offset)
        if self._epochs and self.end_offset <= self.start_offset:
            self._epochs.clear()
