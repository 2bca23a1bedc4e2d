"""Writes ``schemas.jsonl`` from the dataclasses of the installed kio.

``python -m broker.protocol.schema_export`` rewrites the file after kio was updated. Nothing at run
time needs this module, unless the file is missing.
"""

import dataclasses
import datetime as dt
import json
import sys
import types
import typing
from pathlib import Path
from typing import Any, Final

from broker.protocol.kio_import import import_kio
from broker.protocol.schema import SCHEMAS_FILE

# kio's types for times, and the fixed-size type that travels.
_TIMES: Final = {"timedelta_i32": "int32", "timedelta_i64": "int64", "datetime_i64": "int64"}

# kio's field name -> ours, for every time and duration. A test keeps the list complete.
RENAMED: Final[dict[str, str]] = {
    name: f"{name}_ms"
    for name in (
        "acquisition_lock_timeout",
        "expiry_time_period",
        "expiry_timestamp",
        "heartbeat_interval",
        "issue_timestamp",
        "log_append_time",
        "max_lifetime",
        "max_timestamp",
        "max_wait",
        "push_interval",
        "rebalance_timeout",
        "renew_period",
        "retention_time",
        "session_lifetime",
        "session_timeout",
        "task_offset_interval",
        "throttle_time",
        "timeout",
        "transaction_start_time",
        "transaction_timeout",
    )
}

_Shape = dict[str, Any]


def export() -> str:
    """The text of the schema file: one message a line, requests and responses by API key."""
    index = import_kio("kio.schema.index")
    directions = import_kio("kio.static.constants").EntityType
    keys = {name: key for key, name in index.api_key_map.items()}
    lines = []
    for name in sorted(index.schema_name_map, key=lambda n: (keys.get(n, 1000), n)):
        versions = index.schema_name_map[name]
        for direction in (directions.request, directions.response, directions.data):
            shapes = {
                version: _root(paths[direction])
                for version, paths in sorted(versions.items())
                if direction in paths
            }
            if shapes:
                merged = _message(name, direction.name, keys.get(name), shapes)
                lines.append(json.dumps(merged, separators=(",", ":")))
    return "\n".join(lines) + "\n"


def _root(path: str) -> type[Any]:
    module, name = path.split(":")
    root: type[Any] = getattr(import_kio(module), name)
    return root


def _message(name: str, direction: str, key: int | None, roots: dict[int, type[Any]]) -> _Shape:
    first, last = min(roots), max(roots)
    if sorted(roots) != list(range(first, last + 1)):
        raise ValueError(f"{name} {direction}: versions are not contiguous")
    flexible = [version for version, root in roots.items() if root.__flexible__]
    merged = {
        "name": f"{name} {direction}",
        "api_key": key,
        "first": first,
        "last": last,
        "flexible_from": min(flexible, default=last + 1),
        "fields": _merge({version: _fields(root) for version, root in roots.items()}),
    }
    if key is None:
        del merged["api_key"]
    return merged


def _fields(kind: type[Any]) -> list[_Shape]:
    """One version's fields in wire order."""
    return [_field(field) for field in dataclasses.fields(kind)]


def _field(field: "dataclasses.Field[Any]") -> _Shape:
    declared, nullable = _without_none(field.type)
    array = typing.get_origin(declared) is tuple
    if array:
        declared = typing.get_args(declared)[0]
    nested = (
        _fields(declared)
        if isinstance(declared, type) and dataclasses.is_dataclass(declared)
        else None
    )
    wire = "struct" if nested is not None else field.metadata["kafka_type"]
    name = field.name
    if wire in _TIMES:
        name = RENAMED[name]
    shape: _Shape = {"name": name, "type": ("[]" if array else "") + _TIMES.get(wire, wire)}
    # An id is never null on the wire: zero stands for none. Nor is a time: -1 does.
    if nullable and (array or (wire != "uuid" and wire not in _TIMES)):
        shape["nullable"] = True
    if "tag" in field.metadata:
        shape["tag"] = field.metadata["tag"]
    default = _default(field, "array" if array else wire, declared)
    if default is not dataclasses.MISSING:
        shape["default"] = default
    if nested is not None:
        shape["fields"] = nested
    return shape


def _without_none(declared: Any) -> tuple[Any, bool]:
    if typing.get_origin(declared) in (types.UnionType, typing.Union):
        kept = [kind for kind in typing.get_args(declared) if kind is not type(None)]
        return kept[0], True
    return declared, False


def _default(field: "dataclasses.Field[Any]", wire: str, declared: Any) -> Any:
    """The explicit default as JSON, or MISSING when it is the one that the type implies."""
    value = field.default
    if value is dataclasses.MISSING or value == () or wire == "uuid":
        return dataclasses.MISSING
    if value is None:
        return -1 if wire == "datetime_i64" else None
    if isinstance(value, dt.timedelta):
        return value // dt.timedelta(milliseconds=1)
    if dataclasses.is_dataclass(value):
        if value != declared():
            raise ValueError(f"{field.name}: a struct default that is not made of its defaults")
        return dataclasses.MISSING
    if not isinstance(value, bool | int | float | str):
        raise TypeError(f"{field.name}: no way to store the default {value!r}")
    return value if isinstance(value, bool | float | str) else int(value)


def _merge(versions: dict[int, list[_Shape]]) -> list[_Shape]:
    """One list of fields for all versions, with ranges; checks that no order is lost."""
    order: list[str] = []
    for version in sorted(versions, reverse=True):
        place = 0
        for shape in versions[version]:
            if shape["name"] in order:
                place = order.index(shape["name"]) + 1
            else:
                order.insert(place, shape["name"])
                place += 1
    merged: list[_Shape] = []
    for name in order:
        found = {
            version: next((shape for shape in shapes if shape["name"] == name), None)
            for version, shapes in versions.items()
        }
        merged.extend(_ranges({v: shape for v, shape in found.items() if shape is not None}))
    for version, shapes in versions.items():
        present = [s["name"] for s in merged if s["first"] <= version <= s["last"]]
        if present != [shape["name"] for shape in shapes]:
            raise ValueError(f"the fields {present} are not in the order of version {version}")
    return merged


def _ranges(found: dict[int, _Shape]) -> list[_Shape]:
    """One field over its versions: an entry for each run of versions with the same shape."""
    runs: list[list[int]] = []
    for version in sorted(found):
        previous = runs[-1][-1] if runs else None
        if previous == version - 1 and _flat(found[previous]) == _flat(found[version]):
            runs[-1].append(version)
        else:
            runs.append([version])
    entries = []
    # Every entry of a struct carries the fields of all versions, so that each knows all names.
    nested = {version: shape["fields"] for version, shape in found.items() if "fields" in shape}
    for run in runs:
        shape = found[run[-1]]
        entry = {"name": shape["name"], "first": run[0], "last": run[-1]} | _flat(shape)
        if "fields" in shape:
            entry["fields"] = _merge(nested)
        entries.append(entry)
    return entries


def _flat(shape: _Shape) -> _Shape:
    return {key: value for key, value in shape.items() if key != "fields"}


if __name__ == "__main__":
    target = Path(__file__).with_name(SCHEMAS_FILE)
    target.write_text(export(), encoding="utf-8")
    sys.stdout.write(f"wrote {target}\n")
