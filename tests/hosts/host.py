"""One bare host of the lab: boots, is switched off, and gets hurt in the ways that machines get hurt.

Runs inside the private namespaces of `tests.hosts` and nowhere else: it mounts, it makes devices.
"""

import contextlib
import os
import secrets
import shlex
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import asyncssh

from tests.hosts.changes import Change, Snapshot, changes_between, take_snapshot
from tests.hosts.roots import Root

T = TypeVar("T")
BOOT = Path(__file__).parent / "boot"
SSH_SECONDS = 60.0
STOP_SECONDS = 60.0
POLL_SECONDS = 0.01


def until(check: Callable[[], T], what: str, seconds: float) -> T:
    """Ask until the answer is true; fails with the last one."""
    limit = time.monotonic() + seconds
    while not (answer := check()):
        assert time.monotonic() < limit, f"not within {seconds} s: {what}; last: {answer!r}"
        time.sleep(POLL_SECONDS)
    return answer


def tool(*command: str, check: bool = True, text: str | None = None) -> str:
    """Run a tool of the machine inside the lab; its stdout."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, input=text)
    if check and done.returncode != 0:
        raise AssertionError(f"{shlex.join(command)} ended with {done.returncode}: {done.stderr}")
    return done.stdout


class Host:
    """Address, root file system and process tree of its own; `path` reaches into its files."""

    def __init__(
        self, number: int, folder: Path, root: Root, *, systemd: bool, cgroup: Path | None
    ) -> None:
        self.number = number
        self.name = f"h{number}"
        self.address = f"10.77.0.{10 + number}"
        self.systemd = systemd
        self.folder = folder
        self._root_files = root
        self._cgroup = cgroup
        self._process: subprocess.Popen[bytes] | None = None
        self._fresh: Snapshot = {}

    # -- made once

    def create(self, authorized_key: str) -> None:
        """Network, root file system and identity. Nothing runs yet."""
        self._create_network()
        for name in ("upper", "work", "root"):
            (self.folder / name).mkdir(parents=True)
        lower = self._lowers
        options = (
            f"lowerdir={':'.join(str(each) for each in lower)},"
            f"upperdir={self.folder / 'upper'},workdir={self.folder / 'work'}"
        )
        tool("mount", "-t", "overlay", f"lab-{self.name}", "-o", options, str(self.path("/")))
        names = [f"10.77.0.{10 + number} h{number}" for number in range(1, 10)]
        self.write("/etc/hostname", self.name + "\n")
        self.write("/etc/hosts", "\n".join(["127.0.0.1 localhost", *names]) + "\n")
        self.write("/etc/machine-id", secrets.token_hex(16) + "\n")
        self.write("/etc/ssh/authorized_keys", authorized_key)
        self._write_host_key()
        kind = "systemd" if self.systemd else "plain"
        self.write("/sbin/boot-devices", (BOOT / "devices.sh").read_text())
        self.write("/sbin/boot-host", (BOOT / f"{kind}.sh").read_text(), mode=0o755)

    @property
    def _lowers(self) -> list[Path]:
        plain = self._root_files.plain
        return [self._root_files.systemd, plain] if self.systemd else [plain]

    def _create_network(self) -> None:
        inside, outside = "eth0", f"v{self.number}"
        tool("ip", "netns", "add", self.name)
        tool("ip", "link", "add", outside, "type", "veth", "peer", inside, "netns", self.name)
        tool("ip", "link", "set", outside, "master", "br0", "up")
        tool("ip", "-n", self.name, "addr", "add", f"{self.address}/24", "dev", inside)
        tool("ip", "-n", self.name, "link", "set", inside, "up")
        tool("ip", "-n", self.name, "link", "set", "lo", "up")

    def _write_host_key(self) -> str:
        key = asyncssh.generate_private_key("ssh-ed25519", comment=self.name)
        path = "/etc/ssh/ssh_host_ed25519_key"
        self.write(path, key.export_private_key().decode(), mode=0o600)
        self.write(f"{path}.pub", key.export_public_key().decode())
        return key.get_fingerprint()

    def remove(self) -> None:
        """Take away whatever there is of it."""
        self._kill()
        # By hand: with its namespace the link would go, too, but in the kernel's own time.
        tool("ip", "link", "delete", f"v{self.number}", check=False)
        tool("ip", "netns", "delete", self.name, check=False)
        tool("umount", str(self.path("/")), check=False)

    # -- power

    def power_on(self, *, wait: bool = True) -> None:
        """Boot; with `wait` until its sshd greets."""
        assert self._process is None, f"{self.name} already runs"
        tool("ip", "link", "set", f"v{self.number}", "up")
        inner = [
            "nsenter", f"--net=/run/netns/{self.name}",
            "unshare", "--mount", "--pid", "--uts", "--ipc", "--cgroup", "--fork",
            "--propagation", "private", "--kill-child",
            "chroot", str(self.path("/")), "/sbin/boot-host",
        ]  # fmt: skip
        if self._cgroup is not None:
            self._cgroup.mkdir(parents=True, exist_ok=True)
            join = f"echo $$ > {shlex.quote(str(self._cgroup / 'cgroup.procs'))}"
            inner = ["sh", "-c", f"{join}; exec {shlex.join(inner)}"]
        with (self.folder / "console").open("ab") as console:
            self._process = subprocess.Popen(
                inner,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
            )
        if wait:
            self.wait_booted()

    def power_off(self) -> None:
        """Cut its power: nothing more is sent, nothing is written, nobody is told."""
        tool("ip", "link", "set", f"v{self.number}", "down")
        self._kill()

    def reboot(self) -> None:
        """Power off and on."""
        self.power_off()
        self.power_on()

    def _kill(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        init = self._init_of(process)
        process.kill()
        process.wait(STOP_SECONDS)
        if init is not None:
            until(lambda: not Path(f"/proc/{init}").exists(), f"{self.name} is off", STOP_SECONDS)

    @property
    def is_on(self) -> bool:
        """Whether it has power."""
        return self._process is not None and self._process.poll() is None

    def wait_booted(self) -> None:
        """Until sshd greets and, with systemd, every unit was started; notes how a new host looks."""
        self.wait_ssh()
        if self.systemd:
            until(
                lambda: (
                    self.run("systemctl is-system-running", check=False).strip()
                    in ("running", "degraded")
                ),
                f"{self.name} has booted",
                SSH_SECONDS,
            )
        if not self._fresh:
            self._fresh = self.snapshot()

    def wait_ssh(self) -> None:
        """Until sshd greets."""
        limit = time.monotonic() + SSH_SECONDS
        while not self._greets():
            if time.monotonic() > limit or not self.is_on:
                console = (self.folder / "console").read_text(errors="replace")[-2000:]
                raise AssertionError(f"{self.name} does not answer on port 22; console:\n{console}")
            time.sleep(POLL_SECONDS)

    def _greets(self) -> bool:
        try:
            with socket.create_connection((self.address, 22), timeout=1.0) as connection:
                connection.settimeout(2.0)
                return connection.recv(4) == b"SSH-"
        except OSError:
            return False

    # -- inside

    def path(self, inside: str) -> Path:
        """A file of the host as this process sees it; mounts made later inside are not seen."""
        return self.folder / "root" / inside.lstrip("/")

    def write(self, inside: str, text: str, *, mode: int = 0o644) -> None:
        """Write one of its files, from outside."""
        path = self.path(inside)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_text(text)
        path.chmod(mode)

    def run(self, script: str, *, check: bool = True, text: str | None = None) -> str:
        """Run a shell script as root inside, past its sshd; stdout."""
        assert self._process is not None, f"{self.name} is off"
        init = self._init_of(self._process)
        enter = ["nsenter", "-t", str(init), "-m", "-p", "-u", "-i", "-n", "-r", "-w"]
        return tool(*enter, "/bin/sh", "-c", script, check=check, text=text)

    def processes(self) -> dict[int, str]:
        """Its processes, by their ids inside: the command lines."""
        listing = self.run(
            "for p in /proc/[0-9]*; do "
            "printf '%s %s\\n' \"${p#/proc/}\" \"$(tr '\\0' ' ' < $p/cmdline 2>/dev/null)\"; done"
        )
        pairs = (line.split(" ", 1) for line in listing.splitlines())
        return {int(pid): command.strip() for pid, command in pairs if command.strip()}

    def kill(self, pid: int, number: signal.Signals = signal.SIGKILL) -> None:
        """Signal one of its processes by its id inside."""
        self.run(f"kill -{int(number)} {pid}")

    def _init_of(self, process: subprocess.Popen[bytes]) -> int | None:
        with contextlib.suppress(FileNotFoundError):
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            return int(children[0]) if children else None
        return None

    # -- what was done to it

    def snapshot(self) -> Snapshot:
        """Every file that differs from the Debian root."""
        return take_snapshot(self.folder / "upper", self._lowers)

    def changes(self) -> list[Change]:
        """What differs from the fresh host: exactly what was done to it since its first boot."""
        return changes_between(self._fresh, self.snapshot())

    # -- faults

    def unplug(self) -> None:
        """Pull its network cable."""
        tool("ip", "link", "set", f"v{self.number}", "down")

    def plug(self) -> None:
        """Put its network cable back."""
        tool("ip", "link", "set", f"v{self.number}", "up")

    def cut_from(self, *others: "Host") -> None:
        """Drop every packet from and to other hosts; the way from here stays open."""
        rules = ["table inet fault { }", "flush table inet fault", "table inet fault {"]
        for hook, field in (("input", "saddr"), ("output", "daddr")):
            drops = "; ".join(f"ip {field} {other.address} drop" for other in others)
            rules.append(f"chain {hook} {{ type filter hook {hook} priority 0; {drops}; }}")
        self._nft("\n".join([*rules, "}"]))

    def heal(self) -> None:
        """Let every packet through again."""
        self._nft("table inet fault { }\ndelete table inet fault")

    def _nft(self, rules: str) -> None:
        tool("ip", "netns", "exec", self.name, "nft", "-f", "-", text=rules)

    def small_disk(self, folder: str, size_bytes: int) -> None:
        """Mount a disk of so many bytes at a folder, until the next power cut."""
        quoted = shlex.quote(folder)
        self.run(
            f"mkdir -p {quoted} && mount -t tmpfs -o mode=755,size={size_bytes} small {quoted}"
        )

    def fill_disk(self, folder: str, *, leave_kib: int = 0) -> None:
        """Leave no free byte on a small disk, or so many kibibytes."""
        quoted = shlex.quote(folder)
        self.run(f"cat /dev/zero > {quoted}/filler 2>/dev/null", check=False)
        if leave_kib:
            self.run(f"truncate -s -{leave_kib}K {quoted}/filler")

    def clear_disk(self, folder: str) -> None:
        """Take away what filled a disk."""
        self.run(f"rm {shlex.quote(folder)}/filler")

    def no_exec(self, folder: str) -> None:
        """Programs below a folder cannot be run, until the next power cut."""
        quoted = shlex.quote(folder)
        self.run(f"mkdir -p {quoted} && mount -t tmpfs -o mode=755,noexec noexec {quoted}")

    def skew_clock(self, seconds: int) -> None:
        """Let `date` tell another time (a clock cannot be changed for one host alone)."""
        real = self.path("/usr/bin/date.real")
        if not real.exists():
            os.rename(self.path("/usr/bin/date"), real)
        self.write(
            "/usr/bin/date",
            '#!/bin/sh\nfor word in "$@"; do case $word in\n'
            '  -d*|--date*|-r*|-s*|--set*) exec /usr/bin/date.real "$@" ;;\nesac; done\n'
            f"exec /usr/bin/date.real -d '{seconds:+d} seconds' \"$@\"\n",
            mode=0o755,
        )

    def change_host_key(self) -> str:
        """Another host key, as after a reinstallation; gives its fingerprint."""
        fingerprint = self._write_host_key()
        self.reload_sshd()
        return fingerprint

    def no_sftp(self) -> None:
        """Switch the SFTP subsystem off."""
        path = self.path("/etc/ssh/sshd_config")
        lines = path.read_text().splitlines(keepends=True)
        path.write_text("".join(line for line in lines if "sftp" not in line))
        self.reload_sshd()

    def noisy_shell(self, user: str = "root") -> None:
        """A .bashrc that speaks on every connection."""
        home = "/root" if user == "root" else f"/home/{user}"
        path = self.path(f"{home}/.bashrc")
        path.write_text("echo Welcome back, $USER\n" + path.read_text())

    def reload_sshd(self) -> None:
        """Have sshd read its configuration and host keys again."""
        if self.systemd:
            self.run("systemctl restart ssh")
        else:
            # Ended and started, not asked to reload: after the signal the old listener still greets
            # for a moment, and nothing listens while it starts itself again.
            self.run(
                "read pid < /run/sshd.pid; kill $pid; "
                "while [ -e /proc/$pid ]; do sleep 0.01; done; "
                "/usr/sbin/sshd -E /run/sshd.log -o PidFile=/run/sshd.pid"
            )
        self.wait_ssh()
