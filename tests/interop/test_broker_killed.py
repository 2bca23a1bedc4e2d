"""A leader is killed while every client writes with acks=all: nothing that was acknowledged is lost.

All clients write at once, each with its own ledger, so that one cluster and one series of kills
shows it for each of them.
"""

import asyncio
import shutil
import time
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from tests.interop.conftest import absent
from tests.interop.foreign_loads import FOREIGN_LOADS
from tests.interop.producing import (
    PARTITIONS,
    AioLoad,
    ConfluentLoad,
    Ledger,
    LoadKind,
    check,
    producing,
)
from tests.interop.real_cluster import RealCluster
from tests.interop.roster import CLIENTS

pytestmark = [pytest.mark.interop, pytest.mark.timeout(300)]

TOPIC = "ledger"
KILLS = 3
WAIT_SECONDS = 60
LOADS: dict[str, LoadKind] = {
    "confluent-kafka": ConfluentLoad,
    "aiokafka": AioLoad,
    **FOREIGN_LOADS,
}


def missing(name: str) -> str | None:
    if name == "kcat":
        return None if shutil.which("kcat") else "kcat"
    return next(client for client in CLIENTS if client.name == name).missing()


class Outcome(NamedTuple):
    """What is left when the load has ended and the cluster is whole again."""

    ledgers: dict[str, Ledger]
    ends: dict[int, int]
    lost: str | None
    killed: list[int]


async def disturb(cluster: RealCluster, ledgers: list[Ledger]) -> list[int]:
    """Kill the leader of each partition in turn; whoever writes must get through each time."""
    killed = []
    for turn in range(KILLS):
        leader = await cluster.leader(TOPIC, turn % PARTITIONS)
        await asyncio.to_thread(cluster.kill, leader)
        killed.append(leader)
        since = time.monotonic()
        async with asyncio.timeout(WAIT_SECONDS):
            while late := [each for each in ledgers if min(each.heard.values()) <= since]:
                assert not any(each.failures for each in late), [each.failures for each in late]
                await asyncio.sleep(0.02)
        cluster.start(leader)
        await cluster.whole()
    return killed


async def play(cluster: RealCluster, names: list[str]) -> Outcome:
    await cluster.make_topic(TOPIC, PARTITIONS, {"min.insync.replicas": "2"})
    kinds = [LOADS[name] for name in names]
    async with producing(cluster.bootstrap, TOPIC, kinds) as ledgers:
        killed = await disturb(cluster, ledgers)
    lost, ends = None, {}
    try:
        ends = await asyncio.to_thread(check, ledgers, cluster.bootstrap, TOPIC)
    except AssertionError as error:
        lost = str(error)
    return Outcome(dict(zip(names, ledgers, strict=True)), ends, lost, killed)


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcome]:
    names = [name for name in LOADS if missing(name) is None]
    with RealCluster(tmp_path_factory.mktemp("killed"), {"min.insync.replicas": "2"}) as cluster:
        yield asyncio.run(play(cluster, names))


@pytest.mark.parametrize("name", LOADS)
def test_nothing_acknowledged_is_lost_when_leaders_are_killed(outcome: Outcome, name: str) -> None:
    if what := missing(name):
        absent(f"{what}, for {name},")
    ledger = outcome.ledgers[name]
    assert not ledger.failures, ledger.failures[:5]
    assert outcome.lost is None
    assert len(outcome.killed) == KILLS
    # Every record that was sent is acknowledged, and there was something to lose each time.
    assert len(ledger.acknowledged) == sum(ledger.sent.values())
    assert all(count > 10 * KILLS for count in ledger.sent.values()), ledger.sent


def test_the_log_holds_what_was_acknowledged_and_nothing_else(outcome: Outcome) -> None:
    acknowledged = sum(len(ledger.acknowledged) for ledger in outcome.ledgers.values())
    assert sum(outcome.ends.values()) == acknowledged
