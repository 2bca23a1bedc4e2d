"""Reads records with aiokafka's consumer, by assignment: no group, nothing committed.

Follows leaders as they move; each partition is read in order, once. Imported only when a command
reads: the client library is too slow to load for every command.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError, OffsetOutOfRangeError

from broker.protocol.errors import LogctlError
from shell.client_metadata import only_ask
from shell.client_options import client_options
from shell.client_starting import started
from shell.exits import Failed, UsageProblem
from shell.printing import Printer, read_record
from shell.records import progress_json
from shell.session import Session
from shell.sources import Source
from shell.transactions import LeftOut, Marker, Outcomes, Part, last_stable_end, told
from shell.undecided import Undecided
from shell.values import Anchor, Position

if TYPE_CHECKING:
    from clusters.admin import TopicDetail

# The first and the next offset of each partition that can be read.
Bounds = dict[TopicPartition, tuple[int, int]]

_POLL_MS = 200
# Partitions told one by one.
_TOLD_PLACES = 5
_RECORDS_PER_POLL = 500
_STOP_LIMIT_S = 3.0
# How soon partitions that are added, or find a leader, are read as well.
_LOOK_EVERY_S = 2.0
# How soon it is told what is left out.
_TELL_EVERY_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """What to read: from `start` (inclusive) until `until` (exclusive).

    `count` is how many records of each partition after its start, of those that are there unless
    it starts at the end; `began_ms` when reading began.
    """

    sources: Sequence[Source]
    start: Position
    until: Position | None = None
    count: int | None = None
    began_ms: int = 0
    committed: bool = False

    @property
    def bounded(self) -> bool:
        """Whether there is an end."""
        return self.until is not None or self.count is not None


@dataclass(slots=True)
class _Cursor:
    """One partition's next and final offset; `stop` is None when it is followed for ever."""

    next: int
    stop: int | None
    # Records of aborted transactions that were passed over.
    left_out: int = 0
    # The last offset that was shown before it was decided.
    unstable: int | None = None
    # What was told last: how many were passed over, and what is held back, from where up to where.
    told: tuple[int, int, int] = (0, 0, 0)
    # The last stable offset that stood still before the end when it was looked at last.
    waited: int | None = None

    @property
    def done(self) -> bool:
        return self.stop is not None and self.next >= self.stop


@dataclass(slots=True)
class _Reader:
    session: Session
    wanted: Range
    printer: Printer
    # None until it is known where to begin.
    consumer: Any = None
    outcomes: Any = None
    answered: str | None = None
    cursors: dict[TopicPartition, _Cursor] = field(default_factory=dict)
    # Partitions without a leader at the beginning: read once they have one.
    waiting: set[TopicPartition] = field(default_factory=set)
    problem: str | None = None
    # What a person was told last of what is left out.
    said: Any = None
    undecided: Undecided = field(default_factory=Undecided)

    @property
    def finished(self) -> bool:
        return self.printer.full or (
            self.wanted.bounded and all(cursor.done for cursor in self.cursors.values())
        )


async def tail(session: Session, wanted: Range, printer: Printer) -> None:
    """Print records until the range ends; without an end, until it is cancelled.

    Raises Failed when reading cannot go on: what was read until then has been printed.
    """
    reader = _Reader(session, wanted, printer)
    names = ", ".join(source.topic for source in wanted.sources)
    try:
        known = await _bounds(reader)
        with told():
            reader.consumer = await started(
                session,
                reader.answered,
                lambda answered: _consumer(reader, answered),
                lambda consumer: consumer.start(),
                _stop,
            )
        reader.outcomes = Outcomes(reader.consumer)
        await _place(reader, known)
        printer.heading()
        await _read(reader)
    except OffsetOutOfRangeError as error:
        raise Failed(
            f"An offset is no longer kept by the brokers: {error}", hint="Read with --from start."
        ) from None
    except KafkaError as error:
        from shell.client_refusals import refusal

        denied = refusal(session, error, topic=names)
        raise Failed(
            f"Reading {names} failed: {denied or f'{type(error).__name__}: {error}'}"
        ) from None
    finally:
        _tell_progress(reader, last=True)
        printer.flush()
        _tell_decided(reader)
        if reader.consumer is not None:
            await _stop(reader.consumer)


