"""Cuts lines into JSON documents: one a line, spread over several, or the elements of an array.

Pure. A document on one line stays byte for byte as it is; one that is spread over lines loses the
space between its parts, never a byte of a text or a number. What is no JSON is told with its line,
and reading goes on where the next document seems to begin.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from shell.exits import Failed

# A text of JSON never goes over the end of a line. The last quote is missing in a broken one.
_PARTS = re.compile(rb'"(?:[^"\\]|\\.)*"?|[\[\]{},]')
_TEXT_OR_SPACE = re.compile(rb'("(?:[^"\\]|\\.)*")|[ \t\r\n]+')
_SPACE = b" \t\r\n"
_OPENING, _CLOSING = b"{[", b"}]"
DOCUMENT_BYTES_MAX = 100 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Document:
    """The bytes of one document and where it begins, as in "line 3" or "line 3 (element 2)"."""

    content: bytes
    place: str


@dataclass(frozen=True, slots=True)
class Broken:
    """What is no JSON: its place, and what is wrong with it."""

    place: str
    reason: str


Found = Document | Broken


@dataclass(slots=True)
class DocumentReader:
    """Feed it line after line, then call `end()`. `split_arrays` gives elements, not arrays."""

    split_arrays: bool = True
    _unread: deque[bytes] = field(default_factory=deque)
    _lines: list[bytes] = field(default_factory=list)
    _first: int = 0
    _number: int = 0
    _depth: int = 0
    _size_bytes: int = 0
    # Elements that were given of the array being read; None outside of arrays that are split.
    _elements: int | None = None
    _array_first: int = 0
    _after_comma: bool = False
    _lost: bool = False

    def feed(self, line: bytes) -> Iterator[Found]:
        """Yield what is complete after one more line. Raises Failed for one beyond all limits."""
        self._unread.append(line)
        yield from self._read()

    def end(self) -> Iterator[Found]:
        """Yield what is wrong when the lines end here."""
        while self._lines and self._elements is None:
            yield Broken(self._place(self._first), "a document begins that never ends")
            self._go_back()
            yield from self._read()
        if self._elements is not None:
            yield Broken(self._place(self._array_first), "an array begins that never ends")
        self._forget()

    def _read(self) -> Iterator[Found]:
        while self._unread:
            line = self._unread.popleft()
            self._number += 1
            if self._lost:
                if not line.strip() or line[:1] in b" \t\r,}]":
                    continue  # still the document that is broken
                self._lost = False
            if self._elements is not None:
                yield from self._of_array(line)
            elif self._lines:
                yield from self._of_document(line)
            elif line.strip():
                yield from self._fresh(line)

    def _go_back(self) -> None:
        """Read again what follows the first line of a document that was cut off there."""
        self._unread.extendleft(reversed(self._lines[1:]))
        self._number = self._first
        self._lose()

    # A document

    def _fresh(self, line: bytes) -> Iterator[Found]:
        start = line.lstrip(_SPACE)
        self._first = self._number
        if start[:1] == b"[" and self.split_arrays:
            self._elements, self._array_first = 0, self._number
            yield from self._of_array(start[1:])
        elif start[:1] in (b"{", b"[") and _problem(line, self._number, complete=True) is not None:
            yield from self._of_document(line)
        else:
            yield Document(line.rstrip(b"\r"), self._place(self._number))

    def _of_document(self, line: bytes) -> Iterator[Found]:
        again = bool(self._lines) and line[:1] in (b"{", b"[")
        if again and self._problem([*self._lines, line]) is not None:
            # The one before was cut off.
            yield self._broken([*self._lines, line])
            self._lines.append(line)
            self._go_back()
            return
        first = not self._lines
        self._add(line)
        for part in _PARTS.finditer(line):
            self._depth += _step(part[0])
        if self._depth <= 0:
            yield self._complete(self._lines, self._place(self._first), self._first)
            self._forget()
        elif first and self._problem(self._lines) is not None:
            yield self._broken(self._lines)
            self._lose()

    def _add(self, line: bytes) -> None:
        self._lines.append(line)
        self._size_bytes += len(line)
        if self._size_bytes > DOCUMENT_BYTES_MAX:
            limit_mib = DOCUMENT_BYTES_MAX // 1024 // 1024
            raise Failed(
                f"The document that begins in line {self._first} is longer than {limit_mib} MiB.",
                hint="Is a closing bracket missing? --dry-run checks without writing.",
            )

    def _broken(self, lines: list[bytes]) -> Broken:
        return Broken(self._place(self._first), self._problem(lines) or "it is cut off")

    def _problem(self, lines: list[bytes]) -> str | None:
        """What is wrong with the beginning of a document, None while it may still go well."""
        return _problem(b"\n".join(lines), self._first, complete=False)

    def _complete(self, lines: list[bytes], place: str, first: int) -> Found:
        content = b"\n".join(lines).strip(_SPACE)
        reason = _problem(content, first, complete=True)
        if reason is not None:
            return Broken(place, reason)
        if b"\n" in content:
            content = _TEXT_OR_SPACE.sub(lambda part: part[1] or b"", content)
        return Document(content, place)

    # An array of documents

    def _of_array(self, line: bytes) -> Iterator[Found]:
        at = 0
        for part in _PARTS.finditer(line):
            sign = part[0]
            ends = self._depth == 0 and sign in (b",", b"]")
            if not ends:
                self._depth += _step(sign)
                if self._depth >= 0:
                    continue
                yield Broken(self._place(self._number), f"{sign.decode()} closes nothing")
                self._lose()
                return
            self._take(line[at : part.start()])
            at = part.end()
            yield from self._element(last=sign == b"]")
            if sign == b"]":
                self._forget()
                yield from self._after(line[at:])
                return
        self._take(line[at:])

    def _take(self, piece: bytes) -> None:
        if self._lines or piece.strip(_SPACE):
            self._elements = self._elements or 0
            if not self._lines:
                self._first = self._number
            self._add(piece)

    def _element(self, *, last: bool) -> Iterator[Found]:
        assert self._elements is not None
        lines, first = self._lines, self._first
        empty = not lines
        self._lines, self._size_bytes = [], 0
        if empty and last and not self._after_comma:
            return  # an array of nothing
        self._after_comma = not last
        self._elements += 1
        if empty:
            yield Broken(self._place(self._number), "a comma stands where a value is missing")
            return
        place = f"{self._place(first)} (element {self._elements})"
        yield self._complete(lines, place, first)

    def _after(self, rest: bytes) -> Iterator[Found]:
        if rest.strip(_SPACE):
            yield Broken(self._place(self._number), "something follows the end of the array")

    def _lose(self) -> None:
        self._forget()
        self._lost = True

    def _forget(self) -> None:
        self._lines, self._size_bytes, self._depth = [], 0, 0
        self._elements, self._after_comma = None, False

    @staticmethod
    def _place(number: int) -> str:
        return f"line {number}"


def _step(part: bytes) -> int:
    if part in (b"{", b"["):
        return 1
    return -1 if part in (b"}", b"]") else 0


def _problem(content: bytes, first: int, *, complete: bool) -> str | None:
    try:
        json.loads(content)
    except json.JSONDecodeError as error:
        if not complete and error.pos >= len(error.doc.rstrip()):
            return None
        return f"{error.msg}: line {first + error.lineno - 1} column {error.colno}"
    except UnicodeDecodeError:
        return "not UTF-8"
    except (ValueError, RecursionError) as error:
        return str(error)
    return None
