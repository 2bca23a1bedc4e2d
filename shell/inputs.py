"""Records to be written, from lines, JSON, CSV, or what `tail --format json` printed.

Pure but for the readers of files. Every problem names the line it is in; nothing is guessed.
"""

from __future__ import annotations

import base64
import binascii
import csv
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shell.exits import Failed, UsageProblem
from shell.json_documents import Broken, DocumentReader, Found
from shell.nearest import did_you_mean
from shell.values import INT64_MAX, parse_position

LINES, JSON, CSV, RECORDS = "lines", "json", "csv", "records"
INPUTS = (LINES, JSON, CSV, RECORDS)
_SPREAD = "--input json takes documents that are spread over lines, and arrays of them."


class BadRecord(Failed):
    """A piece of the input that makes no record; the message names its line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRecord:
    """A record to be written; without time or partition these are chosen. `where`: its place."""

    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]] = ()
    timestamp_ms: int | None = None
    partition: int | None = None
    where: str = ""

    @property
    def size_bytes(self) -> int:
        """Bytes of key and value."""
        return len(self.key or b"") + len(self.value or b"")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a piece of input becomes a record: where key, value, headers and time come from."""

    form: str = LINES
    key: str | None = None
    key_field: str | None = None
    key_separator: str | None = None
    value_field: str | None = None
    headers: Sequence[tuple[str, bytes]] = ()
    header_fields: Sequence[str] = ()
    timestamp_ms: int | None = None
    timestamp_field: str | None = None
    partition: int | None = None
    keep_partition: bool = False
    tombstone: bool = False
    delimiter: str = ","
    keep_arrays: bool = False

    @property
    def structured(self) -> bool:
        """Whether a line has to be understood as JSON."""
        return self.form == JSON or any(
            (self.key_field, self.value_field, self.header_fields, self.timestamp_field)
        )

    def record(self, line: bytes, where: str) -> NewRecord:
        """Return the record of one line, argument or file; raises BadRecord."""
        if self.form == RECORDS:
            return self._printed(_json_object(line, where), where)
        if self.tombstone:
            return self._made(line, None, where)
        if self.structured:
            return self._of_fields(line, where)
        if self.key_separator is not None:
            key, separator, value = line.partition(self.key_separator.encode())
            if not separator:
                raise BadRecord(f"{where} has no key separator '{self.key_separator}'.")
            return self._made(key, value, where)
        return self._made(self._fixed_key(), line, where)

    def row(self, columns: Sequence[str], values: Sequence[str], where: str) -> NewRecord:
        """Return the record of a CSV row; without a value column the value is a JSON object."""
        if len(values) != len(columns):
            raise BadRecord(f"{where} has {len(values)} columns; the heading has {len(columns)}.")
        fields = dict(zip(columns, values, strict=True))
        taken = {self.key_field, self.timestamp_field, *self.header_fields}
        rest = {name: text for name, text in fields.items() if name not in taken}
        value = json.dumps(rest, ensure_ascii=False).encode()
        return self._from(fields, value, where)

    def _of_fields(self, line: bytes, where: str) -> NewRecord:
        fields = _json(line, where, _SPREAD if self.form == LINES else None)
        named = (self.key_field, self.value_field, self.timestamp_field, *self.header_fields)
        if not any(named):
            return self._made(self._fixed_key(), line, where)
        if not isinstance(fields, dict):
            raise BadRecord(f"{where} is JSON without fields: not an object.")
        return self._from(fields, line, where)

    def _from(self, fields: Mapping[str, Any], whole: bytes, where: str) -> NewRecord:
        key = self._fixed_key()
        if self.key_field is not None:
            key = _bytes(_field(fields, self.key_field, where))
        value: bytes | None = whole
        if self.value_field is not None:
            value = _bytes(_field(fields, self.value_field, where))
        headers = [(name, _bytes(_field(fields, name, where))) for name in self.header_fields]
        timestamp_ms = self.timestamp_ms
        if self.timestamp_field is not None:
            timestamp_ms = _time(_field(fields, self.timestamp_field, where), where)
        return NewRecord(
            key=key,
            value=value,
            headers=[*self.headers, *headers],
            timestamp_ms=timestamp_ms,
            partition=self.partition,
            where=where,
        )

    def _made(self, key: bytes | None, value: bytes | None, where: str) -> NewRecord:
        return NewRecord(
            key=key,
            value=value,
            headers=self.headers,
            timestamp_ms=self.timestamp_ms,
            partition=self.partition,
            where=where,
        )

    def _fixed_key(self) -> bytes | None:
        return None if self.key is None else self.key.encode("utf-8", "surrogateescape")

    def _printed(self, data: Mapping[str, Any], where: str) -> NewRecord:
        """Return the record that `tail --format json` printed, byte for byte."""
        headers: list[tuple[str, bytes | None]] = list(self.headers)
        for header in data.get("headers") or ():
            if not isinstance(header, dict) or not isinstance(header.get("name"), str):
                raise BadRecord(f"{where} has a header without a name.")
            headers.append((header["name"], _content(header, "value", "encoding", where)))
        timestamp_ms = self.timestamp_ms
        if timestamp_ms is None and data.get("timestamp") is not None:
            timestamp_ms = _time(data["timestamp"], where)
        partition = self.partition
        if partition is None and self.keep_partition:
            partition = data.get("partition")
            if not isinstance(partition, int) or partition < 0:
                raise BadRecord(f"{where} has no partition to keep.")
        key = self._fixed_key()
        return NewRecord(
            key=key if key is not None else _content(data, "key", "key_encoding", where),
            value=None if self.tombstone else _content(data, "value", "encoding", where),
            headers=headers,
            timestamp_ms=timestamp_ms,
            partition=partition,
            where=where,
        )


