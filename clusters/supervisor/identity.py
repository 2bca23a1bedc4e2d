"""Which process a note means: its id, the tick it started at, and the boot that this was in.

Must never signal a process that is not exactly the one noted: ids are used again, within minutes
on a busy machine and at once after a reboot.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from dataclasses import dataclass

BOOT_ID = "/proc/sys/kernel/random/boot_id"
SUPERVISOR, CHILD = "supervisor.identity", "child.identity"
# Fields of /proc/PID/stat after the name, which may hold spaces: state is 3, start time 22.
_STATE, _START = 0, 19
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Identity:
    """A process for ever: `start_ticks` is field 22 of its /proc/PID/stat."""

    pid: int
    start_ticks: int
    boot_id: str

    def line(self) -> str:
        """As it is noted in a file."""
        return f"{self.pid} {self.start_ticks} {self.boot_id}\n"

    def is_alive(self) -> bool:
        """Whether exactly this process runs; one that ended and was not waited for does not."""
        found = _stat(self.pid)
        return (
            found is not None
            and found[_STATE] not in ("Z", "X")
            and int(found[_START]) == self.start_ticks
            and self.boot_id == _boot_id()
        )

    def send(self, number: signal.Signals) -> bool:
        """Signal exactly this process; False when it is gone."""
        handle = open_handle(self.pid)
        try:
            if not self.is_alive():
                return False
            # The handle means the process that had the id before we looked, not a later one.
            if handle is not None:
                signal.pidfd_send_signal(handle, number)
            else:
                os.kill(self.pid, number)
        except ProcessLookupError:
            return False
        finally:
            if handle is not None:
                os.close(handle)
        return True

    def uptime_ms(self) -> int:
        """Milliseconds since it started."""
        now_s = time.clock_gettime(time.CLOCK_BOOTTIME)
        return max(0, int(now_s * 1000) - self.start_ticks * 1000 // _TICKS_PER_SECOND)


def identity_of(pid: int) -> Identity | None:
    """The identity of a process that runs now."""
    found = _stat(pid)
    return None if found is None else Identity(pid, int(found[_START]), _boot_id())


def open_handle(pid: int) -> int | None:
    """A descriptor that becomes readable when the process ends; None where there is none."""
    try:
        return os.pidfd_open(pid)
    except (OSError, AttributeError):
        return None


def read_identity(folder: str, name: str) -> Identity | None:
    """A noted identity; None when there is none, or none that can be read."""
    with contextlib.suppress(FileNotFoundError, ValueError):
        with open(os.path.join(folder, name), encoding="ascii") as file:
            pid, ticks, boot_id = file.read().split()
        return Identity(int(pid), int(ticks), boot_id)
    return None


def write_whole(folder: str, name: str, text: str) -> None:
    """Write a note so that a reader sees the old one or the new one."""
    part = os.path.join(folder, f".{name}.part")
    with open(part, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(part, os.path.join(folder, name))


def remove_note(folder: str, name: str) -> None:
    """Remove a note; absent is fine."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(os.path.join(folder, name))


def _boot_id() -> str:
    with open(BOOT_ID, encoding="ascii") as file:
        return file.read().strip()


def _stat(pid: int) -> list[str] | None:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
