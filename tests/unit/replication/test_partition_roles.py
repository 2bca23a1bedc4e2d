"""Leader and follower roles of one partition, rule by rule, without a network."""

import pytest

from broker.protocol.errors import ErrorCode
from broker.protocol.image import PartitionState
from broker.replication import EARLIEST, LATEST, MAX_TIMESTAMP, Applied
from tests.unit.replication.fake_log import batch, values
from tests.unit.replication.partition_world import World


@pytest.fixture
def world() -> World:
    world = World()
    world.elect(1)
    world.sync(2, 3, rounds=1)
    return world


def isolate_leader(world: World) -> None:
    """Both followers fall silent for longer than the lag time; the ISR becomes the leader."""
    world.append(1, batch("unreplicated"), acks=1)
    world.now_ms += 20_000
    assert world[1].check_isr(world.now_ms)
    world.decide_isr(1)
    assert world[1].isr == (1,)


def consume(partition, offset: int, **options):
    options = {"current_leader_epoch": -1, "max_bytes": 1 << 20, "min_one": True} | options
    return partition.read_as_consumer(offset, **options)


# -- the high watermark


def test_records_become_visible_when_every_in_sync_replica_has_them(world: World) -> None:
    world.append(1, batch("a", "b"))
    assert consume(world[1], 0).records == b""
    world.sync(2, rounds=2)
    assert world[1].high_watermark == 0
    world.sync(3, rounds=2)
    assert world[1].high_watermark == 2
    assert values(consume(world[1], 0).records) == ["0:a", "1:b"]


def test_a_follower_learns_the_high_watermark_with_its_next_fetch(world: World) -> None:
    world.append(1, batch("a"))
    world.sync(2, 3, rounds=2)
    assert (world[1].high_watermark, world[2].high_watermark) == (1, 0)
    world.sync(2, rounds=1)
    assert world[2].high_watermark == 1


def test_a_follower_never_puts_its_high_watermark_beyond_its_log() -> None:
    world = World(min_isr=1)
    world.elect(1)
    world.sync(2, 3, rounds=1)
    for value in "abcde":
        world.append(1, batch(value))
    world.sync(2, 3, rounds=2)
    assert world[1].high_watermark == 5
    fresh = world.partitions[3] = world.new_partition(3)
    fresh.become_follower(world.state)
    world.fetch(3, max_bytes=1)
    assert (fresh.log.end_offset, fresh.high_watermark) == (1, 1)


def test_the_high_watermark_stands_still_below_the_minimum_isr(world: World) -> None:
    isolate_leader(world)
    world.append(1, batch("a"), acks=1)
    assert world[1].high_watermark == 0
    assert consume(world[1], 0).records == b""


def test_a_sole_replica_commits_as_it_writes() -> None:
    world = World(min_isr=2)  # more than there are replicas: one is then enough
    world.state = PartitionState(replicas=(1,), isr=(1,), leader=-1)
    world.elect(1, tell=(1,))
    error, info = world.append(1, batch("a"))
    assert (error, info.last_offset) == (ErrorCode.none, 0)
    assert world[1].high_watermark == 1
    assert world[1].acknowledged(1, world.state.leader_epoch) == ErrorCode.none


def test_a_replica_that_is_about_to_join_holds_the_high_watermark_back(world: World) -> None:
    shrunk(world)
    world.decide_isr(1)
    assert (world[1].isr, world[1].high_watermark) == ((1, 2), 1)
    world.sync(3, rounds=2)  # caught up, eligible, proposed
    proposal = world[1].isr_proposal
    assert proposal is not None
    assert world[1].leader.isr.maximal == (1, 2, 3)
    world.append(1, batch("b"))
    world.sync(2, rounds=2)
    assert world[1].high_watermark == 1, "3 may already be in the ISR for all we know"
    # The controller refuses it: 3 is being fenced.
    world.brokers.fenced.add(3)
    world[1].alter_partition_result(proposal, ErrorCode.ineligible_replica, now_ms=world.now_ms)
    assert world[1].isr_proposal is None
    world[1].leader.advance_high_watermark(world.now_ms)
    assert world[1].high_watermark == 2


