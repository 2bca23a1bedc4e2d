"""Writes the archive of a bundle: the same files give the same bytes, on any day, by anyone.

Times, owners and order are fixed; the sum of the whole is its name.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from typing import IO

COMPRESSION_LEVEL = 6
# No time at all would be 1970, which some programs take for a mistake.
_TIME = 946_684_800


@dataclass(frozen=True, slots=True, order=True)
class Entry:
    """One file of the archive: a path on this machine or its content."""

    target: str
    source: str | None
    content: bytes = b""
    executable: bool = False


class _Summing(io.RawIOBase):
    """Passes on what is written, and sums it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.sum = hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        piece = bytes(data)  # type: ignore[call-overload]
        self.sum.update(piece)
        return self._file.write(piece)


def write_archive(path: str, entries: Iterable[Entry]) -> str:
    """Write a tar.gz of the entries, folders included; gives the sha256 of the file in hex."""
    with open(path, "wb") as file:
        summing = _Summing(file)
        with (
            gzip.GzipFile(
                filename="", mode="wb", compresslevel=COMPRESSION_LEVEL, fileobj=summing, mtime=0
            ) as packed,
            tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as tar,
        ):
            made: set[str] = set()
            for entry in sorted(entries):
                _add_folders(tar, entry.target, made)
                _add_file(tar, entry)
        os.fsync(file.fileno())
        return summing.sum.hexdigest()


def _header(name: str, mode: int) -> tarfile.TarInfo:
    header = tarfile.TarInfo(name)
    header.mode, header.mtime = mode, _TIME
    header.uid = header.gid = 0
    header.uname = header.gname = "root"
    return header


def _add_folders(tar: tarfile.TarFile, target: str, made: set[str]) -> None:
    parts = target.split("/")[:-1]
    for count in range(1, len(parts) + 1):
        folder = "/".join(parts[:count])
        if folder not in made:
            made.add(folder)
            header = _header(folder, 0o755)
            header.type = tarfile.DIRTYPE
            tar.addfile(header)


def _add_file(tar: tarfile.TarFile, entry: Entry) -> None:
    content = entry.content
    if entry.source is not None:
        with open(entry.source, "rb") as file:
            content = file.read()
    header = _header(entry.target, 0o755 if entry.executable else 0o644)
    header.size = len(content)
    tar.addfile(header, io.BytesIO(content))
