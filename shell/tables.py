"""Tables and facts as text that fits a width.

Pure. Drawn here and not by a library because every one-shot command pays for what it loads. A cell
is never cut: what does not fit is folded onto more lines, and where even that is too wide for the
terminal a row is shown as facts, one cell a line.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from shell.exits import UsageProblem
from shell.nearest import did_you_mean

_GAP = 2
_NARROWEST = 6
_ANSI = {"good": "32", "bad": "31;1", "warn": "33", "dim": "2", "strong": "1", "note": "36"}
_NUMBER = re.compile(r"(-?\d+(?:\.\d+)?)\s*([A-Za-z/%]*)")
_UNITS = {
    "b": 1,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "tib": 2**40,
    "ms": 1,
    "s": 1_000,
    "m": 60_000,
    "h": 3_600_000,
    "d": 86_400_000,
}

Paint = Callable[[str, str], str]


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


def ansi(text: str, tone: str) -> str:
    """Return the text in a tone's colour for a terminal."""
    return f"\x1b[{_ANSI[tone]}m{text}\x1b[0m" if tone else text


def render(blocks: Sequence[Block], width: int | None, *, color: bool) -> str:
    """Return blocks as text, an empty line between two; without a width nothing is folded."""
    paint: Paint = ansi if color else lambda text, tone: text
    return "\n".join(_block(block, width, paint) for block in blocks)


def select(blocks: Sequence[Block], columns: Sequence[str], sort: str | None) -> Sequence[Block]:
    """Return the blocks with the named columns alone, in that order, and rows sorted by a column.

    `sort` begins with "-" for the largest first. Tables that lack a column are left as they are;
    raises UsageProblem with the nearest name when no table has it.
    """
    if not columns and sort is None:
        return blocks
    tables = [block for block in blocks if isinstance(block, Table)]
    wanted = [*columns, *([sort.lstrip("-")] if sort else [])]
    known = list(dict.fromkeys(name for table in tables for name in table.columns))
    by_name = {_plain(name): name for name in known}
    for name in wanted:
        if _plain(name) not in by_name:
            listed = f" There are {', '.join(known)}." if known else " This answer has no columns."
            raise UsageProblem(
                f"There is no column '{name}'.{did_you_mean(name.upper(), known) or listed}"
            )
    names = [by_name[_plain(name)] for name in columns]
    key = by_name[_plain(sort.lstrip("-"))] if sort else None
    return [
        _selected(block, names, key, reverse=bool(sort and sort.startswith("-")))
        if isinstance(block, Table)
        else block
        for block in blocks
    ]


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _selected(table: Table, names: Sequence[str], key: str | None, *, reverse: bool) -> Table:
    if key in table.columns:
        at = table.columns.index(key)
        rows = sorted(table.rows, key=lambda row: _sort_key(row[at]), reverse=reverse)
        table = replace(table, rows=rows)
    if names and set(names) <= set(table.columns):
        places = [table.columns.index(name) for name in names]
        rows = [[row[place] for place in places] for row in table.rows]
        table = replace(table, columns=tuple(names), rows=rows)
    return table


def _sort_key(value: object) -> tuple[int, float, str]:
    raw = value.text if isinstance(value, Cell) else value
    if raw is None:
        return 2, 0, ""
    if isinstance(raw, (int, float)):
        return 0, float(raw), ""
    match = _NUMBER.match(str(raw))
    unit = match[2].lower() if match else ""
    if match and (unit in _UNITS or not unit):
        return 0, float(match[1]) * _UNITS.get(unit, 1), str(raw)
    return 1, 0, str(raw).lower()


def _block(block: Block, width: int | None, paint: Paint) -> str:
    if isinstance(block, Facts):
        rows = [[Cell(name, "dim"), value] for name, value in block.pairs]
        return _draw(rows, [False, False], width, paint, keep=1)
    heading: list[object] = [Cell(name, "strong") for name in block.columns]
    if width is not None and block.rows and _narrowest(block) > width:
        return "\n".join(
            _block(Facts([*zip(block.columns, row, strict=True)]), width, paint)
            for row in block.rows
        )
    right = [name in block.right for name in block.columns]
    return _draw([heading, *block.rows], right, width, paint)


