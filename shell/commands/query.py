"""Asks a condition of the cluster: its rows, or whether it holds."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from shell.exits import ExitCode, UsageProblem
from shell.observing import cell, kind_of, observe, read_condition, shown_row
from shell.output import Table
from shell.registry import Argument, Command, Kind, Option
from shell.session import Session

if TYPE_CHECKING:
    from clusters.query import ClusterState, Query, Row

_PAUSE_S = 1.0


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
