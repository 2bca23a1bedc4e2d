"""Errors of the storage: what failed, on which path, and what to do about it.

Everything derives from StorageError, so that a caller can tell a full disk from a bug. Refused
appends carry the error code that a client gets for them.
"""

from broker.protocol.errors import ErrorCode, InvalidBatch, LogctlError, TornBatch

__all__ = [
    "AppendRefused",
    "BatchTooLarge",
    "CorruptBatch",
    "CorruptFile",
    "CorruptLog",
    "DiskLocked",
    "FileMissing",
    "InconsistentTopicId",
    "InvalidBatch",
    "InvalidProducerEpoch",
    "InvalidRecord",
    "InvalidTimestamp",
    "LargerThanSegment",
    "LogClosed",
    "OffsetOutOfRange",
    "OldMagic",
    "OutOfOrderOffsets",
    "OutOfOrderSequence",
    "StaleEpoch",
    "StorageError",
    "StorageFailure",
    "TornBatch",
    "UnsafeName",
    "WrongIdentity",
]


class StorageError(LogctlError):
    """Something about files, logs or the data folder."""


class StorageFailure(StorageError):
    """The operating system refused an operation on a file: full disk, I/O error, permissions.

    ``path`` names the file, ``operation`` what was tried, ``errno`` the system's number.
    """

    def __init__(self, path: str, operation: str, errno: int | None, reason: str) -> None:
        super().__init__(f"cannot {operation} {path}: {reason}")
        self.path = path
        self.operation = operation
        self.errno = errno
        self.reason = reason


class FileMissing(StorageFailure):
    """The file or folder does not exist."""


class CorruptFile(StorageError):
    """A small file (checkpoint, snapshot, properties) whose contents make no sense."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


class CorruptLog(StorageError):
    """Record batches that were safely on disk are damaged; ``position`` is in bytes."""

    def __init__(self, path: str, position: int, reason: str) -> None:
        super().__init__(
            f"{path} is damaged at byte {position}: {reason}. Restore this replica from the others "
            f"(move its folder away and start again) rather than cutting the log there"
        )
        self.path = path
        self.position = position
        self.reason = reason


class DiskLocked(StorageError):
    """Another process holds the data folder."""

    def __init__(self, path: str) -> None:
        super().__init__(
            f"{path} is locked by another process: a broker already runs on this data folder; "
            f"stop it or set another log.dirs"
        )
        self.path = path


class WrongIdentity(StorageError):
    """The data folder belongs to another cluster or another node."""


class UnsafeName(StorageError):
    """A topic name that must never become part of a path."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"{name!r} is no topic name: 1 to 249 of the characters a-z A-Z 0-9 . _ - and "
            f"neither '.' nor '..'"
        )
        self.name = name


class InconsistentTopicId(StorageError):
    """The folder of this partition belongs to an earlier topic of the same name (KIP-516)."""


class LogClosed(StorageError):
    """The log was closed or deleted."""

    def __init__(self, name: str) -> None:
        super().__init__(f"the log {name} is closed")
        self.name = name


class OffsetOutOfRange(StorageError):
    """The offset lies outside what this log holds."""

    def __init__(self, offset: int, start: int, end: int) -> None:
        super().__init__(f"offset {offset} is outside the log, which goes from {start} to {end}")
        self.offset = offset
        self.start = start
        self.end = end


class OutOfOrderOffsets(StorageError):
    """Batches from a leader that do not continue this log."""

    def __init__(self, name: str, expected: int, actual: int) -> None:
        super().__init__(f"{name}: the log continues at offset {expected}, the batch has {actual}")
        self.expected = expected
        self.actual = actual


class StaleEpoch(StorageError):
    """An append or assignment under a leader epoch older than the log already has."""

    def __init__(self, name: str, epoch: int, latest: int) -> None:
        super().__init__(f"{name}: leader epoch {epoch} is older than {latest}, which the log has")
        self.epoch = epoch
        self.latest = latest


class AppendRefused(StorageError):
    """A batch that the log does not accept; ``code`` is what its producer is told.

    ``record_errors`` holds (place in the batch, why) of the records at fault, where they are known
    (KIP-467). With ``tells_log_start`` the producer is told where the log begins, as by Kafka.
    """

    code: ErrorCode = ErrorCode.unknown_server_error
    tells_log_start = True

    def __init__(self, message: str, record_errors: tuple[tuple[int, str], ...] = ()) -> None:
        super().__init__(message)
        self.record_errors = record_errors


class CorruptBatch(AppendRefused):
    """The checksum does not match the bytes."""

    tells_log_start = False
    code = ErrorCode.corrupt_message


class BatchTooLarge(AppendRefused):
    """The batch is above max.message.bytes."""

    tells_log_start = False
    code = ErrorCode.message_too_large


class LargerThanSegment(AppendRefused):
    """The batch is above segment.bytes: no segment could hold it."""

    tells_log_start = False
    code = ErrorCode.record_list_too_large


class OldMagic(AppendRefused):
    """Records in a format from before Kafka 0.11, which may not be produced any more."""

    tells_log_start = False
    code = ErrorCode.invalid_record


class InvalidRecord(AppendRefused):
    """The batch breaks a rule that its producer should have kept."""

    code = ErrorCode.invalid_record


class InvalidTimestamp(AppendRefused):
    """A timestamp outside message.timestamp.before.max.ms or message.timestamp.after.max.ms."""

    code = ErrorCode.invalid_timestamp


class OutOfOrderSequence(AppendRefused):
    """An idempotent producer left out a batch, or repeats one that is no longer remembered."""

    code = ErrorCode.out_of_order_sequence_number


class InvalidProducerEpoch(AppendRefused):
    """The producer was replaced by one with a higher epoch."""

    code = ErrorCode.invalid_producer_epoch
