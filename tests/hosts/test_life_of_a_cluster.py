"""From bare hosts to a cluster, through its life, and back to bare hosts, as a person does it.

Each story is one cluster: what a later step needs is what an earlier one left.
"""

import asyncio
import io
import signal
import tarfile
from fnmatch import fnmatch
from functools import partial
from pathlib import Path

import pytest

from tests.hosts.deployed import LOGCTL, Deployed, broker_pid, wait_for_broker
from tests.hosts.host import Host
from tests.hosts.lab import Lab
from tests.interop.producing import PARTITIONS, AioLoad, ConfluentLoad, check, producing

pytestmark = pytest.mark.timeout(900)

UNCHANGED_PROCESSOR_SECONDS = 2.0
# Bounds a hang: what a busy machine gives us is its own.
UNCHANGED_SECONDS = 90.0
# The machine may be busy, and the bundle not built yet; else it takes 5 s (benchmarks.deploy).
DEPLOY_SECONDS = 120.0
TOPIC = "ledger"
# Two hundred records each second: some in each moment, and the hosts have the processor.
LOADS = [partial(kind, pause_seconds=0.1) for kind in (AioLoad, ConfluentLoad)]
LOG = "/var/log/logctl/prod/broker-1.log"
FILLER, FILLER_LINES = "a line that takes room and is told again", 600
READ = (str(LOGCTL), "tail", "--from", "start", "--until", "end")


def another_bundle(deployed: Deployed, name: str, line: str) -> str:
    """A file with this logctl's bundle, whose broker runs one more line at its start."""
    whole, path = deployed.folder / "whole.tar.gz", deployed.folder / f"{name}.tar.gz"
    deployed.run([str(LOGCTL), "bundle", "build", "--output", str(whole)])
    with tarfile.open(whole) as source, tarfile.open(path, "w:gz", compresslevel=1) as target:
        for member in source:
            if fnmatch(member.name, "*/broker/__pycache__/server.*.pyc"):
                continue  # else it would be run in place of the source
            content = source.extractfile(member) if member.isfile() else None
            if content is not None and member.name.endswith("/broker/server.py"):
                text = content.read() + f"\n{line}\n".encode()
                content, member.size = io.BytesIO(text), len(text)
            target.addfile(member, content)
    return str(path)


def release_of(host: Host) -> str:
    """The release that its broker runs from."""
    return host.run(f"cat /proc/{broker_pid(host)}/cmdline").split("releases/")[1].split("/")[0]


def starts_of(deployed: Deployed) -> list[str]:
    """When each broker was started, in ticks of its host."""
    return [
        host.run(f"cut -d' ' -f22 /proc/{broker_pid(host)}/stat").strip() for host in deployed.hosts
    ]


async def write_and_read(deployed: Deployed, topic: str) -> None:
    """A record written by one command is read by the next."""
    at = ["--bootstrap", deployed.bootstrap]
    await asyncio.to_thread(deployed.run, [str(LOGCTL), "topic", "create", topic, "-p", "3", *at])
    await deployed.whole()
    await asyncio.to_thread(deployed.run, [str(LOGCTL), "produce", topic, "hello", *at])
    read = await asyncio.to_thread(deployed.run, [*READ, topic, *at])
    assert "hello" in read.out


def assert_unchanged(deployed: Deployed) -> None:
    """Nothing to do, and quick: two seconds of a processor."""
    done = deployed.up()
    if "building the bundle" in done.said:  # other versions have pushed ours out of the cache
        done = deployed.up()
    assert "nothing to do" in done.said, done.said
    assert done.processor_seconds < UNCHANGED_PROCESSOR_SECONDS, f"{done.processor_seconds:.1f} s"
    assert done.seconds < UNCHANGED_SECONDS, f"{done.seconds:.1f} s"


def assert_bare(hosts: list[Host]) -> None:
    for host in hosts:
        assert [str(change) for change in host.changes()] == [], host.name
        assert not [line for line in host.processes().values() if "logd" in line], host.name


async def deploy_and_change(lab: Lab, folder: Path, *, systemd: bool) -> Deployed:
    """Deploy, run again, change a setting under load, upgrade, roll back."""
    deployed = Deployed(lab, lab.start(3, systemd=systemd), folder)
    done = await asyncio.to_thread(deployed.up)
    assert done.seconds < DEPLOY_SECONDS
    await write_and_read(deployed, "first")
    await asyncio.to_thread(assert_unchanged, deployed)

    await deployed.ask(lambda admin: admin.create_topic(TOPIC, PARTITIONS, 3, {}))
    await deployed.whole()
    async with producing(deployed.bootstrap, TOPIC, LOADS) as ledgers:
        await change_a_setting(deployed)
        await deployed.whole()
        await upgrade_and_roll_back(deployed)
        await deployed.whole()
    check(ledgers, deployed.bootstrap, TOPIC)
    assert [ledger.failures for ledger in ledgers] == [[], []]
    await asyncio.to_thread(assert_unchanged, deployed)
    return deployed


