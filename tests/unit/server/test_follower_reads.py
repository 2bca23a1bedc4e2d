"""Consumers that read from a replica in their rack (KIP-392). Broker N stands in rack-N."""

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from broker.protocol.api_keys import ApiKey
from broker.protocol.batch import decode_records
from broker.protocol.errors import ErrorCode
from broker.protocol.struct import Struct
from broker.runtime.read_replicas import RACK_AWARE
from tests.own_time import own_s
from tests.unit.server.conftest import Cluster, until

MakeCluster = Callable[..., Cluster]


async def read(
    cluster: Cluster, node_id: int, topic_id: UUID, offset: int, rack: str = "", **fields: Any
) -> Struct:
    answer = await cluster.ask(
        ApiKey.FETCH,
        node_id,
        max_wait_ms=fields.pop("max_wait_ms", 0),
        min_bytes=1,
        rack_id=rack,
        topics=[
            Struct(
                topic_id=topic_id,
                partitions=[
                    Struct(
                        partition=0,
                        fetch_offset=offset,
                        partition_max_bytes=1 << 20,
                        **fields,
                    )
                ],
            )
        ],
    )
    return answer.responses[0].partitions[0]


async def replicated(cluster: Cluster) -> tuple[UUID, int, list[int]]:
    """A topic with three records that every replica has: its id, leader and followers."""
    topic_id = await cluster.create("t", 1, 3)
    leader = cluster.leader("t", 0)
    produced = await cluster.produce(leader, topic_id, 0, b"a", b"b", b"c")
    assert produced.error_code == ErrorCode.none
    for broker in cluster.brokers.values():
        replicas = broker.replicas
        assert replicas is not None
        await until(
            lambda replicas=replicas: (
                (found := replicas.partition("t", 0)) is not None and found.high_watermark == 3
            )
        )
    return topic_id, leader, [each for each in (1, 2, 3) if each != leader]


@pytest.fixture
async def near(make_cluster: MakeCluster) -> Cluster:
    cluster = make_cluster(3, replica__selector__class=RACK_AWARE)
    await cluster.start()
    return cluster


async def test_the_leader_sends_a_consumer_to_its_rack(near: Cluster) -> None:
    topic_id, leader, (follower, other) = await replicated(near)
    row = await read(near, leader, topic_id, 0, f"rack-{follower}", max_wait_ms=5000)
    assert (row.preferred_read_replica, row.records or b"") == (follower, b"")
    assert (row.error_code, row.high_watermark) == (ErrorCode.none, 3)
    row = await read(near, follower, topic_id, 0, f"rack-{follower}")
    assert row.preferred_read_replica == -1
    assert [r.value for r in decode_records(row.records)] == [b"a", b"b", b"c"]
    for rack in (f"rack-{leader}", "rack-nowhere", ""):
        row = await read(near, leader, topic_id, 0, rack)
        assert row.preferred_read_replica == -1
        assert row.records
    # A replica that is not in sync, or gone, is nobody's choice.
    await near.stop(other, controlled=False)

    async def stays() -> bool:
        row = await read(near, leader, topic_id, 0, f"rack-{other}")
        return bool(row.preferred_read_replica == -1)

    async with asyncio.timeout(60):
        while not await stays():
            await asyncio.sleep(0.01)


async def test_without_the_setting_the_leader_serves_everybody(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(3)
    await cluster.start()
    topic_id, leader, (follower, _) = await replicated(cluster)
    row = await read(cluster, leader, topic_id, 0, f"rack-{follower}")
    assert (row.preferred_read_replica, bool(row.records)) == (-1, True)


async def test_a_follower_tells_offsets_it_lacks_from_those_that_are_gone(near: Cluster) -> None:
    topic_id, leader, (follower, _) = await replicated(near)
    rack = f"rack-{follower}"
    assert not (await read(near, follower, topic_id, 3, rack)).records
    row = await read(near, follower, topic_id, 4, rack)
    assert row.error_code == ErrorCode.offset_not_available
    row = await read(near, leader, topic_id, 4)
    assert row.error_code == ErrorCode.offset_out_of_range
    epoch = near.brokers[1].publisher.image.topics["t"].partitions[0].leader_epoch
    for asked, code in (
        (epoch, ErrorCode.none),
        (epoch + 1, ErrorCode.unknown_leader_epoch),
    ):
        row = await read(near, follower, topic_id, 0, rack, current_leader_epoch=asked)
        assert row.error_code == code


async def test_a_follower_gives_new_records_as_they_are_committed(near: Cluster) -> None:
    topic_id, leader, (follower, _) = await replicated(near)
    waiting = asyncio.create_task(
        read(near, follower, topic_id, 3, f"rack-{follower}", max_wait_ms=10_000)
    )
    begun = own_s()
    produced = await near.produce(leader, topic_id, 0, b"d")
    assert produced.error_code == ErrorCode.none
    row = await waiting
    assert own_s() - begun < 9, "woken, not timed out"
    assert [r.value for r in decode_records(row.records)] == [b"d"]
