"""Writing a large file out piece by piece before it is synced."""

import errno
import os

import pytest

from broker.storage import writeback
from broker.storage.disk import RealDisk
from broker.storage.errors import StorageFailure
from broker.storage.writeback import PIECE_BYTES, ROUNDS_MAX, WriteBack


class Recorder:
    """Stands in for the system call."""

    def __init__(self, code=0, meanwhile=lambda: None):
        self.ranges = []
        self.code = code
        self.meanwhile = meanwhile

    def __call__(self, descriptor, position, size):
        self.ranges.append((position, size))
        self.meanwhile()
        if self.code:
            raise OSError(self.code, os.strerror(self.code))


@pytest.fixture
def large(tmp_path):
    """A file of ten pieces and a bit, as a descriptor."""
    descriptor = os.open(tmp_path / "log", os.O_RDWR | os.O_CREAT)
    os.ftruncate(descriptor, 10 * PIECE_BYTES + 5)
    yield descriptor
    os.close(descriptor)


def test_everything_but_the_last_piece_is_written_out(large):
    recorder = Recorder()
    WriteBack(recorder).run(large)
    covered = [position for position, size in recorder.ranges]
    assert covered == [n * PIECE_BYTES for n in range(10)]
    assert {size for _, size in recorder.ranges} == {PIECE_BYTES}


def test_a_small_file_is_left_to_the_sync(tmp_path):
    recorder = Recorder()
    with (tmp_path / "small").open("wb") as file:
        file.truncate(PIECE_BYTES)
        WriteBack(recorder).run(file.fileno())
    assert recorder.ranges == []


def test_what_was_written_out_is_not_gone_through_again(large):
    recorder = Recorder()
    back = WriteBack(recorder)
    back.run(large)
    recorder.ranges.clear()
    back.run(large)
    assert recorder.ranges == []
    os.ftruncate(large, 13 * PIECE_BYTES)
    back.run(large)
    assert [position // PIECE_BYTES for position, _ in recorder.ranges] == [10, 11]


def test_a_file_that_was_cut_is_gone_through_from_its_start(large):
    recorder = Recorder()
    back = WriteBack(recorder)
    back.run(large)
    os.ftruncate(large, 3 * PIECE_BYTES)
    recorder.ranges.clear()
    back.run(large)
    assert [position // PIECE_BYTES for position, _ in recorder.ranges] == [0, 1]


def test_a_writer_that_is_faster_than_the_disk_is_not_followed_for_ever(large):
    def grow():
        os.ftruncate(large, os.fstat(large).st_size + 2 * PIECE_BYTES)

    recorder = Recorder(meanwhile=grow)
    WriteBack(recorder).run(large)
    assert 10 <= len(recorder.ranges) <= 10 * 3**ROUNDS_MAX


def test_where_the_system_cannot_do_it_nothing_fails(large):
    recorder = Recorder(errno.ENOSYS)
    back = WriteBack(recorder)
    back.run(large)
    back.run(large)
    assert len(recorder.ranges) == 1
    WriteBack(None).run(large)


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
def test_pages_that_cannot_be_written_fail_the_sync(tmp_path, monkeypatch, code):
    """The kernel reports a lost page once: the sync that follows would say that all is well."""
    back = WriteBack(Recorder(code))
    monkeypatch.setattr(writeback, "shared", lambda: back)
    file = RealDisk().open(str(tmp_path / "log"))
    file.append(b"x")
    os.truncate(tmp_path / "log", 3 * PIECE_BYTES)
    with pytest.raises(StorageFailure) as failed:
        file.sync()
    assert failed.value.errno == code
    file.close()


def test_the_system_call_writes_a_real_file_out(large):
    """On Linux; elsewhere it does nothing."""
    os.pwrite(large, b"y" * PIECE_BYTES, PIECE_BYTES)
    writeback.shared().run(large)
    assert os.pread(large, 1, PIECE_BYTES) == b"y"
