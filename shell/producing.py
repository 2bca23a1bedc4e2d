"""Writes records with aiokafka's producer and counts what was acknowledged.

Never holds more than a bounded number of unacknowledged records. Imported only when a command
produces: the client library is too slow to load for every command.
"""

from __future__ import annotations

import asyncio
import math
import os
import random
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaConnectionError, KafkaError, MessageSizeTooLargeError

from shell import client_errors
from shell.client_metadata import only_ask
from shell.client_options import client_options
from shell.client_starting import started
from shell.exits import ExitCode, Failed, UsageProblem
from shell.inputs import BadRecord, NewRecord, Recipe, records_of_lines
from shell.lines import follow_lines, read_lines
from shell.output import Facts, Table
from shell.partitioners import make_partitioner
from shell.session import Session
from shell.values import format_bytes

_PENDING_LIMIT = 20_000
_BATCH_BYTES = 256 * 1024
# The broker decides how large a record may be; this only bounds our own memory.
_REQUEST_BYTES_LIMIT = 100 * 1024 * 1024
_PROGRESS_EVERY_S = 0.2
_STOP_LIMIT_S = 1.0
# Why nobody answered is looked for so long.
_LOOK_LIMIT_MS = 3_000
# Connections that nobody answers on are opened anew when this share of a session is over. The
# rest is for machines that are slow.
_SESSION_SHARE = 0.5
# Failures told one by one; after that they are only counted.
_TOLD_FAILURES = 20
# The client library refuses None for both key and value unless it "serializes" it itself.
_NULL = object()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to write and how. `rate` is in records a second."""

    topic: str
    recipe: Recipe
    values: Sequence[str] = ()
    file: str | None = None
    whole: bool = False
    follow: bool = False
    from_end: bool = False
    rate: float | None = None
    partitioner: str = "murmur2"
    acks: int | str = "all"
    compression: str | None = None
    each: bool = False
    keep_going: bool = False
    dry_run: bool = False

    @property
    def streaming(self) -> bool:
        """Whether records come one after the other, so that waiting a little fills batches."""
        return not self.values and not self.whole


@dataclass(slots=True)
class Tally:
    """What was acknowledged: per partition the count, the first and the last offset."""

    topic: str
    records: int = 0
    size_bytes: int = 0
    failed: int = 0
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
            "failed": self.failed,
            "took_ms": took_ms,
            "partitions": [
                {"partition": p, "records": n, "first_offset": first, "last_offset": last}
                for p, (n, first, last) in sorted(self.partitions.items())
            ],
        }


_Pending = deque[tuple["asyncio.Future[Any]", NewRecord]]


@dataclass(slots=True)
class _Run:
    session: Session
    plan: Plan
    tally: Tally
    partitions: int
    answered: str | None = None
    # None until it is started.
    producer: Any = None
    session_ms: int = 0
    pending: _Pending = field(default_factory=deque)
    next_progress: float = 0.0
    next_producer: float = math.inf

    def __post_init__(self) -> None:
        self._began()

    def _began(self) -> None:
        if self.session_ms > 0 and self.plan.acks == 0:
            self.next_producer = time.monotonic() + self.session_ms / 1000 * _SESSION_SHARE

    async def renew(self) -> None:
        """Go on with new connections before brokers end the sessions of those in use (KIP-368).

        What meets the end of a session is sent again by the client library, but for acks=0: nobody
        tells it then that a record was not taken.
        """
        if time.monotonic() < self.next_producer:
            return
        await _settle(self, 0)
        await _stop(self.producer)
        self._began()
        await self.start()

    async def start(self) -> None:
        """Begin with a producer, or with another one."""
        plan, timeout_ms = self.plan, self.session.settings.timeout_ms
        self.producer = None
        self.producer = await started(
            self.session,
            self.answered,
            lambda answered: _producer(self.session, plan, answered),
            lambda producer: _start(producer, timeout_ms, plan.acks),
            _stop,
        )

    def fail(self, record_or_place: str, reason: str, hint: str | None = None) -> None:
        """Tell of a record that is not written; raises Failed unless the run is to go on."""
        message = f"{record_or_place}: {reason}" if record_or_place else reason
        if not self.plan.keep_going:
            raise Failed(message, hint=hint)
        self.tally.failed += 1
        if self.tally.failed <= _TOLD_FAILURES:
            self.session.output.error(message)
        elif self.tally.failed == _TOLD_FAILURES + 1:
            self.session.output.error("More records fail; from here on they are only counted.")

    def progress(self) -> None:
        """Redraw the counts now and then."""
        now = time.monotonic()
        if now >= self.next_progress:
            self.next_progress = now + _PROGRESS_EVERY_S
            self.session.output.progress(
                f"{self.tally.records} records written, {format_bytes(self.tally.size_bytes)}"
            )


client_errors.learn()


class _NoAnswer(Failed):
    """Records went out, or could not, and nobody said that they were taken."""


async def produce(session: Session, plan: Plan) -> ExitCode:
    """Write every record of a plan and print the summary, or a line for each.

    An interrupt stops reading, waits for what is under way and still prints the summary.
    """
    async with session.admin() as admin:
        detail = await admin.topic(plan.topic)
        session_ms, answered = admin.session_ms, admin.source
    _check_partition(plan, len(detail.partitions), plan.recipe.partition)
    if plan.dry_run:
        return await _dry_run(session, plan, len(detail.partitions))
    started = time.monotonic()
    run = _Run(
        session,
        plan,
        Tally(plan.topic),
        len(detail.partitions),
        answered,
        session_ms=session_ms,
    )
    interrupted = False
    try:
        await run.start()
        interrupted = await _send_until_interrupted(run)
    except KafkaConnectionError as error:
        raise Failed(f"Cannot reach the cluster: {error}") from None
    except KafkaError as error:
        raise Failed(f"{_reason(error, run)} {_so_far(run.tally)}") from None
    except asyncio.CancelledError:
        session.output.say(_so_far(run.tally))
        raise
    except Failed as error:
        hint = await _refused_places(run) if isinstance(error, _NoAnswer) else None
        raise Failed(f"{error.message} {_so_far(run.tally)}", hint=hint or error.hint) from None
    finally:
        if run.producer is not None:
            await _stop(run.producer)
    if not plan.each:
        _summary(session, plan, run.tally, round((time.monotonic() - started) * 1000))
    if interrupted and not plan.follow:
        session.output.say("Cancelled: not all of the input was read.")
        return ExitCode.FAILED
    return ExitCode.FAILED if run.tally.failed else ExitCode.DONE


def _check_partition(plan: Plan, count: int, partition: int | None) -> None:
    if partition is not None and partition >= count:
        raise UsageProblem(
            f"Topic {plan.topic} has partitions 0 to {count - 1}; there is no {partition}."
        )


def _producer(session: Session, plan: Plan, answered: str | None) -> Any:
    producer = AIOKafkaProducer(
        **client_options(session, answered),
        acks=plan.acks,
        # A batch that is refused leaves a gap in an idempotent producer's sequence.
        enable_idempotence=plan.acks == "all" and not plan.keep_going,
        compression_type=plan.compression,
        linger_ms=5 if plan.streaming else 0,
        max_batch_size=_BATCH_BYTES,
        max_request_size=_REQUEST_BYTES_LIMIT,
        request_timeout_ms=session.settings.timeout_ms,
        partitioner=make_partitioner(plan.partitioner, random.Random()),
        key_serializer=_serialized,
        value_serializer=_serialized,
    )
    only_ask(producer.client)
    return producer


def _serialized(content: Any) -> bytes | None:
    return None if content is None or content is _NULL else content


async def _start(producer: Any, timeout_ms: int, acks: int | str = "all") -> None:
    # The client library asks for a producer id without end while no controller is there.
    try:
        async with asyncio.timeout(timeout_ms / 1000):
            await producer.start()
    except TimeoutError:
        if acks != "all":
            raise Failed(
                f"No broker told where the topic is within {timeout_ms / 1000:g} s.",
                hint="See `logctl broker list`; --timeout waits longer.",
            ) from None
        raise Failed(
            f"The brokers gave no producer id within {timeout_ms / 1000:g} s.",
            hint="Is there a controller? See `logctl broker list`. --acks 1 needs no producer id.",
        ) from None


async def _send_until_interrupted(run: _Run) -> bool:
    """Send everything; on an interrupt wait for what is under way and return True."""
    interrupted = False
    try:
        await _send_all(run)
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None:
            task.uncancel()
        interrupted = True
        run.session.output.say("Interrupted: waiting for what is under way.", "dim")
    except Failed:
        # What went out before is counted, so that the person knows where to go on.
        with suppress(Failed, KafkaError):
            await _settle(run, 0)
        raise
    await _settle(run, 0)
    return interrupted


async def _send_all(run: _Run) -> None:
    plan = run.plan
    pause_s = 1 / plan.rate if plan.rate else 0.0
    next_at = time.monotonic()
    async with aclosing(_records(run.session, plan)) as records:
        async for record in records:
            if isinstance(record, BadRecord):
                run.fail("", record.message, record.hint)
                continue
            if pause_s:
                await _settle(run, _PENDING_LIMIT)
                await asyncio.sleep(max(0.0, next_at - time.monotonic()))
                next_at = max(next_at + pause_s, time.monotonic() - 1)
            await run.renew()
            await _send(run, record)
            await _settle(run, _PENDING_LIMIT)
            run.progress()


async def _send(run: _Run, record: NewRecord) -> None:
    if record.partition is not None and record.partition >= run.partitions:
        run.fail(record.where, f"topic {run.plan.topic} has no partition {record.partition}.")
        return
    try:
        future = await _handed_over(run, record)
        # One that nobody waits for any more must not complain of that.
        future.add_done_callback(lambda done: done.cancelled() or done.exception())
        run.pending.append((future, record))
    except MessageSizeTooLargeError as error:
        run.fail(record.where, _reason(error, run))


async def _handed_over(run: _Run, record: NewRecord) -> asyncio.Future[Any]:
    future: asyncio.Future[Any] = await run.producer.send(
        run.plan.topic,
        value=_NULL if record.value is None else record.value,
        key=record.key,
        partition=record.partition,
        timestamp_ms=record.timestamp_ms,
        headers=list(record.headers),
    )
    return future


async def _settle(run: _Run, limit: int) -> None:
    """Wait until no more than `limit` records are unacknowledged, and count the rest."""
    while run.pending and (len(run.pending) > limit or run.pending[0][0].done()):
        future, record = run.pending[0]
        try:
            metadata = await _acknowledged(
                future, run.session.settings.timeout_ms, len(run.pending)
            )
        except KafkaError as error:
            run.pending.popleft()
            metadata = await _again(run, record, error)
            if metadata is _NULL:
                continue
        else:
            run.pending.popleft()
        run.tally.add(metadata, record.size_bytes)
        if run.plan.each and metadata is not None:
            data = {
                "topic": metadata.topic,
                "partition": metadata.partition,
                "offset": metadata.offset,
            }
            text = partial("{topic}-{partition} @ {offset}".format, **data)
            run.session.output.line(data, text)


async def _again(run: _Run, record: NewRecord, error: KafkaError) -> Any:
    """Send a record of a refused batch alone: it may be another one that is wrong."""
    if not run.plan.keep_going:
        run.fail(record.where, _reason(error, run))
    try:
        future = await _handed_over(run, record)
        return await _acknowledged(future, run.session.settings.timeout_ms, 1)
    except KafkaError as again:
        run.fail(record.where, _reason(again, run))
        return _NULL


async def _acknowledged(future: asyncio.Future[Any], timeout_ms: int, waiting: int) -> Any:
    # The client library waits without end while the cluster cannot give it a producer id.
    try:
        async with asyncio.timeout(timeout_ms / 1000):
            return await asyncio.shield(future)
    except TimeoutError:
        raise _NoAnswer(
            f"No acknowledgement came for {timeout_ms / 1000:g} s; {waiting} more on the way may "
            "or may not be written."
            if waiting > 1
            else f"No acknowledgement came for {timeout_ms / 1000:g} s; the record may or may not "
            "be written.",
            hint="See `logctl cluster status` and `logctl topic describe`; --timeout waits longer.",
        ) from None


async def _refused_places(run: _Run) -> str | None:
    """Where brokers take no records now, and why; None when that is not known.

    The client library sends again without a word what brokers refuse for the time being.
    """
    from broker.protocol.errors import LogctlError

    limited = replace(run.session.settings, timeout_ms=_LOOK_LIMIT_MS)
    try:
        async with replace(run.session, settings=limited).admin() as admin:
            placed = await admin.partitions([run.plan.topic], min_isr=True)
    except (LogctlError, Failed):
        return None
    only = run.plan.recipe.partition
    placed = [each for each in placed if only is None or each.partition == only]
    said = [f"{each.topic}-{each.partition} has no leader" for each in placed if each.is_offline]
    if run.plan.acks == "all":
        said += [
            f"{each.topic}-{each.partition} has {len(each.isr)} replicas in sync of the "
            f"{each.needed_isr} that min.insync.replicas wants"
            for each in placed
            if each.is_under_min_isr and not each.is_offline
        ]
    if not said:
        return None
    more = f"; {len(said) - 1} partitions more take none" if len(said) > 1 else ""
    return f"{said[0]}{more}. See `logctl partition list {run.plan.topic}`, `logctl broker list`."


async def _records(session: Session, plan: Plan) -> AsyncGenerator[NewRecord | BadRecord, None]:
    if plan.values:
        for number, value in enumerate(plan.values, start=1):
            try:
                yield plan.recipe.record(os.fsencode(value), f"value {number}")
            except BadRecord as bad:
                yield bad
        return
    name = plan.file if plan.file not in {None, "-"} else "standard input"
    assert name is not None
    if plan.whole:
        yield plan.recipe.record(_whole(session, plan), name)
        return
    async for record in records_of_lines(plan.recipe, _lines(session, plan), name):
        yield record


def _whole(session: Session, plan: Plan) -> bytes:
    if plan.file in {None, "-"}:
        return session.doors.stdin().read()
    assert plan.file is not None
    with open(plan.file, "rb") as file:
        return file.read()


async def _lines(session: Session, plan: Plan) -> AsyncIterator[bytes]:
    if plan.file is not None and plan.file != "-":
        if plan.follow:
            async for line in follow_lines(plan.file, from_end=plan.from_end):
                yield line
            return
        with open(plan.file, "rb") as file:  # noqa: ASYNC230 - blocks no one else
            async for line in read_lines(file.fileno()):
                yield line
        return
    stdin = session.doors.stdin()
    if stdin.isatty():
        session.output.say("One record a line; Ctrl-D ends.", "dim")
    async for line in read_lines(stdin.fileno()):
        yield line


async def _dry_run(session: Session, plan: Plan, partitions: int) -> ExitCode:
    """Read and check everything, write nothing."""
    good, bad, size_bytes = 0, 0, 0
    async with aclosing(_records(session, plan)) as records:
        async for record in records:
            if isinstance(record, BadRecord):
                problem: str | None = record.message
            elif record.partition is not None and record.partition >= partitions:
                problem = f"{record.where}: there is no partition {record.partition}."
            else:
                problem = None
                good, size_bytes = good + 1, size_bytes + record.size_bytes
            if problem is not None:
                bad += 1
                if bad <= _TOLD_FAILURES:
                    session.output.error(problem)
    noun = "record" if good == 1 else "records"
    pieces = "piece of the input makes" if bad == 1 else "pieces of the input make"
    refused = f"; {bad} {pieces} no record" if bad else ""
    session.output.say(
        f"Would write {good} {noun} ({format_bytes(size_bytes)}) to {plan.topic}{refused}. "
        "Nothing was written."
    )
    session.output.document(
        {"topic": plan.topic, "records": good, "bytes": size_bytes, "failed": bad},
        lambda: [Facts([("records", good), ("bytes", size_bytes), ("failed", bad)])],
    )
    return ExitCode.FAILED if bad else ExitCode.DONE


def _summary(session: Session, plan: Plan, tally: Tally, took_ms: int) -> None:
    data = tally.to_json(took_ms)

    def blocks() -> list[Table | Facts]:
        if plan.acks == 0:
            return []
        rows = [
            (p["partition"], p["records"], p["first_offset"], p["last_offset"])
            for p in data["partitions"]
        ]
        columns = ("PARTITION", "RECORDS", "FIRST OFFSET", "LAST OFFSET")
        return [Table(columns, rows, right=frozenset(columns))]

    noun = "record" if tally.records == 1 else "records"
    failed = f"; {tally.failed} failed" if tally.failed else ""
    if plan.acks == 0:
        failed += "; nobody told whether they were taken (--acks 0)"
    did = "Sent" if plan.acks == 0 else "Wrote"
    session.output.say(
        f"{did} {tally.records} {noun} ({format_bytes(tally.size_bytes)}) to {tally.topic} "
        f"in {took_ms} ms{failed}."
    )
    session.output.document(data, blocks)


def _so_far(tally: Tally) -> str:
    if not tally.records:
        return "No record is known to be written."
    noun = "record was" if tally.records == 1 else "records were"
    return f"{tally.records} {noun} written before."


def _reason(error: KafkaError, run: _Run) -> str:
    from shell.client_refusals import refusal

    if denied := refusal(run.session, error, topic=run.plan.topic, writes=True):
        return f"The brokers refused a record: {denied}."
    name = type(error).__name__.removesuffix("Error")
    description = getattr(error, "description", None) or str(error)
    return f"The brokers refused a record: {name}: {description}".rstrip(".") + "."


async def _stop(producer: Any) -> None:
    with suppress(TimeoutError, KafkaError):
        async with asyncio.timeout(_STOP_LIMIT_S):
            await producer.stop()
