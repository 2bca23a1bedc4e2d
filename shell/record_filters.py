"""Which records are shown: regular expressions on key, value and headers, conditions on JSON.

Pure: a filter takes a record and says yes or no. It never fails on a record, whatever it holds.
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from shell.exits import UsageProblem
from shell.records import ReadRecord

Filter = Callable[[ReadRecord], bool]
_Test = Callable[[bytes | None], bool]

_CONDITION = re.compile(r"(?P<path>.+?)\s*(?P<op>!=|!~|==|<=|>=|=|~|<|>)\s*(?P<value>.*)", re.S)
_STEP = re.compile(
    r"""\.?(?P<name>[^.\[\]=!<>~]+)|\[(?P<index>\d+|\*)\]|\[(?P<quoted>"[^"]*"|'[^']*')\]"""
)
_ORDER = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
_EVERY = "*"


def build_filter(
    *,
    grep: Sequence[str] = (),
    key: Sequence[str] = (),
    value: Sequence[str] = (),
    header: Sequence[str] = (),
    where: Sequence[str] = (),
) -> Filter | None:
    """Return the filter that all conditions make, or None without any.

    Raises UsageProblem naming the condition that cannot be understood.
    """
    tests: list[Filter] = []
    tests += [_anywhere(text) for text in grep]
    tests += [_on_key(text) for text in key]
    tests += [_on_value(text) for text in value]
    tests += [_on_header(text) for text in header]
    conditions = [parse_condition(text) for text in where]
    if conditions:
        tests.append(partial(_on_json, conditions))
    if not tests:
        return None
    return lambda record: all(test(record) for test in tests)


def _on_key(text: str) -> Filter:
    test = _pattern(text)
    return lambda record: test(record.key)


def _on_value(text: str) -> Filter:
    test = _pattern(text)
    return lambda record: test(record.value)


def _anywhere(text: str) -> Filter:
    negated = text.startswith("!")
    test = _pattern(text[1:] if negated else text)

    def fits(record: ReadRecord) -> bool:
        contents = [record.key, record.value, *(content for _, content in record.headers)]
        return any(map(test, contents)) is not negated

    return fits


def _on_header(text: str) -> Filter:
    negated = text.startswith("!")
    name, equals, pattern = text.removeprefix("!").partition("=")
    if not name:
        raise UsageProblem(f"'{text}' is not NAME or NAME=PATTERN.")
    test: _Test = _pattern(pattern) if equals else lambda content: True

    def fits(record: ReadRecord) -> bool:
        return any(n == name and test(content) for n, content in record.headers) is not negated

    return fits


def _pattern(text: str) -> _Test:
    """Return the test of a regular expression; "!" before it turns the answer round."""
    negated = text.startswith("!")
    try:
        found = re.compile(text[1:] if negated else text)
    except re.error as error:
        at = "" if error.pos is None else f" at column {error.pos + 1 + negated}"
        raise UsageProblem(f"'{text}' is not a regular expression: {error.msg}{at}.") from None

    def fits(content: bytes | None) -> bool:
        if content is None:
            return negated
        text = content.decode("utf-8", "surrogateescape")
        return (found.search(text) is not None) is not negated

    return fits


@dataclass(frozen=True, slots=True)
class Condition:
    """A path into a JSON value and a test of what is found there; one find that fits is enough."""

    path: tuple[str | int, ...]
    test: Callable[[Any], bool]

    def fits(self, document: Any) -> bool:
        """Return whether the document holds something at the path that passes the test."""
        return any(self.test(found) for found in _walk(document, self.path))


def parse_condition(text: str) -> Condition:
    """Return the condition of PATH, or PATH OP VALUE with = != < <= > >= ~ or !~.

    A path is names with dots, [N] and [*]; alone it asks whether there is something. Values are
    numbers, true, false, null or text. Raises UsageProblem.
    """
    match = _CONDITION.fullmatch(text.strip())
    path = parse_path(match["path"] if match else text.strip(), text)
    if match is None:
        return Condition(path, lambda found: True)
    sign, wanted = match["op"], match["value"].strip()
    if sign in {"~", "!~"}:
        test = _pattern(wanted)
        return Condition(path, lambda found: test(_text(found).encode()) is (sign == "~"))
    expected = _literal(wanted)
    if sign in _ORDER:
        if not wanted:
            raise UsageProblem(f"'{text}' compares with nothing; write a value after {sign}.")
        return Condition(path, partial(_ordered, _ORDER[sign], expected))
    return Condition(path, lambda found: _same(found, expected, wanted) is (sign != "!="))


def parse_path(text: str, whole: str) -> tuple[str | int, ...]:
    """Return the steps of `a.b[0]["odd name"][*]`; a leading `$` or `.` may be there."""
    rest = text.strip().removeprefix("$").removeprefix(".")
    steps: list[str | int] = []
    at = 0
    while at < len(rest):
        match = _STEP.match(rest, at)
        if match is None:
            raise UsageProblem(
                f"'{whole}' cannot be read at '{rest[at:]}': write a path such as customer.id, "
                "items[0].sku or items[*].sku, and = != < <= > >= ~ or !~ with a value."
            )
        if match["name"] is not None:
            steps.append(match["name"])
        elif match["quoted"] is not None:
            steps.append(match["quoted"][1:-1])
        else:
            steps.append(_EVERY if match["index"] == "*" else int(match["index"]))
        at = match.end()
    if not steps:
        raise UsageProblem(f"'{whole}' has no path; write a name in the value, as in total>100.")
    return tuple(steps)


def _walk(document: Any, path: Sequence[str | int]) -> Iterator[Any]:
    if not path:
        yield document
        return
    step, rest = path[0], path[1:]
    if step == _EVERY and isinstance(document, (list, dict)):
        inner = document if isinstance(document, list) else list(document.values())
        for item in inner:
            yield from _walk(item, rest)
    elif isinstance(document, dict) and str(step) in document:
        yield from _walk(document[str(step)], rest)
    elif isinstance(document, list) and isinstance(step, int) and step < len(document):
        yield from _walk(document[step], rest)


def _on_json(conditions: Sequence[Condition], record: ReadRecord) -> bool:
    if record.value is None:
        return False
    try:
        document = json.loads(record.value)
    except (ValueError, RecursionError):
        return False
    return all(condition.fits(document) for condition in conditions)


def json_at(document: Any, path: Sequence[str | int]) -> Any:
    """Return the first thing that a path finds, or None."""
    return next(_walk(document, path), None)


def _literal(text: str) -> Any:
    if len(text) >= 2 and text[0] == text[-1] == "'":
        return text[1:-1]
    try:
        return json.loads(text)
    except ValueError:
        return text


def _same(found: Any, expected: Any, text: str) -> bool:
    if isinstance(found, str):
        return found == (expected if isinstance(expected, str) else text)
    if isinstance(found, bool) or isinstance(expected, bool):
        return found is expected
    return bool(found == expected)


def _ordered(test: Callable[[Any, Any], bool], expected: Any, found: Any) -> bool:
    if isinstance(found, bool) or isinstance(expected, bool):
        return False
    if isinstance(found, (int, float)) and isinstance(expected, (int, float)):
        return test(found, expected)
    return isinstance(found, str) and test(found, str(expected))


def _text(found: Any) -> str:
    return found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)
