"""Every key of the dashboard: what is seen after it is pressed. A new key has no entry, and fails.

The keys are read from the application: its own, those of its tables, pages and dialogs.
"""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from textual.command import CommandPalette
from textual.screen import Screen
from textual.widgets import Input, Static

from clusters.admin import ConfigEntry
from clusters.watch import EventKind
from tests.tui.bench import MANY, Bench, Check, keys_of_the_application
from tests.tui.piloting import STEP_S
from tui.action_screen import ActionScreen
from tui.help import HelpScreen
from tui.pages import MAIN_PAGES
from tui.pages.base import Place
from tui.record_screens import ReadScreen, RecordScreen
from tui.status import guide_text

START = 60

# -- everywhere


async def helps(b: Bench, key: str) -> None:
    await b.at("topics")
    await b.press(key)
    text = str((await b.screen(HelpScreen)).query_one(Static).content)
    assert text.startswith("Topics\n")
    await b.press("escape")
    await b.closed()


async def opens_the_line(b: Bench, key: str) -> None:
    await b.at("topics")
    bar = b.app.query_one("#bar", Input)
    assert not bar.display
    await b.press(key)
    assert bar.display
    assert b.app.focused is bar
    assert bar.placeholder.startswith({"slash": "/", "colon": ":"}[key])
    await b.press("escape")
    assert not bar.display


async def filters(b: Bench, key: str) -> None:
    await opens_the_line(b, key)
    table = await b.at("topics")
    await b.press(key, *"t-11", "enter")
    assert [row.name for row in table.shown] == [f"t-{n}" for n in range(110, 120)]
    assert "10 of 122" in str(table.border_title)
    await b.press("escape")
    assert len(table.shown) == MANY + 2


async def goes(b: Bench, key: str) -> None:
    await opens_the_line(b, key)
    await b.press(key, *"broker 2", "enter")
    assert b.app.place == Place("broker", "2")
    assert "» broker 2" in b.line("tabs")


async def reads_records(b: Bench, key: str) -> None:
    await b.at("topics")
    await b.press(key)
    assert b.app.place == Place("records", "orders")
    await b.until(lambda: b.clerk.ran[-1:] != [] and b.clerk.ran[-1][0] == "tail", "the reader")
    await b.press("escape")
    assert b.app.place == Place("topics")


async def sorts(b: Bench, key: str) -> None:
    table = await b.at("topics")
    before = table.render_line(0).text
    await b.press(key)
    after = table.render_line(0).text
    assert before.index("▲") < after.index("▲")
    table.sort_by(0)
    assert table.render_line(0).text == before


async def reverses(b: Bench, key: str) -> None:
    table = await b.at("topics")
    names = [row.name for row in table.shown]
    await b.press(key)
    assert [row.name for row in table.shown] == names[::-1]
    assert "▼" in table.render_line(0).text
    await b.press(key)
    assert [row.name for row in table.shown] == names


async def next_panel(b: Bench, key: str) -> None:
    table = await b.at("overview")
    await b.press(key)
    other = b.app.focused
    assert other is not table
    assert other in b.app.page.tables.values()
    await b.press("shift+tab")
    assert b.app.focused is table


async def opens_a_page(b: Bench, key: str) -> None:
    kind, page = [*MAIN_PAGES.items()][int(key) - 1]
    await b.at("events" if kind != "events" else "topics")
    await b.press(key)
    assert b.app.place == Place(kind)
    assert b.app.page.display
    where = b.line("tabs").index(f"{key} {page.TITLE}")
    tabs = b.app.query_one("#tabs", Static).content
    assert [s for s in tabs.spans if s.start <= where < s.end and "reverse" in str(s.style)]


async def goes_back(b: Bench, key: str) -> None:
    await b.at("topics")
    await b.at("topic", "signups")
    await b.press(key)
    assert b.app.place == Place("topics")


async def copies_the_name(b: Bench, key: str) -> None:
    await b.at("topics")
    await b.press(key)
    assert b.osc_52()[-1] == "orders"
    assert b.told() == "copied orders"


async def copies_the_row(b: Bench, key: str) -> None:
    await b.at("topics")
    await b.press(key)
    assert json.loads(b.osc_52()[-1])["name"] == "orders"


