"""The rows that a table shows, in its order: narrowed, sorted, and mended row by row.

Pure. Going through all rows happens when somebody asks for another order or filter, not when a row
changes. Must always give what sorting all rows anew would give; rows that sort alike keep the order
in which they came.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Generic, TypeVar

from tui.rows import Rows

R = TypeVar("R")
# (what the row sorts by, its place); the place is negative when the order is reversed.
Entry = tuple[Any, int]
_KEY = itemgetter(0)


@dataclass(frozen=True, slots=True)
class Rules(Generic[R]):
    """`within`: rows that there are for this table; `wants`: of those the ones to be shown."""

    sort: Callable[[R], Any] | None = None
    reverse: bool = False
    within: Callable[[R], bool] | None = None
    wants: Callable[[R], bool] | None = None


class Order(Generic[R]):
    """`shown` is what is seen, `total` how many rows there are before `wants` narrows them."""

    def __init__(self) -> None:
        self.rules: Rules[R] = Rules()
        self.shown: list[R] = []
        self._rows: Sequence[R] = ()
        self._first = 0
        self._seen = 0
        self._order: list[Entry] = []
        # By place: None for a row that is not wanted.
        self._entries: dict[int, Entry | None] = {}

    @property
    def total(self) -> int:
        """Rows of this table, shown or not."""
        return len(self._entries)

    def arrange(self, rows: Sequence[R], rules: Rules[R]) -> None:
        """Take these rows and rules: goes through all rows."""
        self._rows, self.rules = rows, rules
        self._mark()
        first, narrowed = self._first, rules.within is not None or rules.wants is not None
        places: list[int] = list(range(len(rows)))
        if rules.within is not None:
            places = [each for each in places if rules.within(rows[each])]
        self._entries = {first + each: None for each in places} if narrowed else {}
        if rules.wants is not None:
            places = [each for each in places if rules.wants(rows[each])]
        if rules.sort is None:
            self._order = [((), first + each) for each in places]
            self.shown = [rows[each] for each in places]
        else:
            sort, sign = rules.sort, -1 if rules.reverse else 1
            entries = [(sort(rows[each]), sign * (first + each)) for each in places]
            # Of rows that sort alike the first comes first, whichever way the others go.
            entries.sort(key=_KEY, reverse=rules.reverse)
            self._order = entries
            places = [sign * each - first for _, each in entries]
            self.shown = [rows[each] for each in places]
        self._entries.update(zip([first + each for each in places], self._order, strict=True))

    def follow(self, rows: Sequence[R]) -> "Shift | None":
        """Mend the order by what changed in the same rows; None when that cannot be told."""
        if rows is not self._rows or not isinstance(rows, Rows):
            return None
        changed = rows.changed_since(self._seen)
        if changed is None:
            return None
        shift = Shift()
        for place in range(self._first, rows.first):
            self._take_out(place, shift)
        for place in sorted(changed):
            if place >= rows.first:
                self._put_in(place, rows[place - rows.first], shift)
        self._mark()
        return shift

    def index_of_place(self, place: int) -> int | None:
        """Where the row of a place is shown; None when it is not."""
        entry = self._entries.get(place)
        return None if entry is None else self._find(entry)

    def place_at(self, index: int) -> int:
        """The place of the row that is shown at an index."""
        return abs(self._order[index][1])

    def _mark(self) -> None:
        rows = self._rows
        self._first = rows.first if isinstance(rows, Rows) else 0
        self._seen = rows.version if isinstance(rows, Rows) else 0

    def _take_out(self, place: int, shift: "Shift") -> None:
        entry = self._entries.pop(place, None)
        if entry is not None:
            index = self._find(entry)
            del self._order[index], self.shown[index]
            shift.moved = True

    def _put_in(self, place: int, row: R, shift: "Shift") -> None:
        rules = self.rules
        before = self._entries.get(place)
        if rules.within is not None and not rules.within(row):
            self._take_out(place, shift)
            return
        wanted = rules.wants is None or rules.wants(row)
        key = rules.sort(row) if wanted and rules.sort is not None else ()
        entry = (key, -place if rules.reverse and rules.sort is not None else place)
        if wanted and before == entry:
            index = self._find(entry)
            self.shown[index] = row
            shift.changed.append(index)
            return
        self._take_out(place, shift)
        self._entries[place] = entry if wanted else None
        if wanted:
            index = self._find(entry)
            self._order.insert(index, entry)
            self.shown.insert(index, row)
            shift.moved = True

    def _find(self, entry: Entry) -> int:
        if not self.rules.reverse or self.rules.sort is None:
            return bisect_left(self._order, entry)
        low, high = 0, len(self._order)
        while low < high:
            middle = (low + high) // 2
            if self._order[middle] > entry:
                low = middle + 1
            else:
                high = middle
        return low


class Shift:
    """What mending did: indexes that show another row, or `moved` when rows came, went or moved."""

    def __init__(self) -> None:
        self.changed: list[int] = []
        self.moved = False
