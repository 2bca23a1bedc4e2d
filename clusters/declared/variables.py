"""Variables in YAML files: `${name}`, `${name:-default}`, `${env:NAME}`, and `$${` for `${`. Pure.

Values are put into what was read, never into the text of the file, so that no value can change
the structure. A text that is one variable alone takes the variable's kind: a number stays one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from clusters.nearest import nearest
from clusters.spec.document import Document, Path

_VARIABLE = re.compile(r"\$\$\{|\$\{([^{}]*)\}")
_NAME = re.compile(r"[A-Za-z_][\w.-]*")
_DEPTH_MAX = 20


class VariableError(ValueError):
    """A variable that has no value, or is written wrongly."""


@dataclass(slots=True)
class Variables:
    """Values by name; those that were `given` (by --set) win over those of files."""

    given: Mapping[str, Any] = field(default_factory=dict)
    environ: Mapping[str, str] = field(default_factory=dict)
    declared: dict[str, Any] = field(default_factory=dict)
    # Known only later, such as the answers of steps: these stay as they are written.
    later: frozenset[str] = frozenset()
    used: set[str] = field(default_factory=set)

    def value(self, name: str, depth: int = 0) -> Any:
        """The value of a variable; raises VariableError."""
        name, has_default, default = name.partition(":-")
        name = name.strip()
        if name.startswith("env:"):
            found = self.environ.get(name.removeprefix("env:"))
            if found is None and not has_default:
                raise VariableError(f"the environment has no {name.removeprefix('env:')}")
            return default if found is None else found
        if not _NAME.fullmatch(name):
            raise VariableError(
                f'"${{{name}}}" is not a variable; write ${{name}} or ${{env:NAME}}'
            )
        self.used.add(name)
        for values in (self.given, self.declared):
            if name in values:
                value = values[name]
                return self.text(value, depth + 1) if isinstance(value, str) else value
            value = _below(values, name)
            if value is not None:
                return value
        if has_default:
            return default
        match = nearest(name, [*self.given, *self.declared])
        more = f'did you mean "{match}"?' if match else f"set it with --set {name}=VALUE"
        raise VariableError(f'there is no variable "{name}"; {more}')

    def text(self, text: str, depth: int = 0) -> Any:
        """A text with its variables replaced; raises VariableError."""
        if "$" not in text:
            return text
        if depth > _DEPTH_MAX:
            raise VariableError(f'"{text[:60]}" refers to itself')
        alone = _VARIABLE.fullmatch(text)
        if alone is not None and alone[1] is not None:
            return text if self._is_later(alone[1]) else typed(self.value(alone[1], depth))

        def replace(match: re.Match[str]) -> str:
            if match[1] is None:
                return "${"
            if self._is_later(match[1]):
                return match[0]
            return plain(self.value(match[1], depth))

        return _VARIABLE.sub(replace, text)

    def _is_later(self, name: str) -> bool:
        return name.partition(":-")[0].strip().partition(".")[0] in self.later


def typed(value: Any) -> Any:
    """A value given as text by its kind: `6` is a number, `true` a flag, all else is text."""
    if not isinstance(value, str):
        return value
    if re.fullmatch(r"-?\d{1,18}|true|false", value):
        return yaml.safe_load(value)
    return value


def plain(value: Any) -> str:
    """A value within a text; raises VariableError for lists and mappings."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list):
        raise VariableError("a list or mapping cannot stand within a text")
    return "" if value is None else str(value)


def _below(values: Mapping[str, Any], name: str) -> Any:
    """The value of a dotted name in nested mappings and lists, or None."""
    head, dot, rest = name.partition(".")
    value: Any = values.get(head)
    while dot and value is not None:
        part, dot, rest = rest.partition(".")
        if isinstance(value, dict):
            value = value.get(part)
        elif isinstance(value, list) and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        else:
            return None
    return value if "." in name else None


def substitute(document: Document, variables: Variables, skip: frozenset[str]) -> None:
    """Replace the variables in a document's data, keys too; top-level keys in `skip` stay."""
    if isinstance(document.data, dict):
        document.data = {
            key: value if key in skip else _replaced(document, variables, value, (key,), (key,))
            for key, value in document.data.items()
        }


def _replaced(document: Document, variables: Variables, value: Any, old: Path, new: Path) -> Any:
    """A value with variables replaced; `old` is its path as written, `new` as it becomes."""
    if old != new:
        document.lines.setdefault(new, document.line_of(old))
    if isinstance(value, dict):
        result: dict[str, Any] = {}
        for key, inner in value.items():
            name = _text(document, variables, key, (*old, key))
            name = key if name is None else str(name)
            if name in result:
                document.problem((*old, key), f'"{name}" is given twice')
            result[name] = _replaced(document, variables, inner, (*old, key), (*new, name))
        return result
    if isinstance(value, list):
        return [
            _replaced(document, variables, inner, (*old, index), (*new, index))
            for index, inner in enumerate(value)
        ]
    if isinstance(value, str):
        return _text(document, variables, value, old)
    return value


def _text(document: Document, variables: Variables, text: str, path: Path) -> Any:
    try:
        return variables.text(text)
    except VariableError as error:
        document.problem(path, str(error))
        return None
