"""Ways to reach hosts and to be somebody there: jump hosts, locked keys, agents, pins, no root at all."""

import asyncio
import os
import signal
import subprocess
from pathlib import Path

import asyncssh
import pytest

from tests.hosts.deployed import Deployed
from tests.hosts.host import Host, tool, until
from tests.hosts.lab import HUB, Lab

pytestmark = pytest.mark.timeout(300)

PASSPHRASE = "open sesame, please"
AGENT_SECONDS = 60.0


def fingerprint(host: Host) -> str:
    """Of a host's key, as its owner would read it off the machine."""
    text = host.path("/etc/ssh/ssh_host_ed25519_key.pub").read_text()
    return asyncssh.import_public_key(text).get_fingerprint()


def hide_from_here(host: Host) -> None:
    """A host in a private network: reached by the other hosts, not by this machine."""
    rules = f"chain input {{ type filter hook input priority 0; ip saddr {HUB} drop; }}"
    tool(
        *("ip", "netns", "exec", host.name, "nft", "-f", "-"),
        text=f"table inet private {{\n{rules}\n}}\n",
    )


async def test_a_jump_host_and_a_locked_key(lab: Lab, tmp_path: Path) -> None:
    way, *hosts = lab.start(4)
    deployed = Deployed(lab, hosts, tmp_path)
    locked = tmp_path / "id_locked"
    locked.touch(mode=0o600)
    asyncssh.read_private_key(str(lab.key)).write_private_key(locked, passphrase=PASSPHRASE)
    deployed.spec["ssh"] |= {"identity": str(locked), "jump": f"ops@{way.address}"}
    for host in hosts:
        hide_from_here(host)
    deployed.environment["LOGCTL_SSH_PASSPHRASE"] = "not that"
    refused = await asyncio.to_thread(deployed.up, code=1)
    assert "passphrase" in refused.said.lower(), refused.said
    assert "not that" not in refused.said

    deployed.environment["LOGCTL_SSH_PASSPHRASE"] = PASSPHRASE
    await asyncio.to_thread(deployed.up)
    status = await asyncio.to_thread(deployed.cluster, "status")
    assert status.said.count("running") == 3
    again = await asyncio.to_thread(deployed.up)
    assert "nothing to do" in again.said
    secret = PASSPHRASE.encode()
    kept = [path for path in tmp_path.rglob("*") if path.is_file() and secret in path.read_bytes()]
    assert kept == []


async def test_a_key_in_an_agent(lab: Lab, tmp_path: Path) -> None:
    deployed = Deployed(lab, lab.start(1), tmp_path)
    del deployed.spec["ssh"]["identity"]
    deployed.spec["settings"] = {}
    refused = await asyncio.to_thread(deployed.cluster, "check", code=None)
    assert refused.code != 0
    assert deployed.hosts[0].address in refused.said

    socket = str(tmp_path / "agent")
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.DEVNULL)
    try:
        until(lambda: os.path.exists(socket), "the agent listens", AGENT_SECONDS)
        deployed.environment["SSH_AUTH_SOCK"] = socket
        subprocess.run(
            ["ssh-add", "-q", str(lab.key)], env=deployed.environment, check=True, input=b""
        )
        await asyncio.to_thread(deployed.up)
    finally:
        agent.send_signal(signal.SIGTERM)
        agent.wait()


async def test_strict_host_keys_take_pinned_ones_only(lab: Lab, tmp_path: Path) -> None:
    hosts = lab.start(3)
    deployed = Deployed(lab, hosts, tmp_path)
    deployed.spec["ssh"]["host_keys"] = "strict"
    refused = await asyncio.to_thread(deployed.up, code=1)
    for host in hosts:
        assert fingerprint(host) in refused.said  # what to compare and to pin
        assert host.changes() == []

    for host, entry in zip(hosts, deployed.spec["hosts"], strict=True):
        entry["host_key"] = fingerprint(host)
    await asyncio.to_thread(deployed.up)

    pinned = fingerprint(hosts[1])
    shown = hosts[1].change_host_key()
    refused = await asyncio.to_thread(deployed.up, code=1)
    assert shown in refused.said
    assert pinned in refused.said


async def test_a_user_without_sudo_runs_brokers_as_himself(lab: Lab, tmp_path: Path) -> None:
    hosts = lab.start(3)
    deployed = Deployed(lab, hosts, tmp_path, user="guest")
    deployed.spec["ssh"]["become"] = "none"
    deployed.spec["paths"] = {
        "install": "/home/guest/logctl",
        "data": ["/home/guest/data"],
        "logs": "/home/guest/logs",
    }
    await asyncio.to_thread(deployed.up)
    await deployed.whole()
    for host in hosts:
        owners = host.run("for p in /proc/[0-9]*; do stat -c '%U %n' $p; done | grep guest")
        assert owners
        outside = [str(each) for each in host.changes() if not each.path.startswith("home/guest")]
        assert outside == []
    deployed.cluster("destroy", "--yes", "--confirm-name", "prod", "--data")
    for host in hosts:
        assert [str(each) for each in host.changes()] == []
