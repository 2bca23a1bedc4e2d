"""Compaction keeps the newest record of each key, every offset, and nothing else that it may drop."""

import random

import pytest

from broker.protocol.batch import Compression, Record, decode_records, encode_batch, iter_batches
from broker.simulation.disk import SimDisk
from broker.storage.compaction import Round, Uncleanable, grouped, plan_round, run_round
from broker.storage.errors import CorruptLog, OutOfOrderOffsets
from broker.storage.log import Log, LogConfig
from broker.storage.offset_map import ENTRY_BYTES, OffsetMap

NOW = 1_000_000
CONFIG = LogConfig(
    compact=True,
    delete=False,
    segment_bytes=600,
    index_interval_bytes=150,
    min_cleanable_dirty_ratio=0.0,
    delete_retention_ms=1000,
)


def keyed(pairs, *, ts=NOW, **fields):
    records = [
        Record(i, ts + i, key.encode(), None if value is None else value.encode(), ())
        for i, (key, value) in enumerate(pairs)
    ]
    return encode_batch(records, **fields)


def compact(log, disk, *, now_ms=NOW, clean=-1, memory=1 << 20, upto=None):
    plan = plan_round(log, clean, log.end_offset if upto is None else upto, now_ms)
    assert plan is not None
    round_ = Round(disk, log, plan, now_ms=now_ms, memory_bytes=memory, read_bytes=300)
    return run_round(round_)


def batches(log):
    offset, found = log.start_offset, []
    while offset < log.end_offset:
        data = log.read(offset, 1 << 20, upto_offset=log.end_offset)
        assert data, f"nothing at {offset} of {log.end_offset}"
        for position, header in iter_batches(data):
            found.append((header, decode_records(data, position)))
            offset = header.next_offset
    return found


def contents(log):
    return [
        (r.offset, r.key.decode(), None if r.value is None else r.value.decode())
        for _, records in batches(log)
        for r in records
    ]


def filled(place, rounds=6, keys="abcd", config=CONFIG, **fields):
    log = place.open(config=config)
    for number in range(rounds):
        log.append_as_leader(keyed([(k, f"{k}{number}") for k in keys], **fields), 1, NOW)
    log.roll()
    log.append_as_leader(keyed([("z", "active")]), 1, NOW)
    log.flush()
    return log


@pytest.mark.parametrize("codec", list(Compression))
def test_the_newest_value_of_each_key_stays_at_its_offset(place, codec):
    log = filled(place, compression=codec)
    before = {record[0]: record for record in contents(log)}
    report = compact(log, place.disk)
    after = contents(log)
    assert [r[2] for r in after] == ["a5", "b5", "c5", "d5", "active"]
    assert all(before[r[0]] == r for r in after)
    assert (log.start_offset, log.end_offset) == (0, 25)
    assert report.complete
    assert report.end_offset == 24
    assert report.bytes_after < report.bytes_before
    kept = [header for header, records in batches(log) if records]
    assert kept[0].compression == codec
    assert kept[0].leader_epoch == 1
    again = place.reopen(log, recovery_point=log.recovery_point)
    assert contents(again) == after


def test_the_active_segment_and_what_is_not_committed_stay(place):
    log = filled(place, rounds=20)
    assert plan_round(log, -1, 0, NOW) is None
    upto = log.segments[2].end_offset
    compact(log, place.disk, upto=upto + 1)
    offsets = [r[0] for r in contents(log)]
    assert offsets[-(81 - upto) :] == list(range(upto, 81))
    assert len(offsets) == 81 - upto + 4


def test_what_is_not_on_disk_does_not_count(place):
    log = place.open(config=CONFIG)
    for _ in range(6):
        log.append_as_leader(keyed([("a", "v")]), 1, NOW)
    log.roll()
    assert plan_round(log, -1, log.end_offset, NOW) is None
    log.flush()
    assert plan_round(log, -1, log.end_offset, NOW) is not None


def test_every_offset_can_still_be_asked_for(place):
    log = filled(place, rounds=20)
    compact(log, place.disk)
    for offset in range(log.end_offset):
        data = log.read(offset, 1, upto_offset=log.end_offset)
        header = next(iter_batches(data))[1]
        assert header.next_offset > offset


