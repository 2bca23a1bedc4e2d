"""Setting a group's committed offsets: by place, offset, time, distance or a saved file.

Always shows what would change first; must never move a group that has members.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shell.asking import confirm, tell_missing
from shell.commands.group import DRY_RUN, GROUP
from shell.exits import ExitCode, Failed, Refused, UsageProblem
from shell.output import Cell, Table
from shell.registry import Command, Kind, Option
from shell.session import Session
from shell.sources import parse_places
from shell.values import Anchor, parse_position

if TYPE_CHECKING:
    from clusters.admin import AdminClient

Partition = tuple[str, int]
FILE_PREFIX = "file:"
_WORDS = {"earliest": "earliest", "start": "earliest", "latest": "latest", "end": "latest"}


@dataclass(frozen=True, slots=True)
class Target:
    """Where to: `kind` is earliest, latest, offset, time, shift or file."""

    kind: str
    value: int = 0
    path: str = ""


def read_target(text: str, now_ms: int) -> Target:
    """The target of --to. Raises UsageProblem with what can be written."""
    if text in _WORDS:
        return Target(_WORDS[text])
    if text.startswith(FILE_PREFIX) and len(text) > len(FILE_PREFIX):
        return Target("file", path=text.removeprefix(FILE_PREFIX))
    if re.fullmatch(r"[+-][0-9]+", text):
        return Target("shift", int(text))
    if re.fullmatch(r"[0-9]+", text):
        return Target("offset", int(text))
    if text.startswith("@"):
        position = parse_position(text, now_ms)
        if position.anchor is Anchor.TIME:
            return Target("time", position.value)
    raise UsageProblem(
        f"'{text}' is no place to reset to; write earliest, latest, an offset such as 42, +10 or "
        "-10 from the committed offset, a time such as @2026-01-31T12:00 or @-1h, or file:PATH."
    )


@dataclass(frozen=True, slots=True)
class Change:
    """One partition's offset before and after; `clamped` says that it was outside of the log."""

    topic: str
    partition: int
    before: int | None
    after: int
    start: int
    end: int
    clamped: bool

    def to_json(self) -> dict[str, Any]:
        """Plain data for output."""
        return {
            "topic": self.topic,
            "partition": self.partition,
            "before": self.before,
            "after": self.after,
            "start": self.start,
            "end": self.end,
            "lag_after": self.end - self.after,
            "clamped": self.clamped,
        }


def plan(
    target: Target,
    partitions: Sequence[Partition],
    committed: Mapping[Partition, int],
    bounds: Mapping[Partition, tuple[int, int]],
    wanted: Mapping[Partition, int | None],
) -> list[Change]:
    """The changes, each clamped into its log. `wanted` are offsets by time or from a file. Pure."""
    changes = []
    for key in partitions:
        if key not in bounds:
            continue
        start, end = bounds[key]
        before = committed.get(key)
        if target.kind == "earliest":
            after: int | None = start
        elif target.kind == "latest":
            after = end
        elif target.kind == "offset":
            after = target.value
        elif target.kind == "shift":
            after = None if before is None else before + target.value
        else:
            # No record is that late: the end.
            after = wanted.get(key, None if target.kind == "file" else end)
            after = end if after is None and target.kind == "time" else after
        if after is None:
            continue
        inside = min(max(after, start), end)
        changes.append(Change(*key, before, inside, start, end, inside != after))
    return changes


async def _reset(
    session: Session,
    *,
    group: str,
    to: str,
    topic: Sequence[str],
    to_file: str | None,
    dry_run: bool,
) -> ExitCode | None:
    target = read_target(to, round(time.time() * 1000))
    saved = _read_file(target.path) if target.kind == "file" else {}
    if to_file is not None:
        _check_new(to_file)
    async with session.admin() as admin:
        committed = await _committed_of_idle(admin, group, new_allowed=bool(topic or saved))
        partitions = await _chosen(admin, topic, sorted({*saved} or {*committed}))
        if not partitions:
            raise Failed(
                f"Group {group} has committed nothing.", hint="Name topics with --topic TOPIC."
            )
        bounds, wanted, failures = await _offsets(admin, target, partitions, saved)
        changes = plan(target, partitions, committed, bounds, wanted)
        _show(session, changes)
        missing = tell_missing(session, failures)
        moving = [change for change in changes if change.before != change.after]
        if not moving:
            session.output.say("Nothing changes.")
            return missing
        if missing is not None:
            raise Failed(
                "Not all partitions could be asked, so nothing was changed.",
                hint="Name those that answer with --topic TOPIC:PARTITION.",
            )
        if dry_run:
            from broker.protocol.api_keys import ApiKey

            await admin.check_group(ApiKey.OFFSET_COMMIT, group)
            await admin.check_topics(ApiKey.OFFSET_COMMIT, {each.topic for each in moving})
            if to_file is not None:
                session.output.say(
                    f"{len(committed)} committed offsets would be saved to {to_file}."
                )
            session.output.say("Nothing was changed.")
            return None
    confirm(session, f"This sets {len(moving)} committed offsets of group {group}.")
    async with session.admin() as admin:
        committed = await _committed_of_idle(admin, group, new_allowed=True)
        if to_file is not None:
            _write_file(to_file, committed)
            session.output.say(f"Saved {len(committed)} committed offsets to {to_file}.")
        await admin.commit_offsets(group, {(c.topic, c.partition): c.after for c in moving})
    session.output.say(f"Set {len(moving)} committed offsets of group {group}.")
    return None


