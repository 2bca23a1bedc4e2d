"""The shell around a coordinator: loading in turns, batches, time limits, the end of a term."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from broker.groups import (
    CommitEntry,
    CommitRequest,
    CommittedOffset,
    Decision,
    GroupCoordinator,
    GroupSettings,
    OffsetRecord,
    encode_record,
)
from broker.protocol.batch import Record, decode_records, encode_batch, iter_batches, patch
from broker.protocol.errors import ErrorCode
from broker.protocol.struct import ZERO_UUID
from broker.runtime import group_shard
from broker.runtime.doors import SystemClock
from broker.runtime.group_shard import GroupShard
from broker.runtime.replica_requests import ProduceResult
from broker.runtime.replica_waits import ProduceWait
from tests.unit.groups.group_world import World

COMMIT_TIMEOUT_MS = 200


class FakeReplicas:
    """One partition's log in memory; `hold` keeps what is appended from being committed."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.start_offset = 0
        self.end_offset = 0
        self.high_watermark = 0
        self.hold = False
        self.refuse: ErrorCode | None = None
        self.batches: list[int] = []
        self.waits: list[ProduceWait] = []
        self.reads = 0

    def append(self, records: Sequence[Record], *, base_offset: int | None = None) -> None:
        """Put a batch into the log as it was inherited, perhaps after a hole."""
        base = self.end_offset if base_offset is None else base_offset
        batch = bytearray(encode_batch(records))
        patch(batch, 0, base_offset=base, leader_epoch=1)
        self.data += batch
        self.end_offset = base + records[-1].offset - records[0].offset + 1
        self.high_watermark = self.end_offset

    # the log

    def read(self, offset: int, max_bytes: int, *, upto_offset: int) -> bytes:
        self.reads += 1
        found = bytearray()
        for position, header in iter_batches(bytes(self.data)):
            if header.next_offset > offset and header.base_offset < upto_offset:
                found += self.data[position : position + header.size_bytes]
                if len(found) >= max_bytes:
                    break
        return bytes(found)

    # the replica manager

    def write(self, topic: str, index: int, batch: bytes) -> tuple[ProduceResult, Any]:
        if self.refuse is not None:
            return ProduceResult(self.refuse), None
        records = decode_records(batch)
        self.batches.append(len(records))
        watermark, base = self.high_watermark, self.end_offset
        self.append(records)
        result = ProduceResult(ErrorCode.none, base)
        if not self.hold:
            return result, None
        self.high_watermark = watermark
        return result, self.wait(result)

    def wait_replicated(self, topic: str, index: int, offset: int) -> ProduceWait | None:
        return None if offset <= self.high_watermark else self.wait(ProduceResult(ErrorCode.none))

    def wait(self, success: ProduceResult) -> ProduceWait:
        wait = ProduceWait([success], asyncio.get_running_loop().create_future())
        wait.undecided[0] = success
        self.waits.append(wait)
        return wait

    def commit(self) -> None:
        self.high_watermark = self.end_offset
        while self.waits:
            self.waits.pop(0).decide(0, ErrorCode.none)


class FakePartition:
    """The partition that is led here."""

    topic, index, leader_epoch, is_leader = "__consumer_offsets", 0, 1, True

    def __init__(self, log: FakeReplicas) -> None:
        self.log = log

    @property
    def high_watermark(self) -> int:
        return self.log.high_watermark


def shard_on(log: FakeReplicas) -> GroupShard:
    partition: Any = FakePartition(log)
    replicas: Any = log
    core = GroupCoordinator(GroupSettings(), World().rng)
    return GroupShard(core, partition, replicas, SystemClock(), COMMIT_TIMEOUT_MS)


async def loaded_shard(log: FakeReplicas) -> GroupShard:
    shard = shard_on(log)
    shard.start()
    async with asyncio.timeout(60):
        while not shard.loaded and not shard.closed:
            await asyncio.sleep(0)
    return shard


def offset_record(number: int, offset: int = 0) -> Record:
    value = CommittedOffset(number, commit_timestamp_ms=1)
    key, data = encode_record(OffsetRecord(f"g{number}", "t", 0, value))
    return Record(offset, 1, key, data, ())


def commit(shard: GroupShard, offset: int = 5) -> "asyncio.Future[list[ErrorCode]]":
    ticket: asyncio.Future[list[ErrorCode]] = asyncio.get_running_loop().create_future()
    entries = [CommitEntry("t", 0, offset, -1, "", ZERO_UUID)]
    request = CommitRequest("g", -1, "", None, entries, 9)
    shard.perform(shard.core.commit(request, ticket, shard.now()))
    return ticket