def test_tombstones_live_for_delete_retention_ms_and_go_with_what_they_delete(place):
    log = place.open(config=CONFIG)
    log.append_as_leader(keyed([("a", "1"), ("b", "1")]), 1, NOW)
    log.append_as_leader(keyed([("a", None)], ts=NOW - 77), 1, NOW)
    log.append_as_leader(keyed([("c", "1")]), 1, NOW)
    log.roll()
    log.append_as_leader(keyed([("z", "1")]), 1, NOW)
    log.flush()
    compact(log, place.disk, now_ms=NOW)
    assert ("a", None) in [r[1:] for r in contents(log)]
    header, records = next((h, r) for h, r in batches(log) if r and r[0].key == b"a")
    assert header.attributes & 0x40
    assert header.base_timestamp_ms == NOW + 1000
    assert (records[0].timestamp_ms, header.max_timestamp_ms) == (NOW - 77, NOW - 77)
    log.roll()
    log.flush()
    compact(log, place.disk, now_ms=NOW + 999, clean=4)
    assert ("a", None) in [r[1:] for r in contents(log)]
    log.append_as_leader(keyed([("y", "1")]), 1, NOW)
    log.roll()
    log.flush()
    compact(log, place.disk, now_ms=NOW + 1000, clean=5)
    assert [r[1] for r in contents(log)] == ["b", "c", "z", "y"]


def test_records_without_a_key_are_dropped(place):
    log = place.open(config=LogConfig(segment_bytes=600))
    log.append_as_leader(encode_batch([Record(0, NOW, None, b"v", ())]), 1, NOW)
    log.append_as_leader(keyed([("a", "1")]), 1, NOW)
    log.roll()
    log.flush()
    log.config = CONFIG
    report = compact(log, place.disk)
    assert report.counts.keyless == 1
    assert [r[1] for r in contents(log)] == ["a"]


def test_the_last_sequence_of_an_active_producer_survives(place):
    log = place.open(config=CONFIG)
    producer = {"producer_id": 7, "producer_epoch": 3}
    log.append_as_leader(keyed([("a", "1")] * 3, base_sequence=0, **producer), 1, NOW)
    log.append_as_leader(keyed([("a", "2")] * 4, base_sequence=3, **producer), 1, NOW)
    for number in range(8):
        log.append_as_leader(keyed([("a", f"n{number}")]), 1, NOW)
    log.roll()
    log.append_as_leader(keyed([("z", "1")]), 1, NOW)
    log.flush()
    compact(log, place.disk)
    empty = [h for h, records in batches(log) if not records and h.producer_id == 7]
    assert [(h.base_offset, h.last_offset, h.last_sequence) for h in empty] == [(3, 6, 6)]
    for name in place.disk.list_dir(log.directory):
        if name.endswith(".snapshot"):
            place.disk.remove(place.path(log, name))
    again = place.reopen(log)
    entry = again.producers.get(7)
    assert (entry.epoch, entry.last_sequence) == (3, 6)
    more = keyed([("a", "3")], base_sequence=7, **producer)
    assert again.append_as_leader(more, 1, NOW).first_offset == 16


def test_a_full_table_of_keys_cleans_what_fits_and_goes_on_from_there(place):
    log = filled(place, rounds=8, keys="abcdefgh")
    clean, rounds = -1, 0
    while (plan := plan_round(log, clean, log.end_offset, NOW)) is not None:
        round_ = Round(
            place.disk, log, plan, now_ms=NOW, memory_bytes=ENTRY_BYTES * 5, read_bytes=300
        )
        report = run_round(round_)
        assert report.keys <= 5
        assert report.end_offset > clean
        clean, rounds = report.end_offset, rounds + 1
        assert {r[1]: r[2] for r in contents(log)} == {k: f"{k}7" for k in "abcdefgh"} | {
            "z": "active"
        }
    assert rounds > 2
    assert clean == 64


def test_small_segments_become_one_and_no_larger_than_segment_bytes(place):
    log = filled(place, rounds=30)
    before = log.segment_count
    report = compact(log, place.disk)
    log.roll()  # the sizes before a round decide what becomes one: it is the next that merges
    log.append_as_leader(keyed([("z", "again")]), 1, NOW)
    log.flush()
    compact(log, place.disk, clean=report.end_offset)
    assert log.segment_count < before
    assert all(s.size <= 600 for s in log.segments)
    names = [n for n in place.disk.list_dir(log.directory) if n.endswith(".log")]
    assert len(names) == log.segment_count
    config = LogConfig(segment_bytes=1 << 20, compact=True)
    assert len(grouped(log.segments[:-1], config, log.end_offset)) == 1


