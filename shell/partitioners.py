"""Which partition a record goes to: Kafka's hash, librdkafka's, in turn, or by chance.

Pure but for the random source that is handed in.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable

from aiokafka.partitioner import DefaultPartitioner

# How many records without a key stay with one partition: batches get full that way.
_STICKY_RECORDS = 1_000

CRC32, ROUND_ROBIN, RANDOM = "crc32", "round-robin", "random"

Hash = Callable[[bytes, list[int], list[int]], int]


class StickyPartitioner:
    """Kafka's hash for records with a key; others stay with one partition for a while."""

    def __init__(self, rng: random.Random, hashed: Hash | None = None) -> None:
        self._hashed = hashed or DefaultPartitioner()
        self._rng = rng
        self._chosen: int | None = None
        self._left = 0

    def __call__(self, key: bytes | None, every: list[int], available: list[int]) -> int:
        """Return the partition of a record: by its key, or the one that is stuck to for now."""
        if key is not None:
            hashed: int = self._hashed(key, every, available)
            return hashed
        candidates = available or every
        if self._left <= 0 or self._chosen not in candidates:
            self._chosen = self._rng.choice(candidates)
            self._left = _STICKY_RECORDS
        self._left -= 1
        assert self._chosen is not None
        return self._chosen


class _InTurn:
    def __init__(self) -> None:
        self._next = 0

    def __call__(self, key: bytes | None, every: list[int], available: list[int]) -> int:
        candidates = sorted(available or every)
        self._next += 1
        return candidates[(self._next - 1) % len(candidates)]


def _crc32(key: bytes, every: list[int], available: list[int]) -> int:
    return sorted(every)[zlib.crc32(key) % len(every)]


def make_partitioner(
    name: str, rng: random.Random
) -> Callable[[bytes | None, list[int], list[int]], int]:
    """Return a partitioner by name; murmur2 is Kafka's own, crc32 librdkafka's (consistent)."""
    if name == ROUND_ROBIN:
        return _InTurn()
    if name == RANDOM:
        return lambda key, every, available: rng.choice(available or every)
    return StickyPartitioner(rng, _crc32 if name == CRC32 else None)
