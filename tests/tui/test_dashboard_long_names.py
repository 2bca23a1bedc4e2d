"""A name that is too long is cut where nothing is lost that tells it from its neighbours."""

import pytest

from clusters.admin import ConfigEntry
from tests.tui.piloting import Clerk, until
from tui.table import NAME_MAX, shortened


@pytest.mark.parametrize(
    ("name", "width", "drawn"),
    [
        ("__consumer_offsets-7", 12, "__consume…-7"),
        ("__consumer_offsets-49", 12, "__consum…-49"),
        ("orders-of-the-day", 12, "orders-of-t…"),
        ("注文注文注文注文-3", 9, "注文注…-3"),
        ("orders-1234567", 8, "orders-…"),
    ],
)
def test_the_number_of_a_partition_stays(name: str, width: int, drawn: str) -> None:
    assert shortened(name, width, numbered=True) == drawn


def test_other_names_are_cut_at_their_end() -> None:
    assert shortened("orders-1234", 8, numbered=False) == "orders-…"


async def test_partitions_of_a_long_topic_are_told_apart(cluster, open_dashboard) -> None:
    topic = "a-topic-with-a-name-that-is-much-longer-than-any-column-for-it"
    cluster.create_topic(topic, 12)
    app = open_dashboard(cluster, start=f"topic {topic}")
    async with app.run_test(size=(80, 24)) as pilot:
        await cluster.tell(replaying=True)
        await until(pilot, lambda: app.page.is_mounted, "the topic's page")
        table = app.page.tables["partitions"]
        await until(pilot, lambda: len(table.shown) == 12, "its partitions")
        drawn = [table.render_line(y).text.split(" ")[1] for y in range(1, 8)]
        assert [each.rpartition("…")[2] for each in drawn] == [f"-{n}" for n in range(7)]


@pytest.mark.parametrize("width", [80, 250])
async def test_the_longest_name_leaves_the_numbers_where_they_belong(
    cluster, open_dashboard, width
) -> None:
    """The row under the cursor tells all of it on the border, and its page does."""
    topic = "long-" + "o" * 243 + "z"
    cluster.create_topic(topic, 3)
    app = open_dashboard(cluster)
    async with app.run_test(size=(width, 30)) as pilot:
        await cluster.tell(replaying=True)
        await pilot.press("3")
        table = await shown(app, pilot, "topics", 3)
        at = table.render_line(0).text.index("parts")
        assert at <= NAME_MAX + 3
        assert table.render_line(1).text[at : at + 5].strip() == "3"
        await until(pilot, lambda: table.cursor_row.name == topic, "the cursor on it")
        await until(pilot, lambda: topic in str(table.border_subtitle), "all of it")
        await pilot.press("j")
        await until(pilot, lambda: not table.border_subtitle, "nothing is cut")
        await pilot.press("k", "enter")
        await until(pilot, lambda: app.place.kind == "topic", "the topic's page")
        await until(pilot, lambda: app.page.is_mounted, "its tables")
        facts = app.page.texts["facts"]
        await until(pilot, lambda: "3 partitions x 3" in seen(facts), "its facts")
        assert topic in "".join(seen(facts).split())


async def test_the_longest_name_leaves_what_happened_to_it_near(cluster, open_dashboard) -> None:
    """On pages about more than names, too: events, and what is otherwise than at a mark."""
    topic = "long-" + "o" * 243 + "z"
    app = open_dashboard(cluster)
    async with app.run_test(size=(250, 30)) as pilot:
        await cluster.tell(replaying=True)
        await until(pilot, lambda: len(app.store.view.topics) == 2, "the topics")
        cluster.create_topic(topic, 3)
        cluster.kill(3)
        await cluster.tell()
        for key, name, title in (("6", "events", "change"), ("d", "changes", "then")):
            await pilot.press(key)
            await until(pilot, lambda name=name: app.page.tables.get(name), name)
            table = app.page.tables[name]
            await until(pilot, lambda table=table: len(table.shown) > 8, "what happened")
            head = table.render_line(0).text
            assert head.index(title) - head.index("subject") <= NAME_MAX + 1
            await pilot.press("g", *"j" * [row.topic for row in table.shown].index(topic))
            await until(pilot, lambda table=table: topic in str(table.border_subtitle), "all of it")


