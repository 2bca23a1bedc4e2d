"""ListOffsets on one log: the four kinds of question, answered from its indexes."""

from dataclasses import dataclass
from typing import Final, Protocol

from broker.protocol.errors import ErrorCode
from broker.replication.ports import PartitionLog

LATEST: Final = -1
EARLIEST: Final = -2
MAX_TIMESTAMP: Final = -3
EARLIEST_LOCAL: Final = -4


class TimestampLog(PartitionLog, Protocol):
    """A log that also finds records by time."""

    def epoch_at(self, offset: int) -> int:
        """The leader epoch of the record at ``offset``, or -1."""
        ...

    def offset_for_timestamp(
        self, timestamp_ms: int, *, upto_offset: int
    ) -> tuple[int, int, int] | None:
        """(offset, timestamp, leader epoch) of the first record not older, below the bound."""
        ...

    def max_timestamp(self, upto_offset: int) -> tuple[int, int, int] | None:
        """The same for the record with the newest timestamp."""
        ...


@dataclass(frozen=True, slots=True)
class ListedOffset:
    """An answer of ListOffsets; -1 everywhere without an error = there is no such record."""

    error: ErrorCode
    offset: int = -1
    timestamp_ms: int = -1
    leader_epoch: int = -1


def look_up(
    log: TimestampLog, timestamp: int, upto_offset: int, current_epoch: int
) -> ListedOffset:
    """Answer one question about the part of ``log`` below ``upto_offset``."""
    if timestamp == LATEST:
        return ListedOffset(ErrorCode.none, upto_offset, -1, current_epoch)
    if timestamp in (EARLIEST, EARLIEST_LOCAL):
        start = log.start_offset
        return ListedOffset(ErrorCode.none, start, -1, log.epoch_at(start))
    if timestamp == MAX_TIMESTAMP:
        found = log.max_timestamp(upto_offset)
    elif timestamp < 0:
        return ListedOffset(ErrorCode.none)
    else:
        found = log.offset_for_timestamp(timestamp, upto_offset=upto_offset)
    return ListedOffset(ErrorCode.none) if found is None else ListedOffset(ErrorCode.none, *found)
