"""The shape of every message: fields, their types, versions, tags and defaults.

The shapes are kio's, which takes them from Kafka's own definitions. They are kept merged over all
versions in ``schemas.jsonl`` (one message a line), because importing kio's dataclasses for every
version costs a process 25 MB and more than a second. ``python -m broker.protocol.schema_export``
writes that file, and a test compares it with the installed kio. This module only describes; reading
and writing bytes is the codec's work.

Where our names differ from kio's: times and durations are integers of milliseconds whose names end
in ``_ms`` as in Kafka's definitions (kio's ``throttle_time`` is ``throttle_time_ms``,
``log_append_time`` is ``log_append_time_ms``, ...). ``schema_export.RENAMED`` lists them all.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Final, Literal

from broker.protocol.api_keys import ApiKey
from broker.protocol.errors import UnsupportedVersion

Direction = Literal["request", "response", "data"]

SCHEMAS_FILE: Final = "schemas.jsonl"

# struct format of each fixed-size Kafka type; the size follows from it.
FIXED: Final[dict[str, str]] = {
    "bool": "?",
    "int8": "b",
    "int16": "h",
    "int32": "i",
    "int64": "q",
    "uint16": "H",
    "float64": "d",
    "uuid": "16s",
    "error_code": "h",
}


@dataclass(frozen=True, slots=True)
class FieldSchema:
    """A field in the versions ``first`` to ``last``; another entry may describe other versions.

    ``kind`` is a key of FIXED, or string, bytes, records, struct. ``default`` is what a missing
    field is written as: None, a scalar, or ``[]``; for a struct, None or ``{}`` (all its defaults).
    """

    name: str
    first: int
    last: int
    kind: str
    array: bool
    nullable: bool
    tag: int | None
    default: Any
    fields: tuple["FieldSchema", ...]

    def present(self, version: int) -> bool:
        """Whether this entry describes the version."""
        return self.first <= version <= self.last


@dataclass(frozen=True, slots=True)
class MessageSchema:
    """A request, a response or a data structure, merged over all its versions.

    Invariant: the entries of ``fields`` that are present in a version are in the order of the wire.
    """

    name: str
    direction: Direction
    api_key: int | None
    first: int
    last: int
    flexible_from: int
    fields: tuple[FieldSchema, ...]

    def label(self, version: int) -> str:
        """How error texts call it: ``fetch request v12``."""
        kind = "" if self.direction == "data" else f" {self.direction}"
        return f"{self.name}{kind} v{version}"


def implicit_default(kind: str, array: bool, nullable: bool) -> Any:
    """The default of a field for which Kafka's definition names none.

    Nullable strings and bytes default to null here (Kafka: empty), because that is what a sender
    who says nothing means; nullable arrays default to empty as in Kafka.
    """
    if array:
        return []
    if kind in ("string", "bytes"):
        return None if nullable else ("" if kind == "string" else b"")
    if kind == "records":
        return None
    if kind == "struct":
        return None if nullable else {}
    if kind == "uuid":
        return None
    return {"bool": False, "float64": 0.0}.get(kind, 0)


def message(api_key: int, direction: Direction) -> MessageSchema:
    """The schema of a request or response; raises UnsupportedVersion for an unknown API key."""
    try:
        return _parse(f"{_api_name(api_key)} {direction}")
    except KeyError:
        raise UnsupportedVersion(f"there is no schema for API key {int(api_key)}") from None


def data_message(name: str) -> MessageSchema:
    """The schema of a data structure such as ``leader_change_message``."""
    try:
        return _parse(f"{name} data")
    except KeyError:
        known = ", ".join(sorted(key[:-5] for key in _lines() if key.endswith(" data")))
        raise UnsupportedVersion(f"there is no data schema {name!r}; known are {known}") from None


def api_keys() -> Iterator[ApiKey]:
    """Every API for which there is a schema."""
    return (key for key in ApiKey if f"{key.name.lower()} request" in _lines())


def data_names() -> list[str]:
    """The names that data_message knows."""
    return sorted(key[:-5] for key in _lines() if key.endswith(" data"))


_API_NAMES: Final = {int(key): key.name.lower() for key in ApiKey}


def _api_name(api_key: int) -> str:
    return _API_NAMES[api_key]


@cache
def _lines() -> dict[str, str]:
    """The stored schemas by "name direction", each still a line of JSON."""
    path = files("broker.protocol").joinpath(SCHEMAS_FILE)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        # Slow, but right: an installation without the file takes the shapes from kio itself.
        from broker.protocol.schema_export import export

        text = export()
    prefix = len('{"name":"')
    return {line[prefix : line.index('"', prefix)]: line for line in text.splitlines()}


@cache
def _parse(key: str) -> MessageSchema:
    stored = json.loads(_lines()[key])
    name, direction = stored["name"].split(" ")
    return MessageSchema(
        name=name,
        direction=direction,
        api_key=stored.get("api_key"),
        first=stored["first"],
        last=stored["last"],
        flexible_from=stored["flexible_from"],
        fields=tuple(_parse_field(entry) for entry in stored["fields"]),
    )


def _parse_field(entry: dict[str, Any]) -> FieldSchema:
    kind: str = entry["type"]
    array = kind.startswith("[]")
    kind = kind.removeprefix("[]")
    nullable = entry.get("nullable", False)
    default = entry.get("default", implicit_default(kind, array, nullable))
    return FieldSchema(
        name=entry["name"],
        first=entry["first"],
        last=entry["last"],
        kind=kind,
        array=array,
        nullable=nullable,
        tag=entry.get("tag"),
        default=default,
        fields=tuple(_parse_field(inner) for inner in entry.get("fields", ())),
    )
