"""The `/` filter: plain words, words to leave out, or a condition of `clusters.query`.

`orders under` shows rows with both words, `!orders` those without, `isr < replicas` or
`leader = 2` is a condition on the row. Must never fail while somebody types: what cannot be read
shows all rows and says why.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

_OPERATORS = ("<", ">", "=", " and ", " or ", "not ", " in ", " has ")


@dataclass(frozen=True, slots=True)
class RowFilter:
    """`wants(words, row)`: searched text of a row, and its fields. `problem` is for the reader."""

    text: str
    wants: Callable[[str, Callable[[], Mapping[str, Any]]], bool]
    problem: str = ""
    is_condition: bool = False


def row_filter(text: str, table: str | None) -> RowFilter:
    """Read what was typed; `table` names the fields of `clusters.query`, None: words only."""
    if table is not None and text.strip():
        from clusters.query import QueryError, parse

        try:
            query = parse(text, table=table)
        except QueryError as error:
            if any(sign in text for sign in _OPERATORS):
                return RowFilter(text, lambda words, fields: True, str(error))
        else:
            return RowFilter(
                text, lambda words, fields: query.matches(fields()) is True, is_condition=True
            )
    wanted = [word for word in text.lower().split() if not word.startswith("!")]
    unwanted = [word[1:] for word in text.lower().split() if len(word) > 1 and word[0] == "!"]

    def wants(words: str, _: Callable[[], Mapping[str, Any]]) -> bool:
        words = words.lower()
        return all(w in words for w in wanted) and not any(w in words for w in unwanted)

    return RowFilter(text, wants)
