"""What changes together is drawn once, and a page that comes back looks as it was left."""

import asyncio
from collections.abc import Iterator

import pytest
from textual._compositor import Compositor

from clusters.watch.slices import RESTING, in_slices
from tests.tui.piloting import WAIT_S, until
from tui.app import DashboardApp
from tui.doors import monotonic_ms

BOOTSTRAP = ["127.0.0.1:1"]
# Time limits of slices, which a machine that others use makes short.
TRIES = 4


@pytest.fixture
async def desk(cluster_class) -> Iterator:
    """The overview of a cluster, with the partitions seen once before."""
    cluster = cluster_class()
    for name in ("orders", "payments"):
        cluster.create_topic(name, 30)
    app = DashboardApp(BOOTSTRAP, feed=cluster, kinds=cluster.kinds())
    async with app.run_test(size=(120, 40)) as pilot:
        await cluster.tell(replaying=True)
        await until(pilot, lambda: len(app.store.view.partitions) == 60, "all partitions")
        for key, kind in ("4", "partitions"), ("1", "overview"):
            await pilot.press(key)
            await until(pilot, lambda kind=kind: shown(app, kind), kind)
        yield app, pilot, cluster


def shown(app: DashboardApp, kind: str) -> bool:
    """Whether a page has the keys, and all of it has been drawn."""
    table = app.page.main_table()
    stands = app.place.kind == kind and app.page.is_mounted
    return stands and (table is None or table.has_focus) and not app._paint_due and drawn(app)


def drawn(app: DashboardApp) -> bool:
    """Whether nothing waits to be drawn."""
    screen = app.screen
    waiting = screen._dirty_widgets or screen._compositor._dirty_regions
    return not (waiting or screen._layout_required)


def whole(drawings: list[int]) -> int:
    """How often all was drawn: numbers that change meanwhile are few cells."""
    return sum(1 for cells in drawings if cells >= 40 * 120)


@pytest.fixture
def drawings(monkeypatch) -> list[int]:
    """How many cells each drawing was about."""
    counted: list[int] = []
    real = Compositor.render_update

    def noted(self: Compositor, *args, **how):
        regions = list(self._dirty_regions)
        counted.append(sum(region.area for region in regions))
        return real(self, *args, **how)

    monkeypatch.setattr(Compositor, "render_update", noted)
    return counted


async def test_another_page_is_drawn_in_one_piece(desk, drawings) -> None:
    app, pilot, _ = desk
    counts = []
    for _ in range(TRIES):
        drawings.clear()
        await pilot.press("4")
        await until(pilot, lambda: shown(app, "partitions"), "partitions")
        counts.append(whole(drawings))
        await pilot.press("1")
        await until(pilot, lambda: shown(app, "overview"), "the overview")
    assert min(counts) == 1, counts


async def test_a_page_that_the_line_asked_for_is_drawn_with_the_end_of_the_line(
    desk, drawings
) -> None:
    app, pilot, _ = desk
    counts = []
    for _ in range(TRIES):
        await pilot.press("colon", *"topic", "space", *"orders")
        await until(pilot, lambda: app._bar.value == "topic orders" and drawn(app), "the words")
        drawings.clear()
        app.simulate_key("enter")
        async with asyncio.timeout(WAIT_S):
            while not (app.place.kind == "topic" and shown(app, "topic")):
                await asyncio.sleep(0.01)
        counts.append(whole(drawings))
        await pilot.press("1")
        await until(pilot, lambda: shown(app, "overview"), "the overview")
    assert min(counts) == 1, counts


async def test_what_comes_meanwhile_is_painted_between_keys_and_not_under_them(
    desk, monkeypatch
) -> None:
    app, pilot, cluster = desk
    paints = []
    real = app._paint
    monkeypatch.setattr(app, "_paint", lambda: (paints.append(app.is_answering()), real()))
    deadline = asyncio.get_running_loop().time() + WAIT_S
    keys, leader = 0, 1
    while len(paints) < 5 and asyncio.get_running_loop().time() < deadline:
        leader = 3 - leader
        cluster.change("orders", keys % 30, leader=leader)
        await cluster.tell()
        app.simulate_key("41"[keys % 2])
        keys += 1
        # As fast as a key that is held down comes.
        await asyncio.sleep(0.03)
    assert len(paints) == 5, f"painted {len(paints)} times in {WAIT_S} s of keys"
    assert not any(paints)
    await until(pilot, lambda: shown(app, app.place.kind), "the last page")


