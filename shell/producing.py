"""Writes records with aiokafka's producer and counts what was acknowledged.

Never holds more than a bounded number of unacknowledged records. Imported only when a command
produces: the client library is too slow to load for every command.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaConnectionError, KafkaError
from aiokafka.partitioner import DefaultPartitioner

from shell.exits import Failed, UsageProblem
from shell.lines import read_lines
from shell.output import Facts, Table
from shell.session import Session
from shell.values import format_bytes

_PENDING_LIMIT = 20_000
_BATCH_BYTES = 256 * 1024
# The broker decides how large a record may be; this only bounds our own memory.
_REQUEST_BYTES_LIMIT = 100 * 1024 * 1024
_STICKY_RECORDS = 1_000
_PROGRESS_EVERY_S = 0.2
_STOP_LIMIT_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """Where keys come from; at most one is set."""

    fixed: str | None = None
    field: str | None = None
    separator: str | None = None

    def split(self, line: bytes, number: int) -> tuple[bytes | None, bytes]:
        """Return (key, value) of an input line; raises Failed naming the line."""
        if self.fixed is not None:
            return self.fixed.encode(), line
        if self.separator is not None:
            key, separator, value = line.partition(self.separator.encode())
            if not separator:
                raise Failed(f"Record {number} has no key separator '{self.separator}'.")
            return key, value
        if self.field is not None:
            return self._field_of(line, number), line
        return None, line

    def _field_of(self, line: bytes, number: int) -> bytes | None:
        try:
            data = json.loads(line)
        except ValueError as error:
            raise Failed(f"Record {number} is not JSON ({error}), so it has no field.") from None
        if not isinstance(data, dict) or self.field not in data:
            raise Failed(f"Record {number} is JSON without the field '{self.field}'.")
        value = data[self.field]
        if value is None:
            return None
        text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
        return text.encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to write and how."""

    topic: str
    values: Sequence[str]
    file: str | None
    whole: bool
    keys: Keys
    headers: Sequence[tuple[str, bytes]]
    partition: int | None
    acks: int | str
    compression: str | None
    each: bool


class StickyPartitioner:
    """Kafka's hash for records with a key; others stay with one partition for a while."""

    def __init__(self, rng: random.Random) -> None:
        self._hashed = DefaultPartitioner()
        self._rng = rng
        self._chosen: int | None = None
        self._left = 0

    def __call__(self, key: bytes | None, every: list[int], available: list[int]) -> int:
        """Return the partition of a record: by its key, or the one that is stuck to for now."""
        if key is not None:
            hashed: int = self._hashed(key, every, available)
            return hashed
        candidates = available or every
        if self._left <= 0 or self._chosen not in candidates:
            self._chosen = self._rng.choice(candidates)
            self._left = _STICKY_RECORDS
        self._left -= 1
        assert self._chosen is not None
        return self._chosen


@dataclass(slots=True)
class Tally:
    """What was acknowledged: per partition the count, the first and the last offset."""

    topic: str
    records: int = 0
    size_bytes: int = 0
    partitions: dict[int, list[int]] = field(default_factory=dict)

    def add(self, metadata: Any, size_bytes: int) -> None:
        """Count one acknowledged record; `metadata` is None with acks=0."""
        self.records += 1
        self.size_bytes += size_bytes
        if metadata is None:
            return
        found = self.partitions.setdefault(metadata.partition, [0, metadata.offset, -1])
        found[0] += 1
        found[1] = min(found[1], metadata.offset)
        found[2] = max(found[2], metadata.offset)

    def to_json(self, took_ms: int) -> dict[str, Any]:
        """Return the summary of a whole run."""
        return {
            "topic": self.topic,
            "records": self.records,
            "bytes": self.size_bytes,
            "took_ms": took_ms,
            "partitions": [
                {"partition": p, "records": n, "first_offset": first, "last_offset": last}
                for p, (n, first, last) in sorted(self.partitions.items())
            ],
        }


async def produce(session: Session, plan: Plan) -> None:
    """Write every record of a plan and print the summary, or a line for each."""
    async with session.admin() as admin:
        detail = await admin.topic(plan.topic)
    if plan.partition is not None and plan.partition >= len(detail.partitions):
        raise UsageProblem(
            f"Topic {plan.topic} has partitions 0 to {len(detail.partitions) - 1}; there is no "
            f"{plan.partition}."
        )
    started = time.monotonic()
    producer = _producer(session, plan)
    tally = Tally(plan.topic)
    try:
        await _start(producer, session.settings.timeout_ms)
        await _send_all(session, plan, producer, tally)
    except KafkaConnectionError as error:
        raise Failed(f"Cannot reach the cluster: {error}") from None
    except KafkaError as error:
        raise Failed(f"{_reason(error)} {_so_far(tally)}") from None
    except asyncio.CancelledError:
        session.output.say(_so_far(tally))
        raise
    except Failed as error:
        raise Failed(f"{error.message} {_so_far(tally)}", hint=error.hint) from None
    finally:
        await _stop(producer)
    if not plan.each:
        _summary(session, tally, round((time.monotonic() - started) * 1000))


