"""The simulated disk keeps what was synced and may lose the rest."""

import random

import pytest

from broker.simulation.disk import SimDisk
from broker.storage.errors import FileMissing, StorageFailure


def fresh() -> SimDisk:
    disk = SimDisk()
    disk.make_dirs("/d")
    return disk


def after_crashes(prepare, look, seeds=200, **switches):
    """The set of outcomes that ``look`` sees after a crash, over seeds."""
    outcomes = set()
    for seed in range(seeds):
        disk = fresh()
        for name, value in switches.items():
            setattr(disk, name, value)
        prepare(disk)
        disk.crash(random.Random(seed))
        outcomes.add(look(disk))
    return outcomes


def contents(disk: SimDisk) -> bytes | None:
    return disk.read_file("/d/a") if disk.exists("/d/a") else None


def test_synced_bytes_survive_and_unsynced_ones_leave_a_prefix():
    def prepare(disk):
        file = disk.open("/d/a")
        file.append(b"abc")
        file.sync()
        disk.sync_dir("/d")
        file.append(b"def")

    found = after_crashes(prepare, contents, zero_tails=False)
    assert found == {b"abc", b"abcd", b"abcde", b"abcdef"}


def test_lost_bytes_may_come_back_as_zeros():
    def prepare(disk):
        file = disk.open("/d/a")
        file.append(b"abc")
        file.sync()
        disk.sync_dir("/d")
        file.append(b"de")

    found = after_crashes(prepare, contents)
    assert b"abc\0" in found
    assert b"abc\0\0" in found
    assert all(c is not None and c.startswith(b"abc") and len(c) <= 5 for c in found)


def test_a_file_whose_folder_was_not_synced_may_vanish():
    def prepare(disk):
        disk.open("/d/a").sync()

    assert after_crashes(prepare, contents) == {None, b""}


def test_a_rename_is_durable_only_after_the_folder_was_synced():
    def prepare(disk):
        disk.write_atomic("/d/a", b"old")
        disk.write_atomic("/d/b", b"new")
        disk.rename("/d/b", "/d/a")

    def prepare_synced(disk):
        prepare(disk)
        disk.sync_dir("/d")

    assert after_crashes(prepare, contents) == {b"old", b"new"}
    assert after_crashes(prepare_synced, contents) == {b"new"}


def test_write_atomic_is_never_half():
    def prepare(disk):
        disk.write_atomic("/d/a", b"one")
        disk.write_atomic("/d/a", b"two")

    assert after_crashes(prepare, contents) == {b"two"}


def test_an_unsynced_truncation_may_be_undone():
    def prepare(disk):
        file = disk.open("/d/a")
        file.append(b"abcdef")
        file.sync()
        disk.sync_dir("/d")
        file.truncate(4)
        file.truncate(2)

    def prepare_synced(disk):
        prepare(disk)
        file = disk.open("/d/a")
        file.append(b"X")
        file.sync()

    assert after_crashes(prepare, contents) == {b"abcdef", b"ab"}
    assert after_crashes(prepare_synced, contents) == {b"abX"}


def test_a_crash_ends_handles_and_locks_and_repeats_by_seed():
    disk = fresh()
    file = disk.open("/d/a")
    lock = disk.lock("/d/.lock")
    disk.crash(random.Random(1))
    with pytest.raises(StorageFailure, match="before a crash"):
        file.append(b"x")
    disk.lock("/d/.lock")
    lock.release()  # of a former life: must not take the new one away
    with pytest.raises(Exception, match="another process"):
        disk.lock("/d/.lock")


def test_a_killed_process_loses_no_written_byte():
    disk = fresh()
    disk.open("/d/a").append(b"abc")
    disk.kill()
    assert disk.read_file("/d/a") == b"abc"


def test_syncs_fail_as_often_as_told():
    disk = fresh()
    file = disk.open("/d/a")
    disk.fail_next_sync = True
    with pytest.raises(StorageFailure, match="/d/a"):
        file.sync()
    file.sync()
    disk.fail_next_sync = 2
    for _ in range(2):
        with pytest.raises(StorageFailure):
            disk.write_atomic("/d/b", b"x")
    assert not disk.exists("/d/b")


def test_bit_rot_and_read_errors():
    disk = fresh()
    file = disk.open("/d/a")
    file.append(b"\x00\x00")
    disk.flip("/d/a", 1, 0x80)
    assert file.read(0, 2) == b"\x00\x80"
    disk.fail_reads = True
    with pytest.raises(StorageFailure, match="input/output error"):
        file.read(0, 2)
    with pytest.raises(FileMissing):
        disk.flip("/d/none", 0)
