"""One seed, one story: a cluster under faults, then healed, then judged.

First faults go on while producers write and safety is checked; then every link is mended, every
node runs, and the cluster must become whole within bounded virtual time and hold every
acknowledged record exactly once, the same bytes on each replica.
"""

import asyncio
import random
from dataclasses import dataclass

from broker.simulation.checkers import (
    LivenessViolation,
    SafetyViolation,
    check_acknowledged,
    check_order,
    check_replicas_equal,
)
from broker.simulation.workload import Producer, read_partition
from broker.simulation.world import World

TOPIC = "events"
PARTITIONS = 3
FAULTS_S = 15.0
HEAL_S = 90.0
OBSERVE_S = 0.02
FAULT_KINDS = ("kill", "kill", "isolate", "one_way", "slow", "lossy", "resets", "restart", "calm")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run amounted to; equal seeds give equal outcomes."""

    seed: int
    acknowledged: int
    faults: tuple[str, ...]
    metadata_batches: int
    virtual_ms: int


def run_seed(seed: int) -> Outcome:
    """Play one seed. Raises SafetyViolation or LivenessViolation."""
    rng = random.Random(f"scenario-{seed}")
    commit = rng.random() < 0.5
    settings = {
        "log.flush.policy": "commit" if commit else "background",
        "default.replication.factor": "3",
        "replica.lag.time.max.ms": "3000",
        "broker.session.timeout.ms": "3000",
        "broker.heartbeat.interval.ms": "500",
    }
    world = World(seed, settings=settings)
    outcome: Outcome = world.run(_story(world, rng, power_loss=commit))
    return outcome


async def _story(world: World, rng: random.Random, *, power_loss: bool) -> Outcome:
    for node in world.nodes:
        await world.start(node)
    observer = world.loop.create_task(_observe(world))
    client = world.client()
    await _within(client.create_topic(TOPIC, PARTITIONS, 3), HEAL_S, "create a topic")
    stop = asyncio.Event()
    producers = [
        Producer(world.client(), name, TOPIC, PARTITIONS, random.Random(f"{name}-{world.seed}"))
        for name in ("a", "b")
    ]
    work = [world.loop.create_task(producer.run(stop)) for producer in producers]
    faults = await _play_faults(world, rng, power_loss=power_loss)
    stop.set()
    await _heal(world)
    for task in work:
        await _within(task, HEAL_S, "deliver the last batches")
    await _within(_whole(world), HEAL_S, "bring every replica back in sync")
    found = {}
    for partition in range(PARTITIONS):
        found[partition] = await _within(
            read_partition(client, TOPIC, partition), HEAL_S, f"read {TOPIC}-{partition}"
        )
    acknowledged = [record for producer in producers for record in producer.acknowledged]
    check_acknowledged(acknowledged, found)
    check_order(found)
    _check_replicas(world)
    if observer.done():
        observer.result()
    observer.cancel()
    return Outcome(
        seed=world.seed,
        acknowledged=len(acknowledged),
        faults=tuple(faults),
        metadata_batches=world.history.batches,
        virtual_ms=int(world.loop.time() * 1000),
    )


async def _observe(world: World) -> None:
    while True:
        world.observe()
        await asyncio.sleep(OBSERVE_S)


async def _within(work, seconds: float, what: str):  # type: ignore[no-untyped-def]
    try:
        async with asyncio.timeout(seconds):
            return await work
    except TimeoutError:
        raise LivenessViolation(f"could not {what} within {seconds:g} s") from None


async def _play_faults(world: World, rng: random.Random, *, power_loss: bool) -> list[str]:
    played: list[str] = []
    end = world.loop.time() + FAULTS_S
    while world.loop.time() < end:
        kind = rng.choice(FAULT_KINDS)
        node = rng.choice(world.nodes)
        played.append(f"{kind}:{node}")
        await _play(world, kind, node, rng, power_loss=power_loss)
        world.network.heal()
        faults = world.network.faults
        faults.loss_probability = faults.reset_probability = 0.0
        faults.delay_s_max = 0.002
        await asyncio.sleep(rng.uniform(0, 1.5))
    return played


async def _play(
    world: World, kind: str, node: int, rng: random.Random, *, power_loss: bool
) -> None:
    others = [other for other in world.nodes if other != node]
    duration = rng.uniform(0.1, 4.0)
    if kind == "kill":
        victims = [node] if rng.random() < 0.8 else [node, rng.choice(others)]
        for victim in victims:
            world.kill(victim, power_loss=power_loss)
        await asyncio.sleep(duration)
        for victim in victims:
            await world.start(victim)
        return
    if kind == "restart":
        await _within(world.stop(node), HEAL_S, f"stop node {node} in a controlled way")
        await asyncio.sleep(rng.uniform(0, 1))
        await world.start(node)
        return
    if kind == "isolate":
        world.network.isolate(node, others)
    elif kind == "one_way":
        world.network.cut(node, rng.choice(others))
    elif kind == "slow":
        world.network.faults.delay_s_max = 0.3
    elif kind == "lossy":
        world.network.faults.loss_probability = rng.uniform(0.01, 0.3)
    elif kind == "resets":
        world.network.faults.reset_probability = rng.uniform(0.001, 0.03)
    await asyncio.sleep(duration)


async def _heal(world: World) -> None:
    world.network.heal()
    for node in world.nodes:
        if node not in world.processes:
            await world.start(node)


async def _whole(world: World) -> None:
    """Wait until every replica of every partition is in sync everywhere."""
    while True:
        states = [
            process.broker.publisher.image.topics.get(TOPIC) for process in world.processes.values()
        ]
        if len(states) == len(world.nodes) and all(
            state is not None
            and all(set(p.isr) == set(p.replicas) and p.leader >= 0 for p in state.partitions)
            for state in states
        ):
            break
        await asyncio.sleep(0.1)
    # The followers learn the last high watermark with their next fetch.
    await asyncio.sleep(2)


def _check_replicas(world: World) -> None:
    for index in range(PARTITIONS):
        copies: dict[int, bytes] = {}
        watermarks: dict[int, int] = {}
        for node, process in sorted(world.processes.items()):
            replicas = process.broker.replicas
            partition = replicas.partition(TOPIC, index) if replicas is not None else None
            if partition is None:
                raise SafetyViolation(f"node {node} does not hold {TOPIC}-{index}")
            log = partition.log
            copies[node] = bytes(log.read(log.start_offset, 1 << 30, upto_offset=log.end_offset))
            watermarks[node] = partition.high_watermark
        check_replicas_equal(f"{TOPIC}-{index}", copies)
        if len(set(watermarks.values())) > 1:
            raise LivenessViolation(f"{TOPIC}-{index}: high watermarks differ, {watermarks}")