async def asks_again(b: Bench, key: str) -> None:
    await b.at("quorum")
    await b.until(lambda: b.asked > 0, "the first question")
    before = b.asked
    await b.pilot.pause(STEP_S)
    assert b.asked == before
    await b.press(key)
    await b.until(lambda: b.asked == before + 1, "the question again")


async def changes_the_theme(b: Bench, key: str) -> None:
    before = b.app.theme, b.app.screen.styles.background
    await b.press(key)
    assert b.app.theme != before[0]
    assert b.app.screen.styles.background != before[1]
    await b.press(key)
    assert (b.app.theme, b.app.screen.styles.background) == before


async def tells_the_next_step(b: Bench, key: str) -> None:
    assert "Broker 2 will be stopped.  Press n." in b.line("guide")
    await b.press(key)
    await b.until(lambda: "That is all." in b.line("guide"), "the next step")
    assert b.line("guide") == str(guide_text(b.app._guide))


async def saves_a_picture(b: Bench, key: str) -> None:
    await b.at("topics")
    await b.press(key)
    (path,) = Path.cwd().glob("*.svg")
    assert "signups" in path.read_text()
    assert b.told() == f"saved {path}"


async def opens_the_settings(b: Bench, key: str) -> None:
    await b.at("topics")
    await b.press(key)
    assert b.app.place == Place("settings", "topic orders")
    await b.press("escape")
    await b.at("brokers")
    await b.press(key)
    assert b.app.place == Place("settings", "broker 1")
    await b.press("escape")
    await b.at("overview")


async def only_what_is_set(b: Bench, key: str) -> None:
    b.cluster.polled["settings"] = [
        ConfigEntry(name="a", value="1", source="topic"),
        ConfigEntry(name="b", value="2", source="default"),
    ]
    b.app._poller._kinds = b.cluster.kinds()
    table = await b.at("settings", "topic orders")
    await b.press(key)
    assert [row.name for row in table.shown] == ["a"]
    await b.press(key)
    assert [row.name for row in table.shown] == ["a", "b"]


async def saves_the_rows(b: Bench, key: str) -> None:
    await b.at("topics")
    await b.press("slash", *"t-11", "enter", key)
    bar = b.app.query_one("#bar", Input)
    assert bar.value == "save topics.csv"
    await b.press("enter")
    path = Path("topics.csv")
    await b.until(lambda: "saved" in b.told(), "the file")
    assert b.told() == f"saved 10 rows as {path.absolute()}"
    assert [line.split(",")[0].strip(chr(34)) for line in path.read_text().splitlines()] == [
        "topic",
        *(f"t-{n}" for n in range(110, 120)),
    ]
    await b.press("escape")


async def holds_the_screen(b: Bench, key: str) -> None:
    await b.at("topics")
    await b.press(key)
    assert "⏸ HELD" in b.line("status")
    await b.press(key)
    assert "HELD" not in b.line("status")


async def marks_a_moment(b: Bench, key: str) -> None:
    marks = b.app.store.marks
    before = len(marks.all)
    await b.press(key)
    assert len(marks.all) == before + 1
    assert marks.all[-1].image is b.app.store.view.image
    assert b.told().startswith("marked ")


async def tells_what_changed(b: Bench, key: str) -> None:
    await b.at("topics")
    b.cluster.change("orders", 0, leader=3)
    await b.cluster.tell()
    await b.press(key)
    assert b.app.place == Place("changes")
    table = b.app.table("changes")
    await b.until(lambda: [row.now for row in table.shown] == [3], "the leader that moved")
    await b.press("escape")
    assert b.app.place == Place("topics")


async def tells_what_was_done(b: Bench, key: str) -> None:
    await b.at("topics")
    b.app.done.begin("elsewhere", "logctl partition elect", (), 1_000)
    await b.press(key)
    assert b.app.place == Place("commands")
    table = b.app.table("commands")
    await b.until(lambda: bool(table.shown), "what was done")
    assert table.shown[0].command == "logctl partition elect"
    await b.press("escape")
    assert b.app.place == Place("topics")


