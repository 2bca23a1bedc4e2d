"""Deliberate bugs, each put into the broker for the length of a block.

They prove that the simulator can see what it is there to see. Each is a mistake that a real
implementation of this protocol has made or could make.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

from broker.metadata import election
from broker.protocol.errors import ErrorCode
from broker.raft.core import Quorum
from broker.replication.follower import Applied, FollowerRole
from broker.replication.leader import LeaderRole
from broker.replication.local import LocalReplica
from broker.replication.partition import Partition
from broker.runtime.fetcher import PeerFetcher
from broker.runtime.replica_disk import Flusher
from broker.simulation.violations import LivenessViolation, SafetyViolation
from broker.storage.producers import ProducerState

Violation = type[SafetyViolation] | type[LivenessViolation] | tuple[type[Exception], ...]
EITHER = (SafetyViolation, LivenessViolation)


@dataclass(frozen=True)
class Bug:
    """A mistake, what the simulator must call it, and the kind of run that should show it."""

    manager: Callable[[], Any]
    violation: Violation
    plan: dict[str, Any]


BUGS: dict[str, Bug] = {}


def bug(violation: Violation, **plan: Any) -> Callable[[Callable[[], Iterator[None]]], Any]:
    """Register a bug; `plan` overrides what a seed decides (see scenario.Plan)."""

    def register(function: Callable[[], Iterator[None]]) -> Any:
        manager = contextmanager(function)
        BUGS[function.__name__] = Bug(manager, violation, plan)
        return manager

    return register


POWER = {"commit": True, "kinds": ("kill", "blackout", "blackout", "isolate", "kill_two")}
CHAOS = {
    "separate": True,
    "players": 3,
    "kinds": ("pause", "isolate", "blackout", "kill_two", "slow"),
}
METADATA = {
    "commit": True,
    "administrator": True,
    "players": 3,
    "kinds": ("one_synced",),
}
MOVES = {"kinds": ("kill", "isolate", "pause", "kill_two", "one_way", "lossy")}


@bug(SafetyViolation, **POWER)
def followers_answer_before_the_disk_has_it() -> Iterator[None]:
    """log.flush.policy=commit: the next fetch tells the leader of bytes that are not synced."""

    async def commit(self: Flusher, partitions: Any) -> None:
        return None

    with (
        patch.object(Flusher, "commit", commit),
        patch.object(PeerFetcher, "_may_be_told", staticmethod(lambda _: True)),
    ):
        yield


@bug(SafetyViolation, **POWER)
def leader_counts_what_it_has_not_flushed() -> Iterator[None]:
    with (
        patch.object(LocalReplica, "durable_offset", property(lambda self: self.log.end_offset)),
        patch.object(LocalReplica, "needs_flush", property(lambda self: False)),
    ):
        yield


@bug(SafetyViolation, **MOVES)
def followers_truncate_to_the_high_watermark() -> Iterator[None]:
    """As Kafka did before KIP-101."""
    before = FollowerRole.__init__

    def begin(self: FollowerRole, local: LocalReplica, state: Any) -> None:
        before(self, local, state)
        local.truncate_to(local.high_watermark)

    with (
        patch.object(FollowerRole, "__init__", begin),
        patch.object(LeaderRole, "_divergence", lambda *_: None),
    ):
        yield


@bug(EITHER, **MOVES)
def followers_never_truncate() -> Iterator[None]:
    """A follower's tail that the leader does not know stays, if its log is not longer."""
    with patch.object(LeaderRole, "_divergence", lambda *_: None):
        yield


@bug(EITHER, **MOVES)
def leader_shrinks_the_isr_alone() -> Iterator[None]:
    """The new ISR counts before the controller has committed it (KIP-497)."""

    def propose(self: LeaderRole, members: tuple[int, ...]) -> None:
        if len(members) < len(self.isr.committed):
            self.isr.committed = self.isr.maximal = members

    with patch.object(LeaderRole, "_propose", propose):
        yield


@bug(SafetyViolation, **MOVES)
def leader_acknowledges_at_once() -> Iterator[None]:
    with patch.object(Partition, "acknowledged", lambda *_: ErrorCode.none):
        yield


@bug(SafetyViolation, **MOVES)
def retries_are_written_again() -> Iterator[None]:
    with patch.object(ProducerState, "check", lambda *_: None):
        yield


@bug(SafetyViolation, **MOVES)
def consumers_read_beyond_the_high_watermark() -> Iterator[None]:
    before = Partition.read_as_consumer

    def read(self: Partition, *args: Any, **kwargs: Any) -> Any:
        actual, self.local.high_watermark = self.local.high_watermark, self.log.end_offset
        try:
            return before(self, *args, **kwargs)
        finally:
            self.local.high_watermark = actual

    with patch.object(Partition, "read_as_consumer", read):
        yield


@bug(SafetyViolation, **CHAOS)
def controller_elects_anybody() -> Iterator[None]:
    """Leaders from outside of the ISR, with unclean.leader.election.enable=false."""
    before = election.elect

    def elect(state: Any, active: Any, *, unclean: bool) -> Any:
        return before(state, active, unclean=True)

    with patch.object(election, "elect", elect):
        yield


@bug(LivenessViolation, **MOVES)
def nobody_comes_back_into_the_isr() -> Iterator[None]:
    with patch.object(LeaderRole, "maybe_expand", lambda *_: False):
        yield


@bug(LivenessViolation, **MOVES)
def truncation_is_refused() -> Iterator[None]:
    """A follower that diverged asks again and again."""
    before = FollowerRole.apply

    def apply(self: FollowerRole, *args: Any, **kwargs: Any) -> Applied:
        if kwargs.get("diverging_epoch") is not None:
            return Applied.NOTHING
        return before(self, *args, **kwargs)

    with patch.object(FollowerRole, "apply", apply):
        yield


def quorum_bug(name: str, violation: Violation = SafetyViolation, **plan: Any) -> None:
    """Register one of the quorum core's own deliberate bugs."""

    @contextmanager
    def manager() -> Iterator[None]:
        before = Quorum.__init__

        def begin(self: Quorum, **kwargs: Any) -> None:
            before(self, **kwargs, deliberate_bugs=frozenset({name}))

        with patch.object(Quorum, "__init__", begin):
            yield

    BUGS[f"quorum_{name}"] = Bug(manager, violation, plan)


for each in ("vote_for_short_log", "elect_without_majority"):
    quorum_bug(each, **MOVES)
quorum_bug("skip_truncation", EITHER, **MOVES)
quorum_bug("count_unflushed", **METADATA)
