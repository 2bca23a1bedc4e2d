"""What files declare of a cluster: topics, offsets of groups, policies, access. Frozen data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from clusters.declared.access_model import Access


@dataclass(frozen=True, slots=True)
class Where:
    """A place in a file."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


@dataclass(frozen=True, slots=True)
class Placement:
    """Where replicas may be. `assignment` fixes all; else `brokers` and `spread` are rules.

    A partition that meets the rules is left where it is.
    """

    assignment: tuple[tuple[int, ...], ...] | None = None
    brokers: frozenset[int] | None = None
    spread_racks: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredTopic:
    """A topic. None for partitions or replication: not declared, so never compared.

    `configs` holds text as brokers take it; None means: back to the default.
    """

    name: str
    where: Where
    partitions: int | None = None
    replication: int | None = None
    placement: Placement = Placement()
    configs: Mapping[str, str | None] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    protect: bool = False
    absent: bool = False
    lines: Mapping[str, int] = field(default_factory=dict)

    def at(self, key: str) -> Where:
        """The place of one of its keys."""
        return Where(self.where.file, self.lines.get(key, self.where.line))


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredOffsets:
    """Offsets of a group in a topic.

    `at` is earliest, latest or milliseconds since 1970; else `offsets` gives one for each
    partition. `always` also moves what is committed already.
    """

    group: str
    topic: str
    where: Where
    at: str | int | None = None
    offsets: Mapping[int, int] = field(default_factory=dict)
    always: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ConfigRule:
    """What a policy allows for a setting; bounds are in the setting's own unit."""

    minimum: int | None = None
    maximum: int | None = None
    allowed: tuple[str, ...] = ()
    required: bool = False
    forbidden: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What topics whose name matches one of `match` (globs) must be like."""

    where: Where
    match: tuple[str, ...] = ("*",)
    name: str | None = None
    replication: tuple[int | None, int | None] = (None, None)
    partitions: tuple[int | None, int | None] = (None, None)
    labels: tuple[str, ...] = ()
    configs: Mapping[str, ConfigRule] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """All that some files declare. `protected` are globs of topics that are never deleted.

    Without a section of topics (`has_topics`) none is pruned: a file that was cut off, or is about
    users alone, must not take every topic with it.
    """

    topics: Mapping[str, DeclaredTopic] = field(default_factory=dict)
    offsets: tuple[DeclaredOffsets, ...] = ()
    policies: tuple[Policy, ...] = ()
    protected: tuple[tuple[str, Where], ...] = ()
    files: tuple[str, ...] = ()
    access: Access = field(default_factory=Access)
    has_topics: bool = True

    @property
    def is_empty(self) -> bool:
        """Whether nothing at all is declared, as by an empty file."""
        parts = (self.topics, self.offsets, self.policies, self.protected, self.access.sections)
        return not self.has_topics and not any(parts)
