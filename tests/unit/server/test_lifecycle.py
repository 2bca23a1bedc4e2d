"""A broker's life: register, catch up, unfence, be fenced, register again, leave."""

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from broker.protocol.api_keys import ApiKey
from broker.protocol.errors import ConnectionFailed, ErrorCode
from broker.protocol.image import ImageDelta, MetadataImage
from broker.protocol.struct import Struct
from broker.runtime.doors import SystemClock
from broker.runtime.lifecycle import BrokerLifecycle, Identity, State
from broker.runtime.publisher import MetadataPublisher
from tests.own_time import own_s

WAIT_SECONDS = 60


class FakeController:
    """What the channel of a lifecycle sees: a controller that tests steer."""

    def __init__(self) -> None:
        self.leader_id = 1
        self.reachable = True
        self.hang = False
        self.registration = ErrorCode.none
        self.heartbeat = ErrorCode.none
        self.epoch = 10
        self.fenced = False
        self.may_stop_after = 2
        self.registrations: list[Struct] = []
        self.beats: list[Struct] = []
        self.stop_beats = 0
        self.closed = False

    async def try_once(self, key: ApiKey, request: Struct, timeout_ms: int) -> Struct | None:
        await asyncio.sleep(0)
        if not self.reachable:
            raise ConnectionFailed("controller:1", "refused")
        if self.hang:
            await asyncio.sleep(3600)
        if key == ApiKey.BROKER_REGISTRATION:
            self.registrations.append(request)
            return Struct(error_code=self.registration, broker_epoch=self.epoch)
        self.beats.append(request)
        if self.heartbeat != ErrorCode.none:
            return Struct(error_code=self.heartbeat, is_fenced=True, should_shut_down=False)
        if request.want_shut_down:
            self.stop_beats += 1
        return Struct(
            error_code=ErrorCode.none,
            is_caught_up=True,
            is_fenced=self.fenced,
            should_shut_down=request.want_shut_down and self.stop_beats >= self.may_stop_after,
        )

    async def close(self) -> None:
        self.closed = True


class World:
    def __init__(self) -> None:
        self.controller = FakeController()
        self.publisher = MetadataPublisher(lambda reason: None)
        self.events: list[str] = []
        channel: Any = self.controller
        self.lifecycle = BrokerLifecycle(
            Identity(
                node_id=1,
                cluster_id="cluster",
                incarnation_id=UUID(int=7),
                listeners=[Struct(name="PLAINTEXT", host="h", port=1, security_protocol=0)],
                features=[],
                rack="a",
                log_dirs=[UUID(int=8)],
                previous_epoch=3,
            ),
            channel=channel,
            publisher=self.publisher,
            clock=SystemClock(),
            heartbeat_interval_ms=2000,
            on_caught_up=self.caught_up,
            on_fatal=self.events.append,
        )

    async def caught_up(self) -> None:
        self.events.append("caught up")

    def learn(self, offset: int) -> None:
        self.publisher._publish(MetadataImage(offset=offset, epoch=1), ImageDelta())

    def new_leader(self, leader_id: int) -> None:
        self.controller.leader_id = leader_id
        self.publisher.on_leader_change(SimpleNamespace(leader_id=leader_id, epoch=2))

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(WAIT_SECONDS):
            while not condition():
                await asyncio.sleep(0.005)


@pytest.fixture
async def world() -> Any:
    world = World()
    yield world
    await world.lifecycle.stop(0)


async def within(awaitable: Awaitable[Any]) -> Any:
    async with asyncio.timeout(WAIT_SECONDS):
        return await awaitable


async def test_clients_are_served_once_the_registration_is_in_the_image(world: World) -> None:
    world.lifecycle.start()
    await world.until(lambda: world.lifecycle.epoch == 10)
    assert world.events == []
    assert world.controller.beats == []
    world.learn(9)
    await asyncio.sleep(0)
    assert world.events == []
    world.learn(10)
    await within(world.lifecycle.wait_unfenced())
    assert world.events == ["caught up"]
    (registration,) = world.controller.registrations
    assert registration.previous_broker_epoch == 3
    assert registration.cluster_id == "cluster"
    assert world.controller.beats[0].want_fence is False
    assert world.controller.beats[0].current_metadata_offset == 10
    assert world.lifecycle.state is State.RUNNING


