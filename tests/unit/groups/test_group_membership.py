"""The classic protocol as stories: joins, generations, sessions, fencing, static members."""

import pytest

from broker.groups import GroupState
from broker.groups.records import GroupRecord
from broker.protocol.errors import ErrorCode
from tests.unit.groups.group_world import DELAY_MS, GROUP, REBALANCE_MS, SESSION_MS, World


@pytest.fixture
def world() -> World:
    return World()


# -- joining


def test_a_first_member_is_asked_to_come_back_with_its_id_and_then_leads(world: World) -> None:
    member_id, join = world.new_member(client="app")
    assert member_id.startswith("app-")
    assert join not in world.answers
    world.pass_ms(DELAY_MS - 1)
    assert join not in world.answers
    world.pass_ms(1)
    answer = world.answers[join]
    assert (answer.error_code, answer.generation_id) == (ErrorCode.none, 1)
    assert (answer.protocol_type, answer.protocol_name) == ("consumer", "range")
    assert answer.leader == answer.member_id == member_id
    assert [each.member_id for each in answer.members] == [member_id]
    assert world.group().state is GroupState.COMPLETING_REBALANCE


def test_before_version_4_a_member_is_taken_in_at_once(world: World) -> None:
    join = world.join(version=3)
    world.pass_ms(DELAY_MS)
    assert world.code(join) is ErrorCode.none
    assert world.answers[join].member_id


def test_only_the_leader_hears_who_is_in_the_group(world: World) -> None:
    (first, first_join), (second, second_join) = world.new_member(), world.new_member()
    world.pass_ms(2 * DELAY_MS)
    leader, follower = world.answers[first_join], world.answers[second_join]
    assert leader.leader == follower.leader == first
    assert [each.member_id for each in leader.members] == [first, second]
    assert follower.members == []


def test_members_that_keep_coming_prolong_the_first_rebalance_up_to_its_time_out() -> None:
    world = World()
    joins = []
    for _ in range(6):
        joins.append(world.join(version=3, rebalance_ms=10_000))
        world.pass_ms(2_000)
    # 3 s of delay, prolonged by at most what is left of the 10 s.
    assert world.code(joins[0]) is ErrorCode.none
    assert world.answers[joins[0]].generation_id == 1
    assert len(world.answers[joins[0]].members) == 5


def test_without_a_delay_the_first_member_waits_for_nobody() -> None:
    world = World(initial_rebalance_delay_ms=0)
    _, join = world.new_member()
    world.pass_ms(0)
    assert world.code(join) is ErrorCode.none


def test_an_id_that_does_not_come_back_expires_and_holds_nobody_up(world: World) -> None:
    (leader,) = world.stable_group()
    pending = world.answers[world.join()].member_id
    world.join(leader, protocols={"range": b"changed"})
    assert world.group().state is GroupState.PREPARING_REBALANCE
    for _ in range(4):
        world.pass_ms(SESSION_MS // 4)
        world.heartbeat(leader, 1)
    assert pending not in world.group().pending_joins
    assert "pending member expired" in world.traces
    assert world.group().state is GroupState.COMPLETING_REBALANCE


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"group": ""}, ErrorCode.invalid_group_id),
        ({"session_ms": 5_999}, ErrorCode.invalid_session_timeout),
        ({"session_ms": 1_800_001}, ErrorCode.invalid_session_timeout),
        ({"member_id": "nobody"}, ErrorCode.unknown_member_id),
    ],
)
def test_a_join_that_makes_no_sense_is_refused_and_leaves_no_group(
    world: World, options: dict[str, object], code: ErrorCode
) -> None:
    ticket = world.join(**options)  # type: ignore[arg-type]
    assert world.code(ticket) is code
    assert world.core.groups == {}
    assert world.log == []


