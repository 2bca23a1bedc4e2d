"""Deploying while things go wrong: it is said what failed, where and what to do; running again mends."""

import asyncio
import json
from pathlib import Path

import pytest

from tests.hosts.deployed import (
    LOGCTL,
    WHOLE_SECONDS,
    Deployed,
    broker_pid,
    names,
    wait_for_broker,
)
from tests.hosts.host import Host, until
from tests.hosts.lab import Lab
from tests.hosts.roots import SUDO_PASSWORD

pytestmark = pytest.mark.timeout(400)

MEBIBYTE = 1 << 20
UNHEALTHY = 10


async def test_a_partitioned_host_stops_the_roll(lab: Lab, tmp_path: Path) -> None:
    """Cut off from the other brokers, not from us: stopping another one would stop the writes.

    The controller is the worst to lose: for seconds it tells us that all are in sync.
    """
    deployed = Deployed(lab, lab.start(3), tmp_path)
    await asyncio.to_thread(deployed.up)
    await deployed.ask(lambda admin: admin.create_topic("orders", 3, 3, {}))
    await deployed.whole()
    controller_id = (await deployed.ask(lambda admin: admin.cluster())).controller_id
    lost = next(host for host in deployed.hosts if host.number == controller_id)
    others = [host for host in deployed.hosts if host is not lost]
    pids = [broker_pid(host) for host in others]
    lost.cut_from(*others)
    deployed.spec["rollout"]["timeout"] = "5s"
    deployed.spec["settings"]["log.retention.ms"] = "2d"
    done = await asyncio.to_thread(deployed.up, code=None)
    assert done.code in (1, 4, 10), done.said
    changed = [host for host, pid in zip(others, pids, strict=True) if broker_pid(host) != pid]
    assert changed == [], done.said
    # Before any restart, where it is already known to be away by then.
    away = f"did not become whole within 90 s: waiting for broker {lost.number} "
    told = (" was not stopped: ", f"Broker {lost.number} did not come back", away)
    assert any(each in done.said for each in told), done.said

    lost.heal()
    deployed.spec["rollout"]["timeout"] = "60s"
    await asyncio.to_thread(deployed.up)
    await deployed.whole()


async def test_a_full_disk_is_named_and_leaves_no_half_release(lab: Lab, tmp_path: Path) -> None:
    deployed = Deployed(lab, lab.start(3), tmp_path)
    host = deployed.hosts[1]
    host.small_disk("/opt", 30 * MEBIBYTE)
    deployed.spec["checks"] = {"ignore": ["disk"]}
    done = await asyncio.to_thread(deployed.up, code=1)
    assert names(host, done.said), done.said
    assert "no space is left" in done.said, done.said
    assert host.run("ls -A /opt/logctl/prod/releases") == ""

    host.run("umount -l /opt")
    host.small_disk("/var/lib", 64 * MEBIBYTE)
    await asyncio.to_thread(deployed.up)
    await deployed.whole()
    await the_full_disk_of_a_broker_is_told(deployed, host)


async def the_full_disk_of_a_broker_is_told(deployed: Deployed, host: Host) -> None:
    """A broker that lives and cannot write: exit code 10 with its id and the folder."""
    at = ["--bootstrap", deployed.bootstrap]
    trouble = (
        f"broker {host.number}: the disk of its log dir /var/lib/logctl/prod/"
        f"broker-{host.number} is full"
    )

    def status() -> str:
        done = deployed.cluster("status", code=None)
        return done.said if done.code == UNHEALTHY and trouble in done.said else ""

    host.fill_disk("/var/lib", leave_kib=300)
    assert "64.0 MiB free" in await asyncio.to_thread(until, status, trouble, WHOLE_SECONDS)
    for words in (["broker", "list"], ["broker", "describe", str(host.number)]):
        done = await asyncio.to_thread(deployed.run, [str(LOGCTL), *words, *at], code=UNHEALTHY)
        assert trouble in done.said

    del deployed.spec["checks"]
    planned = await asyncio.to_thread(deployed.cluster, "up", "--plan")
    assert "are needed to run" in planned.err, "a warning: changes are still possible"

    def healthy() -> bool:
        return deployed.cluster("status", code=None).code == 0

    host.clear_disk("/var/lib")
    await asyncio.to_thread(until, healthy, "it is healthy again", WHOLE_SECONDS)


