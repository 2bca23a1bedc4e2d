"""The part of a flush that blocks, cut loose from the log so that a thread can run it.

Order (Kafka's): data, indexes and producer snapshots, the folder, the epoch checkpoint. Only after
all of it may the recovery point move. A failed sync must never be retried and believed.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from broker.storage.disk import Disk
from broker.storage.errors import FileMissing
from broker.storage.producers import ProducerState
from broker.storage.recovery import write_snapshot
from broker.storage.segment import Segment

Epochs = tuple[tuple[int, int], ...]


def epochs_with_records(entries: Epochs, end_offset: int) -> Epochs:
    """The epoch history without an epoch at the very end, which has written nothing.

    It need not reach the disk: a kill loses it just so, and the next leader's is larger. Every
    restart begins one in every partition that is led.
    """
    return tuple(entry for entry in entries if entry[1] < end_offset)


def write_closing_files(
    disk: Disk, active: Segment, size_bytes: int, producers: ProducerState
) -> list[str]:
    """Write what makes a log of ``size_bytes`` quick to open again (not synced); the paths.

    The indexes of its last segment and a snapshot of its producers. An empty log needs neither.
    """
    written = []
    if active.size or disk.exists(active.time_index_path):
        active.write_indexes()
        written += [active.index_path, active.time_index_path]
    if size_bytes:
        written.append(write_snapshot(disk, active.folder, producers, active.end_offset))
    return written


@dataclass(slots=True)
class PendingFlush:
    """Files to sync, up to ``end_offset`` of a log. ``run`` blocks and may run in any thread."""

    disk: Disk
    end_offset: int
    generation: int
    # Whether a path may be gone: its segment, or the whole log, was deleted meanwhile.
    may_be_gone: Callable[[str], bool]
    paths: list[str] = field(default_factory=list)
    index_paths: list[str] = field(default_factory=list)
    folder: str | None = None  # to sync, when files were created in it
    files_created: int = 0
    epoch_checkpoint: tuple[str, bytes] | None = None
    epochs: Epochs = ()
    # A failure while this is set may have lost data that was written.
    syncing: bool = True
    done: bool = False

    def run(self) -> None:
        """Sync everything; raises StorageFailure naming the path that failed."""
        for path in (*self.paths, *self.index_paths):
            self._guarded(path, self._sync)
        if self.folder is not None:
            self._guarded(self.folder, self.disk.sync_dir)
        self.syncing = False
        if self.epoch_checkpoint is not None:
            path, data = self.epoch_checkpoint
            self._guarded(path, lambda target: self.disk.write_atomic(target, data))
        self.done = True

    def _sync(self, path: str) -> None:
        file = self.disk.open(path, create=False)
        try:
            file.sync()
        finally:
            file.close()

    def _guarded(self, path: str, action: Callable[[str], None]) -> None:
        try:
            action(path)
        except FileMissing:
            if not self.may_be_gone(path):
                raise
