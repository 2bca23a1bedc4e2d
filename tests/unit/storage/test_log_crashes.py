"""Histories of writes, flushes, cuts, kills and power cuts, by seed, against a plain list.

What was flushed is there afterwards; what is there is a prefix of what was written; epochs,
producers, indexes and timestamps are those of the records that are there. A failure names its seed.
"""

import os
import random
import signal
import struct
from pathlib import Path

import pytest

from broker.protocol.batch import Record, decode_records, encode_batch, iter_batches
from broker.simulation.disk import SimDisk
from broker.storage.disk import RealDisk
from broker.storage.errors import StorageFailure
from broker.storage.log import Log, LogConfig
from broker.storage.producers import ProducerState
from broker.storage.recovery import note_header

NOW = 1_000_000
FOLDER = "/data/t-0"
CONFIG = LogConfig(segment_bytes=1200, index_interval_bytes=200, retention_ms=-1)
STEPS = 60


class History:
    """One log, the list that it is compared with, and the checkpoints that survive a crash."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.disk = SimDisk()
        self.batches: list[tuple[int, int, bytes]] = []  # first offset, end offset, bytes
        self.flushed = 0
        self.saved_point = 0  # recovery-point-offset-checkpoint
        self.saved_start = 0  # log-start-offset-checkpoint
        self.start = 0
        self.epoch = 0
        self.sequences: dict[int, int] = {}
        self.clock = 1000
        self.log = self.open(clean=False)

    def open(self, *, clean: bool) -> Log:
        log = Log.open(
            self.disk,
            FOLDER,
            CONFIG,
            name="t-0",
            recovery_point=self.saved_point,
            log_start_offset=self.saved_start,
            clean=clean,
        )
        log.on_truncate = self.lower_saved_point
        return log

    def lower_saved_point(self, offset: int) -> None:
        self.saved_point = min(self.saved_point, offset)

    @property
    def end(self) -> int:
        return self.batches[-1][1] if self.batches else self.start

    def step(self) -> None:
        names = ["append"] * 8 + ["copy"] * 3 + ["flush"] * 2 + ["save", "epoch_bump", "roll"]
        names += ["cut", "start_offset", "full", "power", "power", "kill", "clean", "bad_sync"]
        getattr(self, self.rng.choice(names))()
        assert self.log.end_offset == self.end

    # -- what happens -----------------------------------------------------------------------

    def new_batch(self, base: int = 0) -> bytes:
        count = self.rng.randint(1, 4)
        producer = self.rng.choice([-1, -1, 5, 6])
        fields = {}
        if producer >= 0:
            sequence = self.sequences.get(producer, 0)
            fields = {"producer_id": producer, "producer_epoch": 0, "base_sequence": sequence}
            self.sequences[producer] = sequence + count
        value = self.rng.randbytes(self.rng.choice([5, 40, 200]))
        self.clock += self.rng.randint(-3, 10)
        records = [Record(base + i, self.clock + i, b"k", value, ()) for i in range(count)]
        return encode_batch(records, base_offset=base, leader_epoch=self.epoch, **fields)

    def remember(self, first: int, upto: int) -> None:
        offset = first
        while offset < upto:
            data = self.log.read(offset, 1, upto_offset=upto)
            header = next(iter_batches(data))[1]
            self.batches.append((offset, header.next_offset, data))
            offset = header.next_offset

    def append(self) -> None:
        first = self.log.end_offset
        info = self.log.append_as_leader(self.new_batch(), self.epoch, NOW)
        assert not info.duplicate
        self.remember(first, info.last_offset + 1)

    def copy(self) -> None:
        first = base = self.log.end_offset
        data = b""
        for _ in range(self.rng.randint(1, 9)):
            one = self.new_batch(base)
            base = next(iter_batches(one))[1].next_offset
            data += one
        self.log.append_as_follower(data)
        self.remember(first, base)

    def flush(self) -> None:
        self.flushed = self.log.flush()
        assert self.flushed == self.log.end_offset

    def save(self) -> None:
        self.saved_point, self.saved_start = self.log.recovery_point, self.log.start_offset

    def epoch_bump(self) -> None:
        self.epoch += 1
        self.log.assign_epoch(self.epoch)

    def roll(self) -> None:
        self.log.roll()

    def cut(self) -> None:
        offset = self.rng.randint(max(self.start, self.end - 30), self.end)
        self.log.truncate_to(offset)
        self.batches = [b for b in self.batches if b[1] <= offset]
        self.start = self.log.start_offset  # lower, when the batch that holds it went
        self.flushed = min(self.flushed, self.log.end_offset)
        self.epoch_bump()
        self.forget_sequences()

    def start_offset(self) -> None:
        offset = self.rng.randint(self.start, min(self.end, self.flushed + 5))
        if offset <= self.end:
            self.log.advance_start_offset(offset)
            self.start = self.log.start_offset
            self.save()

    def full(self) -> None:
        self.disk.full = True
        with pytest.raises(StorageFailure):
            self.log.append_as_leader(self.new_batch(), self.epoch, NOW)
        self.disk.full = False
        self.forget_sequences()

    def bad_sync(self) -> None:
        self.append()
        self.disk.fail_next_sync = True
        with pytest.raises(StorageFailure):
            self.log.flush()
        with pytest.raises(StorageFailure):
            self.log.append_as_leader(self.new_batch(), self.epoch, NOW)
        self.disk.fail_next_sync = False
        self.power()

    def power(self) -> None:
        self.disk.crash(self.rng)
        self.restart(clean=False, least=self.flushed)

    def kill(self) -> None:
        self.disk.kill()
        self.restart(clean=False, least=self.end)

    def clean(self) -> None:
        self.log.close()
        self.save()
        self.disk.crash(self.rng)
        self.restart(clean=True, least=self.end)

    # -- what must hold ---------------------------------------------------------------------

    def restart(self, *, clean: bool, least: int) -> None:
        self.log = self.open(clean=clean)
        log = self.log
        assert least <= log.end_offset <= max(self.end, self.saved_start)
        self.batches = [b for b in self.batches if b[1] <= log.end_offset]
        self.start = max(self.start, log.start_offset)
        self.batches = [b for b in self.batches if b[1] > self.start]
        assert self.end == log.end_offset
        self.compare()
        self.flushed = log.recovery_point
        self.epoch = max(self.epoch, log.latest_epoch) + 1
        log.assign_epoch(self.epoch)
        self.forget_sequences()

    def forget_sequences(self) -> None:
        self.sequences = {p.producer_id: p.last_sequence + 1 for p in self.log.producers}

    def compare(self) -> None:
        log = self.log
        producers = ProducerState()
        offset = log.start_offset
        kept = [b for b in self.batches if b[1] > offset]
        for first, end, data in kept:
            assert log.read(max(first, offset), 1, upto_offset=end) == data
            header = next(iter_batches(data))[1]
            assert log.epoch_at(max(first, offset)) == header.leader_epoch
            note_header(producers, tuple(header))
        for entry in producers:
            assert log.producers.get(entry.producer_id).last_sequence == entry.last_sequence
        records = [r for _, _, data in kept for r in decode_records(data) if r.offset >= offset]
        for target in (0, self.clock - 40, self.clock):
            found = next((r for r in records if r.timestamp_ms >= target), None)
            answer = log.offset_for_timestamp(target, upto_offset=log.end_offset)
            assert (answer and answer[:2]) == (found and (found.offset, found.timestamp_ms))
        largest = max((r.timestamp_ms for r in records), default=None)
        answer = log.max_timestamp(log.end_offset)
        assert (answer and answer[1]) == largest
        assert [s for _, s in log.epochs] == sorted({s for _, s in log.epochs})


def test_a_real_process_killed_in_the_middle_of_writing(tmp_path: Path) -> None:
    """What it said it had written is there, and the log goes on."""
    folder = str(tmp_path / "t-0")
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        log = Log.open(RealDisk(), folder, CONFIG, name="t-0")
        while True:
            data = encode_batch([Record(0, 1, b"k", b"v" * 300, ())])
            os.write(writer, struct.pack(">q", log.append_as_leader(data, 1, NOW).last_offset))
    os.close(writer)
    said = b""
    while len(said) < 8 * 500:
        said += os.read(reader, 4096)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    while more := os.read(reader, 1 << 16):
        said += more
    (last,) = struct.unpack(">q", said[len(said) // 8 * 8 - 8 : len(said) // 8 * 8])
    log = Log.open(RealDisk(), folder, CONFIG, name="t-0")
    assert log.end_offset >= last + 1
    offset = 0
    while offset < log.end_offset:
        for position, header in iter_batches(log.read(offset, 1 << 20, upto_offset=1 << 40)):
            assert header.base_offset == offset, position
            offset = header.next_offset
    log.close()


@pytest.mark.parametrize("block", range(8))
def test_histories(block: int) -> None:
    for seed in range(block * 25, block * 25 + 25):
        history = History(seed)
        trace = []
        try:
            for number in range(STEPS):
                trace.append((number, history.end))
                history.step()
            history.compare()
            history.kill()
        except BaseException as error:
            error.add_note(f"seed {seed}, step {len(trace) - 1}")
            raise