def test_a_new_leader_keeps_the_high_watermark_and_forgets_old_progress(world: World) -> None:
    world.append(1, batch("a"))
    world.sync(2, 3, rounds=3)
    world.elect(2)
    assert world[2].high_watermark == 1
    world.append(2, batch("b"))
    assert world[2].high_watermark == 1, "nobody fetched in this epoch yet"
    world.sync(1, 3, rounds=2)
    assert world[2].high_watermark == 2
    # The same broker in yet another epoch starts from nothing as well.
    world.elect(2)
    assert all(p.log_end_offset == -1 for p in world[2].leader.followers.values())


# -- acks


def test_acks_all_is_refused_before_the_append_below_the_minimum(world: World) -> None:
    isolate_leader(world)
    error, info = world.append(1, batch("a"))
    assert (error, info) == (ErrorCode.not_enough_replicas, None)
    assert world[1].log.end_offset == 1
    assert world.append(1, batch("a"), acks=1)[0] == ErrorCode.none


def test_a_shrink_after_the_append_is_said_so(world: World) -> None:
    epoch = world.state.leader_epoch
    world.append(1, batch("a"))
    assert world[1].acknowledged(1, epoch) is None
    world.now_ms += 20_000
    world[1].check_isr(world.now_ms)
    world.decide_isr(1)
    assert world[1].acknowledged(1, epoch) == ErrorCode.not_enough_replicas_after_append


def test_acks_all_waits_for_the_last_record(world: World) -> None:
    epoch = world.state.leader_epoch
    world.append(1, batch("a"))
    world.append(1, batch("b", "c"))
    world.fetch(2, max_bytes=1)
    world.fetch(3)
    world.sync(2, 3, rounds=1)
    assert world[1].high_watermark == 1
    assert world[1].acknowledged(1, epoch) == ErrorCode.none
    assert world[1].acknowledged(3, epoch) is None


def test_a_lost_leadership_ends_the_wait(world: World) -> None:
    epoch = world.state.leader_epoch
    world.append(1, batch("a"))
    world.elect(2)
    assert world[1].acknowledged(1, epoch) == ErrorCode.not_leader_or_follower
    assert world.append(1, batch("b"))[0] == ErrorCode.not_leader_or_follower


def test_a_new_epoch_of_the_same_leader_does_not_end_the_wait(world: World) -> None:
    """Else the batch behind it is answered with success first, and nobody tells of this one."""
    epoch = world.state.leader_epoch
    world.append(1, batch("a"))
    world.elect(1)
    assert world.state.leader_epoch > epoch
    assert world[1].acknowledged(1, epoch) is None
    world.sync(2, 3, rounds=2)
    assert world[1].acknowledged(1, epoch) == ErrorCode.none


def test_a_leadership_that_came_back_does_not_revive_the_wait(world: World) -> None:
    epoch = world.state.leader_epoch
    world.append(1, batch("a"))
    world.elect(2)
    world.elect(1)
    assert world[1].acknowledged(1, epoch) == ErrorCode.not_leader_or_follower


def test_a_duplicate_answers_with_the_original_offsets(world: World) -> None:
    _, first = world.append(1, batch("idempotent-1"))
    world.append(1, batch("other"))
    error, again = world.append(1, batch("idempotent-1"))
    assert error == ErrorCode.none
    assert again.duplicate
    assert (again.first_offset, again.last_offset) == (first.first_offset, first.last_offset)


# -- ISR


def test_a_lagging_follower_leaves_after_the_lag_time(world: World) -> None:
    world.append(1, batch("a"))
    for _ in range(5):
        world.now_ms += 2_000
        world.sync(2, rounds=1)
        assert not world[1].check_isr(world.now_ms)
    world.now_ms += 1
    world.append(1, batch("b"))
    assert world[1].check_isr(world.now_ms)
    assert world[1].isr_proposal.isr == ((1, 101), (2, 102))


def test_a_silent_follower_stays_while_nothing_is_written(world: World) -> None:
    world.now_ms += 60_000
    assert not world[1].check_isr(world.now_ms)


def test_a_follower_one_round_trip_behind_a_busy_leader_is_in_sync(world: World) -> None:
    for second in range(30):
        world.append(1, batch(f"v{second}"))
        world.fetch(2)
        world.fetch(3)
        world.now_ms += 1_000
        assert not world[1].check_isr(world.now_ms)


