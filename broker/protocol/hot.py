"""The two answers that a busy broker gives most, written by hand: Produce and Fetch.

What is usual (no leader hints, no divergence, no aborted transactions, no record errors) takes the
short way; the rest goes through the codec. Either way the bytes are the codec's, as tests check.
Records are never copied: they come out as the very buffers that went in.
"""

import struct
import uuid
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from broker.protocol.api_keys import ApiKey
from broker.protocol.codec import (
    decode_request,
    encode_response,
    encode_response_buffers,
)
from broker.protocol.errors import EncodeError
from broker.protocol.headers import encode_response_frame, encode_response_frame_buffers
from broker.protocol.primitives import Buffer, encode_uvarint
from broker.protocol.struct import Struct

PRODUCE_FLEXIBLE_SINCE: Final = 9
FETCH_FLEXIBLE_SINCE: Final = 12
TOPIC_IDS_SINCE: Final = 13
_PRODUCE_VERSIONS: Final = range(3, 14)
_FETCH_VERSIONS: Final = range(4, 19)


class ProducedPartition(NamedTuple):
    """What became of one partition's records; ``current_leader`` is (leader id, leader epoch)."""

    partition: int
    error_code: int
    base_offset: int
    log_append_time_ms: int = -1
    log_start_offset: int = -1
    error_message: str | None = None
    record_errors: Sequence[tuple[int, str | None]] = ()
    current_leader: tuple[int, int] | None = None


class FetchedPartition(NamedTuple):
    """What one partition has to offer.

    ``diverging_epoch`` is (epoch, end offset), ``current_leader`` (leader id, leader epoch),
    ``snapshot_id`` (end offset, epoch), ``aborted_transactions`` (producer id, first offset) each.
    """

    partition: int
    error_code: int
    high_watermark: int
    last_stable_offset: int
    log_start_offset: int
    records: Buffer | None = None
    aborted_transactions: Sequence[tuple[int, int]] | None = None
    preferred_read_replica: int = -1
    diverging_epoch: tuple[int, int] | None = None
    current_leader: tuple[int, int] | None = None
    snapshot_id: tuple[int, int] | None = None


class NodeEndpoint(NamedTuple):
    """Where the leader named in a hint listens (KIP-951)."""

    node_id: int
    host: str
    port: int
    rack: str | None = None


# A topic's name, its id, and its partitions.
ProducedTopic = tuple[str, uuid.UUID, Sequence[ProducedPartition]]
FetchedTopic = tuple[str, uuid.UUID, Sequence[FetchedPartition]]

_INT: Final = struct.Struct(">i").pack
_SHORT: Final = struct.Struct(">h").pack
_HEAD: Final = struct.Struct(">ii").pack

# Index, error, base offset, append time [start offset [record errors and message, both empty]].
_PRODUCED_V3: Final = struct.Struct(">ihqq").pack
_PRODUCED_V5: Final = struct.Struct(">ihqqq").pack
_PRODUCED_V8: Final = struct.Struct(">ihqqqih").pack
_PRODUCED_V9: Final = struct.Struct(">ihqqqBBB").pack

# Index, error, high watermark, last stable offset [start offset], aborted, [read replica], length.
_FETCHED_V4: Final = struct.Struct(">ihqqii").pack
_FETCHED_V5: Final = struct.Struct(">ihqqqii").pack
_FETCHED_V11: Final = struct.Struct(">ihqqqiii").pack
_FETCHED_V12: Final = struct.Struct(">ihqqqBi").pack
_FETCH_HEAD_V4: Final = struct.Struct(">i").pack
_FETCH_HEAD_V7: Final = struct.Struct(">ihi").pack


def decode_produce_request(version: int, frame: Buffer, offset: int) -> Struct:
    """The body of a Produce request; ``records`` are views of the frame."""
    return decode_request(ApiKey.PRODUCE, version, frame, offset, strict=False)


def decode_fetch_request(version: int, frame: Buffer, offset: int) -> Struct:
    """The body of a Fetch request."""
    return decode_request(ApiKey.FETCH, version, frame, offset, strict=False)


