"""Whether the data folder's volume has room, and what follows when it has not.

With too little room this broker stops taking records, tells the controller that its folder is
offline (KIP-858's offline_log_dirs), and so gives its leaderships to replicas that can write. The
rest is kept for the metadata log and the checkpoints, without which the process could not go on.
Apache Kafka ends the process instead; here reading, retention and DeleteRecords, which make room,
go on. Must never promise room: whoever writes still has to expect the failure.
"""

import asyncio
import errno
import logging
from collections.abc import Callable

from broker.runtime.doors import Clock, Disk
from broker.storage.errors import StorageError, StorageFailure

log = logging.getLogger("logd.disk")

CHECK_MS = 1_000
# Kept free: this much, or a hundredth of a small volume.
RESERVE_BYTES_MAX = 16 << 20
RESERVE_SHARE = 100
# Writing begins again when this many times the reserve is free.
RETURN_FACTOR = 4
# A volume that is full again within this time is believed later and later.
RELAPSE_MS = 60_000
PATIENCE_MS_FIRST, PATIENCE_MS_MAX = 1_000, 60_000
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})


def is_no_room(error: BaseException) -> bool:
    """Whether the disk refused because it, or a quota, is full."""
    return isinstance(error, StorageFailure) and error.errno in _NO_ROOM


class DiskSpace:
    """Watches one folder. ``on_change`` hears of both changes, in the middle of them."""

    def __init__(
        self, disk: Disk, path: str, clock: Clock, on_change: Callable[[], None] = lambda: None
    ) -> None:
        self._disk = disk
        self._path = path
        self._clock = clock
        self.on_change = on_change
        self.short = False
        self._before_check_bytes = 0
        self._patience_ms = PATIENCE_MS_FIRST
        self._since_ms = self._returned_ms = -RELAPSE_MS

    async def run(self) -> None:
        """Look now and then, until cancelled: others may fill the disk, or make room."""
        while True:
            self.check()
            await asyncio.sleep(CHECK_MS / 1000)

    def wrote(self, size_bytes: int) -> None:
        """Count what was written; looks again before it could have eaten up the reserve."""
        self._before_check_bytes -= size_bytes
        if self._before_check_bytes < 0 and not self.short:
            self.check()

    def failed(self, error: BaseException) -> None:
        """A write failed: when for want of room, all others would."""
        if is_no_room(error) and not self.short:
            self._set_short(0)

    def check(self) -> None:
        """Look at the volume."""
        try:
            free_bytes = self._disk.free_bytes(self._path)
            reserve = min(RESERVE_BYTES_MAX, self._disk.total_bytes(self._path) // RESERVE_SHARE)
        except (StorageError, OSError) as error:
            log.warning("cannot see how much room there is at %s: %s", self._path, error)
            return
        self._before_check_bytes = max(free_bytes - reserve, reserve) // 2
        now_ms = self._clock.monotonic_ms()
        if not self.short:
            if free_bytes < reserve:
                self._set_short(free_bytes)
        elif free_bytes >= reserve * RETURN_FACTOR and now_ms - self._since_ms >= self._patience_ms:
            self.short = False
            self._returned_ms = now_ms
            log.warning("there is room again at %s: taking records", self._path)
            self.on_change()

    def _set_short(self, free_bytes: int) -> None:
        now_ms = self._clock.monotonic_ms()
        relapsed = now_ms - self._returned_ms < RELAPSE_MS
        self._patience_ms = (
            min(2 * self._patience_ms, PATIENCE_MS_MAX) if relapsed else PATIENCE_MS_FIRST
        )
        self.short = True
        self._since_ms = now_ms
        log.error(
            "the disk of %s is full (%d bytes left): taking no more records and giving leadership "
            "away until there is room; free space outside of the data folder, or delete records",
            self._path,
            free_bytes,
        )
        self.on_change()
