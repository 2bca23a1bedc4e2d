"""Conditions: what they mean, how they are refused, and that nothing unknown passes for healthy."""

from __future__ import annotations

from typing import Any

import pytest

from clusters.query import UNKNOWN, ClusterState, QueryError, Steady, Table, parse

NOW_MS = 1_800_000_000_000


def partition(topic: str, number: int, **fields: Any) -> dict[str, Any]:
    row = {
        "topic": topic,
        "partition": number,
        "leader": 1,
        "preferred_leader": 1,
        "replicas": (1, 2, 3),
        "isr": (1, 2, 3),
        "min_isr": 2,
        "offline": False,
        "size": 1 << 20,
    }
    return {**row, **fields}


def state(missing: tuple[str, ...] = (), **tables: list[dict[str, Any]]) -> ClusterState:
    return ClusterState(
        {name: Table(tuple(rows), missing) for name, rows in tables.items()}, at_ms=NOW_MS
    )


SICK = state(
    partitions=[
        partition("orders", 0),
        partition("orders", 1, isr=(3,), leader=3),
        partition("orders", 2, isr=(2, 3), leader=None, offline=True),
        partition("signups", 0, isr=(1, 2), leader=2, min_isr=UNKNOWN),
    ]
)


def found(text: str, where: ClusterState = SICK) -> list[str]:
    return [f"{row['topic']}-{row['partition']}" for row in parse(text).rows(where)]


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("partitions where isr < min_isr and leader = 3", ["orders-1"]),
        ("partitions where isr < replicas", ["orders-1", "orders-2", "signups-0"]),
        ("partitions where isr = 3", ["orders-0"]),
        ("partitions where isr = [3, 2]", ["orders-2"]),
        ("partitions where isr != replicas", ["orders-1", "orders-2", "signups-0"]),
        ("partitions where isr contains 1", ["orders-0", "signups-0"]),
        ("partitions where not 1 in isr", ["orders-1", "orders-2"]),
        ("partitions where leader = none", ["orders-2"]),
        ("partitions where leader < 3", ["orders-0", "signups-0"]),
        ("partitions where not leader < 3", ["orders-1", "orders-2"]),
        ("partitions where leader != preferred_leader", ["orders-1", "orders-2", "signups-0"]),
        ("partitions where leader in [2, 3]", ["orders-1", "signups-0"]),
        ("partitions where isr = min_isr + 1", ["orders-0"]),
        ("partitions where replicas - 1 = isr", ["orders-2", "signups-0"]),
        ('partitions where topic ~ "^ord" and not offline', ["orders-0", "orders-1"]),
        ('partitions where topic !~ "^ord"', ["signups-0"]),
        ("partitions where topic = signups or offline = true", ["orders-2", "signups-0"]),
        ("partitions where topic contains gnu", ["signups-0"]),
        ("partitions where size >= 1MiB and topic = signups", ["signups-0"]),
        (
            "partitions where topic = orders and (leader = 1 or leader = 3)",
            ["orders-0", "orders-1"],
        ),
        ("partitions where topic = orders and leader = 1 or leader = 2", ["orders-0", "signups-0"]),
    ],
)
def test_rows(text: str, rows: list[str]) -> None:
    assert found(text) == rows


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("count(partitions where leader = none) = 1", True),
        ("count(partitions) > 4", False),
        ("no partitions where offline", False),
        ("any partitions where offline", True),
        ("partitions where offline", True),
        ("all partitions have isr = replicas", False),
        ("all partitions where topic = signups have leader = 2", True),
        ("all partitions where topic = nothing have leader = 2", True),
        ("(no partitions where offline) or count(partitions) = 4", True),
        ("not (no partitions where offline)", True),
        ("sum(size of partitions) = 4MiB", True),
        ("max(leader of partitions) = 3 and min(leader of partitions) = 1", True),
        ("max(leader of partitions where topic = nothing) > 0", False),
        ("sum(leader of partitions where topic = nothing) = 0", True),
        ("count(partitions where offline) < count(partitions)", True),
        # Nobody could say what min_isr of signups is.
        ("no partitions where isr < min_isr and topic = signups", None),
        ("no partitions where isr < min_isr", False),
        ("count(partitions where isr < min_isr) = 1", None),
        ("count(partitions where isr < min_isr) < 3", True),
        ("max(min_isr of partitions) = 2", None),
        ("count(groups) = 0", None),
    ],
)
def test_holds(text: str, verdict: bool | None) -> None:
    assert parse(text).holds(SICK) is verdict


def test_a_list_that_may_lack_rows_is_never_taken_for_healthy() -> None:
    partial = state(("broker 2 did not answer",), partitions=[partition("orders", 0)])
    assert parse("no partitions where offline").holds(partial) is None
    assert parse("all partitions have isr = replicas").holds(partial) is None
    assert parse("any partitions where offline").holds(partial) is None
    assert parse("count(partitions) >= 1").holds(partial) is True
    assert parse("count(partitions) = 1").holds(partial) is None
    assert parse("no partitions where topic = orders").holds(partial) is False
    assert parse("no partitions where offline").missing(partial) == ["broker 2 did not answer"]


def test_the_rows_that_speak_against_a_condition_are_its_evidence() -> None:
    assert found("all partitions have isr = replicas") == ["orders-1", "orders-2", "signups-0"]
    assert found("no partitions where offline") == ["orders-2"]
    doubtful = parse("no partitions where isr < min_isr").doubtful(SICK)
    assert [row["topic"] for row in doubtful] == ["signups"]