def encode_produce_response(
    version: int,
    correlation_id: int,
    topics: Sequence[ProducedTopic],
    *,
    throttle_time_ms: int = 0,
    node_endpoints: Sequence[NodeEndpoint] = (),
) -> bytes:
    """A whole frame; raises EncodeError for an unknown version or a value out of range."""
    if version not in _PRODUCE_VERSIONS:
        raise EncodeError(f"Produce has no version {version}")
    usual = not node_endpoints and not any(
        part.error_message is not None or part.record_errors or part.current_leader
        for _, _, parts in topics
        for part in parts
    )
    if not usual:
        body = _produce_struct(topics, throttle_time_ms, node_endpoints)
        data = encode_response(ApiKey.PRODUCE, version, body)
        return encode_response_frame(ApiKey.PRODUCE, version, correlation_id, data)
    flexible = version >= PRODUCE_FLEXIBLE_SINCE
    try:
        pieces = [b"", _count(len(topics), flexible)]
        for name, topic_id, parts in topics:
            pieces += (_topic(name, topic_id, version, flexible), _count(len(parts), flexible))
            pieces += [_produced(part, version) for part in parts]
            if flexible:
                pieces.append(b"\0")
        pieces.append(_INT(throttle_time_ms))
        if flexible:
            pieces.append(b"\0")
        pieces[0] = _frame_head(sum(map(len, pieces)), correlation_id, flexible)
    except (struct.error, TypeError, AttributeError) as error:
        raise EncodeError(f"produce response v{version}: {error}") from None
    return b"".join(pieces)


def _produced(part: ProducedPartition, version: int) -> bytes:
    index, code, base, appended, start, _, _, _ = part
    if version >= 9:
        return _PRODUCED_V9(index, code, base, appended, start, 1, 0, 0)
    if version == 8:
        return _PRODUCED_V8(index, code, base, appended, start, 0, -1)
    if version >= 5:
        return _PRODUCED_V5(index, code, base, appended, start)
    return _PRODUCED_V3(index, code, base, appended)


def encode_fetch_response(
    version: int,
    correlation_id: int,
    topics: Sequence[FetchedTopic],
    *,
    throttle_time_ms: int = 0,
    error_code: int = 0,
    session_id: int = 0,
    node_endpoints: Sequence[NodeEndpoint] = (),
) -> list[Buffer]:
    """A whole frame as pieces for ``transport.writelines``; the first begins with its length.

    Raises EncodeError for a version that is not served or a value out of range.
    """
    if version not in _FETCH_VERSIONS:
        raise EncodeError(f"Fetch has no version {version}")
    usual = not node_endpoints and not any(
        part.aborted_transactions or part.diverging_epoch or part.current_leader or part.snapshot_id
        for _, _, parts in topics
        for part in parts
    )
    if not usual:
        body = _fetch_struct(topics, throttle_time_ms, error_code, session_id, node_endpoints)
        data = encode_response_buffers(ApiKey.FETCH, version, body)
        return encode_response_frame_buffers(ApiKey.FETCH, version, correlation_id, data)
    flexible = version >= FETCH_FLEXIBLE_SINCE
    pieces = _Pieces()
    try:
        if version >= 7:
            pieces.small.append(_FETCH_HEAD_V7(throttle_time_ms, error_code, session_id))
        else:
            pieces.small.append(_FETCH_HEAD_V4(throttle_time_ms))
        pieces.small.append(_count(len(topics), flexible))
        for name, topic_id, parts in topics:
            pieces.small += (
                _topic(name, topic_id, version, flexible),
                _count(len(parts), flexible),
            )
            for part in parts:
                _fetched(pieces, part, version)
            if flexible:
                pieces.small.append(b"\0")
        if flexible:
            pieces.small.append(b"\0")
        return pieces.finish(correlation_id, flexible)
    except (struct.error, TypeError, AttributeError) as error:
        raise EncodeError(f"fetch response v{version}: {error}") from None


class _Pieces:
    """Small pieces are joined, records stand alone."""

    __slots__ = ("done", "size", "small")

    def __init__(self) -> None:
        self.done: list[Buffer] = []
        self.small: list[bytes] = [b""]
        self.size = 0

    def records(self, records: Buffer) -> None:
        joined = b"".join(self.small)
        self.size += len(joined) + len(records)
        self.done += (joined, records)
        self.small = []

    def finish(self, correlation_id: int, flexible: bool) -> list[Buffer]:
        joined = b"".join(self.small)
        self.size += len(joined)
        if joined or not self.done:
            self.done.append(joined)
        self.done[0] = _frame_head(self.size, correlation_id, flexible) + bytes(self.done[0])
        return self.done


