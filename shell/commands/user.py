"""SCRAM users: list, set, delete. A password never stands on a command line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from shell.asking import confirm
from shell.exits import Failed, UsageProblem
from shell.nearest import did_you_mean
from shell.output import Table
from shell.registry import Argument, Command, Kind, Option
from shell.security_words import MECHANISMS
from shell.session import Session

if TYPE_CHECKING:
    from clusters.admin import AdminClient, ScramCredential

# The strongest that there is; the default of `user set` and of declared state.
_DEFAULT = "SCRAM-SHA-512"
_ITERATIONS = 8_192


async def _known(
    admin: AdminClient, users: Sequence[str], mechanisms: Sequence[str] = ()
) -> list[ScramCredential]:
    """Credentials of users who must exist. Raises Failed with the nearest name."""
    found = await admin.scram_users()
    names = {each.user for each in found}
    for user in users:
        if user not in names:
            raise Failed(
                f"There is no SCRAM user '{user}'." + did_you_mean(user, names),
                hint="See `logctl user list`.",
            )
    chosen = [
        each
        for each in found
        if (not users or each.user in users) and (not mechanisms or each.mechanism in mechanisms)
    ]
    for user in users:
        if not any(each.user == user for each in chosen):
            raise Failed(f"User '{user}' has no {' or '.join(mechanisms)} credential.")
    return chosen


async def _list(session: Session, *, users: Sequence[str]) -> None:
    async with session.admin() as admin:
        found = await _known(admin, users)
    session.output.document(
        [each.to_json() for each in found],
        lambda: [
            Table(
                ("USER", "MECHANISM", "ITERATIONS"),
                [(each.user, each.mechanism, each.iterations) for each in found],
                right=frozenset({"ITERATIONS"}),
            )
        ],
    )


async def _set(
    session: Session,
    *,
    user: str,
    mechanism: Sequence[str],
    iterations: int,
    password_from: str | None,
    dry_run: bool,
) -> None:
    from clusters.admin.scram_model import ITERATIONS_MAX, ITERATIONS_MIN, salted

    if not ITERATIONS_MIN <= iterations <= ITERATIONS_MAX:
        raise UsageProblem(
            f"--iterations {iterations} is out of range; it is from {ITERATIONS_MIN} to "
            f"{ITERATIONS_MAX}."
        )
    wanted = list(dict.fromkeys(mechanism or (_DEFAULT,)))
    # Asked before the password is: nobody types one in vain.
    async with session.admin() as admin:
        there = {(each.user, each.mechanism) for each in await admin.scram_users([user])}
    if dry_run and password_from is None:
        password = "not asked for in a dry run"  # noqa: S105 - no secret
    else:
        password = _password(session, user, password_from)
    credentials = [salted(user, each, password, iterations) for each in wanted]
    if not dry_run:
        async with session.admin() as admin:
            await admin.set_scram(credentials)
    done = ("would be changed", "would be created") if dry_run else ("changed", "created")
    rows = [
        {
            "user": user,
            "mechanism": each,
            "iterations": iterations,
            "result": done[0] if (user, each) in there else done[1],
        }
        for each in wanted
    ]
    session.output.document(
        rows,
        lambda: [
            Table(
                ("USER", "MECHANISM", "ITERATIONS", "RESULT"),
                [tuple(row.values()) for row in rows],
                right=frozenset({"ITERATIONS"}),
            )
        ],
    )
    if dry_run:
        session.output.say("Nothing was changed.")
    elif there:
        session.output.say("Connections that are open stay so; new ones need the new password.")


def _password(session: Session, user: str, source: str | None) -> str:
    """From its source, or typed unseen, twice. Raises UsageProblem, StateError or Failed."""
    if source is not None:
        from clusters.errors import StateError
        from clusters.secret_sources import check_source, secret

        try:
            check_source(source)
        except StateError as error:
            raise UsageProblem(f"--password-from: {error}") from None
        found = secret(f"password of {user}", source, session.doors.environ)
    else:
        typed = session.doors.ask_secret(f"Password of {user}: ")
        if typed is None:
            raise UsageProblem(
                "No password, and nobody to ask.",
                hint="Say where it comes from: --password-from env:VARIABLE, file:PATH or "
                "'command:PROGRAM ARGUMENTS'.",
            )
        if typed and session.doors.ask_secret("The same again: ") != typed:
            raise Failed("The two passwords differ; nothing was changed.")
        found = typed
    if not found:
        raise Failed("An empty password is none; nothing was changed.")
    return found


async def _delete(
    session: Session, *, users: Sequence[str], mechanism: Sequence[str], dry_run: bool
) -> None:
    async with session.admin() as admin:
        doomed = await _known(admin, users, mechanism)
        own = admin.principal
    listed = "\n".join(f"  {each.user}: {each.mechanism}" for each in doomed)
    if dry_run:
        session.output.say(f"These credentials would be deleted:\n{listed}\nNothing was changed.")
        return
    warning = ""
    if own is None or own.removeprefix("User:") in users:
        warning = f"\nYou are connected as {own or 'one of them, perhaps'}."
    confirm(
        session,
        f"This deletes {len(doomed)} credentials; who uses them cannot connect any more:\n{listed}"
        f"{warning}",
    )
    async with session.admin() as admin:
        await admin.delete_scram([(each.user, each.mechanism) for each in doomed])
    for each in doomed:
        session.output.say(f"Deleted the {each.mechanism} credential of {each.user}.")
    session.output.say("Rules and quotas of these users stay: see acl list and quota list.", "dim")


_DRY_RUN = Option(("--dry-run",), "Only show what would be done.", kind=Kind.FLAG)

COMMANDS = (
    Command(
        name="user list",
        summary="List SCRAM users with their mechanisms; passwords cannot be read back.",
        arguments=(Argument("USERS", "Only these.", Kind.USER, required=False, many=True),),
        examples=("user list", "user list billing --format json"),
        run=_list,
    ),
    Command(
        name="user set",
        summary="Create a SCRAM user, or give one a new password.",
        details="Without --password-from the password is typed unseen. It is salted here: the "
        "brokers get what SCRAM needs and never the password.",
        arguments=(Argument("USER", "The user's name, without User:.", kind=Kind.USER),),
        options=(
            Option(
                ("--password-from",),
                "Where the password is: env:VARIABLE, file:PATH or command:PROGRAM ARGUMENTS.",
                metavar="SOURCE",
            ),
            Option(
                ("--mechanism",),
                f"For this mechanism (default {_DEFAULT}); may repeat.",
                kind=Kind.CHOICE,
                choices=MECHANISMS,
                many=True,
            ),
            Option(
                ("--iterations",),
                f"How often it is hashed, 4096 to 16384 (default {_ITERATIONS}).",
                kind=Kind.INTEGER,
                default=_ITERATIONS,
            ),
            _DRY_RUN,
        ),
        examples=(
            "user set billing",
            "user set billing --password-from env:BILLING_PASSWORD",
            "user set billing --password-from 'command:pass show kafka' --mechanism SCRAM-SHA-256",
        ),
        run=_set,
        changes=True,
    ),
    Command(
        name="user delete",
        summary="Delete SCRAM credentials of users.",
        arguments=(Argument("USERS", "Whose.", Kind.USER, many=True),),
        options=(
            Option(
                ("--mechanism",),
                "Only of this mechanism; may repeat.",
                kind=Kind.CHOICE,
                choices=MECHANISMS,
                many=True,
            ),
            _DRY_RUN,
        ),
        examples=("user delete leaver --yes", "user delete billing --mechanism SCRAM-SHA-256"),
        run=_delete,
        changes=True,
    ),
)
