"""One core, message by message."""

from random import Random

import pytest

from broker.protocol.errors import ErrorCode
from broker.raft import effects as fx
from broker.raft import events as ev
from broker.raft import messages as ms
from broker.raft.core import Quorum
from broker.raft.log_state import LogState
from broker.raft.roles import Follower, Unattached
from broker.raft.types import (
    ElectionState,
    EpochEndOffset,
    LeaderAndEpoch,
    QuorumConfig,
    SnapshotId,
)


class Driven:
    """A core whose clock and peers are the test's."""

    def __init__(self, *, voters=(1, 2, 3), node_id=1, log=None, state=None, now=10_000) -> None:
        self.now = now
        self.core = Quorum(
            node_id=node_id,
            voters=voters,
            config=QuorumConfig(),
            rng=Random(1),
            log=log or LogState(),
            state=state or ElectionState(),
            now_ms=now,
        )
        self.tokens = 0
        self.effects = self.core.start(now)

    def step(self, event: ev.Event, after_ms: int = 0) -> list[fx.Effect]:
        self.now += after_ms
        self.effects = self.core.step(self.now, event)
        return self.effects

    def ask(self, request: ms.Request, after_ms: int = 0):
        """The answer, or None while it waits."""
        self.tokens += 1
        self.step(ev.Received(token=self.tokens, request=request), after_ms)
        return self.reply(self.tokens)

    def reply(self, token: int):
        found = [e.response for e in self.effects if isinstance(e, fx.Reply) and e.token == token]
        return found[0] if found else None

    def sent(self, kind) -> list[fx.Send]:
        return [e for e in self.effects if isinstance(e, fx.Send) and isinstance(e.request, kind)]

    def timeout(self) -> list[fx.Effect]:
        """Let the next timer fire."""
        at = self.core.next_wakeup_ms()
        assert at is not None
        return self.step(ev.Tick(), max(0, at - self.now))

    def answer(self, send: fx.Send, **fields) -> list[fx.Effect]:
        response = ms.VoteResponse(**fields)
        return self.step(ev.Answered(peer=send.to, send_id=send.send_id, response=response))

    def win(self) -> "Driven":
        """Become leader by the vote of node 2."""
        self.timeout()
        pre_vote = self.sent(ms.VoteRequest)[0]
        self.answer(pre_vote, epoch=self.core.epoch, granted=True)
        vote = self.sent(ms.VoteRequest)[0]
        self.answer(vote, epoch=self.core.epoch, granted=True)
        assert self.core.is_leader
        return self

    def follow(self, leader_id=2, epoch=1) -> "Driven":
        """Follow, with one good fetch behind it."""
        self.ask(ms.BeginQuorumEpochRequest(epoch=epoch, leader_id=leader_id))
        send = self.sent(ms.FetchRequest)[0]
        self.fetched(send)
        return self

    def fetched(self, send: fx.Send, **fields) -> list[fx.Effect]:
        values = {"epoch": self.core.epoch, "leader_id": send.to, "high_watermark": 0, **fields}
        response = ms.FetchResponse(**values)
        return self.step(ev.Answered(peer=send.to, send_id=send.send_id, response=response))


def vote(candidate: int, epoch: int, *, log=(0, 0), pre=False) -> ms.VoteRequest:
    return ms.VoteRequest(
        epoch=epoch, candidate_id=candidate, last_epoch=log[0], last_offset=log[1], pre_vote=pre
    )


def fetch(replica: int, offset: int, last_epoch: int, epoch: int = 1, **more) -> ms.FetchRequest:
    return ms.FetchRequest(
        replica_id=replica, epoch=epoch, offset=offset, last_fetched_epoch=last_epoch, **more
    )


def log_of(*epochs: tuple[int, int], end: int, **more) -> LogState:
    return LogState(end_offset=end, epochs=epochs, **more)


# -- votes ------------------------------------------------------------------------------------


def test_a_vote_is_durable_before_it_is_answered() -> None:
    node = Driven()
    assert node.ask(vote(2, 1)).granted
    kinds = [type(e) for e in node.effects]
    assert fx.PersistState in kinds
    last_persist = max(i for i, kind in enumerate(kinds) if kind is fx.PersistState)
    assert last_persist < kinds.index(fx.Reply)
    assert node.core.state == ElectionState(epoch=1, voted_for=2)


