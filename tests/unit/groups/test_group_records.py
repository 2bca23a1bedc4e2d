"""The bytes of __consumer_offsets: as Apache Kafka writes them, and nothing else breaks a reader."""

import random
import struct
from uuid import UUID

import pytest

from broker.groups.records import (
    CommittedOffset,
    GroupMetadata,
    GroupRecord,
    MemberMetadata,
    OffsetRecord,
    decode_record,
    encode_record,
)
from broker.protocol.errors import DecodeError, EncodeError
from broker.runtime.groups import client_host, group_hash

TOPIC_ID = UUID(int=0x0102030405060708090A0B0C0D0E0F10)
MEMBER = MemberMetadata(
    member_id="m-1",
    instance_id="one",
    client_id="app",
    client_host="/127.0.0.1",
    rebalance_timeout_ms=300_000,
    session_timeout_ms=10_000,
    subscription=b"\x00\x01sub",
    assignment=b"\x00\x01asg",
)
GENERATION = GroupMetadata(
    protocol_type="consumer",
    generation=7,
    protocol="range",
    leader="m-1",
    state_timestamp_ms=1_700_000_000_123,
    members=(MEMBER,),
)


def text(value: str) -> bytes:
    return struct.pack(">h", len(value)) + value.encode()


def blob(value: bytes) -> bytes:
    return struct.pack(">i", len(value)) + value


def test_an_offset_is_written_in_version_4_with_the_topic_id_as_a_tag() -> None:
    value = CommittedOffset(42, 3, "note", 1_700_000_000_000, topic_id=TOPIC_ID)
    key, data = encode_record(OffsetRecord("g", "t", 5, value))
    assert key == b"\x00\x01" + text("g") + text("t") + struct.pack(">i", 5)
    assert data == (
        struct.pack(">hqi", 4, 42, 3)
        + b"\x05note"
        + struct.pack(">q", 1_700_000_000_000)
        + b"\x01\x00\x10"
        + TOPIC_ID.bytes
    )


def test_an_offset_with_its_own_expiry_is_written_in_version_1() -> None:
    value = CommittedOffset(42, 3, "note", 1_000, 2_000, TOPIC_ID)
    key, data = encode_record(OffsetRecord("g", "t", 5, value))
    assert data == struct.pack(">hq", 1, 42) + text("note") + struct.pack(">qq", 1_000, 2_000)
    assert decode_record(key, data) == OffsetRecord(
        "g", "t", 5, CommittedOffset(42, -1, "note", 1_000, 2_000)
    )


def test_a_generation_is_written_in_version_3() -> None:
    key, data = encode_record(GroupRecord("g", GENERATION))
    assert key == b"\x00\x02" + text("g")
    assert data == (
        b"\x00\x03"
        + text("consumer")
        + struct.pack(">i", 7)
        + text("range")
        + text("m-1")
        + struct.pack(">qi", 1_700_000_000_123, 1)
        + text("m-1")
        + text("one")
        + text("app")
        + text("/127.0.0.1")
        + struct.pack(">ii", 300_000, 10_000)
        + blob(b"\x00\x01sub")
        + blob(b"\x00\x01asg")
    )


@pytest.mark.parametrize(
    "record",
    [
        OffsetRecord("grüppe", "t", 0, CommittedOffset(0, metadata="ö" * 4096)),
        OffsetRecord("", "t", 2**31 - 1, CommittedOffset(2**63 - 1, 7, "", 5, -1, TOPIC_ID)),
        OffsetRecord("g", "t", 1, None),
        GroupRecord("g", GENERATION),
        GroupRecord("g", GroupMetadata()),
        GroupRecord("g", None),
    ],
)
def test_what_is_written_is_read_back(record: OffsetRecord | GroupRecord) -> None:
    assert decode_record(*encode_record(record)) == record


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (
            struct.pack(">hq", 0, 9) + text("n") + struct.pack(">q", 5),
            CommittedOffset(9, -1, "n", 5),
        ),
        (
            struct.pack(">hq", 2, 9) + text("n") + struct.pack(">q", 5),
            CommittedOffset(9, -1, "n", 5),
        ),
        (
            struct.pack(">hqi", 3, 9, 4) + text("n") + struct.pack(">q", 5),
            CommittedOffset(9, 4, "n", 5),
        ),
        (
            struct.pack(">hqi", 4, 9, 4) + b"\x02n" + struct.pack(">q", 5) + b"\x01\x09\x01x",
            CommittedOffset(9, 4, "n", 5),
        ),
    ],
)
def test_offsets_of_other_versions_are_read(value: bytes, expected: CommittedOffset) -> None:
    record = decode_record(b"\x00\x00" + text("g") + text("t") + b"\x00\x00\x00\x01", value)
    assert record == OffsetRecord("g", "t", 1, expected)


