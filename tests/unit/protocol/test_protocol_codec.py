"""The codec's manners: defaults, names, nulls, limits, explanations; Struct and ids."""

import copy
import subprocess
import sys
import tracemalloc
import uuid
from typing import Any

import pytest

from broker.protocol import codec, fields
from broker.protocol.api_keys import ApiKey
from broker.protocol.compiler import REQUEST_ELEMENTS_MAX
from broker.protocol.errors import (
    BufferUnderflow,
    CountTooLarge,
    DecodeError,
    EncodeError,
    ErrorCode,
    InvalidText,
    InvalidValue,
    NegativeLength,
    TrailingBytes,
    UnexpectedNull,
    UnsupportedVersion,
)
from broker.protocol.primitives import encode_uvarint
from broker.protocol.struct import ZERO_UUID, Struct, uuid_from_text, uuid_to_text


def test_missing_fields_take_the_schemas_defaults() -> None:
    found = codec.decode_request(1, 17, codec.encode_request(1, 17, {}))
    assert (found.max_bytes, found.session_epoch, found.rack_id) == (2**31 - 1, -1, "")
    assert found.topics == []
    assert found.replica_state == Struct(replica_id=-1, replica_epoch=-1)
    assert found.cluster_id is None


def test_a_decoded_message_has_the_fields_of_every_version() -> None:
    old = codec.decode_request(1, 4, codec.encode_request(1, 4, Struct(replica_id=3)))
    assert (old.replica_id, old.session_id, old.forgotten_topics_data) == (3, 0, [])
    assert old.replica_state.replica_epoch == -1
    other = codec.decode_request(1, 4, codec.encode_request(1, 4, Struct()))
    old.forgotten_topics_data.append(1)
    old.replica_state.replica_id = 9
    assert other.forgotten_topics_data == []
    assert other.replica_state.replica_id == -1
    assert codec.decode_request(1, 4, codec.encode_request(1, 4, {})).replica_state.replica_id == -1


def test_names_of_other_versions_are_dropped_and_unknown_names_refused() -> None:
    topic = Struct(topic="orders", topic_id=uuid.uuid4(), partitions=[])
    body = Struct(topics=[topic], replica_id=1, replica_state=Struct(replica_id=1))
    for version in (4, 12, 13, 17):
        codec.encode_request(1, version, body)
    with pytest.raises(EncodeError, match=r"'max_wait'; known are .*max_wait_ms"):
        codec.encode_request(1, 12, Struct(max_wait=1))
    with pytest.raises(EncodeError, match="'partition_index'"):
        codec.encode_request(1, 12, Struct(topics=[{"partitions": [{"partition_index": 1}]}]))


def test_null_and_empty_differ() -> None:
    for version in (1, 9, 12):
        for topics in (None, []):
            data = codec.encode_request(ApiKey.METADATA, version, Struct(topics=topics))
            assert codec.decode_request(3, version, data).topics == topics
    for version in (4, 12):
        for records in (None, b""):
            body = {"responses": [{"partitions": [{"records": records}]}]}
            found = codec.decode_response(1, version, codec.encode_response(1, version, body))
            got = found.responses[0].partitions[0].records
            assert got is None if records is None else bytes(got) == b""


def test_nullable_structs() -> None:
    for cursor in (None, Struct(topic_name="orders", partition_index=4)):
        data = codec.encode_request(75, 0, Struct(cursor=cursor))
        assert codec.decode_request(75, 0, data).cursor == cursor
    answer = codec.encode_response(75, 0, {"next_cursor": {"topic_name": "x"}})
    assert codec.decode_response(75, 0, answer).next_cursor.topic_name == "x"


def test_error_codes_times_and_ids() -> None:
    topics = [{"error_code": ErrorCode.unknown_topic_id}, {"error_code": 9999}]
    data = codec.encode_response(3, 12, {"throttle_time_ms": 7, "topics": topics})
    found = codec.decode_response(3, 12, data)
    assert found.throttle_time_ms == 7
    assert found.topics[0].error_code is ErrorCode.unknown_topic_id
    assert found.topics[1].error_code == 9999
    assert found.topics[0].topic_id == ZERO_UUID
    older = codec.decode_response(3, 1, codec.encode_response(3, 1, {"topics": topics}))
    assert older.topics[0].topic_id == ZERO_UUID


