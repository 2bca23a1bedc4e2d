"""The allocator keeps large buffers where nobody decided otherwise; collections stay short."""

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


COLLECTIONS = """
import asyncio, gc
from broker.memory import keep_collections_short
import broker.memory as memory
memory.LOOK_S = 0.001
count = 0
async def look():
    global count
    task = asyncio.create_task(keep_collections_short(lambda: count))
    await asyncio.sleep(0)
    frozen = [gc.get_freeze_count()]
    for count in (100, 600, 600, 300, 700, 1200):
        await asyncio.sleep(0.05)
        kept = [[] for _ in range(1000)]
        frozen.append(gc.get_freeze_count())
        held.append(kept)
    task.cancel()
    return frozen
held = []
frozen = asyncio.run(look())
print([later > earlier + 500 for earlier, later in zip(frozen, frozen[1:])])
"""


def test_what_has_come_to_stay_is_left_out_of_collections() -> None:
    done = subprocess.run(
        [sys.executable, "-c", COLLECTIONS], capture_output=True, text=True, timeout=60, check=True
    )
    # Only when there are more partitions than ever before, by a good number.
    assert done.stdout.strip() == "[False, True, False, False, False, True]"
