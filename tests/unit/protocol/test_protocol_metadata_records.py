"""Metadata records: round trips, bytes against kio's writer, what newer peers may write."""

import dataclasses
import random
import uuid
from io import BytesIO
from typing import Any

import pytest

from broker.protocol import metadata_records as rec
from broker.protocol.errors import (
    BufferUnderflow,
    CountTooLarge,
    EncodeError,
    InvalidText,
    InvalidValue,
    TrailingBytes,
    UnexpectedNull,
)
from broker.protocol.kio_import import import_kio

primitive = import_kio("kio.static.primitive")
constants = import_kio("kio.static.constants")
serialize = import_kio("kio.serial._serialize")
TOPIC = uuid.UUID("00112233-4455-6677-8899-aabbccddeeff")
KINDS = sorted(rec.RECORD_TYPES.values(), key=lambda kind: kind.api_key)
KIO_TYPES = {
    "int8": primitive.i8,
    "int16": primitive.i16,
    "int32": primitive.i32,
    "int64": primitive.i64,
    "uint16": primitive.u16,
    "bool": bool,
    "float64": primitive.f64,
    "string": str,
    "bytes": bytes,
    "uuid": uuid.UUID | None,
}


def nested(kind: str) -> Any:
    return getattr(rec, kind)


def value(kind: str, rng: random.Random) -> Any:
    if kind.startswith("[]"):
        return tuple(value(kind[2:], rng) for _ in range(rng.randrange(4)))
    if kind.startswith("int"):
        return rng.choice([0, -1, 1, 2 ** (int(kind[3:]) - 1) - 1])
    simple = {
        "uint16": lambda: rng.randrange(2**16),
        "bool": lambda: rng.random() < 0.5,
        "float64": lambda: rng.uniform(-1e6, 1e6),
        "string": lambda: rng.choice(["", "orders", "ü" * 100]),
        "bytes": lambda: rng.randbytes(rng.choice([0, 5, 200])),
        "uuid": lambda: uuid.UUID(int=rng.getrandbits(128)),
    }
    return simple[kind]() if kind in simple else sample(nested(kind), rng, 99)


def sample(kind: Any, rng: random.Random, version: int) -> Any:
    values = {}
    for field in dataclasses.fields(kind):
        if version < field.metadata["since"] or (
            field.default is not dataclasses.MISSING and rng.random() < 0.3
        ):
            continue
        null = field.metadata["null"] and rng.random() < 0.3
        values[field.name] = None if null else value(field.metadata["kind"], rng)
    return kind(**values)


def kio_kind(kind: Any, version: int) -> Any:
    """The same declaration as a kio entity."""
    fields = []
    for field in dataclasses.fields(kind):
        wire = field.metadata
        if wire["since"] > version:
            continue
        inner = wire["kind"].removeprefix("[]")
        declared = KIO_TYPES.get(inner) or kio_kind(nested(inner), version)
        if wire["kind"].startswith("[]"):
            if inner == "uuid":
                declared = uuid.UUID
            declared = tuple[declared, ...]
        if wire["null"]:
            declared = declared | None
        metadata = {"kafka_type": inner}
        if wire["tag"] is not None:
            metadata["tag"] = wire["tag"]
        default = {} if field.default is dataclasses.MISSING else {"default": field.default}
        fields.append((field.name, declared, dataclasses.field(metadata=metadata, **default)))
    members = {"__flexible__": True, "__version__": version, "__type__": constants.EntityType.data}
    return dataclasses.make_dataclass(
        kind.__name__, fields, kw_only=True, frozen=True, namespace=members
    )


def as_kio(record: Any, kind: Any) -> Any:
    values = {}
    for field in dataclasses.fields(kind):
        content = getattr(record, field.name)
        if isinstance(content, tuple) and content and dataclasses.is_dataclass(content[0]):
            inner = field.type.__args__[0]
            content = tuple(as_kio(item, inner) for item in content)
        values[field.name] = content
    return kind(**values)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_record_comes_back_and_is_kios_bytes(kind: Any) -> None:
    rng = random.Random(kind.__name__)
    for version in range(kind.newest_version + 1):
        theirs = kio_kind(kind, version)
        for _ in range(30):
            record = sample(kind, rng, version)
            data = rec.encode_record(record, version)
            assert data[:3] == bytes((1, kind.api_key, version))
            assert rec.decode_record(data) == record
            assert rec.decode_record(memoryview(data)) == record
            with BytesIO() as out:
                serialize.entity_writer(theirs)(out, as_kio(record, theirs))
                assert data[3:] == out.getvalue()


