"""A small cluster in memory that speaks the real wire language, and folders of its own per test."""

import asyncio
import ssl
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from broker.protocol.api_keys import METADATA_TOPIC, METADATA_TOPIC_ID, ApiKey
from broker.protocol.batch import Record, encode_batch, encode_leader_change
from broker.protocol.codec import decode_request, encode_response
from broker.protocol.errors import ErrorCode
from broker.protocol.framing import FrameDecoder
from broker.protocol.headers import decode_request_header, encode_response_frame
from broker.protocol.metadata_records import encode_record
from broker.protocol.network import AsyncioNetwork
from broker.protocol.struct import ZERO_UUID, Struct

Handler = Callable[[Struct, int], Any]


@pytest.fixture(autouse=True)
def own_folders(tmp_path, monkeypatch):
    for name in ("DATA", "STATE", "CONFIG"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))
    return tmp_path


class FakeServer:
    """One listening address; `handlers` answer, and `versions` says what it admits to."""

    def __init__(self) -> None:
        self.handlers: dict[int, Handler] = {}
        self.versions: dict[int, tuple[int, int]] = {}
        self.tls: ssl.SSLContext | None = None
        self.silent = False
        self.delay_s = 0.0
        self.requests: list[tuple[int, int]] = []
        self.port = 0
        self._listener: Any = None
        self._transports: set[asyncio.Transport] = set()
        self.tasks: set[asyncio.Task] = set()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def start(self, port: int = 0) -> None:
        if self.tls is not None:
            self._listener = await asyncio.get_running_loop().create_server(
                lambda: _Session(self), "127.0.0.1", port or self.port, ssl=self.tls
            )
            self.port = self._listener.sockets[0].getsockname()[1]
            return
        self._listener = await AsyncioNetwork().listen(
            "127.0.0.1", port or self.port, lambda: _Session(self)
        )
        self.port = self._listener.port

    async def stop(self) -> None:
        """As a crash: the port is closed and every connection is reset."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        for transport in list(self._transports):
            transport.abort()
        for task in list(self.tasks):
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    def serve(self, api_key: ApiKey, oldest: int, newest: int, handler: Handler) -> None:
        self.versions[int(api_key)] = (oldest, newest)
        self.handlers[int(api_key)] = handler


class _Session(asyncio.Protocol):
    def __init__(self, server: FakeServer) -> None:
        self.server = server
        self.frames = FrameDecoder()
        self.queue: asyncio.Queue = asyncio.Queue()

    def connection_made(self, transport) -> None:
        self.transport = transport
        self.server._transports.add(transport)
        task = asyncio.ensure_future(self.answer_all())
        self.server.tasks.add(task)
        task.add_done_callback(self.server.tasks.discard)
        self.task = task

    def connection_lost(self, exc) -> None:
        self.server._transports.discard(self.transport)
        self.task.cancel()

    def data_received(self, data: bytes) -> None:
        for frame in self.frames.feed(data):
            self.queue.put_nowait(bytes(frame))

    async def answer_all(self) -> None:
        while True:
            frame = await self.queue.get()
            if self.server.silent:
                continue
            if self.server.delay_s:
                await asyncio.sleep(self.server.delay_s)
            header = decode_request_header(frame)
            key, version = header.api_key, header.api_version
            self.server.requests.append((key, version))
            if key == ApiKey.API_VERSIONS:
                answer = Struct(
                    error_code=ErrorCode.none,
                    api_keys=[
                        Struct(api_key=api, min_version=low, max_version=high)
                        for api, (low, high) in sorted(self.server.versions.items())
                    ],
                )
            else:
                answer = self.server.handlers[key](
                    decode_request(key, version, frame, header.body_offset), version
                )
                if asyncio.iscoroutine(answer):
                    answer = await answer
            body = encode_response(key, version, answer)
            self.transport.write(encode_response_frame(key, version, header.correlation_id, body))


class FakeCluster:
    """Brokers (client listeners) and controllers (a metadata log) that tests can stop and start."""

    def __init__(self, nodes: int) -> None:
        self.cluster_id = "fake-cluster-id-000001"
        self.brokers = {node: FakeServer() for node in range(1, nodes + 1)}
        self.controllers = {node: FakeServer() for node in range(1, nodes + 1)}
        self.fenced: set[int] = set()
        self.leader_id = 1
        self.epoch = 1
        self.batches: list[tuple[int, int, bytes]] = []  # (base, last, bytes)
        self.high_watermark = 0
        self.end_offset = 0
        self.log_start = 0
        self.snapshot: tuple[int, int, bytes] | None = None
        self.news = asyncio.Event()
        self.topics: dict[str, list[Struct]] = {}
        self.topic_ids: dict[str, uuid.UUID] = {}
        self.offsets: dict[tuple[str, int], tuple[int, int]] = {}
        self.nodes_told = True
        self.refuse_fetch = False
        self.quorum_error = 0
        self.not_leader: set[tuple[str, int]] = set()
        self.min_isr: dict[str, str] = {}  # what topics have set themselves

    async def start(self) -> None:
        for node, server in self.brokers.items():
            self._broker(node, server)
            await server.start()
        for node, server in self.controllers.items():
            self._controller(node, server)
            await server.start()

    async def stop(self) -> None:
        for server in [*self.brokers.values(), *self.controllers.values()]:
            await server.stop()

    @property
    def bootstrap(self) -> list[str]:
        return [server.address for server in self.brokers.values()]

    # The metadata log

    def append(self, *records, at_ms: int = 1_000, commit: bool = True) -> int:
        base = self.end_offset
        content = encode_batch(
            [
                Record(base + index, at_ms, None, encode_record(record))
                for index, record in enumerate(records)
            ],
            base_offset=base,
            leader_epoch=self.epoch,
        )
        self._store(content, base, base + len(records) - 1, commit)
        return base

    def elect(self, leader_id: int, *, at_ms: int = 1_000) -> int:
        self.leader_id, self.epoch = leader_id, self.epoch + 1
        base = self.end_offset
        content = encode_leader_change(
            base_offset=base,
            leader_epoch=self.epoch,
            timestamp_ms=at_ms,
            leader_id=leader_id,
            voters=dict.fromkeys(self.controllers, ZERO_UUID),
            granting_voters={},
        )
        self._store(content, base, base, True)
        return base

    def commit(self) -> None:
        self.high_watermark = self.end_offset
        self._wake()

    def _store(self, content: bytes, base: int, last: int, commit: bool) -> None:
        self.batches.append((base, last, content))
        self.end_offset = last + 1
        if commit:
            self.high_watermark = self.end_offset
        self._wake()

    def _wake(self) -> None:
        self.news.set()
        self.news = asyncio.Event()

    def _controller(self, node: int, server: FakeServer) -> None:
        server.serve(ApiKey.FETCH, 4, 17, lambda body, version: self._fetch(node, body))
        server.serve(ApiKey.FETCH_SNAPSHOT, 0, 1, lambda body, version: self._fetch_snapshot(body))

    async def _fetch(self, node: int, body: Struct) -> Struct:
        assert body.replica_id == -1
        asked = body.topics[0].partitions[0]
        answer = Struct(
            partition_index=0,
            error_code=ErrorCode.none,
            high_watermark=self.high_watermark,
            records=b"",
        )
        if self.refuse_fetch:
            answer.error_code = ErrorCode.cluster_authorization_failed
        elif node != self.leader_id:
            answer.error_code = ErrorCode.not_leader_or_follower
        elif asked.current_leader_epoch < self.epoch:
            answer.error_code = ErrorCode.fenced_leader_epoch
        elif asked.fetch_offset < self.log_start and self.snapshot is not None:
            answer.snapshot_id = Struct(end_offset=self.snapshot[0], epoch=self.snapshot[1])
        elif asked.fetch_offset > self.end_offset:
            answer.error_code = ErrorCode.offset_out_of_range
        else:
            if asked.fetch_offset >= self.end_offset and body.max_wait_ms:
                try:
                    await asyncio.wait_for(self.news.wait(), body.max_wait_ms / 1000)
                except TimeoutError:
                    pass
                if node != self.leader_id:
                    answer.error_code = ErrorCode.not_leader_or_follower
            answer.high_watermark = self.high_watermark
            answer.records = b"".join(
                content for _, last, content in self.batches if last >= asked.fetch_offset
            )
        answer.current_leader = Struct(leader_id=self.leader_id, leader_epoch=self.epoch)
        return Struct(
            responses=[
                Struct(topic=METADATA_TOPIC, topic_id=METADATA_TOPIC_ID, partitions=[answer])
            ]
        )

    def _fetch_snapshot(self, body: Struct) -> Struct:
        asked = body.topics[0].partitions[0]
        assert self.snapshot is not None
        end_offset, epoch, content = self.snapshot
        part = content[asked.position : asked.position + 100]
        answer = Struct(
            index=0,
            snapshot_id=Struct(end_offset=end_offset, epoch=epoch),
            size=len(content),
            position=asked.position,
            unaligned_records=part,
        )
        return Struct(topics=[Struct(name=METADATA_TOPIC, partitions=[answer])])

    # The brokers

    def add_topic(self, name: str, partitions: list[Struct], topic_id: uuid.UUID) -> None:
        self.topics[name] = partitions
        self.topic_ids[name] = topic_id

    def _broker(self, node: int, server: FakeServer) -> None:
        server.serve(ApiKey.METADATA, 0, 13, lambda body, version: self._metadata(body))
        server.serve(ApiKey.DESCRIBE_CLUSTER, 0, 2, lambda body, version: self._describe(version))
        server.serve(ApiKey.DESCRIBE_QUORUM, 0, 2, lambda body, version: self._quorum())
        server.serve(
            ApiKey.LIST_OFFSETS, 1, 9, lambda body, version: self._list_offsets(node, body)
        )
        server.serve(ApiKey.DESCRIBE_CONFIGS, 1, 4, lambda body, version: self._configs(body))

    def _running(self) -> dict[int, FakeServer]:
        return {node: server for node, server in self.brokers.items() if node not in self.fenced}

    def _metadata(self, body: Struct) -> Struct:
        names = (
            sorted(self.topics) if body.topics is None else [topic.name for topic in body.topics]
        )
        topics = []
        for name in names:
            known = name in self.topics
            topics.append(
                Struct(
                    error_code=ErrorCode.none if known else ErrorCode.unknown_topic_or_partition,
                    name=name,
                    topic_id=self.topic_ids.get(name, ZERO_UUID),
                    partitions=self.topics.get(name, []),
                )
            )
        return Struct(
            brokers=[
                Struct(node_id=node, host="127.0.0.1", port=server.port, rack=None)
                for node, server in self._running().items()
            ],
            cluster_id=self.cluster_id,
            controller_id=min(self._running(), default=-1),
            topics=topics,
        )

    def _describe(self, version: int) -> Struct:
        shown = self.brokers if version >= 2 else self._running()
        return Struct(
            cluster_id=self.cluster_id,
            controller_id=min(self._running(), default=-1),
            brokers=[
                Struct(
                    broker_id=node,
                    host="127.0.0.1",
                    port=server.port,
                    rack="r",
                    is_fenced=node in self.fenced,
                )
                for node, server in shown.items()
            ],
        )

    def _quorum(self) -> Struct:
        return Struct(
            error_code=int(self.quorum_error),
            topics=[
                Struct(
                    topic_name=METADATA_TOPIC,
                    partitions=[
                        Struct(
                            partition_index=0,
                            leader_id=self.leader_id,
                            leader_epoch=self.epoch,
                            high_watermark=self.high_watermark,
                            current_voters=[
                                Struct(replica_id=node, log_end_offset=self.end_offset)
                                for node in self.controllers
                            ],
                            observers=[],
                        )
                    ],
                )
            ],
            nodes=[
                Struct(
                    node_id=node,
                    listeners=[Struct(name="CONTROLLER", host="127.0.0.1", port=server.port)],
                )
                for node, server in self.controllers.items()
                if self.nodes_told
            ],
        )

    def _list_offsets(self, node: int, body: Struct) -> Struct:
        topics = []
        for topic in body.topics:
            partitions = []
            for asked in topic.partitions:
                key = (topic.name, asked.partition_index)
                leads = self.topics[topic.name][asked.partition_index].leader_id == node
                start, end = self.offsets.get(key, (0, 0))
                moved = not leads or key in self.not_leader
                self.not_leader.discard(key)
                partitions.append(
                    Struct(
                        partition_index=asked.partition_index,
                        error_code=ErrorCode.not_leader_or_follower if moved else ErrorCode.none,
                        offset=-1 if moved else (start if asked.timestamp == -2 else end),
                    )
                )
            topics.append(Struct(name=topic.name, partitions=partitions))
        return Struct(topics=topics)

    def _configs(self, body: Struct) -> Struct:
        entries = [("cleanup.policy", "delete", 5), ("retention.ms", "1000", 1)]
        if self.min_isr:
            return Struct(
                results=[
                    Struct(
                        resource_type=asked.resource_type,
                        resource_name=asked.resource_name,
                        configs=[
                            Struct(
                                name="min.insync.replicas",
                                value=self.min_isr.get(asked.resource_name, "1"),
                                config_source=1 if asked.resource_name in self.min_isr else 5,
                            )
                        ],
                    )
                    for asked in body.resources
                ]
            )
        asked = body.resources[0]
        return Struct(
            results=[
                Struct(
                    resource_type=asked.resource_type,
                    resource_name=asked.resource_name,
                    configs=[
                        *(
                            Struct(name=name, value=value, config_source=source)
                            for name, value, source in entries
                        ),
                        Struct(name="a.password", value="x", config_source=1, is_sensitive=True),
                    ],
                )
            ]
        )


def partition(index: int, leader: int, replicas: list[int], isr: list[int], offline=()) -> Struct:
    return Struct(
        partition_index=index,
        leader_id=leader,
        leader_epoch=3,
        replica_nodes=replicas,
        isr_nodes=isr,
        offline_replicas=list(offline),
    )


@pytest.fixture
def make_partition():
    return partition


@pytest.fixture
async def fake_cluster():
    cluster = FakeCluster(3)
    await cluster.start()
    yield cluster
    await cluster.stop()


@pytest.fixture
async def fake_server():
    server = FakeServer()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
def make_fake_cluster():
    """For tests that need many; who starts one stops it."""
    return FakeCluster
