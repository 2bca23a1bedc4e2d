"""Reading whole batches from a list of segments, and remembering where sequential readers go on.

It must never return part of a batch, nor look into a batch to find out where it ends when a
boundary is known already.
"""

from bisect import bisect_right
from collections.abc import Sequence

from broker.storage.errors import CorruptLog
from broker.storage.segment import Segment

CURSORS_MAX = 64


def segment_number(segments: Sequence[Segment], bases: Sequence[int], offset: int) -> int:
    """Which of the segments holds ``offset``; the first one for an offset below all."""
    if offset >= segments[-1].base_offset:
        return len(segments) - 1
    return max(0, bisect_right(bases, offset) - 1)


class Reader:
    """The reading side of a log. ``forget`` it whenever segments are cut or removed."""

    __slots__ = ("_cursors",)

    def __init__(self) -> None:
        # Offset -> the segment and position where its batch begins.
        self._cursors: dict[int, tuple[Segment, int]] = {}

    def forget(self) -> None:
        """Positions may have changed."""
        self._cursors.clear()

    def read(
        self,
        segments: Sequence[Segment],
        bases: Sequence[int],
        offset: int,
        max_bytes: int,
        upto_offset: int,
        min_one: bool,
    ) -> bytes:
        """See Log.read; the bounds of ``offset`` and ``upto_offset`` were checked."""
        segment, position = self._locate(segments, bases, offset)
        if upto_offset >= segment.end_offset:
            limit, following = segment.size, segment.end_offset
        else:
            limit, following = self._limit(segment, upto_offset)
        size = limit - position
        if size > max_bytes:
            size, following = segment.whole_batches(position, max(0, max_bytes))
            if not size:
                if not min_one:
                    return b""
                size, following = segment.first_batch(position)
        if size <= 0:
            return b""
        if len(self._cursors) >= CURSORS_MAX:
            self._cursors.pop(next(iter(self._cursors)))
        self._cursors[following] = (segment, position + size)
        data = segment.file.read(position, size)
        if len(data) != size:
            raise CorruptLog(segment.path, position + len(data), "the file ends too early")
        return data

    def _locate(
        self, segments: Sequence[Segment], bases: Sequence[int], offset: int
    ) -> tuple[Segment, int]:
        cursor = self._cursors.pop(offset, None)
        if cursor is not None and cursor[1] < cursor[0].size:
            return cursor
        number = segment_number(segments, bases, offset)
        while True:
            segment = segments[number]
            position, _ = segment.position_of(offset)
            if position < segment.size or number + 1 >= len(segments):
                return segment, position
            number += 1  # compaction removed the end of this segment

    def _limit(self, segment: Segment, upto_offset: int) -> tuple[int, int]:
        cursor = self._cursors.get(upto_offset)
        if cursor is not None and cursor[0] is segment:
            return cursor[1], upto_offset
        return segment.position_from(upto_offset)
