"""Partitions: list, elect leaders. Moving replicas is in partition_move.py."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shell.asking import tell_limited, tell_missing
from shell.exits import ExitCode, Refused, UsageProblem
from shell.observing import keys_where
from shell.output import Cell, Table
from shell.registry import Argument, Command, Kind, Option
from shell.session import Session
from shell.sources import parse_places
from shell.values import format_bytes

if TYPE_CHECKING:
    from clusters.admin import AdminClient, PlacedPartition

HEALTH_OPTIONS = (
    Option(("--under-replicated",), "Only where a replica is out of sync.", kind=Kind.FLAG),
    Option(("--offline",), "Only without a leader.", kind=Kind.FLAG),
    Option(("--under-min-isr",), "Only where acks=all is refused.", kind=Kind.FLAG),
    Option(("--at-min-isr",), "Only where one more loss refuses acks=all.", kind=Kind.FLAG),
)
PARTITIONS = Argument(
    "PARTITIONS",
    "TOPIC or TOPIC:PARTITIONS, as in orders:0,4-7; all without.",
    kind=Kind.TOPIC_PARTITION,
    required=False,
    many=True,
)


@dataclass(frozen=True, slots=True)
class Health:
    """The conditions of HEALTH_OPTIONS that were asked for."""

    under_replicated: bool
    offline: bool
    under_min_isr: bool
    at_min_isr: bool

    @property
    def asked(self) -> bool:
        """Whether any was."""
        return self.under_replicated or self.offline or self.under_min_isr or self.at_min_isr

    def fits(self, each: PlacedPartition) -> bool:
        """Whether a partition has one of them."""
        return (
            (self.under_replicated and each.is_under_replicated)
            or (self.offline and each.is_offline)
            or (self.under_min_isr and each.is_under_min_isr)
            or (self.at_min_isr and each.is_at_min_isr)
        )


async def named_partitions(admin: AdminClient, texts: Sequence[str]) -> list[PlacedPartition]:
    """The partitions that TOPIC and TOPIC:PARTITION name, or all. Raises UsageProblem."""
    named = parse_places(texts)
    placed = await admin.partitions(sorted({topic for topic, _ in named}) or None, min_isr=True)
    known = {(each.topic, each.partition) for each in placed}
    for topic, index in named:
        if index is not None and (topic, index) not in known:
            raise UsageProblem(f"There is no partition {topic}:{index}.")
    if not named:
        return placed
    return [
        each
        for each in placed
        if (each.topic, None) in named or (each.topic, each.partition) in named
    ]


async def _list(
    session: Session,
    *,
    partitions: Sequence[str],
    broker: int | None,
    leader: int | None,
    where: str | None,
    internal: bool,
    under_replicated: bool,
    offline: bool,
    under_min_isr: bool,
    at_min_isr: bool,
) -> ExitCode | None:
    health = Health(under_replicated, offline, under_min_isr, at_min_isr)
    async with session.admin() as admin:
        placed = seen = await named_partitions(admin, partitions)
        if not internal and not partitions:
            placed = [each for each in placed if not each.internal]
        if broker is not None:
            placed = [each for each in placed if broker in each.replicas]
        if leader is not None:
            placed = [each for each in placed if each.leader == leader]
        if health.asked:
            placed = [each for each in placed if health.fits(each)]
        if where:
            kept = await keys_where(session, where, "partitions")
            placed = [each for each in placed if (each.topic, each.partition) in kept]
        details, failures = await _details(admin, placed)
        data = [
            each.to_json() | details.get((each.topic, each.partition), _NOTHING) for each in placed
        ]
        session.output.document(data, lambda: [_table(data)])
        if not partitions:
            await tell_limited(session, admin, "topic", empty=not seen)
    return tell_missing(session, failures)


_NOTHING: dict[str, int | None] = {"start_offset": None, "end_offset": None, "size_bytes": None}


async def _details(
    admin: AdminClient, placed: Sequence[PlacedPartition]
) -> tuple[dict[tuple[str, int], dict[str, int | None]], list[Any]]:
    """Offsets and the size of the leader's replica, by partition; and what is missing."""
    from clusters.admin import OffsetSpec

    keys = [(each.topic, each.partition) for each in placed]
    if not keys:
        return {}, []
    starts, ends, dirs = await asyncio.gather(
        admin.list_offsets(dict.fromkeys(keys, OffsetSpec.earliest)),
        admin.list_offsets(dict.fromkeys(keys, OffsetSpec.latest)),
        admin.log_dirs(),
    )
    sizes = {
        (each.broker, replica.topic, replica.partition): replica.size_bytes
        for each in dirs.items
        for replica in each.replicas
        if not replica.is_future
    }
    found: dict[tuple[str, int], dict[str, int | None]] = {
        (each.topic, each.partition): dict(_NOTHING)
        | {"size_bytes": sizes.get((each.leader, each.topic, each.partition))}
        for each in placed
    }
    for told in starts.items:
        found[told.topic, told.partition]["start_offset"] = told.offset
    for told in ends.items:
        found[told.topic, told.partition]["end_offset"] = told.offset
    return found, [*ends.failures, *dirs.failures]


