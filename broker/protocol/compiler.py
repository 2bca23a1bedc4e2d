"""Turns a message schema into two Python functions, one that reads and one that writes.

Generated code is the fastest Python there is: neighbouring fixed-size fields are read or written by
one precompiled ``struct.Struct``, nested arrays are loops inside the same function. It must never
trust a count: each is checked against the bytes that are left before anything is allocated, and
what all arrays of one message hold together is limited.

Shapes of the generated functions::

    read(buf, mv, pos, end) -> (Struct, next position)     mv: a memoryview of buf
    write(fields, add)                                     add: called with each piece of bytes

They raise struct.error, IndexError, UnicodeError, TypeError... besides our own errors; the codec
translates.
"""

import struct
import uuid
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

from broker.protocol.errors import (
    BufferUnderflow,
    CountTooLarge,
    EncodeError,
    ErrorCode,
    InvalidValue,
    NegativeLength,
    UnexpectedNull,
)
from broker.protocol.primitives import Buffer, encode_uvarint, read_uvarint
from broker.protocol.schema import FIXED, FieldSchema, MessageSchema
from broker.protocol.struct import ZERO_UUID, Struct

# The most elements of one array of numbers, and of all other arrays of one answer together.
ELEMENTS_MAX: Final = 1_000_000
# The same for a request, where a stranger decides how much memory we use: some 75 MB of Structs.
REQUEST_ELEMENTS_MAX: Final = 250_000
TAGGED_FIELDS_MAX: Final = 10_000

Read = Callable[[Buffer, memoryview, int, int], tuple[Struct, int]]
Write = Callable[[dict[str, Any], Callable[[Any], None]], None]

_ARRAY_FORMATS: Final = {kind: code for kind, code in FIXED.items() if kind != "uuid"}


class _Source:
    """Lines of a function being written, the objects they refer to, and fresh names."""

    def __init__(self, version: int, flexible: bool, label: str) -> None:
        self.version = version
        self.flexible = flexible
        self.label = label
        self.lines: list[str] = []
        self.depth = 1
        self.names: dict[str, Any] = {}
        self.used = 0

    def line(self, text: str) -> None:
        self.lines.append("    " * self.depth + text)

    def fresh(self, prefix: str) -> str:
        self.used += 1
        return f"{prefix}{self.used}"

    def constant(self, prefix: str, value: Any) -> str:
        name = self.fresh(prefix)
        self.names[name] = value
        return name

    def build(self, signature: str, shared: dict[str, Any]) -> Any:
        text = f"def {signature}:\n" + "\n".join(self.lines) + "\n"
        scope = {**shared, **self.names}
        # The text holds nothing but names and numbers of our own schema file.
        exec(compile(text, f"<{self.label}>", "exec"), scope)  # noqa: S102
        function = scope[signature[: signature.index("(")]]
        function.__source__ = text
        return function

    def present(self, fields: tuple[FieldSchema, ...]) -> list[FieldSchema]:
        return [field for field in fields if field.present(self.version)]


def smallest_size(field: FieldSchema, version: int, flexible: bool) -> int:
    """The least number of bytes that a field takes, so that counts can be checked early."""
    if field.tag is not None:
        return 0
    if field.array:
        return 1 if flexible else 4
    if field.kind in FIXED:
        return struct.calcsize(">" + FIXED[field.kind])
    if field.kind == "string":
        return 1 if flexible else 2
    if field.kind in ("bytes", "records"):
        return 1 if flexible else 4
    return 1 if field.nullable else _smallest_struct(field.fields, version, flexible)


def _smallest_struct(fields: tuple[FieldSchema, ...], version: int, flexible: bool) -> int:
    inside = sum(smallest_size(f, version, flexible) for f in fields if f.present(version))
    return inside + flexible


def default_of(field: FieldSchema) -> Any:
    """A fresh default value: what a decoded Struct holds when its version lacks the field."""
    if field.array:
        return None if field.default is None else []
    if field.kind == "struct":
        return None if field.default is None else default_struct(field.fields)
    if field.kind == "uuid":
        return ZERO_UUID
    if field.kind == "error_code":
        return ErrorCode(field.default)
    return field.default