async def _committed_of_idle(
    admin: AdminClient, group: str, *, new_allowed: bool
) -> dict[Partition, int]:
    """What a group without members has committed. Raises Refused while it has members."""
    from clusters.admin import UnknownGroup

    try:
        detail = await admin.group(group)
    except UnknownGroup:
        if not new_allowed:
            raise
        return {}
    if detail.members:
        clients = ", ".join(sorted({f"{m.client_id} on {m.host}" for m in detail.members}))
        raise Refused(
            f"Group {group} has {len(detail.members)} members ({clients}); "
            "they would go on from where they are.",
            hint="Stop them first, then reset.",
        )
    return {(o.topic, o.partition): o.offset for o in await admin.group_offsets(group)}


async def _chosen(
    admin: AdminClient, topics: Sequence[str], default: Sequence[Partition]
) -> list[Partition]:
    if not topics:
        return list(default)
    named = parse_places(topics)
    placed = await admin.partitions(sorted({topic for topic, _ in named}))
    found = {(each.topic, each.partition) for each in placed}
    chosen: set[Partition] = set()
    for topic, index in named:
        some = {key for key in found if key[0] == topic and index in (None, key[1])}
        if not some:
            raise UsageProblem(f"There is no partition {topic}:{index}.")
        chosen |= some
    return sorted(chosen)


async def _offsets(
    admin: AdminClient,
    target: Target,
    partitions: Sequence[Partition],
    saved: Mapping[Partition, int],
) -> tuple[dict[Partition, tuple[int, int]], Mapping[Partition, int | None], list[Any]]:
    from clusters.admin import OffsetSpec

    starts, ends = await asyncio.gather(
        admin.list_offsets(dict.fromkeys(partitions, OffsetSpec.earliest)),
        admin.list_offsets(dict.fromkeys(partitions, OffsetSpec.latest)),
    )
    failures = [*starts.failures, *ends.failures]
    first = {(o.topic, o.partition): o.offset or 0 for o in starts.items}
    bounds = {
        (o.topic, o.partition): (first[o.topic, o.partition], o.offset or 0)
        for o in ends.items
        if (o.topic, o.partition) in first
    }
    wanted: Mapping[Partition, int | None] = saved
    if target.kind == "time":
        told = await admin.list_offsets(dict.fromkeys(partitions, OffsetSpec.at(target.value)))
        failures += told.failures
        wanted = {(o.topic, o.partition): o.offset for o in told.items}
    return bounds, wanted, failures


def _show(session: Session, changes: Sequence[Change]) -> None:
    def table() -> list[Table]:
        rows = []
        for each in changes:
            note = "moved into the log" if each.clamped else None
            after = Cell(each.after, "note") if each.after != each.before else each.after
            rows.append(
                (each.topic, each.partition, each.before, after, each.start, each.end, note)
            )
        columns = ("TOPIC", "PARTITION", "BEFORE", "AFTER", "START", "END", "NOTE")
        return [Table(columns, rows, right=frozenset(columns) - {"TOPIC", "NOTE"})]

    session.output.document([change.to_json() for change in changes], table)


def _read_file(path: str) -> dict[Partition, int]:
    try:
        with open(path, encoding="utf-8") as file:
            entries = json.load(file)
        found: dict[Partition, int] = {}
        for entry in entries:
            topic, index, offset = entry["topic"], entry["partition"], entry["offset"]
            if not (isinstance(topic, str) and type(index) is int and type(offset) is int):
                raise TypeError
            found[topic, index] = offset
        return found
    except OSError as error:
        raise Failed(f"{path} cannot be read: {error.strerror}.") from None
    except (ValueError, TypeError, KeyError):
        raise Failed(
            f"{path} holds no offsets; expected is a JSON list of objects with topic, partition "
            "and offset, as --to-file writes it."
        ) from None


def _check_new(path: str) -> None:
    """A second reset must not write over what the first one would be taken back by."""
    if os.path.exists(path):
        raise Failed(
            f"{path} exists already, and may hold what is needed to go back.",
            hint="Name another file.",
        )


def _write_file(path: str, committed: Mapping[Partition, int]) -> None:
    entries = [
        {"topic": topic, "partition": index, "offset": offset}
        for (topic, index), offset in sorted(committed.items())
    ]
    try:
        with open(path, "x", encoding="utf-8") as file:
            json.dump(entries, file, indent=2)
            file.write("\n")
    except OSError as error:
        raise Failed(f"{path} cannot be written: {error.strerror}.") from None


COMMANDS = (
    Command(
        name="group reset",
        summary="Set the committed offsets of a group without members.",
        details="Shows what would change and asks before it does it. --to takes earliest, latest, "
        "an offset, +N or -N from what is committed, @TIME (@2026-01-31T12:00, @-1h) or file:PATH, "
        "a file that --to-file wrote. Offsets outside of a log are moved to its nearest end.",
        arguments=(GROUP,),
        options=(
            Option(("--to",), "Where to.", default="", metavar="WHERE"),
            Option(
                ("--topic",),
                "Only these, TOPIC or TOPIC:PARTITIONS; may repeat.",
                kind=Kind.TOPIC_PARTITION,
                many=True,
            ),
            Option(
                ("--to-file",),
                "First save what is committed now in a file that is not there yet.",
                kind=Kind.FILE,
                metavar="FILE",
            ),
            DRY_RUN,
        ),
        examples=(
            "group reset payments --to earliest --topic orders",
            "group reset payments --to @-1h --dry-run",
            "group reset payments --to -100 --to-file before.json --yes",
            "group reset payments --to file:before.json",
        ),
        run=_reset,
        changes=True,
    ),
)