def test_records_are_views_of_the_input() -> None:
    body = {"topic_data": [{"name": "o", "partition_data": [{"records": b"abcdef"}]}]}
    data = bytearray(codec.encode_request(0, 9, body))
    records = codec.decode_request(0, 9, data).topic_data[0].partition_data[0].records
    data[data.index(b"abc")] = ord("X")
    assert bytes(records) == b"Xbcdef"
    pieces = codec.encode_response_buffers(
        1, 12, {"responses": [{"topic": "o", "partitions": [{"records": records}]}]}
    )
    assert any(piece is records for piece in pieces)


def test_unknown_tags_are_skipped() -> None:
    data = codec.encode_request(3, 12, Struct(topics=None))
    assert data.endswith(b"\0")
    found = codec.decode_request(3, 12, data[:-1] + b"\x02\x63\x02hi\xff\x01\x00")
    assert found == codec.decode_request(3, 12, data)


FETCH_BODY = b"\0\0\0\0" * 4 + b"\0" + b"\0" * 4 + b"\0" * 4 + b"\x01\x01\x01"


@pytest.mark.parametrize(
    ("key", "version", "data", "error"),
    [
        (3, 1, b"", BufferUnderflow),
        (3, 1, b"\0\0\0\1\0\5ab", BufferUnderflow),
        (3, 1, b"\0\0\0\1\xff\xff", UnexpectedNull),
        (3, 1, b"\0\0\0\1\xff\xfe", NegativeLength),
        (3, 1, b"\xff\xff\xff\xfe", NegativeLength),
        (3, 1, b"\x7f\xff\xff\xff", CountTooLarge),
        (3, 0, b"\xff\xff\xff\xff", UnexpectedNull),
        (3, 1, b"\0\0\0\1\0\2\xc3\x28", InvalidText),
        (3, 1, b"\0\0\0\0!", TrailingBytes),
        (3, 12, b"\xff\xff\xff\xff\x0f", CountTooLarge),
        (3, 12, b"\xff\xff\xff\xff\xff\x0f", InvalidValue),
        (3, 12, b"\xff\xff\xff\xff\x1f", InvalidValue),
        (3, 12, b"\x80", BufferUnderflow),
        (3, 12, b"\x01\x01\x00\x91\x4e\x00\x00", CountTooLarge),
        (3, 12, b"\x01\x01\x00\x01\x05\x50", BufferUnderflow),
        (1, 12, FETCH_BODY + b"\x01\x00\x03\x02a", BufferUnderflow),
        (1, 12, FETCH_BODY + b"\x01\x00\x03\x02ab", InvalidValue),
        (1, 12, FETCH_BODY + b"\x01\x00\x01\x02a", InvalidValue),
    ],
)
def test_malformed_requests(key: int, version: int, data: bytes, error: type[DecodeError]) -> None:
    with pytest.raises(error, match=rf"request v{version}: "):
        codec.decode_request(key, version, data)


def test_the_fetch_body_is_whole() -> None:
    assert codec.decode_request(1, 12, FETCH_BODY + b"\x01\x00\x02\x02a").cluster_id == "a"


@pytest.mark.parametrize(
    ("version", "count", "size"),
    [
        (1, b"\x7f\xff\xff\xff", 1000),
        (12, b"\xff\xff\xff\xff\x07", 1000),
        (1, (REQUEST_ELEMENTS_MAX + 1).to_bytes(4, "big"), 2 * (REQUEST_ELEMENTS_MAX + 1)),
    ],
)
def test_a_huge_count_allocates_nothing(version: int, count: bytes, size: int) -> None:
    data = count + bytes(size)
    codec.decode_request(3, version, codec.encode_request(3, version, {}))
    tracemalloc.start()
    try:
        with pytest.raises(CountTooLarge):
            codec.decode_request(3, version, data)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


