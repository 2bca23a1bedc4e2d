"""Declared state: show the differences, remove them, and write down what a cluster holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from shell.exits import ExitCode, Failed, Refused, UsageProblem
from shell.output import Output
from shell.registry import Argument, Command, Kind, Option
from shell.session import Session

if TYPE_CHECKING:
    from clusters.declared import Plan, Selection, Step
    from clusters.declared.access_model import AccessWorld
    from clusters.declared.executing import Outcome

_MOVES_TIMEOUT_MS = 3_600_000
_MAKES_ROOM = frozenset({"create topic", "add partitions"})


async def _diff(
    session: Session,
    *,
    file: Sequence[str],
    set: Sequence[tuple[str, str]],  # noqa: A002 - the option's name
    only: Sequence[str],
    prune: bool,
    schema: bool,
) -> ExitCode:
    if schema:
        import json

        from clusters.declared.schema import declared_schema

        session.output.text(json.dumps(declared_schema(), indent=2))
        return ExitCode.DONE
    plan = await _planned(session, file, set, only, prune)
    _show(session.output, plan)
    if plan.refusals:
        _tell_refusals(session.output, plan)
        return ExitCode.REFUSED
    if plan.steps:
        return ExitCode.DIFFERENCES
    if plan.unknown:
        return ExitCode.UNHEALTHY
    session.output.say("No differences.", "good")
    return ExitCode.DONE


async def _apply(
    session: Session,
    *,
    file: Sequence[str],
    set: Sequence[tuple[str, str]],  # noqa: A002 - the option's name
    only: Sequence[str],
    prune: bool,
    plan: str | None,
    plan_out: str | None,
    dry_run: bool,
) -> ExitCode:
    if (plan is None) == (not file):
        raise UsageProblem("Name files, or a saved plan with --plan, and not both.")
    if plan is not None:
        found = await _saved(session, plan)
    else:
        found = await _planned(session, file, set, only, prune)
    output = session.output
    if output.format == "table" or dry_run or plan_out is not None:
        _show(output, found)
    if found.refusals:
        _tell_refusals(output, found)
        return ExitCode.REFUSED
    if plan_out is not None:
        return _save(output, found, plan_out)
    if not found.steps:
        output.say("No differences; nothing to do." if not found.unknown else "Nothing was done.")
        return ExitCode.UNHEALTHY if found.unknown else ExitCode.DONE
    if dry_run:
        return await _validated(session, found)
    _confirm(session, found)
    code = await _execute(session, found, plan)
    if plan is None and code is ExitCode.DONE and any(s.kind in _MAKES_ROOM for s in found.steps):
        # Offsets in partitions that were just made could not be told before.
        rest = await _planned(session, file, set, only, prune)
        # Passwords that are rotated would be so again.
        steps = tuple(step for step in rest.steps if step.kind != "set user")
        if steps and all(step.group is not None for step in steps):
            return await _execute(session, replace(rest, steps=steps), plan)
    return code


def _save(output: Output, plan: Plan, path: str) -> ExitCode:
    from clusters.declared.saving import save_plan

    if plan.unknown:
        raise Failed(
            "The plan was not written: not all could be compared.",
            hint="Wait until the cluster answers as a whole, or leave things out with --only.",
        )
    mark = save_plan(path, plan)
    output.say(f"Wrote plan {mark} with {len(plan.steps)} steps to {path}.")
    output.say(f"Apply it with: apply --plan {path}", "dim")
    return ExitCode.DONE


# Plans


async def _planned(
    session: Session,
    files: Sequence[str],
    given: Sequence[tuple[str, str]],
    only: Sequence[str],
    prune: bool,
) -> Plan:
    from clusters.declared import load_declared, plan
    from clusters.declared.observing import observe_declared

    if not files:
        raise UsageProblem("A file is missing.")
    declared = load_declared(list(files), given=dict(given), environ=session.doors.environ)
    if declared.is_empty:
        session.output.warn(f"{', '.join(files)} declares nothing.")
    selection = _selection(only)
    async with session.admin() as admin:
        world = await observe_declared(admin, declared, prune=prune)
    return plan(declared, world, selection=selection, prune=prune)


def _selection(only: Sequence[str]) -> Selection:
    from clusters.declared import SelectorError, parse_selection

    try:
        return parse_selection(only)
    except SelectorError as error:
        raise UsageProblem(f"--only: {error}") from None


async def _saved(session: Session, path: str) -> Plan:
    """A saved plan, when the world still waits for each of its steps or has it done."""
    from clusters.declared.executing import moved
    from clusters.declared.observing import observe_steps
    from clusters.declared.saving import load_plan

    plan = load_plan(path)
    async with session.admin() as admin:
        world = await observe_steps(admin, plan.steps)
    if world.cluster_id != plan.cluster_id:
        raise Refused(
            f"The plan {path} is for the cluster {plan.cluster_id}, this is {world.cluster_id}."
        )
    if world.problems:
        raise Failed("The cluster cannot be compared with the plan: " + "; ".join(world.problems))
    changed = moved(plan.steps, world)
    if changed:
        lines = [
            f"{step.kind} {step.subject}: planned against {_short(step.before)}, "
            f"now it is {_short(seen)}"
            for step, seen in changed
        ]
        raise Refused(
            "The world has moved since the plan was made; nothing was changed.\n  "
            + "\n  ".join(lines),
            hint="Make a new plan with apply --plan-out.",
        )
    return plan


def _short(value: Any) -> str:
    import json

    if value is None:
        return "nothing"
    text = json.dumps({k: v for k, v in value.items() if k != "id"} or value)
    return text if len(text) <= 120 else text[:117] + "..."


# Telling

_TONES = {
    "create topic": "good",
    "add acls": "good",
    "delete topic": "bad",
    "remove acls": "bad",
    "delete user": "bad",
    "move replicas": "note",
}
_SIGNS = {"+": {"create topic", "add acls"}, "-": {"delete topic", "remove acls", "delete user"}}


def _show(output: Output, plan: Plan) -> None:
    data = {
        "cluster_id": plan.cluster_id,
        "steps": [step.to_json() for step in plan.steps],
        "refusals": [str(refusal) for refusal in plan.refusals],
        "unknown": list(plan.unknown),
        "notes": list(plan.notes),
    }
    if output.format != "table":
        output.document(data, list)
    for step in plan.steps if output.format == "table" else ():
        output.text(
            output.paint(f"{_sign(step)} {step.kind} {step.subject}", _TONES.get(step.kind, "warn"))
        )
        for line in _changes(step):
            output.text(f"    {line}")
        for reason in step.reasons[:8]:
            output.text(output.paint(f"    # {reason}", "dim"))
        if len(step.reasons) > 8:
            output.text(output.paint(f"    # and {len(step.reasons) - 8} more", "dim"))
        output.text(output.paint(f"    # {step.where}", "dim"))
    for note in plan.notes:
        output.say(note, "dim")
    for unknown in plan.unknown:
        output.warn(f"not compared: {unknown}")


def _sign(step: Step) -> str:
    return next((sign for sign, kinds in _SIGNS.items() if step.kind in kinds), "~")


def _changes(step: Step) -> list[str]:
    before, after = step.before or {}, step.after or {}
    lines: list[str] = []
    for key in ("partitions", "replication"):
        if after.get(key) is not None:
            old = f"{before[key]} → " if before.get(key) is not None else ""
            lines.append(f"{key}: {old}{after[key]}")
    for name, value in (after.get("configs") or {}).items():
        own = (before.get("configs") or {}).get(name)
        arrow = "" if step.kind == "create topic" else f"{'default' if own is None else own} → "
        lines.append(f"{name}: {arrow}{'default' if value is None else value}")
    placed = after.get("assignment")
    if isinstance(placed, dict):
        lines += [f"partition {p}: {before['assignment'][p]} → {r}" for p, r in placed.items()]
    elif placed:
        lines.append(f"assignment: {placed}")
    for number, offset in (after.get("offsets") or {}).items():
        committed = before["offsets"][number]
        was = "none" if committed is None else committed
        lines.append(f"partition {number}: {was} → {offset}")
    return lines + _access_changes(step)


def _access_changes(step: Step) -> list[str]:
    """Lines on a user's credentials and on limits; what rules change is their reason."""
    from clusters.admin.quota_model import shown_number

    before, after = step.before or {}, step.after or {}
    lines = [
        f"{mechanism}: {before['mechanisms'].get(mechanism) or 'none'} → {iterations or 'none'}"
        for mechanism, iterations in (after.get("mechanisms") or {}).items()
    ]
    if after.get("password"):
        lines.append(f"password: from {after['password'].partition(':')[0]}")
    for name, value in (after.get("limits") or {}).items():
        old, new = (
            "none" if each is None else shown_number(float(each))
            for each in (before["limits"].get(name), value)
        )
        lines.append(f"{name}: {old} → {new}")
    return lines


