"""Requests and responses as Structs: reading them from bytes and writing them.

Which fields has a message? ``python -m broker.protocol.fields CREATE_TOPICS`` prints the tree of
names, types, versions and defaults (add a version to see only that one); ``describe(ApiKey.X)``
returns the same text.

Names are Kafka's in snake_case. Times and durations are integers of milliseconds and their names
end in ``_ms`` (throttle_time_ms, timeout_ms, max_wait_ms, session_timeout_ms, rebalance_timeout_ms,
log_append_time_ms, transaction_timeout_ms, heartbeat_interval_ms, session_lifetime_ms, ...).
``error_code`` fields are ErrorCode, or int for a code newer than our table. Ids are uuid.UUID, with
ZERO_UUID for none. Arrays are lists; what is nullable may be None, which is not the same as empty.
``records`` fields are memoryview slices of the input, never copies; ``bytes`` fields are bytes.

Reading gives every field that any version has; those that the version read lacks hold the schema's
default. Writing takes Structs or dicts, fills in defaults for missing names, drops names that only
other versions know, and refuses names that none knows.

Reading raises DecodeError subclasses for whatever is malformed; writing raises EncodeError; both
raise UnsupportedVersion for an API or version without a schema. Nothing here does I/O.
"""

import struct
from collections.abc import Callable, Mapping
from typing import Any

from broker.protocol.compiler import (
    Read,
    Write,
    compile_reader,
    compile_writer,
    fields_of,
    newest,
)
from broker.protocol.errors import (
    BufferUnderflow,
    DecodeError,
    EncodeError,
    InvalidText,
    TrailingBytes,
    UnsupportedVersion,
)
from broker.protocol.primitives import Buffer
from broker.protocol.schema import (
    FIXED,
    Direction,
    FieldSchema,
    MessageSchema,
    data_message,
    message,
)
from broker.protocol.struct import Struct

_readers: dict[tuple[int | str, int, Direction], tuple[Read, str]] = {}
_writers: dict[tuple[int | str, int, Direction], tuple[Write, MessageSchema]] = {}


def supported_versions(api_key: int) -> tuple[int, int]:
    """The oldest and newest version that the schema knows; raises UnsupportedVersion."""
    schema = message(api_key, "request")
    return schema.first, schema.last


def is_flexible(api_key: int, version: int) -> bool:
    """Whether the version uses compact lengths and tagged fields (KIP-482).

    Answers for versions newer than the schema too: once flexible, an API stays so.
    """
    return version >= message(api_key, "request").flexible_from


def decode_request(
    api_key: int, version: int, buffer: Buffer, offset: int = 0, *, strict: bool = True
) -> Struct:
    """Read the body of a request, which ends where the buffer ends.

    Without ``strict`` bytes that follow it are left alone. That is how a broker reads what clients
    send: librdkafka 2.16 pads its Metadata requests of version 13, and Kafka takes no notice.
    """
    return _decode(api_key, version, "request", buffer, offset, strict)


def decode_response(api_key: int, version: int, buffer: Buffer, offset: int = 0) -> Struct:
    """Read the body of a response, which ends where the buffer ends."""
    return _decode(api_key, version, "response", buffer, offset)


def decode_data(name: str, version: int, buffer: Buffer, offset: int = 0) -> Struct:
    """Read a data structure such as ``leader_change_message``; bytes after it are left alone.

    Peers may append what a newer version knows, so trailing bytes are no error here.
    """
    return _decode(name, version, "data", buffer, offset)


def encode_request(api_key: int, version: int, body: Struct | dict[str, Any]) -> bytes:
    """The body of a request."""
    return b"".join(_encode(api_key, version, "request", body))


def encode_response(api_key: int, version: int, body: Struct | dict[str, Any]) -> bytes:
    """The body of a response."""
    return b"".join(_encode(api_key, version, "response", body))


def encode_response_buffers(
    api_key: int, version: int, body: Struct | dict[str, Any]
) -> list[bytes | memoryview]:
    """The body of a response as the pieces it is made of; ``records`` are not copied."""
    return _encode(api_key, version, "response", body)


def encode_data(name: str, version: int, body: Struct | dict[str, Any]) -> bytes:
    """A data structure such as ``snapshot_header_record``."""
    return b"".join(_encode(name, version, "data", body))


def describe(api_key: int, version: int | None = None) -> str:
    """The fields of a request and its response as an indented tree, for people."""
    lines: list[str] = []
    for direction in ("request", "response"):
        schema = message(api_key, direction)
        lines.append(
            f"{schema.name} {direction}, versions {schema.first}-{schema.last}, "
            f"flexible from {schema.flexible_from}"
        )
        _describe(lines, schema.fields, version, 1)
    return "\n".join(lines)