async def test_registration_is_tried_until_somebody_accepts(world: World) -> None:
    world.controller.reachable = False
    world.lifecycle.start()
    await asyncio.sleep(0.06)
    world.controller.registration = ErrorCode.duplicate_broker_registration
    world.controller.reachable = True
    await world.until(lambda: len(world.controller.registrations) >= 2)
    assert world.lifecycle.epoch == -1
    world.controller.registration = ErrorCode.none
    world.learn(10)
    await within(world.lifecycle.wait_unfenced())


async def test_another_cluster_is_fatal(world: World) -> None:
    world.controller.registration = ErrorCode.inconsistent_cluster_id
    world.lifecycle.start()
    await world.until(lambda: bool(world.events))
    assert "check cluster.id" in world.events[0]


async def test_a_new_controller_hears_from_us_at_once(world: World) -> None:
    world.learn(10)
    world.lifecycle.start()
    await within(world.lifecycle.wait_unfenced())
    beats = len(world.controller.beats)
    world.new_leader(2)
    begun = own_s()
    await world.until(lambda: len(world.controller.beats) > beats)
    assert own_s() - begun < 1
    world.lifecycle.connection_lost()
    begun = own_s()
    await world.until(lambda: len(world.controller.beats) > beats + 1)
    assert own_s() - begun < 1


async def test_a_controller_that_hangs_is_left_for_its_successor(world: World) -> None:
    world.learn(10)
    world.lifecycle.start()
    await within(world.lifecycle.wait_unfenced())
    world.controller.hang = True
    world.lifecycle.connection_lost()
    await asyncio.sleep(0.02)
    beats = len(world.controller.beats)
    world.controller.hang = False
    world.new_leader(2)
    begun = own_s()
    await world.until(lambda: len(world.controller.beats) > beats)
    assert own_s() - begun < 1


async def test_a_hanging_controller_is_left_though_other_news_came_before(world: World) -> None:
    world.lifecycle.start()
    world.learn(10)
    await within(world.lifecycle.wait_unfenced())
    world.controller.hang = True
    world.new_leader(2)
    await asyncio.sleep(0.05)
    # A round of votes that elects the same leader once more: no reason to ask anew.
    world.new_leader(2)
    await asyncio.sleep(0.05)
    world.controller.hang = False
    before = len(world.controller.beats)
    world.new_leader(3)
    await world.until(lambda: len(world.controller.beats) > before)


async def test_a_lost_registration_is_made_again(world: World) -> None:
    world.learn(20)
    world.lifecycle.start()
    await within(world.lifecycle.wait_unfenced())
    world.controller.heartbeat = ErrorCode.stale_broker_epoch
    world.controller.epoch = 15
    beats = len(world.controller.beats)
    world.lifecycle.connection_lost()
    await world.until(lambda: len(world.controller.beats) > beats)
    world.controller.heartbeat = ErrorCode.none
    # Until the refused heartbeat's answer is read it still runs, with its old epoch.
    await world.until(lambda: world.lifecycle.epoch == 15)
    await world.until(lambda: world.lifecycle.state is State.RUNNING)
    assert world.controller.registrations[1].previous_broker_epoch == 10


async def test_a_fenced_broker_asks_until_it_is_let_in_again(world: World) -> None:
    world.learn(10)
    world.controller.fenced = True
    world.lifecycle.start()
    await world.until(lambda: len(world.controller.beats) >= 3)
    assert world.lifecycle.state is State.FENCED
    world.controller.fenced = False
    await within(world.lifecycle.wait_unfenced())


async def test_a_controlled_shutdown_waits_for_consent(world: World) -> None:
    world.learn(10)
    world.lifecycle.start()
    await within(world.lifecycle.wait_unfenced())
    assert await within(world.lifecycle.stop(10_000)) is True
    assert world.controller.stop_beats == 2
    assert world.controller.closed
    assert world.lifecycle.state is State.STOPPED


async def test_a_shutdown_ends_without_consent_when_time_is_over_or_in_a_hurry() -> None:
    for hurried in (False, True):
        world = World()
        world.learn(10)
        world.controller.may_stop_after = 10**6
        world.lifecycle.start()
        await within(world.lifecycle.wait_unfenced())
        stopping = asyncio.create_task(world.lifecycle.stop(150 if not hurried else 60_000))
        await asyncio.sleep(0)
        if hurried:
            world.lifecycle.hurry()
        assert await within(stopping) is False
