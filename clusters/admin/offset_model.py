"""Offsets of partitions as the admin client asks for them and tells them. Plain frozen data."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, ClassVar

from broker.protocol.lazy_dataclass import dataclass


@dataclass(frozen=True, slots=True)
class OffsetSpec:
    """Which offset is asked for: `timestamp_ms` since 1970, or one of ListOffsets' negative ones.

    Use `OffsetSpec.earliest`, `.latest`, `.max_timestamp` (KIP-734) and `.at(ms)`.
    """

    timestamp_ms: int
    earliest: ClassVar[OffsetSpec]
    latest: ClassVar[OffsetSpec]
    max_timestamp: ClassVar[OffsetSpec]

    @classmethod
    def at(cls, timestamp_ms: int) -> OffsetSpec:
        """The first record that is not older than a time."""
        if timestamp_ms < 0:
            raise ValueError("times before 1970 are not possible")
        return cls(timestamp_ms)


OffsetSpec.latest = OffsetSpec(-1)
OffsetSpec.earliest = OffsetSpec(-2)
OffsetSpec.max_timestamp = OffsetSpec(-3)


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionOffset:
    """An offset that was asked for; `offset` is None when no record is that late.

    `timestamp_ms` is that record's time, -1 when the question was not about a record.
    """

    topic: str
    partition: int
    offset: int | None
    timestamp_ms: int
    leader_epoch: int

    def to_json(self) -> dict[str, Any]:
        """Plain data for output."""
        return asdict(self)
