"""Opening a log: what is on the disk after a clean stop, a kill or a power cut.

After a clean stop only the end of the last segment is looked at. Otherwise every segment from the
one that holds the recovery point on is read whole: header, checksum, offset continuity. Above the
recovery point the log is cut at the first batch that is not intact, and indexes, epoch history and
producer state are rebuilt on the way. Below it everything was synced: damage there raises
CorruptLog, it must never be cut away silently.
"""

from dataclasses import dataclass, field

from broker.storage import names
from broker.storage.batches import (
    ATTRIBUTES,
    BASE_OFFSET,
    BASE_SEQUENCE,
    LAST_DELTA,
    LEADER_EPOCH,
    LENGTH,
    MAX_TIMESTAMP,
    PREFIX_BYTES,
    PRODUCER_EPOCH,
    PRODUCER_ID,
    BadBatch,
    Header,
    batch_follows,
    largest_timestamp,
    walk_checked,
)
from broker.storage.checkpoints import decode_epochs
from broker.storage.disk import Disk
from broker.storage.epochs import EpochCache
from broker.storage.errors import CorruptFile, CorruptLog, FileMissing
from broker.storage.handles import HandleCache
from broker.storage.log_config import LogConfig
from broker.storage.producers import ProducerState
from broker.storage.segment import Segment
from broker.storage.swap import settle_swaps


@dataclass(slots=True)
class RecoveryReport:
    """What opening a log found and did; for the broker's log lines."""

    scanned_segments: int = 0
    scanned_bytes: int = 0
    cut_bytes: int = 0
    cut_path: str = ""
    cut_reason: str = ""
    # Synced batches are missing because the last file ends too early. The log goes on with what
    # it has, and other replicas have the rest; a single replica has lost records.
    missing_below_recovery_point: bool = False
    restarted_at: int = -1  # the log was emptied because its start offset lies beyond its end
    notes: list[str] = field(default_factory=list)


@dataclass(slots=True)
class LogState:
    """What a log is made of."""

    segments: list[Segment]
    epochs: EpochCache
    producers: ProducerState
    report: RecoveryReport
    unsynced: list[str]  # files that recovery wrote and the next flush has to sync
    sparse: bool = False  # offsets may be missing


def note_header(producers: ProducerState, header: Header) -> None:
    """Replay one batch into the producer state."""
    if header[PRODUCER_ID] >= 0:
        producers.record(
            header[PRODUCER_ID],
            header[PRODUCER_EPOCH],
            header[BASE_SEQUENCE],
            header[LAST_DELTA] + 1,  # not the count: compaction removes records, not sequences
            header[BASE_OFFSET],
            header[BASE_OFFSET] + header[LAST_DELTA],
            header[MAX_TIMESTAMP],
            header[ATTRIBUTES],
        )


def replay_producers(
    segments: list[Segment], producers: ProducerState, start: int, end: int
) -> None:
    """Replay the headers of batches in ``[start, end)`` into ``producers``."""
    for segment in segments:
        if segment.end_offset <= start or segment.base_offset >= end:
            continue
        position, base = segment.position_from(max(start, segment.base_offset))
        for _, header in segment.walk(position, base):
            if header[BASE_OFFSET] >= end:
                return
            note_header(producers, header)


def snapshot_offsets(disk: Disk, folder: str) -> list[int]:
    """Offsets of the producer snapshots in a folder, rising."""
    parsed = (names.parse_offset(name, names.SNAPSHOT) for name in disk.list_dir(folder))
    return [offset for offset in parsed if offset is not None]


def drop_snapshots_above(disk: Disk, folder: str, limit: int) -> None:
    """Remove the producer snapshots of offsets above ``limit``."""
    for offset in snapshot_offsets(disk, folder):
        if offset > limit:
            disk.remove(names.segment_path(folder, offset, names.SNAPSHOT))


def load_producers(
    disk: Disk, folder: str, segments: list[Segment], end: int
) -> tuple[ProducerState, list[str]]:
    """The producer state at ``end``: the newest good snapshot at or below it, and a replay.

    Snapshots above ``end`` and damaged ones are removed. Returns notes about the latter.
    """
    notes = []
    state, start = ProducerState(), segments[0].base_offset if segments else end
    for offset in reversed(snapshot_offsets(disk, folder)):
        path = names.segment_path(folder, offset, names.SNAPSHOT)
        if offset > end:
            disk.remove(path)
            continue
        try:
            state, start = ProducerState.decode(path, disk.read_file(path)), offset
        except CorruptFile as error:
            notes.append(f"removed a producer snapshot: {error}")
            disk.remove(path)
            continue
        break
    replay_producers(segments, state, start, end)
    return state, notes


