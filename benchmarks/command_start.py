"""`python -m benchmarks.command_start`: how long a command, Tab and the prompt take.

Each line is a process of its own: wall time (what a person waits) and processor time (what stays
the same on a busy machine), the best and the middle of some rounds. Aims: a one-shot command and the
first prompt in under 300 ms, also when no broker answers. Also lists what was imported longest.
"""

import argparse
import asyncio
import os
import pty
import re
import select
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import clusters
from clusters.throwaway import ThrowAwayCluster

ONE_SHOTS = {
    "--version": ["--version"],
    "topic create --help": ["topic", "create", "--help"],
    "context list": ["context", "list"],
    "topic list": ["topic", "list"],
    "topic list --format json": ["topic", "list", "--format", "json"],
    "broker list": ["broker", "list"],
    "group list": ["group", "list"],
}
DOWN = ["--bootstrap", "127.0.0.1:1"]


def spent(words: Sequence[str], environment: Mapping[str, str]) -> tuple[float, float]:
    """Run a command to its end; return wall and processor time in milliseconds."""
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "shell.main", *words],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, _, usage = os.wait4(process.pid, 0)
    process.returncode = 0
    return (time.perf_counter() - started) * 1000, (usage.ru_utime + usage.ru_stime) * 1000


def prompt(words: Sequence[str], environment: Mapping[str, str]) -> tuple[float, float]:
    """Start the interactive shell on a terminal and wait for its prompt."""
    started = time.perf_counter()
    pid, descriptor = pty.fork()
    if pid == 0:
        os.execve(
            sys.executable,
            [sys.executable, "-m", "shell.main", *words],
            {**environment, "TERM": "xterm-256color"},
        )
    seen = b""
    while b"logctl>" not in re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", seen):
        ready, _, _ = select.select([descriptor], [], [], 20)
        if not ready:
            raise RuntimeError(f"no prompt: {seen!r}")
        seen += os.read(descriptor, 65536)
    wall_ms = (time.perf_counter() - started) * 1000
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    ticks = int(fields[11]) + int(fields[12])
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(descriptor)
    return wall_ms, ticks * 1000 / os.sysconf("SC_CLK_TCK")


def show(label: str, rounds: Sequence[tuple[float, float]]) -> None:
    wall, processor = zip(*rounds, strict=True)
    print(
        f"{label:<34} wall {min(wall):6.0f} ms best {statistics.median(wall):6.0f} ms middle   "
        f"processor {min(processor):6.0f} ms best"
    )


def imports(words: Sequence[str], environment: Mapping[str, str], count: int) -> None:
    """Print the modules that took longest to load by themselves."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "shell.main", *words],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.findall(r"import time: +(\d+) \| +\d+ \| +(\S+)", done.stderr)
    print(f"\nlongest imports of `logctl {' '.join(words)}`:")
    for spent_us, name in sorted(found, key=lambda item: -int(item[0]))[:count]:
        print(f"  {int(spent_us) / 1000:6.1f} ms  {name}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    cluster = ThrowAwayCluster(str(Path(clusters.__file__).parent / "local.yaml"), own_ports=True)
    cluster.prepare()
    try:
        asyncio.run(cluster.up())
        environment = dict(os.environ)
        for label, words in ONE_SHOTS.items():
            show(label, [spent(words, environment) for _ in range(rounds)])
        tab = {**environment, "_LOGCTL_COMPLETE": "zsh"}
        show(
            "Tab after `topic describe`",
            [spent(["topic", "describe", ""], tab) for _ in range(rounds)],
        )
        show("prompt, cluster up", [prompt([], environment) for _ in range(rounds)])
        show("prompt, cluster down", [prompt(DOWN, environment) for _ in range(rounds)])
        imports(["topic", "list"], environment, 12)
    finally:
        asyncio.run(cluster.close())


if __name__ == "__main__":
    main()
