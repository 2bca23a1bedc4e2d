"""Flexible encoding of declared dataclasses: how metadata records become bytes and back.

A field's metadata says how it travels: its Kafka type (``kind``), the first version that has it
(``since``), its tag and whether null is allowed. It must never know what a record means, and raises
DecodeError or EncodeError and nothing else.
"""

import struct
import sys
import uuid
from collections.abc import Callable, Sequence
from dataclasses import MISSING, fields
from functools import cache
from typing import Any, Final, NamedTuple

from broker.protocol.errors import (
    BufferUnderflow,
    CountTooLarge,
    EncodeError,
    InvalidText,
    InvalidValue,
    UnexpectedNull,
)
from broker.protocol.primitives import Buffer, encode_uvarint, read_uvarint

ELEMENTS_MAX: Final = 1_000_000
TAGGED_FIELDS_MAX: Final = 10_000

Reader = Callable[[Buffer, int, int], tuple[Any, int]]
Writer = Callable[[list[bytes], Any], None]

_FIXED: Final = {
    "bool": ">?",
    "int8": ">b",
    "int16": ">h",
    "int32": ">i",
    "int64": ">q",
    "uint16": ">H",
    "float64": ">d",
}


class _Field(NamedTuple):
    name: str
    tag: int
    default: Any
    read: Reader
    write: Writer


class _Plan(NamedTuple):
    make: type[Any]
    plain: tuple[_Field, ...]
    tagged: dict[int, _Field]


def encode_fields(value: Any, version: int) -> bytes:
    """The body of a declared dataclass in one of its versions; raises EncodeError."""
    out: list[bytes] = []
    kind: Any = type(value)
    _write_fields(out, value, _plan(kind, version))
    return b"".join(out)


def decode_fields(
    kind: Any, version: int, buffer: Buffer, position: int, end: int
) -> tuple[Any, int]:
    """Read a declared dataclass; returns it with the position after it; raises DecodeError."""
    return _read_fields(buffer, position, end, _plan(kind, version))


@cache
def _plan(kind: Any, version: int) -> _Plan:
    plain: list[_Field] = []
    tagged: dict[int, _Field] = {}
    for item in fields(kind):
        wire = item.metadata
        if version < wire["since"]:
            continue
        read, write = _codec(kind, wire["kind"], wire["null"], version)
        default = None if item.default is MISSING else item.default
        tag = -1 if wire["tag"] is None else wire["tag"]
        entry = _Field(item.name, tag, default, read, write)
        if tag < 0:
            plain.append(entry)
        else:
            tagged[tag] = entry
    return _Plan(kind, tuple(plain), dict(sorted(tagged.items())))


def _write_fields(out: list[bytes], value: Any, plan: _Plan) -> None:
    for item in plan.plain:
        _write_one(out, value, item)
    tagged = [
        (tag, item)
        for tag, item in plan.tagged.items()
        if getattr(value, item.name) != item.default
    ]
    out.append(encode_uvarint(len(tagged)))
    for tag, item in tagged:
        inside: list[bytes] = []
        _write_one(inside, value, item)
        data = b"".join(inside)
        out += (encode_uvarint(tag), encode_uvarint(len(data)), data)


def _write_one(out: list[bytes], value: Any, item: _Field) -> None:
    content = getattr(value, item.name)
    try:
        item.write(out, content)
    except EncodeError:
        raise
    except (struct.error, AttributeError, TypeError, ValueError) as error:
        raise EncodeError(
            f"{type(value).__name__}.{item.name} cannot hold {content!r}: {error}"
        ) from None


def _read_fields(buffer: Buffer, position: int, end: int, plan: _Plan) -> tuple[Any, int]:
    values: dict[str, Any] = {}
    for item in plan.plain:
        values[item.name], position = item.read(buffer, position, end)
    count, position = read_uvarint(buffer, position, end)
    if count > TAGGED_FIELDS_MAX:
        raise CountTooLarge(f"{count} tagged fields, more than {TAGGED_FIELDS_MAX}")
    for _ in range(count):
        tag, position = read_uvarint(buffer, position, end)
        size, position = read_uvarint(buffer, position, end)
        after = position + size
        if after > end:
            raise BufferUnderflow(f"tag {tag} announces {size} bytes, {end - position} are left")
        known = plan.tagged.get(tag)
        if known is not None:
            values[known.name], position = known.read(buffer, position, after)
            if position != after:
                raise InvalidValue(f"tag {tag} holds {after - position} bytes too many")
        position = after
    return plan.make(**values), position


