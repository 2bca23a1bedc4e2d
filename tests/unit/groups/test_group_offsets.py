"""Committed offsets: who may commit, what readers see and when, how offsets end."""

import pytest

from broker.groups import GroupState
from broker.groups.records import CommittedOffset, GroupRecord, OffsetRecord
from broker.protocol.errors import ErrorCode
from tests.unit.groups.group_world import DELAY_MS, GROUP, World, encode_subscription

WEEK_MS = 7 * 24 * 3600 * 1000
OK = ErrorCode.none


@pytest.fixture
def world() -> World:
    return World()


# -- committing


def test_an_offset_is_kept_with_its_epoch_and_its_note(world: World) -> None:
    world.commit_offset(42, leader_epoch=3, metadata="seen by me")
    kept = world.core.offsets.get(GROUP, "orders", 0)
    assert kept == CommittedOffset(42, 3, "seen by me", world.wall_ms)
    assert world.core.offsets.get(GROUP, "orders", 1) is None


def test_readers_see_an_offset_only_once_it_is_committed(world: World) -> None:
    world.commit_offset(1)
    world.hold = True
    ticket = world.commit_offset(2)
    assert ticket not in world.answers
    assert world.offset() == 1
    assert world.core.offsets.last_pending(GROUP) == 1
    world.commit()
    assert world.code(ticket) is OK
    assert world.offset() == 2
    assert world.core.offsets.last_pending(GROUP) == -1


def test_commits_are_answered_in_order_each_with_its_own_fate(world: World) -> None:
    world.hold = True
    first, second = world.commit_offset(1), world.commit_offset(2)
    world.commit(upto=1)
    assert world.code(first) is OK
    assert second not in world.answers
    assert world.offset() == 1
    world.fail_waiting(ErrorCode.request_timed_out)
    assert world.code(second) is ErrorCode.coordinator_not_available


def test_a_refused_append_changes_nothing(world: World) -> None:
    world.commit_offset(1)
    world.refuse = ErrorCode.not_enough_replicas
    assert world.code(world.commit_offset(2)) is ErrorCode.coordinator_not_available
    assert world.offset() == 1
    assert len(world.log) == 1


def test_a_note_may_have_4096_characters(world: World) -> None:
    assert world.code(world.commit_offset(1, metadata="x" * 4096)) is OK
    too_large = ErrorCode.offset_metadata_too_large
    assert world.code(world.commit_offset(2, metadata="x" * 4097)) is too_large
    # Java counts this one as two.
    assert world.code(world.commit_offset(2, metadata="😀" * 2049)) is too_large
    assert world.code(world.commit_offset(2, metadata=None)) is OK


@pytest.mark.parametrize(
    ("member", "generation", "code"),
    [
        ("leader", 1, OK),
        ("leader", 0, ErrorCode.illegal_generation),
        ("leader", 2, ErrorCode.illegal_generation),
        ("leader", -1, ErrorCode.illegal_generation),
        ("nobody", 1, ErrorCode.unknown_member_id),
        ("", 1, ErrorCode.unknown_member_id),
        ("", -1, ErrorCode.unknown_member_id),
    ],
)
def test_commits_of_a_live_group_are_fenced(
    world: World, member: str, generation: int, code: ErrorCode
) -> None:
    (leader,) = world.stable_group()
    member_id = leader if member == "leader" else member
    ticket = world.commit_offset(5, member_id=member_id, generation=generation)
    assert world.code(ticket) is code
    assert world.offset() == (5 if code is OK else None)


@pytest.mark.parametrize(
    ("version", "code"),
    [(8, ErrorCode.illegal_generation), (9, ErrorCode.group_id_not_found)],
)
def test_a_member_of_a_group_that_is_gone_may_not_commit(
    world: World, version: int, code: ErrorCode
) -> None:
    ticket = world.commit_offset(5, member_id="m", generation=3, version=version)
    assert world.code(ticket) is code


