"""Clusters described by a file: up, down, restart, upgrade, rollback, status, destroy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shell.deploying import (
    SPEC,
    confirming,
    free_cell,
    live_operations,
    open_operations,
    plan_lines,
    write_result,
)
from shell.exits import ExitCode
from shell.output import TABLE, Block, Cell, Facts, Table
from shell.registry import Command, Kind, Option, Question
from shell.session import Session
from shell.values import format_duration

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from clusters.operations import ClusterStatus, Operations, Plan, UpResult

_FORCE = Option(
    ("--force",),
    "Restart also where that takes partitions below min.insync.replicas.",
    kind=Kind.FLAG,
)
_PLAN = Option(
    ("--plan", "--dry-run"),
    "Show what would be done, and do nothing (exit code 3).",
    kind=Kind.FLAG,
)
_DRY_RUN = Option(("--dry-run",), "Show what would be done, and do nothing.", kind=Kind.FLAG)
_PLAN_ONLY = Option(
    ("--dry-run",), "Show what would be done, and do nothing (exit code 3).", kind=Kind.FLAG
)
_AUTO_ROLLBACK = Option(
    ("--auto-rollback",),
    "When a broker does not come back, put it back to what it had before.",
    kind=Kind.FLAG,
)


async def _up(
    session: Session, *, spec: str | None, plan: bool, auto_rollback: bool, force: bool
) -> ExitCode:
    if plan:
        return await _plan(session, spec)
    with live_operations(session, spec) as (operations, pause):
        confirm = confirming(session, operations, pause, "Do this?")
        result = await operations.up(confirm=confirm, force=force, auto_rollback=auto_rollback)
    if not result.changed:
        session.output.say("The cluster was already up; nothing to do.")
    return _tell(session, result)


async def _plan(
    session: Session,
    spec: str | None,
    make: Callable[[Operations], Awaitable[Plan]] = lambda operations: operations.plan(),
) -> ExitCode:
    with live_operations(session, spec) as (operations, _):
        made = await make(operations)
    if session.output.format == TABLE:
        session.output.text("\n".join(plan_lines(made)))
    else:
        session.output.line({"event": "result", **made.to_json()}, str)
    return ExitCode.DIFFERENCES if made.changes else ExitCode.DONE


def _tell(session: Session, result: UpResult) -> ExitCode:
    if result.started:
        started = ", ".join(str(broker_id) for broker_id in sorted(result.started))
        session.output.say(f"Started broker {started} in {result.elapsed_ms} ms.")
    if result.restarted:
        restarted = ", ".join(str(broker_id) for broker_id in result.restarted)
        session.output.say(f"Restarted broker {restarted} in {result.elapsed_ms} ms.")
    if result.left:
        left = ", ".join(str(broker_id) for broker_id in result.left)
        session.output.say(f"Stopped broker {left}, which the file no longer names.")
    write_result(session, result.to_json(), lambda: [_brokers_table(result.status)])
    context = session.doors.current_context()
    if context is not None:
        addresses = ", ".join(context.bootstrap)
        session.output.say(f"Current context: {context.name} ({addresses}).", "dim")
    if not result.status.healthy:
        session.output.warn(f"the cluster is not healthy: {result.status.problem}")
        return ExitCode.UNHEALTHY
    return ExitCode.DONE


async def _restart(session: Session, *, spec: str | None, force: bool, dry_run: bool) -> ExitCode:
    if dry_run:
        return await _plan(session, spec, lambda operations: operations.plan_restart())
    with live_operations(session, spec) as (operations, pause):
        confirm = confirming(session, operations, pause, "Restart these brokers?")
        result = await operations.restart(confirm=confirm, force=force)
    return _tell(session, result)


async def _upgrade(
    session: Session, *, spec: str | None, plan: bool, auto_rollback: bool, force: bool
) -> ExitCode:
    if plan:
        return await _plan(session, spec)
    with live_operations(session, spec) as (operations, pause):
        confirm = confirming(session, operations, pause, "Upgrade these brokers?")
        result = await operations.up(confirm=confirm, force=force, auto_rollback=auto_rollback)
    releases = sorted({each.release or "" for each in result.brokers})
    where = ", ".join(release for release in releases if release) or "this machine's own logd"
    if result.changed:
        session.output.say(f"All brokers run {where}.")
    else:
        session.output.say(f"All brokers run {where} already; nothing to do.")
    return _tell(session, result)


async def _rollback(session: Session, *, spec: str | None, force: bool, dry_run: bool) -> ExitCode:
    if dry_run:
        return await _plan(session, spec, lambda operations: operations.plan_rollback())
    with live_operations(session, spec) as (operations, pause):
        confirm = confirming(session, operations, pause, "Go back?")
        result = await operations.rollback(confirm=confirm, force=force)
    session.output.say("The next `cluster up` goes forward again to what the file says.", "dim")
    return _tell(session, result)


async def _down(session: Session, *, spec: str | None, dry_run: bool) -> None:
    if dry_run:
        await _tried(session, spec)
        return
    with live_operations(session, spec) as (operations, _):
        result = await operations.down()
    if not result.changed:
        session.output.say("The cluster was already down; nothing to do.")
    elif result.killed:
        killed = ", ".join(str(broker_id) for broker_id in result.killed)
        session.output.warn(f"broker {killed} did not stop in time and was killed.")
    if session.output.format != TABLE:
        write_result(session, result.to_json(), list)


async def _tried(session: Session, spec: str | None, *, removed: bool | None = None) -> None:
    """Say which brokers would be stopped, and which data folders removed or kept."""
    status = await open_operations(session, spec, lambda _: None).status()
    running = [each for each in status.brokers if each.state == "running"]
    data: dict[str, Any] = {"stops": [each.id for each in running]}
    told = ", ".join(map(str, data["stops"])) or "none, as none runs"
    session.output.say(f"Brokers that would be stopped: {told}. Nothing was changed.")
    if removed is not None:
        places = [
            folder if each.host == "local" else f"{each.host}: {folder}"
            for each in status.brokers
            for folder in each.data_dirs
        ]
        data |= {"removes": places if removed else [], "keeps": [] if removed else places}
        for place in places:
            session.output.say(f"{'Removes' if removed else 'Keeps'} {place}.")
    if session.output.format != TABLE:
        write_result(session, data, list)


async def _status(session: Session, *, spec: str | None) -> ExitCode:
    status = await open_operations(session, spec, lambda _: None).status()
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
    facts += [
        (f"broker {broker.id}", Cell(broker.detail, "warn"))
        for broker in status.brokers
        if broker.detail
    ]
    return [Facts(facts), _brokers_table(status)]


def _brokers_table(status: ClusterStatus) -> Table:
    tones = {
        "running": "good",
        "up": "good",
        "stale": "bad",
        "down": "bad",
        "unreachable": "bad",
        "fenced": "warn",
    }
    remote = any(broker.host != "local" for broker in status.brokers)
    columns: tuple[str, ...] = (
        "ID", "ADDRESS", "RACK", "PROCESS", "PID", "UPTIME", "CLUSTER SAYS", "DISK FREE",
        "CONTROLLER",
    )  # fmt: skip
    rows: list[tuple[object, ...]] = []
    for broker in status.brokers:
        row: tuple[object, ...] = (
            broker.id,
            broker.address,
            broker.rack,
            Cell(broker.state, tones.get(broker.state, "")),
            broker.pid,
            None if broker.uptime_ms is None else format_duration(broker.uptime_ms),
            Cell(broker.cluster_state, tones.get(broker.cluster_state or "", "")),
            free_cell(broker.log_dirs),
            "active" if broker.is_controller else None,
        )
        rows.append((*row, broker.supervisor, broker.release) if remote else row)
    if remote:
        columns = (*columns, "SUPERVISOR", "RELEASE")
    return Table(columns, rows, right=frozenset({"ID", "PID", "DISK FREE"}))


async def _destroy(
    session: Session, *, spec: str | None, confirm_name: str | None, data: bool, dry_run: bool
) -> None:
    if dry_run:
        loaded = session.doors.load_spec(session.resolve_spec(spec))
        await _tried(session, spec, removed=data or loaded.is_local)
        return
    with live_operations(session, spec) as (operations, _):
        # Brokers of this machine are for trying things out: their data always goes with them.
        everything = data or operations.spec.is_local
        done = await operations.destroy(data=everything)
    for folder in done.removed:
        session.output.say(f"Removed {folder}.", "dim")
    for folder in done.kept:
        session.output.say(f"Kept {folder}.")
    session.output.say("The cluster is gone.")
    if done.kept and not everything:
        session.output.say("Its data is kept; remove it there, or destroy with --data.", "dim")
    if session.output.format != TABLE:
        write_result(session, {"removed": done.removed, "kept": done.kept}, list)


def _destroy_question(session: Session, *, spec: str | None, data: bool, **_: Any) -> Question:
    loaded = session.doors.load_spec(session.resolve_spec(spec))
    name = loaded.name
    everything = data or loaded.is_local
    what = "deletes all of its data" if everything else "removes it from its hosts, data is kept"
    return Question(f"This stops cluster {name} and {what}.", typed=name)


COMMANDS = (
    Command(
        name="cluster up",
        summary="Make a cluster what its file says, and the current context: install, configure, "
        "upgrade, repair. Nothing happens when it is already so.",
        details="Hosts need sshd, a shell, tar and gzip. Running it again completes what was "
        "interrupted. Restarts go one broker at a time, the controller last, each only when no "
        "partition would fall below min.insync.replicas. LOGCTL_SUDO_PASSWORD and "
        "LOGCTL_SSH_PASSPHRASE give what is asked for on a terminal.",
        arguments=(SPEC,),
        options=(_PLAN, _AUTO_ROLLBACK, _FORCE),
        examples=("cluster up", "cluster up clusters/prod.yaml --plan", "cluster up --yes"),
        run=_up,
        changes=True,
    ),
    Command(
        name="cluster down",
        summary="Stop a cluster's brokers; its data stays.",
        arguments=(SPEC,),
        options=(_DRY_RUN,),
        examples=("cluster down",),
        run=_down,
        changes=True,
    ),
    Command(
        name="cluster restart",
        summary="Restart the brokers one at a time, the controller last, gated.",
        arguments=(SPEC,),
        options=(_FORCE, _PLAN_ONLY),
        examples=("cluster restart",),
        run=_restart,
        changes=True,
    ),
    Command(
        name="cluster upgrade",
        summary="Bring this logctl's logd to every host, one broker at a time.",
        arguments=(SPEC,),
        options=(_PLAN, _AUTO_ROLLBACK, _FORCE),
        examples=("cluster upgrade clusters/prod.yaml --auto-rollback",),
        run=_upgrade,
        changes=True,
    ),
    Command(
        name="cluster rollback",
        summary="Go back to the release and settings before the last change, gated.",
        arguments=(SPEC,),
        options=(_FORCE, _PLAN_ONLY),
        examples=("cluster rollback",),
        run=_rollback,
        changes=True,
    ),
    Command(
        name="cluster status",
        summary="Show what runs and whether the cluster is healthy (exit code 10 when it is not).",
        arguments=(SPEC,),
        examples=("cluster status", "cluster status --format json"),
        run=_status,
    ),
    Command(
        name="cluster destroy",
        summary="Stop a cluster and remove it from its hosts; data stays unless --data is given.",
        details="Clusters on this machine (address: local) lose their data, too.",
        arguments=(SPEC,),
        options=(
            Option(("--confirm-name",), "The cluster's name, to confirm without being asked."),
            Option(("--data",), "Delete data and logs, too.", kind=Kind.FLAG),
            _DRY_RUN,
        ),
        examples=("cluster destroy", "cluster destroy local --yes --confirm-name local"),
        run=_destroy,
        changes=True,
        destructive=True,
        question=_destroy_question,
    ),
)
