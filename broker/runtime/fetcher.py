"""Follower fetching: one task and one connection per leader broker, all its partitions in a batch.

The leader parks a fetch while there is nothing new, so an idle cluster costs two small requests
per second and peer. A partition that has to join while a fetch is parked does not wait for it: the
connection is replaced after a short grace. It must never apply an answer to a partition whose role,
epoch or log end changed meanwhile; the pure follower role checks that.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from random import Random
from uuid import UUID

from broker.protocol.api_keys import ApiKey
from broker.protocol.client import BrokerConnection
from broker.protocol.errors import ConnectionFailed, ErrorCode, LogctlError, WireError
from broker.protocol.image import Endpoint, MetadataImage
from broker.protocol.network import Network
from broker.protocol.struct import Struct
from broker.replication import EARLIEST, LATEST, Applied, EpochEnd, FetchPosition
from broker.runtime.backoff import Backoff
from broker.runtime.disk_space import DiskSpace
from broker.runtime.doors import Clock
from broker.runtime.fetcher_session import FollowerSession, SlotKey
from broker.runtime.replica_disk import Flusher, settled
from broker.runtime.replica_requests import ReplicaCounters
from broker.runtime.replica_waits import HostedPartition
from broker.settings.broker import BrokerSettings
from broker.storage.checkpoints import PartitionKey
from broker.storage.errors import OutOfOrderOffsets, StorageError

log = logging.getLogger("logd.fetcher")

CONNECT_TIMEOUT_MS = 3_000
GRACE_S = 0.005
PARTITION_BACKOFF_MS = (50, 1_000)
CONNECTION_BACKOFF_MS = (50, 1_000)
ANSWER_SLACK_MS = 5_000
IDLE_CLOSE_S = 10.0
# After so many answers in a row that leave out offsets the leader's log is believed to lack them.
GAPS_BELIEVED = 3
# So many partitions are named in one fetch at most: a leader reads them in one turn of its loop,
# and after a restart there are thousands.
PARTITIONS_TOLD_AT_ONCE = 1_000
# Some ten milliseconds of appending.
ANSWERS_AT_ONCE = 100
# How often every partition is looked at for a change that nobody reports (a moved log start).
SWEEP_MS = 1_000
# Errors that end by themselves when leader and follower have the same metadata.
_TRANSIENT = frozenset(
    {
        ErrorCode.not_leader_or_follower,
        ErrorCode.unknown_leader_epoch,
        ErrorCode.fenced_leader_epoch,
        ErrorCode.unknown_topic_id,
        ErrorCode.unknown_topic_or_partition,
        ErrorCode.inconsistent_topic_id,
        ErrorCode.offset_not_available,
        ErrorCode.replica_not_available,
    }
)


class Slot:
    """One partition of a fetcher: where it stands with the leader."""

    __slots__ = ("asked", "backoff", "gaps", "hosted", "retry_at_ms")

    def __init__(self, hosted: HostedPartition, backoff: Backoff) -> None:
        self.hosted = hosted
        self.backoff = backoff
        self.retry_at_ms = 0
        self.gaps = 0  # answers in a row that left offsets out
        self.asked: FetchPosition | None = None

    @property
    def key(self) -> SlotKey:
        """How requests name the partition."""
        return self.hosted.partition.topic_id, self.hosted.partition.index


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchSettings:
    """The replica.fetch settings."""

    max_wait_ms: int
    min_bytes: int
    partition_max_bytes: int
    response_max_bytes: int
    socket_timeout_ms: int


class FetcherPool:
    """The fetchers of one broker, by leader."""

    def __init__(
        self,
        *,
        node_id: int,
        clock: Clock,
        network: Network,
        rng: Random,
        settings: BrokerSettings,
        flusher: Flusher,
        space: DiskSpace,
        counters: ReplicaCounters,
        broker_epoch: Callable[[], int],
        before_cuts: Callable[[Mapping[PartitionKey, int]], None],
        listener: str | None,
    ) -> None:
        """``before_cuts`` hears of the logs that are about to be cut, by where; it may block."""
        self.node_id = node_id
        self.clock = clock
        self.network = network
        self.rng = rng
        self.flusher = flusher
        self.space = space
        self.counters = counters
        self.broker_epoch = broker_epoch
        self.before_cuts = before_cuts
        self.settings = FetchSettings(
            max_wait_ms=settings.integer("replica.fetch.wait.max.ms"),
            min_bytes=settings.integer("replica.fetch.min.bytes"),
            partition_max_bytes=settings.integer("replica.fetch.max.bytes"),
            response_max_bytes=settings.integer("replica.fetch.response.max.bytes"),
            socket_timeout_ms=settings.integer("replica.socket.timeout.ms"),
        )
        self._listener = listener
        self._image: MetadataImage | None = None
        self._fetchers: dict[int, PeerFetcher] = {}
        self._leader_of: dict[HostedPartition, int] = {}

    def image_changed(self, image: MetadataImage) -> None:
        """Endpoints are looked up in this image from now on."""
        self._image = image

    def endpoint(self, broker_id: int) -> Endpoint | None:
        """Where a leader listens for its followers."""
        broker = self._image.brokers.get(broker_id) if self._image else None
        if broker is None:
            return None
        if self._listener is not None:
            return broker.endpoint(self._listener)
        return broker.endpoints[0] if broker.endpoints else None

    def follow(self, hosted: HostedPartition) -> None:
        """Fetch the partition from its present leader (and from no other)."""
        follower = hosted.partition.follower
        leader = follower.leader_id if follower is not None else -1
        if self._leader_of.get(hosted, leader) != leader:
            self.unfollow(hosted)
        if leader < 0 or leader == self.node_id:
            return
        fetcher = self._fetchers.get(leader)
        if fetcher is None:
            fetcher = self._fetchers[leader] = PeerFetcher(self, leader)
        self._leader_of[hosted] = leader
        fetcher.add(hosted)

    def unfollow(self, hosted: HostedPartition) -> None:
        """Fetch the partition no more."""
        leader = self._leader_of.pop(hosted, None)
        if leader is not None:
            self._fetchers[leader].remove(hosted)

    async def stop(self) -> None:
        """End all fetchers."""
        fetchers = list(self._fetchers.values())
        self._fetchers.clear()
        self._leader_of.clear()
        await asyncio.gather(*(each.stop() for each in fetchers))


class PeerFetcher:
    """Fetches from one leader. Its task lives while the pool lives; idle, it only waits."""

    def __init__(self, pool: FetcherPool, leader_id: int) -> None:
        self._pool = pool
        self._leader_id = leader_id
        self._slots: dict[SlotKey, Slot] = {}
        # Those that may have something new to tell the leader, and those that pause.
        self._dirty: dict[Slot, None] = {}
        self._paused: dict[Slot, None] = {}
        self._session = FollowerSession()
        self._swept_ms = 0
        self._connection: BrokerConnection | None = None
        self._backoff = self._new_backoff(CONNECTION_BACKOFF_MS)
        self._changed = asyncio.Event()
        # The number of the last fetch, and whether it is on its way.
        self._fetch_number = 0
        self._in_flight = False
        self._superseded = False
        self._interrupt_planned_for = -1
        self._task = asyncio.create_task(self._run(), name=f"fetcher-{leader_id}")
        self._task.add_done_callback(self._ended)

    def _new_backoff(self, bounds: tuple[int, int]) -> Backoff:
        return Backoff(self._pool.rng, first_ms=bounds[0], most_ms=bounds[1])

    def _ended(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            log.critical("the fetcher from %s failed: %r", self._leader_id, error, exc_info=error)

    # -- partitions

    def add(self, hosted: HostedPartition) -> None:
        """Fetch a partition from now on, at once even if a fetch is parked."""
        slot = Slot(hosted, self._new_backoff(PARTITION_BACKOFF_MS))
        self._drop(self._slots.get(slot.key))
        self._slots[slot.key] = slot
        self._dirty[slot] = None
        self._backoff.reset()
        self._changed.set()
        number = self._fetch_number
        if self._in_flight and self._interrupt_planned_for != number:
            self._interrupt_planned_for = number
            asyncio.get_running_loop().call_later(GRACE_S, self._interrupt, number)

    def remove(self, hosted: HostedPartition) -> None:
        """Forget a partition; an answer for it that is on its way is dropped."""
        key = hosted.partition.topic_id, hosted.partition.index
        slot = self._slots.get(key)
        if slot is not None and slot.hosted is hosted:
            self._drop(slot)

    def _drop(self, slot: Slot | None) -> None:
        if slot is not None:
            del self._slots[slot.key]
            self._dirty.pop(slot, None)
            self._paused.pop(slot, None)
            self._session.forget(slot.key)

    def _interrupt(self, fetch_number: int) -> None:
        """Give up a fetch that is still parked: there is a partition that is not in it."""
        if fetch_number == self._fetch_number and self._in_flight:
            self._superseded = True
            self._close()

    async def stop(self) -> None:
        """End the task and the connection."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._close()

    # -- the loop

    async def _run(self) -> None:
        while True:
            self._changed.clear()
            now_ms = self._pool.clock.monotonic_ms()
            self._resume(now_ms)
            if len(self._paused) == len(self._slots):
                await self._idle(now_ms)
                continue
            try:
                connection = await self._connected()
                response = await self._fetch(connection)
                await self._apply(connection, response)
            except (ConnectionFailed, WireError, OSError) as error:
                self._close()
                if not self._superseded:
                    await self._failed(error)
            else:
                self._backoff.reset()
            self._superseded = False

    async def _idle(self, now_ms: int) -> None:
        """Nothing to fetch now: wait for a partition, or for the end of a pause."""
        if self._paused:
            pause_ms = min(each.retry_at_ms for each in self._paused) - now_ms
            await self._sleep(max(1, pause_ms) / 1000)
            return
        await self._sleep(IDLE_CLOSE_S)
        if not self._slots:
            self._close()
            await self._changed.wait()

    async def _sleep(self, seconds: float) -> None:
        """Sleep, or wake earlier when a partition is added."""
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            pass

    async def _failed(self, error: Exception) -> None:
        log.info("fetching from broker %s failed: %s", self._leader_id, error)
        self._changed.clear()
        await self._sleep(self._backoff.next_s())

    async def _connected(self) -> BrokerConnection:
        connection = self._connection
        if connection is not None and not connection.closed:
            return connection
        endpoint = self._pool.endpoint(self._leader_id)
        if endpoint is None:
            raise ConnectionFailed(f"broker {self._leader_id}", "it has no known address")
        self._connection = await BrokerConnection.open(
            self._pool.network,
            endpoint.host,
            endpoint.port,
            client_id=f"broker-{self._pool.node_id}-fetcher",
            timeout_ms=CONNECT_TIMEOUT_MS,
        )
        return self._connection

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
            self._session.reset()

    # -- one fetch

    async def _fetch(self, connection: BrokerConnection) -> Struct:
        """Send one fetch for every partition that does not pause, and await its answer.

        A partition that pauses shortens the wait, so that it is not late for the next fetch.
        """
        await self._on_disk()
        settings = self._pool.settings
        max_wait_ms = settings.max_wait_ms
        now_ms = self._pool.clock.monotonic_ms()
        if self._paused:
            soonest_ms = min(each.retry_at_ms for each in self._paused)
            max_wait_ms = max(1, min(max_wait_ms, soonest_ms - now_ms))
        request = self._request(self._candidates(now_ms), max_wait_ms)
        max_wait_ms = request.max_wait_ms
        self._fetch_number += 1
        self._in_flight = True
        try:
            return await connection.request(
                ApiKey.FETCH,
                request,
                timeout_ms=min(settings.socket_timeout_ms, max_wait_ms + ANSWER_SLACK_MS),
            )
        finally:
            self._in_flight = False

    async def _on_disk(self) -> None:
        """With log.flush.policy=commit: sync what a new leader will hear of for the first time.

        It may have been appended under another leader, or by this broker when it led.
        """
        wants = self._pool.flusher.wants
        unsynced = [slot.hosted for slot in self._dirty if wants(slot.hosted)]
        if unsynced:
            # Once: what the disk would not take is left out of the request, the others fetch.
            await self._pool.flusher.commit(unsynced)

    @staticmethod
    def _may_be_told(hosted: HostedPartition) -> bool:
        """Whether a leader may count what this replica has: nothing that a power cut can take."""
        return not hosted.partition.local.needs_flush

    def _candidates(self, now_ms: int) -> Iterable[Slot]:
        """The partitions that may have something new to tell; now and then all of them."""
        if self._session.is_full or now_ms - self._swept_ms >= SWEEP_MS:
            self._swept_ms = now_ms
            return [each for each in self._slots.values() if each not in self._paused]
        return self._dirty

    def _request(self, candidates: Iterable[Slot], max_wait_ms: int) -> Struct:
        pool, session = self._pool, self._session
        topics: dict[UUID, Struct] = {}
        unsynced: list[Slot] = []
        untold: list[Slot] = []
        left = len(self._slots) if session.is_refused else PARTITIONS_TOLD_AT_ONCE
        for slot in candidates:
            partition = slot.hosted.partition
            follower = partition.follower
            if follower is None:
                continue
            if not self._may_be_told(slot.hosted):
                unsynced.append(slot)
                continue
            if left <= 0:
                untold.append(slot)
                continue
            slot.asked = asked = follower.position()
            if not session.must_tell(slot.key, asked):
                continue
            left -= 1
            topic = topics.get(partition.topic_id)
            if topic is None:
                topic = topics[partition.topic_id] = Struct(
                    topic=partition.topic, topic_id=partition.topic_id, partitions=[]
                )
            topic.partitions.append(
                Struct(
                    partition=partition.index,
                    current_leader_epoch=asked.leader_epoch,
                    fetch_offset=asked.fetch_offset,
                    last_fetched_epoch=asked.last_fetched_epoch,
                    log_start_offset=asked.log_start_offset,
                    partition_max_bytes=pool.settings.partition_max_bytes,
                )
            )
        self._dirty.clear()
        self._dirty.update(dict.fromkeys(unsynced))
        self._dirty.update(dict.fromkeys(untold))
        return Struct(
            replica_id=pool.node_id,
            replica_state=Struct(replica_id=pool.node_id, replica_epoch=pool.broker_epoch()),
            max_wait_ms=0 if untold else max_wait_ms,
            min_bytes=pool.settings.min_bytes,
            max_bytes=pool.settings.response_max_bytes,
            isolation_level=0,
            session_id=session.id,
            session_epoch=session.epoch,
            topics=list(topics.values()),
            forgotten_topics_data=session.forgotten(),
        )

    async def _apply(self, connection: BrokerConnection, response: Struct) -> None:
        if not self._session.answered(response):
            return
        if response.error_code:
            raise ConnectionFailed(connection.address, f"Fetch was refused: {response.error_code}")
        appended: list[Slot] = []
        out_of_range: list[Slot] = []
        announced = False
        for count, (slot, answer) in enumerate(self._answers(response), 1):
            if announced or not count % ANSWERS_AT_ONCE:
                await asyncio.sleep(0)  # each cut of a log waits for the disk
            self._dirty[slot] = None
            error = answer.error_code
            if error == ErrorCode.offset_out_of_range:
                out_of_range.append(slot)
            elif error:
                self._refused(slot, error)
            else:
                diverging = _diverging_epoch(answer)
                if diverging is not None and not announced:
                    announced = True
                    self._announce_cuts(response)
                if await self._take(slot, answer, diverging):
                    appended.append(slot)
        if appended:
            await self._appended(appended)
        if out_of_range:
            await self._out_of_range(connection, out_of_range)

    def _answers(self, response: Struct) -> Iterator[tuple[Slot, Struct]]:
        """What was answered of partitions that are still asked for."""
        for topic in response.responses:
            for answer in topic.partitions:
                slot = self._slots.get((topic.topic_id, answer.partition_index))
                if slot is not None and slot.asked is not None:
                    yield slot, answer

    def _announce_cuts(self, response: Struct) -> None:
        """After a failover thousands of logs may be cut: what was saved of them is lowered once."""
        cuts: dict[PartitionKey, int] = {}
        for slot, answer in self._answers(response):
            diverging, asked = _diverging_epoch(answer), slot.asked
            follower = slot.hosted.partition.follower
            if diverging is not None and follower is not None and asked is not None:
                cuts[slot.hosted.key] = follower.cut_offset(diverging)
        self._lower_saved(cuts)

    def _lower_saved(self, cuts: Mapping[PartitionKey, int]) -> None:
        try:
            self._pool.before_cuts(cuts)
        except StorageError as error:
            # Each log asks again before it is cut, and is left as it is when that fails, too.
            log.error("saved offsets cannot be lowered: %s", error)

    async def _take(self, slot: Slot, answer: Struct, diverging: EpochEnd | None) -> bool:
        """One partition's answer; whether records were appended."""
        hosted, asked = slot.hosted, slot.asked
        if diverging is not None:
            await settled(hosted)
        follower = hosted.partition.follower
        if follower is None or asked is None or hosted.deleted:
            return False
        records = answer.records or b""
        if records and self._pool.space.short:
            self._pause(slot)
            return False
        high_watermark = hosted.partition.high_watermark
        try:
            result = follower.apply(
                asked,
                records,
                high_watermark=answer.high_watermark,
                log_start_offset=answer.log_start_offset,
                diverging_epoch=diverging,
            )
        except LogctlError as error:
            log.error("%s-%s: what the leader sent was refused: %s", *hosted.key, error)
            self._pool.space.failed(error)
            if isinstance(error, OutOfOrderOffsets) and error.actual > error.expected:
                self._gap(slot)
            self._pool.flusher.report_failure(hosted)
            self._pause(slot)
            return False
        slot.backoff.reset()
        slot.gaps = 0
        if result is Applied.TRUNCATED:
            self._note_truncation(slot)
        elif result is Applied.APPENDED:
            self._pool.counters.replication_bytes_in += len(records)
            hosted.appended(len(records))
            self._pool.space.wrote(len(records))
        if hosted.partition.high_watermark != high_watermark:
            hosted.watermark_moved()
        return result is Applied.APPENDED

    def _gap(self, slot: Slot) -> None:
        """Offsets are missing in what the leader sends, although the topic is not compacted.

        It was once, then: the leader's log keeps its gaps when the policy changes. Asked again it
        still has them, which an answer that was damaged on its way would not.
        """
        slot.gaps += 1
        if slot.gaps >= GAPS_BELIEVED:
            log.warning("%s-%s: taking over the gaps of the leader's log", *slot.hosted.key)
            slot.gaps = 0
            try:
                slot.hosted.log.mark_sparse()
            except StorageError as error:
                log.error("%s-%s: cannot note the gaps: %s", *slot.hosted.key, error)

    async def _appended(self, slots: list[Slot]) -> None:
        """Records came: the partitions go to the end of the line, so that none starves.

        With log.flush.policy=commit they reach the disk before the next fetch tells the leader.
        """
        for slot in slots:
            if self._slots.get(slot.key) is slot:
                self._slots[slot.key] = self._slots.pop(slot.key)
        await self._pool.flusher.commit([each.hosted for each in slots])

    def _note_truncation(self, slot: Slot) -> None:
        hosted = slot.hosted
        self._pool.counters.truncations += 1
        log.info("%s-%s was truncated to offset %s", *hosted.key, hosted.log.end_offset)
        hosted.role_changed()

    # -- trouble

    def _refused(self, slot: Slot, error: ErrorCode | int) -> None:
        if error not in _TRANSIENT:
            log.warning("%s-%s: the leader answered %s", *slot.hosted.key, error)
        self._pause(slot)

    def _pause(self, slot: Slot) -> None:
        pause_ms = max(1, round(slot.backoff.next_s() * 1000))
        slot.retry_at_ms = self._pool.clock.monotonic_ms() + pause_ms
        if self._slots.get(slot.key) is slot:
            self._paused[slot] = None
            self._session.forget(slot.key)
            self._dirty.pop(slot, None)

    def _resume(self, now_ms: int) -> None:
        """Fetch again what has paused long enough."""
        for slot in [each for each in self._paused if each.retry_at_ms <= now_ms]:
            del self._paused[slot]
            self._dirty[slot] = None

    async def _out_of_range(self, connection: BrokerConnection, slots: list[Slot]) -> None:
        """Ask where the leader's logs begin and end, then cut or restart ours (KAFKA-7414)."""
        starts = await self._list_offsets(connection, slots, EARLIEST)
        ends = await self._list_offsets(connection, slots, LATEST)
        # All of them at once, as a leader that lost its disk has it: see `_announce_cuts`. A log
        # that ends before it is not cut, and nothing that was saved of it lies beyond.
        self._lower_saved(ends)
        for slot in slots:
            await asyncio.sleep(0)  # each cut of a log waits for the disk
            hosted, asked = slot.hosted, slot.asked
            start, end = starts.get(hosted.key), ends.get(hosted.key)
            await settled(hosted)
            follower = hosted.partition.follower
            current = follower is not None and asked is not None and follower.is_current(asked)
            if start is None or end is None or follower is None or not current:
                self._pause(slot)
                continue
            try:
                result = follower.out_of_range(start, end)
            except LogctlError as error:
                log.error("%s-%s cannot be truncated: %s", *hosted.key, error)
                self._pool.flusher.report_failure(hosted)
                result = Applied.NOTHING
            if result is Applied.TRUNCATED:
                self._note_truncation(slot)
            else:
                self._pause(slot)

    async def _list_offsets(
        self, connection: BrokerConnection, slots: list[Slot], timestamp: int
    ) -> dict[tuple[str, int], int]:
        topics: dict[str, list[Struct]] = {}
        for slot in slots:
            partition = slot.hosted.partition
            epoch = slot.asked.leader_epoch if slot.asked is not None else -1
            topics.setdefault(partition.topic, []).append(
                Struct(
                    partition_index=partition.index,
                    current_leader_epoch=epoch,
                    timestamp=timestamp,
                )
            )
        response = await connection.request(
            ApiKey.LIST_OFFSETS,
            Struct(
                replica_id=self._pool.node_id,
                isolation_level=0,
                topics=[Struct(name=n, partitions=p) for n, p in topics.items()],
            ),
            timeout_ms=self._pool.settings.socket_timeout_ms,
        )
        return {
            (topic.name, answer.partition_index): answer.offset
            for topic in response.topics
            for answer in topic.partitions
            if not answer.error_code
        }


def _diverging_epoch(answer: Struct) -> EpochEnd | None:
    diverging = answer.get("diverging_epoch")
    if diverging is None or diverging.epoch < 0:
        return None
    return EpochEnd(diverging.epoch, diverging.end_offset)