def _consumer(reader: _Reader, answered: str | None) -> Any:
    session, wanted = reader.session, reader.wanted
    consumer = AIOKafkaConsumer(
        **client_options(session, answered),
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="none",
        request_timeout_ms=max(session.settings.timeout_ms, 1_000),
        fetch_max_wait_ms=_POLL_MS,
        metadata_max_age_ms=int(_LOOK_EVERY_S * 1000),
        isolation_level="read_committed" if wanted.committed else "read_uncommitted",
    )
    only_ask(consumer._client)
    return consumer


async def _bounds(reader: _Reader) -> Bounds:
    session, wanted = reader.session, reader.wanted
    async with session.admin() as admin:
        details = await asyncio.gather(*(admin.topic(s.topic) for s in wanted.sources))
        reader.answered = admin.source
    known: Bounds = {}
    for source, detail in zip(wanted.sources, details, strict=True):
        known |= _chosen(reader, detail, source)
    if not known and (wanted.bounded or not reader.waiting):
        names = ", ".join(source.topic for source in wanted.sources)
        raise Failed(
            f"No partition of {names} has a leader: nothing can be read.",
            hint="See `logctl topic describe` for the replicas that are offline.",
        )
    return known


def _chosen(reader: _Reader, detail: TopicDetail, source: Source) -> Bounds:
    there = {p.partition: p for p in detail.partitions}
    absent = [p for p in source.partitions or () if p not in there]
    if absent:
        raise UsageProblem(
            f"Topic {source.topic} has partitions 0 to {len(there) - 1}; there is no {absent[0]}."
        )
    known: Bounds = {}
    for number in source.partitions if source.partitions is not None else there:
        partition, home = there[number], TopicPartition(source.topic, number)
        start, end = partition.start_offset, partition.end_offset
        if partition.leader < 0 or start is None or end is None:
            left = "is left out" if reader.wanted.bounded else "is read once it has one"
            reader.session.output.warn(f"{source.topic}-{number} has no leader now and {left}.")
            reader.waiting.add(home)
        else:
            known[home] = (start, end)
    return known


async def _place(reader: _Reader, known: Bounds) -> None:
    """Begin to read partitions where the range says."""
    wanted, consumer = reader.wanted, reader.consumer
    consumer.assign([*reader.cursors, *known])
    if wanted.committed and known:
        known = await _stable(reader, known)
    starts = await offsets_at(consumer, known, wanted.start)
    _tell_moved_starts(reader, known)
    stops: Mapping[TopicPartition, int] = {}
    if wanted.count is not None:
        stops = {home: start + wanted.count for home, start in starts.items()}
        if wanted.start.anchor is not Anchor.END:
            # What is there already; from the end on so many are waited for.
            stops = {home: min(stop, known[home][1]) for home, stop in stops.items()}
    elif wanted.until is not None:
        stops = await offsets_at(consumer, known, wanted.until)
    for home in known:
        reader.cursors[home] = _Cursor(starts[home], stops.get(home))
    for home, cursor in reader.cursors.items():
        consumer.seek(home, cursor.next)


def _tell_moved_starts(reader: _Reader, known: Bounds) -> None:
    """Say where an offset that was asked for is not kept any more, or not written yet."""
    start = reader.wanted.start
    if start.anchor is not Anchor.OFFSET:
        return
    for places, is_not in (
        ([(home, first) for home, (first, _) in known.items() if start.value < first], "no longer"),
        ([(home, end) for home, (_, end) in known.items() if start.value > end], "not yet"),
    ):
        if places:
            shown = [f"{h.topic}-{h.partition} at {at}" for h, at in places[:_TOLD_PLACES]]
            if len(places) > _TOLD_PLACES:
                shown.append(f"{len(places) - _TOLD_PLACES} more")
            begins = "what is kept begins" if is_not == "no longer" else "what is written ends"
            reader.session.output.warn(
                f"offset {start.value} is {is_not} there; {begins}: {', '.join(shown)}."
            )


