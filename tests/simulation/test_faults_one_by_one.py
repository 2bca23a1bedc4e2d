"""Faults that the random runs meet only by chance: each alone, and what must hold in it."""

import asyncio
from collections import Counter

import pytest

from broker.protocol.api_keys import ApiKey
from broker.protocol.batch import Record, encode_batch
from broker.protocol.errors import ErrorCode, WireError
from broker.protocol.struct import Struct
from broker.simulation.workload import Client, Producer, read_partition
from broker.simulation.world import CLIENT_PORT, SEPARATE, World
from broker.storage import names
from broker.storage.checkpoints import decode_offsets
from broker.storage.manager import RECOVERY_POINTS
from tests.simulation.stories import (
    TOPIC,
    active_controller,
    full_isr,
    leader_of,
    play,
    produce,
    until,
)

pytestmark = pytest.mark.simulation


def links(one: int, others: list[int]) -> list[tuple[int, int]]:
    """Both ways between a node and others."""
    return [link for other in others for link in ((one, other), (other, one))]


async def write_to(
    client: Client, node: int, value: str, *, partition: int = 0, acks: int = -1
) -> ErrorCode | None:
    """One record to one node, whoever leads; None when there is no answer."""
    record = Record(offset=0, timestamp_ms=0, key=None, value=value.encode(), headers=())
    batch = encode_batch([record])
    body = Struct(
        transactional_id=None,
        acks=acks,
        timeout_ms=1_500,
        topic_data=[Struct(name=TOPIC, partition_data=[Struct(index=partition, records=batch)])],
    )
    try:
        answer = await client.ask((f"node{node}", CLIENT_PORT), ApiKey.PRODUCE, body, 8)
    except WireError:
        return None
    return ErrorCode(answer.responses[0].partition_responses[0].error_code)


def contents(world: World) -> set[bytes]:
    """The partition's log on each broker that runs, byte for byte; one when all are the same."""
    held = [
        process.broker.logs.get(TOPIC, 0)
        for process in world.processes.values()
        if process.broker.replicas is not None
    ]
    logs = [log for log in held if log is not None]
    return {log.read(log.start_offset, 1 << 24, upto_offset=log.end_offset) for log in logs}


async def whole(world: World, *written: Producer) -> None:
    """All replicas are in sync and the same, and have what was acknowledged."""
    await until(lambda: full_isr(world) and len(contents(world)) == 1, 60)
    found = await read_partition(world.client(), TOPIC, 0)
    for producer in written:
        for record in producer.acknowledged:
            assert found[record.offset] == record.value


def test_a_leader_cut_off_from_its_peers_acknowledges_nothing_to_clients_that_reach_it() -> None:
    async def story(world: World) -> None:
        await world.client().create_topic(TOPIC, 1, 3)
        await until(lambda: leader_of(world) > 0)
        before = await produce(world, 10)
        alone = leader_of(world)
        world.network.cut_all(links(alone, [node for node in world.nodes if node != alone]))
        stubborn = world.client()
        answers = [await write_to(stubborn, alone, f"lost {n}") for n in range(20)]
        assert ErrorCode.none not in answers
        assert set(answers) & {
            ErrorCode.request_timed_out,
            ErrorCode.not_enough_replicas,
            ErrorCode.not_enough_replicas_after_append,
        }
        during = await produce(world, 10)
        world.network.heal()
        await whole(world, before, during)
        found = await read_partition(world.client(), TOPIC, 0)
        assert not [value for value in found.values() if value.startswith("lost")]

    play(story)


def test_a_leader_cut_off_from_the_controllers_alone_is_replaced_and_steps_down() -> None:
    async def story(world: World) -> None:
        await world.client().create_topic(TOPIC, 1, 3)
        await until(lambda: leader_of(world) > 0)
        before = await produce(world, 10)
        deposed = leader_of(world)
        world.network.cut_all(links(deposed, [*world.topology.voters]))

        def successor() -> int:
            state = world.processes[active_controller(world)].broker.publisher.image.partition(
                TOPIC, 0
            )
            return -1 if state is None else state.leader

        await until(lambda: successor() not in (-1, deposed), 15)
        # It has not heard of it; its followers have, and give it nothing to acknowledge with.
        assert await write_to(world.client(), deposed, "lost") is not ErrorCode.none
        during = await produce(world, 10)
        world.network.heal()
        await until(lambda: leader_of(world) > 0)
        await whole(world, before, during)

    play(story, SEPARATE)


