"""Deleting, compacting, re-stamping and recompressing records, as clients see it."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from broker.protocol.api_keys import ApiKey
from broker.protocol.batch import Compression, Record, decode_records, encode_batch, iter_batches
from broker.protocol.errors import ErrorCode
from broker.protocol.struct import Struct

Cluster = Any
MakeCluster = Callable[..., Cluster]
WAIT_SECONDS = 60
LIVELY = {
    "log.cleaner.backoff.ms": "20",
    "log.flush.interval.ms": "30",
    "log.retention.check.interval.ms": "50",
    "log.segment.delete.delay.ms": "200",
}


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        while not condition():
            await asyncio.sleep(0.02)


def keyed(*pairs: tuple[str, str | None], **fields: Any) -> bytes:
    records = [
        Record(i, 1_700_000_000_000 + i, k.encode(), None if v is None else v.encode(), ())
        for i, (k, v) in enumerate(pairs)
    ]
    return encode_batch(records, **fields)


async def delete(
    cluster: Cluster, node: int, *wanted: tuple[str, int, int], timeout_ms: int = 5000
) -> list[tuple[ErrorCode, int]]:
    response = await cluster.ask(
        ApiKey.DELETE_RECORDS,
        node,
        topics=[
            Struct(name=topic, partitions=[Struct(partition_index=index, offset=offset)])
            for topic, index, offset in wanted
        ],
        timeout_ms=timeout_ms,
    )
    return [
        (each.error_code, each.low_watermark)
        for topic in response.topics
        for each in topic.partitions
    ]


async def configure(cluster: Cluster, topic: str, *, node: int = 1, **values: str) -> None:
    response = await cluster.ask(
        ApiKey.INCREMENTAL_ALTER_CONFIGS,
        node,
        resources=[
            Struct(
                resource_type=2,
                resource_name=topic,
                configs=[
                    Struct(name=name.replace("_", "."), config_operation=0, value=value)
                    for name, value in values.items()
                ],
            )
        ],
        validate_only=False,
    )
    assert response.responses[0].error_code == ErrorCode.none, response.responses[0].error_message


async def everything(cluster: Cluster, node: int, topic_id: UUID) -> list[Record]:
    (topic,) = [
        t for t in cluster.brokers[node].publisher.image.topics.values() if t.id == topic_id
    ]
    response = await cluster.ask(
        ApiKey.LIST_OFFSETS,
        node,
        replica_id=-1,
        topics=[Struct(name=topic.name, partitions=[Struct(partition_index=0, timestamp=-2)])],
    )
    offset = response.topics[0].partitions[0].offset
    found: list[Record] = []
    while True:
        answer = await cluster.fetch(node, topic_id, 0, offset, max_wait_ms=0)
        assert answer.error_code == ErrorCode.none
        if not answer.records:
            return found
        for position, header in iter_batches(answer.records):
            found += [r for r in decode_records(answer.records, position) if r.offset >= offset]
            offset = header.next_offset


def log_of(cluster: Cluster, node: int, topic: str) -> Any:
    return cluster.brokers[node].logs.get(topic, 0)


async def test_deleted_records_are_gone_everywhere_and_stay_gone(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(3)
    await cluster.start()
    topic_id = await cluster.create("orders", 1, 3)
    await until(lambda: cluster.leader("orders", 0) > 0)
    leader = cluster.leader("orders", 0)
    for number in range(10):
        await cluster.produce(leader, topic_id, 0, b"%d" % number)
    begun = asyncio.get_running_loop().time()
    assert await delete(cluster, leader, ("orders", 0, 4)) == [(ErrorCode.none, 4)]
    assert asyncio.get_running_loop().time() - begun < 0.4, "it waited for a parked fetch"
    for broker in cluster.brokers.values():
        assert broker.logs.get("orders", 0).start_offset == 4
    other = next(node for node in cluster.brokers if node != leader)
    assert await delete(
        cluster,
        leader,
        ("orders", 0, 11),
        ("orders", 7, 1),
        ("nothing", 0, 1),
    ) == [
        (ErrorCode.offset_out_of_range, -1),
        (ErrorCode.unknown_topic_or_partition, -1),
        (ErrorCode.unknown_topic_or_partition, -1),
    ]
    assert await delete(cluster, other, ("orders", 0, 5)) == [
        (ErrorCode.not_leader_or_follower, -1)
    ]
    answer = await cluster.fetch(leader, topic_id, 0, 3)
    assert answer.error_code == ErrorCode.offset_out_of_range
    assert [r.value for r in await everything(cluster, leader, topic_id)] == [
        b"%d" % n for n in range(4, 10)
    ]
    for node in (1, 2, 3):
        await cluster.stop(node, controlled=False)
    await cluster.start()
    await until(lambda: cluster.leader("orders", 0) > 0)
    for broker in cluster.brokers.values():
        assert broker.logs.get("orders", 0).start_offset == 4


async def test_deletion_waits_for_live_replicas_and_says_when_that_takes_too_long(
    make_cluster: MakeCluster,
) -> None:
    cluster = make_cluster(2, broker__session__timeout__ms="60000")
    await cluster.start()
    topic_id = await cluster.create("orders", 1, 2)
    await until(lambda: cluster.leader("orders", 0) > 0)
    leader = cluster.leader("orders", 0)
    follower = 3 - leader
    await cluster.produce(leader, topic_id, 0, b"a", b"b", b"c")
    fetchers = cluster.brokers[follower].replicas._fetchers
    await fetchers.stop()
    assert await delete(cluster, leader, ("orders", 0, -1), timeout_ms=200) == [
        (ErrorCode.request_timed_out, 0)
    ]
    assert log_of(cluster, leader, "orders").start_offset == 3


async def test_a_compacted_topic_wants_keys_and_no_deletions(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(1)
    await cluster.start()
    topic_id = await cluster.create("state", 1, 1, cleanup_policy="compact")
    records = [Record(i, 5, key, b"v", ()) for i, key in enumerate((b"k", None, b"k", None))]
    response = await cluster.ask(
        ApiKey.PRODUCE,
        acks=-1,
        timeout_ms=1000,
        topic_data=[
            Struct(
                topic_id=topic_id,
                partition_data=[Struct(index=0, records=encode_batch(records))],
            )
        ],
    )
    answer = response.responses[0].partition_responses[0]
    assert answer.error_code == ErrorCode.invalid_record
    assert [each.batch_index for each in answer.record_errors] == [1, 3]
    assert "key" in answer.record_errors[0].batch_index_error_message
    assert "no key" in answer.error_message
    assert (await cluster.produce(1, topic_id, 0, batch=keyed(("k", "v")))).error_code == 0
    assert await delete(cluster, 1, ("state", 0, 1)) == [(ErrorCode.policy_violation, -1)]
    await configure(cluster, "state", cleanup_policy="compact,delete")
    await until(lambda: log_of(cluster, 1, "state").config.delete)
    assert await delete(cluster, 1, ("state", 0, -1)) == [(ErrorCode.none, 1)]


async def test_a_topic_is_compacted_while_it_is_written_and_read(
    make_cluster: MakeCluster,
) -> None:
    cluster = make_cluster(1, **{k.replace(".", "__"): v for k, v in LIVELY.items()})
    await cluster.start()
    topic_id = await cluster.create(
        "state",
        1,
        1,
        cleanup_policy="compact",
        segment_bytes="2000",
        min_cleanable_dirty_ratio="0.01",
    )
    for number in range(60):
        pairs = [(f"k{(number + i) % 10}", f"{number}") for i in range(4)]
        answer = await cluster.produce(1, topic_id, 0, batch=keyed(*pairs))
        assert answer.error_code == ErrorCode.none
        if number % 10 == 0:
            found = {r.key: r.value for r in await everything(cluster, 1, topic_id)}
            assert all(found[k.encode()] == v.encode() for k, v in pairs)
    log = log_of(cluster, 1, "state")
    await until(lambda: sum(s.size for s in log.segments[:-1]) < 2000)
    newest = {
        b"k%d" % key: b"%d" % max(n for n in range(60) if (key - n) % 10 < 4) for key in range(10)
    }
    found = await everything(cluster, 1, topic_id)
    assert len(found) < 100
    assert {r.key: r.value for r in found} == newest
    checkpoint = Path(cluster.brokers[1].logs.data_dir) / "cleaner-offset-checkpoint"
    # It is written after the segments took their places.
    await until(checkpoint.exists)
    assert checkpoint.read_text().splitlines()[2].startswith("state 0 ")
    await until(lambda: not list(Path(log.directory).glob("*.deleted")))
    await cluster.stop(1, controlled=False)
    await cluster.start()
    found = await everything(cluster, 1, topic_id)
    assert {r.key: r.value for r in found} == newest


@pytest.mark.parametrize("policy", ["compact", "delete"])
async def test_a_new_replica_copies_a_compacted_log(make_cluster: MakeCluster, policy: str) -> None:
    """Also when the topic is not compacted any more: its log has gaps all the same."""
    cluster = make_cluster(3, **{k.replace(".", "__"): v for k, v in LIVELY.items()})
    await cluster.start()
    topic_id = await cluster.create(
        "state",
        1,
        2,
        cleanup_policy="compact",
        segment_bytes="600",
        min_cleanable_dirty_ratio="0.01",
        retention_ms="-1",
    )
    await until(lambda: cluster.leader("state", 0) > 0)
    state = cluster.brokers[1].publisher.image.partition("state", 0)
    late = next(node for node in state.replicas if node != state.leader)
    await cluster.stop(late)
    there = next(iter(cluster.brokers))
    leader = state.leader
    assert cluster.leader("state", 0, there) == leader
    for number in range(40):
        batch = keyed((f"k{number % 3}", f"{number}"))
        answer = await cluster.produce(leader, topic_id, 0, batch=batch, acks=1)
        assert answer.error_code == ErrorCode.none
    log = log_of(cluster, leader, "state")
    await until(lambda: sum(s.size for s in log.segments[:-1]) < 600)
    await configure(cluster, "state", node=there, cleanup_policy=policy)
    await until(lambda: log.config.compact == (policy == "compact"))
    await cluster.start(late)
    await until(lambda: log_of(cluster, late, "state").end_offset == 40)
    found = {r.key: r.value for r in await everything(cluster, leader, topic_id)}
    assert found == {b"k%d" % (n % 3): b"%d" % n for n in (37, 38, 39)}


async def test_timestamps_and_compression_follow_the_topic_at_once(
    make_cluster: MakeCluster,
) -> None:
    cluster = make_cluster(1)
    await cluster.start()
    topic_id = await cluster.create("events", 1, 1)
    log = log_of(cluster, 1, "events")
    await configure(cluster, "events", message_timestamp_type="LogAppendTime")
    await until(
        lambda: cluster.brokers[1].replicas.partition("events", 0).local.settings.log_append_time
    )
    answer = await cluster.produce(1, topic_id, 0, b"stamped")
    assert answer.log_append_time_ms > 1_700_000_000_000
    await configure(
        cluster,
        "events",
        message_timestamp_type="CreateTime",
        compression_type="zstd",
        message_timestamp_before_max_ms="1000",
    )
    await until(lambda: log.config.compression == Compression.ZSTD)
    old = await cluster.produce(1, topic_id, 0, b"old")
    assert old.error_code == ErrorCode.invalid_timestamp
    await configure(cluster, "events", message_timestamp_before_max_ms=str(2**63 - 1))
    await until(lambda: log.config.message_timestamp_before_max_ms > 10**9)
    batches = [
        keyed(("k", "v" * 300), compression=Compression.GZIP),
        keyed(("k", "w" * 60_000)),
        keyed(("k", "x"), compression=Compression.ZSTD),
    ]
    for batch in batches:
        assert (await cluster.produce(1, topic_id, 0, batch=batch)).error_code == ErrorCode.none
    damaged = bytearray(keyed(("k", "v")))
    damaged[-1] ^= 1
    answer = await cluster.produce(1, topic_id, 0, batch=bytes(damaged))
    assert answer.error_code == ErrorCode.corrupt_message
    fetched = await cluster.fetch(1, topic_id, 0, 1)
    headers = [header for _, header in iter_batches(fetched.records)]
    assert [header.compression for header in headers] == [Compression.ZSTD] * 3
    values = [r.value for r in await everything(cluster, 1, topic_id)]
    assert values == [b"stamped", b"v" * 300, b"w" * 60_000, b"x"]
    await configure(cluster, "events", max_message_bytes="200")
    await until(lambda: log.config.max_message_bytes == 200)
    answer = await cluster.produce(1, topic_id, 0, batch=keyed(("k", "v" * 5000)))
    assert answer.error_code == ErrorCode.none, "its size counts as it is stored"


async def test_retention_settings_act_while_the_broker_runs(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(1, **{k.replace(".", "__"): v for k, v in LIVELY.items()})
    await cluster.start()
    topic_id = await cluster.create("events", 1, 1, segment_bytes="1000", retention_ms="-1")
    for _ in range(20):
        await cluster.produce(1, topic_id, 0, b"v" * 300)
    log = log_of(cluster, 1, "events")
    assert log.start_offset == 0
    before = log.segment_count
    assert before > 5
    await configure(cluster, "events", retention_bytes="2500")
    await until(lambda: log.size_bytes < 4000)
    assert 0 < log.start_offset < 20
    deleted = list(Path(log.directory).glob("*.deleted"))
    assert deleted, "old files stay for file.delete.delay.ms"
    await until(lambda: not list(Path(log.directory).glob("*.deleted")))
    await configure(cluster, "events", retention_ms="1000")
    await until(lambda: log.start_offset == 20)
    assert await everything(cluster, 1, topic_id) == []
    assert (await cluster.produce(1, topic_id, 0, b"next")).base_offset == 20


async def test_producers_of_a_partition_are_described(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(1)
    await cluster.start()
    topic_id = await cluster.create("orders", 1, 1)
    batch = keyed(("a", "1"), ("b", "2"), producer_id=40, producer_epoch=2, base_sequence=0)
    assert (await cluster.produce(1, topic_id, 0, batch=batch)).error_code == ErrorCode.none
    response = await cluster.ask(
        ApiKey.DESCRIBE_PRODUCERS, topics=[Struct(name="orders", partition_indexes=[0, 3])]
    )
    known, unknown = response.topics[0].partitions
    (producer,) = known.active_producers
    assert (producer.producer_id, producer.producer_epoch, producer.last_sequence) == (40, 2, 1)
    assert producer.last_timestamp == 1_700_000_000_001
    assert (producer.coordinator_epoch, producer.current_txn_start_offset) == (-1, -1)
    assert unknown.error_code == ErrorCode.unknown_topic_or_partition


async def test_a_follower_tells_of_the_producers_that_it_knows(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(2)
    await cluster.start()
    topic_id = await cluster.create("orders", 1, 2)
    leader = cluster.leader("orders", 0)
    batch = keyed(("a", "1"), producer_id=40, producer_epoch=2, base_sequence=0)
    assert (await cluster.produce(leader, topic_id, 0, batch=batch)).error_code == ErrorCode.none
    connection = await cluster.connect(3 - leader)
    asked = {"topics": [{"name": "orders", "partition_indexes": [0]}]}
    response = await connection.request(ApiKey.DESCRIBE_PRODUCERS, asked)
    (known,) = response.topics[0].partitions
    assert known.error_code == ErrorCode.none
    assert [each.producer_id for each in known.active_producers] == [40]


@pytest.mark.parametrize("node_id", [1])
async def test_the_new_apis_are_announced(make_cluster: MakeCluster, node_id: int) -> None:
    cluster = make_cluster(1)
    await cluster.start()
    connection = await cluster.connect(node_id)
    assert connection.api_versions[ApiKey.DELETE_RECORDS] == (0, 2)
    assert connection.api_versions[ApiKey.DESCRIBE_PRODUCERS] == (0, 0)