@pytest.mark.parametrize("options", [{"protocols": {}}, {"protocol_type": ""}])
def test_a_first_member_without_a_protocol_leaves_an_empty_group_as_in_kafka(
    world: World, options: dict[str, object]
) -> None:
    ticket = world.join(**options)  # type: ignore[arg-type]
    assert world.code(ticket) is ErrorCode.inconsistent_group_protocol
    assert world.group().state is GroupState.EMPTY
    world.pass_ms(600_000)
    assert world.core.groups == {}


def test_a_stranger_to_a_group_that_exists_is_unknown(world: World) -> None:
    world.stable_group()
    assert world.code(world.join("nobody")) is ErrorCode.unknown_member_id
    assert world.code(world.join("nobody", instance="nothing")) is ErrorCode.unknown_member_id


def test_a_member_without_a_common_protocol_is_refused(world: World) -> None:
    world.stable_group()
    other = world.join(protocols={"sticky": b""})
    assert world.code(other) is ErrorCode.inconsistent_group_protocol
    other_type = world.join(protocol_type="connect")
    assert world.code(other_type) is ErrorCode.inconsistent_group_protocol


def test_the_protocol_that_most_members_want_is_chosen_among_those_all_know(world: World) -> None:
    wishes = (["a", "b"], ["b", "a"], ["c", "b", "a"])
    joins = [world.join(version=3, protocols=dict.fromkeys(each, b"")) for each in wishes]
    world.pass_ms(4 * DELAY_MS)
    assert {world.answers[join].protocol_name for join in joins} == {"b"}


def test_a_full_group_takes_no_more_members() -> None:
    world = World(members_max=2)
    world.stable_group(2)
    assert world.code(world.join(version=3)) is ErrorCode.group_max_size_reached


def test_when_the_limit_was_lowered_the_last_to_come_back_are_left_out() -> None:
    world = World(members_max=3)
    members = world.stable_group(3)
    world.settings = type(world.settings)(members_max=2)
    world.fail_over()
    assert world.group().state is GroupState.PREPARING_REBALANCE
    joins = [world.join(each) for each in members]
    assert [world.code(join) for join in joins if join in world.answers].count(
        ErrorCode.group_max_size_reached
    ) == 1
    assert len(world.group().members) == 2
    assert world.group().state is GroupState.COMPLETING_REBALANCE


# -- joining again


def test_a_follower_that_joins_again_unchanged_gets_the_same_generation(world: World) -> None:
    _, follower = world.stable_group(2)
    answer = world.answers[world.join(follower)]
    assert (answer.error_code, answer.generation_id, answer.members) == (ErrorCode.none, 1, [])
    assert world.group().state is GroupState.STABLE


def test_a_leader_that_joins_again_makes_everybody_join(world: World) -> None:
    leader, follower = world.stable_group(2)
    join = world.join(leader)
    assert join not in world.answers
    assert world.heartbeat(follower, 1) is ErrorCode.rebalance_in_progress
    again = world.join(follower)
    assert world.answers[join].generation_id == world.answers[again].generation_id == 2
    assert len(world.answers[join].members) == 2


def test_new_metadata_makes_everybody_join(world: World) -> None:
    leader, follower = world.stable_group(2)
    world.join(follower, protocols={"range": b"other topics"})
    assert world.heartbeat(leader, 1) is ErrorCode.rebalance_in_progress


def test_a_join_that_is_repeated_while_assignments_are_made_is_answered_again(
    world: World,
) -> None:
    member_id, join = world.new_member()
    world.pass_ms(DELAY_MS)
    again = world.join(member_id)
    assert world.answers[again] == world.answers[join]


