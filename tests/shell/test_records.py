"""No byte of a record is lost on its way to a script, and none hurts a terminal."""

from __future__ import annotations

import base64
import json

from shell.records import ReadRecord, record_json, record_line, transaction_mark
from shell.transactions import Transaction

IMAGE = bytes(range(256))


def record(**fields) -> ReadRecord:
    base = {
        "topic": "orders",
        "partition": 3,
        "offset": 42,
        "timestamp_ms": 1_769_860_800_007,
        "key": b"c42",
        "value": "grün".encode(),
    }
    return ReadRecord(**(base | fields))


def test_text_stays_text():
    assert record_json(record(headers=[("type", b"order"), ("empty", None)])) == {
        "topic": "orders",
        "partition": 3,
        "offset": 42,
        "timestamp": "2026-01-31T12:00:00.007Z",
        "key": "c42",
        "value": "grün",
        "headers": [
            {"name": "type", "value": "order", "encoding": "utf-8"},
            {"name": "empty", "value": None, "encoding": "utf-8"},
        ],
        "encoding": "utf-8",
        "key_encoding": "utf-8",
        "transaction": None,
        "stable": True,
    }


def test_what_was_written_in_a_transaction_says_how_it_ended():
    paid = Transaction(producer_id=7, producer_epoch=2, state="aborted")
    told = {"producer_id": 7, "producer_epoch": 2, "state": "aborted"}
    assert record_json(record(transaction=paid))["transaction"] == told
    marks = [
        transaction_mark(record(transaction=Transaction(7, 2, state), stable=stable))
        for state, stable in (("aborted", True), ("open", False), ("committed", False))
    ]
    assert marks == ["aborted", "open", "held"]
    assert transaction_mark(record(transaction=Transaction(7, 2, "committed"))) == ""
    assert record_line(record(transaction=paid)).endswith("grün  <aborted>")


def test_binary_values_come_back_byte_for_byte():
    data = json.loads(json.dumps(record_json(record(value=IMAGE, key=b"\xff"))))
    assert data["encoding"] == "base64"
    assert base64.b64decode(data["value"]) == IMAGE
    assert data["key_encoding"] == "base64"
    assert base64.b64decode(data["key"]) == b"\xff"


def test_nothing_is_null_and_not_empty():
    data = record_json(record(value=None, key=b""))
    assert data["value"] is None
    assert data["key"] == ""


def test_a_line_never_holds_control_characters():
    line = record_line(record(value=b"a\x1b[31mred\nnext\ttab"))
    assert line.isprintable()
    assert "a\\x1b[31mred\\nnext\\ttab" in line
    assert "<256 bytes: 00 01 02 03 04 05 06 07 08 09 0a 0b...>" in record_line(record(value=IMAGE))
    assert record_line(record(value=None)).endswith("-")