def _tell_refusals(output: Output, plan: Plan) -> None:
    for refusal in plan.refusals:
        output.error(str(refusal))
    output.say("Refused; nothing was changed.")


def _confirm(session: Session, plan: Plan) -> None:
    """Ask before records or somebody's access go; the rest was asked for by the command itself."""
    doomed = [step for step in plan.steps if step.destroys]
    if not doomed or session.settings.yes:
        return
    topics = [step.topic for step in doomed if step.topic]
    rules = sum(len(step.after["acls"]) for step in doomed if step.kind == "remove acls")
    users = [step.name for step in doomed if step.kind == "delete user"]
    texts = []
    if topics:
        one = len(topics) == 1
        what = "1 topic and all of its" if one else f"{len(topics)} topics and all of their"
        texts.append(f"This deletes {what} records: {', '.join(topics)}. This cannot be undone.")
    if rules:
        whose = ", ".join(step.name for step in doomed if step.kind == "remove acls")
        texts.append(f"This removes {rules} access rule{'s' if rules > 1 else ''} of {whose}.")
    if users:
        plural = "s" if len(users) > 1 else ""
        texts.append(f"This deletes credentials of {len(users)} user{plural}: {', '.join(users)}.")
    text = "\n".join(texts)
    answer = session.doors.ask(f"{text}\nType yes to confirm: ")
    if answer is None:
        raise Refused(f"Not confirmed, and nobody to ask. {text}", hint="Add --yes to confirm.")
    if answer.strip().lower() not in {"y", "yes"}:
        raise Refused("Not confirmed; nothing was changed.")


