"""Consumer groups: list, describe, delete, delete-offsets. Resetting is in group_reset.py."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from shell.asking import tell_limited, tell_missing
from shell.exits import ExitCode, UsageProblem
from shell.nearest import did_you_mean
from shell.observing import keys_where, rows_where
from shell.output import Block, Cell, Facts, Table
from shell.registry import Argument, Command, Kind, Option, Question
from shell.session import Session
from shell.sources import parse_places
from shell.values import format_duration

if TYPE_CHECKING:
    from clusters.admin import AdminClient, Failure, GroupDetail, GroupSummary, PartitionLag

GROUP = Argument("GROUP", "The group's name.", kind=Kind.GROUP)
SAMPLE_MS_MIN = 100
_TONES = {"Stable": "good", "Empty": "dim", "Dead": "bad"}


async def _list(
    session: Session, *, state: Sequence[str], topic: str | None, where: str | None
) -> ExitCode | None:
    if state:
        _check_states(state)
    async with session.admin() as admin:
        told = await admin.groups(state or None)
        groups = list(told.items)
        if where:
            kept = await keys_where(session, where, "groups")
            groups = rows_where(groups, kept, lambda group: group.group)
        if topic is not None:
            return await _list_readers(session, admin, topic, groups, told.failures)
        session.output.document(
            [group.to_json() for group in groups],
            lambda: [
                Table(
                    ("GROUP", "STATE", "PROTOCOL", "TYPE", "COORDINATOR"),
                    [
                        (
                            group.group,
                            Cell(group.state or None, _TONES.get(group.state, "warn")),
                            group.protocol_type or None,
                            group.group_type or None,
                            group.coordinator,
                        )
                        for group in groups
                    ],
                    right=frozenset({"COORDINATOR"}),
                )
            ],
        )
        await tell_limited(session, admin, "group", empty=not told.items)
    return tell_missing(session, told.failures)


async def _list_readers(
    session: Session,
    admin: AdminClient,
    topic: str,
    groups: Sequence[GroupSummary],
    failures: Sequence[Failure],
) -> ExitCode | None:
    from shell.topic_readers import readers_of

    readers, untold = await readers_of(admin, topic, groups)
    session.output.document(
        [reader.to_json() for reader in readers],
        lambda: [
            Table(
                ("GROUP", "STATE", "MEMBERS", "PARTITIONS", "LAG"),
                [
                    (
                        reader.summary.group,
                        Cell(
                            reader.summary.state or None, _TONES.get(reader.summary.state, "warn")
                        ),
                        reader.members,
                        reader.partitions,
                        reader.lag if reader.whole else f"at least {reader.lag}",
                    )
                    for reader in readers
                ],
                right=frozenset({"MEMBERS", "PARTITIONS", "LAG"}),
            )
        ],
    )
    if not readers:
        session.output.say(f"No group reads {topic}, as far as groups answered.", "dim")
    await tell_limited(session, admin, "group", empty=not groups)
    return tell_missing(session, [*failures, *untold])


def _check_states(named: Sequence[str]) -> None:
    # Loads the language of conditions, which a plain list needs not.
    from clusters.query.schema import GROUP_STATES

    known = {each.lower() for each in GROUP_STATES}
    for each in named:
        if each.lower() not in known:
            listed = ", ".join(GROUP_STATES)
            raise UsageProblem(
                f"There is no state '{each}' of a group; there are {listed}."
                + did_you_mean(each, GROUP_STATES)
            )


async def _describe(session: Session, *, group: str, rate: bool, sample: int) -> ExitCode | None:
    if rate and sample < SAMPLE_MS_MIN:
        raise UsageProblem(f"--sample is at least {SAMPLE_MS_MIN} ms: less measures nothing.")
    async with session.admin(pauses_ms=sample if rate else 0) as admin:
        detail, offsets = await asyncio.gather(admin.group(group), admin.group_offsets(group))
        lag = await admin.lag_of(detail, offsets)
        speeds: dict[tuple[str, int], tuple[float, float]] = {}
        if rate:
            lag, speeds = await _sampled(admin, group, lag, sample)
        # Offsets of topics that one may not describe are left out without a word.
        await tell_limited(session, admin, "topic", empty=not lag.items, verb="counted")
    partitions = [_partition_json(row, speeds.get((row.topic, row.partition))) for row in lag.items]
    known = [row.lag for row in lag.items if row.lag is not None]
    data = detail.to_json() | {"total_lag": sum(known), "partitions": partitions}
    session.output.document(data, lambda: _blocks(detail, partitions, sum(known), rate))
    return tell_missing(session, lag.failures)


async def _sampled(
    admin: AdminClient, group: str, first: Any, sample_ms: int
) -> tuple[Any, dict[tuple[str, int], tuple[float, float]]]:
    """(the lag now, records consumed and written a second by partition) between two looks."""
    began = time.monotonic()
    await asyncio.sleep(sample_ms / 1000)
    last = await admin.group_lag(group)
    took_s = time.monotonic() - began
    before = {(row.topic, row.partition): row for row in first.items}
    speeds: dict[tuple[str, int], tuple[float, float]] = {}
    for row in last.items:
        old = before.get((row.topic, row.partition))
        if old is None or None in (old.committed, old.end, row.committed, row.end):
            continue
        consumed = (row.committed - old.committed) / took_s
        speeds[row.topic, row.partition] = (consumed, (row.end - old.end) / took_s)
    return last, speeds


def _partition_json(row: PartitionLag, speed: tuple[float, float] | None) -> dict[str, Any]:
    data = row.to_json()
    consumed, written = speed if speed is not None else (None, None)
    drain_s = None
    if row.lag == 0:
        drain_s = 0.0
    elif row.lag is not None and consumed is not None and written is not None:
        # Negative or no gain: at this pace it never drains.
        drain_s = round(row.lag / (consumed - written), 1) if consumed > written else None
    return data | {
        "consumed_per_s": None if consumed is None else round(consumed, 1),
        "written_per_s": None if written is None else round(written, 1),
        "drain_s": drain_s,
    }


def _blocks(
    detail: GroupDetail, partitions: Sequence[Mapping[str, Any]], total: int, rate: bool
) -> list[Block]:
    from clusters.admin.group_model import shared_readers

    unknown = any(each["committed"] is not None and each["lag"] is None for each in partitions)
    facts: list[tuple[str, object]] = [
        ("group", detail.group),
        ("state", Cell(detail.state, _TONES.get(detail.state, "warn"))),
        ("protocol", detail.protocol_type or None),
        ("assignor", detail.assignor or None),
        ("coordinator", detail.coordinator),
        ("members", len(detail.members)),
        ("total lag", f"at least {total}" if unknown else total),
    ]
    members = Table(
        ("MEMBER", "CLIENT", "HOST", "INSTANCE", "PARTITIONS"),
        [
            (m.member_id, m.client_id, m.host, m.instance_id, len(m.partitions))
            for m in detail.members
        ],
        right=frozenset({"PARTITIONS"}),
    )
    clients = {m.member_id: m.client_id for m in detail.members}
    shared = shared_readers(detail)
    columns = ["TOPIC", "PARTITION", "COMMITTED", "END", "LAG"]
    columns += ["READ/S", "WRITTEN/S", "DRAINS IN"] if rate else []
    rows: list[list[object]] = []
    for each in partitions:
        lag = each["lag"]
        at, start = each["committed"], each["start"]
        # Records between the two are gone, read or not.
        gone = at is not None and start is not None and at < start
        committed = Cell(f"{at} (log begins at {start})", "bad") if gone else at
        row: list[object] = [each["topic"], each["partition"], committed, each["end"]]
        row.append(Cell(lag, "warn") if lag else lag)
        if rate:
            row += [each["consumed_per_s"], each["written_per_s"], _drain(each)]
        place = (each["topic"], each["partition"])
        rows.append([*row, shared.get(place) or clients.get(each["member"])])
    lags = Table((*columns, "READER"), rows, right=frozenset(columns) - {"TOPIC"})
    return [Facts(facts), *([members] if detail.members else []), *([lags] if rows else [])]


def _drain(each: Mapping[str, Any]) -> object:
    if each["drain_s"] is not None:
        return format_duration(round(each["drain_s"] * 1000))
    return Cell("never at this rate", "bad") if each["consumed_per_s"] is not None else None


async def _delete(session: Session, *, groups: Sequence[str], dry_run: bool) -> ExitCode | None:
    from broker.protocol.errors import LogctlError

    async with session.admin() as admin:
        if dry_run:
            refused = False
            for name in groups:
                detail = await admin.group(name)
                count = len(await admin.group_offsets(name))
                word = "would be refused: it has members" if detail.members else "can be deleted"
                refused |= bool(detail.members)
                from broker.protocol.api_keys import ApiKey

                await admin.check_group(ApiKey.DELETE_GROUPS, name)
                session.output.say(f"Group {name} {word}; {count} committed offsets.")
            return ExitCode.FAILED if refused else None
        failed = False
        for name in dict.fromkeys(groups):
            try:
                await admin.delete_groups([name])
            except LogctlError as error:
                # What is gone is told as well: it cannot be had back.
                failed = True
                session.output.error(str(error))
            else:
                session.output.say(f"Deleted group {name}.")
    return ExitCode.FAILED if failed else None


def _delete_question(session: Session, *, groups: Sequence[str], **_: Any) -> Question:
    return Question(f"This deletes {', '.join(groups)} with all committed offsets.")


async def _delete_offsets(
    session: Session, *, group: str, partitions: Sequence[str], dry_run: bool
) -> None:
    async with session.admin() as admin:
        offsets = await admin.group_offsets(group)
        chosen = chosen_partitions(
            partitions, [(offset.topic, offset.partition) for offset in offsets]
        )
        shown = ", ".join(f"{topic}:{index}" for topic, index in chosen)
        if dry_run:
            from broker.protocol.api_keys import ApiKey

            await admin.check_group(ApiKey.OFFSET_DELETE, group)
            await admin.check_topics(ApiKey.OFFSET_DELETE, {topic for topic, _ in chosen})
            session.output.say(f"Would forget what {group} committed for {shown}.")
            return
        await admin.delete_group_offsets(group, chosen)
    session.output.say(f"Forgot what {group} committed for {shown}.")


def chosen_partitions(
    texts: Sequence[str], known: Sequence[tuple[str, int]]
) -> list[tuple[str, int]]:
    """Those of the known partitions that TOPIC or TOPIC:PARTITION name. Raises UsageProblem."""
    chosen: list[tuple[str, int]] = []
    for topic, index in parse_places(texts):
        found = [key for key in known if key[0] == topic and index in (None, key[1])]
        if not found:
            place = topic if index is None else f"{topic}:{index}"
            raise UsageProblem(f"The group has committed nothing for {place}.")
        chosen += found
    return sorted(set(chosen))


def _delete_offsets_question(
    session: Session, *, group: str, partitions: Sequence[str], **_: Any
) -> Question:
    return Question(f"This forgets what group {group} committed for {', '.join(partitions)}.")


DRY_RUN = Option(("--dry-run",), "Only show what would be done.", kind=Kind.FLAG)

COMMANDS = (
    Command(
        name="group list",
        summary="List the consumer groups and what they are doing.",
        options=(
            Option(
                ("--state",),
                "Only groups in this state, such as Stable or Empty; may repeat.",
                many=True,
            ),
            Option(
                ("--topic",),
                "Only groups that read this topic (that committed in it, or have members on it), "
                "with the lag there; the one that is furthest behind first.",
                kind=Kind.TOPIC,
            ),
            Option(
                ("--where",),
                "Only groups for which a condition holds, as in 'lag > 1000'.",
                kind=Kind.QUERY,
                metavar="CONDITION",
            ),
        ),
        examples=(
            "group list",
            "group list --topic orders",
            "group list --state Stable",
            "group list --where 'lag > 1000'",
        ),
        run=_list,
    ),
    Command(
        name="group describe",
        summary="Show a group's members, and how far it is behind in each partition.",
        details="With --rate it looks twice and says how fast the group reads and when the lag "
        "is gone.",
        arguments=(GROUP,),
        options=(
            Option(("--rate",), "Measure reading and writing, and the time to drain.", Kind.FLAG),
            Option(
                ("--sample",),
                "How long to measure (default 2s).",
                kind=Kind.DURATION,
                default=2_000,
                metavar="TIME",
            ),
        ),
        examples=("group describe payments", "group describe payments --rate --sample 5s"),
        run=_describe,
    ),
    Command(
        name="group delete",
        summary="Delete groups without members, with all that they committed.",
        arguments=(Argument("GROUPS", "Groups to delete.", kind=Kind.GROUP, many=True),),
        options=(DRY_RUN,),
        examples=("group delete old-payments --yes",),
        run=_delete,
        changes=True,
        destructive=True,
        question=_delete_question,
    ),
    Command(
        name="group delete-offsets",
        summary="Forget what a group committed for topics that no member reads.",
        arguments=(
            GROUP,
            Argument(
                "PARTITIONS", "TOPIC or TOPIC:PARTITIONS.", kind=Kind.TOPIC_PARTITION, many=True
            ),
        ),
        options=(DRY_RUN,),
        examples=("group delete-offsets payments orders:3 --yes",),
        run=_delete_offsets,
        changes=True,
        destructive=True,
        question=_delete_offsets_question,
    ),
)