def test_who_does_not_join_in_time_is_out_and_the_rest_goes_on(world: World) -> None:
    leader, silent = world.stable_group(2)
    join = world.join(leader)
    for _ in range(11):
        world.pass_ms(REBALANCE_MS // 12)
        assert world.heartbeat(silent, 1) is ErrorCode.rebalance_in_progress
        assert join not in world.answers
    world.pass_ms(REBALANCE_MS // 12)
    assert world.answers[join].generation_id == 2
    assert [each.member_id for each in world.answers[join].members] == [leader]
    assert world.heartbeat(silent, 1) is ErrorCode.unknown_member_id


def test_when_the_leader_does_not_come_back_somebody_else_leads(world: World) -> None:
    leader, follower = world.stable_group(2)
    join = world.join(follower, protocols={"range": b"changed"})
    for _ in range(8):
        world.pass_ms(SESSION_MS - 1)
        world.heartbeat(leader, 1)
    answer = world.answers[join]
    assert answer.leader == follower
    assert [each.member_id for each in answer.members] == [follower]


# -- assignments


def test_assignments_reach_the_members_once_they_are_stored(world: World) -> None:
    (leader, _), (follower, _) = world.new_member(), world.new_member()
    world.pass_ms(2 * DELAY_MS)
    world.hold = True
    waiting = world.sync(follower, 1)
    leading = world.sync(leader, 1, {leader: b"to the leader", follower: b"to the follower"})
    assert waiting not in world.answers
    assert leading not in world.answers
    assert world.group().state is GroupState.COMPLETING_REBALANCE
    world.commit()
    assert world.answers[waiting].assignment == b"to the follower"
    assert world.answers[leading].assignment == b"to the leader"
    assert world.answers[leading].protocol_name == "range"
    assert world.group().state is GroupState.STABLE


def test_a_member_that_the_leader_forgot_gets_an_empty_assignment(world: World) -> None:
    (leader, _), (follower, _) = world.new_member(), world.new_member()
    world.pass_ms(2 * DELAY_MS)
    world.sync(leader, 1, {leader: b"everything", "a stranger": b"nothing"})
    assert world.answers[world.sync(follower, 1)].assignment == b""
    record = world.records[-1]
    assert isinstance(record, GroupRecord)
    assert record.value is not None
    assert {m.member_id: m.assignment for m in record.value.members} == {
        leader: b"everything",
        follower: b"",
    }


def test_a_stable_member_may_ask_for_its_assignment_again(world: World) -> None:
    _, follower = world.stable_group(2)
    assert world.answers[world.sync(follower, 1)].assignment == f"to {follower}".encode()


def test_a_join_between_storing_and_committing_makes_the_assignment_void(world: World) -> None:
    leader, _ = world.new_member()
    world.pass_ms(DELAY_MS)
    world.hold = True
    sync = world.sync(leader, 1, {leader: b"old"})
    world.join(version=3)
    assert world.code(sync) is ErrorCode.rebalance_in_progress
    world.commit()
    assert world.group().state is GroupState.PREPARING_REBALANCE
    assert world.group().members[leader].assignment == b""


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (ErrorCode.not_enough_replicas, ErrorCode.coordinator_not_available),
        (ErrorCode.kafka_storage_error, ErrorCode.not_coordinator),
        (ErrorCode.message_too_large, ErrorCode.unknown_server_error),
    ],
)
def test_when_the_assignment_cannot_be_stored_everybody_joins_again(
    world: World, failure: ErrorCode, code: ErrorCode
) -> None:
    (leader, _), (follower, _) = world.new_member(), world.new_member()
    world.pass_ms(2 * DELAY_MS)
    waiting = world.sync(follower, 1)
    world.refuse = failure
    leading = world.sync(leader, 1, {leader: b"x", follower: b"y"})
    assert world.code(waiting) is world.code(leading) is code
    assert world.group().state is GroupState.PREPARING_REBALANCE
    world.join(leader)
    world.join(follower)
    assert world.group().generation == 2
    assert world.settle([leader, follower])


