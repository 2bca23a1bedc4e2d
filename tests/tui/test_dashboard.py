"""The dashboard as a person uses it: keys, mouse, what stands out, what is said when it is lost."""

import asyncio

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, Static

from tests.tui.piloting import until
from tui.app import DashboardApp
from tui.help import HelpScreen
from tui.pages import Place
from tui.table import LiveTable


def lines(widget: LiveTable) -> list[str]:
    """The rows of a table as they are drawn."""
    height = widget.size.height
    return [widget.render_line(y).text.rstrip() for y in range(height)]


async def page(app: DashboardApp, pilot: Pilot[int], key: str, name: str, rows: int) -> LiveTable:
    """Open a page by its key and wait until its table has rows and the focus."""
    await pilot.press(key)
    await until(pilot, lambda: name in app.page.tables, f"the page of {name}")
    table = app.table(name)
    await until(pilot, lambda: len(table.shown) == rows and table.has_focus, f"{rows} {name}")
    return table


def status(app: DashboardApp) -> str:
    return str(app.query_one("#status", Static).render())


@pytest.fixture
async def running(cluster, open_dashboard):
    app = open_dashboard(cluster)
    async with app.run_test(size=(120, 40)) as pilot:
        await cluster.tell(replaying=True)
        await until(pilot, lambda: len(app.table("partitions").shown) == 9, "nine partitions")
        yield app, pilot, cluster


async def test_whole_cluster_is_shown(running) -> None:
    app, _pilot, _ = running
    brokers = "\n".join(lines(app.table("brokers")))
    assert "1★" in brokers
    assert "127.0.0.1:19" in brokers
    assert "● up" in brokers
    grid = lines(app.table("partitions"))
    assert any("● orders-1" in line and "● ◆ ●" in line and "<2> 3  1" in line for line in grid)
    assert "● live  brokers 3/3" in status(app)
    assert "brokers 3/3" in status(app)
    quorum = str(app.query_one("#quorum", Static).render())
    assert "controller ★ 1" in quorum
    assert "voter 3  in step" in quorum


async def test_a_dead_broker_shows_in_every_panel(running) -> None:
    app, pilot, cluster = running
    cluster.kill(2)
    await cluster.tell()
    await until(pilot, lambda: "under-replicated 9" in status(app), "the count in the first line")
    assert any("✖ fenced" in line for line in lines(app.table("brokers")))
    grid = lines(app.table("partitions"))
    moved = next(line for line in grid if "orders-1" in line)
    assert "✗2" in moved
    assert "● ✖ ◆" in moved
    assert "▼⇄" in moved
    assert "<3>" in moved
    assert "under-replicated" in moved
    events = app.table("events")
    await until(pilot, lambda: "▼ IsrShrunk" in "\n".join(lines(events)), "the newest events")
    cursor = events.cursor_row
    assert cursor is not None
    assert cursor.offset == cluster.offset - 1
    await pilot.press("6")
    await until(pilot, lambda: len(app.table("events").shown) > 0, "the page of events")
    events = app.table("events")
    await pilot.press("slash", *"LeaderMoved")
    await until(pilot, lambda: len(events.shown) == 3, "three leaders moved")
    assert all("⇄ LeaderMoved" in line for line in lines(events)[1:4])
    assert "⇄ 3/min" in status(app)


async def test_an_offline_partition_stands_out(running) -> None:
    app, pilot, cluster = running
    cluster.change("orders", 0, isr=(1,), leader=-1)
    await cluster.tell()
    await until(pilot, lambda: "✖ offline 1" in status(app), "offline count")
    row = next(line for line in lines(app.table("partitions")) if "orders-0" in line)
    assert "✖" in row
    assert "none" in row
    assert "offline" in row


async def test_lost_is_said_and_nothing_is_drawn_as_live(running) -> None:
    app, pilot, cluster = running
    cluster.lose("nobody answers: 127.0.0.1:19092 refused")
    await cluster.tell()
    await until(pilot, lambda: "✖ LOST for 7 s" in status(app), "LOST")
    assert "127.0.0.1:19092 refused" in status(app)
    assert all(app.table(n).has_class("stale") for n in ("brokers", "topics", "partitions"))


async def test_moving_to_another_controller_is_told(running) -> None:
    app, pilot, cluster = running
    from dataclasses import replace

    cluster.status = replace(
        cluster.status, source="127.0.0.1:19193", message="127.0.0.1:19192 refused the connection"
    )
    await cluster.tell()
    await until(pilot, lambda: "from 127.0.0.1:19193" in status(app), "the new source")
    await until(
        pilot,
        lambda: any("127.0.0.1:19193" in n.message for n in app._notifications),
        "a note that says so",
    )


