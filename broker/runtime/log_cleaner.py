"""The log cleaner: picks the dirtiest compacted log and runs a round of compaction on it.

The heavy slices of a round run through the Offload door, with a pause after each: a thread that
computes holds the interpreter, and the event loop must have its turns. What touches the log itself
runs on the loop. A log that cannot be compacted is left alone and said so, once.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator

from broker.runtime.doors import Clock, Offload
from broker.runtime.replica_requests import ReplicaCounters
from broker.runtime.replica_waits import HostedPartition
from broker.settings.broker import BrokerSettings
from broker.storage.compaction import Plan, Round, RoundReport, Step, plan_round
from broker.storage.errors import StorageError, StorageFailure
from broker.storage.manager import LogManager

log = logging.getLogger("logd.cleaner")

# One slice: so many bytes of batches, or so many pieces of a large one.
SLICE_BYTES = 64 * 1024
SLICE_PIECES = 8
PAUSE_S = (0.001, 0.05)


class LogCleaner:
    """Compacts the logs of one broker, one at a time.

    ``settings`` gives the broker's settings in force; the log.cleaner ones may change at any time.
    """

    def __init__(
        self,
        *,
        logs: LogManager,
        clock: Clock,
        offload: Offload,
        counters: ReplicaCounters,
        settings: Callable[[], BrokerSettings],
        hosted: Callable[[], Iterable[HostedPartition]],
    ) -> None:
        self._logs = logs
        self._clock = clock
        self._offload = offload
        self._counters = counters
        self._settings = settings
        self._hosted = hosted
        # Logs that failed for another reason than a full disk, by identity: a new log of the same
        # name gets another chance.
        self._uncleanable: dict[HostedPartition, str] = {}

    async def run(self) -> None:
        """Compact what is due, sleep log.cleaner.backoff.ms when nothing is; until cancelled."""
        while True:
            settings = self._settings()
            enabled = settings.boolean("log.cleaner.enable") and settings.integer(
                "log.cleaner.threads"
            )
            found = self._dirtiest() if enabled else None
            worked = found is not None and await self._clean(*found)
            if not worked:
                backoff_ms = self._settings().integer("log.cleaner.backoff.ms")
                await asyncio.sleep(max(1, backoff_ms) / 1000)

    def _dirtiest(self) -> tuple[HostedPartition, Plan] | None:
        """Overdue logs first, then by the share of bytes that no round has seen."""
        now_ms = self._clock.wall_ms()
        best: tuple[HostedPartition, Plan] | None = None
        self._uncleanable = {h: why for h, why in self._uncleanable.items() if not h.deleted}
        for hosted in self._hosted():
            if not hosted.log.config.compact or hosted in self._uncleanable or hosted.deleted:
                continue
            try:
                plan = plan_round(
                    hosted.log,
                    self._logs.clean_offset(*hosted.key),
                    hosted.partition.high_watermark,
                    now_ms,
                )
            except StorageError as error:
                self._give_up(hosted, error)
                continue
            if plan is not None and (
                best is None or (plan.due, plan.dirty_ratio) > (best[1].due, best[1].dirty_ratio)
            ):
                best = hosted, plan
        return best

    async def _clean(self, hosted: HostedPartition, plan: Plan) -> bool:
        """One round; whether it got to its end."""
        settings = self._settings()
        round_ = Round(
            self._logs.disk,
            hosted.log,
            plan,
            now_ms=self._clock.wall_ms(),
            memory_bytes=settings.integer("log.cleaner.dedupe.buffer.size"),
            read_bytes=settings.integer("log.cleaner.io.buffer.size"),
        )
        try:
            for step in round_.steps():
                await self._run(step, hosted)
            report = round_.report
            if not report.complete or hosted.deleted:
                return False
            save = self._logs.note_cleaned(*hosted.key, report.end_offset)
            await self._offload.run(save)
        except StorageError as error:
            if not hosted.deleted and not hosted.log.closed:
                self._give_up(hosted, error)
            return False
        self._tell(hosted, plan, report)
        return True

    async def _run(self, step: Step, hosted: HostedPartition) -> None:
        if step.on_owner:
            for _ in step.slices:
                pass
            return
        loop = asyncio.get_running_loop()
        more = True
        while more and not hosted.deleted:
            begun = loop.time()
            more, size_bytes = await self._offload.run(lambda: _slice(step.slices))
            limit = self._settings().number("log.cleaner.io.max.bytes.per.second")
            # As long as the slice took: the loop is left at least half of the interpreter.
            pause = min(max(loop.time() - begun, PAUSE_S[0]), PAUSE_S[1])
            await asyncio.sleep(max(pause, size_bytes / max(limit, 1.0)))

    def _give_up(self, hosted: HostedPartition, error: StorageError) -> None:
        """A full disk may have space later; anything else needs a person."""
        if isinstance(error, StorageFailure):
            log.error("compaction of %s-%s failed, will try again: %s", *hosted.key, error)
            return
        self._uncleanable[hosted] = str(error)
        log.error("%s-%s is not compacted any more: %s", *hosted.key, error)

    def _tell(self, hosted: HostedPartition, plan: Plan, report: RoundReport) -> None:
        counts = report.counts
        self._counters.compactions += 1
        self._counters.compacted_bytes += report.bytes_before - report.bytes_after
        if counts.keyless:
            log.warning("%s-%s: dropped %d records without a key", *hosted.key, counts.keyless)
        log.info(
            "compacted %s-%s up to offset %d: %d of %d records, %d of %d bytes, %d of %d segments, "
            "%d keys in offsets %d to %d",
            *hosted.key,
            report.end_offset,
            counts.records_kept,
            counts.records_read,
            report.bytes_after,
            report.bytes_before,
            report.segments_after,
            report.segments_before,
            report.keys,
            plan.first_dirty,
            report.end_offset,
        )


def _slice(slices: Iterator[int]) -> tuple[bool, int]:
    """Run some slices; (whether there may be more, bytes worked through)."""
    size_bytes = 0
    for pieces, size in enumerate(slices, 1):
        size_bytes += max(0, size)
        if size_bytes >= SLICE_BYTES or pieces >= SLICE_PIECES:
            return True, size_bytes
    return False, size_bytes
