"""A simulated cluster: whole brokers on one virtual loop, with disks and links that fail.

A node is the real broker object with simulated doors. Killing one cancels what it was doing and
gives its next incarnation a disk of its own, so a dead process can't reach the living. The world
must never look at wall clocks or global randomness: one seed is one run.
"""

import asyncio
import contextvars
import logging
import random
from collections.abc import Coroutine, Generator
from dataclasses import dataclass, field
from typing import Any, cast

from broker.config import BrokerConfig
from broker.protocol.errors import LogctlError
from broker.runtime.quorum import MetadataQuorum
from broker.server import Broker
from broker.simulation.checkers import (
    HistoryListener,
    MetadataHistory,
    QuorumChecker,
    SafetyViolation,
)
from broker.simulation.disk import SimDisk
from broker.simulation.loop import InlineOffload, SimulatedClock, SimulatedLoop
from broker.simulation.network import NodeNetwork, SimulatedNetwork
from broker.simulation.workload import Address, Client
from broker.storage.disk import Disk
from broker.storage.errors import StorageFailure

CLIENT_PORT = 9092
CONTROLLER_PORT = 9093
START_RETRY_S = 0.2

_current_process: contextvars.ContextVar["Process | None"] = contextvars.ContextVar(
    "current_process", default=None
)


@dataclass(eq=False)
class Process:
    """One incarnation of a node; everything it started dies with it."""

    node: int
    incarnation: int
    door: NodeNetwork
    disk: "ProcessDisk"
    broker: Broker
    tasks: set["asyncio.Task[Any]"] = field(default_factory=set)
    alive: bool = True


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
    """Brokers 1..n, each also a quorum voter, and the faults that can be done to them."""

    def __init__(self, seed: int, nodes: int = 3, settings: dict[str, str] | None = None) -> None:
        self.seed = seed
        self.rng = random.Random(f"world-{seed}")
        self.loop = SimulatedLoop(random.Random(f"loop-{seed}"))
        self.loop.set_task_factory(_track_task)
        self.loop.set_exception_handler(self._on_loop_exception)
        self.network = SimulatedNetwork(self.loop, random.Random(f"network-{seed}"))
        self.nodes = tuple(range(1, nodes + 1))
        self.settings = settings or {}
        self.quorum_checker = QuorumChecker()
        self.history = MetadataHistory()
        self.processes: dict[int, Process] = {}
        self.errors: list[str] = []
        self._disks = {node: SimDisk() for node in self.nodes}
        self._incarnations = dict.fromkeys(self.nodes, 0)
        self._clients = 0

    # -- processes

    def config(self, node: int) -> BrokerConfig:
        """The configuration of one node."""
        voters = ",".join(f"{n}@node{n}:{CONTROLLER_PORT}" for n in self.nodes)
        return BrokerConfig.from_properties(
            {
                "node.id": str(node),
                "cluster.id": "simulated-cluster-0000",
                "process.roles": "broker,controller",
                "listeners": f"PLAINTEXT://node{node}:{CLIENT_PORT},"
                f"CONTROLLER://node{node}:{CONTROLLER_PORT}",
                "controller.listener.names": "CONTROLLER",
                "controller.quorum.voters": voters,
                "log.dirs": "/data",
                **self.settings,
            }
        )

    async def start(self, node: int) -> None:
        """Start a node that is not running; its folder is what its last life left."""
        assert node not in self.processes
        self._incarnations[node] += 1
        incarnation = self._incarnations[node]
        door, disk = self.network.door(node), ProcessDisk(self._disks[node])
        broker = WatchedBroker(
            self.config(node),
            network=door,
            disk=cast("Disk", disk),
            clock=SimulatedClock(self.loop),
            offload=InlineOffload(self.loop),
            rng=random.Random(f"node-{self.seed}-{node}-{incarnation}"),
        )
        broker.history = self.history.listener(node)
        process = Process(node, incarnation, door, disk, broker)
        door.context = contextvars.copy_context()
        door.context.run(_current_process.set, process)
        self.processes[node] = process
        await self._run_as(process, self._boot(process))

    async def _boot(self, process: Process) -> None:
        await process.broker.start()

    async def _run_as(self, process: Process, work: Coroutine[Any, Any, None]) -> None:
        """Run `work` so that every task it starts belongs to the process."""
        task = self.loop.create_task(work, context=process.door.context)
        try:
            await task
        except asyncio.CancelledError:
            if process.alive:
                raise

    def kill(self, node: int, *, power_loss: bool) -> None:
        """Kill -9; with `power_loss` the disk also forgets what was not synced."""
        process = self.processes.pop(node)
        process.alive = process.disk.alive = False
        if power_loss:
            self._disks[node].crash(self.rng)
        else:
            self._disks[node].kill()
        process.door.kill()
        for task in sorted(process.tasks, key=lambda t: t.get_name()):
            task.cancel()

    async def stop(self, node: int) -> None:
        """Controlled shutdown."""
        process = self.processes[node]
        await self._run_as(process, process.broker.stop(controlled=True))
        self.processes.pop(node)
        process.alive = process.disk.alive = False
        self._disks[node].kill()
        process.door.kill()

    # -- clients

    def client(self) -> Client:
        """A client with links of its own."""
        self._clients += 1
        rng = random.Random(f"client-{self.seed}-{self._clients}")
        bootstrap: list[Address] = [(f"node{n}", CLIENT_PORT) for n in self.nodes]
        return Client(self.network.door(-self._clients), bootstrap, rng)

    # -- checks

    def observe(self) -> None:
        """Check what must hold at every moment. Raises SafetyViolation."""
        for process in self.processes.values():
            quorum: MetadataQuorum | None = getattr(process.broker, "quorum", None)
            if quorum is None:
                continue
            self.quorum_checker.observe(
                process.node,
                process.incarnation,
                quorum.leader.epoch,
                quorum.is_leader,
                quorum.high_watermark,
            )
        if self.errors:
            raise SafetyViolation(f"unexpected error in a broker: {self.errors[0]}")

    def run(self, story: Coroutine[Any, Any, Any]) -> Any:
        """Run a story to its end and leave nothing behind."""
        logging.disable(logging.CRITICAL)
        try:
            return self.loop.run_until_complete(story)
        finally:
            for node in list(self.processes):
                self.kill(node, power_loss=False)
            leftovers = [t for t in asyncio.all_tasks(self.loop) if not t.done()]
            for task in leftovers:
                task.cancel()
            if leftovers:
                self.loop.run_until_complete(asyncio.wait(leftovers, timeout=5))
            self.loop.close()
            logging.disable(logging.NOTSET)

    def _on_loop_exception(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        process = _current_process.get()
        if process is not None and not process.alive:
            return
        if error is not None and not isinstance(error, LogctlError | OSError):
            self.errors.append(f"{context.get('message')}: {error!r}")


def _track_task(
    loop: asyncio.AbstractEventLoop,
    coroutine: Coroutine[Any, Any, Any] | Generator[Any, None, Any],
    context: contextvars.Context | None = None,
) -> "asyncio.Task[Any]":
    task: asyncio.Task[Any] = asyncio.Task(coroutine, loop=loop, context=context)
    process = context.get(_current_process) if context is not None else _current_process.get()
    if process is not None:
        process.tasks.add(task)
        task.add_done_callback(process.tasks.discard)
        if not process.alive:
            task.cancel()
    return task
