"""Hosts by hand: `python -m tests.hosts 3 [--systemd] [--suite SUITE] [-- COMMAND...]`.

Starts hosts in private namespaces and runs a command among them (a shell when none is given), with
LAB_KEY and LAB_HOSTS in its environment. Everything ends with the command. Needs root.
"""

import argparse
import os
import subprocess
import sys

from tests.hosts.roots import SUITES, ensure_root, missing


def main() -> int:
    """Enter a lab, or act inside of one."""
    words = sys.argv[1:]
    command: list[str] = []
    if "--" in words:
        command = words[words.index("--") + 1 :]
        words = words[: words.index("--")]
    parser = argparse.ArgumentParser(prog="python -m tests.hosts", description=__doc__)
    parser.add_argument(
        "count", type=int, nargs="?", default=3, help="how many hosts; 0: namespaces alone"
    )
    parser.add_argument("--systemd", action="store_true", help="with systemd as PID 1")
    parser.add_argument("--suite", choices=SUITES, default=SUITES[0], help="release of Debian")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args(words)
    from tests.hosts import lab

    if arguments.inside:
        return lab.run_inside(command)
    if lab.INSIDE in os.environ and arguments.count == 0:
        return subprocess.run(command, check=False).returncode
    if lab.INSIDE in os.environ:
        return _among_hosts(arguments, command or [os.environ.get("SHELL", "/bin/sh")])
    if lacking := missing():
        sys.stderr.write(f"Hosts cannot be started here: missing {lacking}.\n")
        return 1
    ensure_root(arguments.suite)
    again = [sys.executable, "-m", "tests.hosts", *words, "--", *command]
    lab.enter(again)
    return 0


def _among_hosts(arguments: argparse.Namespace, command: list[str]) -> int:
    from tests.hosts.lab import Lab

    with Lab() as lab:
        hosts = lab.start(arguments.count, systemd=arguments.systemd, suite=arguments.suite)
        for host in hosts:
            sys.stderr.write(f"{host.name}  {host.address}  {host.path('/')}\n")
        sys.stderr.write(
            f"users root, ops, admin, guest; ssh -i {lab.key} ops@{hosts[0].address}\n"
        )
        names = " ".join(host.address for host in hosts)
        extra = {"LAB_KEY": str(lab.key), "LAB_HOSTS": names}
        return subprocess.run(command, env=os.environ | extra, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