def write_snapshot(disk: Disk, folder: str, producers: ProducerState, offset: int) -> str:
    """Write a producer snapshot (not synced; its checksum tells a torn one). Returns its path."""
    path = names.segment_path(folder, offset, names.SNAPSHOT)
    file = disk.open(path)
    try:
        if file.size:
            file.truncate(0)
        file.append(producers.encode())
    finally:
        file.close()
    return path


class Recovery:
    """One opening of one log."""

    def __init__(
        self,
        disk: Disk,
        folder: str,
        config: LogConfig,
        cache: HandleCache,
        *,
        recovery_point: int,
        log_start_offset: int,
        clean: bool,
    ) -> None:
        self._disk = disk
        self._folder = folder
        self._config = config
        self._cache = cache
        self._recovery_point = recovery_point
        self._log_start_offset = log_start_offset
        self._clean = clean
        self._report = RecoveryReport()
        self._epochs = EpochCache()
        self._producers = ProducerState()
        self._unsynced: list[str] = []
        self._sparse = disk.exists(f"{folder}/{names.GAPS}")

    def run(self) -> LogState:
        """Load, check and repair; the last segment of the result is active.

        Raises CorruptLog for damage below the recovery point.
        """
        self._disk.make_dirs(self._folder)
        segments = self._find_segments()
        if segments and not (self._clean and self._open_clean(segments)):
            self._scan(segments)
        if segments and self._log_start_offset > segments[-1].end_offset:
            self._report.restarted_at = self._log_start_offset
            for segment in segments:
                self._discard(segment)
            segments = []
        if not segments:
            self._start_empty(segments)
        end = segments[-1].end_offset
        # An entry at the very end stays: it is an epoch that has not written yet.
        self._epochs.truncate_from_end(end + 1)
        self._epochs.truncate_from_start(max(self._log_start_offset, segments[0].base_offset))
        return LogState(
            segments, self._epochs, self._producers, self._report, self._unsynced, self._sparse
        )

    # -- files ------------------------------------------------------------------------------

    def _segment(self, base_offset: int, end_offset: int | None = None) -> Segment:
        return Segment(
            self._disk,
            self._folder,
            base_offset,
            self._cache,
            end_offset=end_offset,
            index_interval_bytes=self._config.index_interval_bytes,
            sparse=self._sparse or self._config.compact,
        )

    def _find_segments(self) -> list[Segment]:
        self._report.notes += settle_swaps(self._disk, self._folder)
        listed = self._disk.list_dir(self._folder)
        bases = [b for name in listed if (b := names.parse_offset(name, names.LOG)) is not None]
        for name in listed:
            path = f"{self._folder}/{name}"
            if name.endswith(names.LEFTOVERS):
                self._disk.remove(path)
                continue
            for suffix in (names.INDEX, names.TIME_INDEX):
                base = names.parse_offset(name, suffix)
                if base is not None and base not in bases:
                    self._disk.remove(path)
        segments = []
        for base, following in zip(bases, [*bases[1:], None], strict=False):
            segment = self._segment(base, following)
            segment.size = self._disk.file_size(segment.path)
            segments.append(segment)
        while len(segments) > 1 and segments[1].base_offset <= self._log_start_offset:
            self._discard(segments.pop(0))
        return segments

    def _discard(self, segment: Segment) -> None:
        """Remove the files of a segment, the log last: an orphaned index is harmless."""
        segment.active = False
        segment.close()
        for path in (segment.index_path, segment.time_index_path, segment.path):
            self._disk.remove(path)
        snapshot = names.segment_path(self._folder, segment.base_offset, names.SNAPSHOT)
        self._disk.remove(snapshot)

    def _start_empty(self, segments: list[Segment]) -> None:
        segment = self._segment(self._log_start_offset)
        segment.create()
        self._disk.sync_dir(self._folder)
        segments.append(segment)
        self._epochs.clear()
        self._producers.clear()
        for offset in snapshot_offsets(self._disk, self._folder):
            self._disk.remove(names.segment_path(self._folder, offset, names.SNAPSHOT))

    # -- a clean stop -----------------------------------------------------------------------

    def _open_clean(self, segments: list[Segment]) -> bool:
        """Trust the files; False when the end of the last one shows that one cannot."""
        last = segments[-1]
        try:
            last.load_tail()
        except CorruptLog as error:
            self._report.notes.append(f"the log was closed cleanly, and yet {error.reason}")
            last.active = False
            last.close()
            last.end_offset = last.base_offset
            return False
        self._load_epochs(segments, last.end_offset)
        self._producers, notes = load_producers(self._disk, self._folder, segments, last.end_offset)
        self._report.notes += notes
        return True

    def _load_epochs(self, segments: list[Segment], end: int) -> None:
        """The epoch history below ``end``: from its checkpoint, or from the batches."""
        path = f"{self._folder}/{names.EPOCH_CHECKPOINT}"
        try:
            self._epochs = EpochCache(tuple(decode_epochs(path, self._disk.read_file(path))))
        except (CorruptFile, FileMissing) as error:
            if isinstance(error, CorruptFile):
                self._report.notes.append(f"rebuilt the epoch history: {error}")
            for segment in segments:
                if segment.base_offset >= end:
                    break
                for _, header in segment.walk(0, None if segment.sparse else segment.base_offset):
                    self._epochs.assign(header[LEADER_EPOCH], header[BASE_OFFSET])

    # -- anything else ----------------------------------------------------------------------

    def _scan(self, segments: list[Segment]) -> None:
        first = 0
        for number, segment in enumerate(segments):
            if segment.base_offset <= self._recovery_point:
                first = number
        start = segments[first].base_offset
        trusted = segments[:first]
        self._load_epochs(trusted, start)
        unwritten = self._epochs.entries[-1:]
        self._epochs.truncate_from_end(start)
        self._producers, notes = load_producers(self._disk, self._folder, trusted, start)
        self._report.notes += notes
        for number in range(first, len(segments)):
            segment = segments[number]
            if number > first:
                self._unsynced.append(
                    write_snapshot(self._disk, self._folder, self._producers, segment.base_offset)
                )
            following = segments[number + 1] if number + 1 < len(segments) else None
            if not self._scan_segment(segment, following):
                for dropped in reversed(segments[number + 1 :]):
                    self._report.cut_bytes += dropped.size
                    self._discard(dropped)
                del segments[number + 1 :]
                self._disk.sync_dir(self._folder)
                break
            if following is not None:
                segment.write_indexes()
                segment.stop()
                self._unsynced += [segment.index_path, segment.time_index_path]
        end = segments[-1].end_offset
        for epoch, offset in unwritten:
            if offset == end:
                self._epochs.assign(epoch, offset)

    def _scan_segment(self, segment: Segment, following: Segment | None) -> bool:
        """Rebuild a segment's indexes from its batches; False when the log ends in it."""
        segment.reset_indexes()
        segment.active = True
        size, segment.size = segment.file.size, 0
        segment.end_offset = segment.base_offset
        self._report.scanned_segments += 1
        self._report.scanned_bytes += size
        try:
            for _, header in walk_checked(
                segment.file, 0, size, segment.base_offset, sparse=segment.sparse
            ):
                self._note(segment, header)
        except BadBatch as bad:
            self._judge(segment, following, bad, size)
            segment.cut_file(segment.size)
            return False
        if following is None:
            return True
        if segment.end_offset == following.base_offset or segment.sparse:
            segment.end_offset = following.base_offset
            return True
        reason = f"it ends at {segment.end_offset}, the next segment is {following.base_offset}"
        gap = BadBatch(segment.size, segment.end_offset, reason)
        self._judge(segment, following, gap, size)
        return False

    def _note(self, segment: Segment, header: Header) -> None:
        last_offset = header[BASE_OFFSET] + header[LAST_DELTA]
        segment.appended(
            header[LENGTH] + PREFIX_BYTES,
            header[BASE_OFFSET],
            last_offset,
            largest_timestamp(header),
        )
        self._epochs.assign(header[LEADER_EPOCH], header[BASE_OFFSET])
        note_header(self._producers, header)

    def _judge(self, segment: Segment, following: Segment | None, bad: BadBatch, size: int) -> None:
        """Cutting at ``bad`` is right, or raise CorruptLog."""
        if bad.offset < self._recovery_point:
            if following is not None or not bad.torn:
                raise CorruptLog(segment.path, bad.position, bad.reason)
            if batch_follows(segment.file, bad.position, size, bad.offset):
                raise CorruptLog(segment.path, bad.position, "the length of a batch is damaged")
            self._report.missing_below_recovery_point = True
        self._report.cut_path = segment.path
        self._report.cut_bytes += size - bad.position
        self._report.cut_reason = bad.reason
