"""Laying out all parts of a page costs most of what a key may take: it is done once, or not at all."""

import pytest
from textual.screen import Screen

from tests.tui.piloting import until
from tui.table import LiveTable


async def settled(pilot) -> None:
    """Until nothing is to be laid out or drawn any more."""
    screen = pilot.app.screen
    for _ in range(3):
        await until(pilot, lambda: not (screen._layout_required or screen._dirty_widgets), "rest")
        await pilot.pause()


@pytest.fixture
async def desk(cluster, open_dashboard):
    app = open_dashboard(cluster)
    async with app.run_test(size=(120, 40)) as pilot:
        await cluster.tell(replaying=True)
        await until(pilot, lambda: len(app.store.view.topics) == 2, "the topics")
        for index in range(5):
            cluster.change("orders", index, leader=2)
        await cluster.tell()
        table = app.page.tables["events"]
        await until(pilot, lambda: table.show_vertical_scrollbar or len(table.shown) > 3, "events")
        await settled(pilot)
        yield app, pilot


@pytest.fixture
def layouts(monkeypatch) -> list[str]:
    """A word for each time that a screen was laid out."""
    done: list[str] = []
    lay_out = Screen._refresh_layout

    def noted(self, *args, **options):
        done.append(str(self))
        return lay_out(self, *args, **options)

    monkeypatch.setattr(Screen, "_refresh_layout", noted)
    return done


async def test_rows_that_come_lay_nothing_out(desk, cluster, layouts) -> None:
    app, pilot = desk
    table: LiveTable = app.page.tables["events"]
    # Once there is a bar it only grows.
    for round_ in range(12):
        cluster.change("orders", round_ % 6, leader=round_ % 3 + 1)
    await cluster.tell()
    await until(pilot, lambda: table.show_vertical_scrollbar, "a bar")
    await settled(pilot)
    layouts.clear()
    known = len(table.shown)
    for round_ in range(4):
        cluster.change("orders", round_, leader=(round_ + 1) % 3 + 1)
        await cluster.tell()
    await until(pilot, lambda: len(table.shown) > known, "more events")
    await settled(pilot)
    assert layouts == []
    assert table.virtual_size.height == len(table.shown) + 1
    assert table.scroll_offset.y == table.max_scroll_y, "the newest is seen"


async def test_the_line_for_words_lays_the_page_out_once_and_itself(desk, layouts) -> None:
    app, pilot = desk
    await pilot.press("slash")
    await until(pilot, lambda: app._bar.display, "the line")
    await settled(pilot)
    assert 1 <= len(layouts) <= 2
    layouts.clear()
    await pilot.press("escape")
    await until(pilot, lambda: not app._bar.display, "no line")
    await settled(pilot)
    assert 1 <= len(layouts) <= 2


async def test_a_page_that_was_seen_before_is_laid_out_once(desk, layouts) -> None:
    app, pilot = desk
    counts = []
    # An answer that happens to come in between may lay it out once more.
    for _ in range(3):
        await pilot.press("4")
        await until(pilot, lambda: app.place.kind == "partitions", "partitions")
        await settled(pilot)
        layouts.clear()
        await pilot.press("1")
        await until(pilot, lambda: app.place.kind == "overview", "the overview")
        await settled(pilot)
        counts.append(len(layouts))
    assert min(counts) == 1, counts