def default_struct(fields: tuple[FieldSchema, ...]) -> Struct:
    """A Struct with every field at its default."""
    return Struct(**{field.name: default_of(field) for field in newest(fields)})


def newest(fields: tuple[FieldSchema, ...]) -> list[FieldSchema]:
    """One entry for each name: the one of the newest version."""
    chosen: dict[str, FieldSchema] = {}
    for field in fields:
        if field.name not in chosen or chosen[field.name].last < field.last:
            chosen[field.name] = field
    return list(chosen.values())


# ---------------------------------------------------------------------------------------- reading


class _Group:
    """Neighbouring fixed-size values, read by one unpack."""

    def __init__(self, source: _Source) -> None:
        self.source = source
        self.format = ""
        self.targets: list[str] = []
        self.after: list[str] = []

    def add(self, code: str, target: str, after: str = "") -> None:
        self.format += code
        self.targets.append(target)
        if after:
            self.after.append(after)

    def flush(self) -> None:
        if not self.format:
            return
        layout = struct.Struct(">" + self.format)
        unpack = self.source.constant("U", layout.unpack_from)
        self.source.line(f"{', '.join(self.targets)}, = {unpack}(buf, pos)")
        self.source.line(f"pos += {layout.size}")
        for text in self.after:
            self.source.line(text)
        self.format, self.targets, self.after = "", [], []


def compile_reader(schema: MessageSchema, version: int) -> Read:
    """The function that reads one version of a message."""
    source = _Source(version, version >= schema.flexible_from, schema.label(version))
    limit = REQUEST_ELEMENTS_MAX if schema.direction == "request" else ELEMENTS_MAX
    source.line(f"left = {limit}")
    result = source.fresh("s")
    _read_struct(source, schema.fields, result)
    source.line(f"return {result}, pos")
    shared = {
        "BufferUnderflow": BufferUnderflow,
        "CountTooLarge": CountTooLarge,
        "ELEMENTS_MAX": ELEMENTS_MAX,
        "NegativeLength": NegativeLength,
        "Struct": Struct,
        "array": _read_fixed_array,
        "codes": {int(code): code for code in ErrorCode}.get,
        "count_error": _count_error,
        "length_error": _length_error,
        "new": Struct.__new__,
        "null_error": _null_error,
        "skip_tags": skip_tags,
        "tag_count": _tag_count,
        "tag_error": _tag_error,
        "to_uuid": _to_uuid,
        "uv": read_uvarint,
    }
    read: Read = source.build("read(buf, mv, pos, end)", shared)
    return read


def _read_struct(source: _Source, fields: tuple[FieldSchema, ...], target: str) -> None:
    present = source.present(fields)
    variables = {field.name: source.fresh("f") for field in present}
    group = _Group(source)
    for field in present:
        if field.tag is None:
            _read_field(source, group, field, variables[field.name])
    group.flush()
    if source.flexible:
        tagged = [field for field in present if field.tag is not None]
        _read_tags(source, tagged, variables)
    items = []
    for field in newest(fields):
        value = variables.get(field.name) or _default_text(source, field)
        items.append(f"{field.name!r}: {value}")
    source.line(f"{target} = new(Struct)")
    source.line(f"{target}.__dict__ = {{{', '.join(items)}}}")


def _default_text(source: _Source, field: FieldSchema) -> str:
    """An expression for a default; mutable ones are made anew each time."""
    value = default_of(field)
    if value == []:
        return "[]"
    if isinstance(value, Struct):
        maker = source.constant("D", _default_maker(field.fields, value))
        return f"{maker}()"
    return source.constant("K", value)


def _default_maker(fields: tuple[FieldSchema, ...], value: Struct) -> Callable[[], Struct]:
    template = value.to_dict()
    if any(isinstance(item, list | dict) for item in template.values()):
        return lambda: default_struct(fields)
    return lambda: Struct(**template)


