"""Reads one comparison of a row's fields: operands, an operator, and whether they fit. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clusters.nearest import nearest
from clusters.query.schema import QUANTITIES, SETS, Field, TableSchema, Type
from clusters.query.tokens import Form, Token
from clusters.query.tree import (
    RESERVED,
    Added,
    Compare,
    Condition,
    FieldRef,
    ListOf,
    Literal,
    Now,
    Operand,
    Truth,
)
from clusters.query.values import (
    EQUAL,
    OPERATORS,
    ORDER,
    PATTERN,
    any_quantity,
    described,
    number,
    operators_of,
    quantity,
    time_ms,
)

if TYPE_CHECKING:
    from clusters.query.errors import QueryError
    from clusters.query.parser import Parser

PATTERN_MAX = 500
_HELP = {
    "=": "equal",
    "!=": "not equal",
    "~": "matches a pattern",
    "!~": "does not match a pattern",
    "in": "one of a list, or in a set",
    "contains": "holds",
}


@dataclass(frozen=True, slots=True)
class Typed:
    """An operand that knows what it is. `raw` is a literal whose type its other side decides."""

    token: Token
    type: Type | None
    node: Operand | None = None
    field: Field | None = None
    raw: bool = False


class Comparison:
    """Reads one comparison at the parser's place."""

    def __init__(self, parser: Parser, table: TableSchema) -> None:
        self.parser = parser
        self.table = table

    def read(self) -> Condition:
        """The comparison, or a field that is true or false alone."""
        parser = self.parser
        parser.offer((each.name, f"{each.help} ({each.type})") for each in self.table.fields)
        if self.table.settings:
            parser.offer([("config.", "a topic's setting, as in config.retention.ms")])
        left = self._sum(None)
        known = left.field
        if known is not None and known.type is Type.FLAG and not self._operator_follows():
            parser.offer((word, "") for word in EQUAL)
            return Truth(FieldRef(known.name))
        operator = self._operator(left)
        if left.type is not None and left.field is not None:
            parser.value_of = left.field.name
        self._offer_values(left, operator)
        right = self._list(left, operator) if parser.is_sign("[") else self._sum(left)
        parser.value_of = None if parser.token.form is not Form.END else parser.value_of
        return self._checked(left, operator, right)

    # Operators

    def _operator_follows(self) -> bool:
        return self.parser.is_sign(*OPERATORS) or self.parser.is_word("in", "contains")

    def _operator(self, left: Typed) -> str:
        parser = self.parser
        kinds = operators_of(left.type) if left.type is not None else OPERATORS
        parser.offer((sign, _HELP.get(sign, "")) for sign in kinds)
        if self._operator_follows():
            return parser.take().value
        if left.raw and left.token.form is Form.WORD:
            raise parser.unknown_field(left.token, self.table)
        token = parser.token
        if token.form is Form.WORD and token.value in {"is", "equals", "are", "like", "matches"}:
            better = "~" if token.value in {"like", "matches"} else "="
            raise parser.fail(f"`{token.value}` is not known here", hint=f"write `{better}`")
        raise parser.fail(
            f"expected a comparison after `{left.token.value}`, not {token.shown()}",
            hint=f"one of {' '.join(kinds)}",
        )

    def _offer_values(self, left: Typed, operator: str) -> None:
        parser, known = self.parser, left.field
        if known is None:
            return
        if operator == "in":
            parser.offer([("[", "a list")])
        parser.offer((word, "") for word in known.choices)
        if known.type is Type.FLAG:
            parser.offer([("true", ""), ("false", "")])
        if known.nullable and operator in EQUAL:
            parser.offer([("none", "there is none")])
        if known.type is Type.TIME:
            parser.offer([("now", "the present")])
        if known.type in QUANTITIES or known.type in SETS:
            parser.offer(
                (each.name, each.help)
                for each in self.table.fields
                if each.name != known.name and (each.type is known.type or _counts(each, known))
            )

    # Operands

    def _sum(self, other: Typed | None) -> Typed:
        left = self._operand(other)
        parser = self.parser
        while parser.is_sign("+", "-"):
            sign = parser.take()
            right = self._operand(left)
            left = self._added(left, sign, right)
        return left

    def _operand(self, other: Typed | None) -> Typed:
        parser = self.parser
        token = parser.token
        if parser.is_sign("-"):
            parser.take()
            digits = parser.take()
            if digits.form is not Form.NUMBER:
                raise parser.fail(f"expected a number after `-`, not {digits.shown()}", digits)
            return Typed(token, Type.NUMBER, Literal(-number(digits.value)))
        if token.form in {Form.END, Form.SIGN}:
            what = "a field" if other is None else "a value"
            raise parser.fail(f"expected {what}, not {token.shown()}")
        parser.take()
        if token.form is Form.STRING:
            return Typed(token, Type.TEXT, Literal(token.value), raw=True)
        if token.form is Form.NUMBER:
            return Typed(token, Type.NUMBER, Literal(number(token.value)), raw=True)
        if token.form is Form.QUANTITY:
            return Typed(token, None, raw=True)
        if token.form is Form.TIME:
            try:
                return Typed(token, Type.TIME, Literal(time_ms(token.value), token.value))
            except ValueError as error:
                raise parser.fail(str(error), token) from None
        return self._word(token)

    def _word(self, token: Token) -> Typed:
        words = {"none": None, "true": True, "false": False}
        if token.value in words:
            kind = None if token.value == "none" else Type.FLAG
            return Typed(token, kind, Literal(words[token.value]))
        if token.value == "now":
            return Typed(token, Type.TIME, Now())
        found = self.table.field(token.value)
        if found is not None:
            return Typed(token, found.type, FieldRef(found.name), found)
        if token.value in RESERVED:
            raise self.parser.fail(f"expected a field or a value, not `{token.value}`", token)
        return Typed(token, None, raw=True)

    def _list(self, left: Typed, operator: str) -> Typed:
        """A list: after `in` some values of which the field is one, after = and != a whole set."""
        parser = self.parser
        start = parser.take()
        is_set = left.type in SETS
        if operator not in (EQUAL if is_set else ("in",)):
            raise parser.fail(f"a list cannot follow `{operator}` here", start)
        if left.field is None or left.type is Type.FLAG:
            raise parser.fail("before `in [...]` comes a field that is one value", left.token)
        items: list[Literal] = []
        while not parser.is_sign("]"):
            if items:
                parser.expect_sign(",", "a list is open: expected `,` or `]`")
            item = self._resolved(self._operand(left), left)
            if not isinstance(item, Literal):
                raise parser.fail("a list holds plain values only", start)
            items.append(item)
        parser.take()
        return Typed(start, left.type, ListOf(tuple(items)))

    # Types

    def _added(self, left: Typed, sign: Token, right: Typed) -> Typed:
        pair = [self._sum_side(left), self._sum_side(right)]
        for index, other in ((0, 1), (1, 0)):
            if pair[index].type is None or pair[index].raw:
                pair[index] = self._quantity_beside(pair[index], pair[other])
        first, second = pair
        kinds = (_number_like(first.type), _number_like(second.type))
        result: Type | None = None
        if kinds[0] is kinds[1] and kinds[0] in {Type.NUMBER, Type.SIZE, Type.DURATION}:
            result = kinds[0]
        elif kinds == (Type.TIME, Type.DURATION):
            result = Type.TIME
        elif kinds == (Type.TIME, Type.TIME) and sign.value == "-":
            result = Type.DURATION
        if result is None or first.node is None or second.node is None:
            raise self.parser.fail(
                f"{left.token.shown()} {sign.value} {right.token.shown()} cannot be calculated",
                sign,
            )
        return Typed(left.token, result, Added(first.node, sign.value, second.node))

    def _sum_side(self, side: Typed) -> Typed:
        if side.raw and side.token.form is Form.WORD:
            raise self.parser.unknown_field(side.token, self.table)
        return side

    def _quantity_beside(self, side: Typed, other: Typed) -> Typed:
        wanted = Type.DURATION if other.type is Type.TIME else other.type
        if side.token.form is not Form.QUANTITY or wanted is None:
            return side
        return Typed(side.token, wanted, self._literal_of(side.token, wanted))

    def _checked(self, left: Typed, operator: str, right: Typed) -> Compare:
        parser = self.parser
        if left.raw and right.raw:
            if left.token.form is not Form.WORD:
                raise parser.fail("a comparison needs a field", left.token)
            raise parser.unknown_field(left.token, self.table)
        first, second = self._resolved(left, right), self._resolved(right, left)
        problem = self._misfit(left, operator, right)
        if problem:
            raise parser.fail(problem, right.token)
        if operator in PATTERN:
            self._check_pattern(right)
        return Compare(first, operator, second)

    def _misfit(self, left: Typed, operator: str, right: Typed) -> str:
        mine, other = left.type, right.type
        if mine is None and not left.raw:
            return f"`{left.token.value}` has to stand on the right"
        if operator == "in":
            if right.node is not None and isinstance(right.node, ListOf):
                return ""
            if other not in SETS:
                return "after `in` comes a list [1, 2] or a field that is a set"
            member = Type.NUMBER if other is Type.BROKERS else Type.TEXT
            fits = left.raw or mine is member
            return "" if fits else f"`{left.token.value}` can be in no {other}"
        kind, named = (other, right) if left.raw else (mine, left)
        if kind is not None and operator not in operators_of(kind):
            known = " ".join(operators_of(kind))
            return (
                f"`{operator}` does not fit `{named.token.value}`, {described(kind)}; use {known}"
            )
        if operator in ORDER and other is None and not right.raw:
            return "`none` can only be compared by = and !="
        if operator == "contains" and (other in SETS or other is Type.FLAG):
            return "`contains` asks for one value"
        if operator in PATTERN and not right.raw:
            return 'a pattern is text in quotes, as in topic ~ "^orders"'
        return self._unlike(left, right, operator)

    def _unlike(self, left: Typed, right: Typed, operator: str) -> str:
        mine, other = left.type, right.type
        if left.raw or right.raw or mine is None or other is None:
            return ""
        if Type.SETTING in {mine, other}:
            return ""
        if operator == "contains" and mine is Type.BROKERS and other is Type.NUMBER:
            return ""
        if mine is other or {mine, other} <= {Type.TEXT, Type.WORD}:
            return ""
        if {mine, other} <= {Type.BROKERS, Type.NAMES, Type.NUMBER}:
            return ""
        return (
            f"`{left.token.value}` is {described(mine)} and `{right.token.value}` is "
            f"{described(other)}; they cannot be compared"
        )

    def _resolved(self, side: Typed, other: Typed) -> Operand:
        """The node of an operand, a literal read as what the other side is."""
        if not side.raw:
            assert side.node is not None
            return side.node
        kind = other.type
        if kind is None:
            raise self.parser.unknown_field(other.token, self.table)
        return self._literal_of(side.token, kind, other.field)

    def _literal_of(self, token: Token, kind: Type, known: Field | None = None) -> Literal:
        parser, form = self.parser, token.form
        numeric = kind in QUANTITIES or kind is Type.BROKERS
        if kind is Type.NAMES and form is Form.NUMBER:
            return Literal(number(token.value))
        if kind is Type.WORD:
            return self._choice(token, known)
        if kind in {Type.TEXT, Type.NAMES} and form in {Form.WORD, Form.STRING, Form.QUANTITY}:
            return Literal(token.value)
        if kind is Type.TEXT and form is Form.NUMBER:
            return Literal(token.value)
        if kind is Type.SETTING:
            return self._setting(token)
        if form is Form.NUMBER and numeric and kind is not Type.TIME:
            return Literal(number(token.value))
        if form is Form.QUANTITY:
            try:
                return Literal(quantity(token.value, kind), token.value)
            except ValueError as error:
                raise parser.fail(str(error), token) from None
        raise self._wrong_literal(token, kind)

    def _setting(self, token: Token) -> Literal:
        if token.form is Form.NUMBER:
            return Literal(number(token.value))
        if token.form is Form.QUANTITY:
            try:
                return Literal(any_quantity(token.value), token.value)
            except ValueError:
                return Literal(token.value)
        return Literal(token.value)

    def _choice(self, token: Token, known: Field | None) -> Literal:
        choices = known.choices if known is not None else ()
        folded = {choice.casefold(): choice for choice in choices}
        found = folded.get(token.value.casefold())
        if found is not None:
            return Literal(str(found))
        match = nearest(token.value, choices)
        hint = f'did you mean "{match}"?' if match else f"one of {', '.join(choices)}"
        name = known.name if known is not None else "it"
        raise self.parser.fail(f"`{name}` is never {token.shown()}", token, hint)

    def _wrong_literal(self, token: Token, kind: Type) -> QueryError:
        hint = f"expected {described(kind)}"
        if token.form is Form.WORD:
            names = [each.name for each in self.table.fields]
            match = nearest(token.value, [*names, "none", "true", "false", "now"])
            if match is not None:
                hint = f'did you mean "{match}"?'
            return self.parser.fail(
                f"{token.shown()} is neither a field nor {described(kind)}", token, hint
            )
        return self.parser.fail(f"{token.shown()} does not fit", token, hint)

    def _check_pattern(self, right: Typed) -> None:
        if len(right.token.value) > PATTERN_MAX:
            raise self.parser.fail(f"a pattern has at most {PATTERN_MAX} characters", right.token)
        try:
            re.compile(right.token.value)
        except (re.error, RecursionError, OverflowError) as error:
            raise self.parser.fail(f"the pattern cannot be read: {error}", right.token) from None


def _number_like(kind: Type | None) -> Type | None:
    """A set counts as a number in a sum."""
    return Type.NUMBER if kind in SETS else kind


def _counts(one: Field, other: Field) -> bool:
    return {one.type, other.type} <= {Type.NUMBER, *SETS}
