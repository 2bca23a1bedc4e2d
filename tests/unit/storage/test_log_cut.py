"""Cutting a log at its end and its start: records, epochs, producers, files, watermarks."""

import random

import pytest

from broker.protocol.batch import iter_batches
from broker.simulation.disk import SimDisk
from broker.storage.errors import OffsetOutOfRange, OutOfOrderSequence, StorageFailure
from broker.storage.log import Log, LogConfig

NOW = 1_000_000
SMALL = LogConfig(segment_bytes=600, index_interval_bytes=150)


def filled(place, batch, count=30, config=SMALL):
    log = place.open(config=config)
    for number in range(count):
        log.append_as_leader(batch(2, ts=1000 + number), number // 6, NOW)
    return log


def offsets(everything, log):
    return [record.offset for record in everything(log)]


def test_truncation_at_every_offset(place, batch, everything):
    """The log is as if nothing at and above the offset had ever been written."""
    for offset in range(0, 61, 3):
        log = filled(place, batch)
        log.truncate_to(offset)
        end = offset - offset % 2
        assert log.end_offset == end
        assert offsets(everything, log) == list(range(end))
        assert log.epochs == tuple((e, 12 * e) for e in range(5) if 12 * e < end)
        log.append_as_leader(batch(2, ts=9000), 9, NOW)
        assert log.epoch_at(end) == 9
        assert log.offset_for_timestamp(2000, upto_offset=99) == (end, 9000, 9)
        assert log.max_timestamp(99) == (end, 9000, 9)
        again = place.reopen(log)
        assert offsets(everything, again) == list(range(end + 2))
        assert again.epochs == log.epochs
        again.abandon()
        place.disk.remove_tree(log.directory)


def test_truncation_at_the_end_still_cuts_the_epochs(place, batch):
    log = filled(place, batch, 6)
    log.assign_epoch(8)
    assert log.epochs == ((0, 0), (8, 12))
    log.truncate_to(12)
    assert log.epochs == ((0, 0),)
    assert place.reopen(log).epochs == ((0, 0),)


def test_end_offset_for_epoch(place, batch):
    log = filled(place, batch, 12)
    assert log.end_offset_for_epoch(0) == (0, 12)
    assert log.end_offset_for_epoch(1) == (1, 24)
    assert log.end_offset_for_epoch(2) == (-1, -1)
    log.assign_epoch(5)
    assert log.end_offset_for_epoch(5) == (5, 24)
    assert log.end_offset_for_epoch(3) == (1, 24)


def test_truncate_fully_begins_anew(place, batch, everything):
    log = filled(place, batch)
    log.flush()
    log.truncate_fully(1000)
    assert (log.start_offset, log.end_offset, log.recovery_point) == (1000, 1000, 1000)
    assert (log.epochs, log.segment_count, log.size_bytes) == ((), 1, 0)
    with pytest.raises(OffsetOutOfRange):
        log.read(10, 100, upto_offset=1000)
    log.append_as_follower(batch(3, base_offset=1000, leader_epoch=2))
    assert offsets(everything, place.reopen(log)) == [1000, 1001, 1002]
    log = place.logs[-1]
    log.truncate_to(500)
    assert (log.start_offset, log.end_offset) == (500, 500)


def test_truncation_gives_producers_back_their_past(place, batch):
    """Also when all of a producer's remembered batches are cut, and it must be replayed."""
    log = place.open(config=SMALL)
    for number in range(12):
        fields = {"producer_id": 9, "producer_epoch": 0, "base_sequence": 2 * number}
        log.append_as_leader(batch(2, **fields), 1, NOW)
    for keep in (20, 8):
        log.truncate_to(keep)
        known = {"producer_id": 9, "producer_epoch": 0, "base_sequence": keep - 2}
        assert log.append_as_leader(batch(2, **known), 1, NOW).first_offset == keep - 2
        known["base_sequence"] = keep + 2
        with pytest.raises(OutOfOrderSequence, match=f"{keep} comes next"):
            log.append_as_leader(batch(2, **known), 1, NOW)
    log.truncate_to(0)
    assert len(log.producers) == 0


def test_deleting_records_moves_the_start(place, batch, everything):
    log = filled(place, batch)
    files = len(place.disk.list_dir(log.directory))
    log.advance_start_offset(27)
    assert log.start_offset == 27
    assert offsets(everything, log) == list(range(27, 60))
    assert log.segment_bases[0] <= 27 < log.segment_bases[1]
    assert log.epochs[0] == (2, 27)
    assert len(place.disk.list_dir(log.directory)) < files
    with pytest.raises(OffsetOutOfRange):
        log.read(26, 100, upto_offset=60)
    log.advance_start_offset(3)
    assert log.start_offset == 27
    with pytest.raises(OffsetOutOfRange):
        log.advance_start_offset(61)
    again = place.reopen(log, log_start_offset=27)
    assert offsets(everything, again) == list(range(27, 60))
    again.advance_start_offset(60)
    assert (again.start_offset, again.end_offset, again.segment_count) == (60, 60, 1)
    again.append_as_leader(batch(), 9, NOW)
    assert offsets(everything, again) == [60]


def test_a_start_offset_beyond_the_end_restarts_the_log(place, batch):
    log = filled(place, batch)
    again = place.reopen(log, log_start_offset=500)
    assert (again.start_offset, again.end_offset, again.epochs) == (500, 500, ())
    assert again.recovery.restarted_at == 500


def test_retention_by_time(place, batch, everything):
    log = filled(place, batch, config=LogConfig(segment_bytes=600, retention_ms=100))
    segments = log.segment_count
    assert log.delete_expired(1010, 60) == 0
    assert log.delete_expired(1115, 0) == 0  # nothing is committed
    count = log.delete_expired(1115, 60)
    assert 0 < count < segments
    left = everything(log)
    assert left[0].offset == log.start_offset == log.segment_bases[0]
    assert all(record.timestamp_ms <= 1115 for record in left)
    assert left[-1].timestamp_ms == 1029
    # Everything is expired: the active segment goes too, and offsets go on.
    assert log.delete_expired(9999, 60) == segments - count
    assert (log.start_offset, log.end_offset, log.size_bytes) == (60, 60, 0)
    assert log.delete_expired(9999, 60) == 0
    log.append_as_leader(batch(), 9, NOW)
    assert place.reopen(log).end_offset == 61


def test_retention_by_size_never_takes_what_is_not_committed(place, batch):
    log = filled(place, batch, config=LogConfig(segment_bytes=600, retention_bytes=1000))
    bases = log.segment_bases
    log.delete_expired(1000, bases[2])
    assert log.start_offset == bases[2]
    log.delete_expired(1000, 60)
    assert 1000 <= log.size_bytes < 1600
    log.config = LogConfig(retention_bytes=-1, retention_ms=-1)
    assert log.delete_expired(10**15, 60) == 0
    log.config = LogConfig(retention_bytes=1, retention_ms=1, delete=False)
    assert log.delete_expired(10**15, 60) == 0


def test_old_files_are_handed_to_dispose(place, batch):
    work = []
    log = place.open(config=SMALL, dispose=work.append)
    for _ in range(20):
        log.append_as_leader(batch(2), 1, NOW)
    log.advance_start_offset(39)
    gone = [n for n in place.disk.list_dir(log.directory) if n.endswith(".deleted")]
    assert gone
    assert work
    for remove in work:
        remove()
    assert not [n for n in place.disk.list_dir(log.directory) if n.endswith(".deleted")]


def test_the_recovery_point_is_lowered_before_anything_is_cut(batch):
    """What the checkpoint promises must stay true when the cut-off offsets are written anew."""
    disk = SimDisk()
    log = Log.open(disk, "/d/t-0", name="t-0")
    for _ in range(5):
        log.append_as_leader(batch(2), 1, NOW)
    log.flush()
    seen = []
    log.on_truncate = lambda offset: seen.append((offset, log.end_offset))
    log.truncate_to(8)
    log.truncate_to(8)
    assert seen == [(8, 10)]
    assert log.recovery_point == 8


def test_a_truncation_is_durable(batch):
    """A power cut right after it must not bring the old records back."""
    for seed in range(40):
        disk = SimDisk()
        log = Log.open(disk, "/d/t-0", SMALL, name="t-0")
        for _ in range(20):
            log.append_as_leader(batch(2), 1, NOW)
        log.flush()
        log.truncate_to(11)
        disk.crash(random.Random(seed))
        again = Log.open(disk, "/d/t-0", SMALL, name="t-0", recovery_point=10)
        assert again.end_offset == 10
        data = again.read(0, 1 << 20, upto_offset=10)
        assert [h.base_offset for _, h in iter_batches(data)] == [0, 2, 4, 6, 8]


def test_a_log_that_was_half_cut_takes_no_more_writes(batch):
    disk = SimDisk()
    log = Log.open(disk, "/d/t-0", name="t-0")
    for _ in range(5):
        log.append_as_leader(batch(2), 1, NOW)
    disk.fail_next_sync = True
    with pytest.raises(StorageFailure):
        log.truncate_to(4)
    with pytest.raises(StorageFailure):
        log.append_as_leader(batch(), 1, NOW)