async def test_help_is_drawn_in_one_piece(desk, drawings) -> None:
    app, pilot, _ = desk
    counts = []
    for _ in range(TRIES):
        drawings.clear()
        app.simulate_key("question_mark")
        # A pilot that waits draws, too.
        async with asyncio.timeout(WAIT_S):
            while not (app.screen.query("#help") and whole(drawings) and drawn(app)):
                await asyncio.sleep(0.01)
        counts.append(whole(drawings))
        await pilot.press("escape")
        await until(pilot, lambda: len(app.screen_stack) == 1, "the page")
        await until(pilot, lambda: shown(app, "overview"), "the overview")
    assert min(counts) == 1, counts


async def test_the_page_under_a_dialog_that_closes_is_drawn_once(desk, drawings) -> None:
    app, pilot, _ = desk
    counts = []
    for _ in range(TRIES):
        await pilot.press("question_mark")
        await until(pilot, lambda: app.screen.query("#help") and drawn(app), "the help")
        helping = app.screen
        drawings.clear()
        await pilot.press("escape")
        await until(pilot, lambda each=helping: not each.is_running, "the end of the help")
        await until(pilot, lambda: shown(app, "overview"), "the overview")
        counts.append(whole(drawings))
    assert min(counts) == 1, counts


async def test_rows_of_a_page_that_comes_back_are_not_drawn_anew(desk, monkeypatch) -> None:
    app, pilot, _ = desk
    table = app._pages["partitions"].tables["partitions"]
    drawn = []
    real = table._row
    monkeypatch.setattr(table, "_row", lambda index: (drawn.append(index), real(index))[1])
    await pilot.press("4")
    await until(pilot, lambda: shown(app, "partitions"), "partitions")
    assert drawn == []
    await pilot.press("j")
    await until(pilot, lambda: drawn, "the cursor")
    assert {*drawn} == {0, 1}


async def test_one_table_of_a_page_looks_as_if_it_had_the_focus_and_has_it(desk) -> None:
    app, pilot, _ = desk
    overview = app.page

    def lit() -> list[str]:
        return [name for name, table in overview.tables.items() if table.is_lit]

    assert lit() == ["partitions"]
    await pilot.press("tab")
    await until(pilot, lambda: lit() == ["events"], "the next table")
    assert overview.tables["events"].has_class("-lit")
    await pilot.press("4")
    await until(pilot, lambda: shown(app, "partitions"), "partitions")
    assert app.page.tables["partitions"].is_lit
    await pilot.press("1")
    await until(pilot, lambda: shown(app, "overview"), "the overview")
    assert lit() == ["partitions"]
    border = overview.tables["partitions"].styles.border_top
    assert border != overview.tables["events"].styles.border_top
    await pilot.press("slash")
    await until(pilot, lambda: app._bar.has_focus, "the line")
    await until(pilot, lambda: lit() == [], "no table with the focus")
    await pilot.press("escape")
    await until(pilot, lambda: lit() == ["partitions"], "the table again")


async def test_a_page_that_comes_while_somebody_types_does_not_look_as_if_it_had_the_keys(
    desk,
) -> None:
    app, pilot, _ = desk
    partitions = app._pages["partitions"].tables["partitions"]
    assert partitions.is_lit, "as it was left"
    await pilot.press("slash")
    await until(pilot, lambda: app._bar.has_focus, "the line")
    app.action_page("partitions")
    await until(pilot, lambda: app.page.size.height > 0 and app.place.kind == "partitions", "it")
    await until(pilot, lambda: partitions.has_focus == partitions.is_lit, "who has the keys")


async def test_what_hides_a_page_leaves_its_size_known(desk) -> None:
    app, pilot, _ = desk
    overview = app.page
    rates, table = overview.texts["rates"], overview.tables["events"]
    before = rates.size, table.size
    assert before[0].width > 10
    await pilot.press("4")
    await until(pilot, lambda: shown(app, "partitions"), "partitions")
    assert (rates.size, table.size) == before
    await pilot.resize_terminal(200, 50)
    await pilot.press("1")
    await until(pilot, lambda: shown(app, "overview"), "the overview")
    await until(pilot, lambda: rates.size.width > before[0].width, "the new size")


async def test_work_in_slices_rests_while_a_key_is_answered(desk) -> None:
    app, _, _ = desk
    steps = []
    app.last_input_ms = 0
    assert app.key_first_s() == 0

    def work():
        for number in range(3):
            steps.append(app.key_first_s())
            yield number

    app.last_input_ms = monotonic_ms()
    assert app.key_first_s() > 0
    RESTING.set(app.key_first_s)
    await in_slices(work())
    assert steps == [0, 0, 0]


async def test_what_is_not_seen_does_not_wait_to_be_drawn(desk) -> None:
    app, pilot, _ = desk
    hidden = app._pages["partitions"].tables["partitions"]
    await until(pilot, lambda: drawn(app), "nothing that waits")
    app.screen._dirty_widgets.add(hidden)
    app.screen._on_timer_update()
    assert not app.screen._dirty_widgets