def _json(line: bytes, where: str, hint: str | None = None) -> Any:
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        reason = f"{error.msg}: column {error.colno}"
    except (ValueError, RecursionError) as error:
        reason = str(error)
    raise BadRecord(f"{where} is not JSON ({reason}).", hint=hint)


def _json_object(line: bytes, where: str) -> Mapping[str, Any]:
    data = _json(line, where)
    if not isinstance(data, dict) or "value" not in data:
        raise BadRecord(
            f"{where} is not a record as `tail --format json` prints it: a JSON object with value.",
            hint="--input json takes any JSON as the value.",
        )
    return data


def _content(data: Mapping[str, Any], name: str, encoding: str, where: str) -> bytes | None:
    content = data.get(name)
    if content is None:
        return None
    if not isinstance(content, str):
        raise BadRecord(f"{where}: {name} is neither text nor null.")
    kind = data.get(encoding) or "utf-8"
    if kind == "utf-8":
        return content.encode("utf-8", "surrogateescape")
    if kind != "base64":
        raise BadRecord(f"{where}: {encoding} is '{kind}'; it can be utf-8 or base64.")
    try:
        return base64.b64decode(content, validate=True)
    except (binascii.Error, ValueError):
        raise BadRecord(f"{where}: {name} is not base64.") from None


def _field(fields: Mapping[str, Any], name: str, where: str) -> Any:
    if name not in fields:
        near = did_you_mean(name, [str(known) for known in fields])
        raise BadRecord(f"{where} has no field '{name}'.{near}")
    return fields[name]


def _bytes(value: Any) -> bytes | None:
    if value is None:
        return None
    text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
    return text.encode("utf-8", "surrogateescape")


def _time(value: Any, where: str) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= INT64_MAX:
        return value
    try:
        return parse_position(f"@{value}", 0).value
    except UsageProblem:
        raise BadRecord(
            f"{where}: '{value}' is not a time: milliseconds since 1970 or ISO 8601."
        ) from None


async def records_of_lines(
    recipe: Recipe, lines: AsyncIterator[bytes], name: str
) -> AsyncIterator[NewRecord | BadRecord]:
    """Yield the record, or what is wrong, of each line or JSON document.

    `name` stands before the number of each line, such as "orders.jsonl".
    """
    if recipe.form == CSV:
        async for found in _csv_records(recipe, lines, name):
            yield found
        return
    if recipe.form in {JSON, RECORDS}:
        async for found in _json_records(recipe, lines, name):
            yield found
        return
    number = 0
    async for line in lines:
        number += 1
        yield _tried(recipe, line, f"{name} line {number}")


async def _json_records(
    recipe: Recipe, lines: AsyncIterator[bytes], name: str
) -> AsyncIterator[NewRecord | BadRecord]:
    reader = DocumentReader(split_arrays=not recipe.keep_arrays)
    async for line in lines:
        for found in reader.feed(line):
            yield _of_document(recipe, found, name)
    for found in reader.end():
        yield _of_document(recipe, found, name)


def _of_document(recipe: Recipe, found: Found, name: str) -> NewRecord | BadRecord:
    where = f"{name} {found.place}"
    if isinstance(found, Broken):
        return BadRecord(f"{where} is not JSON ({found.reason}).")
    return _tried(recipe, found.content, where)


def _tried(recipe: Recipe, line: bytes, where: str) -> NewRecord | BadRecord:
    try:
        return recipe.record(line, where)
    except BadRecord as bad:
        return bad


async def _csv_records(
    recipe: Recipe, lines: AsyncIterator[bytes], name: str
) -> AsyncIterator[NewRecord | BadRecord]:
    columns: list[str] | None = None
    number = first = 0
    pending = ""
    async for line in lines:
        number += 1
        first = first if pending else number
        try:
            pending += line.rstrip(b"\r").decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError:
            pending = ""
            yield BadRecord(f"{name} line {number} is not UTF-8.")
            continue
        if pending.count('"') % 2:  # a quoted field goes on in the next line
            pending += "\n"
            continue
        text, pending = pending, ""
        if not text.strip():
            continue
        values = next(csv.reader([text], delimiter=recipe.delimiter))
        if columns is None:
            columns = _heading(recipe, values, name)
            continue
        try:
            yield recipe.row(columns, values, f"{name} line {first}")
        except BadRecord as bad:
            yield bad
    if pending:
        yield BadRecord(f"{name} line {first} begins a quoted field that never ends.")


def _heading(recipe: Recipe, columns: list[str], name: str) -> list[str]:
    wanted = (recipe.key_field, recipe.value_field, recipe.timestamp_field, *recipe.header_fields)
    for column in wanted:
        if column is not None and column not in columns:
            near = did_you_mean(column, columns) or f" There are {', '.join(columns)}."
            raise Failed(f"{name} has no column '{column}'.{near}")
    return columns