def test_commits_go_on_while_the_others_join_but_not_while_assignments_are_made(
    world: World,
) -> None:
    leader, follower = world.stable_group(2)
    world.join(leader)
    assert world.code(world.commit_offset(5, member_id=follower, generation=1)) is OK
    world.join(follower)
    assert world.group().state is GroupState.COMPLETING_REBALANCE
    late = world.commit_offset(6, member_id=follower, generation=2)
    assert world.code(late) is ErrorCode.rebalance_in_progress
    stale = world.commit_offset(6, member_id=follower, generation=1)
    assert world.code(stale) is ErrorCode.illegal_generation
    assert world.offset() == 5


def test_an_empty_group_takes_commits_by_hand(world: World) -> None:
    assert world.code(world.commit_offset(5)) is OK
    assert world.group().state is GroupState.EMPTY
    (leader,) = world.stable_group()
    world.leave(leader)
    assert world.code(world.commit_offset(6)) is OK
    assert world.offset() == 6


# -- failover


def test_a_new_coordinator_knows_every_committed_offset(world: World) -> None:
    world.commit_offset(1, leader_epoch=2, metadata="n")
    world.commit_offset(9, partition=3)
    world.commit_offset(2, group="other")
    before = world.core.durable_state()
    world.fail_over()
    assert world.core.durable_state() == before
    assert set(world.core.groups) == {GROUP, "other"}


def test_what_was_not_committed_may_be_lost_but_was_not_answered_either(world: World) -> None:
    world.commit_offset(1)
    world.hold = True
    ticket = world.commit_offset(2)
    world.fail_over()
    assert world.code(ticket) is ErrorCode.not_coordinator
    assert world.offset() == 1


def test_what_the_new_coordinator_holds_uncommitted_is_not_read_before_it_is(
    world: World,
) -> None:
    world.commit_offset(1)
    world.hold = True
    world.commit_offset(2)
    world.fail_over(end_offset=2)
    assert world.offset() == 1
    assert world.core.offsets.last_pending(GROUP) == 1
    world.commit()
    assert world.offset() == 2


# -- deleting


def delete(world: World, *partitions: tuple[str, int], group: str = GROUP) -> object:
    ticket = world.ticket()
    world.perform(world.core.delete_offsets(group, list(partitions), ticket))
    return world.answers.get(ticket)


def test_offsets_of_an_empty_group_can_be_deleted(world: World) -> None:
    world.commit_offset(1)
    assert delete(world, ("orders", 0), ("orders", 7)) == (OK, [OK, OK])
    assert world.offset() is None
    assert world.records[-1] == OffsetRecord(GROUP, "orders", 0, None)
    assert len(world.records) == 2


def test_offsets_that_live_members_read_are_not_deleted(world: World) -> None:
    subscription = {"range": encode_subscription("orders")}
    (leader,) = world.stable_group(protocols=subscription)
    for topic in ("orders", "old"):
        world.commit_offset(1, member_id=leader, generation=1, topic=topic)
    assert delete(world, ("orders", 0), ("old", 0)) == (
        OK,
        [ErrorCode.group_subscribed_to_topic, OK],
    )
    assert world.offset("orders") == 1
    assert world.offset("old") is None


def test_a_live_group_of_another_protocol_keeps_its_offsets(world: World) -> None:
    join = world.join(version=3, protocol_type="connect", protocols={"x": b""})
    world.pass_ms(DELAY_MS)
    assert world.code(join) is OK
    assert delete(world, ("orders", 0)) == (ErrorCode.non_empty_group, [])


def test_deleting_offsets_of_groups_that_are_not_there(world: World) -> None:
    assert delete(world, ("orders", 0)) == (ErrorCode.group_id_not_found, [])
    assert delete(world, ("orders", 0), group="") == (ErrorCode.invalid_group_id, [])


def test_a_deletion_that_is_not_committed_is_not_visible(world: World) -> None:
    world.commit_offset(1)
    world.hold = True
    assert delete(world, ("orders", 0)) is None
    assert world.offset() == 1
    world.commit()
    assert world.offset() is None


def delete_groups(world: World, *groups: str) -> dict[str, ErrorCode] | None:
    ticket = world.ticket()
    world.perform(world.core.delete_groups(groups, ticket))
    return world.answers.get(ticket)


