"""Differential cases: YAML entries read into scripts of requests.

Reads and checks text only; an entry that cannot be played is an error that names file and case.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from broker.protocol.api_keys import ApiKey

FOLDER = Path(__file__).parent / "cases"
OF_THREE = FOLDER / "three"
_CASE_KEYS = {"name", "api", "versions", "topics", "body", "steps"}
_TOPIC_KEYS = {"partitions", "configs", "batches", "assignments"}
_STEP_KEYS = {
    "api", "version", "body", "raw", "keep", "connection", "until", "background", "await", "no_reply",
    "timeout_ms", "stop", "start",
}  # fmt: skip
_NAME = re.compile(r"[a-z0-9-]{1,80}")
# Topics and groups of a case are named after it; this tells them from what brokers make.
PREFIX = "diff-"


class BadCase(Exception):
    """An entry that cannot be played: which, and why."""


@dataclass(frozen=True)
class Versions:
    """`all`, `5`, `3-7`, `3-`, `-7`, or a list of these."""

    ranges: tuple[tuple[int, int], ...] = ((0, 1_000),)

    @classmethod
    def read(cls, text: Any) -> "Versions":
        parts = text if isinstance(text, list) else [text]
        return cls(tuple(_range(str(part)) for part in parts))

    def of(self, low: int, high: int) -> list[int]:
        return [
            v
            for v in range(low, high + 1)
            if any(first <= v <= last for first, last in self.ranges)
        ]


def _range(text: str) -> tuple[int, int]:
    if text == "all":
        return 0, 1_000
    if not re.fullmatch(r"\d+|\d*-\d*", text) or text == "-":
        raise ValueError(f"{text!r} is no range of versions")
    first, dash, last = text.partition("-")
    if not dash:
        return int(first), int(first)
    return int(first or 0), int(last or 1_000)


@dataclass(frozen=True)
class Step:
    """One request, or the wait for one that was sent in the background.

    `version` None: the case's version when the API is the case's, else the newest of both sides.
    """

    api: ApiKey
    version: int | None = None
    body: Mapping[str, Any] = field(default_factory=dict)
    raw: Mapping[str, Any] | None = None
    keep: Mapping[str, str] = field(default_factory=dict)
    connection: str = "main"
    until: Mapping[str, Any] | None = None
    background: str | None = None
    awaited: str | None = None
    no_reply: bool = False
    timeout_ms: int = 15_000
    # Brokers to stop or to start instead of a request.
    stop: int | None = None
    start: int | None = None


@dataclass(frozen=True)
class Topic:
    """A topic made before the first step; `batches` go to partition 0, one batch for each list.

    `assignments` are the replicas of each partition, the leader first; the only broker else.
    """

    partitions: int = 1
    configs: Mapping[str, str] = field(default_factory=dict)
    batches: tuple[tuple[Any, ...], ...] = ()
    assignments: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True)
class Case:
    name: str
    api: ApiKey
    versions: Versions
    topics: Mapping[str, Topic]
    steps: tuple[Step, ...]
    source: str


def load_cases(folder: Path = FOLDER) -> list[Case]:
    """Every case of every file, in the order of files and entries; raises BadCase."""
    cases: list[Case] = []
    for path in sorted(folder.glob("*.yaml")):
        cases += read_cases(path.read_text(encoding="utf-8"), path.name)
    seen: dict[str, str] = {}
    for case in cases:
        if case.name in seen:
            raise BadCase(f"{case.source}: {case.name} stands in {seen[case.name]} already")
        seen[case.name] = case.source
    return cases


def read_cases(text: str, source: str) -> list[Case]:
    return [_case(entry, source) for entry in yaml.safe_load(text) or []]


def _case(entry: Mapping[str, Any], source: str) -> Case:
    where = f"{source}: {entry.get('name', '(no name)')}"
    try:
        _known(entry, _CASE_KEYS)
        if not _NAME.fullmatch(str(entry["name"])):
            raise ValueError("a name is made of a-z, 0-9 and -")
        if ("body" in entry) == ("steps" in entry):
            raise ValueError("either body or steps")
        api = ApiKey[entry["api"]]
        steps = entry.get("steps") or [{"body": entry["body"]}]
        return Case(
            name=entry["name"],
            api=api,
            versions=Versions.read(entry.get("versions", "all")),
            topics={name: _topic(topic or {}) for name, topic in entry.get("topics", {}).items()},
            steps=tuple(_step(step, api) for step in steps),
            source=source,
        )
    except KeyError as error:
        raise BadCase(f"{where}: {error} is missing or no API") from error
    except (TypeError, ValueError) as error:
        raise BadCase(f"{where}: {error}") from error


def _topic(entry: Mapping[str, Any]) -> Topic:
    _known(entry, _TOPIC_KEYS)
    assignments = tuple(tuple(replicas) for replicas in entry.get("assignments", ()))
    return Topic(
        assignments=assignments,
        partitions=len(assignments) or entry.get("partitions", 1),
        configs=entry.get("configs", {}),
        batches=tuple(tuple(batch) for batch in entry.get("batches", ())),
    )


def _step(entry: Mapping[str, Any], api: ApiKey) -> Step:
    _known(entry, _STEP_KEYS)
    fields = dict(entry)
    return Step(
        api=ApiKey[fields.pop("api")] if "api" in fields else api,
        awaited=fields.pop("await", None),
        **fields,
    )


def _known(entry: Mapping[str, Any], names: Iterable[str]) -> None:
    if unknown := sorted(set(entry) - set(names)):
        raise ValueError(f"unknown keys {', '.join(unknown)}; known are {', '.join(sorted(names))}")
