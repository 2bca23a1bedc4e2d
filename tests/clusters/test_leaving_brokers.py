"""A broker that the file no longer names leaves quorum and cluster, and nothing is interrupted."""

import contextlib
import os
import random
import signal
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import yaml

from clusters.admin import AdminClient
from clusters.admin.model import QuorumInfo, QuorumReplica
from clusters.errors import CheckFailed, OperationError
from clusters.manifest import load_manifest
from clusters.operations import Operations, load_spec
from clusters.phases import leaving

NAME = "leaving"


def free_ports(count: int) -> list[int]:
    ports: list[int] = []
    while len(ports) < count:
        # Below the range that the system takes for outgoing connections of anybody.
        port = random.SystemRandom().randrange(20_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            ports += [port] if port not in ports else []
    return ports


@pytest.fixture
def file_of(tmp_path):
    """Writes a cluster file of these brokers; whatever was started is ended afterwards."""
    ports = free_ports(8)

    def write(*ids: int) -> Path:
        hosts = [
            {
                "id": n,
                "address": "local",
                "listeners": {"client": ports[2 * n - 2], "controller": ports[2 * n - 1]},
            }
            for n in ids
        ]
        path = tmp_path / "cluster.yaml"
        text = {
            "cluster": NAME,
            "settings": {"min.insync.replicas": 2},
            "rollout": {"interval": "100ms", "stable_readings": 1},
            "hosts": hosts,
        }
        path.write_text(yaml.safe_dump(text))
        return path

    yield write
    manifest = load_manifest(NAME)
    for record in manifest.brokers.values() if manifest else ():
        if record.process is not None:
            with contextlib.suppress(psutil.Error, ProcessLookupError):
                process = psutil.Process(record.process.pid)
                if abs(process.create_time() - record.process.started_at) < 2:
                    os.kill(process.pid, signal.SIGKILL)


@pytest.mark.interop
async def test_a_broker_taken_out_of_the_file_leaves_the_quorum_and_is_stopped(file_of):
    said: list[Any] = []
    before = load_spec(file_of(1, 2, 3, 4))
    started = await Operations(before).up()
    pid = next(each.pid for each in started.brokers if each.id == 4)
    async with AdminClient(before.bootstrap) as admin:
        await admin.create_topic("held", assignments={0: (4, 1, 2)})
    spec = load_spec(file_of(1, 2, 3))
    operations = Operations(spec, report=said.append)

    with pytest.raises(CheckFailed) as refused:
        await operations.up()
    assert "a partition has a replica on broker 4" in str(refused.value)
    assert "`logctl partition move held --to-brokers 1,2,3 --wait`" in str(refused.value)
    assert psutil.pid_exists(pid), "nothing was changed"

    async with AdminClient(spec.bootstrap) as admin:
        await admin.delete_topic("held")
    assert (await operations.plan()).leaves == (4,)
    done = await operations.up()
    assert (sorted(done.restarted), done.left) == ([1, 2, 3], (4,))
    assert done.status.healthy
    assert not [each for each in said if each.step in {"failed", "warning"}]
    async with AdminClient(spec.bootstrap) as admin:
        assert [voter.id for voter in (await admin.quorum()).voters] == [1, 2, 3]
        assert [broker.id for broker in (await admin.cluster()).brokers] == [1, 2, 3]
    manifest = load_manifest(NAME)
    assert manifest is not None
    assert manifest.brokers[4].process is None
    again = await operations.up()
    assert (again.changed, again.left) == (False, ())
    await operations.down()


def quorum(leader: int, *voters: int) -> QuorumInfo:
    return QuorumInfo(
        leader_id=leader,
        leader_epoch=1,
        high_watermark=10,
        voters=[
            QuorumReplica(
                id=n,
                directory_id=None,
                log_end_offset=10,
                last_fetch_ms=-1,
                last_caught_up_ms=-1,
            )
            for n in voters
        ],
        observers=[],
        nodes={},
    )


class Driver:
    """A broker that is stopped and started, and what was done with it."""

    def __init__(self) -> None:
        self.done: list[str] = []

    async def stop(self, timeout_ms: int) -> Any:
        self.done.append("stop")
        return SimpleNamespace(killed=False)

    async def start(self, command: Any) -> str:
        self.done.append("start")
        return "pid 1"


def run_with(driver: Driver, hosts: tuple[int, ...] = (1, 2, 3)) -> Any:
    node = SimpleNamespace(
        driver=driver, layout=None, connection=SimpleNamespace(python="python"), id=4
    )
    named = [SimpleNamespace(id=n, roles=["broker", "controller"]) for n in hosts]
    return SimpleNamespace(
        leaving={4: node},
        stop_timeout_ms=1,
        engine=SimpleNamespace(command=lambda python, layout: []),
        spec=SimpleNamespace(hosts=named, source="cluster.yaml"),
        say=lambda *words: None,
    )


async def test_one_that_leads_the_quorum_hands_it_over_first(monkeypatch):
    driver = Driver()
    answers = iter([quorum(4, 1, 2, 3, 4), None, quorum(2, 1, 2, 3, 4)])
    last = quorum(2, 1, 2, 3, 4)

    async def told(run: Any) -> QuorumInfo | None:
        return next(answers, last)

    monkeypatch.setattr(leaving, "_quorum", told)
    await leaving.lead_elsewhere(run_with(driver))
    assert driver.done == ["stop", "start"]
    driver.done.clear()
    await leaving.lead_elsewhere(run_with(driver))
    assert driver.done == [], "another leads already"


async def test_when_nobody_else_takes_over_it_says_so(monkeypatch):
    monkeypatch.setattr(leaving, "HANDED_OVER_S", 0.01)
    monkeypatch.setattr(leaving, "POLL_S", 0.001)
    answers = iter([quorum(4, 1, 2, 3, 4)])

    async def told(run: Any) -> QuorumInfo | None:
        return next(answers, None)

    monkeypatch.setattr(leaving, "_quorum", told)
    with pytest.raises(OperationError, match="after broker 4 stopped nobody leads the quorum"):
        await leaving.lead_elsewhere(run_with(Driver()))


@pytest.mark.parametrize(
    ("voters", "hosts", "said"),
    [
        ((1, 2, 3, 4), (1, 2, 3), ""),
        ((1, 2, 3), (1, 2, 3), ""),
        ((1, 2, 3, 4, 5), (1, 2, 3), "4 goes, 5 goes"),
        ((1, 2, 4), (1, 2, 3), "4 goes, 3 comes"),
    ],
)
async def test_one_voter_changes_at_a_time(monkeypatch, voters, hosts, said):
    async def read(run: Any) -> Any:
        return SimpleNamespace(partitions=(), quorum=quorum(1, *voters))

    monkeypatch.setattr(leaving, "read_cluster", read)
    failures = await leaving.leaving_failures(run_with(Driver(), hosts))
    assert bool(failures) is bool(said)
    assert said in "".join(failures)


@pytest.mark.parametrize(
    ("voters", "hosts", "said"),
    [
        ("1@h:1", (1, 2), ""),
        ("1@h:1,2@h:2", (1, 2, 3), ""),
        ("1@h:1,2@h:2,3@h:3", (1, 2, 3), ""),
        ("1@h:1,2@old:2,3@h:3", (1, 2, 3), ""),
        ("1@h:1", (1, 2, 3), "2 comes, 3 comes"),
        ("1@h:1,2@h:2,3@h:3", (1, 2, 3, 4, 5), "4 comes, 5 comes"),
    ],
)
def test_two_that_come_at_once_could_elect_each_other(voters, hosts, said):
    """With empty logs, while the one that has the records leads on without knowing of them."""
    run = run_with(Driver(), hosts)
    running = SimpleNamespace(configuration=f"a=b\ncontroller.quorum.voters={voters}\n")
    fresh = SimpleNamespace(configuration=None)
    run.nodes = {
        1: SimpleNamespace(found=SimpleNamespace(running=True, owner={}, installed=running)),
        2: SimpleNamespace(found=SimpleNamespace(running=False, owner=None, installed=fresh)),
    }
    failures = leaving.voters_failures(run)
    assert bool(failures) is bool(said)
    assert said in "".join(failures)
    run.nodes[1].found.running = False
    assert leaving.voters_failures(run) == failures, "stopped, it still has the records"
    run.nodes[1].found.owner = None
    assert leaving.voters_failures(run) == [], "without data there is nothing to lose"
