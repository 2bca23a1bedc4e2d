"""Record batches: round trips, foreign writers and readers, damage."""

import gzip
import random
import struct

import cramjam
import pytest
from aiokafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.protocol import batch
from broker.protocol.batch import Compression, ControlType, Record
from broker.protocol.codec import decode_data
from broker.protocol.compression import compress, decompress
from broker.protocol.errors import EncodeError, InvalidBatch, TornBatch

NOW = 1_700_000_000_000
RECORDS = [
    Record(0, NOW, b"k", b"v" * 1000, (("h", b"1"), ("empty", b""), ("none", None))),
    Record(1, NOW - 5, None, None),
    Record(2, NOW + 70_000, b"", b"", ()),
    Record(5, NOW + 1, "schlüssel".encode(), bytes(range(256)) * 40),
]
blobs = st.none() | st.binary(max_size=300)
record_lists = st.lists(
    st.tuples(
        st.integers(0, 2**62),
        blobs,
        blobs,
        st.lists(st.tuples(st.text(max_size=8), blobs), max_size=3).map(tuple),
    ),
    min_size=1,
    max_size=20,
)


@pytest.mark.parametrize("codec", Compression)
def test_records_come_back(codec: Compression) -> None:
    data = batch.encode_batch(RECORDS, compression=codec, base_offset=100, leader_epoch=7)
    header = batch.read_header(data)
    assert header.size_bytes == len(data)
    assert (header.base_offset, header.last_offset, header.next_offset) == (100, 105, 106)
    assert (header.leader_epoch, header.records_count, header.compression) == (7, 4, codec)
    assert (header.base_timestamp_ms, header.max_timestamp_ms) == (NOW, NOW + 70_000)
    assert batch.crc_matches(data, 0, header)
    shifted = [Record(r.offset + 100, r.timestamp_ms, r.key, r.value, r.headers) for r in RECORDS]
    assert batch.decode_records(data) == shifted
    assert batch.decode_records(memoryview(b"junk" + data + b"tail"), 4) == shifted


@given(record_lists, st.sampled_from(list(Compression)))
@settings(max_examples=60, deadline=None)
def test_any_records_come_back(items: list, codec: Compression) -> None:
    records = [Record(i, ts, k, v, h) for i, (ts, k, v, h) in enumerate(items)]
    data = batch.encode_batch(records, compression=codec)
    assert batch.decode_records(data) == records


@pytest.mark.parametrize(
    "codec",
    [Compression.NONE, Compression.GZIP, Compression.SNAPPY, Compression.LZ4, Compression.ZSTD],
)
def test_another_library_reads_what_we_write_and_the_reverse(codec: Compression) -> None:
    ours = batch.encode_batch(RECORDS, compression=codec)
    theirs = DefaultRecordBatch(bytearray(ours))
    assert theirs.validate_crc()
    read = [(r.offset, r.timestamp, r.key, r.value, tuple(r.headers)) for r in theirs]
    assert read == [(r.offset, r.timestamp_ms, r.key, r.value, r.headers) for r in RECORDS]

    builder = DefaultRecordBatchBuilder(2, int(codec), 0, 9, 3, 11, 1 << 20)
    for record in RECORDS:
        builder.append(
            record.offset, record.timestamp_ms, record.key, record.value, list(record.headers)
        )
    written = bytes(builder.build())
    header = batch.read_header(written)
    assert batch.crc_matches(written, 0, header)
    assert (header.producer_id, header.producer_epoch, header.base_sequence) == (9, 3, 11)
    assert batch.decode_records(written) == RECORDS


def test_snappy_is_read_raw_and_framed() -> None:
    data = b"snap" * 50_000
    framed = compress(Compression.SNAPPY, data)
    assert framed.startswith(b"\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01")
    assert decompress(Compression.SNAPPY, framed) == data
    assert decompress(Compression.SNAPPY, bytes(cramjam.snappy.compress_raw(data))) == data


def test_lz4_blocks_are_independent_and_incompressible_data_is_stored() -> None:
    data = random.Random(1).randbytes(200_000)
    packed = compress(Compression.LZ4, data)
    assert packed[4] & 0x20
    assert len(packed) < len(data) + 64
    assert bytes(cramjam.lz4.decompress(packed)) == data


@pytest.mark.parametrize("codec", list(Compression)[1:])
def test_a_bomb_stops_at_the_limit(codec: Compression) -> None:
    bomb = compress(codec, bytes(3_000_000))
    assert len(bomb) < 200_000
    with pytest.raises(InvalidBatch, match="more than 1000000 bytes"):
        decompress(codec, bomb, 1_000_000)
    assert len(decompress(codec, bomb, 3_000_000)) == 3_000_000


