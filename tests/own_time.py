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


def own_s() -> float:
    """Seconds since some moment, without those in which our threads waited for a processor."""
    return time.monotonic() - _waited_s()


def _waited_s() -> float:
    # https://docs.kernel.org/scheduler/sched-stats.html: time run, time ready to run, in ns.
    waited_ns = 0
    try:
        threads = os.listdir(_TASKS)
    except OSError:
        return 0.0
    for thread in threads:
        try:
            waited_ns += int((_TASKS / thread / "schedstat").read_text().split()[1])
        except (OSError, ValueError, IndexError):
            continue  # ended just now, or a kernel that does not count
    return waited_ns / 1e9