async def only_of_this_cluster(b: Bench, key: str) -> None:
    b.app.done.begin("elsewhere", "logctl partition elect", (), 1_000)
    table = await b.at("commands")
    await b.press(key)
    assert not table.shown
    await b.press(key)
    assert table.shown


async def steps_between(b: Bench, key: str) -> None:
    b.cluster.now_ms += 1_000
    await b.press("full_stop", "d")
    facts = b.app.page.texts["facts"]
    last = len(b.app.store.marks.all)
    seen = {"left_square_bracket": last - 1, "right_square_bracket": last}[key]
    await b.press("left_square_bracket" if seen == last else "right_square_bracket", key)
    await b.until(lambda: f"mark {seen} of {last}" in str(facts.visual), "the other mark")
    await b.press("escape")


async def stops_for_now(b: Bench, key: str) -> None:
    """In a dialog, too. What a terminal sees of it: test_dashboard_terminal."""
    stopped: list[str] = []
    b.app.action_suspend_process = lambda: stopped.append(key)
    await b.at("topics")
    await b.press(key)
    assert stopped == [key]
    await b.press("C")
    await b.screen(ActionScreen)
    await b.press(key)
    assert stopped == [key, key]
    await b.press("escape")
    await b.closed()


async def gives_up(b: Bench, key: str) -> None:
    """What one is in, and nothing more; that it leaves otherwise: test_keys_that_always_leave."""
    await b.at("topics")
    await b.press("slash", "x", key)
    await b.until(lambda: not b.app._bar.display, "the end of the line")
    await b.press("escape", "C")
    await b.screen(ActionScreen)
    await b.press("a", key)
    await b.closed()
    await b.press("question_mark")
    await b.screen(HelpScreen)
    await b.press(key)
    await b.closed()
    await b.press("ctrl+p")
    await b.screen(CommandPalette)
    await b.press(key)
    await b.closed()
    await b.press("slash", "x", "shift+left", key)
    assert b.osc_52()[-1] == "x", "what is marked is copied"
    assert b.app._bar.display
    await b.press("escape", "escape")
    assert not b.app._exit


async def quits(b: Bench, key: str) -> None:
    await b.press(key)
    await b.until(lambda: b.app._exit, "the end")
    assert b.app.return_code in (None, 0)


# -- tables


def moves(rows: Callable[[int], int]) -> Check:
    """The cursor goes from row START to the row that `rows` of the table's height says."""

    async def check(b: Bench, key: str) -> None:
        table = await b.at("topics")
        table.move_to_key(table.shown[START].name)
        expected = max(0, min(rows(table.size.height), len(table.shown) - 1))
        await b.press(key)
        assert table.shown.index(table.cursor_row) == expected
        place = table.region_of_cursor().y
        assert 1 <= place < table.size.height
        assert f" {table.cursor_row.name} " in table.render_line(place).text

    return check


async def opens_the_row(b: Bench, key: str) -> None:
    table = await b.at("topics")
    table.move_to_key("signups")
    await b.press(key)
    await b.until(lambda: b.app.place == Place("topic", "signups"), "the topic")


# -- pages


async def worst(b: Bench, key: str) -> None:
    await b.at("overview")
    await b.press(key)
    assert b.told() == "Nothing needs attention."
    assert b.app.place == Place("overview")
    b.cluster.kill(2)
    await b.cluster.tell()
    await b.until(lambda: "broker 2 fenced" in b.line("attention"), "what needs attention")
    await b.press(key)
    await b.until(lambda: b.app.place == Place("broker", "2"), "the page of the broker")


def only_events(*kinds: EventKind) -> Check:
    async def check(b: Bench, key: str) -> None:
        table = await b.at("events")
        if EventKind.BROKER_FENCED not in {event.kind for event in table.shown}:
            b.cluster.kill(2)
            b.cluster.create_topic("audit", 1)
            await b.cluster.tell()
            await b.until(lambda: table.shown[-1].topic == "audit", "the newest event")
        everything = len(table.shown)
        await b.press(key)
        assert {event.kind for event in table.shown} == set(kinds)
        assert 0 < len(table.shown) < everything
        assert f"{len(table.shown)} of {everything}" in str(table.border_title)
        await b.press(key)
        assert len(table.shown) == everything

    return check


