"""The one writer: data to stdout, talk to stderr.

Data is bytes that scripts rely on: a document (table, JSON or YAML) or a stream of lines. Talk is
for a person and never reaches stdout. Nothing else in the shell writes to either.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO, TextIO

TABLE, JSON, YAML, RAW = "table", "json", "yaml", "raw"
FORMATS = (TABLE, JSON, YAML)

_ANSI = {"good": "32", "bad": "31;1", "warn": "33", "dim": "2", "strong": "1", "note": "36"}
_RICH = {
    "good": "green",
    "bad": "bold red",
    "warn": "yellow",
    "dim": "dim",
    "strong": "bold",
    "note": "cyan",
}
# Wider than any terminal: a table that goes into a pipe is never folded.
_PIPE_WIDTH = 10_000


@dataclass(frozen=True, slots=True)
class Cell:
    """One value of a table with the tone it is drawn in: good, bad, warn, dim, strong or note."""

    text: object
    tone: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under headings; columns named in `right` are aligned to the right."""

    columns: tuple[str, ...]
    rows: Sequence[Sequence[object]]
    right: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Facts:
    """Names and values, one pair a line."""

    pairs: Sequence[tuple[str, object]]


Block = Table | Facts


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
    width: int | None = None
    _progress_columns: int = field(default=0, init=False)

    def document(self, data: Any, table: Callable[[], Sequence[Block]]) -> None:
        """Write one whole answer: `data` as JSON or YAML, or the blocks that `table` returns."""
        if self.format == JSON:
            self._write(json.dumps(data, indent=2, ensure_ascii=False) + "\n")
        elif self.format == YAML:
            self._write(_yaml(data))
        else:
            self._write(self._tables(table()))

    def line(self, data: Mapping[str, Any], text: Callable[[], str]) -> None:
        """Write one element of a stream and flush it: a JSON line, a YAML document or a text line.

        The text may hold tones made by `paint`.
        """
        if self.format == JSON:
            self._write(json.dumps(data, ensure_ascii=False) + "\n")
        elif self.format == YAML:
            self._write("---\n" + _yaml(data))
        else:
            self._write(text() + "\n")

    def raw(self, data: bytes) -> None:
        """Write bytes as they are and flush them."""
        self.end_progress()
        self.stdout.write(data)
        self.stdout.flush()

    def text(self, text: str) -> None:
        """Write plain text that is the answer itself, in whatever format was asked for."""
        self._write(text if text.endswith("\n") else text + "\n")

    def paint(self, text: object, tone: str) -> str:
        """Return the text in a tone when stdout shows colours."""
        return _ansi(str(text), tone) if self.color_out else str(text)

    def say(self, text: str, tone: str = "") -> None:
        """Tell the person something that is not data."""
        self.end_progress()
        self.stderr.write((_ansi(text, tone) if self.color_err else text) + "\n")
        self.stderr.flush()

    def warn(self, text: str) -> None:
        """Tell of something that may surprise later."""
        self.say(f"warning: {text}", "warn")

    def error(self, text: str, hint: str | None = None) -> None:
        """Tell what failed, and on a second line what to do."""
        self.end_progress()
        prefix = _ansi("error:", "bad") if self.color_err else "error:"
        self.stderr.write(f"{prefix} {text}\n")
        if hint:
            self.stderr.write(f"  {hint}\n")
        self.stderr.flush()

    def progress(self, text: str) -> None:
        """Redraw the line of progress; says nothing when no person is reading."""
        if not self.interactive:
            return
        padding = " " * max(0, self._progress_columns - len(text))
        self.stderr.write("\r" + text + padding)
        self.stderr.flush()
        self._progress_columns = len(text)

    def end_progress(self) -> None:
        """Clear the line of progress, if one is shown."""
        if self._progress_columns:
            self.stderr.write("\r" + " " * self._progress_columns + "\r")
            self.stderr.flush()
            self._progress_columns = 0

    def _write(self, text: str) -> None:
        self.end_progress()
        self.stdout.write(text.encode("utf-8", "surrogateescape"))
        self.stdout.flush()

    def _tables(self, blocks: Sequence[Block]) -> str:
        import io

        from rich.console import Console

        target = io.StringIO()
        console = Console(
            file=target,
            width=self.width or _PIPE_WIDTH,
            force_terminal=self.color_out,
            no_color=not self.color_out,
            color_system="standard" if self.color_out else None,
            highlight=False,
            markup=False,
            emoji=False,
        )
        for index, block in enumerate(blocks):
            if index:
                console.print()
            console.print(_rich_block(block))
        lines = [line.rstrip() for line in target.getvalue().splitlines()]
        return "\n".join(lines) + "\n" if lines else ""


def _rich_block(block: Block) -> Any:
    from rich.table import Table as RichTable
    from rich.text import Text

    def cell(value: object) -> Text:
        if isinstance(value, Cell):
            return Text(_shown(value.text), style=_RICH.get(value.tone, ""))
        return Text(_shown(value))

    table = RichTable(
        box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=isinstance(block, Table)
    )
    if isinstance(block, Facts):
        table.add_column(style="dim", no_wrap=True)
        table.add_column()
        for name, value in block.pairs:
            table.add_row(Text(name), cell(value))
        return table
    for name in block.columns:
        table.add_column(
            name,
            justify="right" if name in block.right else "left",
            header_style="bold",
            overflow="fold",
        )
    for row in block.rows:
        table.add_row(*(cell(value) for value in row))
    return table


def _shown(value: object) -> str:
    if value is None:
        return "-"
    if value is True or value is False:
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ",".join(str(item) for item in value) or "-"
    return str(value)


def _yaml(data: Any) -> str:
    import yaml

    text: str = yaml.safe_dump(data, sort_keys=False, allow_unicode=True, default_flow_style=False)
    return text


def _ansi(text: str, tone: str) -> str:
    return f"\x1b[{_ANSI[tone]}m{text}\x1b[0m" if tone else text
