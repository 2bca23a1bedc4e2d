"""The options every command understands, and where their values come from.

Order: the command line, then LOGCTL_* in the environment, then the context. Must never contact a
cluster; reads nothing but what it is handed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shell.exits import UsageProblem
from shell.nearest import did_you_mean
from shell.output import FORMATS, RECORD_FORMATS, TABLE
from shell.registry import Kind, Option
from shell.values import parse_bootstrap, parse_duration_ms

DEFAULT_TIMEOUT_MS = 10_000

GLOBAL_OPTIONS: tuple[Option, ...] = (
    Option(("--context",), "Use this saved context instead of the current one.", kind=Kind.CONTEXT),
    Option(
        ("--bootstrap",),
        "Brokers to connect to first, HOST:PORT[,HOST:PORT...].",
        metavar="HOST:PORT",
    ),
    Option(
        ("--format",),
        "Write data as table, json or yaml.",
        kind=Kind.CHOICE,
        choices=(*FORMATS, *RECORD_FORMATS),
        metavar="FORMAT",
    ),
    Option(
        ("--columns",),
        "Show only these columns of tables, in this order.",
        kind=Kind.TEXT,
        metavar="NAME[,NAME...]",
    ),
    Option(("--sort",), "Sort tables by a column; -NAME has the largest first.", metavar="[-]NAME"),
    Option(("--yes",), "Answer yes to questions; for scripts.", kind=Kind.FLAG),
    Option(("--read-only",), "Refuse every command that changes something.", kind=Kind.FLAG),
    Option(
        ("--timeout",), "Give up after this long (default 10s).", kind=Kind.DURATION, metavar="TIME"
    ),
    Option(("--no-color",), "Write without colours, as NO_COLOR does.", kind=Kind.FLAG),
    Option(("--debug",), "Show log lines, and the traceback of an internal error.", kind=Kind.FLAG),
)

_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"", "0", "false", "no", "off"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Resolved global options. `bootstrap` is None when only a context can tell it."""

    context: str | None = None
    bootstrap: tuple[str, ...] | None = None
    format: str = TABLE
    columns: tuple[str, ...] = ()
    sort: str | None = None
    yes: bool = False
    read_only: bool = False
    timeout_ms: int = DEFAULT_TIMEOUT_MS
    color: bool = True
    debug: bool = False


def resolve(given: Mapping[str, Any], environ: Mapping[str, str]) -> Settings:
    """Return the settings of options (by name, None when not given) over the environment.

    Raises UsageProblem for a value that does not fit, naming its variable.
    """
    bootstrap = given.get("bootstrap") or environ.get("LOGCTL_BOOTSTRAP") or None
    timeout_ms = given.get("timeout")
    if timeout_ms is None and environ.get("LOGCTL_TIMEOUT"):
        timeout_ms = parse_duration_ms(environ["LOGCTL_TIMEOUT"])
    if timeout_ms is not None and timeout_ms < 1:
        raise UsageProblem("The time limit (--timeout) is more than nothing, such as 10s.")
    no_color = _flag(given, environ, "no_color") or bool(environ.get("NO_COLOR"))
    # A bootstrap on the command line outranks a context that only the environment names.
    context = given.get("context")
    if context is None and not given.get("bootstrap"):
        context = environ.get("LOGCTL_CONTEXT") or None
    if given.get("context") and not given.get("bootstrap"):
        bootstrap = None
    return Settings(
        context=context,
        bootstrap=tuple(parse_bootstrap(bootstrap)) if bootstrap else None,
        format=given.get("format") or _environment_format(environ),
        columns=tuple(name.strip() for name in (given.get("columns") or "").split(",") if name),
        sort=given.get("sort"),
        yes=_flag(given, environ, "yes"),
        read_only=_flag(given, environ, "read_only"),
        timeout_ms=DEFAULT_TIMEOUT_MS if timeout_ms is None else timeout_ms,
        color=not no_color and environ.get("TERM") != "dumb",
        debug=_flag(given, environ, "debug"),
    )


def _environment_format(environ: Mapping[str, str]) -> str:
    value = environ.get("LOGCTL_FORMAT") or TABLE
    if value not in FORMATS:
        raise UsageProblem(
            f"LOGCTL_FORMAT is '{value}'; it can be {', '.join(FORMATS)}."
            + did_you_mean(value, FORMATS)
        )
    return value


def is_true(text: str) -> bool:
    """Return whether a variable of the environment says yes; anything unknown is no."""
    return text.strip().lower() in _TRUE


def _flag(given: Mapping[str, Any], environ: Mapping[str, str], name: str) -> bool:
    if given.get(name):
        return True
    variable = f"LOGCTL_{name.upper()}"
    value = environ.get(variable, "").strip().lower()
    if value not in _TRUE | _FALSE:
        raise UsageProblem(f"{variable} is '{value}'; write 1 or 0.")
    return value in _TRUE
