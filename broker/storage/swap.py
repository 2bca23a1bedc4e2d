"""Putting a compacted segment in the place of those that it was made from, safe at every moment.

The protocol is Kafka's: ``.cleaned`` files are written and synced, renamed to ``.swap``, and only
when that is durable do the old files go and the new ones get their names. So a ``.log.swap`` on the
disk is always whole and always to be put in place; anything ``.cleaned`` is to be thrown away. The
log is renamed last in each step: it speaks for its indexes. The last batch of a compacted
segment always stays, so its end says which old segments it replaces.
"""

from dataclasses import dataclass, field

from broker.storage import names
from broker.storage.batches import BASE_OFFSET, LAST_DELTA, BadBatch, walk_checked
from broker.storage.disk import Disk
from broker.storage.errors import CorruptLog, FileMissing
from broker.storage.segment import Segment

# The log comes last.
SUFFIXES = (names.INDEX, names.TIME_INDEX, names.LOG)


@dataclass(slots=True)
class SegmentSwap:
    """One replacement: ``group`` are consecutive segments, oldest first."""

    disk: Disk
    folder: str
    group: tuple[Segment, ...]
    replacement: Segment
    generation: int
    # Old files out of the way, to be removed some time later.
    removable: list[str] = field(default_factory=list)

    def prepare(self) -> None:
        """``.cleaned`` to ``.swap``. Not durable before ``sync``."""
        self._rename(names.CLEANED, names.SWAP)

    def complete(self) -> None:
        """Old files out of the way, oldest first, and ``.swap`` to the final names."""
        for segment in self.group:
            segment.close()
        # Oldest first: should only some of it survive a crash, then what is left are the newest
        # records, tombstones among them, and never a value without its tombstone.
        for segment in self.group[1:]:
            self.removable += segment.mark_deleted()
            self.disk.remove(names.segment_path(self.folder, segment.base_offset, names.SNAPSHOT))
        self._rename(names.SWAP, "")

    def sync(self) -> None:
        """Make the renames durable. Blocks; any thread."""
        self.disk.sync_dir(self.folder)

    def discard(self) -> None:
        """Remove what was written, the log first: without it nothing of it counts."""
        for state in (names.SWAP, names.CLEANED):
            for suffix in reversed(SUFFIXES):
                self.disk.remove(self._path(suffix) + state)

    def _rename(self, before: str, after: str) -> None:
        for suffix in SUFFIXES:
            path = self._path(suffix)
            self.disk.rename(path + before, path + after)

    def _path(self, suffix: str) -> str:
        return names.segment_path(self.folder, self.replacement.base_offset, suffix)


def settle_swaps(disk: Disk, folder: str) -> list[str]:
    """Finish the swaps that a crash interrupted; notes about them. Before anything is opened.

    Raises CorruptLog for a ``.log.swap`` that is not whole: it was synced before it got its name.
    """
    listed = disk.list_dir(folder)
    swaps = [b for n in listed if (b := names.parse_offset(n, names.LOG + names.SWAP)) is not None]
    bases = [b for n in listed if (b := names.parse_offset(n, names.LOG)) is not None]
    notes = []
    for base in swaps:
        end = _end_of_swap(disk, folder, base)
        replaced = [each for each in bases if base < each < end]
        for each in replaced:
            for suffix in (names.SNAPSHOT, *SUFFIXES):
                disk.remove(names.segment_path(folder, each, suffix))
        for suffix in SUFFIXES:
            path = names.segment_path(folder, base, suffix)
            try:
                disk.rename(path + names.SWAP, path)
            except FileMissing:
                continue  # it has its name already
        disk.sync_dir(folder)
        notes.append(f"finished compacting the segment {base}, which replaces {len(replaced) + 1}")
    for name in disk.list_dir(folder):
        if name.endswith(names.SWAP):
            disk.remove(f"{folder}/{name}")  # an index whose log had not been renamed yet
    return notes


def _end_of_swap(disk: Disk, folder: str, base: int) -> int:
    path = names.segment_path(folder, base, names.LOG) + names.SWAP
    file = disk.open(path, create=False)
    end = base
    try:
        for _, header in walk_checked(file, 0, file.size, base, sparse=True):
            end = header[BASE_OFFSET] + header[LAST_DELTA] + 1
    except BadBatch as bad:
        raise CorruptLog(path, bad.position, bad.reason) from None
    finally:
        file.close()
    return end


class Swaps:
    """The swap that one log is in the middle of, if any. Its owner's thread only."""

    def __init__(self) -> None:
        self._pending: SegmentSwap | None = None

    def begin(self, swap: SegmentSwap, segments: list[Segment]) -> bool:
        """Rename to ``.swap``; False when the segments are not there any more."""
        if _place_of(swap, segments) is None:
            return False
        self._pending = swap
        swap.prepare()
        return True

    def finish(self, swap: SegmentSwap, segments: list[Segment]) -> list[Segment] | None:
        """Put the new files in place, once ``begin`` is durable; the log's segments from then on.

        None when the swap was cancelled meanwhile.
        """
        if self._pending is not swap:
            return None
        at = _place_of(swap, segments)
        assert at is not None, "segments went away, and the swap was not cancelled"
        self._pending = None
        swap.complete()
        return [*segments[:at], swap.replacement, *segments[at + len(swap.group) :]]

    def cancel(self) -> None:
        """The log is going to lose segments: a swap must not bring them back."""
        swap, self._pending = self._pending, None
        if swap is not None:
            swap.discard()
            swap.sync()


def _place_of(swap: SegmentSwap, segments: list[Segment]) -> int | None:
    """Where the group lies among ``segments``, or None when not all of it is there."""
    if swap.group[0] not in segments:
        return None
    at = segments.index(swap.group[0])
    return at if tuple(segments[at : at + len(swap.group)]) == swap.group else None
