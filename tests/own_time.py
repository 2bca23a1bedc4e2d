"""A clock that stands still while the machine runs others, for tests of how long something takes.

What is waited for counts, and what is worked; what does not count is the time in which this process
was ready to run and had no processor. Where the kernel does not tell that (no /proc, no schedstat)
it is the usual clock. Not for work of other processes: their waiting is theirs.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

_TASKS = Path("/proc/self/task")
_THIS_THREAD = Path("/proc/thread-self")


def own_s() -> float:
    """Seconds since some moment, without those in which our threads waited for a processor."""
    try:
        threads = [_TASKS / each for each in os.listdir(_TASKS)]
    except OSError:
        threads = []
    return time.monotonic() - sum(map(_waited_s, threads))


def own_s_of_thread() -> float:
    """As `own_s`, of the calling thread alone: for several that are measured beside each other."""
    return time.monotonic() - _waited_s(_THIS_THREAD)


def _waited_s(thread: Path) -> float:
    # https://docs.kernel.org/scheduler/sched-stats.html: time run, time ready to run, in ns.
    try:
        return int((thread / "schedstat").read_text().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0  # ended just now, or a kernel that does not count
