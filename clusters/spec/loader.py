"""Load a cluster file: every problem at once, each with file, line and the way out."""

from __future__ import annotations

import typing
import uuid
from pathlib import Path as FilePath
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from broker.protocol.struct import uuid_to_text
from clusters.errors import Problem, SpecError
from clusters.nearest import hint
from clusters.spec.checks import check_document
from clusters.spec.document import FILE_BYTES_MAX, Document, Path, parse_document
from clusters.spec.models import ClusterSpec


def load_spec(path: str | FilePath) -> ClusterSpec:
    """Read and check a cluster file. Raises SpecError listing every problem."""
    file = str(path)
    try:
        with open(file, "rb") as stream:
            content = stream.read(FILE_BYTES_MAX + 1)
    except FileNotFoundError:
        raise SpecError([_whole_file(file, "there is no such file")]) from None
    except IsADirectoryError:
        raise SpecError([_whole_file(file, "is a folder; name a YAML file in it")]) from None
    except OSError as error:
        raise SpecError([_whole_file(file, f"cannot be read: {error.strerror}")]) from None
    return parse_spec(content, file)


def parse_spec(content: bytes, file: str) -> ClusterSpec:
    """Check the content of a cluster file; `file` is used in messages and as its source."""
    document = parse_document(content, file)
    if document.data is None and not document.problems:
        document.problem((), "is empty; start with `cluster: NAME` and a list of hosts")
    elif document.data is not None and not isinstance(document.data, dict):
        document.problem((), "must be a mapping that starts with `cluster: NAME`")
    spec: ClusterSpec | None = None
    if isinstance(document.data, dict):
        spec = _validate(document)
        check_document(document)
    if document.problems or spec is None:
        raise SpecError(document.problems)
    spec._source = str(FilePath(file).resolve())
    return spec


def new_cluster_id() -> str:
    """A fresh cluster id as Kafka writes them; never one that starts like an option."""
    while True:
        text = uuid_to_text(uuid.uuid4())
        if not text.startswith("-"):
            return text


def _whole_file(file: str, message: str) -> Problem:
    return Problem(file=file, line=0, message=message)


def _validate(document: Document) -> ClusterSpec | None:
    # Keys for YAML anchors and notes: ignored, as in compose files.
    data = {key: value for key, value in document.data.items() if not key.startswith("x-")}
    try:
        return ClusterSpec.model_validate(data)
    except ValidationError as error:
        for detail in error.errors(include_url=False, include_context=True):
            path = tuple(detail["loc"])
            document.problem(path, _message(detail, path))
        return None


_KINDS = {
    "int": "a whole number",
    "string": "text",
    "bool": "true or false",
    "list": "a list",
    "dict": "a mapping",
    "model": "a mapping",
}


def _message(detail: ErrorDetails, path: Path) -> str:
    kind = detail["type"]
    value = _shown(detail["input"])
    context = detail.get("ctx", {})
    if kind == "missing":
        return "is missing"
    if kind == "extra_forbidden":
        return f"unknown key; {hint(str(path[-1]), _known_keys(path[:-1]))}"
    if kind == "literal_error":
        return _literal(str(detail["input"]), str(context.get("expected", "")))
    if kind == "string_pattern_mismatch":
        return f"{value} does not fit; {_pattern_help(path)}"
    if kind in {"greater_than_equal", "less_than_equal"}:
        bound = context.get("ge", context.get("le"))
        side = "at least" if kind == "greater_than_equal" else "at most"
        return f"{value} is out of range; it must be {side} {bound}"
    if kind == "value_error":
        return str(context.get("error", detail["msg"]))
    if kind == "too_short":
        return "must not be empty"
    for prefix, words in _KINDS.items():
        if kind.startswith(f"{prefix}_"):
            return f"{value} is not {words}"
    return f"{value}: {detail['msg']}"


def _literal(value: str, expected: str) -> str:
    known = [word.strip("'") for word in expected.replace(" or ", ", ").split(", ")]
    return f'"{value}" is not possible; {hint(value, known)}'


def _pattern_help(path: Path) -> str:
    if path[-1] == "jump":
        return "write user@host or user@host:port"
    if "host_key" in path:
        return "write SHA256: and 43 characters, as `ssh-keygen -lf KEY.pub` prints it"
    if path[-1] == "user":
        return "use lower-case letters, digits, '_' and '-', at most 31 of them"
    if path == ("cluster",):
        return "use lower-case letters, digits, '.', '_' and '-', at most 63 of them"
    return "a cluster id is 22 characters of base64url, as `kafka-storage random-uuid` prints"


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, dict | list):
        return "a list" if isinstance(value, list) else "a mapping"
    text = f'"{value}"' if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else text[:57] + '..."'


def _known_keys(path: Path) -> list[str]:
    """The keys that the model at a path of the file knows."""
    model: type[BaseModel] | None = ClusterSpec
    for part in path:
        if isinstance(part, int) or model is None:
            continue
        found = model.model_fields.get(part)
        model = _model_in(found.annotation) if found is not None else None
    return list(model.model_fields) if model is not None else []


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in typing.get_args(annotation):
        found = _model_in(argument)
        if found is not None:
            return found
    return None
