"""All logs of one data folder: its lock, its identity, its checkpoints.

It must never open a folder that another process or another node owns, and never hand a name from
outside to the disk unchecked. One damaged log does not keep the others from opening.
"""

import random
import threading
import uuid
from collections.abc import Callable, Iterable, Mapping

from broker.protocol.api_keys import METADATA_TOPIC
from broker.storage import names
from broker.storage.checkpoints import PartitionKey, decode_offsets, encode_offsets
from broker.storage.disk import Disk, Lock
from broker.storage.errors import (
    CorruptFile,
    FileMissing,
    InconsistentTopicId,
    LogClosed,
    StorageError,
    StorageFailure,
)
from broker.storage.handles import HandleCache
from broker.storage.identity import (
    NO_BROKER_EPOCH,
    Identity,
    establish_identity,
    mark_clean_shutdown,
    read_topic_id,
    take_clean_shutdown,
    write_topic_id,
)
from broker.storage.log import Dispose, Log, run_now
from broker.storage.log_config import LogConfig

RECOVERY_POINTS = "recovery-point-offset-checkpoint"
HIGH_WATERMARKS = "replication-offset-checkpoint"
START_OFFSETS = "log-start-offset-checkpoint"
CLEAN_OFFSETS = "cleaner-offset-checkpoint"
LOCK_FILE = ".lock"

METADATA_KEY: PartitionKey = (METADATA_TOPIC, 0)
ConfigOf = Callable[[str], LogConfig]


def prepare_folder(
    disk: Disk, data_dir: str, topic: str, topic_id: uuid.UUID, partition: int
) -> None:
    """Make the folder of a new log, durably, so that ``get_or_create`` need not wait for the disk.

    It waits for several syncs, so many at once belong into threads, where file systems make them
    one. Does nothing when there is such a folder. Raises StorageFailure, UnsafeName.
    """
    folder = f"{data_dir}/{names.partition_folder(topic, partition)}"
    if disk.exists(folder):
        return
    disk.make_dirs(folder)
    disk.open(names.segment_path(folder, 0, names.LOG)).close()
    write_topic_id(disk, f"{folder}/{names.PARTITION_METADATA}", topic_id)


