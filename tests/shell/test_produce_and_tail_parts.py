"""The parts of produce and tail that need no broker."""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from types import SimpleNamespace

import pytest

from shell.exits import Failed
from shell.lines import read_lines
from shell.producing import Keys, StickyPartitioner, Tally, _acknowledged, _start


def test_keys_come_from_where_they_are_asked():
    assert Keys().split(b"a:b", 1) == (None, b"a:b")
    assert Keys(fixed="k").split(b"v", 1) == (b"k", b"v")
    assert Keys(separator=":").split(b"a:b:c", 1) == (b"a", b"b:c")
    line = b'{"id": 7, "who": "c42", "none": null, "deep": {"a": 1}}'
    assert Keys(field="who").split(line, 1) == (b"c42", line)
    assert Keys(field="id").split(line, 1) == (b"7", line)
    assert Keys(field="deep").split(line, 1) == (b'{"a":1}', line)
    assert Keys(field="none").split(line, 1) == (None, line)


@pytest.mark.parametrize(
    ("keys", "line", "said"),
    [
        (Keys(separator=":"), b"none", "Record 17 has no key separator ':'"),
        (Keys(field="id"), b"{", "Record 17 is not JSON"),
        (Keys(field="id"), b"[1]", "Record 17 is JSON without the field 'id'"),
        (Keys(field="id"), b"\xff", "Record 17 is not JSON"),
    ],
)
def test_a_line_without_its_key_is_named(keys, line, said):
    with pytest.raises(Failed, match=said):
        keys.split(line, 17)


def test_records_without_key_stay_together_and_records_with_key_stay_put():
    partitioner = StickyPartitioner(random.Random(1))
    partitions = [0, 1, 2]
    first = [partitioner(None, partitions, partitions) for _ in range(1_000)]
    assert len(set(first)) == 1
    later = Counter(partitioner(None, partitions, partitions) for _ in range(20_000))
    assert set(later) == {0, 1, 2}
    assert len({partitioner(b"c42", partitions, partitions) for _ in range(10)}) == 1


def test_a_partition_that_lost_its_leader_is_left():
    partitioner = StickyPartitioner(random.Random(1))
    chosen = partitioner(None, [0, 1], [0, 1])
    other = 1 - chosen
    assert partitioner(None, [0, 1], [other]) == other


def test_the_tally_counts_what_was_acknowledged():
    tally = Tally("orders")
    for partition, offset in ((0, 5), (1, 9), (0, 6)):
        tally.add(SimpleNamespace(partition=partition, offset=offset), 10)
    tally.add(None, 10)
    assert tally.to_json(12) == {
        "topic": "orders",
        "records": 4,
        "bytes": 40,
        "took_ms": 12,
        "partitions": [
            {"partition": 0, "records": 2, "first_offset": 5, "last_offset": 6},
            {"partition": 1, "records": 1, "first_offset": 9, "last_offset": 9},
        ],
    }


async def collect(descriptor):
    return [line async for line in read_lines(descriptor)]


async def test_lines_of_a_pipe_of_a_file_and_of_nothing(tmp_path):
    data = b"one\n\n\xff\x00\r\nlast"
    lines = [b"one", b"", b"\xff\x00\r", b"last"]
    path = tmp_path / "lines"
    path.write_bytes(data)
    with path.open("rb") as file:
        assert await collect(file.fileno()) == lines
    reader, writer = os.pipe()
    reading = asyncio.create_task(collect(reader))
    for byte in data:
        os.write(writer, bytes([byte]))
        await asyncio.sleep(0)
    os.close(writer)
    async with asyncio.timeout(5):
        assert await reading == lines
    os.close(reader)
    with open(os.devnull, "rb") as nothing:
        assert await collect(nothing.fileno()) == []


async def test_waiting_for_a_line_can_be_cancelled():
    reader, writer = os.pipe()
    reading = asyncio.create_task(collect(reader))
    await asyncio.sleep(0)
    reading.cancel()
    async with asyncio.timeout(5):
        with pytest.raises(asyncio.CancelledError):
            await reading
    os.close(writer)
    os.close(reader)


async def test_an_endless_line_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr("shell.lines.LINE_BYTES_LIMIT", 1_000_000)
    path = tmp_path / "image"
    path.write_bytes(bytes(2_000_000))
    with path.open("rb") as file, pytest.raises(Failed, match="longer than"):
        await collect(file.fileno())


async def test_an_acknowledgement_that_never_comes_is_told_in_time():
    never = asyncio.get_running_loop().create_future()
    with pytest.raises(Failed, match=r"No acknowledgement came for 0\.02 s; the record may"):
        await _acknowledged(never, 20, 1)
    with pytest.raises(Failed, match="7 more on the way"):
        await _acknowledged(never, 20, 7)
    assert not never.cancelled()


async def test_a_producer_that_gets_no_id_is_told_in_time():
    producer = SimpleNamespace(start=asyncio.Event().wait)
    with pytest.raises(Failed, match=r"no producer id within 0\.02 s"):
        await _start(producer, 20)
