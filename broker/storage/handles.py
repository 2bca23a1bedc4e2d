"""A bounded number of open files, shared by the segments of all logs of a broker.

Ten thousand partitions must not need ten thousand descriptors. The cache must never close the file
of a holder that used it since the last sweep while one that did not is still open.
"""

from collections import deque
from typing import Protocol

from broker.storage.disk import File


class Holder(Protocol):
    """Something that opens its file when it needs it, and can do without."""

    handle: File | None
    used: bool

    def release(self) -> None:
        """Close the file and drop what can be loaded again."""
        ...


class HandleCache:
    """At most ``limit`` holders keep their file open (clock algorithm)."""

    def __init__(self, limit: int = 512) -> None:
        self._limit = max(2, limit)
        self._open: deque[Holder] = deque()

    def __len__(self) -> int:
        return len(self._open)

    def opened(self, holder: Holder) -> None:
        """``holder`` opened its file; another one may have to close its own."""
        while len(self._open) >= self._limit:
            oldest = self._open.popleft()
            if oldest.used:
                oldest.used = False
                self._open.append(oldest)
            else:
                oldest.release()
        holder.used = True
        self._open.append(holder)

    def forget(self, holder: Holder) -> None:
        """``holder`` closed its file by itself."""
        try:
            self._open.remove(holder)
        except ValueError:
            pass
