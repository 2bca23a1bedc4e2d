"""The parts of produce and tail that need no broker."""

from __future__ import annotations

import asyncio
import io
import json
import os
import random
import re
import zlib
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import replace
from types import SimpleNamespace

import pytest
from aiokafka.errors import KafkaConnectionError, KafkaError
from hypothesis import given
from hypothesis import strategies as st

from clusters.admin import ClusterUnreachable
from shell.client_options import client_options
from shell.client_starting import started
from shell.exits import Failed
from shell.inputs import BadRecord, Recipe, records_of_lines
from shell.lines import follow_lines, read_lines
from shell.output import Output
from shell.partitioners import StickyPartitioner, make_partitioner
from shell.producing import Plan, Tally, _acknowledged, _producer, _refused_places, _start
from shell.reading import _consumer, _stop
from shell.records import ReadRecord, record_json
from shell.session import Session
from shell.settings import Settings
from tests.shell.conftest import FakeDoors


def key_and_value(recipe, line):
    record = recipe.record(line, "line 1")
    return record.key, record.value


def test_keys_come_from_where_they_are_asked():
    assert key_and_value(Recipe(), b"a:b") == (None, b"a:b")
    assert key_and_value(Recipe(key="k"), b"v") == (b"k", b"v")
    assert key_and_value(Recipe(key_separator=":"), b"a:b:c") == (b"a", b"b:c")
    line = b'{"id": 7, "who": "c42", "none": null, "deep": {"a": 1}}'
    assert key_and_value(Recipe(key_field="who"), line) == (b"c42", line)
    assert key_and_value(Recipe(key_field="id"), line) == (b"7", line)
    assert key_and_value(Recipe(key_field="deep"), line) == (b'{"a":1}', line)
    assert key_and_value(Recipe(key_field="none"), line) == (None, line)
    assert key_and_value(Recipe(key_field="id", value_field="who"), line) == (b"7", b"c42")
    assert key_and_value(Recipe(tombstone=True), b"c42") == (b"c42", None)


@pytest.mark.parametrize(
    ("recipe", "line", "said"),
    [
        (Recipe(key_separator=":"), b"none", "line 17 has no key separator ':'"),
        (Recipe(key_field="id"), b"{", "line 17 is not JSON"),
        (Recipe(key_field="id"), b"[1]", "line 17 is JSON without fields"),
        (Recipe(key_field="id"), b'{"idd": 1}', "line 17 has no field 'id'. Did you mean 'idd'"),
        (Recipe(key_field="id"), b"\xff", "line 17 is not JSON"),
        (Recipe(form="json"), b"{", "line 17 is not JSON"),
        (Recipe(form="records"), b"{}", "line 17 is not a record as"),
        (
            Recipe(form="records"),
            b'{"value": "*", "encoding": "base64"}',
            "line 17: value is not base64",
        ),
        (Recipe(form="records"), b'{"value": 5}', "line 17: value is neither text nor null"),
        (
            Recipe(form="records"),
            b'{"value": "x", "timestamp": "soon"}',
            "line 17: 'soon' is not a time",
        ),
    ],
)
def test_a_line_that_makes_no_record_is_named(recipe, line, said):
    with pytest.raises(BadRecord, match=re.escape(said)):
        recipe.record(line, "line 17")


async def records_of(recipe, *lines):
    async def source():
        for line in lines:
            yield line

    return [found async for found in records_of_lines(recipe, source(), "f")]


async def test_rows_of_csv_become_records_with_keys_headers_and_times():
    recipe = Recipe(form="csv", key_field="id", header_fields=("region",), timestamp_field="at")
    found = await records_of(
        recipe,
        b"\xef\xbb\xbfid,region,at,note\r",
        b'c1,eu,1700000000123,"a, ""b"""\r',
        b'c2,us,2023-11-14T22:13:20Z,"two',
        b'lines"',
        b"c3,us,1",
    )
    first, second, bad = found
    assert (first.key, first.headers, first.timestamp_ms) == (
        b"c1",
        [("region", b"eu")],
        1700000000123,
    )
    assert json.loads(first.value) == {"note": 'a, "b"'}
    assert second.timestamp_ms == 1700000000000
    assert json.loads(second.value)["note"] == "two\nlines"
    assert "f line 5 has 3 columns" in bad.message
    with pytest.raises(Failed, match="no column 'key'"):
        await records_of(Recipe(form="csv", key_field="key"), b"id,x")


CONTENT = st.none() | st.binary(max_size=20)


