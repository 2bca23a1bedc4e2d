"""The answer to Metadata written by hand: in pieces, so that what has not changed is kept.

A large cluster's answer has many thousand partitions and is asked for by every client, yet hardly
any of it changes. Partitions and topics are encoded one by one; whoever keeps the pieces joins
them. The bytes are the codec's, as tests check.
"""

import struct
import uuid
from collections.abc import Sequence
from typing import Final

from broker.protocol.api_keys import ApiKey
from broker.protocol.errors import EncodeError
from broker.protocol.headers import encode_response_frame_buffers
from broker.protocol.primitives import Buffer, encode_uvarint

FLEXIBLE_SINCE: Final = 9
TOPIC_IDS_SINCE: Final = 10
OPERATIONS_SINCE: Final = 8
VERSIONS: Final = range(14)
_NO_TAGS: Final = b"\0"

_INT: Final = struct.Struct(">i").pack
_SHORT: Final = struct.Struct(">h").pack
_PARTITION_V0: Final = struct.Struct(">hii").pack
_PARTITION_V7: Final = struct.Struct(">hiii").pack
# Packers of lists of integers, by their length.
_LISTS: Final = [struct.Struct(f">{count}i").pack for count in range(17)]


def encode_partition(
    version: int,
    index: int,
    error_code: int,
    leader_id: int,
    leader_epoch: int,
    replicas: Sequence[int],
    isr: Sequence[int],
    offline: Sequence[int],
) -> bytes:
    """One partition of one topic."""
    if version >= FLEXIBLE_SINCE:
        return b"".join(
            (
                _PARTITION_V7(error_code, index, leader_id, leader_epoch),
                _compact(replicas),
                _compact(isr),
                _compact(offline),
                _NO_TAGS,
            )
        )
    head = (
        _PARTITION_V7(error_code, index, leader_id, leader_epoch)
        if version >= 7
        else _PARTITION_V0(error_code, index, leader_id)
    )
    pieces = [head, _plain(replicas), _plain(isr)]
    if version >= 5:
        pieces.append(_plain(offline))
    return b"".join(pieces)


def encode_topic(
    version: int,
    error_code: int,
    name: str | None,
    topic_id: uuid.UUID,
    *,
    is_internal: bool,
    partitions: Sequence[bytes],
) -> bytes:
    """One topic but for its end (see ``topic_end``), from encoded partitions."""
    flexible = version >= FLEXIBLE_SINCE
    head = [_SHORT(error_code), _text(name, flexible, version >= TOPIC_IDS_SINCE)]
    if version >= TOPIC_IDS_SINCE:
        head.append(topic_id.bytes)
    if version >= 1:
        head.append(b"\1" if is_internal else b"\0")
    head.append(_count(len(partitions), flexible))
    return b"".join((*head, *partitions))


def topic_end(version: int, operations: int) -> bytes:
    """What stands after each topic: the operations allowed on it (KIP-430)."""
    end = _INT(operations) if version >= OPERATIONS_SINCE else b""
    return end + _NO_TAGS if version >= FLEXIBLE_SINCE else end


def encode_metadata_response(
    version: int,
    correlation_id: int,
    *,
    brokers: Sequence[tuple[int, str, int, str | None]],
    cluster_id: str | None,
    controller_id: int,
    topics: Sequence[bytes],
    topics_count: int,
    cluster_operations: int,
    error_code: int = 0,
) -> list[Buffer]:
    """A whole frame; brokers are (id, host, port, rack), topics whole ones with their ends."""
    if version not in VERSIONS:
        raise EncodeError(f"Metadata has no version {version}")
    flexible = version >= FLEXIBLE_SINCE
    head = [_INT(0)] if version >= 3 else []
    head.append(_count(len(brokers), flexible))
    for node_id, host, port, rack in brokers:
        head += (_INT(node_id), _text(host, flexible, nullable=False), _INT(port))
        if version >= 1:
            head.append(_text(rack, flexible, nullable=True))
        if flexible:
            head.append(_NO_TAGS)
    if version >= 2:
        head.append(_text(cluster_id, flexible, nullable=True))
    if version >= 1:
        head.append(_INT(controller_id))
    head.append(_count(topics_count, flexible))
    end = b""
    if OPERATIONS_SINCE <= version <= 10:
        end += _INT(cluster_operations)
    if version >= 13:
        end += _SHORT(error_code)
    if flexible:
        end += _NO_TAGS
    body = (b"".join((*head, *topics, end)),)
    return encode_response_frame_buffers(ApiKey.METADATA, version, correlation_id, body)


def _compact(numbers: Sequence[int]) -> bytes:
    count = len(numbers)
    if count < len(_LISTS):
        return (count + 1).to_bytes(1, "big") + _LISTS[count](*numbers)
    return encode_uvarint(count + 1) + struct.pack(f">{count}i", *numbers)


def _plain(numbers: Sequence[int]) -> bytes:
    count = len(numbers)
    return struct.pack(f">i{count}i", count, *numbers)


def _count(count: int, flexible: bool) -> bytes:
    return encode_uvarint(count + 1) if flexible else _INT(count)


def _text(text: str | None, flexible: bool, nullable: bool) -> bytes:
    if text is None:
        if not nullable:
            raise EncodeError("this version of Metadata has no null here")
        return b"\0" if flexible else _SHORT(-1)
    data = text.encode()
    return (encode_uvarint(len(data) + 1) if flexible else _SHORT(len(data))) + data
