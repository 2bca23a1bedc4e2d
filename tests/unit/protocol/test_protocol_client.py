"""BrokerConnection against small scripted brokers on real sockets."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any, Self

import pytest

from broker.protocol import headers
from broker.protocol.api_keys import ApiKey
from broker.protocol.client import BrokerConnection
from broker.protocol.codec import decode_request, encode_response
from broker.protocol.errors import (
    BufferUnderflow,
    ConnectionFailed,
    EncodeError,
    ErrorCode,
    RequestTimedOut,
    UnsupportedVersion,
)
from broker.protocol.framing import FrameDecoder
from broker.protocol.network import AsyncioNetwork
from broker.protocol.struct import Struct

NETWORK = AsyncioNetwork()
VERSIONS = [
    {"api_key": 1, "min_version": 4, "max_version": 18},
    {"api_key": 0, "min_version": 3, "max_version": 9},
    {"api_key": 3, "min_version": 0, "max_version": 5},
    {"api_key": 18, "min_version": 0, "max_version": 4},
]
Script = Callable[["Scripted", headers.RequestHeader, memoryview], None]


class Scripted(asyncio.Protocol):
    """A broker that answers ApiVersions and leaves the rest to a script."""

    def __init__(self, script: Script, newest: int = 4) -> None:
        self.script = script
        self.newest = newest
        self.frames = FrameDecoder()
        self.seen: list[headers.RequestHeader] = []
        self.bodies: list[Struct] = []
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        for frame in self.frames.feed(data):
            header = headers.decode_request_header(frame)
            self.seen.append(header)
            if header.api_key == ApiKey.API_VERSIONS:
                self.versions(header, frame)
            else:
                self.script(self, header, frame)

    def versions(self, header: headers.RequestHeader, frame: memoryview) -> None:
        if header.api_version > self.newest:
            self.reply(header, {"error_code": 35, "api_keys": VERSIONS}, version=0)
            return
        self.bodies.append(decode_request(18, header.api_version, frame, header.body_offset))
        self.reply(header, {"api_keys": VERSIONS})

    def reply(self, header: headers.RequestHeader, body: Any, version: int | None = None) -> None:
        version = header.api_version if version is None else version
        data = encode_response(header.api_key, version, body)
        self.transport.write(
            headers.encode_response_frame(header.api_key, version, header.correlation_id, data)
        )


class Stage:
    """A listening scripted broker."""

    def __init__(self, script: Script, newest: int = 4) -> None:
        self.brokers: list[Scripted] = []
        self.make = lambda: self.brokers.append(Scripted(script, newest)) or self.brokers[-1]

    async def __aenter__(self) -> Self:
        self.listener = await NETWORK.listen("127.0.0.1", 0, self.make)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.listener.close()
        for broker in self.brokers:
            broker.transport.abort()
        await self.listener.wait_closed()

    async def connect(self, **options: Any) -> BrokerConnection:
        return await BrokerConnection.open(NETWORK, "127.0.0.1", self.listener.port, **options)


def silent(broker: Scripted, header: headers.RequestHeader, frame: memoryview) -> None:
    """Never answers."""


def metadata(broker: Scripted, header: headers.RequestHeader, frame: memoryview) -> None:
    body = decode_request(header.api_key, header.api_version, frame, header.body_offset)
    names = [{"name": topic.name} for topic in body.topics]
    broker.reply(header, {"cluster_id": "c", "topics": names})


async def test_it_negotiates_and_picks_the_newest_common_version() -> None:
    async with Stage(metadata) as stage:
        connection = await stage.connect()
        assert connection.api_versions[0] == (3, 9)
        assert connection.address == f"127.0.0.1:{stage.listener.port}"
        answer = await connection.request(ApiKey.METADATA, Struct(topics=[Struct(name="orders")]))
        assert answer.cluster_id == "c"
        assert answer.topics[0].name == "orders"
        (broker,) = stage.brokers
        assert [(h.api_key, h.api_version) for h in broker.seen] == [(18, 3), (3, 5)]
        assert broker.seen[0].client_id == "logctl"
        assert broker.bodies[0].client_software_name == "logctl"
        await connection.request(ApiKey.METADATA, Struct(topics=[]), max_version=4)
        await connection.request(ApiKey.METADATA, Struct(topics=[]), version=2)
        assert [h.api_version for h in broker.seen[2:]] == [4, 2]
        connection.close()
        await connection.wait_closed()
        assert connection.closed


@pytest.mark.parametrize("newest", [0, 2])
async def test_an_old_broker_is_asked_again_in_version_0(newest: int) -> None:
    async with Stage(silent, newest) as stage:
        connection = await stage.connect()
        assert connection.api_versions[1] == (4, 18)
        assert [h.api_version for h in stage.brokers[0].seen] == [3, 0]
        connection.close()


async def test_versions_that_the_broker_lacks_are_not_sent() -> None:
    async with Stage(silent) as stage:
        connection = await stage.connect()
        for key, options in (
            (ApiKey.VOTE, {}),
            (ApiKey.PRODUCE, {"version": 10}),
            (ApiKey.FETCH, {"max_version": 3}),
        ):
            with pytest.raises(UnsupportedVersion, match=key.name):
                await connection.request(key, Struct(), **options)
        with pytest.raises(EncodeError):
            await connection.request(ApiKey.METADATA, Struct(topcis=[]))
        assert len(stage.brokers[0].seen) == 1
        connection.close()


async def test_answers_belong_to_their_requests_however_many_are_in_flight() -> None:
    async with Stage(metadata) as stage:
        connection = await stage.connect()
        names = [f"topic-{i}" for i in range(200)]
        answers = await asyncio.gather(
            *(connection.request(3, {"topics": [{"name": name}]}) for name in names)
        )
        assert [answer.topics[0].name for answer in answers] == names
        connection.close()


async def test_a_request_that_times_out_does_not_disturb_the_next() -> None:
    held: list[headers.RequestHeader] = []

    def slow(broker: Scripted, header: headers.RequestHeader, frame: memoryview) -> None:
        if not held:
            held.append(header)
            return
        for each in (*held, header):
            broker.reply(each, {"cluster_id": str(each.correlation_id)})

    async with Stage(slow) as stage:
        connection = await stage.connect()
        with pytest.raises(RequestTimedOut, match="METADATA within 50 ms"):
            await connection.request(3, Struct(topics=[]), timeout_ms=50)
        answer = await connection.request(3, Struct(topics=[]))
        assert answer.cluster_id == "2"
        connection.close()


async def test_a_broken_connection_fails_everybody_who_waits() -> None:
    def hang_up(broker: Scripted, header: headers.RequestHeader, frame: memoryview) -> None:
        if len(broker.seen) == 3:
            broker.transport.close()

    async with Stage(hang_up) as stage:
        connection = await stage.connect()
        results = await asyncio.gather(
            *(connection.request(3, Struct(topics=[])) for _ in range(2)), return_exceptions=True
        )
        assert all(isinstance(r, ConnectionFailed) for r in results)
        assert "the broker closed the connection" in str(results[0])
        await asyncio.wait_for(connection.wait_closed(), 5)
        with pytest.raises(ConnectionFailed, match="the broker closed the connection"):
            await connection.request(3, Struct(topics=[]))


async def test_closing_fails_those_who_wait() -> None:
    async with Stage(silent) as stage:
        connection = await stage.connect()
        request = asyncio.ensure_future(connection.request(3, Struct(topics=[])))
        await asyncio.sleep(0)
        connection.close()
        connection.close()
        with pytest.raises(ConnectionFailed, match="closed by this side"):
            await request


async def test_a_cancelled_request_leaves_the_order_intact() -> None:
    async with Stage(metadata) as stage:
        connection = await stage.connect()
        first = asyncio.ensure_future(connection.request(3, {"topics": [{"name": "a"}]}))
        await asyncio.sleep(0)
        first.cancel()
        answer = await connection.request(3, {"topics": [{"name": "b"}]})
        assert answer.topics[0].name == "b"
        connection.close()


async def test_garbage_from_the_broker_closes_the_connection() -> None:
    def garbage(broker: Scripted, header: headers.RequestHeader, frame: memoryview) -> None:
        broker.transport.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with Stage(garbage) as stage:
        connection = await stage.connect()
        with pytest.raises(ConnectionFailed, match="is no answer"):
            await connection.request(3, Struct(topics=[]))
        await asyncio.wait_for(connection.wait_closed(), 5)


async def test_a_wrong_correlation_id_closes_the_connection() -> None:
    def wrong(broker: Scripted, header: headers.RequestHeader, frame: memoryview) -> None:
        broker.transport.write(headers.encode_response_frame(3, 5, 77, b""))

    async with Stage(wrong) as stage:
        connection = await stage.connect()
        with pytest.raises(ConnectionFailed, match="the id 77"):
            await connection.request(3, Struct(topics=[]))


async def test_a_malformed_answer_fails_its_request_alone() -> None:
    def short(broker: Scripted, header: headers.RequestHeader, frame: memoryview) -> None:
        if len(broker.seen) == 2:
            frame_bytes = headers.encode_response_frame(3, 5, header.correlation_id, b"\0\0")
            broker.transport.write(frame_bytes)
        else:
            broker.reply(header, {"cluster_id": "fine"})

    async with Stage(short) as stage:
        connection = await stage.connect()
        with pytest.raises(BufferUnderflow):
            await connection.request(3, Struct(topics=[]))
        assert (await connection.request(3, Struct(topics=[]))).cluster_id == "fine"
        connection.close()


async def test_produce_without_acks_waits_for_nothing() -> None:
    async with Stage(silent) as stage:
        connection = await stage.connect()
        assert await connection.request(0, Struct(acks=0), no_reply=True) == Struct()
        task = asyncio.ensure_future(connection.request(3, Struct(topics=[]), timeout_ms=200))
        with pytest.raises(RequestTimedOut):
            await task
        assert [h.api_key for h in stage.brokers[0].seen] == [18, 0, 3]
        connection.close()


async def test_nobody_listens() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        with pytest.raises(ConnectionFailed, match="connection refused") as caught:
            await BrokerConnection.open(NETWORK, "127.0.0.1", port)
    assert caught.value.refused
    assert caught.value.address == f"127.0.0.1:{port}"


async def test_somebody_else_listens() -> None:
    def factory(reply: bytes | None) -> Callable[[], asyncio.Protocol]:
        class Stranger(asyncio.Protocol):
            def connection_made(self, transport: Any) -> None:
                self.transport = transport

            def data_received(self, data: bytes) -> None:
                if reply is None:
                    self.transport.close()
                else:
                    self.transport.write(reply)

        return Stranger

    for reply, reason in (
        (None, "the broker closed the connection"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "is no answer"),
        (b"", "no answer within 100 ms"),
        (b"\0\0\0\6\0\0\0\0\0\0", "no Kafka broker"),
    ):
        listener = await NETWORK.listen("127.0.0.1", 0, factory(reply))
        with pytest.raises(ConnectionFailed, match=reason) as caught:
            await BrokerConnection.open(NETWORK, "127.0.0.1", listener.port, timeout_ms=100)
        assert not caught.value.refused
        listener.close()


async def test_no_delay_is_on_at_both_ends() -> None:
    async with Stage(silent) as stage:
        connection = await stage.connect()
        assert connection._transport is not None
        for transport in (connection._transport, stage.brokers[0].transport):
            sock = transport.get_extra_info("socket")
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        connection.close()


async def test_without_negotiation_nothing_is_assumed() -> None:
    async with Stage(metadata) as stage:
        connection = await stage.connect(negotiate=False)
        assert connection.api_versions == {}
        assert (await connection.request(3, Struct(topics=[]), version=7)).cluster_id == "c"
        assert stage.brokers[0].seen[0].api_version == 7
        connection.close()


def test_error_code_names_reach_the_reader() -> None:
    from broker.protocol.errors import ServerError

    error = ServerError(6, "orders-0")
    assert error.code is ErrorCode.not_leader_or_follower
    assert str(error) == "NOT_LEADER_OR_FOLLOWER: orders-0"
    assert str(ServerError(9999)) == "error 9999"
