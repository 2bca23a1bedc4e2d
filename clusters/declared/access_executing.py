"""Does the steps on users, access rules and quotas. Passwords are read before anything is done."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from clusters.admin.acl_model import Acl
from clusters.admin.scram_model import salted
from clusters.declared.steps import Kind, Progress, Step, entity_of, progress
from clusters.declared.world import World
from clusters.errors import Problem, SpecError, StateError
from clusters.secret_sources import secret

if TYPE_CHECKING:
    from clusters.admin import AdminClient

# Passwords by the source they come from.
Passwords = Mapping[str, str]


def read_passwords(
    steps: Iterable[Step], world: World | None, environ: Mapping[str, str]
) -> dict[str, str]:
    """The passwords that steps still need, each source asked once.

    Raises SpecError with the place of every user whose password cannot be had.
    """
    found: dict[str, str] = {}
    problems: list[Problem] = []
    for step in steps:
        if step.kind is not Kind.SET_USER:
            continue
        if world is not None and progress(step, world)[0] is Progress.DONE:
            continue
        source = step.after["password"]
        try:
            if source not in found:
                found[source] = secret(f"password of {step.name}", source, environ)
            if not found[source]:
                raise StateError(f"The secret password of {step.name} is empty")
        except StateError as error:
            file, _, line = step.where.rpartition(":")
            number = int(line) if file and line.isdecimal() else 0
            problems.append(
                Problem(file=file or step.where, line=number, message=f"user {step.name}: {error}")
            )
    if problems:
        raise SpecError(problems)
    return found


async def do_access(admin: AdminClient, step: Step, passwords: Passwords) -> None:
    """Do one step. Raises LogctlError."""
    match step.kind:
        case Kind.SET_USER:
            password = passwords[step.after["password"]]
            await admin.set_scram(
                [
                    salted(step.name, mechanism, password, iterations)
                    for mechanism, iterations in step.after["mechanisms"].items()
                ]
            )
        case Kind.DELETE_USER:
            await admin.delete_scram([(step.name, each) for each in step.after["mechanisms"]])
        case Kind.ADD_ACLS:
            await admin.create_acls(map(Acl.from_json, step.after["acls"]))
        case Kind.REMOVE_ACLS:
            await admin.delete_acls(map(Acl.from_json, step.after["acls"]))
        case Kind.SET_QUOTA:
            await set_quota(admin, step)


async def set_quota(admin: AdminClient, step: Step, *, validate_only: bool = False) -> None:
    """Set the limits of an entity, or ask whether the cluster would."""
    changes = {entity_of(step): step.after["limits"]}
    await admin.alter_quotas(changes, validate_only=validate_only)
