"""The local replica: the log, its high watermark and how much of it is on disk.

Shared by the leader and the follower role of a partition. It must never lower a high watermark,
except where a truncation removed what lay above.
"""

from broker.replication.ports import PartitionLog, ReplicationSettings


class LocalReplica:
    """One broker's copy of a partition."""

    __slots__ = ("flushed_offset", "high_watermark", "log", "settings")

    def __init__(
        self, log: PartitionLog, settings: ReplicationSettings, high_watermark: int = 0
    ) -> None:
        self.log = log
        self.settings = settings
        # Invariant: log.start_offset <= high_watermark <= log.end_offset.
        self.high_watermark = min(max(high_watermark, log.start_offset), log.end_offset)
        # Invariant: everything below is on disk. What recovery found counts as flushed only
        # after the first flush: a process that died leaves its last writes in the page cache.
        self.flushed_offset = log.start_offset

    @property
    def durable_offset(self) -> int:
        """How far this replica counts towards the high watermark."""
        if self.settings.flush_on_commit:
            return self.flushed_offset
        return self.log.end_offset

    @property
    def needs_flush(self) -> bool:
        """Whether records wait for the disk before they may count."""
        return self.settings.flush_on_commit and self.flushed_offset < self.log.end_offset

    def flushed(self, upto_offset: int) -> None:
        """Everything below ``upto_offset`` reached the disk."""
        if upto_offset > self.flushed_offset:
            self.flushed_offset = min(upto_offset, self.log.end_offset)

    def raise_high_watermark(self, offset: int) -> bool:
        """Move the high watermark up to ``offset``, never down; whether it moved."""
        offset = min(offset, self.log.end_offset)
        if offset <= self.high_watermark:
            return False
        self.high_watermark = offset
        return True

    def truncate_to(self, offset: int) -> None:
        """Cut the log. Called also at ``end_offset``: the epoch history may reach beyond it."""
        if offset < self.log.start_offset:
            self.log.truncate_fully(offset)
        else:
            self.log.truncate_to(offset)
        self._after_truncation()

    def truncate_fully(self, new_start_offset: int) -> None:
        """Begin again, empty, at ``new_start_offset``."""
        self.log.truncate_fully(new_start_offset)
        self._after_truncation()

    def advance_start_offset(self, offset: int) -> bool:
        """Follow a higher log start, never beyond the high watermark; whether it moved."""
        offset = min(offset, self.high_watermark)
        if offset <= self.log.start_offset:
            return False
        self.log.advance_start_offset(offset)
        return True

    def _after_truncation(self) -> None:
        end = self.log.end_offset
        self.high_watermark = min(max(self.high_watermark, self.log.start_offset), end)
        self.flushed_offset = min(self.flushed_offset, end)
