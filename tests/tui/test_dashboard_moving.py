"""Replicas that are being moved: seen as that, and not as copies that were lost."""

import pytest

from tests.tui.piloting import until
from tui.attention import troubles
from tui.pages.topics import ONLY
from tui.panels import topic_fields
from tui.store import Store
from tui.sums import Health


@pytest.fixture
def cluster(cluster_class):
    """Four brokers, of which the last holds nothing yet."""
    made = cluster_class(brokers=4)
    made.create_topic("orders", 6)
    made.create_topic("signups", 3)
    return made


@pytest.fixture
def store(cluster) -> Store:
    cluster.min_isr("orders", 2)
    made = Store(cluster.status)
    made.view.update(cluster.projector.image, cluster.update().events, 0)
    return made


def move(cluster, store: Store, partition: int, **fields: object) -> None:
    cluster.change("orders", partition, **fields)
    store.view.update(cluster.projector.image, cluster.update().events, 0)


def words(store: Store) -> list[str]:
    return [f"{each.sign} {each.words}" for each in troubles(store, 0)]


def test_a_copy_that_a_move_adds_is_not_one_that_is_lacking(store, cluster) -> None:
    # orders-0 from 1, 2, 3 to 4, 1, 2: the fourth holds nothing yet.
    move(cluster, store, 0, replicas=(4, 1, 2, 3), adding_replicas=(4,), removing_replicas=(3,))
    row = store.view.rows_of("orders")[0]
    assert row.health is Health.OK
    assert row.behind == ()
    health = store.view.health()
    assert (health.under_replicated, health.moving) == (0, 1)
    assert words(store) == ["⇢ 1 partition being moved: orders-0"]
    assert [row.key for row in store.view.partitions if ONLY["moving"][1](row)] == [("orders", 0)]
    assert not any(ONLY["under-replicated"][1](row) for row in store.view.partitions)
    [topic] = [row for row in store.view.topics if row.name == "orders"]
    # A condition means what the query language says: isr < replicas.
    assert topic_fields(topic)["under_replicated"] == 1


def test_a_copy_that_is_lost_meanwhile_is_seen_all_the_same(store, cluster) -> None:
    move(cluster, store, 0, replicas=(4, 1, 2, 3), adding_replicas=(4,), removing_replicas=(3,))
    move(cluster, store, 0, isr=(1, 2))
    row = store.view.rows_of("orders")[0]
    assert row.health is Health.UNDER_REPLICATED
    assert row.behind == (3,)
    assert row.at_min_isr
    [broker] = [each for each in store.view.brokers if each.id == 3]
    assert broker.out_of_sync == 1
    assert "◐ broker 3 has 1 replica behind" in words(store)


def test_the_end_of_a_move_leaves_nothing_behind(store, cluster) -> None:
    move(cluster, store, 0, replicas=(4, 1, 2, 3), adding_replicas=(4,), removing_replicas=(3,))
    move(cluster, store, 0, isr=(4, 1, 2, 3))
    done = {"replicas": (4, 1, 2), "isr": (4, 1, 2), "leader": 4}
    move(cluster, store, 0, **done, adding_replicas=(), removing_replicas=())
    health = store.view.health()
    assert (health.under_replicated, health.moving) == (0, 0)
    assert words(store) == []


async def test_the_first_line_counts_moves_and_attention_leads_to_them(
    cluster, open_dashboard
) -> None:
    cluster.change("orders", 2, replicas=(3, 1, 2, 4), adding_replicas=(4,), removing_replicas=())
    app = open_dashboard(cluster)
    async with app.run_test(size=(120, 36)) as pilot:
        await cluster.tell(replaying=True)
        status = app.query_one("#status")
        await until(pilot, lambda: "⇢ moving 1" in str(status.content), "the count")
        await pilot.press("exclamation_mark")
        await until(pilot, lambda: tuple(app.place) == ("partitions", "moving"), "the partitions")
        table = app.page.tables["partitions"]
        await until(pilot, lambda: [row.name for row in table.shown] == ["orders-2"], "the one")
        assert "⇢ +4" in table.render_line(1).text


async def test_records_of_a_topic_say_which_partitions_are_not_counted(
    cluster, open_dashboard
) -> None:
    ends = {("orders", n): (0, 100) for n in range(6)} | {("orders", 4): (None, None)}
    cluster.polled["ranges"] = lambda _: dict(ends)
    app = open_dashboard(cluster)
    async with app.run_test(size=(120, 36)) as pilot:
        await cluster.tell(replaying=True)
        await until(pilot, lambda: app.store.view.topics, "topics")
        await pilot.press("colon", *"topic orders", "enter")
        await until(pilot, lambda: app.place.kind == "topic", "the page")
        facts = app.page.texts["facts"]
        told = "records 500 in 5 of 6 partitions"
        await until(pilot, lambda: told in str(facts.content), "what is counted")
        ends[("orders", 4)] = (0, 50)
        cluster.now_ms += 5_000
        await until(pilot, lambda: "records 550   size" in str(facts.content), "all of them")
