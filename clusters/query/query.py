"""A condition that was read: what it needs to know, its rows, and whether it holds. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from clusters.query.evaluation import RowTest, Verdict, chosen, holds, row_holds, row_test
from clusters.query.parser import Parser
from clusters.query.schema import TABLES, Source, Type
from clusters.query.state import ClusterState, Row
from clusters.query.tokens import Form
from clusters.query.tree import (
    Added,
    Aggregate,
    Both,
    Compare,
    Condition,
    Every,
    FieldRef,
    Measured,
    Not,
    Operand,
    Rows,
    Truth,
)
from clusters.query.tree import Source as Chosen
from clusters.query.values import quantity


@dataclass(frozen=True, slots=True)
class Query:
    """A condition, and for how long it must hold (`for_ms`, None: at once)."""

    condition: Condition
    for_ms: int | None = None
    for_text: str = ""

    def __str__(self) -> str:
        if self.for_ms is None:
            return str(self.condition)
        return f"{self.condition} for {self.for_text}"

    @property
    def table(self) -> str | None:
        """The table whose rows are asked for; None when it is a condition on the whole cluster."""
        listed = isinstance(self.condition, Rows) and self.condition.quantifier == ""
        return self.condition.source.table if listed else None  # type: ignore[union-attr]

    @property
    def needs(self) -> frozenset[Source]:
        """What has to be asked of a cluster."""
        found: set[Source] = set()
        for source, names in _uses(self.condition):
            schema = TABLES[source.table]
            found.add(schema.source)
            for name in names:
                known = schema.field(name)
                if known is not None:
                    found.add(known.source)
        return frozenset(found)

    @property
    def tables(self) -> frozenset[str]:
        """The tables that are asked about."""
        return frozenset(source.table for source, _ in _uses(self.condition))

    @property
    def fields(self) -> frozenset[str]:
        """The names of the fields that are compared."""
        return frozenset(name for _, names in _uses(self.condition) for name in names)

    def holds(self, state: ClusterState) -> Verdict:
        """Whether it holds now: True, False, or None when what is known does not tell.

        Rows alone hold when there is one. `for` is left out of account: see `Steady`.
        """
        return holds(self.condition, state)

    def rows(self, state: ClusterState) -> list[Row]:
        """The rows that are asked for; of a condition, the rows that speak for its answer.

        Those are the rows that `no` says there should not be, those that `all` finds wanting, and
        those that are counted.
        """
        return [row for row, verdict in _evidence(self.condition, state) if verdict is True]

    def doubtful(self, state: ClusterState) -> list[Row]:
        """Rows of which nobody could say whether they belong to `rows`."""
        return [row for row, verdict in _evidence(self.condition, state) if verdict is None]

    def missing(self, state: ClusterState) -> list[str]:
        """For the reader: why the answer may lack rows."""
        reasons = [why for name in sorted(self.tables) for why in state.table(name).missing]
        return list(dict.fromkeys([*reasons, *state.problems]))

    def matches(self, row: Row, at_ms: int = 0) -> Verdict:
        """Whether a row of `table` is asked for; for many rows see `row_test`."""
        return self.row_test()(row, at_ms)

    def row_test(self) -> RowTest:
        """What says of a row, at a time since 1970, whether it is asked for."""
        if not isinstance(self.condition, Rows) or self.condition.source.where is None:
            return lambda row, at_ms: True
        return row_test(self.condition.source.where)


def parse(text: str, *, table: str | None = None) -> Query:
    """Read a condition. Raises QueryError.

    With a table, the condition of each row is enough: `under_replicated > 0` for `topics`.
    """
    parser = Parser(text)
    return read(parser, table)


def read(parser: Parser, table: str | None = None) -> Query:
    """Read all of a parser's text; see `parse`."""
    if table is None:
        condition = parser.condition()
    else:
        condition = _filter(parser, table)
    query = _for(parser, condition)
    token = parser.token
    if token.form is not Form.END:
        if token.value == ")":
            raise parser.fail("no parenthesis is open here")
        raise parser.fail(
            f"{token.shown()} cannot follow here", hint="conditions are joined by `and` or `or`"
        )
    return query


def _filter(parser: Parser, table: str) -> Condition:
    following = parser.tokens[min(1, len(parser.tokens) - 1)]
    if parser.is_word(*TABLES) and following.value == "where":
        if parser.token.value != table:
            raise parser.fail(f"only {table} are listed here", hint=f"ask about {table}")
        return Rows("", parser.source())
    return Rows("", Chosen(table, parser.row_condition(TABLES[table])))


def _for(parser: Parser, condition: Condition) -> Query:
    parser.offer([("for", "how long it must hold, as in for 10m")])
    if not parser.is_word("for"):
        return Query(condition)
    parser.take()
    token = parser.take()
    if token.form is not Form.QUANTITY:
        raise parser.fail(
            f"after `for` comes a duration such as 30s or 10m, not {token.shown()}", token
        )
    try:
        value = quantity(token.value, Type.DURATION)
    except ValueError as error:
        raise parser.fail(str(error), token) from None
    return Query(condition, round(value), token.value)


def _evidence(condition: Condition, state: ClusterState) -> Iterator[tuple[Row, Verdict]]:
    match condition:
        case Rows(_, source):
            yield from chosen(source, state)
        case Every(source, have):
            for row, verdict in chosen(source, state):
                failing = row_holds(have, row, state.at_ms)
                if failing is False and verdict is True:
                    yield row, True
                elif failing is not True:
                    yield row, None
        case Measured(left, _, right):
            yield from chosen(left.source, state)
            if isinstance(right, Aggregate):
                yield from chosen(right.source, state)
        case Not(item):
            yield from _evidence(item, state)
        case Both(_, items):
            for item in items:
                yield from _evidence(item, state)


def _uses(condition: Condition) -> Iterator[tuple[Chosen, set[str]]]:
    match condition:
        case Rows(_, source):
            yield source, _names(source.where)
        case Every(source, have):
            yield source, _names(source.where) | _names(have)
        case Measured(left, _, right):
            for each in (left, right):
                if isinstance(each, Aggregate):
                    own = {each.field.name} if each.field is not None else set()
                    yield each.source, _names(each.source.where) | own
        case Not(item):
            yield from _uses(item)
        case Both(_, items):
            for item in items:
                yield from _uses(item)


def _names(condition: Condition | None) -> set[str]:
    match condition:
        case Truth(field):
            return {field.name}
        case Compare(left, _, right):
            return _operand_names(left) | _operand_names(right)
        case Not(item):
            return _names(item)
        case Both(_, items):
            return {name for item in items for name in _names(item)}
    return set()


def _operand_names(node: Operand) -> set[str]:
    match node:
        case FieldRef(name):
            return {name}
        case Added(left, _, right):
            return _operand_names(left) | _operand_names(right)
    return set()
