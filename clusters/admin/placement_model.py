"""Where replicas lie, move and are written: frozen data with `to_json()`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from broker.protocol.lazy_dataclass import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaSize:
    """A replica in a log dir. `offset_lag` is how far it is behind; `is_future` says that it moves
    to this dir within its broker."""

    topic: str
    partition: int
    size_bytes: int
    offset_lag: int
    is_future: bool

    def to_json(self) -> dict[str, Any]:
        """Plain data for output."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogDir:
    """A log dir of a broker (KIP-113, KIP-827); `error` says why it cannot be used, or is None.

    Byte counts of the volume are None where the broker does not tell them.
    """

    broker: int
    path: str
    error: str | None
    total_bytes: int | None
    usable_bytes: int | None
    replicas: tuple[ReplicaSize, ...]

    @property
    def used_bytes(self) -> int:
        """What the replicas take."""
        return sum(replica.size_bytes for replica in self.replicas)

    def to_json(self) -> dict[str, Any]:
        """Plain data for output."""
        return asdict(self) | {"replicas": [replica.to_json() for replica in self.replicas]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reassignment:
    """A partition whose replicas are on the move (KIP-455).

    `replicas` are all of now, those `adding` and those `removing` among them.
    """

    topic: str
    partition: int
    replicas: tuple[int, ...]
    adding: tuple[int, ...]
    removing: tuple[int, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain data for output."""
        return {
            "topic": self.topic,
            "partition": self.partition,
            "replicas": list(self.replicas),
            "adding": list(self.adding),
            "removing": list(self.removing),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ActiveProducer:
    """A producer that a partition's leader remembers (KIP-664). Times are ms since 1970.

    `txn_start_offset` is None without an open transaction.
    """

    topic: str
    partition: int
    producer_id: int
    producer_epoch: int
    last_sequence: int
    last_timestamp_ms: int
    coordinator_epoch: int
    txn_start_offset: int | None

    def to_json(self) -> dict[str, Any]:
        """Plain data for output."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """A feature of the cluster (KIP-584); `level` is None when it is not finalized."""

    feature: str
    level: int | None
    min_supported: int
    max_supported: int

    def to_json(self) -> dict[str, Any]:
        """Plain data for output."""
        return asdict(self)