def _read_field(source: _Source, group: _Group, field: FieldSchema, target: str) -> None:
    if field.array:
        _read_array(source, group, field, target)
    elif field.kind in FIXED:
        after = ""
        if field.kind == "error_code":
            after = f"{target} = codes({target}, {target})"
        elif field.kind == "uuid":
            after = f"{target} = to_uuid({target})"
        group.add(FIXED[field.kind], target, after)
    elif field.kind == "struct":
        group.flush()
        _read_single_struct(source, field, target)
    else:
        _read_text_or_bytes(source, group, field, target)


def _read_length(source: _Source, group: _Group, kind: str) -> str:
    """Reads a length or count into a variable: real length, -1 (or below) for null."""
    length = source.fresh("n")
    if source.flexible:
        group.flush()
        _read_uvarint(source, length)
        source.line(f"{length} -= 1")
    else:
        group.add("h" if kind == "string" else "i", length)
        group.flush()
    return length


def _read_uvarint(source: _Source, target: str) -> None:
    source.line(f"{target} = buf[pos]")
    source.line("pos += 1")
    source.line(f"if {target} > 127: {target}, pos = uv(buf, pos - 1, end)")


def _read_text_or_bytes(source: _Source, group: _Group, field: FieldSchema, target: str) -> None:
    length = _read_length(source, group, field.kind)
    source.line(f"if {length} >= 0:")
    source.line(f"    e = pos + {length}")
    source.line(f"    if e > end: length_error({field.name!r}, {length}, end - pos)")
    value = {
        "string": "str(buf[pos:e], 'utf-8')",
        "bytes": "bytes(buf[pos:e])",
        "records": "mv[pos:e]",
    }[field.kind]
    source.line(f"    {target} = {value}")
    source.line("    pos = e")
    _read_null(source, field, target, length)


def _read_null(source: _Source, field: FieldSchema, target: str, length: str) -> None:
    if field.nullable or field.kind == "records":
        source.line(f"elif {length} == -1: {target} = None")
    source.line(f"else: null_error({field.name!r}, {length})")


def _read_single_struct(source: _Source, field: FieldSchema, target: str) -> None:
    if not field.nullable or field.tag is not None:
        _read_struct(source, field.fields, target)
        return
    # KIP-893: a signed byte tells whether the struct follows.
    source.line("m = buf[pos]")
    source.line("pos += 1")
    source.line(f"if m > 127: {target} = None")
    source.line("else:")
    source.depth += 1
    _read_struct(source, field.fields, target)
    source.depth -= 1


def _read_array(source: _Source, group: _Group, field: FieldSchema, target: str) -> None:
    count = _read_length(source, group, "array")
    source.line(f"if {count} >= 0:")
    source.depth += 1
    if field.kind in _ARRAY_FORMATS:
        layout = struct.calcsize(">" + FIXED[field.kind])
        code = _ARRAY_FORMATS[field.kind]
        source.line(f"if {count} * {layout} > end - pos or {count} > ELEMENTS_MAX:")
        source.line(f"    count_error({field.name!r}, {count}, end - pos)")
        source.line(f"{target} = array(buf, pos, {count}, {code!r})")
        source.line(f"pos += {count} * {layout}")
        if field.kind == "error_code":
            source.line(f"{target} = [codes(v, v) for v in {target}]")
    else:
        _read_elements(source, field, target, count)
    source.depth -= 1
    _read_null(source, field, target, count)


def _read_elements(source: _Source, field: FieldSchema, target: str, count: str) -> None:
    element = FieldSchema(
        field.name, field.first, field.last, field.kind, False, False, None, None, field.fields
    )
    size = max(1, smallest_size(element, source.version, source.flexible))
    source.line(f"left -= {count}")
    source.line(f"if {count} * {size} > end - pos or left < 0:")
    source.line(f"    count_error({field.name!r}, {count}, end - pos)")
    source.line(f"{target} = []")
    source.line(f"for _ in range({count}):")
    source.depth += 1
    item = source.fresh("v")
    group = _Group(source)
    _read_field(source, group, element, item)
    group.flush()
    source.line(f"{target}.append({item})")
    source.depth -= 1


