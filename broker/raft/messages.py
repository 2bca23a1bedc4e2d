"""What the nodes of a quorum say to each other, as plain values.

The fields are those of Kafka's Vote, BeginQuorumEpoch, EndQuorumEpoch, Fetch and FetchSnapshot
(KIP-595, KIP-630, KIP-996), reduced to the one partition of the metadata log. Must never know how
they are written on the wire.
"""

from dataclasses import dataclass
from typing import TypeAlias
from uuid import UUID

from broker.protocol.errors import ErrorCode
from broker.raft.types import (
    NO_DIRECTORY,
    NO_NODE,
    UNKNOWN_HIGH_WATERMARK,
    EpochEndOffset,
    SnapshotId,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class VoteRequest:
    """Asks for a vote, or with ``pre_vote`` whether a vote would be given (KIP-996).

    ``epoch`` is the epoch to lead for a vote, and the sender's present epoch for a pre-vote.
    """

    epoch: int
    candidate_id: int
    candidate_directory_id: UUID = NO_DIRECTORY
    last_epoch: int
    last_offset: int
    pre_vote: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class BeginQuorumEpochRequest:
    """The new leader makes itself known."""

    epoch: int
    leader_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EndQuorumEpochRequest:
    """The leader resigns and says whom it would like as successor, best first."""

    epoch: int
    leader_id: int
    preferred_successors: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchRequest:
    """Asks for records from ``offset`` on; from a voter it also acknowledges all before it.

    ``replica_id`` -1 is a reader that is no replica. ``high_watermark`` is the one the sender
    knows (Fetch 18); ``epoch`` and ``last_fetched_epoch`` are -1 when a reader does not say them.
    """

    replica_id: int
    directory_id: UUID = NO_DIRECTORY
    epoch: int
    offset: int
    last_fetched_epoch: int
    high_watermark: int = UNKNOWN_HIGH_WATERMARK
    wait_ms_max: int = 0
    bytes_max: int = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchSnapshotRequest:
    """Asks for a piece of a snapshot."""

    replica_id: int
    epoch: int
    snapshot_id: SnapshotId
    position: int
    bytes_max: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VoteResponse:
    """Whether the vote is given, and the answerer's epoch and (when it has a live one) leader."""

    error: ErrorCode = ErrorCode.none
    epoch: int
    leader_id: int = NO_NODE
    granted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BeginQuorumEpochResponse:
    """The answerer's epoch and leader."""

    error: ErrorCode = ErrorCode.none
    epoch: int
    leader_id: int = NO_NODE


@dataclass(frozen=True, slots=True, kw_only=True)
class EndQuorumEpochResponse:
    """The answerer's epoch and leader."""

    error: ErrorCode = ErrorCode.none
    epoch: int
    leader_id: int = NO_NODE


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSpan:
    """Where one record batch lies: offsets ``base_offset`` to ``last_offset``, both included."""

    base_offset: int
    last_offset: int
    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadRange:
    """What the answerer's log is to be read for: whole batches from ``offset`` up to ``upto``."""

    offset: int
    upto: int
    bytes_max: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchResponse:
    """Records, or why there are none.

    The core answers with ``read``; whoever performs the answer puts in ``records`` and ``batches``
    from the log as it is at that moment. At most one of ``diverging`` and ``snapshot_id`` is set.
    """

    error: ErrorCode = ErrorCode.none
    epoch: int
    leader_id: int = NO_NODE
    high_watermark: int = -1
    log_start_offset: int = -1
    diverging: EpochEndOffset | None = None
    snapshot_id: SnapshotId | None = None
    read: ReadRange | None = None
    batches: tuple[BatchSpan, ...] = ()
    records: object = b""
    """Opaque to the core: handed on to the log as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchSnapshotResponse:
    """A piece of a snapshot; ``size`` and ``data`` are put in by whoever performs the answer."""

    error: ErrorCode = ErrorCode.none
    epoch: int
    leader_id: int = NO_NODE
    snapshot_id: SnapshotId
    position: int = 0
    bytes_max: int = 0
    size: int = 0
    data: bytes = b""


Request: TypeAlias = (
    VoteRequest
    | BeginQuorumEpochRequest
    | EndQuorumEpochRequest
    | FetchRequest
    | FetchSnapshotRequest
)
Response: TypeAlias = (
    VoteResponse
    | BeginQuorumEpochResponse
    | EndQuorumEpochResponse
    | FetchResponse
    | FetchSnapshotResponse
)
