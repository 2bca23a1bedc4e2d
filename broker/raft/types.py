"""The plain values of the quorum: ids, offsets, what is remembered across restarts, timings.

Must never hold behaviour that depends on time or on a node's role.
"""

from dataclasses import dataclass
from uuid import UUID

NO_NODE = -1
NO_DIRECTORY = UUID(int=0)
UNKNOWN_HIGH_WATERMARK = 2**63 - 1
"""What a Fetch says that does not know, or does not say, a high watermark (KIP-1166)."""


@dataclass(frozen=True, slots=True)
class LeaderAndEpoch:
    """Who leads an epoch; ``leader_id`` is -1 while nobody is known to."""

    leader_id: int
    epoch: int


@dataclass(frozen=True, slots=True, order=True)
class SnapshotId:
    """Names a snapshot: it holds every record below ``end_offset``, the last one of ``epoch``."""

    end_offset: int
    epoch: int


@dataclass(frozen=True, slots=True)
class EpochEndOffset:
    """An epoch and the offset after its last record (KIP-101)."""

    epoch: int
    end_offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ElectionState:
    """What a node must remember across restarts (Raft thesis 3.8: currentTerm and votedFor)."""

    epoch: int = 0
    voted_for: int = NO_NODE
    voted_directory_id: UUID = NO_DIRECTORY
    leader_id: int = NO_NODE


@dataclass(frozen=True, slots=True, kw_only=True)
class QuorumConfig:
    """Timings and limits of the quorum. The defaults are Kafka's where Kafka has the setting."""

    election_timeout_ms: int = 1000
    """``controller.quorum.election.timeout.ms``; the real one is drawn from 1x to 2x of it."""
    fetch_timeout_ms: int = 2000
    """``controller.quorum.fetch.timeout.ms``: a follower without an answer, or a leader without
    fetches from a majority, for this long gives up."""
    election_backoff_max_ms: int = 1000
    """``controller.quorum.election.backoff.max.ms``"""
    request_timeout_ms: int = 2000
    """``controller.quorum.request.timeout.ms``"""
    retry_backoff_ms: int = 20
    """``controller.quorum.retry.backoff.ms``: before a failed request is sent again."""
    retry_backoff_max_ms: int = 200
    fetch_wait_ms_max: int = 500
    """How long a fetch may wait at the leader for something new."""
    fetch_bytes_max: int = 1024 * 1024
    snapshot_chunk_bytes_max: int = 1024 * 1024
    first_election_delay_ms_min: int = 50
    first_election_delay_ms_max: int = 150
    """A node that has just started asks for pre-votes this soon: a pre-vote disturbs nobody, and it
    also finds the leader when there is one."""
    failover_delay_ms_max: int = 50
    """After the leader's listener refused a connection: pre-vote within this time."""
    late_ms: int = 100
    """A time limit that is noticed this much too late was slept through: by this process, or by
    the machine."""
    late_grace_ms: int = 750
    """Then what others said meanwhile waits in the sockets: how long there is to hear it. Longer
    than a fetch waits: one that timed out during the sleep is sent again and parked at the leader.
    """
    observer_session_ms: int = 300_000
    """An observer that has not fetched for this long is forgotten."""
    snapshot_log_bytes: int = 20 * 1024 * 1024
    """``metadata.log.max.record.bytes.between.snapshots``; the log is shortened to the newest
    snapshot when it holds as much: until then who follows it hears what happened before."""
    snapshot_interval_ms: int = 3_600_000
    """``metadata.log.max.snapshot.interval.ms``; 0 = never for the time's sake."""
    listener_name: str = "CONTROLLER"
    """Under which name DescribeQuorum lists the voters' endpoints."""
