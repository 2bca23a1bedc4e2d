"""Limits on how fast moves copy (KIP-73): set with a move, changed, listed, taken away after it."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from shell.exits import ExitCode, UsageProblem
from shell.output import Table
from shell.registry import Argument, Command, Kind, Option
from shell.session import Session
from shell.values import format_bytes

if TYPE_CHECKING:
    from clusters.admin import AdminClient
    from clusters.admin.throttles import Copying, Throttles

Partition = tuple[str, int]
OFF = "off"
LEFT = "`logctl partition throttle off` removes what is left of it."


def read_rate(text: str) -> int:
    """Bytes per second of `10MiB`, `10MiB/s` or a bare number of bytes. Raises UsageProblem."""
    from clusters.units import parse_size_bytes

    plain = text.strip().removesuffix("/s")
    try:
        rate = int(plain) if plain.isdecimal() else int(parse_size_bytes(plain))
    except ValueError:
        raise UsageProblem(f"'{text}' is no rate; write bytes per second, as in 10MiB.") from None
    if rate < 1:
        raise UsageProblem("At a rate of nothing, nothing would ever have moved.")
    return rate


def rate_text(rate: int) -> str:
    """A rate for reading."""
    return f"{format_bytes(rate)}/s"


def copies_of(
    plan: Mapping[Partition, Iterable[int]], before: Mapping[Partition, Iterable[int]]
) -> dict[Partition, Copying]:
    """What a plan copies, by partition."""
    from clusters.admin.throttles import copying

    made = {key: copying(tuple(before[key]), tuple(new)) for key, new in plan.items()}
    return {key: each for key, each in made.items() if each is not None}


async def check(admin: AdminClient, copies: Mapping[Partition, Copying], rate: int) -> None:
    """Raises Failed where the brokers would not take it."""
    from clusters.admin.errors import AdminError
    from clusters.admin.throttles import check_rate
    from shell.exits import Failed

    try:
        await check_rate(admin, brokers_of(copies), rate)
    except AdminError as error:
        raise Failed(
            f"This move cannot be throttled: {error}.", hint="Leave out --throttle."
        ) from None


def brokers_of(copies: Mapping[Partition, Copying]) -> set[int]:
    """All that take part."""
    return {broker for each in copies.values() for broker in each.brokers}


async def release(
    session: Session, topics: Collection[str], brokers: Collection[int] | None = None
) -> None:
    """Take away what no longer holds anything back, and say what is left; warns, never fails.

    Without brokers it is of all of them.
    """
    from broker.protocol.errors import LogctlError
    from clusters.admin.throttles import let_go

    try:
        async with session.admin() as admin:
            if brokers is None:
                brokers = [each.id for each in await admin.brokers()]
            left, moving = await let_go(admin, topics, brokers)
    except LogctlError as error:
        session.output.warn(f"The throttle is still there: {error}")
        session.output.say(LEFT, "dim")
        return
    if not left:
        session.output.say("The throttle is removed.")
        return
    why = " for the moves that are under way" if moving else ""
    session.output.say(f"A throttle stays{why}: {', '.join(_words(left))}.")
    session.output.say(LEFT, "dim")


def _words(found: Throttles) -> list[str]:
    rates: dict[str, list[int]] = {}
    for broker, of in sorted(found.rates.items()):
        shown = " and ".join(sorted({rate_text(int(each)) for each in of.values()}))
        rates.setdefault(shown, []).append(broker)
    said = [
        f"broker{'s' if len(ids) > 1 else ''} {', '.join(map(str, ids))} at {shown}"
        for shown, ids in rates.items()
    ]
    return said + [f"topic {topic}" for topic in found.replicas]


def _rows(found: Throttles) -> list[dict[str, Any]]:
    brokers = [
        {"of": "broker", "name": str(broker), "setting": name, "value": value}
        for broker, of in found.rates.items()
        for name, value in of.items()
    ]
    topics = [
        {"of": "topic", "name": topic, "setting": name, "value": value}
        for topic, of in found.replicas.items()
        for name, value in of.items()
    ]
    return brokers + topics


def _show(session: Session, found: Throttles) -> None:
    data = _rows(found)
    session.output.document(
        data,
        lambda: [
            Table(
                ("OF", "NAME", "SETTING", "VALUE"),
                [(each["of"], each["name"], each["setting"], each["value"]) for each in data],
            )
        ],
    )


async def _list(session: Session) -> ExitCode | None:
    from clusters.admin.throttles import throttles

    async with session.admin() as admin:
        found, moves = await asyncio.gather(throttles(admin), admin.reassignments())
    _show(session, found)
    for broker in found.unknown:
        session.output.warn(f"broker {broker} is not up: whether it has a rate is not known")
    if not found:
        session.output.say("No throttle is set.", "dim")
    elif not moves:
        session.output.say("No move is under way: `partition throttle off` removes them.", "dim")
    return ExitCode.UNHEALTHY if found.unknown else None


async def _throttle(session: Session, *, rate: str, dry_run: bool) -> None:
    wanted = None if rate == OFF else read_rate(rate)
    async with session.admin() as admin:
        if wanted is None:
            await _off(session, admin, dry_run=dry_run)
        else:
            await _change(session, admin, wanted, dry_run=dry_run)


async def _off(session: Session, admin: AdminClient, *, dry_run: bool) -> None:
    from clusters.admin.throttles import remove_all, throttles

    found, moves = await asyncio.gather(throttles(admin), admin.reassignments())
    if not found and not found.unknown:
        session.output.say("No throttle is set.")
        return
    _show(session, found)
    if moves:
        names = ", ".join(f"{each.topic}:{each.partition}" for each in moves[:5])
        session.output.say(f"{len(moves)} partitions are moving: {names}. They go on unthrottled.")
    if dry_run:
        session.output.say("All this would be removed; nothing was changed.")
        return
    await remove_all(admin, found)
    session.output.say("The throttle is removed.")


async def _change(session: Session, admin: AdminClient, rate: int, *, dry_run: bool) -> None:
    from clusters.admin.throttles import Copying, hold_back

    copies = {
        (each.topic, each.partition): Copying(
            tuple(sorted(set(each.replicas) - set(each.adding))), each.adding
        )
        for each in await admin.reassignments()
        if each.adding
    }
    if not copies:
        session.output.say("No move is under way that copies anything: nothing to throttle.")
        return
    ids = ", ".join(map(str, sorted(brokers_of(copies))))
    what = f"brokers {ids} at {rate_text(rate)} for {len(copies)} partitions that move"
    if dry_run:
        await check(admin, copies, rate)
        session.output.say(f"Would throttle {what}; nothing was changed.")
        return
    await hold_back(admin, copies, rate)
    session.output.say(f"Throttled {what}. It stays when they have moved: {LEFT}")


COMMANDS = (
    Command(
        name="partition throttle",
        summary="Limit how fast the moves under way copy, or take away all limits.",
        details="The rate is what each broker that takes part sends and takes at most, beside what "
        "replicas in sync need. `off` removes every such limit of the cluster, also what an "
        "earlier move has left behind.",
        arguments=(Argument("RATE", "Bytes per second, as in 10MiB; or off."),),
        options=(Option(("--dry-run",), "Only show what would change.", kind=Kind.FLAG),),
        examples=("partition throttle 10MiB", "partition throttle off"),
        run=_throttle,
        changes=True,
    ),
    Command(
        name="partition throttles",
        summary="List the limits on how fast moves copy, also those left behind.",
        examples=("partition throttles",),
        run=_list,
    ),
)
