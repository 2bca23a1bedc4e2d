"""The table of keys that one round of compaction builds: key -> its last offset.

Bounded by memory, not by keys: a round compacts what fits and the next one goes on. It must never
mistake one key for another: long keys are replaced by a 256-bit digest.
"""

from hashlib import blake2b

RAW_KEY_BYTES_MAX = 31
DIGEST_BYTES = 32  # longer than any key that is kept as it is, so that the two never meet
# What one entry takes in memory: slot, key object, offset object (measured, rounded up).
ENTRY_BYTES = 200


def short_key(key: bytes) -> bytes:
    """The key itself, or its digest when it is long."""
    if len(key) <= RAW_KEY_BYTES_MAX:
        return key
    return blake2b(key, digest_size=DIGEST_BYTES).digest()


class OffsetMap:
    """At most ``memory_bytes`` worth of keys (log.cleaner.dedupe.buffer.size).

    ``latest`` is the offset up to which, inclusive, every record was put; -1 at first.
    """

    __slots__ = ("_offsets", "latest", "limit")

    def __init__(self, memory_bytes: int) -> None:
        self._offsets: dict[bytes, int] = {}
        self.limit = max(1, memory_bytes // ENTRY_BYTES)
        self.latest = -1

    def __len__(self) -> int:
        return len(self._offsets)

    def put(self, key: bytes, offset: int) -> bool:
        """Note the newest offset of ``key``; False, and nothing changes, when the table is full.

        Offsets must rise from call to call.
        """
        key = short_key(key)
        offsets = self._offsets
        if len(offsets) >= self.limit and key not in offsets:
            return False
        offsets[key] = offset
        self.latest = offset
        return True

    def get(self, key: bytes) -> int:
        """The newest offset of ``key``, or -1."""
        return self._offsets.get(short_key(key), -1)