def only_partitions(*names: str) -> Check:
    async def check(b: Bench, key: str) -> None:
        if not any(row.min_isr for row in b.app.store.view.partitions):
            b.cluster.min_isr("orders", 2)
            b.cluster.min_isr("signups", 3)
            b.cluster.change("orders", 0, isr=(1, 2))
            b.cluster.change("orders", 1, isr=(2,), leader=-1)
            b.cluster.change("signups", 0, isr=(1, 2))
            b.cluster.change("orders", 2, leader=1)
            await b.cluster.tell()
        table = await b.at("partitions")
        await b.until(lambda: any(row.leader < 0 for row in table.shown), "the offline one")
        everything = len(table.shown)
        await b.press(key)
        assert [row.name for row in table.shown] == [*names]
        await b.press(key)
        assert len(table.shown) == everything

    return check


async def pauses(b: Bench, key: str) -> None:
    table = await b.at("records", "orders")
    await b.press(key)
    assert "⏸ paused" in str(table.border_title)
    await b.press(key)
    assert "paused" not in str(table.border_title)


async def only_committed(b: Bench, key: str) -> None:
    table = await b.at("records", "orders")
    await b.press(key)
    await b.until(lambda: "read_committed" in b.clerk.ran[-1][-1], "a reader of what is committed")
    assert "only committed" in table.note
    await b.press(key)
    await b.until(lambda: "read_committed" not in b.clerk.ran[-1][-1], "a reader of all")
    assert "committed" not in table.note


async def commits_and_aborts(b: Bench, key: str) -> None:
    await b.at("records", "orders")
    await b.press(key)
    assert b.app.page.markers
    await b.press(key)
    assert not b.app.page.markers


async def asks_where_from(b: Bench, key: str) -> None:
    await b.at("records", "orders")
    await b.press(key)
    screen = await b.screen(ReadScreen)
    assert screen.query_one("#read-from", Input).value == "-50"
    await b.press("escape")
    await b.closed()


# -- dialogs


async def closes_help(b: Bench, key: str) -> None:
    await b.press("question_mark")
    await b.screen(HelpScreen)
    await b.press(key)
    await b.closed()


async def closes_the_palette(b: Bench, key: str) -> None:
    await b.press("ctrl+p")
    await b.screen(CommandPalette)
    await b.press("x", key)
    await b.closed()


def scrolls_help(way: Callable[[float, int, float], float]) -> Check:
    """From line 5 to where `way` says of that, the height and the last line that can be first."""

    async def check(b: Bench, key: str) -> None:
        await b.press("question_mark")
        scroll = (await b.screen(HelpScreen)).query_one("#help")
        await b.until(lambda: scroll.max_scroll_y > 10, "more than fits")
        scroll.scroll_to(y=5, animate=False, immediate=True)
        expected = way(5, scroll.scrollable_content_region.height, scroll.max_scroll_y)
        expected = max(0, min(expected, scroll.max_scroll_y))
        assert expected != 5
        await b.press(key)
        await b.until(lambda: scroll.scroll_y == expected, f"{expected}, not {scroll.scroll_y}")
        await b.press("escape")
        await b.closed()

    return check


async def record(b: Bench) -> RecordScreen:
    table = await b.at("records", "orders")
    await b.until(lambda: len(table.shown) == 3, "records")
    await b.press("enter")
    return await b.screen(RecordScreen)


async def closes_the_record(b: Bench, key: str) -> None:
    await record(b)
    await b.press(key)
    await b.closed()
    assert b.app.place == Place("records", "orders")


async def shows_bytes(b: Bench, key: str) -> None:
    text = (await record(b)).query_one("#record-text", Static)
    assert '"field1": 1' in str(text.content)
    await b.press(key)
    assert "00000000  7b 22 66 69" in str(text.content)
    await b.press(key)
    assert '"field1": 1' in str(text.content)
    await b.press("escape")


async def copies_the_value(b: Bench, key: str) -> None:
    await record(b)
    await b.press(key)
    assert json.loads(b.osc_52()[-1])["field89"] == 89
    await b.press("escape")


