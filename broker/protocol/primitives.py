"""Kafka's variable-length integers, on plain buffers.

Readers take (buffer, position, end) and return (value, next position); they raise DecodeError
subclasses and never read at or beyond ``end``.
"""

from typing import Final

from broker.protocol.errors import BufferUnderflow, EncodeError, InvalidValue

Buffer = bytes | bytearray | memoryview

UVARINT_MAX: Final = 2**32 - 1
UVARINT_BYTES_MAX: Final = 5
UVARLONG_BYTES_MAX: Final = 10


def read_uvarint(buffer: Buffer, position: int, end: int) -> tuple[int, int]:
    """An unsigned varint of at most 32 bits."""
    value = shift = 0
    stop = min(end, position + UVARINT_BYTES_MAX)
    while position < stop:
        byte = buffer[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value > UVARINT_MAX:
                raise InvalidValue(f"the unsigned varint {value} has more than 32 bits")
            return value, position
        shift += 7
    if position >= end:
        raise BufferUnderflow("the bytes end inside an unsigned varint")
    raise InvalidValue(f"an unsigned varint longer than {UVARINT_BYTES_MAX} bytes")


def read_varlong(buffer: Buffer, position: int, end: int) -> tuple[int, int]:
    """A zig-zag encoded signed integer of at most 64 bits; also reads a varint."""
    value = shift = 0
    stop = min(end, position + UVARLONG_BYTES_MAX)
    while position < stop:
        byte = buffer[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value >> 64:
                raise InvalidValue("a varint with more than 64 bits")
            return (value >> 1) ^ -(value & 1), position
        shift += 7
    if position >= end:
        raise BufferUnderflow("the bytes end inside a varint")
    raise InvalidValue(f"a varint longer than {UVARLONG_BYTES_MAX} bytes")


def encode_uvarint(value: int) -> bytes:
    """The bytes of an unsigned varint of at most 32 bits; raises EncodeError."""
    if 0 <= value < 0x80:
        return _ONE_BYTE[value]
    if not 0 <= value <= UVARINT_MAX:
        raise EncodeError(f"{value} does not fit an unsigned varint of 32 bits")
    return _groups_of_seven(value)


def encode_varlong(value: int) -> bytes:
    """The bytes of a zig-zag encoded signed integer of at most 64 bits; raises EncodeError."""
    if not -(2**63) <= value < 2**63:
        raise EncodeError(f"{value} does not fit a varint of 64 bits")
    folded = (value << 1) ^ (value >> 63)
    return _ONE_BYTE[folded] if folded < 0x80 else _groups_of_seven(folded)


def _groups_of_seven(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


_ONE_BYTE: Final = tuple(bytes((value,)) for value in range(0x80))
