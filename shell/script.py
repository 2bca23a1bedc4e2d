"""The language of the interactive shell: words, quotes, `;`, `&&`, `||`, `|`, `>` and `>>`.

Pure. Words are never expanded: no variables, no globs, no substitutions, so that a name that comes
from a cluster stays one word. Only what follows `|` and `!` is text for the system's shell, and it
is passed on exactly as it was typed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from shell.exits import UsageProblem

_OPERATORS = ("&&", "||", ">>", ";", "|", ">")
_SEPARATORS = frozenset({";", "&&", "||"})
_SPACES = frozenset(" \t\r\n")
_ENDS = _SPACES | {";", "|"}


class Joint(StrEnum):
    """When a statement runs, seen from the code of the one before."""

    ALWAYS = ";"
    AFTER_SUCCESS = "&&"
    AFTER_FAILURE = "||"


class Form(StrEnum):
    """What a token is."""

    WORD = "word"
    OPERATOR = "operator"
    COMMENT = "comment"


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of a line at `start` to `end`; `text` is without quotes.

    `quoted` says that a quote or a backslash was used, `open` that a quote was not closed.
    """

    form: Form
    text: str
    start: int
    end: int
    quoted: bool = False
    open: bool = False


@dataclass(frozen=True, slots=True)
class Statement:
    """One command and where its output goes.

    `program` is text for the system's shell: it reads the command's output, or stands alone when
    there are no words. `target` is a file that takes the output, at its end when `append` is set.
    """

    words: tuple[str, ...] = ()
    joint: Joint = Joint.ALWAYS
    program: str | None = None
    target: str | None = None
    append: bool = False


def tokens(text: str) -> list[Token]:
    """Return the tokens of a line; never fails, also for half-typed lines."""
    found: list[Token] = []
    at = 0
    while at < len(text):
        if text[at] in _SPACES:
            at += 1
            continue
        if text[at] == "#":
            found.append(Token(Form.COMMENT, text[at:], at, len(text)))
            break
        operator = next((o for o in _OPERATORS if text.startswith(o, at)), None)
        if text[at] == "!" and (not found or found[-1].text in _SEPARATORS):
            operator = "!"
        token = Token(Form.OPERATOR, operator, at, at + len(operator)) if operator else None
        token = token or _word(text, at)
        found.append(token)
        at = token.end
        if token.form is Form.OPERATOR and token.text in {"|", "!"}:
            at = _program_end(text, at)
            found.append(Token(Form.COMMENT, text[token.end : at].strip(), token.end, at))
    return found


def _word(text: str, start: int) -> Token:
    out: list[str] = []
    quote, quoted, at = "", False, start
    while at < len(text):
        character = text[at]
        if quote:
            if character == quote:
                quote = ""
            elif quote == '"' and character == "\\" and text[at + 1 : at + 2] in {'"', "\\"}:
                at += 1
                out.append(text[at])
            else:
                out.append(character)
        elif character in "'\"":
            quote, quoted = character, True
        elif character == "\\" and at + 1 < len(text):
            at, quoted = at + 1, True
            out.append(text[at])
        elif character in _ENDS or text.startswith("&&", at):
            break
        else:
            out.append(character)
        at += 1
    return Token(Form.WORD, "".join(out), start, at, quoted, bool(quote))


def _program_end(text: str, start: int) -> int:
    """Return where the text for the system's shell ends: at an unquoted `;`, `&&` or `||`."""
    quote, at = "", start
    while at < len(text):
        character = text[at]
        if quote:
            at += character == "\\" and quote == '"'
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character == "\\":
            at += 1
        elif character == ";" or text.startswith(("&&", "||"), at):
            break
        at += 1
    return min(at, len(text))


def parse_line(text: str) -> list[Statement]:
    """Return the statements of a line; raises UsageProblem with the column of what is wrong."""
    statements: list[Statement] = []
    current, place = Statement(), 0
    pieces = tokens(text)
    index = 0
    while index < len(pieces):
        token = pieces[index]
        following = pieces[index + 1] if index + 1 < len(pieces) else None
        if token.form is Form.WORD:
            if token.open:
                raise _problem("A quote is not closed", token.start)
            if current.target is not None:
                raise _problem("Only one word can follow > or >>", token.start)
            current = replace(current, words=(*current.words, token.text))
        elif token.form is Form.COMMENT:
            break
        elif token.text in _SEPARATORS:
            _end(statements, current, token)
            current, place = Statement(joint=Joint(token.text)), token.start
        else:
            current = _output(current, token, following)
            index += 1
        index += 1
    if current.words or current.program:
        statements.append(current)
    elif current.joint is not Joint.ALWAYS:
        raise _problem(f"A command is missing after {current.joint}", place)
    return statements


def _end(statements: list[Statement], current: Statement, token: Token) -> None:
    if current.words or current.program:
        statements.append(current)
    elif token.text != ";" or current.joint is not Joint.ALWAYS:
        raise _problem(f"A command is missing before {token.text}", token.start)


def _output(current: Statement, token: Token, following: Token | None) -> Statement:
    if token.text == "!":
        if following is None or not following.text:
            raise _problem("A program is missing after !", token.start)
        return replace(current, program=following.text)
    if not current.words:
        raise _problem(f"A command is missing before {token.text}", token.start)
    if current.target is not None or current.program is not None:
        raise _problem("The output already goes to a file or a program", token.start)
    if token.text == "|":
        if following is None or not following.text:
            raise _problem("A program is missing after |", token.start)
        return replace(current, program=following.text)
    if following is None or following.form is not Form.WORD:
        raise _problem(f"A file is missing after {token.text}", token.start)
    if following.open:
        raise _problem("A quote is not closed", following.start)
    return replace(current, target=following.text, append=token.text == ">>")


def _problem(what: str, start: int) -> UsageProblem:
    return UsageProblem(f"The line cannot be read: {what} (column {start + 1}).")


def last_statement(text: str) -> tuple[list[Token], bool]:
    """Return the tokens of the statement at the end of a line, for completion.

    The second value says whether the end lies in text that is no command of ours: a program after
    `|` or `!`, or a comment.
    """
    pieces = tokens(text)
    start = 0
    for index, token in enumerate(pieces):
        if token.form is Form.OPERATOR and token.text in _SEPARATORS:
            start = index + 1
    rest = pieces[start:]
    foreign = any(t.form is Form.COMMENT for t in rest)
    return rest, foreign


def expand(
    words: Sequence[str], aliases: Mapping[str, str], known: Callable[[str], bool]
) -> tuple[str, ...]:
    """Return the words with an alias in first place replaced; commands are never hidden by one."""
    out, seen = tuple(words), set[str]()
    while out and out[0] in aliases and out[0] not in seen and not known(out[0]):
        seen.add(out[0])
        out = (*alias_words(aliases[out[0]]), *out[1:])
    return out


def alias_words(text: str) -> tuple[str, ...]:
    """Return the words of an alias; raises UsageProblem when it is more than one plain command."""
    statements = parse_line(text)
    if len(statements) != 1 or statements[0].program or statements[0].target:
        raise UsageProblem("An alias stands for the beginning of one command, without | > ; &&.")
    return statements[0].words


def quoted(word: str) -> str:
    """Return a word so that `parse_line` reads it back as one word."""
    special = _SPACES | set("'\"\\;|&>#!")
    if word and not special & set(word):
        return word
    return "'" + word.replace("'", "'\"'\"'") + "'"
