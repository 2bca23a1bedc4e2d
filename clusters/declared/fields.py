"""Reads plain data of a YAML file field by field; every problem is noted with file and line.

Never raises for bad content: a reader returns None (or the default) and goes on, so that a person
sees all that is wrong at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from clusters.nearest import hint
from clusters.spec.document import Document, Path
from clusters.units import parse_duration_ms


class Fields:
    """A mapping at a path of a document."""

    def __init__(self, document: Document, path: Path, data: Mapping[str, Any]) -> None:
        self.document = document
        self.path = path
        self.data = data

    @classmethod
    def at(cls, document: Document, path: Path, data: Any) -> Fields:
        """The mapping at a path; nothing there is an empty one, anything else a problem."""
        if data is None:
            return cls(document, path, {})
        if not isinstance(data, dict):
            document.problem(path, f"must be a mapping, not {shown(data)}")
            return cls(document, path, {})
        return cls(document, path, data)

    def known(self, names: Iterable[str]) -> None:
        """Note keys that nobody reads, with the nearest known one; keys from `x-` on are free."""
        names = list(names)
        for key in self.data:
            if key not in names and not key.startswith("x-"):
                self.problem(f"unknown key; {hint(key, names)}", key)

    def problem(self, message: str, *path: str | int) -> None:
        """Note a problem here or below."""
        self.document.problem((*self.path, *path), message)

    def line(self, *path: str | int) -> int:
        """The line of something here or below."""
        return self.document.line_of((*self.path, *path))

    def inside(self, key: str) -> Fields:
        """The mapping below a key."""
        return Fields.at(self.document, (*self.path, key), self.data.get(key))

    def text(self, key: str, default: str | None = None) -> str | None:
        """One line of text; numbers are taken as they are written."""
        value = self.data.get(key)
        if value is None:
            return default
        if isinstance(value, str) and value.strip():
            return value
        if isinstance(value, int | float) and not isinstance(value, bool):
            return str(value)
        self.problem(f"must be text, not {shown(value)}", key)
        return default

    def integer(
        self, key: str, *, minimum: int = 0, maximum: int = 2**31 - 1, default: int | None = None
    ) -> int | None:
        """A whole number."""
        value = self.data.get(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int):
            self.problem(f"must be a whole number, not {shown(value)}", key)
            return default
        if not minimum <= value <= maximum:
            bound = f"at least {minimum}" if value < minimum else f"at most {maximum}"
            self.problem(f"{value} is out of range; it must be {bound}", key)
            return default
        return value

    def flag(self, key: str, *, default: bool = False) -> bool:
        """True or false."""
        value = self.data.get(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            self.problem(f"must be true or false, not {shown(value)}", key)
            return default
        return value

    def choice(self, key: str, choices: Iterable[str], default: str | None = None) -> str | None:
        """One of some words."""
        value = self.data.get(key)
        if value is None:
            return default
        choices = list(choices)
        if value in choices:
            return str(value)
        self.problem(f"{shown(value)} is not possible; {hint(str(value), choices)}", key)
        return default

    def duration_ms(self, key: str, default: int | None = None) -> int | None:
        """A duration such as 30s; a bare number is refused, for its unit would be a guess."""
        value = self.data.get(key)
        if value is None:
            return default
        if not isinstance(value, str):
            self.problem(f"must be a duration such as 30s or 10m, not {shown(value)}", key)
            return default
        try:
            found = round(parse_duration_ms(value))
        except ValueError as error:
            self.problem(str(error), key)
            return default
        if found < 0:
            self.problem(f'"{value}" is less than nothing', key)
            return default
        return found

    def items(self, key: str) -> list[Any]:
        """A list; one value alone stands for a list of it."""
        value = self.data.get(key)
        if value is None:
            return []
        if isinstance(value, dict):
            self.problem("must be a list, not a mapping", key)
            return []
        return value if isinstance(value, list) else [value]

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts."""
        found: list[str] = []
        for index, value in enumerate(self.items(key)):
            if isinstance(value, bool | dict | list) or value is None:
                self.problem(f"must be text, not {shown(value)}", key, index)
            else:
                found.append(str(value))
        return tuple(found)


def shown(value: Any) -> str:
    """A value in a message."""
    if value is None:
        return "nothing"
    if isinstance(value, dict | list):
        return "a list" if isinstance(value, list) else "a mapping"
    if isinstance(value, bool):
        return "true" if value else "false"
    text = f'"{value}"' if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else text[:57] + '..."'
