"""What every part of the core shares: state, change of role and epoch, effects.

Must never handle a message; elections, leading and following are built on top.
"""

from collections.abc import Iterable
from typing import Protocol
from uuid import UUID

from broker.protocol.errors import ErrorCode
from broker.raft.effects import (
    Effect,
    HighWatermarkAdvanced,
    LeaderChanged,
    PersistState,
    Reply,
    Send,
    Trace,
)
from broker.raft.log_state import LogState
from broker.raft.messages import Request, Response
from broker.raft.roles import LEGAL, Follower, Leader, Observer, Role, Unattached
from broker.raft.types import (
    NO_DIRECTORY,
    NO_NODE,
    ElectionState,
    LeaderAndEpoch,
    QuorumConfig,
)

DELIBERATE_BUGS = frozenset(
    {
        "count_unflushed",
        "hw_over_old_epoch",
        "vote_twice",
        "vote_for_short_log",
        "skip_truncation",
        "elect_without_majority",
    }
)
"""Faults that tests switch on to prove that their checks can fail. Never set outside tests."""


class Rng(Protocol):
    """The randomness that is handed in: ``random.Random`` of a seed."""

    def randint(self, a: int, b: int, /) -> int:
        """Return an integer from a to b, both included."""
        ...


class Node:
    """The state of one node and the ways to change it."""

    def __init__(
        self,
        *,
        node_id: int,
        voters: Iterable[int],
        config: QuorumConfig,
        rng: Rng,
        log: LogState,
        state: ElectionState,
        directory_id: UUID = NO_DIRECTORY,
        now_ms: int = 0,
        deliberate_bugs: frozenset[str] = frozenset(),
    ) -> None:
        assert deliberate_bugs <= DELIBERATE_BUGS
        self.node_id = node_id
        self.directory_id = directory_id
        self.voters = tuple(sorted(voters))
        assert self.voters, "a quorum has at least one voter"
        self.config = config
        self.log = log
        self.state = state
        if log.last_epoch > state.epoch:
            # The log reached the disk, the state did not: no vote of that epoch was ever told.
            self.state = ElectionState(epoch=log.last_epoch)
        snapshot_end = log.snapshot.end_offset if log.snapshot is not None else 0
        self.high_watermark = max(snapshot_end, log.start_offset)
        """Invariant: never shrinks; at most ``log.end_offset``."""
        self.installing = False
        """A fetched snapshot is being put in place: no elections until it is."""
        self.failed_rounds = 0
        """Elections and attachments in vain since there was last a leader."""
        self._rng = rng
        self._now_ms = now_ms
        self._send_ids = 0
        self._effects: list[Effect] = []
        self._bugs = deliberate_bugs
        self.role: Role = Observer() if node_id not in self.voters else Unattached(now_ms)
        self._announced = LeaderAndEpoch(NO_NODE, -1)

    # -- views ----------------------------------------------------------------------------------

    @property
    def epoch(self) -> int:
        """The present epoch; never shrinks."""
        return self.state.epoch

    @property
    def now_ms(self) -> int:
        """The time of the last step."""
        return self._now_ms

    @property
    def is_voter(self) -> bool:
        """Whether this node has a vote."""
        return self.node_id in self.voters

    @property
    def is_leader(self) -> bool:
        """Whether this node leads its epoch."""
        return isinstance(self.role, Leader)

    @property
    def majority(self) -> int:
        """How many voters decide."""
        if "elect_without_majority" in self._bugs:
            return max(1, len(self.voters) // 2)
        return len(self.voters) // 2 + 1

    @property
    def leader(self) -> LeaderAndEpoch:
        """Who leads, as far as this node knows."""
        return LeaderAndEpoch(self._leader_id(), self.epoch)

    @property
    def peers(self) -> tuple[int, ...]:
        """The other voters, sorted."""
        return tuple(v for v in self.voters if v != self.node_id)

    def _leader_id(self) -> int:
        match self.role:
            case Leader():
                return self.node_id
            case Follower(leader_id=leader_id) | Observer(leader_id=leader_id):
                return leader_id
            case _:
                return NO_NODE

    def _live_leader_id(self) -> int:
        """The leader to name in answers: one that this node is itself in touch with."""
        if isinstance(self.role, Follower) and not self._leader_is_live(self.role):
            return NO_NODE
        return self._leader_id()

    def _leader_is_live(self, role: Follower) -> bool:
        if role.unreachable or role.resigned:
            return False
        return self._now_ms - role.contact_at_ms < self.config.fetch_timeout_ms

    # -- effects --------------------------------------------------------------------------------

    def _emit(self, effect: Effect) -> None:
        self._effects.append(effect)

    def _trace(self, text: str) -> None:
        self._emit(Trace(text=text, epoch=self.epoch))

    def _send(self, to: int, request: Request, *, extra_ms: int = 0) -> int:
        self._send_ids += 1
        timeout_ms = self.config.request_timeout_ms + extra_ms
        self._emit(Send(to=to, send_id=self._send_ids, request=request, timeout_ms=timeout_ms))
        return self._send_ids

    def _reply(self, token: int, response: Response) -> None:
        self._emit(Reply(token=token, response=response))

    def _random_ms(self, low: int, high: int) -> int:
        return self._rng.randint(low, max(low, high))

    def _election_timeout_ms(self) -> int:
        base = self.config.election_timeout_ms
        return self._random_ms(base, 2 * base)

    def _retry_ms(self, failures: int) -> int:
        """Wait before the next try: doubling, bounded, jittered."""
        base = self.config.retry_backoff_ms
        bound = min(self.config.retry_backoff_max_ms, base << min(failures, 8))
        return self._random_ms(base, bound)

    # -- state ----------------------------------------------------------------------------------

    def _remember(self, state: ElectionState) -> None:
        """Change epoch, vote or leader; durable before anything later leaves this node."""
        if state == self.state:
            return
        assert state.epoch >= self.state.epoch, "an epoch never shrinks"
        if state.epoch == self.state.epoch and "vote_twice" not in self._bugs:
            assert self.state.voted_for in (NO_NODE, state.voted_for), "one vote in an epoch"
            assert self.state.leader_id in (NO_NODE, state.leader_id), "one leader in an epoch"
        self.state = state
        self._emit(PersistState(state=state))

    def _become(self, role: Role) -> None:
        assert type(role) in LEGAL[type(self.role)], f"{type(self.role)} to {type(role)}"
        if isinstance(self.role, Leader) and not isinstance(role, Leader):
            self._leave_leadership(self.role)
        self.role = role

    def _leave_leadership(self, role: Leader) -> None:
        raise NotImplementedError

    def _become_unattached(self, epoch: int, election_in_ms: int | None = None) -> None:
        """Forget the leader; with a new epoch also the vote."""
        if epoch > self.epoch:
            self._remember(ElectionState(epoch=epoch))
        if isinstance(self.role, Observer):
            self._become(Observer())
            return
        wait_ms = self._election_timeout_ms() if election_in_ms is None else election_in_ms
        self._become(Unattached(self._now_ms + wait_ms))

    def _become_follower(self, leader_id: int, epoch: int) -> None:
        assert leader_id in self.voters
        assert leader_id != self.node_id
        same = epoch == self.epoch
        vote = self.state if same else ElectionState()
        self._remember(
            ElectionState(
                epoch=epoch,
                voted_for=vote.voted_for,
                voted_directory_id=vote.voted_directory_id,
                leader_id=leader_id,
            )
        )
        if isinstance(self.role, Observer):
            self._become(Observer(leader_id=leader_id))
            return
        deadline_ms = self._now_ms + self._follower_timeout_ms()
        self._become(Follower(leader_id, deadline_ms, contact_at_ms=self._now_ms))
        self._trace(f"follow {leader_id}")

    def _follower_timeout_ms(self) -> int:
        # Jitter, so that the followers of a silent leader do not all ask at the same moment.
        return self.config.fetch_timeout_ms + self._random_ms(
            0, self.config.election_timeout_ms // 4
        )

    def _learn(self, leader_id: int, epoch: int) -> None:
        """Take over what a message says about epoch and leader, when it is news."""
        if epoch < self.epoch:
            return
        known = leader_id in self.voters and leader_id != self.node_id
        if epoch > self.epoch:
            if known:
                self._become_follower(leader_id, epoch)
            else:
                self._become_unattached(epoch)
            return
        if known and not isinstance(self.role, Leader) and self._leader_id() == NO_NODE:
            if self.state.leader_id not in (NO_NODE, leader_id):
                self._trace(f"two leaders: {self.state.leader_id} and {leader_id}")
                return
            self._become_follower(leader_id, epoch)

    def _advance_high_watermark(self, offset: int) -> None:
        assert self.high_watermark < offset <= self.log.end_offset
        self.high_watermark = offset
        self._emit(HighWatermarkAdvanced(offset=offset))

    def _announce(self) -> None:
        """Report a change of leader, once a step is complete."""
        leader = self.leader
        if leader != self._announced:
            self._announced = leader
            self._emit(LeaderChanged(leader=leader))

    def _epoch_error(self, epoch: int) -> ErrorCode:
        """The error for a request that only the leader of ``epoch`` can answer."""
        if not self.is_leader:
            return ErrorCode.not_leader_or_follower
        if epoch < self.epoch:
            return ErrorCode.fenced_leader_epoch
        if epoch > self.epoch:
            return ErrorCode.unknown_leader_epoch
        return ErrorCode.none
