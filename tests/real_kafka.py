"""Apache Kafka for tests: who lacks Java's jars is told, the machine starts soon, brokers are up.

What takes the time of a start is loading classes: they are kept beside the jars as the virtual
machine maps them (https://docs.oracle.com/en/java/javase/17/vm/class-data-sharing.html), written by
the first broker that is started with them.
"""

from __future__ import annotations

import asyncio
import base64
import fcntl
import functools
import hashlib
import shutil
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

from benchmarks.peers import CACHE, ApacheKafka, kafka_libs
from broker.protocol.errors import LogctlError
from clusters.admin import AdminClient
from clusters.admin.security import Security
from tests.interop.real_cluster import blocking
from tests.peers import left_out

# Three virtual machines of Java on a busy machine of two cores start slowly.
START_S = 150.0


def require_kafka() -> None:
    """Skip, or fail where peers are required, when Apache Kafka cannot be had."""
    if shutil.which("java") is None or kafka_libs() is None:
        left_out("Apache Kafka's jars can't be had: Java or Maven is absent, or Maven failed")


class QuickKafka(ApacheKafka):
    """Brokers that live for a minute: compiled quickly rather than well, with few threads beside."""

    def properties(self, node: int) -> dict[str, str]:
        """Settings of a broker; what share groups keep needs no fifty partitions (KIP-932)."""
        return super().properties(node) | {"share.coordinator.state.topic.num.partitions": "3"}

    def java(self, *arguments: str) -> list[str]:
        """The command line of a virtual machine."""
        program, *rest = super().java(*arguments)
        rest = [each for each in rest if each != "-XX:+UseG1GC"]
        options = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", *self.classes()]
        return [program, *options, *rest]

    def classes(self) -> list[str]:
        """How the virtual machine comes by its classes."""
        archive = class_archive()
        return [] if archive is None else [f"-XX:SharedArchiveFile={archive}"]

    def prepare(self, node: int, config: Path) -> None:
        """Format the first disk; the others are the same but for two names."""
        first = self.folder / f"data-{min(self.ports)}"
        if not first.exists():
            super().prepare(node, config)
            return
        own = self.folder / f"data-{node}"
        shutil.copytree(first, own)
        directory = base64.urlsafe_b64encode(uuid.UUID(int=(1 << 124) + node).bytes)[:22].decode()
        (own / "meta.properties").write_text(
            f"node.id={node}\ndirectory.id={directory}\nversion=1\ncluster.id={self.cluster_id}\n"
        )

    def __exit__(self, *raised: object) -> None:
        """Killed: the folder goes away, nothing is gained by an orderly end of some seconds."""
        for node in list(self.processes):
            self.kill(node)
        super().__exit__(*raised)


class _Recorded(QuickKafka):
    """A broker that writes at its end what classes it had."""

    archive: Path

    def classes(self) -> list[str]:
        return []

    def command(self, node: int, config: Path) -> list[str]:
        program, *rest = super().command(node, config)
        return [program, f"-XX:ArchiveClassesAtExit={self.archive}", *rest]


@functools.cache
def class_archive() -> Path | None:
    """The file of classes for this Java and these jars, written now when it is not there.

    None when that does not work: all is slower then and nothing else.
    """
    java, libs = shutil.which("java"), kafka_libs()
    if java is None or libs is None:
        return None
    program = Path(java).resolve()
    named = f"{program} {program.stat().st_mtime_ns} {libs}"
    target = CACHE / f"kafka-classes-{hashlib.sha256(named.encode()).hexdigest()[:12]}.jsa"
    if target.exists():
        return target
    CACHE.mkdir(parents=True, exist_ok=True)
    with target.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another process of tests may be writing it
        if not target.exists():
            _record(target)
    return target if target.exists() else None


def _record(target: Path) -> None:
    part = target.with_suffix(".part")
    part.unlink(missing_ok=True)
    cluster = _Recorded(1)
    cluster.archive = part
    with cluster:
        blocking(until_up([cluster.bootstrap], 1))
        process = cluster.processes.pop(1)
        process.terminate()
        process.wait(START_S)
    if part.exists():
        part.rename(target)


async def until_up(bootstrap: Sequence[str], count: int, security: Security | None = None) -> None:
    """Wait until so many brokers, and no others, are told to be up."""
    limit = time.monotonic() + START_S
    last: object = None
    while True:
        try:
            async with AdminClient(bootstrap, timeout_ms=5_000, security=security) as admin:
                last = [each.state for each in await admin.brokers()]
                if last == ["up"] * count:
                    return
        except LogctlError as error:
            last = error
        assert time.monotonic() < limit, f"the brokers did not come up: {last}"
        await asyncio.sleep(0.1)


if __name__ == "__main__":
    class_archive()
