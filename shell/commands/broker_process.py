"""The processes of brokers that logctl runs: stop, start, kill."""

from __future__ import annotations

from typing import Any

from shell.deploying import open_operations, refusals
from shell.exits import ExitCode, Failed
from shell.registry import Argument, Command, Kind, Option
from shell.session import Session

_ID = Argument("ID", "The broker's id.", kind=Kind.BROKER)
_FORCE = Option(
    ("--force",), "Also where that interrupts partitions or the quorum.", kind=Kind.FLAG
)


_DRY_RUN = Option(
    ("--dry-run",), "Show what it would mean for partitions and the quorum.", kind=Kind.FLAG
)
_TRY_START = Option(
    ("--dry-run",), "Look for all that would refuse the start; change nothing.", kind=Kind.FLAG
)


async def _tried(session: Session, broker_id: int, doing: str) -> ExitCode | None:
    from shell.what_if import show

    status = await open_operations(session, None, lambda _: None).status()
    return await show(session, broker_id, status, doing)


async def _stop(
    session: Session,
    *,
    id: int,  # noqa: A002
    force: bool,
    dry_run: bool,
) -> ExitCode | None:
    if dry_run:
        return await _tried(session, id, "stopped")
    with refusals():
        result = await open_operations(session, None).stop_broker(id, force=force)
    if not result.changed:
        session.output.say(f"Broker {id} was not running.")
    elif result.killed:
        session.output.warn(f"broker {id} did not stop in time and was killed.")
    else:
        session.output.say(f"Broker {id} stopped.")
    return None


async def _start(session: Session, *, id: int, dry_run: bool) -> ExitCode | None:  # noqa: A002
    if dry_run:
        return await _tried_start(session, id)
    with refusals():
        result = await open_operations(session, None).start_broker(id)
    if result.changed:
        session.output.say(f"Broker {id} started in {result.elapsed_ms} ms.")
    else:
        status = await open_operations(session, None, lambda _: None).status()
        each = next((each for each in status.brokers if each.id == id), None)
        session.output.say(f"Broker {id} was already running.")
        if each is not None and each.cluster_state not in (None, "up"):
            session.output.warn(_hangs(id, each.cluster_state))
            return ExitCode.UNHEALTHY
    if result.waits_for:
        session.output.warn(f"{result.waits_for}.")
    return None


def _hangs(broker_id: int, cluster_state: str | None) -> str:
    return (
        f"broker {broker_id} runs, but the cluster says that it is {cluster_state}: it is starting "
        f"or hangs. `broker restart {broker_id}` ends it, if need be by force, and starts it anew."
    )


async def _tried_start(session: Session, broker_id: int) -> ExitCode | None:
    operations = open_operations(session, None, lambda _: None)
    status = await operations.status()
    broker = next((each for each in status.brokers if each.id == broker_id), None)
    if broker is None:
        known = ", ".join(str(each.id) for each in status.brokers)
        raise Failed(f"There is no broker {broker_id} in {status.spec_path}; it has {known}.")
    if broker.state != "running":
        with refusals():
            _, waits_for = await operations.plan_start(broker_id)
        doing = f"Broker {broker_id} ({broker.state}) would be started"
        session.output.say(f"{doing}; nothing was changed.")
        if waits_for:
            session.output.warn(f"{waits_for}.")
    elif broker.cluster_state in (None, "up"):
        session.output.say(f"Broker {broker_id} runs already; there is nothing to do.")
    else:
        session.output.warn(_hangs(broker_id, broker.cluster_state))
        return ExitCode.UNHEALTHY
    return None


async def _restart(
    session: Session,
    *,
    id: int,  # noqa: A002
    force: bool,
    dry_run: bool,
) -> ExitCode | None:
    if dry_run:
        with refusals():
            await open_operations(session, None, lambda _: None).plan_restart((id,))
        return await _tried(session, id, "restarted, once that is safe")
    with refusals():
        result = await open_operations(session, None).restart((id,), force=force)
    if result.waits_for:
        session.output.say(f"Broker {id} started in {result.elapsed_ms} ms.")
        session.output.warn(f"{result.waits_for}.")
        return None
    session.output.say(f"Broker {id} restarted in {result.elapsed_ms} ms; it is in sync.")
    return None


async def _kill(session: Session, *, id: int, dry_run: bool) -> ExitCode | None:  # noqa: A002
    if dry_run:
        return await _tried(session, id, "killed (kill -9)")
    operations = open_operations(session, None)
    with refusals():
        killed = await operations.kill_broker(id)
    if not killed:
        raise Failed(f"Broker {id} was not running, so it was not killed.")
    if not operations.spec.is_local:
        session.output.say(f"Broker {id} killed (kill -9); its supervisor starts it again.")
        return None
    session.output.say(f"Broker {id} killed (kill -9). Start it with `broker start {id}`.")
    return None


def _changing(
    verb: str, summary: str, run: Any, *options: Option, dry_run: Option = _DRY_RUN
) -> Command:
    return Command(
        name=f"broker {verb}",
        summary=summary,
        arguments=(_ID,),
        options=(*options, dry_run),
        examples=(f"broker {verb} 2", f"broker {verb} 2 --dry-run"),
        run=run,
        changes=True,
    )


COMMANDS = (
    _changing("stop", "Stop a broker: it hands its partitions over first.", _stop, _FORCE),
    _changing("start", "Start a broker that was stopped or killed.", _start, dry_run=_TRY_START),
    _changing("restart", "Restart a broker, and wait until it is in sync again.", _restart, _FORCE),
    _changing("kill", "Kill a broker as a crash would (kill -9), for drills.", _kill),
)
