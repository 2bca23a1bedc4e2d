"""A partition whose replicas in sync are all dead: what is said of it, and of the way out."""

import pytest

from clusters.watch import ClusterEvent
from clusters.watch.events import EventKind
from tui.actions import ACTIONS
from tui.model import describe_event
from tui.pages.base import Subject
from tui.panels import partitions_table
from tui.store import Store

[UNCLEAN] = [each for each in ACTIONS if each.name == "elect-unclean"]


@pytest.fixture
def store(cluster) -> Store:
    cluster.min_isr("orders", 1)
    made = Store(cluster.status)
    cluster.kill(1)
    cluster.change("orders", 0, isr=(1,), leader=-1)
    made.view.update(cluster.projector.image, cluster.update().events, 0)
    return made


def test_it_is_offline_and_not_merely_at_its_minimum(store) -> None:
    row = store.view.rows_of("orders")[0]
    assert not row.at_min_isr
    state = partitions_table(store, lambda: 0).columns[-1]
    assert state.title == "state"
    assert state.draw(row) == "offline"
    assert store.view.health().at_min_isr == 0


@pytest.mark.parametrize("subject", [Subject("partition", "orders", 0), Subject("topic", "orders")])
def test_who_has_all_records_is_named_before_they_are_given_up(store, subject) -> None:
    cost, way_out = UNCLEAN.preview(store.view, subject)
    assert "lost for good" in cost
    assert way_out == "Broker 1 has all of it: started, it leads again and nothing is lost."


def test_where_nothing_is_offline_nobody_is_to_be_started(store) -> None:
    assert len(UNCLEAN.preview(store.view, Subject("partition", "orders", 3))) == 1


def test_nobody_is_no_broker_by_number() -> None:
    event = ClusterEvent(
        at_ms=0,
        offset=1,
        kind=EventKind.UNCLEAN_ELECTION,
        topic="orders",
        partition=0,
        before=-1,
        after=2,
        leader_epoch=3,
    )
    assert describe_event(event) == ("orders-0", "none → 2  epoch 3")