def test_a_round_that_changes_nothing_leaves_the_files_alone(place):
    log = filled(place, rounds=1)
    path = log.segments[0].path
    before = place.disk.read_file(path)
    compact(log, place.disk)
    assert place.disk.read_file(path) == before
    assert not [n for n in place.disk.list_dir(log.directory) if "cleaned" in n or "swap" in n]


def test_ratio_and_lags_decide_when(place):
    log = filled(place)
    end = log.end_offset
    log.config = LogConfig(compact=True, segment_bytes=600, min_cleanable_dirty_ratio=0.5)
    assert plan_round(log, -1, end, NOW).dirty_ratio == 1.0
    assert plan_round(log, log.segments[-2].base_offset, end, NOW) is None
    log.config = LogConfig(compact=True, segment_bytes=600, min_compaction_lag_ms=5000)
    assert plan_round(log, -1, end, NOW + 5000) is None
    assert plan_round(log, -1, end, NOW + 5010) is not None
    log.config = LogConfig(compact=True, min_cleanable_dirty_ratio=1.0, max_compaction_lag_ms=5000)
    assert plan_round(log, -1, end, NOW + 5000) is None
    assert plan_round(log, -1, end, NOW + 5010).due
    log.config = LogConfig(compact=False)
    assert plan_round(log, -1, end, NOW) is None


def test_transactions_are_left_alone(place):
    log = place.open(config=CONFIG)
    batch = keyed(
        [("a", "1")], producer_id=1, producer_epoch=0, base_sequence=0, transactional=True
    )
    log.append_as_leader(batch, 1, NOW)
    marker = encode_batch(
        [Record(0, NOW, b"\x00\x00\x00\x01", b"\x00" * 6, ())],
        producer_id=1,
        producer_epoch=0,
        control=True,
        transactional=True,
    )
    log.append_as_leader(marker, 1, NOW, validated=True)
    log.roll()
    log.flush()
    with pytest.raises(Uncleanable, match="transaction"):
        compact(log, place.disk)
    assert not [n for n in place.disk.list_dir(log.directory) if n.endswith(".cleaned")]


def test_damage_is_not_given_a_new_checksum():
    disk = SimDisk()
    log = Log.open(disk, "/data/t-0", CONFIG, name="t-0")
    for _ in range(8):
        log.append_as_leader(keyed([("a", "1"), ("b", "2")]), 1, NOW)
    log.roll()
    log.flush()
    disk.flip(log.segments[0].path, 70)
    with pytest.raises(CorruptLog, match="checksum"):
        compact(log, disk)


def test_a_truncation_ends_the_round(place):
    log = filled(place)
    plan = plan_round(log, -1, log.end_offset, NOW)
    round_ = Round(place.disk, log, plan, now_ms=NOW, memory_bytes=1 << 20, read_bytes=300)
    for number, step in enumerate(round_.steps()):
        for _ in step.slices:
            pass
        if number == 4:  # just after the new files were made durable
            log.truncate_to(9)
    assert not round_.report.complete
    assert log.end_offset == 8
    assert not [n for n in place.disk.list_dir(log.directory) if "swap" in n or "cleaned" in n]
    again = place.reopen(log, recovery_point=log.recovery_point)
    assert again.end_offset == 8
    assert [r[0] for r in contents(again)] == list(range(8))


def test_deleted_records_do_not_come_back_with_the_swap(place):
    log = filled(place)
    plan = plan_round(log, -1, log.end_offset, NOW)
    round_ = Round(place.disk, log, plan, now_ms=NOW, memory_bytes=1 << 20, read_bytes=300)
    for number, step in enumerate(round_.steps()):
        for _ in step.slices:
            pass
        if number == 4:
            log.advance_start_offset(24)
    assert not round_.report.complete
    assert [r[2] for r in contents(log)] == ["active"]
    again = place.reopen(log, log_start_offset=24, recovery_point=log.recovery_point)
    assert [r[2] for r in contents(again)] == ["active"]


