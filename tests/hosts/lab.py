"""A network of bare hosts inside private namespaces, and how a process gets into them.

`enter` replaces this process by one in its own net, mount, pid and ipc namespaces: there is no way
out to any network, and when the command ends, however it ends, the kernel takes all of it away.
What it cannot take (an empty folder, empty cgroups) the next lab sweeps.
"""

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import asyncssh

from tests.hosts.host import Host, tool
from tests.hosts.roots import ensure_root

PREFIX = "logctl-hosts."
INSIDE = "LOGCTL_HOSTS_LAB"
ON_DISK = "LOGCTL_HOSTS_ON_DISK"
HUB = "10.77.0.1"
MEMORY = "8g"


class Lab:
    """Hosts h1, h2, ... at 10.77.0.11, ...; `key` opens every user of every host."""

    def __init__(self) -> None:
        assert INSIDE in os.environ, "hosts live in a lab only: see tests/hosts/lab.py"
        self._base = Path(os.environ[INSIDE])
        self.folder = Path(tempfile.mkdtemp(prefix="net-", dir=self._base / "run"))
        self.key = self.folder / "id_ed25519"
        self.hosts: list[Host] = []

    def __enter__(self) -> Self:
        key = asyncssh.generate_private_key("ssh-ed25519", comment="lab")
        self.key.touch(mode=0o600)
        key.write_private_key(self.key)
        key.write_public_key(f"{self.key}.pub")
        tool("ip", "link", "add", "br0", "type", "bridge")
        tool("ip", "addr", "add", f"{HUB}/24", "dev", "br0")
        tool("ip", "link", "set", "br0", "up")
        return self

    def __exit__(self, *raised: object) -> None:
        for host in self.hosts:
            host.remove()
        tool("ip", "link", "delete", "br0")
        _remove_cgroups(self._base.name)
        shutil.rmtree(self.folder)

    def start(self, count: int, *, systemd: bool = False, suite: str = "bookworm") -> list[Host]:
        """Boot so many more hosts and wait until they can be reached."""
        root = ensure_root(suite)
        cgroups = _cgroup_mount() if systemd else None
        first = len(self.hosts) + 1
        started = []
        for number in range(first, first + count):
            folder = self.folder / f"h{number}"
            cgroup = cgroups / f"{self._base.name}-h{number}" if cgroups else None
            host = Host(number, folder, root, systemd=systemd, cgroup=cgroup)
            self.hosts.append(host)  # before it is whole: what was made of it goes with the lab
            host.create(Path(f"{self.key}.pub").read_text())
            started.append(host)
        for host in started:
            host.power_on(wait=False)
        for host in started:
            host.wait_booted()
        return started


def enter(command: Sequence[str]) -> None:
    """Become a process in private namespaces that runs a command there. Does not return."""
    os.execvp("unshare", unshared(command))


def unshared(command: Sequence[str]) -> list[str]:
    """The command line that runs a command in a lab of its own."""
    return [
        "unshare", "--net", "--mount", "--pid", "--ipc", "--fork", "--kill-child",
        "--mount-proc", "--propagation", "private",
        sys.executable, "-m", "tests.hosts", "--inside", "--", *command,
    ]  # fmt: skip


def run_inside(command: Sequence[str]) -> int:
    """As PID 1 of the lab: prepare it, run the command, reap orphans until it ends."""
    parent = os.environ.get(ON_DISK) or tempfile.gettempdir()
    sweep(Path(parent))
    base = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    with (base / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        (base / "run").mkdir()
        if not os.environ.get(ON_DISK):
            tool("mount", "-t", "tmpfs", "-o", f"size={MEMORY},mode=755", "lab", str(base / "run"))
        os.makedirs("/run/netns", exist_ok=True)
        tool("mount", "-t", "tmpfs", "lab", "/run/netns")
        tool("ip", "link", "set", "lo", "up")
        home = Path("~/.ssh").expanduser()
        if home.is_dir():  # this person's keys, configuration and known hosts have no part in it
            tool("mount", "-t", "tmpfs", "-o", "mode=700", "lab", str(home))
        signal.signal(signal.SIGINT, lambda *_: None)  # the terminal tells the command, too
        environment = os.environ | {INSIDE: str(base)}
        child = subprocess.Popen(command, env=environment, close_fds=False)
        signal.signal(signal.SIGTERM, lambda *_: child.terminate())
        code = _reap_until(child.pid)
        _remove_cgroups(base.name)
    _remove(base)
    return code


def _reap_until(wanted: int) -> int:
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == wanted:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def _remove(base: Path) -> None:
    with contextlib.suppress(OSError):
        subprocess.run(["umount", "-l", str(base / "run")], check=False, capture_output=True)
        shutil.rmtree(base)


def sweep(parent: Path) -> None:
    """Remove what labs left whose processes are gone: their folders' locks are free."""
    for base in parent.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError), (base / "lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove_cgroups(base.name)
            shutil.rmtree(base, ignore_errors=True)


def _cgroup_mount() -> Path:
    for line in Path("/proc/mounts").read_text().splitlines():
        _, where, kind, *_ = line.split(" ")
        if kind == "cgroup2":
            return Path(where)
    where = Path("/sys/fs/cgroup")
    tool("mount", "-t", "cgroup2", "cgroup2", str(where))
    return where


def _remove_cgroups(name: str) -> None:
    for line in Path("/proc/mounts").read_text().splitlines():
        _, where, kind, *_ = line.split(" ")
        if kind != "cgroup2":
            continue
        for top in Path(where).glob(f"{name}-h*"):
            for folder, _, _ in os.walk(top, topdown=False):
                with contextlib.suppress(OSError):
                    os.rmdir(folder)