def test_settings_compare_as_numbers_and_as_text() -> None:
    topics = state(
        topics=[
            {"topic": "a", "config.retention.ms": "604800000", "config.cleanup.policy": "delete"},
            {"topic": "b", "config.retention.ms": "-1", "config.cleanup.policy": "compact"},
            {"topic": "c", "config.retention.ms": UNKNOWN, "config.cleanup.policy": None},
        ]
    )

    def names(text: str) -> list[str]:
        return [row["topic"] for row in parse(text).rows(topics)]

    assert names("topics where config.retention.ms = 7d") == ["a"]
    assert names("topics where config.retention.ms < 1d") == ["b"]
    assert names("topics where config.cleanup.policy = compact") == ["b"]
    assert names('topics where config.cleanup.policy ~ "^del"') == ["a"]
    assert parse("topics where config.retention.ms = 7d").doubtful(topics)[0]["topic"] == "c"


def test_times_and_words() -> None:
    events = state(
        events=[
            {"kind": "IsrShrunk", "at": NOW_MS - 60_000, "age": 60_000},
            {"kind": "LeaderMoved", "at": NOW_MS - 3_600_000, "age": 3_600_000},
        ]
    )
    assert len(parse("events where at > now - 5m").rows(events)) == 1
    assert len(parse("events where age < 2h and kind = leadermoved").rows(events)) == 1
    assert len(parse("events where at > 2020-01-01T00:00:00Z").rows(events)) == 2


@pytest.mark.parametrize(
    ("text", "column", "words"),
    [
        ("partitions where leder = 3", 18, 'did you mean "leader"?'),
        ("partitons where offline", 1, 'did you mean "partitions"?'),
        ("partitions where isr < min_isrr", 24, 'did you mean "min_isr"?'),
        ("groups where state = stabel", 22, 'did you mean "Stable"?'),
        ("partitions where isr < 3 and count(brokers) = 1", 26, "parentheses"),
        ("partitions where isr =", 23, "expected a value, not the end"),
        ("partitions where isr == 3", 22, "write `=`"),
        ("partitions where topic < orders", 26, "does not fit"),
        ("partitions where topic ~ ^or", 26, "quotes"),
        ('partitions where topic ~ "("', 26, "pattern cannot be read"),
        ('partitions where topic = "orders', 26, "not closed"),
        ("groups where lag > 10m", 20, "plain number"),
        ("groups where lag > 10 for", 26, "duration"),
        ("groups where lag > 10 for 10x", 27, "duration"),
        ("all partitions where offline", 29, "have"),
        ("partitions where leader < none", 27, "only be compared by"),
        ("partitions where topic in isr", 27, "can be in no"),
        ("partitions where (offline", 26, "parenthesis is open"),
        ("partitions where offline)", 25, "no parenthesis is open"),
        ("partitions where size > offline", 25, "cannot be compared"),
        ("partitions where 3 = 3", 18, "needs a field"),
        ("count(partitions)", 18, "must be compared"),
        ("sum(topic of partitions) > 3", 5, "not a number"),
        ("", 1, "expected what to ask about"),
    ],
)
def test_refusals_name_the_place_and_the_way_out(text: str, column: int, words: str) -> None:
    with pytest.raises(QueryError) as caught:
        parse(text)
    assert caught.value.column == column
    assert words in str(caught.value)
    assert str(caught.value).splitlines()[-1].index("^") == column + 1


def test_the_line_of_a_long_condition_is_named() -> None:
    with pytest.raises(QueryError) as caught:
        parse("partitions\n  where isr < 3\n  and leder = 3")
    assert (caught.value.line, caught.value.column) == (3, 7)


def test_a_list_takes_the_condition_of_its_rows_alone() -> None:
    assert str(parse("partitions > 6", table="topics")) == "topics where partitions > 6"
    assert parse("topics where offline > 0", table="topics").table == "topics"
    with pytest.raises(QueryError, match="only topics are listed here"):
        parse("groups where lag > 3", table="topics")


def test_what_a_condition_needs_to_know() -> None:
    needs = {str(need) for need in parse("partitions where isr < min_isr").needs}
    assert needs == {"metadata", "topic configs"}
    assert {str(need) for need in parse("brokers where state = up").needs} == {"metadata"}
    assert "group lag" in {str(need) for need in parse("groups where lag > 3").needs}


def lagging(at_s: int, **lags: Any) -> ClusterState:
    rows = tuple({"group": group, "lag": lag} for group, lag in lags.items())
    return ClusterState({"groups": Table(rows)}, at_ms=NOW_MS + at_s * 1000)


def test_for_asks_each_row_to_hold_all_along() -> None:
    steady = Steady(parse("groups where lag > 1000 for 10m"))
    assert steady.rows(lagging(0, pay=5000, mail=5000)) == []
    assert steady.rows(lagging(300, pay=5000, mail=10)) == []
    late = steady.rows(lagging(600, pay=2000, mail=5000))
    assert [row["group"] for row in late] == ["pay"]
    assert [row["group"] for row in steady.rows(lagging(1200, pay=2000, mail=5000))] == [
        "pay",
        "mail",
    ]


def test_what_is_unknown_for_a_moment_starts_again() -> None:
    steady = Steady(parse("no groups where lag > 1000 for 1m"))
    assert steady.take(lagging(0, pay=1)) is False
    assert steady.take(lagging(50, pay=UNKNOWN)) is None
    assert steady.take(lagging(70, pay=1)) is False
    assert steady.take(lagging(130, pay=1)) is True
    assert steady.take(lagging(140, pay=5000)) is False
