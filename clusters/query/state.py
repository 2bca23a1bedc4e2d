"""What conditions are asked about: rows of plain values, and what could not be found out.

A value is a number, text, true or false, a tuple (a set), None for "there is none", or UNKNOWN for
"nobody could say". Sizes are bytes, durations milliseconds, times milliseconds since 1970.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final


class _Unknown:
    """A value that could not be found out: no comparison with it is true or false."""

    def __repr__(self) -> str:
        return "unknown"

    def __bool__(self) -> bool:
        raise TypeError("an unknown value is neither true nor false")


UNKNOWN: Final = _Unknown()
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of one kind. `missing` says, for the reader, which rows may be left out and why."""

    rows: tuple[Row, ...] = ()
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ClusterState:
    """Tables by name, as of `at_ms` (since 1970). A table that is not there is unknown as a whole.

    `problems` says what could not be found out about rows that are there.
    """

    tables: Mapping[str, Table] = field(default_factory=dict)
    at_ms: int = 0
    problems: tuple[str, ...] = ()

    def table(self, name: str) -> Table:
        """The table of that name."""
        found = self.tables.get(name)
        return Table(missing=(f"nobody told of {name}",)) if found is None else found
