"""Filters, templates, sources and decoded internal records: no broker needed."""

from __future__ import annotations

import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shell.decoding import decode
from shell.exits import UsageProblem
from shell.record_filters import build_filter
from shell.record_formats import parse_template, record_hex, record_string
from shell.records import ReadRecord, record_heading, record_line
from shell.sources import Source, chosen_sources, parse_source

ORDER = {
    "customer": {"id": "c42", "vip": True},
    "total": 120.5,
    "items": [{"sku": "A1"}, {"sku": "B2"}],
    "note": None,
    "odd name": 1,
}


def record(value=None, key=b"c42", headers=(("trace", b"abc"), ("none", None)), **more):
    if value is None:
        value = json.dumps(ORDER).encode()
    values = {"topic": "orders", "partition": 3, "offset": 7, "timestamp_ms": 1_700_000_000_123}
    return ReadRecord(key=key, value=value, headers=headers, **(values | more))


@pytest.mark.parametrize(
    ("condition", "fits"),
    [
        ("total>100", True),
        ("total > 120.5", False),
        ("total>=120.5", True),
        ("total<1000", True),
        ("customer.id=c42", True),
        ("customer.id == 'c42'", True),
        ("$.customer.id != c42", False),
        ("customer.vip=true", True),
        ("customer.vip=1", False),
        ("items[0].sku=A1", True),
        ("items[5].sku", False),
        ("items[*].sku~^B", True),
        ("items[*].sku !~ ^[AB]", False),
        ("note", True),
        ("note=null", True),
        ("nothing", False),
        ('["odd name"]=1', True),
        ("customer.id>c41", True),
        ("customer>1", False),
    ],
)
def test_conditions_on_json(condition, fits):
    accepted = build_filter(where=[condition])
    assert accepted(record()) is fits


def test_conditions_never_fail_on_what_is_no_json():
    accepted = build_filter(where=["a.b>1"])
    for value in (b"", b"\xff\xfe", b"[1, 2]", b"nul", b"[" * 100_000, None):
        assert accepted(ReadRecord(**{**_plain(), "value": value})) is False


def _plain():
    return {"topic": "t", "partition": 0, "offset": 0, "timestamp_ms": 0, "key": None, "value": b""}


@pytest.mark.parametrize(
    ("options", "fits"),
    [
        ({"key": ["^c"]}, True),
        ({"key": ["!^c"]}, False),
        ({"key": ["^c", "43"]}, False),
        ({"value": ["A1"]}, True),
        ({"grep": ["abc"]}, True),
        ({"grep": ["!abc"]}, False),
        ({"grep": ["zzz"]}, False),
        ({"header": ["trace"]}, True),
        ({"header": ["trace=^b"]}, False),
        ({"header": ["!trace"]}, False),
        ({"header": ["other"]}, False),
        ({"header": ["trace=b", "none"], "where": ["total>1"]}, True),
    ],
)
def test_patterns(options, fits):
    assert build_filter(**options)(record()) is fits


@pytest.mark.parametrize(
    "options",
    [{"key": ["(("]}, {"where": ["=="]}, {"where": ["a["]}, {"where": [""]}, {"header": ["=x"]}],
)
def test_filters_that_cannot_be_understood_are_refused(options):
    with pytest.raises(UsageProblem):
        build_filter(**options)


def test_no_filter_is_none():
    assert build_filter() is None


def test_templates():
    write = parse_template(
        "{topic}-{partition}@{offset} {time} {timestamp} {key} {value.customer.id} "
        "{value.items[1].sku} {header.trace}{header.no} {{}}\\t{value.size} {key.hex}{value.no}"
    )
    size = len(json.dumps(ORDER))
    assert write(record()) == (
        f"orders-3@7 2023-11-14T22:13:20.123Z 1700000000123 c42 c42 B2 abc {{}}\t{size} 633432"
    )
    assert parse_template("{value}|{value.a}")(record(b"\xff")) == "\ufffd|"


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{offst}", "Did you mean 'offset'"),
        ("ab {", "column 4"),
        ("{__class__}", "unknown field"),
        ("{value.__class__[}", "cannot be read"),
    ],
)
def test_templates_that_cannot_be_understood(template, said):
    with pytest.raises(UsageProblem, match=said):
        parse_template(template)


def test_values_as_lines_and_as_a_dump():
    assert record_string(record(b"a\nb\x1b[0m")) == "a\\nb\\x1b[0m"
    assert record_string(ReadRecord(**{**_plain(), "value": None})) == "null"
    dump = record_hex(record(bytes(range(20))))
    assert "orders:3 @ 7" in dump
    assert "00000010  10 11 12 13" in dump


def test_lines_of_more_than_one_topic_name_it():
    line = record_line(record(), topics=True)
    assert line.startswith("orders:3")
    assert line.index("2023-") == record_heading(topics=True).index("TIMESTAMP")


def test_sources():
    assert parse_source("orders") == Source("orders")
    assert parse_source("orders:0,3-5") == Source("orders", (0, 3, 4, 5))
    topics = ["orders", "orders-eu", "signups"]
    assert chosen_sources(["orders*", "signups:1", "signups:2"], topics) == [
        Source("orders"),
        Source("orders-eu"),
        Source("signups", (1, 2)),
    ]
    for wrong in ("orders:", "orders:x", "orders:5-3", ":1", "nope*"):
        with pytest.raises(UsageProblem):
            chosen_sources([wrong], topics)


def _text(text):
    return struct.pack(">h", len(text)) + text.encode()


def test_committed_offsets_and_groups_are_decoded():
    key = struct.pack(">h", 1) + _text("billing") + _text("orders") + struct.pack(">i", 3)
    value = struct.pack(">hqi", 3, 42, 5) + _text("note") + struct.pack(">q", 1_700_000_000_000)
    found = decode("__consumer_offsets", key, value)
    assert found == {
        "type": "offset-commit",
        "group": "billing",
        "topic": "orders",
        "partition": 3,
        "offset": 42,
        "leader_epoch": 5,
        "metadata": "note",
        "commit_time": "2023-11-14T22:13:20.000Z",
    }
    assert decode("__consumer_offsets", key, None)["deleted"] is True
    assert decode("orders", key, value) is None
    group = struct.pack(">h", 2) + _text("billing")
    assignment = struct.pack(">hi", 0, 1) + _text("orders") + struct.pack(">iiii", 2, 0, 1, 0)
    member = _text("m-1") + struct.pack(">h", -1) + _text("app") + _text("/10.0.0.1")
    member += struct.pack(">iii", 300_000, 45_000, 0)
    member += struct.pack(">i", len(assignment)) + assignment
    value = struct.pack(">h", 3) + _text("consumer") + struct.pack(">i", 9) + _text("range")
    value += _text("m-1") + struct.pack(">qi", 1_700_000_000_000, 1) + member
    found = decode("__consumer_offsets", group, value)
    assert (found["generation"], found["assignor"]) == (9, "range")
    assert found["members"][0]["assignment"] == [{"topic": "orders", "partitions": [0, 1]}]
    assert decode("__consumer_offsets", struct.pack(">h", 5) + _text("g"), b"x")["type"] == (
        "consumer-group-member"
    )


@given(st.binary(max_size=40), st.none() | st.binary(max_size=80), st.integers(0, 2))
def test_any_bytes_are_decoded_or_left_alone(key, value, version):
    for topic in ("__consumer_offsets", "__transaction_state"):
        for some in (key, struct.pack(">h", version) + key):
            found = decode(topic, some, value)
            assert found is None or "type" in found
            record_line(ReadRecord(**{**_plain(), "topic": topic, "key": some, "value": value}))
