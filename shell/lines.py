"""Lines of bytes from a pipe, a terminal or a file, without blocking the loop and without threads.

A line may be of any bytes; only the newline is taken off.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator

from shell.exits import Failed

_CHUNK_BYTES = 256 * 1024
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
