"""One connection: order, back-pressure, bad requests, limits."""

import asyncio
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from broker.api.registry import Api, Registry, Reply, RequestContext, build_registry
from broker.connection import ClientConnection, CloseConnection, ListenerContext
from broker.protocol.api_keys import ApiKey
from broker.protocol.codec import decode_response, encode_request
from broker.protocol.errors import ErrorCode
from broker.protocol.headers import decode_response_header, encode_request_frame
from broker.protocol.struct import Struct

WAIT_SECONDS = 60


async def versions(node: Any, context: RequestContext, request: Struct) -> Reply:
    return Struct(error_code=ErrorCode.none, api_keys=[])


class Gate:
    """A handler that tests hold back; it notes what is under way."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.seen: list[int] = []

    async def __call__(self, node: Any, context: RequestContext, request: Struct) -> Reply:
        self.seen.append(context.correlation_id)
        await self.open.wait()
        return Struct(
            brokers=[], topics=[], cluster_id="x" * request.get("size", 1), controller_id=1
        )


def registry_with(gate: Any) -> Registry:
    return build_registry(
        [
            Api(key=ApiKey.API_VERSIONS, min_version=0, max_version=3, handler=versions),
            Api(key=ApiKey.METADATA, min_version=0, max_version=12, handler=gate),
        ]
    )


@asynccontextmanager
async def listening(
    registry: Registry, **options: Any
) -> AsyncIterator[tuple[ListenerContext, Callable[[], Any]]]:
    loop = asyncio.get_running_loop()
    listener = ListenerContext(
        name="PLAINTEXT",
        role="broker",
        registry=registry,
        max_frame_bytes=options.pop("max_frame_bytes", 1_000_000),
        idle_ms=options.pop("idle_ms", 60_000),
        connections_max=options.pop("connections_max", 100),
        monotonic_ms=options.pop("monotonic_ms", lambda: int(loop.time() * 1000)),
        **options,
    )
    listener.ready.set()
    server = await loop.create_server(lambda: ClientConnection(listener), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    writers = []

    async def connect() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writers.append(writer)
        return reader, writer

    try:
        yield listener, connect
    finally:
        server.close()
        listener.close_all()
        for writer in writers:
            writer.close()


def metadata_request(correlation_id: int, version: int = 1) -> bytes:
    body = encode_request(ApiKey.METADATA, version, Struct(topics=[]))
    return encode_request_frame(ApiKey.METADATA, version, correlation_id, "test", body)


def versions_request(correlation_id: int, version: int = 0) -> bytes:
    return encode_request_frame(ApiKey.API_VERSIONS, version, correlation_id, "test", b"")


async def read_frame(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(WAIT_SECONDS):
        (size,) = struct.unpack(">i", await reader.readexactly(4))
        return await reader.readexactly(size)


async def read_correlation_id(reader: asyncio.StreamReader) -> int:
    return struct.unpack(">i", (await read_frame(reader))[:4])[0]


async def assert_closed(reader: asyncio.StreamReader) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await reader.readexactly(1)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        while not condition():
            await asyncio.sleep(0.005)


async def test_pipelined_requests_are_processed_one_at_a_time_and_answered_in_order() -> None:
    gate = Gate()
    async with listening(registry_with(gate)) as (_, connect):
        reader, writer = await connect()
        writer.write(metadata_request(1) + versions_request(2) + metadata_request(3))
        await until(lambda: gate.seen == [1])
        gate.open.set()
        assert [await read_correlation_id(reader) for _ in range(3)] == [1, 2, 3]
        assert gate.seen == [1, 3]


async def test_frames_split_at_every_byte_are_understood() -> None:
    gate = Gate()
    gate.open.set()
    async with listening(registry_with(gate)) as (_, connect):
        reader, writer = await connect()
        for byte in metadata_request(7):
            writer.write(bytes([byte]))
            await writer.drain()
        assert await read_correlation_id(reader) == 7


async def test_reading_pauses_while_many_requests_wait() -> None:
    gate = Gate()
    async with listening(registry_with(gate)) as (listener, connect):
        reader, writer = await connect()
        request = metadata_request(1, version=1)
        sent = 0
        for _ in range(400):
            writer.write(request * 1000)
            sent += 1000
        await until(lambda: bool(gate.seen))
        connection = next(iter(listener.connections))
        await until(lambda: connection._reading_paused)
        assert len(connection._frames) < sent / 4
        gate.open.set()
        for _ in range(100):
            await read_frame(reader)


async def test_a_client_that_does_not_read_is_not_served_further() -> None:
    answered = 0

    async def big(node: Any, context: RequestContext, request: Struct) -> Reply:
        nonlocal answered
        answered += 1
        return [b"\x00" * 1_000_000]

    async with listening(registry_with(big)) as (listener, connect):
        _, writer = await connect()
        for number in range(30):
            writer.write(metadata_request(number))
        connection_count = lambda: len(listener.connections)  # noqa: E731
        await until(lambda: connection_count() == 1 and answered > 0)
        connection = next(iter(listener.connections))
        await until(lambda: not connection._writable.is_set())
        settled = answered
        other_reader, other_writer = await connect()
        other_writer.write(versions_request(5))
        assert await read_correlation_id(other_reader) == 5
        assert answered == settled < 30


async def test_bytes_after_a_request_are_ignored_as_librdkafka_sends_them() -> None:
    gate = Gate()
    gate.open.set()
    async with listening(registry_with(gate)) as (_, connect):
        reader, writer = await connect()
        padded = metadata_request(1)[4:] + b"\x01\x00\x00"
        writer.write(struct.pack(">i", len(padded)) + padded)
        assert await read_correlation_id(reader) == 1


@pytest.mark.parametrize(
    "garbage",
    [
        struct.pack(">i", -1),
        struct.pack(">i", 2**31 - 1),
        b"GET / HTTP/1.1\r\n\r\n",
        struct.pack(">i", 3) + b"abc",
        struct.pack(">ihhih", 10, 9999, 0, 1, -1),
        struct.pack(">ihhih", 10, ApiKey.METADATA, 99, 1, -1),
        struct.pack(">ihhih", 10, ApiKey.METADATA, 1, 1, -5),
        struct.pack(">ihhihi", 14, ApiKey.METADATA, 1, 1, -1, 2**31 - 1),
        struct.pack(">ihhih", 10, ApiKey.METADATA, 1, 1, -1),
    ],
    ids=[
        "negative length",
        "huge length",
        "http",
        "short header",
        "unknown key",
        "unknown version",
        "negative client id",
        "huge count",
        "no body",
    ],
)
async def test_garbage_closes_only_its_own_connection(
    garbage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    gate = Gate()
    gate.open.set()
    async with listening(registry_with(gate)) as (_, connect):
        healthy_reader, healthy_writer = await connect()
        reader, writer = await connect()
        writer.write(garbage)
        await assert_closed(reader)
        lines = [r for r in caplog.records if r.getMessage() == "connection closed: bad request"]
        assert len(lines) == 1
        assert lines[0].peer == f"127.0.0.1:{writer.get_extra_info('sockname')[1]}"
        assert "Traceback" not in caplog.text
        healthy_writer.write(metadata_request(1))
        assert await read_correlation_id(healthy_reader) == 1


async def test_an_unknown_version_of_api_versions_is_answered_in_v0_with_the_known_ones() -> None:
    async with listening(registry_with(Gate())) as (_, connect):
        reader, writer = await connect()
        writer.write(struct.pack(">ihhih", 11, ApiKey.API_VERSIONS, 99, 42, -1) + b"\x00")
        frame = await read_frame(reader)
        correlation_id, offset = decode_response_header(ApiKey.API_VERSIONS, 0, frame)
        body = decode_response(ApiKey.API_VERSIONS, 0, frame, offset)
        assert correlation_id == 42
        assert body.error_code == ErrorCode.unsupported_version
        known = [(k.api_key, k.min_version, k.max_version) for k in body.api_keys]
        assert known == [(18, 0, 3)]
        # and the connection is still usable
        writer.write(versions_request(43))
        assert await read_correlation_id(reader) == 43


async def test_a_handler_without_response_sends_nothing_and_closes_on_error() -> None:
    async def silent(node: Any, context: RequestContext, request: Struct) -> Reply:
        if context.correlation_id == 2:
            raise CloseConnection("refused")
        return None

    async with listening(registry_with(silent)) as (_, connect):
        reader, writer = await connect()
        writer.write(metadata_request(1) + versions_request(9) + metadata_request(2))
        assert await read_correlation_id(reader) == 9
        await assert_closed(reader)


async def test_a_failing_handler_closes_its_connection_and_logs_why(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def broken(node: Any, context: RequestContext, request: Struct) -> Reply:
        raise RuntimeError("out of order")

    async with listening(registry_with(broken)) as (_, connect):
        reader, writer = await connect()
        writer.write(metadata_request(1))
        await assert_closed(reader)
        assert "out of order" in caplog.text


async def test_idle_connections_are_closed_and_busy_ones_are_not() -> None:
    now = [0]
    gate = Gate()
    options = {"monotonic_ms": lambda: now[0], "idle_ms": 1000}
    async with listening(registry_with(gate), **options) as (listener, connect):
        idle_reader, _ = await connect()
        busy_reader, busy_writer = await connect()
        busy_writer.write(metadata_request(1))
        await until(lambda: gate.seen == [1] and len(listener.connections) == 2)
        now[0] = 2000
        listener.close_idle()
        await assert_closed(idle_reader)
        gate.open.set()
        assert await read_correlation_id(busy_reader) == 1


async def test_connections_beyond_the_limit_are_refused() -> None:
    gate = Gate()
    gate.open.set()
    async with listening(registry_with(gate), connections_max=2) as (listener, connect):
        _, first_writer = await connect()
        await connect()
        await until(lambda: len(listener.connections) == 2)
        third_reader, _ = await connect()
        await assert_closed(third_reader)
        first_writer.close()
        await until(lambda: len(listener.connections) == 1)
        fourth_reader, fourth_writer = await connect()
        fourth_writer.write(metadata_request(4))
        assert await read_correlation_id(fourth_reader) == 4


async def test_a_lost_connection_is_reported_and_stops_its_request() -> None:
    gate = Gate()
    lost: list[ClientConnection] = []
    async with listening(registry_with(gate), on_lost=lost.append) as (listener, connect):
        _, writer = await connect()
        writer.write(metadata_request(1))
        await until(lambda: gate.seen == [1])
        connection = next(iter(listener.connections))
        writer.close()
        await until(lambda: lost == [connection])
        assert connection._task is not None
        await until(connection._task.done)


async def test_records_of_a_producer_that_writes_and_leaves_are_kept() -> None:
    """acks=0: nobody waits for an answer, so the peer may be gone before its turn comes."""
    gate = Gate()
    produced: list[int] = []

    async def produce(node: Any, context: RequestContext, request: Struct) -> Reply:
        produced.append(context.correlation_id)
        return None

    def produce_request(correlation_id: int) -> bytes:
        body = encode_request(ApiKey.PRODUCE, 3, Struct(acks=0, timeout_ms=1, topic_data=[]))
        return encode_request_frame(ApiKey.PRODUCE, 3, correlation_id, "test", body)

    registry = build_registry(
        [
            Api(key=ApiKey.METADATA, min_version=0, max_version=12, handler=gate),
            Api(key=ApiKey.PRODUCE, min_version=3, max_version=9, handler=produce),
        ]
    )
    async with listening(registry) as (listener, connect):
        _, writer = await connect()
        writer.write(metadata_request(1) + produce_request(2))
        writer.write(metadata_request(3) + produce_request(4))
        await until(
            lambda: gate.seen == [1] and any(len(c._frames) == 3 for c in listener.connections)
        )
        writer.close()
        await until(lambda: produced == [2, 4])
        assert gate.seen == [1]
        assert not listener.connections


async def test_nothing_is_processed_before_the_listener_is_ready() -> None:
    gate = Gate()
    gate.open.set()
    async with listening(registry_with(gate)) as (listener, connect):
        listener.ready.clear()
        reader, writer = await connect()
        writer.write(metadata_request(1))
        await until(lambda: any(c._frames for c in listener.connections))
        assert gate.seen == []
        listener.ready.set()
        assert await read_correlation_id(reader) == 1
