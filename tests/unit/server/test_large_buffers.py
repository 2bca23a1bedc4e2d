"""The allocator keeps large buffers, and only where nobody decided otherwise."""

import os
import platform
import subprocess
import sys

import pytest

# Page faults while a megabyte is taken and given back, six at a time, a hundred times over.
SCRIPT = """
import resource, sys
from broker.memory import keep_large_buffers
kept = keep_large_buffers()
def turn():
    parts = [bytes(1 << 20) for _ in range(6)]
    for _ in range(3):
        parts.append(b"x" * (1 << 20))
for _ in range(5):
    turn()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(100):
    turn()
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(**environment: str) -> tuple[str, int]:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={**os.environ, **environment},
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    kept, count = done.stdout.split()
    return kept, int(count)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the allocator of glibc")
def test_large_buffers_are_not_fetched_anew_from_the_kernel() -> None:
    kept, count = faults()
    assert (kept, count < 10_000) == ("True", True), count


def test_who_runs_the_broker_may_decide_otherwise() -> None:
    assert faults(MALLOC_TRIM_THRESHOLD_="131072")[0] == "False"