def describe_data(name: str, version: int | None = None) -> str:
    """The fields of a data structure as an indented tree."""
    schema = data_message(name)
    lines = [f"{schema.name}, versions {schema.first}-{schema.last}"]
    _describe(lines, schema.fields, version, 1)
    return "\n".join(lines)


def _describe(
    lines: list[str], fields: tuple[FieldSchema, ...], version: int | None, depth: int
) -> None:
    shown = newest(fields) if version is None else [f for f in fields if f.present(version)]
    for field in shown:
        kind = ("[]" if field.array else "") + field.kind + ("?" if field.nullable else "")
        first = min(f.first for f in fields if f.name == field.name)
        tag = "" if field.tag is None else f" tag {field.tag}"
        simple = field.kind != "struct" and not field.array
        default = f" = {field.default!r}" if simple else ""
        lines.append(f"{'  ' * depth}{field.name}: {kind}{default}  v{first}-{field.last}{tag}")
        _describe(lines, field.fields, version, depth + 1)


def _schema(what: int | str, version: int, direction: Direction) -> MessageSchema:
    schema = data_message(what) if isinstance(what, str) else message(what, direction)
    if not schema.first <= version <= schema.last:
        raise UnsupportedVersion(
            f"{schema.name} has no version {version}; known are {schema.first} to {schema.last}"
        )
    return schema


def _decode(
    what: int | str,
    version: int,
    direction: Direction,
    buffer: Buffer,
    offset: int,
    strict: bool = True,
) -> Struct:
    found = _readers.get((what, version, direction))
    if found is None:
        schema = _schema(what, version, direction)
        found = compile_reader(schema, version), schema.label(version)
        _readers[what, version, direction] = found
    read, label = found
    end = len(buffer)
    try:
        body, position = read(buffer, memoryview(buffer), offset, end)
    except DecodeError as error:
        raise type(error)(f"{label}: {error}") from None
    except (struct.error, IndexError):
        raise BufferUnderflow(f"{label}: the {end - offset} bytes end too early") from None
    except UnicodeDecodeError as error:
        raise InvalidText(f"{label}: a string is not UTF-8 ({error.reason})") from None
    if position != end and strict and direction != "data":
        raise TrailingBytes(f"{label}: {end - position} bytes follow the message")
    return body


def _encode(
    what: int | str, version: int, direction: Direction, body: Struct | dict[str, Any]
) -> list[Any]:
    found = _writers.get((what, version, direction))
    if found is None:
        schema = _schema(what, version, direction)
        found = compile_writer(schema, version), schema
        _writers[what, version, direction] = found
    write, schema = found
    pieces: list[Any] = []
    try:
        write(fields_of(body), pieces.append)
    except EncodeError as error:
        raise EncodeError(f"{schema.label(version)}: {error}") from None
    except (struct.error, TypeError, AttributeError, ValueError, OverflowError) as error:
        culprit = _culprit(schema.fields, version, body, "") or str(error)
        raise EncodeError(f"{schema.label(version)}: {culprit}") from None
    return pieces


def _culprit(fields: tuple[FieldSchema, ...], version: int, body: Any, path: str) -> str | None:
    """Which field holds what it must not; slow, only used to explain a failure."""
    if not isinstance(body, Struct | dict):
        return f"{path or 'the body'} is {body!r}, not a Struct or a dict"
    values = fields_of(body)
    for field in fields:
        if not field.present(version) or field.name not in values:
            continue
        name = f"{path}.{field.name}" if path else field.name
        fault = _fault(field, version, values[field.name], name)
        if fault is not None:
            return fault
    return None


def _fault(field: FieldSchema, version: int, value: Any, name: str) -> str | None:
    if value is None and (field.nullable or field.kind in ("uuid", "records")):
        return None
    if not field.array:
        return _fault_of_one(field, version, value, name)
    if not isinstance(value, list | tuple):
        return f"{name} is {value!r}, not a list"
    for index, item in enumerate(value):
        fault = _fault_of_one(field, version, item, f"{name}[{index}]")
        if fault is not None:
            return fault
    return None


_FITS: Mapping[str, Callable[[Any], Any]] = {
    "string": str.encode,
    "bytes": memoryview,
    "records": memoryview,
    "uuid": lambda value: value.bytes,
}


def _fault_of_one(field: FieldSchema, version: int, value: Any, name: str) -> str | None:
    if field.kind == "struct":
        return _culprit(field.fields, version, value, name)
    try:
        if field.kind in _FITS:
            _FITS[field.kind](value)
        else:
            struct.pack(">" + FIXED[field.kind], value)
    except (struct.error, TypeError, AttributeError, ValueError, OverflowError):
        return f"{name} cannot hold {value!r} (its type is {field.kind})"
    return None
