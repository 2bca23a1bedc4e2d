"""A key that is held down agrees to nothing: not by its repeats, not by the first of them either."""

import asyncio
import os
import select
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual import events

from tests.tui.piloting import Clerk, until
from tests.tui.test_dashboard_terminal import Terminal, dashboard
from tui.action_screen import ActionScreen, Phase
from tui.done import DoneLog
from tui.pressing import DELAY_S, LATE_S, REPEAT_S, Press, Presses

# As terminals send a key that is held: seconds until the first repeat, and between repeats.
SLOWEST, FASTEST = (1.0, 0.1), (0.2, 0.02)


def held(delay_s: float, every_s: float, repeats: int = 30, at_s: float = 10.0) -> list[float]:
    return [at_s, *(at_s + delay_s + every_s * number for number in range(repeats))]


def pressed(times: list[float], presses: Presses | None = None) -> list[Press]:
    presses = presses or Presses()
    return [presses.note("enter", at_s) for at_s in times]


@pytest.mark.parametrize("keyboard", [SLOWEST, FASTEST, (0.5, 0.033), (0.66, 0.04), (0.25, 0.092)])
def test_a_held_key_is_one_press(keyboard) -> None:
    found = pressed(held(*keyboard))
    assert {press.down_s for press in found} == {10.0}
    assert [press.is_repeat for press in found] == [False] + [True] * 30


@given(st.floats(0.2, 1.0), st.floats(0.02, 0.1), st.lists(st.floats(0, 0.2), max_size=20))
def test_a_line_that_delays_keys_makes_no_fresh_press_of_them(delay_s, every_s, late) -> None:
    """What comes late brings what waited behind it along: order stays, gaps grow and shrink."""
    presses, now_s, came = Presses(), 0.0, []
    for number, at_s in enumerate(held(delay_s, every_s)):
        slow_s = late[number % len(late)] if late and number > 2 else 0.0
        now_s = max(now_s, at_s + slow_s)
        came.append(presses.note("enter", now_s))
    assert {press.down_s for press in came} == {10.0}


def settled_s(presses: Presses, press: Press) -> float:
    """How long after it came it is known what it is, asked every 20 ms."""
    for step in range(100):
        if presses.is_settled(press, press.at_s + step * 0.02):
            return step * 0.02
    raise AssertionError("never")


def test_the_first_repeat_is_open_until_the_second_would_be_due() -> None:
    presses = Presses()
    presses.note("enter", 1.0)
    second = presses.note("enter", 1.5)
    assert not presses.is_settled(second, 1.5)
    assert second.since_s == 1.0
    presses.note("enter", 1.53)
    assert second.is_repeat
    assert second.since_s == second.down_s == 1.0
    assert presses.is_settled(second, 1.53)


def test_nothing_is_settled_while_what_came_may_not_be_noted_yet() -> None:
    presses = Presses()
    presses.note("enter", 1.0)
    second = presses.note("enter", 1.5)
    assert not presses.is_settled(second, 1.5 + 3 * REPEAT_S)
    presses.note("enter", 1.53)
    assert second.down_s == 1.0


def test_a_press_after_a_pause_or_another_key_is_fresh_at_once() -> None:
    presses = Presses()
    presses.note("enter", 1.0)
    later = presses.note("enter", 1.0 + DELAY_S + 0.1)
    presses.note("down", later.at_s + 0.05)
    between = presses.note("enter", later.at_s + 0.1)
    for press in (later, between):
        assert not press.is_repeat
        assert press.since_s == press.at_s
        assert settled_s(presses, press) == 0


def test_who_lets_go_and_presses_anew_is_understood() -> None:
    presses = Presses()
    last = pressed(held(0.5, 0.033), presses)[-1]
    anew = presses.note("enter", last.at_s + LATE_S + 0.05)
    assert 0 < settled_s(presses, anew) < 2 * REPEAT_S
    assert anew.since_s == anew.at_s


def test_only_what_came_is_found() -> None:
    presses = Presses()
    press = presses.note("enter", 1.0)
    assert presses.find("enter", 1.0) is press
    assert presses.find("enter", 2.0) is None
    assert presses.find("f9", 1.0) is None


# -- in the dashboard


@pytest.fixture
def clerk() -> Clerk:
    return Clerk()


@pytest.fixture
async def desk(cluster, open_dashboard, clerk):
    app = open_dashboard(cluster, commander=clerk, fingers=True)
    async with app.run_test(size=(120, 40)) as pilot:
        await cluster.tell(replaying=True)
        await until(pilot, lambda: bool(app.store.view.topics), "the cluster")
        yield app, pilot


def enter(app, at_s: float) -> None:
    event = events.Key("enter", "\r")
    event.time = at_s
    app.post_message(event)


async def breathe(pilot, seconds: float) -> None:
    """Let go of a key for so long."""
    end_s = time.monotonic() + seconds
    await until(pilot, lambda: time.monotonic() > end_s, "a breath")


async def hold_enter(app, delay_s: float, every_s: float, seconds: float) -> None:
    """What a terminal sends while Enter is down; its reader is on time, however busy the loop."""
    for at_s in held(delay_s, every_s, int((seconds - delay_s) / every_s), time.monotonic()):
        await asyncio.sleep(at_s - time.monotonic())
        enter(app, at_s)


async def question(app, pilot) -> ActionScreen:
    await until(pilot, lambda: isinstance(app.screen, ActionScreen), "the dialog")
    await until(pilot, lambda: app.screen.phase is Phase.AGREEING, "the question")
    await until(pilot, lambda: app.screen._seen_s is not None, "the question is seen")
    return app.screen


