"""DeleteRecords on a leader: raise the log start, wait until every live replica has followed.

It must never raise a log start above the high watermark, and answers only when the new start
is on this broker's disk: deleted records must not come back with a restart.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from broker.protocol.errors import ErrorCode
from broker.runtime.replica_waits import HostedPartition
from broker.storage.errors import StorageError

HIGH_WATERMARK = -1
UNKNOWN_OFFSET = -1

PartitionKey = tuple[str, int]
# The low watermark (the lowest log start of the live replicas), or -1 with an error.
Deleted = tuple[ErrorCode, int]


@dataclass(slots=True)
class _Wait:
    hosted: HostedPartition
    offset: int
    leader_epoch: int

    def verdict(self) -> Deleted | None:
        """How it ended, or None."""
        leader = self.hosted.partition.leader
        if leader is None or self.hosted.deleted or leader.epoch != self.leader_epoch:
            return ErrorCode.not_leader_or_follower, UNKNOWN_OFFSET
        low = leader.low_watermark
        return (ErrorCode.none, low) if low >= self.offset else None

    @property
    def low_watermark(self) -> int:
        leader = self.hosted.partition.leader
        return UNKNOWN_OFFSET if leader is None else leader.low_watermark


async def delete_records(
    offsets: Mapping[PartitionKey, int],
    timeout_ms: int,
    *,
    hosted: Mapping[PartitionKey, HostedPartition],
    missing: Callable[[str, int], ErrorCode],
    save: Callable[[], Awaitable[None]],
) -> dict[PartitionKey, Deleted]:
    """Delete the records below each offset (-1: below the high watermark).

    ``missing`` says why a partition is not here, ``save`` writes the log starts to the disk.
    """
    results: dict[PartitionKey, Deleted] = {}
    waits: dict[PartitionKey, _Wait] = {}
    for key, offset in offsets.items():
        found = hosted.get(key)
        if found is None:
            results[key] = missing(*key), UNKNOWN_OFFSET
            continue
        begun = _raise_start(found, offset)
        if isinstance(begun, _Wait):
            waits[key] = begun
        else:
            results[key] = begun, UNKNOWN_OFFSET
    if waits:
        await save()
        await _wait(waits, results, timeout_ms)
    return results


def _raise_start(hosted: HostedPartition, offset: int) -> _Wait | ErrorCode:
    partition = hosted.partition
    leader = partition.leader
    if leader is None:
        return ErrorCode.not_leader_or_follower
    if not hosted.log.config.delete:
        return ErrorCode.policy_violation
    if offset == HIGH_WATERMARK:
        offset = partition.high_watermark
    if not 0 <= offset <= partition.high_watermark:
        return ErrorCode.offset_out_of_range
    try:
        if partition.local.advance_start_offset(offset):
            hosted.start_raised()
    except StorageError:
        return ErrorCode.kafka_storage_error
    return _Wait(hosted, offset, leader.epoch)


async def _wait(
    waits: dict[PartitionKey, _Wait], results: dict[PartitionKey, Deleted], timeout_ms: int
) -> None:
    moved = asyncio.Event()
    for wait in waits.values():
        wait.hosted.start_watchers.append(moved.set)
    watched = list(waits.values())
    try:
        async with asyncio.timeout(max(0, timeout_ms) / 1000):
            while _settle(waits, results):
                moved.clear()
                await moved.wait()
    except TimeoutError:
        for key, wait in waits.items():
            results[key] = ErrorCode.request_timed_out, wait.low_watermark
    finally:
        for wait in watched:
            wait.hosted.start_watchers.remove(moved.set)


def _settle(waits: dict[PartitionKey, _Wait], results: dict[PartitionKey, Deleted]) -> bool:
    """Move what is decided to the results; whether something is left."""
    for key, wait in list(waits.items()):
        verdict = wait.verdict()
        if verdict is not None:
            results[key] = verdict
            del waits[key]
    return bool(waits)