async def test_wide_pages_cut_no_name_while_there_is_room(cluster, open_dashboard) -> None:
    name = "transaction.remove.expired.transaction.cleanup.interval.ms"
    cluster.polled["settings"] = [entry(name), entry("retention.ms")]
    app = open_dashboard(cluster, start="settings broker 1")
    async with app.run_test(size=(250, 40)) as pilot:
        await cluster.tell(replaying=True)
        table = await shown(app, pilot, "settings", 2)
        await until(pilot, lambda: name in lines_of(table), "the whole name")
        await pilot.resize_terminal(80, 24)
        await until(pilot, lambda: f"{name[:30]}" in lines_of(table), "its beginning")
        assert "604800000" in lines_of(table)


@pytest.mark.parametrize(("name", "asked"), [("t" * 249, "its whole name"), ("t-1", "t-1")])
async def test_the_name_that_is_to_be_typed_is_asked_for(
    cluster, open_dashboard, name, asked
) -> None:
    cluster.create_topic(name, 1)
    app = open_dashboard(cluster, commander=Clerk())
    async with app.run_test(size=(80, 24)) as pilot:
        await cluster.tell(replaying=True)
        await until(pilot, lambda: app.store.view.topic_row(name), "the topic")
        app.run_command(f"delete-topic {name}")
        await until(pilot, lambda: app.screen.query("#action-typed"), "the dialog")
        box = app.screen.query_one("#action-typed")
        await until(pilot, lambda: box.display and box.region.height == 3, "the question")
        drawn = "\n".join(box.render_line(y).text for y in range(box.region.height))
        assert f"type {asked} to go on" in drawn


def entry(name: str) -> ConfigEntry:
    return ConfigEntry(name=name, value="604800000", source="default", type="long")


def lines_of(table) -> str:
    return "\n".join(table.render_line(y).text for y in range(table.size.height))


async def test_a_cut_name_is_told_however_late_the_table_is_drawn(cluster, open_dashboard) -> None:
    topic = "long-" + "o" * 243 + "z"
    cluster.create_topic(topic, 3)
    app = open_dashboard(cluster, start="topics")
    async with app.run_test(size=(80, 30)) as pilot:
        await cluster.tell(replaying=True)
        table = await shown(app, pilot, "topics", 3)
        await until(pilot, lambda: topic in str(table.border_subtitle), "all of it")
        # As it is before the first drawing: nothing is measured, so nothing is known to be cut.
        table._longest.clear()
        table._tell_whole()
        assert not table.border_subtitle
        table.refresh()
        await until(pilot, lambda: topic in str(table.border_subtitle), "all of it again")


def seen(panel) -> str:
    return "\n".join(panel.render_line(y).text for y in range(panel.size.height))


@pytest.mark.parametrize("width", [80, 250])
async def test_a_name_that_fits_stands_in_the_title_alone(cluster, open_dashboard, width) -> None:
    app = open_dashboard(cluster, start="topic orders")
    async with app.run_test(size=(width, 30)) as pilot:
        await cluster.tell(replaying=True)
        await until(pilot, lambda: app.page.is_mounted, "the page")
        facts = app.page.texts["facts"]
        await until(pilot, lambda: "6 partitions x 3" in seen(facts), "its facts")
        assert "orders" not in seen(facts)
        assert facts.outer_size.height <= 5


async def shown(app, pilot, name: str, rows: int):
    await until(pilot, lambda: app.page.tables.get(name) is not None, name)
    table = app.page.tables[name]
    await until(pilot, lambda: len(table.shown) == rows, "its rows")
    await pilot.pause()
    return table