async def change_a_setting(deployed: Deployed) -> None:
    """The plan changes nothing; up restarts every broker with the setting."""
    before = starts_of(deployed)
    deployed.spec["settings"]["log.retention.ms"] = "3d"
    deployed.spec["run"] = {"log_max_size": "16KiB"}
    fill_log(deployed.hosts[0])
    planned = await asyncio.to_thread(deployed.cluster, "up", "--plan", code=None)
    assert "log.retention.ms" in planned.said
    assert starts_of(deployed) == before
    await asyncio.to_thread(deployed.up)
    after = starts_of(deployed)
    assert all(one != two for one, two in zip(before, after, strict=True))
    logs = await asyncio.to_thread(deployed.cluster, "logs", "-b", "1", "-n", "900")
    assert f"{FILLER} {FILLER_LINES - 1}\n" in logs.out, "what stands in the older file"
    assert "unfenced" in logs.out.rpartition(FILLER)[2], "what stands in the new one"
    assert deployed.hosts[0].run(f"ls {LOG}.*").split() == [f"{LOG}.1"]


def fill_log(host: Host) -> None:
    """Make the broker's log longer than it may be soon."""
    words = f"{FILLER} %d\\n"
    host.run(
        f"i=0; while [ $i -lt {FILLER_LINES} ]; do printf '{words}' $i; i=$((i+1)); done >> {LOG}"
    )


async def upgrade_and_roll_back(deployed: Deployed) -> None:
    """A release that does not start, another one that does, and back to the one before."""
    first = release_of(deployed.hosts[0])
    await upgrade_to_a_broken_one(deployed, first)
    deployed.spec["bundle"] = await asyncio.to_thread(
        another_bundle, deployed, "newer", "NEWER = True"
    )
    await asyncio.to_thread(deployed.cluster, "upgrade", "--yes")
    second = {release_of(host) for host in deployed.hosts}
    assert len(second) == 1
    assert second != {first}
    await asyncio.to_thread(deployed.cluster, "rollback", "--yes")
    assert {release_of(host) for host in deployed.hosts} == {first}
    del deployed.spec["bundle"]


async def upgrade_to_a_broken_one(deployed: Deployed, first: str) -> None:
    """It is tried on one broker, which is put back; the others never stop."""
    before = starts_of(deployed)
    deployed.spec["bundle"] = await asyncio.to_thread(
        another_bundle, deployed, "broken", 'raise SystemExit("this release is broken")'
    )
    done = await asyncio.to_thread(deployed.cluster, "upgrade", "--yes", "--auto-rollback", code=1)
    assert "this release is broken" in done.said, done.said
    assert "was put back" in done.said, done.said
    assert "Not touched: broker" in done.said, done.said
    assert {release_of(host) for host in deployed.hosts} == {first}
    after = starts_of(deployed)
    assert sum(one != two for one, two in zip(before, after, strict=True)) == 1
    await deployed.whole()


async def test_plain_hosts(lab: Lab, tmp_path: Path) -> None:
    deployed = await deploy_and_change(lab, tmp_path, systemd=False)
    host = deployed.hosts[0]
    pid = broker_pid(host)
    host.kill(pid, signal.SIGKILL)
    wait_for_broker(host, other_than=pid)
    await deployed.whole()

    refused = deployed.cluster("destroy", "--yes", "--data", code=None)
    assert refused.code in (2, 4), refused.said
    deployed.cluster("destroy", "--yes", "--confirm-name", "prod", "--data")
    assert_bare(deployed.hosts)


async def test_systemd_hosts(lab: Lab, tmp_path: Path) -> None:
    deployed = await deploy_and_change(lab, tmp_path, systemd=True)
    host = deployed.hosts[0]
    unit = "logctl-prod-1.service"
    assert host.run(f"systemctl is-enabled {unit}").strip() == "enabled"
    owner = host.run(f"stat -c %U /proc/{broker_pid(host)}").strip()
    assert owner == "logctl"
    shown = host.run(f"systemctl show {unit} -p NoNewPrivileges -p ProtectSystem")
    assert "NoNewPrivileges=yes" in shown
    assert "ProtectSystem=strict" in shown or "ProtectSystem=full" in shown

    pid = broker_pid(host)
    host.kill(pid, signal.SIGKILL)
    wait_for_broker(host, other_than=pid)
    await deployed.whole()
    host.power_off()
    host.power_on()
    wait_for_broker(host)
    await deployed.whole()

    deployed.cluster("destroy", "--yes", "--confirm-name", "prod", "--data")
    assert_bare(deployed.hosts)


async def test_an_older_debian_and_root_without_sudo(lab: Lab, tmp_path: Path) -> None:
    deployed = Deployed(lab, lab.start(3, suite="bullseye"), tmp_path, user="root")
    await asyncio.to_thread(deployed.up)
    await write_and_read(deployed, "first")
    await asyncio.to_thread(assert_unchanged, deployed)
    deployed.cluster("down", "--yes")
    kept = deployed.hosts[0].run("find / -xdev -name .logctl-owner 2>/dev/null")
    assert kept.strip()
    deployed.cluster("destroy", "--yes", "--confirm-name", "prod")
    assert deployed.hosts[0].run("find / -xdev -name '*.log' -path '*prod*'").strip()


async def test_a_dead_host_is_replaced_by_another_machine(lab: Lab, tmp_path: Path) -> None:
    """Same id, new address, empty disk: the others send it what it has to have."""
    first, second, third, spare = lab.start(4)
    deployed = Deployed(lab, [first, second, third], tmp_path)
    await asyncio.to_thread(deployed.up)
    await write_and_read(deployed, "first")
    first.power_off()

    deployed.spec["hosts"][0]["address"] = spare.address
    deployed.hosts[0] = spare
    await asyncio.to_thread(deployed.up)
    await deployed.whole()
    read = await asyncio.to_thread(
        deployed.run,
        [*READ, "first", "--bootstrap", f"{spare.address}:9092"],
    )
    assert "hello" in read.out
    await asyncio.to_thread(assert_unchanged, deployed)