@given(
    CONTENT,
    CONTENT,
    st.lists(st.tuples(st.text(max_size=8), CONTENT), max_size=3),
    st.integers(0, 2**41),
)
def test_what_tail_prints_is_read_back_byte_for_byte(key, value, headers, timestamp_ms):
    record = ReadRecord(
        topic="t",
        partition=3,
        offset=9,
        timestamp_ms=timestamp_ms,
        key=key,
        value=value,
        headers=headers,
    )
    line = json.dumps(record_json(record), ensure_ascii=False)
    again = Recipe(form="records", keep_partition=True).record(
        line.encode("utf-8", "surrogateescape"), "line 1"
    )
    assert (again.key, again.value, list(again.headers)) == (key, value, headers)
    assert (again.timestamp_ms, again.partition) == (timestamp_ms, 3)


def test_records_without_key_stay_together_and_records_with_key_stay_put():
    partitioner = StickyPartitioner(random.Random(1))
    partitions = [0, 1, 2]
    first = [partitioner(None, partitions, partitions) for _ in range(1_000)]
    assert len(set(first)) == 1
    later = Counter(partitioner(None, partitions, partitions) for _ in range(20_000))
    assert set(later) == {0, 1, 2}
    assert len({partitioner(b"c42", partitions, partitions) for _ in range(10)}) == 1


def test_the_other_partitioners():
    rng = random.Random(1)
    in_turn = make_partitioner("round-robin", rng)
    assert [in_turn(b"k", [0, 1, 2], [2, 0, 1]) for _ in range(4)] == [0, 1, 2, 0]
    crc32 = make_partitioner("crc32", rng)
    assert crc32(b"c42", [0, 1, 2], [0]) == zlib.crc32(b"c42") % 3
    by_chance = make_partitioner("random", rng)
    assert {by_chance(b"k", [0, 1], [0, 1]) for _ in range(50)} == {0, 1}


async def test_a_growing_file_is_followed_through_rotation_and_cutting(tmp_path):
    path = tmp_path / "app.log"
    seen = []

    async def follow():
        async for line in follow_lines(str(path)):
            seen.append(line)  # noqa: PERF401 - seen while it is still growing

    async def until(*lines):
        async with asyncio.timeout(60):
            while seen != list(lines):
                await asyncio.sleep(0.01)

    task = asyncio.create_task(follow())
    try:
        path.write_bytes(b"one\ntwo\nhal")
        await until(b"one", b"two")
        with path.open("ab") as file:
            file.write(b"f\n")
        await until(b"one", b"two", b"half")
        with path.open("ab") as file:
            file.write(b"last of the old\n")
        path.rename(tmp_path / "app.log.1")
        path.write_bytes(b"new\n")
        await until(b"one", b"two", b"half", b"last of the old", b"new")
        path.write_bytes(b"x\n")
        await until(b"one", b"two", b"half", b"last of the old", b"new", b"x")
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


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
        "failed": 0,
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
    async with asyncio.timeout(60):
        assert await reading == lines
    os.close(reader)
    with open(os.devnull, "rb") as nothing:
        assert await collect(nothing.fileno()) == []


async def test_waiting_for_a_line_can_be_cancelled():
    reader, writer = os.pipe()
    reading = asyncio.create_task(collect(reader))
    await asyncio.sleep(0)
    reading.cancel()
    async with asyncio.timeout(60):
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
    with pytest.raises(Failed, match=r"No broker told where the topic is within 0\.02 s"):
        await _start(producer, 20, acks=1)


@pytest.mark.parametrize(("answered", "first"), [(None, ["b:1", "b:2"]), ("b:2", ["b:2"])])
def test_the_client_library_begins_with_a_broker_that_answered(
    monkeypatch, answered, first
) -> None:
    """One that takes connections and says nothing would cost it its whole limit."""
    inner = SimpleNamespace(_metadata_update=None)
    client = {"client": inner, "_client": inner}
    for name in ("shell.producing.AIOKafkaProducer", "shell.reading.AIOKafkaConsumer"):
        monkeypatch.setattr(name, lambda **options: SimpleNamespace(**options, **client))
    settings = Settings(bootstrap=("b:1", "b:2"))
    session = Session(settings, Output(stdout=io.BytesIO(), stderr=io.StringIO()), FakeDoors())
    plan = Plan(topic="orders", recipe=Recipe())
    assert _producer(session, plan, answered).bootstrap_servers == first
    wanted = SimpleNamespace(committed=False)
    reader = SimpleNamespace(session=session, wanted=wanted)
    assert _consumer(reader, answered).bootstrap_servers == first


