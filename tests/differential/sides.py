"""The two sides that answer: Apache Kafka and logd, one broker each or three, configured alike.

Starts and ends only its own processes. Nothing listens beyond loopback.
"""

import asyncio
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from benchmarks.peers import Cluster, Logd
from broker.protocol.api_keys import ApiKey
from broker.protocol.client import BrokerConnection
from broker.protocol.errors import ConnectionFailed
from broker.protocol.network import AsyncioNetwork
from tests.real_kafka import QuickKafka

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
    # Apache Kafka sets the space of two indexes aside for every partition.
    "log.index.size.max.bytes": "65536",
}
# Of three brokers: nothing moves unless a case asks for it.
SETTINGS_OF_THREE = {
    "auto.leader.rebalance.enable": "false",
    "default.replication.factor": "3",
    "offsets.topic.replication.factor": "3",
    "replica.selector.class": "org.apache.kafka.common.replica.RackAwareReplicaSelector",
}
STOP_SECONDS = 60.0
NETWORK = AsyncioNetwork()


def settings(brokers: int, node: int) -> dict[str, str]:
    """What both kinds get beyond what they need to start."""
    more = SETTINGS_OF_THREE | {"broker.rack": f"r{node}"} if brokers > 1 else {}
    return SETTINGS | more


class KafkaSide(QuickKafka):
    def properties(self, node: int) -> dict[str, str]:
        return super().properties(node) | settings(self.brokers, node)


class LogdSide(Logd):
    def properties(self, node: int) -> dict[str, str]:
        own = {"cluster.id": KafkaSide.cluster_id}
        return super().properties(node) | settings(self.brokers, node) | own


@dataclass
class Side:
    """The brokers of one kind, ready for requests."""

    kind: str
    cluster: Cluster
    versions: dict[int, tuple[int, int]]

    @property
    def port(self) -> int:
        return self.cluster.ports[NODE]

    @property
    def folder(self) -> Path:
        return self.cluster.folder

    def log(self, node: int = NODE) -> str:
        return (self.folder / f"broker-{node}.log").read_text(errors="replace")

    async def connect(self, node: int = NODE) -> BrokerConnection:
        """Without negotiation, so that a case may ask with any version."""
        return await BrokerConnection.open(
            NETWORK,
            "127.0.0.1",
            self.cluster.ports[node],
            client_id="differential",
            negotiate=False,
        )

    def stop(self, node: int) -> None:
        """A controlled shutdown of one broker; returns when the process has ended."""
        process = self.cluster.processes.pop(node)
        process.terminate()
        process.wait(STOP_SECONDS)

    async def start(self, node: int) -> None:
        """Start a broker that was stopped; returns when every broker knows that it takes part."""
        self.cluster.start(node)
        for other in self.cluster.processes:
            await _answering(self.cluster, other)


class Sides:
    """Both sides with `brokers` brokers each; a context manager around the whole run."""

    kafka: Side
    logd: Side

    def __init__(self, brokers: int = 1) -> None:
        self.brokers = brokers

    def __enter__(self) -> Self:
        self._stack = ExitStack()
        try:
            kinds = (KafkaSide, LogdSide)
            clusters = [self._stack.enter_context(kind(self.brokers)) for kind in kinds]
            self.kafka, self.logd = asyncio.run(_ready(clusters))
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        # Their data goes with them: a controlled shutdown of a thousand partitions is for nothing.
        for side in (self.kafka, self.logd):
            for node in list(side.cluster.processes):
                side.cluster.kill(node)
        self._stack.close()

    def versions(self, api: int, schema: tuple[int, int]) -> tuple[int, int] | None:
        """The oldest and newest version that both brokers and the codec speak."""
        ranges = [schema, *(s.versions.get(api, (1, 0)) for s in (self.kafka, self.logd))]
        low, high = max(r[0] for r in ranges), min(r[1] for r in ranges)
        return (low, high) if low <= high else None


async def _ready(clusters: list[Cluster]) -> list[Side]:
    asked = [_answering(each, node) for each in clusters for node in each.ports]
    sides = (await asyncio.gather(*asked))[:: len(clusters[0].ports)]
    if len(clusters[0].ports) == 1:
        await asyncio.gather(*(_coordinating(side) for side in sides))
    return list(sides)


async def _coordinating(side: Side) -> None:
    """Wait until every partition of __consumer_offsets is coordinated: names of all four."""
    limit = time.monotonic() + START_SECONDS
    groups = [f"nobody-{number}" for number in range(16)]
    connection = await side.connect()
    try:
        while True:
            body = {"key_type": 0, "coordinator_keys": groups}
            await connection.request(ApiKey.FIND_COORDINATOR, body, version=4)
            body = {"groups": groups}
            found = await connection.request(ApiKey.DESCRIBE_GROUPS, body, version=5)
            if not any(group.error_code for group in found.groups):
                return
            assert time.monotonic() < limit, f"{side.kind} does not coordinate groups: {found}"
            await asyncio.sleep(0.1)
    finally:
        connection.close()


async def _answering(cluster: Cluster, node: int) -> Side:
    """Wait until the broker answers and knows all that run; fails with the end of its log."""
    limit = time.monotonic() + START_SECONDS
    kind = getattr(cluster, "kind", "")
    while True:
        try:
            connection = await BrokerConnection.open(NETWORK, "127.0.0.1", cluster.ports[node])
            side = Side(kind, cluster, connection.api_versions)
            try:
                known = (await connection.request(3, {"topics": []})).brokers
                if {each.node_id for each in known} >= set(cluster.processes):
                    return side
            finally:
                connection.close()
        except ConnectionFailed:
            pass
        if cluster.processes[node].poll() is not None or time.monotonic() > limit:
            log = (cluster.folder / f"broker-{node}.log").read_text(errors="replace")
            raise AssertionError(f"{kind} does not start: {log[-3000:]}")
        await asyncio.sleep(0.05)
