"""Replicas that are being moved: seen as that, and not as copies that were lost."""

import pytest

from broker.protocol import metadata_records as rec
from clusters.admin import LogDir, ReplicaSize
from clusters.polls import Answer
from tests.tui.piloting import until
from tui.attention import troubles
from tui.pages.topics import ONLY
from tui.panels import topic_fields
from tui.store import LOG_DIRS, Store
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


MIB = 1024 * 1024
LISTED = "follower.replication.throttled.replicas"
RATE = "leader.replication.throttled.rate"


def log_dirs(copied_bytes: int) -> list[LogDir]:
    """orders-0 on its leader, 10 MiB, and so much of it on broker 4."""
    sizes = {1: 10 * MIB, 4: copied_bytes}
    return [
        LogDir(
            broker=broker,
            path="/data",
            error=None,
            total_bytes=None,
            usable_bytes=None,
            replicas=(
                ReplicaSize(
                    topic="orders", partition=0, size_bytes=held, offset_lag=0, is_future=False
                ),
            ),
        )
        for broker, held in sizes.items()
    ]


def setting(cluster, kind: int, owner: str, name: str, value: str | None) -> None:
    cluster.apply(rec.ConfigRecord(resource_type=kind, resource_name=owner, name=name, value=value))


def test_how_far_a_move_is_comes_from_the_log_dirs(store, cluster) -> None:
    move(cluster, store, 0, replicas=(4, 1, 2, 3), adding_replicas=(4,), removing_replicas=(3,))
    assert store.copies.of("orders") is None
    store.take(LOG_DIRS, Answer(log_dirs(2 * MIB), 10_000))
    assert store.copies.of("orders").words == "2 MiB of 10 MiB copied"
    store.take(LOG_DIRS, Answer(log_dirs(4 * MIB), 20_000))
    assert words(store) == [
        "⇢ 1 partition being moved: orders-0; 4 MiB of 10 MiB copied, 30 s to go"
    ]
    store.take(LOG_DIRS, Answer(log_dirs(2 * MIB), 30_000))
    assert store.copies.of("orders").words == "2 MiB of 10 MiB copied, not getting closer"
    done = {"replicas": (4, 1, 2), "isr": (4, 1, 2), "leader": 4}
    move(cluster, store, 0, **done, adding_replicas=(), removing_replicas=())
    store.take(LOG_DIRS, Answer(log_dirs(10 * MIB), 40_000))
    assert store.copies.of("orders") is None


def test_a_throttle_is_only_called_left_behind_when_nothing_of_the_topic_moves(
    store, cluster
) -> None:
    for name in ("orders", "signups"):
        setting(cluster, 2, name, LISTED, "0:4")
    setting(cluster, 4, "1", RATE, "1048576")
    move(cluster, store, 0, replicas=(4, 1, 2, 3), adding_replicas=(4,), removing_replicas=(3,))
    assert store.throttles().rate_words([1, 2]) == "at most 1 MiB/s"
    assert store.left_throttled() == ["signups"]
    [left] = [each for each in troubles(store, 0, acts=True) if each.sign == "⇣"]
    assert left.words == "a throttle was left behind on signups"
    assert left.todo == ":throttle off"
    [told] = [each for each in troubles(store, 0) if each.sign == "⇣"]
    assert told.todo == "logctl partition throttle off"
    setting(cluster, 2, "signups", LISTED, "*")  # somebody's choice for all time
    store.view.update(cluster.projector.image, cluster.update().events, 0)
    assert store.left_throttled() == []


def test_a_topic_that_moves_has_as_many_copies_as_it_had(store, cluster) -> None:
    """As Kafka's own tools say."""
    move(cluster, store, 0, replicas=(4, 1, 2, 3), adding_replicas=(4,), removing_replicas=(3,))
    assert store.view.topic_row("orders").replication_factor == 3
    move(cluster, store, 0, adding_replicas=(), removing_replicas=())
    assert store.view.topic_row("orders").replication_factor == 4


@pytest.mark.parametrize("size", [(120, 36), (80, 24)])
async def test_the_page_of_a_topic_says_how_far_and_what_holds_it_back(
    cluster, open_dashboard, size
) -> None:
    cluster.change("orders", 0, replicas=(4, 1, 2, 3), adding_replicas=(4,), removing_replicas=(3,))
    setting(cluster, 2, "orders", LISTED, "0:4")
    setting(cluster, 4, "1", RATE, "1048576")
    cluster.polled["log dirs"] = lambda _: log_dirs(4 * MIB)
    app = open_dashboard(cluster)
    async with app.run_test(size=size) as pilot:
        await cluster.tell(replaying=True)
        await until(pilot, lambda: app.store.view.topics, "topics")
        await pilot.press("colon", *"topic orders", "enter")
        await until(pilot, lambda: app.place.kind == "topic", "the page")
        facts = app.page.texts["facts"]
        said = "⇢ 1 being moved: 4 MiB of 10 MiB copied, at most 1 MiB/s"
        await until(pilot, lambda: said in str(facts.content), "how far it is")
        assert facts.size.height >= 3
        done = {"replicas": (4, 1, 2), "isr": (4, 1, 2), "leader": 4}
        cluster.change("orders", 0, **done, adding_replicas=(), removing_replicas=())
        await cluster.tell()
        left = "⇣ a throttle was left behind by a move: logctl partition throttle off removes it"
        await until(pilot, lambda: left in str(facts.content), "what is left")