def _read_tags(source: _Source, tagged: list[FieldSchema], variables: dict[str, str]) -> None:
    if not tagged:
        source.line("if buf[pos]: pos = skip_tags(buf, pos, end)")
        source.line("else: pos += 1")
        return
    count, tag, after = source.fresh("n"), source.fresh("t"), source.fresh("a")
    for field in tagged:
        source.line(f"{variables[field.name]} = {_default_text(source, field)}")
    source.line(f"{count}, pos = tag_count(buf, pos, end)")
    source.line(f"for _ in range({count}):")
    source.depth += 1
    _read_uvarint(source, tag)
    _read_uvarint(source, after)
    source.line(f"{after} += pos")
    source.line(f"if {after} > end: length_error('a tagged field', {after} - pos, end - pos)")
    for position, field in enumerate(tagged):
        source.line(f"{'el' if position else ''}if {tag} == {field.tag}:")
        source.depth += 1
        group = _Group(source)
        _read_field(source, group, field, variables[field.name])
        group.flush()
        source.line(f"if pos != {after}: tag_error({field.name!r}, {after} - pos)")
        source.depth -= 1
    source.line(f"else: pos = {after}")
    source.depth -= 1


@lru_cache(maxsize=8192)
def _to_uuid(raw: bytes) -> uuid.UUID:
    """Ids recur in every message about the same topics, and making one is slow."""
    return uuid.UUID(bytes=raw)


def _read_fixed_array(buf: Buffer, pos: int, count: int, code: str) -> list[Any]:
    return list(struct.unpack_from(f">{count}{code}", buf, pos))


def _tag_count(buf: Buffer, pos: int, end: int) -> tuple[int, int]:
    count, pos = read_uvarint(buf, pos, end)
    if count > TAGGED_FIELDS_MAX:
        raise CountTooLarge(f"{count} tagged fields, more than {TAGGED_FIELDS_MAX}")
    return count, pos


def skip_tags(buf: Buffer, pos: int, end: int) -> int:
    """Step over a whole section of tagged fields, none of which is known; returns its end."""
    count, pos = _tag_count(buf, pos, end)
    for _ in range(count):
        _, pos = read_uvarint(buf, pos, end)
        size, pos = read_uvarint(buf, pos, end)
        if size > end - pos:
            _length_error("a tagged field", size, end - pos)
        pos += size
    return pos


def _length_error(name: str, length: int, remaining: int) -> None:
    raise BufferUnderflow(f"{name} announces {length} bytes, {remaining} are left")


def _count_error(name: str, count: int, remaining: int) -> None:
    raise CountTooLarge(
        f"{name} announces {count} elements, more than {remaining} bytes can hold "
        "or a message may have"
    )


def _null_error(name: str, length: int) -> None:
    if length < -1:
        raise NegativeLength(f"{name} has the length {length}")
    raise UnexpectedNull(f"{name} is null, which it must not be")


def _tag_error(name: str, left: int) -> None:
    raise InvalidValue(f"the tagged field {name} ends {left} bytes before or after its size")


# ---------------------------------------------------------------------------------------- writing


class _Pack:
    """Neighbouring fixed-size values, written by one pack."""

    def __init__(self, source: _Source, add: str) -> None:
        self.source = source
        self.call = add
        self.format = ""
        self.values: list[str] = []

    def add(self, code: str, value: str) -> None:
        self.format += code
        if value:
            self.values.append(value)

    def flush(self) -> None:
        if not self.format:
            return
        if self.format == "x":
            self.source.line(f"{self.call}(b'\\0')")
        else:
            pack = self.source.constant("P", struct.Struct(">" + self.format).pack)
            self.source.line(f"{self.call}({pack}({', '.join(self.values)}))")
        self.format, self.values = "", []


