"""A list that follows its end stays where somebody scrolled it, and follows again at the end."""

import pytest
from textual.events import MouseScrollUp

from tests.tui.piloting import until
from tui.pages import Place


@pytest.fixture
async def running(cluster, open_dashboard):
    for number in range(60):
        cluster.create_topic(f"t-{number:02}", 1)
    app = open_dashboard(cluster)
    async with app.run_test(size=(100, 24)) as pilot:
        await cluster.tell(replaying=True)
        app.open_place(Place("events"))
        table = app.table("events")
        await until(pilot, lambda: len(table.shown) > 60 and table.has_focus, "events")
        await until(pilot, lambda: at_end(table), "the newest event")
        yield app, pilot, cluster, table


def at_end(table) -> bool:
    return table.max_scroll_y > 0 and table.scroll_offset.y == table.max_scroll_y


async def one_more(pilot, cluster, table, name: str) -> None:
    cluster.create_topic(name, 1)
    await cluster.tell()
    await until(pilot, lambda: table.shown[-1].topic == name, f"the event of {name}")
    await pilot.pause(0.1)


async def test_what_somebody_looks_at_is_not_scrolled_away_by_what_comes(running) -> None:
    app, pilot, cluster, table = running
    await one_more(pilot, cluster, table, "follows")
    await until(pilot, lambda: at_end(table), "the end is followed")
    for _ in range(4):
        await pilot._post_mouse_events([MouseScrollUp], widget=table, button=0)
    await until(pilot, lambda: table.scroll_offset.y < table.max_scroll_y - 3, "older events")
    await pilot.pause(0.3)
    place = table.scroll_offset.y
    await one_more(pilot, cluster, table, "meanwhile")
    assert table.scroll_offset.y == place
    # Another page and back changes nothing of it.
    app.open_place(Place("topics"))
    app.open_place(Place("events"))
    await one_more(pilot, cluster, table, "later")
    assert table.scroll_offset.y == place
    await pilot.press("G")
    await until(pilot, lambda: at_end(table), "the newest event")
    await one_more(pilot, cluster, table, "again")
    await until(pilot, lambda: at_end(table), "the end is followed again")
    assert table.cursor_row.topic == "again"


async def test_scrolling_to_the_end_follows_it_again(running) -> None:
    _, pilot, cluster, table = running
    table.scroll_to(y=3, animate=False)
    await until(pilot, lambda: table.scroll_offset.y == 3, "older events")
    await one_more(pilot, cluster, table, "meanwhile")
    assert table.scroll_offset.y == 3
    table.scroll_end(animate=False)
    await until(pilot, lambda: at_end(table), "the end")
    await one_more(pilot, cluster, table, "after")
    await until(pilot, lambda: at_end(table) and table.cursor_row.topic == "after", "the newest")
