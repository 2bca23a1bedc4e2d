"""Whole brokers inside the test process: real sockets, real files, the test's event loop."""

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from broker.config import BrokerConfig
from broker.protocol.api_keys import ApiKey
from broker.protocol.batch import Record, encode_batch
from broker.protocol.client import BrokerConnection
from broker.protocol.errors import ErrorCode
from broker.protocol.struct import Struct
from broker.runtime.doors import AsyncioNetwork, RealDisk, SystemClock, ThreadOffload
from broker.server import Broker
from clusters.free_ports import free_ports

WAIT_SECONDS = 60


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        while not condition():
            await asyncio.sleep(0.01)


class Cluster:
    """Brokers by node id, all combined with a controller."""

    def __init__(self, folder: Path, size: int, settings: dict[str, str]) -> None:
        self.folder = folder
        self.brokers: dict[int, Broker] = {}
        self.connections: dict[int, BrokerConnection] = {}
        ports = free_ports(2 * size)
        self.client_ports = {i + 1: ports[i] for i in range(size)}
        self.controller_ports = {i + 1: ports[size + i] for i in range(size)}
        self.settings = settings
        # Each start is another incarnation.
        self._starts = itertools.count()

    def config(self, node_id: int, **changes: str) -> BrokerConfig:
        voters = ",".join(f"{i}@127.0.0.1:{p}" for i, p in self.controller_ports.items())
        client, controller = self.client_ports[node_id], self.controller_ports.get(node_id, 0)
        return BrokerConfig.from_properties(
            {
                "node.id": str(node_id),
                "process.roles": "broker,controller",
                "listeners": f"PLAINTEXT://127.0.0.1:{client},CONTROLLER://127.0.0.1:{controller}",
                "controller.quorum.voters": voters,
                "log.dirs": str(self.folder / str(node_id)),
                "cluster.id": "test-cluster",
                "broker.rack": f"rack-{node_id}",
                **self.settings,
                **{name.replace("__", "."): value for name, value in changes.items()},
            }
        )

    def make(self, node_id: int, **changes: str) -> Broker:
        return Broker(
            self.config(node_id, **changes),
            network=AsyncioNetwork(),
            disk=RealDisk(),
            clock=SystemClock(),
            offload=ThreadOffload(),
            rng=random.Random(f"{self.folder}/{node_id}/{next(self._starts)}"),
        )

    async def start(self, *node_ids: int) -> None:
        chosen = node_ids or tuple(self.client_ports)
        for node_id in chosen:
            self.brokers[node_id] = self.make(node_id)
        async with asyncio.timeout(WAIT_SECONDS):
            await asyncio.gather(*(self.brokers[each].start() for each in chosen))
            await asyncio.gather(*(self.brokers[each].wait_unfenced() for each in chosen))

    async def stop(self, *node_ids: int, controlled: bool = True) -> None:
        for node_id in node_ids or tuple(self.brokers):
            if node_id in self.connections:
                self.connections.pop(node_id).close()
            await self.brokers.pop(node_id).stop(controlled=controlled)

    async def connect(self, node_id: int = 1) -> BrokerConnection:
        current = self.connections.get(node_id)
        if current is None or current.closed:
            current = await BrokerConnection.open(
                AsyncioNetwork(), "127.0.0.1", self.client_ports[node_id]
            )
            self.connections[node_id] = current
        return current

    async def ask(self, key: ApiKey, node_id: int = 1, **body: Any) -> Struct:
        connection = await self.connect(node_id)
        version = body.pop("version", None)
        return await connection.request(key, Struct(**body), version=version)

    async def create(self, name: str, partitions: int, replicas: int, **configs: str) -> UUID:
        response = await self.ask(
            ApiKey.CREATE_TOPICS,
            topics=[
                Struct(
                    name=name,
                    num_partitions=partitions,
                    replication_factor=replicas,
                    assignments=[],
                    configs=[
                        Struct(name=key.replace("_", "."), value=value)
                        for key, value in configs.items()
                    ],
                )
            ],
            timeout_ms=5000,
        )
        (topic,) = response.topics
        assert topic.error_code == ErrorCode.none, topic.error_message
        topic_id = topic.topic_id
        assert isinstance(topic_id, UUID)
        await until(lambda: all(self.knows(b, name, partitions) for b in self.brokers.values()))
        return topic_id

    @staticmethod
    def knows(broker: Broker, topic: str, partitions: int) -> bool:
        image = broker.publisher.image.topics.get(topic)
        return image is not None and len(image.partitions) == partitions

    def leader(self, topic: str, index: int, node_id: int = 1) -> int:
        state = self.brokers[node_id].publisher.image.partition(topic, index)
        return -1 if state is None else state.leader

    async def produce(
        self,
        node_id: int,
        topic_id: UUID,
        index: int,
        *values: bytes,
        acks: int = -1,
        batch: bytes | None = None,
    ) -> Struct:
        records = [Record(i, 1_700_000_000_000 + i, None, v, ()) for i, v in enumerate(values)]
        response = await self.ask(
            ApiKey.PRODUCE,
            node_id,
            acks=acks,
            timeout_ms=5000,
            topic_data=[
                Struct(
                    topic_id=topic_id,
                    partition_data=[
                        Struct(
                            index=index, records=encode_batch(records) if batch is None else batch
                        )
                    ],
                )
            ],
        )
        answer: Struct = response.responses[0].partition_responses[0]
        return answer

    async def fetch(
        self, node_id: int, topic_id: UUID, index: int, offset: int, *, max_wait_ms: int = 2000
    ) -> Struct:
        response = await self.ask(
            ApiKey.FETCH,
            node_id,
            max_wait_ms=max_wait_ms,
            min_bytes=1,
            topics=[
                Struct(
                    topic_id=topic_id,
                    partitions=[
                        Struct(partition=index, fetch_offset=offset, partition_max_bytes=1 << 20)
                    ],
                )
            ],
        )
        answer: Struct = response.responses[0].partitions[0]
        return answer


@pytest.fixture
async def make_cluster(tmp_path: Path) -> AsyncIterator[Callable[..., Cluster]]:
    clusters: list[Cluster] = []

    def make(size: int, **settings: str) -> Cluster:
        named = {name.replace("__", "."): value for name, value in settings.items()}
        cluster = Cluster(tmp_path / f"cluster-{len(clusters)}", size, named)
        clusters.append(cluster)
        return cluster

    yield make
    for cluster in clusters:
        for connection in cluster.connections.values():
            connection.close()
        await asyncio.gather(*(b.stop(controlled=False) for b in cluster.brokers.values()))
