"""Records of a topic that goes, or loses its leaders, while they are read: that is said."""

import pytest

from broker.protocol import metadata_records as rec
from tests.tui.piloting import Clerk, until
from tui.gone import unread_text
from tui.store import Store


@pytest.fixture
def store(cluster) -> Store:
    made = Store(cluster.status)
    made.view.update(cluster.projector.image, cluster.update().events, 0)
    return made


def test_what_can_be_read_is_not_talked_about(store) -> None:
    assert unread_text(store, "orders", None, 0) == ""
    assert unread_text(store, "orders", 3, 0) == ""


def test_before_anything_is_known_nothing_is_said_to_be_gone(cluster) -> None:
    assert unread_text(Store(cluster.status), "orders", None, 0) == ""


def test_partitions_without_a_leader_are_counted(store, cluster) -> None:
    cluster.change("orders", 3, isr=(1,), leader=-1)
    store.view.update(cluster.projector.image, cluster.update().events, 0)
    assert unread_text(store, "orders", None, 0) == "✖ 1 of 6 partitions offline"
    assert unread_text(store, "orders", 3, 0) == "✖ offline"
    assert unread_text(store, "orders", 2, 0) == ""


def test_what_never_was_is_not_called_deleted(store) -> None:
    assert unread_text(store, "no-such", None, 0) == "✖ There is no topic no-such."
    assert unread_text(store, "orders", 17, 0) == "✖ There is no partition orders-17."


async def test_the_page_of_records_tells_that_its_topic_was_deleted(
    cluster, open_dashboard
) -> None:
    app = open_dashboard(cluster, commander=Clerk())
    async with app.run_test(size=(120, 36)) as pilot:
        await cluster.tell(replaying=True)
        await until(pilot, lambda: app.store.view.topics, "topics")
        await pilot.press("colon", *"records orders:2", "enter")
        await until(pilot, lambda: app.place.kind == "records", "the page")
        title = app.page.tables["records"]
        assert "deleted" not in title.note
        cluster.apply(rec.RemoveTopicRecord(topic_id=cluster.topic_ids["orders"]))
        await cluster.tell()
        await until(pilot, lambda: "✖ The topic orders was deleted" in title.note, "its end")
        cluster.create_topic("orders", 6)
        await cluster.tell()
        await until(pilot, lambda: "✖" not in title.note, "the new one")
