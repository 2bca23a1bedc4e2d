"""Replica placement: distinct brokers, racks first, even leaders, even failover."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.metadata.placement import Candidate, NotEnoughBrokers, place


def brokers(count, racks=(), fenced=()):
    return [
        Candidate(i, racks[(i - 1) % len(racks)] if racks else None, i not in fenced)
        for i in range(1, count + 1)
    ]


@given(
    count=st.integers(1, 9),
    partitions=st.integers(1, 60),
    racks=st.integers(0, 4),
    seed=st.integers(0, 1000),
    data=st.data(),
)
def test_replicas_are_distinct_and_leaders_even(count, partitions, racks, seed, data):
    factor = data.draw(st.integers(1, count))
    candidates = brokers(count, [f"r{i}" for i in range(racks)])
    placed = place(candidates, partitions, factor, random.Random(seed))
    assert len(placed) == partitions
    assert all(len(set(r)) == factor == len(r) for r in placed)
    leaders = Counter(r[0] for r in placed)
    assert max(leaders.values()) - min(leaders[i] for i in range(1, count + 1)) <= 1


@given(seed=st.integers(0, 200), partitions=st.integers(1, 30), factor=st.integers(1, 3))
def test_every_partition_reaches_as_many_racks_as_it_can(seed, partitions, factor):
    candidates = brokers(7, ["a", "b", "c"])
    rack = {c.id: c.rack for c in candidates}
    for replicas in place(candidates, partitions, factor, random.Random(seed)):
        assert len({rack[r] for r in replicas}) == factor


def test_five_replicas_over_two_racks_stay_balanced():
    candidates = brokers(6, ["a", "b"])
    rack = {c.id: c.rack for c in candidates}
    for replicas in place(candidates, 12, 4, random.Random(3)):
        assert Counter(rack[r] for r in replicas) == {"a": 2, "b": 2}


def test_followers_of_one_leader_are_spread():
    placed = place(brokers(5), 40, 2, random.Random(0))
    followers = Counter(r[1] for r in placed if r[0] == 1)
    assert followers == {2: 2, 3: 2, 4: 2, 5: 2}


def test_replicas_are_even_too():
    placed = place(brokers(6), 60, 3, random.Random(5))
    held = Counter(broker for r in placed for broker in r)
    assert max(held.values()) - min(held.values()) <= 3


def test_inactive_brokers_come_last_and_never_lead():
    placed = place(brokers(4, fenced=(2,)), 12, 4, random.Random(1))
    assert all(r[3] == 2 for r in placed)
    assert all(2 not in r for r in place(brokers(4, fenced=(2,)), 12, 3, random.Random(1)))


def test_the_same_seed_places_the_same():
    args = (brokers(5, ["a", "b"]), 20, 3)
    assert place(*args, random.Random(9)) == place(*args, random.Random(9))
    starts = {place(*args, random.Random(s))[0][0] for s in range(30)}
    assert len(starts) == 5


def test_too_few_brokers_are_told():
    with pytest.raises(NotEnoughBrokers, match="only 2 broker"):
        place(brokers(2), 1, 3, random.Random(0))
    with pytest.raises(NotEnoughBrokers, match="fenced"):
        place(brokers(2, fenced=(1, 2)), 1, 1, random.Random(0))
