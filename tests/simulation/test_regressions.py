"""One short story for each bug that a seed has found, so that it does not depend on a seed."""

import asyncio
import random
from types import SimpleNamespace
from typing import Any

import pytest

from broker.protocol.api_keys import ApiKey
from broker.protocol.errors import ErrorCode
from broker.protocol.struct import Struct
from broker.replication import Partition, ReplicationSettings
from broker.runtime.replica_disk import Flusher
from broker.runtime.replica_requests import ReplicaCounters
from broker.runtime.replica_waits import HostedPartition
from broker.simulation.disk import SimDisk
from broker.simulation.guard import cpu_limit
from broker.simulation.loop import InlineOffload, SimulatedLoop
from broker.simulation.workload import read_partition
from broker.simulation.world import World
from broker.storage.log import Log
from tests.simulation.stories import (
    TOPIC,
    active_brokers,
    active_controller,
    full_isr,
    leader_of,
    play,
    produce,
    until,
)

pytestmark = pytest.mark.simulation


def test_a_flush_that_meets_another_one_lets_the_loop_go_on() -> None:
    """It was asked for again at once, in a circle that never yielded."""
    loop = SimulatedLoop(random.Random(1))
    log = Log.open(SimDisk(), "/data/t-0", name="t-0")
    brokers: Any = SimpleNamespace(registered_epoch=lambda _: None, eligible_epoch=lambda _: None)
    partition = Partition(
        "t",
        SimpleNamespace(),
        0,
        1,
        log,
        ReplicationSettings(flush_on_commit=True),
        brokers,  # type: ignore[arg-type]
    )
    hosted = HostedPartition(partition, log)
    flushed: list[int] = []

    def note(which: HostedPartition, upto_offset: int) -> None:
        which.partition.flushed(upto_offset, 0)
        flushed.append(upto_offset)

    async def story() -> None:
        flusher = Flusher(InlineOffload(loop), note, ReplicaCounters())
        running = loop.create_task(flusher.run())
        log.append_as_leader(one_batch(), 0, 0)
        other = loop.create_task(flusher.flush([hosted]))
        await asyncio.sleep(0)
        log.append_as_leader(one_batch(), 0, 0)
        flusher.ask(hosted)
        await other
        await until(lambda: not partition.local.needs_flush)
        running.cancel()

    with cpu_limit(20):
        loop.run_until_complete(story())
    assert flushed[-1] == log.end_offset == 2


def one_batch() -> bytes:
    from broker.protocol.batch import Record, encode_batch

    return encode_batch([Record(offset=0, timestamp_ms=0, key=None, value=b"v", headers=())])


def test_a_leader_whose_log_cannot_be_synced_gives_way() -> None:
    """It led on without being able to write, and nobody else knew."""

    async def story(world: World) -> None:
        await world.client().create_topic(TOPIC, 1, 3)
        await until(lambda: leader_of(world) > 0)
        leader = leader_of(world)

        def fail(path: str) -> None:
            if path.startswith(f"/data/{TOPIC}-0"):
                world.disks[leader].fail_next_sync = 1

        world.disks[leader].on_sync = fail
        await produce(world, 10)
        await until(lambda: leader_of(world) not in (-1, leader))
        world.disks[leader].on_sync = None
        before = await produce(world, 10)
        found = await read_partition(world.client(), TOPIC, 0)
        for record in before.acknowledged:
            assert found[record.offset] == record.value
        assert any("gave up" in text and TOPIC in text for text in world.exits)

    play(story, **{"log.flush.policy": "commit"})


def test_a_partition_made_while_the_disk_was_full_opens_later() -> None:
    """The broker that was to lead it stayed without a log for ever."""

    async def story(world: World) -> None:
        await until(lambda: len(active_brokers(world)) == 3)
        controller = active_controller(world)
        full = next(node for node in world.nodes if node != controller)
        real = world.disks[full].open

        def refuse(path: str, create: bool = True) -> Any:
            world.disks[full].full = path.startswith(f"/data/{TOPIC}")
            try:
                return real(path, create)
            finally:
                world.disks[full].full = False

        world.disks[full].open = refuse  # type: ignore[method-assign]
        await world.client().create_topic(TOPIC, 1, 3)
        await until(lambda: leader_of(world) > 0)
        await asyncio.sleep(5)
        assert world.processes[full].broker.replicas.partition(TOPIC, 0) is None  # type: ignore[union-attr]
        world.disks[full].open = real  # type: ignore[method-assign]
        await produce(world, 10)
        await until(
            lambda: world.processes[full].broker.replicas.partition(TOPIC, 0) is not None  # type: ignore[union-attr]
        )
        assert world.exits == []

    play(story)


