"""The simulated loop and network keep time, order and faults as their docstrings say."""

import asyncio
import contextvars
import random

import pytest

from broker.simulation.loop import SimulatedLoop, SimulationStuck
from broker.simulation.network import SimulatedNetwork


class Collector(asyncio.Protocol):
    def __init__(self) -> None:
        self.data = bytearray()
        self.lost: list[Exception | None] = []
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.data += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.append(exc)


class World:
    def __init__(self, seed: int = 1) -> None:
        self.loop = SimulatedLoop(random.Random(seed))
        self.network = SimulatedNetwork(self.loop, random.Random(seed))
        self.one, self.two = self.network.door(1), self.network.door(2)
        self.servers: list[Collector] = []

    def serve(self) -> Collector:
        self.servers.append(Collector())
        return self.servers[-1]

    async def pair(self) -> tuple[Collector, Collector]:
        await self.one.listen("a", 9, self.serve)
        _, client = await self.two.connect("a", 9, Collector)
        assert isinstance(client, Collector)
        await asyncio.sleep(0)  # the listening side hears of it in its own turn
        return client, self.servers[-1]


@pytest.fixture
def world():
    world = World()
    yield world
    world.loop.close()


def test_an_hour_of_sleep_takes_no_time(world: World) -> None:
    world.loop.run_until_complete(asyncio.sleep(3600))
    assert world.loop.time() == pytest.approx(3600)


def test_waiting_for_nothing_is_an_error(world: World) -> None:
    with pytest.raises(SimulationStuck):
        world.loop.run_until_complete(world.loop.create_future())


def test_bytes_arrive_in_order_through_loss(world: World) -> None:
    world.network.faults.loss_probability = 0.3

    async def story() -> bytes:
        client, server = await world.pair()
        for i in range(500):
            client.transport.write(i.to_bytes(2, "big"))
        await asyncio.sleep(60)
        return bytes(server.data)

    expected = b"".join(i.to_bytes(2, "big") for i in range(500))
    assert world.loop.run_until_complete(story()) == expected


def test_a_cut_link_is_silent_until_it_heals(world: World) -> None:
    async def story() -> None:
        client, server = await world.pair()
        world.network.cut(2, 1)
        client.transport.write(b"held")
        await asyncio.sleep(5)
        assert server.data == b""
        assert server.lost == []
        world.network.heal()
        await asyncio.sleep(1)
        assert server.data == b"held"

    world.loop.run_until_complete(story())


def test_a_dead_process_resets_its_peers_and_refuses(world: World) -> None:
    async def story() -> None:
        client, server = await world.pair()
        world.one.kill()
        await asyncio.sleep(1)
        assert isinstance(client.lost[0], ConnectionResetError)
        assert server.lost == []
        with pytest.raises(ConnectionRefusedError):
            await world.two.connect("a", 9, Collector)

    world.loop.run_until_complete(story())


def test_what_arrives_is_the_receivers_work(world: World) -> None:
    """Tasks belong to a process by their context: a message must not carry its sender's along."""
    owner: contextvars.ContextVar[str] = contextvars.ContextVar("owner", default="nobody")
    seen: list[str] = []

    class Receiver(Collector):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            seen.append(owner.get())

        def data_received(self, data: bytes) -> None:
            seen.append(owner.get())

        def connection_lost(self, exc: Exception | None) -> None:
            seen.append(owner.get())

    world.one.context = contextvars.copy_context()
    world.one.context.run(owner.set, "receiver")

    async def story() -> None:
        owner.set("sender")
        await world.one.listen("a", 9, Receiver)
        transport, _ = await world.two.connect("a", 9, Collector)
        transport.write(b"x")
        transport.close()
        await asyncio.sleep(1)

    world.loop.run_until_complete(story())
    assert seen == ["receiver"] * 3


def test_close_delivers_what_was_written(world: World) -> None:
    async def story() -> None:
        client, server = await world.pair()
        client.transport.write(b"last words")
        client.transport.close()
        await asyncio.sleep(1)
        assert (server.data, server.lost) == (b"last words", [None])

    world.loop.run_until_complete(story())


def test_one_seed_is_one_run() -> None:
    def digest(seed: int) -> list[float]:
        world = World(seed)
        times: list[float] = []

        async def story() -> None:
            client, server = await world.pair()
            for _ in range(50):
                client.transport.write(b"x")
                while len(server.data) <= len(times):
                    await asyncio.sleep(0.0001)
                times.append(world.loop.time())

        world.loop.run_until_complete(story())
        world.loop.close()
        return times

    assert digest(7) == digest(7)
    assert digest(7) != digest(8)