def _table(data: Sequence[dict[str, Any]]) -> Table:
    rows = []
    for each in data:
        in_sync = ",".join(map(str, each["isr"])) or "-"
        short = len(each["isr"]) < len(each["replicas"])
        size = each["size_bytes"]
        rows.append(
            (
                each["topic"],
                each["partition"],
                Cell("none", "bad") if each["leader"] < 0 else each["leader"],
                each["replicas"],
                Cell(in_sync, "warn") if short else in_sync,
                each["min_isr"],
                each["start_offset"],
                each["end_offset"],
                None if size is None else format_bytes(size),
            )
        )
    return Table(
        ("TOPIC", "PARTITION", "LEADER", "REPLICAS", "ISR", "MIN ISR", "START", "END", "SIZE"),
        rows,
        right=frozenset({"PARTITION", "LEADER", "MIN ISR", "START", "END", "SIZE"}),
    )


async def _elect(
    session: Session, *, partitions: Sequence[str], unclean: bool, dry_run: bool
) -> ExitCode | None:
    if unclean and not partitions:
        raise UsageProblem("--unclean needs the partitions named: records may be lost.")
    async with session.admin() as admin:
        placed = await named_partitions(admin, partitions)
        keys = [(each.topic, each.partition) for each in placed]
        wanted = [
            each
            for each in placed
            if (each.is_offline if unclean else each.leader != each.replicas[0])
        ]
        if dry_run:
            for each in wanted:
                goal = "any live replica" if unclean else f"broker {each.replicas[0]}"
                now = "nobody" if each.is_offline else f"broker {each.leader}"
                session.output.say(f"{each.topic}:{each.partition}: from {now} to {goal}")
            from broker.protocol.api_keys import ApiKey

            await admin.check_cluster(ApiKey.ELECT_LEADERS)
            session.output.say(f"{len(wanted)} partitions would change; nothing was changed.")
            return None
        if unclean:
            _confirm_unclean(session, [f"{e.topic}:{e.partition}" for e in wanted])
        results = await admin.elect_leaders(not unclean, keys if partitions else None)
        after = {(p.topic, p.partition): p.leader for p in await admin.partitions()}
    data = [
        result.to_json() | {"leader": after.get((result.topic, result.partition), -1)}
        for result in results
    ]
    failed = [each for each in data if each["error"]]
    session.output.document(
        data,
        lambda: (
            [
                Table(
                    ("TOPIC", "PARTITION", "ELECTED", "LEADER", "ERROR"),
                    [
                        (
                            each["topic"],
                            each["partition"],
                            each["elected"],
                            each["leader"],
                            Cell(each["error"], "bad") if each["error"] else None,
                        )
                        for each in data
                    ],
                    right=frozenset({"PARTITION", "LEADER"}),
                )
            ]
            if data
            else []
        ),
    )
    elected = sum(1 for each in data if each["elected"])
    session.output.say(f"{elected} leaders elected, {len(failed)} failed.")
    return ExitCode.FAILED if failed else None


def _confirm_unclean(session: Session, places: Sequence[str]) -> None:
    from shell.asking import confirm

    if not places:
        raise Refused("All of these partitions have leaders; an unclean election is not needed.")
    confirm(
        session,
        f"An unclean election of {', '.join(places)} may lose records that were acknowledged.",
    )


COMMANDS = (
    Command(
        name="partition list",
        summary="List partitions: leader, replicas, ISR, offsets, size.",
        arguments=(PARTITIONS,),
        options=(
            *HEALTH_OPTIONS,
            Option(("--broker",), "Only with a replica on this broker.", kind=Kind.BROKER),
            Option(("--leader",), "Only led by this broker.", kind=Kind.BROKER),
            Option(
                ("--where",),
                "Only those for which a condition holds, as in 'isr < min_isr'.",
                kind=Kind.QUERY,
                metavar="CONDITION",
            ),
            Option(("--internal",), "Also of the cluster's own topics.", kind=Kind.FLAG),
        ),
        examples=(
            "partition list orders",
            "partition list --under-replicated",
            "partition list --where 'leader = 3 and size > 1GiB'",
        ),
        run=_list,
    ),
    Command(
        name="partition elect",
        summary="Give leadership back to preferred leaders, or (--unclean) to any live replica.",
        details="Without PARTITIONS all that are not led by their first replica.",
        arguments=(PARTITIONS,),
        options=(
            Option(("--unclean",), "Also a replica that is out of sync: loses records.", Kind.FLAG),
            Option(("--dry-run",), "Only show what would change.", kind=Kind.FLAG),
        ),
        examples=("partition elect", "partition elect orders:3 --dry-run"),
        run=_elect,
        changes=True,
    ),
)
