"""What a condition asks of a cluster: the state that answers it, its rows as data and as cells.

For commands, runbooks and waits alike. It must never take for so what nobody could tell.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from shell.asking import tell_limited
from shell.exits import UsageProblem
from shell.session import Session

if TYPE_CHECKING:
    from clusters.query import ClusterState, Query, Row
    from clusters.watch.events import ClusterEvent

_EVENTS_WAIT_S = 5
# What brokers leave out without a word, where access rules keep it from who asks.
_LIMITED_TABLES = {"topics": "topic", "partitions": "topic", "groups": "group", "lags": "group"}


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


def rows_where(rows: Sequence[Any], keep: set[Any], key: Callable[[Any], Any]) -> list[Any]:
    """Those rows whose key a condition kept."""
    return [row for row in rows if key(row) in keep]


async def keys_where(session: Session, text: str, table: str) -> set[Any]:
    """Keys of a table's rows for which a condition holds; one value, or a tuple of several.

    Raises UsageProblem for a condition that cannot be read. Rows nobody can judge are told.
    """
    from clusters.query import TABLES

    query = read_condition(text, table=table)
    state = await observe(session, [query])
    for problem in query.missing(state):
        session.output.warn(problem)
    names = TABLES[table].keys
    found = [tuple(row[name] for name in names) for row in query.rows(state)]
    return {each[0] if len(each) == 1 else each for each in found}
