"""Somebody who keeps changing a cluster while it is in trouble.

What it asks may fail or time out; it never insists, except that topics of its own are really
there or really gone. It must never touch a setting that acknowledged records rely on.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence

from broker.protocol.api_keys import ApiKey
from broker.protocol.errors import WireError
from broker.protocol.struct import Struct
from broker.simulation.workload import Client

FLEETING = "fleeting"
PAUSE_S = (0.2, 4.0)
TIMEOUT_MS = 3_000
TOPIC_RESOURCE = 2


class Administrator:
    """Creates and deletes topics, moves replicas and leaders, changes settings."""

    def __init__(
        self,
        client: Client,
        rng: random.Random,
        topic: str,
        partitions: int,
        brokers: Sequence[int],
    ) -> None:
        self.done: list[str] = []
        self._client = client
        self._rng = rng
        self._topic = topic
        self._partitions = partitions
        self._brokers = list(brokers)
        self._fleeting = False

    async def run(self, stop: asyncio.Event) -> None:
        """Do something now and then until `stop` is set."""
        actions: list[Callable[[], Awaitable[None]]] = [
            self._come_or_go,
            self._come_or_go,
            self._elect,
            self._configure,
            self._reassign,
        ]
        while not stop.is_set():
            action = self._rng.choice(actions)
            self.done.append(action.__name__.strip("_"))
            try:
                await action()
            except WireError:
                self.done[-1] += "?"
            await asyncio.sleep(self._rng.uniform(*PAUSE_S))

    async def _come_or_go(self) -> None:
        if self._fleeting:
            await self._client.delete_topic(FLEETING)
        else:
            await self._client.create_topic(FLEETING, 2, 3)
        self._fleeting = not self._fleeting

    async def _elect(self) -> None:
        """Preferred leaders, everywhere."""
        body = Struct(election_type=0, topic_partitions=None, timeout_ms=TIMEOUT_MS)
        await self._client.ask_any(ApiKey.ELECT_LEADERS, body, 2)

    async def _configure(self) -> None:
        """Another segment size, for one topic."""
        value = self._rng.choice(("1000", "3000", "100000"))
        config = Struct(name="segment.bytes", config_operation=0, value=value)
        resource = Struct(resource_type=TOPIC_RESOURCE, resource_name=self._topic, configs=[config])
        body = Struct(resources=[resource], validate_only=False)
        await self._client.ask_any(ApiKey.INCREMENTAL_ALTER_CONFIGS, body, 1)

    async def _reassign(self) -> None:
        """Other replicas for one partition; now and then the move is called off again."""
        replicas = self._rng.sample(self._brokers, 3) if self._rng.random() < 0.8 else None
        partition = Struct(partition_index=self._rng.randrange(self._partitions), replicas=replicas)
        body = Struct(
            timeout_ms=TIMEOUT_MS, topics=[Struct(name=self._topic, partitions=[partition])]
        )
        await self._client.ask_any(ApiKey.ALTER_PARTITION_REASSIGNMENTS, body, 0)
