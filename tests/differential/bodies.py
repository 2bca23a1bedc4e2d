"""Request bodies as cases write them: variables filled in, text turned into what the field holds.

`$name` and `${name}` stand for variables, `${name+5}` for arithmetic on one. Where the schema wants
bytes or an id, text will do (ids in Kafka's 22 characters). `records` is a list of batches:

    records: [{records: [a, [key, value], {key: k, value: v, timestamp: 5, headers: {h: x}}],
               timestamp: $now, compression: gzip, producer_id: $pid, producer_epoch: 0, sequence: 0,
               transactional: true, control: true, break: crc}]

A batch is broken by `crc`, `magic-1`, `count`, ...: see `_break`.
"""

import re
import struct
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from crc32c import crc32c

from broker.protocol.api_keys import ApiKey
from broker.protocol.batch import CRC_START, Compression, Record, encode_batch
from broker.protocol.schema import FieldSchema, message
from broker.protocol.struct import uuid_from_text

# Which byte of a batch a break sets, and to what; "" and crc set none.
_BYTES = {
    "": (16, 2),
    "crc": (16, 2),
    "magic-0": (16, 0),
    "magic-1": (16, 1),
    "magic-3": (16, 3),
    "log-append-time": (22, 8),
    "codec": (22, 7),
}
_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)([+-]\d+)?\})")


def fill(value: Any, variables: Mapping[str, Any]) -> Any:
    """The value with every variable replaced; raises KeyError for an unknown one."""
    if isinstance(value, Mapping):
        return {name: fill(item, variables) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [fill(item, variables) for item in value]
    if not isinstance(value, str):
        return value
    if whole := _VARIABLE.fullmatch(value):
        return _lookup(whole, variables)
    return _VARIABLE.sub(lambda match: str(_lookup(match, variables)), value)


def _lookup(match: re.Match[str], variables: Mapping[str, Any]) -> Any:
    name = match[1] or match[2]
    if name not in variables:
        raise KeyError(f"no variable is called {name}; known are {', '.join(sorted(variables))}")
    found = variables[name]
    return found + int(match[3]) if match[3] else found


def body(api: ApiKey, version: int, entry: Mapping[str, Any], variables: Mapping[str, Any]) -> Any:
    """What the codec takes for this request; raises KeyError for unknown fields or variables."""
    return _struct(fill(entry, variables), message(api, "request").fields, version)


def _struct(entry: Mapping[str, Any], fields: Sequence[FieldSchema], version: int) -> Any:
    by_name = {field.name: field for field in fields}
    by_name |= {field.name: field for field in fields if field.present(version)}
    if unknown := sorted(set(entry) - set(by_name)):
        raise KeyError(f"no fields {', '.join(unknown)}; known are {', '.join(sorted(by_name))}")
    return {name: _value(item, by_name[name], version) for name, item in entry.items()}


def _value(item: Any, field: FieldSchema, version: int) -> Any:
    if item is None:
        return None
    if field.kind == "records":
        return item if isinstance(item, bytes) else b"".join(batch(each) for each in item)
    if field.array:
        return [_single(each, field, version) for each in item]
    return _single(item, field, version)


def _single(item: Any, field: FieldSchema, version: int) -> Any:
    if field.kind == "struct":
        return None if item is None else _struct(item, field.fields, version)
    if field.kind == "bytes" and isinstance(item, str):
        return item.encode()
    if field.kind == "uuid" and isinstance(item, str):
        return uuid_from_text(item)
    if field.kind == "uuid" and isinstance(item, int):
        return UUID(int=item)
    if field.kind == "string" and isinstance(item, Mapping):
        return item["repeat"] * item["times"]
    return item


# -- batches


def batch(entry: Mapping[str, Any]) -> bytes:
    """A record batch as a case describes it, broken where it says so."""
    first_timestamp = entry.get("timestamp", 0)
    records = [_record(at, each, first_timestamp) for at, each in enumerate(entry["records"])]
    made = bytearray(
        encode_batch(
            records,
            base_offset=entry.get("base_offset", 0),
            leader_epoch=entry.get("leader_epoch", -1),
            compression=Compression[entry.get("compression", "none").upper()],
            producer_id=entry.get("producer_id", -1),
            producer_epoch=entry.get("producer_epoch", -1),
            base_sequence=entry.get("sequence", -1),
            control=entry.get("control", False),
            transactional=entry.get("transactional", False),
        )
    )
    _break(made, entry.get("break", ""))
    return bytes(made)


def _record(at: int, entry: Any, timestamp: int) -> Record:
    if isinstance(entry, list):
        entry = {"key": entry[0], "value": entry[1]}
    elif not isinstance(entry, Mapping):
        entry = {"value": entry}
    headers = entry.get("headers", {})
    return Record(
        offset=entry.get("offset", at),
        timestamp_ms=entry.get("timestamp", timestamp),
        key=_bytes(entry.get("key")),
        value=_bytes(entry.get("value")),
        headers=tuple((name, _bytes(value)) for name, value in headers.items()),
    )


def _bytes(value: Any) -> bytes | None:
    if value is None:
        return None
    if isinstance(value, Mapping):
        return bytes(str(value["repeat"]) * value["times"], "utf-8")
    return str(value).encode()


def _break(made: bytearray, how: str) -> None:
    """One thing wrong, and the checksum right unless it is the checksum that is wrong."""
    count, last_delta = (struct.unpack_from(">i", made, at)[0] for at in (57, 23))
    if how in _BYTES:
        at, value = _BYTES[how]
        made[at] = value
    elif how in ("header-only", "no-records"):
        del made[61:]
        struct.pack_into(">i", made, 8, len(made) - 12)
        struct.pack_into(">i", made, 57, count if how == "header-only" else 0)
    elif how == "truncated":
        del made[-3:]
    elif how == "length-short":
        struct.pack_into(">i", made, 8, 20)
    elif how in ("count", "count-negative"):
        struct.pack_into(">i", made, 57, count + 1 if how == "count" else -1)
    elif how == "last-delta":
        struct.pack_into(">i", made, 23, last_delta + 1)
    elif how == "garbage":
        made[61:] = b"\xff" * (len(made) - 61)
    elif how:
        raise KeyError(f"batches cannot be broken by {how!r}")
    if how not in ("truncated", "length-short"):
        struct.pack_into(">I", made, CRC_START - 4, crc32c(bytes(made[CRC_START:])))
    if how == "crc":
        made[-1] ^= 0xFF