async def copies_the_record(b: Bench, key: str) -> None:
    await record(b)
    await b.press(key)
    assert json.loads(b.osc_52()[-1])["offset"] == 2
    await b.press("escape")


def goes_beside(step: int) -> Check:
    async def check(b: Bench, key: str) -> None:
        screen = await record(b)
        b.app.table("records").action_edge(0)
        screen.record = b.app.table("records").cursor_row
        if step < 0:
            await b.press("n")
        await b.press(key)
        assert screen.record.offset == (1 if step > 0 else 0)
        await b.press("escape")

    return check


def scrolls(step: int) -> Check:
    async def check(b: Bench, key: str) -> None:
        scroll = (await record(b)).query_one("#record-scroll")
        await b.until(lambda: scroll.max_scroll_y > 10, "more than fits")
        scroll.scroll_to(y=5, animate=False, immediate=True)
        await b.press(key)
        await b.until(lambda: scroll.scroll_y == 5 + step, f"one line, not {scroll.scroll_y}")
        await b.press("escape")

    return check


async def read_from(b: Bench, key: str) -> None:
    """Enter reads from there, Escape leaves all as it was."""
    table = await b.at("records", "orders")
    await b.press("f")
    (await b.screen(ReadScreen)).query_one("#read-from", Input).value = "1500"
    await b.press(key)
    await b.closed()
    if key == "enter":
        await b.until(lambda: b.clerk.ran[-1][-2:] == ["--from", "1500"], "the reader from there")
        await b.until(lambda: "from 1500" in str(table.border_title), "the title")
    else:
        assert b.clerk.ran[-1][-2:] != ["--from", "1500"]


async def dialog(b: Bench, key: str) -> None:
    """Enter asks what is missing, Ctrl+Y copies the command, Escape leaves.

    PageUp and PageDown move what is said, of which there is nothing yet.
    """
    await b.at("topics")
    await b.press("C")
    screen = await b.screen(ActionScreen)
    await b.press(key)
    if key == "enter":
        assert "Name is needed." in str(screen.query_one("#action-said", Static).content)
    elif key == "ctrl+y":
        assert b.osc_52()[-1].startswith("logctl topic create")
    if key != "escape":
        await b.press("escape")
    await b.closed()
    assert not [words for words in b.clerk.ran if words[0] != "tail"]


async def next_field(b: Bench, key: str) -> None:
    """Typed words go into the next field, the one before, and round again."""
    await b.at("topics")
    await b.press("C")
    await in_order(b, await b.screen(ActionScreen), key)
    await b.press("escape")
    await b.closed()


async def next_question(b: Bench, key: str) -> None:
    await b.at("records", "orders")
    await b.press("f")
    await in_order(b, await b.screen(ReadScreen), key)
    await b.press("escape")
    await b.closed()


async def in_order(b: Bench, screen: Screen, key: str) -> None:
    fields = [box for box in screen.query(Input) if box.display]
    assert len(fields) > 2
    order = [*fields, fields[0]] if key == "tab" else [fields[0], *fields[::-1]]
    for number, box in enumerate(order):
        await b.until(lambda box=box: b.app.focused is box, f"the focus on {box.id}")
        await b.press(str(number))
        assert box.value.endswith(str(number))
        await b.press(key)


def each(name: str, checks: dict[str, Check]) -> dict[tuple[str, str], Check]:
    return {(name, key): check for keys, check in checks.items() for key in keys.split()}


