"""Keys of one's own: what can be chosen, what is told of what cannot, and that help tells them."""

import pytest
from textual.widgets import Static

from tests.tui.piloting import Clerk, until
from tui.action_screen import ActionScreen, Phase
from tui.actions import ACTIONS
from tui.app import known_keys_now
from tui.help import EVERYWHERE, OVER, HelpScreen, help_text
from tui.keys import FIXED, Chosen, choose, read_keys, sign
from tui.keys import OVER as OWNERS_OVER
from tui.record_screens import ReadScreen, RecordScreen
from tui.records import read_record

KNOWN = known_keys_now()
IDS = {each.id for each in KNOWN}


@pytest.fixture
def configuration(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "logctl").mkdir()
    return tmp_path / "logctl" / "config.yaml"


@pytest.mark.parametrize(
    ("written", "keys", "signs"),
    [
        ("?", ["question_mark"], ["?"]),
        ("F3", ["f3"], ["F3"]),
        ("f3, t", ["f3", "t"], ["F3", "t"]),
        (["G", "ctrl+G"], ["G", "ctrl+g"], ["G", "Ctrl+G"]),
        (8, ["8"], ["8"]),
        (",", ["comma"], [","]),
        (" ", ["space"], ["Space"]),
        ("shift+t", ["T"], ["T"]),
        ("Shift+F3", ["shift+f3"], ["Shift+F3"]),
        ("pageup", ["pageup"], ["PageUp"]),
        ("+", ["plus"], ["+"]),
        ("left_square_bracket", ["left_square_bracket"], ["["]),
    ],
)
def test_keys_are_written_as_people_write_them(written, keys, signs) -> None:
    assert read_keys(written) == (*keys,)
    assert [*map(sign, keys)] == signs


@pytest.mark.parametrize("written", ["", "nosuchkey", "ctrl+", "hyper+x", True, None, {}, []])
def test_what_is_no_key_is_told(written) -> None:
    with pytest.raises(ValueError, match=r"not the name of a key|no key is named"):
        read_keys(written)


@pytest.mark.parametrize(
    ("wanted", "keys", "problems"),
    [
        ({"page.topics": "f3"}, {"page.topics": ("f3",)}, []),
        ({"pages.topics": "f3"}, {}, ['pages.topics is unknown; did you mean "page.topics"?']),
        ({"filter": "nosuchkey"}, {}, ['"nosuchkey" is not the name of a key']),
        # What was there first keeps it; another key of it is enough.
        ({"filter": "ctrl+f"}, {"filter": ("ctrl+f",), "screen.down": ("pagedown",)}, []),
        (
            {"page.topics": "s"},
            {"page.topics": ("s",), "sort": ()},
            ["dashboard.keys.page.topics takes s from sort, which has no key now"],
        ),
        # Two that change places are both content.
        ({"sort": "r", "again": "s"}, {"sort": ("r",), "again": ("s",)}, []),
        ({"sort": "x", "again": "x"}, {"sort": ("x",)}, ["x is already chosen for sort"]),
        # Two pages are never seen at once.
        (
            {"events.isr": "x", "only.offline": "x"},
            {"events.isr": ("x",), "only.offline": ("x",)},
            [],
        ),
        (
            {"page.events": "C"},
            {"page.events": ("C",), "action.create-topic": ()},
            ["takes C from action.create-topic"],
        ),
        ({"action.delete-topic": "f8"}, {"action.delete-topic": ("f8",)}, []),
        # Of screens over the page only what works in all of them is met.
        ({"record.hex": "s"}, {"record.hex": ("s",)}, []),
        ({"record.hex": "ctrl+z"}, {"record.hex": ("ctrl+z",), "suspend": ()}, ["from suspend"]),
        ({"record.hex": "y"}, {"record.hex": ("y",), "record.copy": ()}, ["from record.copy"]),
        ({"dialog.agree": "f9"}, {"dialog.agree": ("f9",)}, []),
        (
            {"dialog.agree": "ctrl+y"},
            {"dialog.agree": ("ctrl+y",), "dialog.copy": ()},
            ["from dialog.copy"],
        ),
        (
            {"dialog.agree": "f9", "dialog.leave": "f9"},
            {"dialog.agree": ("f9",)},
            ["F9 is already chosen for dialog.agree"],
        ),
        ({"dialog.agree": "y"}, {}, ["y is typed into the fields of dialogs"]),
        ({"dialog.leave": "?"}, {}, ["? is typed into the fields of dialogs"]),
        ({"dialog.copy": "space"}, {}, ["Space is typed into the fields of dialogs"]),
        *(({"filter": key}, {}, [f"{sign(key)} always {FIXED[key]}"]) for key in FIXED),
    ],
    ids=str,
)
def test_keys_that_meet(wanted, keys, problems) -> None:
    chosen = choose(KNOWN, wanted)
    assert chosen.keys == keys
    assert len(chosen.problems) == len(problems)
    for told, expected in zip(chosen.problems, problems, strict=True):
        assert told.startswith("dashboard.keys.")
        assert expected in told


