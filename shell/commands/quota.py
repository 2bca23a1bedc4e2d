"""Quotas of clients: list, set, unset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from shell.exits import UsageProblem
from shell.nearest import did_you_mean
from shell.output import Cell, Table
from shell.registry import Argument, Command, Kind, Option
from shell.security_words import ENTITY_TYPES, LIMITS
from shell.session import Session

if TYPE_CHECKING:
    from clusters.admin.quota_model import Entity


def _parts(
    user: str | None, client_id: str | None, ip: str | None, default: Sequence[str]
) -> dict[str, str | None]:
    """The named parts of an entity; None for the name of a default. Raises UsageProblem."""
    named = {"user": user, "client-id": client_id, "ip": ip}
    parts: dict[str, str | None] = {key: name for key, name in named.items() if name is not None}
    for kind in default:
        if kind in parts:
            raise UsageProblem(f"Give either --{kind} or --default {kind}.")
        parts[kind] = None
    return parts


def _entity(parts: Mapping[str, str | None]) -> Entity:
    from clusters.admin.quota_model import entity

    try:
        return entity(parts)
    except ValueError as error:
        raise UsageProblem(
            f"{str(error).capitalize()}.", hint="Give --user, --client-id, --ip or --default."
        ) from None


def _table(rows: Sequence[tuple[Entity, str, object, object]], change: bool) -> Table:
    """Rows of (entity, limit, value or value before, value after)."""
    from clusters.admin.quota_model import DEFAULT

    def name(who: Entity, kind: str) -> object:
        parts = dict(who)
        if kind not in parts:
            return None
        return Cell(DEFAULT, "dim") if parts[kind] is None else parts[kind]

    values = ("BEFORE", "AFTER") if change else ("VALUE",)
    return Table(
        ("USER", "CLIENT-ID", "IP", "LIMIT", *values),
        [
            (*(name(who, kind) for kind in ENTITY_TYPES), limit, *shown[: len(values)])
            for who, limit, *shown in rows
        ],
        right=frozenset(values),
    )


def _shown(value: float | None) -> str | None:
    from clusters.admin.quota_model import shown_number

    return None if value is None else shown_number(value)


async def _list(
    session: Session,
    *,
    user: str | None,
    client_id: str | None,
    ip: str | None,
    default: Sequence[str],
) -> None:
    parts = _parts(user, client_id, ip, default)
    async with session.admin() as admin:
        quotas = await admin.client_quotas(parts)
    if not quotas:
        session.output.say("There are no such quotas.", "dim")
    session.output.document(
        [quota.to_json() for quota in quotas],
        lambda: [
            _table(
                [
                    (quota.entity, limit, _shown(value), None)
                    for quota in quotas
                    for limit, value in sorted(quota.limits.items())
                ],
                change=False,
            )
        ],
    )


async def _set(
    session: Session,
    *,
    limits: Sequence[tuple[str, str]],
    user: str | None,
    client_id: str | None,
    ip: str | None,
    default: Sequence[str],
    dry_run: bool,
) -> None:
    from clusters.admin.quota_model import limit_value

    who = _entity(_parts(user, client_id, ip, default))
    _check_names(who, [name for name, _ in limits])
    wanted: dict[str, float | None] = {}
    for name, text in limits:
        try:
            wanted[name] = limit_value(name, text)
        except ValueError as error:
            raise UsageProblem(f"{name}={text}: {error}.") from None
    await _change(session, who, wanted, dry_run=dry_run)


async def _unset(
    session: Session,
    *,
    limits: Sequence[str],
    user: str | None,
    client_id: str | None,
    ip: str | None,
    default: Sequence[str],
    dry_run: bool,
) -> None:
    who = _entity(_parts(user, client_id, ip, default))
    _check_names(who, limits)
    wanted = dict.fromkeys(limits) if limits else None
    await _change(session, who, wanted, dry_run=dry_run)


def _check_names(who: Entity, names: Sequence[str]) -> None:
    from clusters.admin.quota_model import LIMITS as MEANINGS
    from clusters.admin.quota_model import entity_text, limits_of

    known = limits_of(who)
    for name in names:
        if name not in MEANINGS:
            raise UsageProblem(
                f"There is no limit '{name}'." + did_you_mean(name, MEANINGS),
                hint=f"There are {', '.join(known)}.",
            )
        if name not in known:
            raise UsageProblem(
                f"{name} cannot be set for {entity_text(who)}.",
                hint=f"There {'is' if len(known) == 1 else 'are'} {', '.join(known)}.",
            )


async def _change(
    session: Session, who: Entity, wanted: Mapping[str, float | None] | None, *, dry_run: bool
) -> None:
    """Change limits of an entity, and show each before and after; None stands for all of them."""
    from clusters.admin.quota_model import entity_text

    async with session.admin() as admin:
        quotas = {quota.entity: quota.limits for quota in await admin.client_quotas(dict(who))}
        before = quotas.get(who, {})
        changes = dict.fromkeys(before) if wanted is None else dict(wanted)
        if changes:
            await admin.alter_quotas({who: changes}, validate_only=dry_run)
    rows: list[dict[str, Any]] = [
        {
            "entity": dict(who),
            "limit": name,
            "before": before.get(name),
            "after": value,
        }
        for name, value in sorted(changes.items())
    ]
    session.output.document(
        rows,
        lambda: [
            _table(
                [
                    (who, row["limit"], _shown(row["before"]), _shown(row["after"]) or "(none)")
                    for row in rows
                ],
                change=True,
            )
        ],
    )
    text = entity_text(who)
    if not rows:
        session.output.say(f"There are no limits of {text}; nothing was changed.")
    elif dry_run:
        session.output.say(f"The cluster would take these limits of {text}; nothing was changed.")
    else:
        session.output.say(f"Changed {len(rows)} limits of {text}.")


_WHO = (
    Option(("--user",), "The user, without User:.", kind=Kind.USER),
    Option(("--client-id",), "The client id.", metavar="ID"),
    Option(("--ip",), "The address that connects.", metavar="ADDRESS"),
    Option(
        ("--default",),
        "What holds for each user, client-id or ip without a quota of its own; may repeat.",
        kind=Kind.CHOICE,
        choices=ENTITY_TYPES,
        many=True,
    ),
)
_DRY_RUN = Option(("--dry-run",), "Only ask whether the cluster would take it.", kind=Kind.FLAG)

COMMANDS = (
    Command(
        name="quota list",
        summary="List the limits of users, client ids and addresses.",
        options=_WHO,
        examples=("quota list", "quota list --user billing", "quota list --default user"),
        run=_list,
    ),
    Command(
        name="quota set",
        summary="Limit what a user, a client id, both together, or an address may use.",
        details="Byte rates are bytes a second on each broker, 10MiB is understood; "
        "request_percentage is percent of a thread; controller_mutation_rate partitions created "
        "or deleted a second; connection_creation_rate, for addresses alone, connections a "
        "second.",
        arguments=(Argument("LIMITS", "LIMIT=VALUE.", Kind.PAIR, many=True, choices=LIMITS),),
        options=(*_WHO, _DRY_RUN),
        examples=(
            "quota set --user billing consumer_byte_rate=10MiB",
            "quota set --user web --client-id import producer_byte_rate=1MiB request_percentage=50",
            "quota set --default user producer_byte_rate=20MiB --dry-run",
            "quota set --ip 10.0.0.7 connection_creation_rate=20",
        ),
        run=_set,
        changes=True,
    ),
    Command(
        name="quota unset",
        summary="Take limits away; without LIMITS all of an entity.",
        arguments=(
            Argument("LIMITS", "Limits.", Kind.CHOICE, required=False, many=True, choices=LIMITS),
        ),
        options=(*_WHO, _DRY_RUN),
        examples=("quota unset --user billing consumer_byte_rate", "quota unset --default ip"),
        run=_unset,
        changes=True,
    ),
)
