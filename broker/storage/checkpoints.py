"""Kafka's small text files: offset checkpoints, the epoch checkpoint and properties.

A checkpoint is a version line, a count line, then one entry a line. A file that does not parse
raises CorruptFile; this module must never guess what damaged contents meant.
"""

from collections.abc import Iterable, Mapping

from broker.storage.errors import CorruptFile

VERSION = 0
INT64_MAX = 2**63 - 1
INT32_MAX = 2**31 - 1

PartitionKey = tuple[str, int]


def encode_offsets(offsets: Mapping[PartitionKey, int]) -> bytes:
    """``topic partition offset`` lines, sorted."""
    return _encode(f"{t} {p} {offset}" for (t, p), offset in sorted(offsets.items()))


def decode_offsets(path: str, data: bytes) -> dict[PartitionKey, int]:
    """The offsets of a checkpoint; raises CorruptFile naming ``path``."""
    offsets: dict[PartitionKey, int] = {}
    for line in _decode(path, data):
        parts = line.split()
        if len(parts) != 3:
            raise CorruptFile(path, f"{line!r} is not 'topic partition offset'")
        partition = _number(path, parts[1], INT32_MAX)
        offsets[parts[0], partition] = _number(path, parts[2], INT64_MAX)
    return offsets


def encode_epochs(epochs: Iterable[tuple[int, int]]) -> bytes:
    """``epoch start-offset`` lines (KIP-101)."""
    return _encode(f"{epoch} {offset}" for epoch, offset in epochs)


def decode_epochs(path: str, data: bytes) -> list[tuple[int, int]]:
    """The entries of a leader-epoch checkpoint, both columns rising; raises CorruptFile."""
    entries: list[tuple[int, int]] = []
    for line in _decode(path, data):
        parts = line.split()
        if len(parts) != 2:
            raise CorruptFile(path, f"{line!r} is not 'epoch offset'")
        entry = (_number(path, parts[0], INT32_MAX), _number(path, parts[1], INT64_MAX))
        if entries and (entry[0] <= entries[-1][0] or entry[1] < entries[-1][1]):
            raise CorruptFile(path, f"{line!r} goes back behind the line before it")
        entries.append(entry)
    return entries


def encode_properties(values: Mapping[str, str]) -> bytes:
    """``key=value`` lines."""
    return "".join(f"{key}={value}\n" for key, value in values.items()).encode()


def decode_properties(path: str, data: bytes) -> dict[str, str]:
    """The values of a properties file without escapes; raises CorruptFile."""
    values: dict[str, str] = {}
    for line in _text(path, data).splitlines():
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        key, equals, value = line.partition("=")
        if not equals:
            raise CorruptFile(path, f"{line!r} is not 'key=value'")
        values[key.strip()] = value.strip()
    return values


def _encode(lines: Iterable[str]) -> bytes:
    body = list(lines)
    return "".join(f"{line}\n" for line in (VERSION, len(body), *body)).encode()


def _decode(path: str, data: bytes) -> list[str]:
    lines = _text(path, data).splitlines()
    if len(lines) < 2:
        raise CorruptFile(path, "it is empty or cut off")
    if lines[0].strip() != str(VERSION):
        raise CorruptFile(path, f"its version is {lines[0][:20]!r}, not {VERSION}")
    count = _number(path, lines[1], INT32_MAX)
    body = [line for line in lines[2:] if line.strip()]
    if len(body) != count:
        raise CorruptFile(path, f"it announces {count} entries and has {len(body)}")
    return body


def _text(path: str, data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise CorruptFile(path, "it is not text") from None


def _number(path: str, text: str, highest: int) -> int:
    try:
        value = int(text)
    except ValueError:
        raise CorruptFile(path, f"{text[:30]!r} is not a number") from None
    if not -1 <= value <= highest:
        raise CorruptFile(path, f"{value} is out of range")
    return value
