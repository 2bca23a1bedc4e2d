"""Records as text of one's own (a template), as plain values, and as a dump of bytes.

Pure. A template never reaches into objects: its fields are the names listed here and paths into a
JSON value.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from shell.exits import UsageProblem
from shell.nearest import did_you_mean
from shell.record_filters import json_at, parse_path
from shell.records import ReadRecord, record_json
from shell.values import format_time

_FIELD = re.compile(r"\{\{|\}\}|\{([^{}]*)\}")
_ROW_BYTES = 16

_Field = Callable[[ReadRecord], str]

_FIELDS: dict[str, _Field] = {
    "topic": lambda r: r.topic,
    "partition": lambda r: str(r.partition),
    "offset": lambda r: str(r.offset),
    "timestamp": lambda r: str(r.timestamp_ms),
    "time": lambda r: format_time(r.timestamp_ms) if r.timestamp_ms >= 0 else "-",
    "key": lambda r: _text(r.key),
    "value": lambda r: _text(r.value),
    "key.hex": lambda r: (r.key or b"").hex(),
    "value.hex": lambda r: (r.value or b"").hex(),
    "key.size": lambda r: str(-1 if r.key is None else len(r.key)),
    "value.size": lambda r: str(-1 if r.value is None else len(r.value)),
    "headers": lambda r: " ".join(f"{name}={_text(content)}" for name, content in r.headers),
    "json": lambda r: json.dumps(record_json(r), ensure_ascii=False),
}


def parse_template(text: str) -> Callable[[ReadRecord], str]:
    r"""Return what writes a record by a template.

    Fields: {topic} {partition} {offset} {time} {timestamp} {key} {value} {headers} {json}
    {key.hex} {value.size}, {header.NAME}, and {value.PATH} into a JSON value; \n and \t are
    understood, {{ and }} are braces. Raises UsageProblem with the column of what is unknown.
    """
    pieces: list[_Field] = []
    at = 0
    for match in _FIELD.finditer(text):
        pieces.append(_plain(text[at : match.start()], text, at))
        at = match.end()
        if match[1] is None:
            pieces.append(_constant(match[0][0]))
        else:
            pieces.append(_field(match[1].strip(), match.start() + 1))
    pieces.append(_plain(text[at:], text, at))
    return lambda record: "".join(piece(record) for piece in pieces)


def _plain(piece: str, whole: str, start: int) -> _Field:
    for brace in "{}":
        if brace in piece:
            column = start + piece.index(brace) + 1
            raise UsageProblem(
                f"The template '{whole}' has a single {brace} at column {column}.",
                hint=f"Write {brace * 2} for a brace.",
            )
    return _constant(unescape(piece))


def _constant(text: str) -> _Field:
    return lambda record: text


def _field(name: str, column: int) -> _Field:
    if name in _FIELDS:
        return _FIELDS[name]
    if name.startswith("header.") and len(name) > len("header."):
        return partial(_header, name.removeprefix("header."))
    if name.startswith(("value.", "value[")):
        return partial(_from_json, parse_path(name.removeprefix("value"), name))
    known = [*_FIELDS, "header.NAME", "value.PATH"]
    raise UsageProblem(
        f"The template has an unknown field '{{{name}}}' at column {column}."
        + (did_you_mean(name, known) or f" There are {', '.join(known)}.")
    )


def unescape(text: str) -> str:
    r"""Return a text with \n, \t, \0 and \\ replaced by what they stand for."""
    stands_for = {"n": "\n", "t": "\t", "0": "\0", "\\": "\\"}
    return re.sub(r"\\(.)", lambda m: stands_for.get(m[1], m[0]), text, flags=re.DOTALL)


def _header(name: str, record: ReadRecord) -> str:
    return next((_text(content) for n, content in record.headers if n == name), "")


def _from_json(path: tuple[str | int, ...], record: ReadRecord) -> str:
    try:
        found: Any = json_at(json.loads(record.value or b""), path)
    except (ValueError, RecursionError):
        return ""
    if found is None:
        return ""
    return found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)


def _text(content: bytes | None) -> str:
    return "" if content is None else content.decode("utf-8", "replace")


def record_string(record: ReadRecord) -> str:
    """Return the value as one line of text; null for none, control characters escaped."""
    if record.value is None:
        return "null"
    text = record.value.decode("utf-8", "replace")
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or c == "\t" else c.encode("unicode_escape").decode() for c in text
    )


def record_hex(record: ReadRecord) -> str:
    """Return the record's bytes as a dump, key, headers and value apart."""
    time = format_time(record.timestamp_ms) if record.timestamp_ms >= 0 else "-"
    lines = [f"{record.topic}:{record.partition} @ {record.offset}  {time}"]
    parts = [("key", record.key)]
    parts += [(f"header {name}", content) for name, content in record.headers]
    parts += [("value", record.value)]
    for name, content in parts:
        size = "null" if content is None else f"{len(content)} bytes"
        lines.append(f"  {name}: {size}")
        lines += _dump(content or b"")
    return "\n".join(lines)


def _dump(content: bytes) -> Iterator[str]:
    for at in range(0, len(content), _ROW_BYTES):
        row = content[at : at + _ROW_BYTES]
        shown = "".join(chr(b) if 32 <= b < 127 else "." for b in row)
        yield f"    {at:08x}  {row.hex(' '):<{_ROW_BYTES * 3 - 1}}  {shown}"
