"""Whether a condition holds: true, false, or None when what is known does not tell. Pure.

Three-valued (Kleene): an unknown value never makes a condition true or false by itself, so a
cluster that does not answer is never taken for a healthy one.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from clusters.query.state import UNKNOWN, ClusterState, Row
from clusters.query.tree import (
    Added,
    Aggregate,
    Both,
    Compare,
    Condition,
    Every,
    FieldRef,
    ListOf,
    Literal,
    Measured,
    Not,
    Now,
    Operand,
    Rows,
    Source,
    Truth,
)
from clusters.query.values import any_quantity

Verdict = bool | None
_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def conjunction(verdicts: Iterable[Verdict]) -> Verdict:
    """Kleene's `and`."""
    found: Verdict = True
    for verdict in verdicts:
        if verdict is False:
            return False
        if verdict is None:
            found = None
    return found


def disjunction(verdicts: Iterable[Verdict]) -> Verdict:
    """Kleene's `or`."""
    found: Verdict = False
    for verdict in verdicts:
        if verdict is True:
            return True
        if verdict is None:
            found = None
    return found


def negation(verdict: Verdict) -> Verdict:
    """Kleene's `not`."""
    return None if verdict is None else not verdict


# Rows


RowTest = Callable[[Row, int], Verdict]


def row_holds(condition: Condition, row: Row, now_ms: int) -> Verdict:
    """Whether a condition holds for a row; for many rows see `row_test`."""
    return row_test(condition)(row, now_ms)


def row_test(condition: Condition) -> RowTest:
    """`row_holds` for many rows: the tree is gone through once, not for each of them."""
    match condition:
        case Both(word, items):
            tests = [row_test(item) for item in items]
            join = conjunction if word == "and" else disjunction
            return lambda row, now_ms: join(test(row, now_ms) for test in tests)
        case Not(item):
            negated = row_test(item)
            return lambda row, now_ms: negation(negated(row, now_ms))
        case Truth(field):
            return _truth(field.name)
        case Compare(left, sign, right):
            first, second = _reader(left), _reader(right)
            return lambda row, now_ms: _compare(first(row, now_ms), sign, second(row, now_ms))
    raise AssertionError(f"{condition} is not about a row")


def _truth(name: str) -> RowTest:
    def test(row: Row, _: int) -> Verdict:
        value = row.get(name, UNKNOWN)
        return None if value is UNKNOWN else bool(value)

    return test


def _reader(node: Operand) -> Callable[[Row, int], Any]:
    """What gives the value of an operand in a row, at a time."""
    match node:
        case FieldRef(name):
            return lambda row, now_ms: row.get(name, UNKNOWN)
        case Literal(value, _):
            return lambda row, now_ms: value
        case Now():
            return lambda row, now_ms: now_ms
        case ListOf(items):
            values = tuple(item.value for item in items)
            return lambda row, now_ms: values
        case Added(left, sign, right):
            first, second = _reader(left), _reader(right)
            return lambda row, now_ms: _added(first(row, now_ms), sign, second(row, now_ms))


def _added(left: Any, sign: str, right: Any) -> Any:
    if left is UNKNOWN or right is UNKNOWN:
        return UNKNOWN
    if left is None or right is None:
        return None
    left = len(left) if isinstance(left, tuple) else left
    right = len(right) if isinstance(right, tuple) else right
    return left + right if sign == "+" else left - right


def _compare(left: Any, sign: str, right: Any) -> Verdict:
    if left is UNKNOWN or right is UNKNOWN:
        return None
    if sign in {"=", "!="}:
        return _equal(left, right) == (sign == "=")
    if left is None or right is None:
        # "none" is a known value: it is neither smaller nor larger and matches nothing.
        return sign == "!~"
    if sign == "in":
        return any(_equal(left, item) for item in right)
    if sign == "contains":
        if isinstance(left, tuple):
            return any(_equal(item, right) for item in left)
        return str(right) in str(left)
    if sign in {"~", "!~"}:
        return (re.search(str(right), str(left)) is not None) == (sign == "~")
    return _ordered(left, sign, right)


def _equal(left: Any, right: Any) -> bool:
    if isinstance(left, tuple) and isinstance(right, tuple):
        return set(left) == set(right)
    if isinstance(left, tuple) and right is not None:
        return bool(len(left) == right)
    if isinstance(right, tuple) and left is not None:
        return bool(left == len(right))
    return bool(left == right) or _same_setting(left, right)


