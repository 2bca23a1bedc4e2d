"""Asks a condition of the cluster: its rows, or whether it holds."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from shell.asking import tell_limited
from shell.exits import ExitCode, UsageProblem
from shell.output import Table
from shell.registry import Argument, Command, Kind, Option
from shell.session import Session

if TYPE_CHECKING:
    from clusters.query import ClusterState, Query, Row
    from clusters.watch.events import ClusterEvent

_EVENTS_WAIT_S = 5
_PAUSE_S = 1.0
# What brokers leave out without a word, where access rules keep it from who asks.
_LIMITED_TABLES = {"topics": "topic", "partitions": "topic", "groups": "group", "lags": "group"}


async def _query(
    session: Session, *, condition: Sequence[str], fail_if_any: bool, assert_: bool, fields: bool
) -> ExitCode:
    if fields:
        return _show_fields(session)
    if not condition:
        raise UsageProblem(
            "A condition is missing, such as: partitions where isr < min_isr.",
            hint="--fields shows what can be asked about.",
        )
    query = read_condition(" ".join(condition))
    state, rows, verdict = await _asked(session, query)
    whole = query.table is None
    for problem in query.missing(state):
        session.output.warn(problem)
    data = [shown_row(row, query) for row in rows]
    if whole:
        answer = {True: "true", False: "false", None: "unknown"}[verdict]
        session.output.document(
            {"condition": str(query), "holds": verdict, "rows": data},
            lambda: [Table(("HOLDS", "CONDITION"), [(answer, str(query))]), *_tables(query, rows)],
        )
    else:
        session.output.document(data, lambda: _tables(query, rows))
        doubtful = query.doubtful(state)
        if not (rows or doubtful or query.missing(state)):
            session.output.say(f"No {query.table} are like that.", "dim")
        if doubtful:
            session.output.warn(f"of {len(doubtful)} more rows nobody can say whether they fit")
    return _code(whole, verdict, rows, fail_if_any, assert_)


def _show_fields(session: Session) -> ExitCode:
    """Every table and field, with what it is."""
    from clusters.query import TABLES

    rows = [
        (table.name, field.name, str(field.type), ", ".join(field.choices) or field.help)
        for table in TABLES.values()
        for field in table.fields
    ]
    names = ("table", "field", "type", "help")
    session.output.document(
        [dict(zip(names, row, strict=True)) for row in rows],
        lambda: [Table(tuple(name.upper() for name in names), rows)],
    )
    return ExitCode.DONE


def _code(
    whole: bool, verdict: bool | None, rows: Sequence[Row], fail_if_any: bool, assert_: bool
) -> ExitCode:
    if verdict is None:
        return ExitCode.UNHEALTHY
    if fail_if_any and (rows if not whole else verdict):
        return ExitCode.DIFFERENCES
    if assert_ and not verdict:
        return ExitCode.DIFFERENCES
    return ExitCode.DONE


async def _asked(session: Session, query: Query) -> tuple[ClusterState, list[Row], bool | None]:
    """One state; for a condition that must last, states until its time is over."""
    from clusters.query import Steady

    steady = Steady(query)
    while True:
        state = await observe(session, [query])
        verdict = steady.take(state)
        rows = steady.rows(state) if query.table is not None else query.rows(state)
        held_ms = steady.held_ms(state)
        holds_now = query.holds(state) is True
        if verdict is True or not holds_now or held_ms >= steady.for_ms:
            return state, rows, verdict
        session.output.progress(f"held for {held_ms // 1000} s of {query.for_text}")
        await asyncio.sleep(_PAUSE_S)


async def observe(session: Session, queries: Sequence[Query]) -> ClusterState:
    """The state that some conditions ask about, events of the past among it."""
    from clusters.query.collecting import collect

    wants_events = any("events" in query.tables for query in queries)
    past = await _past_events(session) if wants_events else None
    if all(query.tables == {"events"} for query in queries):
        return await collect(None, queries, events=past)  # type: ignore[arg-type]
    async with session.admin() as admin:
        state = await collect(admin, queries, events=past)
        asked = {name for query in queries for name in query.tables}
        for table, kind in _LIMITED_TABLES.items():
            if table in asked:
                await tell_limited(session, admin, kind, empty=True, verb="looked at")
        return state


async def _past_events(session: Session) -> list[ClusterEvent] | None:
    """What the metadata log still tells, or None where it cannot be read."""
    found: list[ClusterEvent] = []
    with contextlib.suppress(TimeoutError):
        async with (
            asyncio.timeout(_EVENTS_WAIT_S),
            session.feed(from_start=True) as feed,
        ):
            async for update in feed.updates():
                if update.status.mode == "sampled":
                    return None
                found += update.events
                if update.status.mode in ("live", "slow") and not update.replaying:
                    return found
    return None


def read_condition(text: str, *, table: str | None = None) -> Query:
    """A condition given on the command line; raises UsageProblem with its place."""
    from clusters.query import QueryError, parse

    try:
        return parse(text, table=table)
    except QueryError as error:
        raise UsageProblem(str(error), hint="See docs/query-language.md.") from None


def shown_row(row: Row, query: Query) -> dict[str, Any]:
    """A row as plain data: sets are lists, what nobody could say is the text `unknown`.

    Only what the condition names was asked for; of the rest what is known anyway is shown.
    """
    from clusters.query import UNKNOWN

    return {
        name: "unknown" if value is UNKNOWN else list(value) if isinstance(value, tuple) else value
        for name, value in row.items()
        if value is not UNKNOWN or name in query.fields
    }


def _tables(query: Query, rows: Sequence[Row]) -> list[Table]:
    from clusters.query import TABLES

    if not rows:
        return []
    names = sorted(query.tables)
    keys = TABLES[query.table or names[0]].keys if len(names) == 1 else ()
    columns = [name for name in keys if name in rows[0]]
    columns += [name for name in rows[0] if name not in columns and name in query.fields]
    extra = ("leader", "replicas", "isr", "state", "lag")
    columns += [name for name in extra if name in rows[0] and name not in columns]
    return [
        Table(
            tuple(name.replace("_", " ").upper() for name in columns),
            [tuple(cell(row.get(name), kind_of(query, name)) for name in columns) for row in rows],
        )
    ]


def kind_of(query: Query, name: str) -> str:
    """What a field of the asked tables is."""
    from clusters.query import TABLES

    found = [TABLES[table].field(name) for table in sorted(query.tables)]
    return next((str(field.type) for field in found if field is not None), "")


def cell(value: Any, kind: str = "") -> object:
    """A value for a table; `kind` is the type of its field."""
    from clusters.query import UNKNOWN
    from shell.values import format_bytes, format_duration, format_time

    if value is UNKNOWN:
        return "?"
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    shown = {"size": format_bytes, "duration": format_duration, "time": format_time}.get(kind)
    if shown is not None and isinstance(value, int):
        return shown(value)
    return ",".join(map(str, value)) if isinstance(value, tuple) else value


COMMANDS = (
    Command(
        name="query",
        summary="Ask a condition of the cluster: its rows, or whether it holds.",
        details="The language is that of wait, assert, watch --where and list filters; one page "
        "of it is docs/query-language.md. What nobody could tell is said, and never taken for "
        "healthy: exit code 10.",
        arguments=(
            Argument(
                "CONDITION", "As in: partitions where isr < min_isr.", Kind.QUERY, False, True
            ),
        ),
        options=(
            Option(("--fields",), "Show the tables and fields to ask about.", kind=Kind.FLAG),
            Option(("--fail-if-any",), "Exit code 3 when there is a row.", kind=Kind.FLAG),
            Option(("--assert",), "Exit code 3 when it does not hold.", kind=Kind.FLAG),
        ),
        examples=(
            "query 'partitions where isr < min_isr and leader = 3'",
            "query 'groups where lag > 1000 for 1m'",
            "query --assert 'count(brokers where state = up) = 3'",
            "query --fail-if-any 'partitions where offline'",
            "query --fields",
        ),
        run=_query,
    ),
)
