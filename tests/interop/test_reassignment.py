"""Replicas move between four real brokers while two idempotent clients write with acks=all.

`LOGCTL_REASSIGNMENT_ROUNDS` changes how many times everything moves.
"""

import asyncio
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from broker.protocol.batch import iter_batches
from broker.protocol.errors import ErrorCode
from tests.interop.mover import Mover, Targets
from tests.interop.producing import PARTITIONS, Ledger, check, producing
from tests.interop.real_cluster import RealCluster, until

pytestmark = [pytest.mark.interop, pytest.mark.timeout(300)]

ROUNDS = int(os.environ.get("LOGCTL_REASSIGNMENT_ROUNDS") or 4)
TOPIC = "ledger"
NODES = (1, 2, 3, 4)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[RealCluster]:
    with RealCluster(tmp_path, {"min.insync.replicas": "2"}, brokers=4) as cluster:
        yield cluster


def holders(cluster: RealCluster, index: int) -> list[int]:
    """The brokers that have the partition's folder."""
    return [n for n in NODES if (cluster.folder / f"data-{n}" / f"{TOPIC}-{index}").exists()]


def copies_agree(cluster: RealCluster, index: int, nodes: list[int], end: int) -> bool:
    copies = {cluster.log_bytes(node, TOPIC, index) for node in nodes}
    if len(copies) > 1:
        return False
    offset = 0
    for _, header in iter_batches(copies.pop()):
        assert header.base_offset == offset, f"{TOPIC}-{index}: a hole at {offset}"
        offset = header.next_offset
    return offset == end


def check_everything(
    cluster: RealCluster, ledgers: list[Ledger], final: dict[int, list[int]]
) -> None:
    failures = [f"{each.producer} {text}" for each in ledgers for text in each.failures]
    assert not failures, f"{len(failures)} failed sends: {failures[:5]}"
    ends = check(ledgers, cluster.bootstrap, TOPIC)
    assert sum(ends.values()) == sum(len(each.acknowledged) for each in ledgers)
    for index, nodes in final.items():
        until(
            partial(copies_agree, cluster, index, nodes, ends[index]),
            f"the replicas of {TOPIC}-{index} on {nodes} hold the same bytes",
        )
        until(
            lambda index=index, nodes=nodes: holders(cluster, index) == sorted(nodes),
            f"{TOPIC}-{index} is on {nodes} and nowhere else",
        )


async def test_replicas_move_under_load(cluster: RealCluster) -> None:
    await cluster.make_topic(TOPIC, PARTITIONS, {"min.insync.replicas": "2"})
    mover = await Mover.open(cluster.address(1), TOPIC)
    async with producing(cluster.bootstrap, TOPIC) as ledgers:
        for turn in range(ROUNDS):
            # Everything at once, leaders included; each round leaves another broker out.
            targets: Targets = {
                index: [1 + (turn + index + step) % 4 for step in range(3)]
                for index in range(PARTITIONS)
            }
            codes = await mover.move(targets)
            assert set(codes.values()) == {ErrorCode.none}
            await mover.finished()
            await mover.are_on(targets)
        await asyncio.sleep(0)
    final = await mover.replicas()
    await cluster.whole()
    await asyncio.to_thread(check_everything, cluster, ledgers, final)
    mover.close()


async def test_a_move_to_a_dead_broker_waits_and_can_be_given_up(cluster: RealCluster) -> None:
    await cluster.make_topic(TOPIC, 1)
    mover = await Mover.open(cluster.address(1), TOPIC)
    await mover.move({0: [1, 2, 3]})
    await mover.finished()
    await asyncio.to_thread(cluster.stop, 4)
    await cluster.without(4)
    assert await mover.move({0: [1, 2, 4]}) == {0: ErrorCode.none}
    row = (await mover.under_way())[0]
    assert (row.replicas, row.adding_replicas, row.removing_replicas) == (
        [1, 2, 4, 3],
        [4],
        [3],
    )
    assert await mover.move({0: None}) == {0: ErrorCode.none}
    assert await mover.under_way() == {}
    await mover.are_on({0: [1, 2, 3]})
    assert await mover.move({0: None}) == {0: ErrorCode.no_reassignment_in_progress}
    cluster.start(4)
    await cluster.whole()
    await asyncio.to_thread(
        until, lambda: holders(cluster, 0) == [1, 2, 3], "the broker that came back holds nothing"
    )
    mover.close()