async def test_filter_sort_and_clear(running) -> None:
    app, pilot, _ = running
    table = await page(app, pilot, "4", "partitions", 9)
    await pilot.press("slash")
    await pilot.press(*"signups")
    await until(pilot, lambda: len(table.shown) == 3, "three partitions of signups")
    await pilot.press("enter")
    assert app.focused is table
    assert not app.query_one("#bar", Input).display
    await pilot.press("escape")
    assert len(table.shown) == 9
    await pilot.press("s", "s", "s")
    leaders = [row.leader for row in table.shown]
    assert leaders == sorted(leaders)
    await pilot.press("S")
    assert [row.leader for row in table.shown] == sorted(leaders, reverse=True)


async def test_filter_with_brackets_is_text(running) -> None:
    app, pilot, _ = running
    await page(app, pilot, "4", "partitions", 9)
    await pilot.press("slash")
    await pilot.press("left_square_bracket", "b")
    await until(pilot, lambda: len(app.table("partitions").shown) == 0, "no row")


async def test_enter_on_a_topic_opens_it_and_escape_goes_back(running) -> None:
    app, pilot, _ = running
    await page(app, pilot, "3", "topics", 2)
    await pilot.press("j", "enter")
    await until(pilot, lambda: app.place == ("topic", "signups"), "the topic")
    table = app.table("partitions")
    await until(pilot, lambda: {r.topic for r in table.shown} == {"signups"}, "signups only")
    await pilot.press("escape")
    assert app.place.kind == "topics"
    await until(pilot, lambda: app.focused is app.table("topics"), "the focus on topics again")
    await pilot.press("1")
    assert app.place.kind == "overview"


async def test_enter_on_a_partition_leads_to_it_among_those_of_its_topic(running) -> None:
    app, pilot, cluster = running
    cluster.create_topic("wide", 60)
    await cluster.tell()
    table = await page(app, pilot, "4", "partitions", 69)
    table.move_to_key(("wide", 57))
    await pilot.press("enter")
    await until(pilot, lambda: app.place == Place("topic", "wide"), "its topic")
    there = app.table("partitions")
    await until(pilot, lambda: there.cursor_row is not None, "its partitions")
    assert there.cursor_row.name == "wide-57"
    await until(
        pilot, lambda: 0 < there.region_of_cursor().y < there.size.height, "the cursor in sight"
    )
    assert str(app.subject()) == "wide-57"


async def test_plots_fit_the_height_that_the_page_gave_them(cluster, open_dashboard) -> None:
    app = open_dashboard(cluster)
    async with app.run_test(size=(250, 70)) as pilot:
        await cluster.tell(replaying=True)
        panel = app.query_one("#moves", Static)
        await until(
            pilot,
            lambda: (
                panel.size.height > 8 and str(panel.content).count("\n") + 1 == panel.size.height
            ),
            "a plot as high as its panel",
        )


async def test_problem_keys_narrow_to_what_is_wrong(running) -> None:
    app, pilot, cluster = running
    cluster.change("orders", 4, isr=(2,))
    cluster.change("signups", 2, isr=(3,), leader=-1)
    cluster.change("orders", 1, leader=3)
    await cluster.tell()
    await until(pilot, lambda: "under-replicated 2" in status(app), "two partitions with problems")
    table = await page(app, pilot, "4", "partitions", 9)
    wanted = {
        "u": ["orders-4", "signups-2"],
        "o": ["signups-2"],
        "m": [],
        "a": [],
        "p": ["orders-1", "orders-4", "signups-2"],
    }
    cluster.min_isr("orders", 1)
    await cluster.tell()
    await until(pilot, lambda: any(r.at_min_isr for r in table.shown), "min.insync.replicas")
    wanted["a"] = ["orders-4"]
    preferred = {r.name for r in table.shown if not r.on_preferred_leader}
    wanted["p"] = sorted(preferred)
    for key, names in wanted.items():
        await pilot.press(key)
        assert [row.name for row in table.shown] == names, key
        await pilot.press(key)
        assert len(table.shown) == 9


async def test_a_condition_filters_as_in_the_shell(running) -> None:
    app, pilot, cluster = running
    cluster.change("orders", 4, isr=(2,))
    await cluster.tell()
    await until(pilot, lambda: "under-replicated 1" in status(app), "one partition")
    table = await page(app, pilot, "4", "partitions", 9)
    app._filtered = table
    table.set_filter("isr < replicas")
    assert [row.name for row in table.shown] == ["orders-4"]
    table.set_filter("leader = 2 and topic = orders")
    assert {row.leader for row in table.shown} == {2}
    table.set_filter("!signups")
    assert {row.topic for row in table.shown} == {"orders"}
    table.set_filter("isr << 3")
    assert len(table.shown) == 9
    assert "not a condition" in str(table.border_title)


async def test_commands_go_anywhere_and_name_the_nearest_word(running) -> None:
    app, pilot, _ = running
    for text, place in (
        ("topic signups", ("topic", "signups")),
        ("broker 2", ("broker", "2")),
        ("quorum", ("quorum", "")),
        ("events LeaderMoved", ("events", "LeaderMoved")),
        ("orders", ("topic", "orders")),
        ("partitions offline", ("partitions", "offline")),
    ):
        await pilot.press("colon")
        app.query_one("#bar", Input).value = text
        await pilot.press("enter")
        await until(pilot, lambda place=place: app.place == place, text)
    await pilot.press("colon", *"topik", "enter")
    await until(pilot, lambda: any('"topic"' in n.message for n in app._notifications), "a hint")
    await pilot.press("colon", *"topic ordes", "enter")
    await until(pilot, lambda: any('"orders"' in n.message for n in app._notifications), "a hint")


