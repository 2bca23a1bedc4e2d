"""A crash at every single disk operation of two rounds of compaction, by kill and by power cut.

Afterwards no key has lost its newest record, no deleted key is back, no record is there twice, and
the next round does its work.
"""

import random
import uuid
from dataclasses import replace
from typing import Any

import pytest

from broker.protocol.batch import Record, decode_records, encode_batch, iter_batches
from broker.simulation.disk import SimDisk
from broker.storage.compaction import Round, plan_round, run_round
from broker.storage.log import Log, LogConfig
from broker.storage.manager import LogManager

NOW = 1_000_000
CONFIG = LogConfig(
    compact=True,
    delete=False,
    segment_bytes=500,
    index_interval_bytes=150,
    min_cleanable_dirty_ratio=0.0,
    delete_retention_ms=1000,
)


class Crash(BaseException):
    """The machine is gone."""


class FragileFile:
    def __init__(self, disk: "FragileDisk", inner: Any) -> None:
        self._disk = disk
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def append(self, *buffers: Any) -> None:
        self._disk.count()
        self._inner.append(*buffers)

    def truncate(self, size: int) -> None:
        self._disk.count()
        self._inner.truncate(size)

    def sync(self) -> None:
        self._disk.count()
        self._inner.sync()


class FragileDisk:
    """A SimDisk whose machine dies at the operation of a given number, counted from ``arm``."""

    def __init__(self) -> None:
        self.inner = SimDisk()
        self.left = -1
        self.done = 0

    def arm(self, operations: int) -> None:
        self.left, self.done = operations, 0

    def count(self) -> None:
        if self.left == 0:
            raise Crash
        self.left -= 1
        self.done += 1

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def open(self, path: str, create: bool = True) -> Any:
        if create and not self.inner.exists(path):
            self.count()
        return FragileFile(self, self.inner.open(path, create))

    def remove(self, path: str) -> None:
        self.count()
        self.inner.remove(path)

    def rename(self, source: str, target: str) -> None:
        self.count()
        self.inner.rename(source, target)

    def sync_dir(self, path: str) -> None:
        self.count()
        self.inner.sync_dir(path)

    def write_atomic(self, path: str, data: bytes) -> None:
        self.count()
        self.inner.write_atomic(path, data)


def prepared() -> tuple[FragileDisk, Log, dict[str, tuple[int, str | None]]]:
    """Three kinds of keys: written often, written and deleted long ago, written once."""
    disk = FragileDisk()
    log = Log.open(disk, "/data/t-0", CONFIG, name="t-0")
    newest: dict[str, tuple[int, str | None]] = {}

    def write(*pairs: tuple[str, str | None], **fields: int) -> None:
        records = [
            Record(i, NOW, key.encode(), None if value is None else value.encode(), ())
            for i, (key, value) in enumerate(pairs)
        ]
        info = log.append_as_leader(encode_batch(records, **fields), 1, NOW)
        for place, (key, value) in enumerate(pairs):
            newest[key] = (info.first_offset + place, value)

    for number in range(5):
        write((f"dead{number}", "alive"), ("hot", f"{number}"), (f"once{number}", "1"))
        write(("hot", f"{number}b"), ("dead", "alive"), ("once", "1"))
    for number in range(5):
        write((f"dead{number}", None), ("hot", f"{number}c"))
    write(("dead", None), producer_id=4, producer_epoch=0, base_sequence=9)
    log.roll()
    log.flush()
    plan = plan_round(log, -1, log.end_offset, NOW)
    assert plan is not None
    run_round(Round(disk, log, plan, now_ms=NOW, memory_bytes=1 << 20, read_bytes=300))
    for number in range(5):
        write(("hot", f"{number}d"), (f"more{number}", "1"), ("hot", f"{number}e"))
    log.roll()
    write(("hot", "active"))
    log.flush()
    return disk, log, newest


def second_round(disk: Any, log: Log) -> None:
    log.config = replace(CONFIG, segment_bytes=1000)  # so that segments become one
    plan = plan_round(log, -1, log.end_offset, NOW + 5000)
    assert plan is not None
    run_round(Round(disk, log, plan, now_ms=NOW + 5000, memory_bytes=1 << 20, read_bytes=300))


