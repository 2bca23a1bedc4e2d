"""What is typed faster than dialogs open, or a slow line brings in one piece, arrives in order."""

import pytest
from textual.widgets import Input

from tests.tui.piloting import Clerk, together, until
from tui.action_screen import ActionScreen, Phase
from tui.pages.base import Place
from tui.record_screens import ReadScreen


@pytest.fixture
def clerk() -> Clerk:
    return Clerk()


@pytest.fixture
async def desk(cluster, open_dashboard, clerk):
    app = open_dashboard(cluster, commander=clerk)
    async with app.run_test(size=(120, 40)) as pilot:
        await cluster.tell(replaying=True)
        await pilot.press("3")
        await until(pilot, lambda: "topics" in app.page.tables, "the page")
        await until(pilot, lambda: app.subject() is not None, "a cursor")
        yield app, pilot


async def dialog(app, pilot) -> ActionScreen:
    await until(pilot, lambda: isinstance(app.screen, ActionScreen), "a dialog")
    return app.screen


async def test_a_slip_is_mended_where_it_was_made(desk, clerk) -> None:
    app, pilot = desk
    await pilot.press("C")
    screen = await dialog(app, pilot)
    await until(pilot, lambda: isinstance(app.focused, Input), "a field")
    together(app, [*"ordrs", "backspace", "backspace", *"ers", "tab", *"13", "backspace", "2"])
    together(app, ["home", "delete", "4", "enter"])
    await until(pilot, lambda: screen.phase is Phase.AGREEING, "what it would do")
    assert clerk.ran == [["topic", "create", "orders", "--partitions", "42", "--dry-run"]]


async def test_letters_after_the_key_of_an_action_are_for_its_first_field(desk, clerk) -> None:
    """Among them are keys of the page and of other actions: 2 opens brokers, D deletes."""
    app, pilot = desk
    together(app, ["C", *"D2sX", "backspace", "q", "tab", "7", "enter"])
    screen = await dialog(app, pilot)
    await until(pilot, lambda: screen.phase is Phase.AGREEING, "what it would do")
    assert clerk.ran == [["topic", "create", "D2sq", "--partitions", "7", "--dry-run"]]
    assert app.place == Place("topics")
    assert len(app.screen_stack) == 2


async def test_what_is_typed_before_a_question_was_seen_answers_nothing(desk, clerk) -> None:
    app, pilot = desk
    name = app.subject().name
    together(app, ["D", *name, "enter"])
    screen = await dialog(app, pilot)
    await until(pilot, lambda: screen.phase is Phase.AGREEING, "what it would do")
    assert screen.query_one("#action-typed", Input).value == ""
    assert clerk.ran == [["topic", "delete", name, "--dry-run"]]


async def test_stopping_a_broker_waits_for_an_enter_after_the_question(desk, clerk) -> None:
    app, pilot = desk
    await pilot.press("2")
    await until(pilot, lambda: app.subject() is not None and app.subject().kind == "broker", "row")
    together(app, ["X", "enter"])
    screen = await dialog(app, pilot)
    await until(pilot, lambda: screen.phase is Phase.AGREEING, "the question")
    await pilot.pause()
    assert clerk.ran == [["broker", "stop", "1", "--dry-run"]]


async def test_enter_reads_with_all_that_was_typed(desk, clerk) -> None:
    app, pilot = desk
    app.open_place(Place("records", "orders"))
    await until(pilot, lambda: bool(clerk.ran), "reading")
    await pilot.press("f")
    await until(pilot, lambda: isinstance(app.screen, ReadScreen), "the questions")
    await until(pilot, lambda: isinstance(app.focused, Input), "a field")
    together(app, ["ctrl+u", *"1505", "backspace", "0", "enter"])
    await until(pilot, lambda: len(clerk.ran) > 1, "reading anew")
    assert clerk.ran[-1][-2:] == ["--from", "1500"]
