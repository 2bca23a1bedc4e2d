"""What is otherwise than at a mark: the net difference, what came back, marks of who was away."""

from typing import Any

from clusters.watch.slices import at_once
from tests.tui.piloting import until
from tui.marks import (
    AWAY_MS,
    CAME_BACK,
    ISR_CHANGED,
    LOOKED,
    MARKS_MAX,
    OWN,
    START,
    Mark,
    Marks,
    changes_since,
)


def moment(cluster: Any, why: str = OWN, controller: int = 1) -> Mark:
    return Mark(why, cluster.now_ms, cluster.projector.image, controller)


def told(then: Mark, now: Mark) -> list[tuple[Any, ...]]:
    return [
        (row.kind, row.topic, row.partition, row.broker, row.then, row.now)
        for row in at_once(changes_since(then, now))
    ]


def test_only_the_net_difference_is_told(cluster: Any) -> None:
    then = moment(cluster)
    cluster.change("orders", 0, leader=2)
    cluster.change("orders", 0, leader=3, isr=(3, 2))
    cluster.min_isr("signups", 2)
    cluster.create_topic("new", 1)
    assert told(then, moment(cluster)) == [
        ("TopicCreated", "new", None, None, None, {"partitions": 1, "replication_factor": 3}),
        ("ConfigChanged", "signups", None, None, None, "min.insync.replicas=2"),
        ("LeaderMoved", "orders", 0, None, 1, 3),
        ("IsrShrunk", "orders", 0, None, [1, 2, 3], [3, 2]),
    ]


def test_it_counts_how_often_a_partition_changed_and_got_a_leader(cluster: Any) -> None:
    then = moment(cluster)
    for leader in (2, 3, 2):
        cluster.change("orders", 0, leader=leader)
    cluster.change("orders", 0, isr=(1, 2))
    moved = next(iter(at_once(changes_since(then, moment(cluster)))))
    assert (moved.changes, moved.moves) == (4, 3)


def test_what_moved_away_and_came_back_is_told_apart(cluster: Any) -> None:
    then = moment(cluster)
    cluster.change("orders", 1, leader=3)
    cluster.change("orders", 1, leader=2)
    assert told(then, moment(cluster)) == [(CAME_BACK, "orders", 1, None, 2, 2)]


def test_a_replica_for_another_is_one_line(cluster: Any) -> None:
    cluster.change("orders", 0, isr=(1, 2))
    then = moment(cluster)
    cluster.change("orders", 0, isr=(1, 3))
    assert told(then, moment(cluster)) == [(ISR_CHANGED, "orders", 0, None, [1, 2], [1, 3])]


def test_another_controller_and_a_broker_that_is_away(cluster: Any) -> None:
    then = moment(cluster)
    cluster.kill(3)
    kinds = [row[0] for row in told(then, moment(cluster, controller=2))]
    assert kinds[:2] == ["ControllerChanged", "BrokerFenced"]
    assert not {"LeaderMoved", "IsrShrunk"} - set(kinds)


def test_nothing_differs_from_itself(cluster: Any) -> None:
    assert told(moment(cluster), moment(cluster)) == []


def test_who_was_away_finds_a_mark_of_when_they_last_looked(cluster: Any) -> None:
    marks = Marks()
    marks.begin(moment(cluster, START))
    assert marks.tick(moment(cluster), 1_000, 1_100) is None
    seen = cluster.projector.image
    cluster.kill(2)
    for now_ms in range(1_200, 1_000 + AWAY_MS + 1_000, 500):
        assert marks.tick(moment(cluster), 1_000, now_ms) is None
    back = marks.tick(moment(cluster), 2_000 + AWAY_MS, 2_100 + AWAY_MS)
    assert back is not None
    assert (back.why, back.image is seen) == (LOOKED, True)
    assert [each.why for each in marks.all] == [START, LOOKED]


def test_short_pauses_leave_no_mark(cluster: Any) -> None:
    marks = Marks()
    for second in range(1, 60):
        assert marks.tick(moment(cluster), second * 10_000, second * 10_000 + 9_000) is None
    assert marks.all == []


def test_the_oldest_marks_go_and_the_beginning_stays(cluster: Any) -> None:
    marks = Marks()
    marks.begin(moment(cluster, START))
    for _ in range(20):
        cluster.now_ms += 1_000
        marks.add(moment(cluster))
    assert len(marks.all) == MARKS_MAX
    assert marks.all[0].why == START
    assert marks.all[-1].at_ms == cluster.now_ms


def test_a_key_that_is_held_sets_one_mark(cluster: Any) -> None:
    marks = Marks()
    marks.begin(moment(cluster, START))
    mine = moment(cluster)
    marks.add(mine)
    cluster.now_ms += 5_000
    for _ in range(30):
        cluster.now_ms += 33
        marks.add(moment(cluster))
    assert [mark.at_ms for mark in marks.all[:2]] == [marks.all[0].at_ms, mine.at_ms]
    assert len(marks.all) == 3
    # What changed in between is told apart, however soon it comes.
    cluster.change("orders", 0, leader=2)
    marks.add(moment(cluster))
    assert len(marks.all) == 4


async def test_the_page_follows_and_steps_between_marks(cluster: Any, open_dashboard: Any) -> None:
    app = open_dashboard(cluster)
    async with app.run_test(size=(120, 36)) as pilot:
        await cluster.tell()
        await until(pilot, lambda: app.store.marks.all, "the mark of the beginning")
        await pilot.press("d")
        facts = lambda: str(app.page.texts["facts"].visual)  # noqa: E731
        await until(pilot, lambda: "nothing is otherwise" in facts(), "no difference")
        cluster.change("orders", 0, leader=2)
        await cluster.tell()
        table = app.table("changes")
        await until(pilot, lambda: len(table.shown) == 1, "the leader that moved")
        assert "1 LeaderMoved" in facts()
        await pilot.press("full_stop")
        await pilot.press("right_square_bracket")
        await until(pilot, lambda: "mark 2 of 2" in facts(), "the mark that was set")
        await until(pilot, lambda: not table.shown, "nothing since that mark")
        await pilot.press("left_square_bracket")
        await until(pilot, lambda: len(table.shown) == 1, "the difference to the first mark")
        await pilot.press("enter")
        assert app.place == ("topic", "orders")


def test_what_fell_behind_and_caught_up_came_back_too(cluster: Any) -> None:
    cluster.create_topic("__own", 1)
    then = moment(cluster)
    for topic in ("__own", "signups"):
        cluster.change(topic, 0, isr=(1, 2))
        cluster.change(topic, 0, isr=(1, 2, 3))
    found = at_once(changes_since(then, moment(cluster)))
    assert [(row.kind, row.topic, row.changes, row.moves) for row in found] == [
        (CAME_BACK, "signups", 2, 0),
        (CAME_BACK, "__own", 2, 0),
    ]


async def test_a_setting_stands_with_its_values(cluster: Any, open_dashboard: Any) -> None:
    app = open_dashboard(cluster)
    async with app.run_test(size=(140, 24)) as pilot:
        await cluster.tell()
        await until(pilot, lambda: app.store.marks.all, "the mark of the beginning")
        cluster.min_isr("signups", 2)
        await cluster.tell()
        await pilot.press("d")
        table = app.table("changes")
        await until(pilot, lambda: len(table.shown) == 1, "the setting")
        line = table.render_line(1).text
        assert line.split()[:6] == [
            "·", "ConfigChanged", "signups", "min.insync.replicas", "default", "2",
        ]  # fmt: skip
