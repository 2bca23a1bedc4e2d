"""Keys that come right after the one that closes a dialog are for the page, those before for it."""

from collections.abc import Callable, Sequence

import pytest
from textual.command import CommandPalette
from textual.widgets import Input

from tests.tui.piloting import together, until
from tui.action_screen import ActionScreen
from tui.help import HelpScreen
from tui.pages.base import Place
from tui.record_screens import ReadScreen, RecordScreen

RECORD = '{"topic": "orders", "partition": 0, "offset": %d, "key": "k", "value": "v%d"}'


class Reader:
    """Tells three records, and that all is well."""

    deploys = True

    def shown(self, words: Sequence[str]) -> str:
        return "logctl " + " ".join(words)

    async def run(self, words: Sequence[str], on_line: Callable[[str], None]) -> int:
        for offset in range(3):
            on_line(RECORD % (offset, offset))
        return 0


@pytest.fixture
async def desk(cluster, open_dashboard):
    app = open_dashboard(cluster, commander=Reader())
    async with app.run_test(size=(120, 40)) as pilot:
        await cluster.tell(replaying=True)
        await pilot.press("3")
        await until(pilot, lambda: "topics" in app.page.tables, "the page")
        await until(pilot, lambda: app.subject() is not None, "a cursor")
        await until(pilot, lambda: app.focused is app.page.tables["topics"], "the focus")
        yield app, pilot


async def opened(app, pilot, key: str, kind: type) -> None:
    await pilot.press(key)
    await until(pilot, lambda: isinstance(app.screen, kind), kind.__name__)
    await until(pilot, lambda: app.screen.is_mounted, "its parts")
    if kind is not HelpScreen and kind is not RecordScreen:
        await until(pilot, lambda: isinstance(app.focused, Input), "a field")


async def read(app, pilot) -> None:
    app.open_place(Place("records", "orders"))
    await until(pilot, lambda: len(app.page.tables["records"].shown) == 3, "records")
    app.set_focus(app.page.tables["records"])


@pytest.mark.parametrize(
    ("key", "kind", "closes"),
    [
        ("question_mark", HelpScreen, "escape"),
        ("question_mark", HelpScreen, "q"),
        ("question_mark", HelpScreen, "enter"),
        ("C", ActionScreen, "escape"),
        ("ctrl+p", CommandPalette, "escape"),
    ],
)
async def test_keys_right_after_a_dialog_are_for_the_page(desk, key, kind, closes) -> None:
    app, pilot = desk
    await opened(app, pilot, key, kind)
    together(app, [closes, "j", "j"])
    table = app.page.tables["topics"]
    await until(pilot, lambda: table._cursor == 1, "the cursor on the last of two topics")
    assert len(app.screen_stack) == 1, app.screen_stack
    await opened(app, pilot, key, kind)
    together(app, [closes, "4"])
    await until(pilot, lambda: app.place == Place("partitions"), "the page of the last key")
    assert len(app.screen_stack) == 1, app.screen_stack
    await opened(app, pilot, key, kind)
    together(app, [closes, "slash", *"r2"])
    await until(pilot, lambda: app._bar.display and app._bar.value == "r2", "the filter")


@pytest.mark.parametrize("closes", ["escape", "q", "enter"])
async def test_keys_right_after_a_record_are_for_the_page(desk, closes) -> None:
    app, pilot = desk
    await read(app, pilot)
    table = app.page.tables["records"]
    await pilot.press("g")
    await opened(app, pilot, "enter", RecordScreen)
    together(app, ["n", closes, "j"])
    await until(pilot, lambda: table._cursor == 2, "one down by each")
    assert len(app.screen_stack) == 1
    await opened(app, pilot, "f", ReadScreen)
    together(app, ["escape", "k"])
    await until(pilot, lambda: table._cursor == 1, "one up")
    assert app.place == Place("records", "orders")


async def test_keys_right_before_the_end_of_a_dialog_are_not_for_the_page(desk) -> None:
    app, pilot = desk
    table = app.page.tables["topics"]
    for key, kind, typed in (
        ("question_mark", HelpScreen, ["j", "G", "D", "4"]),
        ("C", ActionScreen, [*"D4j", "tab", *"3"]),
        ("D", ActionScreen, [*"D4j"]),
        ("ctrl+p", CommandPalette, [*"D4j"]),
    ):
        await opened(app, pilot, key, kind)
        together(app, [*typed, "escape"])
        await until(pilot, lambda: len(app.screen_stack) == 1, "the page")
        # All that is on its way has arrived once these have.
        together(app, ["j", "k"])
        for _ in range(5):
            await pilot.pause()
        assert app.place == Place("topics")
        assert table._cursor == 0
        assert len(app.screen_stack) == 1
