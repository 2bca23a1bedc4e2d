"""Colours of the line being typed: commands, options, operators, and words that fit nothing.

Pure: text gives tones. Runs at every key, so it never asks for anything.
"""

from __future__ import annotations

from collections.abc import Callable

from prompt_toolkit.document import Document
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.lexers import Lexer

from shell.completion import Place
from shell.names import Names
from shell.registry import Registry
from shell.script import Form, Token, tokens


class LineLexer(Lexer):
    """Gives prompt_toolkit the tones of a line."""

    def __init__(self, registry: Registry, names: Callable[[], Names]) -> None:
        self._registry = registry
        self._names = names

    def lex_document(self, document: Document) -> Callable[[int], StyleAndTextTuples]:
        """Return the function that gives a line's tones."""
        lines = [tones(self._registry, line, self._names()) for line in document.lines]
        return lambda number: lines[number] if number < len(lines) else []


def tones(registry: Registry, text: str, names: Names) -> StyleAndTextTuples:
    """Return the pieces of a line with their tones; joined they are the line."""
    parts: StyleAndTextTuples = []
    at = 0
    place = Place()
    first = True
    for token in tokens(text):
        parts.append(("", text[at : token.start]))
        tone = "class:dim"
        if token.form is Form.OPERATOR:
            tone = "class:operator"
            if token.text in {";", "&&", "||"}:
                place, first = Place(), True
        elif token.form is Form.WORD:
            tone, place = _word(registry, place, token, names, text, first=first)
            first = False
        parts.append((tone, text[token.start : token.end]))
        at = token.end
    parts.append(("", text[at:]))
    return parts


def _word(
    registry: Registry, place: Place, token: Token, names: Names, text: str, *, first: bool
) -> tuple[str, Place]:
    if first and token.text in names.aliases and token.text not in registry.top_level():
        return "class:command", Place.after(registry, [token.text], names)
    if first and token.text in {"logctl", "exit", "quit"}:
        return "class:command", place
    before = (place.option, place.command, place.noun)
    place.take(registry, token.text)
    if before[0] is not None:
        return "class:value", place
    if token.text.startswith("-") and not place.only_arguments:
        known = token.text.partition("=")[0] in {*place.options(), "--help", "-h", "--"}
        half = token.end == len(text)
        return "class:option" if known or half else "class:unknown", place
    if before[1] is None and (place.command, place.noun) != before[1:]:
        return "class:command", place
    if place.unknown is not None and token.end < len(text):
        return "class:unknown", place
    return ("class:value" if token.quoted else ""), place