def fill(disk: SimDisk) -> None:
    """Leave half of a hundredth of the disk: something else takes the rest."""
    other = disk.open("/other")
    other.append(bytes(8 << 20))
    disk.capacity_bytes = 1 << 40
    used = disk.capacity_bytes - disk.free_bytes("/")
    disk.capacity_bytes = used + used // 200


async def log_dirs(world: World, node: int) -> list[Any]:
    """What a broker says about its data folders."""
    broker = world.processes[node].broker
    answer = await world.client().ask(
        (f"node{node}", broker.ports["PLAINTEXT"]),
        ApiKey.DESCRIBE_LOG_DIRS,
        Struct(topics=None),
        4,
    )
    return list(answer.results)


def test_a_leader_whose_disk_is_full_gives_way_and_comes_back() -> None:
    """It led on, refusing every write, and stayed in the ISR."""

    async def story(world: World) -> None:
        await world.client().create_topic(TOPIC, 1, 3)
        await until(lambda: leader_of(world) > 0)
        leader = leader_of(world)
        before = await produce(world, 10)
        disk = world.disks[leader]
        fill(disk)
        await until(lambda: leader_of(world) not in (-1, leader), 5)
        during = await produce(world, 10)
        image = world.processes[leader].broker.publisher.image
        assert leader not in image.partition(TOPIC, 0).isr  # type: ignore[union-attr]
        assert not image.brokers[leader].fenced, "it still serves what it can"
        (folder,) = await log_dirs(world, leader)
        assert folder.error_code == ErrorCode.kafka_storage_error
        assert folder.usable_bytes < folder.total_bytes // 100
        assert [topic.name for topic in folder.topics] == [TOPIC]
        disk.capacity_bytes = None
        await until(lambda: full_isr(world))
        found = await read_partition(world.client(), TOPIC, 0)
        for record in (*before.acknowledged, *during.acknowledged):
            assert found[record.offset] == record.value
        assert world.exits == []

    play(story)


def test_the_only_replica_serves_reads_while_its_disk_is_full() -> None:
    """And takes records again once there is room."""

    async def story(world: World) -> None:
        await world.client().create_topic(TOPIC, 1, 1)
        await until(lambda: leader_of(world) > 0)
        leader = leader_of(world)
        before = await produce(world, 10)
        disk = world.disks[leader]
        fill(disk)
        await until(lambda: world.processes[leader].broker.replicas.space.short)  # type: ignore[union-attr]
        await asyncio.sleep(3)
        found = await read_partition(world.client(), TOPIC, 0)
        assert [found[record.offset] for record in before.acknowledged] == [
            record.value for record in before.acknowledged
        ]
        assert leader_of(world) == leader
        disk.capacity_bytes = None
        await produce(world, 10)
        assert world.exits == []

    play(story)


@pytest.mark.parametrize("seconds", [2.0, 8.0])
def test_a_paused_broker_comes_back(seconds: float) -> None:
    """SIGSTOP for less and for more than the session timeout."""

    async def story(world: World) -> None:
        await world.client().create_topic(TOPIC, 1, 3)
        await until(lambda: leader_of(world) > 0)
        process = world.processes[leader_of(world)]
        world.pause(process)
        await asyncio.sleep(seconds)
        world.resume(process)
        await produce(world, 10)
        await until(lambda: full_isr(world))

    play(story)


@pytest.mark.parametrize("seconds", [2.6, 30])
@pytest.mark.parametrize("who", ["a follower", "both followers", "the leader", "everybody"])
def test_whoever_sleeps_the_quorum_keeps_its_leader_if_nobody_could_miss_it(
    who: str, seconds: float
) -> None:
    """KIP-996, Raft thesis 9.6; and of several that slept none believes the others, who slept, too.

    A leader alone is missed, by two who hear each other: then, and only then, there is another.
    """

    async def story(world: World) -> None:
        await until(lambda: active_controller(world) > 0)
        leader = active_controller(world)
        followers = [node for node in world.nodes if node != leader]
        epoch = world.processes[leader].broker.quorum.leader.epoch
        await asyncio.sleep(3)
        sleepers = {
            "a follower": followers[:1],
            "both followers": followers,
            "the leader": [leader],
            "everybody": [*world.nodes],
        }[who]
        for node in sleepers:
            world.pause(world.processes[node])
        await asyncio.sleep(seconds)
        for node in sleepers:
            world.resume(world.processes[node])
        await asyncio.sleep(5)
        quorums = [process.broker.quorum for process in world.processes.values()]
        (now,) = {quorum.leader for quorum in quorums}
        if who == "the leader":
            assert now.leader_id in followers
            assert now.epoch == epoch + 1
        elif who == "both followers":
            # Their leader has missed them and resigned: it comes back, or one of them, at once.
            assert now.epoch <= epoch + 1
        else:
            assert (now.leader_id, now.epoch) == (leader, epoch)

    play(story)
