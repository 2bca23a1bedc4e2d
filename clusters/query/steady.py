"""Conditions that must hold for a while: remembers since when each row, or the whole, holds. Pure.

Time comes with the states. What is unknown counts as not holding, so that a cluster that did not
answer has to hold the whole time again.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field

from clusters.query.evaluation import Verdict
from clusters.query.query import Query
from clusters.query.schema import TABLES
from clusters.query.state import ClusterState, Row


@dataclass(slots=True)
class Steady:
    """Follows one condition through states that are given in the order of time."""

    query: Query
    for_ms: int = field(init=False)
    _since: dict[Hashable, int] = field(default_factory=dict, init=False)
    _whole_since: int | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.for_ms = self.query.for_ms or 0

    def take(self, state: ClusterState) -> Verdict:
        """Whether the condition has held for its time, as of this state."""
        if self.query.table is not None:
            if any(self.rows(state)):
                return True
            return None if self.query.holds(state) is None else False
        verdict = self.query.holds(state)
        if verdict is not True:
            self._whole_since = None
            return verdict
        if self._whole_since is None:
            self._whole_since = state.at_ms
        return state.at_ms - self._whole_since >= self.for_ms

    def rows(self, state: ClusterState) -> list[Row]:
        """The rows that have held for the time, as of this state."""
        found = self.query.rows(state)
        keys = [self._key(row) for row in found]
        self._since = {key: self._since.get(key, state.at_ms) for key in keys}
        return [
            row
            for row, key in zip(found, keys, strict=True)
            if state.at_ms - self._since[key] >= self.for_ms
        ]

    def held_ms(self, state: ClusterState) -> int:
        """For how long it has held so far: the longest of its rows, or the whole."""
        since = [*self._since.values()]
        if self._whole_since is not None:
            since.append(self._whole_since)
        return state.at_ms - min(since) if since else 0

    def _key(self, row: Row) -> Hashable:
        if self.query.table is None:
            return tuple(sorted((name, str(value)) for name, value in row.items()))
        return tuple(row.get(name) for name in TABLES[self.query.table].keys)
