"""What a partition needs from the log it stands on, and what it tells its caller.

Only shapes. The storage package's Log fits ``PartitionLog`` as it is; tests hand in smaller ones.
"""

from dataclasses import dataclass
from typing import Protocol

from broker.protocol.errors import ErrorCode

UNKNOWN_OFFSET = -1


class Appended(Protocol):
    """What an append did; ``duplicate`` means that nothing was written a second time."""

    @property
    def first_offset(self) -> int:
        """Offset of the first record."""
        ...

    @property
    def last_offset(self) -> int:
        """Offset of the last record."""
        ...

    @property
    def log_append_time_ms(self) -> int:
        """The broker's timestamp, or -1 when the producer's was kept."""
        ...

    @property
    def records_count(self) -> int:
        """How many records the batches hold."""
        ...

    @property
    def size_bytes(self) -> int:
        """Bytes of the batches."""
        ...

    @property
    def duplicate(self) -> bool:
        """Whether an idempotent producer sent this before (the original offsets are given)."""
        ...


class PartitionLog(Protocol):
    """The log of one partition, as its roles see it. Synchronous, whole batches only."""

    @property
    def start_offset(self) -> int:
        """The first offset that can be read."""
        ...

    @property
    def end_offset(self) -> int:
        """The offset that the next record gets."""
        ...

    @property
    def latest_epoch(self) -> int:
        """The leader epoch of the last entry of the epoch history, or -1."""
        ...

    def append_as_leader(
        self,
        batches: bytes | memoryview,
        leader_epoch: int,
        now_ms: int,
        *,
        log_append_time: bool = False,
        max_batch_bytes: int | None = None,
    ) -> Appended:
        """Check the batches, give them offsets and write them."""
        ...

    def append_as_follower(self, data: bytes | memoryview) -> Appended:
        """Write batches as the leader has them; they continue at ``end_offset``."""
        ...

    def assign_epoch(self, leader_epoch: int) -> None:
        """Note that ``leader_epoch`` begins at ``end_offset``."""
        ...

    def read(
        self, offset: int, max_bytes: int, *, upto_offset: int, min_one: bool = True
    ) -> bytes | memoryview:
        """Whole batches from the one that holds ``offset``, none that starts at ``upto_offset``."""
        ...

    def end_offset_for_epoch(self, epoch: int) -> tuple[int, int]:
        """The largest known epoch not above ``epoch`` and its end offset, or (-1, -1)."""
        ...

    def truncate_to(self, offset: int) -> None:
        """Drop everything at and above ``offset``, in the epoch history too."""
        ...

    def truncate_fully(self, new_start_offset: int) -> None:
        """Drop everything and begin again, empty, at ``new_start_offset``."""
        ...

    def advance_start_offset(self, offset: int) -> None:
        """Raise the first readable offset."""
        ...


@dataclass(frozen=True, slots=True)
class ReplicationSettings:
    """The settings that a partition's roles obey; times in milliseconds."""

    min_insync_replicas: int = 1
    replica_lag_time_max_ms: int = 30_000
    log_append_time: bool = False
    max_message_bytes: int | None = None
    flush_on_commit: bool = False


@dataclass(frozen=True, slots=True)
class EpochEnd:
    """A leader epoch and the offset just after its last record (KIP-101)."""

    epoch: int
    end_offset: int


@dataclass(slots=True)
class ReadOutcome:
    """The answer to a fetch of one partition.

    Watermarks are -1 when an error other than OFFSET_OUT_OF_RANGE is set. With
    ``diverging_epoch`` there are no records: the follower truncates and asks again.
    """

    error: ErrorCode
    high_watermark: int = -1
    last_stable_offset: int = -1
    log_start_offset: int = -1
    records: bytes | memoryview = b""
    diverging_epoch: EpochEnd | None = None


@dataclass(frozen=True, slots=True)
class IsrProposal:
    """A change of the ISR that waits for the controller (AlterPartition, KIP-497).

    ``isr`` holds (broker id, broker epoch). The controller accepts it only for exactly this
    ``leader_epoch`` and ``partition_epoch``.
    """

    isr: tuple[tuple[int, int], ...]
    leader_epoch: int
    partition_epoch: int
    leader_recovery_state: int

    @property
    def members(self) -> tuple[int, ...]:
        """The broker ids of the proposed ISR."""
        return tuple(broker for broker, _ in self.isr)


class BrokerView(Protocol):
    """What the metadata image says about brokers, for ISR eligibility (KIP-841, KIP-903)."""

    def registered_epoch(self, broker_id: int) -> int | None:
        """The epoch of the broker's registration, or None when it is not registered."""
        ...

    def eligible_epoch(self, broker_id: int) -> int | None:
        """The same, but None too when the broker is fenced or shutting down."""
        ...
