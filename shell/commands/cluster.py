"""Clusters described by a file: up, down, status, destroy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

from shell.exits import ExitCode
from shell.output import TABLE, Block, Cell, Facts, Table
from shell.registry import Argument, Command, Kind, Option, Question
from shell.session import Session
from shell.values import format_duration

if TYPE_CHECKING:
    from clusters.operations import ClusterStatus, Operations, Progress

_SPEC = Argument(
    "SPEC",
    "A cluster file, or the name of a bundled one (local). Default: the current context's.",
    kind=Kind.SPEC,
    required=False,
)


def open_operations(session: Session, spec: str | None) -> Operations:
    """Return the operations of a cluster file, reporting its progress to the writer."""
    loaded = session.doors.load_spec(session.resolve_spec(spec))
    return session.doors.operations(loaded, partial(_report, session))


def _report(session: Session, progress: Progress) -> None:
    output = session.output
    if output.format != TABLE:
        output.line({"event": "progress", **asdict(progress)}, str)
        return
    who = f"broker {progress.broker_id}: " if progress.broker_id is not None else ""
    text = f"{progress.phase}: {who}{progress.message}".rstrip(": ")
    if progress.step == "warning":
        output.warn(text)
    elif progress.step == "done" or (progress.message and not output.interactive):
        output.say(text, "dim")
    else:
        output.progress(text)


def _result(session: Session, data: dict[str, Any], blocks: Callable[[], list[Block]]) -> None:
    # Progress and result are one stream of lines for a program, and a table for a person.
    if session.output.format == TABLE:
        session.output.document(data, blocks)
    else:
        session.output.line({"event": "result", **data}, str)


async def _up(session: Session, *, spec: str | None) -> None:
    result = await open_operations(session, spec).up()
    if result.changed:
        started = ", ".join(str(broker_id) for broker_id in result.started)
        session.output.say(f"Started broker {started} in {result.elapsed_ms} ms.")
    else:
        session.output.say("The cluster was already up; nothing to do.")
    _result(session, result.to_json(), lambda: [_brokers_table(result.status)])
    context = session.doors.current_context()
    if context is not None:
        addresses = ", ".join(context.bootstrap)
        session.output.say(f"Current context: {context.name} ({addresses}).", "dim")


async def _down(session: Session, *, spec: str | None) -> None:
    result = await open_operations(session, spec).down()
    if not result.changed:
        session.output.say("The cluster was already down; nothing to do.")
    elif result.killed:
        killed = ", ".join(str(broker_id) for broker_id in result.killed)
        session.output.warn(f"broker {killed} did not stop in time and was killed.")
    if session.output.format != TABLE:
        _result(session, result.to_json(), list)


async def _status(session: Session, *, spec: str | None) -> ExitCode:
    status = await open_operations(session, spec).status()
    session.output.document(status.to_json(), lambda: _status_blocks(status))
    return ExitCode.DONE if status.healthy else ExitCode.UNHEALTHY


def _status_blocks(status: ClusterStatus) -> list[Block]:
    health = Cell("healthy", "good") if status.healthy else Cell(status.problem, "bad")
    facts: list[tuple[str, object]] = [
        ("cluster", status.cluster),
        ("id", status.cluster_id),
        ("spec", status.spec_path),
        ("controller", status.controller_id if status.controller_id >= 0 else None),
        ("health", health),
    ]
    return [Facts(facts), _brokers_table(status)]


def _brokers_table(status: ClusterStatus) -> Table:
    tones = {"running": "good", "up": "good", "stale": "bad", "down": "bad", "fenced": "warn"}
    return Table(
        ("ID", "ADDRESS", "RACK", "PROCESS", "PID", "UPTIME", "CLUSTER SAYS", "CONTROLLER"),
        [
            (
                broker.id,
                broker.address,
                broker.rack,
                Cell(broker.state, tones.get(broker.state, "")),
                broker.pid,
                None if broker.uptime_ms is None else format_duration(broker.uptime_ms),
                Cell(broker.cluster_state, tones.get(broker.cluster_state or "", "")),
                "active" if broker.is_controller else None,
            )
            for broker in status.brokers
        ],
        right=frozenset({"ID", "PID"}),
    )


async def _destroy(session: Session, *, spec: str | None, confirm_name: str | None) -> None:
    removed = (await open_operations(session, spec).destroy()).removed
    for folder in removed:
        session.output.say(f"Removed {folder}.", "dim")
    session.output.say("The cluster is gone.")
    if session.output.format != TABLE:
        _result(session, {"removed": removed}, list)


def _destroy_question(session: Session, *, spec: str | None, **_: Any) -> Question:
    loaded = session.doors.load_spec(session.resolve_spec(spec))
    name = loaded.name
    return Question(f"This stops cluster {name} and deletes all of its data.", typed=name)


COMMANDS = (
    Command(
        name="cluster up",
        summary="Start a cluster and make it the current context; nothing happens when it is up.",
        arguments=(_SPEC,),
        examples=("cluster up", "cluster up local", "cluster up clusters/local.yaml"),
        run=_up,
        changes=True,
    ),
    Command(
        name="cluster down",
        summary="Stop a cluster's brokers; its data stays.",
        arguments=(_SPEC,),
        examples=("cluster down",),
        run=_down,
        changes=True,
    ),
    Command(
        name="cluster status",
        summary="Show what runs and whether the cluster is healthy (exit code 10 when it is not).",
        arguments=(_SPEC,),
        examples=("cluster status", "cluster status --format json"),
        run=_status,
    ),
    Command(
        name="cluster destroy",
        summary="Stop a cluster and delete all of its data.",
        arguments=(_SPEC,),
        options=(
            Option(("--confirm-name",), "The cluster's name, to confirm without being asked."),
        ),
        examples=("cluster destroy", "cluster destroy local --yes --confirm-name local"),
        run=_destroy,
        changes=True,
        destructive=True,
        question=_destroy_question,
    ),
)
