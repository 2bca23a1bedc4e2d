"""Cluster events as they happen: leaders move, ISRs shrink and expand, brokers come and go."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from shell.exits import ExitCode
from shell.registry import Command, Kind, Option
from shell.session import Session

if TYPE_CHECKING:
    from clusters.watch.events import ClusterEvent

_TONES = {
    "LeaderMoved": "note",
    "IsrShrunk": "warn",
    "IsrExpanded": "good",
    "BrokerFenced": "bad",
    "BrokerLeft": "bad",
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
) -> ExitCode:
    try:
        async with asyncio.timeout(None if for_ is None else for_ / 1000):
            await _follow(session, from_start, max)
    except TimeoutError:
        pass
    return ExitCode.DONE


async def _follow(session: Session, from_start: bool, limit: int | None) -> None:
    count = 0
    told = ""
    async with session.doors.feed(session.bootstrap(), from_start=from_start) as feed:
        async for update in feed.updates():
            status = f"{update.status.mode} {update.status.source} {update.status.message}".strip()
            if status != told:
                told = status
                session.output.say(status, "dim")
            for event in update.events:
                session.output.line(event.to_json(), partial(_line, session, event))
                count += 1
                if limit is not None and count >= limit:
                    return


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
            Option(("--for",), "Stop after this long, as in 10s.", kind=Kind.DURATION),
        ),
        examples=("watch", "watch --format json --for 10s", "watch --from-start --max 20"),
        run=_watch,
        endless=True,
    ),
)
