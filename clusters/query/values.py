"""Types of operands: which literals and operators fit which field. Pure.

A number with a unit means what its other side needs: `10m` is ten minutes beside a duration and
ten mebibytes beside a size.
"""

from __future__ import annotations

from datetime import UTC, datetime
from fractions import Fraction

from clusters.query.schema import QUANTITIES, SETS, Type
from clusters.units import parse_duration_ms, parse_size_bytes

EQUAL = ("=", "!=")
ORDER = ("<", "<=", ">", ">=")
PATTERN = ("~", "!~")
OPERATORS = (*EQUAL, *ORDER, *PATTERN, "in", "contains")


def operators_of(kind: Type, *, nullable: bool = False) -> tuple[str, ...]:
    """The operators that can follow a field of a type."""
    if kind in QUANTITIES:
        return (*EQUAL, *ORDER, "in")
    if kind in SETS:
        return (*EQUAL, *ORDER, "contains")
    if kind is Type.TEXT:
        return (*EQUAL, *PATTERN, "in", "contains")
    if kind is Type.WORD:
        return (*EQUAL, "in")
    if kind is Type.FLAG:
        return EQUAL
    return OPERATORS


def whole(value: Fraction) -> int | float:
    """A whole number where it is one."""
    return value.numerator if value.denominator == 1 else float(value)


def number(text: str) -> int | float:
    """The number of digits with at most one point."""
    return float(text) if "." in text else int(text)


def quantity(text: str, kind: Type) -> int | float:
    """The value of a number with a unit; raises ValueError for the reader."""
    if kind is Type.DURATION:
        return whole(parse_duration_ms(text))
    if kind is Type.SIZE:
        return whole(parse_size_bytes(text))
    raise ValueError(f"`{text}` has a unit, but this is {described(kind)}")


def any_quantity(text: str) -> int | float:
    """The value of a duration or else a size, beside a setting; raises ValueError."""
    try:
        return whole(parse_duration_ms(text))
    except ValueError:
        return whole(parse_size_bytes(text))


def time_ms(text: str) -> int:
    """Milliseconds since 1970 of an ISO 8601 time, UTC unless it says else; raises ValueError."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"`{text}` is not a time; write 2026-01-31T12:00:00Z") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    try:
        return round(moment.timestamp() * 1000)
    except OverflowError:
        raise ValueError(f"`{text}` is out of range") from None


def described(kind: Type) -> str:
    """A type with its article."""
    return {
        Type.NUMBER: "a plain number",
        Type.SIZE: "a size such as 64MiB",
        Type.DURATION: "a duration such as 10m",
        Type.TIME: "a time such as 2026-01-31T12:00:00Z or now - 5m",
        Type.TEXT: "text",
        Type.WORD: "a word",
        Type.FLAG: "true or false",
        Type.BROKERS: "a set of brokers (or how many)",
        Type.NAMES: "a set of names (or how many)",
        Type.SETTING: "a setting",
    }[kind]