@pytest.mark.parametrize("codec", list(Compression)[1:])
def test_damaged_compression_is_an_invalid_batch(codec: Compression) -> None:
    good = compress(codec, b"orders" * 1000)
    for bad in (
        b"",
        good[:-3],
        b"\x00" * 40,
        good[: len(good) // 2],
        b"\x82SNAPPY\x00" + b"\xff" * 30,
    ):
        try:
            result = bytes(decompress(codec, bad, 1 << 20))
        except InvalidBatch:
            continue
        assert result != b"orders" * 1000


def test_patching_keeps_the_checksum_right() -> None:
    data = bytearray(b"xx" + batch.encode_batch(RECORDS))
    batch.patch(data, 2, base_offset=2**40, leader_epoch=12)
    header = batch.read_header(data, 2)
    assert (header.base_offset, header.leader_epoch) == (2**40, 12)
    assert batch.crc_matches(data, 2, header)
    batch.patch_log_append_time(data, 2, NOW + 9)
    header = batch.read_header(data, 2)
    assert header.log_append_time
    assert header.max_timestamp_ms == NOW + 9
    assert batch.crc_matches(data, 2, header)
    assert {r.timestamp_ms for r in batch.decode_records(data, 2)} == {NOW + 9}
    data[-1] ^= 1
    assert not batch.crc_matches(data, 2, header)


def test_batches_are_walked_and_a_cut_tail_is_told_apart_from_nonsense() -> None:
    one = batch.encode_batch(RECORDS)
    two = batch.encode_batch(RECORDS, base_offset=6)
    found = [(at, h.base_offset) for at, h in batch.iter_batches(one + two)]
    assert found == [(0, 0), (len(one), 6)]
    for cut in (1, 30, 60, 61, len(two) - 1):
        data = one + two[:cut]
        with pytest.raises(TornBatch):
            list(batch.iter_batches(data))
        assert len(list(batch.iter_batches(data, partial_tail=True))) == 1
    with pytest.raises(InvalidBatch):
        list(batch.iter_batches(one + bytes(100)))


@pytest.mark.parametrize(
    ("position", "layout", "value"),
    [
        (16, ">b", 1),
        (8, ">i", 48),
        (8, ">i", -1),
        (57, ">i", -1),
        (23, ">i", -5),
        (21, ">h", 5),
        (0, ">q", -1),
    ],
)
def test_a_header_that_makes_no_sense_is_refused(position: int, layout: str, value: int) -> None:
    data = bytearray(batch.encode_batch(RECORDS))
    struct.pack_into(layout, data, position, value)
    with pytest.raises(InvalidBatch):
        batch.read_header(data)


@pytest.mark.parametrize("count", [0, 3, 5, 1000, 2**31 - 1])
def test_a_wrong_record_count_is_refused(count: int) -> None:
    data = bytearray(batch.encode_batch(RECORDS))
    struct.pack_into(">i", data, 57, count)
    with pytest.raises(InvalidBatch):
        batch.decode_records(data)


def test_damaged_records_raise_invalid_batch_and_nothing_else() -> None:
    rng = random.Random(5)
    good = batch.encode_batch(RECORDS)
    for _ in range(2000):
        data = bytearray(good)
        for _ in range(rng.randrange(1, 4)):
            data[rng.randrange(61, len(data))] = rng.randrange(256)
        try:
            batch.decode_records(data)
        except InvalidBatch:
            pass


def test_sequences_wrap() -> None:
    data = batch.encode_batch(RECORDS, producer_id=1, producer_epoch=0, base_sequence=2**31 - 2)
    assert batch.read_header(data).last_sequence == 3
    assert batch.read_header(batch.encode_batch(RECORDS)).last_sequence == -1


def test_what_no_batch_can_hold_is_an_encode_error() -> None:
    with pytest.raises(EncodeError):
        batch.encode_batch([])
    with pytest.raises(EncodeError):
        batch.encode_batch(RECORDS, base_offset=2**63)


def test_a_leader_change_is_a_control_batch() -> None:
    data = batch.encode_leader_change(
        base_offset=40,
        leader_epoch=6,
        timestamp_ms=NOW,
        leader_id=2,
        voters=(3, 2),
        granting_voters=(2,),
    )
    header = batch.read_header(data)
    assert header.is_control
    assert not header.is_transactional
    (record,) = batch.decode_records(data)
    assert (record.offset, batch.control_type(record)) == (40, ControlType.LEADER_CHANGE)
    assert record.value is not None
    body = decode_data("leader_change_message", 0, record.value)
    assert (body.version, body.leader_id) == (0, 2)
    assert [v.voter_id for v in body.voters] == [2, 3]
    assert [v.voter_id for v in body.granting_voters] == [2]


def test_gzip_of_the_standard_library_is_read() -> None:
    assert decompress(Compression.GZIP, gzip.compress(b"hello" * 9)) == b"hello" * 9