def test_a_follower_that_only_ever_gets_older_data_leaves(world: World) -> None:
    """It fetches all the time, but never reaches what the leader had a fetch ago."""
    for second in range(30):
        for n in range(3):
            world.append(1, batch(f"v{second}.{n}"))
        world.fetch(2)
        world.fetch(3, max_bytes=1)
        world.now_ms += 1_000
        if world[1].check_isr(world.now_ms):
            break
    assert world[1].isr_proposal.members == (1, 2)
    assert second >= 10


def test_a_follower_joins_again_when_it_has_all_that_is_committed(world: World) -> None:
    world.append(1, batch("a"))
    world.sync(2, rounds=2)
    world.now_ms += 10_001
    world.sync(2, rounds=1)
    assert world[1].check_isr(world.now_ms)
    world.decide_isr(1)
    assert (world[1].isr, world[1].high_watermark) == ((1, 2), 1)
    world.fetch(3)
    assert world[1].isr_proposal is None, "it asked from 0, the watermark is 1"
    world.fetch(3)
    assert world[1].isr_proposal.isr == ((1, 101), (2, 102), (3, 103))
    world.decide_isr(1)
    assert world[1].isr == (1, 2, 3)


def test_joining_needs_the_start_of_the_epoch_too(world: World) -> None:
    world.append(1, batch("a"))
    world.sync(2, rounds=3)
    world.elect(2, isr=(1, 2))
    assert world[2].high_watermark == 0
    leader = world[2].leader
    assert leader.epoch_start_offset == 1
    world.fetch(3)  # from offset 0: at the watermark, but below the epoch's start
    assert world[2].isr_proposal is None
    world.fetch(3)
    assert world[2].isr_proposal.members == (1, 2, 3)


@pytest.mark.parametrize("trouble", ["fenced", "other incarnation", "unregistered"])
def test_only_the_live_incarnation_may_join(world: World, trouble: str) -> None:
    world.elect(1, isr=(1, 2))
    if trouble == "fenced":
        world.brokers.fenced.add(3)
        world.fetch(3)
    elif trouble == "other incarnation":
        # The leader's image does not know yet that 3 registered anew.
        asked = world[3].follower.position()
        world[1].fetch_as_follower(
            3,
            fetch_offset=asked.fetch_offset,
            last_fetched_epoch=-1,
            current_leader_epoch=asked.leader_epoch,
            log_start_offset=0,
            broker_epoch=999,
            max_bytes=100,
            min_one=True,
            now_ms=world.now_ms,
        )
    else:
        world.brokers.fenced.add(3)
        world.fetch(3)
        del world.brokers.epochs[3]
        world.brokers.fenced.clear()
        world[1].check_isr(world.now_ms)
    assert world[1].isr_proposal is None


def test_a_fetch_of_a_dead_incarnation_is_refused(world: World) -> None:
    world.brokers.epochs[3] = 500
    asked = world[3].follower.position()
    outcome = world[1].fetch_as_follower(
        3,
        fetch_offset=asked.fetch_offset,
        last_fetched_epoch=-1,
        current_leader_epoch=asked.leader_epoch,
        log_start_offset=0,
        broker_epoch=103,
        max_bytes=100,
        min_one=True,
        now_ms=world.now_ms,
    )
    assert outcome.error == ErrorCode.not_leader_or_follower


def test_standing_still_is_not_the_followers_fault(world: World) -> None:
    world.append(1, batch("a"))
    world.now_ms += 60_000
    world[1].leader.grant_fresh_lag(world.now_ms)
    assert not world[1].check_isr(world.now_ms)
    world.now_ms += 10_001
    assert world[1].check_isr(world.now_ms)


def test_only_one_proposal_is_in_flight(world: World) -> None:
    world.append(1, batch("a"))
    world.now_ms += 10_001
    world[1].check_isr(world.now_ms)
    first = world[1].isr_proposal
    world.now_ms += 10_001
    assert not world[1].check_isr(world.now_ms)
    assert world[1].isr_proposal is first


