"""The one writer: data to stdout, talk to stderr.

Data is bytes that scripts rely on: a document (table, JSON or YAML) or a stream of lines. Talk is
for a person and never reaches stdout. Nothing else in the shell writes to either.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO, TextIO

from shell.tables import Block, Cell, Facts, Table, ansi, render, select

__all__ = ["Block", "Cell", "Facts", "Output", "Table"]

TABLE, JSON, YAML, RAW = "table", "json", "yaml", "raw"
FORMATS = (TABLE, JSON, YAML)
# Formats of records alone: values as bytes, a dump, values as text, or a text of one's own.
HEX, STRING, TEMPLATE = "hex", "string", "template"
RECORD_FORMATS = (RAW, HEX, STRING, TEMPLATE)
# "lines" in it asks for `Output.progress_lines`.
PROGRESS_VARIABLE = "_LOGCTL_PROGRESS"


@dataclass(slots=True)
class Output:
    """Where a command's words go.

    `stdout` takes bytes, `stderr` text. `color_out` and `color_err` say whether each understands
    colours; `interactive` whether a person reads stderr (progress lines are redrawn in place).
    """

    stdout: BinaryIO
    stderr: TextIO
    format: str = TABLE
    color_out: bool = False
    color_err: bool = False
    interactive: bool = False
    # Progress as lines of their own that begin with "\r", for a program that shows them in place.
    progress_lines: bool = False
    width: int | None = None
    # Columns of tables to show, and the one to sort by; both for tables alone.
    columns: Sequence[str] = ()
    sort: str | None = None
    # Whether what runs comes to its end when nobody reads its words any more, as it must when it
    # changes something: `apply | head -1` leaves nothing half done.
    carries_on: bool = False
    # Shows a long table instead of writing it; returns whether it did.
    pager: Callable[[str], bool] | None = None
    # The last whole answer as text, for a shell that may have to show it again.
    last_answer: str | None = field(default=None, init=False)
    _progress_columns: int = field(default=0, init=False)

    def document(self, data: Any, table: Callable[[], Sequence[Block]]) -> None:
        """Write one whole answer: `data` as JSON or YAML, or the blocks that `table` returns."""
        if self.format == JSON:
            self._write(json.dumps(data, indent=2, ensure_ascii=False) + "\n")
        elif self.format == YAML:
            self._write(_yaml(data))
        else:
            blocks = select(table(), self.columns, self.sort)
            self._show(render(blocks, self.width, color=self.color_out))

    def line(self, data: Mapping[str, Any], text: Callable[[], str]) -> None:
        """Write one element of a stream and flush it: a JSON line, a YAML document or a text line.

        The text may hold tones made by `paint`.
        """
        self._write(self.line_text(data, text))

    def line_text(self, data: Mapping[str, Any], text: Callable[[], str]) -> str:
        """Return what `line` writes, for those that write many at once."""
        if self.format == JSON:
            return json.dumps(data, ensure_ascii=False) + "\n"
        if self.format == YAML:
            return "---\n" + _yaml(data)
        return text() + "\n"

    def raw(self, data: bytes) -> None:
        """Write bytes as they are and flush them."""
        self.end_progress()
        self._put(self.stdout, data)

    def text(self, text: str) -> None:
        """Write plain text that is the answer itself, in whatever format was asked for."""
        whole = text if text.endswith("\n") else text + "\n"
        self.end_progress()
        if self.pager is None or not self.pager(whole):
            self._write(whole)

    def paint(self, text: object, tone: str) -> str:
        """Return the text in a tone when stdout shows colours."""
        return ansi(str(text), tone) if self.color_out else str(text)

    def say(self, text: str, tone: str = "") -> None:
        """Tell the person something that is not data."""
        self.end_progress()
        self._put(self.stderr, (ansi(text, tone) if self.color_err else text) + "\n")

    def warn(self, text: str) -> None:
        """Tell of something that may surprise later."""
        self.say(f"warning: {text}", "warn")

    def error(self, text: str, hint: str | None = None) -> None:
        """Tell what failed, and on a second line what to do."""
        self.end_progress()
        prefix = ansi("error:", "bad") if self.color_err else "error:"
        self._put(self.stderr, f"{prefix} {text}\n" + (f"  {hint}\n" if hint else ""))

    def progress(self, text: str) -> None:
        """Redraw the line of progress; says nothing when no person is reading."""
        if self.progress_lines:
            self._put(self.stderr, f"\r{text}\n")
            return
        if not self.interactive:
            return
        padding = " " * max(0, self._progress_columns - len(text))
        self._put(self.stderr, "\r" + text + padding)
        self._progress_columns = len(text)

    def end_progress(self) -> None:
        """Clear the line of progress, if one is shown."""
        if self._progress_columns:
            blank, self._progress_columns = " " * self._progress_columns, 0
            self._put(self.stderr, f"\r{blank}\r")

    def _show(self, text: str) -> None:
        self.last_answer = text
        self.end_progress()
        if self.pager is None or not self.pager(text):
            self._write(text)

    def _write(self, text: str) -> None:
        self.end_progress()
        self._put(self.stdout, text.encode("utf-8", "surrogateescape"))

    def _put(self, stream: Any, words: str | bytes) -> None:
        try:
            stream.write(words)
            stream.flush()
        except BrokenPipeError:
            if not self.carries_on:
                raise
            # What is left in the buffer goes the same way, also when the program ends.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)


def _yaml(data: Any) -> str:
    import yaml

    text: str = yaml.safe_dump(data, sort_keys=False, allow_unicode=True, default_flow_style=False)
    return text
