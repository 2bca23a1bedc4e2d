"""Keys that come in one piece act as if they had been typed one by one, whatever they are."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from textual._xterm_parser import XTermParser
from textual.widgets import Input

from tests.tui.piloting import until
from tui.action_screen import ActionScreen
from tui.app import DashboardApp
from tui.status import keys_text

# As a terminal sends them; Escape as Kitty's protocol has it, for else it is Alt with the next.
ESCAPE, UP, DOWN, SHIFT_TAB, PAGE_DOWN = "\x1b[27u", "\x1b[A", "\x1b[B", "\x1b[Z", "\x1b[6~"
KEYS = [
    *"jjjkGg1234567/:?sSvyCDMEUAXT orde!.",
    *("\r", "\r", "\t", "\x7f", "\x04", "\x10", ESCAPE, ESCAPE, UP, DOWN, SHIFT_TAB, PAGE_DOWN),
]
WORDS = [["/", *"ord"], [":", *"topic orders", "\r"], [":", *"groups", "\r"], ["C", *"new", "\t"]]
TYPED = st.lists(st.one_of(st.sampled_from(KEYS).map(lambda key: [key]), st.sampled_from(WORDS)),
                 min_size=2, max_size=8)  # fmt: skip


class Slow:
    """Never done with what it is given, so that no answer can come in between."""

    deploys = True

    def shown(self, words: Sequence[str]) -> str:
        return "logctl " + " ".join(words)

    async def run(self, words: Sequence[str], on_line: Callable[[str], None]) -> int:
        await asyncio.Event().wait()
        return 0


def send(app: DashboardApp, piece: str) -> None:
    """Give it to the application as the reader of a terminal does."""
    for event in XTermParser().feed(piece):
        app._driver.process_message(event)


def state(app: DashboardApp) -> dict[str, Any]:
    """All that a person can tell apart."""
    screen = app.screen
    told: dict[str, Any] = {
        "place": app.place,
        "dialogs": [type(each).__name__ for each in app.screen_stack[1:]],
        "focus": app.focused.id if app.focused is not None else None,
        "line": app._bar.value if app._bar.display else None,
        "words": {each.id: each.value for each in screen.query(Input) if each is not app._bar},
        "theme": app.theme,
    }
    for id_, page in app._pages.items():
        for name, table in page.tables.items():
            row = table.cursor_row
            told[f"{id_} {name}"] = (
                None if row is None else table._key(row),
                table.filter_text,
                table.is_narrowed,
                (table.sort_column, table.sort_reverse),
            )
    if isinstance(screen, ActionScreen):
        told["dialog"] = (screen.phase, screen.words)
    return told


async def typed(app: DashboardApp, pieces: Sequence[str], tell: Callable[[], Any]) -> Any:
    """The state after these pieces, each sent once all of the one before is done with."""
    async with app.run_test(size=(120, 40)) as pilot:
        await tell()
        await until(pilot, lambda: app.store.view.topics and app.page.is_mounted, "the cluster")
        await until(pilot, lambda: app.focused is not None, "the page")
        for piece in pieces:
            send(app, piece)
            last = None
            await pilot.pause()
            # What waits for a palette that still searches is not done with either.
            while last != (last := (state(app), app.ahead.awaits, len(app.ahead.held))) or any(
                last[1:]
            ):
                await pilot.pause(0.005)
        return last[0]


@pytest.fixture(scope="module")
def both(cluster_class):
    """Type the keys into two dashboards: in one piece, and one by one."""

    def make() -> tuple[DashboardApp, Callable[[], Any]]:
        cluster = cluster_class()
        cluster.create_topic("orders", 6)
        cluster.create_topic("signups", 3)
        app = DashboardApp(["127.0.0.1:1"], feed=cluster, kinds=cluster.kinds(), name="here",
                           commander=Slow(), now_ms=lambda: 60_000,
                           wall_ms=lambda: cluster.now_ms)  # fmt: skip
        return app, lambda: cluster.tell(replaying=True)

    async def run(keys: Sequence[str]) -> tuple[Any, Any]:
        (app, tell), (other, tell_other) = make(), make()
        return await typed(app, ["".join(keys)], tell), await typed(other, keys, tell_other)

    return lambda keys: asyncio.run(run(keys))


@settings(max_examples=3, deadline=None, phases=[Phase.explicit, Phase.generate],
          suppress_health_check=[HealthCheck.function_scoped_fixture])  # fmt: skip
@given(TYPED)
@example([[*"3jj4"]])
@example([[*"4jjj3jD", ESCAPE, *"jjjG4"]])
@example([[*"4jj:topic orders\rjj", "\x7f", *"k"]])
@example([[*"3jC", *"D4:/", "\t", *"12", ESCAPE, "j"]])
@example([["\x10", *"groups", "\r", "3", "j"]])
@example([[*"4jj/orders", "\r", *"jG", "\r", "j"]])
@example([["\x10", *"5:groups", "\r", *"/ordX"]])
def test_one_piece_is_as_one_by_one(both, parts) -> None:
    keys = [key for part in parts for key in part]
    at_once, slowly = both(keys)
    assert at_once == slowly


def click(app: DashboardApp, line: str, word: str) -> str:
    """What a terminal sends for a click on a word."""
    widget = app.screen.query_one(line)
    region = widget.content_region
    lines = widget.render_lines(widget.size.region)
    for row, strip in enumerate(lines):
        if (at := strip.text.find(word)) >= 0:
            where = f"0;{region.x + at + 2};{region.y + row + 1}"
            return f"\x1b[<{where}M\x1b[<{where}m"
    raise AssertionError(f"{word} is not in {[strip.text for strip in lines]}")


def last_line(app: DashboardApp) -> str:
    """The line of keys, "" while another is about to take its place."""
    drawn = str(app._keys.content)
    return drawn if drawn == str(keys_text(tuple(app._shown_keys()), app.size.width)) else ""


BESIDE = "\x1b[<0;2;20M\x1b[<0;2;20m"


@pytest.fixture
async def topics(cluster, open_dashboard):
    """The page of the topics, as wide as all its keys."""
    app = open_dashboard(cluster, commander=Slow())
    async with app.run_test(size=(220, 40)) as pilot:
        await cluster.tell(replaying=True)
        await pilot.press("3")
        await until(pilot, lambda: app.subject() is not None, "a topic")
        await until(pilot, lambda: "Delete" in str(app._keys.content), "what can be done with it")
        yield app, pilot


async def test_a_click_right_behind_the_key_that_closes_a_dialog(topics) -> None:
    app, pilot = topics
    tab = click(app, "#tabs", "4 Part")
    await pilot.press("question_mark")
    send(app, f"{ESCAPE}{tab}jj")
    rows = await until_table(app, pilot, "partitions")
    await until(pilot, lambda: rows.cursor_row.partition == 2, "two down")
    await until(pilot, lambda: "Produce" in last_line(app), "what can be done")
    produce = click(app, "#keys", "Produce")
    await pilot.press("question_mark")
    send(app, f"{BESIDE}{produce}D4/new\tj")
    await until(pilot, lambda: isinstance(app.screen, ActionScreen), "the dialog of the click")
    await until(pilot, lambda: isinstance(app.focused, Input), "its fields")
    box = app.screen.query_one("#field-value", Input)
    await until(pilot, lambda: box.value == "D4/new", "what was typed behind the click")
    key = app.screen.query_one("#field-key", Input)
    await until(pilot, lambda: key.value == "j", "what was typed into the next field")


async def test_the_line_of_keys_stays_where_it_is_under_a_dialog(topics) -> None:
    app, pilot = topics
    await until(pilot, lambda: "Filter" in last_line(app), "what can be done")
    before = str(app._keys.content)
    await pilot.press("question_mark")
    await until(pilot, lambda: len(app.screen_stack) == 2, "the help")
    app._tick()
    assert str(app._keys.content) == before


async def test_a_key_right_behind_the_click_that_closes_a_dialog(topics) -> None:
    app, pilot = topics
    await pilot.press("C")
    await until(pilot, lambda: isinstance(app.focused, Input), "the dialog")
    leaves = click(app, "#action-hint", "leaves")
    send(app, f"abc{leaves}jG4j")
    rows = await until_table(app, pilot, "partitions")
    await until(pilot, lambda: rows.cursor_row.partition == 1, "one down")
    assert app._pages["topics"].tables["topics"].cursor_row.name == "signups"
    assert len(app.screen_stack) == 1


async def until_table(app, pilot, name: str) -> Any:
    await until(pilot, lambda: name in app.page.tables, f"the page {name}")
    await until(pilot, lambda: app.page.tables[name].cursor_row is not None, "its rows")
    return app.page.tables[name]


async def test_the_second_of_two_clicks_is_no_answer_to_what_the_first_brought(topics) -> None:
    class Quick(Slow):
        async def run(self, words: Sequence[str], on_line: Callable[[str], None]) -> int:
            ran.append(list(words))
            return 0

    app, pilot = topics
    ran: list[list[str]] = []
    app.commander = Quick()
    await pilot.press("C")
    await until(pilot, lambda: isinstance(app.focused, Input), "the dialog")
    send(app, "new")
    await until(pilot, lambda: app.screen.words[2] == "new", "its name")
    hint = app.screen.query_one("#action-hint")
    twice = click(app, "#action-hint", "shows") * 2
    send(app, twice)
    await until(pilot, lambda: "does it" in str(hint.content), "the question")
    await until(pilot, lambda: not app.ahead.held and not app.ahead.awaits, "all of the clicks")
    assert ran == [["topic", "create", "new", "--dry-run"]]
