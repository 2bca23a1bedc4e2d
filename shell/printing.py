"""Writes the records that were read: filters them, shows them in one format, counts.

Writes a batch at once: a record a write would be slow for a topic of millions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from shell.output import FORMATS, HEX, JSON, RAW, STRING, TABLE, TEMPLATE, YAML, Output
from shell.record_filters import Filter
from shell.record_formats import record_hex, record_string
from shell.records import (
    ReadRecord,
    marker_json,
    marker_line,
    record_heading,
    record_json,
    record_line,
)

if TYPE_CHECKING:
    from shell.transactions import Marker, Transaction


@dataclass(slots=True)
class Printer:
    """Shows records on `output`; `limit` is how many at most.

    `topics` says that records of more than one topic come. `read` counts what was looked at,
    `shown` what passed the filter. `controls` shows control records too; no filter applies to
    them, and they are not counted.
    """

    output: Output
    filter: Filter | None = None
    template: Callable[[ReadRecord], str] | None = None
    delimiter: bytes = b"\n"
    limit: int | None = None
    topics: bool = False
    controls: bool = False
    read: int = 0
    shown: int = 0
    _pending: list[bytes] = field(default_factory=list)

    @property
    def full(self) -> bool:
        """Whether as many records were shown as were asked for."""
        return self.limit is not None and self.shown >= self.limit

    def heading(self) -> None:
        """Write the heading that the format has."""
        if self.output.format == TABLE and self.template is None:
            self.output.text(record_heading(topics=self.topics))

    @property
    def leaves_open(self) -> bool:
        """Whether a record may be shown as undecided, and nothing that is shown later decides it.

        Control records do, and formats without marks say nothing of transactions.
        """
        return self.template is None and self.output.format in FORMATS and not self.controls

    def add(self, record: ReadRecord) -> bool:
        """Take one record; it is written by the next `flush`. Returns whether it passes."""
        self.read += 1
        if self.filter is not None and not self.filter(record):
            return False
        self.shown += 1
        self._pending.append(self._rendered(record))
        return True

    def marker(self, topic: str, partition: int, marker: Marker, stable_end: int | None) -> None:
        """Take a control record."""
        if self.controls:
            text = self.output.line_text(
                marker_json(topic, partition, marker, stable_end),
                lambda: marker_line(topic, partition, marker, topics=self.topics),
            )
            self._pending.append(_encoded(text))

    def control(self, data: Mapping[str, Any]) -> bool:
        """Take a line about reading itself; False when the format has none."""
        if not self.controls or self.output.format not in {JSON, YAML}:
            return False
        self._pending.append(_encoded(self.output.line_text(data, str)))
        return True

    def flush(self) -> None:
        """Write what was taken."""
        if self._pending:
            pending, self._pending = b"".join(self._pending), []
            self.output.raw(pending)
        elif self.filter is not None and self.read:
            self.output.progress(f"{self.read} records read, {self.shown} shown")

    def _rendered(self, record: ReadRecord) -> bytes:
        form = self.output.format
        if self.template is not None and form in {TABLE, TEMPLATE}:
            return _encoded(self.template(record)) + self.delimiter
        if form == RAW:
            return (record.value or b"") + self.delimiter
        if form == STRING:
            return _encoded(record_string(record)) + self.delimiter
        if form == HEX:
            return _encoded(record_hex(record) + "\n")
        text = self.output.line_text(
            record_json(record), lambda: record_line(record, topics=self.topics)
        )
        return _encoded(text)


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def read_record(
    record: Any, transaction: Transaction | None = None, *, stable: bool = True
) -> ReadRecord:
    """Return the record of a client library as ours."""
    headers: Sequence[tuple[str, bytes | None]] = record.headers
    return ReadRecord(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        timestamp_ms=-1 if record.timestamp is None else record.timestamp,
        key=record.key,
        value=record.value,
        headers=headers,
        transaction=transaction,
        stable=stable,
    )
