"""Stories of whole quorums on virtual time."""

import pytest

from broker.raft import events as ev
from broker.raft.roles import LEGAL, Candidate, Follower, Leader, Prospective, Resigned
from tests.unit.raft.quorum_world import Faults, World


def elected(world: World, within_ms: int = 1000) -> int:
    assert world.run(within_ms, until=lambda: world.leader() is not None), "nobody leads"
    leader = world.leader()
    assert leader is not None
    return leader.id


def settled(seed: int = 1, voters: int = 3, records: int = 5) -> tuple[World, int]:
    """A quorum with a leader and some committed records."""
    world = World(seed, voters)
    world.boot_all()
    leader = elected(world)
    world.append(world.nodes[leader], records)
    assert world.run(3000, until=world.caught_up)
    return world, leader


def epochs(world: World) -> list[int]:
    return [n.core.epoch for n in world.nodes.values() if n.core is not None]


@pytest.mark.parametrize("seed", range(10))
def test_three_nodes_elect_one_leader_fast_and_keep_it(seed: int) -> None:
    world = World(seed)
    world.boot_all()
    leader = elected(world, 400)
    world.run(60_000)
    assert world.leader() is world.nodes[leader]
    assert len(world.leader_of_epoch) == 1
    assert world.caught_up()


@pytest.mark.parametrize("seed", range(10))
def test_two_of_three_elect_without_the_third(seed: int) -> None:
    world = World(seed)
    world.nodes[1].boot()
    world.nodes[2].boot()
    assert elected(world, 2500) in (1, 2)


def test_one_voter_leads_at_once() -> None:
    world = World(1, 1)
    world.boot_all()
    assert elected(world, 20) == 1


def test_a_node_that_starts_finds_the_leader_without_disturbing_it() -> None:
    world, leader = settled()
    follower = world.nodes[leader % 3 + 1]
    epoch = follower.core.epoch
    follower.crash()
    world.run(500)
    follower.boot()
    assert world.run(300, until=lambda: follower.core.leader.leader_id == leader)
    assert set(epochs(world)) == {epoch}


def test_an_isolated_follower_never_raises_the_epoch() -> None:
    world, leader = settled()
    lonely = world.nodes[leader % 3 + 1]
    epoch = lonely.core.epoch
    world.isolate(lonely.id)
    world.run(60_000)
    assert lonely.core.epoch == epoch
    assert not lonely.core.is_leader
    world.heal()
    assert world.run(5000, until=lambda: lonely.core.leader.leader_id == leader)
    assert set(epochs(world)) == {epoch}, "the leader was not disturbed"


def test_a_link_cut_in_one_direction_does_not_raise_the_epoch_for_ever() -> None:
    world, leader = settled()
    other = leader % 3 + 1
    world.cut.add((leader, other))  # its answers do not arrive
    world.run(30_000)
    assert len(world.leader_of_epoch) <= 2
    assert world.leader() is not None


def test_an_isolated_leader_resigns_and_its_uncommitted_records_are_cut() -> None:
    world, leader = settled()
    old = world.nodes[leader]
    world.isolate(leader)
    world.append(old, 3)
    committed = len(world.canonical)
    assert world.run(2500, until=lambda: not old.core.is_leader), "resigns within the fetch timeout"
    assert "no fetches from a majority" in old.traces
    assert world.run(6000, until=lambda: world.leader() is not None)
    new = world.leader()
    world.append(new, 2)
    world.heal()
    assert world.run(5000, until=world.caught_up)
    assert any(t.startswith("truncate to") for t in old.traces)
    assert len(world.canonical) == committed + 1 + 2  # LeaderChange and the two records
    assert old.disk.entries == new.disk.entries


@pytest.mark.parametrize("seed", range(10))
def test_a_refused_connection_starts_an_election_at_once(seed: int) -> None:
    world, leader = settled(seed)
    crashed_at = world.now
    world.nodes[leader].crash()
    for node in world.nodes.values():
        if node.core is not None:
            node.step(ev.LeaderUnreachable(leader_id=leader))
    world.run(1000, until=lambda: world.leader() is not None)
    assert world.leader() is not None
    assert world.now - crashed_at < 300


def test_a_follower_that_still_hears_the_leader_keeps_it() -> None:
    world, leader = settled()
    mistaken = world.nodes[leader % 3 + 1]
    mistaken.step(ev.LeaderUnreachable(leader_id=leader))
    world.run(3000)
    assert any(t == "ask for pre-votes" for t in mistaken.traces)
    assert len(world.leader_of_epoch) == 1
    assert mistaken.core.leader.leader_id == leader


