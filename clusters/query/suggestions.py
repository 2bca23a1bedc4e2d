"""What could come next in a condition, for completion. Pure; never raises for any text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from clusters.query.errors import QueryError
from clusters.query.parser import Parser
from clusters.query.query import read
from clusters.query.tree import text_of

_STARTED = re.compile(r"(?:[A-Za-z0-9_][\w.:-]*|[\"'][^\"']*)$")


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A word for the text from `start` to the cursor."""

    text: str
    help: str
    start: int


def suggest(
    text: str,
    cursor: int | None = None,
    *,
    table: str | None = None,
    names: Mapping[str, Iterable[object]] | None = None,
) -> list[Suggestion]:
    """The words that fit at the cursor (default: the end), those that go on with the started word.

    `names` gives live values of fields, such as {"topic": [...], "leader": [1, 2, 3]}.
    """
    before = text if cursor is None else text[: max(0, cursor)]
    match = _STARTED.search(before)
    start = match.start() if match else len(before)
    started = before[start:].strip("\"'").casefold()
    try:
        parser = Parser(before[:start])
    except QueryError:
        return []
    try:
        read(parser, table)
    except QueryError:
        # Most unfinished texts end so; what could follow was noted on the way.
        pass
    found = [Suggestion(offer.text, offer.help, start) for offer in parser.offers.values()]
    if parser.value_of is not None and names:
        live = names.get(parser.value_of, ())
        found += [Suggestion(text_of_value(value), "", start) for value in live]
    return [each for each in found if each.text.strip('"').casefold().startswith(started)]


def text_of_value(value: object) -> str:
    """A live value as it is written in a condition."""
    return text_of(value) if isinstance(value, str) else str(value)
