"""How this process gets memory for large buffers, and when it looks for garbage.

Large buffers are kept between uses, not given back each time.
A consumer's answer is made of pieces of a megabyte. glibc returns such pieces to the kernel as soon
as they are free, and the kernel clears every page again for the next one: reading a segment then
costs four times the processor time. Must never fail: where there is no glibc nothing changes.

Python's collector looks through all that lives: with ten thousand partitions for a tenth of a
second, in which nothing else happens, and in vain, for partitions and images hold no cycles. What
has come to stay is therefore taken out of its sight.
"""

import asyncio
import contextlib
import ctypes
import gc
import os
from collections.abc import Callable

# mallopt(3): its numbers, and what they are set to.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
KEPT_BYTES = 16 << 20  # free memory at the end of the heap that stays ours
LARGEST_FROM_HEAP_BYTES = 8 << 20
# Who runs the broker may have decided otherwise.
_DECIDED = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")


def keep_large_buffers() -> bool:
    """Ask the allocator to keep large buffers; whether it does."""
    if any(name in os.environ for name in _DECIDED):
        return False
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        kept = mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
        return bool(mallopt(M_MMAP_THRESHOLD, LARGEST_FROM_HEAP_BYTES) and kept)
    return False


YOUNG_OBJECTS = 10_000  # half a millisecond to look through
LOOK_S = 1.0
PARTITIONS_STEP = 500


async def keep_collections_short(partitions_count: Callable[[], int]) -> None:
    """Leave what lives now, and what later comes with more partitions, out of collections.

    What is garbage in cycles at such a moment stays for ever; it is looked for before, and only
    ever more partitions lead to another such moment. Runs until cancelled.
    """
    _, *older = gc.get_threshold()
    gc.set_threshold(YOUNG_OBJECTS, *older)
    most = partitions_count()
    gc.freeze()
    while True:
        await asyncio.sleep(LOOK_S)
        count = partitions_count()
        if count >= most + PARTITIONS_STEP:
            most = count
            gc.collect(0)
            gc.freeze()
