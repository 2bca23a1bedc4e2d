"""Replica managers of three brokers on virtual time, joined by a simulated network.

The managers, fetchers, logs and the Fetch and ListOffsets handlers are the real ones; the disk and
the network are simulated; the controller is a few lines that commit at once.
"""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

from broker.api import fetch, list_offsets
from broker.api.registry import RequestContext
from broker.protocol import metadata_records as rec
from broker.protocol.api_keys import ApiKey
from broker.protocol.batch import Record, decode_records, encode_batch, iter_batches
from broker.protocol.codec import decode_request, encode_response
from broker.protocol.errors import ConnectionFailed, ErrorCode
from broker.protocol.framing import FrameDecoder
from broker.protocol.headers import decode_request_header, encode_response_frame
from broker.protocol.image import EMPTY_IMAGE, MetadataImage, apply
from broker.protocol.struct import Struct
from broker.runtime.fetch_sessions import FetchSessions
from broker.runtime.replica_requests import FetchPartition, FetchQuery
from broker.runtime.replicas import ReplicaManager
from broker.settings.broker import BrokerSettings
from broker.simulation.disk import SimDisk
from broker.simulation.loop import InlineOffload, SimulatedClock, SimulatedLoop
from broker.simulation.network import SimulatedNetwork
from broker.storage.manager import LogManager

TOPIC = "orders"
HANDLERS = {ApiKey.FETCH: fetch.handle, ApiKey.LIST_OFFSETS: list_offsets.handle}


def one_batch(*values: str, **options: Any) -> bytes:
    return encode_batch(
        [
            Record(
                offset=n,
                timestamp_ms=SimulatedClock.WALL_START_MS,
                key=None,
                value=v.encode(),
                headers=(),
            )
            for n, v in enumerate(values)
        ],
        **options,
    )


def records_of(data: bytes | memoryview) -> list[str]:
    return [
        f"{record.offset}:{record.value.decode()}"
        for position, _ in iter_batches(data)
        for record in decode_records(data, position)
    ]