OFFLINE, LOW, AT = "orders-1", ("orders-1", "signups-0"), "orders-0"
SEEN: dict[tuple[str, str], Check] = {
    **each(
        "DashboardApp",
        {
            "question_mark": helps,
            "slash": filters,
            "colon": goes,
            "v": reads_records,
            "s": sorts,
            "S": reverses,
            "tab": next_panel,
            "1 2 3 4 5 6 7": opens_a_page,
            "escape backspace": goes_back,
            "y": copies_the_name,
            "Y": copies_the_row,
            "r": asks_again,
            "T": changes_the_theme,
            "n": tells_the_next_step,
            "ctrl+s": saves_a_picture,
            "full_stop": marks_a_moment,
            "space": holds_the_screen,
            "w": saves_the_rows,
            "c": opens_the_settings,
            "d": tells_what_changed,
            "h": tells_what_was_done,
            "ctrl+z": stops_for_now,
            "ctrl+c": gives_up,
            "q": quits,
        },
    ),
    **each(
        "LiveTable",
        {
            "up k": moves(lambda _: START - 1),
            "down j": moves(lambda _: START + 1),
            "pageup ctrl+b": moves(lambda height: START - (height - 2)),
            "pagedown ctrl+f": moves(lambda height: START + (height - 2)),
            "ctrl+d": moves(lambda height: START + height // 2),
            "ctrl+u": moves(lambda height: START - height // 2),
            "home g": moves(lambda _: 0),
            "end G": moves(lambda _: MANY + 1),
            "enter": opens_the_row,
        },
    ),
    **each("OverviewPage", {"exclamation_mark": worst}),
    **each(
        "EventsPage",
        {
            "l": only_events(EventKind.LEADER_MOVED),
            "i": only_events(EventKind.ISR_SHRUNK),
            "b": only_events(
                EventKind.BROKER_JOINED, EventKind.BROKER_UNFENCED, EventKind.BROKER_FENCED
            ),
            "t": only_events(EventKind.TOPIC_CREATED),
        },
    ),
    **each(
        "PartitionsPage",
        {
            "u": only_partitions("orders-0", "orders-1", "signups-0"),
            "o": only_partitions(OFFLINE),
            "m": only_partitions("signups-0"),
            "a": only_partitions(AT),
            "p": only_partitions("orders-1", "orders-2"),
        },
    ),
    **each(
        "ChangesPage", {"left_square_bracket": steps_between, "right_square_bracket": steps_between}
    ),
    **each("SettingsPage", {"o": only_what_is_set}),
    **each("CommandsPage", {"o": only_of_this_cluster}),
    **each(
        "RecordsPage",
        {
            "space": pauses,
            "f": asks_where_from,
            "o": only_committed,
            "m": commits_and_aborts,
        },
    ),
    **each(
        "HelpScreen",
        {
            "escape q question_mark enter": closes_help,
            "j down": scrolls_help(lambda at, height, last: at + 1),
            "k up": scrolls_help(lambda at, height, last: at - 1),
            "pagedown ctrl+f ctrl+d space": scrolls_help(lambda at, height, last: at + height),
            "pageup ctrl+b ctrl+u": scrolls_help(lambda at, height, last: at - height),
            "home g": scrolls_help(lambda at, height, last: 0),
            "end G": scrolls_help(lambda at, height, last: last),
        },
    ),
    **each("Palette", {"escape": closes_the_palette}),
    **each(
        "RecordScreen",
        {
            "escape q enter": closes_the_record,
            "x": shows_bytes,
            "y": copies_the_value,
            "Y": copies_the_record,
            "n right l": goes_beside(1),
            "p left h": goes_beside(-1),
            "j down": scrolls(1),
            "k up": scrolls(-1),
        },
    ),
    **each("ReadScreen", {"escape enter": read_from, "tab shift+tab": next_question}),
    **each(
        "ActionScreen",
        {"escape enter ctrl+y pageup pagedown": dialog, "tab shift+tab": next_field},
    ),
}


def test_every_key_has_its_entry() -> None:
    known = keys_of_the_application()
    assert ("DashboardApp", "q") in known
    assert not known - SEEN.keys(), f"nothing says what is seen after {known - SEEN.keys()}"
    assert not SEEN.keys() - known, f"there are no such keys: {SEEN.keys() - known}"


@pytest.mark.parametrize("owner", sorted({owner for owner, _ in SEEN}))
async def test_every_key_does_what_is_said(bench: Bench, owner: str) -> None:
    for (name, key), check in SEEN.items():
        if name == owner:
            try:
                await check(bench, key)
            except Exception as error:
                error.add_note(f"the key was {key} of {owner}")
                raise


@pytest.mark.parametrize("key", ["ctrl+c", "ctrl+q"])
async def test_keys_that_always_leave(bench: Bench, key: str) -> None:
    await bench.at("topics")
    await quits(bench, key)
