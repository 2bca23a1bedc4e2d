"""Opening a log after a kill, a power cut, bit rot and damaged side files."""

import random

import pytest

from broker.protocol.batch import iter_batches
from broker.simulation.disk import SimDisk
from broker.storage import names
from broker.storage.errors import CorruptLog
from broker.storage.log import Log, LogConfig

NOW = 1_000_000
SMALL = LogConfig(segment_bytes=900, index_interval_bytes=150)


def filled(place, batch, count=25, config=SMALL):
    log = place.open(config=config)
    for number in range(count):
        fields = {"producer_id": 5, "producer_epoch": 0, "base_sequence": 2 * number}
        log.append_as_leader(batch(2, ts=1000 + number, **fields), number // 6, NOW)
    return log


def files_of(place, log):
    return {
        n: place.disk.read_file(f"{log.directory}/{n}") for n in place.disk.list_dir(log.directory)
    }


def lay_out(place, directory, files):
    place.disk.remove_tree(directory)
    place.disk.make_dirs(directory)
    for name, data in files.items():
        file = place.disk.open(f"{directory}/{name}")
        file.append(data)
        file.close()


def state_of(log: Log):
    """Everything that recovery rebuilds."""
    return (
        log.end_offset,
        log.epochs,
        list(log.producers),
        [
            (
                s.base_offset,
                s.end_offset,
                s.size,
                s.largest_timestamp(),
                list(s.index.offsets),
                list(s.index.positions),
            )
            for s in log._segments
        ],
    )


def test_after_a_kill_everything_written_is_there(place, batch, everything):
    log = filled(place, batch)
    records, state = everything(log), state_of(log)
    again = place.reopen(log)
    assert everything(again) == records
    assert state_of(again) == state
    assert again.recovery.cut_bytes == 0
    assert again.recovery.scanned_segments == again.segment_count


def test_only_what_was_not_flushed_is_read_again(place, batch):
    log = filled(place, batch)
    log.flush()
    for number in range(25, 40):
        log.append_as_leader(batch(2, ts=1000 + number), 9, NOW)
    state = state_of(log)
    again = place.reopen(log, recovery_point=log.recovery_point)
    assert 0 < again.recovery.scanned_segments < again.segment_count
    assert again.recovery_point == 50
    assert state_of(again) == state


def test_after_a_clean_stop_nothing_is_scanned(place, batch, everything):
    log = filled(place, batch)
    records, state = everything(log), state_of(log)
    log.close()
    again = place.open(config=SMALL, clean=True)
    assert again.recovery.scanned_segments == 0
    assert (state_of(again), everything(again)) == (state, records)
    assert again.recovery_point == again.end_offset == 50
    assert again.prepare_flush() is None
    again.append_as_leader(batch(2), 9, NOW)
    assert again.end_offset == 52


@pytest.mark.parametrize("clean", [False, True])
def test_the_last_segment_cut_at_every_byte(place, batch, everything, clean):
    log = filled(place, batch)
    records = everything(log)
    log.close()
    files = files_of(place, log)
    base = log.segment_bases[-1]
    name = f"{base:020d}.log"
    whole = files[name]
    ends = {position: header.base_offset for position, header in iter_batches(whole)}
    ends[len(whole)] = 50
    step = 1 if isinstance(place.disk, SimDisk) else 17
    for size in range(0, len(whole), step):
        lay_out(place, log.directory, files | {name: whole[:size]})
        again = place.open(config=SMALL, clean=clean, recovery_point=50 if clean else base)
        good = max(position for position in ends if position <= size)
        assert again.end_offset == ends[good]
        assert again.recovery.cut_bytes == size - good
        assert again.recovery.missing_below_recovery_point == (clean and size > good)
        assert everything(again) == [r for r in records if r.offset < again.end_offset]
        # An epoch that began at the very end keeps its entry: it is true of the leader.
        assert again.epochs == tuple((e, o) for e, o in log.epochs if o <= again.end_offset)
        if size % 5 == 0:
            follow = batch(2, producer_id=5, producer_epoch=0, base_sequence=again.end_offset)
            assert not again.append_as_leader(follow, 9, NOW).duplicate
            assert place.reopen(again).recovery.cut_bytes == 0
        again.abandon()


def test_a_flipped_bit_above_the_recovery_point_cuts_there(place, batch, everything):
    log = filled(place, batch)
    records = everything(log)
    log.abandon()
    files = files_of(place, log)
    rng = random.Random(3)
    for base in log.segment_bases:
        name = f"{base:020d}.log"
        for _ in range(12):
            data = bytearray(files[name])
            at = rng.randrange(len(data))
            data[at] ^= 1 << rng.randrange(8)
            position, header = max(b for b in iter_batches(files[name]) if b[0] <= at)
            if at - position in range(12, 16):
                continue  # the leader epoch is outside the checksum
            lay_out(place, log.directory, files | {name: bytes(data)})
            again = place.open(config=SMALL)
            hit = header.base_offset
            assert again.end_offset == hit
            assert again.recovery.cut_bytes > 0
            assert everything(again) == [r for r in records if r.offset < hit]
            assert place.reopen(again).recovery.cut_bytes == 0
            place.logs[-1].abandon()


def test_a_flipped_bit_in_what_was_synced_is_never_cut_away(place, batch):
    log = filled(place, batch)
    log.abandon()
    files = files_of(place, log)
    rng = random.Random(4)
    ends = [*log.segment_bases[1:], 50]
    for base, end in zip(log.segment_bases, ends, strict=True):
        name = f"{base:020d}.log"
        starts = [position for position, _ in iter_batches(files[name])]
        fixed = [starts[1] + n for n in (0, 8, 9, 10, 11, 16, 17, 23, 57, 80)]
        for at in (*fixed, *(rng.randrange(starts[-1]) for _ in range(8))):
            position = max(p for p in starts if p <= at)
            if at - position in range(12, 16):
                continue  # the leader epoch is outside the checksum
            data = bytearray(files[name])
            data[at] ^= 0x40
            lay_out(place, log.directory, files | {name: bytes(data)})
            with pytest.raises(CorruptLog, match=name) as caught:
                place.open(config=SMALL, recovery_point=end - 1)
            assert caught.value.position == position
            assert place.disk.read_file(place.path(log, name)) == bytes(data)


def test_damage_below_a_scanned_segment_is_not_looked_for(place, batch, everything):
    """Segments below the recovery point are not read at start; a reader meets the damage."""
    log = filled(place, batch)
    log.flush()
    log.abandon()
    files = files_of(place, log)
    name = f"{0:020d}.log"
    data = bytearray(files[name])
    data[8] = 0x7F  # a length that leads nowhere
    lay_out(place, log.directory, files | {name: bytes(data)})
    again = place.open(config=SMALL, recovery_point=50)
    assert again.end_offset == 50
    with pytest.raises(CorruptLog, match=name):
        again.read(4, 100, upto_offset=50)
    assert again.read(again.segment_bases[-1], 100, upto_offset=50)


def test_zeros_at_the_end_are_cut(place, batch):
    log = filled(place, batch)
    log.abandon()
    files = files_of(place, log)
    name = f"{log.segment_bases[-1]:020d}.log"
    for extra in (1, 11, 12, 60, 61, 4096):
        lay_out(place, log.directory, files | {name: files[name] + bytes(extra)})
        again = place.open(config=SMALL, recovery_point=50)
        assert (again.end_offset, again.recovery.cut_bytes) == (50, extra)
        again.abandon()


def test_records_of_an_older_epoch_after_newer_ones_are_leftovers(place, batch):
    log = place.open()
    log.append_as_follower(batch(2, leader_epoch=5))
    log.abandon()
    path = place.path(log, f"{0:020d}.log")
    good = place.disk.read_file(path)
    place.rewrite(path, good + batch(2, base_offset=2, leader_epoch=4))
    again = place.open()
    assert (again.end_offset, again.epochs) == (2, ((5, 0),))


DAMAGE = {
    "missing": lambda data: None,
    "empty": lambda data: b"",
    "short by an entry": lambda data: data[: -(8 if len(data) % 12 else 12)],
    "odd length": lambda data: data[:-3],
    "zero-padded": lambda data: data + bytes(240),
    "all zero": lambda data: bytes(len(data)),
    "longer than the log": lambda data: data + b"\x00\x10\x00\x00" * 24,
    "reversed": lambda data: data[::-1],
    "noise": lambda data: random.Random(1).randbytes(480),
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("clean", [True, False])
def test_damaged_indexes_are_rebuilt(place, batch, everything, damage, clean):
    log = filled(place, batch)
    records, state = everything(log), state_of(log)
    log.close()
    files = files_of(place, log)
    for suffix in (names.INDEX, names.TIME_INDEX):
        if suffix == names.TIME_INDEX and damage == "short by an entry":
            continue  # cut exactly between two entries: still true, only less precise
        damaged = dict(files)
        for name in files:
            if name.endswith(suffix):
                data = DAMAGE[damage](files[name])
                if data is None:
                    del damaged[name]
                else:
                    damaged[name] = data
        lay_out(place, log.directory, damaged)
        again = place.open(config=SMALL, clean=clean, recovery_point=50)
        assert state_of(again) == state
        for target in (1000, 1007, 1013, 1024):
            found = again.offset_for_timestamp(target, upto_offset=50)
            assert found[:2] == (2 * (target - 1000), target)
        assert everything(again) == records
        for offset in range(50):
            first = next(iter_batches(again.read(offset, 1, upto_offset=50)))[1]
            assert first.base_offset == offset - offset % 2
        again.close()
        fixed = files_of(place, again)
        for name in files:
            if name.endswith(suffix):
                assert fixed[name] == files[name], name


def test_a_lost_epoch_history_is_rebuilt(place, batch):
    log = filled(place, batch)
    epochs = log.epochs
    log.close()
    path = place.path(log, names.EPOCH_CHECKPOINT)
    assert place.disk.read_file(path).startswith(b"0\n5\n0 0\n1 12\n")
    for clean in (True, False):
        for damage in (None, b"", b"0\n9\n1 1\n", b"\0" * 30):
            if damage is None:
                place.disk.remove(path)
            else:
                place.rewrite(path, damage)
            again = place.open(config=SMALL, clean=clean, recovery_point=40)
            assert again.epochs == epochs
            again.close()


def test_an_epoch_without_records_survives_a_restart(place, batch):
    log = filled(place, batch, 6)
    log.assign_epoch(7)
    log.flush()
    assert place.reopen(log, recovery_point=12).epochs == ((0, 0), (7, 12))
    log = place.logs[-1]
    log.close()
    assert place.open(config=SMALL, clean=True).epochs == ((0, 0), (7, 12))


def test_producers_survive_without_their_snapshots(place, batch):
    log = filled(place, batch)
    producers = list(log.producers)
    log.close()
    files = files_of(place, log)
    snapshots = [name for name in files if name.endswith(names.SNAPSHOT)]
    assert len(snapshots) == log.segment_count
    for clean in (True, False):
        for damage in (None, b"", b"junk" * 20):
            damaged = {n: d for n, d in files.items() if n not in snapshots}
            if damage is not None:
                damaged |= dict.fromkeys(snapshots, damage)
            lay_out(place, log.directory, damaged)
            again = place.open(config=SMALL, clean=clean, recovery_point=45)
            assert list(again.producers) == producers
            again.abandon()


def test_a_retry_across_a_restart_is_still_a_duplicate(place, batch):
    for clean in (False, True):
        log = filled(place, batch)
        again = (
            place.open(config=SMALL, clean=clean, recovery_point=0) if log.close() is None else log
        )
        for number in range(20, 25):
            fields = {"producer_id": 5, "producer_epoch": 0, "base_sequence": 2 * number}
            info = again.append_as_leader(batch(2, **fields), 9, NOW)
            assert info.duplicate
            assert info.first_offset == 2 * number
        again.abandon()
        place.disk.remove_tree(log.directory)


def test_snapshots_above_the_end_are_dropped(place, batch):
    log = filled(place, batch)
    stray = names.segment_path(log.directory, 777, names.SNAPSHOT)
    place.rewrite(stray, b"anything")
    place.reopen(log)
    assert not place.disk.exists(stray)


def test_leftovers_of_a_crash_are_swept(place, batch, everything):
    log = filled(place, batch)
    records = everything(log)
    log.abandon()
    leftovers = [
        "00000000000000000000.log.deleted",
        "00000000000000000090.log.cleaned",
        "leader-epoch-checkpoint.tmp",
        "00000000000000000777.index",
        "00000000000000000777.timeindex",
    ]
    for name in leftovers:
        place.rewrite(place.path(log, name), b"x" * 50)
    again = place.open(config=SMALL)
    assert not set(leftovers) & set(place.disk.list_dir(log.directory))
    assert everything(again) == records


def test_a_missing_segment_in_the_middle(place, batch, everything):
    log = filled(place, batch)
    records = everything(log)
    log.abandon()
    files = files_of(place, log)
    gone = log.segment_bases[1]
    lay_out(place, log.directory, {n: d for n, d in files.items() if n != f"{gone:020d}.log"})
    with pytest.raises(CorruptLog, match=f"it ends at {gone}"):
        place.open(config=SMALL, recovery_point=gone + 1)
    lay_out(place, log.directory, {n: d for n, d in files.items() if n != f"{gone:020d}.log"})
    unscanned = place.open(config=SMALL, recovery_point=50)
    for offset in (gone - 1, gone + 1):
        with pytest.raises(CorruptLog, match=f"it ends at {gone}"):
            unscanned.read(offset, 1000, upto_offset=50)
    unscanned.abandon()
    again = place.open(config=SMALL, recovery_point=0)
    assert again.end_offset == gone
    assert everything(again) == [r for r in records if r.offset < gone]


def test_an_empty_folder_is_a_new_log(place):
    log = place.open(log_start_offset=17)
    assert (log.start_offset, log.end_offset, log.latest_epoch) == (17, 17, -1)
    again = place.reopen(log, log_start_offset=17)
    assert (again.start_offset, again.end_offset) == (17, 17)
