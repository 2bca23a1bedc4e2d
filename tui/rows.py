"""A list of rows that tells what changed in it, so that a table mends its order and never sorts.

Pure. Memory is bounded: a reader that looks too seldom is told to go through all of it. Rows may
only be changed by the methods here; readers must not write.
"""

from collections import deque
from collections.abc import Iterable
from typing import Generic, TypeVar

R = TypeVar("R")
CHANGES_MAX = 1_000


class Rows(list[R], Generic[R]):
    """Rows by place. A place is an index plus `first`, how many rows were dropped before it."""

    def __init__(self, rows: Iterable[R] = ()) -> None:
        super().__init__(rows)
        self.first = 0
        self.version = 0
        # (version, place) of the last changes; what came up to `_since` is no longer known.
        self._changes: deque[tuple[int, int]] = deque()
        self._since = 0

    def put(self, index: int, row: R) -> None:
        """Another row at this index."""
        self[index] = row
        self._note(self.first + index)

    def renew(self, rows: Iterable[R]) -> None:
        """Other rows altogether: readers go through all of them."""
        self[:] = rows
        self.touch()

    def touch(self) -> None:
        """Something that is told of all rows may have changed."""
        self.version += 1
        self._changes.clear()
        self._since = self.version

    def push(self, rows: Iterable[R], keep: int) -> None:
        """More rows at the end; the oldest go when there are more than `keep`."""
        end = self.first + len(self)
        self.extend(rows)
        added = range(end, self.first + len(self))
        if len(self) > keep:
            dropped = len(self) - keep
            del self[:dropped]
            self.first += dropped
        if len(added) > CHANGES_MAX:
            self.touch()
        else:
            for place in added:
                self._note(place)

    def changed_since(self, version: int) -> set[int] | None:
        """Places of rows put or added after `version`; None when all may have changed.

        Places below `first` were dropped, whether they are among these or not.
        """
        if version < self._since:
            return None
        changed = set()
        for at, place in reversed(self._changes):
            if at <= version:
                break
            changed.add(place)
        return changed

    def _note(self, place: int) -> None:
        self.version += 1
        self._changes.append((self.version, place))
        if len(self._changes) > CHANGES_MAX:
            self._since = self._changes.popleft()[0]