async def test_copy_speaks_osc_52(running) -> None:
    app, pilot, _ = running
    await page(app, pilot, "3", "topics", 2)
    await pilot.press("y")
    assert app.clipboard == "orders"
    await pilot.press("Y")
    assert '"name": "orders"' in app.clipboard


async def test_click_on_a_title_sorts_and_on_a_row_moves_the_cursor(running) -> None:
    app, pilot, _ = running
    await pilot.click("#brokers", offset=(3, 1))
    brokers = app.table("brokers")
    assert [row.id for row in brokers.shown] == [3, 2, 1]
    await pilot.click("#brokers", offset=(3, 3))
    assert brokers.cursor_row is not None
    assert brokers.cursor_row.id == 2


async def test_the_cursor_stays_on_its_row(running) -> None:
    app, pilot, cluster = running
    table = await page(app, pilot, "4", "partitions", 9)
    await pilot.press("j", "j")
    assert table.cursor_row.name == "orders-2"
    cluster.create_topic("a-first", 2)
    await cluster.tell()
    await until(pilot, lambda: len(table.shown) == 11, "the new topic")
    assert table.cursor_row.name == "orders-2"


async def test_help_opens_and_closes(running) -> None:
    app, pilot, _ = running
    await pilot.press("question_mark")
    assert isinstance(app.screen, HelpScreen)
    await pilot.press("escape")
    assert not isinstance(app.screen, HelpScreen)


async def test_updates_while_help_is_open_are_drawn_afterwards(running) -> None:
    app, pilot, cluster = running
    await pilot.press("question_mark")
    cluster.kill(3)
    await cluster.tell()
    await until(pilot, lambda: app.store.view.health().under_replicated == 9, "the update")
    await pilot.press("escape")
    assert "brokers 2/3" in status(app)


async def test_quit_key(running) -> None:
    app, pilot, _ = running
    await pilot.press("q")
    await until(pilot, lambda: not app.is_running, "the end")


async def test_too_small_a_terminal_does_not_break(cluster, open_dashboard) -> None:
    app = open_dashboard(cluster)
    async with app.run_test(size=(20, 8)) as pilot:
        await cluster.tell()
        await until(pilot, lambda: len(app.table("partitions").shown) == 9, "rows")
        await pilot.resize_terminal(200, 60)
        await pilot.pause()
        assert any("orders-5" in line for line in lines(app.table("partitions")))


class Steps:
    """A guide of two steps that the test holds by the hand."""

    def __init__(self) -> None:
        self.position = 0
        self.busy = False
        self.go = asyncio.Event()

    @property
    def text(self) -> str:
        return f"step {self.position}"

    @property
    def finished(self) -> bool:
        return self.position == 2

    async def advance(self) -> None:
        self.busy = True
        await self.go.wait()
        self.busy = False
        self.position += 1


async def test_the_guide_goes_on_at_the_persons_pace(cluster, open_dashboard) -> None:
    guide = Steps()
    app = open_dashboard(cluster, guide=guide)
    async with app.run_test(size=(100, 30)) as pilot:
        line = app.query_one("#guide", Static)
        await until(pilot, lambda: "step 0" in str(line.render()), "the first line")
        assert "Press n" in str(line.render())
        await pilot.press("n")
        await until(pilot, lambda: guide.busy, "the step to begin")
        await pilot.press("n")
        guide.go.set()
        await until(pilot, lambda: guide.position == 1, "one step, though n came twice")
        await pilot.press("n")
        await until(pilot, lambda: guide.finished, "the end of the story")
        await until(pilot, lambda: "q quits" in str(line.render()), "how to leave")


async def test_ten_thousand_partitions_are_drawn_by_the_screenful(cluster, open_dashboard) -> None:
    for topic in range(100):
        cluster.create_topic(f"t{topic:03}", 100)
    app = open_dashboard(cluster)
    async with app.run_test(size=(120, 40)) as pilot:
        await cluster.tell(replaying=True)
        table = app.table("partitions")
        await until(pilot, lambda: len(table.shown) == 10_009, "all rows")
        table = await page(app, pilot, "4", "partitions", 10_009)
        await pilot.press("G")
        assert table.cursor_row.name == "t099-99"
        assert any("t099-99" in line for line in lines(table))


async def test_a_click_on_a_pages_name_opens_it(running) -> None:
    app, pilot, _ = running
    drawn = str(app.query_one("#tabs", Static).render())
    await pilot.click("#tabs", offset=(drawn.index("Topics") + 1, 0))
    await until(pilot, lambda: app.place.kind == "topics", "the page of topics")
