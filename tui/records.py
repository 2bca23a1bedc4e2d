"""Records as `logctl tail --format json` writes them, and how one is shown. Pure.

Between them stand control records: where a transaction ended, which decides of records before.
"""

import base64
import binascii
import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

HEX_WIDTH = 16
HEX_LINES_MAX = 4_096
BYTES_SHOWN = 48
TEXT_MAX = 16_000_000
LINE_MAX = 2_000
# How a transaction ends, by its control record.
WAITS = "waits"
ENDS = {"commit": "committed", "abort": "aborted"}
# What keeps a record from those who read what is committed alone.
UNSEEN = {
    "aborted": "readers of read_committed never get it",
    "open": "not ended yet: readers of read_committed wait before it",
    "held": "above the last stable offset: readers of read_committed get it once the transactions "
    "before it have ended",
    "unknown": "its leader did not say how it ended",
}


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a partition is decided, and what a reader of what is committed passed over.

    `left_out` counts records of aborted transactions; `stable_end` is the last stable offset, `end`
    the high watermark: what lies between `waits` for a transaction that stays open.
    """

    partition: int
    left_out: int
    stable_end: int
    end: int
    waits: bool

    @property
    def told(self) -> Mapping[str, Any]:
        """As a control record that ends no transaction."""
        return {"control": "progress", "last_stable_offset": self.stable_end}

    def place(self, topic: str) -> "Record | None":
        """As a row where reading stands, when that waits for an open transaction."""
        if not self.waits:
            return None
        told = {"topic": topic, "partition": self.partition, "offset": self.stable_end}
        told |= {"control": WAITS, "behind": self.end - self.stable_end}
        return Record(topic, self.partition, self.stable_end, told)


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
        """Its value in one line; ∅ for a tombstone, what it says for a control record."""
        if self.control == WAITS:
            return f"— open transaction, {self.told.get('behind')} behind —"
        if self.control:
            ended = ENDS.get(self.control, self.control)
            return f"— {ended}, producer {(self.producer or (-1,))[0]} —"
        return "∅" if self.told.get("value") is None else _told(self.told, "value", "encoding")

    @property
    def control(self) -> str:
        """Of a control record what it says: commit or abort; "" of a record."""
        return str(self.told.get("control") or "")

    @property
    def fate(self) -> str:
        """In a word what became of its transaction; "" where anybody reads it."""
        if self.control:
            return self.control
        transaction = self.told.get("transaction")
        state = transaction.get("state") if isinstance(transaction, Mapping) else None
        if state not in {None, "committed"}:
            return str(state)
        return "held" if self.told.get("stable") is False else ""

    @property
    def producer(self) -> tuple[int, int] | None:
        """Producer id and epoch of its transaction; None without one."""
        told = self.told if self.control else self.told.get("transaction")
        if not isinstance(told, Mapping) or "producer_id" not in told:
            return None
        return int(told.get("producer_id", -1)), int(told.get("producer_epoch", -1))

    def decided(self, control: Mapping[str, Any]) -> "Record":
        """The same record after a control record of its partition was read, given as it came."""
        told = dict(self.told)
        transaction, end = told.get("transaction"), ENDS.get(str(control.get("control")))
        # The epoch of the marker may be a later one (KIP-890).
        same = self.producer is not None and self.producer[0] == control.get("producer_id")
        if self.fate == "open" and same and end is not None:
            told["transaction"] = {**(transaction or {}), "state": end}
        stable_end = control.get("last_stable_offset")
        if isinstance(stable_end, int) and self.offset < stable_end:
            told["stable"] = True
        return self if told == self.told else replace(self, told=told)

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


def read_progress(line: str) -> Progress | None:
    """What a line says of reading itself; None when it is another."""
    if '"control": "progress"' not in line:
        return None
    try:
        told = json.loads(line)
        if told.get("control") != "progress":
            return None
        left_out, stable_end = int(told["left_out"]), int(told["last_stable_offset"])
        end, waits = int(told["high_watermark"]), bool(told["waits"])
        return Progress(int(told["partition"]), left_out, stable_end, end, waits)
    except (ValueError, KeyError, TypeError, AttributeError):
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
    cut = "…" if len(text) > LINE_MAX else ""
    return "".join(c if c.isprintable() else "·" for c in text[:LINE_MAX]) + cut


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
    if record.control == WAITS:
        place = f"{record.topic}:{record.partition}"
        said = [
            f"behind     {told.get('behind')} offsets",
            "readers of read_committed wait here until a transaction has ended",
            f"`logctl producer list {shlex.quote(place)}` tells whose it is",
        ]
        return "\n".join([*lines[:3], *said])
    if record.producer is not None:
        ids = "producer {} epoch {}".format(*record.producer)
        state = (told.get("transaction") or {}).get("state", record.control)
        lines.append(f"transaction {state}, {ids}")
    if record.control:
        return "\n".join([*lines, "a control record: written by the coordinator, no data"])
    if record.fate in UNSEEN:
        lines.append(f"{record.fate:<10} {UNSEEN[record.fate]}")
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
