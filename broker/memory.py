"""How this process gets memory for large buffers: kept between uses, not given back each time.

A consumer's answer is made of pieces of a megabyte. glibc returns such pieces to the kernel as soon
as they are free, and the kernel clears every page again for the next one: reading a segment then
costs four times the processor time. Must never fail: where there is no glibc nothing changes.
"""

import contextlib
import ctypes
import os

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
