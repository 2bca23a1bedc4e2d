"""What a node of the quorum wants done.

Effects are performed in the order of emission, over all steps, under one rule: a ``Send`` or
``Reply`` may leave only when every ``PersistState`` emitted before it is on stable storage (Raft
thesis 3.8). Changes of the log are done at once; only ``Flushed`` says that they are durable. The
records for a ``Reply`` to a fetch are read when the effect is met, not when it leaves.
"""

from dataclasses import dataclass
from typing import TypeAlias

from broker.raft.messages import BatchSpan, Request, Response
from broker.raft.types import ElectionState, LeaderAndEpoch, SnapshotId


@dataclass(frozen=True, slots=True, kw_only=True)
class PersistState:
    """Write and sync the election state before any later ``Send`` or ``Reply`` leaves."""

    state: ElectionState


@dataclass(frozen=True, slots=True, kw_only=True)
class AppendLeaderChange:
    """Append the control record that opens the leader's epoch, as a batch of its own."""

    base_offset: int
    epoch: int
    leader_id: int
    voters: tuple[int, ...]
    granting_voters: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AppendRecords:
    """Append the application's records as one batch."""

    base_offset: int
    epoch: int
    records_count: int
    payload: object


@dataclass(frozen=True, slots=True, kw_only=True)
class AppendFetched:
    """Append the leader's batches as they are."""

    batches: tuple[BatchSpan, ...]
    records: object


@dataclass(frozen=True, slots=True, kw_only=True)
class TruncateLog:
    """Remove every record at or after ``offset``."""

    offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TrimLog:
    """Records below ``start_offset`` are in a snapshot; the log may forget them."""

    start_offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FlushLog:
    """Bring everything below ``upto`` to stable storage, then report ``Flushed``."""

    upto: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Send:
    """Send a request; its outcome comes back as ``Answered`` or ``Failed`` with ``send_id``."""

    to: int
    send_id: int
    request: Request
    timeout_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """Answer the request that came with ``token``."""

    token: int
    response: Response


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteSnapshotChunk:
    """Put a piece into the partial file of a snapshot; position 0 begins it anew."""

    snapshot_id: SnapshotId
    position: int
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallSnapshot:
    """Finish the partial file, empty the log at its end, report ``SnapshotInstalled``."""

    snapshot_id: SnapshotId


@dataclass(frozen=True, slots=True, kw_only=True)
class HighWatermarkAdvanced:
    """Every record below ``offset`` is committed."""

    offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaderChanged:
    """This node's view of who leads has changed."""

    leader: LeaderAndEpoch


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """Why something was done, for the log and for tests."""

    text: str
    epoch: int


Effect: TypeAlias = (
    PersistState
    | AppendLeaderChange
    | AppendRecords
    | AppendFetched
    | TruncateLog
    | TrimLog
    | FlushLog
    | Send
    | Reply
    | WriteSnapshotChunk
    | InstallSnapshot
    | HighWatermarkAdvanced
    | LeaderChanged
    | Trace
)
