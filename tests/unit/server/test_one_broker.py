"""One whole broker: what a client can do with it, what it refuses, how it stops and starts again."""

import asyncio
import json
import struct
from collections.abc import Callable

import pytest

from broker.protocol.api_keys import METADATA_TOPIC, ApiKey
from broker.protocol.batch import Compression, Record, decode_records, encode_batch
from broker.protocol.errors import ErrorCode, LogctlError
from broker.protocol.struct import ZERO_UUID, Struct
from tests.own_time import own_s
from tests.unit.server.conftest import Cluster, until

MakeCluster = Callable[..., Cluster]


@pytest.fixture
async def one(make_cluster: MakeCluster) -> Cluster:
    cluster = make_cluster(1, num__partitions="4")
    await cluster.start()
    return cluster


def values_of(answer: Struct) -> list[bytes | None]:
    return [record.value for record in decode_records(answer.records)]


async def test_create_produce_fetch_and_list_offsets(one: Cluster) -> None:
    topic_id = await one.create("orders", 3, 1)
    produced = await one.produce(1, topic_id, 0, b"a", b"b")
    assert (produced.error_code, produced.base_offset) == (ErrorCode.none, 0)
    produced = await one.produce(1, topic_id, 0, b"c", acks=1)
    assert produced.base_offset == 2
    fetched = await one.fetch(1, topic_id, 0, 0)
    assert (fetched.error_code, fetched.high_watermark) == (ErrorCode.none, 3)
    assert bytes(fetched.records).count(b"a") >= 1
    assert values_of(fetched) == [b"a", b"b"]
    assert values_of(await one.fetch(1, topic_id, 0, 2)) == [b"c"]
    for timestamp, offset in ((-1, 3), (-2, 0), (-3, 1), (-4, 0), (-5, -1), (1_700_000_000_001, 1)):
        response = await one.ask(
            ApiKey.LIST_OFFSETS,
            replica_id=-1,
            topics=[
                Struct(name="orders", partitions=[Struct(partition_index=0, timestamp=timestamp)])
            ],
        )
        (answer,) = response.topics[0].partitions
        assert (answer.error_code, answer.offset) == (ErrorCode.none, offset), timestamp


async def test_a_fetch_waits_for_records_that_come_later(one: Cluster) -> None:
    topic_id = await one.create("orders", 1, 1)
    await one.connect()
    waiting = asyncio.create_task(one.fetch(1, topic_id, 0, 0, max_wait_ms=10_000))
    # A connection serves one request at a time, so the producer needs its own.
    waiter = one.connections.pop(1)
    await until(lambda: waiter is not None and not waiting.done())
    begun = own_s()
    await one.produce(1, topic_id, 0, b"late")
    assert values_of(await waiting) == [b"late"]
    assert own_s() - begun < 5, "woken, not timed out"
    waiter.close()


@pytest.mark.parametrize("compression", list(Compression))
async def test_every_compression_passes_through_unchanged(
    one: Cluster, compression: Compression
) -> None:
    topic_id = await one.create("orders", 1, 1)
    value = bytes(range(256)) * 40
    batch = encode_batch(
        [Record(0, 1_700_000_000_000, b"key", value, (("h", b"\x00\xff"),))],
        compression=compression,
    )
    assert (await one.produce(1, topic_id, 0, batch=batch)).error_code == ErrorCode.none
    fetched = await one.fetch(1, topic_id, 0, 0)
    (record,) = decode_records(fetched.records)
    assert (record.key, record.value, record.headers) == (b"key", value, (("h", b"\x00\xff"),))


async def test_what_produce_refuses(one: Cluster) -> None:
    topic_id = await one.create("orders", 1, 1, max_message_bytes="1000")
    good = encode_batch([Record(0, 1, None, b"x", ())])
    damaged = bytearray(good)
    damaged[-1] ^= 1
    cases: list[tuple[bytes, ErrorCode]] = [
        (bytes(damaged), ErrorCode.corrupt_message),
        (encode_batch([Record(0, 1, None, b"y" * 5000, ())]), ErrorCode.message_too_large),
        (good + good, ErrorCode.invalid_record),
        (b"", ErrorCode.invalid_record),
    ]
    for batch, code in cases:
        answer = await one.produce(1, topic_id, 0, batch=batch)
        assert answer.error_code == code
    assert (await one.produce(1, topic_id, 7, b"x")).error_code == (
        ErrorCode.unknown_topic_or_partition
    )
    assert (await one.produce(1, ZERO_UUID, 0, b"x")).error_code == ErrorCode.unknown_topic_id
    assert (await one.produce(1, topic_id, 0, b"x", acks=2)).error_code == (
        ErrorCode.invalid_required_acks
    )
    assert (await one.fetch(1, topic_id, 0, 5)).error_code == ErrorCode.offset_out_of_range
    assert (await one.fetch(1, ZERO_UUID, 0, 0)).error_code == ErrorCode.unknown_topic_id


