"""Reads a condition: text to a tree, every word checked against the tables. Pure.

Any text ends in a tree or a QueryError with the place and, for a mistyped word, the nearest one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from clusters.nearest import nearest
from clusters.query.comparing import Comparison
from clusters.query.errors import QueryError
from clusters.query.schema import QUANTITIES, TABLES, TableSchema, Type
from clusters.query.tokens import Form, Token, tokenize
from clusters.query.tree import (
    Aggregate,
    Both,
    Condition,
    Every,
    FieldRef,
    Literal,
    Measured,
    Not,
    Rows,
    Source,
)
from clusters.query.values import EQUAL, ORDER, number, quantity

DEPTH_MAX = 40
_AGGREGATES = {
    "count": "how many rows",
    "sum": "a field, added up",
    "min": "the smallest of a field",
    "max": "the largest of a field",
}
_QUANTIFIERS = {
    "any": "there is such a row",
    "no": "there is no such row",
    "all": "each row has",
}
_HAVE = ("have", "has")


@dataclass(frozen=True, slots=True)
class Offer:
    """A word that could come next."""

    text: str
    help: str = ""


@dataclass(slots=True)
class Parser:
    """One condition being read; `offers` collects what could follow where the text ends."""

    text: str
    tokens: list[Token] = field(default_factory=list)
    at: int = 0
    depth: int = 0
    offers: dict[str, Offer] = field(default_factory=dict)
    # The field whose value would come next where the text ends: a caller knows live values.
    value_of: str | None = None

    def __post_init__(self) -> None:
        self.tokens = tokenize(self.text)

    # Reading

    @property
    def token(self) -> Token:
        """The token that is next."""
        return self.tokens[self.at]

    def take(self) -> Token:
        """The next token, and go on."""
        token = self.token
        if token.form is not Form.END:
            self.at += 1
        return token

    def is_word(self, *words: str) -> bool:
        """Whether the next token is one of these words."""
        return self.token.form is Form.WORD and self.token.value in words

    def is_sign(self, *signs: str) -> bool:
        """Whether the next token is one of these signs."""
        return self.token.form is Form.SIGN and self.token.value in signs

    def offer(self, words: Iterable[tuple[str, str]]) -> None:
        """Note what could come next, when the text ends here."""
        if self.token.form is Form.END:
            for word, help_text in words:
                self.offers.setdefault(word, Offer(word, help_text))

    def fail(self, message: str, token: Token | None = None, hint: str = "") -> QueryError:
        """An error at a token, the next one by default."""
        return QueryError(message, self.text, (token or self.token).start, hint)

    def expect_sign(self, sign: str, why: str) -> None:
        """Take a sign or raise."""
        self.offer([(sign, "")])
        if not self.is_sign(sign):
            raise self.fail(f"{why}, not {self.token.shown()}")
        self.take()

    def deeper(self) -> None:
        """Count a level of nesting."""
        self.depth += 1
        if self.depth > DEPTH_MAX:
            raise self.fail(f"it is nested deeper than {DEPTH_MAX} levels")

    # Conditions on the cluster

    def logical(self, item: Callable[[], Condition], *, rows: bool) -> Condition:
        """Items joined by `or`, those joined by `and` first."""
        return self._joined("or", lambda: self._joined("and", item, rows=rows), rows=rows)

    def _joined(self, word: str, item: Callable[[], Condition], *, rows: bool) -> Condition:
        items = [item()]
        while True:
            self.offer([(word, "")])
            if not self.is_word(word):
                break
            joint = self.take()
            if rows:
                self._refuse_cluster_item(joint)
            items.append(item())
        return items[0] if len(items) == 1 else Both(word, tuple(items))

    def _refuse_cluster_item(self, joint: Token) -> None:
        following = self.tokens[min(self.at + 1, len(self.tokens) - 1)]
        aggregate = self.is_word(*_AGGREGATES) and following.value == "("
        quantifier = self.is_word(*_QUANTIFIERS) and following.value in TABLES
        if aggregate or quantifier:
            raise self.fail(
                f"`{joint.value}` here goes on with the condition of each row",
                joint,
                f"put parentheses around what stands before `{joint.value}`",
            )

    def condition(self) -> Condition:
        """A condition on the cluster, as far as `and` and `or` reach."""
        return self.logical(self._cluster_item, rows=False)

    def _cluster_item(self) -> Condition:
        self.deeper()
        try:
            self.offer([("not", "the opposite"), ("(", "")])
            if self.is_word("not"):
                self.take()
                return Not(self._cluster_item())
            if self.is_sign("("):
                self.take()
                inside = self.condition()
                self.expect_sign(")", "a parenthesis is open: expected `)`, `and` or `or`")
                return inside
            return self._rows_or_measured()
        finally:
            self.depth -= 1

    def _rows_or_measured(self) -> Condition:
        self.offer([*_QUANTIFIERS.items(), *_AGGREGATES.items()])
        self.offer((name, table.help) for name, table in TABLES.items())
        if self.is_word("any", "no"):
            return Rows(self.take().value, self.source())
        if self.is_word("all"):
            return self._every()
        if self.is_word(*_AGGREGATES):
            return self._measured()
        return Rows("", self.source())

    def _every(self) -> Condition:
        self.take()
        source = self.source()
        self.offer([("have", "what each of them must have")])
        if not self.is_word(*_HAVE):
            raise self.fail(
                f"after `all {source.table}` comes `have` and a condition, not "
                f"{self.token.shown()}",
                hint=f"as in all {source.table} where ... have ...",
            )
        self.take()
        return Every(source, self.row_condition(TABLES[source.table]))

    def source(self) -> Source:
        """A table, and `where`."""
        self.offer((name, table.help) for name, table in TABLES.items())
        table = self._table()
        self.offer([("where", f"only some {table.name}")])
        if not self.is_word("where"):
            if self.is_word("were", "when", "with", "whose", "if"):
                raise self.fail(f"{self.token.shown()} is not known here", hint="write `where`")
            return Source(table.name)
        self.take()
        return Source(table.name, self.row_condition(table))

    def _table(self) -> TableSchema:
        token = self.take()
        found = TABLES.get(token.value) if token.form is Form.WORD else None
        if found is not None:
            return found
        known = ", ".join(TABLES)
        if token.form is not Form.WORD:
            raise self.fail(f"expected what to ask about, not {token.shown()}", token, known)
        match = nearest(token.value, [*TABLES, *_QUANTIFIERS, *_AGGREGATES])
        hint = f'did you mean "{match}"?' if match else f"there are {known}"
        raise self.fail(f"`{token.value}` is nothing that can be asked about", token, hint)

    def _aggregate(self) -> tuple[Aggregate, Type]:
        function = self.take().value
        self.expect_sign("(", f"after `{function}` comes `(`")
        if function == "count":
            source = self.source()
            self.expect_sign(")", "expected `)` after what is counted")
            return Aggregate("count", None, source), Type.NUMBER
        self.offer([("lag", "a field that is a number")])
        name = self.take()
        self.offer([("of", "")])
        if not self.is_word("of"):
            raise self.fail(
                f"`{function}` needs a field, `of` and rows",
                hint=f"as in {function}(lag of groups)",
            )
        self.take()
        table_token = self.token
        source = self.source()
        found = TABLES[source.table].field(name.value)
        if found is None:
            raise self._unknown_field(name, TABLES[source.table])
        if found.type not in QUANTITIES or found.type is Type.TIME:
            raise self.fail(f"`{name.value}` of {source.table} is not a number", name)
        self.expect_sign(")", f"expected `)` after `{table_token.value}`")
        return Aggregate(function, FieldRef(name.value), source), found.type

    def _measured(self) -> Condition:
        left, kind = self._aggregate()
        self.offer((sign, "") for sign in (*EQUAL, *ORDER))
        if not self.is_sign(*EQUAL, *ORDER):
            raise self.fail(
                f"`{left.function}(...)` must be compared with a number, as in "
                f"{left.function}(...) > 0, not {self.token.shown()}"
            )
        operator = self.take().value
        self.offer([("0", "a number"), *_AGGREGATES.items()])
        if self.is_word(*_AGGREGATES):
            token = self.token
            right, other = self._aggregate()
            if other is not kind:
                raise self.fail(f"a {kind} cannot be compared with a {other}", token)
            return Measured(left, operator, right)
        return Measured(left, operator, self._plain_number(kind))

    def _plain_number(self, kind: Type) -> Literal:
        negative = self.is_sign("-")
        if negative:
            self.take()
        token = self.take()
        if token.form is Form.NUMBER:
            value = number(token.value)
            return Literal(-value if negative else value)
        if token.form is Form.QUANTITY and not negative:
            try:
                return Literal(quantity(token.value, kind), token.value)
            except ValueError as error:
                raise self.fail(str(error), token) from None
        raise self.fail(f"expected a number, not {token.shown()}", token)

    # Conditions on a row

    def row_condition(self, table: TableSchema) -> Condition:
        """A condition on each row of a table."""
        return self.logical(lambda: self._row_item(table), rows=True)

    def _row_item(self, table: TableSchema) -> Condition:
        self.deeper()
        try:
            self.offer([("not", "the opposite"), ("(", "")])
            if self.is_word("not"):
                self.take()
                return Not(self._row_item(table))
            if self.is_sign("("):
                self.take()
                inside = self.row_condition(table)
                self.expect_sign(")", "a parenthesis is open: expected `)`, `and` or `or`")
                return inside
            return Comparison(self, table).read()
        finally:
            self.depth -= 1

    def _unknown_field(self, token: Token, table: TableSchema) -> QueryError:
        names = [each.name for each in table.fields]
        match = nearest(token.value, names)
        hint = f'did you mean "{match}"?' if match else f"there are {', '.join(names)}"
        return self.fail(f"{table.name} have no field {token.shown()}", token, hint)

    unknown_field = _unknown_field