def _codec(owner: type[Any], kind: str, nullable: bool, version: int) -> tuple[Reader, Writer]:
    if kind.startswith("[]"):
        return _array(*_codec(owner, kind[2:], False, version), nullable)
    if kind in _FIXED:
        return _fixed(struct.Struct(_FIXED[kind]))
    if kind == "uuid":
        return _read_uuid, _write_uuid
    if kind == "string":
        return _text(nullable)
    if kind == "bytes":
        return _blob(nullable)
    nested: Any = getattr(sys.modules[owner.__module__], kind)
    plan = _plan(nested, version)

    def read(buffer: Buffer, position: int, end: int) -> tuple[Any, int]:
        return _read_fields(buffer, position, end, plan)

    def write(out: list[bytes], value: Any) -> None:
        _write_fields(out, value, plan)

    return read, write


def _fixed(layout: struct.Struct) -> tuple[Reader, Writer]:
    size, unpack_from, pack = layout.size, layout.unpack_from, layout.pack

    def read(buffer: Buffer, position: int, end: int) -> tuple[Any, int]:
        after = position + size
        if after > end:
            raise BufferUnderflow(f"{size} bytes expected, {end - position} are left")
        return unpack_from(buffer, position)[0], after

    def write(out: list[bytes], value: Any) -> None:
        out.append(pack(value))

    return read, write


def _read_uuid(buffer: Buffer, position: int, end: int) -> tuple[Any, int]:
    after = position + 16
    if after > end:
        raise BufferUnderflow(f"16 bytes expected for an id, {end - position} are left")
    return uuid.UUID(bytes=bytes(buffer[position:after])), after


def _write_uuid(out: list[bytes], value: uuid.UUID) -> None:
    out.append(value.bytes)


def _read_length(
    buffer: Buffer, position: int, end: int, nullable: bool, what: str
) -> tuple[int, int]:
    """A compact length, -1 for null; checked against the bytes that are left."""
    length, position = read_uvarint(buffer, position, end)
    length -= 1
    if length < 0 and not nullable:
        raise UnexpectedNull(f"null where {what} is required")
    if length > end - position:
        raise BufferUnderflow(f"{what} of length {length}, {end - position} bytes are left")
    return length, position


def _text(nullable: bool) -> tuple[Reader, Writer]:
    def read(buffer: Buffer, position: int, end: int) -> tuple[Any, int]:
        length, position = _read_length(buffer, position, end, nullable, "a string")
        if length < 0:
            return None, position
        try:
            return str(buffer[position : position + length], "utf-8"), position + length
        except UnicodeDecodeError as error:
            raise InvalidText(f"a string is not UTF-8: {error.reason}") from None

    def write(out: list[bytes], value: str | None) -> None:
        if value is None and nullable:
            out.append(b"\x00")
        else:
            assert value is None or isinstance(value, str)
            data = str.encode(value)  # type: ignore[arg-type]
            out += (encode_uvarint(len(data) + 1), data)

    return read, write


def _blob(nullable: bool) -> tuple[Reader, Writer]:
    def read(buffer: Buffer, position: int, end: int) -> tuple[Any, int]:
        length, position = _read_length(buffer, position, end, nullable, "bytes")
        if length < 0:
            return None, position
        return bytes(buffer[position : position + length]), position + length

    def write(out: list[bytes], value: bytes | None) -> None:
        if value is None and nullable:
            out.append(b"\x00")
        else:
            data = bytes(memoryview(value))  # type: ignore[arg-type]
            out += (encode_uvarint(len(data) + 1), data)

    return read, write


def _array(read_one: Reader, write_one: Writer, nullable: bool) -> tuple[Reader, Writer]:
    def read(buffer: Buffer, position: int, end: int) -> tuple[Any, int]:
        count, position = read_uvarint(buffer, position, end)
        count -= 1
        if count < 0:
            if nullable:
                return None, position
            raise UnexpectedNull("null where an array is required")
        # Each element takes at least one byte, so nothing is allocated for an absurd count.
        if count > end - position or count > ELEMENTS_MAX:
            raise CountTooLarge(f"an array of {count}, {end - position} bytes are left")
        items = []
        for _ in range(count):
            item, position = read_one(buffer, position, end)
            items.append(item)
        return tuple(items), position

    def write(out: list[bytes], value: Sequence[Any] | None) -> None:
        if value is None and nullable:
            out.append(b"\x00")
            return
        out.append(encode_uvarint(len(value) + 1))  # type: ignore[arg-type]
        for item in value:  # type: ignore[union-attr]
            write_one(out, item)

    return read, write
