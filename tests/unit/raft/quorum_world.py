"""Several pure cores on virtual time: a network that loses and delays, disks that forget, checkers.

One seed decides everything. Used by the random test and by the scenarios.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from random import Random
from typing import Any

from broker.protocol.errors import ErrorCode
from broker.raft import effects as fx
from broker.raft import events as ev
from broker.raft import messages as ms
from broker.raft.core import Quorum
from broker.raft.log_state import LogState
from broker.raft.roles import Leader
from broker.raft.types import ElectionState, QuorumConfig, SnapshotId

Entry = tuple[int, str]  # epoch, payload


class InvariantBroken(AssertionError):
    """A safety rule of the quorum does not hold."""


@dataclass
class Faults:
    """How bad the world is; times in milliseconds."""

    loss: float = 0.0
    duplicate: float = 0.0
    delay_ms_max: int = 5
    slow: float = 0.0
    slow_ms_max: int = 600
    flush_ms_max: int = 5
    persist_ms_max: int = 5
    reply_before_persist: bool = False
    """A deliberate bug of the performer."""


@dataclass
class Disk:
    """What one node has stored; ``entries[i]`` has offset ``base + i``."""

    base: int = 0
    entries: list[Entry] = field(default_factory=list)
    flushed: int = 0
    state: ElectionState = field(default_factory=ElectionState)
    snapshot: SnapshotId | None = None

    @property
    def end(self) -> int:
        return self.base + len(self.entries)

    def at(self, offset: int) -> Entry:
        return self.entries[offset - self.base]

    def epochs(self) -> list[tuple[int, int]]:
        found: list[tuple[int, int]] = []
        for index, (epoch, _) in enumerate(self.entries):
            if not found or found[-1][0] != epoch:
                found.append((epoch, self.base + index))
        return found


class SimNode:
    """A core, its disk, and the performer of its effects."""

    def __init__(self, world: World, node_id: int) -> None:
        self.world = world
        self.id = node_id
        self.disk = Disk()
        self.core: Quorum | None = None
        self.life = 0
        self.flushing = False
        self.flush_wanted = 0
        self.outbox: list[fx.Effect] = []
        self.persisting = False
        self.part: dict[SnapshotId, bytes] = {}
        self.wake_at: int | None = None
        self.installing: SnapshotId | None = None
        self.high_watermark = 0
        self.leaders: list[Any] = []
        self.traces: list[str] = []

    # -- life -------------------------------------------------------------------------------

    def boot(self) -> None:
        world, disk = self.world, self.disk
        self.life += 1
        self.flushing = self.persisting = False
        self.outbox, self.part, self.wake_at, self.installing = [], {}, None, None
        if disk.snapshot is not None and disk.snapshot.end_offset > disk.end:
            disk.base, disk.entries = disk.snapshot.end_offset, []
        disk.flushed = self.flush_wanted = disk.end
        log = LogState(
            start_offset=disk.base,
            end_offset=disk.end,
            epochs=disk.epochs(),
            snapshot=disk.snapshot,
        )
        self.core = Quorum(
            node_id=self.id,
            voters=world.voters,
            config=world.config,
            rng=Random(f"{world.seed}/{self.id}/{self.life}"),
            log=log,
            state=disk.state,
            now_ms=world.now,
            deliberate_bugs=world.bugs,
        )
        self.high_watermark = self.core.high_watermark
        self._perform(self.core.start(world.now))
        self._rearm()

    def crash(self) -> None:
        """Lose what was not synced, or some of it."""
        assert self.core is not None
        rng, disk = self.world.rng, self.disk
        self.core = None
        self.life += 1
        kept = rng.randint(min(disk.flushed, disk.end), disk.end)
        del disk.entries[kept - disk.base :]
        for effect in self.outbox:
            if isinstance(effect, fx.PersistState):
                if rng.random() < 0.5:
                    disk.state = effect.state
                break

    # -- events -----------------------------------------------------------------------------

    def step(self, event: ev.Event) -> None:
        if self.core is None:
            return
        epoch = self.core.epoch
        self._perform(self.core.step(self.world.now, event))
        if self.core.epoch < epoch:
            raise InvariantBroken(f"MonotonicEpoch: node {self.id}")
        self._rearm()
        self.world.check(self)

    def _rearm(self) -> None:
        assert self.core is not None
        at = self.core.next_wakeup_ms()
        if at is not None and (self.wake_at is None or at < self.wake_at):
            self.wake_at = at
            self.world.after(max(0, at - self.world.now), self._tick, self.life, at)

    def _tick(self, life: int, at: int) -> None:
        if life == self.life and self.core is not None:
            if self.wake_at == at:
                self.wake_at = None
            self.step(ev.Tick())

    # -- effects ----------------------------------------------------------------------------

    def _perform(self, effects: list[fx.Effect]) -> None:
        for effect in effects:
            self._perform_one(effect)
        self._drain()

    def _perform_one(self, effect: fx.Effect) -> None:
        match effect:
            case fx.PersistState() | fx.Send():
                self.outbox.append(effect)
            case fx.Reply(token=token, response=response):
                self.outbox.append(fx.Reply(token=token, response=self._resolve(response)))
            case fx.HighWatermarkAdvanced(offset=offset):
                if offset <= self.high_watermark:
                    raise InvariantBroken(f"MonotonicHighWatermark: node {self.id}")
                self.high_watermark = offset
            case fx.LeaderChanged(leader=leader):
                self.leaders.append(leader)
            case fx.Trace(text=text):
                self.traces.append(text)
            case _:
                self._store(effect)

    def _store(self, effect: fx.Effect) -> None:
        disk = self.disk
        match effect:
            case fx.AppendLeaderChange(base_offset=base, epoch=epoch):
                assert base == disk.end
                disk.entries.append((epoch, "leader change"))
            case fx.AppendRecords(base_offset=base, epoch=epoch, payload=payload):
                assert base == disk.end
                disk.entries.extend((epoch, text) for text in payload)
            case fx.AppendFetched(batches=batches, records=records):
                assert batches[0].base_offset == disk.end
                disk.entries.extend(records)
            case fx.TruncateLog(offset=offset):
                assert not self.flushing
                if offset < self.high_watermark:
                    raise InvariantBroken(f"node {self.id} truncates committed records")
                del disk.entries[offset - disk.base :]
                disk.flushed = self.flush_wanted = min(disk.flushed, offset)
            case fx.TrimLog(start_offset=start):
                del disk.entries[: start - disk.base]
                disk.base = start
                disk.flushed = max(disk.flushed, start)
            case fx.FlushLog(upto=upto):
                self.flush_wanted = upto
                self._flush()
            case fx.WriteSnapshotChunk(snapshot_id=snapshot_id, position=position, data=data):
                self.part[snapshot_id] = self.part.get(snapshot_id, b"")[:position] + data
            case fx.InstallSnapshot(snapshot_id=snapshot_id):
                assert self.part[snapshot_id] == self.world.snapshots[snapshot_id]
                wait_ms = self.world.rng.randint(0, 20)
                self.world.after(wait_ms, self._install, self.life, snapshot_id)

    def _resolve(self, response: ms.Response) -> ms.Response:
        if isinstance(response, ms.FetchResponse) and response.read is not None:
            offset, disk = response.read.offset, self.disk
            records = disk.entries[offset - disk.base : response.read.upto - disk.base][:20]
            spans: list[ms.BatchSpan] = []
            for index, (epoch, _) in enumerate(records):
                at = offset + index
                spans.append(ms.BatchSpan(base_offset=at, last_offset=at, epoch=epoch))
            return ms.FetchResponse(
                epoch=response.epoch,
                leader_id=response.leader_id,
                high_watermark=response.high_watermark,
                log_start_offset=response.log_start_offset,
                batches=tuple(spans),
                records=records,
            )
        if isinstance(response, ms.FetchSnapshotResponse) and response.error == ErrorCode.none:
            content = self.world.snapshots.get(response.snapshot_id)
            known = self.disk.snapshot == response.snapshot_id and content is not None
            return ms.FetchSnapshotResponse(
                error=ErrorCode.none if known else ErrorCode.snapshot_not_found,
                epoch=response.epoch,
                leader_id=response.leader_id,
                snapshot_id=response.snapshot_id,
                position=response.position,
                size=len(content or b""),
                data=(content or b"")[response.position : response.position + 64],
            )
        return response

    def _drain(self) -> None:
        while self.outbox and not self.persisting:
            effect = self.outbox[0]
            if isinstance(effect, fx.PersistState):
                faults = self.world.faults
                if faults.reply_before_persist:
                    self.outbox.pop(0)
                    wait_ms = self.world.rng.randint(0, 300)
                    self.world.after(wait_ms, self._persist_late, self.life, effect.state)
                    continue
                self.persisting = True
                wait_ms = self.world.rng.randint(0, faults.persist_ms_max)
                self.world.after(wait_ms, self._persisted, self.life)
                return
            self.outbox.pop(0)
            if isinstance(effect, fx.Send):
                self.world.send(self, effect)
            elif isinstance(effect, fx.Reply):
                self.world.reply(self, effect)

    def _persist_late(self, life: int, state: ElectionState) -> None:
        if life == self.life:
            self.disk.state = state

    def _persisted(self, life: int) -> None:
        if life != self.life or self.core is None:
            return
        effect = self.outbox.pop(0)
        assert isinstance(effect, fx.PersistState)
        self.disk.state = effect.state
        self.persisting = False
        self._drain()

    def _flush(self) -> None:
        if self.flushing or self.flush_wanted <= self.disk.flushed:
            return
        self.flushing = True
        wait_ms = self.world.rng.randint(0, self.world.faults.flush_ms_max)
        self.world.after(wait_ms, self._flushed, self.life, self.disk.end)

    def _flushed(self, life: int, upto: int) -> None:
        if life != self.life or self.core is None:
            return
        self.flushing = False
        self.disk.flushed = max(self.disk.flushed, upto)
        self.step(ev.Flushed(offset=upto))
        self._flush()

    def _install(self, life: int, snapshot_id: SnapshotId) -> None:
        if life != self.life or self.core is None:
            return
        disk = self.disk
        disk.snapshot = snapshot_id
        disk.base, disk.entries = snapshot_id.end_offset, []
        disk.flushed = self.flush_wanted = disk.end
        self.step(ev.SnapshotInstalled(snapshot_id=snapshot_id))

    def take_snapshot(self, *, trim: bool = False) -> None:
        """Write a snapshot of everything below the high watermark; keep the log, or some of it."""
        core, disk = self.core, self.disk
        saved = disk.base if disk.snapshot is None else disk.snapshot.end_offset
        if core is None or core.installing or self.high_watermark <= saved:
            return
        end = self.high_watermark
        snapshot_id = SnapshotId(end, disk.at(end - 1)[0])
        self.world.snapshots[snapshot_id] = repr(self.world.canonical[:end]).encode()[-300:]
        disk.snapshot = snapshot_id
        # The log may be kept, or shortened to any snapshot that there was.
        trim_to = end if trim else self.world.rng.choice((disk.base, saved, end))
        self.step(ev.SnapshotWritten(snapshot_id=snapshot_id, trim_to=trim_to))


class World:
    """Virtual time, the network, and the checkers."""

    def __init__(
        self,
        seed: int | str,
        voters: int = 3,
        *,
        observers: int = 0,
        faults: Faults | None = None,
        bugs: frozenset[str] = frozenset(),
        config: QuorumConfig | None = None,
    ) -> None:
        self.seed = seed
        self.rng = Random(f"{seed}")
        self.voters = tuple(range(1, voters + 1))
        self.config = config or QuorumConfig()
        self.faults = faults or Faults()
        self.bugs = bugs
        self.now = 0
        self._heap: list[tuple[int, int, Any, tuple[Any, ...]]] = []
        self._sequence = 0
        self._tokens = 0
        self._callers: dict[int, tuple[int, int, int, int]] = {}
        self.replies: dict[int, ms.Response] = {}
        self.cut: set[tuple[int, int]] = set()
        self.snapshots: dict[SnapshotId, bytes] = {}
        self.canonical: list[Entry] = []
        self.leader_of_epoch: dict[int, int] = {}
        self.appended = 0
        self.nodes = {i: SimNode(self, i) for i in range(1, voters + observers + 1)}

    # -- time -------------------------------------------------------------------------------

    def after(self, wait_ms: int, fn: Any, *args: Any) -> None:
        self._sequence += 1
        heapq.heappush(self._heap, (self.now + wait_ms, self._sequence, fn, args))

    def run(self, for_ms: int, until: Any = None) -> bool:
        """Run for so long, or until ``until()`` holds; tells whether it does."""
        end = self.now + for_ms
        while self._heap and self._heap[0][0] <= end:
            if until is not None and until():
                return True
            at, _, fn, args = heapq.heappop(self._heap)
            self.now = at
            fn(*args)
        if until is not None and until():
            return True
        self.now = end
        return False

    # -- network ----------------------------------------------------------------------------

    def _delay(self) -> int:
        if self.rng.random() < self.faults.slow:
            return self.rng.randint(0, self.faults.slow_ms_max)
        return self.rng.randint(0, self.faults.delay_ms_max)

    def _lost(self, a: int, b: int) -> bool:
        return (a, b) in self.cut or self.rng.random() < self.faults.loss

    def send(self, node: SimNode, effect: fx.Send) -> None:
        target = self.nodes[effect.to]
        self._tokens += 1
        token = self._tokens
        self._callers[token] = (node.id, node.life, effect.send_id, effect.to)
        self.after(effect.timeout_ms, self._fail, token, False)
        if self._lost(node.id, effect.to):
            return
        if target.core is None:
            self.after(self._delay(), self._fail, token, True)
            return
        request = effect.request
        self.after(self._delay(), self._arrive, target, target.life, token, request)
        if self.rng.random() < self.faults.duplicate:
            self.after(self._delay() + 1, self._arrive, target, target.life, -token, request)

    def _arrive(self, target: SimNode, life: int, token: int, request: ms.Request) -> None:
        if target.core is None or target.life != life:
            self._fail(token, False)
            return
        target.step(ev.Received(token=token, request=request))

    def ask(self, node_id: int, request: ms.Request) -> int:
        """A request from outside; its answer appears in ``replies``."""
        self._tokens += 1
        self._callers[self._tokens] = (0, 0, 0, 0)
        self.nodes[node_id].step(ev.Received(token=self._tokens, request=request))
        return self._tokens

    def reply(self, node: SimNode, effect: fx.Reply) -> None:
        caller = self._callers.get(effect.token)
        if caller is None:
            return
        if caller[0] == 0:
            self.replies[effect.token] = effect.response
            return
        if self._lost(node.id, caller[0]):
            return
        self.after(self._delay(), self._answer, effect.token, effect.response)

    def _answer(self, token: int, response: ms.Response) -> None:
        caller = self._callers.pop(token, None)
        if caller is None:
            return
        node_id, life, send_id, peer = caller
        if self.nodes[node_id].life == life:
            self.nodes[node_id].step(ev.Answered(peer=peer, send_id=send_id, response=response))

    def _fail(self, token: int, refused: bool) -> None:
        caller = self._callers.pop(token, None)
        if caller is None:
            return
        node_id, life, send_id, peer = caller
        if self.nodes[node_id].life == life:
            self.nodes[node_id].step(ev.Failed(peer=peer, send_id=send_id, refused=refused))

    # -- shortcuts --------------------------------------------------------------------------

    def boot_all(self) -> None:
        for node in self.nodes.values():
            node.boot()

    def leader(self) -> SimNode | None:
        """The leader of the newest epoch, if any."""
        leading = [n for n in self.nodes.values() if n.core is not None and n.core.is_leader]
        return max(leading, key=lambda n: n.core.epoch if n.core else -1, default=None)

    def append(self, node: SimNode, count: int = 1) -> int:
        core = node.core
        assert core is not None
        payload = tuple(f"r{self.appended + i}" for i in range(count))
        self.appended += count
        base = core.log.end_offset
        node.step(ev.AppendRequested(epoch=core.epoch, records_count=count, payload=payload))
        return base + count - 1

    def isolate(self, node_id: int) -> None:
        for other in self.nodes:
            if other != node_id:
                self.cut |= {(node_id, other), (other, node_id)}

    def heal(self) -> None:
        self.cut.clear()

    def caught_up(self) -> bool:
        """Everybody knows the same committed log, and the leader has nothing uncommitted."""
        leader = self.leader()
        if leader is None or leader.core is None:
            return False
        end = leader.disk.end
        return all(
            n.core is not None and n.high_watermark == end and n.disk.end == end
            for n in self.nodes.values()
        )

    # -- checkers ---------------------------------------------------------------------------

    def check(self, node: SimNode) -> None:
        core = node.core
        assert core is not None
        if isinstance(core.role, Leader):
            first = self.leader_of_epoch.setdefault(core.epoch, node.id)
            if first != node.id:
                raise InvariantBroken(f"SingleLeaderPerEpoch: {first}, {node.id} in {core.epoch}")
        canonical, disk = self.canonical, node.disk
        if node.high_watermark > disk.end:
            raise InvariantBroken(f"node {node.id}: high watermark beyond its log")
        if node.high_watermark > len(canonical):
            self._extend(node, core)
        checked = min(node.high_watermark, disk.end)
        if checked > disk.base and disk.at(checked - 1) != canonical[checked - 1]:
            raise InvariantBroken(f"ConsistentCommittedData: node {node.id} at {checked - 1}")
        self._check_majority()

    def _extend(self, node: SimNode, core: Quorum) -> None:
        if not core.is_leader:
            raise InvariantBroken(f"node {node.id}: a follower commits first")
        if node.disk.at(node.high_watermark - 1)[0] != core.epoch:
            raise InvariantBroken(f"CommitsByCurrentEpoch: node {node.id}")
        self.canonical.extend(
            node.disk.at(o) for o in range(len(self.canonical), node.high_watermark)
        )

    def _check_majority(self) -> None:
        committed = len(self.canonical)
        if not committed:
            return
        last = self.canonical[-1]
        holders = 0
        for voter in self.voters:
            disk = self.nodes[voter].disk
            if disk.base >= committed or (
                disk.flushed >= committed and disk.at(committed - 1) == last
            ):
                holders += 1
        if holders < len(self.voters) // 2 + 1:
            raise InvariantBroken(f"MajorityReachedHighWatermark: {committed} on {holders}")

    def check_all(self) -> None:
        """Compare every committed record of every node with the one history."""
        for node in self.nodes.values():
            disk = node.disk
            for offset in range(disk.base, min(node.high_watermark, disk.end)):
                if disk.at(offset) != self.canonical[offset]:
                    raise InvariantBroken(f"ConsistentCommittedData: node {node.id} at {offset}")
