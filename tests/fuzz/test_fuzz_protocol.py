"""Whatever bytes come, the protocol raises DecodeError subclasses and nothing else, and stays small.

Each case derives from a fixed seed; a failure prints the bytes that caused it.
"""

import random
import tracemalloc
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.protocol import batch, codec, headers, schema
from broker.protocol import metadata_records as rec
from broker.protocol.batch import Compression, Record
from broker.protocol.errors import DecodeError
from broker.protocol.framing import FrameDecoder
from broker.protocol.schema import FieldSchema, MessageSchema
from broker.protocol.struct import Struct

MUTANTS = 60
NUMBERS = {"int8": 8, "int16": 16, "int32": 32, "int64": 64, "error_code": 8}
HOSTILE = [
    b"\xff\xff\xff\xff\x0f",
    b"\xff\xff\xff\xff\x7f",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    b"\x7f\xff\xff\xff",
    b"\xff\xff\xff\xff",
    b"\xff\xff\xff\xfe",
    b"\x80\x00\x00\x00",
    b"\x7f\xff",
    b"\x80\x00",
    b"\x00",
    b"\x01\xff\xff\x03",
]


def mutants(good: bytes, rng: random.Random, count: int = MUTANTS) -> Iterator[bytes]:
    """Truncated, flipped, spliced and enlarged versions of a valid message."""
    for _ in range(count):
        data = bytearray(good)
        for _ in range(rng.choice((1, 1, 1, 2, 5))):
            at = rng.randrange(len(data) + 1)
            match rng.randrange(6):
                case 0:
                    del data[at:]
                case 1 if at < len(data):
                    data[at] ^= 1 << rng.randrange(8)
                case 2:
                    data[at : at + rng.randrange(5)] = rng.choice(HOSTILE)
                case 3:
                    data[at:at] = rng.randbytes(rng.randrange(1, 9))
                case 4:
                    del data[at : at + rng.randrange(1, 5)]
                case _:
                    data[at : at + 4] = rng.choice(HOSTILE)
        yield bytes(data)


def survives(read: Callable[[bytes], object], data: bytes) -> None:
    try:
        read(data)
    except DecodeError:
        return
    except BaseException as error:
        raise AssertionError(f"{type(error).__name__}: {error} for {data.hex()}") from error


def sample(fields: tuple[FieldSchema, ...], version: int, rng: random.Random) -> Struct:
    return Struct(**{f.name: value(f, version, rng) for f in fields if f.present(version)})


def value(field: FieldSchema, version: int, rng: random.Random) -> Any:
    if field.nullable and rng.random() < 0.2:
        return None
    if field.array:
        return [one(field, version, rng) for _ in range(rng.randrange(3))]
    return one(field, version, rng)


def one(field: FieldSchema, version: int, rng: random.Random) -> Any:
    if field.kind in NUMBERS:
        return rng.randrange(2 ** (NUMBERS[field.kind] - 1))
    match field.kind:
        case "struct":
            return sample(field.fields, version, rng)
        case "string":
            return rng.choice(["", "orders", "ü" * rng.randrange(70)])
        case "bytes" | "records":
            return rng.randbytes(rng.randrange(20))
        case "uuid":
            return uuid.UUID(int=rng.getrandbits(128))
        case "uint16":
            return rng.randrange(2**16)
    return 1


def messages() -> list[MessageSchema]:
    apis = [schema.message(k, d) for k in schema.api_keys() for d in ("request", "response")]
    return apis + [schema.data_message(name) for name in schema.data_names()]


@pytest.mark.parametrize("shape", messages(), ids=lambda s: f"{s.name}-{s.direction}")
def test_damaged_messages(shape: MessageSchema) -> None:
    key: Any = shape.name if shape.api_key is None else shape.api_key
    encode = getattr(codec, f"encode_{shape.direction}")
    decode = getattr(codec, f"decode_{shape.direction}")
    versions = {shape.first, shape.last, shape.flexible_from, shape.flexible_from - 1}
    for version in sorted(v for v in versions if shape.first <= v <= shape.last):
        rng = random.Random(f"{shape.label(version)}")
        good = encode(key, version, sample(shape.fields, version, rng))
        decode(key, version, good)
        for data in mutants(good, rng):
            survives(partial(decode, key, version), data)
        for cut in range(min(len(good), 40)):
            survives(partial(decode, key, version), good[:cut])