def test_a_leader_move_as_kraft_writes_it() -> None:
    record = rec.PartitionChangeRecord(partition_id=3, topic_id=TOPIC, isr=(2, 3), leader=2)
    assert rec.encode_record(record, 0) == (
        b"\x01\x05\x00\x00\x00\x00\x03" + TOPIC.bytes + b"\x02"
        b"\x00\x09\x03\x00\x00\x00\x02\x00\x00\x00\x03"
        b"\x01\x04\x00\x00\x00\x02"
    )


def test_null_and_empty_are_not_the_same() -> None:
    for isr in (None, (), (1,)):
        record = rec.PartitionChangeRecord(partition_id=0, topic_id=TOPIC, isr=isr)
        found = rec.decode_record(rec.encode_record(record))
        assert isinstance(found, rec.PartitionChangeRecord)
        assert found.isr == isr


def test_what_is_newer_is_kept_or_skipped() -> None:
    unknown = b"\x01\x7b\x02future"
    found = rec.decode_record(unknown)
    assert found == rec.UnknownRecord(api_key=123, version=2, body=b"future")
    assert rec.encode_record(found) == unknown

    fence = rec.FenceBrokerRecord(id=1, epoch=9)
    data = rec.encode_record(fence)
    # A tag that we do not know, in the version that we know and in a newer one.
    assert rec.decode_record(data[:-1] + b"\x01\x2a\x03abc") == fence
    assert rec.decode_record(b"\x01\x07\x05" + data[3:-1] + b"\x01\x2a\x03abc") == fence
    # A newer version that does not fit the shape we know.
    assert isinstance(rec.decode_record(b"\x01\x07\x05" + data[3:] + b"more"), rec.UnknownRecord)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", BufferUnderflow),
        (b"\x00\x07\x00", InvalidValue),
        (b"\x01\x07\x00\x00\x00", BufferUnderflow),
        (b"\x01\x14\x00\x00more", TrailingBytes),
        (b"\x01\x02\x00\x00", UnexpectedNull),
        (b"\x01\x02\x00\x03\xff\xfe" + bytes(17), InvalidText),
        (b"\x01\x02\x00\xff\xff\xff\xff\x0f", BufferUnderflow),
        (b"\x01\x02\x00\xff\xff\xff\xff\xff\xff", InvalidValue),
        (b"\x01\x14\x00\xff\xff\x7f", CountTooLarge),
        (b"\x01\x0e\x00\xff\xff\xff\xff\x0f", CountTooLarge),
        (b"\x01\x17\x00\x01\x00\x03\x02a\x00", InvalidValue),
    ],
)
def test_malformed_records(data: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        rec.decode_record(data)


def test_values_that_do_not_fit_name_their_field() -> None:
    record = rec.FenceBrokerRecord(id=2**31, epoch=1)
    with pytest.raises(EncodeError, match=r"FenceBrokerRecord\.id cannot hold 2147483648"):
        rec.encode_record(record)
    topic: Any = rec.TopicRecord(name=None, topic_id=TOPIC)  # type: ignore[arg-type]
    with pytest.raises(EncodeError, match=r"TopicRecord\.name"):
        rec.encode_record(topic)
    with pytest.raises(EncodeError, match="no version 1"):
        rec.encode_record(rec.NoOpRecord(), 1)


def test_secrets_do_not_show() -> None:
    record = rec.UserScramCredentialRecord(
        name="alice",
        mechanism=1,
        salt=b"salty",
        stored_key=b"stored",
        server_key=b"server",
        iterations=4096,
    )
    assert not any(secret in repr(record) for secret in ("salty", "stored'", "server'"))
