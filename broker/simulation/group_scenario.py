"""One seed, one story of consumer groups: members at work while brokers die, then peace.

While faults go on no committed offset may go back and no assignment may reach anybody whom its
leader did not give it to. When every link is mended, each group must settle within bounded virtual
time, with every partition owned once, and go on committing.
"""

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TextIO

from broker.simulation.diagnosis import diagnose
from broker.simulation.faults import Faults
from broker.simulation.group_workload import GroupMember, Ledger, OffsetReader, read_offsets
from broker.simulation.guard import cpu_limit
from broker.simulation.loop import SimulationEndless, SimulationStuck
from broker.simulation.scenario import (
    CPU_LIMIT_S,
    FAULTS_S,
    HEAL_S,
    PARTITIONS,
    TOPIC,
    finished,
    heal,
    in_sync,
    observe,
    plan_of,
    whole,
    within,
)
from broker.simulation.violations import LivenessViolation, SafetyViolation
from broker.simulation.world import COMBINED, SEPARATE, World

GROUPS = ("readers", "writers")
SETTINGS = {
    "offsets.topic.num.partitions": "2",
    "offsets.topic.replication.factor": "3",
    "min.insync.replicas": "2",
    "group.initial.rebalance.delay.ms": "300",
    "group.min.session.timeout.ms": "500",
    "offsets.commit.timeout.ms": "2000",
}


@dataclass(frozen=True, slots=True)
class GroupOutcome:
    """What a run amounted to; equal seeds give equal outcomes."""

    seed: int
    layout: str
    commits: int
    generations: int
    faults: tuple[str, ...]
    exits: int
    virtual_ms: int
    digest: int


def run_group_seed(
    seed: int, trace: TextIO | None = None, kinds: Sequence[str] = ()
) -> GroupOutcome:
    """Play one seed, with faults of these kinds. Raises SafetyViolation or LivenessViolation."""
    plan = plan_of(seed)
    policy = "commit" if plan.commit else "background"
    settings = {**plan.settings, **SETTINGS, "log.flush.policy": policy}
    world = World(seed, SEPARATE if plan.separate else COMBINED, settings=settings, trace=trace)
    try:
        with cpu_limit(CPU_LIMIT_S):
            outcome: GroupOutcome = world.run(_GroupStory(world, seed, kinds).play(), diagnose)
    except (SimulationEndless, SimulationStuck) as error:
        violation = LivenessViolation(str(error))
        for note in getattr(error, "__notes__", ()):
            violation.add_note(note)
        raise violation from error
    return outcome


class _GroupStory:
    """The course of one run."""

    def __init__(self, world: World, seed: int, kinds: Sequence[str]) -> None:
        self._world = world
        self._plan = plan_of(seed)
        self._stop = asyncio.Event()
        rng = random.Random(f"group-faults-{seed}")
        self._faults = Faults(world, rng, power_loss=self._plan.commit, kinds=kinds)
        self._client = world.client()
        self._ledgers = [Ledger(group, TOPIC, PARTITIONS) for group in GROUPS]
        self._members = [
            GroupMember(
                world.client(),
                f"{ledger.group}-{number}",
                ledger,
                random.Random(f"member-{ledger.group}-{number}-{seed}"),
            )
            for ledger in self._ledgers
            for number in range(1 + rng.randrange(3))
        ]
        self._reader = OffsetReader(
            world.client(), self._ledgers, random.Random(f"offset-reader-{seed}")
        )

    async def play(self) -> GroupOutcome:
        """From the first start to the last check."""
        observer = self._world.loop.create_task(observe(self._world))
        story = self._world.loop.create_task(self._play())
        await asyncio.wait([observer, story], return_when=asyncio.FIRST_COMPLETED)
        if observer.done():
            observer.result()
        observer.cancel()
        return story.result()

    async def _play(self) -> GroupOutcome:
        world = self._world
        for node in world.nodes:
            world.start(node)
        await within(self._client.create_topic(TOPIC, PARTITIONS, 3), HEAL_S, "create a topic")
        work: list[asyncio.Task[Any]] = [
            world.loop.create_task(each.run(self._stop)) for each in self._members
        ]
        work.append(world.loop.create_task(self._reader.run(self._stop)))
        faults = world.loop.create_task(self._faults.run(world.loop.time() + FAULTS_S))
        await finished([faults], work)
        heal(world)
        healing = world.loop.create_task(self._healed())
        await finished([healing], work)
        self._stop.set()
        for task in work:
            await within(task, HEAL_S, "finish the last requests")
        await within(whole(world), HEAL_S, "make all replicas equal")
        await self._judge()
        return GroupOutcome(
            seed=world.seed,
            layout=self._plan.layout,
            commits=sum(each.commits for each in self._ledgers),
            generations=sum(len(each.dealt) for each in self._ledgers),
            faults=tuple(self._faults.played),
            exits=len(world.exits),
            virtual_ms=int(world.loop.time() * 1000),
            digest=world.network.digest,
        )

    async def _healed(self) -> None:
        world = self._world
        await _until(lambda: in_sync(world), "bring every replica back in sync")
        await _until(
            lambda: all(self._is_settled(each) for each in self._ledgers), "settle every group"
        )
        wanted = {each.group: each.commits + 2 * PARTITIONS for each in self._ledgers}
        await _until(
            lambda: all(each.commits >= wanted[each.group] for each in self._ledgers),
            "commit after the faults",
        )

    def _is_settled(self, ledger: Ledger) -> bool:
        """All members are in one generation and own every partition once."""
        members = [each for each in self._members if each.ledger is ledger]
        owned = sorted(partition for each in members for partition in each.owned)
        generations = {each.generation for each in members}
        return len(generations) == 1 and owned == list(range(PARTITIONS))

    async def _judge(self) -> None:
        for ledger in self._ledgers:
            found = await within(self._read(ledger), HEAL_S, f"read the offsets of {ledger.group}")
            for partition, floor in sorted(ledger.acknowledged.items()):
                ledger.check_read(partition, found[partition], floor)
                # One more may be stored than was acknowledged: by a commit without an answer.
                if found[partition] > floor + 1:
                    raise SafetyViolation(
                        f"{ledger.group}: partition {partition} is at {found[partition]}, the "
                        f"last acknowledged commit was {floor}"
                    )
        self._world.observe()

    async def _read(self, ledger: Ledger) -> dict[int, int]:
        partitions = list(range(PARTITIONS))
        while True:
            found = await read_offsets(self._client, ledger, partitions)
            if found is not None:
                return found
            await asyncio.sleep(0.1)


async def _until(condition: Callable[[], bool], what: str) -> None:
    async def wait() -> None:
        while not condition():  # noqa: ASYNC110 - the world is looked at from outside
            await asyncio.sleep(0.1)

    await within(wait(), HEAL_S, what)