async def test_checks_find_what_would_fail_later(lab: Lab, tmp_path: Path) -> None:
    one, two, three = lab.start(3)
    deployed = Deployed(lab, [one, two, three], tmp_path)
    one.skew_clock(-300)
    two.small_disk("/var/lib", 30 * MEBIBYTE)
    three.no_exec("/opt")
    done = deployed.cluster("check", "--format", "json", code=None)
    assert done.code != 0
    text = json.dumps(done.json())
    for word in ("clock", "disk", "noexec"):
        assert word in text
    table = deployed.cluster("check", code=None).said
    assert "clock" in table
    refused = await asyncio.to_thread(deployed.up, code=1)
    assert names(one, refused.said)
    assert [str(change) for change in one.changes() if "date" not in change.path] == []


async def test_a_changed_host_key_is_refused(lab: Lab, tmp_path: Path) -> None:
    deployed = Deployed(lab, lab.start(3), tmp_path)
    await asyncio.to_thread(deployed.up)
    pids = [broker_pid(host) for host in deployed.hosts]
    host = deployed.hosts[1]
    old = host.run("cat /etc/ssh/ssh_host_ed25519_key.pub")
    fingerprint = host.change_host_key()
    deployed.spec["settings"]["log.retention.ms"] = "2d"
    done = await asyncio.to_thread(deployed.up, code=1)
    assert fingerprint in done.said
    assert old
    assert done.said.count("SHA256:") >= 2, done.said
    assert names(host, done.said)
    assert [broker_pid(each) for each in deployed.hosts] == pids


async def test_sudo_wants_a_password(lab: Lab, tmp_path: Path) -> None:
    deployed = Deployed(lab, lab.start(3), tmp_path, user="admin")
    deployed.environment["LOGCTL_SUDO_PASSWORD"] = "a wrong one"
    done = await asyncio.to_thread(deployed.up, code=1)
    assert "sudo" in done.said
    assert "a wrong one" not in done.said
    for host in deployed.hosts:
        assert host.changes() == []

    deployed.environment["LOGCTL_SUDO_PASSWORD"] = SUDO_PASSWORD
    done = await asyncio.to_thread(deployed.up)
    await deployed.whole()
    secret = SUDO_PASSWORD.encode()
    assert SUDO_PASSWORD not in done.said
    kept = [path for path in tmp_path.rglob("*") if path.is_file() and secret in path.read_bytes()]
    assert kept == []
    for host in deployed.hosts:
        found = host.run(
            f"grep -rlF '{SUDO_PASSWORD}' /etc /opt /var/log /var/lib /run", check=False
        )
        assert found == ""


async def test_noisy_shells_without_sftp(lab: Lab, tmp_path: Path) -> None:
    deployed = Deployed(lab, lab.start(3), tmp_path)
    for host in deployed.hosts:
        host.noisy_shell("ops")
        host.noisy_shell("root")
        host.no_sftp()
    await asyncio.to_thread(deployed.up)
    await deployed.whole()


async def test_the_supervisor_brings_a_broker_back_and_up_brings_a_rebooted_host_back(
    lab: Lab, tmp_path: Path
) -> None:
    deployed = Deployed(lab, lab.start(3), tmp_path)
    await asyncio.to_thread(deployed.up)
    host = deployed.hosts[2]
    pid = broker_pid(host)
    host.kill(pid)
    wait_for_broker(host, other_than=pid)
    host.reboot()
    assert not [line for line in host.processes().values() if "broker" in line]
    await asyncio.to_thread(deployed.up)
    wait_for_broker(host)
    await deployed.whole()