def test_generations_of_older_versions_are_read() -> None:
    member = text("m") + text("app") + text("/h")
    tail = struct.pack(">i", 10_000) + blob(b"s") + blob(b"a")
    head = text("consumer") + struct.pack(">i", 7) + text("range") + text("m")
    key = b"\x00\x02" + text("g")
    for version, middle, rebalance in ((0, b"", b""), (1, b"", b"\x00\x00\x00\x05")):
        data = struct.pack(">h", version) + head + middle + b"\x00\x00\x00\x01"
        record = decode_record(key, data + member + rebalance + tail)
        assert isinstance(record, GroupRecord)
        assert record.value is not None
        (found,) = record.value.members
        assert found.rebalance_timeout_ms == (5 if rebalance else -1)
        assert (found.instance_id, found.session_timeout_ms) == (None, 10_000)
        assert record.value.state_timestamp_ms == -1


def test_a_generation_of_the_flexible_version_is_read() -> None:
    data = (
        b"\x00\x04\x09consumer\x00\x00\x00\x07\x06range\x02m"
        + struct.pack(">q", 11)
        + b"\x02\x02m\x00\x04app\x03/h\x00\x00\x00\x05\x00\x00\x00\x06\x02s\x02a\x00\x00"
    )
    record = decode_record(b"\x00\x02" + text("g"), data)
    assert isinstance(record, GroupRecord)
    assert record.value is not None
    (member,) = record.value.members
    assert (member.member_id, member.instance_id, member.assignment) == ("m", None, b"a")
    assert record.value.leader == "m"


def test_records_of_other_kinds_are_left_alone() -> None:
    assert decode_record(b"\x00\x03" + text("g"), b"\x00\x00") is None


def test_bytes_that_are_no_record_raise_decode_errors_only() -> None:
    rng = random.Random(5)
    key, value = encode_record(GroupRecord("g", GENERATION))
    other_key, other_value = encode_record(OffsetRecord("g", "t", 5, CommittedOffset(1)))
    for good_key, good_value in ((key, value), (other_key, other_value)):
        assert good_value is not None
        for cut in range(len(good_key)):
            with pytest.raises(DecodeError):
                decode_record(good_key[:cut], good_value)
        for cut in range(len(good_value)):
            with pytest.raises(DecodeError):
                decode_record(good_key, good_value[:cut])
    for _ in range(2_000):
        mutated = bytearray(value or b"")
        for _ in range(rng.randint(1, 4)):
            mutated[rng.randrange(len(mutated))] = rng.randrange(256)
        try:
            decode_record(key, bytes(mutated))
        except DecodeError:
            pass
    with pytest.raises(DecodeError):
        decode_record(None, b"")


def test_a_text_that_is_too_long_is_an_encode_error() -> None:
    with pytest.raises(EncodeError):
        encode_record(GroupRecord("g" * 32_768, None))
    with pytest.raises(EncodeError):
        encode_record(OffsetRecord("g", "t", 0, CommittedOffset(1, expire_timestamp_ms=2**63)))


@pytest.mark.parametrize(
    ("group", "java"),
    [
        ("", 0),
        ("a", 97),
        ("orders", -1008770331),
        ("polygenelubricants", -(2**31)),
        ("größe", 98_762_257),
        ("😀", 1_772_899),
    ],
)
def test_groups_fall_on_the_partition_that_kafka_chooses(group: str, java: int) -> None:
    """Expected values are Java's String.hashCode; Kafka takes the amount, and 0 for the lowest."""
    expected = 0 if java == -(2**31) else abs(java)
    assert group_hash(group) == expected


@pytest.mark.parametrize(
    ("peer", "host"),
    [
        ("127.0.0.1:4711", "/127.0.0.1"),
        ("::1:4711", "/0:0:0:0:0:0:0:1"),
        ("fe80::1%eth0:4711", "/fe80:0:0:0:0:0:0:1"),
        ("node-3:4711", "/node-3"),
    ],
)
def test_hosts_are_written_as_java_does(peer: str, host: str) -> None:
    assert client_host(peer) == host
