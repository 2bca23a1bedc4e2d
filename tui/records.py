"""Records as `logctl tail --format json` writes them, and how one is shown. Pure."""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

HEX_WIDTH = 16
HEX_LINES_MAX = 4_096
BYTES_SHOWN = 48
TEXT_MAX = 16_000_000


@dataclass(frozen=True, slots=True)
class Record:
    """One record; `told` is the line as it came."""

    topic: str
    partition: int
    offset: int
    told: Mapping[str, Any]

    @property
    def time(self) -> str:
        """Its timestamp, as text."""
        return str(self.told.get("timestamp") or "")

    @property
    def key(self) -> str:
        """Its key in one line; "" without one."""
        return _told(self.told, "key", "key_encoding")

    @property
    def value(self) -> str:
        """Its value in one line; ∅ for a tombstone."""
        return "∅" if self.told.get("value") is None else _told(self.told, "value", "encoding")

    @property
    def is_text(self) -> bool:
        """Whether its value is text, JSON or nothing; else it came as base64."""
        return self.told.get("encoding") != "base64"

    def is_short(self, size_max: int, lines_max: int) -> bool:
        """Whether all of it is soon laid out: not more text than this, in not more lines."""
        value = self.told.get("value")
        others = sum(len(str(each)) for each in self.told.get("headers") or ())
        if value is None:
            return True
        if not isinstance(value, str):
            value = json.dumps(value)
        return (
            len(value) + others + len(str(self.told.get("key"))) <= size_max
            # As JSON each of these begins a line.
            and sum(map(value.count, "\n,{[")) <= lines_max
        )

    def to_json(self) -> dict[str, Any]:
        """The line as it came."""
        return dict(self.told)

    def value_bytes(self) -> bytes | None:
        """The bytes of the value; None for a tombstone."""
        return _bytes(self.told.get("value"), self.told.get("encoding"))


def read_record(line: str) -> Record | None:
    """The record of a line; None when the line is talk and no record."""
    if not line.startswith("{"):
        return None
    try:
        told = json.loads(line)
        return Record(str(told["topic"]), int(told["partition"]), int(told["offset"]), told)
    except (ValueError, KeyError, TypeError):
        return None


def _told(told: Mapping[str, Any], name: str, encoding: str) -> str:
    """Text in one line; of bytes how many, and the first of them."""
    value = told.get(name)
    if told.get(encoding) != "base64":
        return one_line(value)
    if isinstance(value, str) and len(value) > 2 * BYTES_SHOWN:
        # Drawn many times a second: of a megabyte only what is shown is decoded.
        size = len(value) // 4 * 3 - value[-2:].count("=")
        data = _bytes(value[: BYTES_SHOWN // 3 * 4], "base64") or b""
    else:
        data = _bytes(value, "base64") or b""
        size = len(data)
    return f"({size} bytes) {data[:BYTES_SHOWN].hex(' ')}{' …' * (size > BYTES_SHOWN)}"


def one_line(value: Any) -> str:
    """Text without line breaks or control characters."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return "".join(c if c.isprintable() else "·" for c in text[:2_000])


def _bytes(value: Any, encoding: Any) -> bytes | None:
    if value is None:
        return None
    if not isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).encode()
    if encoding == "base64":
        try:
            return base64.b64decode(value, validate=True)
        except binascii.Error:
            return value.encode()
    return value.encode()


def hex_lines(data: bytes) -> list[str]:
    """Offset, bytes and printable characters, sixteen bytes a line."""
    lines = []
    for start in range(0, min(len(data), HEX_WIDTH * HEX_LINES_MAX), HEX_WIDTH):
        part = data[start : start + HEX_WIDTH]
        letters = "".join(chr(b) if 32 <= b < 127 else "." for b in part)
        lines.append(f"{start:08x}  {part.hex(' '):<{HEX_WIDTH * 3}} {letters}")
    if len(data) > HEX_WIDTH * HEX_LINES_MAX:
        lines.append(f"... {len(data)} bytes in all")
    return lines


def whole(record: Record, *, as_hex: bool = False) -> str:
    """Everything about a record, for a page of its own."""
    told = record.told
    lines = [
        f"topic      {record.topic}",
        f"partition  {record.partition}",
        f"offset     {record.offset}",
        f"timestamp  {record.time}",
        f"key        {record.key if told.get('key') is not None else '(none)'}",
    ]
    lines += [
        f"header     {one_line(header.get('name'))} = "
        + ("∅" if header.get("value") is None else _told(header, "value", "encoding"))
        for header in told.get("headers") or ()
    ]
    data = record.value_bytes()
    if data is None:
        return "\n".join([*lines, "value      none: a tombstone, compaction forgets the key"])
    lines += [f"value      {len(data)} bytes", ""]
    if as_hex or told.get("encoding") == "base64":
        return "\n".join([*lines, *hex_lines(data)])
    text = data.decode(errors="replace")
    try:
        text = json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except ValueError:
        pass
    more = [f"... {len(data)} bytes in all"] if len(text) > TEXT_MAX else []
    return "\n".join([*lines, text[:TEXT_MAX], *more])