def test_a_candidate_persists_its_own_vote_before_it_asks() -> None:
    node = Driven()
    node.timeout()
    node.answer(node.sent(ms.VoteRequest)[0], epoch=0, granted=True)
    kinds = [type(e) for e in node.effects]
    assert kinds.index(fx.PersistState) < kinds.index(fx.Send)
    assert [s.request.pre_vote for s in node.sent(ms.VoteRequest)] == [False, False]


def test_a_pre_vote_changes_nothing_on_disk() -> None:
    node = Driven()
    assert node.ask(vote(2, 0, pre=True)).granted
    node.timeout()
    assert node.sent(ms.VoteRequest)[0].request.pre_vote
    assert not [e for e in node.effects if isinstance(e, fx.PersistState)]
    assert node.core.epoch == 0


def test_one_vote_in_an_epoch_and_the_same_again() -> None:
    node = Driven()
    assert node.ask(vote(2, 1)).granted
    assert not node.ask(vote(3, 1)).granted
    assert node.ask(vote(2, 1)).granted
    assert node.ask(vote(3, 2)).granted


@pytest.mark.parametrize(
    ("log", "granted"), [((2, 4), False), ((1, 99), False), ((2, 5), True), ((3, 1), True)]
)
def test_a_vote_needs_a_log_that_is_no_shorter(log: tuple[int, int], granted: bool) -> None:
    for pre in (True, False):
        node = Driven(log=log_of((1, 0), (2, 3), end=5), state=ElectionState(epoch=2))
        assert node.ask(vote(3, 3, log=log, pre=pre)).granted is granted


def test_an_old_epoch_is_fenced_and_strangers_do_not_count() -> None:
    node = Driven(state=ElectionState(epoch=5))
    answer = node.ask(vote(2, 4))
    assert (answer.error, answer.epoch) == (ErrorCode.fenced_leader_epoch, 5)
    assert node.ask(vote(9, 6)).error == ErrorCode.inconsistent_voter_set
    assert node.ask(vote(2, -1)).error == ErrorCode.invalid_request
    assert node.core.epoch == 5


def test_a_follower_refuses_pre_votes_while_it_hears_its_leader() -> None:
    node = Driven().follow(leader_id=2)
    answer = node.ask(vote(3, 1, pre=True))
    assert (answer.granted, answer.leader_id) == (False, 2)
    node.step(ev.LeaderUnreachable(leader_id=2))
    answer = node.ask(vote(3, 1, pre=True))
    assert (answer.granted, answer.leader_id) == (True, -1)


def test_a_follower_whose_leader_is_silent_grants_pre_votes() -> None:
    node = Driven().follow(leader_id=2)
    answer = node.ask(vote(3, 1, pre=True), after_ms=QuorumConfig().fetch_timeout_ms)
    assert answer.granted


def test_a_follower_that_slept_listens_before_it_asks_for_votes() -> None:
    node = Driven().follow(leader_id=2)
    (send,) = node.sent(ms.FetchRequest)
    node.step(ev.Tick(), 20_000)
    assert node.sent(ms.VoteRequest) == [], "the answer may wait in its socket"
    node.fetched(send)
    assert node.core.leader == LeaderAndEpoch(2, 1)
    node.step(ev.Tick(), 500)
    assert node.sent(ms.VoteRequest) == []


def test_a_follower_that_sleeps_again_and_again_gives_its_leader_up_all_the_same() -> None:
    node = Driven().follow(leader_id=2)
    node.step(ev.Tick(), 5_000)
    assert node.sent(ms.VoteRequest) == []
    node.step(ev.Tick(), 5_000)
    assert [each.request.pre_vote for each in node.sent(ms.VoteRequest)] == [True, True]


def test_a_follower_that_knows_its_leader_gone_does_not_listen_for_it() -> None:
    node = Driven().follow(leader_id=2)
    node.step(ev.LeaderUnreachable(leader_id=2))
    node.step(ev.Tick(), 5_000)
    assert node.sent(ms.VoteRequest) != []


