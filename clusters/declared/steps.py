"""Steps of a plan: what is to change, from what to what, and why. Plain data, pure.

`before` is what the step was planned against and `after` what it makes, both as JSON values, so
that a saved plan can tell whether the world still is as it was, or the step is already done.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from clusters.admin.acl_model import Acl
from clusters.admin.quota_model import Entity
from clusters.declared.access_model import AccessWorld
from clusters.declared.world import World, WorldTopic


class Kind(StrEnum):
    """What a step does; in the order in which steps are done."""

    CREATE_TOPIC = "create topic"
    SET_CONFIGS = "set configs"
    # Before partitions are added: new ones must have as many replicas as the first.
    MOVE_REPLICAS = "move replicas"
    ADD_PARTITIONS = "add partitions"
    COMMIT_OFFSETS = "commit offsets"
    SET_USER = "set user"
    # Before others are removed: nobody is without rights in between.
    ADD_ACLS = "add acls"
    SET_QUOTA = "set quota"
    REMOVE_ACLS = "remove acls"
    DELETE_USER = "delete user"
    DELETE_TOPIC = "delete topic"


ORDER = tuple(Kind)
# The section of a file that a kind comes from, of those that not every cluster serves.
_SECTIONS: Mapping[Kind, str] = {
    Kind.SET_USER: "users",
    Kind.DELETE_USER: "users",
    Kind.ADD_ACLS: "acls",
    Kind.REMOVE_ACLS: "acls",
    Kind.SET_QUOTA: "quotas",
}
_DESTROYS = frozenset({Kind.DELETE_TOPIC, Kind.REMOVE_ACLS, Kind.DELETE_USER})


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One change. Of a topic `topic` is set, of offsets `group` too; for others `name` is who it
    concerns: a user, a principal, or who has a quota."""

    kind: Kind
    topic: str = ""
    group: str | None = None
    name: str = ""
    before: Any = None
    after: Any = None
    reasons: tuple[str, ...] = ()
    where: str = ""

    @property
    def subject(self) -> str:
        """What is changed, for the reader."""
        if self.name:
            return self.name
        return f"{self.group}: {self.topic}" if self.group is not None else self.topic

    @property
    def section(self) -> str | None:
        """users, acls or quotas; None for topics and offsets."""
        return _SECTIONS.get(self.kind)

    @property
    def destroys(self) -> bool:
        """Whether records are lost by it, or somebody's access is."""
        return self.kind in _DESTROYS

    def to_json(self) -> dict[str, Any]:
        """The documented fields, in order."""
        return {
            "kind": str(self.kind),
            "topic": self.topic or None,
            "group": self.group,
            "name": self.name or None,
            "before": self.before,
            "after": self.after,
            "reasons": list(self.reasons),
            "where": self.where,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Step:
        """The step of `to_json`; raises KeyError, TypeError or ValueError for anything else."""
        kind, topic = Kind(data["kind"]), data["topic"]
        group, name = data["group"], data.get("name")
        if not all(isinstance(each, str | None) for each in (topic, group, name)):
            raise TypeError("a step names a topic, a group or another")
        if not (name if kind in _SECTIONS else topic):
            raise ValueError("a step names nothing")
        return cls(
            kind=kind,
            topic=topic or "",
            group=group,
            name=name or "",
            before=data["before"],
            after=data["after"],
            reasons=tuple(map(str, data["reasons"])),
            where=str(data["where"]),
        )


class Progress(StrEnum):
    """How a step stands to the world."""

    PENDING = "pending"
    DONE = "done"
    MOVED = "moved"


def progress(step: Step, world: World) -> tuple[Progress, Any]:
    """Whether a step is still to be done, and what the world shows where it would change it."""
    seen = current(step, world)
    if seen == step.before:
        return Progress.PENDING, seen
    return (Progress.DONE if _reached(step, seen) else Progress.MOVED), seen


def current(step: Step, world: World) -> Any:
    """What the world shows in the shape of `before`."""
    if step.kind is Kind.COMMIT_OFFSETS:
        committed = world.offsets.get(step.group or "", {})
        return {
            "offsets": {
                partition: committed.get((step.topic, int(partition)))
                for partition in step.after["offsets"]
            }
        }
    if step.section is not None:
        return _current_access(step, world.access)
    topic = world.topics.get(step.topic)
    if topic is None:
        return None
    match step.kind:
        case Kind.ADD_PARTITIONS | Kind.CREATE_TOPIC:
            return {"id": topic.id, "partitions": len(topic.assignment)}
        case Kind.DELETE_TOPIC:
            return {"id": topic.id}
        case Kind.MOVE_REPLICAS:
            return {"id": topic.id, "assignment": _assignment(topic, step.after["assignment"])}
        case _:
            return {"id": topic.id, "configs": own_values(topic, step.after["configs"])}


def entity_of(step: Step) -> Entity:
    """Who a quota is for."""
    return tuple((str(kind), name) for kind, name in step.after["entity"])


def _current_access(step: Step, world: AccessWorld) -> Any:
    match step.section:
        case "users":
            found = (world.users or {}).get(step.name, {})
            return {"mechanisms": {each: found.get(each) for each in step.after["mechanisms"]}}
        case "acls":
            there = world.acls or frozenset()
            return {"present": [r for r in step.after["acls"] if Acl.from_json(r) in there]}
        case _:
            limits = (world.quotas or {}).get(entity_of(step), {})
            return {"limits": {name: limits.get(name) for name in step.after["limits"]}}


def _reached_access(step: Step, seen: Any) -> bool:
    match step.kind:
        case Kind.ADD_ACLS:
            return bool(seen["present"] == step.after["acls"])
        case Kind.REMOVE_ACLS:
            return not seen["present"]
        case Kind.SET_QUOTA:
            return bool(seen["limits"] == step.after["limits"])
        case _:
            return bool(seen["mechanisms"] == step.after["mechanisms"])


def own_values(topic: WorldTopic, names: Sequence[str] | Mapping[str, Any]) -> dict[str, Any]:
    """The values set for the topic itself; None for those it inherits."""
    settings = topic.settings or {}
    return {
        name: settings[name].value if name in settings and settings[name].own else None
        for name in names
    }


def _assignment(topic: WorldTopic, partitions: Mapping[str, Any]) -> dict[str, list[int] | None]:
    return {
        number: list(topic.assignment[int(number)]) if int(number) < len(topic.assignment) else None
        for number in partitions
    }


def _reached(step: Step, seen: Any) -> bool:
    if step.section is not None:
        return _reached_access(step, seen)
    if step.kind is Kind.DELETE_TOPIC:
        return seen is None
    if seen is None:
        return False
    if step.kind is Kind.COMMIT_OFFSETS:
        return bool(seen["offsets"] == step.after["offsets"])
    if step.kind is not Kind.CREATE_TOPIC and seen["id"] != step.before["id"]:
        return False
    match step.kind:
        case Kind.CREATE_TOPIC:
            return step.after["partitions"] in {None, seen["partitions"]}
        case Kind.ADD_PARTITIONS:
            return bool(seen["partitions"] == step.after["partitions"])
        case Kind.MOVE_REPLICAS:
            return bool(seen["assignment"] == step.after["assignment"])
        case _:
            return bool(seen["configs"] == step.after["configs"])


def fingerprint(cluster_id: str, steps: Sequence[Step]) -> str:
    """A name for a plan: the same cluster, the same steps against the same state."""
    content = json.dumps([cluster_id, [step.to_json() for step in steps]], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:16]
