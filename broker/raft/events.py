"""What can happen to a node of the quorum.

Every request that was sent by a ``Send`` effect must come back as exactly one ``Answered`` or
``Failed``; the core waits for it.
"""

from dataclasses import dataclass
from typing import TypeAlias

from broker.raft.messages import Request, Response
from broker.raft.types import SnapshotId


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed; due after ``next_wakeup_ms``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A request came in; the answer is a ``Reply`` with the same token."""

    token: int
    request: Request


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """The answer to the request that was sent as ``send_id``."""

    peer: int
    send_id: int
    response: Response


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """No answer will come: connection lost, time over, or ``refused``: nobody listens there."""

    peer: int
    send_id: int
    refused: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaderUnreachable:
    """It is certain that nobody listens at the leader's address any more."""

    leader_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AppendRequested:
    """The application wants ``records_count`` records in the log; only while leading ``epoch``."""

    epoch: int
    records_count: int
    payload: object


@dataclass(frozen=True, slots=True, kw_only=True)
class Flushed:
    """Every record below ``offset`` is on stable storage."""

    offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotWritten:
    """This node wrote a snapshot of its own committed state.

    ``trim_to``: the log may forget the records below; at most the snapshot's end, and the end of
    an earlier snapshot, or where the log begins, to keep what was.
    """

    snapshot_id: SnapshotId
    trim_to: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotInstalled:
    """A fetched snapshot is on stable storage and the log begins, empty, at its end."""

    snapshot_id: SnapshotId


@dataclass(frozen=True, slots=True)
class ResignRequested:
    """The node is to stop: a leader hands over."""


Event: TypeAlias = (
    Tick
    | Received
    | Answered
    | Failed
    | LeaderUnreachable
    | AppendRequested
    | Flushed
    | SnapshotWritten
    | SnapshotInstalled
    | ResignRequested
)
