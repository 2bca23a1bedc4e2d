"""One seed, one story: a cluster under faults, then healed, then judged.

First faults go on while producers write, a consumer reads and safety is checked; then every link
is mended, every node runs, and the cluster must become whole within bounded virtual time and hold
every acknowledged record exactly once, the same bytes on each replica.
"""

import asyncio
import random
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Any, TextIO, TypeVar

from broker.protocol.batch import iter_batches
from broker.protocol.image import image_records
from broker.simulation.administrator import Administrator
from broker.simulation.checkers import check_acknowledged, check_order, check_replicas_equal
from broker.simulation.diagnosis import diagnose
from broker.simulation.faults import Faults
from broker.simulation.guard import cpu_limit
from broker.simulation.loop import SimulationEndless, SimulationStuck
from broker.simulation.violations import LivenessViolation, SafetyViolation
from broker.simulation.workload import Consumer, Producer, read_partition
from broker.simulation.world import COMBINED, SEPARATE, World

TOPIC = "events"
PARTITIONS = 3
FAULTS_S = 12.0
HEAL_S = 60.0
OBSERVE_S = 0.02
CPU_LIMIT_S = 60.0
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run amounted to; equal seeds give equal outcomes.

    `digest` covers every byte that was sent, and when.
    """

    seed: int
    layout: str
    acknowledged: int
    consumed: int
    faults: tuple[str, ...]
    exits: int
    metadata_batches: int
    virtual_ms: int
    digest: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What a seed decides before the run begins."""

    seed: int
    separate: bool
    commit: bool
    administrator: bool
    settings: dict[str, str]
    topic_settings: dict[str, str]
    # Which faults there are; none: the seed chooses.
    kinds: tuple[str, ...] = ()
    # How many faults go on at a time.
    players: int = 1

    @property
    def layout(self) -> str:
        """Roles and flush policy, for people."""
        roles = "separate" if self.separate else "combined"
        return f"{roles}/{'commit' if self.commit else 'background'}"


def plan_of(seed: int) -> Plan:
    """The plan of a seed."""
    rng = random.Random(f"plan-{seed}")
    commit = rng.random() < 0.5
    settings = {
        "default.replication.factor": "3",
        "replica.lag.time.max.ms": "3000",
        "broker.session.timeout.ms": "3000",
        "broker.heartbeat.interval.ms": "500",
        "log.flush.interval.ms": rng.choice(("500", "5000")),
        "replica.high.watermark.checkpoint.interval.ms": rng.choice(("300", "5000")),
    }
    if rng.random() < 0.3:
        settings["metadata.log.max.record.bytes.between.snapshots"] = "1000"
    topic_settings: dict[str, str] = {}
    if rng.random() < 0.4:
        topic_settings["segment.bytes"] = rng.choice(("1000", "5000", "20000"))
    if rng.random() < 0.2:
        topic_settings["message.timestamp.type"] = "LogAppendTime"
    return Plan(
        seed=seed,
        separate=rng.random() < 0.25,
        commit=commit,
        administrator=rng.random() < 0.4,
        settings=settings,
        topic_settings=topic_settings,
        players=rng.choice((1, 1, 1, 2, 2, 3)),
    )


def run_seed(seed: int, trace: TextIO | None = None) -> Outcome:
    """Play one seed. Raises SafetyViolation or LivenessViolation.

    `trace` takes what the brokers log, with virtual time.
    """
    return run_plan(plan_of(seed), trace)


def run_plan(plan: Plan, trace: TextIO | None = None) -> Outcome:
    """Play a plan, for those who want other than what the seed says."""
    topology = SEPARATE if plan.separate else COMBINED
    policy = "commit" if plan.commit else "background"
    settings = {**plan.settings, "log.flush.policy": policy}
    world = World(plan.seed, topology, settings=settings, trace=trace)
    try:
        with cpu_limit(CPU_LIMIT_S):
            outcome: Outcome = world.run(_Story(world, plan).play(), diagnose)
    except (SimulationEndless, SimulationStuck) as error:
        violation = LivenessViolation(str(error))
        for note in getattr(error, "__notes__", ()):
            violation.add_note(note)
        raise violation from error
    return outcome


