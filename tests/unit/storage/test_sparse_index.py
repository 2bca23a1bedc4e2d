"""The two indexes against a dumb second implementation, and against damaged files."""

import struct

from hypothesis import given
from hypothesis import strategies as st

from broker.storage.index import OffsetIndex, TimeIndex

GAPS = st.lists(st.tuples(st.integers(1, 50), st.integers(61, 5000)), max_size=30)


def filled(gaps):
    index, offset, position = OffsetIndex(1000), 1000, 0
    pairs = []
    for offsets, size in gaps:
        pairs.append((offset + offsets - 1, position))
        index.append(*pairs[-1])
        offset += offsets
        position += size
    return index, pairs, offset, position


def test_formats_are_kafkas():
    index = OffsetIndex(100)
    index.append(109, 0)
    index.append(119, 5000)
    assert index.encode() == struct.pack(">iiii", 9, 0, 19, 5000)
    times = TimeIndex(100)
    times.maybe_append(1_700_000_000_000, 109)
    times.maybe_append(1_700_000_000_000, 110)
    times.maybe_append(1_700_000_000_001, 119)
    assert times.encode() == struct.pack(">qiqi", 1_700_000_000_000, 9, 1_700_000_000_001, 19)
    assert times.last == (1_700_000_000_001, 119)


@given(GAPS, st.integers(990, 2600))
def test_lookup_is_the_last_entry_not_above(gaps, target):
    index, pairs, _, _ = filled(gaps)
    assert index.lookup(target) == max((p for o, p in pairs if o <= target), default=0)


@given(GAPS, st.integers(990, 2600))
def test_truncation_drops_what_reaches_the_offset(gaps, end):
    index, pairs, _, _ = filled(gaps)
    index.truncate(end)
    assert len(index) == sum(o < end for o, _ in pairs)


@given(GAPS)
def test_offset_index_comes_back(gaps):
    index, _, end, size = filled(gaps)
    back = OffsetIndex.decode(index.encode(), 1000, end, size)
    assert back is not None
    assert (back.offsets, back.positions) == (index.offsets, index.positions)


@given(
    st.lists(st.tuples(st.integers(-1, 1000), st.integers(1, 9)), max_size=30),
    st.integers(-5, 1005),
)
def test_time_index_comes_back_and_never_looks_too_far(rows, target):
    index, offset, largest, seen = TimeIndex(50), 49, -1, []
    for timestamp, gap in rows:
        offset += gap
        largest = max(largest, timestamp)
        seen.append((offset, timestamp))
        index.maybe_append(largest, offset)
    back = TimeIndex.decode(index.encode(), 50, offset + 1)
    assert back is not None
    assert (back.offsets, back.timestamps_ms) == (index.offsets, index.timestamps_ms)
    hint = back.lookup(target)
    assert all(timestamp < target for o, timestamp in seen if o < hint)


def test_files_that_do_not_hold_together_are_not_trusted():
    index, _, end, size = filled([(5, 100)] * 10)
    data = index.encode()
    assert OffsetIndex.decode(data, 1000, end, size) is not None
    for damaged in (
        data[:-3],
        data + bytes(8),
        data + bytes(800),
        data[8:16] + data[:8],
        data + struct.pack(">ii", 500, 50_000),
        data[:-8] + struct.pack(">ii", 49, 5),
        struct.pack(">ii", -1, 0),
        b"\xff" * 16,
    ):
        assert OffsetIndex.decode(damaged, 1000, end, size) is None
    times = struct.pack(">qiqi", 5, 1, 6, 2)
    assert TimeIndex.decode(times, 0, 3) is not None
    for damaged in (
        times[:-1],
        times + bytes(12),
        times[12:] + times[:12],
        times + struct.pack(">qi", 7, 3),
        struct.pack(">qi", -1, 0),
    ):
        assert TimeIndex.decode(damaged, 0, 3) is None


@given(st.binary(max_size=100))
def test_no_bytes_bring_the_decoders_down(data):
    OffsetIndex.decode(data, 0, 1 << 40, 1 << 30)
    TimeIndex.decode(data, 0, 1 << 40)
