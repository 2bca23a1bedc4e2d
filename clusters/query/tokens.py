"""Cuts a condition into words, numbers, quoted text and signs. Pure; any text ends or raises."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from clusters.query.errors import QueryError

TEXT_MAX = 4_000


class Form(StrEnum):
    """What a token is."""

    WORD = "word"
    NUMBER = "number"
    QUANTITY = "number with a unit"
    TIME = "time"
    STRING = "text"
    SIGN = "sign"
    END = "end"


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of the condition; `value` is the text of a string without quotes."""

    form: Form
    value: str
    start: int
    end: int

    def shown(self) -> str:
        """How a message names it."""
        if self.form is Form.END:
            return "the end"
        return f'"{self.value}"' if self.form is Form.STRING else f"`{self.value}`"


_PIECES = re.compile(
    r"""
      (?P<space>\s+)
    | (?P<time>\d{4}-\d\d-\d\d(?:[T]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:\d\d)?)?)
    | (?P<quantity>\d+(?:\.\d+)?[A-Za-z]+)(?![\w.:-])
    | (?P<number>\d+(?:\.\d+)?)(?![\w.:-])
    | (?P<word>[A-Za-z0-9_][\w.:-]*)
    | (?P<sign><=|>=|!=|!~|==|<>|&&|\|\||[=<>~()\[\],+-])
    """,
    re.VERBOSE,
)
_ESCAPES = {"n": "\n", "t": "\t", "\\": "\\", '"': '"', "'": "'"}
_FORMS = {
    "time": Form.TIME,
    "quantity": Form.QUANTITY,
    "number": Form.NUMBER,
    "word": Form.WORD,
    "sign": Form.SIGN,
}
# Signs that people bring along from other languages.
_FOREIGN = {"==": "=", "<>": "!=", "&&": "and", "||": "or"}


def tokenize(text: str) -> list[Token]:
    """The tokens of a condition, the last of form END. Raises QueryError."""
    if len(text) > TEXT_MAX:
        raise QueryError(f"it is longer than {TEXT_MAX} characters", text[:TEXT_MAX], 0)
    found: list[Token] = []
    at = 0
    while at < len(text):
        if text[at] in "'\"":
            token = _string(text, at)
            found.append(token)
            at = token.end
            continue
        match = _PIECES.match(text, at)
        if match is None:
            raise QueryError(f"`{text[at]}` has no meaning here", text, at, _advice(text[at]))
        kind = match.lastgroup or ""
        if kind == "sign" and match.group() in _FOREIGN:
            wanted = _FOREIGN[match.group()]
            raise QueryError(f"`{match.group()}` is not known here", text, at, f"write `{wanted}`")
        if kind != "space":
            found.append(Token(_FORMS[kind], match.group(), at, match.end()))
        at = match.end()
    found.append(Token(Form.END, "", len(text), len(text)))
    return found


def _advice(character: str) -> str:
    if character in "{}":
        return "lists are written [1, 2]"
    if character in "^$*/\\|?":
        return 'put patterns and unusual names in quotes, as in topic ~ "^orders"'
    return "put unusual names in quotes"


def _string(text: str, start: int) -> Token:
    quote, at, out = text[start], start + 1, list[str]()
    while at < len(text):
        character = text[at]
        if character == quote:
            return Token(Form.STRING, "".join(out), start, at + 1)
        if character == "\\" and at + 1 < len(text):
            # Only what needs it is escaped: "\d" stays what a pattern means by it.
            following = text[at + 1]
            out.append(_ESCAPES.get(following, "\\" + following))
            at += 2
            continue
        out.append(character)
        at += 1
    raise QueryError("the quote is not closed", text, start, f"end it with {quote}")


def quoted(text: str) -> str:
    """Text as a quoted string that `tokenize` reads back."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + escaped.replace("\n", "\\n").replace("\t", "\\t") + '"'
