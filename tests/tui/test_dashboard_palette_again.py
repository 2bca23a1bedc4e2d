"""The palette is kept from one time to the next, and looks and lists as if it were new."""

from textual.command import CommandInput, CommandList

from tests.tui.bench import Clerk
from tests.tui.piloting import until
from tui.app import DashboardApp
from tui.dialog import Palette
from tui.preferences import LIGHT


def listed(app: DashboardApp) -> list[str]:
    """What the palette lists, and what each is about."""
    options = app.screen.query_one(CommandList).options
    return [str(each.prompt) for each in options]


async def opened(app: DashboardApp, pilot) -> list[str]:
    await pilot.press("ctrl+p")
    await until(
        pilot,
        lambda: isinstance(app.screen, Palette) and not app.screen._searches() and listed(app),
        "the palette",
    )
    return listed(app)


async def left(app: DashboardApp, pilot, *keys: str) -> None:
    await pilot.press(*keys)
    await until(pilot, lambda: len(app.screen_stack) == 1, "the palette is gone")


async def test_it_lists_what_can_be_done_now_with_nothing_typed(cluster_class) -> None:
    cluster = cluster_class()
    cluster.create_topic("orders", 3)
    app = DashboardApp(["127.0.0.1:1"], feed=cluster, kinds=cluster.kinds(), commander=Clerk())
    async with app.run_test(size=(120, 40)) as pilot:
        await cluster.tell(replaying=True)
        await pilot.press("2")
        await until(pilot, lambda: app.subject() is not None, "a cursor")
        first = await opened(app, pilot)
        palette = app.screen
        assert any("Stop broker 1" in each for each in first)
        await pilot.press(*"quor")
        await until(pilot, lambda: len(listed(app)) < len(first), "fewer commands")
        await left(app, pilot, "escape")
        await pilot.press("3")
        await until(pilot, lambda: str(app.subject()) == "orders", "the cursor on a topic")
        second = await opened(app, pilot)
        assert app.screen is palette
        assert app.screen.query_one(CommandInput).value == ""
        assert not any("Stop broker 1" in each for each in second)
        assert any("Delete topic orders" in each for each in second)
        assert app.screen.query_one(CommandList).highlighted == 0
        await pilot.press(*"quorum")
        await until(pilot, lambda: "Quorum" in listed(app)[0], "the page of the quorum")
        await pilot.press("enter")
        await until(pilot, lambda: app.place.kind == "quorum", "the page of the quorum")
        assert len(app.screen_stack) == 1
        assert await opened(app, pilot) != second
        assert app.screen.query_one(CommandInput).value == ""


async def test_what_is_typed_at_once_after_it_was_opened_again_is_not_lost(cluster_class) -> None:
    cluster = cluster_class()
    app = DashboardApp(["127.0.0.1:1"], feed=cluster, kinds=cluster.kinds())
    async with app.run_test(size=(120, 40)) as pilot:
        await cluster.tell(replaying=True)
        await opened(app, pilot)
        await left(app, pilot, "x", "escape")
        await pilot.press("ctrl+p", *"events", "enter")
        await until(pilot, lambda: app.place.kind == "events", "the page of events")


async def test_made_ahead_it_has_the_theme_that_was_chosen_before_it_is_opened(
    cluster_class,
) -> None:
    cluster = cluster_class()
    app = DashboardApp(["127.0.0.1:1"], feed=cluster, kinds=cluster.kinds())
    async with app.run_test(size=(120, 40)) as pilot:
        await cluster.tell(replaying=True)
        await until(pilot, lambda: app.is_screen_installed("palette"), "the palette is made")
        await until(pilot, lambda: not any(w.group == "ready" for w in app.workers), "all is read")
        dark = app.get_screen("palette").query_one("#--container").styles.background
        await pilot.press("T")
        await until(pilot, lambda: app.theme == LIGHT.name, "the light theme")
        await opened(app, pilot)
        await until(
            pilot,
            lambda: app.screen.query_one("#--container").styles.background != dark,
            "the colours of the light theme",
        )


async def test_it_has_the_theme_that_was_chosen_meanwhile(cluster_class) -> None:
    cluster = cluster_class()
    app = DashboardApp(["127.0.0.1:1"], feed=cluster, kinds=cluster.kinds())
    async with app.run_test(size=(120, 40)) as pilot:
        await cluster.tell(replaying=True)
        await opened(app, pilot)
        dark = app.screen.query_one("#--container").styles.background
        await left(app, pilot, "escape")
        await pilot.press("T")
        await until(pilot, lambda: app.theme == LIGHT.name, "the light theme")
        await opened(app, pilot)
        await until(
            pilot,
            lambda: app.screen.query_one("#--container").styles.background != dark,
            "the colours of the light theme",
        )
