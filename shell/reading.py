"""Reads records with aiokafka's consumer, by assignment: no group, nothing committed.

Follows leaders as they move; each partition is read in order, once. Imported only when a command
reads: the client library is too slow to load for every command.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError, OffsetOutOfRangeError

from broker.protocol.errors import LogctlError
from shell.exits import Failed, UsageProblem
from shell.output import RAW, TABLE
from shell.records import RECORD_HEADING, ReadRecord, record_json, record_line
from shell.session import Session
from shell.values import Anchor, Position

if TYPE_CHECKING:
    from clusters.admin import TopicDetail

# The first and the next offset of each partition that can be read.
_Bounds = dict[TopicPartition, tuple[int, int]]

_POLL_MS = 200
_RECORDS_PER_POLL = 500
_STOP_LIMIT_S = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """What to read: from `start` (inclusive) until `until` (exclusive), at most `limit` records."""

    topic: str
    partition: int | None
    start: Position
    until: Position | None
    limit: int | None
    delimiter: bytes = b"\n"


@dataclass(slots=True)
class _Cursor:
    """One partition's next and final offset; `stop` is None when it is followed for ever."""

    next: int
    stop: int | None

    @property
    def done(self) -> bool:
        return self.stop is not None and self.next >= self.stop


@dataclass(slots=True)
class _Reader:
    session: Session
    wanted: Range
    consumer: Any
    cursors: dict[TopicPartition, _Cursor] = field(default_factory=dict)
    count: int = 0
    problem: str | None = None

    @property
    def finished(self) -> bool:
        if self.wanted.limit is not None and self.count >= self.wanted.limit:
            return True
        return all(cursor.done for cursor in self.cursors.values())

    def show(self, record: Any) -> None:
        read = ReadRecord(
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            timestamp_ms=record.timestamp,
            key=record.key,
            value=record.value,
            headers=record.headers,
        )
        output = self.session.output
        if output.format == RAW:
            output.raw((read.value or b"") + self.wanted.delimiter)
        else:
            output.line(record_json(read), lambda: record_line(read))
        self.count += 1


async def tail(session: Session, wanted: Range) -> None:
    """Print records until the range ends; without an end, until it is cancelled."""
    async with session.admin() as admin:
        detail = await admin.topic(wanted.topic)
    known = _chosen(session, detail, wanted)
    consumer = AIOKafkaConsumer(
        bootstrap_servers=list(session.bootstrap()),
        client_id="logctl",
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="none",
        request_timeout_ms=max(session.settings.timeout_ms, 1_000),
        fetch_max_wait_ms=_POLL_MS,
    )
    reader = _Reader(session, wanted, consumer)
    try:
        await consumer.start()
        await _place(reader, known)
        if session.output.format == TABLE:
            session.output.text(RECORD_HEADING)
        await _read(reader)
    except OffsetOutOfRangeError as error:
        raise Failed(
            f"An offset is no longer kept by the brokers: {error}", hint="Read with --from start."
        ) from None
    except KafkaError as error:
        raise Failed(f"Reading {wanted.topic} failed: {type(error).__name__}: {error}") from None
    finally:
        await _stop(consumer)


def _chosen(session: Session, detail: TopicDetail, wanted: Range) -> _Bounds:
    if wanted.partition is not None:
        found = [p for p in detail.partitions if p.partition == wanted.partition]
        if not found:
            raise UsageProblem(
                f"Topic {wanted.topic} has partitions 0 to {len(detail.partitions) - 1}; there is "
                f"no {wanted.partition}."
            )
    else:
        found = list(detail.partitions)
    known: dict[TopicPartition, tuple[int, int]] = {}
    for partition in found:
        start, end = partition.start_offset, partition.end_offset
        if partition.leader < 0 or start is None or end is None:
            session.output.warn(
                f"{wanted.topic}-{partition.partition} has no leader now and is left out."
            )
        else:
            known[TopicPartition(wanted.topic, partition.partition)] = (start, end)
    if not known:
        raise Failed(f"No partition of {wanted.topic} has a leader: nothing can be read.")
    return known


