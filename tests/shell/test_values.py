"""The small languages of the command line."""

from __future__ import annotations

import pytest

from shell.exits import UsageProblem
from shell.sources import parse_places
from shell.values import (
    Anchor,
    Position,
    format_bytes,
    format_duration,
    format_time,
    parse_bootstrap,
    parse_duration_ms,
    parse_position,
    parse_topic_partition,
)

NOW_MS = 1_800_000_000_000


@pytest.mark.parametrize(
    ("text", "duration_ms"),
    [("10s", 10_000), ("500ms", 500), ("1.5m", 90_000), ("2h", 7_200_000), ("3", 3_000)],
)
def test_durations(text, duration_ms):
    assert parse_duration_ms(text) == duration_ms


@pytest.mark.parametrize("text", ["", "s", "-1s", "1 week", "1e3"])
def test_durations_that_are_none(text):
    with pytest.raises(UsageProblem, match="is not a duration"):
        parse_duration_ms(text)


def test_addresses():
    assert parse_bootstrap("a:1, b,[::1]:9093,[::1]") == [
        "a:1",
        "b:9092",
        "[::1]:9093",
        "[::1]:9092",
    ]
    for text in ("", ",", "a:0", "a:70000", ":9092", "a:b"):
        with pytest.raises(UsageProblem):
            parse_bootstrap(text)


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("start", Position(Anchor.START)),
        ("end", Position(Anchor.END)),
        ("-5", Position(Anchor.LAST, 5)),
        ("42", Position(Anchor.OFFSET, 42)),
        ("@-10m", Position(Anchor.TIME, NOW_MS - 600_000)),
        ("@1700000000000", Position(Anchor.TIME, 1_700_000_000_000)),
        ("@2026-01-31T12:00:00Z", Position(Anchor.TIME, 1_769_860_800_000)),
        ("@2026-01-31T14:00:00+02:00", Position(Anchor.TIME, 1_769_860_800_000)),
    ],
)
def test_positions(text, position):
    assert parse_position(text, NOW_MS) == position


@pytest.mark.parametrize("text", ["", "-", "5-", "@", "@noon", "last", "--5"])
def test_positions_that_are_none(text):
    with pytest.raises(UsageProblem):
        parse_position(text, NOW_MS)


def test_topic_partitions():
    assert parse_topic_partition("orders") == ("orders", None)
    assert parse_topic_partition("orders:3") == ("orders", 3)


def test_what_is_shown():
    assert format_time(1_769_860_800_007) == "2026-01-31T12:00:00.007Z"
    nanoseconds = 1_769_860_800_007_000_000
    assert format_time(nanoseconds) == str(nanoseconds), "no calendar has it"
    assert parse_position(f"@{format_time(nanoseconds)}", 0).value == nanoseconds
    assert [format_bytes(n) for n in (0, 1023, 1536, 3 << 30)] == [
        "0 B",
        "1023 B",
        "1.5 KiB",
        "3.0 GiB",
    ]
    assert [format_duration(n) for n in (850, 12_345, 200_000, 18_120_000, 90_000_000)] == [
        "850 ms",
        "12 s",
        "3 m 20 s",
        "5 h 2 m",
        "1 d 1 h",
    ]


def test_places_are_topics_or_partitions_of_them():
    wanted = [("a", None), ("b", 3), ("c", 0), ("c", 4), ("c", 5)]
    assert parse_places(["a", "b:3", "c:0,4-5"]) == wanted
    for wrong in ("a:", "a:x", ":1", "a:1-", "a:3-1", "a:0-99999999999"):
        with pytest.raises(UsageProblem):
            parse_places([wrong])