def compile_writer(schema: MessageSchema, version: int) -> Write:
    """The function that writes one version of a message."""
    source = _Source(version, version >= schema.flexible_from, schema.label(version))
    _write_struct(source, schema.fields, "d", "add")
    shared = {
        "ZERO": ZERO_UUID,
        "fields_of": fields_of,
        "pack": struct.pack,
        "pieces": _Pieces,
        "uv": encode_uvarint,
        "unknown": _unknown_names,
    }
    write: Write = source.build("write(d, add)", shared)
    return write


def fields_of(value: Any) -> dict[str, Any]:
    """The fields of a Struct or a dict."""
    if type(value) is Struct:
        return value.__dict__
    if isinstance(value, dict):
        return value
    if isinstance(value, Struct):
        return value.__dict__
    raise TypeError(f"a Struct or a dict is expected, not {type(value).__name__}")


class _Pieces(list[Any]):
    """The bytes of a tagged field while they are collected."""


def _unknown_names(known: frozenset[str], given: dict[str, Any]) -> None:
    strange = sorted(set(given) - known)
    raise EncodeError(
        f"no version has the field {strange[0]!r}; known are {', '.join(sorted(known))}"
    )


def _write_struct(source: _Source, fields: tuple[FieldSchema, ...], values: str, add: str) -> None:
    names = source.constant("N", frozenset(field.name for field in fields))
    source.line(f"if not {values}.keys() <= {names}: unknown({names}, {values})")
    present = source.present(fields)
    if present:
        get = source.fresh("g")
        source.line(f"{get} = {values}.get")
    else:
        get = ""
    pack = _Pack(source, add)
    for field in present:
        if field.tag is None:
            _write_field(source, pack, field, f"{get}({field.name!r}, {_missing(source, field)})")
    tagged = sorted((f for f in present if f.tag is not None), key=lambda f: f.tag or 0)
    if source.flexible and not tagged:
        pack.add("x", "")
    pack.flush()
    if tagged:
        _write_tags(source, tagged, get, add)


def _missing(source: _Source, field: FieldSchema) -> str:
    """The expression of a default while writing: containers are shared, nobody changes them."""
    if field.array:
        return "None" if field.default is None else "()"
    if field.kind == "struct":
        return "None" if field.default is None else source.constant("K", {})
    if field.kind == "uuid":
        return "ZERO"
    return source.constant("K", field.default)


def _write_field(source: _Source, pack: _Pack, field: FieldSchema, value: str) -> None:
    """Writes the value of an expression; the expression is evaluated once."""
    if field.array:
        _write_array(source, pack, field, value)
    elif field.kind == "uuid":
        pack.add("16s", f"({value} or ZERO).bytes")
    elif field.kind in FIXED:
        pack.add(FIXED[field.kind], value)
    elif field.kind == "struct":
        _write_single_struct(source, pack, field, value)
    else:
        _write_text_or_bytes(source, pack, field, value)


def _write_text_or_bytes(source: _Source, pack: _Pack, field: FieldSchema, value: str) -> None:
    variable, length = source.fresh("v"), source.fresh("n")
    nullable = field.nullable or field.kind == "records"
    encode = f"{variable}.encode()" if field.kind == "string" else f"{variable}"
    source.line(f"{variable} = {value}")
    if nullable:
        source.line(f"if {variable} is None:")
        source.line(f"    {variable} = b''; {length} = -1")
        source.line("else:")
        source.depth += 1
    if field.kind == "string":
        source.line(f"{variable} = {encode}")
        source.line(f"{length} = len({variable})")
    else:
        source.line(f"{length} = memoryview({variable}).nbytes")
    if nullable:
        source.depth -= 1
    if source.flexible:
        pack.flush()
        source.line(f"{pack.call}(uv({length} + 1))")
    else:
        pack.add("h" if field.kind == "string" else "i", length)
        pack.flush()
    source.line(f"if {length} > 0: {pack.call}({variable})")


