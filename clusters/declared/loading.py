"""Reads files of declared state: includes, variables, defaults; every problem at once.

Reads the named files only, safely and bounded; asks no cluster.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from clusters.declared.access_loading import KEYS as ACCESS_KEYS
from clusters.declared.access_loading import AccessReader
from clusters.declared.fields import Fields, shown
from clusters.declared.model import (
    ConfigRule,
    Declared,
    DeclaredOffsets,
    DeclaredTopic,
    Placement,
    Policy,
    Where,
)
from clusters.declared.policies import violations
from clusters.declared.variables import Variables, substitute
from clusters.errors import Problem, SpecError
from clusters.nearest import nearest
from clusters.query.values import time_ms
from clusters.spec.document import FILE_BYTES_MAX, Document, parse_document
from clusters.units import setting_text

FILES_MAX = 500
KEYS = ("variables", "include", "defaults", "policies", "protect", "topics", "groups", *ACCESS_KEYS)
TOPIC_KEYS = (
    "partitions",
    "replication",
    "placement",
    "assignment",
    "configs",
    "labels",
    "protect",
    "state",
)
DEFAULTS_KEYS = ("partitions", "replication", "placement", "configs", "labels")
PLACEMENT_KEYS = ("brokers", "spread")
GROUP_KEYS = ("topics", "labels")
OFFSETS_KEYS = ("at", "offsets", "when")
POLICY_KEYS = ("match", "name", "replication", "partitions", "labels", "configs")
BOUNDS_KEYS = ("min", "max")
RULE_KEYS = (*BOUNDS_KEYS, "allowed", "required", "forbidden")
STATES = ("present", "absent")
SPREADS = ("racks", "any")
WHENS = ("missing", "always")
PARTITIONS_MAX = 100_000
REPLICATION_MAX = 100
TOPIC_NAME = re.compile(r"[a-zA-Z0-9._-]{1,249}")


def load_declared(
    paths: list[str],
    *,
    given: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Declared:
    """Read files and what they include. Raises SpecError with everything that is wrong."""
    variables = Variables(given=given or {}, environ=environ or {})
    loader = _Loader(variables)
    for path in paths:
        loader.open(path, None)
    loader.read_all()
    problems = [*loader.problems, *(p for d in loader.documents for p in d.problems)]
    if problems:
        raise SpecError(problems)
    declared = loader.declared()
    found = violations(declared)
    if found:
        raise SpecError(found)
    return declared


@dataclass(slots=True)
class _Loader:
    variables: Variables
    documents: list[Document] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    topics: dict[str, DeclaredTopic] = field(default_factory=dict)
    offsets: list[DeclaredOffsets] = field(default_factory=list)
    policies: list[Policy] = field(default_factory=list)
    protected: list[tuple[str, Where]] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)
    access: AccessReader = field(default_factory=AccessReader)
    has_topics: bool = False

    def declared(self) -> Declared:
        return Declared(
            topics=self.topics,
            offsets=tuple(self.offsets),
            policies=tuple(self.policies),
            protected=tuple(self.protected),
            files=tuple(document.file for document in self.documents),
            access=self.access.access(),
            has_topics=self.has_topics,
        )

    # Files

    def open(self, path: str, source: tuple[Document, int] | None) -> None:
        """Read a file once, its variables and its includes; nearer files win."""
        real = os.path.realpath(path)
        if real in self.seen:
            return
        self.seen.add(real)
        if len(self.seen) > FILES_MAX:
            self._refuse(path, source, f"more than {FILES_MAX} files")
            return
        try:
            with open(path, "rb") as stream:
                content = stream.read(FILE_BYTES_MAX + 1)
        except OSError as error:
            words = "there is no such file" if isinstance(error, FileNotFoundError) else None
            self._refuse(path, source, words or f"cannot be read: {error.strerror}")
            return
        except ValueError:
            self._refuse(path, source, "is no name of a file")
            return
        document = parse_document(content, path)
        self.documents.append(document)
        if document.data is None and not document.problems:
            document.data = {}
        if not isinstance(document.data, dict):
            if not document.problems:
                document.problem((), "must be a mapping with keys such as topics")
            document.data = {}
            return
        fields = Fields(document, (), document.data)
        fields.known(KEYS)
        for name, value in fields.inside("variables").data.items():
            self.variables.declared.setdefault(name, value)
        self._include(fields)

    def _include(self, fields: Fields) -> None:
        folder = os.path.dirname(fields.document.file)
        for index, pattern in enumerate(fields.texts("include")):
            matches = [] if "\0" in pattern else sorted(glob.glob(os.path.join(folder, pattern)))
            if not matches:
                fields.problem(f'"{pattern}" names no file', "include", index)
            for match in matches:
                self.open(match, (fields.document, index))

    def _refuse(self, path: str, source: tuple[Document, int] | None, message: str) -> None:
        if source is None:
            self.problems.append(Problem(file=path, line=0, message=message))
        else:
            source[0].problem(("include", source[1]), f"{path}: {message}")

    # Content

    def read_all(self) -> None:
        """Read what every file declares, once all variables are known."""
        for document in self.documents:
            substitute(document, self.variables, frozenset({"variables", "include"}))
            fields = Fields(document, (), document.data or {})
            self._read_policies(fields)
            for index, pattern in enumerate(fields.texts("protect")):
                where = Where(document.file, fields.line("protect", index))
                self.protected.append((pattern, where))
            defaults = fields.inside("defaults")
            defaults.known(DEFAULTS_KEYS)
            topics = fields.inside("topics")
            self.has_topics |= isinstance(fields.data.get("topics"), dict)
            for name in topics.data:
                self._read_topic(topics.inside(name), name, defaults)
            groups = fields.inside("groups")
            for name in groups.data:
                self._read_group(groups.inside(name), name)
            self.access.read(fields)
        unused = [name for name in self.variables.given if name not in self.variables.used]
        known = sorted(self.variables.declared)
        for name in unused:
            if name not in self.variables.declared:
                match = nearest(name, known)
                more = f'; did you mean "{match}"?' if match else ""
                message = f"no file uses the variable that --set gives{more}"
                self.problems.append(Problem(file=f"--set {name}", line=0, message=message))

    def _read_topic(self, fields: Fields, name: str, defaults: Fields) -> None:
        fields.known(TOPIC_KEYS)
        where = Where(fields.document.file, fields.line())
        if not TOPIC_NAME.fullmatch(name) or name in {".", ".."}:
            fields.problem("a topic's name has 1 to 249 of a-z A-Z 0-9 . _ -")
        before = self.topics.get(name)
        if before is not None:
            fields.problem(f"is declared twice; the first is at {before.where}")
        absent = fields.choice("state", STATES, "present") == "absent"
        if absent:
            others = [key for key in fields.data if key not in {"state", "labels"}]
            if others:
                fields.problem(f"an absent topic has no {others[0]}", others[0])
        configs = {**_configs(defaults.inside("configs")), **_configs(fields.inside("configs"))}
        lines = {key: fields.line(key) for key in fields.data}
        lines |= {f"configs.{key}": fields.line("configs", key) for key in configs}
        labels = {**_labels(defaults), **_labels(fields)}
        placement = _placement(fields if "placement" in fields.data else defaults)
        assignment = _assignment(fields)
        if assignment is not None:
            if "placement" in fields.data:
                fields.problem("give either assignment or placement", "placement")
            placement = Placement(assignment=assignment)
        partitions = fields.integer("partitions", minimum=1, maximum=PARTITIONS_MAX)
        replication = fields.integer("replication", minimum=1, maximum=REPLICATION_MAX)
        if assignment is not None:
            _check_assignment(fields, assignment, partitions, replication)
            partitions = len(assignment)
            replication = replication or min(map(len, assignment), default=None)
        self.topics[name] = DeclaredTopic(
            name=name,
            where=where,
            partitions=partitions
            or defaults.integer("partitions", minimum=1, maximum=PARTITIONS_MAX),
            replication=replication
            or defaults.integer("replication", minimum=1, maximum=REPLICATION_MAX),
            placement=placement,
            configs=configs,
            labels=labels,
            protect=fields.flag("protect"),
            absent=absent,
            lines=lines,
        )

    def _read_group(self, fields: Fields, name: str) -> None:
        fields.known(GROUP_KEYS)
        labels = _labels(fields)
        topics = fields.inside("topics")
        if not topics.data:
            fields.problem("names no topics", "topics")
        for topic in topics.data:
            each = topics.inside(topic)
            each.known(OFFSETS_KEYS)
            at, offsets = _position(each), _offsets(each)
            if (at is None) == (not offsets) and not each.document.problems:
                each.problem("give either `at` or `offsets`")
            when = each.choice("when", WHENS, "always" if offsets else "missing")
            where = Where(each.document.file, each.line())
            twice = [o for o in self.offsets if (o.group, o.topic) == (name, topic)]
            if twice:
                each.problem(f"is declared twice; the first is at {twice[0].where}")
            self.offsets.append(
                DeclaredOffsets(
                    group=name,
                    topic=topic,
                    where=where,
                    at=at,
                    offsets=offsets,
                    always=when == "always",
                    labels=labels,
                )
            )

    def _read_policies(self, fields: Fields) -> None:
        for index, data in enumerate(fields.items("policies")):
            each = Fields.at(fields.document, ("policies", index), data)
            each.known(POLICY_KEYS)
            name = each.text("name")
            if name is not None:
                try:
                    re.compile(name)
                except re.error as error:
                    each.problem(f"the pattern cannot be read: {error}", "name")
                    name = None
            rules = each.inside("configs")
            self.policies.append(
                Policy(
                    where=Where(each.document.file, each.line()),
                    match=each.texts("match") or ("*",),
                    name=name,
                    replication=_bounds(each.inside("replication")),
                    partitions=_bounds(each.inside("partitions")),
                    labels=each.texts("labels"),
                    configs={key: _rule(rules.inside(key), key) for key in rules.data},
                )
            )


def _configs(fields: Fields) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for name, value in fields.data.items():
        if value is None:
            found[name] = None
            continue
        if isinstance(value, list):
            value = ",".join(map(str, value))
        try:
            found[name] = setting_text(name, value)
        except ValueError as error:
            fields.problem(str(error), name)
    return found


def _labels(fields: Fields) -> dict[str, str]:
    inside = fields.inside("labels")
    return {key: inside.text(key) or "" for key in inside.data}


def _placement(fields: Fields) -> Placement:
    data = fields.data.get("placement")
    if data is None or data == "any":
        return Placement()
    if data == "racks":
        return Placement(spread_racks=True)
    if isinstance(data, str):
        fields.problem(f'"{data}" is not possible; known: any, racks', "placement")
        return Placement()
    inside = fields.inside("placement")
    inside.known(PLACEMENT_KEYS)
    brokers = _ids(inside, "brokers", inside.data.get("brokers"))
    spread = inside.choice("spread", SPREADS, "any")
    return Placement(
        brokers=frozenset(brokers) if brokers else None, spread_racks=spread == "racks"
    )


def _ids(fields: Fields, key: str | int, value: Any, *path: str | int) -> tuple[int, ...]:
    if value is None:
        return ()
    good = isinstance(value, list) and all(
        isinstance(each, int) and not isinstance(each, bool) and each >= 0 for each in value
    )
    if not good or len(set(value)) != len(value):
        fields.problem("must be a list of broker ids, each once, as in [1, 2, 3]", key, *path)
        return ()
    return tuple(value)


def _assignment(fields: Fields) -> tuple[tuple[int, ...], ...] | None:
    data = fields.data.get("assignment")
    if data is None:
        return None
    if isinstance(data, dict):
        wanted = [str(index) for index in range(len(data))]
        if sorted(data, key=lambda key: (len(key), key)) != wanted:
            fields.problem("must name each partition from 0 on", "assignment")
            return None
        return tuple(_ids(fields, "assignment", data[key], key) for key in wanted)
    if isinstance(data, list) and data:
        return tuple(_ids(fields, "assignment", each, i) for i, each in enumerate(data))
    fields.problem(
        f"must be a list of replicas for each partition, not {shown(data)}", "assignment"
    )
    return None


def _check_assignment(
    fields: Fields,
    assignment: tuple[tuple[int, ...], ...],
    partitions: int | None,
    replication: int | None,
) -> None:
    if partitions is not None and partitions != len(assignment):
        fields.problem(f"has {len(assignment)} entries for {partitions} partitions", "assignment")
    for index, replicas in enumerate(assignment):
        if not replicas:
            fields.problem("a partition needs at least one replica", "assignment", index)
        elif replication is not None and len(replicas) != replication:
            fields.problem(
                f"names {len(replicas)} brokers for replication {replication}", "assignment", index
            )


def _position(fields: Fields) -> str | int | None:
    value = fields.text("at")
    if value is None or value in {"earliest", "latest"}:
        return value
    if value.startswith("@"):
        try:
            return time_ms(value[1:])
        except ValueError as error:
            fields.problem(str(error), "at")
            return None
    fields.problem(
        f'"{value}" is no position; write earliest, latest or @2026-01-31T12:00:00Z', "at"
    )
    return None


def _offsets(fields: Fields) -> dict[int, int]:
    inside = fields.inside("offsets")
    found: dict[int, int] = {}
    for key in inside.data:
        offset = inside.integer(key, maximum=2**63 - 1)
        if not key.isdecimal():
            inside.problem("a partition is a number", key)
        elif offset is not None:
            found[int(key)] = offset
    return found


def _bounds(fields: Fields) -> tuple[int | None, int | None]:
    fields.known(BOUNDS_KEYS)
    return fields.integer("min"), fields.integer("max")


def _rule(fields: Fields, name: str) -> ConfigRule:
    fields.known(RULE_KEYS)
    return ConfigRule(
        minimum=_limit(fields, "min", name),
        maximum=_limit(fields, "max", name),
        allowed=fields.texts("allowed"),
        required=fields.flag("required"),
        forbidden=fields.flag("forbidden"),
    )


def _limit(fields: Fields, key: str, name: str) -> int | None:
    value = fields.data.get(key)
    if value is None:
        return None
    try:
        return int(setting_text(name, value))
    except ValueError as error:
        fields.problem(f"{error}" if isinstance(value, str) else "must be a number", key)
        return None
