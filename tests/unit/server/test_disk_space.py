"""When a broker says that its disk is full, and when it believes that there is room again."""

import errno

import pytest

from broker.runtime import disk_space
from broker.runtime.disk_space import DiskSpace, is_no_room
from broker.storage.errors import StorageFailure

MIB = 1 << 20


class Volume:
    """A disk of which only the sizes matter, and a clock."""

    def __init__(self, total=100 << 30, free=50 << 30):
        self.total, self.free, self.now_ms = total, free, 0
        self.looked = 0

    def free_bytes(self, path):
        self.looked += 1
        if self.free is None:
            raise StorageFailure(path, "look at", errno.EIO, "input/output error")
        return self.free

    def total_bytes(self, path):
        return self.total

    def monotonic_ms(self):
        return self.now_ms


@pytest.fixture
def volume():
    return Volume()


@pytest.fixture
def space(volume):
    changes = []
    space = DiskSpace(volume, "/data", volume, lambda: changes.append(space.short))
    space.changes = changes
    space.check()
    return space


def no_room(code=errno.ENOSPC):
    return StorageFailure("/data/t-0/0.log", "write to", code, "no space left on the disk")


def test_it_is_full_before_the_last_byte_is_gone(space, volume):
    volume.free = 17 * MIB
    space.check()
    assert not space.short
    volume.free = 15 * MIB
    space.check()
    assert space.short
    assert space.changes == [True]


def test_a_small_volume_keeps_a_hundredth(volume):
    volume.total, volume.free = 20 * MIB, MIB
    space = DiskSpace(volume, "/data", volume)
    space.check()
    assert not space.short
    volume.free = MIB // 8
    space.check()
    assert space.short


def test_a_fast_writer_is_noticed_before_the_reserve_is_eaten_up(space, volume):
    volume.free = 64 * MIB
    space.check()
    while not space.short:
        volume.free -= MIB
        space.wrote(MIB)
    assert volume.free >= 8 * MIB
    assert volume.looked < 30


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_write_that_found_no_room_is_believed_at_once(space, code):
    space.failed(no_room(code))
    assert space.short
    space.failed(no_room(code))
    assert space.changes == [True]


def test_other_failures_say_nothing_about_room(space):
    space.failed(no_room(errno.EIO))
    space.failed(ValueError("x"))
    assert not space.short
    assert not is_no_room(OSError(errno.ENOSPC, "not ours"))


def test_room_has_to_be_plenty_and_to_last_a_moment(space, volume):
    volume.free = MIB
    space.check()
    volume.free = 63 * MIB
    volume.now_ms = 10_000
    space.check()
    assert space.short, "writing would fill it again at once"
    volume.free = 64 * MIB
    space.check()
    assert not space.short
    assert space.changes == [True, False]


def test_a_quota_that_the_volume_does_not_show_is_tried_ever_more_seldom(space, volume):
    waits = []
    for _ in range(9):
        space.failed(no_room())
        since = volume.now_ms
        while space.short:
            volume.now_ms += 100
            space.check()
        waits.append(volume.now_ms - since)
    assert waits[0] == disk_space.PATIENCE_MS_FIRST
    assert waits == sorted(waits)
    assert waits[-1] == disk_space.PATIENCE_MS_MAX
    volume.now_ms += disk_space.RELAPSE_MS
    space.failed(no_room())
    volume.now_ms += disk_space.PATIENCE_MS_FIRST
    space.check()
    assert not space.short


def test_a_volume_that_cannot_be_looked_at_changes_nothing(space, volume):
    volume.free = None
    space.check()
    assert not space.short