@given(st.integers(0, 92), st.integers(0, 18), st.binary(max_size=80))
@settings(max_examples=400, deadline=None)
def test_random_bytes_as_requests(key: int, version: int, data: bytes) -> None:
    try:
        oldest, newest = codec.supported_versions(key)
    except Exception:  # keys without a schema are the caller's to refuse
        return
    survives(lambda d: codec.decode_request(key, min(max(version, oldest), newest), d), data)


@given(st.binary(max_size=60))
@settings(max_examples=400, deadline=None)
def test_random_bytes_as_headers_records_and_batches(data: bytes) -> None:
    survives(headers.decode_request_header, data)
    survives(lambda d: headers.decode_response_header(1, 12, d), data)
    survives(rec.decode_record, data)
    survives(batch.read_header, data)
    survives(lambda d: list(batch.iter_batches(d)), data)
    survives(batch.decode_records, data)


@given(st.lists(st.binary(max_size=20), max_size=12))
@settings(max_examples=200, deadline=None)
def test_random_bytes_as_a_stream(chunks: list[bytes]) -> None:
    decoder = FrameDecoder(64)
    for chunk in chunks:
        try:
            frames = decoder.feed(chunk)
        except DecodeError:
            return
        assert all(len(frame) <= 64 for frame in frames)
        assert decoder.pending_bytes < 68


def test_damaged_headers() -> None:
    rng = random.Random(1)
    for key, version in ((3, 1), (3, 12), (18, 4), (999, 0)):
        frame = bytes((0, 0, 0, version, 0, 0, 0, 9, 0, 3)) + b"abc\x01\x05\x02hi"
        good = key.to_bytes(2, "big") + frame[2:]
        for data in mutants(good, rng, 500):
            survives(headers.decode_request_header, data)


@pytest.mark.parametrize("codec_", Compression)
def test_damaged_batches(codec_: Compression) -> None:
    rng = random.Random(int(codec_))
    records = [Record(i, i, b"k" * i, rng.randbytes(50), (("h", b"v"),)) for i in range(5)]
    good = batch.encode_batch(records, compression=codec_)

    def read(data: bytes) -> None:
        for position, header in batch.iter_batches(data):
            batch.crc_matches(data, position, header)
            batch.decode_records(data, position, limit=1 << 20)

    for data in mutants(good, rng, 600):
        survives(read, data)


def test_damaged_metadata_records() -> None:
    rng = random.Random(3)
    topic = uuid.UUID(int=5)
    for record in (
        rec.PartitionChangeRecord(partition_id=1, topic_id=topic, isr=(1, 2), leader=2),
        rec.TopicRecord(name="orders", topic_id=topic),
        rec.RegisterBrokerRecord(
            broker_id=1,
            incarnation_id=topic,
            broker_epoch=4,
            end_points=(rec.BrokerEndpoint(name="PLAINTEXT", host="h", port=9092),),
            log_dirs=(topic,),
        ),
    ):
        for data in mutants(rec.encode_record(record), rng, 500):
            survives(rec.decode_record, data)


@pytest.mark.parametrize("key", [0, 1, 2, 3, 19, 45, 62])
def test_hostile_counts_stay_small(key: int) -> None:
    """A body of a few hundred bytes never makes us allocate more than a few hundred kilobytes."""
    for version in codec.supported_versions(key):
        rng = random.Random(f"small {key} {version}")
        shape = schema.message(key, "request")
        good = codec.encode_request(key, version, sample(shape.fields, version, rng))
        codec.decode_request(key, version, good)
        tracemalloc.start()
        try:
            for data in mutants(good, rng, 300):
                survives(partial(codec.decode_request, key, version), data)
            assert tracemalloc.get_traced_memory()[1] < 600_000
        finally:
            tracemalloc.stop()