def told(app) -> list[str]:
    return [note.message for note in app._notifications]


async def test_enter_held_from_the_line_of_commands_on_agrees_to_nothing(desk, clerk) -> None:
    """It says why, once; a press after it was let go of agrees."""
    app, pilot = desk
    await pilot.press(":", *"elect-all")
    await hold_enter(app, 0.25, 0.033, 1.0)
    screen = await question(app, pilot)
    await until(pilot, lambda: not app.ahead.held, "all keys")
    assert clerk.ran == [["partition", "elect", "--dry-run"]]
    assert screen.phase is Phase.AGREEING
    assert len([each for each in told(app) if each.startswith("Not done")]) == 1
    await breathe(pilot, LATE_S)
    await pilot.press("enter")
    await until(pilot, lambda: len(clerk.ran) == 2, "it was agreed to")
    assert clerk.ran[1] == ["partition", "elect", "--yes"]


async def test_a_fresh_press_agrees_once_however_long_it_is_held(desk, clerk) -> None:
    """What came of it stays on the screen, and no row is opened below it."""
    app, pilot = desk
    await pilot.press("3")
    await until(pilot, lambda: app.subject() is not None, "a topic")
    await pilot.press("E")
    screen = await question(app, pilot)
    await hold_enter(app, 0.25, 0.033, 0.8)
    await until(pilot, lambda: not app.ahead.held, "all keys")
    elect = ["partition", "elect", "orders"]
    assert clerk.ran == [[*elect, "--dry-run"], [*elect, "--yes"]]
    assert app.screen is screen
    assert screen.phase is Phase.DONE


async def test_enter_and_enter_again_after_the_question_does_it(desk, clerk) -> None:
    """As somebody presses who knows what comes; only the wait for a repeat lies between."""
    app, pilot = desk
    await pilot.press(":", *"elect-all", "enter")
    await question(app, pilot)
    await breathe(pilot, REPEAT_S)
    await pilot.press("enter")
    await until(pilot, lambda: len(clerk.ran) == 2, "it was agreed to")


async def test_who_lets_go_closes_it_and_goes_on(desk, clerk) -> None:
    """A press after that closes what was done, and the key after it is for the page."""
    app, pilot = desk
    await pilot.press("E")
    screen = await question(app, pilot)
    await hold_enter(app, 0.25, 0.033, 0.8)
    await until(pilot, lambda: not app.ahead.held, "all keys")
    assert screen.phase is Phase.DONE
    await breathe(pilot, LATE_S)
    enter(app, time.monotonic())
    await until(pilot, lambda: app.screen is not screen, "it closes")
    await pilot.press("h")
    await until(pilot, lambda: app.place.kind == "commands", "the page")


async def test_a_key_that_saves_saves_no_hundred_files(desk, monkeypatch, tmp_path) -> None:
    """The press and, before it is known what it is, its first repeat."""
    app, pilot = desk
    monkeypatch.chdir(tmp_path)
    saved = []
    monkeypatch.setattr(app, "action_picture", lambda: saved.append(1))
    for at_s in held(0.25, 0.033, 20, time.monotonic() - 1.0):
        event = events.Key("ctrl+s", None)
        event.time = at_s
        app.post_message(event)
    await until(pilot, lambda: not app.message_queue_size and not app.ahead.awaits, "all keys")
    assert 1 <= len(saved) <= 2


async def test_letters_that_are_held_are_typed(desk) -> None:
    app, pilot = desk
    await pilot.press("slash")
    for at_s in held(0.25, 0.033, 8, time.monotonic() - 1.0):
        event = events.Key("n", "n")
        event.time = at_s
        app.post_message(event)
    await until(pilot, lambda: app._bar.value == "n" * 9, "all of them")


# -- in a terminal


def hold(terminal: Terminal, delay_s: float, every_s: float, seconds: float) -> None:
    """Send Enter as a keyboard does, and read meanwhile what is drawn."""
    for at_s in held(delay_s, every_s, int((seconds - delay_s) / every_s), time.monotonic()):
        rest(terminal, at_s)
        terminal.send(b"\r")


def rest(terminal: Terminal, until_s: float) -> None:
    while (left_s := until_s - time.monotonic()) > 0:
        if select.select([terminal.master], [], [], left_s)[0]:
            terminal.output += os.read(terminal.master, 65_536)


# Commands that a cluster would answer at once, and the one that changes something never ends.
CLERK = """
import asyncio
from shell.commander import ProcessCommander

async def run(self, words, on_line):
    on_line("3 leaders would move.")
    if "--dry-run" not in words:
        await asyncio.Event().wait()
    return 0

ProcessCommander.run = run
"""


def test_enter_that_is_held_in_a_terminal_agrees_to_nothing(tmp_path) -> None:
    log = DoneLog(str(tmp_path / "STATE" / "logctl" / "dashboard-commands.jsonl"))
    with dashboard(tmp_path, {}, fault=CLERK) as terminal:

        def seen(what: str) -> None:
            terminal.read_until(lambda: what in terminal.words, what)

        seen("LOST")
        terminal.send(b":elect-all")
        seen("elect-all")
        hold(terminal, 0.25, 0.033, 1.2)
        seen("Enter does it")
        seen("was down since before")
        assert log.entries() == []
        rest(terminal, time.monotonic() + LATE_S + 0.05)
        terminal.send(b"\r")
        seen("under way")
        terminal.send(b"\x03")
        terminal.read_until(lambda: [each.ended for each in log.entries()] == ["interrupted"], "it")
