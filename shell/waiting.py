"""Waits until a condition on the cluster holds, for as long as it should, within a limit.

Looks again as soon as the cluster changes, and at regular times besides. A cluster that does not
answer is waited for, too; meanwhile nothing counts as held.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from broker.protocol.errors import LogctlError
from clusters.query import TABLES, ClusterState, Query, Row, Steady
from clusters.watch.status import SystemClock
from shell.exits import ShellError
from shell.nudges import Nudges
from shell.observing import shown_row
from shell.session import Session

WAIT_TIMEOUT_MS = 300_000
EVERY_MS_MIN = 50
# Even at the end of the limit brokers get this long to answer.
LOOK_MS_MIN = 500
_EVIDENCE = 5


async def wait_until(
    session: Session,
    look: Callable[[Session], Awaitable[ClusterState]],
    query: Query,
    *,
    limit_ms: int,
    every_ms: int,
    tell: Callable[[int, str], None],
) -> str | None:
    """Look again and again until `query` holds; None when it did, else what was seen last.

    `look` gets a session whose time limit ends with ours. `tell` gets the milliseconds waited and
    what was seen, after each look that was not enough.
    """
    clock, steady = SystemClock(), Steady(query)
    began_ms = clock.monotonic_ms()
    async with Nudges(session) as nudges:
        while True:
            asked_ms, left_to_hold_ms = clock.monotonic_ms(), every_ms
            left_ms = limit_ms - (asked_ms - began_ms)
            try:
                state = await look(_within(session, left_ms) if limit_ms else session)
            except (ShellError, LogctlError) as error:
                steady, last = Steady(query), str(error).splitlines()[0]
            else:
                verdict = steady.take(state)
                if verdict is True:
                    return None
                last = so_far(query, steady, state, verdict)
                if query.holds(state) is True:
                    left_to_hold_ms = steady.for_ms - steady.held_ms(state)
            now_ms = clock.monotonic_ms()
            left_ms = limit_ms - (now_ms - began_ms)
            if left_ms <= 0:
                return last
            tell(now_ms - began_ms, last)
            pause_ms = max(EVERY_MS_MIN, min(every_ms, left_ms, left_to_hold_ms))
            await nudges.pause(pause_ms, now_ms - asked_ms)


def _within(session: Session, left_ms: int) -> Session:
    """The same session with no more time for an answer than is left."""
    timeout_ms = min(session.settings.timeout_ms, max(LOOK_MS_MIN, left_ms))
    return replace(session, settings=replace(session.settings, timeout_ms=timeout_ms))


def so_far(query: Query, steady: Steady, state: ClusterState, verdict: bool | None) -> str:
    """What stands between a condition and its holding, for the reader."""
    if verdict is None:
        return f"unknown: {missing(query, state)}"
    if query.holds(state) is True:
        return f"holds for {steady.held_ms(state) / 1000:.1f} s"
    return evidence(query, state) or "no such row"


def evidence(query: Query, state: ClusterState) -> str:
    """The first rows that speak for the answer, in short."""
    rows = query.rows(state)
    shown = [_row(query, row) for row in rows[:_EVIDENCE]]
    more = f" and {len(rows) - _EVIDENCE} more" if len(rows) > _EVIDENCE else ""
    return ", ".join(shown) + more


def _row(query: Query, row: Row) -> str:
    keys = next(
        (TABLES[name].keys for name in sorted(query.tables) if set(TABLES[name].keys) <= set(row)),
        (),
    )
    data = shown_row(row, query)
    name = "-".join(str(data[key]) for key in keys if data.get(key) is not None)
    fields = [field for field in sorted(query.fields - set(keys)) if field in data]
    values = ", ".join(f"{field} {data[field]}" for field in fields)
    return f"{name} ({values})" if values else name


def missing(query: Query, state: ClusterState) -> str:
    """Why nobody can tell, in short."""
    return "; ".join(query.missing(state)[:3]) or "not all could be found out"
