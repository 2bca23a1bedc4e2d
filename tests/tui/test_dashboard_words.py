"""Filters, commands and drawings: pure, so tested as text."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clusters.admin import PartitionLag
from clusters.polls import Answer, Poll
from clusters.watch import ClusterEvent, EventKind, FeedStatus
from tui.commands import CommandProblem, Said, complete, read_command
from tui.drawing import age, brokers_text, count, plot, size, sparkline, trail_text
from tui.filters import row_filter
from tui.model import ClusterView, Flash, Health, PartitionRow, describe_event
from tui.pages import Place
from tui.pages.groups import drain, trend
from tui.status import status_text, tabs_text
from tui.store import Store

KNOWN = {
    "topic": ["orders", "payments"],
    "broker": ["1", "2"],
    "group": ["billing"],
    "theme": ["nord"],
    "event": ["LeaderMoved"],
    "narrowing": ["under-min-isr"],
}
STATUS = FeedStatus(mode="live", source="", message="", last_contact_ms=0)


def row(**fields) -> PartitionRow:
    made = {
        "topic": "t",
        "partition": 0,
        "leader": 2,
        "leader_epoch": 0,
        "partition_epoch": 0,
        "replicas": (2, 3, 1),
        "isr": (2, 3),
        "health": Health.UNDER_REPLICATED,
    }
    return PartitionRow(**(made | fields))


def test_a_row_of_brokers_tells_roles_by_shape() -> None:
    assert brokers_text(row(), [1, 2, 3, 4]).plain == "○ ◆ ● · "
    assert brokers_text(row(leader=-1, isr=()), [1, 2, 3]).plain == "○ ○ ○ "
    assert brokers_text(row(replicas=(10,), isr=(10,), leader=10), [9, 10]).plain == "· ◆  "


def test_a_trail_fades_and_ends() -> None:
    trail = [Flash(EventKind.ISR_SHRUNK, 0), Flash(EventKind.LEADER_MOVED, 30_000)]
    drawn = trail_text(trail, 31_000)
    assert drawn.plain == "⇄▼"
    assert [str(span.style) for span in drawn.spans] == ["bold reverse", "dim"]
    assert trail_text(trail, 62_000).plain == "⇄"
    assert trail_text(trail, 95_000).plain == ""


@given(st.lists(st.floats(0, 1e12), max_size=40), st.integers(1, 60), st.integers(1, 4))
def test_plots_keep_their_size_and_show_what_is_not_zero(values, width, height) -> None:
    line = sparkline(values, width)
    assert len(line) == width
    shown = values[-width:]
    assert sum(sign != " " for sign in line) == sum(value > 0 for value in shown)
    assert [len(each) for each in plot(values, width, height)] == [width] * height


def test_numbers_read_well() -> None:
    assert [count(n) for n in (None, 0, 4.25, 950, 12_300, 4_560_000)] == [
        "-",
        "0",
        "4.2",
        "950",
        "12.3k",
        "4.56M",
    ]
    assert [size(n) for n in (None, 812, 3_500_000)] == ["-", "812 B", "3.34 MiB"]
    assert [age(ms) for ms in (900, 65_000, 600_000, 9_000_000, 200_000_000)] == [
        "0 s",
        "65 s",
        "10 min",
        "2 h",
        "2 d",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("topic orders", Place("topic", "orders")),
        ("t", Place("topics")),
        ("t orders", Place("topic", "orders")),
        ("topics orders", Place("topic", "orders")),
        ("partitions isr < replicas", Place("partitions", "isr < replicas")),
        ("broker 2", Place("broker", "2")),
        ("node 1", Place("broker", "1")),
        ("billing", Place("group", "billing")),
        ("events isr", Place("events", "isr")),
        ("partitions", Place("partitions")),
        ("q", Said("quit", "")),
        ("theme nord", Said("theme", "nord")),
        ("elect", Said("elect", "")),
    ],
)
def test_commands(text: str, expected: object) -> None:
    assert read_command(text, KNOWN, ["elect"]) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("topik", 'Did you mean "topic"'),
        ("topic ordrs", 'Did you mean "orders"'),
        ("topic", "Which topic?"),
        ("broker 9", 'There is no broker "9"'),
        ("", "There is no command"),
        ("zzz qqq", "Type ? for help"),
        ("quorum 1", ":quorum takes no name; leave out 1."),
        ("theme nordic", 'There is no theme "nordic". Did you mean "nord"'),
        ("topics ordrs", 'Did you mean "orders"'),
    ],
)
def test_commands_that_lead_nowhere(text: str, words: str) -> None:
    with pytest.raises(CommandProblem, match=words.replace("?", r"\?")):
        read_command(text, KNOWN)


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("topic pay", "topic payments"),
        ("records pay", "records payments"),
        ("t pay", "t payments"),
        ("theme no", "theme nord"),
        ("events leader", "events LeaderMoved"),
        ("partitions under-m", "partitions under-min-isr"),
        ("quorum 1", None),
        ("node 2", "node 2"),
        ("par", "partitions"),
        ("delete-t", "delete-topic"),
        ("delete-topic pay", "delete-topic payments"),
        ("move pay", "move payments"),
        ("pay", "payments"),
        ("Pay", "payments"),
        ("topic ", None),
        ("zzz", None),
        ("", None),
    ],
)
def test_a_line_that_was_begun_is_completed_with_live_names(text: str, whole: str | None) -> None:
    actions = {"delete-topic": ["topic"], "move": ["partition", "topic"]}
    assert complete(text, KNOWN, actions) == whole


@settings(deadline=None)
@given(st.text(max_size=40))
def test_no_filter_fails_while_it_is_typed(text: str) -> None:
    found = row_filter(text, "partitions")
    fields = {"topic": "t", "partition": 0, "leader": 1, "isr": (1,), "replicas": (1, 2)}
    test = found.test(lambda row: "t-0 ok", lambda row: fields)
    assert test(None) in (True, False)


def lag(number: int) -> PartitionLag:
    return PartitionLag(
        topic="t", partition=0, committed=0, start=0, end=number, lag=number, member=None
    )


def test_time_to_drain_comes_from_the_trend() -> None:
    store = Store(STATUS)
    poll = Poll("lag", "g")
    assert store.drain_ms("g") is None
    for second, number in enumerate((1_000, 900, 800)):
        store.take(poll, Answer((lag(number),), second * 1_000))
    assert store.lag_per_second("g") == pytest.approx(-100)
    assert store.drain_ms("g") == 8_000
    store.take(poll, Answer((lag(2_000),), 3_000))
    assert store.drain_ms("g") is None
    store.take(poll, Answer((lag(0),), 60_000))
    assert store.drain_ms("g") == 0


def test_a_leader_that_does_not_answer_makes_no_lag_fall() -> None:
    store, poll = Store(STATUS), Poll("lag", "g")
    silent = replace(lag(0), partition=1, committed=5, end=None, lag=None)
    for second in range(20):
        whole = lag(500), replace(lag(2_000), partition=1)
        told = (lag(500), silent) if 5 < second < 12 else whole
        store.take(poll, Answer(told, second * 1_000))
        assert store.lags["g"].last == 2_500
    assert trend(store, "g") == "→ level"
    unread = replace(silent, committed=None)
    store.take(poll, Answer((lag(400), unread), 30_000))
    assert store.lags["g"].last == 400


def test_what_a_group_does_between_commits_is_no_trend() -> None:
    """It commits every five seconds, as most do, what it read at once: 60 records a second."""
    store, poll = Store(STATUS), Poll("lag", "g")
    for second in range(0, 62, 2):
        behind = second % 5 * 60
        store.take(poll, Answer((lag(20 + behind),), second * 1_000))
        assert drain(store, "g", "Stable") != "never, so far"
    assert trend(store, "g") == "→ level"
    for second in range(62, 100, 2):
        store.take(poll, Answer((lag(20 + (second - 60) * 27 + second % 5 * 60),), second * 1_000))
    assert 22 < store.lag_per_second("g") < 32
    assert drain(store, "g", "Stable") == "never, so far"


def test_a_leader_that_is_away_does_not_look_like_lost_records() -> None:
    store = Store(STATUS)
    store.take(Poll("ends"), Answer({("t", 0): 100, ("t", 1): 50}, 0))
    store.take(Poll("ends"), Answer({("t", 0): None, ("t", 1): 70}, 1_000))
    assert store.ends["t"].per_second() == pytest.approx(20)
    assert store.ends[""].per_second() == pytest.approx(20)


def test_what_was_there_all_along_does_not_look_like_a_burst() -> None:
    store = Store(STATUS)
    store.take(Poll("ends"), Answer({("t", 0): 100}, 0))
    store.take(Poll("ends"), Answer({("t", 0): 110, ("u", 0): 90_000}, 1_000))
    assert store.ends[""].per_second() == pytest.approx(10)
    assert store.ends["u"].rates() == []
    store.take(Poll("ranges", "u"), Answer({("u", 0): (0, 90_005)}, 2_000))
    store.take(Poll("ends"), Answer({("t", 0): 110, ("u", 0): 90_010}, 3_000))
    assert store.ends["u"].rates() == [5, 5]
    assert store.ends[""].rates() == [10, 5]


def test_the_first_rate_is_one_and_not_the_nothing_before_the_cluster_was_known() -> None:
    store = Store(STATUS)
    store.take(Poll("ends"), Answer({}, 0))
    store.take(Poll("ends"), Answer({("t", 0): 100}, 1_000))
    assert store.ends[""].per_second() is None
    store.take(Poll("ends"), Answer({("t", 0): 150}, 2_000))
    assert store.ends[""].per_second() == pytest.approx(50)
    assert store.ends[""].rates() == [50]


def test_topics_beyond_the_limit_do_not_push_each_others_rates_out() -> None:
    store, topics = Store(STATUS), [f"t{number}" for number in range(2_500)]
    for second in range(30):
        ends = {(name, 0): second * 10 for name in topics}
        store.take(Poll("ends"), Answer(ends, second * 1_000))
    for name in ("t0", "t1999", "t2000", "t2499"):
        assert store.ends[name].per_second() == pytest.approx(10)
        assert len(store.ends[name].rates()) == 29
    assert store.ends[""].per_second() == pytest.approx(25_000)
    # A topic whose page is open is asked by itself, between the others.
    store.take(Poll("ranges", "t0"), Answer({("t0", 0): (0, 295)}, 29_500))
    store.take(Poll("ends"), Answer(dict.fromkeys(ends, 300), 30_000))
    assert store.ends["t0"].rates()[-2:] == [10, 10]
    assert len(store.ends) == 2_501
    # What is gone makes room for what is there.
    store.take(Poll("ends"), Answer({(f"new{number}", 0): 1 for number in range(1_999)}, 31_000))
    assert len(store.ends) == 2_000
    assert not store.ends.keys() & set(topics)


def test_groups_beyond_the_limit_do_not_push_each_others_lags_out() -> None:
    store, groups = Store(STATUS), [f"g{number}" for number in range(2_500)]
    for second in range(3):
        answer = {name: (lag(1_000 - second * 100),) for name in groups}
        store.take(Poll("lags"), Answer(answer, second * 1_000))
    for name in ("g0", "g2499"):
        assert store.lag_per_second(name) == pytest.approx(-100)
    store.take(Poll("lag", "g0"), Answer((lag(700),), 3_000))
    assert store.drain_ms("g0") == 7_000
    assert store.lag_per_second("g1") == pytest.approx(-100)
    assert len(store.lags) == len(store.commits) == 2_500


def test_the_history_of_very_many_topics_is_shorter_but_never_too_short_for_a_rate() -> None:
    store = Store(STATUS)
    for second in range(26):
        ends = {(f"t{number}", 0): second * 10 for number in range(10_500)}
        store.take(Poll("ends"), Answer(ends, second * 1_000))
    assert len(store.ends["t0"].levels) == 24
    assert store.ends["t0"].per_second() == pytest.approx(10)


def test_failed_answers_change_no_numbers() -> None:
    store = Store(STATUS)
    store.take(Poll("ends"), Answer({("t", 0): 100}, 0))
    store.take(Poll("ends"), Answer({("t", 0): 100}, 0, "no answer", 1))
    assert store.ends["t"].levels == [0]
    assert store.answer(Poll("ends")).problem == "no answer"


def test_at_80_columns_the_tabs_have_their_whole_names() -> None:
    pages = [(title.lower(), title) for title in (
        "Overview", "Brokers", "Topics", "Partitions", "Groups", "Events", "Quorum"
    )]  # fmt: skip
    assert " 4 Partitions " in tabs_text(pages, "overview", "overview", 80).plain
    narrow = tabs_text(pages, "topic", "topic orders", 80).plain
    assert narrow.endswith(" » topic orders ")
    assert len(narrow) <= 80
    for width in (80, 120, 250):
        long = tabs_text(pages, "topic", "topic 注文" + "o" * 245, width)
        assert long.cell_len == width
        assert long.plain.endswith("o… ")
        assert (" 4 Partitions " in long.plain) is (width > 80)


def test_a_narrow_status_line_leaves_out_who_tells_it() -> None:
    status = replace(STATUS, source="127.0.0.1:9093")
    assert "from 127.0.0.1:9093" in str(status_text("c", status, ClusterView(), 0, 120))
    assert "from" not in str(status_text("c", status, ClusterView(), 0, 80))


def test_a_late_answer_is_told_with_its_age() -> None:
    status = FeedStatus(
        mode="slow", source="a:9093", message="a:9093 is late to answer", last_contact_ms=1_000
    )
    line = str(status_text("c", status, ClusterView(), 3_000, 120))
    assert "slow, may be late" in line
    assert "for 2 s" in line
    assert "live" not in line


def test_events_are_told_in_words() -> None:
    def told(kind: EventKind, before, after, epoch=None) -> str:
        made = ClusterEvent(
            at_ms=0, offset=0, kind=kind, broker=3, before=before, after=after, leader_epoch=epoch
        )
        return describe_event(made)[1]

    where = {"host": "kafka-3", "port": 9092, "rack": "c", "fenced": True, "epoch": 2}
    assert told(EventKind.BROKER_JOINED, None, where) == "at kafka-3:9092, rack c"
    assert told(EventKind.BROKER_JOINED, None, where | {"rack": None}) == "at kafka-3:9092"
    assert told(EventKind.CONTROLLER_CHANGED, None, 3, 1) == "is the controller  epoch 1"
    assert told(EventKind.CONTROLLER_CHANGED, 1, 3, 2) == "controller 1 → 3  epoch 2"