# Doing


async def _validated(session: Session, plan: Plan) -> ExitCode:
    from clusters.declared.access_executing import read_passwords
    from clusters.declared.executing import validate

    read_passwords(plan.steps, None, session.doors.environ)
    async with session.admin() as admin:
        against = await validate(admin, plan.steps)
    for step, reason in against:
        session.output.error(f"{step.where}: {step.kind} {step.subject}: {reason}")
    session.output.say("Nothing was changed (--dry-run).")
    return ExitCode.FAILED if against else ExitCode.DIFFERENCES


async def _execute(session: Session, plan: Plan, saved: str | None) -> ExitCode:
    from clusters.declared.access_executing import read_passwords
    from clusters.declared.executing import execute
    from clusters.declared.observing import observe_steps
    from clusters.errors import SpecError

    output = session.output
    outcomes: list[Outcome] = []
    again = f"apply --plan {saved}" if saved else "the same command"

    def report(step: Step, detail: str) -> None:
        output.progress(f"{step.kind} {step.subject} {detail}".rstrip())

    # Moves take as long as they take; each call has its own limit.
    async with session.client() as admin:
        try:
            world = await observe_steps(admin, plan.steps)
            passwords = read_passwords(plan.steps, world, session.doors.environ)
            await execute(
                admin,
                plan.steps,
                world,
                outcomes,
                report,
                moves_timeout_ms=_MOVES_TIMEOUT_MS,
                passwords=passwords,
            )
        except SpecError:
            output.say("Nothing was changed: not every password can be had.")
            raise
        except BaseException:
            _tell_outcomes(output, outcomes)
            left = len(plan.steps) - len(outcomes)
            output.say(f"Broken off: {left} of {len(plan.steps)} steps left. Go on with {again}.")
            raise
    _tell_outcomes(output, outcomes)
    if output.format != "table":
        output.document([outcome.to_json() for outcome in outcomes], list)
    bad = [outcome for outcome in outcomes if outcome.result in {"failed", "skipped"}]
    if bad:
        output.say(f"{len(bad)} of {len(outcomes)} steps were not done. Go on with {again}.")
        return ExitCode.FAILED
    output.say(f"Done: {len(outcomes)} steps.", "good")
    return ExitCode.DONE if not plan.unknown else ExitCode.UNHEALTHY


def _tell_outcomes(output: Output, outcomes: Sequence[Outcome]) -> None:
    for outcome in outcomes:
        text = f"{outcome.step.kind} {outcome.step.subject}"
        if outcome.result == "failed":
            output.error(f"{outcome.step.where}: {text}: {outcome.detail}")
        else:
            detail = f" ({outcome.detail})" if outcome.detail else ""
            output.say(f"{outcome.result}: {text}{detail}")


