"""Every message in every version, byte for byte against kio's own writer."""

import dataclasses
import datetime as dt
import random
import typing
import uuid
from io import BytesIO
from typing import Any

import pytest

from broker.protocol import codec, schema
from broker.protocol.errors import ErrorCode
from broker.protocol.kio_import import import_kio
from broker.protocol.schema_export import RENAMED, export
from broker.protocol.struct import ZERO_UUID, Struct

index = import_kio("kio.schema.index")
serialize = import_kio("kio.serial._serialize")
EntityType = import_kio("kio.static.constants").EntityType
INTEGERS = {"int8": 7, "int16": 15, "int32": 31, "int64": 63}


def roots() -> list[tuple[str, str]]:
    return [
        (name, direction)
        for name, versions in index.schema_name_map.items()
        for direction in ("request", "response", "data")
        if any(EntityType[direction] in paths for paths in versions.values())
    ]


def sample(kind: Any, rng: random.Random, size: int) -> Any:
    """An entity of kio filled with values, independent of our own schema file."""
    values = {}
    for field in dataclasses.fields(kind):
        if field.default is not dataclasses.MISSING and rng.random() < 0.2:
            continue
        values[field.name] = value_of(field, rng, size)
    return kind(**values)


def value_of(field: Any, rng: random.Random, size: int) -> Any:
    declared = field.type
    arguments = typing.get_args(declared)
    tagged = "tag" in field.metadata
    if type(None) in arguments:
        if rng.random() < 0.3 and (not tagged or field.default is None):
            return None
        declared = next(a for a in arguments if a is not type(None))
    if typing.get_origin(declared) is tuple:
        item = typing.get_args(declared)[0]
        return tuple(one(item, field, rng, size) for _ in range(rng.randrange(size + 1)))
    return one(declared, field, rng, size)


def one(declared: Any, field: Any, rng: random.Random, size: int) -> Any:
    if dataclasses.is_dataclass(declared):
        return sample(declared, rng, size)
    kind = field.metadata["kafka_type"]
    if kind in INTEGERS:
        bits = INTEGERS[kind]
        return rng.choice([0, 1, -1, 2**bits - 1, -(2**bits), rng.randrange(2**bits)])
    match kind:
        case "uint16":
            return rng.randrange(2**16)
        case "bool":
            return rng.random() < 0.5
        case "float64":
            return rng.uniform(-1e9, 1e9)
        case "string":
            return rng.choice(["", "orders", "naïve-日本", "x" * 127, "y" * rng.randrange(300)])
        case "bytes" | "records":
            return rng.randbytes(rng.choice([0, 1, 126, 127, 128, 400]))
        case "uuid":
            return uuid.UUID(int=rng.getrandbits(128))
        case "error_code":
            return rng.choice(list(ErrorCode))
        case "timedelta_i32" | "timedelta_i64":
            return dt.timedelta(milliseconds=rng.randrange(2**31))
        case "datetime_i64":
            return dt.datetime.fromtimestamp(rng.randrange(2**31), dt.UTC)
    raise AssertionError(kind)


def ours(value: Any) -> Any:
    """What a kio value is in our terms."""
    if dataclasses.is_dataclass(value):
        fields = {}
        for field in dataclasses.fields(value):
            kind = field.metadata.get("kafka_type", "")
            content = getattr(value, field.name)
            if kind.startswith(("timedelta", "datetime")):
                fields[RENAMED[field.name]] = milliseconds(content)
            elif kind == "uuid" and content is None and "tuple" not in str(field.type):
                fields[field.name] = ZERO_UUID
            else:
                fields[field.name] = ours(content)
        return Struct(**fields)
    return [ours(item) for item in value] if isinstance(value, tuple) else value


def milliseconds(value: Any) -> int:
    if value is None:
        return -1
    if isinstance(value, dt.timedelta):
        return value // dt.timedelta(milliseconds=1)
    return round(value.timestamp() * 1000)


def agrees(expected: Any, found: Any, path: str = "") -> None:
    """Every field of the expected value is found; a version may know fewer fields than we give."""
    if isinstance(expected, Struct):
        for name in expected.to_dict():
            assert name in found.to_dict(), f"{path}.{name} is missing"
            agrees(getattr(expected, name), getattr(found, name), f"{path}.{name}")
    elif isinstance(expected, list):
        assert len(expected) == len(found), path
        for position, (left, right) in enumerate(zip(expected, found, strict=True)):
            agrees(left, right, f"{path}[{position}]")
    else:
        assert found == expected, path
        if isinstance(expected, ErrorCode):
            assert isinstance(found, ErrorCode), path


def kio_bytes(entity: Any) -> bytes:
    with BytesIO() as out:
        serialize.entity_writer(type(entity))(out, entity)
        return out.getvalue()


@pytest.mark.parametrize(("name", "direction"), roots(), ids="-".join)
def test_every_version_is_kios_bytes_both_ways(name: str, direction: str) -> None:
    rng = random.Random(f"{name} {direction}")
    key: Any = {n: k for k, n in index.api_key_map.items()}.get(name, name)
    decode = getattr(codec, f"decode_{direction}")
    encode = getattr(codec, f"encode_{direction}")
    for version, paths in index.schema_name_map[name].items():
        module, root = paths[EntityType[direction]].split(":")
        kind = getattr(import_kio(module), root)
        for size in (0, 1, 2, 3, 3, 3):
            entity = sample(kind, rng, size)
            data = kio_bytes(entity)
            expected = ours(entity)
            assert encode(key, version, expected) == data, f"v{version}: {entity}"
            assert encode(key, version, expected.to_dict()) == data
            found = decode(key, version, data)
            agrees(expected, found, f"v{version}")
            # What was read can be written again: the fields of other versions are dropped.
            assert encode(key, version, found) == data
            shifted = decode(key, version, memoryview(b"\xff\xff" + data), 2)
            assert shifted == found


def test_the_stored_schemas_are_those_of_the_installed_kio() -> None:
    stored = (schema.files("broker.protocol") / schema.SCHEMAS_FILE).read_text()
    assert stored == export(), "run: python -m broker.protocol.schema_export"


def test_no_field_hides_a_method_of_struct() -> None:
    for name, direction in roots():
        key = next((k for k, n in index.api_key_map.items() if n == name), None)
        shape = schema.data_message(name) if key is None else schema.message(key, direction)
        assert not {f.name for f in walk(shape.fields)} & set(dir(Struct()))


def walk(fields: Any) -> Any:
    for field in fields:
        yield field
        yield from walk(field.fields)
