"""Runs a runbook: a file of steps that wait, assert, ask and act."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from shell.exits import ExitCode, Refused, UsageProblem
from shell.registry import Argument, Command, Kind, Option
from shell.session import Session

if TYPE_CHECKING:
    from shell.runbook.model import Runbook


async def _run(
    session: Session,
    *,
    file: str | None,
    set: Sequence[tuple[str, str]],  # noqa: A002 - the option's name
    from_: str | None,
    dry_run: bool,
    check: bool,
    schema: bool,
    record: str | None,
) -> ExitCode:
    if schema:
        return _schema(session)
    if file is None:
        raise UsageProblem("A file is missing.", hint="logctl run FILE")
    from clusters.declared.variables import Variables, typed
    from clusters.watch.events import iso_time
    from clusters.watch.status import SystemClock
    from shell.cli import build
    from shell.commands import all_commands
    from shell.runbook.engine import Engine
    from shell.runbook.loading import commands_of, load_runbook
    from shell.runbook.recording import Record
    from shell.runner import Runner

    registry = all_commands()
    tree = build(registry)
    given = {name: typed(value) for name, value in set}
    variables = Variables(given=given, environ=session.doors.environ)
    runbook = load_runbook(file, registry, tree, variables)
    start = _start(runbook, from_)
    if check:
        session.output.say(f"{runbook.title}: {len(runbook.steps)} steps, nothing wrong.", "good")
        return ExitCode.DONE
    changing = [step for step, command in commands_of(runbook.steps, registry) if command.changes]
    if changing and session.read_only() and not dry_run:
        raise Refused(
            f"Step {changing[0].address} ({file}:{changing[0].line}) changes the cluster and this "
            "session is read-only; nothing was done.",
            hint="--dry-run shows what would be done.",
        )
    folder = record or _records()
    log = Record(
        runbook=runbook.title,
        file=file,
        cluster=", ".join(session.bootstrap()),
        started_at=iso_time(SystemClock().wall_ms()),
        dry_run=dry_run,
        variables={k: v for k, v in {**variables.declared, **given}.items() if k != "here"},
        folder=folder,
    )
    _take_over(runbook, start, folder, file, variables.declared, log.saved)
    runner = Runner(tree, session.output, session.doors, _base(session))
    engine = Engine(session, runner, registry, runbook, variables, log, dry_run)
    session.output.carries_on = not dry_run
    session.output.say(f"{runbook.title}{' (dry run: nothing is changed)' if dry_run else ''}")
    try:
        code = await engine.run(start)
    finally:
        _tell_end(session, log, given)
    if session.output.format != "table":
        session.output.document(log.to_json(), list)
    return code


def _schema(session: Session) -> ExitCode:
    import json

    from shell.commands import all_commands
    from shell.runbook.schema import runbook_schema

    session.output.text(json.dumps(runbook_schema(all_commands()), indent=2))
    return ExitCode.DONE


def _tell_end(session: Session, log: Any, given: dict[str, Any]) -> None:
    output = session.output
    output.say(f"{log.result}: {log.runbook}", "good" if log.result == "done" else "bad")
    output.say(f"record: {log.path}.md", "dim")
    if log.resume_from and not log.dry_run:
        from shell.script import quoted

        options = "".join(f" --set {quoted(f'{name}={value}')}" for name, value in given.items())
        output.say(f"go on with: run {quoted(log.file)} --from {log.resume_from}{options}")


def _base(session: Session) -> dict[str, Any]:
    """The global options of the steps: those that the run itself has."""
    settings = session.settings
    return {
        "context": settings.context,
        "bootstrap": ",".join(settings.bootstrap) if settings.bootstrap else None,
        "yes": settings.yes,
        "read_only": settings.read_only,
        "timeout": settings.timeout_ms,
        "no_color": not settings.color,
    }


def _records() -> str:
    from clusters.state import state_home

    return os.path.join(state_home(), "runs")


def _start(runbook: Runbook, wanted: str | None) -> int:
    """The index of the step to begin with, given by number or name."""
    if wanted is None:
        return 0
    from clusters.nearest import hint

    addresses = [step.address for step in runbook.steps]
    names = [step.name for step in runbook.steps if step.name]
    for index, step in enumerate(runbook.steps):
        if wanted in {step.address, step.name}:
            return index
    known = names if names and not wanted.isdecimal() else addresses
    raise UsageProblem(f"--from {wanted}: there is no such step; {hint(wanted, known)}")


def _take_over(
    runbook: Runbook,
    start: int,
    folder: str,
    file: str,
    declared: dict[str, Any],
    saved: dict[str, Any],
) -> None:
    """Give later steps the answers that skipped steps saved in the last run."""
    from shell.runbook.recording import last_saved

    names = [step.save for step in runbook.steps[:start] if step.save]
    if not names:
        return
    before = last_saved(folder, file)
    for name in names:
        if name not in before:
            raise UsageProblem(
                f"The steps before save ${{{name}}}, and no earlier run of {file} has it recorded.",
                hint=f"Begin earlier; records are looked for in {folder}.",
            )
        declared[name] = saved[name] = before[name]


COMMANDS = (
    Command(
        name="run",
        summary="Run a runbook: steps that act, wait, assert and ask.",
        details="The file is checked whole before its first step. Ctrl-C and failures tell how to "
        "go on with --from. A record of each run is kept as JSON and Markdown. The files are "
        "described in docs/runbooks.md.",
        arguments=(Argument("FILE", "The runbook, a YAML file.", Kind.FILE, required=False),),
        options=(
            Option(("--set",), "Give a variable of the runbook a value.", Kind.PAIR, many=True),
            Option(("--from",), "Begin with this step: its number or name.", metavar="STEP"),
            Option(("--dry-run",), "Show each step; change nothing.", kind=Kind.FLAG),
            Option(("--check",), "Only check the file.", kind=Kind.FLAG),
            Option(("--schema",), "Write the JSON schema of runbooks.", kind=Kind.FLAG),
            Option(("--record",), "Keep the record in this folder.", Kind.FILE, metavar="DIR"),
        ),
        examples=(
            "run broker-died.yaml --set broker=2",
            "run broker-died.yaml --dry-run",
            "run broker-died.yaml --from 4",
            "run --schema > runbook.schema.json",
        ),
        run=_run,
    ),
)
