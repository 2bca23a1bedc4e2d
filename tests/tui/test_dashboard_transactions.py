"""Transactions that stay open, on the page of the topic that they hold up."""

from clusters.admin import ActiveProducer
from clusters.polls import NO_ANSWER, Answer
from tests.tui.piloting import until
from tui.open_transactions import OpenTransactions

NOW_MS = 1_790_000_000_000


def producer(partition: int, last_ms: int, start: int = 160, number: int = 7) -> ActiveProducer:
    return ActiveProducer(
        topic="orders",
        partition=partition,
        producer_id=number,
        producer_epoch=0,
        last_sequence=3,
        last_timestamp_ms=last_ms,
        coordinator_epoch=0,
        txn_start_offset=start,
    )


def test_one_that_is_new_or_none_at_all_is_no_news() -> None:
    kept = OpenTransactions()
    assert kept.held_up(NO_ANSWER, NOW_MS) == ""
    assert kept.held_up(Answer((), NOW_MS), NOW_MS) == ""
    assert kept.held_up(Answer((producer(0, NOW_MS - 59_000),), 1), NOW_MS) == ""


def test_one_whose_last_write_is_long_ago_is_told_at_once() -> None:
    answer = Answer((producer(2, NOW_MS - 720_000), producer(0, NOW_MS - 61_000)), 1)
    assert OpenTransactions().held_up(answer, NOW_MS) == (
        "transaction open 12 min (and 1 more): committed reads stop at 2:160"
    )


def test_one_that_goes_on_writing_is_told_once_it_was_seen_for_long() -> None:
    kept = OpenTransactions()
    for seconds in range(0, 60, 10):
        at_ms = NOW_MS + seconds * 1000
        assert kept.held_up(Answer((producer(0, at_ms),), 1), at_ms) == ""
    at_ms = NOW_MS + 60_000
    assert "open 60 s" in kept.held_up(Answer((producer(0, at_ms),), 1), at_ms)
    # The next one of the same producer is another.
    assert kept.held_up(Answer((producer(0, at_ms, start=200),), 1), at_ms) == ""


async def test_the_page_of_a_topic_tells_what_is_held_up(cluster, open_dashboard) -> None:
    cluster.polled["transactions"] = lambda topic: (
        (producer(1, cluster.now_ms - 300_000),) if topic == "orders" else ()
    )
    app = open_dashboard(cluster)
    async with app.run_test(size=(140, 36)) as pilot:
        await cluster.tell(replaying=True)
        await until(pilot, lambda: "orders" in app.known_names()["topic"], "the topic is known")
        app.run_command("topic orders")
        said = "committed reads stop at 1:160"
        await until(pilot, lambda: said in str(app.page.texts["facts"].render()), "what is held up")
