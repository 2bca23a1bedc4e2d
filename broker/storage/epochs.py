"""The history of leader epochs of one log: which epoch began at which offset (KIP-101, KIP-279).

It decides where a follower cuts its log, so it must never keep an entry for an offset that a
truncation removed, not even one at the very end of the log (KAFKA-10706).
"""

Entry = tuple[int, int]  # (epoch, start offset)

NO_EPOCH = -1
UNDEFINED: Entry = (-1, -1)


class EpochCache:
    """Entries with rising epochs and start offsets that do not fall.

    ``entries`` is replaced, never changed in place, so that another thread can read it.
    """

    __slots__ = ("entries", "latest")

    def __init__(self, entries: tuple[Entry, ...] = ()) -> None:
        self.entries = entries
        # Invariant: latest == entries[-1][0], or -1. Kept apart because each append looks at it.
        self.latest = NO_EPOCH
        self._set(entries)

    def assign(self, epoch: int, start_offset: int) -> bool:
        """Note that ``epoch`` begins at ``start_offset``; whether anything changed.

        Older entries that reach ``start_offset`` belong to epochs that wrote nothing: they go.
        """
        if epoch <= self.latest or epoch < 0:
            return False
        kept = tuple(entry for entry in self.entries if entry[1] < start_offset)
        self._set((*kept, (epoch, start_offset)))
        return True

    def end_offset_for(self, epoch: int, log_end_offset: int) -> Entry:
        """The largest known epoch not above ``epoch``, and the offset where it ended.

        (-1, -1) when ``epoch`` is unknown because it is newer than all, or nothing is known. An
        epoch older than all answers with itself and the first known start offset.
        """
        if epoch < 0 or epoch > self.latest:
            return UNDEFINED
        if epoch == self.latest:
            return epoch, log_end_offset
        found = epoch
        for known, start in self.entries:
            if known > epoch:
                return found, start
            found = known
        return UNDEFINED

    def epoch_at(self, offset: int) -> int:
        """The epoch that wrote ``offset``, or -1."""
        for epoch, start in reversed(self.entries):
            if start <= offset:
                return epoch
        return NO_EPOCH

    def truncate_from_end(self, offset: int) -> bool:
        """Drop what begins at or above ``offset``; whether anything changed."""
        if not self.entries or self.entries[-1][1] < offset:
            return False
        self._set(tuple(entry for entry in self.entries if entry[1] < offset))
        return True

    def truncate_from_start(self, offset: int) -> bool:
        """Drop what ended below ``offset``; the epoch that covers it begins there now."""
        below = [entry for entry in self.entries if entry[1] < offset]
        if not below:
            return False
        above = tuple(entry for entry in self.entries if entry[1] >= offset)
        if not above or above[0][1] > offset:
            above = ((below[-1][0], offset), *above)
        if above == self.entries:
            return False
        self._set(above)
        return True

    def clear(self) -> None:
        """Forget everything."""
        self._set(())

    def _set(self, entries: tuple[Entry, ...]) -> None:
        self.entries = entries
        self.latest = entries[-1][0] if entries else NO_EPOCH
