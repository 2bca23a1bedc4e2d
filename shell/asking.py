"""What commands share when they ask: parts that are missing, confirmations, and blast radius.

A blast-radius card says who would notice a deletion: members, producers, bytes, the last write. It
is best effort within a short time, and says what it could not find out; it must never stop a
command that its user confirms.
"""

from __future__ import annotations

import asyncio
import shlex
import threading
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from shell.exits import ExitCode, Refused
from shell.output import TABLE
from shell.session import Session
from shell.values import format_bytes, format_time

if TYPE_CHECKING:
    from clusters.admin import AdminClient, Failure

T = TypeVar("T")
CARD_LIMIT_S = 4.0
LIMITED_LIMIT_S = 2.0
# More groups than this are not all asked who reads a topic.
GROUPS_ASKED_MAX = 200


def tell_missing(session: Session, failures: Iterable[Failure]) -> ExitCode | None:
    """Warn of each part that is missing; returns UNHEALTHY when there is one."""
    missing = list(dict.fromkeys(map(str, failures)))
    for text in missing:
        session.output.warn(text)
    return ExitCode.UNHEALTHY if missing else None


async def tell_limited(
    session: Session, admin: AdminClient, kind: str, *, empty: bool, verb: str = "listed"
) -> None:
    """Say once, where it can be known, that only what one may describe is shown.

    `kind` is "topic" or "group". A script that got rows is told nothing: they are what it may see.
    """
    if (session.output.format != TABLE and not empty) or kind in session.told:
        return
    session.told.add(kind)
    from broker.protocol.errors import LogctlError

    try:
        async with asyncio.timeout(LIMITED_LIMIT_S):
            lacking = await admin.lacking_rights()
    except (LogctlError, TimeoutError):
        return  # what was shown is true without it
    # Who may describe the cluster is told every group.
    if not lacking or (kind == "group" and "describe" not in lacking):
        return
    who = admin.principal or "this client's principal"
    text = f"Only {kind}s that {who} may describe are {verb}."
    if empty:
        allow = f"--{kind} '*' --operation describe"
        text += f" All of them by: logctl acl add {shlex.quote(admin.principal or 'PRINCIPAL')} "
        text += allow
    session.output.say(text, "dim")


def confirm(session: Session, text: str) -> None:
    """Ask for a yes unless --yes was given. Raises Refused."""
    if session.settings.yes:
        return
    answer = session.doors.ask(f"{text}\nType yes to confirm: ")
    if answer is None:
        raise Refused(f"Not confirmed, and nobody to ask. {text}", hint="Add --yes to confirm.")
    if answer.strip().lower() not in {"y", "yes"}:
        raise Refused("Not confirmed; nothing was changed.")


@dataclass(slots=True)
class Card:
    """Who would notice that topics or their records go."""

    topics: tuple[str, ...]
    readers: list[str] = field(default_factory=list)
    producers: int | None = None
    size_bytes: int | None = None
    records: int | None = None
    last_write_ms: int | None = None
    unknown: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """The card as lines of text; what did not answer makes a number the least it can be."""
        readers = ", ".join(self.readers) or "none"
        if "groups" in self.unknown:
            readers = f"{readers}, as far as groups answered"
        size = None if self.size_bytes is None else format_bytes(self.size_bytes)
        last = "never" if self.last_write_ms is None else format_time(self.last_write_ms)
        if "records" in self.unknown:
            last = f"{last}, as far as leaders answered"
        return [
            f"  groups with members: {readers}",
            f"  remembered idempotent producers: {self._least('producers', self.producers)}",
            f"  records: {self._least('records', self.records)}",
            f"  bytes on all replicas: {self._least('bytes', size)}",
            f"  last write: {last}",
        ]

    def _least(self, part: str, value: object) -> str:
        if value is None:
            return "not known"
        return f"at least {value}" if part in self.unknown else str(value)


async def blast_radius(admin: AdminClient, topics: Sequence[str]) -> Card:
    """Find out who would notice; parts that fail are named in `unknown`."""
    card = Card(tuple(topics))
    await asyncio.gather(
        _part(card, "groups", lambda: _readers(admin, card)),
        _part(card, "producers", lambda: _writers(admin, card)),
        _part(card, "bytes", lambda: _bytes(admin, card)),
        _part(card, "records", lambda: _records(admin, card)),
    )
    return card