async def offsets_at(consumer: Any, known: Bounds, position: Position) -> dict[TopicPartition, int]:
    """The offset of a position in each partition, within the bounds of each."""
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
    last_news = last_look = last_told = loop.time()
    _pause_finished(reader)
    while not reader.finished:
        room = _RECORDS_PER_POLL
        if reader.printer.limit is not None and reader.printer.filter is None:
            room = min(room, reader.printer.limit - reader.printer.shown)
        batches = await reader.consumer.getmany(timeout_ms=_POLL_MS, max_records=room)
        for home, records in batches.items():
            await _take(reader, home, records)
        now = loop.time()
        due = now - last_told > _TELL_EVERY_S
        if due:
            _tell_progress(reader)
            last_told = now
        # What was shown first: then what became of it.
        reader.printer.flush()
        if due:
            _tell_decided(reader)
        if batches:
            last_news = now
        await _pass_invisible(reader)
        _pause_finished(reader)
        if not reader.wanted.bounded and now - last_look > _LOOK_EVERY_S:
            await _take_in_new_partitions(reader)
            last_look = now
        if now - last_news > idle_limit_s:
            if reader.wanted.bounded:
                raise Failed(_stuck(reader, idle_limit_s))
            await _look_whether_anybody_answers(reader)
            last_news = loop.time()


async def _take(reader: _Reader, home: TopicPartition, found: Sequence[Any]) -> None:
    cursor, printer = reader.cursors[home], reader.printer
    stable_end = _stable_end(reader, home)
    for each in found:
        if cursor.done or (cursor.stop is not None and each.offset >= cursor.stop):
            cursor.next = cursor.stop or cursor.next
            return
        cursor.next = each.offset + 1
        if isinstance(each, LeftOut):
            cursor.next = each.next_offset
            cursor.left_out += each.records
        elif isinstance(each, Marker):
            reader.outcomes.passed(home, each)
            reader.undecided.ended(home, each, stable_end)
            printer.marker(home.topic, home.partition, each, stable_end)
        else:
            stable = stable_end is None or each.offset < stable_end
            cursor.unstable = cursor.unstable if stable else each.offset
            if isinstance(each, Part):
                transaction = await reader.outcomes.of(home, each)
                record = read_record(each.record, transaction, stable=stable)
            else:
                record = read_record(each, stable=stable)
            if printer.add(record) and printer.leaves_open:
                reader.undecided.shown(home, record)
        if printer.full:
            return


def _stable_end(reader: _Reader, home: TopicPartition) -> int | None:
    return last_stable_end(reader.consumer, home)


async def _stable(reader: _Reader, known: Bounds) -> Bounds:
    """What of the bounds is committed: the end is the last stable offset."""
    # Kafka answers a reader of read_committed with the last stable offset for the end.
    ends = await reader.consumer.end_offsets(list(known))
    return {
        home: (start, min(end, max(start, ends.get(home, end))))
        for home, (start, end) in known.items()
    }


def _tell_decided(reader: _Reader) -> None:
    """Put right what was shown as open or held. With control records the markers do."""
    if not reader.printer.leaves_open or reader.consumer is None:
        return
    stable_ends = {
        home: end for home in reader.cursors if (end := _stable_end(reader, home)) is not None
    }
    for line in reader.undecided.lines(stable_ends):
        reader.session.output.say(line, "dim")


