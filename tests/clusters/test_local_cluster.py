"""A cluster of real broker processes on this machine, from up to destroy."""

import asyncio
import contextlib
import math
import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import yaml

from clusters.admin import AdminClient
from clusters.errors import GateClosed, OperationError
from clusters.manifest import load_manifest
from clusters.operations import Operations, load_spec
from clusters.state import cluster_data_dir, current_context
from clusters.watch import ClusterFeed, EventKind

pytestmark = pytest.mark.interop
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def spec_file(tmp_path):
    """Writes a cluster file on free ports; whatever it started is ended afterwards."""
    ports: list[int] = []
    while len(ports) < 6:
        # Below the range that the system takes for outgoing connections of anybody.
        port = random.SystemRandom().randrange(20_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            ports += [port] if port not in ports else []

    def write(**settings_of_broker_3) -> Path:
        path = tmp_path / "cluster.yaml"
        hosts = [
            {
                "id": n,
                "address": "local",
                "listeners": {"client": ports[2 * n - 2], "controller": ports[2 * n - 1]},
            }
            for n in (1, 2, 3)
        ]
        hosts[2]["settings"] = {
            name.replace("_", "."): value for name, value in settings_of_broker_3.items()
        }
        settings = {
            "default.replication.factor": 3,
            "min.insync.replicas": 2,
            "leader.imbalance.check.interval.seconds": 1,
        }
        path.write_text(yaml.safe_dump({"cluster": "real", "settings": settings, "hosts": hosts}))
        return path

    yield write
    for pid in running():
        os.kill(pid, signal.SIGKILL)


def running() -> list[int]:
    """Pids of the brokers that the manifest names and that really run."""
    manifest = load_manifest("real")
    found = []
    for record in manifest.brokers.values() if manifest else ():
        if record.process is None:
            continue
        try:
            process = psutil.Process(record.process.pid)
            same = abs(process.create_time() - record.process.started_at) < 2
            if same and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
        except psutil.Error:
            pass
    return found


async def eventually(condition, seconds=60):
    async with asyncio.timeout(seconds):
        while not (found := await condition()):
            await asyncio.sleep(0.05)
        return found


async def test_up_twice_completes_stops_and_destroys(spec_file):
    spec = load_spec(spec_file())
    operations = Operations(spec)
    first = await operations.up()
    assert (first.changed, first.started, first.status.problem) == (True, (1, 2, 3), None)
    assert [each.state for each in first.brokers] == ["running"] * 3
    context = current_context()
    assert context is not None
    assert context.bootstrap == spec.bootstrap

    again = await operations.up()
    assert (again.changed, again.started) == (False, ())
    assert [each.pid for each in again.brokers] == [each.pid for each in first.brokers]

    os.kill(first.brokers[1].pid or 0, signal.SIGKILL)

    async def seen_dead():
        return (await operations.status()).brokers[1].state == "stale"

    await eventually(seen_dead)
    completed = await operations.up()
    assert completed.started == (2,)
    assert completed.status.healthy
    assert completed.brokers[0].pid == first.brokers[0].pid

    down = await operations.down()
    assert (down.stopped, down.killed, running()) == ((1, 2, 3), (), [])
    assert not (await operations.down()).changed
    cluster_id = first.status.cluster_id
    assert (await operations.up()).status.cluster_id == cluster_id

    removed = (await operations.destroy()).removed
    assert cluster_data_dir("real") in removed
    assert not Path(cluster_data_dir("real")).exists()
    assert current_context() is None
    assert running() == []


async def test_a_leader_dies_and_returns_and_the_feed_misses_nothing(spec_file):
    spec = load_spec(spec_file())
    operations = Operations(spec)
    await operations.up()
    live: list = []
    try:
        async with AdminClient(spec.bootstrap) as admin, ClusterFeed(spec.bootstrap) as feed:

            async def collect():
                async for update in feed.updates():
                    assert not (update.events and update.replaying)
                    live.extend((time.monotonic(), event) for event in update.events)

            collecting = asyncio.ensure_future(collect())

            def seen(kind, **fields):
                async def look():
                    return next(
                        (
                            found
                            for found in live
                            if found[1].kind == kind
                            and all(getattr(found[1], k) == v for k, v in fields.items())
                        ),
                        None,
                    )

                return look

            async def is_live():
                return feed.status.mode == "live"

            await eventually(is_live)
            first_offset = feed.image.offset + 1
            await admin.create_topic("orders", 6, 3, {"retention.ms": "60000"})
            await eventually(seen(EventKind.TOPIC_CREATED, topic="orders"))
            detail = await admin.topic("orders")
            assert detail.config["retention.ms"] == "60000"
            assert [each.end_offset for each in detail.partitions] == [0] * 6

            # The worst case: the leader is the controller, and the first bootstrap address, too.
            victim = (await admin.quorum()).leader_id
            led = next(each.partition for each in detail.partitions if each.leader == victim)
            killed_at = time.monotonic()
            assert await operations.kill_broker(victim)
            moved_at, moved = await eventually(
                seen(EventKind.LEADER_MOVED, topic="orders", partition=led, before=victim)
            )
            assert moved.after != victim
            assert moved_at - killed_at < 5
            _, shrunk = await eventually(seen(EventKind.ISR_SHRUNK, topic="orders", partition=led))
            assert victim not in shrunk.after
            await eventually(seen(EventKind.CONTROLLER_CHANGED))
            assert "moved from" in feed.status.message

            states = {each.id: each.state for each in await admin.brokers()}
            assert states[victim] == "fenced"
            partial = await admin.topic("orders")
            assert [each.end_offset for each in partial.partitions] == [0] * 6

            await operations.start_broker(victim)
            await eventually(seen(EventKind.ISR_EXPANDED, topic="orders", partition=led))
            await eventually(
                seen(EventKind.LEADER_MOVED, topic="orders", partition=led, after=victim)
            )
            await admin.delete_topic("orders")
            await eventually(seen(EventKind.TOPIC_DELETED, topic="orders"))
            last_offset = live[-1][1].offset
            collecting.cancel()

        told = [event for _, event in live if first_offset <= event.offset <= last_offset]
        history = await replayed(spec.bootstrap, first_offset, last_offset)
        assert [event.to_json() for event in told] == [event.to_json() for event in history]
    finally:
        await operations.destroy()


async def replayed(bootstrap, first_offset, last_offset):
    """What a second feed reads from the beginning of the log."""
    history = []
    async with asyncio.timeout(60), ClusterFeed(bootstrap, from_start=True) as feed:
        async for update in feed.updates():
            history += update.events
            if update.status.mode == "live":
                break
    return [event for event in history if first_offset <= event.offset <= last_offset]


async def test_a_broker_that_refuses_to_start_shows_why_and_the_others_are_stopped(spec_file):
    spec = load_spec(spec_file(num_partitions="many"))
    with pytest.raises(OperationError) as caught:
        await Operations(spec).up()
    text = str(caught.value)
    assert "Broker 3 stopped at start with exit status" in text
    assert "num.partitions" in text
    assert "broker-3.log" in text
    assert running() == []
    status = await Operations(spec).status(timeout_ms=500)
    assert [each.state for each in status.brokers] == ["stopped"] * 3
    assert current_context() is None


async def test_changed_settings_are_rolled_and_rolled_back(spec_file):
    first = await Operations(load_spec(spec_file())).up()
    pids = {each.id: each.pid for each in first.brokers}
    spec = load_spec(spec_file(log_retention_ms="60000"))
    operations = Operations(spec)
    async with AdminClient(spec.bootstrap) as admin:
        await admin.create_topic("orders", 3, 3, {})
    plan = await operations.plan()
    assert (plan.starts, plan.restarts) == ((), (3,))
    assert "+log.retention.ms=60000" in plan.of(3).config_diff
    rolled = await operations.up()
    assert (rolled.started, rolled.restarted, rolled.status.problem) == ((), (3,), None)
    now = {each.id: each.pid for each in rolled.brokers}
    assert (now[1], now[2]) == (pids[1], pids[2])
    assert now[3] != pids[3]
    async with AdminClient(spec.bootstrap) as admin:
        detail = await admin.topic("orders")
        assert [len(each.isr) for each in detail.partitions] == [3, 3, 3]
    assert not (await operations.up()).changed

    back = await operations.rollback()
    assert back.restarted == (3,)
    assert (await operations.plan()).restarts == (3,)
    again = await operations.restart()
    assert sorted(again.restarted) == [1, 2, 3]
    assert again.restarted[-1] == back.status.controller_id
    assert again.status.healthy
    assert (await operations.plan()).restarts == (3,)  # restarted with what it had
    started = time.monotonic()
    alone = await operations.restart((1,))
    # It is told in whole milliseconds.
    took_ms = math.ceil((time.monotonic() - started) * 1000)
    assert alone.restarted == (1,)
    assert took_ms / 2 < alone.elapsed_ms <= took_ms
    await operations.destroy()
    assert not os.path.exists(cluster_data_dir("real"))


async def test_a_setting_that_does_not_work_stops_the_roll_and_can_be_taken_back(spec_file):
    await Operations(load_spec(spec_file())).up()
    broken = Operations(load_spec(spec_file(num_partitions="many")))
    with pytest.raises(OperationError) as caught:
        await broken.up(auto_rollback=True)
    text = str(caught.value)
    assert "num.partitions" in text
    assert "broker-3.log" in text
    assert "Broker 3 was put back to" in text
    status = await broken.status()
    assert status.healthy
    with pytest.raises(OperationError, match=r"num\.partitions"):
        await broken.up()
    assert [each.state for each in (await broken.status()).brokers][:2] == ["running"] * 2
    repaired = await Operations(load_spec(spec_file())).up()
    assert repaired.started == (3,)
    assert repaired.status.healthy


PROGRAM = """
import asyncio, sys
from clusters.operations import Operations, load_spec
def report(progress):
    print(progress.message, flush=True)
asyncio.run(Operations(load_spec(sys.argv[1]), report=report).up())
"""


def test_ctrl_c_leaves_no_process_behind(spec_file):
    command = [sys.executable, "-c", PROGRAM, str(spec_file())]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    with process, process.stdout:
        try:
            pids = []
            for line in process.stdout:
                if ", pid " in line:
                    pids.append(int(line.rsplit(" ", 1)[1]))
                if len(pids) == 2:
                    break
            process.send_signal(signal.SIGINT)
            assert process.wait(60) != 0
        finally:
            process.kill()
    assert len(pids) == 2
    assert running() == []
    assert not any(psutil.pid_exists(pid) for pid in pids)


async def test_brokers_are_started_one_after_the_other_when_all_are_down(spec_file):
    """A start does no harm: the first says what is missing, the second makes the majority."""
    operations = Operations(load_spec(spec_file()))
    await operations.up()
    await operations.down()

    first = await operations.start_broker(1)
    assert first.started == (1,)
    assert "1 of 3 voters run and 2 are needed" in first.waits_for
    assert "Start broker 2 or 3" in first.waits_for
    assert len(running()) == 1
    with pytest.raises(GateClosed, match="1 of 3 voters run"):
        await operations.restart((1,))
    second = await operations.start_broker(2)
    assert (second.started, second.waits_for) == ((2,), "")
    states = [each.cluster_state for each in second.brokers]
    assert states[:2] == ["up", "up"]
    third = await operations.start_broker(3)
    assert third.status.healthy

    async with AdminClient(operations.spec.bootstrap) as admin:
        await admin.create_topic("lone", 1, 1, {"min.insync.replicas": "1"})
    before = running()
    with pytest.raises(GateClosed, match=r"Nothing was restarted; broker \d: lone-0"):
        await operations.restart()
    assert running() == before
