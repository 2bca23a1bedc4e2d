"""The Disk door: every touch of a file system goes through here, so that a simulation can fake it.

Paths are ``str`` with ``/`` between the parts. Every failure of the operating system surfaces as
StorageFailure naming the path. Nothing here may hide a failed write or sync, or retry a failed
sync: after one, the kernel may already have dropped the pages.
"""

import errno as errno_codes
import fcntl
import os
import shutil
import threading
from collections.abc import Callable, Sequence
from typing import Protocol

from broker.storage import writeback
from broker.storage.errors import DiskLocked, FileMissing, StorageError, StorageFailure

__all__ = [
    "Disk",
    "DiskLocked",
    "File",
    "FileMissing",
    "Lock",
    "RealDisk",
    "StorageError",
    "StorageFailure",
    "parent_of",
]

Buffer = bytes | bytearray | memoryview

BUFFERS_PER_WRITE_MAX = 512  # below IOV_MAX (1024) everywhere
TEMPORARY_SUFFIX = ".tmp"
_sync_descriptor: Callable[[int], None] = getattr(os, "fdatasync", os.fsync)


class File(Protocol):
    """One open file. Appends and reads belong to one thread; ``sync`` may come from another."""

    @property
    def path(self) -> str:
        """Where it was opened."""
        ...

    @property
    def size(self) -> int:
        """Bytes written through this handle's file so far, synced or not."""
        ...

    def append(self, *buffers: Buffer) -> None:
        """Write at the end. Either everything is written or the size does not change."""
        ...

    def read(self, position: int, size: int) -> bytes:
        """Up to ``size`` bytes at ``position``; fewer only where the file ends."""
        ...

    def truncate(self, size: int) -> None:
        """Cut the file to ``size`` bytes."""
        ...

    def sync(self) -> None:
        """Return when contents and size are on stable storage."""
        ...

    def close(self) -> None:
        """Give the handle back; twice is fine."""
        ...


class Lock(Protocol):
    """A held lock on a path."""

    def release(self) -> None:
        """Let others have it; twice is fine."""
        ...


class Disk(Protocol):
    """What the broker needs of a file system. Failures raise StorageFailure (or FileMissing)."""

    def open(self, path: str, create: bool = True) -> File:
        """Open for reading and appending; FileMissing when absent and not ``create``."""
        ...

    def exists(self, path: str) -> bool:
        """Whether a file or folder is there."""
        ...

    def is_dir(self, path: str) -> bool:
        """Whether a folder is there."""
        ...

    def file_size(self, path: str) -> int:
        """Bytes of a file."""
        ...

    def list_dir(self, path: str) -> list[str]:
        """Names (not paths) in a folder, sorted."""
        ...

    def make_dirs(self, path: str) -> None:
        """Create a folder and its parents, durably; fine when it is there."""
        ...

    def remove(self, path: str) -> None:
        """Remove a file; fine when it is gone."""
        ...

    def remove_tree(self, path: str) -> None:
        """Remove a folder and everything in it; fine when it is gone."""
        ...

    def rename(self, source: str, target: str) -> None:
        """Move atomically, replacing a file at ``target``. Durable after ``sync_dir``."""
        ...

    def sync_dir(self, path: str) -> None:
        """Make creations, renames and removals in a folder durable."""
        ...

    def read_file(self, path: str) -> bytes:
        """The whole of a small file."""
        ...

    def write_atomic(self, path: str, data: bytes) -> None:
        """Replace a small file durably: after a crash it has the old or the new contents."""
        ...

    def lock(self, path: str) -> Lock:
        """Take an exclusive lock that ends with the process; DiskLocked when it is taken."""
        ...

    def free_bytes(self, path: str) -> int:
        """Bytes that can still be written on the file system of ``path``."""
        ...

    def total_bytes(self, path: str) -> int:
        """Bytes of the file system of ``path``, used and free."""
        ...


def parent_of(path: str) -> str:
    """The folder that holds ``path``."""
    return path.rpartition("/")[0] or ("/" if path.startswith("/") else ".")


def failure(path: str, operation: str, error: OSError) -> StorageFailure:
    """The StorageFailure for an OSError."""
    reason = error.strerror or str(error)
    if error.errno == errno_codes.ENOSPC:
        reason = "no space left on the disk"
    kind = FileMissing if error.errno == errno_codes.ENOENT else StorageFailure
    return kind(path, operation, error.errno, reason)


