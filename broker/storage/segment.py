"""One segment of a log: a ``.log`` file of record batches and its two sparse indexes.

The indexes of the active segment live in memory and are written when it is rolled or closed; after
a crash recovery rebuilds them. A segment must never trust an index file without checking it, nor
read records: it only looks at headers.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator

from broker.storage import names
from broker.storage.batches import (
    BASE_OFFSET,
    HEADER,
    HEADER_BYTES,
    LAST_DELTA,
    LENGTH,
    MAX_TIMESTAMP,
    PREFIX_BYTES,
    BadBatch,
    Header,
    header_problem,
    largest_timestamp,
    walk,
)
from broker.storage.disk import Buffer, Disk, File
from broker.storage.errors import CorruptLog, FileMissing
from broker.storage.handles import HandleCache
from broker.storage.index import NO_TIMESTAMP, OffsetIndex, TimeIndex

RECENT_BATCHES = 1024
RELATIVE_OFFSET_MAX = 2**31 - 1


class Segment:
    """Batches from ``base_offset`` up to ``end_offset``, in one file of ``size`` bytes."""

    __slots__ = (
        "_cache",
        "_disk",
        "_index",
        "_time_index",
        "active",
        "base_offset",
        "bytes_since_index",
        "end_offset",
        "first_timestamp_ms",
        "folder",
        "handle",
        "index_entries_max",
        "index_full",
        "index_interval_bytes",
        "indexes_mended",
        "jitter_ms",
        "max_timestamp_ms",
        "max_timestamp_offset",
        "path",
        "recent_offsets",
        "recent_positions",
        "size",
        "sparse",
        "used",
    )

    def __init__(
        self,
        disk: Disk,
        folder: str,
        base_offset: int,
        cache: HandleCache,
        *,
        end_offset: int | None = None,
        index_interval_bytes: int = 4096,
        sparse: bool = False,
    ) -> None:
        self._disk = disk
        self._cache = cache
        self.folder = folder
        self.path = names.segment_path(folder, base_offset, names.LOG)
        self.base_offset = base_offset
        self.end_offset = base_offset if end_offset is None else end_offset
        self.size = 0
        self.sparse = sparse
        self.active = False
        self.index_interval_bytes = index_interval_bytes
        self.bytes_since_index = 0
        # segment.index.bytes as a number of entries, and whether the indexes have so many.
        self.index_entries_max = 1 << 31
        self.index_full = False
        self.indexes_mended = False  # whether the files held less than what was loaded
        self.jitter_ms = 0  # how much earlier than segment.ms this one ends
        # Of the batches so far; the offset is the last one of the batch that has it.
        self.max_timestamp_ms = NO_TIMESTAMP
        self.max_timestamp_offset = base_offset
        self.first_timestamp_ms = NO_TIMESTAMP
        self._index: OffsetIndex | None = None
        self._time_index: TimeIndex | None = None
        # Where the last batches begin, so that readers near the end need no search in the file.
        # Invariant: without gaps up to end_offset.
        self.recent_offsets: array[int] = array("q")
        self.recent_positions: array[int] = array("q")
        self.handle: File | None = None
        self.used = False

    # -- files ------------------------------------------------------------------------------

    @property
    def index_path(self) -> str:
        """The ``.index`` file."""
        return names.segment_path(self.folder, self.base_offset, names.INDEX)

    @property
    def time_index_path(self) -> str:
        """The ``.timeindex`` file."""
        return names.segment_path(self.folder, self.base_offset, names.TIME_INDEX)

    @property
    def file(self) -> File:
        """The open ``.log`` file."""
        handle = self.handle
        if handle is None:
            handle = self.handle = self._disk.open(self.path, create=False)
            self._cache.opened(self)
        self.used = True
        return handle

    def create(self) -> None:
        """Create the file, empty, and become the active segment."""
        self._disk.open(self.path).close()
        self.reset_indexes()
        self.active = True
        self.size = self.file.size

    def reset_indexes(self) -> None:
        """Begin with empty indexes: the caller notes each batch again."""
        self._index = OffsetIndex(self.base_offset)
        self._time_index = TimeIndex(self.base_offset)
        self.bytes_since_index = 0
        self.max_timestamp_ms, self.max_timestamp_offset = NO_TIMESTAMP, self.base_offset

    def load_tail(self) -> None:
        """Become active after a clean stop: check the indexes and find the end offset.

        Raises CorruptLog when the file does not end with a whole batch.
        """
        self.active = True
        self.end_offset = self.base_offset + RELATIVE_OFFSET_MAX
        self.end_offset = self._load_indexes()

    def release(self) -> None:
        """Close the file; an inactive segment drops its indexes too."""
        if self.handle is not None:
            self.handle.close()
            self.handle = None
        if not self.active:
            self._index = None
            self._time_index = None

    def close(self) -> None:
        """Release, and leave the cache."""
        if self.handle is not None:
            self._cache.forget(self)
        self.release()

    def write_indexes(self) -> None:
        """Write both index files (not synced)."""
        index, times = self.index, self.time_index
        times.maybe_append(self.max_timestamp_ms, self.max_timestamp_offset)
        _overwrite(self._disk, self.index_path, index.encode())
        _overwrite(self._disk, self.time_index_path, times.encode())

    def stop(self) -> None:
        """No appends any more (the indexes are written): forget the recent batches."""
        self.active = False
        self.recent_offsets = array("q")
        self.recent_positions = array("q")

    def replacement(self, end_offset: int, size: int) -> "Segment":
        """A compacted segment of the same name that reaches to ``end_offset``."""
        segment = Segment(
            self._disk,
            self.folder,
            self.base_offset,
            self._cache,
            end_offset=end_offset,
            index_interval_bytes=self.index_interval_bytes,
            sparse=True,
        )
        segment.size = size
        return segment

    def mark_deleted(self) -> list[str]:
        """Close, rename the files to ``.deleted`` and return their paths for removal."""
        self.close()
        renamed = []
        for path in (self.path, self.index_path, self.time_index_path):
            try:
                self._disk.rename(path, path + names.DELETED)
            except FileMissing:
                continue
            renamed.append(path + names.DELETED)
        return renamed

    # -- indexes ----------------------------------------------------------------------------

    @property
    def index(self) -> OffsetIndex:
        """The offset index, loaded and checked when needed."""
        if self._index is None:
            self._load_indexes()
            assert self._index is not None
        return self._index

    @property
    def time_index(self) -> TimeIndex:
        """The time index, loaded and checked when needed."""
        if self._time_index is None:
            self._load_indexes()
            assert self._time_index is not None
        return self._time_index

    def _load_indexes(self) -> int:
        self.file  # noqa: B018 - joins the cache, which may release the indexes of others
        index = OffsetIndex.decode(
            self._read_or_empty(self.index_path), self.base_offset, self.end_offset, self.size
        )
        times = TimeIndex.decode(
            self._read_or_empty(self.time_index_path), self.base_offset, self.end_offset
        )
        damaged = index is None or times is None or not self._anchored(index)
        if index is None or times is None or damaged:
            index, times = OffsetIndex(self.base_offset), TimeIndex(self.base_offset)
        elif not times and len(index):
            index = OffsetIndex(self.base_offset)  # the time index is gone: rebuild both
        self._index, self._time_index = index, times
        entries = len(index), len(times)
        end_offset = self._rescan()
        if end_offset != self.end_offset and not self.active and not self.sparse:
            reason = f"it ends at {end_offset}, the next segment begins at {self.end_offset}"
            self._index = self._time_index = None
            raise CorruptLog(self.path, self.size, reason)
        self.indexes_mended = damaged or (len(index), len(times)) != entries
        if not self.active and (len(index), len(times)) != entries:
            self.write_indexes()
        return end_offset

    def _read_or_empty(self, path: str) -> bytes:
        try:
            return self._disk.read_file(path)
        except FileMissing:
            return b""

    def _anchored(self, index: OffsetIndex) -> bool:
        """Whether the last entry points at the batch that it names."""
        if not len(index):
            return True
        data = self.file.read(index.positions[-1], HEADER_BYTES)
        if len(data) < HEADER_BYTES:
            return False
        header: Header = HEADER.unpack(data)
        last = self.base_offset + index.offsets[-1]
        return header_problem(header) is None and header[BASE_OFFSET] + header[LAST_DELTA] == last

    def _rescan(self) -> int:
        """Complete the indexes and the largest timestamp from the last index entry on.

        Returns the end offset of what the file holds.
        """
        assert self._index is not None
        assert self._time_index is not None
        self.max_timestamp_ms, self.max_timestamp_offset = self._time_index.last
        self.bytes_since_index = 0
        position, offset = 0, self.base_offset
        if len(self._index):
            position = self._index.positions[-1]
            first = next(iter(self.walk(position, None)))[1]
            self._note_timestamp(first)
            # The entry's own batch counts towards the next entry, as it does when appending.
            self.bytes_since_index = first[LENGTH] + PREFIX_BYTES
            position += self.bytes_since_index
            offset = first[BASE_OFFSET] + first[LAST_DELTA] + 1
        for at, header in self.walk(position, offset):
            last = header[BASE_OFFSET] + header[LAST_DELTA]
            self.note(at, header[LENGTH] + PREFIX_BYTES, last, largest_timestamp(header))
            offset = last + 1
        if not self.active:
            self._time_index.maybe_append(self.max_timestamp_ms, self.max_timestamp_offset)
        return offset

    def _note_timestamp(self, header: Header) -> None:
        timestamp_ms = largest_timestamp(header)
        if timestamp_ms > self.max_timestamp_ms:
            self.max_timestamp_ms = timestamp_ms
            self.max_timestamp_offset = header[BASE_OFFSET] + header[LAST_DELTA]

    def note(self, position: int, size: int, last_offset: int, max_timestamp_ms: int) -> None:
        """Account for a batch at ``position``: largest timestamp and sparse index entries."""
        if max_timestamp_ms > self.max_timestamp_ms:
            self.max_timestamp_ms = max_timestamp_ms
            self.max_timestamp_offset = last_offset
        if self.bytes_since_index > self.index_interval_bytes:
            assert self._index is not None
            assert self._time_index is not None
            self._index.append(last_offset, position)
            self._time_index.maybe_append(self.max_timestamp_ms, self.max_timestamp_offset)
            self.bytes_since_index = 0
            self.index_full = len(self._index) >= self.index_entries_max
        self.bytes_since_index += size

    # -- writing ----------------------------------------------------------------------------

    def append(self, *buffers: Buffer) -> None:
        """Write bytes at the end; the caller notes the batches in them with ``appended``."""
        handle = self.handle
        if handle is None:
            handle = self.file
        self.used = True
        handle.append(*buffers)

    def appended(
        self, size: int, base_offset: int, last_offset: int, max_timestamp_ms: int
    ) -> None:
        """Note the next batch of what was written."""
        position = self.size
        if not position:
            self.first_timestamp_ms = max_timestamp_ms
        self.note(position, size, last_offset, max_timestamp_ms)
        self.size = position + size
        recent = self.recent_offsets
        if base_offset != self.end_offset:
            del recent[:], self.recent_positions[:]
        self.end_offset = last_offset + 1
        if len(recent) >= RECENT_BATCHES:
            del recent[: RECENT_BATCHES // 2]
            del self.recent_positions[: RECENT_BATCHES // 2]
        recent.append(base_offset)
        self.recent_positions.append(position)

    def truncate(self, end_offset: int) -> None:
        """Cut at the batch that holds ``end_offset``, durably, and become active."""
        position, base_offset = self.position_of(end_offset)
        end_offset = min(end_offset, base_offset)
        index, times = self.index, self.time_index
        self.active = True
        index.truncate(end_offset)
        times.truncate(end_offset)
        self.index_full = False
        self.cut_file(position)
        self.end_offset = end_offset
        keep = bisect_left(self.recent_offsets, end_offset)
        del self.recent_offsets[keep:]
        del self.recent_positions[keep:]
        self._rescan()

    def cut_file(self, size: int) -> None:
        """Cut the file to ``size`` bytes and make that durable."""
        file = self.file
        if file.size != size:
            file.truncate(size)
            file.sync()
        self.size = size

    # -- reading ----------------------------------------------------------------------------

    def walk(self, position: int, offset: int | None) -> Iterator[tuple[int, Header]]:
        """Headers from ``position`` on; raises CorruptLog. ``offset`` None takes what comes."""
        if offset is None:
            data = self.file.read(position, HEADER_BYTES)
            offset = HEADER.unpack(data)[BASE_OFFSET] if len(data) == HEADER_BYTES else 0
        try:
            yield from walk(self.file, position, self.size, offset, sparse=self.sparse)
        except BadBatch as bad:
            raise CorruptLog(self.path, bad.position, bad.reason) from None

    def position_of(self, offset: int) -> tuple[int, int]:
        """Where the batch begins that holds ``offset``, or the next one; and its base offset.

        (size, end offset) when every batch ends below ``offset``.
        """
        if offset >= self.end_offset:
            return self.size, self.end_offset
        recent = self.recent_offsets
        if recent and offset >= recent[0]:
            found = bisect_right(recent, offset) - 1
            return self.recent_positions[found], recent[found]
        start = self.index.lookup(offset)
        for position, header in self.walk(start, None if start else self.base_offset):
            if header[BASE_OFFSET] + header[LAST_DELTA] >= offset:
                return position, header[BASE_OFFSET]
        return self.size, self.end_offset

    def position_from(self, offset: int) -> tuple[int, int]:
        """Where the first batch begins whose base offset is at or above ``offset``; that base."""
        position, base = self.position_of(offset)
        if base >= offset or position >= self.size:
            return position, base
        header = next(iter(self.walk(position, base)))[1]
        return (
            position + header[LENGTH] + PREFIX_BYTES,
            header[BASE_OFFSET] + header[LAST_DELTA] + 1,
        )

    def whole_batches(self, position: int, size: int) -> tuple[int, int]:
        """How many bytes of whole batches fit into ``size`` from ``position`` on (0: not one).

        Also the offset that follows them. More batches than ``size`` must follow ``position``.
        """
        end = position + size
        recent = self.recent_positions
        if recent and recent[0] <= position:
            found = bisect_right(recent, end) - 1
            return recent[found] - position, self.recent_offsets[found]
        start = max(position, self.index.lookup_position(end))
        offset = -1
        for at, header in self.walk(start, None):
            if at + header[LENGTH] + PREFIX_BYTES > end:
                return at - position, header[BASE_OFFSET]
            offset = header[BASE_OFFSET] + header[LAST_DELTA] + 1
        return self.size - position, offset

    def first_batch(self, position: int) -> tuple[int, int]:
        """Size of the batch at ``position`` and the offset that follows it."""
        header = next(iter(self.walk(position, None)))[1]
        return header[LENGTH] + PREFIX_BYTES, header[BASE_OFFSET] + header[LAST_DELTA] + 1

    def largest_timestamp(self) -> tuple[int, int]:
        """The largest timestamp and the last offset of its batch; (-1, base) when empty."""
        if self._time_index is None:
            self._load_indexes()
        return self.max_timestamp_ms, self.max_timestamp_offset

    def load_first_timestamp(self) -> int:
        """The largest timestamp of the first batch, or -1."""
        if self.first_timestamp_ms == NO_TIMESTAMP and self.size:
            header = next(iter(self.walk(0, self.base_offset if not self.sparse else None)))[1]
            self.first_timestamp_ms = header[MAX_TIMESTAMP]
        return self.first_timestamp_ms


def _overwrite(disk: Disk, path: str, data: bytes) -> None:
    file = disk.open(path)
    try:
        if file.size:
            file.truncate(0)
        if data:
            file.append(data)
    finally:
        file.close()