async def test_acks_0_has_no_answer_and_its_error_closes(one: Cluster) -> None:
    topic_id = await one.create("orders", 1, 1)
    connection = await one.connect()

    async def send(index: int) -> None:
        body = Struct(
            acks=0,
            timeout_ms=1000,
            topic_data=[
                Struct(
                    topic_id=topic_id,
                    partition_data=[
                        Struct(index=index, records=encode_batch([Record(0, 1, None, b"x", ())]))
                    ],
                )
            ],
        )
        await connection.request(ApiKey.PRODUCE, body, no_reply=True)

    await send(0)
    # The next request is answered: nothing stood before it in the stream.
    assert values_of(await one.fetch(1, topic_id, 0, 0)) == [b"x"]
    await send(9)
    async with asyncio.timeout(60):
        await connection.wait_closed()


async def test_garbage_closes_only_its_own_connection(one: Cluster) -> None:
    topic_id = await one.create("orders", 1, 1)
    healthy = await one.connect()
    for garbage in (
        struct.pack(">i", -1),
        struct.pack(">i", 2**31 - 1),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        struct.pack(">ihhihi", 14, ApiKey.PRODUCE, 3, 1, -1, 2**31 - 1),
        struct.pack(">ihhih", 10, ApiKey.VOTE, 1, 1, -1),
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", one.client_ports[1])
        writer.write(garbage + b"\x00" * 64)
        async with asyncio.timeout(60):
            with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                await reader.readexactly(1)
        writer.close()
    assert not healthy.closed
    assert (await one.produce(1, topic_id, 0, b"x")).error_code == ErrorCode.none


async def test_the_other_reads_answer(one: Cluster) -> None:
    topic_id = await one.create("orders", 2, 1)
    await one.produce(1, topic_id, 0, b"a")
    quorum = await one.ask(
        ApiKey.DESCRIBE_QUORUM,
        topics=[Struct(topic_name=METADATA_TOPIC, partitions=[Struct(partition_index=0)])],
    )
    assert quorum.topics[0].partitions[0].leader_id == 1
    assert [(n.node_id, n.listeners[0].port) for n in quorum.nodes] == [
        (1, one.controller_ports[1])
    ]
    dirs = await one.ask(ApiKey.DESCRIBE_LOG_DIRS, topics=None)
    (folder,) = dirs.results
    sizes = {p.partition_index: p.partition_size for p in folder.topics[0].partitions}
    assert sizes[0] > 60
    assert sizes[1] == 0
    assert folder.usable_bytes > 0
    epochs = await one.ask(
        ApiKey.OFFSET_FOR_LEADER_EPOCH,
        topics=[Struct(topic="orders", partitions=[Struct(partition=0, leader_epoch=0)])],
    )
    assert epochs.topics[0].partitions[0].end_offset == 1
    described = await one.ask(
        ApiKey.DESCRIBE_CONFIGS,
        resources=[
            Struct(resource_type=2, resource_name="orders", configuration_keys=None),
            Struct(resource_type=4, resource_name="1", configuration_keys=["num.partitions"]),
            Struct(resource_type=4, resource_name="2", configuration_keys=None),
            Struct(resource_type=2, resource_name="absent", configuration_keys=None),
        ],
        include_synonyms=True,
        include_documentation=True,
    )
    topic, broker, other, absent = described.results
    entries = {entry.name: entry for entry in topic.configs}
    assert entries["retention.ms"].value == "604800000"
    assert entries["retention.ms"].documentation
    (entry,) = broker.configs
    assert (entry.value, entry.config_source) == ("4", 4)
    assert other.error_code == ErrorCode.invalid_request
    assert absent.error_code == ErrorCode.unknown_topic_or_partition


async def test_admin_requests_take_effect(one: Cluster) -> None:
    await one.create("orders", 1, 1)
    changed = await one.ask(
        ApiKey.INCREMENTAL_ALTER_CONFIGS,
        resources=[
            Struct(
                resource_type=2,
                resource_name="orders",
                configs=[Struct(name="retention.ms", config_operation=0, value="1000")],
            ),
            Struct(
                resource_type=2,
                resource_name="orders2",
                configs=[Struct(name="retention.ms", config_operation=0, value="1000")],
            ),
        ],
    )
    assert [r.error_code for r in changed.responses] == [
        ErrorCode.none,
        ErrorCode.unknown_topic_or_partition,
    ]
    grown = await one.ask(
        ApiKey.CREATE_PARTITIONS,
        topics=[Struct(name="orders", count=5, assignments=None)],
        timeout_ms=5000,
    )
    assert grown.results[0].error_code == ErrorCode.none
    await until(lambda: Cluster.knows(one.brokers[1], "orders", 5))
    gone = await one.ask(
        ApiKey.DELETE_TOPICS, version=4, topic_names=["orders", "absent"], timeout_ms=5000
    )
    assert {r.name: r.error_code for r in gone.responses} == {
        "orders": ErrorCode.none,
        "absent": ErrorCode.unknown_topic_or_partition,
    }
    metadata = await one.ask(ApiKey.METADATA, topics=None)
    assert metadata.topics == []


async def test_idempotent_producers_get_ids_and_duplicates_are_dropped(one: Cluster) -> None:
    topic_id = await one.create("orders", 1, 1)
    ids = []
    for _ in range(3):
        response = await one.ask(
            ApiKey.INIT_PRODUCER_ID, transactional_id=None, transaction_timeout_ms=60_000
        )
        assert (response.error_code, response.producer_epoch) == (ErrorCode.none, 0)
        ids.append(response.producer_id)
    assert len(set(ids)) == 3
    batch = encode_batch(
        [Record(0, 1_700_000_000_000, None, b"once", ())],
        producer_id=ids[0],
        producer_epoch=0,
        base_sequence=0,
    )
    first = await one.produce(1, topic_id, 0, batch=batch)
    again = await one.produce(1, topic_id, 0, batch=batch)
    assert (first.base_offset, again.base_offset) == (0, 0)
    assert again.error_code == ErrorCode.none
    fetched = await one.fetch(1, topic_id, 0, 0)
    assert fetched.high_watermark == 1
    refused = await one.ask(
        ApiKey.INIT_PRODUCER_ID, transactional_id="payments", transaction_timeout_ms=60_000
    )
    assert refused.error_code == ErrorCode.not_coordinator


async def test_a_topic_is_made_by_asking_for_it(one: Cluster) -> None:
    response = await one.ask(
        ApiKey.METADATA, topics=[Struct(name="fresh")], allow_auto_topic_creation=True
    )
    (topic,) = response.topics
    assert (topic.error_code, len(topic.partitions)) == (ErrorCode.none, 4)


async def test_everything_is_there_after_a_restart(one: Cluster) -> None:
    topic_id = await one.create("orders", 2, 1)
    await one.produce(1, topic_id, 1, b"kept")
    for controlled in (True, False):
        await one.stop(1, controlled=controlled)
        await one.start(1)
        assert values_of(await one.fetch(1, topic_id, 1, 0)) == [b"kept"]
    await one.produce(1, topic_id, 1, b"more")
    assert values_of(await one.fetch(1, topic_id, 1, 1)) == [b"more"]


async def test_a_port_in_use_and_a_locked_folder_are_told_in_one_line(one: Cluster) -> None:
    locked = one.make(1)
    with pytest.raises(LogctlError, match="lock"):
        await locked.start()
    other = one.make(1, log__dirs=str(one.folder / "other"))
    with pytest.raises(LogctlError, match=f"127.0.0.1:{one.client_ports[1]}") as caught:
        await other.start()
    assert "\n" not in str(caught.value)
    foreign = one.make(1, cluster__id="another")
    await one.stop(1)
    with pytest.raises(LogctlError, match="another"):
        await foreign.start()


async def test_metrics_are_served_when_asked_for(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(1, metrics__port="0")
    await cluster.start()
    topic_id = await cluster.create("orders", 3, 1)
    await cluster.produce(1, topic_id, 0, b"x")

    async def get(path: str) -> tuple[str, str]:
        port = cluster.brokers[1].ports["metrics"]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        async with asyncio.timeout(60):
            head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
        writer.close()
        return head.split("\r\n")[0], body

    status, body = await get("/metrics")
    assert status == "HTTP/1.1 200 OK"
    assert "logd_partitions_led 3.0" in body
    assert 'logd_requests_total{api="produce"} 1.0' in body
    assert "process_resident_memory_bytes" in body
    assert (await get("/"))[0] == "HTTP/1.1 404 Not Found"


async def test_log_lines_of_a_broker_carry_no_record_contents(
    one: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    topic_id = await one.create("orders", 1, 1)
    with caplog.at_level("DEBUG"):
        await one.produce(1, topic_id, 0, b"very-secret")
        await one.fetch(1, topic_id, 0, 0)
    lines = json.dumps([str(vars(record)) for record in caplog.records], default=str)
    assert "very-secret" not in lines