def test_refused_pre_votes_lead_back_to_the_leader() -> None:
    node = Driven(state=ElectionState(epoch=4))
    node.timeout()
    node.answer(node.sent(ms.VoteRequest)[0], epoch=4, leader_id=3)
    assert node.core.leader == LeaderAndEpoch(3, 4)
    assert [s.to for s in node.sent(ms.FetchRequest)] == [3]


def test_a_late_answer_to_an_earlier_round_does_not_count() -> None:
    node = Driven()
    node.timeout()
    first = node.sent(ms.VoteRequest)[0]
    node.step(ev.Tick(), 3000)  # the round is over
    node.timeout()
    node.answer(first, epoch=0, granted=True)
    assert node.core.epoch == 0


def test_a_vote_that_is_remembered_holds_after_a_restart() -> None:
    node = Driven(state=ElectionState(epoch=3, voted_for=2))
    assert not node.ask(vote(3, 3)).granted
    assert node.ask(vote(2, 3)).granted


def test_a_log_ahead_of_the_election_state_sets_the_epoch() -> None:
    node = Driven(log=log_of((7, 0), end=3), state=ElectionState(epoch=6, voted_for=2))
    assert node.core.state == ElectionState(epoch=7)


def test_a_leader_that_restarts_does_not_lead_its_epoch_again() -> None:
    node = Driven(state=ElectionState(epoch=3, voted_for=1, leader_id=1))
    assert isinstance(node.core.role, Unattached)
    answer = node.ask(fetch(2, 0, 0, epoch=3))
    assert answer.error == ErrorCode.not_leader_or_follower
    assert not node.ask(vote(2, 3)).granted


# -- leading ----------------------------------------------------------------------------------


def test_the_high_watermark_waits_for_a_record_of_the_present_epoch() -> None:
    node = Driven(log=log_of((1, 0), end=5), state=ElectionState(epoch=1)).win()
    node.step(ev.Flushed(offset=6))
    node.ask(fetch(2, 5, 1, epoch=2))
    assert node.core.high_watermark == 0, "five old records on a majority commit nothing"
    node.ask(fetch(3, 6, 2, epoch=2))
    assert node.core.high_watermark == 6, "the LeaderChange commits them all"


def test_the_leader_counts_itself_only_when_flushed() -> None:
    node = Driven().win()
    node.ask(fetch(2, 1, 1))
    assert node.core.high_watermark == 0
    node.step(ev.Flushed(offset=1))
    assert node.core.high_watermark == 1


def test_two_followers_commit_without_the_leaders_disk() -> None:
    node = Driven().win()
    node.ask(fetch(2, 1, 1))
    node.ask(fetch(3, 1, 1))
    assert node.core.high_watermark == 1
    assert node.core.log.flushed_offset == 0


def test_a_waiting_fetch_is_answered_by_an_append_a_commit_or_time() -> None:
    node = Driven().win()
    node.step(ev.Flushed(offset=1))
    assert node.ask(fetch(2, 1, 1, wait_ms_max=500, high_watermark=1)) is None
    waiting = node.tokens
    node.step(ev.AppendRequested(epoch=1, records_count=2, payload=()))
    answer = node.reply(waiting)
    assert answer.read == ms.ReadRange(offset=1, upto=3, bytes_max=1 << 20)
    node.step(ev.Flushed(offset=3))
    assert node.ask(fetch(3, 3, 1, wait_ms_max=500, high_watermark=1)).high_watermark == 3
    assert node.ask(fetch(3, 3, 1, wait_ms_max=500, high_watermark=3)) is None
    waiting = node.tokens
    node.step(ev.Tick(), 500)
    assert node.reply(waiting).read is None


def test_a_fetch_that_waits_hears_of_a_new_high_watermark() -> None:
    node = Driven().win()
    node.step(ev.Flushed(offset=1))
    assert node.ask(fetch(3, 1, 1, wait_ms_max=500, high_watermark=1)) is None
    # (node 3 made the first record commit by this very fetch)
    node.step(ev.AppendRequested(epoch=1, records_count=1, payload=()))
    assert node.ask(fetch(3, 1, 1, high_watermark=1)).read is not None
    assert node.ask(fetch(3, 2, 1, wait_ms_max=500, high_watermark=1)) is None
    waiting = node.tokens
    node.step(ev.Flushed(offset=2))
    assert node.reply(waiting).high_watermark == 2


