"""The controller's shell: decisions become records of the quorum, replies wait for the commit.

It follows the quorum: on every node it keeps the committed image, on the leader it also runs the
pure controller on top of it. It must never answer before what it decided is committed, and never
keep a decision of an epoch that ended.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Coroutine, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from broker.metadata.controller import Controller
from broker.metadata.decision import ControllerConfig, Decision
from broker.metadata.replies import refusal
from broker.protocol.api_keys import ApiKey
from broker.protocol.errors import ErrorCode, RequestTimedOut
from broker.protocol.image import (
    EMPTY_IMAGE,
    ImageDelta,
    ImageError,
    MetadataImage,
    from_snapshot,
)
from broker.protocol.metadata_records import MetadataRecord
from broker.protocol.struct import Struct
from broker.raft.types import LeaderAndEpoch
from broker.runtime.committed_images import AT_ONCE_RECORDS_MAX, CommittedImages
from broker.runtime.doors import Clock, Network
from broker.runtime.quorum import CommittedBatch, NotQuorumLeader, QuorumListener

logger = logging.getLogger("logd.controller")

COMMIT_TIMEOUT_MS: Final = 10_000
# How long a broker may take to open another connection before we ask whether it still lives.
RECONNECT_GRACE_MS: Final = 50
# How long brokers have to find a new active controller before it asks after the silent ones.
ACTIVATION_GRACE_MS: Final = 300
PROBE_INTERVAL_MS: Final = 250
PROBE_TIMEOUT_MS: Final = 1_000
TICK_MS_MAX: Final = 60_000


class Quorum(Protocol):
    """What the controller needs of the metadata quorum; `MetadataQuorum` has it."""

    @property
    def end_offset(self) -> int:
        """Where the next record goes."""
        ...

    def add_listener(self, listener: QuorumListener) -> None:
        """Deliver committed batches, snapshots and leader changes to ``listener``."""
        ...

    def append(self, epoch: int, records: Sequence[MetadataRecord]) -> int:
        """Append one batch; its last offset. Raises NotQuorumLeader."""
        ...

    async def wait_committed(self, offset: int, epoch: int, timeout_ms: int) -> None:
        """Return once ``offset`` is committed. Raises NotQuorumLeader or RequestTimedOut."""
        ...


@dataclass(frozen=True, slots=True)
class _Beat:
    """The last heartbeat of a broker: over which connection, and how many there were."""

    connection: object | None
    count: int


class ControllerService:
    """Serves the requests that only the active controller may decide."""

    def __init__(
        self,
        *,
        quorum: Quorum,
        config: ControllerConfig,
        clock: Clock,
        rng: random.Random,
        network: Network,
        static: Mapping[str, str] | None = None,
        images: CommittedImages | None = None,
    ) -> None:
        """`images` is shared with others that follow the same log."""
        if static is not None:
            config = replace(config, static=dict(static))
        self._images = images or CommittedImages()
        self._quorum = quorum
        self._config = config
        self._clock = clock
        self._rng = rng
        self._network = network
        self._controller: Controller | None = None
        self._epoch = -1
        # The node that led the quorum last, other than this one; -1 = none yet.
        self._former_leader = -1
        self._committed = EMPTY_IMAGE
        # The images after appended batches that are not committed yet, by last offset.
        self._appended: deque[tuple[int, MetadataImage]] = deque()
        self._beats: dict[int, _Beat] = {}
        self._wake = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._probing: dict[int, asyncio.Task[None]] = {}
        self._stopped = False
        self._sound = True
        quorum.add_listener(self)

    async def start(self) -> None:
        """Nothing to do until the quorum elects this node; there for symmetry."""

    async def stop(self) -> None:
        """Stop deciding and end every task."""
        self._stopped = True
        tasks = [*self._tasks]
        self._deactivate("stopping")
        await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def active(self) -> bool:
        """Whether this node decides now."""
        return self._controller is not None

    @property
    def image(self) -> MetadataImage:
        """The committed image."""
        return self._committed

    # QuorumListener

    def on_committed(self, batch: CommittedBatch) -> Generator[None, None, None] | None:
        """Advance the committed image; what we appended ourselves was applied already."""
        image: MetadataImage | None = None
        while self._appended and self._appended[0][0] <= batch.last_offset:
            image = self._appended.popleft()[1]
        if image is not None and image.offset == batch.last_offset:
            self._committed = image
            return None
        work = self._follow(batch)
        if len(batch.records) > AT_ONCE_RECORDS_MAX:
            return work
        for _ in work:
            pass
        return None

    def _follow(self, batch: CommittedBatch) -> Generator[None, None, None]:
        try:
            self._committed, _ = yield from self._images.applying(self._committed, batch)
        except ImageError:
            # Nothing may be decided on an image that missed a batch.
            self._sound = False
            self._deactivate("the committed records do not fit its image")
            raise

    def on_snapshot(self, end_offset: int, epoch: int, records: Sequence[MetadataRecord]) -> None:
        """Start over from a snapshot; only a node that is far behind gets one."""
        self._deactivate("a snapshot replaced the log")
        self._committed = from_snapshot(end_offset, epoch, records)
        self._sound = True

    def on_leader_change(self, leader: LeaderAndEpoch) -> None:
        """Take over, or step down."""
        if leader.leader_id not in (-1, self._config.node_id):
            self._former_leader = leader.leader_id
        self._deactivate(f"node {leader.leader_id} leads epoch {leader.epoch}")
        if leader.leader_id != self._config.node_id or self._stopped:
            return
        if not self._sound:
            logger.critical("this node leads the quorum but cannot decide: its image is damaged")
            return
        self._activate(leader.epoch)

    def _activate(self, epoch: int) -> None:
        now_ms = self._clock.monotonic_ms()
        self._epoch = epoch
        self._controller = Controller(self._config, self._rng)
        self._controller.activate(self._committed, now_ms)
        logger.info("active controller", extra={"epoch": epoch, "offset": self._committed.offset})
        self._beats.clear()
        try:
            self._write(self._controller.bootstrap())
        except NotQuorumLeader:
            return
        self._spawn(self._keep_time(epoch))
        self._spawn(self._probe_silent(epoch))
        if self._committed.is_unfenced(self._former_leader):
            # It lost the quorum for a reason; if its process died, its partitions wait for us.
            self._probe(self._former_leader, 0)

    def _deactivate(self, reason: str) -> None:
        if self._controller is None:
            return
        logger.info("no longer the active controller", extra={"reason": reason})
        self._controller = None
        self._appended.clear()
        self._beats.clear()
        self._probing.clear()
        current = _current_task()
        for task in [*self._tasks]:
            if task is not current:
                task.cancel()

    # Requests

    async def handle(
        self, api_key: int, version: int, request: Struct, connection: object | None = None
    ) -> Struct:
        """Decide on one request and answer once the decision is committed.

        A node that is not active, or stops being it meanwhile, answers NOT_CONTROLLER; when the
        quorum does not commit in time the answer is REQUEST_TIMED_OUT and the outcome unknown.
        """
        controller = self._controller
        if controller is None:
            return refusal(api_key, request, *_NOT_CONTROLLER)
        epoch = self._epoch
        try:
            decision = self._decide(controller, ApiKey(api_key), request, connection)
            self._write(decision)
            # Even without records: the answer may rest on what others have just appended.
            pending = self._appended[-1][0] if self._appended else -1
            if pending >= 0:
                await self._quorum.wait_committed(pending, epoch, _timeout_ms(request))
        except NotQuorumLeader:
            self._lost(epoch)
            return refusal(api_key, request, *_NOT_CONTROLLER)
        except RequestTimedOut:
            return refusal(
                api_key,
                request,
                ErrorCode.request_timed_out,
                "The controllers did not commit this in time; whether they will is unknown.",
            )
        return decision.reply

    def _decide(
        self,
        controller: Controller,
        api_key: ApiKey,
        request: Struct,
        connection: object | None,
    ) -> Decision:
        now_ms = self._clock.monotonic_ms()
        if api_key is ApiKey.BROKER_REGISTRATION:
            return controller.decide_register_broker(request, now_ms, self._quorum.end_offset)
        if api_key is ApiKey.BROKER_HEARTBEAT:
            decision = controller.decide_heartbeat(request, now_ms, self._quorum.end_offset)
            if decision.reply.error_code == ErrorCode.none:
                broker_id = request.broker_id
                self._beats[broker_id] = _Beat(connection, self._count(broker_id) + 1)
            return decision
        decide = {
            ApiKey.UNREGISTER_BROKER: controller.decide_unregister_broker,
            ApiKey.CREATE_TOPICS: controller.decide_create_topics,
            ApiKey.DELETE_TOPICS: controller.decide_delete_topics,
            ApiKey.CREATE_PARTITIONS: controller.decide_create_partitions,
            ApiKey.ALTER_PARTITION: controller.decide_alter_partition,
            ApiKey.ELECT_LEADERS: controller.decide_elect_leaders,
            ApiKey.ALTER_PARTITION_REASSIGNMENTS: (controller.decide_alter_partition_reassignments),
            ApiKey.LIST_PARTITION_REASSIGNMENTS: controller.decide_list_partition_reassignments,
            ApiKey.INCREMENTAL_ALTER_CONFIGS: controller.decide_incremental_alter_configs,
            ApiKey.ALTER_CONFIGS: controller.decide_alter_configs,
            ApiKey.UPDATE_FEATURES: controller.decide_update_features,
            ApiKey.ALLOCATE_PRODUCER_IDS: controller.decide_allocate_producer_ids,
        }[api_key]
        return decide(request, now_ms)

    def _write(self, decision: Decision) -> None:
        """Append a decision and replay it at once. Raises NotQuorumLeader."""
        controller = self._controller
        if controller is None:
            raise NotQuorumLeader(LeaderAndEpoch(-1, self._epoch))
        if decision.records:
            expected = self._quorum.end_offset
            last_offset = self._quorum.append(self._epoch, decision.records)
            base_offset = last_offset - len(decision.records) + 1
            # Broker epochs were decided from the expected offset.
            assert base_offset == expected, f"appended at {base_offset}, expected {expected}"
            now_ms = self._clock.monotonic_ms()
            try:
                delta = controller.replay(base_offset, self._epoch, decision.records, now_ms)
            except ImageError:
                # What we would decide next would rest on a wrong image.
                self._deactivate("its own records do not fit its image")
                raise
            self._appended.append((last_offset, controller.image))
            _log_changes(delta)
        self._wake.set()

    def _lost(self, epoch: int) -> None:
        if self._epoch == epoch:
            self._deactivate("the quorum has another leader")

    # Time

    async def _keep_time(self, epoch: int) -> None:
        """Run what is due, and sleep until something is."""
        while self._controller is not None and self._epoch == epoch:
            self._wake.clear()
            now_ms = self._clock.monotonic_ms()
            try:
                decision = self._controller.tick(now_ms)
                if decision.records:
                    self._write(decision)
                    # There may be more to do at once; not before others had their turn.
                    await asyncio.sleep(0)
                    continue
            except NotQuorumLeader:
                self._lost(epoch)
                return
            wakeup_ms = self._controller.next_wakeup_ms()
            wait_ms = TICK_MS_MAX if wakeup_ms is None else max(wakeup_ms - now_ms, 1)
            try:
                async with asyncio.timeout(min(wait_ms, TICK_MS_MAX) / 1000):
                    await self._wake.wait()
            except TimeoutError:
                pass

    # Brokers that may be dead

    def connection_lost(self, connection: object) -> None:
        """A connection closed: when it carried a broker's heartbeats, see whether that lives."""
        controller = self._controller
        if controller is None or connection is None:
            return
        for broker_id in sorted(self._beats):
            if self._beats[broker_id].connection is connection:
                controller.broker_disconnected(broker_id)
                self._probe(broker_id, RECONNECT_GRACE_MS)

    async def _probe_silent(self, epoch: int) -> None:
        await asyncio.sleep(ACTIVATION_GRACE_MS / 1000)
        if self._controller is None or self._epoch != epoch:
            return
        brokers = self._controller.image.brokers
        for broker_id in sorted(brokers):
            if not brokers[broker_id].fenced and self._count(broker_id) == 0:
                self._probe(broker_id, 0)

    def _probe(self, broker_id: int, grace_ms: int) -> None:
        # One that still asks on account of an earlier loss would stop at a heartbeat since then.
        running = self._probing.pop(broker_id, None)
        if running is not None:
            running.cancel()
        work = self._find_out(broker_id, self._epoch, self._count(broker_id), grace_ms)
        self._probing[broker_id] = self._spawn(work)

    async def _find_out(self, broker_id: int, epoch: int, beats: int, grace_ms: int) -> None:
        """Ask a broker's port until it heartbeats again, is fenced, or refuses: then it is dead.

        A port that accepts or does not answer proves nothing: its session decides.
        """
        deadline_ms = self._clock.monotonic_ms() + self._config.session_timeout_ms
        await asyncio.sleep(grace_ms / 1000)
        while self._clock.monotonic_ms() < deadline_ms:
            controller = self._controller
            if controller is None or self._epoch != epoch or self._count(broker_id) != beats:
                return
            broker = controller.image.brokers.get(broker_id)
            if broker is None or broker.fenced or not broker.endpoints:
                return
            endpoint = broker.endpoints[0]
            refused = await self._refuses(endpoint.host, endpoint.port)
            if refused and self._count(broker_id) == beats and self._epoch == epoch:
                self._bury(broker_id, broker.epoch, f"{endpoint.host}:{endpoint.port}")
                return
            await asyncio.sleep(PROBE_INTERVAL_MS / 1000)

    def _bury(self, broker_id: int, broker_epoch: int, address: str) -> None:
        controller = self._controller
        if controller is None:
            return
        broker = controller.image.brokers.get(broker_id)
        if broker is None or broker.epoch != broker_epoch:
            return
        logger.warning(
            "a broker is gone: nothing listens at its address any more",
            extra={"broker": broker_id, "address": address},
        )
        try:
            self._write(controller.broker_gone(broker_id, self._clock.monotonic_ms()))
        except NotQuorumLeader:
            self._lost(self._epoch)

    def _count(self, broker_id: int) -> int:
        beat = self._beats.get(broker_id)
        return 0 if beat is None else beat.count

    async def _refuses(self, host: str, port: int) -> bool:
        """Whether a connection to this address is refused: no process listens there."""
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_MS / 1000):
                transport, _ = await self._network.connect(host, port, asyncio.Protocol)
        except ConnectionRefusedError:
            return True
        except (OSError, TimeoutError):
            return False
        transport.close()
        return False

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            logger.error("a task of the controller failed", exc_info=task.exception())


_NOT_CONTROLLER: Final = (
    ErrorCode.not_controller,
    "This is not the active controller of the cluster.",
)


def _log_changes(delta: ImageDelta) -> None:
    """What an operator wants to find in the log of the active controller."""
    for broker_id, before, after in delta.brokers_changed:
        if after is None:
            word = "unregistered"
        elif before is None or before.epoch != after.epoch:
            word = "registered"
        elif after.fenced != before.fenced:
            word = "fenced" if after.fenced else "unfenced"
        else:
            word = "shutting down" if after.in_controlled_shutdown else "changed"
        logger.info("broker %s", word, extra={"broker": broker_id})
    for name, _ in delta.topics_created:
        logger.info("topic created", extra={"topic": name})
    for name, _ in delta.topics_deleted:
        logger.info("topic deleted", extra={"topic": name})
    moved = sum(
        before is not None and after is not None and before.leader != after.leader
        for _, _, before, after in delta.partitions_changed
    )
    if moved:
        logger.info("leaders moved", extra={"partitions": moved})


def _timeout_ms(request: Struct) -> int:
    asked = request.get("timeout_ms")
    return COMMIT_TIMEOUT_MS if asked is None else max(0, min(asked, COMMIT_TIMEOUT_MS))


def _current_task() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None
