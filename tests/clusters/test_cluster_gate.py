"""May a broker be stopped, and is it whole again: decided from readings alone."""

import contextlib
from types import SimpleNamespace

import pytest

from clusters.admin.model import BrokerInfo, ClusterInfo, QuorumInfo, QuorumReplica
from clusters.phases import gate
from clusters.phases.gate import PartitionReading, Reading, missing_after, obstacles, unheard


def partition(replicas, isr, min_isr=2, topic="t", number=0):
    return PartitionReading(
        topic=topic,
        partition=number,
        replicas=tuple(replicas),
        isr=tuple(isr),
        leader=isr[0] if isr else -1,
        min_isr=min_isr,
    )


def quorum(ends, high_watermark=1000, leader=1, fetched=None):
    voters = [
        QuorumReplica(
            id=n,
            directory_id=None,
            log_end_offset=end,
            last_fetch_ms=(fetched or {}).get(n, -1),
            last_caught_up_ms=-1,
        )
        for n, end in ends.items()
    ]
    return QuorumInfo(
        leader_id=leader,
        leader_epoch=1,
        high_watermark=high_watermark,
        voters=voters,
        observers=[],
        nodes={},
    )


def reading(*partitions, ends=None, states=None, controller=1, fetched=None):
    states = states or {1: "up", 2: "up", 3: "up"}
    return Reading(
        cluster=ClusterInfo(
            cluster_id="c",
            controller_id=controller,
            brokers=[
                BrokerInfo(id=n, host="h", port=1, rack=None, state=state)
                for n, state in states.items()
            ],
        ),
        quorum=quorum(ends or {1: 1000, 2: 1000, 3: 1000}, fetched=fetched),
        partitions=partitions,
    )


def test_a_whole_cluster_lets_any_broker_go():
    whole = reading(partition((1, 2, 3), (1, 2, 3)), partition((2, 3, 1), (3, 2, 1)))
    for broker in (1, 2, 3):
        assert obstacles(whole, broker) == obstacles(reading(), broker)
        assert obstacles(whole, broker).passing == ()


def test_a_second_broker_is_not_stopped_while_the_first_is_behind():
    found = obstacles(reading(partition((1, 2, 3), (1, 3))), 1)
    assert found.lasting == ()
    assert found.passing == ("t-0 (in sync: 1, 3; min 2) would go below min.insync.replicas",)


def test_a_broker_that_is_out_of_sync_itself_takes_nothing_with_it():
    assert obstacles(reading(partition((1, 2, 3), (1, 3))), 2).passing == ()


def test_what_no_waiting_heals_is_told_apart():
    lone = obstacles(reading(partition((2,), (2,), min_isr=1)), 2)
    assert lone.passing == ()
    assert lone.lasting == ("t-0 (in sync: 2; min 1) would go offline",)
    tight = obstacles(reading(partition((1, 2), (1, 2), min_isr=2)), 2)
    assert len(tight.lasting) == 1


def test_a_voter_is_not_stopped_while_another_is_behind():
    found = obstacles(reading(ends={1: 1000, 2: 1000, 3: 400}), 2)
    assert found.passing == ("only 1 of 3 voters would be left in the quorum, 2 are needed",)
    assert obstacles(reading(ends={1: 1000, 2: 1000, 3: 400}), 3).passing == ()
    assert obstacles(reading(ends={1: 1000}), 1).lasting


def test_only_who_fetched_since_the_question_is_rested_on():
    ends = {1: 1000, 2: 1000, 3: 1000}
    asked = quorum(ends, fetched={1: 5_000, 2: 4_700, 3: 4_900})
    later = quorum(ends, fetched={1: 5_500, 2: 5_200, 3: 4_900})
    assert unheard(asked, asked) == {2, 3}
    assert unheard(asked, later) == {3}
    never = quorum(ends, fetched={1: 5_500, 2: 5_200, 3: -1})
    assert unheard(asked, never) == {3}
    assert unheard(quorum(ends), quorum(ends)) == frozenset()


def test_who_is_silent_is_counted_as_lost_before_the_in_sync_replicas_tell():
    whole = reading(partition((1, 2, 3), (1, 2, 3)))
    found = obstacles(whole, 2, {3})
    assert found.passing == (
        "t-0 (in sync: 1, 2, 3; min 2) would go below min.insync.replicas",
        "only 1 of 3 voters would be left in the quorum, 2 are needed",
    )
    assert obstacles(whole, 3, {3}).passing == ()


