"""Reassignments asked by the protocol itself, through one broker."""

import asyncio

from broker.protocol.api_keys import ApiKey
from broker.protocol.client import BrokerConnection
from broker.protocol.errors import ErrorCode
from broker.protocol.network import AsyncioNetwork
from broker.protocol.struct import Struct

Targets = dict[int, list[int] | None]


class Mover:
    """Moves replicas of one topic; asks through one broker, whichever leads the quorum."""

    def __init__(self, connection: BrokerConnection, topic: str) -> None:
        self._connection = connection
        self._topic = topic

    @classmethod
    async def open(cls, address: str, topic: str) -> "Mover":
        host, port = address.split(":")
        return cls(await BrokerConnection.open(AsyncioNetwork(), host, int(port)), topic)

    def close(self) -> None:
        self._connection.close()

    async def move(self, targets: Targets) -> dict[int, ErrorCode]:
        answer = await self._connection.request(
            ApiKey.ALTER_PARTITION_REASSIGNMENTS,
            Struct(
                timeout_ms=30_000,
                topics=[
                    Struct(
                        name=self._topic,
                        partitions=[
                            Struct(partition_index=index, replicas=replicas)
                            for index, replicas in targets.items()
                        ],
                    )
                ],
            ),
        )
        assert answer.error_code == ErrorCode.none
        rows = answer.responses[0].partitions
        return {row.partition_index: row.error_code for row in rows}

    async def under_way(self) -> dict[int, Struct]:
        answer = await self._connection.request(
            ApiKey.LIST_PARTITION_REASSIGNMENTS, Struct(timeout_ms=30_000, topics=None)
        )
        assert answer.error_code == ErrorCode.none
        return {row.partition_index: row for topic in answer.topics for row in topic.partitions}

    async def finished(self) -> None:
        async with asyncio.timeout(60):
            while await self.under_way():
                await asyncio.sleep(0.05)

    async def are_on(self, targets: Targets) -> None:
        """The asked broker hears of what the controller decided a moment later."""
        async with asyncio.timeout(60):
            while (found := await self.replicas()) != targets:
                assert found.keys() == targets.keys()
                await asyncio.sleep(0.01)

    async def replicas(self) -> dict[int, list[int]]:
        answer = await self._connection.request(
            ApiKey.METADATA,
            Struct(topics=[Struct(name=self._topic)], allow_auto_topic_creation=False),
        )
        return {p.partition_index: p.replica_nodes for p in answer.topics[0].partitions}