def _narrowest(table: Table) -> int:
    """The columns of a terminal that the table takes when all is folded that may be."""
    least = 0
    for place, name in enumerate(table.columns):
        cells = [row[place] for row in table.rows]
        texts = [cell.text if isinstance(cell, Cell) else cell for cell in cells]
        widest = max((_widest(_shown(text)) for text in texts), default=0)
        least += min(_NARROWEST, max(_columns(name), widest)) + _GAP
    return least - _GAP


def _draw(
    rows: Sequence[Sequence[object]],
    right: Sequence[bool],
    width: int | None,
    paint: Paint,
    keep: int = 0,
) -> str:
    cells = [[value if isinstance(value, Cell) else Cell(value) for value in row] for row in rows]
    texts = [[_shown(cell.text) for cell in row] for row in cells]
    widths = [max((_widest(row[i]) for row in texts), default=0) for i in range(len(right))]
    if width is not None:
        widths = _fit(widths, width, keep)
    lines = []
    for row, shown in zip(cells, texts, strict=True):
        folded = [_fold(text, size) for text, size in zip(shown, widths, strict=True)]
        for line in range(max((len(parts) for parts in folded), default=0)):
            parts = [part[line] if line < len(part) else "" for part in folded]
            lines.append(_line(parts, row, widths, right, paint))
    return "".join(f"{line}\n" for line in lines)


def _line(
    parts: Sequence[str],
    row: Sequence[Cell],
    widths: Sequence[int],
    right: Sequence[bool],
    paint: Paint,
) -> str:
    out, trailing = "", 0
    for index, (part, cell) in enumerate(zip(parts, row, strict=True)):
        space = widths[index] - _columns(part)
        before = space if right[index] else 0
        if part:
            out += " " * (trailing + before) + paint(part, cell.tone)
            trailing = space - before + _GAP
        else:
            trailing += widths[index] + _GAP
    return out


def _fit(widths: Sequence[int], width: int, keep: int) -> list[int]:
    """Narrow the widest columns, one column of the terminal at a time, until all fit."""
    found = list(widths)
    over = sum(found) + _GAP * (len(found) - 1) - width
    while over > 0:
        candidates = range(keep, len(found))
        widest = max(candidates, key=lambda i: found[i], default=None)
        if widest is None or found[widest] <= _NARROWEST:
            break
        second = max((found[i] for i in candidates if i != widest), default=0)
        less = min(over, max(1, found[widest] - max(second, _NARROWEST)))
        found[widest] -= less
        over -= less
    return found


def _fold(text: str, width: int) -> list[str]:
    lines = []
    for line in text.split("\n"):
        rest = line
        while _columns(rest) > width > 0:
            cut = _cut(rest, width)
            lines.append(rest[:cut].rstrip(" "))
            rest = rest[cut:].lstrip(" ")
        lines.append(rest)
    return lines


def _cut(text: str, width: int) -> int:
    size = 0
    end = len(text)
    for index, character in enumerate(text):
        size += _columns(character)
        if size > width:
            end = max(1, index)
            break
    # A break after a separator reads better, when it does not waste half of the line.
    for mark in (" ", ",", "/"):
        at = text.rfind(mark, end // 2, end)
        if at >= 0:
            return at + 1
    return end


def _widest(text: str) -> int:
    return max(_columns(line) for line in text.split("\n"))


def _columns(text: str) -> int:
    if text.isascii():
        return len(text)
    from wcwidth import wcswidth

    size: int = wcswidth(text)
    return size if size >= 0 else len(text)


def _shown(value: object) -> str:
    if value is None:
        return "-"
    if value is True or value is False:
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ",".join(str(item) for item in value) or "-"
    text = str(value)
    if text.isprintable() or text.replace("\n", "").isprintable():
        return text
    # A name may come from anybody: it must not move the cursor or change colours.
    return "".join(
        c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text
    )
