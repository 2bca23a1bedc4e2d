"""What a broker's logs need from time to time: flushes, checkpoints, retention.

Blocking work goes through the Offload door. It must never block the loop: a truncation would wait
for a flush that a thread is busy with, so whoever truncates awaits ``settled`` first.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Protocol

from broker.runtime.doors import Clock, Offload
from broker.runtime.replica_requests import ReplicaCounters
from broker.runtime.replica_waits import HostedPartition
from broker.storage.errors import StorageError
from broker.storage.flush import PendingFlush
from broker.storage.manager import LogManager

log = logging.getLogger("logd.replicas")

FLUSH_INTERVAL_MS = 5_000
# After a flush that failed for a reason that may pass.
STUCK_PAUSE_S = 0.1


class Flushed(Protocol):
    """Who is told that a partition's log is on disk up to an offset."""

    def __call__(self, hosted: HostedPartition, upto_offset: int) -> None:
        """The offset is exclusive."""
        ...


class Flusher:
    """Group commit: one thread call flushes every partition that asked since the last one.

    ``on_failed`` hears of a partition whose log takes no more appends.
    """

    def __init__(
        self,
        offload: Offload,
        on_flushed: Flushed,
        counters: ReplicaCounters,
        on_failed: Callable[[HostedPartition], None] = lambda _: None,
    ) -> None:
        self._offload = offload
        self._on_flushed = on_flushed
        self._counters = counters
        self._on_failed = on_failed
        self._asked: dict[HostedPartition, None] = {}
        self._something = asyncio.Event()

    def ask(self, hosted: HostedPartition) -> None:
        """Flush the partition soon (log.flush.policy=commit)."""
        self._asked[hosted] = None
        self._something.set()

    async def run(self) -> None:
        """Flush what was asked for, until cancelled."""
        while True:
            await self._something.wait()
            self._something.clear()
            asked = list(self._asked)
            self._asked.clear()
            # Who is flushed by somebody else is left out below, and would be asked for again at
            # once: without this wait, in a circle that never gives the loop back.
            for hosted in asked:
                await settled(hosted)
            if not await self.flush(asked):
                await asyncio.sleep(STUCK_PAUSE_S)
            for hosted in asked:
                if _wants_flush(hosted):
                    self.ask(hosted)

    async def commit(self, partitions: Iterable[HostedPartition]) -> None:
        """Return when nothing of these partitions waits for the disk (where the policy asks)."""
        while waiting := [each for each in partitions if _wants_flush(each)]:
            for hosted in waiting:
                await settled(hosted)
            if not await self.flush(waiting):
                await asyncio.sleep(STUCK_PAUSE_S)

    async def flush(self, partitions: Iterable[HostedPartition]) -> bool:
        """Flush some partitions in one thread call, then report each.

        False when one could not be, though its log still works: a full disk has no room for a
        checkpoint, say. At once would be too soon to try again.
        """
        batch = [each for each in partitions if not each.deleted and each.flushing is None]
        if not batch:
            return True
        done = asyncio.get_running_loop().create_future()
        for hosted in batch:
            hosted.flushing = done
        started = [(each, _prepare(each)) for each in batch]

        def work() -> None:
            for hosted, pending in started:
                if pending is not None:
                    _sync(hosted, pending)

        try:
            await self._offload.run(work)
        finally:
            for hosted in batch:
                hosted.flushing = None
            done.set_result(None)
        self._counters.flushes += 1
        for hosted, pending in started:
            self.report_failure(hosted)
            if hosted.deleted or hosted.log.failure is not None:
                continue
            if pending is not None:
                hosted.log.finish_flush(pending)
            self._on_flushed(hosted, hosted.log.recovery_point)
        return not any(
            pending is not None and not pending.done and _wants_flush(hosted)
            for hosted, pending in started
        )

    @staticmethod
    def wants(hosted: HostedPartition) -> bool:
        """Whether the partition's log waits for the disk, and can still reach it."""
        return _wants_flush(hosted)

    def report_failure(self, hosted: HostedPartition) -> None:
        """Tell when the partition's log has failed: only a restart can make it usable again."""
        if not hosted.deleted and hosted.log.failure is not None:
            self._on_failed(hosted)


def _wants_flush(hosted: HostedPartition) -> bool:
    if hosted.deleted or hosted.log.closed or hosted.log.failure is not None:
        return False
    return hosted.partition.local.needs_flush


def _prepare(hosted: HostedPartition) -> PendingFlush | None:
    try:
        return hosted.log.prepare_flush()
    except StorageError as error:
        log.error("%s-%s cannot be flushed: %s", *hosted.key, error)
        return None


def _sync(hosted: HostedPartition, pending: PendingFlush) -> None:
    """Runs in a thread. A log whose sync failed takes no more appends, and says so itself."""
    try:
        hosted.log.run_flush(pending)
    except StorageError as error:
        log.error("%s-%s cannot be flushed: %s", *hosted.key, error)


async def settled(hosted: HostedPartition) -> None:
    """Wait until no thread flushes the partition's log."""
    while hosted.flushing is not None:
        await asyncio.shield(hosted.flushing)


class Housekeeping:
    """The loops that keep checkpoints fresh and logs within their retention."""

    def __init__(
        self,
        logs: LogManager,
        clock: Clock,
        offload: Offload,
        flusher: Flusher,
        hosted: Callable[[], Iterable[HostedPartition]],
    ) -> None:
        self._logs = logs
        self._clock = clock
        self._offload = offload
        self._flusher = flusher
        self._hosted = hosted
        self._saved: dict[tuple[str, int], tuple[int, int]] = {}

    async def flush_every(self, interval_ms: int) -> None:
        """Background flush: what grew since the last round reaches the disk."""
        while True:
            await asyncio.sleep(interval_ms / 1000)
            grown = [
                each for each in self._hosted() if each.log.recovery_point < each.log.end_offset
            ]
            if grown:
                await self._flusher.flush(grown)
                await self.checkpoint()

    async def checkpoint_every(self, interval_ms: int) -> None:
        """Save high watermarks and log starts when some moved."""
        while True:
            await asyncio.sleep(interval_ms / 1000)
            if self._offsets() != self._saved:
                await self.checkpoint()

    async def checkpoint(self) -> None:
        """Save high watermarks, recovery points and log starts now."""
        offsets = self._offsets()
        watermarks = {key: watermark for key, (watermark, _) in offsets.items()}
        try:
            await self._offload.run(self._logs.prepare_checkpoint(watermarks))
        except StorageError as error:
            log.error("checkpoints cannot be saved: %s", error)
            return
        self._saved = offsets

    async def retain_every(self, interval_ms: int) -> None:
        """Roll old segments, delete expired ones; one partition per turn of the loop."""
        while True:
            await asyncio.sleep(interval_ms / 1000)
            for hosted in list(self._hosted()):
                await settled(hosted)
                if not hosted.deleted:
                    self._retain(hosted)
                await asyncio.sleep(0)

    def _retain(self, hosted: HostedPartition) -> None:
        now_ms = self._clock.wall_ms()
        try:
            hosted.log.roll_if_due(now_ms)
            hosted.log.delete_expired(now_ms, hosted.partition.high_watermark)
        except StorageError as error:
            log.error("retention of %s-%s failed: %s", *hosted.key, error)

    def _offsets(self) -> dict[tuple[str, int], tuple[int, int]]:
        """High watermark and log start of each partition."""
        return {
            each.key: (each.partition.high_watermark, each.log.start_offset)
            for each in self._hosted()
        }
