"""What a mouse does, and the palette: the same as keys."""

from collections.abc import Callable

from textual.command import CommandPalette
from textual.widgets import Input, OptionList, Static

from tests.tui.bench import MANY, Bench
from tests.tui.piloting import STEP_S, WAIT_S
from tui.action_screen import ActionScreen
from tui.help import HelpScreen
from tui.pages.base import Place

AGAIN_STEPS = 50


async def test_a_mouse_does_what_keys_do(bench: Bench) -> None:
    app, click = bench.app, bench.pilot.click

    async def click_word(line: str, word: str, seen: Callable[[], bool]) -> None:
        """Click on a word of a line: again where it moved, or a dialog was just closing there."""
        clicked = -1
        for step in range(int(WAIT_S / STEP_S)):
            if seen():
                return
            at = bench.line(line).find(word)
            if at >= 0 and (at != clicked or step % AGAIN_STEPS == 0):
                clicked = at
                assert await click(f"#{line}", offset=(at + 1, 0))
            await bench.pilot.pause(STEP_S)
        raise AssertionError(f"nothing came of a click on {word}")

    table = await bench.at("topics")
    first = table.render_line(0).text
    where = first.index("topic") + 2, 1
    assert await click(table, offset=where)
    await bench.until(lambda: "▼" in table.render_line(0).text, "the order of the title")
    assert table.cursor_row.name == "orders"
    assert table.shown[0].name == f"t-{MANY - 1:03}"
    assert await click(table, offset=where)
    await bench.until(lambda: table.render_line(0).text == first, "the order as before")
    # A click puts the cursor there, for keys that are about a row; another opens it.
    assert await click(table, offset=(10, 3))
    await bench.until(lambda: table.cursor_row.name == "signups", "the cursor on the row")
    assert app.place == Place("topics")
    assert await click(table, offset=(10, 3))
    await bench.until(lambda: app.place == Place("topic", "signups"), "the topic of the row")
    await click_word("tabs", "5 Groups", lambda: app.place == Place("groups"))
    await bench.at("topics")
    await click_word("keys", "Help", lambda: isinstance(app.screen, HelpScreen))
    await bench.screen(HelpScreen)
    assert await click(offset=(2, 20))
    await bench.closed()
    await click_word("keys", "Create topic", lambda: isinstance(app.screen, ActionScreen))
    await bench.screen(ActionScreen)
    await bench.press("escape")
    await bench.closed()
    table = await bench.at("partitions")
    await click_word("keys", "Offline", lambda: table.is_narrowed)


async def test_the_palette_lists_pages_and_actions(bench: Bench) -> None:
    await bench.at("topics")
    await bench.press("ctrl+p")
    palette = await bench.screen(CommandPalette)
    palette.query_one(Input).value = "Delete topic orders"
    found = palette.query_one(OptionList)
    await bench.until(lambda: found.option_count > 0, "what was looked for")
    await bench.until(lambda: found.highlighted is not None, "the first of it")
    await bench.press("enter")
    screen = await bench.screen(ActionScreen)
    assert "topic delete orders" in str(screen.query_one("#action-command", Static).content)
    await bench.press("escape")
    await bench.closed()
