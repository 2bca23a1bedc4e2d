"""The records of __consumer_offsets, byte for byte as Apache Kafka writes them.

Offsets have keys of version 1 and values of version 4 (1 when the client named an expiry time),
groups keys of version 2 and values of version 3. Every older version is read. A value that is
absent (a tombstone) deletes what its key names. It must never decide what a record means for a
group; that is the coordinator's part.
"""

import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple, TypeAlias
from uuid import UUID

from broker.protocol.errors import (
    BufferUnderflow,
    DecodeError,
    EncodeError,
    InvalidText,
    InvalidValue,
    UnexpectedNull,
)
from broker.protocol.primitives import encode_uvarint, read_uvarint
from broker.protocol.struct import ZERO_UUID

OFFSET_KEY_VERSIONS: Final = (0, 1)
GROUP_KEY_VERSION: Final = 2
VALUE_VERSION_MAX: Final = 4
FLEXIBLE_SINCE: Final = 4
TEXT_BYTES_MAX: Final = 32_767
MEMBERS_MAX: Final = 1_000_000
NO_TIMESTAMP: Final = -1

_SHORT = struct.Struct(">h")
_INT = struct.Struct(">i")
_LONG = struct.Struct(">q")
_OFFSET_HEAD = struct.Struct(">hqi")
_OFFSET_TAIL_WITH_ID = struct.Struct(">q3B16s")
_OFFSET_TAIL = struct.Struct(">qB")


class CommittedOffset(NamedTuple):
    """What a group committed for one partition. Times are milliseconds since the Unix epoch.

    `leader_epoch` and `expire_timestamp_ms` are -1 when the client did not say.
    """

    offset: int
    leader_epoch: int = -1
    metadata: str = ""
    commit_timestamp_ms: int = NO_TIMESTAMP
    expire_timestamp_ms: int = NO_TIMESTAMP
    topic_id: UUID = ZERO_UUID


class OffsetRecord(NamedTuple):
    """A committed offset, or its deletion (`value` None)."""

    group: str
    topic: str
    partition: int
    value: CommittedOffset | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberMetadata:
    """One member of a stored generation; timeouts in milliseconds."""

    member_id: str
    instance_id: str | None = None
    client_id: str = ""
    client_host: str = ""
    rebalance_timeout_ms: int = -1
    session_timeout_ms: int = 0
    subscription: bytes = b""
    assignment: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupMetadata:
    """A stored generation. `protocol_type` is "" for a group that only commits offsets."""

    protocol_type: str = ""
    generation: int = 0
    protocol: str | None = None
    leader: str | None = None
    state_timestamp_ms: int = NO_TIMESTAMP
    members: tuple[MemberMetadata, ...] = ()


class GroupRecord(NamedTuple):
    """The generation of a group, or the group's deletion (`value` None)."""

    group: str
    value: GroupMetadata | None


CoordinatorRecord: TypeAlias = OffsetRecord | GroupRecord


# -- writing


def encode_record(record: CoordinatorRecord) -> tuple[bytes, bytes | None]:
    """Key and value of a record; raises EncodeError when a text is too long for its format."""
    try:
        if isinstance(record, OffsetRecord):
            key = _offset_key(record.group, record.topic, record.partition)
            return key, None if record.value is None else _offset_value(record.value)
        key = _SHORT.pack(GROUP_KEY_VERSION) + _text(record.group)
        return key, None if record.value is None else _group_value(record.value)
    except struct.error as error:
        raise EncodeError(
            f"a record of group {record.group!r} cannot be written: {error}"
        ) from None


@lru_cache(maxsize=4096)
def _offset_key(group: str, topic: str, partition: int) -> bytes:
    return b"".join((b"\x00\x01", _text(group), _text(topic), _INT.pack(partition)))


def _offset_value(value: CommittedOffset) -> bytes:
    offset, leader_epoch, metadata, timestamp_ms, expire_ms, topic_id = value
    if expire_ms != NO_TIMESTAMP:
        return b"".join(
            (
                b"\x00\x01",
                _LONG.pack(offset),
                _text(metadata),
                _LONG.pack(timestamp_ms),
                _LONG.pack(expire_ms),
            )
        )
    note = metadata.encode() if metadata else b""
    if topic_id is ZERO_UUID or not topic_id.int:
        tail = _OFFSET_TAIL.pack(timestamp_ms, 0)
    else:
        tail = _OFFSET_TAIL_WITH_ID.pack(timestamp_ms, 1, 0, 16, topic_id.bytes)
    head = _OFFSET_HEAD.pack(4, offset, leader_epoch)
    return b"".join((head, encode_uvarint(len(note) + 1), note, tail))


def _group_value(value: GroupMetadata) -> bytes:
    out = [
        b"\x00\x03",
        _text(value.protocol_type),
        _INT.pack(value.generation),
        _nullable_text(value.protocol),
        _nullable_text(value.leader),
        _LONG.pack(value.state_timestamp_ms),
        _INT.pack(len(value.members)),
    ]
    for member in value.members:
        out += (
            _text(member.member_id),
            _nullable_text(member.instance_id),
            _text(member.client_id),
            _text(member.client_host),
            _INT.pack(member.rebalance_timeout_ms),
            _INT.pack(member.session_timeout_ms),
            _INT.pack(len(member.subscription)),
            member.subscription,
            _INT.pack(len(member.assignment)),
            member.assignment,
        )
    return b"".join(out)


def _text(text: str) -> bytes:
    data = text.encode("utf-8", "surrogatepass")
    if len(data) > TEXT_BYTES_MAX:
        raise EncodeError(f"a text of {len(data)} bytes, at most {TEXT_BYTES_MAX} can be stored")
    return _SHORT.pack(len(data)) + data