def test_readers_without_a_high_watermark_get_committed_records_only() -> None:
    node = Driven().win()
    reader = fetch(-1, 0, -1, epoch=-1)
    assert node.ask(reader).read is None
    node.ask(fetch(2, 1, 1))
    node.step(ev.Flushed(offset=1))
    assert node.ask(reader).read.upto == 1
    node.step(ev.AppendRequested(epoch=1, records_count=4, payload=()))
    assert node.ask(reader).read.upto == 1
    knowing = fetch(-1, 0, -1, epoch=-1, high_watermark=0)
    assert node.ask(knowing).read.upto == 5
    assert node.core.high_watermark == 1, "readers never count"


def test_readers_do_not_keep_a_leader_alive() -> None:
    node = Driven().win()
    for _ in range(30):
        node.ask(fetch(-1, 0, -1, epoch=-1), after_ms=100)
    assert not node.core.is_leader


def test_fetches_of_a_majority_keep_the_leader_and_silence_ends_it() -> None:
    node = Driven().win()
    for _ in range(30):
        node.ask(fetch(2, 0, 0), after_ms=1000)
    assert node.core.is_leader
    node.step(ev.Tick(), 2000)
    assert not node.core.is_leader
    assert [s.to for s in node.sent(ms.EndQuorumEpochRequest)] == [2, 3]


def test_a_leader_that_slept_listens_before_it_resigns() -> None:
    node = Driven().win()
    for replica in (2, 3):
        node.ask(fetch(replica, 0, 0))
    node.step(ev.Tick(), 20_000)  # stopped, or without the processor: its followers wait in sockets
    assert node.core.is_leader
    node.ask(fetch(2, 0, 0), after_ms=100)
    node.step(ev.Tick(), 1_900)
    assert node.core.is_leader, "a majority was heard"
    node.step(ev.Tick(), 20_000)
    wakeup = node.core.next_wakeup_ms()
    assert wakeup is not None
    assert node.now < wakeup <= node.now + 750, "listening is bounded"
    node.step(ev.Tick(), 751)
    assert not node.core.is_leader, "nobody was heard"


def test_a_leader_that_sleeps_again_and_again_resigns_all_the_same() -> None:
    node = Driven().win()
    node.ask(fetch(2, 0, 0))
    for _ in range(2):
        assert node.core.is_leader
        node.step(ev.Tick(), 5_000)
    assert not node.core.is_leader


def test_epochs_of_a_fetch_are_checked() -> None:
    node = Driven(state=ElectionState(epoch=4)).win()
    assert node.ask(fetch(2, 0, 0, epoch=4)).error == ErrorCode.fenced_leader_epoch
    assert node.ask(fetch(2, 0, 0, epoch=6)).error == ErrorCode.unknown_leader_epoch
    assert node.ask(fetch(2, -1, 0, epoch=5)).error == ErrorCode.invalid_request
    assert node.ask(fetch(2, 0, -1, epoch=5)).error == ErrorCode.invalid_request
    assert node.ask(fetch(1, 0, 0, epoch=5)).error == ErrorCode.invalid_request
    assert node.ask(fetch(-1, 9, -1, epoch=-1)).error == ErrorCode.offset_out_of_range


def test_a_follower_names_its_leader_in_its_refusal() -> None:
    node = Driven().follow(leader_id=2)
    answer = node.ask(fetch(3, 0, 0))
    assert (answer.error, answer.leader_id) == (ErrorCode.not_leader_or_follower, 2)


def test_a_higher_epoch_ends_leadership_and_answers_who_waits() -> None:
    node = Driven().win()
    node.step(ev.Flushed(offset=1))
    assert node.ask(fetch(-1, 0, -1, epoch=-1, wait_ms_max=500)) is None
    waiting = node.tokens
    node.ask(vote(2, 9, log=(1, 1)))
    assert node.reply(waiting).error == ErrorCode.not_leader_or_follower
    assert node.core.epoch == 9


