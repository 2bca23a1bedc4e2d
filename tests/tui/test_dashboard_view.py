"""The view behind the screens: the same whatever way history is cut into updates."""

import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from clusters.watch import EventKind
from tui.model import ClusterView


def play(cluster_class: Any, seed: int, steps: int, view: ClusterView, cut: float) -> Any:
    """A random history, handed to the view in pieces."""
    rng = random.Random(seed)
    cluster = cluster_class()
    cluster.create_topic("t0", 4)
    view.update(cluster.projector.image, (), 0)
    waiting = []
    for step in range(steps):
        name = rng.choice(sorted(cluster.topic_ids))
        index = rng.randrange(4)
        state = cluster.projector.image.partition(name, index)
        assert state is not None
        roll = rng.random()
        if roll < 0.1:
            cluster.create_topic(f"t{step + 1}", 4)
        elif roll < 0.2:
            cluster.min_isr(name, rng.randrange(1, 4))
        elif roll < 0.6:
            isr = tuple(rng.sample(state.replicas, rng.randrange(1, 4)))
            cluster.change(name, index, isr=isr)
        else:
            cluster.change(name, index, leader=rng.choice([-1, *state.replicas]))
        waiting += cluster.update().events
        if rng.random() < cut:
            view.update(cluster.projector.image, waiting, step)
            waiting = []
    view.update(cluster.projector.image, waiting, steps)
    return cluster


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32), st.integers(1, 40), st.floats(0, 1))
def test_any_cut_gives_the_view_of_the_records_in_order(cluster_class, seed, steps, cut) -> None:
    stepwise, pieces, fresh = ClusterView(), ClusterView(), ClusterView()
    play(cluster_class, seed, steps, stepwise, 1.0)
    cluster = play(cluster_class, seed, steps, pieces, cut)
    fresh.update(cluster.projector.image, (), 0)
    for view in (pieces, stepwise):
        assert view.partitions == fresh.partitions
        assert view.topics == fresh.topics
        assert view.brokers == fresh.brokers
        assert view.health() == fresh.health()
    assert pieces.events == stepwise.events
    assert set(pieces.trails) == set(stepwise.trails)


def test_memory_is_bounded_and_what_faded_is_forgotten(cluster_class) -> None:
    cluster, view = cluster_class(), ClusterView(events_max=50)
    cluster.create_topic("t0", 4)
    for number in range(500):
        cluster.change("t0", number % 4, leader=1 + number % 2 * (number // 4 % 2 + 1))
        update = cluster.update()
        view.update(update.image, update.events, number)
    assert len(view.events) == 50
    assert all(len(trail) <= 6 for trail in view.trails.values())
    assert view.moves_ms
    assert not view.forget_old(10_000_000)
    assert (view.trails, view.flashes, view.moves_ms) == ({}, {}, [])


def test_a_broker_that_goes_down_sweeps_over_what_it_holds(cluster_class) -> None:
    cluster, view = cluster_class(brokers=4), ClusterView()
    cluster.create_topic("t0", 4, brokers=4)
    cluster.update()
    cluster.kill(2)
    update = cluster.update()
    assert any(event.kind is EventKind.BROKER_FENCED for event in update.events)
    view.update(update.image, update.events, 1_000)
    assert view.sweeping(1_100)
    assert view.swept((1, 2, 3), 0.1, 1_200)
    assert not view.swept((1, 3, 4), 0.1, 1_200)
    assert not view.swept((1, 2, 3), 0.9, 1_200)
    assert view.swept((1, 2, 3), 0.9, 2_200)
    assert not view.sweeping(4_000)