def test_all_arrays_of_a_message_share_one_limit() -> None:
    size = REQUEST_ELEMENTS_MAX // 2 + 1
    array = encode_uvarint(size + 1) + b"\x01" * size
    found = codec.decode_request(ApiKey.LIST_GROUPS, 5, array + b"\x01\x00")
    assert len(found.states_filter) == size
    with pytest.raises(CountTooLarge, match="types_filter announces 125001"):
        codec.decode_request(ApiKey.LIST_GROUPS, 5, array + array + b"\x00")


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"acks": 40_000}, "acks cannot hold 40000 .its type is int16"),
        ({"acks": None}, "acks cannot hold None"),
        ({"topic_data": 5}, "topic_data is 5, not a list"),
        ({"topic_data": [5]}, r"topic_data\[0\] is 5, not a Struct"),
        ({"topic_data": [{"name": b"o"}]}, r"topic_data\[0\].name cannot hold b'o'"),
        ({"topic_data": [{"name": "\ud800"}]}, r"topic_data\[0\].name cannot hold"),
        (
            {"topic_data": [{"partition_data": [{}, {"records": "text"}]}]},
            r"topic_data\[0\].partition_data\[1\].records cannot hold 'text'",
        ),
        ({"topic_data": [{"name": "x" * 40_000}]}, "produce request v3"),
        (None, "the body is None, not a Struct or a dict"),
    ],
)
def test_what_cannot_be_written_is_named(body: Any, text: str) -> None:
    with pytest.raises(EncodeError, match=text):
        codec.encode_request(0, 3, body)


def test_versions_without_a_schema() -> None:
    for key, version in ((0, 2), (0, 14), (4, 0), (999, 0)):
        with pytest.raises(UnsupportedVersion):
            codec.encode_request(key, version, {})
        with pytest.raises(UnsupportedVersion):
            codec.decode_request(key, version, b"")
    with pytest.raises(UnsupportedVersion, match="leader_change_message"):
        codec.encode_data("leader_changes", 0, {})
    assert codec.supported_versions(ApiKey.FETCH) == (4, 18)
    assert not codec.is_flexible(ApiKey.FETCH, 11)
    assert codec.is_flexible(ApiKey.FETCH, 99)
    assert not codec.is_flexible(ApiKey.SASL_HANDSHAKE, 1)


def test_data_may_be_followed_by_what_newer_peers_add() -> None:
    data = codec.encode_data("consumer_protocol_subscription", 0, {"topics": ["a", "b"]})
    found = codec.decode_data("consumer_protocol_subscription", 0, data + b"newer")
    assert found.topics == ["a", "b"]


def test_struct() -> None:
    body = Struct(name="orders", parts=[Struct(index=1)], extra={"a": Struct(b=(1,))})
    assert body.get("name") == "orders"
    assert body.get("nothing", 5) == 5
    assert body.replace(name="x") == Struct(name="x", parts=[Struct(index=1)], extra=body.extra)
    assert body.to_dict() == {"name": "orders", "parts": [{"index": 1}], "extra": {"a": {"b": [1]}}}
    assert repr(Struct(a=1)) == "Struct(a=1)"
    assert copy.deepcopy(body) == body
    assert body != "orders"
    with pytest.raises(AttributeError, match="did you mean 'parts'"):
        _ = body.part
    with pytest.raises(TypeError):
        hash(body)


def test_ids_as_kafka_writes_them() -> None:
    value = uuid.UUID("fbff7cb5-f9c4-4d6b-a2f4-2e3ed8f1f0c9")
    text = uuid_to_text(value)
    assert len(text) == 22
    assert uuid_from_text(text) == value
    assert uuid_from_text(str(value)) == value
    assert uuid_to_text(ZERO_UUID) == "A" * 22
    for wrong in ("", "A" * 21 + "é", "short", "A" * 36):
        with pytest.raises(InvalidValue):
            uuid_from_text(wrong)


def test_the_field_tree_is_printed() -> None:
    text = fields.text(["metadata", "1"])
    assert "allow_auto_topic_creation" not in text
    assert "allow_auto_topic_creation: bool = True  v4-13" in fields.text(["3"])
    assert " 18 API_VERSIONS 0-4" in fields.text([])
    assert "granting_voters" in fields.text(["leader_change_message"])
    with pytest.raises(SystemExit, match="try METADATA"):
        fields.text(["metadat"])


def test_importing_the_codec_stays_light() -> None:
    program = (
        "import sys, broker.protocol.client, broker.protocol.hot, broker.protocol.codec as c\n"
        "c.encode_request(1, 17, {})\n"
        "assert 'hypothesis' not in sys.modules\n"
        "assert not any(m.startswith('kio.schema.fetch') for m in sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
