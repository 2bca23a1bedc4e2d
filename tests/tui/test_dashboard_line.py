"""The line for words: what is typed fast arrives whole, Tab completes, what was said comes back."""

import pytest
from textual import events
from textual.widgets import Input, Static

from tests.tui.piloting import until
from tui.commands import completions
from tui.pages import Place

KNOWN = {"topic": ["orders", "orders-late", "payments"], "broker": ["1", "2"], "group": ["mail"]}
ACTIONS = {"start-broker": {"broker"}, "create-topic": {"topic", "cluster"}}


@pytest.fixture
async def running(cluster, open_dashboard):
    cluster.create_topic("Xerxes", 1)
    app = open_dashboard(cluster)
    async with app.run_test(size=(100, 30)) as pilot:
        await cluster.tell()
        await until(pilot, lambda: bool(app.table("brokers").shown), "brokers")
        yield app, pilot


def type_at_once(app, text: str) -> None:
    """All keys of a text in one turn, as a paste or a slow machine gives them."""
    names = {" ": "space", ":": "colon", "/": "slash", "\n": "enter", "\t": "tab", "-": "minus"}
    for letter in text:
        name = names.get(letter, letter)
        app.post_message(events.Key(name, letter if letter not in "\n\t" else None))


@pytest.mark.parametrize(
    ("typed", "place"),
    [
        (":topic orders\n", Place("topic", "orders")),
        # Letters of it are keys of the page: s sorts, X stops a broker, 2 opens the brokers.
        (":topic Xerxes\n", Place("topic", "Xerxes")),
        (":bro\t\t 2\n", Place("broker", "2")),
    ],
)
async def test_words_typed_at_once_are_no_keys_of_the_page(running, typed, place) -> None:
    app, pilot = running
    order = app.table("brokers").sort_column
    type_at_once(app, typed)
    await until(pilot, lambda: app.place == place, f"{typed!r}, and not {app.place}")
    assert app._pages["overview"].tables["brokers"].sort_column == order
    assert len(app.screen_stack) == 1


@pytest.mark.parametrize("again", [False, True], ids=["made", "shown again"])
async def test_keys_typed_after_that_of_a_page_are_meant_for_it(running, again) -> None:
    app, pilot = running
    if again:
        await pilot.press("4", "3")
        await until(pilot, lambda: app.place == Place("topics"), "topics")
        await pilot.press("1")
    # What the overview has under its cursor must not be opened or moved.
    brokers = app.table("brokers")
    cursor = brokers.cursor_row
    type_at_once(app, "3jj\n")
    await until(pilot, lambda: app.place == Place("topic", "signups"), f"not {app.place}")
    type_at_once(app, "143:topic orders\n")
    await until(pilot, lambda: app.place == Place("topic", "orders"), f"not {app.place}")
    assert {*app._pages} == {"overview", "topics", "partitions", "topic orders"}
    topics = app._pages["topics"].tables["topics"]
    type_at_once(app, "13/sign")
    await until(pilot, lambda: len(topics.shown) == 1, "the filter of that page")
    assert app.focused is app._bar
    assert brokers.cursor_row is cursor


async def test_a_page_that_never_stands_holds_no_keys_for_long(running, monkeypatch) -> None:
    app, pilot = running
    app.ahead.begin()
    await pilot.press("3", "3")
    assert app.place == Place("overview")
    monkeypatch.setattr("tui.ahead.HELD_MS_MAX", -1)
    app.ahead.begin()
    await pilot.press("4")
    await until(pilot, lambda: app.place == Place("partitions"), f"not {app.place}")


async def test_keys_after_the_end_of_the_line_go_where_the_focus_is(running) -> None:
    app, pilot = running
    type_at_once(app, ":topics\n3")
    await until(pilot, lambda: app.place == Place("topics"), "topics")
    type_at_once(app, "/x\nj")
    await until(pilot, lambda: app.table("topics").filter_text == "x", "the filter")
    await until(pilot, lambda: app.focused is app.table("topics"), "the focus")
    assert app.query_one("#bar", Input).value == "x"


