"""Puts values of variables into words and conditions. Pure.

A value stays one word of a command and one value of a condition, whatever characters it has.
"""

from __future__ import annotations

import json
import re
from typing import Any

from clusters.declared.variables import VariableError, Variables, plain, typed

_VARIABLE = re.compile(r"\$\$\{|\$\{([^{}]*)\}")


def word(text: str, variables: Variables) -> str:
    """A word of a command, or a text for the reader."""
    return plain(variables.text(text))


def saying(text: str, variables: Variables) -> str:
    """A text for the reader: lists and mappings are shown as JSON."""

    def shown(match: re.Match[str]) -> str:
        if match[1] is None:
            return "${"
        value = variables.value(match[1])
        return json.dumps(value) if isinstance(value, dict | list) else plain(value)

    return _VARIABLE.sub(shown, text)


def condition(text: str, variables: Variables) -> str:
    """A condition: values become numbers or quoted text, within quotes only text."""
    out: list[str] = []
    quote, at = "", 0
    while at < len(text):
        match = _VARIABLE.match(text, at)
        if match is not None:
            out.append("${" if match[1] is None else _value(variables.value(match[1]), quote))
            at = match.end()
            continue
        character = text[at]
        if quote and character == "\\":
            out.append(text[at : at + 2])
            at += 2
            continue
        if character in "'\"":
            quote = "" if character == quote else quote or character
        out.append(character)
        at += 1
    return "".join(out)


def _value(value: Any, quote: str) -> str:
    from clusters.query.tokens import quoted

    if quote:
        text = plain(value)
        return text.replace("\\", "\\\\").replace(quote, "\\" + quote)
    if isinstance(value, list):
        return f"[{', '.join(_value(each, '') for each in value)}]"
    if value is None or isinstance(value, bool | int | float):
        return "none" if value is None else plain(value)
    text = str(value)
    # Numbers and quantities such as 10m keep their meaning.
    return text if re.fullmatch(r"\d+(\.\d+)?[A-Za-z]{0,3}", text) else quoted(text)


def names_in(text: str) -> set[str]:
    """The variables that a text uses, without what is below them; not those of the environment."""
    found = set()
    for match in _VARIABLE.finditer(text):
        if match[1] is None or ":-" in match[1]:
            continue
        name = match[1].strip().partition(".")[0]
        if not name.startswith("env:"):
            found.add(name)
    return found


def is_true(text: str, variables: Variables) -> bool | None:
    """The truth of a text that is one variable alone; None for any other text."""
    match = _VARIABLE.fullmatch(text.strip())
    if match is None or match[1] is None:
        return None
    value = typed(variables.value(match[1]))
    return value not in (None, False, 0, "", [], {}, "no")


__all__ = ["VariableError", "condition", "is_true", "names_in", "saying", "word"]