def test_a_group_is_deleted_with_everything_it_committed(world: World) -> None:
    world.commit_offset(1)
    world.hold = True
    world.commit_offset(2, partition=1)
    assert delete_groups(world, GROUP) is None
    world.commit()
    assert world.core.durable_state() == {"stored": {}, "offsets": {}}
    assert GROUP not in world.core.groups
    assert {record for record in world.records if record.value is None} == {
        OffsetRecord(GROUP, "orders", 0, None),
        OffsetRecord(GROUP, "orders", 1, None),
        GroupRecord(GROUP, None),
    }


def test_only_empty_groups_are_deleted(world: World) -> None:
    world.stable_group()
    world.commit_offset(1, group="by hand")
    assert delete_groups(world, GROUP, "by hand", "nothing", "nothing") == {
        GROUP: ErrorCode.non_empty_group,
        "by hand": OK,
        "nothing": ErrorCode.group_id_not_found,
    }


def test_the_offsets_of_a_deleted_topic_go_with_it(world: World) -> None:
    world.commit_offset(1, topic="gone")
    world.commit_offset(2, topic="stays")
    world.hold = True
    world.commit_offset(3, topic="gone", group="other")
    world.perform(world.core.topics_deleted({"gone"}))
    world.commit()
    assert world.core.durable_state()["offsets"] == {
        GROUP: {("stays", 0): CommittedOffset(2, commit_timestamp_ms=world.wall_ms)}
    }


# -- expiry, by KIP-211


def test_a_group_that_is_empty_for_a_week_goes_with_its_offsets(world: World) -> None:
    (leader,) = world.stable_group()
    world.commit_offset(5, member_id=leader, generation=1)
    for _ in range(3):
        world.pass_ms(5_000)
        world.heartbeat(leader, 1)
    world.leave(leader)
    world.pass_ms(WEEK_MS - 600_000)
    assert world.offset() == 5
    world.pass_ms(1_200_000)
    assert world.offset() is None
    assert GROUP not in world.core.groups
    assert "empty group removed" in world.traces
    world.fail_over()
    assert world.core.durable_state() == {"stored": {}, "offsets": {}}


def test_offsets_by_hand_expire_a_week_after_each_commit(world: World) -> None:
    world.commit_offset(1, partition=0)
    world.pass_ms(WEEK_MS // 2)
    world.commit_offset(2, partition=1)
    world.pass_ms(WEEK_MS // 2 + 1_200_000)
    assert world.offset(partition=0) is None
    assert world.offset(partition=1) == 2
    assert GROUP in world.core.groups


def test_a_live_group_keeps_what_it_reads_and_forgets_what_it_does_not() -> None:
    world = World(offsets_retention_ms=3_600_000, session_timeout_ms_max=WEEK_MS)
    subscription = {"range": encode_subscription("orders")}
    (leader,) = world.stable_group(protocols=subscription, session_ms=WEEK_MS)
    for topic in ("orders", "old"):
        world.commit_offset(1, member_id=leader, generation=1, topic=topic)
    world.pass_ms(3_600_000 + 600_000)
    assert world.offset("orders") == 1
    assert world.offset("old") is None


def test_an_old_client_may_name_the_time_itself(world: World) -> None:
    world.commit_offset(1, retention_ms=1_000_000, version=4)
    world.commit_offset(2, partition=1, version=4)
    world.fail_over()
    world.pass_ms(1_300_000)
    assert world.offset(partition=0) is None
    assert world.offset(partition=1) == 2


def test_very_many_groups_are_cleaned_up_in_turns() -> None:
    world = World(offsets_retention_ms=1)
    for number in range(250):
        world.commit_offset(1, group=f"g{number}")
    world.pass_ms(600_000)
    assert 0 < len(world.core.groups) < 250
    world.pass_ms(10)
    assert world.core.groups == {}


def test_a_group_that_is_just_being_joined_is_not_cleaned_up(world: World) -> None:
    world.pass_ms(599_000)
    member_id = world.answers[world.join()].member_id
    world.pass_ms(2_000)
    join = world.join(member_id)
    world.pass_ms(DELAY_MS)
    assert world.code(join) is OK
