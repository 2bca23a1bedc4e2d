"""The `/` filter: plain words, words to leave out, or a condition of `clusters.query`.

`orders under` shows rows with both words, `!orders` those without, `isr < replicas` or
`leader = 2` is a condition on the row. Must never fail while somebody types: what cannot be read
shows all rows and says why.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

R = TypeVar("R")
_OPERATORS = ("<", ">", "=", " and ", " or ", "not ", " in ", " has ")


def _all(_: str) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class RowFilter:
    """`says` judges the searched words of a row, `holds` its fields: a condition has this alone.

    `problem` is for the reader.
    """

    text: str
    says: Callable[[str], bool] = _all
    holds: Callable[[Mapping[str, Any]], bool] | None = None
    problem: str = ""

    @property
    def is_condition(self) -> bool:
        """Whether it is a condition on fields."""
        return self.holds is not None

    def test(
        self, words: Callable[[R], str], fields: Callable[[R], Mapping[str, Any]]
    ) -> Callable[[R], bool]:
        """What says of a row whether it is shown: quick, for it is asked of ten thousand."""
        says, holds = self.says, self.holds
        if holds is not None:
            return lambda row: holds(fields(row))
        return lambda row: says(words(row))


def row_filter(text: str, table: str | None) -> RowFilter:
    """Read what was typed; `table` names the fields of `clusters.query`, None: words only."""
    if table is not None and text.strip():
        from clusters.query import QueryError, parse

        try:
            holds = parse(text, table=table).row_test()
        except QueryError as error:
            if any(sign in text for sign in _OPERATORS):
                return RowFilter(text, problem=str(error))
        else:
            return RowFilter(text, holds=lambda fields: holds(fields, 0) is True)
    typed = text.lower().split()
    wanted = [word for word in typed if not word.startswith("!")]
    unwanted = [word[1:] for word in typed if len(word) > 1 and word[0] == "!"]

    def says(words: str) -> bool:
        words = words.lower()
        for word in wanted:
            if word not in words:
                return False
        return not unwanted or not any(word in words for word in unwanted)

    return RowFilter(text, says)