def test_a_new_leader_is_announced_until_the_voters_know() -> None:
    node = Driven().win()
    first = {s.to: s for s in node.sent(ms.BeginQuorumEpochRequest)}
    assert sorted(first) == [2, 3]
    node.ask(fetch(2, 0, 0))
    node.step(ev.Failed(peer=3, send_id=first[3].send_id))
    node.step(ev.Tick(), 300)
    assert [s.to for s in node.sent(ms.BeginQuorumEpochRequest)] == [3]


def test_the_leader_remembers_when_a_replica_last_had_everything() -> None:
    node = Driven().win()
    node.ask(fetch(2, 0, 0))
    assert node.core.role.replicas[2].caught_up_at_ms == -1
    asked_at = node.now
    node.step(ev.AppendRequested(epoch=1, records_count=1, payload=()), 50)
    node.ask(fetch(2, 1, 1))
    assert node.core.role.replicas[2].caught_up_at_ms == asked_at, "it has what there was then"
    node.ask(fetch(2, 2, 1), after_ms=5)
    assert node.core.role.replicas[2].caught_up_at_ms == node.now


# -- following --------------------------------------------------------------------------------


def span(base: int, last: int, epoch: int = 1) -> ms.BatchSpan:
    return ms.BatchSpan(base_offset=base, last_offset=last, epoch=epoch)


def test_a_follower_flushes_before_it_fetches_on() -> None:
    node = Driven().follow()
    send = node.sent(ms.FetchRequest)[0]
    node.fetched(send, batches=(span(0, 4),), records="bytes", high_watermark=2)
    assert [e for e in node.effects if isinstance(e, fx.AppendFetched)]
    assert fx.FlushLog(upto=5) in node.effects
    assert not node.sent(ms.FetchRequest)
    assert node.core.high_watermark == 2
    node.step(ev.Flushed(offset=5))
    request = node.sent(ms.FetchRequest)[0].request
    assert (request.offset, request.last_fetched_epoch, request.high_watermark) == (5, 1, 2)


@pytest.mark.parametrize("batch", [span(1, 2), span(0, 2, epoch=2), span(0, -1)])
def test_batches_that_do_not_continue_the_log_are_not_appended(batch: ms.BatchSpan) -> None:
    node = Driven().follow()
    node.fetched(node.sent(ms.FetchRequest)[0], batches=(batch,), records="bytes")
    assert not [e for e in node.effects if isinstance(e, fx.AppendFetched)]
    assert node.core.log.end_offset == 0


def test_a_diverging_log_is_cut_epoch_by_epoch() -> None:
    log = log_of((1, 0), (2, 10), (4, 15), end=20)
    node = Driven(log=log, state=ElectionState(epoch=4))
    node.ask(ms.BeginQuorumEpochRequest(epoch=5, leader_id=2))
    send = node.sent(ms.FetchRequest)[0]
    assert (send.request.offset, send.request.last_fetched_epoch) == (20, 4)
    node.fetched(send, diverging=EpochEndOffset(3, 18))
    assert fx.TruncateLog(offset=15) in node.effects, "epoch 3 is unknown here: to the end of 2"
    send = node.sent(ms.FetchRequest)[0]
    assert (send.request.offset, send.request.last_fetched_epoch) == (15, 2)
    node.fetched(send, diverging=EpochEndOffset(2, 12))
    assert fx.TruncateLog(offset=12) in node.effects
    assert node.core.log.epochs == ((1, 0), (2, 10))


def test_committed_records_are_never_cut() -> None:
    node = Driven().follow()
    send = node.sent(ms.FetchRequest)[0]
    node.fetched(send, batches=(span(0, 4),), records="bytes", high_watermark=5)
    node.step(ev.Flushed(offset=5))
    with pytest.raises(AssertionError, match="below its high watermark"):
        node.fetched(node.sent(ms.FetchRequest)[0], diverging=EpochEndOffset(0, 0))


