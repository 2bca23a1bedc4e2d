"""Cluster events as they happen: leaders move, ISRs shrink and expand, brokers come and go."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from shell.commands.query_watch import follow_rows
from shell.exits import ExitCode, Failed, Refused, UsageProblem
from shell.registry import Command, Kind, Option
from shell.session import Session

if TYPE_CHECKING:
    from clusters.query import Query
    from clusters.watch.events import ClusterEvent
    from clusters.watch.status import FeedStatus

_TONES = {
    "LeaderMoved": "note",
    "IsrShrunk": "warn",
    "IsrExpanded": "good",
    "BrokerFenced": "bad",
    "BrokerLeft": "bad",
    "LogDirOffline": "bad",
    "LogDirOnline": "good",
    "BrokerUnfenced": "good",
    "BrokerJoined": "good",
    "TopicDeleted": "warn",
    "ControllerChanged": "note",
}


async def _watch(
    session: Session,
    *,
    from_start: bool,
    max: int | None,  # noqa: A002
    for_: int | None,
    where: str | None,
) -> ExitCode:
    query = _condition(where)
    try:
        async with asyncio.timeout(None if for_ is None else for_ / 1000):
            if query is None or query.table == "events":
                await _follow(session, from_start, max, query)
            else:
                await follow_rows(session, query, max)
    except TimeoutError:
        pass
    return ExitCode.DONE


def _condition(where: str | None) -> Query | None:
    """A condition on the cluster when it names a table, else on each event."""
    from clusters.query import TABLES
    from shell.observing import read_condition

    if where is None:
        return None
    first = where.replace("(", " ").split(maxsplit=1)[:1]
    whole = {*TABLES, "any", "no", "all", "count", "sum", "min", "max"}
    query = read_condition(where, table=None if {*first} <= whole else "events")
    if query.table == "events" and query.for_ms is not None:
        raise UsageProblem("An event is over at once: `for` fits only what lasts.")
    return query


async def _follow(
    session: Session, from_start: bool, limit: int | None, query: Query | None
) -> None:
    count = 0
    told = ""
    was_live = False
    async with session.feed(from_start=from_start) as feed:
        async for update in feed.updates():
            was_live = was_live or update.status.mode in {"live", "slow", "sampled"}
            _check(update.status, was_live)
            status = f"{update.status.mode} {update.status.source} {update.status.message}".strip()
            if status != told:
                told = status
                session.output.say(status, "dim")
            for event in update.events:
                if query is not None and not _fits(query, event):
                    continue
                session.output.line(event.to_json(), partial(_line, session, event))
                count += 1
                if limit is not None and count >= limit:
                    return


def _check(status: FeedStatus, was_live: bool) -> None:
    """Raise for a cluster that must not be used.

    Who was let in before waits: brokers that are only starting may not know their users yet.
    """
    if not status.refusal or (was_live and status.refusal == "not let in"):
        return
    wrong = status.refusal == "wrong cluster"
    raise (Refused if wrong else Failed)(
        status.message, hint="See `logctl context show`; nothing of that cluster was shown."
    )


def _fits(query: Query, event: ClusterEvent) -> bool:
    from clusters.query.collecting import event_row

    now_ms = time.time_ns() // 1_000_000
    return query.matches(event_row(event, now_ms), now_ms) is True


def _line(session: Session, event: ClusterEvent) -> str:
    data = event.to_json()
    kind = str(data["kind"])
    subject = ""
    if data["topic"] is not None:
        subject = str(data["topic"])
        if data["partition"] is not None:
            subject += f"-{data['partition']}"
    elif kind == "ControllerChanged":
        subject = "controller"
    elif data.get("broker") is not None:
        subject = f"broker {data['broker']}"
    change = _change(data["before"], data["after"])
    epochs = ""
    if data["leader_epoch"] is not None:
        what = "epoch" if kind == "ControllerChanged" else "leader epoch"
        epochs = f"{what} {data['leader_epoch']}"
        if data["partition_epoch"] is not None:
            epochs += f", partition epoch {data['partition_epoch']}"
    clock = str(data["at"])[11:]
    painted = session.output.paint(f"{kind:<18}", _TONES.get(kind, "strong"))
    tail = session.output.paint(epochs, "dim") if epochs else ""
    return f"{clock}  {painted} {subject:<22} {change}  {tail}".rstrip()


def _change(before: Any, after: Any) -> str:
    if before is None and after is None:
        return ""
    if before is None or _value(before) == _value(after):
        return _value(after)
    return f"{_value(before)} → {_value(after)}"


def _value(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(str(item) for item in value) + "]"
    if isinstance(value, dict) and "host" in value and "port" in value:
        rack = f" rack {value['rack']}" if value.get("rack") else ""
        return f"{value['host']}:{value['port']}{rack}"
    if isinstance(value, dict):
        return " ".join(f"{name}={_value(item)}" for name, item in value.items())
    return str(value)


COMMANDS = (
    Command(
        name="watch",
        summary="Print cluster events as they happen, one line each.",
        details="Follows the cluster's own log of decisions, so that nothing is missed. Ctrl-C "
        "ends it.",
        options=(
            Option(("--from-start",), "First replay what happened before.", kind=Kind.FLAG),
            Option(("--max",), "Stop after this many events.", kind=Kind.INTEGER, minimum=1),
            Option(
                ("--where",),
                "Only events that fit, as in kind = IsrShrunk; or, when a table is named, each row "
                "as it begins and ceases to fit: partitions where isr < min_isr.",
                kind=Kind.QUERY,
            ),
            Option(("--for",), "Stop after this long, as in 10s.", kind=Kind.DURATION),
        ),
        examples=(
            "watch",
            "watch --format json --for 10s",
            "watch --from-start --max 20",
            "watch --where 'kind = LeaderMoved and topic = orders'",
            "watch --where 'groups where lag > 1000 for 1m'",
        ),
        run=_watch,
        endless=True,
    ),
)
