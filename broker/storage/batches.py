"""Batch headers as plain tuples, and the walk over the batches of a file.

The hot path and recovery look at one header a batch and never at records. A header is the tuple
that ``HEADER.unpack_from`` gives; the constants name its places. The walk must never trust bytes
that it has not checked: a length decides how far it goes.
"""

from collections.abc import Iterator
from struct import Struct
from typing import TypeAlias

from crc32c import crc32c

from broker.storage.disk import File

HEADER_BYTES = 61
PREFIX_BYTES = 12  # base offset and length, which the length does not count
LENGTH_MIN = HEADER_BYTES - PREFIX_BYTES
CRC_FROM = 21  # the checksum covers everything from the attributes on
MAGIC = 2

TRANSACTIONAL = 0x10
CONTROL = 0x20
LOG_APPEND_TIME = 0x08

HEADER = Struct(">qiibIhiqqqhii")
PREFIX = Struct(">qii")  # base offset, length, leader epoch: what a leader rewrites
PREFIX_REWRITTEN = 16

Header: TypeAlias = tuple[int, int, int, int, int, int, int, int, int, int, int, int, int]
BASE_OFFSET = 0
LENGTH = 1
LEADER_EPOCH = 2
ATTRIBUTES = 5
LAST_DELTA = 6
BASE_TIMESTAMP = 7
MAX_TIMESTAMP = 8
PRODUCER_ID = 9
PRODUCER_EPOCH = 10
BASE_SEQUENCE = 11
COUNT = 12

CHUNK_BYTES = 1 << 16
CRC_CHUNK_BYTES = 1 << 20


class BadBatch(Exception):
    """The walk met something that is no batch; ``torn`` when the file merely ends too early."""

    def __init__(self, position: int, offset: int, reason: str, *, torn: bool = False) -> None:
        super().__init__(reason)
        self.position = position
        self.offset = offset
        self.reason = reason
        self.torn = torn


def header_problem(header: Header) -> str | None:
    """Why this is no header of a batch, or None."""
    if header[3] != MAGIC:
        return f"magic byte {header[3]}, not {MAGIC}"
    if header[LENGTH] < LENGTH_MIN:
        return f"length {header[LENGTH]} is shorter than a header"
    if header[BASE_OFFSET] < 0:
        return f"base offset {header[BASE_OFFSET]} is negative"
    if header[COUNT] < 0 or header[LAST_DELTA] < 0:
        return f"{header[COUNT]} records and last offset delta {header[LAST_DELTA]}"
    return None


def largest_timestamp(header: Header) -> int:
    """The largest timestamp of the records that are there; -1 when compaction left none."""
    return header[MAX_TIMESTAMP] if header[COUNT] else -1


def walk(
    file: File, position: int, end: int, offset: int, *, sparse: bool = False
) -> Iterator[tuple[int, Header]]:
    """Headers of the batches in ``[position, end)`` of a file, without their checksums.

    The first batch must begin at ``offset`` and each at the end of the one before, or above it
    when the log is ``sparse`` (compacted). Raises BadBatch where that breaks.
    """
    chunk = b""
    chunk_at = position
    step = CHUNK_BYTES
    while position < end:
        at = position - chunk_at
        if at < 0 or at + HEADER_BYTES > len(chunk):
            chunk = file.read(position, min(step, end - position))
            chunk_at, at = position, 0
            if len(chunk) < HEADER_BYTES:
                raise BadBatch(position, offset, "the file ends inside a header", torn=True)
        header: Header = HEADER.unpack_from(chunk, at)
        _check_place(header, position, end, offset, sparse)
        yield position, header
        size = header[LENGTH] + PREFIX_BYTES
        # Large batches: read headers alone instead of dragging their records along.
        step = HEADER_BYTES if size > CHUNK_BYTES // 2 else CHUNK_BYTES
        position += size
        offset = header[BASE_OFFSET] + header[LAST_DELTA] + 1


def walk_checked(
    file: File, position: int, end: int, offset: int, *, sparse: bool = False
) -> Iterator[tuple[int, Header]]:
    """As ``walk``, but each batch is read whole and its checksum compared."""
    chunk = memoryview(b"")
    chunk_at = position
    epoch = -1
    while position < end:
        at = position - chunk_at
        if at + HEADER_BYTES > len(chunk):
            chunk, chunk_at, at = _refill(file, position, CRC_CHUNK_BYTES, end), position, 0
            if len(chunk) < HEADER_BYTES:
                raise BadBatch(position, offset, "the file ends inside a header", torn=True)
        header: Header = HEADER.unpack_from(chunk, at)
        _check_place(header, position, end, offset, sparse)
        size = header[LENGTH] + PREFIX_BYTES
        if at + size > len(chunk):
            chunk, chunk_at, at = _refill(file, position, size, end), position, 0
        if crc32c(chunk[at + CRC_FROM : at + size]) != header[4]:
            raise BadBatch(position, offset, "the checksum does not match")
        if header[LEADER_EPOCH] < epoch:
            # Left over from before a truncation: its epoch is older than the batch before it.
            reason = f"leader epoch {header[LEADER_EPOCH]} after {epoch}"
            raise BadBatch(position, offset, reason)
        epoch = header[LEADER_EPOCH]
        yield position, header
        position += size
        offset = header[BASE_OFFSET] + header[LAST_DELTA] + 1


def _refill(file: File, position: int, wanted: int, end: int) -> memoryview:
    return memoryview(file.read(position, min(max(wanted, CRC_CHUNK_BYTES), end - position)))


def _check_place(header: Header, position: int, end: int, offset: int, sparse: bool) -> None:
    problem = header_problem(header)
    if problem is not None:
        raise BadBatch(position, offset, problem)
    base = header[BASE_OFFSET]
    if base != offset and not (sparse and base > offset):
        raise BadBatch(position, offset, f"the batch has offset {base}, {offset} comes next")
    if position + header[LENGTH] + PREFIX_BYTES > end:
        raise BadBatch(position, offset, "the file ends inside a batch", torn=True)


def batch_follows(file: File, position: int, end: int, offset: int) -> bool:
    """Whether a whole, intact batch above ``offset`` begins anywhere after ``position``.

    It tells a file that ends too early from a length that was damaged in the middle.
    """
    while position + HEADER_BYTES < end:
        data = memoryview(file.read(position, min(2 * CRC_CHUNK_BYTES, end - position)))
        text = bytes(data)
        found = text.find(MAGIC, PREFIX_REWRITTEN + 1)
        while found >= 0:
            at = found - PREFIX_REWRITTEN
            if at + HEADER_BYTES > len(data):
                break
            header: Header = HEADER.unpack_from(data, at)
            if header_problem(header) is None and offset < header[BASE_OFFSET] < offset + 2**31:
                size = header[LENGTH] + PREFIX_BYTES
                whole = file.read(position + at, min(size, end - position - at))
                if len(whole) == size and crc32c(memoryview(whole)[CRC_FROM:]) == header[4]:
                    return True
            found = text.find(MAGIC, found + 1)
        position += CRC_CHUNK_BYTES
    return False