def test_a_removed_member_counts_until_the_controller_agreed(world: World) -> None:
    world.append(1, batch("a"))
    world.sync(2, rounds=2)
    world.now_ms += 10_001
    world.sync(2, rounds=1)
    world[1].check_isr(world.now_ms)
    assert world[1].isr_proposal.members == (1, 2)
    assert world[1].high_watermark == 0
    world.decide_isr(1)
    assert world[1].high_watermark == 1


def shrunk(world: World):
    world.append(1, batch("a"))
    world.sync(2, rounds=2)
    world.now_ms += 10_001
    world.sync(2, rounds=1)
    world[1].check_isr(world.now_ms)
    return world[1].isr_proposal


def test_metadata_may_come_before_the_answer(world: World) -> None:
    proposal = shrunk(world)
    state = PartitionState(
        replicas=(1, 2, 3), isr=(1, 2), leader=1, leader_epoch=1, partition_epoch=2
    )
    assert world[1].become_leader(state, world.now_ms)
    assert (world[1].isr, world[1].isr_proposal, world[1].high_watermark) == ((1, 2), None, 1)
    again = world[1].alter_partition_result(
        proposal, 0, leader_epoch=1, isr=(1, 2), partition_epoch=2, now_ms=world.now_ms
    )
    assert not again
    assert world[1].isr == (1, 2)


def test_metadata_may_come_after_the_answer(world: World) -> None:
    proposal = shrunk(world)
    world[1].alter_partition_result(
        proposal, 0, leader_epoch=1, isr=(1, 2), partition_epoch=2, now_ms=world.now_ms
    )
    state = PartitionState(
        replicas=(1, 2, 3), isr=(1, 2), leader=1, leader_epoch=1, partition_epoch=2
    )
    assert not world[1].become_leader(state, world.now_ms)
    assert (world[1].isr, world[1].leader.isr.partition_epoch) == ((1, 2), 2)
    # An older state that arrives late changes nothing.
    old = PartitionState(
        replicas=(1, 2, 3), isr=(1, 2, 3), leader=1, leader_epoch=1, partition_epoch=1
    )
    assert not world[1].become_leader(old, world.now_ms)
    assert world[1].isr == (1, 2)


@pytest.mark.parametrize(
    "error",
    [
        ErrorCode.invalid_update_version,
        ErrorCode.fenced_leader_epoch,
        ErrorCode.new_leader_elected,
        ErrorCode.unknown_topic_id,
    ],
)
def test_an_outdated_proposal_waits_for_metadata(world: World, error: ErrorCode) -> None:
    proposal = shrunk(world)
    assert not world[1].alter_partition_result(proposal, error, now_ms=world.now_ms)
    assert world[1].isr_proposal is None, "not sent again"
    assert world[1].leader.isr.pending is proposal, "but it may have been committed"
    assert world[1].high_watermark == 0
    state = PartitionState(
        replicas=(1, 2, 3), isr=(1, 2), leader=1, leader_epoch=1, partition_epoch=2
    )
    world[1].become_leader(state, world.now_ms)
    assert (world[1].isr, world[1].leader.isr.pending) == ((1, 2), None)


def test_a_proposal_without_news_is_sent_again_at_the_next_check(world: World) -> None:
    proposal = shrunk(world)
    world[1].alter_partition_result(proposal, ErrorCode.invalid_update_version, now_ms=world.now_ms)
    assert world[1].check_isr(world.now_ms + 5_000)
    assert world[1].isr_proposal is proposal


@pytest.mark.parametrize("error", [ErrorCode.not_controller, ErrorCode.request_timed_out, 9999])
def test_other_errors_are_tried_again(world: World, error: int) -> None:
    proposal = shrunk(world)
    assert world[1].alter_partition_result(proposal, error, now_ms=world.now_ms)
    assert world[1].isr_proposal is proposal


# -- epochs and offsets, as KIP-320 has them


def test_every_read_checks_the_epoch(world: World) -> None:
    world.elect(1)
    newest = world.state.leader_epoch
    for epoch, expected in [
        (newest - 1, ErrorCode.fenced_leader_epoch),
        (newest + 1, ErrorCode.unknown_leader_epoch),
        (newest, ErrorCode.none),
        (-1, ErrorCode.none),
    ]:
        assert consume(world[1], 0, current_leader_epoch=epoch).error == expected
        assert world[1].list_offset(LATEST, current_leader_epoch=epoch).error in (
            expected,
            ErrorCode.none,
        )
        assert world[1].end_offset_for_epoch(1, current_leader_epoch=epoch)[0] == expected


