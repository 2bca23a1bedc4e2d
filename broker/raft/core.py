"""The quorum core: events in, effects out.

One node of a replicated log that follows KRaft's rules (KIP-595, KIP-630, KIP-996; Raft thesis
chapter 3). It must never do I/O: after ``step``, perform the effects as broker.raft.effects says,
and call again no later than ``next_wakeup_ms``.
"""

from typing import assert_never

from broker.raft.effects import Effect
from broker.raft.events import (
    Answered,
    AppendRequested,
    Event,
    Failed,
    Flushed,
    LeaderUnreachable,
    Received,
    ResignRequested,
    SnapshotInstalled,
    SnapshotWritten,
    Tick,
)
from broker.raft.following import Following
from broker.raft.messages import (
    BeginQuorumEpochRequest,
    BeginQuorumEpochResponse,
    EndQuorumEpochRequest,
    EndQuorumEpochResponse,
    FetchRequest,
    FetchResponse,
    FetchSnapshotRequest,
    FetchSnapshotResponse,
    VoteRequest,
    VoteResponse,
)
from broker.raft.roles import Leader, Observer, Resigned, Unattached


class Quorum(Following):
    """One node of the quorum. Call ``start`` once, then ``step`` for everything that happens."""

    def start(self, now_ms: int) -> list[Effect]:
        """Begin: a voter asks for pre-votes soon, an observer fetches from any voter."""
        self._now_ms = now_ms
        if self.is_voter:
            config = self.config
            delay_ms = 0
            if len(self.voters) > 1:
                delay_ms = self._random_ms(
                    config.first_election_delay_ms_min, config.first_election_delay_ms_max
                )
            self.role = Unattached(now_ms + delay_ms)
        else:
            self.role = Observer()
        return self.step(now_ms, Tick())

    def step(self, now_ms: int, event: Event) -> list[Effect]:
        """Take one event at ``now_ms`` (monotonic) and return what is to be done, in order."""
        self._now_ms = max(self._now_ms, now_ms)
        effects: list[Effect] = []
        self._effects = effects
        self._take(event)
        self._run_timers()
        self._drive_fetch()
        self._announce()
        return effects

    def next_wakeup_ms(self) -> int | None:
        """When the next ``Tick`` is due, if nothing else happens before."""
        times = [self._election_wakeup_ms(), self._fetch_wakeup_ms()]
        if isinstance(self.role, Leader):
            times.append(self._leader_wakeup_ms(self.role))
        return min((t for t in times if t is not None), default=None)

    def _run_timers(self) -> None:
        # A timer may lead to the next at the same moment (a round lost, a voter alone).
        if isinstance(self.role, Leader):
            self._run_leader_timers(self.role)
        else:
            self._run_election_timers()

    def _take(self, event: Event) -> None:
        match event:
            case Tick():
                pass
            case Received():
                self._on_request(event)
            case Answered():
                self._on_response(event)
            case Failed():
                self._on_failure(event)
            case LeaderUnreachable():
                self._on_leader_unreachable(event.leader_id)
            case AppendRequested():
                self._on_append(event)
            case Flushed():
                self.log.flushed_offset = max(
                    self.log.flushed_offset, min(event.offset, self.log.end_offset)
                )
                self._on_leader_flushed()
            case SnapshotWritten():
                self._on_snapshot_written(event.snapshot_id, event.trim_to)
            case SnapshotInstalled():
                self._on_snapshot_installed(event.snapshot_id)
            case ResignRequested():
                if isinstance(self.role, Leader):
                    self._resign(self.role)
            case _ as unreachable:
                assert_never(unreachable)

    def _on_request(self, event: Received) -> None:
        match event.request:
            case VoteRequest() as request:
                self._on_vote(event.token, request)
            case BeginQuorumEpochRequest() as request:
                self._on_begin_quorum_epoch(event.token, request)
            case EndQuorumEpochRequest() as request:
                self._on_end_quorum_epoch(event.token, request)
            case FetchRequest() as request:
                self._on_fetch(event.token, request)
            case FetchSnapshotRequest() as request:
                self._on_fetch_snapshot(event.token, request)
            case _ as unreachable:
                assert_never(unreachable)

    def _on_response(self, event: Answered) -> None:
        match event.response:
            case VoteResponse() as response:
                self._on_vote_response(event.peer, event.send_id, response)
            case BeginQuorumEpochResponse() as response:
                self._on_begin_response(event.peer, event.send_id, response)
            case EndQuorumEpochResponse() as response:
                self._learn(response.leader_id, response.epoch)
            case FetchResponse() as response:
                self._on_fetch_response(event.send_id, response)
            case FetchSnapshotResponse() as response:
                self._on_fetch_snapshot_response(event.send_id, response)
            case _ as unreachable:
                assert_never(unreachable)

    def _on_failure(self, event: Failed) -> None:
        if isinstance(self.role, Leader):
            self._on_begin_response(event.peer, event.send_id, None)
        elif not isinstance(self.role, Resigned):
            self._on_vote_failed(event.peer, event.send_id)
            self._on_fetch_failed(event.peer, event.send_id, refused=event.refused)
