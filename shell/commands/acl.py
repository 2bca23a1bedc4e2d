"""Access rules: list, add, remove."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shell.asking import confirm
from shell.exits import UsageProblem
from shell.output import Block, Cell, Table
from shell.registry import Argument, Command, Kind, Option
from shell.security_words import OPERATIONS, PATTERNS, PERMISSIONS
from shell.session import Session

if TYPE_CHECKING:
    from clusters.admin import Acl, AdminClient

_PRODUCES = {"topic": ("write", "describe", "create"), "transactional-id": ("write", "describe")}
_CONSUMES = {"topic": ("read", "describe"), "group": ("read",)}
Resource = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """Which rules are meant; nothing given means all."""

    principals: Sequence[str]
    resources: Sequence[Resource]
    operations: Sequence[str]
    permission: str | None
    host: str | None
    pattern: str


def _resources(
    topic: Sequence[str],
    group: Sequence[str],
    cluster: bool,
    transactional_id: Sequence[str],
    user: Sequence[str],
    delegation_token: Sequence[str],
) -> list[Resource]:
    named = {
        "topic": topic,
        "group": group,
        "cluster": ("kafka-cluster",) if cluster else (),
        "transactional-id": transactional_id,
        "user": user,
        "delegation-token": delegation_token,
    }
    return [(kind, name) for kind, names in named.items() for name in names]


def _principals(texts: Iterable[str]) -> list[str]:
    from clusters.admin.acl_model import principal

    try:
        return [principal(text) for text in texts]
    except ValueError as error:
        raise UsageProblem(f"{error}.") from None


def acl_table(acls: Sequence[Acl], results: Mapping[Acl, str] | None = None) -> Table:
    """Rules, one a line; with what came of each when that is given."""
    columns = ["PRINCIPAL", "PERMISSION", "OPERATION", "RESOURCE", "NAME", "PATTERN", "HOST"]
    return Table(
        (*columns, "RESULT") if results is not None else tuple(columns),
        [
            (
                acl.principal,
                Cell(acl.permission, "bad" if acl.permission == "deny" else "good"),
                acl.operation,
                acl.resource,
                acl.name,
                acl.pattern,
                acl.host,
                *((Cell(results[acl], "note"),) if results is not None else ()),
            )
            for acl in acls
        ],
    )


def _show(session: Session, acls: Sequence[Acl], results: Mapping[Acl, str] | None = None) -> None:
    def data(acl: Acl) -> dict[str, Any]:
        return acl.to_json() | ({"result": results[acl]} if results is not None else {})

    def blocks() -> list[Block]:
        return [acl_table(acls, results)]

    session.output.document([data(acl) for acl in acls], blocks)


async def _found(admin: AdminClient, wanted: _Wanted) -> list[Acl]:
    """The rules that are meant, sorted."""
    from clusters.admin import AclFilter

    filters = [AclFilter(pattern=wanted.pattern)]
    if wanted.resources:
        filters = [
            # A name of * is a rule for all, and is not looked for in what it matches.
            AclFilter(
                resource=resource,
                name=name,
                pattern="literal" if (name, wanted.pattern) == ("*", "match") else wanted.pattern,
            )
            for resource, name in wanted.resources
        ]
    acls: set[Acl] = set()
    for each in filters:
        acls.update(await admin.acls(each))
    return sorted(
        acl
        for acl in acls
        if (not wanted.principals or acl.principal in wanted.principals)
        and (not wanted.operations or acl.operation in wanted.operations)
        and wanted.permission in (None, acl.permission)
        and wanted.host in (None, acl.host)
    )


async def _list(
    session: Session,
    *,
    principal: Sequence[str],
    topic: Sequence[str],
    group: Sequence[str],
    cluster: bool,
    transactional_id: Sequence[str],
    user: Sequence[str],
    delegation_token: Sequence[str],
    operation: Sequence[str],
    permission: str | None,
    host: str | None,
    pattern: str,
) -> None:
    resources = _resources(topic, group, cluster, transactional_id, user, delegation_token)
    wanted = _Wanted(
        principals=_principals(principal),
        resources=resources,
        operations=operation,
        permission=permission,
        host=host,
        pattern=pattern,
    )
    async with session.admin() as admin:
        acls = await _found(admin, wanted)
    if not acls:
        session.output.say("There are no such rules.", "dim")
    _show(session, acls)


async def _add(
    session: Session,
    *,
    principals: Sequence[str],
    topic: Sequence[str],
    group: Sequence[str],
    cluster: bool,
    transactional_id: Sequence[str],
    user: Sequence[str],
    delegation_token: Sequence[str],
    operation: Sequence[str],
    deny: bool,
    prefixed: bool,
    host: Sequence[str],
    producer: bool,
    consumer: bool,
    dry_run: bool,
) -> None:
    from clusters.admin import Acl

    resources = _resources(topic, group, cluster, transactional_id, user, delegation_token)
    _check_shorthand(resources, operation, deny=deny, producer=producer, consumer=consumer)
    pairs = list(_pairs(resources, operation, producer=producer, consumer=consumer))
    rules = {
        Acl(
            principal=who,
            permission="deny" if deny else "allow",
            operation=word,
            resource=kind,
            name=name,
            pattern="prefixed" if prefixed and kind != "cluster" else "literal",
            host=source,
        )
        for who in _principals(principals)
        for source in host or ("*",)
        for (kind, name), word in pairs
    }
    async with session.admin() as admin:
        there = set(await admin.acls())
        missing = sorted(rules - there)
        if not dry_run:
            await admin.create_acls(missing)
    done = "would be added" if dry_run else "added"
    results = {acl: "already there" if acl in there else done for acl in sorted(rules)}
    _show(session, sorted(rules), results)
    session.output.say(
        f"{len(missing)} rules would be added; nothing was changed."
        if dry_run
        else f"Added {len(missing)} rules; {len(rules) - len(missing)} were there already."
    )


def _check_shorthand(
    resources: Sequence[Resource],
    operation: Sequence[str],
    *,
    deny: bool,
    producer: bool,
    consumer: bool,
) -> None:
    kinds = {kind for kind, _ in resources}
    if not resources:
        raise UsageProblem(
            "No resource is named.", hint="Give --topic, --group, --cluster, --transactional-id..."
        )
    if not producer and not consumer:
        if not operation:
            raise UsageProblem(
                "No operation is named.", hint="Give --operation, or --producer or --consumer."
            )
        return
    if operation or deny:
        raise UsageProblem("--producer and --consumer stand for what is allowed, and all of it.")
    if producer and not kinds & set(_PRODUCES):
        raise UsageProblem("--producer needs --topic or --transactional-id.")
    if consumer and not kinds >= set(_CONSUMES):
        raise UsageProblem("--consumer needs --topic and --group.")
    known = set(_PRODUCES if producer else ()) | set(_CONSUMES if consumer else ())
    if not kinds <= known:
        raise UsageProblem(f"These shorthands are for {', '.join(sorted(known))} alone.")


def _pairs(
    resources: Sequence[Resource], operation: Sequence[str], *, producer: bool, consumer: bool
) -> Iterator[tuple[Resource, str]]:
    """Each resource with each operation. Raises UsageProblem for those that have no meaning."""
    from clusters.admin.acl_model import OPERATIONS_OF

    for resource in resources:
        words = [*operation]
        words += _PRODUCES.get(resource[0], ()) if producer else ()
        words += _CONSUMES.get(resource[0], ()) if consumer else ()
        for word in words:
            allowed = OPERATIONS_OF[resource[0]]
            if word not in allowed:
                raise UsageProblem(
                    f"'{word}' means nothing on a {resource[0]}; there are {', '.join(allowed)}."
                )
            yield resource, word


async def _remove(
    session: Session,
    *,
    principals: Sequence[str],
    topic: Sequence[str],
    group: Sequence[str],
    cluster: bool,
    transactional_id: Sequence[str],
    user: Sequence[str],
    delegation_token: Sequence[str],
    operation: Sequence[str],
    permission: str | None,
    host: str | None,
    pattern: str | None,
    dry_run: bool,
) -> None:
    resources = _resources(topic, group, cluster, transactional_id, user, delegation_token)
    wanted = _Wanted(
        principals=_principals(principals),
        resources=resources,
        operations=operation,
        permission=permission,
        host=host,
        # Without a name there is nothing to be literal about.
        pattern=pattern or ("literal" if resources else "any"),
    )
    if not (resources or principals or operation or permission or host):
        raise UsageProblem(
            "Say which rules: a principal, a resource, an operation, a host or a permission.",
            hint="`logctl acl list` shows all of them.",
        )
    async with session.admin() as admin:
        acls = await _found(admin, wanted)
        own = admin.principal
    if not acls or dry_run:
        _show(session, acls, dict.fromkeys(acls, "would be removed"))
        session.output.say(f"{len(acls)} rules would be removed; nothing was changed.")
        return
    listed = "\n".join(f"  {acl}" for acl in acls)
    confirm(session, f"This removes {len(acls)} rules:\n{listed}{_warning(acls, own)}")
    async with session.admin() as admin:
        removed = set(await admin.delete_acls(acls))
    _show(session, acls, {a: "removed" if a in removed else "gone already" for a in acls})
    session.output.say(f"Removed {len(removed)} rules.")


def _warning(acls: Sequence[Acl], own: str | None) -> str:
    """What to fear when rules go by which the one who asks may be here."""
    mine = {own, "User:*"}
    if own is not None and not any(a.principal in mine and a.permission == "allow" for a in acls):
        return ""
    if own is None:
        return "\nOnly the brokers know your own principal: see that none of these let you in."
    return f"\nSome of them hold for {own}, as whom you are connected: you may lock yourself out."


_RESOURCES = (
    Option(("--topic",), "A topic, or * for all; may repeat.", kind=Kind.TOPIC, many=True),
    Option(("--group",), "A group, or * for all; may repeat.", kind=Kind.GROUP, many=True),
    Option(("--cluster",), "The cluster as a whole.", kind=Kind.FLAG),
    Option(("--transactional-id",), "A transactional id; may repeat.", many=True, metavar="ID"),
    Option(("--user",), "A user, for tokens of others; may repeat.", Kind.USER, many=True),
    Option(("--delegation-token",), "A delegation token; may repeat.", many=True, metavar="ID"),
)
_OPERATION = Option(
    ("--operation",),
    "What may be done; may repeat.",
    kind=Kind.CHOICE,
    choices=OPERATIONS,
    many=True,
    metavar="OPERATION",
)
_FILTERS = (
    *_RESOURCES,
    _OPERATION,
    Option(
        ("--permission",),
        "Only rules that allow, or that deny.",
        kind=Kind.CHOICE,
        choices=PERMISSIONS,
    ),
    Option(("--host",), "Only rules for this address, or '*'.", metavar="ADDRESS"),
)


def _pattern(default: str | None, told: str) -> Option:
    return Option(
        ("--pattern",),
        "How names are meant: literal, prefixed, any (of that very name), match (all rules that "
        f"hold for it: its own, prefixes, *); default {told}.",
        kind=Kind.CHOICE,
        choices=PATTERNS,
        default=default,
    )


_DRY_RUN = Option(("--dry-run",), "Only show what would be done.", kind=Kind.FLAG)

COMMANDS = (
    Command(
        name="acl list",
        summary="List access rules: who may do what, on which resource, from where.",
        details="With a resource, all rules that hold for it: those of its name, of prefixes of "
        "it, and of *. A principal without a type, such as alice, is User:alice.",
        options=(
            Option(
                ("--principal",), "Only of this principal; may repeat.", Kind.PRINCIPAL, many=True
            ),
            *_FILTERS,
            _pattern("match", "match"),
        ),
        examples=(
            "acl list",
            "acl list --topic orders",
            "acl list --principal User:billing --operation read",
        ),
        run=_list,
    ),
    Command(
        name="acl add",
        summary="Allow or deny operations on resources.",
        details="--producer allows to write, describe and create topics and to use transactional "
        "ids; --consumer to read and describe topics and to read as a group. What is denied wins "
        "over what is allowed.",
        arguments=(
            Argument(
                "PRINCIPALS",
                "Who, as in User:alice; alice alone is a user.",
                Kind.PRINCIPAL,
                many=True,
            ),
        ),
        options=(
            *_RESOURCES,
            _OPERATION,
            Option(("--deny",), "Deny it, instead of allowing it.", kind=Kind.FLAG),
            Option(("--prefixed",), "Names stand for all that begin with them.", kind=Kind.FLAG),
            Option(
                ("--host",),
                "From this address alone (default: from any); may repeat.",
                many=True,
                metavar="ADDRESS",
            ),
            Option(("--producer",), "What a producer needs.", kind=Kind.FLAG),
            Option(("--consumer",), "What a consumer needs.", kind=Kind.FLAG),
            _DRY_RUN,
        ),
        examples=(
            "acl add User:shop --producer --topic orders",
            "acl add User:billing --consumer --topic orders --group billing",
            "acl add User:audit --operation read --topic pay --prefixed --host 10.0.0.7",
            "acl add User:guest --deny --operation all --topic payments --dry-run",
        ),
        run=_add,
        changes=True,
    ),
    Command(
        name="acl remove",
        summary="Remove access rules.",
        details="Shows the rules that go and asks before they do. Exactly those are removed that "
        "were shown.",
        arguments=(
            Argument("PRINCIPALS", "Only of these.", Kind.PRINCIPAL, required=False, many=True),
        ),
        options=(*_FILTERS, _pattern(None, "literal, without a resource any"), _DRY_RUN),
        examples=(
            "acl remove User:guest --topic payments",
            "acl remove User:audit --topic pay --pattern prefixed --yes",
            "acl remove User:leaver --dry-run",
        ),
        run=_remove,
        changes=True,
    ),
)
