"""A disk in memory that forgets what was not synced: the Disk door of the simulation.

It knows, for each file, what was written and what was synced, and for each folder, which
creations, renames and removals were synced. ``crash`` keeps the synced part and, as the random
source decides, some of the rest: a prefix of the unsynced bytes (a torn write), a prefix of the
unsynced changes of a folder. It must never keep less than what was synced: that is the promise a
real disk makes too.
"""

import errno as errno_codes
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from broker.storage.disk import Buffer, failure, parent_of
from broker.storage.errors import DiskLocked, FileMissing, StorageFailure

__all__ = ["SimDisk", "SimFile", "SimLock"]


class _Content:
    """The bytes of one file: written, and how to get back to what was synced."""

    __slots__ = ("cut_off", "kept", "written")

    def __init__(self) -> None:
        self.written = bytearray()
        # Invariant: written[:kept] + cut_off is what was synced last.
        self.kept = 0
        self.cut_off = b""

    def truncate(self, size: int) -> None:
        if size < self.kept:
            self.cut_off = bytes(self.written[size : self.kept]) + self.cut_off
            self.kept = size
        del self.written[size:]

    def sync(self) -> None:
        self.kept = len(self.written)
        self.cut_off = b""

    def crash(self, rng: random.Random, zero_tails: bool) -> None:
        if self.cut_off and rng.random() < 0.5:
            # The truncation itself never reached the disk, nor did what came after it.
            self.written[self.kept :] = self.cut_off
        else:
            unsynced = len(self.written) - self.kept
            torn = self.kept + (rng.randint(0, unsynced) if unsynced else 0)
            lost = len(self.written) - torn
            del self.written[torn:]
            if lost and zero_tails and rng.random() < 0.25:
                self.written += bytes(rng.randint(1, lost))  # size reached the disk, data did not
        self.sync()


@dataclass(slots=True)
class _Folder:
    """Names in a folder, as seen now and as synced, and the changes between the two in order."""

    entries: "dict[str, _Node]" = field(default_factory=dict)
    synced: "dict[str, _Node]" = field(default_factory=dict)
    changes: "list[tuple[str, _Node | None]]" = field(default_factory=list)

    def put(self, name: str, node: "_Node | None") -> None:
        self.changes.append((name, node))
        _apply(self.entries, name, node)

    def sync(self) -> None:
        self.synced = dict(self.entries)
        self.changes.clear()

    def crash(self, rng: random.Random) -> None:
        kept = rng.randint(0, len(self.changes)) if self.changes else 0
        for name, node in self.changes[:kept]:
            _apply(self.synced, name, node)
        self.entries = dict(self.synced)
        self.changes.clear()


_Node: TypeAlias = _Content | _Folder


def _apply(entries: "dict[str, _Node]", name: str, node: "_Node | None") -> None:
    if node is None:
        entries.pop(name, None)
    else:
        entries[name] = node


class SimFile:
    """An open file of a SimDisk; it dies with the crash that follows its opening."""

    __slots__ = ("_content", "_disk", "_life", "_path")

    def __init__(self, disk: "SimDisk", path: str, content: _Content) -> None:
        self._disk = disk
        self._path = path
        self._content = content
        self._life: int | None = disk.crashes

    @property
    def path(self) -> str:
        """Where it was opened."""
        return self._path

    @property
    def size(self) -> int:
        """Bytes written."""
        return len(self._content.written)

    def append(self, *buffers: Buffer) -> None:
        """Write at the end, unless the disk is full."""
        self._check("write to")
        self._disk.take_space(self._path, sum(map(len, buffers)))
        for buffer in buffers:
            self._content.written += buffer

    def read(self, position: int, size: int) -> bytes:
        """Up to ``size`` bytes at ``position``."""
        self._check("read")
        if self._disk.fail_reads:
            raise _io_error(self._path, "read")
        return bytes(memoryview(self._content.written)[position : position + size])

    def truncate(self, size: int) -> None:
        """Cut the file."""
        self._check("truncate")
        self._content.truncate(size)

    def sync(self) -> None:
        """Make what was written survive a crash, unless the disk was told to fail."""
        self._check("sync")
        self._disk.count_sync(self._path)
        self._content.sync()

    def close(self) -> None:
        """Give the handle back."""
        self._life = None

    def _check(self, operation: str) -> None:
        if self._life != self._disk.crashes:
            reason = "it is closed" if self._life is None else "it was opened before a crash"
            raise StorageFailure(self._path, operation, errno_codes.EBADF, reason)


