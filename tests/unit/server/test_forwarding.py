"""Requests find the active controller: locally, over the wire, after it moved, or not in time."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from broker.api.registry import Api, Reply, RequestContext, build_registry
from broker.connection import ClientConnection, ListenerContext
from broker.protocol.api_keys import ApiKey
from broker.protocol.codec import supported_versions
from broker.protocol.errors import ErrorCode, RequestTimedOut
from broker.protocol.struct import Struct
from broker.runtime.doors import AsyncioNetwork, SystemClock
from broker.runtime.forwarding import ControllerChannel, says_not_controller
from broker.runtime.producer_ids import ProducerIds


class Quorum:
    def __init__(self, leader_id: int = -1) -> None:
        self.leader = SimpleNamespace(leader_id=leader_id, epoch=1)

    def move_to(self, leader_id: int) -> None:
        self.leader = SimpleNamespace(leader_id=leader_id, epoch=self.leader.epoch + 1)


class FakeController:
    """A controller's listener on a real socket, answering AllocateProducerIds."""

    def __init__(self) -> None:
        self.next_id = 0
        self.code = ErrorCode.none
        self.calls = 0
        self.port = 0
        self.running = asyncio.Event()
        self.running.set()

    async def start(self) -> None:
        async def versions(node: Any, context: RequestContext, request: Struct) -> Reply:
            keys = self.context.registry.versions("controller").items()
            return Struct(
                error_code=ErrorCode.none,
                api_keys=[Struct(api_key=k, min_version=a, max_version=b) for k, (a, b) in keys],
            )

        both = frozenset({"controller"})
        registry = build_registry(
            [
                Api(
                    key=ApiKey.API_VERSIONS,
                    min_version=0,
                    max_version=3,
                    handler=versions,
                    listeners=both,
                ),
                Api(
                    key=ApiKey.ALLOCATE_PRODUCER_IDS,
                    min_version=0,
                    max_version=0,
                    handler=self.allocate,
                    listeners=both,
                ),
            ]
        )
        self.context = ListenerContext(
            name="CONTROLLER",
            role="controller",
            registry=registry,
            max_frame_bytes=10_000,
            idle_ms=60_000,
            connections_max=10,
            monotonic_ms=SystemClock().monotonic_ms,
        )
        self.context.ready.set()
        self.listener = await AsyncioNetwork().listen(
            "127.0.0.1", 0, lambda: ClientConnection(self.context)
        )
        self.port = self.listener.port

    async def allocate(self, node: Any, context: RequestContext, request: Struct) -> Reply:
        self.calls += 1
        await self.running.wait()
        if self.code != ErrorCode.none:
            return Struct(error_code=self.code)
        start, self.next_id = self.next_id, self.next_id + 3
        return Struct(error_code=ErrorCode.none, producer_id_start=start, producer_id_len=3)

    def stop(self) -> None:
        self.listener.close()
        self.context.close_all()


@pytest.fixture
async def controllers() -> Any:
    nodes = {2: FakeController(), 3: FakeController()}
    for node in nodes.values():
        await node.start()
    yield nodes
    for node in nodes.values():
        node.stop()


def channel(
    quorum: Quorum,
    controllers: dict[int, FakeController],
    *,
    local: Any = None,
    on_lost: Callable[[], None] | None = None,
) -> ControllerChannel:
    return ControllerChannel(
        node_id=1,
        quorum=quorum,
        voters={k: ("127.0.0.1", c.port) for k, c in controllers.items()} | {9: ("127.0.0.1", 1)},
        network=AsyncioNetwork(),
        clock=SystemClock(),
        local=local,
        latest=lambda key: supported_versions(key)[1],
        purpose="test",
        on_lost=on_lost,
    )


ASK = Struct(broker_id=1, broker_epoch=5)


async def test_a_request_waits_for_a_leader_and_reaches_it(controllers: Any) -> None:
    quorum = Quorum()
    sender = channel(quorum, controllers)
    asking = asyncio.create_task(sender.send(ApiKey.ALLOCATE_PRODUCER_IDS, ASK, 5000))
    await asyncio.sleep(0)
    assert not asking.done()
    quorum.move_to(2)
    assert (await asking).producer_id_len == 3
    assert controllers[2].calls == 1
    await sender.close()


async def test_not_controller_and_refused_connections_are_tried_again(controllers: Any) -> None:
    controllers[2].code = ErrorCode.not_controller
    quorum = Quorum(9)
    sender = channel(quorum, controllers)
    asking = asyncio.create_task(sender.send(ApiKey.ALLOCATE_PRODUCER_IDS, ASK, 5000))
    async with asyncio.timeout(60):
        await asyncio.sleep(0.02)
        quorum.move_to(2)
        while not controllers[2].calls:
            await asyncio.sleep(0.005)
        quorum.move_to(3)
        assert (await asking).error_code == ErrorCode.none
    assert controllers[3].calls == 1
    await sender.close()


async def test_time_ends_with_a_reason(controllers: Any) -> None:
    sender = channel(Quorum(9), controllers)
    with pytest.raises(RequestTimedOut, match=r"ALLOCATE_PRODUCER_IDS.*127.0.0.1:1"):
        await sender.send(ApiKey.ALLOCATE_PRODUCER_IDS, ASK, 100)
    await sender.close()


async def test_the_leading_node_asks_itself(controllers: Any) -> None:
    seen = []

    async def local(key: ApiKey, version: int, request: Struct) -> Struct:
        seen.append((key, version))
        return Struct(error_code=ErrorCode.none)

    sender = channel(Quorum(1), controllers, local=local)
    await sender.send(ApiKey.ALLOCATE_PRODUCER_IDS, ASK, 100)
    assert seen == [(ApiKey.ALLOCATE_PRODUCER_IDS, 0)]


async def test_a_broken_connection_is_reported(controllers: Any) -> None:
    lost = asyncio.Event()
    sender = channel(Quorum(2), controllers, on_lost=lost.set)
    await sender.send(ApiKey.ALLOCATE_PRODUCER_IDS, ASK, 1000)
    controllers[2].context.close_all()
    async with asyncio.timeout(60):
        await lost.wait()
    await sender.close()


async def test_producer_ids_are_unique_across_blocks(controllers: Any) -> None:
    sender = channel(Quorum(2), controllers)
    ids = ProducerIds(node_id=1, broker_epoch=lambda: 5, channel=sender)
    taken = await asyncio.gather(*(ids.take(2000) for _ in range(8)))
    assert sorted(taken) == list(range(8))
    assert controllers[2].calls == 3
    await sender.close()


async def test_a_frozen_controller_is_left_when_another_leads(controllers: Any) -> None:
    controllers[2].running.clear()
    quorum = Quorum(2)
    sender = channel(quorum, controllers)
    asking = asyncio.create_task(sender.send(ApiKey.ALLOCATE_PRODUCER_IDS, ASK, 60_000))
    async with asyncio.timeout(60):
        while not controllers[2].calls:
            await asyncio.sleep(0.005)
        quorum.move_to(3)
        assert (await asking).error_code == ErrorCode.none
    assert controllers[3].calls == 1
    await sender.close()


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (Struct(error_code=ErrorCode.not_controller), True),
        (Struct(error_code=ErrorCode.none), False),
        (Struct(topics=[Struct(error_code=ErrorCode.not_controller)], throttle_time_ms=0), True),
        (Struct(topics=[Struct(error_code=ErrorCode.none)]), False),
        (Struct(topics=[]), False),
    ],
)
def test_a_refusal_is_seen_wherever_the_api_puts_it(response: Struct, expected: bool) -> None:
    assert says_not_controller(response) is expected
