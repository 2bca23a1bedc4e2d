"""A condition as data, and how it is written. Pure; nothing here evaluates.

`str()` of a tree is a condition that parses to the same tree.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from clusters.query.tokens import quoted

# Words of the language itself: as text they need quotes.
RESERVED = frozenset(
    {"where", "have", "and", "or", "not", "in", "contains", "for", "any", "all", "no"}
    | {"count", "sum", "min", "max", "of", "none", "true", "false", "now"}
)
_BARE = re.compile(r"[A-Za-z_][\w.:-]*")


@dataclass(frozen=True, slots=True)
class FieldRef:
    """A field of the row."""

    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Literal:
    """A value. `text` is how it was written when that says more (10m, 1GiB, a time)."""

    value: bool | int | float | str | None
    text: str = ""

    def __str__(self) -> str:
        if self.text:
            return self.text
        if self.value is None:
            return "none"
        if isinstance(self.value, bool):
            return "true" if self.value else "false"
        if isinstance(self.value, str):
            return quoted(self.value)
        return str(self.value)


@dataclass(frozen=True, slots=True)
class Now:
    """The time of the state."""

    def __str__(self) -> str:
        return "now"


@dataclass(frozen=True, slots=True)
class ListOf:
    """Some values."""

    items: tuple[Literal, ...]

    def __str__(self) -> str:
        return f"[{', '.join(map(str, self.items))}]"


@dataclass(frozen=True, slots=True)
class Added:
    """A sum or a difference; `sign` is + or -."""

    left: Operand
    sign: str
    right: Operand

    def __str__(self) -> str:
        return f"{self.left} {self.sign} {self.right}"


Operand = FieldRef | Literal | Now | ListOf | Added


@dataclass(frozen=True, slots=True)
class Compare:
    """Two operands and = != < <= > >= ~ !~ in contains."""

    left: Operand
    operator: str
    right: Operand

    def __str__(self) -> str:
        return f"{self.left} {self.operator} {self.right}"


@dataclass(frozen=True, slots=True)
class Truth:
    """A field that is true or false by itself."""

    field: FieldRef

    def __str__(self) -> str:
        return str(self.field)


@dataclass(frozen=True, slots=True)
class Source:
    """Rows of a table, those for which `where` is true."""

    table: str
    where: Condition | None = None

    def __str__(self) -> str:
        return f"{self.table} where {self.where}" if self.where is not None else self.table


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows themselves; as a condition: there is one (`any`), or none (`no`)."""

    quantifier: str
    source: Source

    def __str__(self) -> str:
        return f"{self.quantifier} {self.source}".lstrip()


@dataclass(frozen=True, slots=True)
class Every:
    """Each row of the source meets a condition."""

    source: Source
    have: Condition

    def __str__(self) -> str:
        return f"all {self.source} have {self.have}"


@dataclass(frozen=True, slots=True)
class Aggregate:
    """A number made of many rows: count(source), or sum, min, max of a field."""

    function: str
    field: FieldRef | None
    source: Source

    def __str__(self) -> str:
        inside = f"{self.field} of {self.source}" if self.field is not None else str(self.source)
        return f"{self.function}({inside})"


@dataclass(frozen=True, slots=True)
class Measured:
    """A number made of rows, compared with a value or with another such number."""

    left: Aggregate
    operator: str
    right: Aggregate | Literal

    def __str__(self) -> str:
        return f"{self.left} {self.operator} {self.right}"


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite."""

    item: Condition

    def __str__(self) -> str:
        return f"not {_inside(self.item)}"


@dataclass(frozen=True, slots=True)
class Both:
    """All of them (`and`) or one of them (`or`)."""

    word: str
    items: tuple[Condition, ...]

    def __str__(self) -> str:
        return f" {self.word} ".join(_inside(item) for item in self.items)


Condition = Compare | Truth | Rows | Every | Measured | Not | Both


def _inside(item: Condition) -> str:
    """An item of and, or, not: what would read differently without parentheses gets them."""
    greedy = isinstance(item, Both | Every) or (
        isinstance(item, Rows) and item.source.where is not None
    )
    return f"({item})" if greedy else str(item)


def text_of(value: str) -> str:
    """Text as it is best written: bare when that is clear, else in quotes."""
    if _BARE.fullmatch(value) and value not in RESERVED:
        return value
    return quoted(value)
