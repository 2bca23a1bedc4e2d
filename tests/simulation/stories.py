"""Short stories on a simulated cluster: what they are played with, and what they wait for."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

from broker.simulation.diagnosis import diagnose
from broker.simulation.guard import cpu_limit
from broker.simulation.workload import Producer
from broker.simulation.world import COMBINED, Topology, World

TOPIC = "events"
SETTINGS = {
    "default.replication.factor": "3",
    "replica.lag.time.max.ms": "3000",
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
}


def play(
    story: Callable[[World], Awaitable[Any]], topology: Topology = COMBINED, **settings: str
) -> Any:
    """Run a story on three brokers, or on another topology."""
    world = World(1, topology, settings={**SETTINGS, **settings})

    async def whole() -> Any:
        for node in world.nodes:
            world.start(node)
        async with asyncio.timeout(120):
            return await story(world)

    with cpu_limit(60):
        return world.run(whole(), diagnose)


async def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.05)


async def produce(world: World, number: int) -> Producer:
    """Produce until `number` records are acknowledged."""
    producer = Producer(world.client(), "p", TOPIC, 1, random.Random(1))
    stop = asyncio.Event()
    task = asyncio.get_running_loop().create_task(producer.run(stop))
    await until(lambda: len(producer.acknowledged) >= number or task.done())
    stop.set()
    await task
    return producer


def leader_of(world: World) -> int:
    """The node that leads the topic's partition, as everyone who runs sees it; -1 in doubt."""
    leaders = set()
    for process in world.processes.values():
        state = process.broker.publisher.image.partition(TOPIC, 0) if process.booted else None
        leaders.add(-1 if state is None else state.leader)
    return leaders.pop() if len(leaders) == 1 else -1


def active_controller(world: World) -> int:
    """The node whose controller is active, -1 when there is none."""
    for node, process in world.processes.items():
        controller = process.broker.controller
        if controller is not None and controller.active:
            return node
    return -1


def active_brokers(world: World) -> list[int]:
    """The brokers that are not fenced, as the active controller has it."""
    controller = active_controller(world)
    if controller < 0:
        return []
    image = world.processes[controller].broker.publisher.image
    return [each.id for each in image.brokers.values() if not each.fenced]


def full_isr(world: World) -> bool:
    """Whether every broker sees all replicas in sync."""
    states = [p.broker.publisher.image.partition(TOPIC, 0) for p in world.processes.values()]
    return all(state is not None and len(state.isr) == 3 for state in states)
