"""Contexts: saved clusters by name, and the one in use."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from shell.exits import Failed, UsageProblem
from shell.nearest import did_you_mean
from shell.output import Cell, Facts, Table
from shell.registry import Argument, Command, Kind, Option
from shell.session import Session
from shell.values import parse_bootstrap

if TYPE_CHECKING:
    from clusters.state import Context

_NAME = Argument("NAME", "The context's name.", kind=Kind.CONTEXT)


def _list(session: Session) -> None:
    contexts = session.doors.contexts()
    current = session.doors.current_context()
    current_name = current.name if current is not None else None
    if not contexts:
        session.output.say("No context is saved.", "dim")
    session.output.document(
        [
            {
                "name": context.name,
                "current": context.name == current_name,
                "bootstrap": list(context.bootstrap),
                "spec": context.spec_path,
                "read_only": context.read_only,
                "cluster_id": getattr(context, "cluster_id", None),
            }
            for context in contexts.values()
        ],
        lambda: [
            Table(
                ("CURRENT", "NAME", "BOOTSTRAP", "CHANGES", "SPEC"),
                [
                    (
                        Cell("*", "good") if context.name == current_name else "",
                        context.name,
                        list(context.bootstrap),
                        Cell("refused", "warn") if context.read_only else "allowed",
                        context.spec_path,
                    )
                    for context in contexts.values()
                ],
            )
        ],
    )


def _use(session: Session, *, name: str) -> None:
    _known(session, name)
    session.doors.use_context(name)
    session.output.say(f"Current context: {name}.")


def _known(session: Session, name: str) -> None:
    known = session.doors.contexts()
    if name not in known:
        raise UsageProblem(
            f"There is no context '{name}'." + did_you_mean(name, known),
            hint="See `logctl context list`.",
        )


async def _add(
    session: Session,
    *,
    name: str,
    addresses: str,
    changes: str,
    pin: bool,
    cluster_id: str | None,
    color: str | None,
    property: Sequence[tuple[str, str]],  # noqa: A002 - the option's name
    secret: Sequence[tuple[str, str]],
    spec: str | None,
) -> None:
    from clusters.admin.security import SECRET_PROPERTIES, check_properties
    from clusters.secret_sources import check_source
    from clusters.state import Context

    if not name.strip() or not name.isprintable():
        raise UsageProblem("A context's name is words that can be printed, and not empty.")
    bootstrap = parse_bootstrap(addresses)
    for key, source in secret:
        check_source(source)
        if key not in SECRET_PROPERTIES:
            raise UsageProblem(
                f"'{key}' is no secret property; there are {', '.join(sorted(SECRET_PROPERTIES))}."
            )
    for key, _ in property:
        if key in SECRET_PROPERTIES:
            raise UsageProblem(
                f"{key} is a secret and is not kept in the context.",
                hint=f"Say where it comes from: --secret {key}=env:VARIABLE.",
            )
    check_properties(dict(property) | dict.fromkeys(dict(secret), ""))
    context = Context(
        name=name,
        bootstrap=bootstrap,
        spec_path=_whole_path(spec),
        read_only=changes == "refuse",
        cluster_id=cluster_id,
        color=color,
        properties=dict(property),
        secrets=dict(secret),
    )
    if pin:
        context = replace(context, cluster_id=await _cluster_id(session, context))
        session.output.say(f"Pinned to the cluster {context.cluster_id}.")
    session.doors.save_context(context)
    session.output.say(f"Saved context {name}. Use it with `context use {name}`.")


def _whole_path(path: str | None) -> str | None:
    return None if path is None else os.path.abspath(path)


async def _cluster_id(session: Session, context: Context) -> str:
    """The id of the cluster that answers at a context's addresses now."""
    from clusters.admin.security import read_security
    from clusters.secret_sources import secret

    properties = dict(context.properties)
    for key, source in context.secrets.items():
        properties[key] = secret(key, source, session.doors.environ)
    security = read_security(properties)
    more = {} if security is None else {"security": security}
    timeout_ms = session.settings.timeout_ms
    async with session.doors.admin(context.bootstrap, timeout_ms, **more) as admin:
        return (await admin.cluster()).cluster_id


