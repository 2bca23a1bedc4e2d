"""One partition of __consumer_offsets led by this broker, and the pure coordinator on top of it.

Loads the coordinator from the log, appends what it decides, replays it at once, and answers only
what is committed. It must never serve before everything in the log is replayed, nor after the
leadership is gone.
"""

import asyncio
import logging
from collections.abc import Iterator, Sequence
from typing import Any

from broker.groups import (
    After,
    CoordinatorRecord,
    Decision,
    GroupCoordinator,
    Instant,
    decode_record,
    encode_record,
)
from broker.protocol.batch import Record, decode_records, encode_batch, iter_batches
from broker.protocol.errors import DecodeError, EncodeError, ErrorCode, InvalidBatch
from broker.replication import Partition
from broker.runtime.doors import Clock
from broker.runtime.replica_waits import ProduceWait
from broker.runtime.replicas import ReplicaManager
from broker.storage.errors import StorageError

log = logging.getLogger("logd.groups")

LOAD_BYTES = 256 * 1024
# Records decoded before the event loop has its turn again.
LOAD_RECORDS = 500
BATCH_RECORDS_MAX = 5_000
BATCH_BYTES_MAX = 512 * 1024
RECORD_OVERHEAD_BYTES = 24


class GroupShard:
    """The coordinator of one partition, for as long as this broker leads it without a break.

    `commit_timeout_ms` bounds how long a request waits for its records. After `close` nothing is
    appended and whoever still waits has been told to look elsewhere.
    """

    def __init__(
        self,
        core: GroupCoordinator,
        partition: Partition,
        replicas: ReplicaManager,
        clock: Clock,
        commit_timeout_ms: int,
    ) -> None:
        self.core = core
        self.partition = partition
        self.leader_epoch = partition.leader_epoch
        self.loaded = False
        self.closed = False
        # Where the log ended when this broker began to lead.
        self._inherited_end = 0
        # Why the last append was refused; `none` when it was not.
        self._refused = ErrorCode.none
        self._replicas = replicas
        self._clock = clock
        self._commit_timeout_ms = commit_timeout_ms
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at_ms = 0
        self._loading: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        """Topic and index."""
        return f"{self.partition.topic}-{self.partition.index}"

    def now(self) -> Instant:
        """Both clocks."""
        return Instant(self._clock.monotonic_ms(), self._clock.wall_ms())

    def fresh_core(self) -> GroupCoordinator:
        """The core, which has noticed what has become committed since: for those who read."""
        self.core.offsets.advance(self.partition.high_watermark)
        return self.core

    # -- life

    def start(self) -> None:
        """Begin to load."""
        self._loading = asyncio.create_task(self._load(), name=f"groups-load-{self.name}")

    def close(self) -> None:
        """Another broker coordinates, or this one stops: at once, without waiting for anything."""
        if self.closed:
            return
        self.closed = True
        if self._loading is not None:
            self._loading.cancel()
        if self._timer is not None:
            self._timer.cancel()
        self._deliver(self.core.unload())

    async def _load(self) -> None:
        started_ms = self._clock.monotonic_ms()
        try:
            records_count = await self._replay_log()
        except (StorageError, DecodeError) as error:
            # Serving from half of the offsets would send consumers back: rather none at all.
            log.error("%s cannot be loaded: %s", self.name, error)
            self.closed = True
            return
        self.loaded = True
        self.core.offsets.advance(self.partition.high_watermark)
        self.perform(self.core.loaded(self.now()))
        log.info(
            "coordinating",
            extra={
                "partition": self.name,
                "leader_epoch": self.leader_epoch,
                "records": records_count,
                "elapsed_ms": self._clock.monotonic_ms() - started_ms,
            },
        )

    async def _replay_log(self) -> int:
        """Replay up to the end that the log has now: nobody else appends while we lead."""
        the_log = self.partition.log
        end_offset, offset = the_log.end_offset, the_log.start_offset
        self.core.offsets.bound = min(self.partition.high_watermark, end_offset)
        self._inherited_end = end_offset
        count = 0
        while offset < end_offset:
            data = bytes(the_log.read(offset, LOAD_BYTES, upto_offset=end_offset))
            if not data:
                break
            for position, header in iter_batches(data):
                if not header.is_control and header.next_offset > offset:
                    for record in decode_records(data, position):
                        if record.offset >= offset:
                            self._replay_one(record)
                            count += 1
                            if count % LOAD_RECORDS == 0:
                                await asyncio.sleep(0)
                offset = max(offset, header.next_offset)
            await asyncio.sleep(0)
        return count

    def _replay_one(self, record: Record) -> None:
        try:
            decoded = decode_record(record.key, record.value)
        except DecodeError as error:
            raise InvalidBatch(f"the record at offset {record.offset}: {error}") from error
        if decoded is None:
            log.warning("%s: a record of an unknown kind at %d is left", self.name, record.offset)
        else:
            self.core.replay(record.offset, decoded)

    # -- decisions

    def perform(self, decision: Decision) -> None:
        """Append and replay the records, send the replies, see to what comes after."""
        for message, fields in decision.traces:
            log.info(message, extra=fields)
        if decision.records:
            self._write(decision.records, decision.after)
        elif decision.after is not None:
            self._settle(decision.after, ErrorCode.none)
        self._deliver(decision)
        self._plan()

    def _deliver(self, decision: Decision) -> None:
        for ticket, answer in decision.replies:
            if not ticket.done():
                ticket.set_result(answer)

    def _write(self, records: Sequence[CoordinatorRecord], after: After | None) -> None:
        if self.closed:
            self._settle(after, ErrorCode.not_leader_or_follower)
            return
        wait: ProduceWait | None = None
        try:
            for chunk in _batches(records, self._clock.wall_ms()):
                error, wait = self._append(*chunk)
                if error:
                    self._settle(after, error)
                    return
        except EncodeError as error:
            log.warning("%s: a record cannot be written: %s", self.name, error)
            self._settle(after, ErrorCode.unknown_server_error)
            return
        if wait is None:
            self._settle(after, ErrorCode.none)
        elif after is not None:
            self._settle_later(wait, after)

    def _append(
        self, records: Sequence[CoordinatorRecord], batch: bytes
    ) -> tuple[ErrorCode, ProduceWait | None]:
        partition = self.partition
        result, wait = self._replicas.write(partition.topic, partition.index, batch)
        if result.error != self._refused:
            # Once, not for each commit of each member, of which there may be thousands a second.
            if result.error:
                log.warning("%s: appends are refused: %s", self.name, result.error.name)
            else:
                log.info("%s: appends are taken again", self.name)
            self._refused = result.error
        if result.error:
            return result.error, None
        offset = result.base_offset
        if wait is None:
            self.core.offsets.advance(partition.high_watermark)
        for record in records:
            self.core.replay(offset, record)
            offset += 1
        return ErrorCode.none, wait

    def _settle_later(self, wait: ProduceWait, after: After) -> None:
        loop = asyncio.get_running_loop()
        limit = loop.call_later(self._commit_timeout_ms / 1000, wait.expire)

        def decided(_: "asyncio.Future[None]") -> None:
            limit.cancel()
            self.core.offsets.advance(self.partition.high_watermark)
            # A closed coordinator has told everybody to look elsewhere: nothing follows there.
            error = ErrorCode.not_leader_or_follower if self.closed else wait.results[0].error
            self._settle(after, error)

        wait.future.add_done_callback(decided)

    def _settle(self, after: After | None, error: ErrorCode) -> None:
        """The records are decided; what follows is a decision again."""
        if after is None:
            return
        if error:
            self.perform(after.failed(error, self.now()))
        else:
            self.perform(after.committed(self.now()))

    async def wait_readable(self, group_id: str, *, stable: bool) -> bool:
        """Wait until a group's offsets may be told; False when that is not in time.

        A new leader does not know at first how much of what it inherited was committed, and so
        was told to somebody by its predecessor: until all of it is, nothing is told, lest an
        offset go back (the rule of KIP-207). With `stable` what this coordinator has appended for
        the group has to be committed, too (KIP-447).
        """
        needed = self._inherited_end
        if stable:
            needed = max(needed, self.core.offsets.last_pending(group_id) + 1)
        partition = self.partition
        if partition.high_watermark >= needed:
            return not self.closed
        wait = self._replicas.wait_replicated(partition.topic, partition.index, needed)
        if wait is None:
            return not self.closed
        limit = asyncio.get_running_loop().call_later(self._commit_timeout_ms / 1000, wait.expire)
        try:
            await wait.future
        finally:
            limit.cancel()
        return not wait.results[0].error and not self.closed

    # -- time

    def _plan(self) -> None:
        """See to it that the core is woken for its earliest time limit."""
        if self.closed or not self.loaded:
            return
        wakeup_ms = self.core.next_wakeup_ms()
        if wakeup_ms is None or (self._timer is not None and self._timer_at_ms <= wakeup_ms):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at_ms = wakeup_ms
        delay_ms = max(0, wakeup_ms - self._clock.monotonic_ms())
        self._timer = asyncio.get_running_loop().call_later(delay_ms / 1000, self._tick)

    def _tick(self) -> None:
        self._timer = None
        while not self.closed and (decision := self.core.tick(self.now())) is not None:
            self.perform(decision)
        self._plan()


def _batches(
    records: Sequence[CoordinatorRecord], wall_ms: int
) -> Iterator[tuple[Sequence[CoordinatorRecord], bytes]]:
    """The records in batches that a log accepts. Raises EncodeError."""
    part: list[CoordinatorRecord] = []
    encoded: list[Any] = []
    size_bytes = 0
    for record in records:
        key, value = encode_record(record)
        size = len(key) + len(value or b"") + RECORD_OVERHEAD_BYTES
        if part and (len(part) >= BATCH_RECORDS_MAX or size_bytes + size > BATCH_BYTES_MAX):
            yield part, encode_batch(encoded)
            part, encoded, size_bytes = [], [], 0
        encoded.append(Record(len(part), wall_ms, key, value, ()))
        part.append(record)
        size_bytes += size
    if part:
        yield part, encode_batch(encoded)
