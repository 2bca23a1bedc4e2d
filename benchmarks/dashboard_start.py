"""`python -m benchmarks.dashboard_start`: from typing `logctl dash` to its first picture, and to a full live one.

Real brokers, a real pseudo-terminal. The first picture has the frame and the tabs; the full one says `live` and shows
partitions. Wall time is what a person waits; processor time, of the dashboard alone, stays the same on a busy machine.
The first round is not counted: it compiles what later ones find compiled, as after an installation.
"""

import argparse
import asyncio
import fcntl
import os
import pty
import re
import select
import signal
import statistics
import struct
import sys
import tempfile
import termios
import time
from pathlib import Path

import clusters
from clusters.admin import AdminClient
from clusters.throwaway import ThrowAwayCluster

FIRST, FULL = b"Overview", (b"live", b"hello-0")
LIMIT_S = 60
ESCAPES = re.compile(rb"\x1b\[[0-9;?<>=]*[A-Za-z]")


def start(words: list[str], compiled: str) -> tuple[float, float, float, float]:
    """Milliseconds to the first and to the full picture: wall, wall, processor, processor.

    `compiled` is the folder for Python's bytecode, so that no setting of the caller matters.
    """
    started = time.perf_counter()
    pid, terminal = pty.fork()
    if pid == 0:
        environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"}
        environment |= {"PYTHONPYCACHEPREFIX": compiled, "PYTHONDONTWRITEBYTECODE": ""}
        os.execve(sys.executable, [sys.executable, "-m", "shell.main", *words], environment)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    seen, first = b"", None
    try:
        while not all(each in seen for each in FULL):
            ready, _, _ = select.select([terminal], [], [], LIMIT_S)
            if not ready:
                raise RuntimeError(f"no full picture: {seen[-2000:]!r}")
            try:
                seen = ESCAPES.sub(b"", seen + os.read(terminal, 65536))
            except OSError:
                raise RuntimeError(f"the dashboard ended: {seen[-2000:]!r}") from None
            if first is None and FIRST in seen:
                first = (time.perf_counter() - started) * 1000, processor_ms(pid)
        full = (time.perf_counter() - started) * 1000, processor_ms(pid)
    finally:
        os.kill(pid, signal.SIGTERM)
        drain(terminal)
        os.waitpid(pid, 0)
    assert first is not None
    return first[0], full[0], first[1], full[1]


def drain(terminal: int) -> None:
    """Read on until the dashboard is gone: it waits for its terminal to take what it writes."""
    try:
        while os.read(terminal, 65536):
            pass
    except OSError:
        pass
    os.close(terminal)


def processor_ms(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * 1000 / os.sysconf("SC_CLK_TCK")


async def prepare(cluster: ThrowAwayCluster) -> str:
    await cluster.up()
    bootstrap = ",".join(cluster.bootstrap)
    async with AdminClient(list(cluster.bootstrap)) as admin:
        await admin.create_topic("hello", 3, 3)
    return bootstrap


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    cluster = ThrowAwayCluster(str(Path(clusters.__file__).parent / "local.yaml"), own_ports=True)
    cluster.prepare()
    try:
        bootstrap = asyncio.run(prepare(cluster))
        words = ["--bootstrap", bootstrap, "dash"]
        with tempfile.TemporaryDirectory() as compiled:
            start(words, compiled)
            took = [start(words, compiled) for _ in range(rounds)]
    finally:
        asyncio.run(cluster.close())
    names = (
        "first picture, wall",
        "full and live, wall",
        "first picture, processor",
        "full and live, processor",
    )
    for name, values in zip(names, zip(*took, strict=True), strict=True):
        print(f"{name:<26} best {min(values):6.0f} ms, middle {statistics.median(values):6.0f} ms")


if __name__ == "__main__":
    main()