def _same_setting(left: Any, right: Any) -> bool:
    """Settings are text: 604800000 and "604800000" are one value, and so are true and "true"."""
    if isinstance(left, str) == isinstance(right, str) or left is None or right is None:
        return False
    text, value = (left, right) if isinstance(left, str) else (right, left)
    if isinstance(value, bool):
        return bool(text.casefold() == str(value).casefold())
    return bool(_as_number(text) == value)


def _ordered(left: Any, sign: str, right: Any) -> Verdict:
    left = len(left) if isinstance(left, tuple) else left
    right = len(right) if isinstance(right, tuple) else right
    if isinstance(left, str) or isinstance(right, str):
        first, second = _as_number(left), _as_number(right)
        if first is None or second is None:
            return False
        return _ORDER[sign](first, second)
    return _ORDER[sign](left, right)


def _as_number(value: Any) -> int | float | None:
    if not isinstance(value, str):
        return value if isinstance(value, int | float) else None
    try:
        return int(value) if re.fullmatch(r"-?\d{1,30}", value) else float(value)
    except ValueError:
        pass
    try:
        return any_quantity(value)
    except ValueError:
        return None


# The cluster


@dataclass(frozen=True, slots=True)
class Interval:
    """A number known to lie between two bounds; None when there is no number at all."""

    low: float | None
    high: float | None


def chosen(source: Source, state: ClusterState) -> Iterator[tuple[Row, Verdict]]:
    """Each row with whether it belongs to the source; those that do not are left out."""
    test = None if source.where is None else row_test(source.where)
    for row in state.table(source.table).rows:
        verdict = True if test is None else test(row, state.at_ms)
        if verdict is not False:
            yield row, verdict


def holds(condition: Condition, state: ClusterState) -> Verdict:
    """Whether a condition holds for a cluster."""
    match condition:
        case Both("and", items):
            return conjunction(holds(item, state) for item in items)
        case Both(_, items):
            return disjunction(holds(item, state) for item in items)
        case Not(item):
            return negation(holds(item, state))
        case Rows(quantifier, source):
            found = disjunction([*(v for _, v in chosen(source, state)), *_absent(source, state)])
            return negation(found) if quantifier == "no" else found
        case Every(source, have):
            test = row_test(have)
            return conjunction(
                disjunction([negation(verdict), test(row, state.at_ms)])
                for row, verdict in [*chosen(source, state), *_absent_rows(source, state)]
            )
        case Measured(left, sign, right):
            other = interval(right, state) if isinstance(right, Aggregate) else _point(right.value)
            return _measure(interval(left, state), sign, other)
    raise AssertionError(f"{condition} is not about a cluster")


def _absent(source: Source, state: ClusterState) -> list[Verdict]:
    """One unknown verdict when rows may be left out."""
    return [None] if state.table(source.table).missing else []


def _absent_rows(source: Source, state: ClusterState) -> list[tuple[Row, Verdict]]:
    return [({}, None)] if state.table(source.table).missing else []


def _point(value: Any) -> Interval:
    return Interval(value, value)


def interval(aggregate: Aggregate, state: ClusterState) -> Interval:
    """The bounds of a number made of many rows."""
    rows = list(chosen(aggregate.source, state))
    missing = bool(state.table(aggregate.source.table).missing)
    if aggregate.field is None:
        sure = sum(verdict is True for _, verdict in rows)
        return Interval(sure, math.inf if missing else len(rows))
    values = [row.get(aggregate.field.name, UNKNOWN) for row, _ in rows]
    doubtful = missing or any(verdict is None for _, verdict in rows)
    if doubtful or any(value is UNKNOWN for value in values):
        return Interval(-math.inf, math.inf)
    numbers = [value for value in values if value is not None]
    if aggregate.function == "sum":
        return _point(sum(numbers))
    if not numbers:
        return Interval(None, None)
    return _point(min(numbers) if aggregate.function == "min" else max(numbers))


def _measure(left: Interval, sign: str, right: Interval) -> Verdict:
    if left.low is None or left.high is None or right.low is None or right.high is None:
        # The largest of no rows: not equal to anything, and neither smaller nor larger.
        return sign == "!="
    if sign in {"=", "!="}:
        if left.low == left.high == right.low == right.high:
            return sign == "="
        apart = left.high < right.low or right.high < left.low
        return (sign == "!=") if apart else None
    verdicts = {_ORDER[sign](a, b) for a in (left.low, left.high) for b in (right.low, right.high)}
    return verdicts.pop() if len(verdicts) == 1 else None
