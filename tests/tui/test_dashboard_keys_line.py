"""The last line names the keys for the row of the cursor as soon as the cursor is there."""

import pytest

from clusters.watch.events import ClusterEvent, EventKind
from tests.tui.piloting import until


class Nobody:
    """Commands can be run here, and none is."""

    deploys = False

    def shown(self, words) -> str:
        return " ".join(words)

    async def run(self, words, on_line) -> int:
        return 0


@pytest.fixture
async def still(cluster, open_dashboard, monkeypatch):
    """A dashboard on which nothing is painted any more but what keys change."""
    app = open_dashboard(cluster, commander=Nobody())
    async with app.run_test(size=(200, 40)) as pilot:
        await cluster.tell(replaying=True)
        await until(pilot, lambda: len(app.store.view.topics) == 2, "the topics")
        happened = [
            ClusterEvent(at_ms=1, offset=1, kind=EventKind.BROKER_FENCED, broker=2),
            ClusterEvent(at_ms=2, offset=2, kind=EventKind.TOPIC_CREATED, topic="orders"),
        ]
        app.store.view.events.push(happened, 10)
        app.store.view.events_version += 1
        await pilot.press("6")
        await until(pilot, lambda: "events" in app.page.tables, "the page")
        table = app.page.tables["events"]
        await until(pilot, lambda: app.focused is table and len(table.shown) > 1, "the events")
        for painting in ("_tick", "_paint", "_paint_status", "_draw_all"):
            monkeypatch.setattr(app, painting, lambda *_: None)
        yield app, pilot, table


def line(app) -> str:
    return "".join(strip.text for strip in app._keys.render_lines(app._keys.size.region))


async def test_the_last_line_follows_the_cursor(still) -> None:
    app, pilot, table = still
    subjects = [row.topic for row in table.shown]
    table.move_to_key(table._key(table.shown[-1]))
    await pilot.press("G")
    assert subjects[-1] == "orders"
    await until(pilot, lambda: "Delete topic" in line(app), "what can be done with a topic")
    assert "Records" in line(app)
    await pilot.press("k")
    await until(pilot, lambda: "Delete topic" not in line(app), "nothing of a topic")
    assert table.cursor_row.broker == 2
    assert "Records" not in line(app)
    await pilot.press("j")
    await until(pilot, lambda: "Delete topic" in line(app), "a topic again")
    table.set_filter("nothing like it")
    await until(pilot, lambda: "Delete topic" not in line(app), "no row, nothing to be deleted")


async def test_no_key_is_cut_and_the_help_is_named_however_narrow_it_is(
    cluster, open_dashboard
) -> None:
    app = open_dashboard(cluster, commander=Nobody())
    async with app.run_test(size=(250, 30)) as pilot:
        await cluster.tell(replaying=True)
        await until(pilot, lambda: len(app.store.view.topics) == 2, "the topics")
        await pilot.press("4")
        await until(pilot, lambda: app.focused is not None, "the page")

        def is_whole() -> bool:
            """Every key that is named with all that it does, then whether there are others."""
            named = [f" {key} {what} " for key, what, _ in app._shown_keys()]
            drawn = line(app).rstrip()
            whole = [each for each in named if each in f"{drawn} "]
            left = len(named) - len(whole)
            assert len(named) > 5
            return drawn == "".join(whole).rstrip() + (" …" if left else "")

        for width in (120, 80, 61, 20, 250):
            await pilot.resize_terminal(width, 30)
            await until(pilot, lambda: app._keys.size.width == app.size.width, "the width")
            await until(pilot, is_whole, f"whole keys at {app.size.width}")
            assert " ? Help" in line(app)
