"""Topics that are there: alter, clone, trim."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from shell.asking import card_text, confirm, tell_missing
from shell.commands.config import check_keys, settings_as_plain
from shell.commands.partition import named_partitions
from shell.exits import ExitCode, UsageProblem
from shell.output import Cell, Table
from shell.registry import Argument, Command, Kind, Option
from shell.session import Session
from shell.values import Anchor, parse_position

if TYPE_CHECKING:
    from clusters.admin import AdminClient, ConfigEntry

Partition = tuple[str, int]
_TOPIC = Argument("TOPIC", "The topic's name.", kind=Kind.TOPIC)
_DEFAULT = "the cluster's"
_DRY_RUN = Option(("--dry-run",), "Only ask whether it could be done.", kind=Kind.FLAG)


async def _alter(
    session: Session,
    *,
    topic: str,
    partitions: int | None,
    config: Sequence[tuple[str, str]],
    unset: Sequence[str],
    dry_run: bool,
) -> None:
    settings = settings_as_plain(config, "--config ")
    if partitions is None and not settings and not unset:
        raise UsageProblem("Nothing to alter.", hint="Give --partitions, --config or --unset.")
    async with session.admin() as admin:
        detail = await admin.topic(topic, offsets=False)
        check_keys([*settings, *unset], detail.config_entries, "topic")
        count = len(detail.partitions)
        grows = partitions is not None and partitions != count
        # Both are asked first, so that neither is done when the other is refused.
        if grows and partitions is not None:
            if partitions < count:
                raise UsageProblem(
                    f"Topic {topic} has {count} partitions; there can be more, but never fewer."
                )
            await admin.create_partitions(topic, partitions, validate_only=True)
        if settings or unset:
            await admin.alter_configs("topic", topic, settings, unset, validate_only=True)
        if dry_run:
            changes = _changes(detail.config_entries, settings, unset)
            if grows:
                changes.append(
                    f"partitions {count} → {partitions}; keys now go to other partitions"
                )
            outcome = "can be altered so" if changes else "is so already"
            session.output.say(f"Topic {topic} {outcome}; nothing was changed.")
            for change in changes:
                session.output.say(f"  {change}")
            return
        if settings or unset:
            await admin.alter_configs("topic", topic, settings, unset)
        if grows and partitions is not None:
            await admin.create_partitions(topic, partitions)
    done = [f"{name}={value}" for name, value in settings.items()]
    done += [f"{name} back to its default" for name in unset]
    if grows:
        done.append(f"{partitions} partitions, {count} before; keys now go to other partitions")
    session.output.say(f"Altered topic {topic}: {'; '.join(done) or 'nothing to do'}.")


def _changes(
    entries: Sequence[ConfigEntry], settings: Mapping[str, str], unset: Sequence[str]
) -> list[str]:
    """What would become of settings, each with what it is now."""
    now = {entry.name: entry for entry in entries}

    def before(name: str) -> str:
        entry = now.get(name)
        if entry is None or entry.value is None:
            return "(not told)"
        return (
            entry.value if entry.source == "topic" else f"{entry.value or '(empty)'} ({_DEFAULT})"
        )

    changes = [
        f"{name} {before(name)} → {value}"
        for name, value in settings.items()
        if name not in now or now[name].value != value or now[name].source != "topic"
    ]
    own = [name for name in unset if name not in now or now[name].source == "topic"]
    return changes + [f"{name} {before(name)} → its default" for name in own]


async def _clone(
    session: Session,
    *,
    topic: str,
    new: str,
    placement: bool,
    config: Sequence[tuple[str, str]],
    dry_run: bool,
) -> None:
    settings = settings_as_plain(config, "--config ")
    async with session.admin() as admin:
        detail = await admin.topic(topic, offsets=False)
        own = {
            entry.name: entry.value
            for entry in detail.config_entries
            if entry.source == "topic" and entry.value is not None
        }
        places: Mapping[int, Sequence[int]] | None = None
        if placement:
            places = {each.partition: each.replicas for each in detail.partitions}
        await admin.create_topic(
            new,
            partitions=-1 if places else len(detail.partitions),
            replication_factor=-1
            if places
            else max((len(each.replicas) for each in detail.partitions), default=-1),
            configs=own | settings,
            assignments=places,
            validate_only=dry_run,
        )
    session.output.say(
        f"Topic {new} can be created like {topic}; nothing was changed."
        if dry_run
        else f"Created topic {new} like {topic}: {len(detail.partitions)} partitions, "
        f"{len(own | settings)} settings, no records."
    )


async def _trim(
    session: Session, *, partitions: Sequence[str], to: str, dry_run: bool
) -> ExitCode | None:
    import time

    if not partitions:
        raise UsageProblem("Name what to trim: TOPIC or TOPIC:PARTITION.")
    position = parse_position(to, round(time.time() * 1000))
    async with session.admin() as admin:
        placed = await named_partitions(admin, partitions)
        keys = [(each.topic, each.partition) for each in placed]
        cuts, failures = await _cuts(admin, keys, position)
    data: list[dict[str, Any]] = [
        {
            "topic": key[0],
            "partition": key[1],
            "start_before": start,
            "start_after": new,
            "end": end,
            "records": new - start,
        }
        for key, (start, new, end) in sorted(cuts.items())
    ]
    missing = tell_missing(session, failures)
    todo = {(d["topic"], d["partition"]): d["start_after"] for d in data if d["records"]}
    total = sum(d["records"] for d in data)
    if not todo or dry_run:
        _show(session, data)
        session.output.say(f"{total} records would be deleted; nothing was changed.")
        return missing
    topics = sorted({topic for topic, _ in todo})
    confirm(
        session,
        f"This deletes {total} records of {', '.join(topics)}. This cannot be undone.\n"
        f"{card_text(session, topics)}",
    )
    async with session.admin() as admin:
        low = await admin.delete_records(todo)
    for each in data:
        key = (each["topic"], each["partition"])
        each["start_after"] = low.get(key, each["start_after"])
    _show(session, data)
    session.output.say(f"Deleted {total} records.")
    return missing


async def _cuts(
    admin: AdminClient, keys: Sequence[Partition], position: Any
) -> tuple[dict[Partition, tuple[int, int, int]], list[Any]]:
    """(start, new start, end) by partition, the new start within the log."""
    from clusters.admin import OffsetSpec

    starts, ends = await asyncio.gather(
        admin.list_offsets(dict.fromkeys(keys, OffsetSpec.earliest)),
        admin.list_offsets(dict.fromkeys(keys, OffsetSpec.latest)),
    )
    failures = [*starts.failures, *ends.failures]
    end = {(o.topic, o.partition): o.offset or 0 for o in ends.items}
    start = {(o.topic, o.partition): o.offset or 0 for o in starts.items}
    by_time: dict[Partition, int | None] = {}
    if position.anchor is Anchor.TIME:
        told = await admin.list_offsets(dict.fromkeys(keys, OffsetSpec.at(position.value)))
        failures += told.failures
        by_time = {(o.topic, o.partition): o.offset for o in told.items}
    cuts = {}
    for key in keys:
        if key not in end or key not in start:
            continue
        if position.anchor is Anchor.TIME:
            if key not in by_time:
                continue
            found = by_time[key]
            new = end[key] if found is None else found
        else:
            new = {
                Anchor.START: start[key],
                Anchor.END: end[key],
                Anchor.LAST: end[key] - position.value,
                Anchor.OFFSET: position.value,
            }[position.anchor]
        cuts[key] = (start[key], min(max(new, start[key]), end[key]), end[key])
    return cuts, failures


def _show(session: Session, data: Sequence[Mapping[str, Any]]) -> None:
    columns = ("TOPIC", "PARTITION", "START", "NEW START", "END", "RECORDS")
    session.output.document(
        list(data),
        lambda: [
            Table(
                columns,
                [
                    (
                        each["topic"],
                        each["partition"],
                        each["start_before"],
                        Cell(each["start_after"], "note"),
                        each["end"],
                        each["records"],
                    )
                    for each in data
                ],
                right=frozenset(columns) - {"TOPIC"},
            )
        ],
    )


COMMANDS = (
    Command(
        name="topic alter",
        summary="Change a topic's settings, or give it more partitions.",
        details="All or nothing: every part is checked by the cluster before any is done.",
        arguments=(_TOPIC,),
        options=(
            Option(("--partitions", "-p"), "How many from now on.", Kind.INTEGER, minimum=1),
            Option(
                ("--config", "-c"),
                "A topic setting; 7d and 64MiB are understood; may repeat.",
                kind=Kind.TOPIC_CONFIG,
                many=True,
            ),
            Option(
                ("--unset",), "A setting to go back to its default.", Kind.CONFIG_KEY, many=True
            ),
            _DRY_RUN,
        ),
        examples=(
            "topic alter orders --partitions 12",
            "topic alter orders --config retention.ms=7d --unset cleanup.policy",
        ),
        run=_alter,
        changes=True,
    ),
    Command(
        name="topic clone",
        summary="Create a topic with another's partitions, replicas and settings; no records.",
        arguments=(_TOPIC, Argument("NEW", "The new topic's name.")),
        options=(
            Option(("--placement",), "Replicas on the same brokers, too.", kind=Kind.FLAG),
            Option(
                ("--config", "-c"),
                "A setting that differs; may repeat.",
                kind=Kind.TOPIC_CONFIG,
                many=True,
            ),
            _DRY_RUN,
        ),
        examples=("topic clone orders orders-replay", "topic clone orders o2 --placement"),
        run=_clone,
        changes=True,
    ),
    Command(
        name="topic trim",
        summary="Delete the oldest records of a topic or partition.",
        details="Shows what goes and who reads it, and asks before it does it.",
        arguments=(
            Argument(
                "PARTITIONS", "TOPIC or TOPIC:PARTITION.", kind=Kind.TOPIC_PARTITION, many=True
            ),
        ),
        options=(
            Option(
                ("--to",),
                "First record that stays: an offset, -N for the last N, @TIME, or end for none.",
                default="end",
                metavar="WHERE",
            ),
            _DRY_RUN,
        ),
        examples=(
            "topic trim orders --to @-7d --dry-run",
            "topic trim orders:3 --to 1500 --yes",
        ),
        run=_trim,
        changes=True,
        destructive=True,
        asks_itself=True,
    ),
)
