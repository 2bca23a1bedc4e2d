"""Clusters to measure: logd, and Apache Kafka from Maven's jars, started and stopped the same way.

Processes are ended by the ids that started them. Nothing listens beyond loopback.
"""

import base64
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path

from clusters.free_ports import free_ports

KAFKA_VERSION = "4.3.1"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "logctl"
POM = """<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>peer</groupId><artifactId>peer</artifactId><version>1</version><dependencies>
<dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId>
<version>{version}</version></dependency>
<dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId>
<version>{version}</version></dependency>
<dependency><groupId>org.slf4j</groupId><artifactId>slf4j-nop</artifactId><version>1.7.36</version>
</dependency></dependencies></project>"""


def kafka_libs() -> Path | None:
    """The folder of Apache Kafka's jars, fetched with Maven once; None when that can't be done."""
    if given := os.environ.get("LOGCTL_KAFKA_LIBS"):
        return Path(given)
    home = CACHE / f"kafka-{KAFKA_VERSION}"
    libs = home / "libs"
    if (home / ".complete").exists():
        return libs
    if not shutil.which("java") or not shutil.which("mvn"):
        return None
    home.mkdir(parents=True, exist_ok=True)
    with (home / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another process may be fetching them
        if not (home / ".complete").exists() and not _fetch(home):
            return None
    return libs


def _fetch(home: Path) -> bool:
    (home / "pom.xml").write_text(POM.format(version=KAFKA_VERSION))
    done = subprocess.run(
        [
            "mvn",
            "-q",
            "-B",
            "dependency:copy-dependencies",
            "-DincludeScope=runtime",
            "-DoutputDirectory=libs",
        ],
        cwd=home,
        check=False,
        capture_output=True,
        timeout=600,
    )
    if done.returncode:
        return False
    (home / ".complete").touch()
    return True


@dataclass
class Cluster:
    """Brokers of one kind on free ports; a context manager."""

    brokers: int
    name: str = "cluster"
    processes: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)
    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="logctl-bench-")))
    ports: dict[int, int] = field(default_factory=dict)
    controller_ports: dict[int, int] = field(default_factory=dict)
    started_at: float = 0.0

    def __post_init__(self) -> None:
        ports = free_ports(2 * self.brokers)
        ids = range(1, self.brokers + 1)
        self.ports = dict(zip(ids, ports[: self.brokers], strict=True))
        self.controller_ports = dict(zip(ids, ports[self.brokers :], strict=True))

    @property
    def bootstrap(self) -> str:
        return ",".join(f"127.0.0.1:{port}" for port in self.ports.values())

    def properties(self, node: int) -> dict[str, str]:
        voters = ",".join(f"{n}@127.0.0.1:{p}" for n, p in self.controller_ports.items())
        replication = str(min(3, self.brokers))
        return {
            "node.id": str(node),
            "process.roles": "broker,controller",
            "listeners": f"PLAINTEXT://127.0.0.1:{self.ports[node]},CONTROLLER://127.0.0.1:{self.controller_ports[node]}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{self.ports[node]}",
            "controller.listener.names": "CONTROLLER",
            "controller.quorum.voters": voters,
            "log.dirs": str(self.folder / f"data-{node}"),
            "offsets.topic.replication.factor": replication,
            "transaction.state.log.replication.factor": replication,
            "transaction.state.log.min.isr": "1",
            "default.replication.factor": replication,
            "group.initial.rebalance.delay.ms": "0",
            # Records of long ago are there to be read, however long everything takes: Apache Kafka
            # looks for old ones after half a minute, whatever the interval.
            "log.initial.task.delay.ms": "3600000",
            "log.retention.check.interval.ms": "3600000",
        }

    def command(self, node: int, config: Path) -> list[str]:
        raise NotImplementedError

    def prepare(self, node: int, config: Path) -> None:
        """What must be done once before the first start."""

    def __enter__(self) -> "Cluster":
        configs = {}
        for node in self.ports:
            configs[node] = self.folder / f"broker-{node}.properties"
            lines = [f"{key}={value}" for key, value in self.properties(node).items()]
            configs[node].write_text("\n".join(lines) + "\n")
            self.prepare(node, configs[node])
        self.started_at = time.monotonic()
        for node in self.ports:
            self.start(node)
        return self

    def start(self, node: int) -> None:
        log = (self.folder / f"broker-{node}.log").open("ab")
        self.processes[node] = subprocess.Popen(
            self.command(node, self.folder / f"broker-{node}.properties"),
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            cwd=self.folder,
        )
        log.close()

    def kill(self, node: int) -> None:
        self.processes[node].send_signal(signal.SIGKILL)
        self.processes.pop(node).wait(10)

    def __exit__(self, *_: object) -> None:
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)
        shutil.rmtree(self.folder, ignore_errors=True)


class Logd(Cluster):
    """Our broker, from this checkout."""

    kind = "logd"

    def properties(self, node: int) -> dict[str, str]:
        return super().properties(node) | {"cluster.id": "benchmark-cluster-0001"}

    def command(self, node: int, config: Path) -> list[str]:
        return [sys.executable, "-m", "broker", "--config", str(config)]


class ApacheKafka(Cluster):
    """Apache Kafka in KRaft mode from the jars in `kafka_libs`."""

    kind = "Apache Kafka"
    cluster_id = base64.urlsafe_b64encode(uuid.UUID(int=0x1234567890ABCDEF1234567890ABCDEF).bytes)[
        :22
    ].decode()

    def java(self, *arguments: str) -> list[str]:
        libs = kafka_libs()
        assert libs is not None
        return ["java", "-Xmx1G", "-Xms256M", "-XX:+UseG1GC", "-cp", f"{libs}/*", *arguments]

    def prepare(self, node: int, config: Path) -> None:
        words = self.java(*self.formatting(config))
        subprocess.run(words, check=True, capture_output=True, timeout=120)

    def formatting(self, config: Path) -> list[str]:
        """The words of Kafka's tool that formats a node's disk."""
        return ["kafka.tools.StorageTool", "format", "-t", self.cluster_id, "-c", str(config)]

    def command(self, node: int, config: Path) -> list[str]:
        return self.java("kafka.Kafka", str(config))


def main() -> int:
    """Fetch Apache Kafka's jars and say where they are."""
    libs = kafka_libs()
    if libs is None:
        print(
            "Apache Kafka's jars can't be had: Java or Maven is absent, or Maven failed",
            file=sys.stderr,
        )
        return 1
    print(f"Apache Kafka {KAFKA_VERSION}: {libs}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
