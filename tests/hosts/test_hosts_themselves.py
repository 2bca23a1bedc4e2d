"""The lab keeps its promises: hosts are bare, apart, reachable, and break as machines do."""

import subprocess
from pathlib import Path

import asyncssh
import pytest

from tests.hosts.host import Host
from tests.hosts.lab import Lab
from tests.hosts.roots import SUDO_PASSWORD

CONNECT_SECONDS = 60.0
# Of hosts that are going to be gone: so soon they are given up.
SILENCE_SECONDS, UNPLUGGED_SECONDS = 2, 5.0


def connect(
    lab: Lab,
    host: Host,
    user: str = "root",
    *,
    seconds: float = CONNECT_SECONDS,
    silence_s: int = round(CONNECT_SECONDS),
) -> asyncssh.connect:
    return asyncssh.connect(
        host.address,
        username=user,
        client_keys=[str(lab.key)],
        known_hosts=None,
        config=None,
        agent_path=None,
        connect_timeout=seconds,
        keepalive_interval=1,
        keepalive_count_max=silence_s,
    )


async def say(lab: Lab, host: Host, command: str, user: str = "root", text: str = "") -> str:
    async with connect(lab, host, user) as connection:
        done = await connection.run(command, input=text)
        return str(done.stdout) + str(done.stderr)


async def test_three_plain_hosts_are_bare_and_apart(lab: Lab) -> None:
    hosts = lab.start(3)
    for host in hosts:
        found = await say(lab, host, "hostname; cat /proc/1/comm; command -v python3 systemctl ss")
        assert found.split() == [host.name, "boot-host"]
        assert host.changes() == []
    marks = await say(lab, hosts[0], "touch /only-here; ls / | grep only")
    assert marks.strip() == "only-here"
    assert await say(lab, hosts[1], "ls / | grep only") == ""
    ids = {await say(lab, host, "cat /etc/machine-id") for host in hosts}
    assert len(ids) == 3
    assert [str(change) for change in hosts[0].changes()] == ["added /only-here"]


async def test_users_differ_in_what_sudo_gives_them(lab: Lab) -> None:
    (host,) = lab.start(1)
    assert "uid=0" in await say(lab, host, "sudo -n id", "ops")
    assert "password is required" in await say(lab, host, "sudo -n id", "admin")
    given = await say(lab, host, "sudo -S -k -p '' id", "admin", SUDO_PASSWORD + "\n")
    assert "uid=0" in given
    assert "uid=0" not in await say(lab, host, "sudo -S -k -p '' id", "admin", "wrong\n")
    assert "uid=0" not in await say(lab, host, "sudo -n id", "guest")


async def test_power_cut_cable_and_partition(lab: Lab) -> None:
    one, two, _ = lab.start(3)
    await say(lab, one, "echo kept > /root/kept; sleep 1000 > /dev/null 2>&1 &")
    async with connect(lab, one, silence_s=SILENCE_SECONDS) as connection:
        one.power_off()
        with pytest.raises((asyncssh.Error, OSError)):
            await connection.run("true", check=True)
    one.power_on()
    assert await say(lab, one, "cat /root/kept") == "kept\n"
    assert not any("sleep 1000" in command for command in one.processes().values())

    two.unplug()
    with pytest.raises((asyncssh.Error, OSError, TimeoutError)):
        async with connect(lab, two, seconds=UNPLUGGED_SECONDS):
            pass
    two.plug()
    assert await say(lab, two, "echo back") == "back\n"

    reach = f"bash -c 'exec 3<>/dev/tcp/{two.address}/22' && echo reached"
    assert "reached" in await say(lab, one, f"timeout 30 {reach}")
    one.cut_from(two)
    assert "reached" not in await say(lab, one, f"timeout 1 {reach}")
    one.heal()
    assert "reached" in await say(lab, one, f"timeout 30 {reach}")


async def test_disks_clocks_keys_and_shells(lab: Lab) -> None:
    (host,) = lab.start(1)
    host.small_disk("/var/lib/small", 1 << 20)
    host.fill_disk("/var/lib/small")
    assert "No space left" in await say(lab, host, "echo more text > /var/lib/small/more")
    host.no_exec("/opt")
    assert "denied" in await say(lab, host, "cp /bin/true /opt/true && /opt/true")

    before = int(await say(lab, host, "date +%s"))
    host.skew_clock(-300)
    assert 200 <= before - int(await say(lab, host, "date +%s")) <= 300
    assert await say(lab, host, "date -u -d @0 +%Y") == "1970\n"

    fingerprint = host.change_host_key()
    async with connect(lab, host) as connection:
        key = connection.get_server_host_key()
        assert key is not None
        assert key.get_fingerprint() == fingerprint

    host.noisy_shell("ops")
    assert "Welcome back" in await say(lab, host, "true", "ops")
    host.no_sftp()
    async with connect(lab, host) as connection:
        with pytest.raises(asyncssh.Error):
            await connection.start_sftp_client()


async def test_settings_of_the_kernel_are_the_hosts_own(lab: Lab) -> None:
    (host,) = lab.start(1)
    outside = Path("/proc/sys/vm/swappiness").read_text()
    await say(lab, host, "echo 1 > /proc/sys/vm/swappiness")
    assert await say(lab, host, "cat /proc/sys/vm/swappiness") == "1\n"
    assert Path("/proc/sys/vm/swappiness").read_text() == outside


async def test_systemd_hosts_boot_and_reboot(lab: Lab) -> None:
    (host,) = lab.start(1, systemd=True)
    assert await say(lab, host, "cat /proc/1/comm") == "systemd\n"
    assert host.changes() == []
    host.write(
        "/etc/systemd/system/mark.service",
        "[Service]\nExecStart=/bin/sleep infinity\nUser=nobody\n"
        "[Install]\nWantedBy=multi-user.target\n",
    )
    await say(lab, host, "systemctl daemon-reload; systemctl enable --now mark")
    host.reboot()
    assert await say(lab, host, "systemctl is-active mark") == "active\n"


async def test_an_older_debian_has_an_older_c_library(lab: Lab) -> None:
    (host,) = lab.start(1, suite="bullseye")
    assert "2.31" in await say(lab, host, "ls /lib/x86_64-linux-gnu/libc-*.so")


def test_nothing_leads_out(lab: Lab) -> None:
    lab.start(1)
    routes = subprocess.run(["ip", "route"], capture_output=True, text=True, check=True).stdout
    assert "default" not in routes
    assert [line.split()[0] for line in routes.splitlines()] == ["10.77.0.0/24"]
