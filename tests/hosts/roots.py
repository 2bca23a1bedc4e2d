"""Debian roots that the hosts boot from: built once with debootstrap, cached, never written to afterwards.

A suite gives two roots that hosts stack below their own files: `plain` (sshd, sudo, no Python, no
systemd) and, above it, `systemd` (the files that installing systemd adds). Keyed by suite, packages
and this recipe; several test processes may ask at once. Standard library only, so that a machine
can prepare them before anything is installed: `python3 -m tests.hosts.roots`.
"""

import fcntl
import functools
import hashlib
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

SUITES = ("bookworm", "bullseye")
PLAIN_PACKAGES = ("openssh-server", "sudo")
SYSTEMD_PACKAGES = ("systemd-sysv", "dbus")
SUDO_PASSWORD = "correct horse battery"
# Empty: the one that debootstrap takes by itself.
MIRROR = os.environ.get("LOGCTL_DEBIAN_MIRROR", "")
BUILD_SECONDS = 600

# ops: sudo without a password; admin: sudo with one; guest: no sudo at all.
FINISH_PLAIN = f"""
set -e
for user in ops admin guest; do useradd --create-home --shell /bin/bash $user; done
echo 'admin:{SUDO_PASSWORD}' | chpasswd
echo 'ops ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/ops
echo 'admin ALL=(ALL) ALL' > /etc/sudoers.d/admin
chmod 0440 /etc/sudoers.d/ops /etc/sudoers.d/admin
rm -f /etc/ssh/ssh_host_* /etc/machine-id /var/cache/apt/archives/*.deb
printf 'AuthorizedKeysFile /etc/ssh/authorized_keys\\nMaxStartups 100\\nUseDNS no\\n' \
    > /etc/ssh/sshd_config.d/hosts.conf
! command -v python3
! command -v systemctl
"""
ADD_SYSTEMD = f"""
set -e
export DEBIAN_FRONTEND=noninteractive
apt-get -o Dpkg::Options::=--force-unsafe-io install -y -qq --no-install-recommends \
    {" ".join(SYSTEMD_PACKAGES)}
rm -f /var/cache/apt/archives/*.deb /etc/machine-id /var/lib/dbus/machine-id
touch /etc/machine-id
systemctl mask systemd-logind.service getty.target systemd-timesyncd.service apt-daily.timer \
    apt-daily-upgrade.timer
"""
BUILD = """
set -e
mount -t tmpfs -o size=3g,mode=755 build {work}
mkdir {work}/plain {work}/systemd {work}/overlay {work}/root
debootstrap --variant=minbase --include={packages} {suite} {work}/plain {mirror}
chroot {work}/plain /bin/sh -c "$FINISH_PLAIN"
mount -t overlay build -o lowerdir={work}/plain,upperdir={work}/systemd,workdir={work}/overlay \
    {work}/root
mount -t proc proc {work}/root/proc
chroot {work}/root /bin/sh -c "$ADD_SYSTEMD"
umount {work}/root/proc {work}/root
rm -rf {made}
mkdir -p {made}
cp -a {work}/plain {work}/systemd {made}/
"""


@dataclass(frozen=True, slots=True)
class Root:
    """A suite's unpacked folders."""

    suite: str
    plain: Path
    systemd: Path


class RootFailed(Exception):
    """debootstrap or a package did not work; the text has the last lines of what it said."""


def cache_folder() -> Path:
    """Where the roots are kept, for every checkout of the project."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(home) / "logctl" / "roots"


@functools.cache
def missing() -> str | None:
    """What this machine lacks to build roots and run hosts; None when nothing."""
    if sys.platform != "linux":
        return "Linux"
    if os.geteuid() != 0:
        return "root (hosts live in namespaces of their own)"
    tools = ("debootstrap", "unshare", "nsenter", "ip", "nft", "ssh-agent")
    absent = [tool for tool in tools if shutil.which(tool) is None]
    if absent:
        return ", ".join(absent)
    words = ["unshare", "--net", "--mount", "--pid", "--fork", "true"]
    tried = subprocess.run(words, capture_output=True, text=True, check=False)
    return f"namespaces of its own ({tried.stderr.strip()})" if tried.returncode != 0 else None


def ensure_root(suite: str) -> Root:
    """The root of a suite, built now when it is not in the cache (about half a minute)."""
    recipe = "\n".join((suite, *PLAIN_PACKAGES, *SYSTEMD_PACKAGES, FINISH_PLAIN, ADD_SYSTEMD))
    key = hashlib.sha256(recipe.encode()).hexdigest()[:12]
    folder = cache_folder() / f"{suite}-{key}"
    root = Root(suite, folder / "plain", folder / "systemd")
    if folder.is_dir():
        return root
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f"{suite}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            _build(suite, folder)
    return root


def _build(suite: str, folder: Path) -> None:
    started = time.monotonic()
    made, work = folder.with_suffix(".part"), folder.with_suffix(".work")
    work.mkdir(exist_ok=True)
    script = BUILD.format(
        work=work, made=made, suite=suite, packages=",".join(PLAIN_PACKAGES), mirror=MIRROR
    )
    done = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", script],
        env=os.environ | {"FINISH_PLAIN": FINISH_PLAIN, "ADD_SYSTEMD": ADD_SYSTEMD},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=BUILD_SECONDS,
        text=True,
        check=False,
    )
    work.rmdir()
    if done.returncode != 0:
        tail = "\n".join(done.stdout.splitlines()[-15:])
        raise RootFailed(f"the Debian root {suite} could not be built:\n{tail}")
    made.rename(folder)
    seconds = time.monotonic() - started
    sys.stderr.write(f"Debian root {suite} built in {seconds:.0f} s: {folder}\n")


if __name__ == "__main__":
    if lacking := missing():
        sys.exit(f"cannot build the roots of the test hosts without {lacking}")
    for each in SUITES:
        ensure_root(each)
