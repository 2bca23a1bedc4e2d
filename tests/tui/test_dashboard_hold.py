"""The screen held still: one moment on every page, told as such, and nothing lost of what came."""

from dataclasses import replace
from typing import Any

from clusters.watch import EventKind
from tests.tui.piloting import Clerk, until
from tui.action_screen import ActionScreen
from tui.holding import EVENTS_MAX, Hold
from tui.pages.base import Place
from tui.store import QUORUM

SIZE = (120, 36)


def line(app: Any) -> str:
    return str(app._status.content)


async def test_a_held_screen_stands_still_on_every_page(cluster: Any, open_dashboard: Any) -> None:
    app = open_dashboard(cluster)
    async with app.run_test(size=SIZE) as pilot:
        await cluster.tell(replaying=True)
        await until(pilot, lambda: app.store.view.partitions, "the cluster")
        await pilot.press("4", "space")
        seen = [row.leader for row in app.table("partitions").shown]
        cluster.kill(2)
        cluster.now_ms += 12_000
        told = len(cluster.events)
        await cluster.tell()
        await until(pilot, lambda: f"HELD for 12 s, {told} events since" in line(app), "the count")
        assert [row.leader for row in app.table("partitions").shown] == seen
        assert "brokers 3/3" in line(app)
        await pilot.press("2")
        assert [row.state for row in app.table("brokers").shown] == ["up"] * 3
        await pilot.press("space")
        states = lambda: [row.state for row in app.table("brokers").shown]  # noqa: E731
        await until(pilot, lambda: states() == ["up", "fenced", "up"], "what is so now")
        assert "HELD" not in line(app)
        kinds = [event.kind for event in app.store.view.events]
        assert kinds.count(EventKind.BROKER_FENCED) == 1
        assert kinds.count(EventKind.ISR_SHRUNK) == 9


async def test_a_lost_connection_is_told_while_it_is_held(
    cluster: Any, open_dashboard: Any
) -> None:
    app = open_dashboard(cluster)
    async with app.run_test(size=SIZE) as pilot:
        await cluster.tell(replaying=True)
        await until(pilot, lambda: app.store.view.partitions, "the cluster")
        await pilot.press("space")
        cluster.lose("no controller answers")
        await until(pilot, lambda: "HELD" in line(app) and "✖ LOST" in line(app), "both")


async def test_what_was_never_asked_is_asked_and_the_rest_stays(
    cluster: Any, open_dashboard: Any
) -> None:
    cluster.polled["log dirs"] = []
    app = open_dashboard(cluster)
    async with app.run_test(size=SIZE) as pilot:
        await cluster.tell(replaying=True)
        await until(pilot, lambda: app.store.answer(QUORUM).at_ms is not None, "the quorum")
        await pilot.press("space")
        before = app.store.answer(QUORUM)
        app.store.answers.pop(next(p for p in app.page.wants() if p != QUORUM), None)
        cluster.now_ms += 60_000
        await pilot.press("7")
        assert QUORUM not in app._wanted()
        assert app.store.answer(QUORUM) is before
        await pilot.press("space")
        assert QUORUM in app._wanted()
        await until(pilot, lambda: app.store.answer(QUORUM) is not before, "asked again")


async def test_an_action_is_never_shown_on_a_picture_of_before(
    cluster: Any, open_dashboard: Any
) -> None:
    app = open_dashboard(cluster, commander=Clerk())
    async with app.run_test(size=SIZE) as pilot:
        await cluster.tell(replaying=True)
        await until(pilot, lambda: app.store.view.partitions, "the cluster")
        app.open_place(Place("topics"))
        await pilot.press("space")
        assert app.hold.is_on
        await pilot.press("D")
        await until(pilot, lambda: isinstance(app.screen, ActionScreen), "the dialog")
        assert not app.hold.is_on


def test_no_more_is_kept_than_can_be_shown(cluster: Any) -> None:
    hold = Hold(lambda: 0, lambda: 0)
    hold.begin()
    cluster.change("orders", 0, leader=2)
    update = cluster.update()
    event = update.events[0]
    for number in range(3 * EVENTS_MAX // 100):
        events = tuple(replace(event, offset=100 * number + i) for i in range(100))
        hold.keep([replace(update, events=events)])
    assert f"{3 * EVENTS_MAX} events since" in hold.text().plain
    (last,) = hold.end()
    assert [each.offset for each in last.events] == [*range(2 * EVENTS_MAX, 3 * EVENTS_MAX)]
    assert hold.end() == []


def test_what_was_replayed_is_not_told_as_news(cluster: Any) -> None:
    hold = Hold(lambda: 0, lambda: 0)
    hold.begin()
    hold.keep([cluster.update(replaying=True)])
    (last,) = hold.end()
    assert last.replaying
    hold.begin()
    cluster.change("orders", 0, leader=2)
    hold.keep([cluster.update(replaying=True), cluster.update()])
    assert not hold.end()[0].replaying