def test_a_log_keeps_its_gaps_when_the_policy_changes(place, batch):
    log = filled(place)
    compact(log, place.disk)
    expected = contents(log)
    plain = LogConfig(segment_bytes=600)
    again = place.reopen(log, config=plain, recovery_point=0)
    assert contents(again) == expected
    follower = place.open("follower-0", config=plain)
    data = again.read(0, 1 << 20, upto_offset=again.end_offset)
    with pytest.raises(OutOfOrderOffsets):
        follower.append_as_follower(data[len(data) :] + batch(base_offset=7, leader_epoch=1))


def test_a_follower_of_a_compacted_log_ends_where_it_does(place):
    log = filled(place, rounds=20)
    compact(log, place.disk)
    follower = place.open("follower-0", config=CONFIG)
    while follower.end_offset < log.end_offset:
        data = log.read(follower.end_offset, 200, upto_offset=log.end_offset)
        follower.append_as_follower(data)
    assert contents(follower) == contents(log)
    again = place.reopen(follower, config=LogConfig())
    assert contents(again) == contents(log)


def test_timestamps_of_compacted_records_are_found(place):
    log = place.open(config=CONFIG)
    for number in range(30):
        pairs = [("hot", str(number)), (f"k{number % 7}", str(number))]
        log.append_as_leader(keyed(pairs, ts=NOW + 10 * number), 1, NOW)
    log.append_as_leader(keyed([("late", "1")], ts=NOW + 9000), 1, NOW)
    log.append_as_leader(keyed([("late", "2")], ts=NOW), 1, NOW)
    log.roll()
    log.append_as_leader(keyed([("z", "1")], ts=NOW), 1, NOW)
    log.flush()
    compact(log, place.disk)
    left = [record for _, records in batches(log) for record in records]
    for ts in range(NOW - 5, NOW + 400, 3):
        expected = next(((r.offset, r.timestamp_ms) for r in left if r.timestamp_ms >= ts), None)
        found = log.offset_for_timestamp(ts, upto_offset=log.end_offset)
        assert (None if found is None else found[:2]) == expected
    best = max(left, key=lambda r: (r.timestamp_ms, -r.offset))
    assert log.max_timestamp(log.end_offset)[:2] == (best.offset, best.timestamp_ms)


def test_random_histories_against_a_dictionary():
    for seed in range(12):
        rng = random.Random(seed)
        disk = SimDisk()
        log = Log.open(disk, "/data/t-0", CONFIG, name="t-0")
        newest: dict[str, tuple[int, str | None]] = {}
        now, clean = NOW, -1
        for _ in range(rng.randint(20, 60)):
            pairs = [
                (f"k{rng.randint(0, 9)}", rng.choice([None, "v" * rng.randint(0, 30)]))
                for _ in range(rng.randint(1, 5))
            ]
            codec = rng.choice(list(Compression))
            info = log.append_as_leader(keyed(pairs, compression=codec), 1, now)
            for place_, (key, value) in enumerate(pairs):
                newest[key] = (info.first_offset + place_, value)
            now += rng.randint(0, 300)
            if rng.random() < 0.2:
                log.flush()
                if plan := plan_round(log, clean, log.end_offset, now):
                    memory = ENTRY_BYTES * rng.choice([2, 6, 100])
                    round_ = Round(disk, log, plan, now_ms=now, memory_bytes=memory, read_bytes=300)
                    clean = run_round(round_).end_offset
            if rng.random() < 0.1:
                log.close()
                log = Log.open(disk, "/data/t-0", CONFIG, name="t-0", clean=True)
            found: dict[str, tuple[int, str | None]] = {}
            offsets = []
            for offset, key, value in contents(log):
                offsets.append(offset)
                found[key] = (offset, value)
            assert offsets == sorted(set(offsets)), f"seed {seed}"
            for key, (offset, value) in newest.items():
                if value is None:
                    assert found.get(key, (offset, None)) == (offset, None), f"seed {seed}"
                else:
                    assert found[key] == (offset, value), f"seed {seed}"


def test_long_keys_are_told_apart():
    keys = OffsetMap(1 << 20)
    for number in range(100):
        assert keys.put(b"x" * 1000 + str(number).encode(), number)
    assert keys.get(b"x" * 1000 + b"42") == 42
    assert keys.get(b"x" * 1000) == -1