def _nullable_text(text: str | None) -> bytes:
    return b"\xff\xff" if text is None else _text(text)


# -- reading


def decode_record(key: bytes | None, value: bytes | None) -> CoordinatorRecord | None:
    """The record of a key and a value; None for a kind that this broker does not know.

    Raises DecodeError for bytes that are no such record.
    """
    if key is None or len(key) < 2:
        raise BufferUnderflow("a record of __consumer_offsets without the version of its key")
    reader = _Reader(key)
    kind = reader.int16()
    if kind in OFFSET_KEY_VERSIONS:
        group, topic, partition = reader.text(), reader.text(), reader.int32()
        stored = None if value is None else _read_offset_value(_Reader(value))
        return OffsetRecord(group, topic, partition, stored)
    if kind == GROUP_KEY_VERSION:
        group = reader.text()
        return GroupRecord(group, None if value is None else _read_group_value(_Reader(value)))
    return None


def _read_version(reader: "_Reader", what: str) -> int:
    version = reader.int16()
    if not 0 <= version <= VALUE_VERSION_MAX:
        raise InvalidValue(f"{what} of version {version}, at most {VALUE_VERSION_MAX} is known")
    reader.flexible = version >= FLEXIBLE_SINCE
    return version


def _read_offset_value(reader: "_Reader") -> CommittedOffset:
    version = _read_version(reader, "an offset")
    offset = reader.int64()
    leader_epoch = reader.int32() if version >= 3 else -1
    metadata = reader.text()
    timestamp_ms = reader.int64()
    expire_ms = reader.int64() if version == 1 else NO_TIMESTAMP
    topic_id = ZERO_UUID
    if version >= FLEXIBLE_SINCE:
        tags = reader.tags()
        if len(tags.get(0, b"")) == 16:
            topic_id = UUID(bytes=tags[0])
    return CommittedOffset(offset, leader_epoch, metadata, timestamp_ms, expire_ms, topic_id)


def _read_group_value(reader: "_Reader") -> GroupMetadata:
    version = _read_version(reader, "a group")
    protocol_type = reader.text()
    generation = reader.int32()
    protocol, leader = reader.nullable_text(), reader.nullable_text()
    timestamp_ms = reader.int64() if version >= 2 else NO_TIMESTAMP
    members = tuple(_read_member(reader, version) for _ in range(reader.count()))
    return GroupMetadata(
        protocol_type=protocol_type,
        generation=generation,
        protocol=protocol,
        leader=leader,
        state_timestamp_ms=timestamp_ms,
        members=members,
    )


def _read_member(reader: "_Reader", version: int) -> MemberMetadata:
    member_id = reader.text()
    instance_id = reader.nullable_text() if version >= 3 else None
    client_id, client_host = reader.text(), reader.text()
    rebalance_ms = reader.int32() if version >= 1 else -1
    session_ms = reader.int32()
    subscription, assignment = reader.blob(), reader.blob()
    if version >= FLEXIBLE_SINCE:
        reader.tags()
    return MemberMetadata(
        member_id=member_id,
        instance_id=instance_id,
        client_id=client_id,
        client_host=client_host,
        rebalance_timeout_ms=rebalance_ms,
        session_timeout_ms=session_ms,
        subscription=subscription,
        assignment=assignment,
    )


class _Reader:
    """Reads one key or value from its beginning; raises DecodeError subclasses only."""

    __slots__ = ("_at", "_data", "flexible")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self.flexible = False

    def _fixed(self, layout: struct.Struct) -> int:
        try:
            (value,) = layout.unpack_from(self._data, self._at)
        except struct.error:
            raise BufferUnderflow("a record of __consumer_offsets is too short") from None
        self._at += layout.size
        return int(value)

    def int16(self) -> int:
        return self._fixed(_SHORT)

    def int32(self) -> int:
        return self._fixed(_INT)

    def int64(self) -> int:
        return self._fixed(_LONG)

    def _length(self, layout: struct.Struct) -> int:
        """A length or count; -1 for null."""
        if not self.flexible:
            return self._fixed(layout)
        length, self._at = read_uvarint(self._data, self._at, len(self._data))
        return length - 1

    def _take(self, length: int) -> bytes:
        after = self._at + length
        if length < 0 or after > len(self._data):
            raise BufferUnderflow(f"{length} bytes announced, {len(self._data) - self._at} left")
        taken = bytes(self._data[self._at : after])
        self._at = after
        return taken

    def nullable_text(self) -> str | None:
        length = self._length(_SHORT)
        if length < 0:
            return None
        try:
            return self._take(length).decode()
        except UnicodeDecodeError as error:
            raise InvalidText(f"a text is not UTF-8: {error.reason}") from None

    def text(self) -> str:
        text = self.nullable_text()
        if text is None:
            raise UnexpectedNull("null where a text is required")
        return text

    def blob(self) -> bytes:
        return self._take(self._length(_INT))

    def count(self) -> int:
        count = self._length(_INT)
        if not 0 <= count <= MEMBERS_MAX:
            raise InvalidValue(f"a group of {count} members")
        return count

    def tags(self) -> dict[int, bytes]:
        found: dict[int, bytes] = {}
        data, end = self._data, len(self._data)
        count, self._at = read_uvarint(data, self._at, end)
        for _ in range(count):
            tag, self._at = read_uvarint(data, self._at, end)
            size, self._at = read_uvarint(data, self._at, end)
            found[tag] = self._take(size)
        return found


__all__ = [
    "CommittedOffset",
    "CoordinatorRecord",
    "DecodeError",
    "GroupMetadata",
    "GroupRecord",
    "MemberMetadata",
    "OffsetRecord",
    "decode_record",
    "encode_record",
]
