"""What a flush promises, in which order it syncs, and that it may run beside appends."""

import random
import threading

import pytest

from broker.simulation.disk import SimDisk
from broker.storage.errors import StorageFailure
from broker.storage.log import Log, LogConfig

NOW = 1_000_000
SMALL = LogConfig(segment_bytes=600)


def open_sim(disk, **kwargs):
    return Log.open(disk, "/d/t-0", SMALL, name="t-0", **kwargs)


def test_the_recovery_point_moves_with_flushes_only(place, batch):
    log = place.open(config=SMALL)
    assert log.recovery_point == 0
    log.append_as_leader(batch(3), 1, NOW)
    assert log.recovery_point == 0
    assert log.flush() == log.recovery_point == 3
    assert log.flush() == 3
    log.append_as_leader(batch(3), 1, NOW)
    assert log.flush(upto=3) == 3
    assert log.flush(upto=4) == 6


def test_only_what_is_new_is_synced(batch):
    disk = SimDisk()
    log = open_sim(disk)
    for _ in range(20):
        log.append_as_leader(batch(2), 1, NOW)
    log.roll()
    log.flush()
    synced = []
    disk.on_sync = synced.append
    log.flush()
    assert synced == []
    log.append_as_leader(batch(2), 1, NOW)
    active = f"/d/t-0/{log.segment_bases[-1]:020d}.log"
    log.flush()
    assert synced == [active]


def test_data_before_indexes_before_snapshots_before_epochs(batch):
    disk = SimDisk()
    log = open_sim(disk)
    log.append_as_leader(batch(2), 1, NOW)
    log.flush()
    log.roll()
    log.append_as_leader(batch(2), 2, NOW)
    synced = []
    disk.on_sync = lambda path: synced.append(path.removeprefix("/d/t-0"))
    log.flush()
    old, new = f"/{0:020d}", f"/{2:020d}"
    assert synced == [
        new + ".log",
        old + ".index",
        old + ".timeindex",
        new + ".snapshot",
        "",
        "/leader-epoch-checkpoint",
    ]


def test_a_failed_sync_is_never_believed_again(batch, everything):
    disk = SimDisk()
    log = open_sim(disk)
    log.append_as_leader(batch(2), 1, NOW)
    disk.fail_next_sync = True
    with pytest.raises(StorageFailure, match=r"sync /d/t-0/0+\.log: input/output error"):
        log.flush()
    assert log.recovery_point == 0
    for attempt in (log.flush, lambda: log.append_as_leader(batch(), 1, NOW)):
        with pytest.raises(StorageFailure):
            attempt()
    assert len(everything(log)) == 2
    log.close()
    assert open_sim(disk).end_offset == 2


def test_a_full_disk_during_a_flush_does_not_end_the_log(batch):
    """The epoch checkpoint does not fit; no data was lost, so the next flush may succeed."""
    disk = SimDisk()
    log = open_sim(disk)
    log.append_as_leader(batch(2), 1, NOW)
    disk.full = True
    with pytest.raises(StorageFailure, match="no space left"):
        log.flush()
    assert log.recovery_point == 0
    disk.full = False
    assert log.flush() == 2
    log.append_as_leader(batch(2), 1, NOW)


def test_a_full_disk_during_a_truncation_is_made_up_for_later(batch):
    disk = SimDisk()
    log = open_sim(disk)
    for epoch in range(1, 6):
        log.append_as_leader(batch(2), epoch, NOW)
    log.flush()
    disk.full = True
    with pytest.raises(StorageFailure, match="no space left"):
        log.truncate_to(4)
    assert (log.end_offset, log.latest_epoch) == (4, 2)
    with pytest.raises(StorageFailure, match="no space left"):
        log.append_as_leader(batch(2), 9, NOW)
    disk.full = False
    log.append_as_leader(batch(2), 9, NOW)
    log.flush()
    disk.crash(random.Random(1))
    again = open_sim(disk, recovery_point=6)
    assert again.epochs == ((1, 0), (2, 2), (9, 4))