class StubServer(asyncio.Protocol):
    """One connection: requests are answered one after the other, as the real server does."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.frames = FrameDecoder()
        self.queue: asyncio.Queue[memoryview] = asyncio.Queue()
        self.task: asyncio.Task[None] | None = None
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.node.connections.append(self)
        self.task = asyncio.get_running_loop().create_task(self.serve())

    def connection_lost(self, exc: Exception | None) -> None:
        assert self.task is not None
        self.task.cancel()
        self.node.connections.remove(self)

    def data_received(self, data: bytes) -> None:
        for frame in self.frames.feed(data):
            self.queue.put_nowait(frame)

    async def serve(self) -> None:
        while True:
            frame = await self.queue.get()
            header = decode_request_header(frame)
            key, version = ApiKey(header.api_key), header.api_version
            request = decode_request(key, version, frame, header.body_offset)
            self.node.requests[key] = self.node.requests.get(key, 0) + 1
            reply = await self.answer(key, version, header.correlation_id, request)
            if isinstance(reply, Struct):
                body = encode_response(key, version, reply)
                reply = encode_response_frame(key, version, header.correlation_id, body)
            elif isinstance(reply, list):
                reply = b"".join(reply)
            self.transport.write(reply)

    async def answer(self, key: ApiKey, version: int, correlation_id: int, request: Struct) -> Any:
        if key == ApiKey.API_VERSIONS:
            served = {ApiKey.FETCH: (4, 18), ApiKey.LIST_OFFSETS: (1, 11), key: (0, 4)}
            return Struct(
                error_code=0,
                api_keys=[
                    Struct(api_key=k, min_version=low, max_version=high)
                    for k, (low, high) in served.items()
                ],
            )
        manager = self.node.manager
        assert manager is not None
        view: Any = SimpleNamespace(
            image=manager.image,
            partitions=manager,
            settings=BrokerSettings({}),
            clock=SimulatedClock(self.node.cluster.loop),
            fetch_sessions=self.node.fetch_sessions,
            node_endpoints=lambda ids, listener: [],
        )
        context = RequestContext(
            api_key=key,
            api_version=version,
            correlation_id=correlation_id,
            client_id=None,
            listener="PLAINTEXT",
            role="broker",
            peer="",
            connection=self,
        )
        return await HANDLERS[key](view, context, request)


class Node:
    """One broker: its disk lives on, its manager comes and goes."""

    def __init__(self, cluster: Cluster, node_id: int) -> None:
        self.cluster = cluster
        self.id = node_id
        self.disk = SimDisk()
        self.manager: ReplicaManager | None = None
        self.logs: LogManager | None = None
        self.epoch = -1
        self.connections: list[StubServer] = []
        self.requests: dict[ApiKey, int] = {}
        self.fetch_sessions = FetchSessions(1, random.Random(node_id))
        self.door: Any = None

    async def start(self) -> None:
        cluster = self.cluster
        rng = random.Random(f"{cluster.seed}/{self.id}/{self.disk.crashes}")
        # Few, so that some fetchers go without.
        self.fetch_sessions = FetchSessions(1, random.Random(self.id))
        self.logs = LogManager.open(self.disk, "/data", cluster_id="c", node_id=self.id, rng=rng)
        self.door = cluster.network.door(self.id)
        await self.door.listen(f"node{self.id}", 9092, lambda: StubServer(self))
        self.manager = ReplicaManager(
            node_id=self.id,
            logs=self.logs,
            clock=SimulatedClock(cluster.loop),
            offload=InlineOffload(cluster.loop),
            network=self.door,
            rng=rng,
            settings=cluster.settings,
            alter_partition=cluster.alter_partition,
            broker_epoch=lambda: self.epoch,
        )
        await self.manager.start()
        self.manager.apply(cluster.image)
        self.epoch = cluster.register(self.id)

    async def stop(self) -> None:
        assert self.manager is not None
        assert self.logs is not None
        await self.manager.stop()
        self.logs.close(self.epoch)
        self.door.kill()
        self.manager = None

    async def kill(self, *, power: bool = False) -> None:
        """As kill -9, or a power cut: unsynced writes are lost."""
        manager, self.manager, self.epoch = self.manager, None, -1
        assert manager is not None
        self.door.kill()
        for task in manager._tasks:
            task.cancel()
        await manager._fetchers.stop()
        await asyncio.gather(*manager._tasks, return_exceptions=True)
        if power:
            self.disk.crash(self.cluster.rng)
        else:
            self.disk.kill()

    def log_records(self, index: int = 0, topic: str = TOPIC) -> list[str]:
        assert self.logs is not None
        log = self.logs.logs[topic, index]
        found, offset = [], log.start_offset
        while data := log.read(offset, 1 << 20, upto_offset=log.end_offset):
            found += records_of(data)
            offset = max(header.last_offset for _, header in iter_batches(data)) + 1
        return found

    async def produce(
        self, *values: str, acks: int = -1, timeout_ms: int = 5_000, index: int = 0, **options: Any
    ) -> Any:
        assert self.manager is not None
        entry = (TOPIC, index, one_batch(*values, **options))
        return (await self.manager.produce([entry], acks, timeout_ms))[0]

    async def consume(self, offset: int, *, max_wait_ms: int = 0, index: int = 0, **o: Any) -> Any:
        assert self.manager is not None
        query = FetchQuery(
            [FetchPartition(TOPIC, index, offset, 1 << 20)],
            max_wait_ms=max_wait_ms,
            min_bytes=1,
            **o,
        )
        return (await self.manager.fetch(query))[0]


class Cluster:
    """Three nodes and their controller."""

    def __init__(self, seed: int = 1, **settings: str) -> None:
        self.seed = seed
        self.rng = random.Random(f"cluster/{seed}")
        self.loop = SimulatedLoop(random.Random(f"loop/{seed}"))
        self.network = SimulatedNetwork(self.loop, random.Random(f"network/{seed}"))
        self.settings = {"min.insync.replicas": "2"} | {
            name.replace("_", "."): value for name, value in settings.items()
        }
        self.image: MetadataImage = EMPTY_IMAGE
        self.nodes = {i: Node(self, i) for i in (1, 2, 3)}
        self.deaf: set[int] = set()  # nodes that do not hear of metadata for now
        self.controller_down = False
        self.answer_first = False  # AlterPartition is answered before the metadata is published
        self.proposals: list[Struct] = []

    def run(self, story: Callable[[Cluster], Awaitable[None]]) -> None:
        async def told() -> None:
            for node in self.nodes.values():
                await node.start()
            await story(self)
            for node in self.nodes.values():
                if node.manager is not None:
                    await node.stop()

        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_until_complete(asyncio.wait_for(told(), 3_600))
        finally:
            left = asyncio.all_tasks(self.loop)
            for task in left:
                task.cancel()
            self.loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
            asyncio.set_event_loop(None)
            self.loop.close()

    def isolate(self, node: int) -> None:
        """Cut a node off from its peers, both ways."""
        for other in self.nodes:
            if other != node:
                self.network.cut(node, other)
                self.network.cut(other, node)

    def stand_still(self, seconds: float) -> None:
        """As SIGSTOP: time passes, and every timer fires late."""
        self.loop._now_s += seconds

    # -- metadata

    def commit(self, *records: Any, publish: bool = True) -> None:
        self.image, delta = apply(self.image, self.image.offset + 1, 1, records)
        if publish:
            for node in self.nodes.values():
                if node.manager is not None and node.id not in self.deaf:
                    node.manager.apply(self.image, delta)

    def catch_up(self, *nodes: int) -> None:
        """Deaf nodes hear everything at once."""
        for node in nodes:
            self.deaf.discard(node)
            manager = self.nodes[node].manager
            if manager is not None:
                manager.apply(self.image)

    def register(self, node: int) -> int:
        epoch = self.image.offset + 1
        if node in self.image.brokers:
            self.fence(node)
            epoch = self.image.offset + 1
        endpoint = rec.BrokerEndpoint(
            name="PLAINTEXT", host=f"node{node}", port=9092, security_protocol=0
        )
        self.nodes[node].epoch = epoch
        self.commit(
            rec.RegisterBrokerRecord(
                broker_id=node,
                incarnation_id=uuid.UUID(int=epoch + 1),
                broker_epoch=epoch,
                end_points=(endpoint,),
            )
        )
        self.commit(rec.UnfenceBrokerRecord(id=node, epoch=epoch))
        for topic, index, state in list(self.image.iter_partitions()):
            if state.leader < 0 and node in state.isr:
                self.change(index, topic=topic.name, leader=node)
        return epoch

    def fence(self, node: int) -> None:
        """The broker is gone: it leaves every ISR that has others, leaders move."""
        broker = self.image.brokers[node]
        if not broker.fenced:
            self.commit(rec.FenceBrokerRecord(id=node, epoch=broker.epoch))
        for topic, index, state in list(self.image.iter_partitions()):
            rest = tuple(i for i in state.isr if i != node)
            live = [i for i in rest if self.image.is_active(i)]
            changes: dict[str, Any] = {}
            if node in state.isr and rest:
                changes["isr"] = rest
            if state.leader == node:
                changes["leader"] = live[0] if live else -1
            if changes:
                self.change(index, topic=topic.name, **changes)

    def create(
        self, partitions: int = 1, *, leader: int = 1, topic: str = TOPIC, topic_id: int = 77
    ) -> None:
        tid = uuid.UUID(int=topic_id)
        replicas = (leader, *(i for i in (1, 2, 3) if i != leader))
        self.commit(
            rec.TopicRecord(name=topic, topic_id=tid),
            *(
                rec.PartitionRecord(
                    partition_id=i,
                    topic_id=tid,
                    replicas=replicas,
                    isr=replicas,
                    leader=leader,
                    leader_epoch=0,
                    partition_epoch=0,
                )
                for i in range(partitions)
            ),
        )

    def change(self, index: int = 0, *, topic: str = TOPIC, publish: bool = True, **f: Any) -> None:
        tid = self.image.topics[topic].id
        self.commit(
            rec.PartitionChangeRecord(partition_id=index, topic_id=tid, **f), publish=publish
        )

    def state(self, index: int = 0, topic: str = TOPIC) -> Any:
        return self.image.topics[topic].partitions[index]

    def leader(self, index: int = 0) -> Node:
        return self.nodes[self.state(index).leader]

    async def alter_partition(self, request: Struct) -> Struct:
        await asyncio.sleep(0.002)
        if self.controller_down:
            raise ConnectionFailed("controller", "down")
        self.proposals.append(request)
        topics = []
        for topic in request.topics:
            name = self.image.topic_names.get(topic.topic_id)
            answers = [self._alter(name, each) for each in topic.partitions]
            topics.append(Struct(topic_id=topic.topic_id, partitions=answers))
        await asyncio.sleep(0.001)
        return Struct(error_code=ErrorCode.none, topics=topics)

    def _alter(self, topic: str | None, asked: Struct) -> Struct:
        index = asked.partition_index
        if topic is None:
            return Struct(partition_index=index, error_code=ErrorCode.unknown_topic_id)
        state = self.state(index, topic)
        error = ErrorCode.none
        if asked.leader_epoch != state.leader_epoch:
            error = ErrorCode.fenced_leader_epoch
        elif asked.partition_epoch != state.partition_epoch:
            error = ErrorCode.invalid_update_version
        elif any(
            not self.image.is_active(each.broker_id)
            or self.image.brokers[each.broker_id].epoch != each.broker_epoch
            for each in asked.new_isr_with_epochs
        ):
            error = ErrorCode.ineligible_replica
        else:
            isr = tuple(each.broker_id for each in asked.new_isr_with_epochs)
            self.change(index, topic=topic, isr=isr, publish=not self.answer_first)
            if self.answer_first:
                image = self.image
                self.loop.call_later(0.05, lambda: self._publish_late(image))
        state = self.state(index, topic)
        return Struct(
            partition_index=index,
            error_code=error,
            leader_id=state.leader,
            leader_epoch=state.leader_epoch,
            isr=list(state.isr),
            partition_epoch=state.partition_epoch,
        )

    def _publish_late(self, image: MetadataImage) -> None:
        for node in self.nodes.values():
            if node.manager is not None and node.id not in self.deaf:
                node.manager.apply(image)

    # -- waiting

    async def until(self, condition: Callable[[], Any], seconds: float = 30.0) -> float:
        """Wait for a condition; how long it took in virtual seconds."""
        began = self.loop.time()
        while not condition():
            assert self.loop.time() - began < seconds, "the condition was not met in time"
            await asyncio.sleep(0.001)
        return self.loop.time() - began
