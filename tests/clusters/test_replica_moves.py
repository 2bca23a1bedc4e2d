"""Where replicas go when partitions move: rules that hold for any placement."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clusters.admin.moves import NotEnoughBrokers, placed_on

BROKERS = list(range(1, 10))
placements = st.dictionaries(
    st.tuples(st.sampled_from(["orders", "signups"]), st.integers(0, 20)),
    st.lists(st.sampled_from(BROKERS), min_size=1, max_size=3, unique=True),
    min_size=1,
    max_size=12,
)
# A busy machine draws slowly; what is drawn is small.
quiet = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@quiet
@given(
    placements,
    st.lists(st.sampled_from(BROKERS), min_size=1, unique=True),
    st.dictionaries(st.sampled_from(BROKERS), st.sampled_from(["a", "b", "c"])),
)
def test_what_may_stay_stays_and_nothing_else_is_used(current, targets, racks):
    try:
        planned = placed_on(current, targets, racks)
    except NotEnoughBrokers:
        assert any(len(replicas) > len(targets) for replicas in current.values())
        return
    for key, replicas in current.items():
        if key not in planned:
            assert set(replicas) <= set(targets)
            continue
        new = planned[key]
        assert len(new) == len(set(new)) == len(replicas)
        assert set(new) <= set(targets)
        assert set(replicas) & set(targets) <= set(new)
        if replicas[0] in targets:
            assert new[0] == replicas[0]


@quiet
@given(placements, st.lists(st.sampled_from(BROKERS), min_size=3, unique=True))
def test_a_second_plan_has_nothing_to_do(current, targets):
    planned = placed_on(current, targets, {})
    assert placed_on(current | planned, targets, {}) == {}


def test_new_replicas_go_to_racks_that_are_not_used_yet():
    racks = {1: "a", 2: "b", 3: "c", 4: "a"}
    planned = placed_on({("orders", 0): [9, 1, 2]}, [1, 2, 3, 4], racks)
    assert sorted(planned["orders", 0]) == [1, 2, 3]


def test_an_emptied_broker_is_shared_out_evenly():
    current = {("orders", index): [9, 1] for index in range(6)}
    planned = placed_on(current, [1, 2, 3, 4], {})
    added = [broker for replicas in planned.values() for broker in replicas if broker != 1]
    assert sorted(added) == [2, 2, 3, 3, 4, 4]


@quiet
@given(
    placements,
    st.integers(1, 4),
    st.dictionaries(st.sampled_from(BROKERS), st.sampled_from(["a", "b", "c"])),
    st.sets(st.sampled_from(BROKERS), max_size=4),
)
def test_as_many_as_are_wanted_and_nothing_new_on_what_is_down(current, count, racks, down):
    try:
        planned = placed_on(current, BROKERS, racks, count=count, no_new=down)
    except NotEnoughBrokers:
        assert len(BROKERS) - len(down) < count
        return
    for key, replicas in current.items():
        new = planned.get(key, tuple(replicas))
        assert len(new) == len(set(new)) == count
        assert new[0] == replicas[0]
        assert not (set(new) - set(replicas)) & down
        # Fewer: some of those that were there; more: all of them, and others.
        assert set(new) <= set(replicas) or set(replicas) <= set(new)
    assert placed_on(current | planned, BROKERS, racks, count=count, no_new=down) == {}


def test_more_replicas_fill_the_racks_and_are_shared_out_evenly():
    racks = {1: "a", 2: "b", 3: "c", 4: "a", 5: "b", 6: "c"}
    current = {("orders", index): [index + 1] for index in range(6)}
    planned = placed_on(current, list(racks), racks, count=3)
    for replicas in planned.values():
        assert {racks[broker] for broker in replicas} == {"a", "b", "c"}
    held = [broker for replicas in planned.values() for broker in replicas]
    assert {held.count(broker) for broker in racks} == {3}


def test_of_fewer_replicas_those_go_first_that_are_least_needed():
    racks = {1: "a", 2: "a", 3: "b", 4: "c"}
    four = {("orders", 0): [1, 2, 3, 4]}
    in_sync = {("orders", 0): (1, 2, 4)}
    # Out of sync; then one of the two of a rack, and not the one that is preferred to lead.
    assert placed_on(four, list(racks), racks, count=3, in_sync=in_sync) == {
        ("orders", 0): (1, 2, 4)
    }
    assert placed_on(four, list(racks), racks, count=2, in_sync=in_sync) == {("orders", 0): (1, 4)}
    assert placed_on(four, list(racks), racks, count=1) == {("orders", 0): (1,)}
    # The preferred leader goes, too, when it is the one that is not in sync.
    assert placed_on(four, list(racks), racks, count=1, in_sync={("orders", 0): (3,)}) == {
        ("orders", 0): (3,)
    }


def test_more_replicas_than_brokers_are_refused():
    with pytest.raises(NotEnoughBrokers, match="orders:0 is to have 3 replicas, but only 2 brok"):
        placed_on({("orders", 0): [1]}, [1, 2, 3], {}, count=3, no_new={3})
