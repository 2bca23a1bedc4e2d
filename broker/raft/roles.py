"""The roles of a node: one class each, holding only that role's data, and the legal transitions.

Must never act: the core does every change of role through ``LEGAL``.
"""

from dataclasses import dataclass, field
from typing import TypeAlias

from broker.raft.messages import FetchRequest
from broker.raft.types import NO_NODE, SnapshotId


@dataclass(slots=True)
class Ballot:
    """The count of one round of votes or pre-votes.

    Invariant: ``granted`` and ``rejected`` do not meet; a peer is in ``waiting`` or ``retry_at_ms``
    or has answered.
    """

    granted: set[int] = field(default_factory=set)
    rejected: set[int] = field(default_factory=set)
    waiting: dict[int, int] = field(default_factory=dict)
    """peer -> send id of the request under way"""
    retry_at_ms: dict[int, int] = field(default_factory=dict)
    failed: set[int] = field(default_factory=set)
    """peers that failed to answer at least once"""


@dataclass(slots=True)
class Fetching:
    """Where a follower or observer stands with its fetches."""

    in_flight: int = NO_NODE
    """send id of the request under way; at most one"""
    offset: int = -1
    """the offset that the request under way asked for"""
    target: int = NO_NODE
    next_at_ms: int = 0
    failures: int = 0
    snapshot: SnapshotId | None = None
    """the snapshot being fetched, and how much of it is here"""
    snapshot_position: int = 0
    high_watermark_told: int = -1


@dataclass(slots=True)
class Unattached:
    """Knows an epoch but no leader; may have voted. Waits for a leader, or for its own turn."""

    election_at_ms: int


@dataclass(slots=True)
class Prospective:
    """Asks whether it would be elected, without raising the epoch (KIP-996)."""

    election_at_ms: int
    ballot: Ballot


@dataclass(slots=True)
class Candidate:
    """Has raised the epoch, voted for itself, and asks for votes."""

    election_at_ms: int
    ballot: Ballot


@dataclass(slots=True)
class Follower:
    """Fetches from the leader of its epoch."""

    leader_id: int
    election_at_ms: int
    contact_at_ms: int
    """when the leader last answered a fetch (or was first heard of)"""
    has_fetched: bool = False
    unreachable: bool = False
    """nobody listens at the leader's address"""
    resigned: bool = False
    """the leader said that it has given up this epoch"""
    slept: bool = False
    """this node was late to give up the leader, and listens first; once until it hears it"""
    fetching: Fetching = field(default_factory=Fetching)


@dataclass(slots=True)
class Replica:
    """What the leader knows of one replica.

    Invariant: for a voter, everything below ``match_offset`` is on its stable storage, in this
    epoch's history; it never shrinks. Checked by the random test (MajorityReachedHighWatermark).
    """

    match_offset: int = -1
    fetch_at_ms: int = -1
    """last fetch; -1 for none in this epoch"""
    caught_up_at_ms: int = -1
    end_offset_at_fetch: int = -1


@dataclass(slots=True)
class Parked:
    """A fetch that waits for something new."""

    token: int
    request: FetchRequest
    deadline_ms: int


@dataclass(slots=True)
class Leader:
    """Takes appends, answers fetches and moves the high watermark."""

    epoch_start_offset: int
    elected_at_ms: int
    replicas: dict[int, Replica]
    """the other voters"""
    observers: dict[int, Replica] = field(default_factory=dict)
    parked: list[Parked] = field(default_factory=list)
    begin_at_ms: dict[int, int] = field(default_factory=dict)
    """voters that have not shown that they know this leader -> when to tell them (again)"""
    begin_waiting: dict[int, int] = field(default_factory=dict)
    grace_until_ms: int = 0
    """this node was late to resign, and listens first; 0 while it hears a majority"""


@dataclass(slots=True)
class Resigned:
    """Was leader of this epoch and has given it up."""

    election_at_ms: int


@dataclass(slots=True)
class Observer:
    """No voter: fetches from the leader, or from any voter until one says who leads."""

    leader_id: int = NO_NODE
    fetching: Fetching = field(default_factory=Fetching)


Role: TypeAlias = Unattached | Prospective | Candidate | Follower | Leader | Resigned | Observer

LEGAL: dict[type[Role], frozenset[type[Role]]] = {
    Unattached: frozenset({Unattached, Prospective, Follower}),
    Prospective: frozenset({Unattached, Candidate, Follower}),
    Candidate: frozenset({Unattached, Leader, Follower}),
    Follower: frozenset({Unattached, Prospective, Follower}),
    Leader: frozenset({Unattached, Follower, Resigned}),
    Resigned: frozenset({Unattached, Follower}),
    Observer: frozenset({Observer}),
}
"""Role -> the roles that may come next."""
