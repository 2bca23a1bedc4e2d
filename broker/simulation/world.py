"""A simulated cluster: whole brokers on one virtual loop, with disks and links that fail.

A node is the real broker object with simulated doors. Killing one cancels what it was doing and
gives its next incarnation doors of its own, so a dead process can't reach the living; a supervisor
starts again what fails by itself. The world must never look at wall clocks or global randomness:
one seed is one run.
"""

import asyncio
import contextvars
import random
from collections.abc import Callable, Coroutine, Generator
from dataclasses import dataclass, field
from typing import Any, TextIO, cast

from broker.config import BrokerConfig
from broker.protocol.errors import LogctlError
from broker.server import Broker
from broker.simulation.checkers import (
    HistoryListener,
    MetadataHistory,
    QuorumChecker,
)
from broker.simulation.disk import SimDisk
from broker.simulation.guard import OutOfTime
from broker.simulation.loop import InlineOffload, SimulatedClock, SimulatedLoop
from broker.simulation.network import NodeNetwork, SimulatedNetwork
from broker.simulation.partition_checker import PartitionChecker
from broker.simulation.trace import TraceHandler, tracing
from broker.simulation.violations import SafetyViolation
from broker.simulation.workload import Address, Client
from broker.storage.disk import Disk
from broker.storage.errors import StorageFailure

CLIENT_PORT = 9092
CONTROLLER_PORT = 9093
START_RETRY_S = 0.2

_current_process: contextvars.ContextVar["Process | None"] = contextvars.ContextVar(
    "current_process", default=None
)


@dataclass(frozen=True, slots=True)
class Topology:
    """Which nodes there are: quorum voters and brokers, which may be the same nodes."""

    voters: tuple[int, ...]
    brokers: tuple[int, ...]

    @property
    def nodes(self) -> tuple[int, ...]:
        """Every node, sorted."""
        return tuple(sorted({*self.voters, *self.brokers}))

    def roles(self, node: int) -> str:
        """The node's process.roles."""
        roles = [("broker", self.brokers), ("controller", self.voters)]
        return ",".join(role for role, nodes in roles if node in nodes)


COMBINED = Topology((1, 2, 3), (1, 2, 3))
SEPARATE = Topology((1, 2, 3), (4, 5, 6, 7))


@dataclass(eq=False)
class Process:
    """One incarnation of a node; everything it started dies with it."""

    node: int
    incarnation: int
    door: NodeNetwork
    disk: "ProcessDisk"
    broker: "WatchedBroker"
    ended: asyncio.Event
    # A dict for its order: tasks are cancelled in the order of their creation.
    tasks: "dict[asyncio.Task[Any], None]" = field(default_factory=dict)
    alive: bool = True
    booted: bool = False
    paused: bool = False
    backlog: list[asyncio.Handle] = field(default_factory=list)


class WatchedBroker(Broker):
    """The real broker, whose committed metadata is compared with that of the others."""

    history: HistoryListener

    def _compose(self) -> None:
        super()._compose()
        self.quorum.add_listener(self.history)


class ProcessDisk:
    """A machine's disk as one process sees it: dead when the process is.

    What a dead process still tries in its last breath must not reach its successor's files.
    """

    def __init__(self, disk: SimDisk) -> None:
        self._disk = disk
        self.alive = True

    def __getattr__(self, name: str) -> Any:
        if not self.alive:
            raise StorageFailure("/", name, 5, "the process is dead")
        return getattr(self._disk, name)