async def test_signs_of_the_line_are_letters_in_the_line(running) -> None:
    app, pilot = running
    type_at_once(app, "::a/b")
    bar = app.query_one("#bar", Input)
    await until(pilot, lambda: bar.value == ":a/b", "all of it")


async def test_tab_completes_and_offers_the_next(running) -> None:
    app, pilot = running
    bar = app.query_one("#bar", Input)
    await pilot.press("colon", *"topi")
    await until(pilot, lambda: "topics" in str(bar.border_subtitle), "what fits")
    assert "topic" in str(bar.border_subtitle)
    seen = []
    for _ in range(3):
        await pilot.press("tab")
        await pilot.pause()
        seen.append(bar.value)
    assert seen[0] != seen[1]
    assert seen[2] == seen[0]
    assert app.focused is bar
    bar.value = "topic ord"
    await pilot.pause()
    await pilot.press("tab")
    assert bar.value == "topic orders"
    assert bar.cursor_position == len("topic orders")


async def test_an_empty_line_says_where_one_can_go(running) -> None:
    app, pilot = running
    bar = app.query_one("#bar", Input)
    await pilot.press("colon")
    await until(pilot, lambda: bar.display, "the line")
    assert str(bar.border_subtitle).startswith("Tab: overview  brokers  topics  groups  quorum")
    await pilot.press("tab", "tab")
    await until(pilot, lambda: bar.value == "brokers", "the second of them")
    await pilot.press("enter")
    await until(pilot, lambda: app.place == Place("brokers"), "its page")
    await pilot.press("slash")
    await until(pilot, lambda: bar.display, "the line")
    assert not bar.border_subtitle


async def test_what_was_said_comes_back(running) -> None:
    app, pilot = running
    bar = app.query_one("#bar", Input)
    for text in ("quorum", "brokers"):
        await pilot.press("colon", *text, "enter")
        await until(pilot, lambda text=text: app.place == Place(text), text)
    await pilot.press("colon", "up")
    assert bar.value == "brokers"
    await pilot.press("up", "up")
    assert bar.value == "quorum"
    await pilot.press("down", "down")
    assert bar.value == ""
    await pilot.press("up", "enter")
    await until(pilot, lambda: app.place == Place("brokers"), "brokers")


async def test_tab_leaves_the_filter_and_keeps_it(running) -> None:
    app, pilot = running
    await pilot.press("3", "slash", *"sign", "tab")
    table = app.table("topics")
    await until(pilot, lambda: [row.name for row in table.shown] == ["signups"], "one topic")
    assert app.focused is table
    assert not app.query_one("#bar", Input).display


async def test_a_click_elsewhere_closes_the_line(running) -> None:
    app, pilot = running
    await pilot.press("colon", *"top")
    await pilot.click("#brokers", offset=(5, 3))
    await until(pilot, lambda: not app.query_one("#bar", Input).display, "the line closed")


async def test_a_click_on_another_page_leaves_the_line_and_goes_there(running) -> None:
    app, pilot = running
    await pilot.press("slash", "x")
    where = str(app.query_one("#tabs", Static).content).index("Topics")
    assert await pilot.click("#tabs", offset=(where, 0))
    await until(pilot, lambda: app.place == Place("topics"), "topics")
    await until(pilot, lambda: app.focused is app.table("topics"), "the focus")
    assert not app._bar.display
    assert app._pages["overview"].focused_table().filter_text == "x"


def test_completions_are_names_only_where_one_can_stand() -> None:
    def fit(text: str) -> list[str]:
        return list(completions(text, KNOWN, ACTIONS))

    assert fit("start") == ["start-broker"]
    assert fit("start-broker ") == ["start-broker 1", "start-broker 2"]
    assert fit("topic o") == ["topic orders", "topic orders-late"]
    assert fit("records or") == ["records orders", "records orders-late"]
    assert fit("orders") == ["orders-late"]
    assert fit("quorum ") == []
