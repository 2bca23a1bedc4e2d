"""One partition's log: segments, epoch history and producer state behind one face.

Synchronous, page-cache writes, never awaits, never reads a clock. One thread owns a log; ``flush``
alone may run in another while the owner appends. What is written is durable only below
``recovery_point``. Batches are passed through as bytes: no record is looked at on the way.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from broker.protocol.batch import patch_log_append_time
from broker.storage import lookup, names
from broker.storage.append import (
    AppendInfo,
    check_checksum,
    check_fits_segment,
    check_produced,
    check_size,
    covers,
    find_duplicate,
    read_headers,
)
from broker.storage.batches import (
    ATTRIBUTES,
    BASE_OFFSET,
    BASE_SEQUENCE,
    COUNT,
    HEADER,
    LAST_DELTA,
    LEADER_EPOCH,
    LENGTH,
    MAX_TIMESTAMP,
    PREFIX,
    PREFIX_BYTES,
    PREFIX_REWRITTEN,
    PRODUCER_EPOCH,
    PRODUCER_ID,
    Header,
    largest_timestamp,
)
from broker.storage.checkpoints import encode_epochs
from broker.storage.disk import Buffer, Disk
from broker.storage.errors import (
    InvalidRecord,
    LogClosed,
    OffsetOutOfRange,
    OutOfOrderOffsets,
    StaleEpoch,
    StorageError,
    StorageFailure,
)
from broker.storage.flush import PendingFlush, epochs_with_records, write_closing_files
from broker.storage.handles import HandleCache
from broker.storage.log_config import LogConfig
from broker.storage.producers import ProducerState
from broker.storage.reader import Reader, segment_number
from broker.storage.recovery import (
    LogState,
    Recovery,
    RecoveryReport,
    drop_snapshots_above,
    load_producers,
    write_snapshot,
)
from broker.storage.retention import expired_segments
from broker.storage.rolling import is_overdue, roll_needed, set_limits
from broker.storage.segment import Segment
from broker.storage.swap import SegmentSwap, Swaps

__all__ = ["AppendInfo", "Log", "LogConfig", "PendingFlush", "RecoveryReport"]

Dispose = Callable[[Callable[[], None]], None]


def run_now(work: Callable[[], None]) -> None:
    """The default way to get rid of files: at once."""
    work()


class Log:
    """The log of one partition. Open it with ``Log.open``."""

    def __init__(
        self,
        disk: Disk,
        directory: str,
        config: LogConfig,
        name: str,
        cache: HandleCache,
        dispose: Dispose,
        state: LogState,
    ) -> None:
        self._disk = disk
        self.directory = directory
        self.name = name
        self.config = config
        self._cache = cache
        self._dispose = dispose
        self.recovery = state.report
        # Invariant: without gaps, rising, the last one active. Replaced, never changed in place,
        # so that a flush in another thread can walk it.
        self._segments = state.segments
        self._bases = [segment.base_offset for segment in state.segments]
        self._active = state.segments[-1]
        self._epochs = state.epochs
        self.producers: ProducerState = state.producers
        self.start_offset = self._segments[0].base_offset
        self.end_offset = self._active.end_offset
        # Invariant: everything below is on stable storage.
        self.recovery_point = 0
        self.failure: StorageError | None = None
        # Called with the offset before a truncation takes effect.
        self.on_truncate: Callable[[int], None] | None = None
        self._closed = False
        # Indexes and snapshots of rolled segments. Two threads extend and shrink it, each with
        # single list operations.
        self._unflushed_paths = state.unsynced
        self._files_created = 0
        self._files_synced = 0
        self._epochs_flushed: tuple[tuple[int, int], ...] | None = None
        self._found: tuple[object, ...] | None = None  # what lay on disk, if that can be trusted
        self._epochs_owed = False  # cut in memory, not on disk: the disk was full, say
        self._generation = 0  # truncations: a flush that began before one proves nothing
        self._flushing = threading.Lock()  # held while files are synced or cut
        self._settling = threading.Lock()  # held by who moves the recovery point, or cuts
        self._reader = Reader()
        # Whether offsets may be missing, because this log or the one it was copied from was
        # compacted. Known on disk by the file names.GAPS.
        self._sparse = state.sparse
        self._swaps = Swaps()

    @classmethod
    def open(
        cls,
        disk: Disk,
        directory: str,
        config: LogConfig | None = None,
        *,
        name: str,
        recovery_point: int = 0,
        log_start_offset: int = 0,
        clean: bool = False,
        cache: HandleCache | None = None,
        dispose: Dispose = run_now,
    ) -> "Log":
        """Open or create a log, recovering what a crash left (see recovery.py).

        ``recovery_point`` is the offset below which everything was flushed. ``clean`` says that
        the log was closed by ``close``. ``dispose`` is handed the removal of old files. Raises
        CorruptLog and StorageFailure.
        """
        config = config or LogConfig()
        cache = HandleCache() if cache is None else cache
        state = Recovery(
            disk,
            directory,
            config,
            cache,
            recovery_point=recovery_point,
            log_start_offset=log_start_offset,
            clean=clean,
        ).run()
        log = cls(disk, directory, config, name, cache, dispose, state)
        log.start_offset = max(log.start_offset, log_start_offset)
        log.recovery_point = log.end_offset if clean else min(recovery_point, log.end_offset)
        set_limits(log._active, config, name)
        if clean:
            log._epochs_flushed = log._epochs.entries
            trusted = not log.recovery.scanned_segments and not log._active.indexes_mended
            log._found = log._shape() if trusted else None
        else:
            log._files_created = 1  # whatever recovery created or removed
            if not disk.exists(f"{directory}/{names.EPOCH_CHECKPOINT}"):
                log._epochs_flushed = ()
        return log

    # -- what it is -------------------------------------------------------------------------

    @property
    def latest_epoch(self) -> int:
        """The leader epoch of the last entry of the epoch history, or -1."""
        return self._epochs.latest

    @property
    def epochs(self) -> tuple[tuple[int, int], ...]:
        """(leader epoch, start offset) of each epoch, rising."""
        return self._epochs.entries

    @property
    def size_bytes(self) -> int:
        """Bytes of all segments, without indexes."""
        return sum(segment.size for segment in self._segments)

    @property
    def segment_count(self) -> int:
        """How many segments there are."""
        return len(self._segments)

    @property
    def segment_bases(self) -> tuple[int, ...]:
        """The base offset of each segment."""
        return tuple(self._bases)

    @property
    def segments(self) -> Sequence[Segment]:
        """Oldest first, the last one active. The sequence never changes: a new one replaces it."""
        return self._segments

    @property
    def generation(self) -> int:
        """Counts truncations."""
        return self._generation

    @property
    def first_unstable_offset(self) -> int | None:
        """Where the oldest open transaction begins, or None."""
        return self.producers.first_unstable_offset

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._closed

    # -- appending --------------------------------------------------------------------------

    def append_as_leader(
        self,
        batches: Buffer,
        leader_epoch: int,
        now_ms: int,
        *,
        log_append_time: bool = False,
        max_batch_bytes: int | None = None,
        validated: bool = False,
    ) -> AppendInfo:
        """Check batches, give them offsets and the leader epoch, and write them.

        ``validated`` says that this broker built the batches: checksum, size and what only
        producers may not do are not checked. ``now_ms`` is wall-clock time. Raises InvalidBatch
        or TornBatch for nonsense, an AppendRefused (CorruptBatch, BatchTooLarge, InvalidRecord,
        InvalidTimestamp, OutOfOrderSequence, InvalidProducerEpoch) for what must not be appended,
        StaleEpoch, StorageFailure. Nothing is written then.
        """
        self._check_writable()
        if leader_epoch < self._epochs.latest:
            raise StaleEpoch(self.name, leader_epoch, self._epochs.latest)
        view = memoryview(batches)
        headers = read_headers(view, whole=True)
        duplicate = None
        for position, header in headers:
            if max_batch_bytes is not None or not validated:
                check_size(header, max_batch_bytes or self.config.max_message_bytes)
            if not validated:
                check_fits_segment(header, self.config.segment_bytes)
                check_produced(view, position, header, self.config, now_ms, stamp=log_append_time)
            if header[PRODUCER_ID] >= 0:
                if len(headers) > 1:
                    raise InvalidRecord("an idempotent producer sends one batch at a time")
                duplicate = find_duplicate(self.producers, header)
        if duplicate is not None:
            return duplicate
        if len(headers) == 1 and not log_append_time:
            return self._append_one(view, headers[0][1], leader_epoch)
        return self._append_rewritten(view, headers, leader_epoch, now_ms, log_append_time)

    def _append_one(self, view: memoryview, header: Header, leader_epoch: int) -> AppendInfo:
        """The hot path: sixteen rewritten bytes and the rest of the batch in one writev."""
        first = self.end_offset
        last = first + header[LAST_DELTA]
        size = len(view)
        timestamp_ms = header[MAX_TIMESTAMP]
        segment = self._segment_for(size, first, last, timestamp_ms)
        prefix = PREFIX.pack(first, header[LENGTH], leader_epoch)
        segment.append(prefix, view[PREFIX_REWRITTEN:])
        segment.appended(size, first, last, timestamp_ms)
        if leader_epoch > self._epochs.latest:
            self._epochs.assign(leader_epoch, first)
        self.end_offset = last + 1  # after the epoch: a flush beside this sees both or neither
        if header[PRODUCER_ID] >= 0:
            self._note_producer(header, first)
        return AppendInfo(first, last, timestamp_ms, -1, header[COUNT], size)

    def _append_rewritten(
        self,
        view: memoryview,
        headers: list[tuple[int, Header]],
        leader_epoch: int,
        now_ms: int,
        log_append_time: bool,
    ) -> AppendInfo:
        """Several batches, or new timestamps: rewrite a copy, then write it."""
        copy = bytearray(view)
        offset = self.end_offset
        rewritten = []
        for position, header in headers:
            PREFIX.pack_into(copy, position, offset, header[LENGTH], leader_epoch)
            if log_append_time:
                patch_log_append_time(copy, position, now_ms)
            fresh: Header = HEADER.unpack_from(copy, position)
            rewritten.append((position, fresh))
            offset += fresh[LAST_DELTA] + 1
        stamp = now_ms if log_append_time else -1
        return self._write(memoryview(copy), rewritten, stamp)

    def append_as_follower(self, data: Buffer) -> AppendInfo:
        """Write batches as the leader has them; they must continue at ``end_offset``.

        A batch that is cut off at the end is left out. Raises OutOfOrderOffsets, CorruptBatch,
        InvalidBatch, TornBatch (not one whole batch), StorageFailure; nothing is written then.
        """
        self._check_writable()
        view = memoryview(data)
        headers = read_headers(view, whole=False)
        first = headers[0][1]
        start = self.start_offset
        if not self._active.size and start == self.end_offset and covers(first, start):
            # A leader whose records were deleted up to here still sends the whole batch.
            check_checksum(view, 0, first)
            self.truncate_fully(first[BASE_OFFSET])
            self.start_offset = start
        expected = self.end_offset
        if first[LEADER_EPOCH] < self._epochs.latest:
            self._epochs.truncate_from_end(expected)  # epochs that wrote nothing here
        epoch = self._epochs.latest
        for position, header in headers:
            base = header[BASE_OFFSET]
            if base != expected:
                self._allow_gap(expected, base)
            if header[LEADER_EPOCH] < epoch:
                raise StaleEpoch(self.name, header[LEADER_EPOCH], epoch)
            check_checksum(view, position, header)
            epoch = header[LEADER_EPOCH]
            expected = base + header[LAST_DELTA] + 1
        return self._write(view, headers, -1)

    def _allow_gap(self, expected: int, actual: int) -> None:
        """Offsets are missing before the next batch: right where the leader's log is compacted."""
        if actual < expected or not (self._sparse or self.config.compact):
            raise OutOfOrderOffsets(self.name, expected, actual)
        if not self._sparse:
            self.mark_sparse()

    def mark_sparse(self) -> None:
        """Offsets may be missing in this log from now on, for good. Blocks, once in its life."""
        self._disk.write_atomic(f"{self.directory}/{names.GAPS}", b"")
        self._sparse = self._active.sparse = True

    def assign_epoch(self, leader_epoch: int) -> None:
        """Note that ``leader_epoch`` begins at ``end_offset``: on becoming leader, first of all."""
        self._check_writable()
        if leader_epoch < self._epochs.latest:
            raise StaleEpoch(self.name, leader_epoch, self._epochs.latest)
        self._epochs.assign(leader_epoch, self.end_offset)

    def _write(self, view: memoryview, headers: list[tuple[int, Header]], stamp: int) -> AppendInfo:
        """Write batches whose headers are final, a run for each segment that they go to."""
        run: list[tuple[int, Header]] = []
        run_start = run_size = 0
        segment = self._active
        for position, header in headers:
            size = header[LENGTH] + PREFIX_BYTES
            last = header[BASE_OFFSET] + header[LAST_DELTA]
            more, stamp_ms = run_size + size, header[MAX_TIMESTAMP]
            due = roll_needed(segment, self.config, more, last, stamp_ms)
            if due and (run or segment.size):
                self._write_run(segment, view[run_start:position], run)
                self._roll()
                segment = self._active
                run, run_start, run_size = [], position, 0
            run.append((position, header))
            run_size += size
        final_position, final = headers[-1]
        end = final_position + final[LENGTH] + PREFIX_BYTES
        self._write_run(segment, view[run_start:end], run)
        return AppendInfo(
            headers[0][1][BASE_OFFSET],
            final[BASE_OFFSET] + final[LAST_DELTA],
            max(header[MAX_TIMESTAMP] for _, header in headers),
            stamp,
            sum(header[COUNT] for _, header in headers),
            end,
        )

    def _write_run(self, segment: Segment, view: memoryview, run: list[tuple[int, Header]]) -> None:
        if not run:
            return
        segment.append(view)
        for _, header in run:
            base = header[BASE_OFFSET]
            last = base + header[LAST_DELTA]
            segment.appended(header[LENGTH] + PREFIX_BYTES, base, last, largest_timestamp(header))
            self._epochs.assign(header[LEADER_EPOCH], base)
            if header[PRODUCER_ID] >= 0:
                self._note_producer(header, base)
            self.end_offset = last + 1

    def _note_producer(self, header: Header, base_offset: int) -> None:
        self.producers.record(
            header[PRODUCER_ID],
            header[PRODUCER_EPOCH],
            header[BASE_SEQUENCE],
            header[LAST_DELTA] + 1,  # not the count: compaction removes records, not sequences
            base_offset,
            base_offset + header[LAST_DELTA],
            header[MAX_TIMESTAMP],
            header[ATTRIBUTES],
        )

    def _check_usable(self) -> None:
        if self._closed:
            raise LogClosed(self.name)
        if self.failure is not None:
            raise self.failure

    def _check_writable(self) -> None:
        self._check_usable()
        if self._epochs_owed:
            self._write_epochs()

    # -- segments ---------------------------------------------------------------------------

    def _segment_for(self, size: int, first: int, last: int, timestamp_ms: int) -> Segment:
        segment = self._active
        if segment.size and roll_needed(segment, self.config, size, last, timestamp_ms):
            self._roll()
            segment = self._active
        return segment

    def roll_if_due(self, now_ms: int) -> bool:
        """Begin a new segment when the first record of the active one is segment.ms old."""
        segment = self._active
        if not segment.size or self._closed or self.failure is not None:
            return False
        if not is_overdue(segment, self.config, now_ms):
            return False
        self._roll()
        return True

    def roll(self) -> None:
        """Begin a new segment now, unless the active one is empty."""
        self._check_writable()
        if self._active.size:
            self._roll()

    def _roll(self) -> None:
        old = self._active
        old.write_indexes()
        snapshot = write_snapshot(self._disk, self.directory, self.producers, self.end_offset)
        fresh = self._new_segment(self.end_offset)
        self._unflushed_paths += [old.index_path, old.time_index_path, snapshot]
        old.stop()
        self._replace_segments([*self._segments, fresh])

    def _new_segment(self, base_offset: int) -> Segment:
        segment = Segment(
            self._disk,
            self.directory,
            base_offset,
            self._cache,
            index_interval_bytes=self.config.index_interval_bytes,
            sparse=self._sparse or self.config.compact,
        )
        segment.create()
        set_limits(segment, self.config, self.name)
        self._files_created += 1
        return segment

    def _replace_segments(self, segments: list[Segment]) -> None:
        self._segments = segments
        self._bases = [segment.base_offset for segment in segments]
        self._active = segments[-1]

    # -- reading ----------------------------------------------------------------------------

    def read(self, offset: int, max_bytes: int, *, upto_offset: int, min_one: bool = True) -> bytes:
        """Whole batches from the one that holds ``offset``, none that begins at ``upto_offset``.

        At most ``max_bytes``, but at least one batch when ``min_one``. Empty at ``upto_offset``
        and above. A read ends with its segment. Raises OffsetOutOfRange below ``start_offset``
        and above ``end_offset``, CorruptLog, StorageFailure.
        """
        if not self.start_offset <= offset <= self.end_offset:
            raise OffsetOutOfRange(offset, self.start_offset, self.end_offset)
        if self._closed:
            raise LogClosed(self.name)
        upto_offset = min(upto_offset, self.end_offset)
        if offset >= upto_offset:
            return b""
        return self._reader.read(
            self._segments, self._bases, offset, max_bytes, upto_offset, min_one
        )

    def end_offset_for_epoch(self, epoch: int) -> tuple[int, int]:
        """The largest known epoch not above ``epoch`` and its end offset, or (-1, -1)."""
        return self._epochs.end_offset_for(epoch, self.end_offset)

    def epoch_at(self, offset: int) -> int:
        """The leader epoch that wrote ``offset``, or -1 when unknown."""
        return self._epochs.epoch_at(offset)

    def offset_for_timestamp(
        self, timestamp_ms: int, *, upto_offset: int
    ) -> tuple[int, int, int] | None:
        """(offset, timestamp, leader epoch) of the first record at or after ``timestamp_ms``.

        Only below ``upto_offset``; None when there is none.
        """
        upto_offset = min(upto_offset, self.end_offset)
        return lookup.first_at_or_after(
            self._segments, timestamp_ms, self.start_offset, upto_offset
        )

    def max_timestamp(self, upto_offset: int) -> tuple[int, int, int] | None:
        """(offset, timestamp, leader epoch) of the record with the largest timestamp."""
        upto_offset = min(upto_offset, self.end_offset)
        return lookup.largest(self._segments, self.start_offset, upto_offset)

    # -- cutting ----------------------------------------------------------------------------

    def truncate_to(self, offset: int) -> None:
        """Drop everything at and above ``offset``, durably, in the epoch history too.

        A batch that reaches across ``offset`` goes as a whole. At or above ``end_offset`` only
        the epoch history is cut (KAFKA-10706). Below ``start_offset`` the log restarts there.
        """
        self._check_writable()
        if offset < self.start_offset:
            self.truncate_fully(offset)
            return
        with self._flushing, self._settling:
            self._generation += 1
            if offset < self.end_offset:
                self._swaps.cancel()
                # To the batch's beginning: a recovery point inside of one promises too much.
                number = segment_number(self._segments, self._bases, offset)
                offset = min(offset, self._segments[number].position_of(offset)[1])
                self._lower_recovery_point(offset)
                with self._failing():
                    self._cut_segments(number, offset)
            self._epochs_owed |= self._epochs.truncate_from_end(offset)
            self._write_epochs()

    @contextmanager
    def _failing(self) -> Iterator[None]:
        """An error in here leaves the log half cut: only recovery can tell what is there then."""
        try:
            yield
        except StorageError as error:
            self.failure = error
            raise

    def _cut_segments(self, number: int, offset: int) -> None:
        keep = number + 1
        dropped = self._segments[keep:]
        self._replace_segments(self._segments[:keep])
        self._reader.forget()
        for segment in reversed(dropped):
            self._remove(segment)
        if dropped:
            self._disk.sync_dir(self.directory)
        self._active.truncate(offset)
        self.end_offset = self._active.end_offset
        self.start_offset = min(self.start_offset, self.end_offset)
        if self.producers.truncate(self.end_offset):
            drop_snapshots_above(self._disk, self.directory, self.end_offset)
        else:
            self.producers, _ = load_producers(
                self._disk, self.directory, self._segments, self.end_offset
            )

    def truncate_fully(self, new_start_offset: int) -> None:
        """Drop everything and begin again, empty, at ``new_start_offset``."""
        self._check_writable()
        with self._flushing, self._settling:
            self._generation += 1
            self._swaps.cancel()
            self._lower_recovery_point(new_start_offset)
            with self._failing():
                self._replace_everything(new_start_offset)
            self._epochs.clear()
            self._epochs_owed = True
            self._write_epochs()

    def _replace_everything(self, new_start_offset: int) -> None:
        old = self._segments
        self._reader.forget()
        for segment in reversed(old):
            self._remove(segment)
        self._replace_segments([self._new_segment(new_start_offset)])
        self._disk.sync_dir(self.directory)
        self.producers.clear()
        drop_snapshots_above(self._disk, self.directory, -1)
        self.start_offset = self.end_offset = self.recovery_point = new_start_offset

    def _lower_recovery_point(self, offset: int) -> None:
        self.recovery_point = min(self.recovery_point, offset)
        if self.on_truncate is not None:
            # What checkpoints promise must be true when the cut-off bytes are written anew.
            self.on_truncate(offset)

    def _write_epochs(self) -> None:
        """Make a cut epoch history durable before a record may follow it."""
        if self._epochs_owed:
            entries = self._epochs.entries
            path = f"{self.directory}/{names.EPOCH_CHECKPOINT}"
            self._disk.write_atomic(path, encode_epochs(entries))
            self._epochs_flushed = entries
            self._epochs_owed = False

    def _remove(self, segment: Segment) -> None:
        """Take a segment's files out of the way now; ``dispose`` removes them."""
        segment.active = False
        paths = segment.mark_deleted()
        self._disk.remove(names.segment_path(self.directory, segment.base_offset, names.SNAPSHOT))
        self._dispose_of(paths)

    def _dispose_of(self, paths: list[str]) -> None:
        def remove_files() -> None:
            for path in paths:
                self._disk.remove(path)

        self._dispose(remove_files)

    def advance_start_offset(self, offset: int) -> None:
        """Raise the first readable offset (DeleteRecords); whole segments below it go.

        Never lowers it. Raises OffsetOutOfRange above ``end_offset``.
        """
        if offset > self.end_offset:
            raise OffsetOutOfRange(offset, self.start_offset, self.end_offset)
        if offset <= self.start_offset:
            return
        self.start_offset = offset
        self._epochs.truncate_from_start(offset)
        drop = 0
        while drop < len(self._segments) - 1 and self._segments[drop].end_offset <= offset:
            drop += 1
        self._drop_oldest(drop)

    def _drop_oldest(self, count: int) -> None:
        if not count:
            return
        self._swaps.cancel()
        dropped = self._segments[:count]
        self._replace_segments(self._segments[count:])
        self._files_created += 1  # the folder is synced before the epoch history forgets them
        self._reader.forget()
        if self._segments[0].base_offset > self.start_offset:
            self.start_offset = self._segments[0].base_offset
            self._epochs.truncate_from_start(self.start_offset)
        for segment in dropped:
            self._remove(segment)

    def delete_expired(self, now_ms: int, high_watermark: int) -> int:
        """Drop whole segments by retention.ms and retention.bytes; how many.

        Never one that reaches above ``high_watermark``. The active segment goes too, rolled
        first, when all its records are expired. Also forgets expired producers.
        """
        if self._closed or self.failure is not None:
            return 0
        self.producers.expire(now_ms - self.config.producer_id_expiration_ms)
        count = expired_segments(self._segments, self.config, now_ms, high_watermark)
        if count == len(self._segments):
            # The old ones first: on a full disk they make the room that a new one needs.
            self._drop_oldest(count - 1)
            self._roll()
            self._drop_oldest(1)
        else:
            self._drop_oldest(count)
        return count

    # -- compaction -------------------------------------------------------------------------

    def begin_swap(self, swap: SegmentSwap) -> bool:
        """The first half of a swap; make it durable then. False when the log has changed."""
        if self._closed or self.failure is not None or swap.generation != self._generation:
            return False
        self._sparse = True  # the round has written names.GAPS
        return self._swaps.begin(swap, self._segments)

    def finish_swap(self, swap: SegmentSwap) -> bool:
        """The second half, at once for every reader. False when the log has changed."""
        if self._closed or self.failure is not None:
            return False
        with self._failing():
            segments = self._swaps.finish(swap, self._segments)
        if segments is None:
            return False
        self._replace_segments(segments)
        self._reader.forget()
        self._dispose_of(swap.removable)
        return True

    # -- flushing and closing ---------------------------------------------------------------

    def flush(self, upto: int | None = None) -> int:
        """Put what was appended on stable storage; returns the new recovery point.

        Blocks; may run in another thread while the owner appends. ``upto`` below the recovery
        point makes it a no-op. After a failed sync (StorageFailure) the log takes no more appends:
        the kernel may have dropped what it could not write, and only a restart finds out.
        """
        pending = self.prepare_flush(upto)
        if pending is None:
            return self.recovery_point
        self.run_flush(pending)
        return self.finish_flush(pending)

    def prepare_flush(self, upto: int | None = None) -> PendingFlush | None:
        """What a flush has to do now, or None; pass it to ``run_flush``, then ``finish_flush``."""
        self._check_usable()
        with self._settling:  # not while the log is being cut: half of it would be from before
            if upto is not None and upto <= self.recovery_point:
                return None
            end_offset = self.end_offset  # before the segments: what it covers is in them
            segments, start = self._segments, self.recovery_point
            created, entries = self._files_created, self._epochs.entries
            indexes = self._unflushed_paths.copy()
            generation = self._generation
        pending = PendingFlush(self._disk, end_offset, generation, self._may_be_gone)
        pending.paths = [s.path for s in segments if s.end_offset > start and s.size]
        pending.index_paths = indexes
        if created != self._files_synced:
            pending.folder, pending.files_created = self.directory, created
        flushed = self._epochs_flushed
        if flushed is None or epochs_with_records(entries, end_offset) != epochs_with_records(
            flushed, end_offset
        ):
            path = f"{self.directory}/{names.EPOCH_CHECKPOINT}"
            pending.epoch_checkpoint = (path, encode_epochs(entries))
            pending.epochs = entries
        if pending.paths or indexes or pending.folder or pending.epoch_checkpoint:
            return pending
        return None

    def run_flush(self, pending: PendingFlush) -> None:
        """The blocking part; any thread. Raises StorageFailure, and remembers it."""
        with self._flushing:
            if pending.generation != self._generation:
                return
            try:
                pending.run()
            except StorageFailure as error:
                if pending.syncing:
                    self.failure = error
                raise

    def finish_flush(self, pending: PendingFlush) -> int:
        """Move the recovery point, unless the log was cut meanwhile; returns it."""
        with self._settling:
            if pending.done and pending.generation == self._generation:
                self.recovery_point = max(self.recovery_point, pending.end_offset)
                if pending.folder is not None:
                    self._files_synced = max(self._files_synced, pending.files_created)
                if pending.epoch_checkpoint is not None:
                    self._epochs_flushed = pending.epochs
                for path in pending.index_paths:
                    if path in self._unflushed_paths:
                        self._unflushed_paths.remove(path)
        return self.recovery_point

    def _may_be_gone(self, path: str) -> bool:
        return self._closed or all(
            path not in (s.path, s.index_path, s.time_index_path) for s in self._segments
        )

    def close(self) -> None:
        """Flush, write indexes and a producer snapshot, give the files back. Twice is fine.

        Nothing is written that would be on disk already. Raises StorageFailure; the log is closed
        all the same, and not cleanly.
        """
        if self._closed:
            return
        try:
            if self.failure is None:
                if self._found != self._shape():
                    written = write_closing_files(
                        self._disk, self._active, self.size_bytes, self.producers
                    )
                    self._unflushed_paths += written
                    self._files_created += bool(written)
                self.flush()
        finally:
            self.abandon()

    def _shape(self) -> tuple[object, ...]:
        """Changes whenever an index or a producer snapshot of the end would be another."""
        return self.end_offset, self._generation, *self._bases

    def abandon(self) -> None:
        """Give the files back without writing anything more: the log is going to be deleted."""
        self._closed = True
        for segment in self._segments:
            segment.active = False
            segment.close()