def test_help_names_every_key_that_can_be_chosen_and_no_other() -> None:
    named = {key for keys, _ in EVERYWHERE for key in keys.split() if "." in key or key in IDS}
    assert named <= IDS
    over = {key for keys, _ in OVER for key in keys.split()}
    assert over == {each.id for each in KNOWN if each.owner in OWNERS_OVER}
    pages = {each.owner for each in KNOWN} - {"dashboard", "table", "action"}
    without_entry = {each.id for each in KNOWN if each.owner not in pages} - named
    # Actions stand with the page on which they are possible; a story has a line of its own.
    assert without_entry == {f"action.{each.name}" for each in ACTIONS} | {"next"}
    text = help_text("Topics", "Every topic.", [], KNOWN, Chosen(), 78).plain
    assert all(f"{each.id}:" in text for each in KNOWN)
    assert max(map(len, text.splitlines())) <= 78


async def test_chosen_keys_work_and_are_told_everywhere(
    cluster, open_dashboard, configuration
) -> None:
    configuration.write_text(
        "dashboard:\n  keys: {page.topics: 8, filter: [ctrl+f, ';'], help: F1, row.down: e,"
        " only.offline: X, sort: q, again: nokey}\n  colour: red\n",
        encoding="utf-8",
    )
    app = open_dashboard(cluster)
    async with app.run_test(size=(120, 40)) as pilot:
        await cluster.tell(replaying=True)
        said = " ".join(note.message for note in app._notifications)
        assert "dashboard.keys.again" in said
        assert "takes q from quit, which has no key now" in said
        assert "dashboard.colour is unknown" in said
        last = str(app.query_one("#keys", Static).content)
        assert "F1 Help" in last
        assert "Ctrl+F Filter" in last
        assert "q Sort" in last
        assert "Quit" not in last
        await pilot.press("8")
        await until(pilot, lambda: app.place.kind == "topics", "topics")
        table = app.table("topics")
        await until(pilot, lambda: len(table.shown) == 2 and table.has_focus, "two topics")
        await pilot.press("j")
        assert table.cursor_row.name == "orders"
        await pilot.press("e")
        assert table.cursor_row.name == "signups"
        for key in ("ctrl+f", ";"):
            await pilot.press(key, *"ord", "enter")
            assert [row.name for row in table.shown] == ["orders"]
            await pilot.press("escape")
            assert len(table.shown) == 2
        await pilot.press("f1")
        await until(pilot, lambda: isinstance(app.screen, HelpScreen), "the help")
        lines = str(app.screen.query_one(Static).content).splitlines()
        told = {line[2:18].strip(): line[18:] for line in lines if line.startswith("  ")}
        assert told["Ctrl+F"].startswith("show rows")
        assert told["F1"].startswith("this page")
        assert told["↑ e"].startswith("a row up, a row down")
        assert told["(none) Ctrl+C"].startswith("leave")


RECORD = '{"topic": "orders", "partition": 0, "offset": 1, "key": "k", "value": "v"}'


