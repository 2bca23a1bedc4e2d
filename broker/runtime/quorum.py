"""The metadata quorum: the pure core of broker.raft with sockets, files and timers around it.

Performs the core's effects: the log is written at once, requests and answers leave only after the
election state before them is synced, syncs run off the event loop (one at a time, everything that
was appended meanwhile shares the next). Delivers what is committed to listeners, once and in order.
It must never decide anything about elections or replication; that is the core's.
"""

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

from broker.protocol.api_keys import ApiKey
from broker.protocol.errors import ErrorCode, LogctlError, RequestTimedOut
from broker.protocol.metadata_records import MetadataRecord
from broker.protocol.struct import Struct
from broker.raft import effects as fx
from broker.raft import events as ev
from broker.raft import messages as ms
from broker.raft.core import Quorum
from broker.raft.roles import Leader
from broker.raft.types import LeaderAndEpoch, QuorumConfig, SnapshotId
from broker.runtime import quorum_describe
from broker.runtime.doors import Clock, Disk, Network, Offload
from broker.runtime.quorum_delivery import Delivery, QuorumListener
from broker.runtime.quorum_files import ElectionStateFile
from broker.runtime.quorum_log import CommittedBatch, MetadataLog, spans
from broker.runtime.quorum_peers import PeerConnections, PeerRefused
from broker.runtime.quorum_wire import (
    VERSIONS,
    Identity,
    Malformed,
    decode_peer_request,
    decode_peer_response,
    encode_peer_request,
    encode_peer_response,
    encode_refusal,
)
from broker.storage.log import Log

__all__ = [
    "CommittedBatch",
    "LeaderAndEpoch",
    "MetadataQuorum",
    "NotQuorumLeader",
    "QuorumConfig",
    "QuorumListener",
]

logger = logging.getLogger("logd.quorum")

RESIGN_WAIT_MS = 500
STORAGE_WAIT_MS = 5000
Records = Callable[[], Sequence[MetadataRecord]]
SnapshotSource = Callable[[], tuple[int, int, Records]]


class NotQuorumLeader(LogctlError):
    """This node does not lead the asked epoch; ``leader`` says who does, -1 for nobody known."""

    def __init__(self, leader: LeaderAndEpoch) -> None:
        who = f"node {leader.leader_id} leads" if leader.leader_id >= 0 else "nobody is known to"
        super().__init__(f"not the leader of the metadata quorum: {who} epoch {leader.epoch}")
        self.leader = leader


