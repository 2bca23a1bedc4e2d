"""What the admin client tells of consumer groups: frozen data with `to_json()`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from broker.protocol.lazy_dataclass import dataclass

# Kinds of group by what they call their protocol. Classic groups may have others, such as connect.
CONSUMER, SHARE, STREAMS = "consumer", "share", "streams"


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupSummary:
    """A group in a list. `coordinator` is the id of the broker that told of it.

    `state` and `group_type` are "" on clusters that do not tell them in a list.
    """

    group: str
    state: str
    protocol_type: str
    group_type: str
    coordinator: int

    def to_json(self) -> dict[str, Any]:
        """Plain data for output."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupMember:
    """A member, with the partitions assigned to it as (topic, partition), sorted."""

    member_id: str
    instance_id: str | None
    client_id: str
    host: str
    partitions: tuple[tuple[str, int], ...]

    def to_json(self) -> dict[str, Any]:
        """Plain data for output."""
        return asdict(self) | {
            "partitions": [{"topic": topic, "partition": index} for topic, index in self.partitions]
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupDetail:
    """A group and its members. `generation` is None where the cluster does not tell it."""

    group: str
    state: str
    protocol_type: str
    assignor: str
    coordinator: int
    generation: int | None
    members: tuple[GroupMember, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain data for output."""
        return asdict(self) | {"members": [member.to_json() for member in self.members]}


@dataclass(frozen=True, slots=True, kw_only=True)
class CommittedOffset:
    """How far a group has read a partition: the next offset that it will read.

    Of a share group it is where the records begin that are not all acknowledged (KIP-932), and
    `lag` is what the cluster counts itself (KIP-1226): records after it may be done with as well.
    """

    topic: str
    partition: int
    offset: int
    leader_epoch: int
    metadata: str
    lag: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain data for output."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionLag:
    """How far a group is behind. `lag` is None without a commit or without the leader's word.

    `start` and `end` are the partition's offsets, None when its leader did not answer; `member` is
    the id of the member that reads it now, or None; in a share group it is one of them.
    """

    topic: str
    partition: int
    committed: int | None
    start: int | None
    end: int | None
    lag: int | None
    member: str | None

    def to_json(self) -> dict[str, Any]:
        """Plain data for output."""
        return asdict(self)


def partitions_of(assignment: Sequence[tuple[str, Sequence[int]]]) -> tuple[tuple[str, int], ...]:
    """(topic, partition) of (topic, partitions), sorted."""
    return tuple(sorted((topic, index) for topic, indexes in assignment for index in indexes))


def shared_readers(detail: GroupDetail) -> dict[tuple[str, int], str]:
    """In words who reads each partition of a share group: there it may be many at once."""
    if detail.protocol_type != SHARE:
        return {}
    found: dict[tuple[str, int], list[str]] = {}
    for member in detail.members:
        for key in member.partitions:
            found.setdefault(key, []).append(member.client_id)
    return {
        key: names[0] if len(names) == 1 else f"{len(names)}: {' '.join(dict.fromkeys(names))}"
        for key, names in found.items()
    }