def test_without_a_majority_of_controllers_records_go_on_and_metadata_waits() -> None:
    async def story(world: World) -> None:
        await world.client().create_topic(TOPIC, 1, 3)
        await until(lambda: leader_of(world) > 0)
        before = await produce(world, 10)
        first, second, _ = world.topology.voters
        for node in (first, second):
            world.kill(node, power_loss=False)
        await asyncio.sleep(30)  # longer than every session
        during = await produce(world, 10)
        creating = asyncio.create_task(world.client().create_topic("later", 1, 3))
        await asyncio.sleep(15)
        assert not creating.done(), "nobody can decide"
        for node in (first, second):
            world.start(node)
        async with asyncio.timeout(30):
            await creating
        await whole(world, before, during)

    play(story, SEPARATE)


def test_after_an_unclean_election_all_logs_are_the_same_again() -> None:
    """It may lose what was acknowledged: asked for by the topic. It must not leave two histories."""

    async def story(world: World) -> None:
        allowed = {"unclean.leader.election.enable": "true", "min.insync.replicas": "1"}
        await world.client().create_topic(TOPIC, 1, 3, allowed)
        await until(lambda: leader_of(world) > 0 and full_isr(world))
        await produce(world, 10)
        first = leader_of(world)
        others = [node for node in world.nodes if node != first]
        late = others[0] if active_controller(world) != others[0] else others[1]
        # One replica is left behind; the other two take records without it.
        world.kill(late, power_loss=False)
        await until(lambda: leader_of(world) > 0)
        without = await produce(world, 10)
        gone = [node for node in world.nodes if node != late]
        for node in gone:
            world.kill(node, power_loss=True)
        world.start(late)
        await asyncio.sleep(1)
        # A second voter for a controller, whose replica is empty: it must not be the one to lead.
        world.start(gone[0])
        await until(lambda: leader_of(world) > 0, 60)
        after = await produce(world, 10)
        world.start(gone[1])
        await whole(world, after)
        found = await read_partition(world.client(), TOPIC, 0)
        lost = [each for each in without.acknowledged if found.get(each.offset) != each.value]
        assert lost, "the election was an unclean one"

    play(story)


def test_many_logs_are_cut_with_one_write_of_what_was_saved_of_them() -> None:
    """Each write is of all partitions: once a log, a failover would stand still for minutes."""
    partitions = 36

    async def story(world: World) -> None:
        client = world.client()
        await client.create_topic(TOPIC, partitions, 3)
        await until(lambda: leader_of(world) > 0 and full_isr(world))
        alone = leader_of(world)
        world.network.cut_all(links(alone, [node for node in world.nodes if node != alone]))
        broker, disk = world.processes[alone].broker, world.disks[alone]
        led = [i for i in range(partitions) if broker.replicas.partition(TOPIC, i).is_leader]
        assert len(led) >= 10
        for index in led:
            code = await write_to(client, alone, "of nobody else", partition=index, acks=1)
            assert code == ErrorCode.none
        saved = f"{broker.logs.data_dir}/{RECOVERY_POINTS}"

        def is_saved() -> bool:
            points = decode_offsets(saved, disk.read_file(saved)) if disk.exists(saved) else {}
            return all(points.get((TOPIC, index)) == 1 for index in led)

        await until(is_saved)
        synced: list[str] = []
        turns: Counter[int] = Counter()

        def on_sync(path: str) -> None:
            synced.append(path)
            if path.endswith(names.EPOCH_CHECKPOINT):
                turns[world.loop.callbacks] += 1

        disk.on_sync = on_sync
        world.network.heal()
        await until(lambda: broker.replicas.counters.truncations >= len(led))
        assert not [i for i in led if broker.logs.get(TOPIC, i).end_offset]
        assert 1 <= synced.count(saved) < 4, "beside the one that is written every few seconds"
        assert turns.total() >= len(led)
        assert max(turns.values()) == 1, "others have their turn between two logs"
        await until(lambda: full_isr(world) and len(contents(world)) == 1)

    play(story)
