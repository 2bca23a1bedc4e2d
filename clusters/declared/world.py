"""The part of a cluster that declared state is about, as it was found. Frozen data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from clusters.declared.access_model import AccessWorld

Partition = tuple[str, int]
Assignment = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Setting:
    """The value in force; `own` when it was set for the topic itself, not inherited."""

    value: str | None
    own: bool
    sensitive: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldTopic:
    """A topic that exists; `assignment[i]` are the replicas of partition i, in order,
    and where they go to when they are on the move.

    `settings` is None when nobody could tell them.
    """

    id: str
    assignment: Assignment
    settings: Mapping[str, Setting] | None = field(default_factory=dict)
    internal: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What exists. `racks` has every broker that is up; `moving` are partitions being moved.

    `positions` are offsets of (topic, partition) at earliest, latest or a time; `active` are groups
    with members. `problems` says, for the reader, what could not be found out; a topic or group
    in `unknown` (as "topic NAME", "group NAME") is not known well enough to be compared.
    """

    cluster_id: str
    topics: Mapping[str, WorldTopic] = field(default_factory=dict)
    racks: Mapping[int, str | None] = field(default_factory=dict)
    moving: frozenset[Partition] = frozenset()
    offsets: Mapping[str, Mapping[Partition, int]] = field(default_factory=dict)
    positions: Mapping[tuple[Partition, str | int], int] = field(default_factory=dict)
    active: frozenset[str] = frozenset()
    problems: tuple[str, ...] = ()
    unknown: frozenset[str] = frozenset()
    access: AccessWorld = field(default_factory=AccessWorld)
