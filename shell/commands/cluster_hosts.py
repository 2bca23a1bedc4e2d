"""Cluster files and their hosts: init, validate, check, logs, exec, audit."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from shell.deploying import SPEC, ask_to_go_on, open_operations
from shell.exits import ExitCode, Failed, Refused, UsageProblem
from shell.output import Cell, Table
from shell.registry import Argument, Command, Kind, Option
from shell.session import Session

if TYPE_CHECKING:
    from clusters.phases.base import Node

_BROKER = Option(
    ("--broker", "-b"), "Only this broker; may be repeated.", kind=Kind.BROKER, many=True
)
_SPEC_OPTION = Option(
    ("--spec",), "A cluster file. Default: the current context's.", kind=Kind.SPEC
)
EXEC_TIMEOUT_MS = 60_000
OUTPUT_BYTES_MAX = 1 << 20


def _init(
    session: Session, *, host: Sequence[str], name: str, output: str | None
) -> ExitCode | None:
    from clusters.spec import parse_spec
    from clusters.spec.template import spec_template

    text = spec_template(host, name)
    parse_spec(text.encode(), output or "the new file")
    if output is None:
        session.output.text(text)
        return None
    try:
        with open(output, "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise Failed(f"{output} is there already; nothing was written.") from None
    session.output.say(f"Wrote {output}. Next: logctl cluster check {output}")
    return None


def _validate(session: Session, *, spec: str | None, schema: bool) -> ExitCode:
    from clusters.errors import SpecError

    if schema:
        from clusters.spec.schema import spec_schema

        session.output.text(json.dumps(spec_schema(), indent=2))
        return ExitCode.DONE
    path = session.resolve_spec(spec)
    try:
        loaded = session.doors.load_spec(path)
    except SpecError as error:
        rows = [(each.file, each.line or None, each.message) for each in error.problems]
        problems = [{"file": file, "line": line, "message": text} for file, line, text in rows]
        session.output.document(
            {"valid": False, "problems": problems},
            lambda: [Table(("FILE", "LINE", "PROBLEM"), rows, right=frozenset({"LINE"}))],
        )
        return ExitCode.FAILED
    session.output.say(f"{path} is valid: cluster {loaded.name}, {len(loaded.hosts)} brokers.")
    if session.output.format != "table":
        session.output.document({"valid": True, "problems": []}, list)
    return ExitCode.DONE


async def _check(session: Session, *, spec: str | None, fix: bool) -> ExitCode:
    if fix and session.read_only():
        raise Refused("'cluster check --fix' writes on hosts and this session is read-only.")
    operations = open_operations(session, spec, lambda _: None)
    if fix:

        async def confirm(host: str, text: str) -> None:
            session.output.say(f"On {host}:\n{text}")
            await ask_to_go_on(session, f"Write this on {host}?")

        written = await operations.fix(confirm)
        for path in written:
            session.output.say(f"Wrote {path}.")
        if not written:
            session.output.say("There is nothing to fix.")
    results = await operations.check()
    tones = {"ok": "good", "warn": "warn", "fail": "bad"}
    session.output.document(
        [result.to_json() for result in results],
        lambda: [
            Table(
                ("HOST", "BROKER", "CHECK", "RESULT", "FOUND", "WHAT TO DO"),
                [
                    (
                        result.host,
                        result.broker_id,
                        result.check,
                        Cell(result.state, tones[result.state]),
                        result.message,
                        result.advice or None,
                    )
                    for result in results
                ],
                right=frozenset({"BROKER"}),
            )
        ],
    )
    failed = sum(result.state == "fail" for result in results)
    warned = sum(result.state == "warn" for result in results)
    if failed:
        checks = "1 check" if failed == 1 else f"{failed} checks"
        session.output.error(f"{checks} failed, {warned} warn.")
        return ExitCode.FAILED
    session.output.say(f"No check failed, {warned} warn.")
    return ExitCode.DONE


async def _logs(
    session: Session, *, spec: str | None, broker: Sequence[int], lines: int, follow: bool
) -> None:
    from clusters.engines import engine_named
    from clusters.log_files import tail_script

    operations = open_operations(session, spec, lambda _: None)
    engine = engine_named(operations.spec.engine)
    async with operations.reach(tuple(broker) or None) as nodes:
        width = max(len(str(each)) for each in nodes)

        def show(node: Node, line: str) -> None:
            for text in engine.log_lines(line):
                data = {"broker": node.id, "host": node.connection.name, "line": line}
                session.output.line(data, lambda text=text: f"{node.id:>{width}} | {text}")  # type: ignore[misc]

        async def read(node: Node) -> None:
            script = tail_script(node.layout.log_path, lines, follow=follow)
            what = f"read {node.layout.log_path}"
            async with node.connection.stream(script, what=what) as stream:
                async for line in stream.lines():
                    show(node, line)

        await asyncio.gather(*(read(node) for node in nodes.values()))


async def _exec(
    session: Session,
    *,
    command: Sequence[str],
    spec: str | None,
    broker: Sequence[int],
    root: bool,
    dry_run: bool,
) -> ExitCode:
    from clusters.errors import HostError
    from clusters.hosts.shell_words import words

    if not command:
        raise UsageProblem("No command is given.", hint="logctl cluster exec -- uptime")
    line = command[0] if len(command) == 1 else words(*command)
    operations = open_operations(session, spec, lambda _: None)
    codes: list[int] = []
    async with operations.reach(tuple(broker) or None) as nodes:
        machines = {id(node.connection): node for node in nodes.values()}
        if dry_run:
            names = ", ".join(node.connection.name for node in machines.values())
            who = "root" if root else "the user of the connection"
            session.output.say(f"Would run on {names}, as {who}: {line}")
            return ExitCode.DONE

        async def run(node: Node) -> dict[str, Any]:
            name = node.connection.name
            try:
                answer = await node.connection.run(
                    line,
                    what="run the command",
                    as_user=not root,
                    timeout_ms=max(EXEC_TIMEOUT_MS, session.settings.timeout_ms),
                )
            except HostError as error:
                return {"host": name, "status": None, "out": "", "err": str(error)}
            out = answer.out[:OUTPUT_BYTES_MAX].decode("utf-8", "replace")
            return {"host": name, "status": answer.status, "out": out, "err": answer.complaint}

        results = await asyncio.gather(*(run(node) for node in machines.values()))
    for result in results:
        status = result["status"]
        codes.append(1 if status is None else int(status))
        session.output.line(result, lambda result=result: _exec_text(session, result))  # type: ignore[misc]
    return ExitCode.FAILED if any(codes) else ExitCode.DONE


def _exec_text(session: Session, result: dict[str, Any]) -> str:
    status = result["status"]
    head = session.output.paint(result["host"], "good" if status == 0 else "bad")
    lines = [f"{head}{'' if status == 0 else f' (exit status {status})'}"]
    lines += [f"  {line}" for line in result["out"].splitlines()]
    lines += [f"  {session.output.paint(line, 'warn')}" for line in result["err"].splitlines()]
    return "\n".join(lines)


async def _audit(session: Session, *, spec: str | None, limit: int, hosts: bool) -> None:
    from clusters.audit import entries

    if hosts:
        await _host_audit(session, spec, limit)
        return
    loaded = session.doors.load_spec(session.resolve_spec(spec))
    found = entries(loaded.name)[-limit:]
    tones = {"done": "good", "failed": "bad", "interrupted": "warn"}
    session.output.document(
        [entry.to_json() for entry in found],
        lambda: [
            Table(
                ("AT", "RUN", "BY", "COMMAND", "OUTCOME", "BROKERS", "TOOK", "DETAIL"),
                [
                    (
                        entry.at,
                        entry.run,
                        entry.by,
                        entry.command,
                        Cell(entry.outcome, tones.get(entry.outcome, "")),
                        entry.brokers,
                        f"{entry.elapsed_ms} ms",
                        entry.detail or None,
                    )
                    for entry in found
                ],
                right=frozenset({"TOOK"}),
            )
        ],
    )


async def _host_audit(session: Session, spec: str | None, limit: int) -> None:
    operations = open_operations(session, spec, lambda _: None)
    async with operations.reach() as nodes:
        machines = {id(node.connection): node for node in nodes.values()}
        for node in machines.values():
            content = await node.connection.read_file(node.layout.audit_path) or b""
            for line in content.decode("utf-8", "replace").splitlines()[-limit:]:
                data = {"host": node.connection.name, "line": line}
                session.output.line(data, lambda data=data: f"{data['host']} | {data['line']}")  # type: ignore[misc]


COMMANDS = (
    Command(
        name="cluster init",
        summary="Write a commented cluster file for hosts.",
        arguments=(Argument("HOST", "A host: user@address[:port].", many=True),),
        options=(
            Option(("--name",), "The cluster's name.", default="prod"),
            Option(("--output", "-o"), "Write this new file instead of stdout.", kind=Kind.FILE),
        ),
        examples=("cluster init ops@10.0.0.11 ops@10.0.0.12 ops@10.0.0.13 -o prod.yaml",),
        run=_init,
    ),
    Command(
        name="cluster validate",
        summary="Check a cluster file without touching a host: every problem at once.",
        arguments=(SPEC,),
        options=(Option(("--schema",), "Write the JSON schema of cluster files.", kind=Kind.FLAG),),
        examples=("cluster validate prod.yaml", "cluster validate --schema > cluster.schema.json"),
        run=_validate,
    ),
    Command(
        name="cluster check",
        summary="See whether the hosts are fit to run the cluster; nothing is changed.",
        arguments=(SPEC,),
        options=(
            Option(
                ("--fix",),
                "Show and write settings of the kernel (swappiness, huge pages).",
                kind=Kind.FLAG,
            ),
        ),
        examples=("cluster check prod.yaml", "cluster check --format json"),
        run=_check,
    ),
    Command(
        name="cluster logs",
        summary="Show the brokers' logs, the last lines of each.",
        arguments=(SPEC,),
        options=(
            _BROKER,
            Option(
                ("--lines", "-n"), "Lines of each broker.", kind=Kind.INTEGER, default=20, minimum=0
            ),
            Option(("--follow", "-f"), "Go on with new lines, until Ctrl-C.", kind=Kind.FLAG),
        ),
        examples=("cluster logs --follow", "cluster logs -b 2 -n 100"),
        run=_logs,
        endless=True,
    ),
    Command(
        name="cluster exec",
        summary="Run a command on the hosts of a cluster, all at once.",
        details="One word is a line for the shell; several are one command with its arguments.",
        arguments=(Argument("COMMAND", "What to run, after --.", many=True),),
        options=(
            _SPEC_OPTION,
            _BROKER,
            Option(("--root",), "As root, where the cluster file allows it.", kind=Kind.FLAG),
            Option(("--dry-run",), "Show where it would run, and as whom.", kind=Kind.FLAG),
        ),
        examples=("cluster exec -- uptime", "cluster exec -b 2 --root -- df -h"),
        run=_exec,
        changes=True,
    ),
    Command(
        name="cluster audit",
        summary="Show who did what to a cluster, and how it ended.",
        arguments=(SPEC,),
        options=(
            Option(("--limit",), "The last runs.", kind=Kind.INTEGER, default=20, minimum=1),
            Option(("--hosts",), "Show the records kept on the hosts.", kind=Kind.FLAG),
        ),
        examples=("cluster audit", "cluster audit --hosts"),
        run=_audit,
    ),
)
