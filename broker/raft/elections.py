"""Elections: pre-votes, votes, the beginning and end of an epoch (KIP-595, KIP-996).

Must never touch the log.
"""

from broker.protocol.errors import ErrorCode
from broker.raft.messages import (
    BeginQuorumEpochRequest,
    BeginQuorumEpochResponse,
    EndQuorumEpochRequest,
    EndQuorumEpochResponse,
    VoteRequest,
    VoteResponse,
)
from broker.raft.node import Node
from broker.raft.roles import (
    Ballot,
    Candidate,
    Follower,
    Leader,
    Prospective,
    Resigned,
    Unattached,
)
from broker.raft.types import NO_NODE, ElectionState


class Elections(Node):
    """Who leads."""

    def _become_leader(self, granted: frozenset[int]) -> None:
        raise NotImplementedError

    # -- asking ---------------------------------------------------------------------------------

    def _become_prospective(self) -> None:
        """Ask whether this node would be elected. The epoch stays as it is."""
        ballot = Ballot(granted={self.node_id})
        self._become(Prospective(self._now_ms + self._election_timeout_ms(), ballot))
        self._trace("ask for pre-votes")
        if len(ballot.granted) >= self.majority:
            self._become_candidate()
            return
        for peer in self.peers:
            self._ask(ballot, peer, pre_vote=True)

    def _become_candidate(self) -> None:
        """Raise the epoch, vote for oneself, ask for votes."""
        ballot = Ballot(granted={self.node_id})
        self._remember(
            ElectionState(
                epoch=self.epoch + 1,
                voted_for=self.node_id,
                voted_directory_id=self.directory_id,
            )
        )
        self._become(Candidate(self._now_ms + self._election_timeout_ms(), ballot))
        self._trace("ask for votes")
        if len(ballot.granted) >= self.majority:
            self._become_leader(frozenset(ballot.granted))
            return
        for peer in self.peers:
            self._ask(ballot, peer, pre_vote=False)

    def _ask(self, ballot: Ballot, peer: int, *, pre_vote: bool) -> None:
        request = VoteRequest(
            epoch=self.epoch,
            candidate_id=self.node_id,
            candidate_directory_id=self.directory_id,
            last_epoch=self.log.last_epoch,
            last_offset=self.log.end_offset,
            pre_vote=pre_vote,
        )
        ballot.retry_at_ms.pop(peer, None)
        ballot.waiting[peer] = self._send(peer, request)

    def _on_vote_response(self, peer: int, send_id: int, response: VoteResponse) -> None:
        # A node that would vote for us holds its leader for gone; what it says of it is no news.
        self._learn(NO_NODE if response.granted else response.leader_id, response.epoch)
        role = self.role
        if not isinstance(role, Prospective | Candidate):
            return
        ballot = role.ballot
        if ballot.waiting.get(peer) != send_id:
            return
        del ballot.waiting[peer]
        if response.granted:
            ballot.granted.add(peer)
            if len(ballot.granted) >= self.majority:
                if isinstance(role, Prospective):
                    self._become_candidate()
                else:
                    self._become_leader(frozenset(ballot.granted))
                return
        else:
            ballot.rejected.add(peer)
        self._consider_ballot(role)

    def _on_vote_failed(self, peer: int, send_id: int) -> None:
        role = self.role
        if not isinstance(role, Prospective | Candidate):
            return
        ballot = role.ballot
        if ballot.waiting.get(peer) != send_id:
            return
        del ballot.waiting[peer]
        ballot.retry_at_ms[peer] = self._now_ms + self._retry_ms(2)
        ballot.failed.add(peer)
        self._consider_ballot(role)

    def _consider_ballot(self, role: Prospective | Candidate) -> None:
        """Give up a round that is lost; shorten one in which nobody is left to answer."""
        ballot = role.ballot
        if len(self.voters) - len(ballot.rejected) < self.majority:
            self._trace("round is lost")
            self._lose_round(self._round_backoff_ms())
            return
        heard = ballot.granted | ballot.rejected | ballot.failed
        if len(heard) == len(self.voters) and ballot.rejected:
            soon_ms = self._now_ms + self._round_backoff_ms()
            role.election_at_ms = min(role.election_at_ms, soon_ms)

    def _round_backoff_ms(self) -> int:
        limit = self.config.election_backoff_max_ms
        return self._random_ms(min(20, limit), min(limit, 100 << min(self.failed_rounds, 6)))

    def _lose_round(self, wait_ms: int) -> None:
        self.failed_rounds += 1
        self._become_unattached(self.epoch, wait_ms)

    # -- answering ------------------------------------------------------------------------------

    def _on_vote(self, token: int, request: VoteRequest) -> None:
        error = ErrorCode.none
        granted = False
        if not self.is_voter or request.candidate_id not in self.voters:
            error = ErrorCode.inconsistent_voter_set
        elif request.epoch < 0 or request.candidate_id == self.node_id:
            error = ErrorCode.invalid_request
        elif request.epoch < self.epoch:
            error = ErrorCode.fenced_leader_epoch
        else:
            if request.epoch > self.epoch:
                self._become_unattached(request.epoch)
            granted = self._grants(request)
            if granted:
                self._grant(request)
        leader_id = self._live_leader_id()
        self._reply(
            token,
            VoteResponse(error=error, epoch=self.epoch, leader_id=leader_id, granted=granted),
        )

    def _grants(self, request: VoteRequest) -> bool:
        role = self.role
        up_to_date = (request.last_epoch, request.last_offset) >= (
            self.log.last_epoch,
            self.log.end_offset,
        )
        if "vote_for_short_log" in self._bugs:
            up_to_date = True
        if request.pre_vote:
            if isinstance(role, Leader):
                return False
            # KIP-996: whoever hears its leader keeps it.
            if isinstance(role, Follower) and role.has_fetched and self._leader_is_live(role):
                return False
            return up_to_date
        if "vote_twice" in self._bugs:
            return up_to_date and not isinstance(role, Leader)
        if not isinstance(role, Unattached | Prospective) or self.state.leader_id != NO_NODE:
            return False
        if self.state.voted_for == request.candidate_id:
            return True
        return self.state.voted_for == NO_NODE and up_to_date

    def _grant(self, request: VoteRequest) -> None:
        if request.pre_vote:
            if isinstance(self.role, Unattached):
                # Let the one that asked first go first: fewer split votes.
                wait_ms = self._random_ms(100, 200)
                self.role.election_at_ms = max(self.role.election_at_ms, self._now_ms + wait_ms)
            return
        self._remember(
            ElectionState(
                epoch=self.epoch,
                voted_for=request.candidate_id,
                voted_directory_id=request.candidate_directory_id,
            )
        )
        self._become_unattached(self.epoch)

    def _on_begin_quorum_epoch(self, token: int, request: BeginQuorumEpochRequest) -> None:
        error = self._announcement_error(request.leader_id, request.epoch)
        if error == ErrorCode.none:
            self._learn(request.leader_id, request.epoch)
            if isinstance(self.role, Follower) and self.role.unreachable:
                self.role.unreachable = False
                self.role.election_at_ms = self._now_ms + self._follower_timeout_ms()
        leader_id = self._live_leader_id()
        self._reply(
            token, BeginQuorumEpochResponse(error=error, epoch=self.epoch, leader_id=leader_id)
        )

    def _announcement_error(self, leader_id: int, epoch: int) -> ErrorCode:
        if leader_id not in self.voters:
            return ErrorCode.inconsistent_voter_set
        if leader_id == self.node_id or epoch < 0:
            return ErrorCode.invalid_request
        if epoch < self.epoch:
            return ErrorCode.fenced_leader_epoch
        if epoch == self.epoch and self.state.leader_id not in (NO_NODE, leader_id):
            return ErrorCode.invalid_request
        return ErrorCode.none

    def _on_end_quorum_epoch(self, token: int, request: EndQuorumEpochRequest) -> None:
        error = self._announcement_error(request.leader_id, request.epoch)
        if error == ErrorCode.none:
            self._learn(request.leader_id, request.epoch)
            if isinstance(self.role, Follower):
                self.role.resigned = True
                delay_ms = self._succession_delay_ms(request.preferred_successors)
                self.role.election_at_ms = self._now_ms + delay_ms
        self._reply(token, EndQuorumEpochResponse(error=error, epoch=self.epoch))

    def _succession_delay_ms(self, successors: tuple[int, ...]) -> int:
        """The first in the list goes at once, the others a little later, strangers last."""
        if self.node_id not in successors:
            return self._election_timeout_ms()
        position = successors.index(self.node_id)
        return 0 if position == 0 else self._random_ms(50 * position, 100 * position)

    # -- losing touch ---------------------------------------------------------------------------

    def _on_leader_unreachable(self, leader_id: int) -> None:
        """Nobody listens at the leader's address: ask for pre-votes almost at once.

        Harmless when wrong: those who still hear the leader refuse, and say who it is.
        """
        role = self.role
        if not isinstance(role, Follower) or role.leader_id != leader_id or role.unreachable:
            return
        role.unreachable = True
        limit = self.config.failover_delay_ms_max << min(self.failed_rounds, 4)
        role.election_at_ms = min(role.election_at_ms, self._now_ms + self._random_ms(0, limit))
        self._trace(f"leader {leader_id} is unreachable")

    def _resign(self, role: Leader) -> None:
        """Give up the epoch and name the best successors first (KIP-595, EndQuorumEpoch)."""
        by_log = sorted(self.peers, key=lambda p: (-role.replicas[p].match_offset, p))
        request = EndQuorumEpochRequest(
            epoch=self.epoch, leader_id=self.node_id, preferred_successors=tuple(by_log)
        )
        self._become(Resigned(self._now_ms + self._election_timeout_ms()))
        self._trace("resign")
        for peer in by_log:
            self._send(peer, request)

    # -- time -----------------------------------------------------------------------------------

    def _run_election_timers(self) -> None:
        role = self.role
        now_ms = self._now_ms
        if isinstance(role, Unattached | Follower) and now_ms >= role.election_at_ms:
            if self.installing:
                role.election_at_ms = now_ms + self._election_timeout_ms()
            elif isinstance(role, Follower) and self._listens_first(role):
                role.slept = True
                role.election_at_ms = now_ms + self.config.late_grace_ms
            else:
                if isinstance(role, Follower):
                    self.failed_rounds += 1
                self._become_prospective()
        elif isinstance(role, Resigned) and now_ms >= role.election_at_ms:
            self._become_unattached(self.epoch)
        elif isinstance(role, Prospective | Candidate):
            if now_ms >= role.election_at_ms:
                self._trace("round is over")
                self._lose_round(self._round_backoff_ms())
                return
            due = [p for p, at in sorted(role.ballot.retry_at_ms.items()) if now_ms >= at]
            for peer in due:
                self._ask(role.ballot, peer, pre_vote=isinstance(role, Prospective))

    def _listens_first(self, role: Follower) -> bool:
        """Whether it was this node that was silent: its leader may have answered long ago.

        Several that slept on one machine would else grant each other's pre-votes.
        """
        if role.slept or role.unreachable or role.resigned:
            return False
        return self._now_ms - role.election_at_ms > self.config.late_ms

    def _election_wakeup_ms(self) -> int | None:
        role = self.role
        match role:
            case Unattached() | Follower() | Resigned():
                return role.election_at_ms
            case Prospective() | Candidate():
                return min([role.election_at_ms, *role.ballot.retry_at_ms.values()])
            case _:
                return None
