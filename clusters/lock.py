"""One operation at a time on a cluster, across processes of this machine.

The lock is the kernel's, held by an open file, so a killed holder can never leave it behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from collections.abc import AsyncIterator

from clusters.errors import OperationError, StateError
from clusters.state import cluster_state_dir

POLL_S = 0.05


@contextlib.asynccontextmanager
async def cluster_lock(cluster: str, *, wait_ms: int = 5_000) -> AsyncIterator[None]:
    """Hold the cluster's lock. Raises OperationError naming the holder after `wait_ms`."""
    descriptor = _open(cluster)
    try:
        deadline = asyncio.get_running_loop().time() + wait_ms / 1000
        while not _try_lock(descriptor):
            if asyncio.get_running_loop().time() >= deadline:
                holder = os.pread(descriptor, 64, 0).decode("ascii", "replace").strip()
                who = f"pid {holder}" if holder else "another process"
                raise OperationError(
                    f"Another logctl ({who}) is working on the cluster {cluster}. "
                    "Wait for it to end and try again."
                )
            await asyncio.sleep(POLL_S)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _open(cluster: str) -> int:
    folder = cluster_state_dir(cluster)
    path = os.path.join(folder, ".lock")
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StateError(
            f"The state folder {folder} cannot be used: {error.strerror}. "
            "Make it writable, or set XDG_STATE_HOME to another folder."
        ) from None


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