def test_a_stopping_leader_hands_over_to_whoever_has_most() -> None:
    world, leader = settled()
    behind, ahead = (i for i in world.nodes if i != leader)
    world.cut |= {(behind, leader), (leader, behind)}
    world.append(world.nodes[leader], 5)
    world.run(100)
    world.heal()
    world.nodes[leader].step(ev.ResignRequested())
    assert isinstance(world.nodes[leader].core.role, Resigned)
    stopped_at = world.now
    world.run(1000, until=lambda: world.leader() is not None)
    assert world.leader() is world.nodes[ahead]
    assert world.now - stopped_at < 300


def test_five_nodes_survive_two_deaths_and_not_three() -> None:
    world, leader = settled(voters=5)
    others = [i for i in world.nodes if i != leader]
    world.nodes[leader].crash()
    world.nodes[others[0]].crash()
    assert world.run(6000, until=lambda: world.leader() is not None)
    world.append(world.leader(), 1)
    committed = len(world.canonical)
    assert world.run(1000, until=lambda: len(world.canonical) > committed)
    last = next(i for i in others[1:] if world.nodes[i] is not world.leader())
    world.nodes[last].crash()
    committed = len(world.canonical)
    leader_now = world.leader()
    world.append(leader_now, 1)
    world.run(30_000)
    assert len(world.canonical) == committed
    assert world.leader() is None


def test_everybody_loses_power_and_nothing_committed_is_lost() -> None:
    world, _ = settled(records=20)
    before = list(world.canonical)
    for node in world.nodes.values():
        node.crash()
    for node in world.nodes.values():
        node.boot()
    elected(world, 2000)
    assert world.run(3000, until=world.caught_up)
    assert world.canonical[: len(before)] == before


def test_an_empty_follower_gets_the_snapshot_and_then_the_rest() -> None:
    world, leader = settled(records=40)
    empty = world.nodes[leader % 3 + 1]
    empty.crash()
    world.nodes[leader].take_snapshot(trim=True)
    world.append(world.nodes[leader], 4)
    assert world.nodes[leader].disk.base > 0
    empty.disk.entries.clear()
    empty.disk.flushed = 0
    empty.boot()
    assert world.run(3000, until=world.caught_up)
    assert empty.disk.snapshot == world.nodes[leader].disk.snapshot
    assert empty.disk.base == empty.disk.snapshot.end_offset


def test_a_snapshot_that_vanishes_on_the_way_is_asked_for_anew() -> None:
    world, leader = settled(records=40)
    empty = world.nodes[leader % 3 + 1]
    empty.crash()
    node = world.nodes[leader]
    node.take_snapshot(trim=True)
    empty.disk.entries.clear()
    empty.disk.flushed = 0
    empty.boot()
    assert world.run(500, until=lambda: any(t.startswith("fetch snapshot") for t in empty.traces))
    world.append(node, 5)
    assert world.run(500, until=lambda: node.high_watermark == node.disk.end)
    node.take_snapshot(trim=True)  # the leader forgets the first one
    assert world.run(3000, until=world.caught_up)
    assert empty.disk.snapshot == node.disk.snapshot


def test_an_observer_replicates_and_does_not_count() -> None:
    world = World(3, 3, observers=1)
    world.boot_all()
    leader = elected(world)
    observer = world.nodes[4]
    world.append(world.nodes[leader], 5)
    assert world.run(3000, until=world.caught_up)
    for voter in world.voters:
        if voter != leader:
            world.isolate(voter)
    committed = len(world.canonical)
    world.append(world.nodes[leader], 1)
    world.run(1000)
    assert observer.disk.end == world.nodes[leader].disk.end, "it has the record"
    assert len(world.canonical) == committed, "which does not commit by it"


def test_slow_flushes_delay_the_commit_not_the_replication() -> None:
    world = World(5, 3, faults=Faults(flush_ms_max=0))
    world.boot_all()
    leader = world.nodes[elected(world)]
    assert world.run(1000, until=world.caught_up)
    world.faults.flush_ms_max = 100
    committed = len(world.canonical)
    world.append(leader, 1)
    follower = world.nodes[leader.id % 3 + 1]
    assert world.run(50, until=lambda: follower.disk.end == leader.disk.end)
    assert world.run(300, until=lambda: len(world.canonical) > committed)


def test_the_table_of_transitions_forbids_shortcuts() -> None:
    assert Leader not in LEGAL[Follower] | LEGAL[Prospective]
    assert Candidate not in LEGAL[Follower] | LEGAL[Leader]
    assert set().union(*LEGAL.values()) == set(LEGAL)