class _Story:
    """The course of one run."""

    def __init__(self, world: World, plan: Plan) -> None:
        self._world = world
        self._plan = plan
        self._stop = asyncio.Event()
        rng = random.Random(f"faults-{plan.seed}")
        self._faults = [
            Faults(world, rng, power_loss=plan.commit, kinds=plan.kinds)
            for _ in range(plan.players)
        ]
        self._client = world.client()
        self._producers = [
            Producer(world.client(), name, TOPIC, PARTITIONS, random.Random(f"{name}-{plan.seed}"))
            for name in ("a", "b")
        ]
        self._administrator = Administrator(
            world.client(),
            random.Random(f"administrator-{plan.seed}"),
            TOPIC,
            PARTITIONS,
            world.topology.brokers,
        )
        self._consumer = Consumer(
            world.client(), TOPIC, PARTITIONS, random.Random(f"consumer-{plan.seed}")
        )

    async def play(self) -> Outcome:
        """From the first start to the last check."""
        observer = self._world.loop.create_task(observe(self._world))
        story = self._world.loop.create_task(self._play())
        await asyncio.wait([observer, story], return_when=asyncio.FIRST_COMPLETED)
        if observer.done():
            observer.result()
        observer.cancel()
        return story.result()

    async def _play(self) -> Outcome:
        world, plan = self._world, self._plan
        for node in world.nodes:
            world.start(node)
        await within(
            self._client.create_topic(TOPIC, PARTITIONS, 3, plan.topic_settings),
            HEAL_S,
            "create a topic",
        )
        work: list[asyncio.Task[Any]] = [
            world.loop.create_task(each.run(self._stop)) for each in self._producers
        ]
        work.append(world.loop.create_task(self._consumer.run(self._stop)))
        if plan.administrator:
            work.append(world.loop.create_task(self._administrator.run(self._stop)))
        end_s = world.loop.time() + FAULTS_S
        faults = [world.loop.create_task(each.run(end_s)) for each in self._faults]
        await finished(faults, work)
        self._stop.set()
        heal(world)
        for task in work:
            await within(task, HEAL_S, "finish the last requests")
        await within(whole(world), HEAL_S, "bring every replica back in sync")
        found = {
            partition: await within(
                read_partition(self._client, TOPIC, partition), HEAL_S, f"read {TOPIC}-{partition}"
            )
            for partition in range(PARTITIONS)
        }
        return self._judge(found)

    def _judge(self, found: dict[int, dict[int, str]]) -> Outcome:
        world = self._world
        acknowledged = [record for each in self._producers for record in each.acknowledged]
        check_acknowledged(acknowledged, found)
        check_order(found)
        for partition, seen in self._consumer.seen.items():
            for offset, value in seen.items():
                if found[partition].get(offset) != value:
                    raise SafetyViolation(
                        f"{TOPIC}-{partition}: a consumer read {value} at offset {offset}; in the "
                        f"end {found[partition].get(offset)} is there"
                    )
        _check_replicas(world)
        world.observe()
        return Outcome(
            seed=world.seed,
            layout=self._plan.layout,
            acknowledged=len(acknowledged),
            consumed=sum(len(seen) for seen in self._consumer.seen.values()),
            faults=tuple(fault for each in self._faults for fault in each.played),
            exits=len(world.exits),
            metadata_batches=world.history.batches,
            virtual_ms=int(world.loop.time() * 1000),
            digest=world.network.digest,
        )


async def whole(world: World) -> None:
    """Wait until every replica of every partition is in sync and all images are the same."""
    while not (in_sync(world) and _caught_up(world) and _same_images(world)):  # noqa: ASYNC110 - the world is looked at from outside
        await asyncio.sleep(0.1)


async def observe(world: World) -> None:
    """Check again and again what must always hold; ends only by a violation."""
    while True:
        world.observe()
        await asyncio.sleep(OBSERVE_S)


async def within(work: Awaitable[T], seconds: float, what: str) -> T:
    """The result of `work`. Raises LivenessViolation when it takes longer than `seconds`."""
    try:
        async with asyncio.timeout(seconds):
            return await work
    except TimeoutError:
        raise LivenessViolation(f"could not {what} within {seconds:g} s") from None


async def finished(
    tasks: Sequence["asyncio.Task[Any]"], background: Sequence["asyncio.Task[Any]"]
) -> None:
    """Wait for the tasks, unless something in the background fails before."""
    while any(not task.done() for task in tasks):
        running = [task for task in (*tasks, *background) if not task.done()]
        await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        for task in (*tasks, *background):
            if task.done():
                task.result()


def heal(world: World) -> None:
    """Mend every link and start every node that is down."""
    world.network.heal()
    for node in world.nodes:
        world.start(node)


def _brokers_up(world: World) -> bool:
    return all(
        (process := world.processes.get(node)) is not None and process.booted
        for node in world.nodes
    )


def in_sync(world: World) -> bool:
    """Every node knows a leader and a full ISR of every partition."""
    if not _brokers_up(world):
        return False
    for process in world.processes.values():
        image = process.broker.publisher.image
        if TOPIC not in image.topics:
            return False
        for _, _, state in image.iter_partitions():
            if state.leader < 0 or set(state.isr) != set(state.replicas) or state.adding:
                return False
    return True


def _caught_up(world: World) -> bool:
    """Replicas have the same end and the same high watermark."""
    places: dict[tuple[str, int], set[tuple[int, int]]] = {}
    for process in world.processes.values():
        replicas = process.broker.replicas
        if replicas is None:
            continue
        for topic, index, state in replicas.image.iter_partitions():
            if process.node not in state.replicas:
                continue
            partition = replicas.partition(topic.name, index)
            if partition is None:
                return False
            place = (partition.log.end_offset, partition.high_watermark)
            places.setdefault((topic.name, index), set()).add(place)
            if place[0] != place[1]:
                return False
    return all(len(each) == 1 for each in places.values())


def _same_images(world: World) -> bool:
    """Equal images, once their offsets are equal; unequal ones are a violation."""
    images = {n: process.broker.publisher.image for n, process in sorted(world.processes.items())}
    if len({image.offset for image in images.values()}) > 1:
        return False
    texts = {node: repr(image_records(image)) for node, image in images.items()}
    if len(set(texts.values())) > 1:
        raise SafetyViolation(f"metadata images differ at one offset: {texts}")
    return True


def _check_replicas(world: World) -> None:
    for index in range(PARTITIONS):
        copies: dict[int, bytes] = {}
        for node, process in sorted(world.processes.items()):
            replicas = process.broker.replicas
            if replicas is None:
                continue
            partition = replicas.partition(TOPIC, index)
            state = replicas.image.partition(TOPIC, index)
            if state is None or node not in state.replicas:
                continue
            if partition is None:
                raise SafetyViolation(f"node {node} does not hold {TOPIC}-{index}")
            copies[node] = _contents(partition.log)
        check_replicas_equal(f"{TOPIC}-{index}", copies)


def _contents(log: Any) -> bytes:
    """All batches of a log."""
    pieces: list[bytes] = []
    offset = log.start_offset
    while offset < log.end_offset:
        piece = bytes(log.read(offset, 1 << 30, upto_offset=log.end_offset))
        pieces.append(piece)
        for _, header in iter_batches(piece):
            offset = header.next_offset
    return b"".join(pieces)
