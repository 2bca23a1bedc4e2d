"""What was acknowledged stays, once and in order, whatever happens to the processes.

Two idempotent clients write with acks=all to three partitions of three replicas while leaders are
killed, paused, restarted. `LOGCTL_DURABILITY_KILLS` makes the test of kills longer.
"""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

import pytest

from tests.interop.conftest import StartCluster
from tests.interop.producing import PARTITIONS, Ledger, check, figures, producing
from tests.interop.real_cluster import RealCluster, until

pytestmark = [pytest.mark.interop, pytest.mark.timeout(400)]

KILLS = int(os.environ.get("LOGCTL_DURABILITY_KILLS") or 2 * PARTITIONS)
BETWEEN_KILLS_SECONDS = 0.5
DOWN_SECONDS = 1.0
# A longer silence than the second means that a death was noticed by the end of the session alone.
LONG_SESSION_MS = 40_000
GAP_SECONDS_MAX = 30.0
# Shorter and longer than the session of the paused broker.
SESSION_MS = 2000
PAUSES_SECONDS = (1.0, 5.0)
TOPIC = "ledger"

Say = Callable[[str], None]


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Say:
    """Print past the capture: figures belong into the log of every run."""

    def say(text: str) -> None:
        with capsys.disabled():
            sys.stdout.write(f"\n  {text}\n")
            sys.stdout.flush()

    return say


@asynccontextmanager
async def under_load(cluster: RealCluster) -> AsyncIterator[list[Ledger]]:
    """Both clients write while the block disturbs the cluster; then everything is checked."""
    configs = {"min.insync.replicas": "2", "segment.bytes": "1048576"}
    await cluster.make_topic(TOPIC, PARTITIONS, configs)
    async with producing(cluster.bootstrap, TOPIC) as ledgers:
        yield ledgers
        await cluster.whole()
    await asyncio.to_thread(check_everything, cluster, ledgers)


def check_everything(cluster: RealCluster, ledgers: list[Ledger]) -> None:
    failures = [f"{each.producer} {text}" for each in ledgers for text in each.failures]
    assert not failures, f"{len(failures)} failed sends: {failures[:5]}"
    for ledger in ledgers:
        assert len(ledger.acknowledged) == sum(ledger.sent.values())
    ends = check(ledgers, cluster.bootstrap, TOPIC)
    assert sum(ends.values()) == sum(len(ledger.acknowledged) for ledger in ledgers)
    for partition, end in ends.items():
        until(
            partial(cluster.replicas_agree, TOPIC, partition, end),
            f"the replicas of {TOPIC}-{partition} hold the same bytes up to {end}",
        )


async def heard_again(ledgers: list[Ledger], since: float) -> None:
    """Wait until each producer got an acknowledgement for each partition after `since`."""
    async with asyncio.timeout(60):
        while not all(at > since for ledger in ledgers for at in ledger.heard.values()):
            await asyncio.sleep(0.02)


async def test_leaders_are_killed_in_turn(start_cluster: StartCluster, say: Say) -> None:
    cluster = await asyncio.to_thread(start_cluster, broker_session_timeout_ms=str(LONG_SESSION_MS))
    began = time.monotonic()
    async with under_load(cluster) as ledgers:
        for turn in range(KILLS):
            leader = await cluster.leader(TOPIC, turn % PARTITIONS)
            await asyncio.to_thread(cluster.kill, leader)
            killed_at = time.monotonic()
            # With the leader gone the others go on; then it comes back.
            await heard_again(ledgers, killed_at)
            await asyncio.sleep(max(0.0, killed_at + DOWN_SECONDS - time.monotonic()))
            cluster.start(leader)
            await cluster.whole()
            await asyncio.sleep(BETWEEN_KILLS_SECONDS)
    say(f"{KILLS} leaders killed in {time.monotonic() - began:.0f} s; {figures(ledgers)}")
    longest = max(gap for ledger in ledgers for gap in ledger.longest_gap.values())
    assert longest < GAP_SECONDS_MAX


async def test_a_paused_leader_comes_back_as_a_follower(
    start_cluster: StartCluster, say: Say
) -> None:
    cluster = await asyncio.to_thread(
        start_cluster,
        broker_session_timeout_ms=str(SESSION_MS),
        broker_heartbeat_interval_ms="500",
    )
    async with under_load(cluster) as ledgers:
        for partition, seconds in enumerate(PAUSES_SECONDS):
            leader = await cluster.leader(TOPIC, partition)
            before = await cluster.leader_epoch(TOPIC, partition)
            cluster.signal(leader, signal.SIGSTOP)
            try:
                await asyncio.sleep(seconds)
            finally:
                cluster.signal(leader, signal.SIGCONT)
            await heard_again(ledgers, time.monotonic())
            await cluster.whole()
        # The long pause, the last one, cost the leadership.
        await cluster.leader_epoch(TOPIC, partition, after=before)
    pauses = " and ".join(f"{each:.0f}" for each in PAUSES_SECONDS)
    say(f"leaders paused for {pauses} s; {figures(ledgers)}")


async def test_a_rolling_restart_fails_no_send(start_cluster: StartCluster, say: Say) -> None:
    cluster = await asyncio.to_thread(start_cluster)
    stops: list[float] = []
    async with under_load(cluster) as ledgers:
        for node in sorted(cluster.ports):
            started = time.monotonic()
            await asyncio.to_thread(cluster.stop, node)
            stops.append(time.monotonic() - started)
            cluster.start(node)
            await cluster.whole()
            await heard_again(ledgers, time.monotonic())
    took = " ".join(f"{each:.2f}" for each in stops)
    say(f"rolling restart, stops took {took} s; {figures(ledgers)}")


async def test_everything_is_killed_at_once(start_cluster: StartCluster, say: Say) -> None:
    cluster = await asyncio.to_thread(start_cluster, log_flush_policy="commit")
    async with under_load(cluster) as ledgers:
        for _ in range(2):
            await asyncio.to_thread(cluster.kill, *cluster.ports)
            for node in cluster.ports:
                cluster.start(node)
            await cluster.whole()
            await heard_again(ledgers, time.monotonic())
    say(f"all brokers killed twice at once; {figures(ledgers)}")