class World:
    """The nodes of a topology, and the faults that can be done to them.

    `trace` is where the brokers' log lines go; None silences them.
    """

    def __init__(
        self,
        seed: int,
        topology: Topology = COMBINED,
        settings: dict[str, str] | None = None,
        trace: TextIO | None = None,
    ) -> None:
        self.seed = seed
        self.topology = topology
        self.nodes = topology.nodes
        self.rng = random.Random(f"world-{seed}")
        self.loop = SimulatedLoop(random.Random(f"loop-{seed}"))
        self.loop.set_task_factory(_track_task)
        self.loop.set_exception_handler(self._on_loop_exception)
        self.loop.gate = _may_run
        self.loop.disk_delay = self._disk_delay_s
        self.network = SimulatedNetwork(self.loop, random.Random(f"network-{seed}"))
        self.settings = settings or {}
        self.quorum_checker = QuorumChecker()
        self.partition_checker = PartitionChecker()
        self.history = MetadataHistory()
        self.processes: dict[int, Process] = {}
        self.errors: list[str] = []
        # What ended a process by itself, in order: it is legal after a disk's fault only.
        self.exits: list[str] = []
        self.disks = {node: SimDisk() for node in self.nodes}
        self.slow_disk_s = dict.fromkeys(self.nodes, 0.0)
        self.clocks = {node: SimulatedClock(self.loop) for node in self.nodes}
        self._wanted: set[int] = set()
        self._supervisors: dict[int, asyncio.Task[None]] = {}
        self._incarnations = dict.fromkeys(self.nodes, 0)
        self._clients = 0
        self._trace = trace

    # -- processes

    def config(self, node: int) -> BrokerConfig:
        """The configuration of one node."""
        roles = self.topology.roles(node)
        named = {
            "broker": ("PLAINTEXT", CLIENT_PORT),
            "controller": ("CONTROLLER", CONTROLLER_PORT),
        }
        listeners = [named[role] for role in roles.split(",")]
        voters = ",".join(f"{n}@node{n}:{CONTROLLER_PORT}" for n in self.topology.voters)
        return BrokerConfig.from_properties(
            {
                "node.id": str(node),
                "cluster.id": "simulated-cluster-0000",
                "process.roles": roles,
                "listeners": ",".join(f"{name}://node{node}:{port}" for name, port in listeners),
                "controller.listener.names": "CONTROLLER",
                "controller.quorum.voters": voters,
                "log.dirs": "/data",
                **self.settings,
            }
        )

    def start(self, node: int) -> None:
        """Keep the node running from now on; its folder is what its last life left."""
        if node not in self._wanted:
            self._wanted.add(node)
            before = self._supervisors.get(node)
            context = contextvars.Context()
            self._supervisors[node] = self.loop.create_task(
                self._supervise(node, before), context=context
            )

    async def _supervise(self, node: int, before: "asyncio.Task[None] | None") -> None:
        if before is not None:
            await asyncio.wait([before])
        while node in self._wanted:
            process = self._new_process(node)
            try:
                await self._run_as(process, process.broker.start())
            except (LogctlError, OSError) as error:
                self.exits.append(f"node {node} did not start: {error}")
                self._end(process)
                await asyncio.sleep(START_RETRY_S)
                continue
            process.booted = True
            failing = self.loop.create_task(process.broker.wait_failed())
            ended = self.loop.create_task(process.ended.wait())
            await asyncio.wait([failing, ended], return_when=asyncio.FIRST_COMPLETED)
            if process.alive:
                self.exits.append(f"node {node} gave up: {failing.result()}")
                self._end(process)
                await asyncio.sleep(START_RETRY_S)
            failing.cancel()
            ended.cancel()

    def _new_process(self, node: int) -> Process:
        self._incarnations[node] += 1
        incarnation = self._incarnations[node]
        door, disk = self.network.door(node), ProcessDisk(self.disks[node])
        broker = WatchedBroker(
            self.config(node),
            network=door,
            disk=cast("Disk", disk),
            clock=self.clocks[node],
            offload=InlineOffload(self.loop),
            rng=random.Random(f"node-{self.seed}-{node}-{incarnation}"),
        )
        broker.history = self.history.listener(node)
        process = Process(node, incarnation, door, disk, broker, asyncio.Event())
        door.context = contextvars.Context()
        door.context.run(_current_process.set, process)
        self.processes[node] = process
        return process

    async def _run_as(self, process: Process, work: Coroutine[Any, Any, Any]) -> None:
        """Run `work` so that every task it starts belongs to the process."""
        task = self.loop.create_task(work, context=process.door.context)
        await asyncio.wait([task])
        if process.alive and not task.cancelled():
            task.result()

    def kill(self, node: int, *, power_loss: bool) -> None:
        """Kill -9; with `power_loss` the disk also forgets what was not synced."""
        self._wanted.discard(node)
        process = self.processes.get(node)
        if process is not None:
            self._end(process)
        if power_loss:
            self.disks[node].crash(self.rng)

    def _end(self, process: Process) -> None:
        if not process.alive:
            return
        del self.processes[process.node]
        self.partition_checker.ended(process.node)
        process.alive = process.disk.alive = False
        self.disks[process.node].kill()
        process.door.kill()
        for task in list(process.tasks):
            task.cancel()
        # So that the cancelled can unwind.
        self.resume(process)
        process.ended.set()

    async def stop(self, node: int) -> None:
        """Controlled shutdown; a node that is still starting is killed."""
        self._wanted.discard(node)
        process = self.processes.get(node)
        if process is None:
            return
        if process.booted:
            await self._run_as(process, process.broker.stop(controlled=True))
        self._end(process)

    def pause(self, process: Process) -> None:
        """SIGSTOP: no callback of the process runs until `resume`; what arrives waits."""
        process.paused = True

    def resume(self, process: Process) -> None:
        """SIGCONT: everything that became due meanwhile runs now, in order."""
        process.paused = False
        backlog, process.backlog = process.backlog, []
        self.loop.requeue(backlog)

    def _disk_delay_s(self) -> float:
        process = _current_process.get()
        slow_s = self.slow_disk_s[process.node] if process is not None else 0.0
        return self.rng.uniform(0, slow_s) if slow_s else 0.0

    # -- clients

    def client(self) -> Client:
        """A client with links of its own."""
        self._clients += 1
        rng = random.Random(f"client-{self.seed}-{self._clients}")
        bootstrap: list[Address] = [(f"node{n}", CLIENT_PORT) for n in self.topology.brokers]
        return Client(self.network.door(-self._clients), bootstrap, rng)

    # -- checks

    def observe(self) -> None:
        """Check what must hold at every moment. Raises SafetyViolation."""
        for node, process in sorted(self.processes.items()):
            if not process.booted:
                continue
            broker = process.broker
            quorum = broker.quorum
            self.quorum_checker.observe(
                node,
                process.incarnation,
                quorum.leader.epoch,
                quorum.is_leader,
                quorum.high_watermark,
            )
            if broker.history.violation is not None:
                raise broker.history.violation
            if broker.replicas is not None:
                self.partition_checker.observe(node, broker.replicas)
        self.partition_checker.compare()
        if self.errors:
            raise SafetyViolation(f"unexpected error in a broker: {self.errors[0]}")

    def run(self, story: Coroutine[Any, Any, Any], report: Callable[["World"], str]) -> Any:
        """Run a story to its end and leave nothing behind; a failure carries `report` of it."""
        handler = self._trace and TraceHandler(self._trace, self.loop.time, _who)
        with tracing(handler or None):
            try:
                return self.loop.run_until_complete(story)
            except (Exception, OutOfTime) as error:
                error.add_note(report(self))
                raise
            finally:
                self.loop.callbacks_left = self.loop.CALLBACKS_MAX
                self._wanted.clear()
                for process in list(self.processes.values()):
                    self._end(process)
                leftovers = [t for t in asyncio.all_tasks(self.loop) if not t.done()]
                for task in leftovers:
                    task.cancel()
                if leftovers:
                    self.loop.run_until_complete(asyncio.wait(leftovers, timeout=5))
                self.loop.close()

    def _on_loop_exception(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        process = _current_process.get()
        if process is not None and not process.alive:
            return
        if error is not None and not isinstance(error, LogctlError | OSError):
            self.errors.append(f"{context.get('message')}: {error!r}")


def _who() -> str:
    process = _current_process.get()
    return "world" if process is None else f"{process.node}.{process.incarnation}"


def _may_run(handle: asyncio.Handle) -> bool:
    """The loop's gate: keep the callbacks of a paused process."""
    process = handle._context.get(_current_process)  # type: ignore[attr-defined]
    if process is None or not process.paused:
        return True
    process.backlog.append(handle)
    return False


def _track_task(
    loop: asyncio.AbstractEventLoop,
    coroutine: Coroutine[Any, Any, Any] | Generator[Any, None, Any],
    context: contextvars.Context | None = None,
) -> "asyncio.Task[Any]":
    task: asyncio.Task[Any] = asyncio.Task(coroutine, loop=loop, context=context)
    process = context.get(_current_process) if context is not None else _current_process.get()
    if process is not None:
        process.tasks[task] = None
        task.add_done_callback(lambda done: process.tasks.pop(done, None))
        if not process.alive:
            task.cancel()
    return task