class LogManager:
    """The logs of a data folder. Open it with ``LogManager.open``; one thread owns it."""

    def __init__(
        self,
        disk: Disk,
        data_dir: str,
        *,
        cluster_id: str,
        node_id: int,
        rng: random.Random,
        config_of: ConfigOf | None = None,
        dispose: Dispose = run_now,
        open_files_max: int = 512,
    ) -> None:
        self._disk = disk
        self.data_dir = data_dir
        self._cluster_id = cluster_id
        self._node_id = node_id
        self._rng = rng
        self._config_of = config_of or (lambda _: LogConfig())
        self._dispose = dispose
        self._cache = HandleCache(open_files_max)
        self._logs: dict[PartitionKey, Log] = {}
        self._topic_ids: dict[PartitionKey, uuid.UUID] = {}
        # Logs that would not open, and why; the others go on.
        self.failed: dict[PartitionKey, StorageError] = {}
        # What opening found that a person should know; for the broker's log lines.
        self.notes: list[str] = []
        self.clean_shutdown_epoch = NO_BROKER_EPOCH
        self.was_clean = False
        self._identity = Identity(cluster_id, node_id, uuid.UUID(int=0))
        self._high_watermarks: dict[PartitionKey, int] = {}
        self._recovery_points: dict[PartitionKey, int] = {}
        self._start_offsets: dict[PartitionKey, int] = {}
        # Up to where each log is compacted. What lies below must never be changed by anything but
        # a round of compaction, or a deleted key may come back.
        self._clean_offsets: dict[PartitionKey, int] = {}
        # When set: removes old segments after so many milliseconds (file.delete.delay.ms).
        self.dispose_later: Callable[[Callable[[], None], int], None] | None = None
        self._lock: Lock | None = None
        self._checkpoint_lock = threading.Lock()
        self._checkpoint_turn = 0
        self._checkpoint_written = 0
        self._close_problem: StorageError | None = None

    @classmethod
    def open(
        cls,
        disk: Disk,
        data_dir: str,
        *,
        cluster_id: str,
        node_id: int,
        rng: random.Random,
        config_of: ConfigOf | None = None,
        dispose: Dispose = run_now,
        open_files_max: int = 512,
    ) -> "LogManager":
        """Lock the folder, check its identity, finish deletions and open every log.

        ``config_of`` gives a topic's settings (defaults until the caller knows better: set
        ``log.config``). The metadata log is opened apart. Raises DiskLocked, WrongIdentity,
        StorageFailure; a log that will not open is in ``failed`` instead.
        """
        manager = cls(
            disk,
            data_dir.rstrip("/"),
            cluster_id=cluster_id,
            node_id=node_id,
            rng=rng,
            config_of=config_of,
            dispose=dispose,
            open_files_max=open_files_max,
        )
        disk.make_dirs(manager.data_dir)
        lock = manager._lock = disk.lock(f"{manager.data_dir}/{LOCK_FILE}")
        try:
            manager._load()
        except BaseException:
            lock.release()
            raise
        return manager

    def _load(self) -> None:
        folders = []
        for name in self._disk.list_dir(self.data_dir):
            path = f"{self.data_dir}/{name}"
            if name.endswith(names.DELETED_FOLDER):
                self._disk.remove_tree(path)
            elif name.endswith(".tmp"):
                self._disk.remove(path)
            elif (key := names.parse_folder(name)) is not None and self._disk.is_dir(path):
                folders.append(key)
        self._identity = establish_identity(
            self._disk,
            self.data_dir,
            self._cluster_id,
            self._node_id,
            lambda: uuid.UUID(int=self._rng.getrandbits(128), version=4),
            holds_logs=bool(folders),
        )
        self.was_clean, self.clean_shutdown_epoch = take_clean_shutdown(self._disk, self.data_dir)
        self._recovery_points = self._load_checkpoint(RECOVERY_POINTS)
        self._high_watermarks = self._load_checkpoint(HIGH_WATERMARKS)
        self._start_offsets = self._load_checkpoint(START_OFFSETS)
        self._clean_offsets = self._load_checkpoint(CLEAN_OFFSETS)
        for key in sorted(folders):
            if key == METADATA_KEY:
                continue
            try:
                self._open_log(key, self._config_of(key[0]))
            except StorageError as error:
                self.failed[key] = error
                self.notes.append(f"{key[0]}-{key[1]} did not open: {error}")

    def _load_checkpoint(self, name: str) -> dict[PartitionKey, int]:
        path = f"{self.data_dir}/{name}"
        try:
            return decode_offsets(path, self._disk.read_file(path))
        except FileMissing:
            return {}
        except CorruptFile as error:
            # Without recovery points every log is scanned whole, which is slow and safe; without
            # start offsets deleted records may come back, without watermarks they are learned anew,
            # without clean offsets every log is compacted from its start.
            self.notes.append(f"ignored a checkpoint: {error}")
            return {}

    def _open_log(self, key: PartitionKey, config: LogConfig) -> Log:
        name = names.partition_folder(*key)
        directory = f"{self.data_dir}/{name}"
        topic_id = read_topic_id(self._disk, f"{directory}/{names.PARTITION_METADATA}")
        log = Log.open(
            self._disk,
            directory,
            config,
            name=name,
            recovery_point=max(0, self._recovery_points.get(key, 0)),
            log_start_offset=max(0, self._start_offsets.get(key, 0)),
            clean=self.was_clean,
            cache=self._cache,
            dispose=lambda work: self._dispose_of(key, work),
        )
        log.on_truncate = lambda offset: self.lower_offsets({key: offset})
        if self._clean_offsets.get(key, 0) > log.end_offset:
            del self._clean_offsets[key]
        self._note_recovery(log)
        self._logs[key] = log
        if topic_id is not None:
            self._topic_ids[key] = topic_id
        return log

    def _dispose_of(self, key: PartitionKey, work: Callable[[], None]) -> None:
        log = self._logs.get(key)
        if self.dispose_later is None or log is None:
            self._dispose(work)
        else:
            self.dispose_later(work, log.config.file_delete_delay_ms)

    def _note_recovery(self, log: Log) -> None:
        report = log.recovery
        self.notes += [f"{log.name}: {note}" for note in report.notes]
        if report.cut_bytes:
            self.notes.append(
                f"{log.name}: cut {report.cut_bytes} bytes after offset {log.end_offset} "
                f"({report.cut_path}: {report.cut_reason})"
            )
        if report.missing_below_recovery_point:
            self.notes.append(
                f"{log.name}: records that had been flushed are missing after offset "
                f"{log.end_offset}; other replicas may have them"
            )
        if report.restarted_at >= 0:
            self.notes.append(f"{log.name}: restarted empty at offset {report.restarted_at}")

    @property
    def disk(self) -> Disk:
        """The disk that the logs lie on."""
        return self._disk

    # -- logs -------------------------------------------------------------------------------

    @property
    def directory_id(self) -> uuid.UUID:
        """The id of this data folder (KIP-858)."""
        return self._identity.directory_id

    @property
    def logs(self) -> Mapping[PartitionKey, Log]:
        """Every open log but the metadata log's, by (topic, partition), sorted."""
        return {key: log for key, log in sorted(self._logs.items()) if key != METADATA_KEY}

    @property
    def count(self) -> int:
        """How many logs are open, the metadata log among them."""
        return len(self._logs)

    def get(self, topic: str, partition: int) -> Log | None:
        """The log of a partition, or None."""
        return self._logs.get((topic, partition))

    def topic_id(self, topic: str, partition: int) -> uuid.UUID | None:
        """The topic id that a partition's folder was made for, or None."""
        return self._topic_ids.get((topic, partition))

    def get_or_create(
        self, topic: str, topic_id: uuid.UUID, partition: int, config: LogConfig | None = None
    ) -> Log:
        """The log of a partition, created when it is not there; ``config`` applies from now on.

        Raises InconsistentTopicId when the folder belongs to an earlier topic of that name
        (``delete`` it first), UnsafeName, and what kept the log from opening.
        """
        key = (topic, partition)
        log = self._logs.get(key)
        if log is not None:
            known = self._topic_ids.get(key)
            if known is None:
                self._write_topic_id(key, topic_id)
            elif known != topic_id:
                raise InconsistentTopicId(
                    f"{log.directory} belongs to topic id {known}, not to {topic_id}; it must be "
                    f"deleted before the new topic can use its name"
                )
            if config is not None:
                log.config = config
            return log
        if key in self.failed:
            raise self.failed[key]
        names.partition_folder(topic, partition)
        # Nothing of an earlier log of this name may speak for the new one.
        self._forget_offsets(key)
        log = self._open_log(key, config or self._config_of(topic))
        if self._topic_ids.get(key) != topic_id:
            self._write_topic_id(key, topic_id)
        return log

    def _write_topic_id(self, key: PartitionKey, topic_id: uuid.UUID) -> None:
        folder = f"{self.data_dir}/{names.partition_folder(*key)}"
        write_topic_id(self._disk, f"{folder}/{names.PARTITION_METADATA}", topic_id)
        self._topic_ids[key] = topic_id

    def open_metadata_log(self, config: LogConfig | None = None) -> Log:
        """The log of the cluster's metadata, created when it is not there."""
        log = self._logs.get(METADATA_KEY)
        return log or self._open_log(METADATA_KEY, config or LogConfig(retention_ms=-1))

    def delete(self, topic: str, partition: int) -> Callable[[], None]:
        """Take a partition's log out of the way; the result removes its files, and may block.

        The name is free again when this returns. Deleting what is not there is fine.
        """
        key = (topic, partition)
        source = f"{self.data_dir}/{names.partition_folder(topic, partition)}"
        log = self._logs.pop(key, None)
        if log is not None:
            log.abandon()
        self.failed.pop(key, None)
        self._topic_ids.pop(key, None)
        self._forget_offsets(key)
        unique = f"{self._rng.getrandbits(128):032x}"
        target = f"{self.data_dir}/{names.deleted_folder(topic, partition, unique)}"
        try:
            self._disk.rename(source, target)
            self._disk.sync_dir(self.data_dir)
        except FileMissing:
            return lambda: None
        return lambda: self._disk.remove_tree(target)

    def _forget_offsets(self, key: PartitionKey) -> None:
        for offsets in (
            self._high_watermarks,
            self._recovery_points,
            self._start_offsets,
            self._clean_offsets,
        ):
            offsets.pop(key, None)

    # -- checkpoints ------------------------------------------------------------------------

    def high_watermark(self, topic: str, partition: int) -> int:
        """The checkpointed high watermark; the log's start offset when there is none."""
        log = self._logs.get((topic, partition))
        found = self._high_watermarks.get((topic, partition), -1)
        if log is None:
            return max(0, found)
        return min(max(found, log.start_offset), log.end_offset)

    def checkpoint(self, high_watermarks: Mapping[PartitionKey, int] | None = None) -> None:
        """Write the three checkpoint files, durably. Blocks; see ``prepare_checkpoint``."""
        self.prepare_checkpoint(high_watermarks)()

    def prepare_checkpoint(
        self, high_watermarks: Mapping[PartitionKey, int] | None = None
    ) -> Callable[[], None]:
        """Take the values now; the result writes them and may run in another thread.

        A late write never replaces a newer one.
        """
        for key, offset in (high_watermarks or {}).items():
            if key in self._logs:
                self._high_watermarks[key] = offset
        for key, log in self._logs.items():
            self._recovery_points[key] = log.recovery_point
            self._start_offsets[key] = log.start_offset
        self._checkpoint_turn += 1
        turn = self._checkpoint_turn
        contents = (
            (RECOVERY_POINTS, dict(self._recovery_points)),
            (HIGH_WATERMARKS, dict(self._high_watermarks)),
            (START_OFFSETS, dict(self._start_offsets)),
        )

        def write() -> None:
            files = [(name, encode_offsets(offsets)) for name, offsets in contents]
            with self._checkpoint_lock:
                if turn < self._checkpoint_written:
                    return
                for name, data in files:
                    self._disk.write_atomic(f"{self.data_dir}/{name}", data)
                self._checkpoint_written = turn

        return write

    def clean_offset(self, topic: str, partition: int) -> int:
        """Up to where the log is compacted; -1 when it never was."""
        return self._clean_offsets.get((topic, partition), -1)

    def note_cleaned(self, topic: str, partition: int, offset: int) -> Callable[[], None]:
        """A log is compacted up to ``offset``; the result saves that, durably, in any thread."""
        if (topic, partition) in self._logs:
            self._clean_offsets[topic, partition] = offset
        return self._save_clean_offsets

    def _save_clean_offsets(self) -> None:
        with self._checkpoint_lock:
            data = encode_offsets(self._clean_offsets.copy())  # as they are now: never older
            self._disk.write_atomic(f"{self.data_dir}/{CLEAN_OFFSETS}", data)

    def lower_offsets(self, cuts: Mapping[PartitionKey, int]) -> None:
        """Logs are about to be cut there: what the checkpoints say must be true again. Blocks.

        Each log asks for itself before it is cut, which costs nothing when it was in ``cuts``
        before: a whole file is written, so whoever cuts many logs names them together.
        """
        cleaned = {k: o for k, o in cuts.items() if self._clean_offsets.get(k, 0) > o}
        if cleaned:
            self._clean_offsets.update(cleaned)
            self._save_clean_offsets()
        flushed = {k: o for k, o in cuts.items() if self._recovery_points.get(k, 0) > o}
        if not flushed:
            return
        lowered = self._recovery_points | flushed
        self._checkpoint_turn += 1
        with self._checkpoint_lock:
            path = f"{self.data_dir}/{RECOVERY_POINTS}"
            self._disk.write_atomic(path, encode_offsets(lowered))
            self._checkpoint_written = self._checkpoint_turn
        self._recovery_points = lowered

    # -- the end ----------------------------------------------------------------------------

    def closers(self, parts: int) -> list[Callable[[], None]]:
        """Work that closes every log, for as many threads; ``close`` follows when all are done.

        A disk makes many syncs that wait at once nearly as fast as one.
        """
        logs = list(self._logs.values())

        def closer(share: list[Log]) -> Callable[[], None]:
            return lambda: self._close_logs(share)

        return [closer(logs[first::parts]) for first in range(min(parts, len(logs)))]

    def _close_logs(self, logs: Iterable[Log]) -> None:
        for log in logs:
            try:
                log.close()
            except LogClosed:
                continue
            except StorageFailure as error:
                self._close_problem = self._close_problem or error
            self._close_problem = self._close_problem or log.failure

    def close(
        self,
        clean_broker_epoch: int | None = NO_BROKER_EPOCH,
        high_watermarks: Mapping[PartitionKey, int] | None = None,
    ) -> None:
        """Flush and close every log, write the checkpoints and the mark of a clean stop.

        ``clean_broker_epoch`` None leaves the mark out. Raises the first StorageError, after
        everything else was closed; there is no mark then. Twice is fine.
        """
        if self._lock is None:
            return
        self._close_logs(self._logs.values())
        problem = self._close_problem
        try:
            self.checkpoint(high_watermarks)
            if problem is None and clean_broker_epoch is not None and not self.failed:
                mark_clean_shutdown(self._disk, self.data_dir, clean_broker_epoch)
        finally:
            self._lock.release()
            self._lock = None
        if problem is not None:
            raise problem
