"""YAML read safely into plain data that remembers its lines.

Only plain YAML is understood (no tags that build objects). Everything is bounded: file size, depth
and number of nodes, so that a hostile file is an error and not a hang.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import yaml

from clusters.errors import Problem

FILE_BYTES_MAX = 1 << 20
DEPTH_MAX = 40
NODES_MAX = 50_000

Path = tuple[str | int, ...]


@dataclass(slots=True)
class Document:
    """Plain data, the line of every path in it, and what was wrong while reading."""

    file: str
    data: Any = None
    lines: dict[Path, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def line_of(self, path: Path) -> int:
        """Line of the longest known prefix of a path; 0 when there is none."""
        for length in range(len(path), -1, -1):
            line = self.lines.get(path[:length])
            if line is not None:
                return line
        return 0

    def problem(self, path: Path, message: str) -> None:
        """Note a problem at a path, prefixed with the path as people write it."""
        name = path_text(path)
        text = f"{name}: {message}" if name else message
        self.problems.append(Problem(file=self.file, line=self.line_of(path), message=text))


def path_text(path: Path) -> str:
    """`hosts[1].id` for ("hosts", 1, "id")."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else part
    return text


def parse_document(content: bytes, file: str) -> Document:
    """Read YAML; never raises for bad content, notes problems instead."""
    document = Document(file=file)
    if len(content) > FILE_BYTES_MAX:
        document.problem((), f"is larger than {FILE_BYTES_MAX} bytes; this is no cluster file")
        return document
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        document.problems.append(
            Problem(file=file, line=line, message="is not UTF-8 text; save it as UTF-8")
        )
        return document
    loader: yaml.SafeLoader | None = None
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is not None:
            document.data = _Builder(loader, document).build(node, (), 0)
    except yaml.MarkedYAMLError as error:
        document.problems.append(_syntax_problem(file, error))
    except yaml.YAMLError as error:
        message = f"is not YAML: {str(error).splitlines()[0]}"
        document.problems.append(Problem(file=file, line=0, message=message))
    except RecursionError:
        document.problem((), f"is nested deeper than {DEPTH_MAX} levels")
    except _TooMuch as error:
        document.problems.append(Problem(file=file, line=error.line, message=str(error)))
    finally:
        if loader is not None:
            loader.dispose()
    return document


def _syntax_problem(file: str, error: yaml.MarkedYAMLError) -> Problem:
    mark = error.problem_mark or error.context_mark
    what = error.problem or error.context or "cannot be read"
    if error.context and error.problem:
        what = f"{error.problem} ({error.context})"
    line = mark.line + 1 if mark is not None else 0
    column = f" at column {mark.column + 1}" if mark is not None else ""
    return Problem(file=file, line=line, message=f"is not valid YAML{column}: {what}")


class _TooMuch(Exception):
    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


class _Builder:
    """Turns nodes into plain data; counts nodes, so that aliases cannot multiply without end."""

    def __init__(self, loader: yaml.SafeLoader, document: Document) -> None:
        self._loader = loader
        self._document = document
        self._nodes = 0

    def build(self, node: yaml.Node, path: Path, depth: int) -> Any:
        line = node.start_mark.line + 1
        self._nodes += 1
        if depth > DEPTH_MAX:
            raise _TooMuch(line, f"is nested deeper than {DEPTH_MAX} levels")
        if self._nodes > NODES_MAX:
            raise _TooMuch(line, f"expands to more than {NODES_MAX} values")
        self._document.lines.setdefault(path, line)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path, depth)
        if isinstance(node, yaml.SequenceNode):
            return [
                self.build(item, (*path, index), depth + 1) for index, item in enumerate(node.value)
            ]
        return self._scalar(node, path)

    def _mapping(self, node: yaml.MappingNode, path: Path, depth: int) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self._document.problem(path, "keys must be plain words")
                continue
            key = str(key_node.value)
            line = key_node.start_mark.line + 1
            if key == "<<" and key_node.tag == "tag:yaml.org,2002:merge":
                self._document.lines[(*path, key)] = line
                self._document.problem((*path, key), "merging with << is not supported here")
                continue
            if key in result:
                first = self._document.lines[(*path, key)]
                name = path_text((*path, key))
                message = f"{name}: this key is given twice; the first is on line {first}"
                self._document.problems.append(
                    Problem(file=self._document.file, line=line, message=message)
                )
                continue
            self._document.lines[(*path, key)] = line
            result[key] = self.build(value_node, (*path, key), depth + 1)
        return result

    def _scalar(self, node: yaml.Node, path: Path) -> Any:
        if not node.tag.startswith("tag:yaml.org,2002:"):
            self._document.problem(path, f"the tag {node.tag} is not supported here")
            return None
        kind = node.tag.rsplit(":", 1)[-1]
        if kind in {"timestamp", "binary"}:
            return str(node.value)
        try:
            return self._loader.construct_object(node, deep=True)
        except (ValueError, yaml.YAMLError):
            self._document.problem(path, f'"{node.value}" is no value of kind {kind}')
            return None
