"""Follows a condition on the cluster: a line when a row begins to fit, and when it ceases."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

from shell.exits import Failed
from shell.session import Session

if TYPE_CHECKING:
    from clusters.query import Query, Row

_PAUSE_MS = 1_000


async def follow_rows(session: Session, query: Query, limit: int | None) -> None:
    """Print changes of the rows (or of the verdict) for ever, or until there were `limit`."""
    from broker.protocol.errors import LogctlError
    from clusters.query import ClusterState, Steady
    from shell.nudges import Nudges
    from shell.observing import observe

    steady = Steady(query)
    before: dict[Any, Row] = {}
    verdict_before: object = "nothing yet"
    told: tuple[str, ...] = ()
    count = 0
    async with Nudges(session) as nudges:
        while True:
            asked_at = time.monotonic()
            try:
                state = await observe(session, [query])
            except (Failed, LogctlError) as error:
                # Nobody answers: the watch goes on, and nothing counts as held meanwhile.
                state = ClusterState({}, time.time_ns() // 1_000_000, (str(error).splitlines()[0],))
            missing = tuple(query.missing(state))
            if missing != told:
                told = missing
                for problem in missing or ("everything answers again",):
                    session.output.say(problem, "dim")
            if query.table is not None:
                rows = {_key(query, row): row for row in steady.rows(state)}
                changes = [("begins", rows[key]) for key in rows if key not in before]
                # While something is unknown a row that is not told may well still fit.
                if not missing:
                    now = {_key(query, row): row for row in state.table(query.table).rows}
                    gone = [key for key in before if key not in rows]
                    changes += [("ends", now.get(key, before[key])) for key in gone]
                    before = rows
                else:
                    before = {**before, **rows}
            else:
                verdict = steady.take(state)
                changes = []
                if verdict != verdict_before:
                    changes = [({True: "holds", False: "fails", None: "unknown"}[verdict], {})]
                verdict_before = verdict
            for change, row in changes:
                _tell(session, query, state.at_ms, change, row)
                count += 1
                if limit is not None and count >= limit:
                    return
            await nudges.pause(_PAUSE_MS, round((time.monotonic() - asked_at) * 1000))


def _key(query: Query, row: Row) -> Any:
    from clusters.query import TABLES

    assert query.table is not None
    return tuple(row.get(name) for name in TABLES[query.table].keys)


def _tell(session: Session, query: Query, at_ms: int, change: str, row: Row) -> None:
    from clusters.watch.events import iso_time
    from shell.observing import shown_row

    at = iso_time(at_ms)
    data = {
        "at": at,
        "change": change,
        "condition": str(query),
        "row": shown_row(row, query) or None,
    }
    session.output.line(data, partial(_line, session, query, at, change, row))


def _line(session: Session, query: Query, at: str, change: str, row: Row) -> str:
    from clusters.query import TABLES
    from shell.observing import cell, kind_of

    tone = {"begins": "warn", "fails": "warn", "ends": "good", "holds": "good"}.get(change, "note")
    painted = session.output.paint(f"{change:<7}", tone)
    if query.table is None:
        return f"{at[11:]}  {painted} {query}"
    schema = TABLES[query.table]
    name = " ".join(str(row.get(key)) for key in schema.keys if row.get(key) is not None)
    fields = [field for field in sorted(query.fields) if field not in schema.keys]
    values = ", ".join(f"{field} {cell(row.get(field), kind_of(query, field))}" for field in fields)
    return f"{at[11:]}  {painted} {schema.one} {name}  {values}".rstrip()