def test_who_does_not_sync_in_time_is_out(world: World) -> None:
    (leader, _), (silent, _) = world.new_member(), world.new_member()
    world.pass_ms(2 * DELAY_MS)
    world.sync(leader, 1, {leader: b"x", silent: b"y"})
    for _ in range(12):
        world.pass_ms(REBALANCE_MS // 12)
        world.heartbeat(leader, 1)
        world.heartbeat(silent, 1)
    assert world.heartbeat(silent, 1) is ErrorCode.unknown_member_id
    assert world.heartbeat(leader, 1) is ErrorCode.rebalance_in_progress


@pytest.mark.parametrize(
    ("generation", "protocol_type", "protocol", "code"),
    [
        (0, "consumer", "range", ErrorCode.illegal_generation),
        (2, "consumer", "range", ErrorCode.illegal_generation),
        (1, "connect", "range", ErrorCode.inconsistent_group_protocol),
        (1, "consumer", "sticky", ErrorCode.inconsistent_group_protocol),
        (1, None, None, ErrorCode.none),
    ],
)
def test_a_sync_is_fenced_by_generation_and_protocol(
    world: World, generation: int, protocol_type: str, protocol: str, code: ErrorCode
) -> None:
    (leader,) = world.stable_group()
    ticket = world.sync(leader, generation, protocol_type=protocol_type, protocol=protocol)
    assert world.code(ticket) is code


def test_strangers_do_not_sync(world: World) -> None:
    assert world.code(world.sync("nobody", 1)) is ErrorCode.unknown_member_id
    assert world.code(world.sync("nobody", 1, group="")) is ErrorCode.invalid_group_id
    (leader,) = world.stable_group()
    assert world.code(world.sync("nobody", 1)) is ErrorCode.unknown_member_id
    world.leave(leader)
    assert world.group().state is GroupState.EMPTY
    assert world.code(world.sync(leader, 2)) is ErrorCode.unknown_member_id


def test_a_sync_during_a_rebalance_is_sent_back_to_join(world: World) -> None:
    leader, follower = world.stable_group(2)
    world.join(leader)
    assert world.code(world.sync(follower, 1)) is ErrorCode.rebalance_in_progress


# -- sessions


def test_heartbeats_keep_a_member_and_silence_ends_it(world: World) -> None:
    leader, silent = world.stable_group(2)
    for _ in range(4):
        world.pass_ms(SESSION_MS // 2)
        world.heartbeat(leader, 1)
    assert world.heartbeat(leader, 1) is ErrorCode.rebalance_in_progress
    assert world.heartbeat(silent, 1) is ErrorCode.unknown_member_id


def test_a_group_whose_members_all_fall_silent_is_empty(world: World) -> None:
    world.stable_group(2)
    world.pass_ms(SESSION_MS)
    assert world.group().state is GroupState.EMPTY
    assert (world.group().generation, world.group().protocol) == (2, None)
    record = world.records[-1]
    assert isinstance(record, GroupRecord)
    assert record.value is not None
    assert (record.value.generation, record.value.members) == (2, ())


def test_a_commit_keeps_the_session_too(world: World) -> None:
    (leader,) = world.stable_group()
    for offset in range(5):
        world.pass_ms(SESSION_MS - 1)
        commit = world.commit_offset(offset, member_id=leader, generation=1)
        assert world.code(commit) is ErrorCode.none
    assert world.heartbeat(leader, 1) is ErrorCode.none


def test_who_waits_for_the_others_needs_no_heartbeats(world: World) -> None:
    leader, other = world.stable_group(2)
    join = world.join(leader)
    for _ in range(5):
        world.pass_ms(SESSION_MS - 1)
        world.heartbeat(other, 1)
    assert join not in world.answers
    world.join(other)
    assert world.code(join) is ErrorCode.none


def test_a_new_member_that_never_hears_its_answer_does_not_stay_for_ever(world: World) -> None:
    world = World(new_member_join_ms=20_000)
    (leader,) = world.stable_group(rebalance_ms=300_000)
    join = world.join(version=3)
    for _ in range(3):
        world.pass_ms(9_000)
        world.heartbeat(leader, 1)
    assert world.code(join) is ErrorCode.unknown_member_id
    assert list(world.group().members) == [leader]


@pytest.mark.parametrize(
    ("member", "generation", "code"),
    [
        ("", 1, ErrorCode.unknown_member_id),
        ("nobody", 1, ErrorCode.unknown_member_id),
        ("leader", 0, ErrorCode.illegal_generation),
        ("leader", 2, ErrorCode.illegal_generation),
        ("leader", 1, ErrorCode.none),
    ],
)
def test_heartbeats_are_fenced(world: World, member: str, generation: int, code: ErrorCode) -> None:
    (leader,) = world.stable_group()
    assert world.heartbeat(leader if member == "leader" else member, generation) is code


def test_heartbeats_of_unknown_groups(world: World) -> None:
    assert world.heartbeat("m", 1) is ErrorCode.unknown_member_id
    assert world.heartbeat("m", 1, group="") is ErrorCode.invalid_group_id


def test_a_heartbeat_while_assignments_are_made_is_an_ordinary_one(world: World) -> None:
    member, _ = world.new_member()
    world.pass_ms(DELAY_MS)
    assert world.heartbeat(member, 1) is ErrorCode.none


# -- leaving


def test_when_a_member_leaves_the_rest_rebalances_at_once(world: World) -> None:
    leader, follower = world.stable_group(2)
    code, answers = world.answers[world.leave(leader)]
    assert code is ErrorCode.none
    assert [(a.member_id, a.error_code) for a in answers] == [(leader, ErrorCode.none)]
    assert world.heartbeat(follower, 1) is ErrorCode.rebalance_in_progress
    join = world.join(follower)
    assert world.answers[join].leader == follower
    assert world.answers[join].generation_id == 2


def test_when_the_last_member_leaves_the_group_is_empty(world: World) -> None:
    (leader,) = world.stable_group()
    world.hold = True
    left = world.leave(leader)
    assert left not in world.answers
    world.commit()
    assert world.answers[left][0] is ErrorCode.none
    assert world.group().state is GroupState.EMPTY
    world.hold = False
    assert world.stable_group()


def test_each_leaving_member_has_its_own_answer(world: World) -> None:
    leader, follower = world.stable_group(2)
    pending = world.answers[world.join()].member_id
    _, answers = world.answers[world.leave(leader, "nobody", pending, ("", "no instance"))]
    assert [each.error_code for each in answers] == [
        ErrorCode.none,
        ErrorCode.unknown_member_id,
        ErrorCode.none,
        ErrorCode.unknown_member_id,
    ]
    assert list(world.group().members) == [follower]
    _, unknown = world.answers[world.leave("m", group="unheard of")]
    assert unknown[0].error_code is ErrorCode.unknown_member_id


def test_a_parked_join_of_a_member_that_leaves_is_answered(world: World) -> None:
    leader, _ = world.stable_group(2)
    join = world.join(leader)
    world.leave(leader)
    assert world.code(join) is ErrorCode.unknown_member_id


# -- static members


def test_a_static_member_comes_back_to_its_assignment_without_a_rebalance(world: World) -> None:
    world.new_member()
    old = world.join(instance="one")
    world.pass_ms(2 * DELAY_MS)
    old_id = world.answers[old].member_id
    members = world.settle(list(world.group().members))
    back = world.join(instance="one")
    answer = world.answers[back]
    assert answer.error_code is ErrorCode.none
    assert (answer.generation_id, answer.members) == (1, [])
    assert answer.member_id != old_id
    assert answer.member_id.startswith("one-")
    assert world.group().state is GroupState.STABLE
    assert world.heartbeat(members[0], 1) is ErrorCode.none
    assigned = world.answers[world.sync(answer.member_id, 1, instance="one")]
    assert assigned.assignment == f"to {old_id}".encode()


def test_the_old_self_of_a_static_member_is_fenced_everywhere(world: World) -> None:
    join = world.join(instance="one")
    world.pass_ms(DELAY_MS)
    old_id = world.answers[join].member_id
    world.settle([old_id])
    world.join(instance="one")
    fenced = ErrorCode.fenced_instance_id
    assert world.heartbeat(old_id, 1, instance="one") is fenced
    assert world.code(world.join(old_id, instance="one")) is fenced
    assert world.code(world.sync(old_id, 1, instance="one")) is fenced
    commit = world.commit_offset(5, member_id=old_id, generation=1, instance="one")
    assert world.code(commit) is fenced
    _, answers = world.answers[world.leave((old_id, "one"))]
    assert answers[0].error_code is fenced
    # Without its instance id it is just nobody.
    assert world.heartbeat(old_id, 1) is ErrorCode.unknown_member_id


@pytest.mark.parametrize(("version", "skips"), [(9, True), (8, False)])
def test_a_static_leader_that_comes_back_need_not_assign(version: int, skips: bool) -> None:
    world = World()
    join = world.join(instance="one", version=version)
    world.pass_ms(DELAY_MS)
    old_id = world.answers[join].member_id
    world.settle([old_id])
    answer = world.answers[world.join(instance="one", version=version)]
    assert answer.skip_assignment is skips
    assert world.group().leader == answer.member_id
    if skips:
        assert answer.leader == answer.member_id
        assert [each.member_id for each in answer.members] == [answer.member_id]
    else:
        # It must not take itself for the leader: an old client would assign.
        assert answer.leader == old_id
        assert answer.members == []


def test_a_static_member_with_another_protocol_rebalances_when_the_choice_changes(
    world: World,
) -> None:
    both = {"a": b"", "b": b""}
    join = world.join(instance="one", protocols=both)
    world.pass_ms(DELAY_MS)
    world.settle([world.answers[join].member_id])
    assert world.group().protocol == "a"
    back = world.join(instance="one", protocols={"b": b"", "a": b""})
    assert world.answers[back].generation_id == 2
    assert world.answers[back].protocol_name == "b"


def test_a_static_member_that_comes_back_while_assignments_are_made_rebalances(
    world: World,
) -> None:
    leading, static = world.join(version=3), world.join(instance="one")
    world.pass_ms(2 * DELAY_MS)
    old_id = world.answers[static].member_id
    parked = world.sync(old_id, 1, instance="one")
    back = world.join(instance="one")
    assert world.code(parked) is ErrorCode.fenced_instance_id
    assert back not in world.answers
    again = world.join(world.answers[leading].member_id)
    assert world.answers[again].generation_id == world.answers[back].generation_id == 2


def test_a_parked_join_of_the_old_self_is_fenced(world: World) -> None:
    first = world.join(instance="one")
    second = world.join(instance="one")
    assert world.code(first) is ErrorCode.fenced_instance_id
    world.pass_ms(2 * DELAY_MS)
    assert world.code(second) is ErrorCode.none


def test_a_static_member_survives_a_rebalance_that_it_sleeps_through(world: World) -> None:
    static = world.join(instance="one", session_ms=600_000)
    awake, _ = world.new_member()
    world.pass_ms(2 * DELAY_MS)
    members = [world.answers[static].member_id, awake]
    world.settle(members)
    join = world.join(awake, protocols={"range": b"changed"})
    world.pass_ms(REBALANCE_MS)
    assert world.answers[join].generation_id == 2
    assert set(world.group().members) == set(members)
    assert world.answers[join].leader == awake


def test_when_a_static_members_new_id_cannot_be_stored_the_old_one_counts(world: World) -> None:
    join = world.join(instance="one")
    world.pass_ms(DELAY_MS)
    old_id = world.answers[join].member_id
    world.settle([old_id])
    world.refuse = ErrorCode.not_enough_replicas
    back = world.join(instance="one", protocols={"range": b"changed"})
    assert world.code(back) is ErrorCode.coordinator_not_available
    assert world.heartbeat(old_id, 1, instance="one") is ErrorCode.none
    member = world.group().members[old_id]
    assert (member.protocols, member.assignment) == (
        {"range": b"subscription"},
        f"to {old_id}".encode(),
    )


def test_a_tool_removes_a_static_member_by_its_instance_id(world: World) -> None:
    join = world.join(instance="one")
    world.pass_ms(DELAY_MS)
    world.settle([world.answers[join].member_id])
    _, answers = world.answers[world.leave(("", "one"))]
    assert answers[0].error_code is ErrorCode.none
    assert world.group().state is GroupState.EMPTY


# -- a new coordinator


def test_a_new_coordinator_goes_on_with_the_stored_generation(world: World) -> None:
    leader, follower = world.stable_group(2)
    world.fail_over()
    assert world.group().state is GroupState.STABLE
    assert world.group().leader == leader
    assert world.heartbeat(leader, 1) is ErrorCode.none
    assert world.answers[world.sync(follower, 1)].assignment == f"to {follower}".encode()
    assert world.group().members[leader].client_host == "/127.0.0.1"


def test_members_that_do_not_find_the_new_coordinator_expire(world: World) -> None:
    leader, _ = world.stable_group(2)
    world.fail_over()
    world.pass_ms(SESSION_MS - 1)
    world.heartbeat(leader, 1)
    world.pass_ms(1)
    assert list(world.group().members) == [leader]


def test_who_waits_when_the_coordinator_goes_is_told_to_look_for_the_new_one(
    world: World,
) -> None:
    leader, _ = world.stable_group(2)
    join = world.join(leader)
    world.fail_over()
    assert world.code(join) is ErrorCode.not_coordinator

    world = World()
    (_, _), (follower, _) = world.new_member(), world.new_member()
    world.pass_ms(2 * DELAY_MS)
    sync = world.sync(follower, 1)
    world.fail_over()
    assert world.code(sync) is ErrorCode.not_coordinator


def test_an_assignment_that_was_not_committed_is_not_answered(world: World) -> None:
    leader, _ = world.new_member()
    world.pass_ms(DELAY_MS)
    world.hold = True
    sync = world.sync(leader, 1, {leader: b"lost"})
    world.fail_over()
    assert world.code(sync) is ErrorCode.not_coordinator
    assert world.heartbeat(leader, 1) is ErrorCode.unknown_member_id


def test_a_group_being_formed_survives_as_an_empty_one(world: World) -> None:
    member, _ = world.new_member()
    world.fail_over()
    assert world.group().state is GroupState.EMPTY
    assert world.code(world.join(member)) is ErrorCode.unknown_member_id
    assert world.stable_group()


# -- describing


def test_what_tools_are_told_of_a_group(world: World) -> None:
    (leader,) = world.stable_group(client="app")
    told = world.core.describe(GROUP, 5)
    assert (told.group_state, told.protocol_type, told.protocol_data) == (
        "Stable",
        "consumer",
        "range",
    )
    (member,) = told.members
    assert (member.member_id, member.client_id, member.client_host) == (
        leader,
        "app",
        "/127.0.0.1",
    )
    assert member.member_metadata == b"subscription"
    assert member.member_assignment == f"to {leader}".encode()


def test_outside_of_stable_a_group_shows_no_protocol(world: World) -> None:
    (leader,) = world.stable_group()
    world.join(version=3)
    told = world.core.describe(GROUP, 5)
    assert (told.group_state, told.protocol_data) == ("PreparingRebalance", "")
    assert {each.member_metadata for each in told.members} == {b""}
    assert leader in {each.member_id for each in told.members}


def test_a_group_that_does_not_exist_is_dead_and_newer_clients_are_told_so(world: World) -> None:
    old, new = world.core.describe("nothing", 5), world.core.describe("nothing", 6)
    assert (old.group_state, old.error_code) == ("Dead", ErrorCode.none)
    assert (new.group_state, new.error_code) == ("Dead", ErrorCode.group_id_not_found)
    assert new.error_message == "Group nothing not found."


def test_groups_are_listed_by_state_and_type(world: World) -> None:
    world.stable_group()
    world.commit_offset(1, group="by hand")
    names = {each.group_id: each.group_state for each in world.core.list_groups([], [])}
    assert names == {GROUP: "Stable", "by hand": "Empty"}
    (only,) = world.core.list_groups([" stable "], ["Classic"])
    assert (only.group_id, only.protocol_type, only.group_type) == (GROUP, "consumer", "classic")
    assert world.core.list_groups([], ["consumer"]) == []
    assert world.core.list_groups(["dead"], []) == []