def _write_single_struct(source: _Source, pack: _Pack, field: FieldSchema, value: str) -> None:
    variable = source.fresh("v")
    pack.flush()
    source.line(f"{variable} = {value}")
    marked = field.nullable and field.tag is None
    if marked:
        source.line(f"if {variable} is None: {pack.call}(b'\\xff')")
        source.line("else:")
        source.depth += 1
        source.line(f"{pack.call}(b'\\x01')")
    source.line(f"{variable} = fields_of({variable})")
    _write_struct(source, field.fields, variable, pack.call)
    if marked:
        source.depth -= 1


def _write_array(source: _Source, pack: _Pack, field: FieldSchema, value: str) -> None:
    variable, count = source.fresh("v"), source.fresh("n")
    source.line(f"{variable} = {value}")
    if field.nullable:
        source.line(f"if {variable} is None: {variable} = (); {count} = -1")
        source.line(f"else: {count} = len({variable})")
    else:
        source.line(f"{count} = len({variable})")
    if source.flexible:
        pack.flush()
        source.line(f"{pack.call}(uv({count} + 1))")
    else:
        pack.add("i", count)
        pack.flush()
    if field.kind in _ARRAY_FORMATS:
        code = _ARRAY_FORMATS[field.kind]
        source.line(f"if {count} > 0: {pack.call}(pack(f'>{{{count}}}{code}', *{variable}))")
        return
    item = source.fresh("v")
    source.line(f"for {item} in {variable}:")
    source.depth += 1
    element = FieldSchema(
        field.name, field.first, field.last, field.kind, False, False, None, None, field.fields
    )
    inner = _Pack(source, pack.call)
    _write_field(source, inner, element, item)
    inner.flush()
    source.depth -= 1


def _write_tags(source: _Source, tagged: list[FieldSchema], get: str, add: str) -> None:
    count, all_tags = source.fresh("n"), source.fresh("t")
    source.line(f"{count} = 0; {all_tags} = []")
    for field in tagged:
        variable, inside = source.fresh("v"), source.fresh("p")
        missing = _missing(source, field)
        source.line(f"{variable} = {get}({field.name!r}, {missing})")
        source.line(f"if {_differs(field, variable, missing)}:")
        source.depth += 1
        source.line(f"{inside} = pieces(); {inside}_add = {inside}.append")
        pack = _Pack(source, f"{inside}_add")
        _write_field(source, pack, field, variable)
        pack.flush()
        source.line(f"{inside} = b''.join({inside})")
        if field.kind == "struct" and not field.array and field.default is not None:
            same = source.constant("K", _default_bytes(source, field))
            source.line(f"if {inside} != {same}:")
            source.depth += 1
        source.line(f"{count} += 1")
        source.line(f"{all_tags} += (uv({field.tag}), uv(len({inside})), {inside})")
        if field.kind == "struct" and not field.array and field.default is not None:
            source.depth -= 1
        source.depth -= 1
    source.line(f"{add}(uv({count}))")
    source.line(f"if {count}: {add}(b''.join({all_tags}))")


def _differs(field: FieldSchema, variable: str, missing: str) -> str:
    """The condition under which a tagged field is sent (KIP-482: defaults are left out)."""
    if field.array:
        unset = f"{variable} is None or len({variable}) > 0"
        return f"{variable} is not None" if field.default is None else unset
    if field.kind == "struct" and field.default is not None:
        return f"{variable} is not None and {variable} is not {missing}"
    if field.kind == "uuid":
        return f"({variable} or ZERO) != ZERO"
    if field.default is None:
        return f"{variable} is not None"
    return f"{variable} != {missing}"


def _default_bytes(source: _Source, field: FieldSchema) -> bytes:
    """How a tagged struct of nothing but defaults looks: such a struct is not sent."""
    inner = _Source(source.version, source.flexible, source.label)
    _write_struct(inner, field.fields, "d", "add")
    shared = {"ZERO": ZERO_UUID, "fields_of": fields_of, "pack": struct.pack, "pieces": _Pieces}
    shared |= {"uv": encode_uvarint, "unknown": _unknown_names}
    pieces: list[bytes] = []
    inner.build("write(d, add)", shared)({}, pieces.append)
    return b"".join(pieces)
