"""A broker that comes and goes is named, though it looks well each time that it is back."""

import pytest

from broker.protocol import metadata_records as rec
from tui.attention import troubles
from tui.store import Store

MINUTE_MS = 60_000


@pytest.fixture
def store(cluster) -> Store:
    made = Store(cluster.status)
    made.view.set_default_min_isr(1)
    take(made, cluster)
    return made


def take(store: Store, cluster) -> None:
    store.view.update(cluster.projector.image, cluster.update().events, 0)


def shrink_and_grow(cluster, after_ms: int) -> None:
    """Broker 3 falls behind everywhere, and catches up at once."""
    cluster.now_ms += after_ms
    for isr in ((1, 2), (1, 2, 3)):
        for index in range(6):
            leader = cluster.projector.image.topics["orders"].partitions[index].leader
            cluster.change("orders", index, isr=isr, leader=1 if leader == 3 else leader)


def unsteady(store: Store, cluster) -> list[str]:
    return [each.words for each in troubles(store, cluster.now_ms) if each.sign == "↻"]


def test_three_times_in_ten_minutes_are_told_and_many_replicas_at_once_are_one_time(
    store, cluster
) -> None:
    for _ in range(2):
        shrink_and_grow(cluster, MINUTE_MS)
    take(store, cluster)
    assert unsteady(store, cluster) == []
    shrink_and_grow(cluster, MINUTE_MS)
    cluster.now_ms += 20_000
    take(store, cluster)
    assert unsteady(store, cluster) == [
        "broker 3 comes and goes: out of sync 3 times in 2 min, last 20 s ago"
    ]
    cluster.now_ms += 10 * MINUTE_MS
    assert unsteady(store, cluster) == []


def test_a_broker_that_is_fenced_again_and_again(store, cluster) -> None:
    epoch = cluster.projector.image.brokers[2].epoch
    for _ in range(3):
        cluster.now_ms += 30_000
        cluster.apply(rec.FenceBrokerRecord(id=2, epoch=epoch))
        cluster.apply(rec.UnfenceBrokerRecord(id=2, epoch=epoch))
    take(store, cluster)
    [words] = unsteady(store, cluster)
    assert words.startswith("broker 2 comes and goes: out of sync 3 times")


def test_moving_replicas_away_is_no_lapse(store, cluster) -> None:
    for index in range(4):
        cluster.now_ms += MINUTE_MS
        cluster.change("orders", index, replicas=(1, 2), isr=(1, 2), leader=1)
        take(store, cluster)
    assert unsteady(store, cluster) == []


def test_a_rolling_restart_is_no_lapse(store, cluster) -> None:
    for broker in (1, 2, 3):
        cluster.now_ms += MINUTE_MS
        cluster.kill(broker)
        epoch = cluster.projector.image.brokers[broker].epoch
        cluster.apply(rec.UnfenceBrokerRecord(id=broker, epoch=epoch))
    take(store, cluster)
    assert unsteady(store, cluster) == []
