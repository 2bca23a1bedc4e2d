"""One round of compaction of one log: choose, read keys, rewrite segments, swap them in.

Only the last record of each key stays, in segments below the active one and below the high
watermark. The round is a sequence of steps made of small slices, so that a driver can run the heavy
ones in another thread, a slice at a time. It must never change a record's offset, nor drop a
key's newest value, whatever happens to the log meanwhile.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Self

from crc32c import crc32c

from broker.protocol.errors import InvalidBatch
from broker.storage import names
from broker.storage.batch_filter import SCAN_RECORDS, BatchFilter, FilterCounts
from broker.storage.batches import (
    ATTRIBUTES,
    BASE_OFFSET,
    CONTROL,
    COUNT,
    CRC_FROM,
    HEADER,
    HEADER_BYTES,
    LAST_DELTA,
    LENGTH,
    PREFIX_BYTES,
    TRANSACTIONAL,
    Header,
    header_problem,
    largest_timestamp,
)
from broker.storage.disk import Disk, File
from broker.storage.errors import CorruptLog, StorageError
from broker.storage.index import NO_TIMESTAMP, OffsetIndex, TimeIndex
from broker.storage.log import Log
from broker.storage.log_config import INT64_MAX, LogConfig
from broker.storage.offset_map import OffsetMap
from broker.storage.record_scan import KEY, OFFSET_DELTA, scan_records, unpacked
from broker.storage.segment import RELATIVE_OFFSET_MAX, Segment
from broker.storage.swap import SegmentSwap

POSITION_MAX = 2**31 - 1


class Uncleanable(StorageError):
    """This log cannot be compacted; it stays as it is until somebody looks at it."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a round of one log would do. ``segments`` reach from the oldest to ``end_offset``."""

    segments: tuple[Segment, ...]
    first_dirty: int
    end_offset: int
    clean_bytes: int
    dirty_bytes: int
    due: bool  # by max.compaction.lag.ms

    @property
    def dirty_ratio(self) -> float:
        """The share of bytes that no round has seen yet."""
        return self.dirty_bytes / max(1, self.clean_bytes + self.dirty_bytes)


def plan_round(log: Log, clean_offset: int, stable_offset: int, now_ms: int) -> Plan | None:
    """What there is to compact now, or None.

    ``clean_offset`` is where the last round ended, ``stable_offset`` the high watermark (or the
    last stable offset). A clean offset that the log does not hold means: from the start. Nothing
    that is not on stable storage counts: a power cut would take the newest value of a key, and the
    older ones would be gone already.
    """
    config = log.config
    if not config.compact or log.closed or log.failure is not None:
        return None
    if not log.start_offset <= clean_offset <= log.end_offset:
        clean_offset = log.start_offset
    if log.first_unstable_offset is not None:
        stable_offset = min(stable_offset, log.first_unstable_offset)
    stable_offset = min(stable_offset, log.recovery_point)
    segments: list[Segment] = []
    clean_bytes = dirty_bytes = 0
    oldest_dirty_ms = INT64_MAX
    for segment in log.segments[:-1]:
        if segment.end_offset > stable_offset:
            break
        dirty = segment.end_offset > clean_offset
        if dirty and _too_young(segment, config, now_ms):
            break
        segments.append(segment)
        if not dirty:
            clean_bytes += segment.size
            continue
        dirty_bytes += segment.size
        if config.max_compaction_lag_ms < INT64_MAX:
            first_ms = segment.load_first_timestamp()
            oldest_dirty_ms = min(oldest_dirty_ms, first_ms if first_ms > 0 else INT64_MAX)
    if not dirty_bytes:
        return None
    due = oldest_dirty_ms < now_ms - config.max_compaction_lag_ms
    plan = Plan(
        tuple(segments), clean_offset, segments[-1].end_offset, clean_bytes, dirty_bytes, due
    )
    return plan if due or plan.dirty_ratio > config.min_cleanable_dirty_ratio else None


