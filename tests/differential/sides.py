"""The two brokers that answer: Apache Kafka and logd, one process each, configured alike.

Starts and ends only its own processes. Nothing listens beyond loopback.
"""

import asyncio
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from benchmarks.peers import ApacheKafka, Cluster, Logd, kafka_libs
from broker.protocol.client import BrokerConnection
from broker.protocol.errors import ConnectionFailed
from broker.protocol.network import AsyncioNetwork

START_SECONDS = 90.0
NODE = 1
SETTINGS = {
    "num.partitions": "2",
    "offsets.topic.num.partitions": "4",
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    "group.max.session.timeout.ms": "60000",
    "broker.rack": "r1",
    "max.request.partition.size.limit": "5",
    "log.retention.check.interval.ms": "3600000",
    # Apache Kafka sets the space of two indexes aside for every partition.
    "log.index.size.max.bytes": "65536",
}
NETWORK = AsyncioNetwork()


class KafkaSide(ApacheKafka):
    """A small Java heap: there is little to hold."""

    def java(self, *arguments: str) -> list[str]:
        libs = kafka_libs()
        assert libs is not None
        options = ["-Xmx512M", "-Xms256M", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
        return ["java", *options, "-cp", f"{libs}/*", *arguments]

    def properties(self, node: int) -> dict[str, str]:
        return super().properties(node) | SETTINGS


class LogdSide(Logd):
    def properties(self, node: int) -> dict[str, str]:
        return super().properties(node) | SETTINGS | {"cluster.id": KafkaSide.cluster_id}


@dataclass
class Side:
    """One broker, ready for requests."""

    kind: str
    cluster: Cluster
    versions: dict[int, tuple[int, int]]

    @property
    def port(self) -> int:
        return self.cluster.ports[NODE]

    @property
    def controller_port(self) -> int:
        return self.cluster.controller_ports[NODE]

    @property
    def folder(self) -> Path:
        return self.cluster.folder

    def log(self) -> str:
        return (self.folder / f"broker-{NODE}.log").read_text(errors="replace")

    async def connect(self) -> BrokerConnection:
        """Without negotiation, so that a case may ask with any version."""
        return await BrokerConnection.open(
            NETWORK, "127.0.0.1", self.port, client_id="differential", negotiate=False
        )


class Sides:
    """Both brokers; a context manager around the whole run."""

    kafka: Side
    logd: Side

    def __enter__(self) -> Self:
        self._stack = ExitStack()
        try:
            clusters = [self._stack.enter_context(each) for each in (KafkaSide(1), LogdSide(1))]
            self.kafka, self.logd = asyncio.run(_ready(clusters))
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        # Their data goes with them: a controlled shutdown of a thousand partitions is for nothing.
        for side in (self.kafka, self.logd):
            side.cluster.kill(NODE)
        self._stack.close()

    def versions(self, api: int, schema: tuple[int, int]) -> tuple[int, int] | None:
        """The oldest and newest version that both brokers and the codec speak."""
        ranges = [schema, *(s.versions.get(api, (1, 0)) for s in (self.kafka, self.logd))]
        low, high = max(r[0] for r in ranges), min(r[1] for r in ranges)
        return (low, high) if low <= high else None


async def _ready(clusters: list[Cluster]) -> list[Side]:
    return list(await asyncio.gather(*(_answering(each) for each in clusters)))


async def _answering(cluster: Cluster) -> Side:
    """Wait until the broker answers and takes part; fails with the end of its log."""
    limit = time.monotonic() + START_SECONDS
    kind = getattr(cluster, "kind", "")
    while True:
        try:
            connection = await BrokerConnection.open(NETWORK, "127.0.0.1", cluster.ports[NODE])
            side = Side(kind, cluster, connection.api_versions)
            try:
                if (await connection.request(3, {"topics": []})).brokers:
                    return side
            finally:
                connection.close()
        except ConnectionFailed:
            pass
        process = cluster.processes[NODE]
        if process.poll() is not None or time.monotonic() > limit:
            log = (cluster.folder / f"broker-{NODE}.log").read_text(errors="replace")
            raise AssertionError(f"{kind} does not start: {log[-3000:]}")
        await asyncio.sleep(0.05)
