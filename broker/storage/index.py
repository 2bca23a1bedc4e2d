"""The two sparse indexes of a segment, in memory and in Kafka's file formats.

``.index`` holds 8 bytes an entry (relative offset i32, position i32), ``.timeindex`` 12 (timestamp
i64, relative offset i32), big-endian. They only say where to begin looking. A file that does not
hold together is never trusted: ``decode`` answers None and the caller rebuilds it from the log.
"""

import sys
from array import array
from bisect import bisect_left, bisect_right
from itertools import islice
from operator import ge

OFFSET_ENTRY_BYTES = 8
TIME_ENTRY_BYTES = 12
NO_TIMESTAMP = -1

_SWAP = sys.byteorder == "little"


def _rises(values: "array[int]") -> bool:
    return not any(map(ge, values, islice(values, 1, None)))


class OffsetIndex:
    """Entries (last offset of a batch, where that batch begins), both rising."""

    __slots__ = ("base_offset", "offsets", "positions")

    def __init__(self, base_offset: int) -> None:
        self.base_offset = base_offset
        self.offsets: array[int] = array("i")  # relative to base_offset
        self.positions: array[int] = array("i")

    def __len__(self) -> int:
        return len(self.offsets)

    def append(self, last_offset: int, position: int) -> None:
        """Note that the batch that ends with ``last_offset`` begins at ``position``."""
        self.offsets.append(last_offset - self.base_offset)
        self.positions.append(position)

    def lookup(self, offset: int) -> int:
        """A position of a batch at or before the one that holds ``offset``."""
        found = bisect_right(self.offsets, offset - self.base_offset) - 1
        return self.positions[found] if found >= 0 else 0

    def lookup_position(self, position: int) -> int:
        """The largest indexed position that is not above ``position``."""
        found = bisect_right(self.positions, position) - 1
        return self.positions[found] if found >= 0 else 0

    def truncate(self, end_offset: int) -> None:
        """Drop entries of batches that reach ``end_offset``."""
        keep = bisect_left(self.offsets, end_offset - self.base_offset)
        del self.offsets[keep:]
        del self.positions[keep:]

    def encode(self) -> bytes:
        """The file's contents."""
        words = array("i", bytes(len(self.offsets) * OFFSET_ENTRY_BYTES))
        words[0::2] = self.offsets
        words[1::2] = self.positions
        if _SWAP:
            words.byteswap()
        return words.tobytes()

    @classmethod
    def decode(
        cls, data: bytes, base_offset: int, end_offset: int, size_bytes: int
    ) -> "OffsetIndex | None":
        """The index of a segment of ``size_bytes`` that ends before ``end_offset``, or None."""
        if len(data) % OFFSET_ENTRY_BYTES:
            return None
        words = array("i", data)
        if _SWAP:
            words.byteswap()
        index = cls(base_offset)
        index.offsets = words[0::2]
        index.positions = words[1::2]
        if not words:
            return index
        sane = (
            index.offsets[0] >= 0
            and index.positions[0] >= 0
            and base_offset + index.offsets[-1] < end_offset
            and index.positions[-1] < size_bytes
            and _rises(index.offsets)
            and _rises(index.positions)
        )
        return index if sane else None


class TimeIndex:
    """Entries (largest timestamp so far, last offset of the batch that has it), both rising.

    Records with a larger timestamp come after that offset.
    """

    __slots__ = ("base_offset", "offsets", "timestamps_ms")

    def __init__(self, base_offset: int) -> None:
        self.base_offset = base_offset
        self.timestamps_ms: array[int] = array("q")
        self.offsets: array[int] = array("i")  # relative to base_offset

    def __len__(self) -> int:
        return len(self.offsets)

    @property
    def last(self) -> tuple[int, int]:
        """Timestamp and offset of the last entry; (-1, base offset) when there is none."""
        if not self.offsets:
            return NO_TIMESTAMP, self.base_offset
        return self.timestamps_ms[-1], self.base_offset + self.offsets[-1]

    def maybe_append(self, timestamp_ms: int, offset: int) -> None:
        """Add an entry, when ``timestamp_ms`` is above the last one."""
        if timestamp_ms > (self.timestamps_ms[-1] if self.timestamps_ms else NO_TIMESTAMP):
            self.timestamps_ms.append(timestamp_ms)
            self.offsets.append(offset - self.base_offset)

    def lookup(self, timestamp_ms: int) -> int:
        """An offset such that records below it have timestamps below ``timestamp_ms``."""
        found = bisect_left(self.timestamps_ms, timestamp_ms) - 1
        return self.base_offset + self.offsets[found] if found >= 0 else self.base_offset

    def before(self, end_offset: int) -> tuple[int, int]:
        """The last entry whose offset is below ``end_offset``, or (-1, base offset)."""
        found = bisect_left(self.offsets, end_offset - self.base_offset) - 1
        if found < 0:
            return NO_TIMESTAMP, self.base_offset
        return self.timestamps_ms[found], self.base_offset + self.offsets[found]

    def truncate(self, end_offset: int) -> None:
        """Drop entries of batches that reach ``end_offset``."""
        keep = bisect_left(self.offsets, end_offset - self.base_offset)
        del self.offsets[keep:]
        del self.timestamps_ms[keep:]

    def encode(self) -> bytes:
        """The file's contents."""
        times = array("q", self.timestamps_ms)
        offsets = array("i", self.offsets)
        if _SWAP:
            times.byteswap()
            offsets.byteswap()
        halves = array("i", times.tobytes())
        words = array("i", bytes(len(offsets) * TIME_ENTRY_BYTES))
        words[0::3] = halves[0::2]
        words[1::3] = halves[1::2]
        words[2::3] = offsets
        return words.tobytes()

    @classmethod
    def decode(cls, data: bytes, base_offset: int, end_offset: int) -> "TimeIndex | None":
        """The index of a segment that ends before ``end_offset``, or None."""
        if len(data) % TIME_ENTRY_BYTES:
            return None
        words = array("i", data)
        halves = array("i", bytes(len(words) // 3 * 8))
        halves[0::2] = words[0::3]
        halves[1::2] = words[1::3]
        index = cls(base_offset)
        index.timestamps_ms = array("q", halves.tobytes())
        index.offsets = words[2::3]
        if _SWAP:
            index.timestamps_ms.byteswap()
            index.offsets.byteswap()
        if not words:
            return index
        sane = (
            index.offsets[0] >= 0
            and index.timestamps_ms[0] >= 0
            and base_offset + index.offsets[-1] < end_offset
            and _rises(index.offsets)
            and _rises(index.timestamps_ms)
        )
        return index if sane else None