def _too_young(segment: Segment, config: LogConfig, now_ms: int) -> bool:
    lag_ms = config.min_compaction_lag_ms
    return lag_ms > 0 and segment.largest_timestamp()[0] > now_ms - lag_ms


@dataclass(slots=True)
class Step:
    """A part of a round. ``on_owner`` slices touch the log: only its own thread may run them.

    Each item of ``slices`` is how many bytes it worked through.
    """

    slices: Iterator[int]
    on_owner: bool = False


@dataclass(slots=True)
class RoundReport:
    """What a round did; for the broker's log lines and counters."""

    bytes_before: int = 0
    bytes_after: int = 0
    segments_before: int = 0
    segments_after: int = 0
    keys: int = 0
    end_offset: int = -1
    complete: bool = False  # False: the log changed meanwhile, the rest waits for the next round
    counts: FilterCounts = field(default_factory=FilterCounts)


class Round:
    """One round of one log. Run every slice of every step of ``steps``, in order."""

    def __init__(
        self, disk: Disk, log: Log, plan: Plan, *, now_ms: int, memory_bytes: int, read_bytes: int
    ) -> None:
        self._disk = disk
        self._log = log
        self._plan = plan
        self._config = log.config
        self._read_bytes = max(read_bytes, HEADER_BYTES)
        self._generation = log.generation
        self._keys = OffsetMap(memory_bytes)
        self._filter = BatchFilter(
            self._keys,
            {e.producer_id: e.batches[-1].last_offset for e in log.producers if e.batches},
            now_ms,
            log.config.delete_retention_ms,
        )
        self.report = RoundReport(counts=self._filter.counts)

    def steps(self) -> Iterator[Step]:
        """The parts of the round; the first raises Uncleanable, CorruptLog, StorageFailure."""
        yield Step(self._read_keys())
        end_offset = self._keys.latest + 1
        if end_offset <= self._plan.first_dirty:
            raise Uncleanable(
                f"{self._log.name}: not one record fits into log.cleaner.dedupe.buffer.size"
            )
        yield Step(self._allow_gaps())
        for group in grouped(self._plan.segments, self._config, end_offset):
            writer = SegmentWriter(self._disk, self._log.directory, group[0].base_offset)
            yield Step(self._rewrite(group, writer))
            self._account(group, writer)
            if writer.unchanged and len(group) == 1:
                writer.discard()
                continue
            swap = self._swap(group, writer)
            for work, on_owner in (
                (self._begin, True),
                (SegmentSwap.sync, False),
                (self._finish, True),
                (SegmentSwap.sync, False),
            ):
                yield Step(_once(work, swap), on_owner)
            if not self._swapped:
                return
        self.report.end_offset = end_offset
        self.report.keys = len(self._keys)
        self.report.complete = True

    # -- keys

    def _read_keys(self) -> Iterator[int]:
        for segment in self._plan.segments:
            if segment.end_offset <= self._plan.first_dirty:
                continue
            with _Batches(self._disk, segment, self._read_bytes) as batches:
                for header, batch in batches:
                    if header[BASE_OFFSET] + header[LAST_DELTA] < self._plan.first_dirty:
                        yield 0
                        continue
                    for size in self._read_batch(segment, header, batch):
                        yield size
                        if size < 0:
                            return

    def _read_batch(self, segment: Segment, header: Header, batch: bytes) -> Iterator[int]:
        """Put the keys of one batch; -1 at the end means that the table is full."""
        _refuse_transactions(self._log.name, header)
        if header[COUNT] and not header[ATTRIBUTES] & CONTROL:
            try:
                data = unpacked(batch, header)
                at, left = 0, header[COUNT]
                while left:
                    rows, at = scan_records(data, at, min(left, SCAN_RECORDS))
                    left -= len(rows)
                    for row in rows:
                        offset, key = header[BASE_OFFSET] + row[OFFSET_DELTA], row[KEY]
                        if key is None or offset < self._plan.first_dirty:
                            continue
                        if not self._keys.put(key, offset):
                            yield -1
                            return
                    if left:
                        yield 0
            except InvalidBatch as error:
                raise CorruptLog(segment.path, 0, str(error)) from None
        self._keys.latest = header[BASE_OFFSET] + header[LAST_DELTA]
        yield len(batch)

    # -- segments

    def _allow_gaps(self) -> Iterator[int]:
        self._disk.write_atomic(f"{self._log.directory}/{names.GAPS}", b"")
        yield 0

    def _rewrite(self, group: Sequence[Segment], writer: "SegmentWriter") -> Iterator[int]:
        try:
            yield from self._filter_into(group, writer)
            writer.finish()
            yield 0
        except StorageError:
            writer.discard()
            raise

    def _filter_into(self, group: Sequence[Segment], writer: "SegmentWriter") -> Iterator[int]:
        interval = self._config.index_interval_bytes
        end_offset = group[-1].end_offset
        for segment in group:
            with _Batches(self._disk, segment, self._read_bytes) as batches:
                for header, batch in batches:
                    _refuse_transactions(self._log.name, header)
                    next_offset = header[BASE_OFFSET] + header[LAST_DELTA] + 1
                    keep_header = next_offset in (end_offset, self._keys.latest + 1)
                    try:
                        left = self._filter.apply(batch, header, keep_header=keep_header)
                    except InvalidBatch as error:
                        raise CorruptLog(segment.path, 0, str(error)) from None
                    writer.unchanged &= left is batch
                    if left is not None:
                        writer.append(left, interval)
                    yield len(batch)

    def _account(self, group: Sequence[Segment], writer: "SegmentWriter") -> None:
        self.report.segments_before += len(group)
        self.report.segments_after += 1
        self.report.bytes_before += sum(segment.size for segment in group)
        self.report.bytes_after += writer.size

    # -- the swap

    def _swap(self, group: tuple[Segment, ...], writer: "SegmentWriter") -> SegmentSwap:
        replacement = group[0].replacement(group[-1].end_offset, writer.size)
        self._swapped = True
        return SegmentSwap(self._disk, self._log.directory, group, replacement, self._generation)

    def _begin(self, swap: SegmentSwap) -> None:
        self._swapped = self._log.begin_swap(swap)
        if not self._swapped:
            swap.discard()

    def _finish(self, swap: SegmentSwap) -> None:
        self._swapped = self._swapped and self._log.finish_swap(swap)


