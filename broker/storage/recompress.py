"""A producer's batch in the compression that its topic asks for (compression.type).

Only the compressed bytes, the codec in the attributes, length and checksum change: the records are
the same bytes. Pure; large batches belong into another thread.
"""

from broker.protocol.batch import Compression
from broker.protocol.compression import compress
from broker.protocol.errors import TornBatch
from broker.storage.append import check_checksum
from broker.storage.batch_filter import assembled
from broker.storage.batches import (
    ATTRIBUTES,
    BASE_TIMESTAMP,
    COUNT,
    HEADER,
    HEADER_BYTES,
    LENGTH,
    MAX_TIMESTAMP,
    PREFIX_BYTES,
    Header,
    header_problem,
)
from broker.storage.disk import Buffer
from broker.storage.errors import InvalidBatch
from broker.storage.log_config import LogConfig
from broker.storage.record_scan import COMPRESSION_BITS, unpacked

_CODEC_AT = 22  # the low byte of the attributes


def needs_recompression(batch: Buffer, config: LogConfig) -> bool:
    """Whether the topic stores batches in another compression than this one's."""
    return (
        config.compression >= 0
        and len(batch) >= HEADER_BYTES
        and batch[_CODEC_AT] & COMPRESSION_BITS != config.compression
    )


def recompressed(batch: Buffer, config: LogConfig) -> bytes:
    """The batch as the topic stores it. Raises CorruptBatch, InvalidBatch and TornBatch."""
    view = memoryview(batch)
    header: Header = HEADER.unpack_from(view)
    if (problem := header_problem(header)) is not None:
        raise InvalidBatch(f"the batch has {problem}")
    if header[LENGTH] + PREFIX_BYTES != len(view):
        raise TornBatch(f"the batch takes {header[LENGTH] + PREFIX_BYTES} bytes, not {len(view)}")
    check_checksum(view, 0, header)
    codec = Compression(config.compression)
    packed = compress(codec, unpacked(bytes(view), header), config.compression_level)
    attributes = header[ATTRIBUTES] & ~COMPRESSION_BITS | codec
    return assembled(
        header,
        attributes,
        header[BASE_TIMESTAMP],
        header[MAX_TIMESTAMP],
        header[COUNT],
        packed,
    )
