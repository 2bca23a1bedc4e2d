"""Programs that put clients of other languages behind lines of JSON: built once, kept in the cache.

`python -m tests.interop.foreign` builds all of them. Needs only Python's own library. What is built
is named by its sources, so a change of one builds it anew and nothing old is ever run.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from benchmarks.peers import CACHE, kafka_libs

HERE = Path(__file__).parent
BUILD_SECONDS = 600
KEEP_SECONDS = 7 * 24 * 3600


class Absent(Exception):
    """A program can't be had here; says what is missing."""


class Program(NamedTuple):
    """How a driver is started."""

    command: list[str]
    environment: dict[str, str]


def _digest(folder: Path, *patterns: str) -> str:
    paths = sorted(path for pattern in patterns for path in folder.glob(pattern))
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in paths)).hexdigest()[:12]


@contextmanager
def _alone(name: str) -> Iterator[None]:
    """Two test processes may want the same program at once."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _built(name: str, build: Callable[[Path], None]) -> Path:
    """The folder `name` in the cache; `build` fills it when it is not there, whole or not at all."""
    target = CACHE / name
    with _alone(name):
        if not target.exists():
            fresh = CACHE / f"{name}.new"
            shutil.rmtree(fresh, ignore_errors=True)
            fresh.mkdir(parents=True)
            build(fresh)
            # Another checkout may be using its own one just now.
            for old in CACHE.glob(f"{name.rpartition('-')[0]}-*"):
                if old.is_dir() and time.time() - old.stat().st_mtime > KEEP_SECONDS:
                    shutil.rmtree(old, ignore_errors=True)
            fresh.rename(target)
    return target


def _need(*commands: str) -> None:
    for command in commands:
        if shutil.which(command) is None:
            raise Absent(command)


def _run(command: list[str], folder: Path, what: str) -> None:
    done = subprocess.run(
        command, cwd=folder, check=False, capture_output=True, text=True, timeout=BUILD_SECONDS
    )
    if done.returncode:
        raise Absent(f"{what} ({(done.stderr or done.stdout).strip()[-2000:]})")


def java() -> Program:
    """Apache Kafka's own client and tools, compiled against the jars that the broker tests use."""
    _need("java", "javac")
    libs = kafka_libs()
    if libs is None or not libs.is_dir():
        raise Absent("Apache Kafka's jars")
    sources = HERE / "clients_java"

    def build(target: Path) -> None:
        files = sorted(str(path) for path in sources.glob("*.java"))
        classes = ["-cp", f"{libs}/*", "-d", str(target)]
        _run(["javac", "-proc:none", "-nowarn", *classes, *files], sources, "the Java driver")

    target = _built(f"clients_java-{_digest(sources, '*.java')}", build)
    options = ["-Xmx512M", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
    return Program(["java", *options, "-cp", f"{target}:{libs}/*", "Driver"], {})


def go() -> Program:
    """franz-go, as one program."""
    _need("go")
    sources = HERE / "clients_go"

    def build(target: Path) -> None:
        _run(["go", "build", "-o", str(target / "driver"), "."], sources, "the Go driver")

    target = _built(f"clients_go-{_digest(sources, '*.go', 'go.*')}", build)
    return Program([str(target / "driver")], {})


def node() -> Program:
    """kafkajs; its packages lie in the cache, not beside the sources."""
    _need("node", "npm")
    sources = HERE / "clients_node"

    def build(target: Path) -> None:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(sources / name, target / name)
        _run(["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"], target, "kafkajs")

    target = _built(f"clients_node-{_digest(sources, 'package*.json')}", build)
    return Program(
        ["node", str(sources / "driver.js")],
        {"NODE_PATH": str(target / "node_modules"), "KAFKAJS_NO_PARTITIONER_WARNING": "1"},
    )


PROGRAMS: dict[str, Callable[[], Program]] = {"java": java, "go": go, "node": node}


def main() -> int:
    """Build every program, side by side; says which can't be had."""

    def attempt(name: str) -> str | None:
        try:
            PROGRAMS[name]()
        except Absent as missing:
            return f"{name}: {missing} can't be had"
        return None

    with ThreadPoolExecutor(len(PROGRAMS)) as threads:
        problems = [each for each in threads.map(attempt, PROGRAMS) if each is not None]
    for problem in problems:
        sys.stderr.write(problem + "\n")
    return 1 if problems and os.environ.get("LOGCTL_REQUIRE_PEERS") else 0


if __name__ == "__main__":
    sys.exit(main())