def hint(app, name: str) -> str:
    return str(app.screen.query_one(name, Static).content)


@pytest.fixture
async def desk(cluster, open_dashboard, configuration):
    """A dashboard whose dialogs have keys of their own."""
    configuration.write_text(
        "dashboard:\n  keys: {dialog.agree: f9, dialog.leave: [f10, ctrl+l], dialog.next: f6,"
        " dialog.copy: f7, record.next: J, record.hex: b, record.close: Q, help.down: d,"
        " help.close: x}\n",
        encoding="utf-8",
    )
    clerk = Clerk()
    app = open_dashboard(cluster, commander=clerk)
    async with app.run_test(size=(120, 40)) as pilot:
        await cluster.tell(replaying=True)
        await pilot.press("3")
        await until(pilot, lambda: app.subject() is not None, "a topic")
        assert not app._notifications
        yield app, pilot, clerk


async def test_chosen_keys_work_in_dialogs_and_are_told_there(desk) -> None:
    app, pilot, clerk = desk
    await pilot.press("C")
    await until(pilot, lambda: app.screen.query("#field-name") and app.focused, "the fields")
    assert "F6 next field   F10 leaves" in hint(app, "#action-hint")
    await pilot.press(*"new", "f6", "3", "enter")
    screen = app.screen
    await until(pilot, lambda: screen.phase is Phase.AGREEING and screen._seen_s, "the question")
    assert "F9 does it   F7 copies the command" in hint(app, "#action-hint")
    words = ["topic", "create", "new", "--partitions", "3"]
    await pilot.press("enter")
    assert [note.message for note in app._notifications] == ["Not done: F9 does it."]
    await pilot.press("f7")
    assert app.clipboard == "logctl " + " ".join(words)
    await pilot.press("f9")
    await until(pilot, lambda: screen.phase is Phase.DONE, "its end")
    assert clerk.ran == [[*words, "--dry-run"], [*words, "--yes"]]
    await pilot.press("f9")
    await until(pilot, lambda: len(app.screen_stack) == 1, "the end of the dialog")
    for leaves in ("f10", "ctrl+l", "escape"):
        await pilot.press("C")
        await until(pilot, lambda: isinstance(app.screen, ActionScreen), "the dialog")
        await pilot.press(leaves)
        await until(pilot, lambda: len(app.screen_stack) == 1, f"that {leaves} leaves")


async def test_chosen_keys_work_in_records_and_in_the_help(desk) -> None:
    app, pilot, _ = desk
    asked = []
    record = read_record(RECORD)
    app.push_screen(RecordScreen(record, lambda _, step: asked.append(step)))
    await until(pilot, lambda: app.screen.query("#record-hint"), "the record")
    assert hint(app, "#record-hint").startswith("J next   p before   b bytes or text")
    await pilot.press("J", "n", "b", "q", "x")
    assert asked == [1]
    assert app.screen._hex
    await pilot.press("Q")
    await until(pilot, lambda: len(app.screen_stack) == 1, "the page")
    answers = []
    app.push_screen(ReadScreen({"from": "end"}), answers.append)
    await until(pilot, lambda: isinstance(app.screen, ReadScreen) and app.focused, "the questions")
    assert hint(app, "#action-hint") == "F9 reads   F6 next field   F10 leaves"
    await pilot.press("f6", *"abc", "f9")
    await until(pilot, lambda: len(answers) == 1, "the answers")
    assert answers == [{"from": "end", "grep": "abc", "where": ""}]
    await pilot.press("question_mark")
    await until(pilot, lambda: isinstance(app.screen, HelpScreen), "the help")
    assert app.screen._scroll.border_subtitle == "↑ d scroll   Escape closes"
    text = " ".join(hint(app, "Static").split())
    assert "F9 show what an action would do" in text
    assert "J p the next record, the one before" in text
    await pilot.press("d", "d", "q")
    await until(pilot, lambda: app.screen._scroll.scroll_offset.y == 2, "two lines on")
    await pilot.press("x")
    await until(pilot, lambda: len(app.screen_stack) == 1, "the page")