class SimLock:
    """A lock on a path of a SimDisk; a crash lets go of it."""

    def __init__(self, disk: "SimDisk", path: str) -> None:
        self._disk = disk
        self._path = path
        self._life = disk.crashes

    def release(self) -> None:
        """Let others have it."""
        if self._life == self._disk.crashes:
            self._disk.unlock(self._path)
            self._life = -1


class SimDisk:
    """One machine's disk in memory.

    Switches that a test or the world sets at any time:

    - ``full``: appends and new files fail with ENOSPC, as they do when ``capacity_bytes`` is used.
    - ``fail_next_sync``: that many syncs fail with EIO (True counts as one).
    - ``fail_reads``: reads of open files fail with EIO.
    - ``nearly_full``: it says that nothing is left, and takes what comes all the same: brokers
      stop before they have to.
    - ``zero_tails``: a crash may leave zero bytes where the size of a file reached the disk but
      its data did not.
    - ``on_sync``: called with the path of each file sync, before it happens; it may raise.
    """

    def __init__(self, *, capacity_bytes: int | None = None) -> None:
        self.capacity_bytes = capacity_bytes
        self.full = False
        self.nearly_full = False
        self.fail_next_sync: int = 0
        self.fail_reads = False
        self.zero_tails = True
        self.on_sync: Callable[[str], None] | None = None
        self.crashes = 0
        self.syncs = 0
        self._root = _Folder()
        self._locks: set[str] = set()

    # -- faults -----------------------------------------------------------------------------

    def crash(self, rng: random.Random) -> None:
        """Power cut: keep the synced part and some of the rest; open handles and locks die.

        The same ``rng`` state and history give the same result.
        """
        self.crashes += 1
        self._locks.clear()
        self._crash_folder(self._root, rng)

    def _crash_folder(self, folder: _Folder, rng: random.Random) -> None:
        folder.crash(rng)
        for name in sorted(folder.entries):
            node = folder.entries[name]
            if isinstance(node, _Folder):
                self._crash_folder(node, rng)
            else:
                node.crash(rng, self.zero_tails)

    def kill(self) -> None:
        """kill -9 of the process: handles and locks die, everything written stays."""
        self.crashes += 1
        self._locks.clear()

    def flip(self, path: str, position: int, mask: int = 0x01) -> None:
        """Bit rot: flip the bits of ``mask`` in one byte."""
        self._content(path, "flip a bit of").written[position] ^= mask

    def take_space(self, path: str, size: int) -> None:
        """Raise ENOSPC when ``size`` more bytes do not fit."""
        if size and (self.full or size > self._left_bytes()):
            raise failure(path, "write to", OSError(errno_codes.ENOSPC, "No space left on device"))

    def count_sync(self, path: str) -> None:
        """Account for a sync, failing when told to."""
        if self.on_sync is not None:
            self.on_sync(path)
        if self.fail_next_sync:
            self.fail_next_sync -= 1
            raise _io_error(path, "sync")
        self.syncs += 1

    def unlock(self, path: str) -> None:
        """Let go of a lock; only SimLock calls it."""
        self._locks.discard(path)

    # -- the Disk door ----------------------------------------------------------------------

    def open(self, path: str, create: bool = True) -> SimFile:
        """Open for reading and appending."""
        folder, name = self._parent(path, "open")
        node = folder.entries.get(name)
        if node is None:
            if not create:
                raise _missing(path, "open")
            if self.full:
                raise failure(path, "open", OSError(errno_codes.ENOSPC, "No space left"))
            node = _Content()
            folder.put(name, node)
        if isinstance(node, _Folder):
            raise failure(path, "open", IsADirectoryError(errno_codes.EISDIR, "Is a directory"))
        return SimFile(self, path, node)

    def exists(self, path: str) -> bool:
        """Whether a file or folder is there."""
        return self._find(path) is not None

    def is_dir(self, path: str) -> bool:
        """Whether a folder is there."""
        return isinstance(self._find(path), _Folder)

    def file_size(self, path: str) -> int:
        """Bytes of a file."""
        return len(self._content(path, "look at").written)

    def list_dir(self, path: str) -> list[str]:
        """Names in a folder, sorted."""
        return sorted(self._folder(path, "list").entries)

    def make_dirs(self, path: str) -> None:
        """Create a folder and its parents, durably."""
        folder = self._root
        for part in _parts(path):
            node = folder.entries.get(part)
            if node is None:
                node = _Folder()
                folder.put(part, node)
                folder.sync()
            if not isinstance(node, _Folder):
                raise failure(path, "create", NotADirectoryError(errno_codes.ENOTDIR, "a file"))
            folder = node

    def remove(self, path: str) -> None:
        """Remove a file."""
        parts = _parts(path)
        folder = self._find("/".join(parts[:-1]))
        if isinstance(folder, _Folder) and parts[-1] in folder.entries:
            folder.put(parts[-1], None)

    def remove_tree(self, path: str) -> None:
        """Remove a folder and everything in it."""
        self.remove(path)

    def rename(self, source: str, target: str) -> None:
        """Move atomically within a folder; between folders, a crash may keep both names."""
        from_folder, from_name = self._parent(source, "rename")
        to_folder, to_name = self._parent(target, "rename")
        node = from_folder.entries.get(from_name)
        if node is None:
            raise _missing(source, "rename")
        to_folder.put(to_name, node)
        from_folder.put(from_name, None)

    def sync_dir(self, path: str) -> None:
        """Make changes of a folder survive a crash."""
        folder = self._folder(path, "sync")
        self.count_sync(path)
        folder.sync()

    def read_file(self, path: str) -> bytes:
        """The whole of a small file."""
        return bytes(self._content(path, "read").written)

    def write_atomic(self, path: str, data: bytes) -> None:
        """Replace a file durably."""
        folder, name = self._parent(path, "write")
        self.take_space(path, max(1, len(data)))
        self.count_sync(path)
        content = _Content()
        content.written += data
        content.sync()
        folder.put(name, content)
        folder.sync()

    def lock(self, path: str) -> SimLock:
        """Take an exclusive lock."""
        if path in self._locks:
            raise DiskLocked(path)
        self.open(path).close()
        self._locks.add(path)
        return SimLock(self, path)

    def free_bytes(self, path: str) -> int:
        """Bytes left of ``capacity_bytes``; 0 when ``full`` or ``nearly_full``."""
        return 0 if self.nearly_full else self._left_bytes()

    def _left_bytes(self) -> int:
        if self.full:
            return 0
        if self.capacity_bytes is None:
            return 1 << 40
        return max(0, self.capacity_bytes - self._used(self._root))

    def total_bytes(self, path: str) -> int:
        """``capacity_bytes``, or a terabyte when that is not set."""
        return 1 << 40 if self.capacity_bytes is None else self.capacity_bytes

    # -- tree -------------------------------------------------------------------------------

    def _find(self, path: str) -> _Node | None:
        node: _Node | None = self._root
        for part in _parts(path):
            if not isinstance(node, _Folder):
                return None
            node = node.entries.get(part)
        return node

    def _folder(self, path: str, operation: str) -> _Folder:
        node = self._find(path)
        if node is None:
            raise _missing(path, operation)
        if not isinstance(node, _Folder):
            raise failure(path, operation, NotADirectoryError(errno_codes.ENOTDIR, "a file"))
        return node

    def _content(self, path: str, operation: str) -> _Content:
        node = self._find(path)
        if node is None:
            raise _missing(path, operation)
        if isinstance(node, _Folder):
            raise failure(path, operation, IsADirectoryError(errno_codes.EISDIR, "a folder"))
        return node

    def _parent(self, path: str, operation: str) -> tuple[_Folder, str]:
        parts = _parts(path)
        return self._folder(parent_of("/" + "/".join(parts)), operation), parts[-1]

    def _used(self, folder: _Folder) -> int:
        return sum(
            self._used(node) if isinstance(node, _Folder) else len(node.written)
            for node in folder.entries.values()
        )


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]


def _missing(path: str, operation: str) -> FileMissing:
    return FileMissing(path, operation, errno_codes.ENOENT, "no such file or folder")


def _io_error(path: str, operation: str) -> StorageFailure:
    return failure(path, operation, OSError(errno_codes.EIO, "input/output error"))
