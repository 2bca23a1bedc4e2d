"""A name that is too long is cut where nothing is lost that tells it from its neighbours."""

import pytest

from tests.tui.piloting import until
from tui.table import shortened


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
    app = open_dashboard(cluster)
    async with app.run_test(size=(80, 24)) as pilot:
        await cluster.tell(replaying=True)
        await until(pilot, lambda: app.store.view.topics, "topics")
        await pilot.press("colon", *f"topic {topic}", "enter")
        await until(pilot, lambda: app.place.kind == "topic", "the topic's page")
        table = app.page.tables["partitions"]
        await until(pilot, lambda: len(table.shown) == 12, "its partitions")
        drawn = [table.render_line(y).text.split(" ")[1] for y in range(1, 8)]
        assert [each.rpartition("…")[2] for each in drawn] == [f"-{n}" for n in range(7)]
