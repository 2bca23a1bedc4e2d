"""Files and folders of this machine, as plain blocking functions. They raise OSError."""

from __future__ import annotations

import contextlib
import os
import shutil

from clusters.errors import HostError
from clusters.hosts.base import FolderFacts

# A path below a file is as absent as one below nothing.
_ABSENT = (FileNotFoundError, NotADirectoryError)


def folder_facts(path: str, create: bool) -> FolderFacts:
    """Whether a folder can be written; nothing is created to find out."""
    place = path
    while not os.path.lexists(place) and place != os.path.dirname(place):
        place = os.path.dirname(place)
    obstacle: str | None = None
    if place != path and not create:
        obstacle = f"there is no folder {path}"
    elif not os.path.isdir(place):
        obstacle = f"{place} is not a folder"
    elif not os.access(place, os.W_OK | os.X_OK):
        obstacle = f"{place} is not writable by this user"
    free_bytes = shutil.disk_usage(place).free if os.path.isdir(place) else 0
    return FolderFacts(
        path=path, exists=os.path.isdir(path), free_bytes=free_bytes, obstacle=obstacle
    )


def make_folder(path: str, mode: int) -> None:
    """Create a folder and its parents."""
    os.makedirs(path, mode=mode, exist_ok=True)


def read_link(path: str) -> str | None:
    """Where a symbolic link points to; None when there is none."""
    try:
        return os.readlink(path)
    except OSError:
        return None


def swap_link(path: str, target: str) -> None:
    """Make a symbolic link point to a target, in one step."""
    temporary = f"{path}.new.{os.getpid()}"
    with contextlib.suppress(*_ABSENT):
        os.unlink(temporary)
    os.symlink(target, temporary)
    os.replace(temporary, path)


def remove_folder(path: str) -> None:
    """Remove a folder and all in it; absent is fine, a symbolic link is refused."""
    if os.path.islink(path):
        raise HostError(f"{path} is a symbolic link; remove it yourself")
    if os.path.isdir(path):
        shutil.rmtree(path)


def list_folder(path: str) -> list[str]:
    """Names in a folder, sorted; [] when there is none."""
    return sorted(os.listdir(path)) if os.path.isdir(path) else []


def read_file(path: str) -> bytes | None:
    """A file's content; None when there is none."""
    try:
        with open(path, "rb") as stream:
            return stream.read()
    except _ABSENT:
        return None


def remove_file(path: str) -> None:
    """Remove a file; absent is fine."""
    with contextlib.suppress(*_ABSENT):
        os.unlink(path)


def file_size(path: str) -> int:
    """Size in bytes; 0 when there is none."""
    try:
        return os.stat(path).st_size
    except _ABSENT:
        return 0


def read_from(path: str, position: int, max_bytes: int) -> bytes:
    """The last `max_bytes` of a file after a position, all of it when it became shorter."""
    try:
        with open(path, "rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            stream.seek(max(position if position <= size else 0, size - max_bytes, 0))
            return stream.read(max_bytes)
    except _ABSENT:
        return b""
