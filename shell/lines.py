"""Lines of bytes from a pipe, a terminal or a file, without blocking the loop and without threads.

A line may be of any bytes; only the newline is taken off.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import BinaryIO

from shell.exits import Failed

_CHUNK_BYTES = 256 * 1024
_FOLLOW_EVERY_S = 0.2
LINE_BYTES_LIMIT = 100 * 1024 * 1024


async def read_lines(descriptor: int) -> AsyncIterator[bytes]:
    """Yield each line of a file descriptor until its end; raises Failed for an endless line."""
    rest = b""
    while True:
        chunk = await _read(descriptor)
        if not chunk:
            break
        lines = (rest + chunk).split(b"\n")
        rest = lines.pop()
        for line in lines:
            yield line
        if len(rest) > LINE_BYTES_LIMIT:
            raise Failed(
                f"A line is longer than {LINE_BYTES_LIMIT // 1024 // 1024} MiB.",
                hint="Is it binary? --file FILE --whole sends a file as one record.",
            )
    if rest:
        yield rest


async def follow_lines(path: str, *, from_end: bool = False) -> AsyncIterator[bytes]:
    """Yield each line of a file that grows, for ever; a line without its end is waited for.

    Follows the name, as `tail -F` does: when the file is replaced, what is left of the old one is
    read first; when it is cut, reading begins again. A file that is not there yet is waited for.
    """
    while True:
        try:
            file = open(path, "rb")  # noqa: ASYNC230, SIM115 - a file never blocks for long
        except FileNotFoundError:
            await asyncio.sleep(_FOLLOW_EVERY_S)
            continue
        with file:
            if from_end:
                file.seek(0, os.SEEK_END)
            from_end = False
            async for line in _growing(path, file):
                yield line


async def _growing(path: str, file: BinaryIO) -> AsyncIterator[bytes]:
    """Yield the lines of an open file until another one has its name."""
    rest = b""
    while True:
        replaced = _is_replaced(path, file)
        chunk = file.read(_CHUNK_BYTES)
        if chunk:
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                yield line
            await asyncio.sleep(0)
            continue
        if replaced:
            if rest:
                yield rest
            return
        if os.fstat(file.fileno()).st_size < file.tell():
            file.seek(0)
            rest = b""
            continue
        await asyncio.sleep(_FOLLOW_EVERY_S)


def _is_replaced(path: str, file: BinaryIO) -> bool:
    try:
        named = os.stat(path)
    except FileNotFoundError:
        return False  # between two files of a rotation
    mine = os.fstat(file.fileno())
    return (named.st_ino, named.st_dev) != (mine.st_ino, mine.st_dev)


async def _read(descriptor: int) -> bytes:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    try:
        loop.add_reader(descriptor, ready.set)
    except OSError:
        # Regular files and /dev/null are always ready and cannot be waited for.
        await asyncio.sleep(0)
        return os.read(descriptor, _CHUNK_BYTES)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(descriptor)
    return os.read(descriptor, _CHUNK_BYTES)
