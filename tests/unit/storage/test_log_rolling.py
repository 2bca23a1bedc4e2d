"""When segments end, what a full or failing disk does to rolling, retention and compaction."""

import pytest

from broker.protocol.batch import Record, encode_batch
from broker.simulation.disk import SimDisk
from broker.storage.compaction import Round, plan_round, run_round
from broker.storage.errors import StorageFailure
from broker.storage.log import Log, LogConfig

NOW = 1_000_000


def test_a_full_index_ends_a_segment(place, batch):
    config = LogConfig(index_interval_bytes=0, segment_index_bytes=36)  # three entries
    log = place.open(config=config)
    for _ in range(20):
        log.append_as_leader(batch(), 1, NOW)
    assert log.segment_count > 3
    assert all(len(segment.index) <= 3 for segment in log.segments)
    again = place.reopen(log)
    for _ in range(4):
        again.append_as_leader(batch(), 1, NOW)
    assert all(len(segment.index) <= 3 for segment in again.segments)


def test_jitter_spreads_the_rolls_and_never_delays_one(place, batch):
    config = LogConfig(segment_ms=1000, segment_jitter_ms=900)
    ends = set()
    for number in range(12):
        log = place.open(f"t-{number}", config=config)
        log.append_as_leader(batch(ts=NOW), 1, NOW)
        end = next(ms for ms in range(0, 1100, 10) if log.roll_if_due(NOW + ms))
        assert 100 <= end <= 1010
        ends.add(end)
    assert len(ends) > 6


def test_a_compacted_log_does_not_wait_for_segment_ms_when_it_must_compact(place, batch):
    config = LogConfig(compact=True, segment_ms=10_000, max_compaction_lag_ms=500)
    log = place.open(config=config)
    log.append_as_leader(batch(ts=NOW), 1, NOW)
    assert not log.roll_if_due(NOW + 500)
    assert log.roll_if_due(NOW + 501)


def test_a_disk_that_is_full_when_a_segment_ends(batch, everything):
    disk = SimDisk()
    log = Log.open(disk, "/data/t-0", LogConfig(segment_bytes=300), name="t-0")
    for _ in range(7):
        log.append_as_leader(batch(), 1, NOW)
    while log.segments[-1].size + len(batch()) <= 300:
        log.append_as_leader(batch(), 1, NOW)
    before, end = everything(log), log.end_offset
    disk.full = True
    for _ in range(3):
        with pytest.raises(StorageFailure, match="no space left"):
            log.append_as_leader(batch(), 1, NOW)
    assert everything(log) == before
    disk.full = False
    assert log.append_as_leader(batch(), 1, NOW).first_offset == end
    assert log.failure is None
    log.flush()
    again = Log.open(disk, "/data/t-0", LogConfig(segment_bytes=300), name="t-0")
    assert everything(again)[:-1] == before


def test_retention_makes_room_on_a_full_disk(batch):
    disk = SimDisk()
    config = LogConfig(segment_bytes=300, retention_ms=1000)
    log = Log.open(disk, "/data/t-0", config, name="t-0")
    for _ in range(20):
        log.append_as_leader(batch(ts=NOW), 1, NOW)
    disk.full = True
    with pytest.raises(StorageFailure):
        log.delete_expired(NOW + 5000, log.end_offset)
    assert log.segment_count == 1, "what could go has gone"
    disk.full = False
    assert log.delete_expired(NOW + 5000, log.end_offset) == 1
    assert log.start_offset == log.end_offset == 20


def filled(disk):
    config = LogConfig(compact=True, segment_bytes=600, min_cleanable_dirty_ratio=0.0)
    log = Log.open(disk, "/data/t-0", config, name="t-0")
    for number in range(30):
        record = Record(0, NOW, b"k%d" % (number % 3), b"%d" % number * 9, ())
        log.append_as_leader(encode_batch([record]), 1, NOW)
    log.roll()
    log.flush()
    return log


def compaction(disk, log):
    plan = plan_round(log, -1, log.end_offset, NOW)
    return Round(disk, log, plan, now_ms=NOW, memory_bytes=1 << 20, read_bytes=300)


def test_compaction_on_a_full_disk_leaves_the_log_as_it_was(everything):
    disk = SimDisk()
    log = filled(disk)
    before, names = everything(log), set(disk.list_dir("/data/t-0"))
    disk.full = True
    with pytest.raises(StorageFailure):
        run_round(compaction(disk, log))
    disk.full = False
    assert everything(log) == before
    assert log.failure is None
    assert set(disk.list_dir("/data/t-0")) - names <= {"offset-gaps"}
    assert run_round(compaction(disk, log)).complete
    assert len(everything(log)) == 3


@pytest.mark.parametrize("failing", range(12))
def test_compaction_survives_each_failing_sync(everything, failing):
    disk = SimDisk()
    log = filled(disk)
    newest = {r.key: r for r in everything(log)}
    syncs = iter(range(1000))

    def on_sync(path: str) -> None:
        del path
        disk.fail_next_sync = int(next(syncs) == failing)

    disk.on_sync = on_sync
    try:
        run_round(compaction(disk, log))
    except StorageFailure:
        pass
    disk.on_sync = None
    disk.fail_next_sync = 0
    assert log.failure is None
    assert {r.key: r for r in everything(log)} == newest
    again = Log.open(disk, "/data/t-0", log.config, name="t-0", recovery_point=log.recovery_point)
    assert {r.key: r for r in everything(again)} == newest
    assert run_round(compaction(disk, again)).complete
    assert {r.key: r for r in everything(again)} == newest
