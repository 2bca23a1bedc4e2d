"""Records of __consumer_offsets and __transaction_state as data, for reading only.

Pure. Follows Apache Kafka's schemas OffsetCommitKey/Value (values 0-4), GroupMetadataKey/Value
(0-4), TransactionLogKey/Value (0-1) and ConsumerProtocol's assignment. A key of another kind is
named by its version; bytes that do not fit give None, never an error.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from shell.values import format_time

OFFSETS_TOPIC = "__consumer_offsets"
TRANSACTIONS_TOPIC = "__transaction_state"

_FLEXIBLE_SINCE = 4
_TRANSACTION_FLEXIBLE_SINCE = 1
# Keys of the newer group protocols (KIP-848, KIP-932, KIP-1071).
_OTHER_KEYS = {
    3: "consumer-group-metadata",
    4: "consumer-group-partition-metadata",
    5: "consumer-group-member",
    6: "consumer-group-target-assignment-metadata",
    7: "consumer-group-target-assignment-member",
    8: "consumer-group-current-member-assignment",
}
_TRANSACTION_STATES = (
    "Empty",
    "Ongoing",
    "PrepareCommit",
    "PrepareAbort",
    "CompleteCommit",
    "CompleteAbort",
    "Dead",
    "PrepareEpochFence",
)


def decode(topic: str, key: bytes | None, value: bytes | None) -> dict[str, Any] | None:
    """Return what an internal record says, or None when the topic is no internal one.

    A tombstone has `deleted` true: it forgets what its key names.
    """
    decoders: dict[str, Callable[[bytes, bytes | None], dict[str, Any]]] = {
        OFFSETS_TOPIC: _offsets_record,
        TRANSACTIONS_TOPIC: _transaction_record,
    }
    decoder = decoders.get(topic)
    if decoder is None or key is None:
        return None
    try:
        return decoder(key, value)
    except (struct.error, IndexError, UnicodeDecodeError, ValueError):
        return None


def _offsets_record(key: bytes, value: bytes | None) -> dict[str, Any]:
    reader = _Reader(key)
    version = reader.short()
    if version in {0, 1}:
        found = {
            "type": "offset-commit",
            "group": reader.text(),
            "topic": reader.text(),
            "partition": reader.integer(),
        }
        return found | ({"deleted": True} if value is None else _offset_value(_Reader(value)))
    if version == 2:
        found = {"type": "group-metadata", "group": reader.text()}
        return found | ({"deleted": True} if value is None else _group_value(_Reader(value)))
    kind = _OTHER_KEYS.get(version, f"key-version-{version}")
    return {"type": kind, "group": reader.text(), "deleted": value is None}


def _offset_value(reader: _Reader) -> dict[str, Any]:
    version = reader.short()
    reader.flexible = version >= _FLEXIBLE_SINCE
    found: dict[str, Any] = {"offset": reader.long()}
    found["leader_epoch"] = reader.integer() if version >= 3 else -1
    found["metadata"] = reader.text()
    found["commit_time"] = _time(reader.long())
    if version == 1:
        found["expire_time"] = _time(reader.long())
    return found


def _group_value(reader: _Reader) -> dict[str, Any]:
    version = reader.short()
    reader.flexible = version >= _FLEXIBLE_SINCE
    found: dict[str, Any] = {
        "protocol_type": reader.text(),
        "generation": reader.integer(),
        "assignor": reader.text(),
        "leader": reader.text(),
    }
    if version >= 2:
        found["state_time"] = _time(reader.long())
    found["members"] = [_member(reader, version) for _ in range(reader.count())]
    return found


def _member(reader: _Reader, version: int) -> dict[str, Any]:
    found: dict[str, Any] = {"member_id": reader.text()}
    if version >= 3:
        found["instance_id"] = reader.text()
    found["client_id"] = reader.text()
    found["host"] = reader.text()
    if version >= 1:
        found["rebalance_timeout_ms"] = reader.integer()
    found["session_timeout_ms"] = reader.integer()
    reader.data()  # the subscription: what the assignment says is what counts
    found["assignment"] = _assignment(reader.data() or b"")
    reader.skip_tags()
    return found


def _assignment(data: bytes) -> list[dict[str, Any]] | None:
    """Return topics and partitions of ConsumerProtocolAssignment; None for another protocol's."""
    try:
        reader = _Reader(data)
        reader.short()
        return [_topic(reader) for _ in range(reader.count())]
    except (struct.error, IndexError, UnicodeDecodeError, ValueError):
        return None


def _transaction_record(key: bytes, value: bytes | None) -> dict[str, Any]:
    reader = _Reader(key)
    reader.short()
    found: dict[str, Any] = {"type": "transaction", "transactional_id": reader.text()}
    if value is None:
        return found | {"deleted": True}
    reader = _Reader(value)
    reader.flexible = reader.short() >= _TRANSACTION_FLEXIBLE_SINCE
    found["producer_id"] = reader.long()
    found["producer_epoch"] = reader.short()
    found["timeout_ms"] = reader.integer()
    state = reader.byte()
    known = state < len(_TRANSACTION_STATES)
    found["state"] = _TRANSACTION_STATES[state] if known else f"state {state}"
    found["partitions"] = [_topic(reader) for _ in range(max(0, reader.count()))]
    found["update_time"] = _time(reader.long())
    found["start_time"] = _time(reader.long())
    return found


def _topic(reader: _Reader) -> dict[str, Any]:
    found = {
        "topic": reader.text(),
        "partitions": [reader.integer() for _ in range(reader.count())],
    }
    reader.skip_tags()
    return found


def _time(at_ms: int) -> str | None:
    return format_time(at_ms) if at_ms >= 0 else None


class _Reader:
    """Reads Kafka's types one after the other; raises struct.error or IndexError at the end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self.flexible = False

    def _unpack(self, form: str) -> int:
        found: int = struct.unpack_from(form, self._data, self._at)[0]
        self._at += struct.calcsize(form)
        return found

    def byte(self) -> int:
        return self._unpack(">B")

    def short(self) -> int:
        return self._unpack(">h")

    def integer(self) -> int:
        return self._unpack(">i")

    def long(self) -> int:
        return self._unpack(">q")

    def _varint(self) -> int:
        found, shift = 0, 0
        while True:
            byte = self.byte()
            found |= (byte & 0x7F) << shift
            if byte < 0x80:
                return found
            shift += 7

    def count(self) -> int:
        """Return the length of an array; -1 for null."""
        found = self._varint() - 1 if self.flexible else self.integer()
        if found > len(self._data):
            raise ValueError("more items than bytes")
        return found

    def text(self) -> str | None:
        size = self._varint() - 1 if self.flexible else self.short()
        data = self._take(size)
        return None if data is None else data.decode()

    def data(self) -> bytes | None:
        return self._take(self._varint() - 1 if self.flexible else self.integer())

    def _take(self, size: int) -> bytes | None:
        if size < 0:
            return None
        if self._at + size > len(self._data):
            raise ValueError("shorter than it says")
        self._at += size
        return self._data[self._at - size : self._at]

    def skip_tags(self) -> None:
        if self.flexible:
            for _ in range(self._varint()):
                self._varint()
                self._take(self._varint())