async def _place(reader: _Reader, known: _Bounds) -> None:
    wanted, consumer = reader.wanted, reader.consumer
    consumer.assign(list(known))
    starts = await _offsets(consumer, known, wanted.start)
    stops = await _offsets(consumer, known, wanted.until) if wanted.until is not None else {}
    for home in known:
        reader.cursors[home] = _Cursor(starts[home], stops.get(home))
        consumer.seek(home, starts[home])


async def _offsets(consumer: Any, known: _Bounds, position: Position) -> dict[TopicPartition, int]:
    if position.anchor is Anchor.TIME:
        found = await consumer.offsets_for_times(dict.fromkeys(known, position.value))
        return {
            home: end if found.get(home) is None else found[home].offset
            for home, (_, end) in known.items()
        }
    offsets = {}
    for home, (start, end) in known.items():
        match position.anchor:
            case Anchor.START:
                offset = start
            case Anchor.END:
                offset = end
            case Anchor.LAST:
                offset = end - position.value
            case _:
                offset = position.value
        offsets[home] = min(max(offset, start), end)
    return offsets


async def _read(reader: _Reader) -> None:
    loop = asyncio.get_running_loop()
    idle_limit_s = reader.session.settings.timeout_ms / 1000
    last_news = loop.time()
    _pause_finished(reader)
    while not reader.finished:
        room = _RECORDS_PER_POLL
        if reader.wanted.limit is not None:
            room = min(room, reader.wanted.limit - reader.count)
        batches = await reader.consumer.getmany(timeout_ms=_POLL_MS, max_records=room)
        for home, records in batches.items():
            cursor = reader.cursors[home]
            for record in records:
                if cursor.done or (cursor.stop is not None and record.offset >= cursor.stop):
                    cursor.next = cursor.stop or cursor.next
                    break
                reader.show(record)
                cursor.next = record.offset + 1
        if batches:
            last_news = loop.time()
        await _pass_invisible(reader)
        _pause_finished(reader)
        if loop.time() - last_news > idle_limit_s:
            if reader.wanted.until is not None:
                raise Failed(_stuck(reader, idle_limit_s))
            await _look_whether_anybody_answers(reader)
            last_news = loop.time()


async def _look_whether_anybody_answers(reader: _Reader) -> None:
    # The client library waits in silence for brokers that are gone; a person wants to know.
    problem = None
    try:
        async with reader.session.admin() as admin:
            await admin.cluster()
    except LogctlError as error:
        problem = str(error)
    if problem is not None and problem != reader.problem:
        reader.session.output.warn(f"{problem.rstrip('.')}. Still waiting for records.")
    elif problem is None and reader.problem is not None:
        reader.session.output.say("The cluster answers again.")
    reader.problem = problem


async def _pass_invisible(reader: _Reader) -> None:
    # Offsets may hold nothing to show: transaction markers, or what compaction removed.
    for home, cursor in reader.cursors.items():
        if not cursor.done and cursor.stop is not None:
            cursor.next = max(cursor.next, await reader.consumer.position(home))


def _pause_finished(reader: _Reader) -> None:
    paused = reader.consumer.paused()
    done = [home for home, c in reader.cursors.items() if c.done and home not in paused]
    if done:
        reader.consumer.pause(*done)


def _stuck(reader: _Reader, idle_s: float) -> str:
    left = [
        f"{home.topic}-{home.partition} at {cursor.next} of {cursor.stop}"
        for home, cursor in reader.cursors.items()
        if not cursor.done
    ]
    return f"No more records came for {idle_s:g} s: {', '.join(left)}."


async def _stop(consumer: Any) -> None:
    try:
        await asyncio.wait_for(consumer.stop(), _STOP_LIMIT_S)
    except (TimeoutError, KafkaError):
        return