def test_a_truncation_between_the_parts_of_a_flush_voids_it(batch):
    disk = SimDisk()
    log = open_sim(disk)
    for _ in range(5):
        log.append_as_leader(batch(2), 1, NOW)
    pending = log.prepare_flush()
    log.run_flush(pending)
    log.truncate_to(4)
    log.append_as_leader(batch(4), 1, NOW)
    assert log.finish_flush(pending) == 0
    stale = log.prepare_flush()
    log.truncate_to(6)
    log.run_flush(stale)
    assert log.finish_flush(stale) == 0
    assert log.flush() == log.end_offset


def test_segments_deleted_under_a_flush_are_no_error(batch):
    disk = SimDisk()
    log = open_sim(disk)
    for _ in range(20):
        log.append_as_leader(batch(2), 1, NOW)
    pending = log.prepare_flush()
    log.advance_start_offset(39)
    log.run_flush(pending)
    assert log.finish_flush(pending) == 40
    log.append_as_leader(batch(2), 1, NOW)
    pending = log.prepare_flush()
    log.abandon()
    disk.rename("/d/t-0", "/d/t-0.abc-delete")
    log.run_flush(pending)


def test_flushing_in_a_thread_beside_appends_reads_and_cuts(place, batch, everything):
    log = place.open(config=SMALL)
    stop = threading.Event()
    problems: list[BaseException] = []

    def flush_on() -> None:
        try:
            while not stop.is_set():
                log.flush()
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=flush_on) for _ in range(2)]
    for thread in threads:
        thread.start()
    rng = random.Random(5)
    for number in range(400):
        log.append_as_leader(batch(rng.randint(1, 3)), number // 50, NOW)
        if number % 40 == 39:
            log.truncate_to(log.end_offset - rng.randint(0, 10))
        if number % 60 == 59:
            log.advance_start_offset(log.end_offset - 50)
    stop.set()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    assert problems == []
    assert log.flush() == log.end_offset
    records = everything(log)
    again = place.reopen(log, recovery_point=log.recovery_point, log_start_offset=log.start_offset)
    assert everything(again) == records
    assert again.epochs == log.epochs


def test_closing_an_unchanged_log_writes_nothing(batch, everything):
    disk = SimDisk()
    log = open_sim(disk)
    for _ in range(20):
        log.append_as_leader(batch(2), 1, NOW)
    log.close()
    names = disk.list_dir("/d/t-0")
    before = {name: disk.read_file(f"/d/t-0/{name}") for name in names}
    synced = []
    disk.on_sync = synced.append
    log = open_sim(disk, clean=True)
    log.assign_epoch(2)  # led again, nothing written
    assert len(everything(log)) == 40
    log.close()
    assert synced == []
    assert {name: disk.read_file(f"/d/t-0/{name}") for name in disk.list_dir("/d/t-0")} == before
    log = open_sim(disk, clean=True)
    assert (log.end_offset, log.epochs) == (40, ((1, 0),))
    log.append_as_leader(batch(2), 3, NOW)
    log.close()
    assert f"/d/t-0/{42:020d}.snapshot" in synced
    log = open_sim(disk, clean=True)
    assert (log.end_offset, log.epochs) == (42, ((1, 0), (3, 40)))


def test_closing_a_log_that_was_cut_back_to_its_length_writes_it_anew(batch):
    disk = SimDisk()
    log = open_sim(disk)
    for _ in range(4):
        log.append_as_leader(batch(2), 1, NOW)
    log.close()
    log = open_sim(disk, clean=True)
    log.truncate_to(4)
    produced = batch(4, producer_id=7, producer_epoch=0, base_sequence=0)
    log.append_as_leader(produced, 3, NOW)
    assert log.end_offset == 8
    log.close()
    log = open_sim(disk, clean=True)
    assert log.epochs == ((1, 0), (3, 4))
    again = log.append_as_leader(produced, 3, NOW)
    assert (again.first_offset, again.duplicate) == (4, True)


def test_an_empty_log_is_closed_without_files_of_its_own(batch):
    disk = SimDisk()
    log = open_sim(disk)
    log.assign_epoch(1)
    log.close()
    assert disk.list_dir("/d/t-0") == [f"{0:020d}.log"]
    log = open_sim(disk, clean=True)
    assert (log.start_offset, log.end_offset, log.recovery.scanned_segments) == (0, 0, 0)
