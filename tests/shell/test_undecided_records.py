"""What a live reader says of records that it showed before their transaction was decided."""

from __future__ import annotations

import io

import pytest
from aiokafka import TopicPartition

from shell.output import Output
from shell.printing import Printer
from shell.records import ReadRecord
from shell.transactions import Marker, Transaction
from shell.undecided import Undecided

HOME, OTHER = TopicPartition("pay", 0), TopicPartition("pay", 1)


def record(offset: int, producer: int | None, state: str = "open", *, stable: bool = False):
    transaction = None if producer is None else Transaction(producer, 0, state)
    return ReadRecord(
        topic="pay",
        partition=0,
        offset=offset,
        timestamp_ms=5,
        key=None,
        value=b"v",
        transaction=transaction,
        stable=stable,
    )


def shown(undecided: Undecided, producer: int | None, *offsets: int, home=HOME) -> None:
    for offset in offsets:
        undecided.shown(home, record(offset, producer))


def ended(undecided, offset, producer, control="commit", stable_end=100, home=HOME) -> None:
    undecided.ended(home, Marker(offset, 0, producer, 0, control), stable_end)


def test_how_a_transaction_ended_is_said_once_with_its_records():
    undecided = Undecided()
    shown(undecided, 7, 5, 6, 7)
    shown(undecided, 8, 9)
    assert undecided.lines({}) == []
    ended(undecided, 10, 7)
    ended(undecided, 11, 8, "abort")
    # What did not happen comes first.
    assert undecided.lines({HOME: 12}) == [
        "Transaction of producer 8 aborted: offset 9 of pay-0.",
        "Transaction of producer 7 committed: offsets 5-7 of pay-0.",
    ]
    assert undecided.lines({HOME: 12}) == []


def test_nothing_is_said_of_what_was_not_shown_as_open():
    undecided = Undecided()
    undecided.shown(HOME, record(1, None, stable=True))
    undecided.shown(HOME, record(2, 7, "committed", stable=True))
    undecided.shown(HOME, record(3, 7, "aborted", stable=True))
    ended(undecided, 4, 7)
    shown(undecided, 7, 5)
    ended(undecided, 6, 7, home=OTHER)
    ended(undecided, 6, 8)
    assert undecided.lines({HOME: 9, OTHER: 9}) == []


def test_a_state_that_could_not_be_found_out_is_put_right_too():
    undecided = Undecided()
    undecided.shown(HOME, record(3, 7, "unknown", stable=True))
    ended(undecided, 4, 7, "abort")
    assert undecided.lines({}) == ["Transaction of producer 7 aborted: offset 3 of pay-0."]


def test_offsets_of_others_in_between_are_not_claimed():
    undecided = Undecided()
    shown(undecided, 7, 5, 9)
    ended(undecided, 10, 7)
    assert undecided.lines({}) == [
        "Transaction of producer 7 committed: offsets 5-9 (2 records) of pay-0.",
    ]


def test_many_transactions_are_said_in_few_words():
    undecided = Undecided()
    for number in range(8):
        shown(undecided, 7, 2 * number)
        ended(undecided, 2 * number + 1, 7)
    for producer in range(10, 17):
        shown(undecided, producer, producer + 20)
        ended(undecided, producer + 40, producer, "abort" if producer == 16 else "commit")
    assert undecided.lines({}) == [
        "Transaction of producer 16 aborted: offset 36 of pay-0.",
        "8 transactions of producer 7 committed: offsets 0, 2, 4, 6, 8 and 3 more up to 14 of pay-0.",
        *(
            f"Transaction of producer {n} committed: offset {n + 20} of pay-0."
            for n in (10, 11, 12)
        ),
        "3 more transactions ended: 3 committed, 0 aborted (--control-records shows each).",
    ]


def test_what_is_held_is_free_once_all_before_it_is_decided():
    undecided = Undecided()
    shown(undecided, 7, 5)
    shown(undecided, 8, 6)
    shown(undecided, None, 8)
    # Committed, but readers of read_committed wait before 5.
    ended(undecided, 9, 8, stable_end=5)
    assert undecided.lines({HOME: 5}) == [
        "Transaction of producer 8 committed: offset 6 of pay-0, held behind one that is still open.",
    ]
    shown(undecided, None, 12)
    ended(undecided, 10, 7, "abort", stable_end=11)
    assert undecided.lines({HOME: 11}) == [
        "Transaction of producer 7 aborted: offset 5 of pay-0.",
        "pay-0 is decided up to offset 10: nothing is held there any more.",
    ]
    assert undecided.lines({HOME: 11}) == []
    assert undecided.lines({HOME: 13}) == [
        "pay-0 is decided up to offset 12: nothing is held there any more.",
    ]
    assert undecided.lines({HOME: 13}) == []


@pytest.mark.parametrize(
    ("form", "options", "leaves_open"),
    [
        ("table", {}, True),
        ("json", {}, True),
        ("json", {"controls": True}, False),
        ("raw", {}, False),
        ("table", {"template": str}, False),
    ],
)
def test_nothing_is_kept_for_later_where_nothing_will_be_said(form, options, leaves_open):
    """A dashboard reads control records for days."""
    output = Output(stdout=io.BytesIO(), stderr=io.StringIO(), format=form)
    assert Printer(output, **options).leaves_open is leaves_open