class RealFile:
    """A file of the operating system."""

    __slots__ = ("_closing", "_descriptor", "_frayed", "_guard", "_path", "_size", "_syncing")

    def __init__(self, path: str, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor
        self._size = os.fstat(descriptor).st_size
        # A descriptor must not be closed under a sync of another thread: its number could be
        # given to another file meanwhile. The last of the two closes it.
        self._guard = threading.Lock()
        self._syncing = 0
        self._closing = False
        self._frayed = False  # bytes of a failed write may still lie beyond _size

    @property
    def path(self) -> str:
        """Where it was opened."""
        return self._path

    @property
    def size(self) -> int:
        """Bytes in the file."""
        return self._size

    def append(self, *buffers: Buffer) -> None:
        """Write at the end; a write that fails half-way is cut off again."""
        total = sum(map(len, buffers))
        if self._frayed:
            self._cut_back()
        try:
            written = os.writev(self._descriptor, buffers)
            if written != total:
                self._append_rest(buffers, written)
        except OSError as error:
            self._cut_back()
            raise failure(self._path, "write to", error) from error
        self._size += total

    def _append_rest(self, buffers: Sequence[Buffer], written: int) -> None:
        rest = b"".join(buffers)[written:] if len(buffers) > 1 else memoryview(buffers[0])[written:]
        while rest:
            count = os.write(self._descriptor, rest)
            rest = rest[count:]

    def _cut_back(self) -> None:
        self._frayed = True
        try:
            os.ftruncate(self._descriptor, self._size)
            self._frayed = False
        except OSError as error:
            raise failure(self._path, "undo a failed write to", error) from error

    def read(self, position: int, size: int) -> bytes:
        """Up to ``size`` bytes at ``position``."""
        try:
            data = os.pread(self._descriptor, size, position)
            if len(data) < size and position + len(data) < self._size:
                data = self._read_rest(data, position, size)
        except OSError as error:
            raise failure(self._path, "read", error) from error
        return data

    def _read_rest(self, data: bytes, position: int, size: int) -> bytes:
        parts = [data]
        length = len(data)
        while length < size and (
            part := os.pread(self._descriptor, size - length, position + length)
        ):
            parts.append(part)
            length += len(part)
        return b"".join(parts)

    def truncate(self, size: int) -> None:
        """Cut the file to ``size`` bytes."""
        try:
            os.ftruncate(self._descriptor, size)
        except OSError as error:
            raise failure(self._path, "truncate", error) from error
        self._size = size

    def sync(self) -> None:
        """fdatasync: contents and size."""
        with self._guard:
            if self._closing:
                raise StorageFailure(self._path, "sync", errno_codes.EBADF, "it is closed")
            self._syncing += 1
        try:
            writeback.shared().run(self._descriptor)
            _sync_descriptor(self._descriptor)
        except OSError as error:
            raise failure(self._path, "sync", error) from error
        finally:
            self._sync_done()

    def _sync_done(self) -> None:
        with self._guard:
            self._syncing -= 1
            last = self._closing and self._syncing == 0
        if last:
            os.close(self._descriptor)

    def close(self) -> None:
        """Close, or leave that to a sync in progress."""
        with self._guard:
            if self._closing:
                return
            self._closing = True
            idle = self._syncing == 0
        if idle:
            os.close(self._descriptor)


class RealLock:
    """An flock on a file; the kernel lets go of it when the process ends, however it ends."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    def release(self) -> None:
        """Let others have it."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class RealDisk:
    """The operating system's file system."""

    def open(self, path: str, create: bool = True) -> RealFile:
        """Open for reading and appending."""
        flags = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | (os.O_CREAT if create else 0)
        try:
            descriptor = os.open(path, flags, 0o640)
        except OSError as error:
            raise failure(path, "open", error) from error
        return RealFile(path, descriptor)

    def exists(self, path: str) -> bool:
        """Whether a file or folder is there."""
        return os.path.exists(path)

    def is_dir(self, path: str) -> bool:
        """Whether a folder is there."""
        return os.path.isdir(path)

    def file_size(self, path: str) -> int:
        """Bytes of a file."""
        try:
            return os.stat(path).st_size
        except OSError as error:
            raise failure(path, "look at", error) from error

    def list_dir(self, path: str) -> list[str]:
        """Names in a folder, sorted."""
        try:
            return sorted(os.listdir(path))
        except OSError as error:
            raise failure(path, "list", error) from error

    def make_dirs(self, path: str) -> None:
        """Create a folder and its parents, durably."""
        missing = []
        while not os.path.isdir(path):
            missing.append(path)
            path = parent_of(path)
        for path in reversed(missing):
            try:
                os.makedirs(path, mode=0o750, exist_ok=True)
            except OSError as error:
                raise failure(path, "create", error) from error
            self.sync_dir(parent_of(path))

    def remove(self, path: str) -> None:
        """Remove a file."""
        try:
            os.unlink(path)
        except FileNotFoundError:
            return
        except OSError as error:
            raise failure(path, "remove", error) from error

    def remove_tree(self, path: str) -> None:
        """Remove a folder and everything in it."""
        try:
            shutil.rmtree(path)
        except FileNotFoundError:
            return
        except OSError as error:
            raise failure(path, "remove", error) from error

    def rename(self, source: str, target: str) -> None:
        """Move atomically."""
        try:
            os.replace(source, target)
        except OSError as error:
            raise failure(source, f"rename to {target}", error) from error

    def sync_dir(self, path: str) -> None:
        """Make creations, renames and removals in a folder durable."""
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise failure(path, "sync", error) from error

    def read_file(self, path: str) -> bytes:
        """The whole of a small file."""
        try:
            with open(path, "rb") as file:
                return file.read()
        except OSError as error:
            raise failure(path, "read", error) from error

    def write_atomic(self, path: str, data: bytes) -> None:
        """Temporary file, sync, rename, sync of the folder."""
        temporary = path + TEMPORARY_SUFFIX
        try:
            with open(temporary, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except OSError as error:
            raise failure(path, "write", error) from error
        self.sync_dir(parent_of(path))

    def lock(self, path: str) -> RealLock:
        """Take an exclusive flock."""
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        except OSError as error:
            raise failure(path, "open", error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            if error.errno in (errno_codes.EWOULDBLOCK, errno_codes.EACCES):
                raise DiskLocked(path) from error
            raise failure(path, "lock", error) from error
        return RealLock(descriptor)

    def free_bytes(self, path: str) -> int:
        """Bytes free for this user."""
        stat = self._file_system(path)
        return stat.f_bavail * stat.f_frsize

    def total_bytes(self, path: str) -> int:
        """Bytes of the whole file system."""
        stat = self._file_system(path)
        return stat.f_blocks * stat.f_frsize

    @staticmethod
    def _file_system(path: str) -> os.statvfs_result:
        try:
            return os.statvfs(path)
        except OSError as error:
            raise failure(path, "look at", error) from error
