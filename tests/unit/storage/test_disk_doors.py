"""What both disks promise, the real one and the simulated one."""

import os
import resource
import threading
from pathlib import Path

import pytest

from broker.simulation.disk import SimDisk
from broker.storage.disk import RealDisk
from broker.storage.errors import DiskLocked, FileMissing, StorageFailure


def test_appends_go_to_the_end_and_reads_see_them(place):
    file = place.disk.open(f"{place.root}/a")
    file.append(b"one", memoryview(b"two"))
    file.append(b"three")
    assert file.size == 11
    assert file.read(0, 100) == b"onetwothree"
    assert file.read(3, 3) == b"two"
    assert file.read(11, 5) == b""
    again = place.disk.open(f"{place.root}/a", create=False)
    assert again.size == 11
    again.append(b"!")
    assert again.read(11, 5) == b"!"


def test_truncate_then_append(place):
    file = place.disk.open(f"{place.root}/a")
    file.append(b"0123456789")
    file.truncate(4)
    file.append(b"x")
    assert file.size == 5
    assert file.read(0, 10) == b"0123x"
    file.sync()
    file.close()
    file.close()
    assert place.disk.file_size(f"{place.root}/a") == 5


def test_missing_files_are_named(place):
    path = f"{place.root}/nothing"
    for attempt in (
        lambda: place.disk.open(path, create=False),
        lambda: place.disk.read_file(path),
        lambda: place.disk.file_size(path),
        lambda: place.disk.list_dir(path),
        lambda: place.disk.rename(path, path + "2"),
        lambda: place.disk.open(f"{path}/deeper"),
    ):
        with pytest.raises(FileMissing) as caught:
            attempt()
        assert path in str(caught.value)
    place.disk.remove(path)
    place.disk.remove_tree(path)


def test_folders_listing_rename_and_removal(place):
    disk, root = place.disk, place.root
    disk.make_dirs(f"{root}/x/y")
    disk.make_dirs(f"{root}/x/y")
    disk.write_atomic(f"{root}/x/y/b", b"2")
    disk.write_atomic(f"{root}/x/y/a", b"1")
    assert disk.list_dir(f"{root}/x/y") == ["a", "b"]
    assert disk.is_dir(f"{root}/x")
    assert not disk.is_dir(f"{root}/x/y/a")
    disk.rename(f"{root}/x/y/a", f"{root}/x/y/b")
    assert disk.read_file(f"{root}/x/y/b") == b"1"
    assert disk.list_dir(f"{root}/x/y") == ["b"]
    disk.rename(f"{root}/x/y", f"{root}/x/z")
    disk.sync_dir(f"{root}/x")
    assert disk.read_file(f"{root}/x/z/b") == b"1"
    disk.remove_tree(f"{root}/x")
    assert not disk.exists(f"{root}/x")
    assert disk.free_bytes(root) > 0


def test_write_atomic_replaces_and_leaves_nothing_behind(place):
    path = f"{place.root}/checkpoint"
    place.disk.write_atomic(path, b"old")
    place.disk.write_atomic(path, b"new")
    assert place.disk.read_file(path) == b"new"
    assert place.disk.list_dir(place.root) == ["checkpoint"]


def test_a_lock_is_exclusive_until_released(place):
    path = f"{place.root}/.lock"
    lock = place.disk.lock(path)
    with pytest.raises(DiskLocked, match="another process"):
        place.disk.lock(path)
    lock.release()
    lock.release()
    place.disk.lock(path).release()


def test_a_process_that_dies_lets_go_of_its_lock(tmp_path: Path):
    path = str(tmp_path / ".lock")
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        RealDisk().lock(path)
        os.write(writer, b"x")
        threading.Event().wait()
    assert os.read(reader, 1) == b"x"
    with pytest.raises(DiskLocked):
        RealDisk().lock(path)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    RealDisk().lock(path).release()


def test_a_failed_write_leaves_no_half_of_itself(tmp_path: Path):
    """A file size limit stands in for a full disk: the write stops in the middle."""
    path = str(tmp_path / "a")
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            import signal

            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            file = RealDisk().open(path)
            file.append(b"x" * 1000)
            resource.setrlimit(resource.RLIMIT_FSIZE, (1500, 1500))
            try:
                file.append(b"y" * 300, b"z" * 700)
            except StorageFailure as error:
                fits = file.size == 1000 and os.path.getsize(path) == 1000 and path in str(error)
                file.append(b"w" * 500)
                code = 0 if fits and file.read(999, 3) == b"xww" else 2
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0


def test_closing_under_a_sync_waits_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import broker.storage.disk as disk_module

    entered, leave = threading.Event(), threading.Event()
    synced: list[int] = []

    def slow_sync(descriptor: int) -> None:
        entered.set()
        assert leave.wait(60)
        os.fdatasync(descriptor)  # fails when the descriptor was closed meanwhile
        synced.append(descriptor)

    monkeypatch.setattr(disk_module, "_sync_descriptor", slow_sync)
    file = RealDisk().open(str(tmp_path / "a"))
    thread = threading.Thread(target=file.sync)
    thread.start()
    assert entered.wait(60)
    file.close()
    leave.set()
    thread.join(60)
    assert len(synced) == 1
    with pytest.raises(OSError):
        os.fstat(synced[0])
    with pytest.raises(StorageFailure, match="closed"):
        file.sync()


def test_a_full_simulated_disk_says_so_and_takes_reads():
    disk = SimDisk(capacity_bytes=100)
    disk.make_dirs("/d")
    file = disk.open("/d/a")
    file.append(b"x" * 90)
    with pytest.raises(StorageFailure, match="no space left"):
        file.append(b"y" * 20)
    assert file.size == 90
    assert disk.free_bytes("/d") == 10
    disk.full = True
    with pytest.raises(StorageFailure, match=r"/d/b.*no space|no space"):
        disk.open("/d/b")
    assert file.read(0, 5) == b"xxxxx"
    disk.full = False
    file.append(b"y" * 5)