def test_a_voter_that_died_with_all_records_does_not_count():
    stopped = reading(states={1: "up", 2: "fenced", 3: "up"})
    assert obstacles(stopped, 3).passing != ()
    assert obstacles(stopped, 2).passing == ()
    silent = reading(states={}, fetched={1: 100_000, 2: 90_000, 3: 99_800})
    assert obstacles(silent, 3).passing != ()
    assert obstacles(silent, 2).passing == ()


def test_a_voter_that_left_the_file_and_does_not_run_holds_up_no_roll():
    four = {1: 1000, 2: 1000, 3: 1000, 4: 1000}
    up = {1: "up", 2: "up", 3: "up", 4: "fenced"}
    left = reading(ends=four, states=up)
    refused = obstacles(left, 2)
    assert refused.passing == ("only 2 of 4 voters would be left in the quorum, 3 are needed",)
    found = obstacles(left, 2, named={1, 2, 3})
    assert (found.passing, found.lasting) == ((), ())
    assert "broker 4, which the file no longer names, does not run" in found.pause
    running = reading(ends=four, states=up | {4: "up"})
    assert obstacles(running, 2, named={1, 2, 3}).pause == "", "it votes on until all are rolled"


@pytest.mark.parametrize(("heard_at", "paused"), [(2, False), (1_000, True)])
async def test_a_voter_that_has_not_fetched_since_just_now_is_waited_for(
    monkeypatch, heard_at, paused
):
    four = {1: 1000, 2: 1000, 3: 1000, 4: 1000}
    before = reading(
        ends=four,
        states={1: "up", 2: "up", 3: "up", 4: "up"},
        fetched={1: 5_000, 2: 4_900, 3: 4_900, 4: 4_900},
    )
    asked = 0

    async def answer():
        nonlocal asked
        asked += 1
        last = 5_100 if asked >= heard_at else 4_900
        return quorum(four, fetched={1: 5_200, 2: 5_100, 3: 5_100, 4: last})

    async def read(*_args, **_how):
        return before

    admin = contextlib.nullcontext(SimpleNamespace(quorum=answer))
    monkeypatch.setattr(gate, "read_cluster", read)
    monkeypatch.setattr(gate, "_admin", lambda *_: admin)
    monkeypatch.setattr(gate, "HEARD_WITHIN_S", 0.3)
    monkeypatch.setattr(gate, "HEARD_INTERVAL_S", 0.01)
    run = SimpleNamespace(voters={1, 2, 3})
    found = await gate.find_obstacles(run, SimpleNamespace(id=2))
    assert (found.passing, found.lasting) == ((), ())
    assert bool(found.pause) == paused
    assert asked >= 2


def test_only_one_voter_may_be_missing_and_all_others_must_be_ready():
    four = {1: 1000, 2: 1000, 3: 1000, 4: 1000}
    behind = reading(ends=four | {3: 400}, states={1: "up", 2: "up", 3: "up", 4: "fenced"})
    assert obstacles(behind, 2, named={1, 2, 3}).passing
    still_named = reading(ends=four, states={1: "up", 2: "up", 3: "fenced", 4: "up"})
    assert obstacles(still_named, 2, named={1, 2, 3, 4}).passing
    five = reading(ends=four | {5: 1000}, states={1: "up", 2: "up", 3: "up", 4: "fenced"})
    assert obstacles(five, 2, {5}, named={1, 2, 3}).passing, "two at once could decide alone"
    swapped = reading(ends=four, states={1: "up", 2: "up", 3: "up", 4: "fenced"})
    assert obstacles(swapped, 2, named={1, 2, 3, 5}).passing, "one goes, another comes"


def test_a_broker_is_whole_only_when_it_is_in_sync_everywhere():
    whole = reading(partition((1, 2, 3), (1, 3, 2)))
    assert missing_after(whole, 2, is_broker=True) == ""
    behind = reading(*(partition((1, 2, 3), (1, 3), number=n) for n in range(7)))
    text = missing_after(behind, 2, is_broker=True)
    assert "in sync for t-0, t-1, t-2, t-3, t-4 and 2 more" in text
    fenced = reading(states={1: "up", 2: "fenced", 3: "up"})
    assert "register" in missing_after(fenced, 2, is_broker=True)
    controller_only = reading(states={1: "up", 3: "up"})
    assert missing_after(controller_only, 2, is_broker=False) == ""


def test_a_voter_has_to_catch_up_and_somebody_has_to_lead():
    assert "voter 2" in missing_after(reading(ends={1: 1000, 2: 10, 3: 1000}), 2, is_broker=True)
    assert "controller" in missing_after(reading(controller=-1), 2, is_broker=True)
