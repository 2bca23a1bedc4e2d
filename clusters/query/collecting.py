"""Asks a cluster what some conditions need to know, and no more; what fails becomes unknown.

Uses the admin client alone. One sick broker never makes the whole answer fail: its rows are marked
as missing or their values as unknown, so that no condition takes silence for health.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from broker.protocol.errors import LogctlError
from clusters.query.query import Query
from clusters.query.schema import Source
from clusters.query.state import UNKNOWN, ClusterState, Row, Table

if TYPE_CHECKING:
    from clusters.admin import AdminClient, GroupSummary, LogDir, PlacedPartition
    from clusters.watch.events import ClusterEvent

MIN_ISR = "min.insync.replicas"
GROUPS_AT_ONCE = 16
_TOPIC_FIELDS = {"min_isr": MIN_ISR, "under_min_isr": MIN_ISR, "at_min_isr": MIN_ISR}
_SETTING_FIELDS = {**_TOPIC_FIELDS, "cleanup": "cleanup.policy", "retention": "retention.ms"}
T = TypeVar("T")


@dataclass(slots=True)
class _Collector:
    admin: AdminClient
    needs: frozenset[Source]
    settings: frozenset[str]
    now_ms: int
    problems: list[str] = field(default_factory=list)
    partitions: Sequence[PlacedPartition] | None = None
    tables: dict[str, Table] = field(default_factory=dict)

    async def attempt(self, what: str, question: Awaitable[T]) -> T | None:
        """The answer, or None and a note why there is none."""
        try:
            return await question
        except LogctlError as error:
            self.problems.append(f"{what}: {error}")
            return None

    def missing(self, what: str) -> Table:
        """A table of which nothing is known."""
        return Table(missing=tuple(p for p in self.problems if p.startswith(what)) or (what,))


async def collect(
    admin: AdminClient,
    queries: Iterable[Query],
    *,
    events: Sequence[ClusterEvent] | None = None,
    now_ms: int | None = None,
) -> ClusterState:
    """The state that the conditions ask about. Never raises for a cluster that does not answer."""
    queries = list(queries)
    tables = {name for query in queries for name in query.tables}
    fields = {name for query in queries for name in query.fields}
    settings = {_SETTING_FIELDS[name] for name in fields if name in _SETTING_FIELDS}
    settings |= {name.removeprefix("config.") for name in fields if name.startswith("config.")}
    collector = _Collector(
        admin,
        frozenset(need for query in queries for need in query.needs),
        frozenset(settings),
        time.time_ns() // 1_000_000 if now_ms is None else now_ms,
    )
    jobs = []
    if tables & {"partitions", "topics", "brokers"}:
        jobs.append(_metadata(collector, tables))
    if tables & {"groups", "lags"}:
        jobs.append(_groups(collector))
    if "quorum" in tables:
        jobs.append(_quorum(collector))
    await asyncio.gather(*jobs)
    if "events" in tables:
        collector.tables["events"] = _events(events, collector.now_ms)
    return ClusterState(collector.tables, collector.now_ms, tuple(collector.problems))


# Partitions, topics, brokers


async def _metadata(c: _Collector, tables: set[str]) -> None:
    admin, needs = c.admin, c.needs
    listed = bool(tables & {"partitions", "topics"})
    counted = "brokers" in tables or Source.LOG_DIRS in needs
    placed, brokers = await asyncio.gather(
        c.attempt("partitions", admin.partitions() if listed else _nothing()),
        c.attempt("brokers", admin.brokers() if counted else _nothing()),
    )
    # At the same time: one sick broker costs the time limit once, not once for each question.
    settings, offsets, moves, (found, silent) = await asyncio.gather(
        _told_settings(c, placed or ()),
        _offsets(c, placed or ()),
        _moves(c) if placed is not None else _nothing(),
        _dirs(c, brokers or ()) if (placed, brokers) != (None, None) else _no_dirs(),
    )
    sizes = {
        (each.broker, replica.topic, replica.partition): replica.size_bytes
        for each in found
        for replica in each.replicas
        if not replica.is_future
    }
    if placed is None:
        c.tables["partitions"] = c.tables["topics"] = c.missing("partitions")
    else:
        rows = [
            _partition(each, settings.get(each.topic), offsets, sizes, moves, c.settings)
            for each in placed
        ]
        c.tables["partitions"] = Table(tuple(rows))
        c.tables["topics"] = Table(tuple(_topics(rows)))
    if "brokers" in tables:
        c.tables["brokers"] = (
            c.missing("brokers")
            if brokers is None
            else Table(tuple(_broker(each, found, silent) for each in brokers))
        )


async def _nothing() -> None:
    return None


async def _told_settings(
    c: _Collector, placed: Sequence[PlacedPartition]
) -> Mapping[str, Mapping[str, str]]:
    if Source.TOPIC_CONFIGS not in c.needs or not placed:
        return {}
    names = {each.topic for each in placed}
    return await c.attempt("settings", c.admin.topic_settings(names, c.settings)) or {}


async def _moves(c: _Collector) -> Mapping[tuple[str, int], Any] | None:
    if Source.REASSIGNMENTS not in c.needs:
        return None
    told = await c.attempt("moves", c.admin.reassignments())
    return None if told is None else {(m.topic, m.partition): m for m in told}


async def _dirs(c: _Collector, brokers: Sequence[Any]) -> tuple[Sequence[LogDir], set[int]]:
    """The log dirs that were told of, and the brokers that did not tell."""
    if Source.LOG_DIRS not in c.needs:
        return (), set()
    answer = await c.attempt("log dirs", c.admin.log_dirs())
    found = answer.items if answer is not None else ()
    if answer is not None:
        c.problems += [str(failure) for failure in answer.failures]
    answered = {each.broker for each in found}
    return found, {b.id for b in brokers if b.id not in answered}


async def _no_dirs() -> tuple[Sequence[LogDir], set[int]]:
    return (), set()


async def _offsets(
    c: _Collector, placed: Sequence[PlacedPartition]
) -> dict[tuple[str, int], tuple[int, int]]:
    if Source.OFFSETS not in c.needs or not placed:
        return {}
    from clusters.admin import OffsetSpec

    keys = [(each.topic, each.partition) for each in placed]
    answers = await asyncio.gather(
        c.attempt("offsets", c.admin.list_offsets(dict.fromkeys(keys, OffsetSpec.earliest))),
        c.attempt("offsets", c.admin.list_offsets(dict.fromkeys(keys, OffsetSpec.latest))),
    )
    found: list[dict[tuple[str, int], int]] = []
    for answer in answers:
        items = answer.items if answer is not None else ()
        found.append({(o.topic, o.partition): o.offset for o in items if o.offset is not None})
        if answer is not None:
            c.problems += [str(failure) for failure in answer.failures]
    return {key: (found[0][key], found[1][key]) for key in found[0] if key in found[1]}


def _partition(
    each: PlacedPartition,
    settings: Mapping[str, str] | None,
    offsets: Mapping[tuple[str, int], tuple[int, int]],
    sizes: Mapping[tuple[int, str, int], int],
    moves: Mapping[tuple[str, int], Any] | None,
    asked: Iterable[str],
) -> Row:
    key = (each.topic, each.partition)
    start, end = offsets.get(key, (UNKNOWN, UNKNOWN))
    known = key in offsets
    min_isr = _number(settings, MIN_ISR)
    # acks=all never needs more in-sync replicas than there are replicas.
    needed = UNKNOWN if min_isr is UNKNOWN else min(min_isr, max(1, len(each.replicas)))
    move = moves.get(key) if moves is not None else None
    row: dict[str, Any] = {
        "topic": each.topic,
        "partition": each.partition,
        "leader": None if each.leader < 0 else each.leader,
        "preferred_leader": each.replicas[0] if each.replicas else None,
        "leader_epoch": each.leader_epoch,
        "replicas": each.replicas,
        "isr": each.isr,
        "offline_replicas": each.offline,
        "min_isr": min_isr,
        "under_replicated": len(each.isr) < len(each.replicas),
        "under_min_isr": UNKNOWN if needed is UNKNOWN else len(each.isr) < needed,
        "at_min_isr": UNKNOWN if needed is UNKNOWN else len(each.isr) == needed,
        "offline": each.leader < 0,
        "internal": each.internal,
        "start": start,
        "end": end,
        "records": offsets[key][1] - offsets[key][0] if known else UNKNOWN,
        "size": sizes.get((each.leader, *key), UNKNOWN) if each.leader >= 0 else None,
        "reassigning": UNKNOWN if moves is None else move is not None,
        "adding": UNKNOWN if moves is None else (move.adding if move else ()),
        "removing": UNKNOWN if moves is None else (move.removing if move else ()),
    }
    return row | _settings(settings, asked)


def _number(settings: Mapping[str, str] | None, name: str) -> Any:
    text = None if settings is None else settings.get(name)
    return int(text) if text is not None and text.lstrip("-").isdecimal() else UNKNOWN


def _settings(settings: Mapping[str, str] | None, asked: Iterable[str]) -> dict[str, Any]:
    """Settings that were asked for; one that a topic that answered lacks is none."""
    if settings is None:
        return {}
    return {f"config.{name}": settings.get(name) for name in asked}


def _topics(rows: Sequence[Row]) -> Iterable[Row]:
    by_topic: dict[str, list[Row]] = {}
    for row in rows:
        by_topic.setdefault(row["topic"], []).append(row)
    for name, parts in sorted(by_topic.items()):
        first = parts[0]
        retention = first.get("config.retention.ms", UNKNOWN)
        if isinstance(retention, str):
            retention = None if retention == "-1" else int(retention)
        yield {
            "topic": name,
            "partitions": len(parts),
            "replication": min(len(part["replicas"]) for part in parts),
            "internal": first["internal"],
            "under_replicated": sum(part["under_replicated"] for part in parts),
            "offline": sum(part["offline"] for part in parts),
            "under_min_isr": _total(part["under_min_isr"] for part in parts),
            "min_isr": first["min_isr"],
            "cleanup": first.get("config.cleanup.policy", UNKNOWN),
            "retention": retention,
            "records": _total(part["records"] for part in parts),
            "size": _total(part["size"] for part in parts),
            **{key: value for key, value in first.items() if key.startswith("config.")},
        }


def _total(values: Iterable[Any]) -> Any:
    total = 0
    for value in values:
        if value is UNKNOWN:
            return UNKNOWN
        total += int(value or 0)
    return total


def _broker(each: Any, dirs: Sequence[LogDir], silent: set[int]) -> Row:
    own = [one for one in dirs if one.broker == each.id]
    sick = each.id in silent or any(one.error for one in own)

    def disk(values: Iterable[int | None]) -> Any:
        known = [value for value in values if value is not None]
        return UNKNOWN if sick or not own else (sum(known) if len(known) == len(own) else None)

    # Several dirs on one volume would be counted twice; they tell the same totals.
    volumes = {(one.total_bytes, one.usable_bytes) for one in own}
    total = disk([pair[0] for pair in volumes] if len(volumes) == len(own) else [None])
    free = disk([pair[1] for pair in volumes] if len(volumes) == len(own) else [None])
    known = isinstance(total, int) and isinstance(free, int) and total > 0
    return {
        "broker": each.id,
        "host": each.host,
        "port": each.port,
        "rack": each.rack,
        "state": each.state,
        "controller": each.is_controller,
        "leaders": each.leaders,
        "replicas": each.replicas,
        "size": UNKNOWN if sick or not own else sum(one.used_bytes for one in own),
        "disk_total": total,
        "disk_free": free,
        "disk_used_percent": round(100 * (total - free) / total, 1) if known else free,
    }


# Groups


async def _groups(c: _Collector) -> None:
    answer = await c.attempt("groups", c.admin.groups())
    if answer is None:
        c.tables["groups"] = c.tables["lags"] = c.missing("groups")
        return
    missing = tuple(str(failure) for failure in answer.failures)
    lags: list[Row] = []
    rows: list[Row] = []
    if Source.GROUP_LAG in c.needs:
        limit = asyncio.Semaphore(GROUPS_AT_ONCE)
        found = await asyncio.gather(*(_group(c, each, limit) for each in answer.items))
        for row, own in found:
            rows.append(row)
            lags += own
        unknown = [row["group"] for row in rows if row["lag"] is UNKNOWN]
        lags_missing = tuple(f"lag of group {name} is not known" for name in unknown)
        c.tables["lags"] = Table(tuple(lags), (*missing, *lags_missing))
    else:
        rows = [_group_row(each) for each in answer.items]
    c.tables["groups"] = Table(tuple(rows), missing)


def _group_row(each: GroupSummary) -> dict[str, Any]:
    return {
        "group": each.group,
        "state": each.state or UNKNOWN,
        "members": UNKNOWN,
        "coordinator": each.coordinator,
        "lag": UNKNOWN,
        "max_lag": UNKNOWN,
        "topics": UNKNOWN,
    }


async def _group(
    c: _Collector, each: GroupSummary, limit: asyncio.Semaphore
) -> tuple[Row, list[Row]]:
    row = _group_row(each)
    async with limit:
        detail = await c.attempt(f"group {each.group}", c.admin.group(each.group))
        if detail is None:
            return row, []
        row |= {"state": detail.state, "members": len(detail.members)}
        offsets = await c.attempt(f"group {each.group}", c.admin.group_offsets(each.group))
        if offsets is None:
            return row, []
        answer = await c.attempt(f"group {each.group}", c.admin.lag_of(detail, offsets))
        if answer is None:
            return row, []
    c.problems += [str(failure) for failure in answer.failures]
    own: list[Row] = []
    for lag in answer.items:
        behind: Any = lag.lag
        if lag.end is None:
            behind = UNKNOWN
        own.append(
            {
                "group": each.group,
                "topic": lag.topic,
                "partition": lag.partition,
                "committed": lag.committed,
                "start": UNKNOWN if lag.start is None else lag.start,
                "end": UNKNOWN if lag.end is None else lag.end,
                "lag": behind,
                "member": lag.member,
            }
        )
    known = [each_lag["lag"] for each_lag in own]
    row["topics"] = tuple(sorted({each_lag["topic"] for each_lag in own}))
    row["lag"] = _total(known)
    row["max_lag"] = UNKNOWN if UNKNOWN in known else max((k or 0 for k in known), default=0)
    return row, own


# Quorum and events


async def _quorum(c: _Collector) -> None:
    answer = await c.attempt("quorum", c.admin.quorum())
    if answer is None:
        c.tables["quorum"] = c.missing("quorum")
        return
    rows: list[Row] = []
    for replica in [*answer.voters, *answer.observers]:
        leads = replica.id == answer.leader_id
        voter = replica in answer.voters
        lag = answer.lag(replica)

        def since(at_ms: int, leads: bool = leads) -> Any:
            if leads:
                return 0
            return UNKNOWN if at_ms < 0 else max(0, c.now_ms - at_ms)

        rows.append(
            {
                "node": replica.id,
                "role": "leader" if leads else "voter" if voter else "observer",
                "end": replica.log_end_offset if replica.log_end_offset >= 0 else UNKNOWN,
                "lag": UNKNOWN if lag is None else lag,
                "behind": since(replica.last_caught_up_ms),
                "silent": since(replica.last_fetch_ms),
            }
        )
    c.tables["quorum"] = Table(tuple(rows))


def _events(events: Sequence[ClusterEvent] | None, now_ms: int) -> Table:
    if events is None:
        return Table(missing=("events are only known where the metadata log is followed",))
    return Table(tuple(event_row(each, now_ms) for each in events))


def event_row(event: ClusterEvent, now_ms: int) -> Row:
    """A cluster event as a row of the table `events`."""
    data = event.to_json()
    return {
        "kind": str(event.kind),
        "at": event.at_ms,
        "age": max(0, now_ms - event.at_ms),
        "offset": event.offset,
        "topic": event.topic,
        "partition": event.partition,
        "broker": event.broker,
        "leader_epoch": event.leader_epoch,
        "before": _text(data["before"]),
        "after": _text(data["after"]),
    }


def _text(value: Any) -> str | None:
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return None if value is None else str(value)