def check(log: Log, newest: dict[str, tuple[int, str | None]], *, gone: bool) -> None:
    found: dict[str, tuple[int, str | None]] = {}
    offset, last = log.start_offset, -1
    while offset < log.end_offset:
        data = log.read(offset, 1 << 20, upto_offset=log.end_offset)
        assert data, f"nothing at {offset} of {log.end_offset}"
        for position, header in iter_batches(data):
            for record in decode_records(data, position):
                assert record.offset > last, f"offset {record.offset} after {last}"
                last = record.offset
                assert record.key is not None
                value = None if record.value is None else record.value.decode()
                found[record.key.decode()] = (record.offset, value)
            offset = header.next_offset
    for key, (place, value) in newest.items():
        if value is not None:
            assert found.get(key) == (place, value), key
        elif gone:
            assert key not in found, key
        else:
            assert found.get(key, (place, None)) == (place, None), key
    entry = log.producers.get(4)
    assert entry is not None
    assert entry.last_sequence == 9


def operations() -> int:
    disk, log, _ = prepared()
    disk.arm(-1)
    second_round(disk, log)
    return disk.done


OPERATIONS = operations()


def test_without_a_crash_the_second_round_drops_the_tombstones() -> None:
    disk, log, newest = prepared()
    check(log, newest, gone=False)
    before = log.size_bytes, log.segment_count
    second_round(disk, log)
    check(log, newest, gone=True)
    assert log.size_bytes < before[0]
    assert log.segment_count < before[1] - 2
    assert OPERATIONS > 60


@pytest.mark.parametrize("number", range(OPERATIONS))
def test_a_crash_at_each_operation(number: int) -> None:
    for seed in (-1, *range(6)):
        disk, log, newest = prepared()
        saved_point = log.recovery_point if seed % 2 else 0
        disk.arm(number)
        with pytest.raises(Crash):
            second_round(disk, log)
        disk.arm(-1)
        if seed < 0:
            disk.inner.kill()
        else:
            disk.inner.crash(random.Random(f"{seed}.{number}"))
        again = Log.open(disk, "/data/t-0", CONFIG, name="t-0", recovery_point=saved_point)
        check(again, newest, gone=False)
        names = disk.list_dir("/data/t-0")
        assert not [n for n in names if n.endswith((".swap", ".cleaned", ".deleted"))]
        again.flush()
        second_round(disk, again)
        check(again, newest, gone=True)
        again.close()


@pytest.mark.parametrize("later", range(0, 30, 3))
def test_a_crash_while_a_crash_is_being_repaired(later: int) -> None:
    for number in range(OPERATIONS // 2, OPERATIONS, 4):
        disk, log, newest = prepared()
        disk.arm(number)
        with pytest.raises(Crash):
            second_round(disk, log)
        disk.inner.crash(random.Random(number))
        disk.arm(later)
        try:
            Log.open(disk, "/data/t-0", CONFIG, name="t-0")
        except Crash:
            disk.inner.crash(random.Random(later))
        disk.arm(-1)
        check(Log.open(disk, "/data/t-0", CONFIG, name="t-0"), newest, gone=False)


def test_the_clean_offset_is_kept_and_lowered_with_the_log() -> None:
    disk = SimDisk()

    def opened() -> LogManager:
        return LogManager.open(
            disk,
            "/data",
            cluster_id="c",
            node_id=1,
            rng=random.Random(1),
            config_of=lambda _: CONFIG,
        )

    manager = opened()
    topic_id = uuid.UUID(int=7)
    log = manager.get_or_create("t", topic_id, 0)
    assert manager.clean_offset("t", 0) == -1
    for number in range(10):
        log.append_as_leader(encode_batch([Record(0, NOW, b"k", b"%d" % number, ())]), 1, NOW)
    manager.note_cleaned("t", 0, 8)()
    path = "/data/cleaner-offset-checkpoint"
    assert disk.read_file(path) == b"0\n1\nt 0 8\n"
    log.truncate_to(5)
    assert disk.read_file(path) == b"0\n1\nt 0 5\n"
    manager.close()
    again = opened()
    assert again.clean_offset("t", 0) == 5
    again.delete("t", 0)()
    again.get_or_create("t", uuid.UUID(int=8), 0)
    assert again.clean_offset("t", 0) == -1
