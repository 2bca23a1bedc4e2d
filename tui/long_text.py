"""Text of any length: wrapped in another thread, and drawn only as far as it is seen.

A widget that lays out all of its text holds every key for seconds once a record has a megabyte.
Must never put a character on the screen that moves the cursor or changes colours.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import ClassVar

from rich.cells import cell_len, get_character_cell_size
from rich.segment import Segment
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

TAB = 4


class LongText(ScrollView, can_focus=False):
    """A text that may take long to make; it is made and wrapped anew where the width changes."""

    DEFAULT_CSS: ClassVar[str] = "LongText { height: 1fr; }"

    lines: Sequence[str] = ()
    _make: Callable[[], str] | None = None
    _width = 0

    def show(self, make: Callable[[], str]) -> None:
        """Show what `make` gives; it is called in another thread."""
        self._make = make
        self._take(["…"])
        self._begin()

    def on_resize(self) -> None:
        """Wrap for another width."""
        if self._make is not None and self._width != self._room:
            self._begin()

    @property
    def _room(self) -> int:
        return self.size.width - self.scrollbar_size_vertical

    def _begin(self) -> None:
        self._width = self._room
        if self._width > 0:
            wrapping: Callable[[], Awaitable[int]] = self._wrap
            self.run_worker(wrapping, group="wrap", exclusive=True)

    async def _wrap(self) -> int:
        make, width = self._make, self._width
        assert make is not None
        lines = await asyncio.to_thread(lambda: wrapped(make(), width))
        self._take(lines)
        return len(lines)

    def _take(self, lines: Sequence[str]) -> None:
        self.lines = lines
        self.virtual_size = Size(self._width, len(lines))
        self.scroll_to(y=0, animate=False, immediate=True)
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """The line at a row that is seen."""
        number = y + self.scroll_offset.y
        style = self.rich_style
        if number >= len(self.lines):
            return Strip.blank(self.size.width, style)
        line = Strip([Segment(self.lines[number], style)])
        return line.adjust_cell_length(self.size.width, style)


def wrapped(text: str, width: int) -> list[str]:
    """Lines of at most `width` cells, cut wherever they end. Control characters become dots."""
    width = max(2, width)
    found: list[str] = []
    for line in text.split("\n"):
        line = line.removesuffix("\r").expandtabs(TAB)
        if not line.isprintable():
            line = "".join(each if each.isprintable() else "·" for each in line)
        if line.isascii():
            found += [line[at : at + width] for at in range(0, max(1, len(line)), width)]
        elif len(line) <= width and cell_len(line) <= width:
            found.append(line)
        else:
            found += _cut(line, width)
    return found


def _cut(line: str, width: int) -> list[str]:
    parts: list[str] = []
    begin = used = 0
    for at, letter in enumerate(line):
        cells = get_character_cell_size(letter)
        if used + cells > width:
            parts.append(line[begin:at])
            begin, used = at, 0
        used += cells
    return [*parts, line[begin:]]