def test_a_broken_connection_is_tried_again_and_a_refused_one_is_an_election() -> None:
    node = Driven().follow(leader_id=2)
    send = node.sent(ms.FetchRequest)[0]
    node.step(ev.Failed(peer=2, send_id=send.send_id))
    again = node.sent(ms.FetchRequest)
    assert [s.to for s in again] == [2]
    assert isinstance(node.core.role, Follower)
    node.step(ev.Failed(peer=2, send_id=again[0].send_id, refused=True))
    node.step(ev.Tick(), QuorumConfig().failover_delay_ms_max)
    assert [s.request.pre_vote for s in node.sent(ms.VoteRequest)] == [True, True]


@pytest.mark.parametrize(("successors", "at_once"), [((1, 3), True), ((3, 1), False)])
def test_the_first_successor_goes_first(successors: tuple[int, ...], at_once: bool) -> None:
    node = Driven().follow(leader_id=2)
    node.ask(ms.EndQuorumEpochRequest(epoch=1, leader_id=2, preferred_successors=successors))
    assert bool(node.sent(ms.VoteRequest)) is at_once
    node.step(ev.Tick(), 200)
    assert node.core.leader.leader_id == -1


def test_a_leader_that_denies_to_lead_is_replaced() -> None:
    node = Driven().follow(leader_id=2)
    send = node.sent(ms.FetchRequest)[0]
    node.fetched(send, error=ErrorCode.not_leader_or_follower, leader_id=-1)
    node.step(ev.Tick(), 200)
    assert node.core.leader.leader_id == -1


def test_a_second_leader_of_an_epoch_is_not_believed() -> None:
    node = Driven().follow(leader_id=2)
    answer = node.ask(ms.BeginQuorumEpochRequest(epoch=1, leader_id=3))
    assert answer.error == ErrorCode.invalid_request
    assert node.core.leader == LeaderAndEpoch(2, 1)


def test_no_election_while_a_snapshot_is_put_in_place() -> None:
    node = Driven().follow()
    snapshot = SnapshotId(50, 1)
    node.fetched(node.sent(ms.FetchRequest)[0], snapshot_id=snapshot)
    send = node.sent(ms.FetchSnapshotRequest)[0]
    response = ms.FetchSnapshotResponse(
        epoch=1, leader_id=2, snapshot_id=snapshot, size=4, data=b"data"
    )
    node.step(ev.Answered(peer=2, send_id=send.send_id, response=response))
    assert fx.InstallSnapshot(snapshot_id=snapshot) in node.effects
    for _ in range(10):
        node.step(ev.Tick(), 1000)
        assert not node.sent(ms.VoteRequest)
    node.step(ev.SnapshotInstalled(snapshot_id=snapshot))
    assert (node.core.high_watermark, node.core.log.end_offset) == (50, 50)
    assert node.core.log.last_epoch == 1


# -- the log's mirror -------------------------------------------------------------------------


def test_what_the_leader_says_to_each_position() -> None:
    log = log_of((1, 0), (3, 10), (5, 20), end=30)
    assert log.check_fetch(30, 5) is None
    assert log.check_fetch(15, 3) is None
    assert log.check_fetch(0, 0) is None
    assert log.check_fetch(25, 3) == EpochEndOffset(3, 20)
    assert log.check_fetch(25, 4) == EpochEndOffset(3, 20)
    assert log.check_fetch(40, 5) == EpochEndOffset(5, 30)
    assert log.check_fetch(12, 1) == EpochEndOffset(1, 10)


def test_positions_below_a_snapshot_are_sent_to_it() -> None:
    snapshot = SnapshotId(15, 3)
    log = log_of((1, 0), (3, 10), (5, 20), end=30, snapshot=snapshot)
    log.trim_to(15)
    assert log.epochs == ((3, 15), (5, 20))
    assert log.check_fetch(9, 1) == snapshot
    assert log.check_fetch(15, 3) is None
    assert log.check_fetch(15, 1) == snapshot
    assert log.check_fetch(17, 2) == snapshot
    assert log.check_fetch(30, 5) is None


def test_cutting_forgets_epochs_that_only_began_there() -> None:
    log = log_of((1, 0), (3, 10), end=12)
    log.truncate_to(10)
    assert (log.epochs, log.last_epoch) == (((1, 0),), 1)