def _show(session: Session, *, name: str | None) -> None:
    if name is None:
        _current(session)
        return
    _known(session, name)
    _document(session, session.doors.contexts()[name])


def _remove(session: Session, *, name: str) -> None:
    _known(session, name)
    session.doors.remove_context(name)
    session.output.say(f"Removed context {name}; the cluster itself was not touched.")


def _current(session: Session) -> None:
    context = session.context()
    if context is None:
        raise Failed(
            "No context is in use.", hint="See `logctl context list` and `logctl context use NAME`."
        )
    _document(session, context)


def _document(session: Session, context: Context) -> None:
    data = context.to_json()
    pairs: list[tuple[str, object]] = [
        ("name", context.name),
        ("bootstrap", list(context.bootstrap)),
        ("spec", context.spec_path),
        ("changes", Cell("refused", "warn") if context.read_only else "allowed"),
        ("cluster id", context.cluster_id),
        ("color", context.color),
    ]
    pairs += [(f"property {key}", value) for key, value in sorted(context.properties.items())]
    pairs += [(f"secret {key}", f"from {value}") for key, value in sorted(context.secrets.items())]
    session.output.document(data, lambda: [Facts(pairs)])


COMMANDS = (
    Command(
        name="context list",
        summary="List the saved contexts.",
        examples=("context list",),
        run=_list,
    ),
    Command(
        name="context use",
        summary="Make a context the current one.",
        arguments=(_NAME,),
        examples=("context use local",),
        run=_use,
    ),
    Command(
        name="context add",
        summary="Save a context, or replace the one of this name.",
        details="Properties are Kafka's client properties: security.protocol, ssl.* with PEM "
        "files, sasl.* with PLAIN or SCRAM. Kerberos, OAUTHBEARER and Java keystores are not "
        "supported.",
        arguments=(
            Argument("NAME", "A name of your choice."),
            Argument("ADDRESSES", "HOST:PORT[,HOST:PORT...] to connect to first."),
        ),
        options=(
            Option(
                ("--changes",),
                "Whether commands may change that cluster (default allow).",
                kind=Kind.CHOICE,
                choices=("allow", "refuse"),
                default="allow",
                metavar="WHETHER",
            ),
            Option(("--pin",), "Ask for the cluster's id; refuse any other later.", Kind.FLAG),
            Option(("--cluster-id",), "The id to refuse any other than.", metavar="ID"),
            Option(
                ("--color",),
                "The colour that the shell shows it in.",
                kind=Kind.CHOICE,
                choices=("red", "yellow", "green", "blue", "magenta", "cyan"),
                metavar="COLOR",
            ),
            Option(
                ("--property",),
                "A client property, as security.protocol=SASL_SSL; may repeat.",
                kind=Kind.PAIR,
                many=True,
            ),
            Option(
                ("--secret",),
                "Where a secret comes from: sasl.password=env:NAME; or file:PATH, command:PROGRAM.",
                kind=Kind.PAIR,
                many=True,
            ),
            Option(("--spec",), "The cluster file that it is run from.", Kind.SPEC),
        ),
        examples=(
            "context add staging 10.0.0.11:9092,10.0.0.12:9092",
            "context add production 10.0.1.11:9092 --changes refuse --pin --color red",
            "context add secured kafka-1.example.com:9093 --property security.protocol=SSL",
        ),
        run=_add,
    ),
    Command(
        name="context remove",
        summary="Forget a context; the cluster itself is not touched.",
        arguments=(_NAME,),
        examples=("context remove staging",),
        run=_remove,
    ),
    Command(
        name="context current",
        summary="Show the context in use.",
        examples=("context current",),
        run=_current,
    ),
    Command(
        name="context show",
        summary="Show a context: addresses, protection, properties, and where secrets come from.",
        arguments=(
            Argument("NAME", "The context; the one in use without.", Kind.CONTEXT, required=False),
        ),
        examples=("context show", "context show production"),
        run=_show,
    ),
)
