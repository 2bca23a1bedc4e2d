"""The rows that a table shows, in its order: narrowed, sorted, and mended row by row.

Pure. Going through all rows happens when somebody asks for another order or filter, not when a row
changes. Must always give what sorting all rows anew would give; rows that sort alike keep the order
in which they came.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import itemgetter, neg
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
        # The entry of each row that is shown, by its place; None until one is looked up.
        self._by_place: dict[int, Entry] | None = None
        # Places of the rows of this table where `within` chooses them; None where all are.
        self._inside: set[int] | None = None
        self._total = 0

    @property
    def total(self) -> int:
        """Rows of this table, shown or not."""
        return self._total

    def arrange(self, rows: Sequence[R], rules: Rules[R]) -> None:
        """Take these rows and rules: goes through all rows."""
        self._rows, self.rules = rows, rules
        self._mark()
        first = self._first
        places: Sequence[int] = range(first, first + len(rows))
        chosen, self._inside = rows, None
        if (within := rules.within) is not None:
            places = [place for place, row in zip(places, chosen, strict=True) if within(row)]
            chosen, self._inside = [rows[place - first] for place in places], set(places)
        self._total = len(places)
        if (wants := rules.wants) is not None:
            places = [place for place, row in zip(places, chosen, strict=True) if wants(row)]
            chosen = [rows[place - first] for place in places]
        self._by_place = None
        if rules.sort is None:
            self._order = [((), place) for place in places]
            self.shown = list(chosen)
            return
        signed = map(neg, places) if rules.reverse else places
        self._order = list(zip(map(rules.sort, chosen), signed, strict=True))
        # Of rows that sort alike the first comes first, whichever way the others go.
        self._order.sort(key=_KEY, reverse=rules.reverse)
        if rules.reverse:
            self.shown = [rows[-place - first] for _, place in self._order]
        else:
            self.shown = [rows[place - first] for _, place in self._order]

    def follow(self, rows: Sequence[R]) -> "Shift | None":
        """Mend the order by what changed in the same rows; None when that cannot be told."""
        if rows is not self._rows or not isinstance(rows, Rows):
            return None
        changed = rows.changed_since(self._seen)
        if changed is None:
            return None
        shift = Shift()
        for place in range(self._first, rows.first):
            if self._inside is not None:
                self._inside.discard(place)
            self._take_out(place, shift)
        for place in sorted(changed):
            if place >= rows.first:
                self._put_in(place, rows[place - rows.first], shift)
        self._total = len(rows if self._inside is None else self._inside)
        self._mark()
        return shift

    def index_of_place(self, place: int) -> int | None:
        """Where the row of a place is shown; None when it is not."""
        entry = self._entries().get(place)
        return None if entry is None else self._find(entry)

    def place_at(self, index: int) -> int:
        """The place of the row that is shown at an index."""
        return abs(self._order[index][1])

    def _entries(self) -> dict[int, Entry]:
        if self._by_place is None:
            self._by_place = {abs(entry[1]): entry for entry in self._order}
        return self._by_place

    def _mark(self) -> None:
        rows = self._rows
        self._first = rows.first if isinstance(rows, Rows) else 0
        self._seen = rows.version if isinstance(rows, Rows) else 0

    def _take_out(self, place: int, shift: "Shift") -> None:
        entry = self._entries().pop(place, None)
        if entry is not None:
            index = self._find(entry)
            del self._order[index], self.shown[index]
            shift.moved = True

    def _put_in(self, place: int, row: R, shift: "Shift") -> None:
        rules, entries = self.rules, self._entries()
        if self._inside is not None and rules.within is not None:
            if not rules.within(row):
                self._inside.discard(place)
                self._take_out(place, shift)
                return
            self._inside.add(place)
        wanted = rules.wants is None or rules.wants(row)
        key = rules.sort(row) if wanted and rules.sort is not None else ()
        entry = (key, -place if rules.reverse and rules.sort is not None else place)
        if wanted and entries.get(place) == entry:
            index = self._find(entry)
            self.shown[index] = row
            shift.changed.append(index)
            return
        self._take_out(place, shift)
        if wanted:
            entries[place] = entry
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
