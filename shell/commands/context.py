"""Contexts: saved clusters by name, and the one in use."""

from __future__ import annotations

from shell.exits import Failed, UsageProblem
from shell.nearest import did_you_mean
from shell.output import Cell, Facts, Table
from shell.registry import Argument, Command, Kind
from shell.session import Session
from shell.values import parse_bootstrap

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
            }
            for context in contexts.values()
        ],
        lambda: [
            Table(
                ("CURRENT", "NAME", "BOOTSTRAP", "SPEC"),
                [
                    (
                        Cell("*", "good") if context.name == current_name else "",
                        context.name,
                        list(context.bootstrap),
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


def _add(session: Session, *, name: str, addresses: str) -> None:
    from clusters.state import Context

    bootstrap = parse_bootstrap(addresses)
    session.doors.save_context(Context(name=name, bootstrap=bootstrap, spec_path=None))
    session.output.say(f"Saved context {name}. Use it with `context use {name}`.")


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
    session.output.document(
        {
            "name": context.name,
            "bootstrap": list(context.bootstrap),
            "spec": context.spec_path,
        },
        lambda: [
            Facts(
                [
                    ("name", context.name),
                    ("bootstrap", list(context.bootstrap)),
                    ("spec", context.spec_path),
                ]
            )
        ],
    )


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
        arguments=(
            Argument("NAME", "A name of your choice."),
            Argument("ADDRESSES", "HOST:PORT[,HOST:PORT...] to connect to first."),
        ),
        examples=("context add staging 10.0.0.11:9092,10.0.0.12:9092",),
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
)