def _tell_progress(reader: _Reader, *, last: bool = False) -> None:
    """Say what is not shown yet, or not at all, so that a reader does not look stuck."""
    printer, words = reader.printer, []
    for home, cursor in reader.cursors.items():
        bounds = _undecided(reader, home)
        if bounds is None:
            continue
        stable_end, end = bounds
        # A transaction that is open for a moment is no news.
        waits = end > stable_end and (last or cursor.waited == stable_end)
        cursor.waited = stable_end if end > stable_end else None
        if waits:
            words.append(
                f"{home.topic}-{home.partition} waits at {stable_end} for an open transaction, "
                f"{end - stable_end} offsets behind it"
            )
        released = cursor.unstable is not None and cursor.unstable < stable_end
        now = (cursor.left_out, *(bounds if waits else (0, 0)))
        if released or (now != cursor.told and reader.wanted.committed):
            cursor.unstable = None if released else cursor.unstable
            cursor.told = now
            place = home.topic, home.partition, cursor.next
            printer.control(progress_json(*place, cursor.left_out, stable_end, end, waits=waits))
    left_out = sum(cursor.left_out for cursor in reader.cursors.values())
    if left_out:
        words.insert(0, f"{left_out} records of aborted transactions left out")
    # Not again for what comes behind a transaction that stays open.
    summary = left_out, tuple(cursor.waited for cursor in reader.cursors.values())
    if reader.wanted.committed and words and summary != reader.said and not printer.controls:
        reader.said = summary
        whose = " `transaction list` shows whose." if any(summary[1]) else ""
        reader.session.output.say(f"{'; '.join(words[:_TOLD_PLACES])}.{whose}", "dim")


def _undecided(reader: _Reader, home: TopicPartition) -> tuple[int, int] | None:
    """The last stable offset and the high watermark, as the newest fetch told them."""
    if reader.consumer is None or (stable_end := _stable_end(reader, home)) is None:
        return None
    end = reader.consumer.highwater(home)
    return None if end is None else (stable_end, max(stable_end, end))


async def _take_in_new_partitions(reader: _Reader) -> None:
    """Read partitions that were added or found a leader since: what came after reading began."""
    added = {
        TopicPartition(source.topic, number)
        for source in reader.wanted.sources
        if source.partitions is None
        for number in reader.consumer.partitions_for_topic(source.topic) or ()
    }
    added -= {*reader.cursors, *reader.waiting}
    if not added and not reader.waiting:
        return
    for home in sorted({*added, *reader.waiting}):
        cursor = await _late_cursor(reader, home, new=home in added)
        if cursor is not None:
            reader.waiting.discard(home)
            reader.cursors[home] = cursor
            reader.consumer.assign(list(reader.cursors))
            for known, placed in reader.cursors.items():
                reader.consumer.seek(known, placed.next)
            said = "was added" if home in added else "has a leader"
            reader.session.output.say(f"{home.topic}-{home.partition} {said} and is read.", "dim")


async def _late_cursor(reader: _Reader, home: TopicPartition, *, new: bool) -> _Cursor | None:
    try:
        async with reader.session.admin() as admin:
            detail = await admin.topic(home.topic)
    except LogctlError:
        return None
    found = next((p for p in detail.partitions if p.partition == home.partition), None)
    if found is None or found.leader < 0 or found.start_offset is None or found.end_offset is None:
        return None
    bounds = {home: (found.start_offset, found.end_offset)}
    if new:
        return _Cursor(found.start_offset, None)
    position = reader.wanted.start
    if position.anchor is Anchor.END:
        position = Position(Anchor.TIME, reader.wanted.began_ms)
    reader.consumer.assign([*reader.cursors, home])
    return _Cursor((await offsets_at(reader.consumer, bounds, position))[home], None)


async def _look_whether_anybody_answers(reader: _Reader) -> None:
    # The client library waits in silence for brokers that are gone; a person wants to know.
    problem = None
    try:
        async with reader.session.admin() as admin:
            await admin.cluster()
    except (LogctlError, Failed) as error:
        problem = str(error)
    if problem is not None and problem != reader.problem:
        reader.session.output.warn(f"{problem.rstrip('.')}. Still waiting for records.")
    elif problem is None and reader.problem is not None:
        reader.session.output.say("The cluster answers again.")
    reader.problem = problem


async def _pass_invisible(reader: _Reader) -> None:
    # Offsets may hold nothing to show: transaction markers, or what compaction removed.
    if not reader.wanted.bounded or reader.printer.full:
        return
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
    # The library awaits a task that it cancels. One that has not had its first turn yet, as when
    # nothing was to be read, would end us with its cancellation and leave connections open.
    await asyncio.sleep(0)
    try:
        async with asyncio.timeout(_STOP_LIMIT_S):
            await consumer.stop()
    except (TimeoutError, KafkaError):
        return