async def _export(
    session: Session, *, only: Sequence[str], group: Sequence[str], placement: bool, out: str | None
) -> ExitCode:
    from clusters.declared.access_model import SECTIONS
    from clusters.declared.exporting import exported, to_yaml
    from clusters.declared.observing import observe

    selection = _selection(only)
    async with session.admin() as admin:
        groups = list(group)
        if "*" in groups:
            groups = [each.group for each in (await admin.groups()).items]
        world = await observe(admin, None, groups, access=SECTIONS)
    if world.problems:
        for problem in world.problems:
            session.output.warn(problem)
        raise Failed(
            "Not all could be found out, so nothing was written.",
            hint="What is left out would look as if it were not there.",
        )
    _tell_left_out(session.output, world.access)
    text = to_yaml(exported(world, selection=selection, placement=placement))
    if out is None:
        session.output.text(text)
        return ExitCode.DONE
    _write_new(out, text)
    session.output.say(f"Wrote {len(world.topics)} topics to {out}.")
    return ExitCode.DONE


def _tell_left_out(output: Output, access: AccessWorld) -> None:
    for section, reason in access.unserved.items():
        output.say(f"{section} are left out: {reason}", "dim")
    if access.users:
        output.say(
            "Passwords cannot be read back: name a source (password: env:VARIABLE) for users that "
            "are to be created elsewhere.",
            "dim",
        )


def _write_new(path: str, text: str) -> None:
    try:
        with open(path, "x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError:
        hint = "Choose another name."
        raise Refused(f"{path} exists and is not overwritten.", hint=hint) from None


# Missing files are told by the command: with a saved plan, or for the schema, none is needed.
_OPTIONAL_FILES = Argument(
    "FILE",
    "YAML files that declare topics, offsets, users, access rules and quotas.",
    Kind.FILE,
    required=False,
    many=True,
)
_SET = Option(("--set",), "Give a variable of the files a value.", kind=Kind.PAIR, many=True)
_ONLY = Option(
    ("--only",),
    "Only what fits: topic=orders*, user=NAME, kind=acl, label.team=pay, joined by commas; may "
    "repeat.",
    many=True,
)
_PRUNE = Option(
    ("--prune",),
    "Also delete topics and unset settings that are not declared; users, rules and quotas only "
    "where the files have such a section.",
    kind=Kind.FLAG,
)

COMMANDS = (
    Command(
        name="diff",
        summary="Show how a cluster differs from what files declare.",
        details="Exit code 0: no differences. 3: there are some. 10: not all could be compared. "
        "4: what is declared is refused. The files are described in docs/declared-state.md.",
        arguments=(_OPTIONAL_FILES,),
        options=(
            _SET,
            _ONLY,
            _PRUNE,
            Option(("--schema",), "Write the JSON schema of such files.", kind=Kind.FLAG),
        ),
        examples=(
            "diff state.yaml",
            "diff state.yaml --set env=prod --only topic=orders*",
            "diff --schema > state.schema.json",
        ),
        run=_diff,
    ),
    Command(
        name="apply",
        summary="Make a cluster hold what files declare.",
        details="Nothing is removed unless it is declared absent or --prune is given. Broken off, "
        "it is gone on with by the same command: what is done already is left alone.\n\n"
        "A plan that was saved is done only while the world is as it was when it was made.",
        arguments=(_OPTIONAL_FILES,),
        options=(
            _SET,
            _ONLY,
            _PRUNE,
            Option(("--plan-out",), "Write the plan to a file, change nothing.", kind=Kind.FILE),
            Option(("--plan",), "Do a plan that was written before.", kind=Kind.FILE),
            Option(("--dry-run",), "Show the plan and ask the cluster about it.", kind=Kind.FLAG),
        ),
        examples=(
            "apply state.yaml",
            "apply state.yaml --plan-out plan.json",
            "apply --plan plan.json",
            "apply state.yaml --prune --yes",
        ),
        run=_apply,
        changes=True,
    ),
    Command(
        name="export",
        summary="Write what a cluster holds as a file for apply.",
        details="What it writes applies back with no difference.",
        options=(
            _ONLY,
            Option(
                ("--group",),
                "Also the offsets of a group, or '*' for all; may repeat.",
                kind=Kind.GROUP,
                many=True,
            ),
            Option(("--placement",), "Also the replicas of each partition.", kind=Kind.FLAG),
            Option(("--out",), "Write to this file, which must be new.", kind=Kind.FILE),
        ),
        examples=("export", "export --only topic=orders* --group billing --out state.yaml"),
        run=_export,
    ),
)
