"""What the API handlers ask of the replica manager, and what they get back.

Plain values, made once per partition of a request, so they are slotted and mutable: cheap first.
"""

from dataclasses import dataclass, field
from typing import Any, NamedTuple
from uuid import UUID

from broker.protocol.errors import ErrorCode
from broker.protocol.struct import ZERO_UUID

CONSUMER_ID = -1
NO_LIMIT_BYTES = 0x7FFFFFFF


class ProduceEntry(NamedTuple):
    """One partition of a Produce request; ``records`` holds exactly one batch."""

    topic: str
    partition: int
    records: bytes | memoryview


class ProduceResult(NamedTuple):
    """What became of one ProduceEntry. Offsets and times are -1 when there is an error."""

    error: ErrorCode
    base_offset: int = -1
    log_append_time_ms: int = -1
    log_start_offset: int = -1
    message: str | None = None
    # (place in the batch, why) of the records at fault, where they are known (KIP-467).
    record_errors: tuple[tuple[int, str], ...] = ()


class LeaderHint(NamedTuple):
    """Who leads, as far as this broker knows (KIP-951); -1 when unknown."""

    leader_id: int = -1
    leader_epoch: int = -1


@dataclass(slots=True)
class FetchPartition:
    """One partition of a Fetch request. ``topic_id`` is zero below version 13.

    ``told_high_watermark`` is what a fetch session answered last; None where nobody remembers.
    """

    topic: str
    index: int
    fetch_offset: int
    max_bytes: int
    topic_id: UUID = ZERO_UUID
    current_leader_epoch: int = -1
    last_fetched_epoch: int = -1
    log_start_offset: int = -1
    told_high_watermark: int | None = None
    # The answer while nothing happens, made once.
    at_rest: "FetchResult | None" = None


@dataclass(slots=True)
class FetchQuery:
    """A Fetch request. ``replica_id`` -1 is a consumer; times in milliseconds.

    ``read_committed`` bounds a consumer by the last stable offset instead of the high watermark.
    ``only_from_leader`` is False for consumers that may read from followers (version 11+).
    """

    partitions: list[FetchPartition]
    max_wait_ms: int = 0
    min_bytes: int = 0
    max_bytes: int = NO_LIMIT_BYTES
    replica_id: int = CONSUMER_ID
    broker_epoch: int = -1
    read_committed: bool = False
    only_from_leader: bool = True
    # Found while reading: a follower does not know the high watermark of some partition.
    has_untold_watermark: bool = False

    @property
    def is_follower(self) -> bool:
        """Whether a replica asks."""
        return self.replica_id >= 0


@dataclass(slots=True)
class FetchResult:
    """The answer for one FetchPartition.

    ``diverging_epoch`` is (epoch, end offset) or None; ``leader`` is set with the errors that
    tell a client to look for another leader. ``preferred_read_replica`` is -1: stay here.
    """

    topic: str
    topic_id: UUID
    index: int
    error: ErrorCode
    high_watermark: int = -1
    last_stable_offset: int = -1
    log_start_offset: int = -1
    records: bytes | memoryview = b""
    diverging_epoch: tuple[int, int] | None = None
    leader: LeaderHint | None = None
    aborted_transactions: list[Any] | None = None
    preferred_read_replica: int = -1


@dataclass(slots=True)
class ReplicaCounters:
    """Totals since start, read by the metrics endpoint."""

    messages_in: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    replication_bytes_in: int = 0
    replication_bytes_out: int = 0
    produce_requests_failed: int = 0
    fetch_requests_failed: int = 0
    isr_shrinks: int = 0
    isr_expands: int = 0
    leader_elections: int = 0
    truncations: int = 0
    flushes: int = 0
    compactions: int = 0
    compacted_bytes: int = 0


@dataclass(slots=True)
class ReplicaGauges:
    """How things stand now."""

    partitions: int = 0
    leaders: int = 0
    under_replicated: int = 0
    under_min_isr: int = 0
    offline: int = 0
    offline_names: list[str] = field(default_factory=list)
