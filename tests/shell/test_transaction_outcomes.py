"""How the transaction of a record ended, as a reader finds out: in the log, or from the leader."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException, KafkaConnectionError, UnknownError
from aiokafka.record.memory_records import MemoryRecords

from broker.protocol.batch import ControlType, Record, encode_batch, encode_control_batch
from shell import transactions
from shell.transactions import LeftOut, Marker, Outcomes, Part, told

HOME = TopicPartition("pay", 0)


class Leader:
    """Answers what a test says, one after the other: codes, errors, or aborted transactions."""

    def __init__(self, *answers: Any, stable_end: int = 100, leader: int = 1) -> None:
        self.answers, self.asked = list(answers), 0
        self.stable_end = stable_end
        self._client = self
        self.cluster = SimpleNamespace(leader_for_partition=lambda _: leader)

    def assignment(self) -> set[TopicPartition]:
        return {HOME}

    def last_stable_offset(self, _: TopicPartition) -> int:
        return self.stable_end

    async def send(self, node: int, request: Any) -> Any:
        assert node == 1
        self.asked += 1
        answer = self.answers.pop(0) if self.answers else 6
        if isinstance(answer, Exception):
            raise answer
        code, aborted = (answer, []) if isinstance(answer, int) else (0, answer)
        part = (0, code, 200, self.stable_end, 0, aborted, -1, b"")
        return SimpleNamespace(API_VERSION=11, topics=[("pay", [part])])


def part(offset: int, producer_id: int = 7, state: str | None = None) -> Part:
    return Part(SimpleNamespace(offset=offset), producer_id, 0, state)


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(transactions, "_PAUSE_S", 0)


async def state_of(leader: Leader, each: Part) -> str:
    return (await Outcomes(leader).of(HOME, each)).state


async def test_nobody_is_asked_what_the_fetch_says():
    leader = Leader()
    assert await state_of(leader, part(5, state="aborted")) == "aborted"
    assert await state_of(leader, part(100)) == "open"
    assert leader.asked == 0


@pytest.mark.parametrize(
    ("aborted", "state"),
    [
        ([], "committed"),
        ([(7, 3)], "aborted"),
        ([(7, 5)], "aborted"),
        # Another producer's, and a later one of the same.
        ([(8, 3), (7, 6)], "committed"),
    ],
)
async def test_the_leader_is_asked_for_what_ended_beyond_the_fetch(aborted, state):
    assert await state_of(Leader(aborted), part(5)) == state


async def test_a_leader_that_moved_is_asked_again_and_one_that_is_gone_makes_nothing_up():
    leader = Leader(6, UnknownError(), KafkaConnectionError(), [(7, 3)])
    assert await state_of(leader, part(5)) == "aborted"
    assert leader.asked == 4
    assert await state_of(Leader(), part(5)) == "unknown"
    assert await state_of(Leader(leader=-1), part(5)) == "unknown"


async def test_one_transaction_is_asked_for_once():
    leader = Leader([(7, 3)], [])
    outcomes = Outcomes(leader)
    assert [(await outcomes.of(HOME, part(n))).state for n in (5, 6, 7)] == ["aborted"] * 3
    assert leader.asked == 1
    outcomes.passed(HOME, Marker(8, 0, 7, 0, "abort"))
    assert (await outcomes.of(HOME, part(9))).state == "committed"
    assert leader.asked == 2


def written(offset: int, count: int = 1, producer_id: int = -1) -> bytes:
    return encode_batch(
        [Record(offset + n, 5, None, b"v%d" % (offset + n)) for n in range(count)],
        base_offset=offset,
        producer_id=producer_id,
        producer_epoch=0,
        base_sequence=0,
        transactional=producer_id >= 0,
    )


def ended(offset: int, producer_id: int, kind: ControlType) -> bytes:
    return encode_control_batch(
        kind,
        b"\0" * 6,
        base_offset=offset,
        leader_epoch=0,
        timestamp_ms=5,
        producer_id=producer_id,
        producer_epoch=0,
        transactional=True,
    )


# Two producers by turns; of 7 the second transaction is aborted, 8's does not end here.
LOG = (
    written(0),
    written(1, 2, 7),
    written(3, 2, 8),
    ended(5, 7, ControlType.COMMIT),
    written(6, 3, 7),
    written(9),
    ended(10, 7, ControlType.ABORT),
    written(11, 1, 7),
)


def taken(log: bytes, aborted: Any = None, *, start: int = 0, committed: bool = False) -> list[Any]:
    """What a consumer hands out of a fetch: records by their offset, parts with their state."""
    level = fetcher.READ_COMMITTED if committed else fetcher.READ_UNCOMMITTED
    with told():
        found = fetcher.PartitionRecords(
            HOME, MemoryRecords(log), aborted, start, None, None, True, level
        )
        return [
            (each.offset, each.state)
            if isinstance(each, Part)
            else (each.offset, each.control)
            if isinstance(each, Marker)
            else (each.offset, each.records)
            if isinstance(each, LeftOut)
            else each.offset
            for each in found
        ]


def test_a_marker_behind_a_record_says_how_its_transaction_ended():
    assert taken(b"".join(LOG)) == [
        0, (1, "committed"), (2, "committed"), (3, None), (4, None), (5, "commit"),
        (6, "aborted"), (7, "aborted"), (8, "aborted"), 9, (10, "abort"), (11, None),
    ]  # fmt: skip


def test_what_is_left_out_is_counted():
    assert taken(b"".join(LOG), [(7, 6), (8, 3)], committed=True) == [
        0, (1, "committed"), (2, "committed"), (3, 2), (5, "commit"), (6, 3), 9, (10, "abort"),
        (11, "committed"),
    ]  # fmt: skip


def test_a_fetch_may_begin_within_a_batch_or_with_a_marker():
    assert taken(b"".join(LOG[4:]), [(7, 6)], start=7, committed=True)[0] == (7, 2)
    assert taken(b"".join(LOG[4:]), start=8)[:2] == [(8, "aborted"), 9]
    # What the transaction before the marker was says nothing of the next one.
    begun = taken(b"".join(LOG[6:]), [(7, 6)], start=10, committed=True)
    assert begun == [(10, "abort"), (11, "committed")]


def test_what_stands_before_a_damaged_marker_is_handed_out():
    damaged = bytearray(LOG[3])
    damaged[-1] ^= 1
    with told():
        found = fetcher.PartitionRecords(
            HOME,
            MemoryRecords(b"".join((LOG[0], LOG[1], bytes(damaged), LOG[5]))),
            None,
            0,
            None,
            None,
            True,
            fetcher.READ_UNCOMMITTED,
        )
        assert [next(found).offset for _ in range(3)] == [0, 1, 2]
        with pytest.raises(CorruptRecordException):
            next(found)


def test_other_consumers_get_what_they_always_got():
    found = fetcher.PartitionRecords(
        HOME, MemoryRecords(b"".join(LOG)), None, 0, None, None, True, fetcher.READ_UNCOMMITTED
    )
    assert [each.offset for each in found] == [0, 1, 2, 3, 4, 6, 7, 8, 9, 11]
    assert type(found) is transactions._plain