class Brokers:
    """A session of a cluster whose brokers die one after the other; who is asked names the next."""

    def __init__(self, *alive: str) -> None:
        self.alive, self.made, self.stopped = list(alive), [], []

    @asynccontextmanager
    async def admin(self):
        if not self.alive:
            raise ClusterUnreachable([("b:1", "connection refused")])
        source = self.alive.pop(0)

        async def cluster() -> None:
            return None

        yield SimpleNamespace(cluster=cluster, source=source)

    def make(self, answered: str) -> str:
        self.made.append(answered)
        return answered

    async def stop(self, client: str) -> None:
        self.stopped.append(client)

    async def begin(self, error: Exception | None, well: str) -> str:
        async def start(client: str) -> None:
            if error is not None and client != well:
                raise error

        return await started(self, "b:1", self.make, start, self.stop)


async def test_a_broker_that_died_since_it_answered_is_not_the_end_of_a_reader() -> None:
    brokers = Brokers("b:2", "b:3")
    assert await brokers.begin(KafkaConnectionError("Unable to bootstrap"), "b:3") == "b:3"
    assert (brokers.made, brokers.stopped) == (["b:1", "b:2", "b:3"], ["b:1", "b:2"])


@pytest.mark.parametrize(
    ("alive", "error", "raised", "stopped"),
    [
        ((), KafkaConnectionError("no"), ClusterUnreachable, ["b:1"]),
        (
            ("b:2", "b:3", "b:4"),
            KafkaConnectionError("no"),
            KafkaConnectionError,
            ["b:1", "b:2", "b:3"],
        ),
        (("b:2",), KafkaError("refused"), KafkaError, ["b:1"]),
        (("b:2",), Failed("in time"), Failed, ["b:1"]),
    ],
)
async def test_what_cannot_be_started_is_told_and_left_nowhere(
    alive, error, raised, stopped
) -> None:
    brokers = Brokers(*alive)
    with pytest.raises(raised):
        await brokers.begin(error, "b:9")
    assert brokers.stopped == stopped


def test_a_contexts_security_reaches_the_client_library():
    tls = object()
    security = SimpleNamespace(
        protocol="SASL_SSL",
        tls=tls,
        mechanism="SCRAM-SHA-512",
        username="ops",
        password="secret",
    )
    session = SimpleNamespace(bootstrap=lambda: ("b:1",), security=lambda: security)
    assert client_options(session) == {
        "bootstrap_servers": ["b:1"],
        "client_id": "logctl",
        "security_protocol": "SASL_SSL",
        "ssl_context": tls,
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "ops",
        "sasl_plain_password": "secret",
    }


async def test_a_reader_is_closed_though_its_tasks_never_began() -> None:
    class Consumer:
        """As of aiokafka: it cancels a task of its own and awaits it, then closes the rest."""

        closed = False

        async def _routine(self) -> None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                pass

        def __init__(self) -> None:
            self.task = asyncio.create_task(self._routine())

        async def stop(self) -> None:
            self.task.cancel()
            await self.task
            self.closed = True

    consumer = Consumer()
    await _stop(consumer)
    assert consumer.closed


@pytest.mark.parametrize(
    ("partition", "acks", "said"),
    [
        (None, "all", "orders-2 has no leader. See `logctl partition list orders`, `logctl b"),
        (0, "all", None),
        (2, 1, "orders-2 has no leader. See"),
    ],
)
async def test_why_nobody_acknowledges_is_looked_for(partition, acks, said) -> None:
    plan = SimpleNamespace(topic="orders", acks=acks, recipe=Recipe(partition=partition))
    output = Output(stdout=io.BytesIO(), stderr=io.StringIO())
    session = Session(Settings(bootstrap=("127.0.0.1:1",)), output, FakeDoors())
    told = await _refused_places(SimpleNamespace(session=session, plan=plan))
    assert told is None if said is None else told.startswith(said)


async def test_partitions_with_too_few_in_sync_are_named() -> None:
    doors = FakeDoors()
    placed = await doors.fake.partitions(["orders"], min_isr=True)
    few = [replace(each, leader=1, isr=(1,), min_isr=3, replicas=(1, 2)) for each in placed]
    doors.fake.partitions = lambda *_, **__: asyncio.sleep(0, few)
    output = Output(stdout=io.BytesIO(), stderr=io.StringIO())
    session = Session(Settings(bootstrap=("127.0.0.1:1",)), output, doors)
    plan = SimpleNamespace(topic="orders", acks="all", recipe=Recipe())
    told = await _refused_places(SimpleNamespace(session=session, plan=plan))
    # Of two replicas no more than two can be wanted (KIP-966).
    assert told.startswith(
        "orders-0 has 1 replicas in sync of the 2 that min.insync.replicas wants; 2 partitions more"
    )
    plan.acks = 1
    assert await _refused_places(SimpleNamespace(session=session, plan=plan)) is None
