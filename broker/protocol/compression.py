"""The four codecs of record batches, with a limit on what they may unpack to.

Snappy is written in the framing of the xerial library, as Java clients do, and read in that framing
or raw; LZ4 is written with independent blocks because Java clients read no others. Only bytes in,
bytes out: this knows nothing of records.
"""

import struct
from collections.abc import Callable
from enum import IntEnum
from typing import Final

import cramjam

from broker.protocol.errors import InvalidBatch
from broker.protocol.primitives import Buffer

DECOMPRESSED_BYTES_MAX: Final = 128 * 1024 * 1024
_FIRST_TRY_BYTES: Final = 64 * 1024
_FULL: Final = "failed to write whole buffer"

_XERIAL_MAGIC: Final = b"\x82SNAPPY\x00"
_XERIAL_HEADER: Final = _XERIAL_MAGIC + struct.pack(">ii", 1, 1)
_XERIAL_BLOCK_BYTES: Final = 32 * 1024

# Magic, independent blocks without checksums, blocks of 64 KiB, checksum of the two bytes before.
_LZ4_HEADER: Final = b"\x04\x22\x4d\x18\x60\x40\x82"
_LZ4_BLOCK_BYTES: Final = 64 * 1024
_LZ4_STORED: Final = 0x8000_0000


class Compression(IntEnum):
    """The codec of a batch, as in the low three bits of its attributes."""

    NONE = 0
    GZIP = 1
    SNAPPY = 2
    LZ4 = 3
    ZSTD = 4


def compress(codec: Compression, data: bytes, level: int | None = None) -> bytes:
    """The data as Kafka's own clients would compress it, at their default levels.

    ``level`` is heeded by gzip and zstd alone.
    """
    match codec:
        case Compression.NONE:
            return data
        case Compression.GZIP:
            return bytes(cramjam.gzip.compress(data, level=6 if level is None else level))
        case Compression.SNAPPY:
            return _to_xerial(data)
        case Compression.LZ4:
            return _to_lz4(data)
        case Compression.ZSTD:
            return bytes(cramjam.zstd.compress(data, level=3 if level is None else level))


def decompress(codec: Compression, data: Buffer, limit: int = DECOMPRESSED_BYTES_MAX) -> Buffer:
    """The original data; raises InvalidBatch when it is corrupt or larger than ``limit`` bytes."""
    match codec:
        case Compression.NONE:
            return data
        case Compression.GZIP:
            return _grow(cramjam.gzip.decompress_into, data, limit)
        case Compression.SNAPPY:
            return _from_snappy(bytes(data), limit)
        case Compression.LZ4:
            return _grow(cramjam.lz4.decompress_into, data, limit)
        case Compression.ZSTD:
            return _grow(cramjam.zstd.decompress_into, data, limit)


def _grow(unpack: Callable[[Buffer, bytearray], int], data: Buffer, limit: int) -> Buffer:
    """Unpack into growing buffers: no stream of ours announces its size in a way to be trusted."""
    size = min(limit, max(_FIRST_TRY_BYTES, 8 * len(data)))
    while True:
        out = bytearray(size)
        try:
            written = unpack(data, out)
        except cramjam.DecompressionError as error:
            if _FULL not in str(error):
                raise InvalidBatch(f"the records do not decompress: {error}") from None
            if size >= limit:
                raise _too_large(limit) from None
            size = min(limit, 4 * size)
            continue
        return memoryview(out)[:written]


def _too_large(limit: int) -> InvalidBatch:
    return InvalidBatch(f"the records decompress to more than {limit} bytes")


def _to_xerial(data: bytes) -> bytes:
    pieces = [_XERIAL_HEADER]
    for start in range(0, len(data), _XERIAL_BLOCK_BYTES):
        block = bytes(cramjam.snappy.compress_raw(data[start : start + _XERIAL_BLOCK_BYTES]))
        pieces += (struct.pack(">i", len(block)), block)
    return b"".join(pieces)


def _from_snappy(data: bytes, limit: int) -> bytes:
    if not data.startswith(_XERIAL_MAGIC):
        return _from_raw_snappy(data, limit)
    pieces: list[bytes] = []
    position = len(_XERIAL_HEADER)
    total = 0
    while position < len(data):
        if position + 4 > len(data):
            raise InvalidBatch("a snappy block's length is cut off")
        size = int.from_bytes(data[position : position + 4], "big", signed=True)
        position += 4
        if not 0 <= size <= len(data) - position:
            raise InvalidBatch(f"a snappy block of {size} bytes, {len(data) - position} are left")
        piece = _from_raw_snappy(data[position : position + size], limit, total)
        pieces.append(piece)
        total += len(piece)
        position += size
    return b"".join(pieces)


def _from_raw_snappy(data: bytes, limit: int, before: int = 0) -> bytes:
    try:
        if cramjam.snappy.decompress_raw_len(data) > limit - before:
            raise _too_large(limit)
        return bytes(cramjam.snappy.decompress_raw(data))
    except cramjam.DecompressionError as error:
        raise InvalidBatch(f"the records do not decompress: {error}") from None


def _to_lz4(data: bytes) -> bytes:
    pieces = [_LZ4_HEADER]
    for start in range(0, len(data), _LZ4_BLOCK_BYTES):
        block = data[start : start + _LZ4_BLOCK_BYTES]
        packed = bytes(cramjam.lz4.compress_block(block, store_size=False))
        if len(packed) < len(block):
            pieces += (struct.pack("<I", len(packed)), packed)
        else:
            pieces += (struct.pack("<I", len(block) | _LZ4_STORED), block)
    pieces.append(b"\x00\x00\x00\x00")
    return b"".join(pieces)
