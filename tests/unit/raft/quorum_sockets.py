"""Quorum nodes on loopback sockets and a real disk: a minimal controller listener around each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

from broker.protocol.api_keys import ApiKey
from broker.protocol.codec import decode_request, encode_response
from broker.protocol.framing import FrameDecoder
from broker.protocol.headers import decode_request_header, encode_response_frame
from broker.protocol.metadata_records import MetadataRecord
from broker.protocol.network import AsyncioNetwork, Listener
from broker.runtime.doors import SystemClock, ThreadOffload
from broker.runtime.quorum import CommittedBatch, LeaderAndEpoch, MetadataQuorum, QuorumConfig
from broker.storage.disk import RealDisk
from broker.storage.log import Log
from broker.storage.log_config import LogConfig

CLUSTER_ID = "quorum-test-cluster"


@dataclass
class Heard:
    """A listener that writes down what it hears."""

    records: list[MetadataRecord] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    snapshots: list[int] = field(default_factory=list)
    leaders: list[LeaderAndEpoch] = field(default_factory=list)
    position: int = 0
    epoch: int = 0

    def on_committed(self, batch: CommittedBatch) -> None:
        assert batch.base_offset == self.position, "in order, without gaps"
        self.position, self.epoch = batch.last_offset + 1, batch.epoch
        self.records.extend(batch.records)
        self.offsets.append(batch.base_offset)

    def on_snapshot(self, end_offset: int, epoch: int, records: Any) -> None:
        self.snapshots.append(end_offset)
        self.position, self.epoch = end_offset, epoch
        self.records = list(records)

    def on_leader_change(self, leader: LeaderAndEpoch) -> None:
        self.leaders.append(leader)


class _Connection(asyncio.Protocol):
    """One request after the other, as the broker does it."""

    def __init__(self, node: RunningNode) -> None:
        self.node = node
        self.frames = FrameDecoder()
        self.requests: asyncio.Queue[bytes] = asyncio.Queue()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.node.connections.add(self)
        self.task = asyncio.get_running_loop().create_task(self._serve())

    def data_received(self, data: bytes) -> None:
        for frame in self.frames.feed(data):
            self.requests.put_nowait(bytes(frame))

    def connection_lost(self, exc: Exception | None) -> None:
        self.task.cancel()
        self.node.connections.discard(self)

    async def _serve(self) -> None:
        while True:
            frame = await self.requests.get()
            header = decode_request_header(frame)
            key, version = ApiKey(header.api_key), header.api_version
            request = decode_request(key, version, frame, header.body_offset)
            response = await self.node.quorum.handle(key, version, request)
            body = encode_response(key, version, response)
            self.transport.write(encode_response_frame(key, version, header.correlation_id, body))


class RunningNode:
    """A node, its listener, and what its listener heard."""

    def __init__(self, cluster: SocketCluster, node_id: int) -> None:
        self.cluster = cluster
        self.id = node_id
        self.connections: set[_Connection] = set()
        self.listener: Listener | None = None
        self.directory = str(cluster.folder / f"node-{node_id}" / "__cluster_metadata-0")

    def make(self) -> None:
        """A fresh object on whatever is on disk."""
        disk = RealDisk()
        disk.make_dirs(self.directory)
        self.heard = Heard()
        self.log = Log.open(disk, self.directory, LogConfig(), name="__cluster_metadata-0")
        self.quorum = MetadataQuorum(
            node_id=self.id,
            cluster_id=CLUSTER_ID,
            directory_id=UUID(int=100 + self.id),
            voters=self.cluster.voters,
            log=self.log,
            disk=disk,
            directory=self.directory,
            network=AsyncioNetwork(),
            clock=SystemClock(),
            offload=ThreadOffload(),
            rng=Random(self.id),
            config=self.cluster.config,
        )
        self.quorum.add_listener(self.heard)

    async def listen(self) -> int:
        port = self.cluster.voters.get(self.id, ("", 0))[1]
        factory = lambda: _Connection(self)  # noqa: E731
        self.listener = await AsyncioNetwork().listen("127.0.0.1", port, factory)
        return self.listener.port

    async def die(self) -> None:
        """Gone without a word, as by kill -9: sockets closed, nothing handed over."""
        assert self.listener is not None
        self.listener.close()
        for connection in list(self.connections):
            connection.transport.abort()
        await self.quorum.stop(resign=False)
        self.log.abandon()

    async def stop(self) -> None:
        await self.quorum.stop()
        if self.listener is not None:
            self.listener.close()
        for connection in list(self.connections):
            connection.transport.abort()
        self.log.close()


class SocketCluster:
    """Voters 1..n; more nodes are observers."""

    def __init__(self, folder: Path, voters: int, config: QuorumConfig | None = None) -> None:
        self.folder = folder
        self.config = config or QuorumConfig()
        self.voters: dict[int, tuple[str, int]] = {}
        self.nodes = {i: RunningNode(self, i) for i in range(1, voters + 1)}

    async def start(self) -> None:
        for node in self.nodes.values():
            self.voters[node.id] = ("127.0.0.1", await node.listen())
        for node in self.nodes.values():
            node.make()
        for node in self.nodes.values():
            await node.quorum.start()

    async def stop(self) -> None:
        for node in self.nodes.values():
            if node.quorum.failure is not None:
                raise node.quorum.failure
        for node in self.nodes.values():
            await node.stop()

    def leader(self) -> RunningNode | None:
        leading = [n for n in self.nodes.values() if n.quorum.is_leader]
        return max(leading, key=lambda n: n.quorum.leader.epoch, default=None)

    async def elected(self, seconds: float = 60) -> RunningNode:
        """The node that leads and has been told so."""
        found: list[RunningNode] = []

        def ready() -> bool:
            leader = self.leader()
            if leader is None or leader.heard.leaders[-1:] != [leader.quorum.leader]:
                return False
            found.append(leader)
            return True

        await until(ready, seconds)
        return found[-1]


async def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Wait for a condition, bounded."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.002)