def _producer(session: Session, plan: Plan) -> Any:
    streaming = not plan.values and not plan.whole
    return AIOKafkaProducer(
        bootstrap_servers=list(session.bootstrap()),
        client_id="logctl",
        acks=plan.acks,
        enable_idempotence=plan.acks == "all",
        compression_type=plan.compression,
        linger_ms=5 if streaming else 0,
        max_batch_size=_BATCH_BYTES,
        max_request_size=_REQUEST_BYTES_LIMIT,
        request_timeout_ms=session.settings.timeout_ms,
        partitioner=StickyPartitioner(random.Random()),
    )


async def _start(producer: Any, timeout_ms: int) -> None:
    # The client library asks for a producer id without end while no controller is there.
    try:
        await asyncio.wait_for(producer.start(), timeout_ms / 1000)
    except TimeoutError:
        raise Failed(
            f"The brokers gave no producer id within {timeout_ms / 1000:g} s.",
            hint="Is there a controller? See `logctl broker list`. --acks 1 needs no producer id.",
        ) from None


async def _send_all(session: Session, plan: Plan, producer: Any, tally: Tally) -> None:
    pending: deque[tuple[asyncio.Future[Any], int]] = deque()
    next_progress = time.monotonic() + _PROGRESS_EVERY_S
    number = 0
    async with aclosing(_values(session, plan)) as values:
        async for line in values:
            number += 1
            key, value = plan.keys.split(line, number)
            future = await producer.send(
                plan.topic,
                value=value,
                key=key,
                partition=plan.partition,
                headers=list(plan.headers),
            )
            pending.append((future, len(value) + len(key or b"")))
            await _settle(session, plan, tally, pending, _PENDING_LIMIT)
            if time.monotonic() >= next_progress:
                next_progress = time.monotonic() + _PROGRESS_EVERY_S
                session.output.progress(
                    f"{tally.records} records written, {format_bytes(tally.size_bytes)}"
                )
    await _settle(session, plan, tally, pending, 0)


async def _settle(
    session: Session,
    plan: Plan,
    tally: Tally,
    pending: deque[tuple[asyncio.Future[Any], int]],
    limit: int,
) -> None:
    while pending and (len(pending) > limit or pending[0][0].done()):
        future, size_bytes = pending.popleft()
        metadata = await _acknowledged(future, session.settings.timeout_ms, 1 + len(pending))
        tally.add(metadata, size_bytes)
        if plan.each and metadata is not None:
            data = {
                "topic": metadata.topic,
                "partition": metadata.partition,
                "offset": metadata.offset,
            }
            session.output.line(data, partial("{topic}-{partition} @ {offset}".format, **data))


async def _acknowledged(future: asyncio.Future[Any], timeout_ms: int, waiting: int) -> Any:
    # The client library waits without end while the cluster cannot give it a producer id.
    try:
        return await asyncio.wait_for(asyncio.shield(future), timeout_ms / 1000)
    except TimeoutError:
        raise Failed(
            f"No acknowledgement came for {timeout_ms / 1000:g} s; {waiting} more on the way may "
            "or may not be written."
            if waiting > 1
            else f"No acknowledgement came for {timeout_ms / 1000:g} s; the record may or may not "
            "be written.",
            hint="See `logctl cluster status` and `logctl topic describe`; --timeout waits longer.",
        ) from None


async def _values(session: Session, plan: Plan) -> AsyncGenerator[bytes, None]:
    if plan.values:
        for value in plan.values:
            yield os.fsencode(value)
        return
    if plan.file is not None and plan.file != "-":
        with open(plan.file, "rb") as file:  # noqa: ASYNC230 - blocks no one else
            if plan.whole:
                yield file.read()
                return
            async for line in read_lines(file.fileno()):
                yield line
        return
    stdin = session.doors.stdin()
    if stdin.isatty():
        session.output.say("One record a line; Ctrl-D ends.", "dim")
    if plan.whole:
        yield stdin.read()
        return
    async for line in read_lines(stdin.fileno()):
        yield line


def _summary(session: Session, tally: Tally, took_ms: int) -> None:
    data = tally.to_json(took_ms)

    def blocks() -> list[Table | Facts]:
        rows = [
            (p["partition"], p["records"], p["first_offset"], p["last_offset"])
            for p in data["partitions"]
        ]
        columns = ("PARTITION", "RECORDS", "FIRST OFFSET", "LAST OFFSET")
        return [Table(columns, rows, right=frozenset(columns))]

    noun = "record" if tally.records == 1 else "records"
    session.output.say(
        f"Wrote {tally.records} {noun} ({format_bytes(tally.size_bytes)}) to {tally.topic} "
        f"in {took_ms} ms."
    )
    session.output.document(data, blocks)


def _so_far(tally: Tally) -> str:
    if not tally.records:
        return "No record is known to be written."
    noun = "record was" if tally.records == 1 else "records were"
    return f"{tally.records} {noun} written before."


def _reason(error: KafkaError) -> str:
    name = type(error).__name__.removesuffix("Error")
    description = getattr(error, "description", None) or str(error)
    return f"The brokers refused a record: {name}: {description}".rstrip(".") + "."


async def _stop(producer: Any) -> None:
    try:
        await asyncio.wait_for(producer.stop(), _STOP_LIMIT_S)
    except (TimeoutError, KafkaError):
        return
