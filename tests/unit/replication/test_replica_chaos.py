"""Random faults against three replica managers: no acknowledged record is ever lost.

A failing seed is repeated with ``pytest -k 'SEED-policy'``.
"""

import asyncio
import random

import pytest

from broker.protocol.errors import ErrorCode
from tests.unit.replication.replica_cluster import TOPIC, Cluster, Node

PARTITIONS = 3
FAULTY_SECONDS = 30


class Chaos:
    """Producers that remember what was acknowledged, and someone who breaks things."""

    def __init__(self, cluster: Cluster, seed: int, *, power: bool) -> None:
        self.cluster = cluster
        self.rng = random.Random(f"chaos/{seed}")
        self.power = power
        self.acknowledged: dict[tuple[int, int], str] = {}
        self.faults = 0
        self.over = False

    async def produce_for_ever(self, index: int) -> None:
        number = 0
        while not self.over:
            await asyncio.sleep(self.rng.uniform(0, 0.2))
            node = self.believed_leader(index)
            if node is None or node.manager is None:
                continue
            value = f"p{index}n{number}"
            number += 1
            result = await node.produce(value, index=index, timeout_ms=1_500)
            if result.error == ErrorCode.none and node.manager is not None:
                self.acknowledged[index, result.base_offset] = value

    def believed_leader(self, index: int) -> Node | None:
        """Someone who thinks that he leads: clients do not always know better."""
        nodes = [
            node
            for node in self.cluster.nodes.values()
            if node.manager is not None
            and (partition := node.manager.partition(TOPIC, index)) is not None
            and partition.is_leader
        ]
        return self.rng.choice(nodes) if nodes else None

    async def break_things(self) -> None:
        faults = (self.kill, self.isolate, self.move_leaders, self.stop_controller, self.deafen)
        while not self.over:
            await asyncio.sleep(self.rng.uniform(0.2, 3))
            self.faults += 1
            await self.rng.choice(faults)(self.rng.choice(list(self.cluster.nodes.values())))

    async def pause(self) -> None:
        await asyncio.sleep(self.rng.uniform(0.1, 6))

    async def kill(self, node: Node) -> None:
        await node.kill(power=self.power)
        await asyncio.sleep(self.rng.uniform(0, 1))
        self.cluster.fence(node.id)
        await self.pause()
        await node.start()

    async def isolate(self, node: Node) -> None:
        others = [i for i in (1, 2, 3) if i != node.id]
        if self.rng.random() < 0.5:
            self.cluster.isolate(node.id)
        else:
            self.cluster.network.cut(node.id, self.rng.choice(others))
        if self.rng.random() < 0.5:
            # The controller cannot reach it either: it is fenced, and does not know.
            self.cluster.deaf.add(node.id)
            self.cluster.fence(node.id)
        await self.pause()
        self.cluster.network.heal()
        if node.id in self.cluster.deaf:
            self.cluster.catch_up(node.id)
            self.cluster.register(node.id)

    async def move_leaders(self, node: Node) -> None:
        for index in range(PARTITIONS):
            state = self.cluster.state(index)
            if node.id in state.isr and state.leader not in (-1, node.id):
                self.cluster.change(index, leader=node.id)

    async def stop_controller(self, _node: Node) -> None:
        self.cluster.controller_down = True
        await self.pause()
        self.cluster.controller_down = False

    async def deafen(self, node: Node) -> None:
        self.cluster.deaf.add(node.id)
        await self.pause()
        self.cluster.catch_up(node.id)


async def check(cluster: Cluster, chaos: Chaos) -> None:
    for index in range(PARTITIONS):
        await cluster.until(lambda i=index: len(cluster.state(i).isr) == 3, seconds=60)
        while (await cluster.leader(index).produce("last", index=index)).error:
            await asyncio.sleep(0.5)
        kept = cluster.leader(index).log_records(index)
        for (where, offset), value in chaos.acknowledged.items():
            if where == index:
                assert kept[offset : offset + 1] == [f"{offset}:{value}"], "acknowledged, but lost"

    def equal() -> bool:
        return all(
            node.log_records(index) == cluster.leader(index).log_records(index)
            for index in range(PARTITIONS)
            for node in cluster.nodes.values()
        )

    await asyncio.sleep(1)
    await cluster.until(equal, seconds=10)


@pytest.mark.parametrize("policy", ["background", "commit"])
@pytest.mark.parametrize("seed", range(8))
def test_no_acknowledged_record_is_lost(seed: int, policy: str) -> None:
    """kill -9 with any flush policy; power cuts with flush on commit."""
    cluster = Cluster(seed, replica_lag_time_max_ms="2000", log_flush_policy=policy)
    chaos = Chaos(cluster, seed, power=policy == "commit")

    async def told(cluster: Cluster) -> None:
        cluster.create(PARTITIONS)
        tasks = [asyncio.create_task(chaos.produce_for_ever(i)) for i in range(PARTITIONS)]
        breaking = asyncio.create_task(chaos.break_things())
        await asyncio.sleep(FAULTY_SECONDS)
        chaos.over = True
        await breaking
        await asyncio.gather(*tasks)
        await check(cluster, chaos)
        assert len(chaos.acknowledged) > 50, "it hardly ran, so it shows nothing"
        assert chaos.faults > 2, "hardly anything went wrong, so it shows nothing"

    cluster.run(told)
