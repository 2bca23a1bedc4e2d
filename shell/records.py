"""How a record is shown: as JSON that loses no byte, as a line for reading, or raw.

Pure: takes a record's fields, returns data or text.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shell.decoding import decode
from shell.values import format_time

if TYPE_CHECKING:
    from shell.transactions import Marker, Transaction

# Bytes of a binary value that a line for reading shows.
_PREVIEW_BYTES = 12
# Characters of a text value that a line for reading shows.
_TEXT_CHARACTERS = 2_000
_PLACE_COLUMNS = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadRecord:
    """A record and where it stood. `timestamp_ms` counts from 1970 in UTC.

    `transaction` is None of a record that was written in none. `stable` says whether the record is
    below the last stable offset: who reads with read_committed gets no other.
    """

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]] = ()
    transaction: Transaction | None = None
    stable: bool = True


def record_json(record: ReadRecord) -> dict[str, Any]:
    """Return the record for JSON.

    Text stays text. What is not UTF-8 becomes base64, and `encoding` (of the value), `key_encoding`
    and a header's `encoding` say so: "utf-8" or "base64". Records of internal topics also have
    `decoded`. `transaction` is null, or its producer and state (committed, aborted, open).
    """
    value, encoding = _encoded(record.value)
    key, key_encoding = _encoded(record.key)
    data = {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp": format_time(record.timestamp_ms) if record.timestamp_ms >= 0 else None,
        "key": key,
        "value": value,
        "headers": [_header_json(name, content) for name, content in record.headers],
        "encoding": encoding,
        "key_encoding": key_encoding,
        "transaction": None if record.transaction is None else record.transaction.to_json(),
        "stable": record.stable,
    }
    decoded = decode(record.topic, record.key, record.value)
    return data if decoded is None else data | {"decoded": decoded}


def record_line(record: ReadRecord, *, topics: bool = False) -> str:
    """Return the record on one line; control characters are escaped, binary values summarised.

    `topics` names the topic beside the partition, for lines of more than one topic.
    """
    time = format_time(record.timestamp_ms) if record.timestamp_ms >= 0 else "-"
    headers = " ".join(f"{name}={_readable(content)}" for name, content in record.headers)
    place = f"{record.topic}:{record.partition}" if topics else str(record.partition)
    width = _PLACE_COLUMNS if topics else len("PARTITION")
    place = f"{place:<{width}}" if topics else f"{place:>{width}}"
    decoded = decode(record.topic, record.key, record.value)
    if decoded is not None:
        said = json.dumps(decoded, ensure_ascii=False)
        return f"{place}  {record.offset:>8}  {time:<24}  {said}"
    line = (
        f"{place}  {record.offset:>8}  {time:<24}  {_readable(record.key):<16}  "
        f"{_readable(record.value)}"
    )
    line = f"{line}  [{headers}]" if headers else line
    mark = transaction_mark(record)
    return f"{line}  <{mark}>" if mark else line


def transaction_mark(record: ReadRecord) -> str:
    """What keeps a record from readers of read_committed, in a word; "" when nothing does."""
    if record.transaction is not None and record.transaction.state != "committed":
        return record.transaction.state
    return "" if record.stable else "held"


def marker_json(
    topic: str, partition: int, marker: Marker, stable_end: int | None
) -> dict[str, Any]:
    """A control record for JSON: `control` is commit or abort.

    `last_stable_offset` is where readers of read_committed have to stop, null when it is not known.
    """
    return {
        "topic": topic,
        "partition": partition,
        "offset": marker.offset,
        "timestamp": format_time(marker.timestamp_ms),
        "control": marker.control,
        "producer_id": marker.producer_id,
        "producer_epoch": marker.producer_epoch,
        "last_stable_offset": stable_end,
    }


def progress_json(
    topic: str,
    partition: int,
    offset: int,
    left_out: int,
    stable_end: int,
    end: int,
    *,
    waits: bool,
) -> dict[str, Any]:
    """How far a reader has come for JSON: `offset` is what it reads next.

    `left_out` counts records of aborted transactions since it began. `waits` says that an open
    transaction has held up for a while what lies from the last stable offset to the high watermark.
    """
    return {
        "topic": topic,
        "partition": partition,
        "offset": offset,
        "control": "progress",
        "left_out": left_out,
        "last_stable_offset": stable_end,
        "high_watermark": end,
        "waits": waits,
    }


def marker_line(topic: str, partition: int, marker: Marker, *, topics: bool = False) -> str:
    """A control record on one line, in the columns of `record_line`."""
    place = f"{topic}:{partition}" if topics else str(partition)
    place = f"{place:<{_PLACE_COLUMNS}}" if topics else f"{place:>{len('PARTITION')}}"
    time = format_time(marker.timestamp_ms)
    said = f"<{marker.control} of producer {marker.producer_id}>"
    return f"{place}  {marker.offset:>8}  {time:<24}  {said}"


def record_heading(*, topics: bool = False) -> str:
    """Return the heading over `record_line`."""
    place = f"{'PARTITION':<{_PLACE_COLUMNS}}" if topics else "PARTITION"
    return f"{place}  {'OFFSET':>8}  {'TIMESTAMP':<24}  {'KEY':<16}  VALUE"


def _header_json(name: str, content: bytes | None) -> dict[str, Any]:
    value, encoding = _encoded(content)
    return {"name": name, "value": value, "encoding": encoding}


def _encoded(data: bytes | None) -> tuple[str | None, str]:
    if data is None:
        return None, "utf-8"
    try:
        return data.decode(), "utf-8"
    except UnicodeDecodeError:
        return base64.b64encode(data).decode("ascii"), "base64"


def _readable(data: bytes | None) -> str:
    if data is None:
        return "-"
    try:
        text = data.decode()
    except UnicodeDecodeError:
        more = "..." if len(data) > _PREVIEW_BYTES else ""
        return f"<{len(data)} bytes: {data[:_PREVIEW_BYTES].hex(' ')}{more}>"
    if len(text) > _TEXT_CHARACTERS:
        text = text[:_TEXT_CHARACTERS] + f"... ({len(data)} bytes)"
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