class MetadataQuorum:
    """One node of the quorum that replicates the metadata log; an observer when not in voters.

    ``voters`` maps node ids to (host, port) of their controller listeners. ``on_failure``, when
    set, hears of a fault after which this node no longer takes part.
    """

    def __init__(
        self,
        *,
        node_id: int,
        cluster_id: str,
        directory_id: UUID,
        voters: Mapping[int, tuple[str, int]],
        log: Log,
        disk: Disk,
        directory: str,
        network: Network,
        clock: Clock,
        offload: Offload,
        rng: random.Random,
        config: QuorumConfig,
    ) -> None:
        self._me = Identity(
            node_id=node_id,
            cluster_id=cluster_id,
            directory_id=directory_id,
            listener_name=config.listener_name,
            voters=dict(voters),
        )
        self._config = config
        self._clock = clock
        self._offload = offload
        self._rng = rng
        self._log = MetadataLog(log, disk, directory, bytes_kept=config.snapshot_log_bytes)
        self._state_file = ElectionStateFile(disk, directory)
        self._peers = PeerConnections(network, self._me.voters, f"quorum-{node_id}")
        self._delivery = Delivery(self._log)
        self._core: Quorum | None = None
        self._active = False
        self.failure: BaseException | None = None
        self.on_failure: Callable[[BaseException], None] | None = None
        self._snapshot_source: SnapshotSource | None = None

        self._timer: asyncio.TimerHandle | None = None
        self._timer_at_ms = -1
        self._outbox: deque[fx.PersistState | fx.Send | fx.Reply] = deque()
        self._persisting = False
        self._flushing = False
        self._flush_wanted = 0
        self._flushed = 0
        self._trim_to = 0
        self._delivering = False
        self._delivery_due = False
        self._snapshotting = False
        self._tokens = 0
        self._answers: dict[int, asyncio.Future[ms.Response]] = {}
        self._waiters: dict[asyncio.Future[None], tuple[int, int]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._sends: set[asyncio.Task[None]] = set()

    # -- views ----------------------------------------------------------------------------------

    @property
    def leader(self) -> LeaderAndEpoch:
        """Who leads, as far as this node knows; leader_id -1 for nobody."""
        if self._core is None:
            return LeaderAndEpoch(-1, 0)
        return self._core.leader if self._active else LeaderAndEpoch(-1, self._core.epoch)

    @property
    def is_leader(self) -> bool:
        """Whether this node leads. It may not have heard all that is committed yet."""
        return self._core is not None and self._core.is_leader and self._active

    @property
    def high_watermark(self) -> int:
        """Every record below it is committed, as far as this node knows."""
        return self._core.high_watermark if self._core is not None else 0

    @property
    def end_offset(self) -> int:
        """Where this node's log ends."""
        return self._log.end_offset

    @property
    def voters(self) -> dict[int, tuple[str, int]]:
        """Node id -> (host, port) of the controller listener."""
        return dict(self._me.voters)

    # -- life -----------------------------------------------------------------------------------

    async def start(self) -> None:
        """Recover from disk and take part. Raises StorageError when the disk cannot be trusted."""
        loaded = await self._offload.run(self._log.recover)
        state = await self._offload.run(self._state_file.load)
        self._flushed = self._flush_wanted = loaded.log.end_offset
        now_ms = self._clock.monotonic_ms()
        self._core = Quorum(
            node_id=self._me.node_id,
            voters=self._me.voters,
            config=self._config,
            rng=self._rng,
            log=loaded.log,
            state=state,
            directory_id=self._me.directory_id,
            now_ms=now_ms,
        )
        self._active = True
        self._delivery.begin(loaded.snapshot)
        self._perform(self._core.start(now_ms))
        self._settle()

    async def stop(self, *, resign: bool = True) -> None:
        """Stop taking part. A leader first hands over, unless ``resign`` is False."""
        if self._core is not None and self._active and resign and self._core.is_leader:
            self._step(ev.ResignRequested())
            if self._sends:
                await asyncio.wait(set(self._sends), timeout=RESIGN_WAIT_MS / 1000)
        self._cease()
        for task in self._sends:
            task.cancel()
        await asyncio.gather(*self._sends, return_exceptions=True)
        self._peers.close()
        if self._tasks:
            # A sync that is under way must not meet a closed log.
            await asyncio.wait(set(self._tasks), timeout=STORAGE_WAIT_MS / 1000)

    def _cease(self) -> None:
        """Take no further part: no timers, no answers, everybody who waits is told."""
        self._active = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._outbox.clear()
        leader = self.leader
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(NotQuorumLeader(leader))
                answer.exception()  # whoever asked may be gone
        self._answers.clear()
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(NotQuorumLeader(leader))
        self._waiters.clear()

    def _fail(self, error: BaseException) -> None:
        """A fault that this node cannot go on with: its disk, or a broken invariant.

        Whatever it is, a node that goes on after it may break its word to the others.
        """
        if self.failure is not None:
            return
        self.failure = error
        logger.critical("this node leaves the metadata quorum: %s", error, exc_info=error)
        self._cease()
        if self.on_failure is not None:
            self.on_failure(error)

    def _spawn(self, work: Coroutine[Any, Any, None], group: set[asyncio.Task[None]]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        group.add(task)
        task.add_done_callback(group.discard)

    # -- the application's side -----------------------------------------------------------------

    def add_listener(self, listener: QuorumListener) -> None:
        """Deliver to this listener too; it first hears everything delivered before."""
        self._delivery.add(listener)

    def set_snapshot_source(self, source: SnapshotSource) -> None:
        """``source()`` gives (end offset, epoch, records) of the state as delivered so far.

        ``records()`` makes them from what does not change any more; it is called in a thread.
        """
        self._snapshot_source = source

    def append(self, epoch: int, records: Sequence[MetadataRecord]) -> int:
        """Append one batch; the offset of its last record. Raises NotQuorumLeader."""
        core = self._core
        if core is None or not self._active or not core.is_leader or core.epoch != epoch:
            raise NotQuorumLeader(self.leader)
        last_offset = core.log.end_offset + len(records) - 1
        self._step(
            ev.AppendRequested(epoch=epoch, records_count=len(records), payload=tuple(records))
        )
        if not self._active:
            raise NotQuorumLeader(self.leader)
        return last_offset

    async def wait_committed(self, offset: int, epoch: int, timeout_ms: int) -> None:
        """Return when the record at ``offset``, appended in ``epoch``, is committed and delivered.

        Raises NotQuorumLeader when leadership of the epoch ends first, RequestTimedOut; in both
        cases the record may still be committed later.
        """
        core = self._core
        if core is None or not self._active or not core.is_leader or core.epoch != epoch:
            raise NotQuorumLeader(self.leader)
        if self._delivery.position > offset:
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters[waiter] = (offset, epoch)
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                await waiter
        except TimeoutError:
            raise RequestTimedOut(
                f"metadata offset {offset} was not committed within {timeout_ms} ms"
            ) from None
        finally:
            self._waiters.pop(waiter, None)

    # -- the network's side ---------------------------------------------------------------------

    async def handle(self, api_key: int, version: int, request: Struct) -> Struct:
        """Answer one of the quorum's requests; a fetch may wait up to half a second."""
        core = self._core
        if core is None or not self._active:
            return self._unavailable(api_key)
        if api_key == ApiKey.DESCRIBE_QUORUM:
            offset_ms = self._clock.wall_ms() - self._clock.monotonic_ms()
            return quorum_describe.describe(self._me, core, request, offset_ms)
        decoded = decode_peer_request(self._me, api_key, version, request)
        if isinstance(decoded, Malformed):
            return encode_refusal(api_key, decoded.error)
        self._tokens += 1
        token = self._tokens
        answer: asyncio.Future[ms.Response] = asyncio.get_running_loop().create_future()
        self._answers[token] = answer
        try:
            self._step(ev.Received(token=token, request=decoded))
            return encode_peer_response(self._me, await answer)
        except NotQuorumLeader:
            return self._unavailable(api_key)
        finally:
            self._answers.pop(token, None)

    def _unavailable(self, api_key: int) -> Struct:
        return encode_refusal(api_key, ErrorCode.broker_not_available)

    # -- the core -------------------------------------------------------------------------------

    def _step(self, event: ev.Event) -> None:
        core = self._core
        if core is None or not self._active:
            return
        try:
            self._perform(core.step(self._clock.monotonic_ms(), event))
        except Exception as error:  # noqa: BLE001
            self._fail(error)
            return
        self._settle()

    def _settle(self) -> None:
        """After a step: tell listeners and waiters, set the timer."""
        self._deliver()
        self._rearm()

    def _rearm(self) -> None:
        core = self._core
        if core is None or not self._active:
            return
        at_ms = core.next_wakeup_ms()
        if self._timer is not None:
            if at_ms == self._timer_at_ms:
                return
            self._timer.cancel()
            self._timer = None
        if at_ms is None:
            return
        self._timer_at_ms = at_ms
        wait_ms = max(0, at_ms - self._clock.monotonic_ms())
        self._timer = asyncio.get_running_loop().call_later(wait_ms / 1000, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._step(ev.Tick())

    # -- effects --------------------------------------------------------------------------------

    def _perform(self, effects: Sequence[fx.Effect]) -> None:
        for effect in effects:
            match effect:
                case fx.PersistState() | fx.Send():
                    self._outbox.append(effect)
                case fx.Reply():
                    self._outbox.append(replace(effect, response=self._fill(effect.response)))
                case fx.LeaderChanged():
                    self._on_leader_changed(effect.leader)
                case fx.Trace():
                    logger.info("quorum: %s (epoch %d)", effect.text, effect.epoch)
                case fx.HighWatermarkAdvanced():
                    pass  # delivery follows the core's high watermark once the step is complete
                case _:
                    self._store(effect)
        self._drain()

    def _store(self, effect: fx.Effect) -> None:
        log = self._log
        match effect:
            case fx.AppendLeaderChange():
                log.append_leader_change(effect, self._clock.wall_ms())
            case fx.AppendRecords():
                log.append_records(effect, self._clock.wall_ms())
            case fx.AppendFetched():
                log.append_fetched(effect)
            case fx.TruncateLog():
                assert not self._flushing, "a follower fetches only when all is flushed"
                log.truncate_to(effect.offset)
                self._flushed = self._flush_wanted = min(self._flushed, effect.offset)
            case fx.TrimLog():
                self._trim_to = effect.start_offset
                self._trim()
            case fx.FlushLog():
                self._flush_wanted = effect.upto
                if not self._flushing:
                    self._flushing = True
                    self._spawn(self._flush(), self._tasks)
            case fx.WriteSnapshotChunk():
                log.snapshots.write_chunk(effect.snapshot_id, effect.position, effect.data)
            case fx.InstallSnapshot():
                self._spawn(self._install(effect.snapshot_id), self._tasks)

    def _fill(self, response: ms.Response) -> ms.Response:
        """Put in what the core does not have: records and pieces of snapshots, as of now."""
        if isinstance(response, ms.FetchResponse) and response.read is not None:
            return replace(response, records=self._log.read(response.read))
        if isinstance(response, ms.FetchSnapshotResponse) and response.error == ErrorCode.none:
            position = response.position
            found = self._log.snapshots.read_chunk(
                response.snapshot_id, position, response.bytes_max
            )
            if found is None:
                return replace(response, error=ErrorCode.snapshot_not_found)
            size, data = found
            if not 0 <= position < size:
                return replace(response, error=ErrorCode.position_out_of_range, size=size)
            return replace(response, size=size, data=data)
        return response

    def _drain(self) -> None:
        """Let requests and answers leave, up to the first state that is not synced yet."""
        while self._outbox and not self._persisting:
            effect = self._outbox.popleft()
            if isinstance(effect, fx.PersistState):
                self._persisting = True
                self._spawn(self._persist(effect), self._tasks)
            elif isinstance(effect, fx.Send):
                self._spawn(self._send(effect), self._sends)
            else:
                answer = self._answers.get(effect.token)
                if answer is not None and not answer.done():
                    answer.set_result(effect.response)

    async def _persist(self, effect: fx.PersistState) -> None:
        try:
            await self._offload.run(lambda: self._state_file.write(effect.state), urgent=True)
        except Exception as error:  # noqa: BLE001
            self._fail(error)
            return
        self._persisting = False
        self._drain()

    async def _send(self, effect: fx.Send) -> None:
        peer, send_id = effect.to, effect.send_id
        try:
            api_key, body = encode_peer_request(self._me, peer, effect.request)
            answer = await self._peers.request(
                peer, api_key, VERSIONS[api_key], body, effect.timeout_ms
            )
            response = decode_peer_response(api_key, answer)
            if isinstance(response, ms.FetchResponse) and response.records:
                records = response.records
                assert isinstance(records, bytes | memoryview)
                response = replace(response, batches=spans(records))
        except PeerRefused:
            self._step(ev.Failed(peer=peer, send_id=send_id, refused=True))
        except LogctlError as error:
            logger.debug("request to node %d failed: %s", peer, error)
            self._step(ev.Failed(peer=peer, send_id=send_id))
        except Exception:
            # The core waits for exactly one outcome, whatever the peer wrote.
            logger.exception("request to node %d failed", peer)
            self._step(ev.Failed(peer=peer, send_id=send_id))
        else:
            self._step(ev.Answered(peer=peer, send_id=send_id, response=response))

    async def _flush(self) -> None:
        """Sync until everything wanted is; what is appended during a sync shares the next."""
        try:
            while self._active and self._flushed < self._flush_wanted:
                upto = self._log.end_offset
                await self._offload.run(self._log.flush, urgent=True)
                self._flushed = max(self._flushed, upto)
                self._step(ev.Flushed(offset=upto))
        except Exception as error:  # noqa: BLE001
            self._fail(error)
        finally:
            self._flushing = False
        self._trim()

    def _trim(self) -> None:
        if self._trim_to and not self._flushing and self._active:
            self._log.trim_to(self._trim_to)
            self._trim_to = 0

    # -- delivery -------------------------------------------------------------------------------

    def _on_leader_changed(self, leader: LeaderAndEpoch) -> None:
        core = self._core
        assert core is not None
        role = core.role
        # A new leader decides only on top of everything earlier, its LeaderChange included.
        deliver_from = role.epoch_start_offset + 1 if isinstance(role, Leader) else 0
        self._delivery.leader_changed(leader, deliver_from)
        for waiter, (_, epoch) in list(self._waiters.items()):
            if not waiter.done() and (not core.is_leader or epoch != leader.epoch):
                waiter.set_exception(NotQuorumLeader(leader))

    def _deliver(self) -> None:
        core = self._core
        if self._delivering or core is None or not self._active or core.installing:
            return
        self._delivering = True
        more = False
        try:
            # A listener may append, and what it appends may be committed at once.
            while self._active:
                before = (core.high_watermark, core.leader)
                more = self._delivery.advance(core.high_watermark)
                if more or before == (core.high_watermark, core.leader):
                    break
        except Exception as error:  # noqa: BLE001
            self._fail(error)
        finally:
            self._delivering = False
        if more and not self._delivery_due:
            self._delivery_due = True
            asyncio.get_running_loop().call_soon(self._deliver_more)
        for waiter, (offset, _) in list(self._waiters.items()):
            if offset < self._delivery.position and not waiter.done():
                waiter.set_result(None)
        self._consider_snapshot()

    def _deliver_more(self) -> None:
        self._delivery_due = False
        self._deliver()

    # -- snapshots ------------------------------------------------------------------------------

    def _consider_snapshot(self) -> None:
        if (
            self._snapshot_source is None
            or self._snapshotting
            or not self._active
            or not self._snapshot_due()
        ):
            return
        end_offset, epoch, records = self._snapshot_source()
        if end_offset > self._delivery.position or end_offset <= self._log.snapshot_end_offset:
            return
        self._delivery.snapshot_begun()
        self._snapshotting = True
        self._spawn(self._write_snapshot(SnapshotId(end_offset, epoch), records), self._tasks)

    def _snapshot_due(self) -> bool:
        """By size, or because a record has waited long enough: a start replays what none holds."""
        delivery, config = self._delivery, self._config
        if delivery.bytes_since_snapshot >= config.snapshot_log_bytes:
            return True
        if not config.snapshot_interval_ms or not delivery.bytes_since_snapshot:
            return False
        waited_ms = self._clock.wall_ms() - delivery.oldest_unsaved_ms
        return waited_ms >= config.snapshot_interval_ms

    async def _write_snapshot(self, snapshot_id: SnapshotId, records: Records) -> None:
        timestamp_ms = self._delivery.last_timestamp_ms
        snapshots = self._log.snapshots
        try:
            await self._offload.run(lambda: snapshots.write(snapshot_id, records(), timestamp_ms))
            if self._active:
                trim_to = self._log.note_snapshot(snapshot_id)
                self._step(ev.SnapshotWritten(snapshot_id=snapshot_id, trim_to=trim_to))
                await self._offload.run(snapshots.remove_older)
        except Exception as error:  # noqa: BLE001
            # The log still has everything; the next threshold tries again.
            logger.error("snapshot at offset %d was not written: %s", snapshot_id.end_offset, error)
        finally:
            self._snapshotting = False

    async def _install(self, snapshot_id: SnapshotId) -> None:
        try:
            loaded = await self._offload.run(
                lambda: self._log.snapshots.finish(snapshot_id), urgent=True
            )
            if not self._active:
                return
            self._log.reset_to(snapshot_id)
            self._flushed = self._flush_wanted = snapshot_id.end_offset
            self._delivery.install(loaded)
        except Exception as error:  # noqa: BLE001
            self._fail(error)
            return
        self._step(ev.SnapshotInstalled(snapshot_id=snapshot_id))
        await self._offload.run(self._log.snapshots.remove_older)