def _fetched(pieces: _Pieces, part: FetchedPartition, version: int) -> None:
    index, code, high, stable, start, records, aborted, replica, _, _, _ = part
    size = -1 if records is None else len(records)
    if version >= FETCH_FLEXIBLE_SINCE:
        none = 0 if aborted is None else 1
        fixed = _FETCHED_V12(index, code, high, stable, start, none, replica)
        pieces.small += (fixed, encode_uvarint(size + 1))
        if records:
            pieces.records(records)
        pieces.small.append(b"\0")
        return
    none = -1 if aborted is None else 0
    if version == 11:
        fixed = _FETCHED_V11(index, code, high, stable, start, none, replica, size)
    elif version >= 5:
        fixed = _FETCHED_V5(index, code, high, stable, start, none, size)
    else:
        fixed = _FETCHED_V4(index, code, high, stable, none, size)
    pieces.small.append(fixed)
    if records:
        pieces.records(records)


def _topic(name: str, topic_id: uuid.UUID, version: int, flexible: bool) -> bytes:
    if version >= TOPIC_IDS_SINCE:
        return topic_id.bytes
    data = name.encode()
    return (encode_uvarint(len(data) + 1) if flexible else _SHORT(len(data))) + data


def _count(count: int, flexible: bool) -> bytes:
    return encode_uvarint(count + 1) if flexible else _INT(count)


def _frame_head(body_bytes: int, correlation_id: int, flexible: bool) -> bytes:
    if flexible:
        return _HEAD(body_bytes + 5, correlation_id) + b"\0"
    return _HEAD(body_bytes + 4, correlation_id)


def _produce_struct(
    topics: Sequence[ProducedTopic], throttle_time_ms: int, nodes: Sequence[NodeEndpoint]
) -> Struct:
    return Struct(
        throttle_time_ms=throttle_time_ms,
        node_endpoints=[node._asdict() for node in nodes],
        responses=[
            {
                "name": name,
                "topic_id": topic_id,
                "partition_responses": [_produced_fields(part) for part in parts],
            }
            for name, topic_id, parts in topics
        ],
    )


def _produced_fields(part: ProducedPartition) -> dict[str, Any]:
    fields = part._asdict()
    fields["index"] = fields.pop("partition")
    fields["record_errors"] = [
        {"batch_index": index, "batch_index_error_message": text}
        for index, text in part.record_errors
    ]
    _pair(fields, "current_leader", "leader_id", "leader_epoch")
    return fields


def _fetch_struct(
    topics: Sequence[FetchedTopic],
    throttle_time_ms: int,
    error_code: int,
    session_id: int,
    nodes: Sequence[NodeEndpoint],
) -> Struct:
    return Struct(
        throttle_time_ms=throttle_time_ms,
        error_code=error_code,
        session_id=session_id,
        node_endpoints=[node._asdict() for node in nodes],
        responses=[
            {
                "topic": name,
                "topic_id": topic_id,
                "partitions": [_fetched_fields(part) for part in parts],
            }
            for name, topic_id, parts in topics
        ],
    )


def _fetched_fields(part: FetchedPartition) -> dict[str, Any]:
    fields = part._asdict()
    fields["partition_index"] = fields.pop("partition")
    if part.aborted_transactions is not None:
        fields["aborted_transactions"] = [
            {"producer_id": producer_id, "first_offset": offset}
            for producer_id, offset in part.aborted_transactions
        ]
    _pair(fields, "diverging_epoch", "epoch", "end_offset")
    _pair(fields, "current_leader", "leader_id", "leader_epoch")
    _pair(fields, "snapshot_id", "end_offset", "epoch")
    return fields


def _pair(fields: dict[str, Any], name: str, first: str, second: str) -> None:
    """Turn a pair into a struct, or leave the field to its default when there is none."""
    value = fields.pop(name)
    if value is not None:
        fields[name] = {first: value[0], second: value[1]}