def test_a_follower_is_not_the_leader(world: World) -> None:
    assert consume(world[2], 0).error == ErrorCode.not_leader_or_follower
    assert world[2].list_offset(EARLIEST).error == ErrorCode.not_leader_or_follower
    assert world[2].end_offset_for_epoch(1)[0] == ErrorCode.not_leader_or_follower


def test_consumers_are_told_when_they_are_out_of_range(world: World) -> None:
    world.append(1, batch("a"))
    assert consume(world[1], 1).error == ErrorCode.none, "above the watermark, but not the end"
    outcome = consume(world[1], 2)
    assert (outcome.error, outcome.log_start_offset) == (ErrorCode.offset_out_of_range, 0)
    world.sync(2, 3, rounds=2)
    world[1].local.advance_start_offset(1)
    assert consume(world[1], 0).error == ErrorCode.offset_out_of_range


def test_a_follower_serves_consumers_up_to_its_own_watermark(world: World) -> None:
    world.append(1, batch("a"))
    world.sync(2, 3, rounds=3)
    world.append(1, batch("b"))
    assert values(consume(world[2], 0, only_from_leader=False).records) == ["0:a"]
    assert consume(world[2], 2, only_from_leader=False).error == ErrorCode.offset_not_available


def test_latest_waits_after_an_election_until_the_epoch_begins(world: World) -> None:
    world.append(1, batch("a"))
    world.sync(2, 3, rounds=2)
    assert world[1].list_offset(LATEST).offset == 1
    world.elect(2)  # 2 has the record but has not heard that it is committed
    assert world[2].list_offset(LATEST).error == ErrorCode.offset_not_available
    assert world[2].list_offset(0).error == ErrorCode.offset_not_available
    assert world[2].list_offset(EARLIEST).offset == 0
    assert world[2].list_offset(LATEST, replica_id=3).offset == 1
    world.sync(1, 3, rounds=2)
    assert world[2].list_offset(LATEST).offset == 1


def test_offsets_by_time(world: World) -> None:
    for value in "abc":
        world.append(1, batch(value))
    world.sync(2, 3, rounds=2)
    world.append(1, batch("not committed"))
    found = world[1].list_offset(1_500)
    assert (found.offset, found.timestamp_ms, found.leader_epoch) == (2, 2_000, 1)
    assert world[1].list_offset(2_500).offset == -1
    assert world[1].list_offset(MAX_TIMESTAMP).offset == 2


# -- stale metadata


def test_older_metadata_is_ignored(world: World) -> None:
    old = world.state
    world.elect(2)
    world[2].become_follower(old)
    world[1].become_leader(old, world.now_ms)
    assert world[2].is_leader
    assert not world[1].is_leader


def test_history_replayed_at_start_gives_no_leadership(world: World) -> None:
    """The log has records of epoch 3; metadata being replayed still says epoch 1."""
    partition = world.new_partition(1)
    partition.log.assign_epoch(3)
    partition.become_leader(world.state, world.now_ms)
    assert not partition.is_leader
    assert partition.append(batch("a"), 1, 0, 0)[0] == ErrorCode.not_leader_or_follower
    assert partition.log.latest_epoch == 3


# -- durability


def test_with_flush_on_commit_the_leader_counts_only_what_is_on_disk() -> None:
    world = World(flush=True)
    world.elect(1)
    world.append(1, batch("a"))
    world.sync(2, 3, rounds=2)
    assert (world[1].high_watermark, world[1].local.needs_flush) == (0, True)
    assert world[1].flushed(1, world.now_ms)
    assert (world[1].high_watermark, world[1].local.needs_flush) == (1, False)


def test_apply_ignores_the_answer_to_an_old_question(world: World) -> None:
    world.append(1, batch("a"))
    asked = world[2].follower.position()
    world.fetch(2)
    stale = world[2].follower.apply(asked, b"junk", high_watermark=9, log_start_offset=0)
    assert stale is Applied.STALE
    assert world[2].log.end_offset == 1
