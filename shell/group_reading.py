"""Reads as a member of a consumer group, and commits what was printed.

A record is committed only after it was written out, also when the group rebalances or the reader is
interrupted; so nothing is skipped, and after a crash the last records may come again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError

from shell.client_metadata import only_ask
from shell.client_options import client_options
from shell.client_starting import started
from shell.exits import Failed
from shell.printing import Printer, read_record
from shell.reading import offsets_at
from shell.session import Session
from shell.sources import Source
from shell.transactions import LeftOut, Marker, Outcomes, Part, Transaction, last_stable_end, told
from shell.undecided import Undecided
from shell.values import Position

_POLL_MS = 200
_RECORDS_PER_POLL = 500
_COMMIT_EVERY_S = 1.0
# How soon it is told what became of records that were shown as open.
_TELL_EVERY_S = 1.0
_END_LIMIT_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """How to take part: the group, where it begins without committed offsets, where to stop.

    `until` (exclusive) is a place in each partition as it is when it comes to us; `count` is so
    many after the place where we begin, of those that are there.
    """

    group: str
    sources: tuple[Source, ...]
    from_start: bool
    until: Position | None = None
    count: int | None = None
    committed: bool = False

    @property
    def bounded(self) -> bool:
        """Whether there is an end."""
        return self.until is not None or self.count is not None


@dataclass(slots=True)
class _Member:
    session: Session
    wanted: Membership
    printer: Printer
    # None until it is made.
    consumer: Any = None
    # The next offset of each partition after what was printed, as far as it is not committed.
    printed: dict[TopicPartition, int] = field(default_factory=dict)
    # Where reading ends in each partition that was ours, chosen once.
    stops: dict[TopicPartition, int] = field(default_factory=dict)
    # Partitions whose beginning is still to be noted.
    fresh: set[TopicPartition] = field(default_factory=set)
    # How often partitions were taken from us: what was fetched before is the next member's.
    revocations: int = 0
    # Records of aborted transactions that were passed over.
    left_out: int = 0
    undecided: Undecided = field(default_factory=Undecided)
    outcomes: Any = None

    async def note_beginnings(self, batches: Mapping[TopicPartition, Sequence[Any]]) -> None:
        """Have the place committed where reading began, also where nothing was printed yet.

        Otherwise the next member would choose another beginning, and records would be skipped.
        `batches` are the first records of partitions that have some.
        """
        fresh, self.fresh = self.fresh & self.consumer.assignment(), set()
        begins: dict[TopicPartition, int] = {}
        for home in fresh:
            committed = await self.consumer.committed(home)
            begins[home] = committed if committed is not None else await self._begin(home, batches)
            if committed is None:
                self.printed.setdefault(home, begins[home])
        await self._choose_stops(begins)

    async def _begin(
        self, home: TopicPartition, batches: Mapping[TopicPartition, Sequence[Any]]
    ) -> int:
        first = next(iter(batches.get(home, ())), None)
        return int(await self.consumer.position(home) if first is None else first.offset)

    async def _choose_stops(self, begins: Mapping[TopicPartition, int]) -> None:
        wanted, new = self.wanted, [home for home in begins if home not in self.stops]
        if not new or not wanted.bounded:
            return
        ends = await self.consumer.end_offsets(new)
        if wanted.until is not None:
            first = await self.consumer.beginning_offsets(new)
            bounds = {home: (first[home], ends[home]) for home in new}
            self.stops |= await offsets_at(self.consumer, bounds, wanted.until)
        elif wanted.count is not None:
            self.stops |= {home: min(begins[home] + wanted.count, ends[home]) for home in new}

    async def commit(self) -> None:
        """Commit what was printed; a refused commit is told and not tried again."""
        self.printer.flush()
        if not self.printed:
            return
        offsets, self.printed = self.printed, {}
        try:
            await self.consumer.commit(offsets)
        except KafkaError as error:
            self.session.output.warn(
                f"The group took no commit ({type(error).__name__}: {error}); "
                "the last records may be read again."
            )


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    """Commits before partitions go, and tells which ones came."""

    def __init__(self, member: _Member) -> None:
        self._member = member

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        """Commit what was printed of the partitions that go."""
        member = self._member
        member.revocations += 1
        await member.commit()
        _tell_decided(member)
        # Whoever reads on passes the markers; what is begun when they come back is another.
        member.undecided, member.outcomes = Undecided(), Outcomes(member.consumer)

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        """Tell the person what is read from now on."""
        member = self._member
        names = ", ".join(f"{home.topic}-{home.partition}" for home in sorted(assigned))
        group = member.wanted.group
        member.session.output.say(f"Group {group} gave us {names or 'no partition'}.", "dim")
        member.fresh = set(assigned)


async def tail_as_member(session: Session, wanted: Membership, printer: Printer) -> None:
    """Print what the group has not read yet, until the end, the limit or a cancellation."""
    async with session.admin() as admin:
        for source in wanted.sources:
            await admin.topic(source.topic, offsets=False)
        answered = admin.source
    member = _Member(session, wanted, printer)
    try:
        with told():
            await started(
                session,
                answered,
                lambda answered: _consumer(member, answered),
                lambda _: _start(member),
                _stop,
            )
        printer.heading()
        await _read(member)
    except KafkaError as error:
        from shell.client_refusals import refusal

        topics = ", ".join(source.topic for source in wanted.sources)
        denied = refusal(session, error, topic=topics, group=wanted.group or "")
        raise Failed(
            f"Reading as group {wanted.group} failed: "
            f"{denied or f'{type(error).__name__}: {error}'}"
        ) from None
    finally:
        if member.consumer is not None:
            await _leave(member)


def _consumer(member: _Member, answered: str | None) -> Any:
    session, wanted = member.session, member.wanted
    consumer = AIOKafkaConsumer(
        **client_options(session, answered),
        group_id=wanted.group,
        enable_auto_commit=False,
        auto_offset_reset="earliest" if wanted.from_start else "latest",
        request_timeout_ms=max(session.settings.timeout_ms, 11_000),
        fetch_max_wait_ms=_POLL_MS,
        isolation_level="read_committed" if wanted.committed else "read_uncommitted",
    )
    only_ask(consumer._client)
    member.consumer, member.outcomes = consumer, Outcomes(consumer)
    consumer.subscribe([s.topic for s in wanted.sources], listener=_Listener(member))
    return consumer


async def _stop(consumer: Any) -> None:
    try:
        async with asyncio.timeout(_END_LIMIT_S):
            await consumer.stop()
    except (TimeoutError, KafkaError):
        return


async def _start(member: _Member) -> None:
    timeout_s = member.session.settings.timeout_ms / 1000
    try:
        async with asyncio.timeout(timeout_s):
            await member.consumer.start()
    except TimeoutError:
        raise Failed(
            f"The group's coordinator did not answer within {timeout_s:g} s.",
            hint="See `logctl group describe`; --timeout waits longer.",
        ) from None


async def _read(member: _Member) -> None:
    loop = asyncio.get_running_loop()
    printer, consumer = member.printer, member.consumer
    next_commit = next_tell = loop.time() + _COMMIT_EVERY_S
    while not printer.full and not await _at_end(member):
        room = _RECORDS_PER_POLL
        if printer.limit is not None:
            room = 1 if printer.filter is not None else min(room, printer.limit - printer.shown)
        revocations = member.revocations
        batches = await consumer.getmany(timeout_ms=_POLL_MS, max_records=room)
        if member.fresh:
            await member.note_beginnings(batches)
        for home, found in batches.items():
            transactions = await _transactions(member.outcomes, home, found)
            if member.revocations != revocations:
                # While we asked partitions went, and what was printed was committed.
                break
            _take(member, home, found, transactions)
        printer.flush()
        if loop.time() >= next_tell:
            _tell_decided(member)
            next_tell = loop.time() + _TELL_EVERY_S
        if loop.time() >= next_commit:
            await member.commit()
            next_commit = loop.time() + _COMMIT_EVERY_S


async def _transactions(
    outcomes: Outcomes, home: TopicPartition, found: Sequence[Any]
) -> dict[int, Transaction]:
    """The transaction of each record that was written in one, by offset."""
    transactions = {}
    for each in found:
        if isinstance(each, Marker):
            outcomes.passed(home, each)
        elif isinstance(each, Part):
            transactions[each.offset] = await outcomes.of(home, each)
    return transactions


def _take(
    member: _Member,
    home: TopicPartition,
    found: Sequence[Any],
    transactions: Mapping[int, Transaction],
) -> None:
    """Print records up to the end of their partition; what comes after stays for the next one."""
    stop, printer = member.stops.get(home), member.printer
    stable_end = last_stable_end(member.consumer, home)
    for each in found:
        if stop is not None and each.offset >= stop:
            member.consumer.pause(home)
            return
        if isinstance(each, LeftOut):
            member.left_out += each.records
            member.printed[home] = each.next_offset
            continue
        if isinstance(each, Marker):
            member.undecided.ended(home, each, stable_end)
            printer.marker(home.topic, home.partition, each, stable_end)
        else:
            stable = stable_end is None or each.offset < stable_end
            written = each.record if isinstance(each, Part) else each
            record = read_record(written, transactions.get(each.offset), stable=stable)
            if printer.add(record) and printer.leaves_open:
                member.undecided.shown(home, record)
        member.printed[home] = each.offset + 1
        if printer.full:
            return


def _tell_decided(member: _Member) -> None:
    """Put right what was shown as open or held. With control records the markers do."""
    if not member.printer.leaves_open:
        return
    consumer = member.consumer
    stable_ends = {
        home: end
        for home in consumer.assignment()
        if (end := last_stable_end(consumer, home)) is not None
    }
    for line in member.undecided.lines(stable_ends):
        member.session.output.say(line, "dim")


async def _at_end(member: _Member) -> bool:
    """Whether all that is ours has been read. Who has no partition waits for one."""
    homes = member.consumer.assignment()
    if not member.wanted.bounded or not homes or member.fresh:
        return False
    for home in homes:
        stop = member.stops.get(home)
        if stop is None or await member.consumer.position(home) < stop:
            return False
    return True


async def _leave(member: _Member) -> None:
    """Commit and leave the group, also when interrupted: others wait for our partitions."""
    member.printer.flush()
    _tell_decided(member)
    if member.left_out:
        said = f"{member.left_out} records of aborted transactions left out."
        member.session.output.say(said, "dim")
    try:
        async with asyncio.timeout(_END_LIMIT_S):
            await member.commit()
            await member.consumer.stop()
    except (TimeoutError, KafkaError):
        return
