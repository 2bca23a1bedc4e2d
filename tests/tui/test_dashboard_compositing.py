"""A screen put together from the front looks as Textual puts it together, whole and in parts."""

import random
from collections.abc import Iterator

import pytest
from rich.cells import get_character_cell_size
from textual._compositor import Compositor
from textual.geometry import Region
from textual.strip import Strip

from tests.tui.bench import Clerk
from tests.tui.piloting import until
from tui.action_screen import ActionScreen
from tui.app import DashboardApp
from tui.dialog import Palette
from tui.help import HelpScreen
from tui.pages.base import Place

SIZES = [(80, 24), (120, 36), (250, 70)]
PLACES = (Place("overview"), Place("topic", "orders"), Place("partitions"), Place("quorum"))
DIALOGS = {"question_mark": HelpScreen, "ctrl+p": Palette, "C": ActionScreen}
# Parts of a screen that are drawn, for each of its looks.
PARTS = 6

Cell = tuple[str, object]


@pytest.fixture(params=SIZES, ids=lambda size: "x".join(map(str, size)))
async def desk(request, cluster_class) -> Iterator:
    """The overview of a cluster of two topics."""
    cluster = cluster_class()
    for name in ("orders", "payments"):
        cluster.create_topic(name, 60)
    app = DashboardApp(["127.0.0.1:1"], feed=cluster, kinds=cluster.kinds(), commander=Clerk())
    async with app.run_test(size=request.param, notifications=True) as pilot:
        await cluster.tell(replaying=True)
        await until(pilot, lambda: len(app.store.view.partitions) == 120, "all partitions")
        yield app, pilot


def cells(strip: Strip) -> list[Cell]:
    """Each cell of a line, wide characters as many times as they are wide."""
    found: list[Cell] = []
    for text, style, _ in strip:
        for character in text:
            found += [(character, style)] * get_character_cell_size(character)
    return found


def check(app: DashboardApp, chance: random.Random) -> None:
    """All of the screen, and parts of it, against Textual's own way."""
    compositor = app.screen._compositor
    wanted = [cells(strip) for strip in Compositor.render_strips(compositor)]
    assert [cells(strip) for strip in compositor.render_strips()] == wanted
    screen = compositor.size.region
    for _ in range(PARTS):
        regions = [part(screen, chance) for _ in range(chance.randint(1, 4))]
        compositor._dirty_regions.update(regions)
        update = compositor.render_partial_update()
        assert update is not None
        drawn = {
            (x + at, y): cell
            for y, line in enumerate(update.chops)
            for x, strip in line.items()
            for at, cell in enumerate(cells(strip))
        }
        asked = {
            (x, y) for each in regions for y in each.line_range for x in range(*each.column_span)
        }
        assert drawn == {(x, y): wanted[y][x] for x, y in asked}
        for y, line in enumerate(update.chops):
            assert update.chop_ends[y] == [x + strip.cell_length for x, strip in line.items()]


def part(screen: Region, chance: random.Random) -> Region:
    """Some part of a screen."""
    x, y = chance.randrange(screen.width), chance.randrange(screen.height)
    return Region(
        x,
        y,
        chance.randint(1, screen.width - x),
        chance.randint(1, screen.height - y),
    )


async def test_pages_and_dialogs_look_as_textual_puts_them_together(desk) -> None:
    app, pilot = desk
    chance = random.Random(7)
    for place in PLACES:
        app.open_place(place)
        await until(pilot, lambda: app.page.main_table().has_focus, f"the focus on {place}")
        await pilot.press("j", "G")
        await pilot.pause()
        check(app, chance)
    app.notify("a note over the page")
    await until(pilot, lambda: app.screen.query("Toast"), "the note")
    check(app, chance)
    for key, kind in DIALOGS.items():
        await pilot.press(key)
        await until(pilot, lambda kind=kind: isinstance(app.screen, kind), str(kind))
        await pilot.press("x")
        await pilot.pause()
        check(app, chance)
        await pilot.press("escape")
        await until(pilot, lambda: len(app.screen_stack) == 1, "the dialog is gone")
        check(app, chance)


async def test_what_lies_outside_of_the_screen_is_not_drawn(desk) -> None:
    app, _ = desk
    compositor = app.screen._compositor
    compositor._dirty_regions.clear()
    width, height = compositor.size
    compositor._dirty_regions.update({Region(0, height + 2, 5, 5), Region(width, 0, 9, 2)})
    assert compositor.render_partial_update() is None
    compositor._dirty_regions.add(Region(width - 3, height - 2, 50, 50))
    update = compositor.render_partial_update()
    seen = [(x, y) for y, line in enumerate(update.chops) for x in line]
    assert seen == [(width - 3, height - 2), (width - 3, height - 1)]