def _once(work: Callable[[SegmentSwap], None], swap: SegmentSwap) -> Iterator[int]:
    work(swap)
    yield 0


def _refuse_transactions(name: str, header: Header) -> None:
    if header[ATTRIBUTES] & TRANSACTIONAL:
        raise Uncleanable(
            f"{name}: offset {header[BASE_OFFSET]} belongs to a transaction; which transactions "
            f"were aborted is not known to this broker's compaction"
        )


def run_round(round_: Round) -> RoundReport:
    """Run a whole round here and now."""
    for step in round_.steps():
        for _ in step.slices:
            pass
    return round_.report


def grouped(
    segments: Sequence[Segment], config: LogConfig, end_offset: int
) -> list[tuple[Segment, ...]]:
    """Consecutive segments that become one: as many as fit segment.bytes before compaction.

    Only segments that begin below ``end_offset``.
    """
    groups: list[tuple[Segment, ...]] = []
    current: list[Segment] = []
    size = entries = 0
    entries_max = max(1, config.segment_index_bytes // 12)
    for segment in segments:
        if segment.base_offset >= end_offset:
            break
        more = segment.size // max(1, config.index_interval_bytes) + 1
        too_far = current and segment.end_offset - current[0].base_offset > RELATIVE_OFFSET_MAX
        if current and (
            size + segment.size > config.segment_bytes or entries + more > entries_max or too_far
        ):
            groups.append(tuple(current))
            current, size, entries = [], 0, 0
        current.append(segment)
        size += segment.size
        entries += more
    if current:
        groups.append(tuple(current))
    return groups


class _Batches:
    """The whole, intact batches of a segment that is no longer written to, read by any thread.

    It opens the file for itself: the segment's own handle belongs to the owner of the log.
    """

    def __init__(self, disk: Disk, segment: Segment, read_bytes: int) -> None:
        self._segment = segment
        self._read_bytes = read_bytes
        self._file: File = disk.open(segment.path, create=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __iter__(self) -> Iterator[tuple[Header, bytes]]:
        end, position, chunk, chunk_at = self._segment.size, 0, b"", 0
        while position < end:
            at = position - chunk_at
            if at + HEADER_BYTES > len(chunk):
                chunk, chunk_at, at = self._read(position, self._read_bytes), position, 0
                if len(chunk) < HEADER_BYTES:
                    raise CorruptLog(self._segment.path, position, "it ends inside a header")
            header: Header = HEADER.unpack_from(chunk, at)
            if (problem := header_problem(header)) is not None:
                raise CorruptLog(self._segment.path, position, problem)
            size = header[LENGTH] + PREFIX_BYTES
            if at + size > len(chunk):
                wanted = max(size, self._read_bytes)
                chunk, chunk_at, at = self._read(position, wanted), position, 0
            batch = chunk[at : at + size]
            if len(batch) < size or crc32c(memoryview(batch)[CRC_FROM:]) != header[4]:
                raise CorruptLog(self._segment.path, position, "the checksum does not match")
            yield header, batch
            position += size

    def _read(self, position: int, size: int) -> bytes:
        return self._file.read(position, min(size, self._segment.size - position))


class SegmentWriter:
    """Writes the ``.cleaned`` files of one new segment."""

    def __init__(self, disk: Disk, folder: str, base_offset: int) -> None:
        self._disk = disk
        self._folder = folder
        self._base_offset = base_offset
        self._file: File | None = None
        self._index = OffsetIndex(base_offset)
        self._times = TimeIndex(base_offset)
        self._since_index = 0
        self._largest = (NO_TIMESTAMP, base_offset)
        self.size = 0
        self.unchanged = True

    def _path(self, suffix: str) -> str:
        return names.segment_path(self._folder, self._base_offset, suffix) + names.CLEANED

    def append(self, batch: bytes, interval_bytes: int) -> None:
        """Write one batch, and an index entry when it is due."""
        if self._file is None:
            self._file = self._fresh(names.LOG)
        if self.size + len(batch) > POSITION_MAX:
            raise Uncleanable(f"{self._path(names.LOG)} would grow beyond 2 GiB")
        self._file.append(batch)
        header: Header = HEADER.unpack_from(batch)
        last = header[BASE_OFFSET] + header[LAST_DELTA]
        timestamp_ms = largest_timestamp(header)
        if timestamp_ms > self._largest[0]:
            self._largest = (timestamp_ms, last)
        if self._since_index > interval_bytes:
            self._index.append(last, self.size)
            self._times.maybe_append(*self._largest)
            self._since_index = 0
        self._since_index += len(batch)
        self.size += len(batch)

    def finish(self) -> None:
        """Write the indexes, sync everything, the names too."""
        self._times.maybe_append(*self._largest)
        if self._file is None:
            self._file = self._fresh(names.LOG)
        indexes = ((names.INDEX, self._index.encode()), (names.TIME_INDEX, self._times.encode()))
        for suffix, data in indexes:
            file = self._fresh(suffix)
            try:
                if data:
                    file.append(data)
                file.sync()
            finally:
                file.close()
        self._file.sync()
        self._file.close()
        self._disk.sync_dir(self._folder)

    def _fresh(self, suffix: str) -> File:
        """A new empty file, whatever an interrupted round left there."""
        file = self._disk.open(self._path(suffix))
        if file.size:
            file.truncate(0)
        return file

    def discard(self) -> None:
        """Remove what was written."""
        if self._file is not None:
            self._file.close()
        for suffix in (names.LOG, names.INDEX, names.TIME_INDEX):
            self._disk.remove(self._path(suffix))