async def _part(card: Card, name: str, asking: Callable[[], Awaitable[None]]) -> None:
    try:
        async with asyncio.timeout(CARD_LIMIT_S):
            await asking()
    except Exception:  # noqa: BLE001 - told as not known
        card.unknown.append(name)


def _note(card: Card, part: str, failures: Sequence[Failure]) -> None:
    if failures:
        card.unknown.append(part)


async def _keys(admin: AdminClient, card: Card) -> list[tuple[str, int]]:
    return [(p.topic, p.partition) for p in await admin.partitions(list(card.topics))]


async def _readers(admin: AdminClient, card: Card) -> None:
    told = await admin.groups()
    groups = [each.group for each in told.items if each.state != "Empty"]
    if told.failures or len(groups) > GROUPS_ASKED_MAX:
        card.unknown.append("groups")
    details = await asyncio.gather(
        *(admin.group(name) for name in groups[:GROUPS_ASKED_MAX]), return_exceptions=True
    )
    for detail in details:
        if isinstance(detail, BaseException):
            card.unknown.append("groups")
            continue
        readers = [m for m in detail.members if any(t in card.topics for t, _ in m.partitions)]
        if readers:
            card.readers.append(f"{detail.group} ({len(readers)})")


async def _writers(admin: AdminClient, card: Card) -> None:
    told = await admin.producers(await _keys(admin, card))
    _note(card, "producers", told.failures)
    card.producers = len({each.producer_id for each in told.items})


async def _bytes(admin: AdminClient, card: Card) -> None:
    placed, dirs = await asyncio.gather(admin.partitions(list(card.topics)), admin.log_dirs())
    answered = {each.broker for each in dirs.items}
    if any(broker not in answered for each in placed for broker in each.replicas):
        card.unknown.append("bytes")
    card.size_bytes = sum(
        replica.size_bytes
        for each in dirs.items
        for replica in each.replicas
        if replica.topic in card.topics
    )


async def _records(admin: AdminClient, card: Card) -> None:
    from clusters.admin import OffsetSpec

    keys = await _keys(admin, card)
    starts, ends, newest = await asyncio.gather(
        admin.list_offsets(dict.fromkeys(keys, OffsetSpec.earliest)),
        admin.list_offsets(dict.fromkeys(keys, OffsetSpec.latest)),
        admin.list_offsets(dict.fromkeys(keys, OffsetSpec.max_timestamp)),
    )
    _note(card, "records", [*starts.failures, *ends.failures, *newest.failures])
    first = {(each.topic, each.partition): each.offset or 0 for each in starts.items}
    card.records = sum(
        (each.offset or 0) - first.get((each.topic, each.partition), 0) for each in ends.items
    )
    times = [each.timestamp_ms for each in newest.items if each.timestamp_ms >= 0]
    card.last_write_ms = max(times, default=None)


def card_text(session: Session, topics: Sequence[str]) -> str:
    """The card's lines, found out before the question is asked.

    Raises UnknownTopic: nobody is asked about what is not there. Works with and without a running
    loop: a question is asked from both.
    """

    from clusters.admin import UnknownTopic

    async def find() -> Card:
        async with session.admin() as admin:
            await _check_known(admin, topics)
            return await blast_radius(admin, topics)

    try:
        return "\n".join(_in_thread(find).lines())
    except UnknownTopic:
        raise
    except Exception:  # noqa: BLE001 - the question comes without the card then
        return "  Who reads and writes it could not be found out."


async def _check_known(admin: AdminClient, topics: Sequence[str]) -> None:
    from broker.protocol.errors import LogctlError
    from clusters.admin import UnknownTopic

    for topic in topics:
        try:
            async with asyncio.timeout(CARD_LIMIT_S):
                await admin.topic(topic, offsets=False)
        except UnknownTopic:
            raise
        except (LogctlError, TimeoutError):
            continue  # whoever confirms may try all the same


def _in_thread(asking: Callable[[], Awaitable[T]]) -> T:
    found: list[T] = []
    failed: list[BaseException] = []

    async def run() -> T:
        return await asking()

    def work() -> None:
        try:
            found.append(asyncio.run(run()))
        except BaseException as error:  # noqa: BLE001 - raised again by the caller
            failed.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return found[0]