async def answer(ticket: "asyncio.Future[list[ErrorCode]]") -> ErrorCode:
    async with asyncio.timeout(60):
        (code,) = await ticket
    return code


async def test_a_log_with_holes_is_loaded_whole_and_in_turns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(group_shard, "LOAD_BYTES", 2_000)
    log = FakeReplicas()
    for number in range(200):
        log.append([offset_record(number)], base_offset=number * 3)
    shard = shard_on(log)
    shard.start()
    turns = 0
    while not shard.loaded:
        turns += 1
        await asyncio.sleep(0)
    assert turns > 5, "others had no turn while it loaded"
    assert log.reads > 5
    assert {each: shard.core.offsets.get(each, "t", 0) for each in shard.core.groups} == {
        f"g{number}": CommittedOffset(number, commit_timestamp_ms=1) for number in range(200)
    }
    shard.close()


async def test_a_log_that_cannot_be_understood_is_not_served() -> None:
    log = FakeReplicas()
    log.append([offset_record(1)])
    log.append([Record(0, 1, b"\x00\x01\x00", b"nonsense", ())])
    shard = await loaded_shard(log)
    assert shard.closed
    assert not shard.loaded


async def test_records_of_other_kinds_are_passed_over() -> None:
    log = FakeReplicas()
    log.append([Record(0, 1, b"\x00\x63", b"of the future", ())])
    log.append([offset_record(1)])
    shard = await loaded_shard(log)
    assert list(shard.core.groups) == ["g1"]
    shard.close()


async def test_a_commit_is_answered_when_it_is_replicated() -> None:
    log = FakeReplicas()
    shard = await loaded_shard(log)
    log.hold = True
    ticket = commit(shard)
    await asyncio.sleep(0)
    assert not ticket.done()
    assert shard.fresh_core().offsets.get("g", "t", 0) is None
    log.commit()
    assert await answer(ticket) is ErrorCode.none
    assert shard.fresh_core().offsets.get("g", "t", 0) is not None
    shard.close()


async def test_a_commit_that_is_not_replicated_in_time_is_to_be_retried() -> None:
    log = FakeReplicas()
    shard = await loaded_shard(log)
    log.hold = True
    assert await answer(commit(shard)) is ErrorCode.coordinator_not_available
    shard.close()


@pytest.mark.parametrize(
    ("refusal", "code"),
    [
        (ErrorCode.not_enough_replicas, ErrorCode.coordinator_not_available),
        (ErrorCode.not_leader_or_follower, ErrorCode.not_coordinator),
        (ErrorCode.message_too_large, ErrorCode.unknown_server_error),
    ],
)
async def test_a_refused_append_is_answered_at_once(refusal: ErrorCode, code: ErrorCode) -> None:
    log = FakeReplicas()
    shard = await loaded_shard(log)
    log.refuse = refusal
    ticket = commit(shard)
    assert ticket.done()
    assert await answer(ticket) is code
    shard.close()


async def test_what_is_decided_after_the_term_is_not_written() -> None:
    log = FakeReplicas()
    shard = await loaded_shard(log)
    shard.close()
    assert await answer(commit(shard)) is ErrorCode.not_coordinator
    assert log.batches == []


async def test_a_large_decision_becomes_several_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_shard, "BATCH_BYTES_MAX", 1_000)
    log = FakeReplicas()
    shard = await loaded_shard(log)
    records = [OffsetRecord("g", "t", index, CommittedOffset(index)) for index in range(100)]
    shard.perform(Decision(records=list(records)))
    assert len(log.batches) > 3
    assert sum(log.batches) == 100
    assert len(shard.core.offsets.topics("g")["t"]) == 100
    shard.close()


async def test_nothing_is_told_before_what_was_inherited_is_committed() -> None:
    log = FakeReplicas()
    log.append([offset_record(1)])
    log.append([offset_record(2)])
    log.high_watermark = 1
    shard = await loaded_shard(log)
    assert not await shard.wait_readable("g1", stable=False)
    waiting = asyncio.ensure_future(shard.wait_readable("g1", stable=False))
    await asyncio.sleep(0)
    log.commit()
    assert await waiting
    shard.close()


async def test_stable_reads_wait_for_the_commits_of_their_group_only() -> None:
    log = FakeReplicas()
    shard = await loaded_shard(log)
    log.hold = True
    commit(shard)
    assert await shard.wait_readable("other", stable=True)
    assert await shard.wait_readable("g", stable=False)
    assert not await shard.wait_readable("g", stable=True)
    waiting = asyncio.ensure_future(shard.wait_readable("g", stable=True))
    await asyncio.sleep(0)
    log.commit()
    assert await waiting
    shard.close()
