"""The hand-written answers, byte for byte against kio and the codec."""

import random
import uuid
from io import BytesIO
from typing import Any

import pytest

from broker.protocol import codec, headers, hot
from broker.protocol.errors import EncodeError
from broker.protocol.hot import FetchedPartition, NodeEndpoint, ProducedPartition
from broker.protocol.kio_import import import_kio

ORDERS, SIGNUPS = uuid.UUID(int=77), uuid.UUID(int=2**100)
BATCHES = [None, b"", b"r" * 61, memoryview(b"x" * 127), memoryview(b"y" * 70_000)]
Errors = import_kio("kio.schema.errors").ErrorCode
writer_of = import_kio("kio.serial._serialize").entity_writer


def produced(rng: random.Random, unusual: bool) -> list[Any]:
    def partition(index: int) -> ProducedPartition:
        usual = ProducedPartition(index, rng.choice([0, 6]), rng.randrange(2**40), -1, 3)
        if not unusual:
            return usual
        return usual._replace(
            log_append_time_ms=1_700_000_000_000,
            error_message=rng.choice([None, "too late"]),
            record_errors=rng.choice([(), ((3, None), (4, "keyless"))]),
            current_leader=rng.choice([None, (2, 9)]),
        )

    return [
        (name, topic_id, [partition(i) for i in range(rng.randrange(4))])
        for name, topic_id in (("orders", ORDERS), ("sign-ups-ü", SIGNUPS))
    ]


def fetched(rng: random.Random, unusual: bool) -> list[Any]:
    def partition(index: int) -> FetchedPartition:
        usual = FetchedPartition(
            index,
            rng.choice([0, 1]),
            rng.randrange(2**40),
            5,
            1,
            rng.choice(BATCHES),
            rng.choice([None, []]),
            rng.choice([-1, 2]),
        )
        if not unusual:
            return usual
        return usual._replace(
            aborted_transactions=rng.choice([None, [], [(9, 100), (10, 3)]]),
            diverging_epoch=rng.choice([None, (4, 40)]),
            current_leader=rng.choice([None, (2, 9)]),
            snapshot_id=rng.choice([None, (1000, 3)]),
        )

    return [
        (name, topic_id, [partition(i) for i in range(rng.randrange(4))])
        for name, topic_id in (("orders", ORDERS), ("sign-ups-ü", SIGNUPS))
    ]


NODES = (NodeEndpoint(2, "127.0.0.1", 19093, None), NodeEndpoint(3, "h", 1, "rack-a"))


@pytest.mark.parametrize("unusual", [False, True])
@pytest.mark.parametrize("version", range(3, 14))
def test_produce_answers_are_the_codecs(version: int, unusual: bool) -> None:
    rng = random.Random(version)
    for _ in range(20):
        topics = produced(rng, unusual)
        nodes = NODES if unusual and rng.random() < 0.5 else ()
        frame = hot.encode_produce_response(
            version, 9, topics, throttle_time_ms=4, node_endpoints=nodes
        )
        body = hot._produce_struct(topics, 4, nodes)
        data = codec.encode_response(0, version, body)
        assert frame == headers.encode_response_frame(0, version, 9, data)


@pytest.mark.parametrize("unusual", [False, True])
@pytest.mark.parametrize("version", range(4, 19))
def test_fetch_answers_are_the_codecs(version: int, unusual: bool) -> None:
    rng = random.Random(version)
    for _ in range(20):
        topics = fetched(rng, unusual)
        nodes = NODES if unusual and rng.random() < 0.5 else ()
        pieces = hot.encode_fetch_response(
            version,
            9,
            topics,
            throttle_time_ms=4,
            error_code=70,
            session_id=5,
            node_endpoints=nodes,
        )
        body = hot._fetch_struct(topics, 4, 70, 5, nodes)
        data = codec.encode_response(1, version, body)
        assert b"".join(pieces) == headers.encode_response_frame(1, version, 9, data)
        for _, _, parts in topics:
            for part in parts:
                if part.records:
                    assert any(piece is part.records for piece in pieces), "records were copied"


@pytest.mark.parametrize("version", [3, 8, 9, 12])
def test_a_produce_answer_is_kios(version: int) -> None:
    module = import_kio(f"kio.schema.produce.v{version}.response")
    seconds = import_kio("datetime").timedelta
    extra: dict[str, Any] = {"log_start_offset": 7} if version >= 5 else {}
    extra |= {"record_errors": ()} if version >= 8 else {}
    entity = module.ProduceResponse(
        responses=(
            module.TopicProduceResponse(
                name="orders",
                partition_responses=(
                    module.PartitionProduceResponse(
                        index=3, error_code=Errors.none, base_offset=12, **extra
                    ),
                ),
            ),
        ),
        throttle_time=seconds(milliseconds=25),
    )
    with BytesIO() as out:
        writer_of(module.ProduceResponse)(out, entity)
        expected = headers.encode_response_frame(0, version, 1, out.getvalue())
    topics = [("orders", ORDERS, [ProducedPartition(3, 0, 12, -1, 7)])]
    assert hot.encode_produce_response(version, 1, topics, throttle_time_ms=25) == expected


@pytest.mark.parametrize("version", [13, 17])
def test_a_fetch_answer_is_kios(version: int) -> None:
    module = import_kio(f"kio.schema.fetch.v{version}.response")
    seconds = import_kio("datetime").timedelta
    records = b"records" * 30
    entity = module.FetchResponse(
        throttle_time=seconds(0),
        error_code=Errors.none,
        session_id=0,
        responses=(
            module.FetchableTopicResponse(
                topic_id=ORDERS,
                partitions=(
                    module.PartitionData(
                        partition_index=3,
                        error_code=Errors.none,
                        high_watermark=12,
                        last_stable_offset=11,
                        log_start_offset=1,
                        aborted_transactions=None,
                        records=records,
                    ),
                ),
            ),
        ),
    )
    with BytesIO() as out:
        writer_of(module.FetchResponse)(out, entity)
        expected = headers.encode_response_frame(1, version, 1, out.getvalue())
    topics = [("", ORDERS, [FetchedPartition(3, 0, 12, 11, 1, records)])]
    assert b"".join(hot.encode_fetch_response(version, 1, topics)) == expected


def test_what_cannot_be_written_is_an_encode_error() -> None:
    with pytest.raises(EncodeError):
        hot.encode_produce_response(14, 1, [])
    with pytest.raises(EncodeError):
        hot.encode_fetch_response(3, 1, [])
    with pytest.raises(EncodeError):
        hot.encode_produce_response(9, 1, [("t", ORDERS, [ProducedPartition(2**31, 0, 0)])])
    with pytest.raises(EncodeError):
        hot.encode_fetch_response(9, 1, [("t", ORDERS, [FetchedPartition(1, 0, 2**63, 0, 0)])])


def test_requests_take_the_codec() -> None:
    body = {"acks": -1, "topic_data": [{"name": "o", "partition_data": [{"records": b"abc"}]}]}
    data = codec.encode_request(0, 9, body)
    found = hot.decode_produce_request(9, b"head" + data, 4)
    assert found == codec.decode_request(0, 9, data)
    assert isinstance(found.topic_data[0].partition_data[0].records, memoryview)
    data = codec.encode_request(1, 12, {"max_wait_ms": 500})
    assert hot.decode_fetch_request(12, data, 0).max_wait_ms == 500
