"""The replica manager: every partition of this broker, behind produce, fetch and offsets.

The async shell around ``broker.replication``: it gives the pure roles their time, their log and
their metadata, lets requests wait, and runs fetchers, flushes, checkpoints and ISR changes. It
must never answer acks=all before the high watermark has passed the records.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from random import Random
from typing import Any

from broker.protocol.batch import HEADER_BYTES
from broker.protocol.errors import ErrorCode, InvalidBatch, TornBatch
from broker.protocol.image import ImageDelta, MetadataImage
from broker.protocol.network import Network
from broker.protocol.struct import ZERO_UUID, Struct
from broker.replication import IsrProposal, ListedOffset, Partition, ReadOutcome
from broker.runtime.disk_space import DiskSpace
from broker.runtime.doors import Clock, Offload
from broker.runtime.fetcher import FetcherPool
from broker.runtime.log_cleaner import LogCleaner
from broker.runtime.record_deletion import Deleted, PartitionKey, delete_records
from broker.runtime.replica_disk import FLUSH_INTERVAL_MS, Flusher, Housekeeping
from broker.runtime.replica_isr import IsrSender
from broker.runtime.replica_requests import (
    FetchPartition,
    FetchQuery,
    FetchResult,
    LeaderHint,
    ProduceEntry,
    ProduceResult,
    ReplicaCounters,
    ReplicaGauges,
)
from broker.runtime.replica_table import ReplicaTable
from broker.runtime.replica_waits import FetchWait, HostedPartition, ProduceWait, wait_at_most
from broker.runtime.role_taking import RoleTaking
from broker.settings.broker import BrokerSettings
from broker.storage.errors import AppendRefused, OffsetOutOfRange, StorageError
from broker.storage.manager import LogManager
from broker.storage.producers import ProducerEntry
from broker.storage.recompress import needs_recompression, recompressed

log = logging.getLogger("logd.replicas")

ALL_REPLICAS = -1
# Errors after which a client wants to know the leader (KIP-951).
_ASK_ELSEWHERE = frozenset({ErrorCode.not_leader_or_follower, ErrorCode.fenced_leader_epoch})
_NOT_FAILURES = _ASK_ELSEWHERE | {ErrorCode.none, ErrorCode.offset_out_of_range}
_REPLICATED = ProduceResult(ErrorCode.none)
OFFLINE_RETRY_MS = 1_000
# Up to this size a batch is recompressed on the loop: handing it to a thread takes longer.
RECOMPRESS_INLINE_BYTES = 16 * 1024
NO_ROOM = "the disk of this broker is full: it takes no records until there is room"
ONE_BATCH = "a partition of a Produce request holds exactly one record batch"


class ReplicaManager:
    """All partitions of one broker.

    ``alter_partition`` sends a request to the active controller and gives its response;
    ``broker_epoch`` is the present registration's epoch, -1 before there is one. ``settings`` is
    the broker's file. ``listener`` names the listener that brokers use among themselves.
    """

    def __init__(
        self,
        *,
        node_id: int,
        logs: LogManager,
        clock: Clock,
        offload: Offload,
        network: Network,
        rng: Random,
        settings: Mapping[str, str],
        alter_partition: Callable[[Struct], Awaitable[Struct]],
        broker_epoch: Callable[[], int],
        listener: str | None = None,
    ) -> None:
        self.node_id = node_id
        self.counters = ReplicaCounters()
        self._clock = clock
        self._settings = BrokerSettings(settings)
        self._table = ReplicaTable(node_id, logs, clock, settings, broker_epoch, self)
        self._hosted = self._table.hosted
        self._isr = IsrSender(node_id, rng, alter_partition, broker_epoch, self._isr_result)
        # Hears, when set, of a log that failed: this broker can't go on as if nothing had been.
        self.on_failure: Callable[[str], None] | None = None
        # Hear of each change of leadership here, in the middle of it: they must not call back.
        self.role_watchers: list[Callable[[Partition], None]] = []
        self.space = DiskSpace(logs.disk, logs.data_dir, clock)
        self._flusher = Flusher(offload, self._flushed, self.counters, self._log_broken)
        self._housekeeping = Housekeeping(
            logs, clock, offload, self._flusher, lambda: list(self._hosted.values())
        )
        self._fetchers = FetcherPool(
            node_id=node_id,
            clock=clock,
            network=network,
            rng=rng,
            settings=self._settings,
            flusher=self._flusher,
            space=self.space,
            counters=self.counters,
            broker_epoch=broker_epoch,
            before_cuts=logs.lower_offsets,
            listener=listener,
        )
        self._offload = offload
        logs.dispose_later = self._dispose_later
        self._cleaner = LogCleaner(
            logs=logs,
            clock=clock,
            offload=offload,
            counters=self.counters,
            settings=lambda: BrokerSettings(settings, self.image, node_id),
            hosted=lambda: list(self._hosted.values()),
        )
        self._tasks: list[asyncio.Task[None]] = []
        self._disposals: set[asyncio.Task[None]] = set()
        self._disposal_timers: set[asyncio.TimerHandle] = set()
        self._stopping = False
        self._roles = RoleTaking(self._table, self.log_failed)

    # -- life

    async def start(self) -> None:
        """Start the loops. Roles come with ``apply``."""
        settings = self._settings
        lag_ms = settings.integer("replica.lag.time.max.ms")
        flush_ms = settings.value("log.flush.interval.ms")
        interval_ms = flush_ms if isinstance(flush_ms, int) else FLUSH_INTERVAL_MS
        house = self._housekeeping
        checkpoint_ms = settings.integer("replica.high.watermark.checkpoint.interval.ms")
        retention_ms = settings.integer("log.retention.check.interval.ms")
        for name, loop in (
            ("isr-sender", self._isr.run()),
            ("isr-check", self._check_isrs(max(1, lag_ms // 2))),
            ("flusher", self._flusher.run()),
            ("flush", house.flush_every(max(1, interval_ms))),
            ("checkpoint", house.checkpoint_every(checkpoint_ms)),
            ("retention", house.retain_every(retention_ms)),
            ("offline", self._retry_offline()),
            ("space", self.space.run()),
            ("roles", self._roles.run(lambda: self._fetchers.image_changed(self.image))),
            ("cleaner", self._cleaner.run()),
        ):
            task = asyncio.create_task(loop, name=f"replicas-{name}")
            task.add_done_callback(self._task_ended)
            self._tasks.append(task)

    async def stop(self) -> None:
        """End every wait, stop fetching, save the checkpoints. Logs stay open; closing flushes."""
        self._stopping = True
        self._roles.stop()
        await self._fetchers.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        for timer in self._disposal_timers:
            timer.cancel()  # what stays is removed at the next start
        await asyncio.gather(*self._disposals, return_exceptions=True)
        for hosted in self._hosted.values():
            hosted.partition.resign()
            hosted.role_changed()
        await self._housekeeping.checkpoint()

    def _log_broken(self, hosted: HostedPartition) -> None:
        self.log_failed(f"the log of {'-'.join(map(str, hosted.key))}: {hosted.log.failure}")

    def no_room(self, error: StorageError) -> None:
        """TableEvents: something could not be written for want of space."""
        self.space.failed(error)

    def log_failed(self, reason: str) -> None:
        """A leader that can't write would lead for ever: nobody else learns of its disk."""
        if self.on_failure is not None and not self._stopping:
            self.on_failure(reason)

    async def _retry_offline(self) -> None:
        while True:
            await asyncio.sleep(OFFLINE_RETRY_MS / 1000)
            self._table.retry_offline()

    def _task_ended(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            log.critical("%s failed: %r", task.get_name(), error, exc_info=error)

    async def roles_taken(self) -> None:
        """Return once this broker has the roles that the image gives it. Stopping ends the wait."""
        await self._roles.wait()

    # -- metadata

    def apply(self, image: MetadataImage, delta: ImageDelta | None = None) -> None:
        """Follow the image. Until it holds this broker's own registration nothing happens.

        Without ``delta`` everything is compared, and roles follow a few at a time.
        """
        if self._stopping:
            return
        if image.offset < self.image.offset:
            image = self.image  # what is published in pieces is here before it is published
        self._fetchers.image_changed(image)
        self._table.apply(image, delta)
        self._roles.noted()

    def dispose(self, work: Callable[[], None]) -> None:
        """TableEvents: remove files away from the loop."""
        task = asyncio.create_task(self._dispose(work), name="replicas-dispose")
        self._disposals.add(task)
        task.add_done_callback(self._disposals.discard)

    def _dispose_later(self, work: Callable[[], None], delay_ms: int) -> None:
        """Remove the files of old segments after file.delete.delay.ms."""
        if self._stopping:
            return

        def due() -> None:
            self._disposal_timers.discard(timer)
            self.dispose(work)

        timer = asyncio.get_running_loop().call_later(delay_ms / 1000, due)
        self._disposal_timers.add(timer)

    async def _dispose(self, work: Callable[[], None]) -> None:
        try:
            await self._offload.run(work)
        except StorageError as error:
            log.error("files of a deleted partition stay behind: %s", error)

    def role_changed(self, hosted: HostedPartition) -> None:
        """TableEvents: a partition changed hands."""
        partition = hosted.partition
        if partition.is_leader:
            self.counters.leader_elections += 1
            if partition.local.needs_flush:
                self._flusher.ask(hosted)
        if hosted.deleted or partition.follower is None:
            self._fetchers.unfollow(hosted)
        else:
            self._fetchers.follow(hosted)
        hosted.role_changed()
        for watcher in self.role_watchers:
            watcher(partition)

    def isr_changed(self, hosted: HostedPartition, before: tuple[int, ...]) -> None:
        """TableEvents: the ISR changed, or wants to."""
        now = hosted.partition.isr
        if before and now != before:
            if len(now) < len(before):
                self.counters.isr_shrinks += 1
            elif len(now) > len(before):
                self.counters.isr_expands += 1
            hosted.settle_producers()
        self._isr.notice(hosted)

    def _isr_result(
        self,
        hosted: HostedPartition,
        proposal: IsrProposal,
        answer: Struct | None,
        error: ErrorCode | int,
    ) -> bool:
        partition = hosted.partition
        before, high_watermark = partition.isr, partition.high_watermark
        now_ms = self._clock.monotonic_ms()
        if answer is None or error:
            again = partition.alter_partition_result(proposal, error, now_ms=now_ms)
        else:
            again = partition.alter_partition_result(
                proposal,
                ErrorCode.none,
                leader_epoch=answer.leader_epoch,
                isr=tuple(answer.isr),
                partition_epoch=answer.partition_epoch,
                now_ms=now_ms,
            )
        if partition.high_watermark != high_watermark:
            hosted.watermark_moved()
        self.isr_changed(hosted, before)
        return again

    async def _check_isrs(self, interval_ms: int) -> None:
        """Look for laggards; after a standstill of this process give everybody a fresh start."""
        last_ms = self._clock.monotonic_ms()
        while True:
            await asyncio.sleep(interval_ms / 1000)
            now_ms = self._clock.monotonic_ms()
            stood_still = now_ms - last_ms > interval_ms * 3 // 2
            last_ms = now_ms
            for hosted in self._table.led():
                leader = hosted.partition.leader
                if stood_still and leader is not None:
                    leader.grant_fresh_lag(now_ms)
                elif hosted.partition.check_isr(now_ms):
                    self._isr.notice(hosted)

    # -- look-ups

    @property
    def image(self) -> MetadataImage:
        """The image that the roles follow."""
        return self._table.image

    def partition(self, topic: str, index: int) -> Partition | None:
        """The partition, when this broker holds a replica of it."""
        hosted = self._hosted.get((topic, index))
        return None if hosted is None else hosted.partition

    def leader_and_epoch(self, topic: str, index: int) -> LeaderHint:
        """Who leads: by the partition's own knowledge, else by the image."""
        state = self.image.partition(topic, index)
        partition = self.partition(topic, index)
        if partition is not None and (state is None or partition.leader_epoch > state.leader_epoch):
            return LeaderHint(partition.leader_id, partition.leader_epoch)
        return LeaderHint() if state is None else LeaderHint(state.leader, state.leader_epoch)

    def gauges(self) -> ReplicaGauges:
        """How the partitions of this broker stand now."""
        led = self._table.led()
        offline = [f"{topic}-{index}" for topic, index in sorted(self._table.offline)]
        return ReplicaGauges(
            partitions=len(self._hosted),
            leaders=len(led),
            under_replicated=sum(
                len(each.partition.isr) < len(each.partition.replicas) for each in led
            ),
            under_min_isr=sum(
                each.partition.leader is not None and each.partition.leader.is_under_min_isr
                for each in led
            ),
            offline=len(offline),
            offline_names=offline,
        )

    # -- produce

    async def produce(
        self,
        entries: Sequence[ProduceEntry | tuple[str, int, Any]],
        acks: int,
        timeout_ms: int,
    ) -> list[ProduceResult]:
        """Append one batch per entry; the results come in the same order.

        acks 0 and 1 never wait. acks -1 waits, at most ``timeout_ms``, until every in-sync
        replica has the records; a timeout leaves open whether they survive.
        """
        if acks not in (-1, 0, 1):
            refused = ProduceResult(ErrorCode.invalid_required_acks)
            return [refused] * len(entries)
        now_ms, wall_ms = self._clock.monotonic_ms(), self._clock.wall_ms()
        results: list[ProduceResult] = []
        wait: ProduceWait | None = None
        for position, (topic, index, records) in enumerate(entries):
            hosted = self._hosted.get((topic, index))
            if hosted is None:
                results.append(ProduceResult(self._table.missing(topic, index)))
                continue
            if hosted.log.config.compression >= 0:
                records = await self._stored_form(hosted, records)
            result, required = self._append(hosted, records, acks, now_ms, wall_ms)
            results.append(result)
            if required > hosted.partition.local.high_watermark and acks == ALL_REPLICAS:
                if wait is None:
                    wait = ProduceWait(results, asyncio.get_running_loop().create_future())
                wait.undecided[position] = result
                hosted.add_produce_wait(required, wait, position)
        if wait is not None:
            await wait_at_most(wait.future, timeout_ms / 1000, wait.expire)
        return results

    def write(
        self, topic: str, index: int, batch: bytes
    ) -> tuple[ProduceResult, ProduceWait | None]:
        """Append one batch of this broker's own, now; it has to reach every in-sync replica.

        The wait, if there is one, completes with `results[0]`; whoever gets it bounds it by
        `expire`. Without a wait the result is final.
        """
        hosted = self._hosted.get((topic, index))
        if hosted is None:
            return ProduceResult(self._table.missing(topic, index)), None
        now_ms, wall_ms = self._clock.monotonic_ms(), self._clock.wall_ms()
        result, required = self._append(hosted, batch, ALL_REPLICAS, now_ms, wall_ms)
        if result.error:
            return result, None
        return result, self._replicated(hosted, required, result)

    def wait_replicated(self, topic: str, index: int, offset: int) -> ProduceWait | None:
        """A wait, as of `write`, until every in-sync replica has the records below `offset`."""
        hosted = self._hosted.get((topic, index))
        return None if hosted is None else self._replicated(hosted, offset, _REPLICATED)

    def _replicated(
        self, hosted: HostedPartition, offset: int, success: ProduceResult
    ) -> ProduceWait | None:
        if offset <= hosted.partition.local.high_watermark:
            return None
        wait = ProduceWait([success], asyncio.get_running_loop().create_future())
        wait.undecided[0] = success
        hosted.add_produce_wait(offset, wait, 0)
        return wait

    async def _stored_form(self, hosted: HostedPartition, records: Any) -> Any:
        """The batch in the topic's compression; bad ones as they are, to be refused as ever."""
        config = hosted.log.config
        if not needs_recompression(records, config):
            return records
        try:
            if len(records) <= RECOMPRESS_INLINE_BYTES:
                return recompressed(records, config)
            return await self._offload.run(lambda: recompressed(records, config))
        except (AppendRefused, InvalidBatch, TornBatch):
            return records

    def _append(
        self,
        hosted: HostedPartition,
        records: bytes | memoryview,
        acks: int,
        now_ms: int,
        wall_ms: int,
    ) -> tuple[ProduceResult, int]:
        """One partition's batch; its result if all goes well, and the offset to wait for."""
        partition = hosted.partition
        local = partition.local
        high_watermark = local.high_watermark
        if unfit := self._unfit(partition, records):
            return unfit, -1
        try:
            error, info = partition.append(records, acks, now_ms, wall_ms)
        except AppendRefused as refused:
            result = self._refused(refused.code, str(refused), refused.record_errors)
            if refused.tells_log_start:
                result = result._replace(log_start_offset=local.log.start_offset)
            return result, -1
        except TornBatch as torn:
            return self._refused(ErrorCode.invalid_record, str(torn)), -1
        except InvalidBatch as invalid:
            return self._refused(ErrorCode.corrupt_message, str(invalid)), -1
        except StorageError as failure:
            log.error("%s-%s cannot be written: %s", *hosted.key, failure)
            self.space.failed(failure)
            self._flusher.report_failure(hosted)
            return self._refused(ErrorCode.kafka_storage_error, str(failure)), -1
        if info is None:
            result = self._refused(error, None)
            if error == ErrorCode.not_enough_replicas:
                result = result._replace(log_start_offset=local.log.start_offset)
            return result, -1
        if not info.duplicate:
            self.counters.messages_in += info.records_count
            self.counters.bytes_in += info.size_bytes
            hosted.appended(info.size_bytes)
            self.space.wrote(info.size_bytes)
            if local.high_watermark != high_watermark:
                hosted.watermark_moved()
        if local.settings.flush_on_commit and local.needs_flush:
            self._flusher.ask(hosted)
        result = ProduceResult(
            ErrorCode.none, info.first_offset, info.log_append_time_ms, local.log.start_offset
        )
        return result, info.last_offset + 1

    def _unfit(self, partition: Partition, records: bytes | memoryview) -> ProduceResult | None:
        """The refusal of what is not even tried, or None."""
        size_bytes = int.from_bytes(records[8:12], "big") + 12
        if HEADER_BYTES <= size_bytes < len(records):
            return self._refused(ErrorCode.invalid_record, ONE_BATCH)
        if self.space.short and partition.is_leader:
            return self._refused(ErrorCode.kafka_storage_error, NO_ROOM)
        return None

    def _refused(
        self,
        code: ErrorCode,
        message: str | None,
        record_errors: tuple[tuple[int, str], ...] = (),
    ) -> ProduceResult:
        if code not in _ASK_ELSEWHERE:
            self.counters.produce_requests_failed += 1
        return ProduceResult(code, message=message, record_errors=record_errors)

    def _flushed(self, hosted: HostedPartition, upto_offset: int) -> None:
        if hosted.partition.flushed(upto_offset, self._clock.monotonic_ms()):
            hosted.watermark_moved()

    # -- fetch

    async def fetch(self, query: FetchQuery) -> list[FetchResult]:
        """Read for a consumer or a follower; the results come in the order asked.

        Waits, at most ``max_wait_ms``, until ``min_bytes`` are there; an error, a divergence or
        a change of leadership ends the wait at once.
        """
        results, size_bytes, final = self._read_all(query)
        if final or size_bytes >= query.min_bytes or query.max_wait_ms <= 0:
            return self._counted(query, results, size_bytes)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + query.max_wait_ms / 1000
        while not self._stopping:
            wait = FetchWait(loop.create_future(), self._missing_bytes(query, size_bytes))
            if query.has_untold_watermark:
                wait.tell_soon()
            await self._wait_for_data(query, wait, max(0.0, deadline - loop.time()))
            size_bytes, final = self._read_again(query, results, wait.changed)
            if final or size_bytes >= query.min_bytes or wait.overdue or loop.time() >= deadline:
                break
        return self._counted(query, results, size_bytes)

    async def _wait_for_data(self, query: FetchQuery, wait: FetchWait, seconds: float) -> None:
        hosted = [self._hosted.get((each.topic, each.index)) for each in query.partitions]
        for position, each in enumerate(hosted):
            if each is not None:
                each.add_fetch_wait(wait, position, follower=query.is_follower)
        try:
            await wait_at_most(wait.future, seconds, wait.end)
        finally:
            wait.close()
            for each in hosted:
                if each is not None:
                    each.remove_fetch_wait(wait)

    def _missing_bytes(self, query: FetchQuery, size_bytes: int) -> int:
        """How much has to be appended before it is worth looking again; 0 = at any change."""
        missing = query.min_bytes - size_bytes
        if query.is_follower:
            return min(missing, 1)
        if missing <= 1:
            # A consumer waits for the watermark, which moves over what was appended long before.
            return 0
        for each in query.partitions:
            partition = self.partition(each.topic, each.index)
            if partition is not None and partition.high_watermark < partition.log.end_offset:
                # What is already appended becomes visible without another append.
                return 0
        return missing

    def _read_all(self, query: FetchQuery) -> tuple[list[FetchResult], int, bool]:
        """One pass: (results, bytes, whether it must be answered at once)."""
        now_ms = self._clock.monotonic_ms()
        results: list[FetchResult] = []
        left_bytes, size_bytes, final = query.max_bytes, 0, False
        may_rest = self._may_rest(query)
        for wanted in query.partitions:
            if may_rest and (at_rest := self._at_rest(query, wanted, now_ms)) is not None:
                results.append(at_rest)
                continue
            result = self._read_one(query, wanted, left_bytes, size_bytes == 0, now_ms)
            results.append(result)
            read = len(result.records)
            size_bytes += read
            left_bytes = max(0, left_bytes - read)
            if result.error or result.diverging_epoch is not None:
                final = True
        return results, size_bytes, final or not results

    def _may_rest(self, query: FetchQuery) -> bool:
        """Whether a follower asks, and is the process that the controller knows (KIP-903)."""
        if not query.is_follower or query.read_committed:
            return False
        broker = self.image.brokers.get(query.replica_id)
        return broker is not None and broker.epoch == query.broker_epoch

    def _at_rest(
        self, query: FetchQuery, wanted: FetchPartition, now_ms: int
    ) -> FetchResult | None:
        """The answer for a partition of a follower's session in which nothing happened, or None.

        Says what ``_read_one`` would, in a fraction of the time: most partitions rest.
        """
        hosted = self._hosted.get((wanted.topic, wanted.index))
        if wanted.told_high_watermark is None or hosted is None or hosted.start_watchers:
            return None
        partition = hosted.partition
        leader = partition.leader
        if (
            leader is None
            or wanted.current_leader_epoch != leader.epoch
            or wanted.topic_id.int != partition.topic_id.int
            or not leader.fetched_again(
                query.replica_id,
                fetch_offset=wanted.fetch_offset,
                last_fetched_epoch=wanted.last_fetched_epoch,
                log_start_offset=wanted.log_start_offset,
                broker_epoch=query.broker_epoch,
                now_ms=now_ms,
            )
        ):
            return None
        watermark, start = partition.local.high_watermark, hosted.log.start_offset
        if wanted.told_high_watermark != watermark:
            query.has_untold_watermark = True
        at_rest = wanted.at_rest
        if at_rest is None:
            at_rest = wanted.at_rest = FetchResult(
                wanted.topic, wanted.topic_id, wanted.index, ErrorCode.none
            )
        at_rest.high_watermark = at_rest.last_stable_offset = watermark
        at_rest.log_start_offset = start
        return at_rest

    def _read_again(
        self, query: FetchQuery, results: list[FetchResult], changed: Iterable[int]
    ) -> tuple[int, bool]:
        """After a wait: read the partitions that changed; (bytes, whether to answer at once).

        Of the others only the high watermark can have moved: a follower wants to know it.
        """
        now_ms = self._clock.monotonic_ms()
        if query.is_follower:
            for result in results:
                hosted = self._hosted.get((result.topic, result.index))
                if hosted is not None and not result.error:
                    watermark = hosted.partition.high_watermark
                    result.high_watermark = result.last_stable_offset = watermark
        size_bytes, final = sum(len(each.records) for each in results), False
        for position in sorted(changed):
            size_bytes -= len(results[position].records)
            left_bytes = max(0, query.max_bytes - size_bytes)
            result = self._read_one(
                query, query.partitions[position], left_bytes, size_bytes == 0, now_ms
            )
            before, results[position] = results[position], result
            size_bytes += len(result.records)
            if result.error or result.diverging_epoch is not None:
                final = True
            elif query.is_follower and result.log_start_offset != before.log_start_offset:
                final = True  # records were deleted: the follower's turn
        return size_bytes, final

    def _read_one(
        self,
        query: FetchQuery,
        wanted: FetchPartition,
        left_bytes: int,
        min_one: bool,
        now_ms: int,
    ) -> FetchResult:
        hosted = self._hosted.get((wanted.topic, wanted.index))
        topic_id = wanted.topic_id
        if hosted is None:
            error = self._table.missing(wanted.topic, wanted.index)
            return self._failed(wanted, error)
        partition = hosted.partition
        if topic_id != ZERO_UUID and topic_id != partition.topic_id:
            return self._failed(wanted, ErrorCode.inconsistent_topic_id)
        max_bytes = min(wanted.max_bytes, left_bytes)
        try:
            if query.replica_id >= 0:
                outcome = self._read_follower(query, wanted, hosted, max_bytes, min_one, now_ms)
            else:
                outcome = partition.read_as_consumer(
                    wanted.fetch_offset,
                    current_leader_epoch=wanted.current_leader_epoch,
                    max_bytes=max_bytes,
                    min_one=min_one,
                    only_from_leader=query.only_from_leader,
                    last_fetched_epoch=wanted.last_fetched_epoch,
                )
        except OffsetOutOfRange:
            return self._failed(wanted, ErrorCode.offset_out_of_range)
        except StorageError as failure:
            log.error("%s-%s cannot be read: %s", wanted.topic, wanted.index, failure)
            return self._failed(wanted, ErrorCode.kafka_storage_error)
        diverging = outcome.diverging_epoch
        return FetchResult(
            wanted.topic,
            topic_id,
            wanted.index,
            outcome.error,
            outcome.high_watermark,
            outcome.last_stable_offset,
            outcome.log_start_offset,
            outcome.records,
            None if diverging is None else (diverging.epoch, diverging.end_offset),
            self.leader_and_epoch(wanted.topic, wanted.index)
            if outcome.error in _ASK_ELSEWHERE
            else None,
            [] if query.read_committed else None,
        )

    def _read_follower(
        self,
        query: FetchQuery,
        wanted: FetchPartition,
        hosted: HostedPartition,
        max_bytes: int,
        min_one: bool,
        now_ms: int,
    ) -> ReadOutcome:
        """A follower's fetch changes the leader's state: watermark and ISR follow at once."""
        partition = hosted.partition
        high_watermark = partition.high_watermark
        outcome = partition.fetch_as_follower(
            query.replica_id,
            fetch_offset=wanted.fetch_offset,
            last_fetched_epoch=wanted.last_fetched_epoch,
            current_leader_epoch=wanted.current_leader_epoch,
            log_start_offset=wanted.log_start_offset,
            broker_epoch=query.broker_epoch,
            max_bytes=max_bytes,
            min_one=min_one,
            now_ms=now_ms,
        )
        if partition.high_watermark != high_watermark:
            hosted.watermark_moved()
        if wanted.told_high_watermark not in (None, outcome.high_watermark):
            query.has_untold_watermark = True
        if hosted.start_watchers:
            hosted.start_moved()
        leader = partition.leader
        if leader is not None and leader.isr.pending is not None:
            self._isr.notice(hosted)
        return outcome

    def _failed(self, wanted: FetchPartition, error: ErrorCode) -> FetchResult:
        hint = None
        if error in _ASK_ELSEWHERE:
            hint = self.leader_and_epoch(wanted.topic, wanted.index)
        return FetchResult(wanted.topic, wanted.topic_id, wanted.index, error, leader=hint)

    def _counted(
        self, query: FetchQuery, results: list[FetchResult], size_bytes: int
    ) -> list[FetchResult]:
        if query.is_follower:
            self.counters.replication_bytes_out += size_bytes
        else:
            self.counters.bytes_out += size_bytes
        if any(each.error not in _NOT_FAILURES for each in results):
            self.counters.fetch_requests_failed += 1
        return results

    # -- offsets

    async def delete_records(
        self, offsets: Mapping[PartitionKey, int], timeout_ms: int
    ) -> dict[PartitionKey, Deleted]:
        """Delete the records below each offset (-1: the high watermark), on every live replica.

        For each partition: (error, low watermark); see record_deletion.
        """
        return await delete_records(
            offsets,
            timeout_ms,
            hosted=self._hosted,
            missing=self._table.missing,
            save=self._housekeeping.checkpoint,
        )

    def producers(self, topic: str, index: int) -> tuple[ErrorCode, list[ProducerEntry]]:
        """The producers that a replica held here remembers (DescribeProducers), leader or not."""
        hosted = self._hosted.get((topic, index))
        if hosted is None:
            return self._table.missing(topic, index), []
        return ErrorCode.none, list(hosted.log.producers)

    def list_offset(
        self,
        topic: str,
        index: int,
        timestamp: int,
        *,
        isolation: int = 0,
        leader_epoch: int = -1,
        replica_id: int = -1,
    ) -> ListedOffset:
        """ListOffsets for one partition; see Partition.list_offset.

        ``isolation`` 1 (read committed) bounds by the last stable offset, which equals the high
        watermark while there are no transactions.
        """
        partition = self.partition(topic, index)
        if partition is None:
            return ListedOffset(self._table.missing(topic, index))
        try:
            return partition.list_offset(
                timestamp, replica_id=replica_id, current_leader_epoch=leader_epoch
            )
        except StorageError as failure:
            log.error("%s-%s cannot be searched: %s", topic, index, failure)
            return ListedOffset(ErrorCode.kafka_storage_error)

    def end_offset_for_epoch(
        self, topic: str, index: int, epoch: int, *, leader_epoch: int = -1
    ) -> tuple[ErrorCode, int, int]:
        """OffsetForLeaderEpoch for one partition: (error, epoch, end offset)."""
        partition = self.partition(topic, index)
        if partition is None:
            return self._table.missing(topic, index), -1, -1
        return partition.end_offset_for_epoch(epoch, current_leader_epoch=leader_epoch)
