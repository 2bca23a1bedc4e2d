"""What has to change so that a cluster is as declared: steps with reasons, and refusals. Pure.

A difference is only what was declared and is not so: a setting that equals what the broker gives
anyway is none, and nothing is removed unless it is declared absent or pruning was asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from clusters.declared.access_planner import AccessPlanner
from clusters.declared.model import Declared, DeclaredOffsets, DeclaredTopic, Where
from clusters.declared.placing import NotEnoughBrokers, Placer
from clusters.declared.selecting import Selection
from clusters.declared.steps import ORDER, Kind, Step, own_values
from clusters.declared.world import Assignment, World, WorldTopic
from clusters.errors import Problem

# Lists whose order means nothing.
_SETS = frozenset({"cleanup.policy"})


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do. With `refusals` nothing may be done; with `unknown` it may be incomplete."""

    cluster_id: str
    steps: tuple[Step, ...] = ()
    refusals: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


def plan(
    declared: Declared,
    world: World,
    *,
    selection: Selection | None = None,
    prune: bool = False,
) -> Plan:
    """The steps from a world to what is declared, in the order in which they are to be done."""
    return _Planner(declared, world, selection or Selection(), prune).plan()


@dataclass(slots=True)
class _Planner:
    declared: Declared
    world: World
    selection: Selection
    prune: bool
    steps: list[Step] = field(default_factory=list)
    refusals: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    placer: Placer = field(init=False)

    def __post_init__(self) -> None:
        self.placer = Placer(self.world.racks)
        for topic in self.world.topics.values():
            self.placer.count(topic.assignment)

    def plan(self) -> Plan:
        self.unknown += self.world.problems
        for name, topic in sorted(self.declared.topics.items()):
            if self.selection.topic(topic):
                self._topic(topic, self.world.topics.get(name))
        for offsets in self.declared.offsets:
            if self.selection.offsets(offsets):
                self._offsets(offsets)
        if self.prune and self.declared.has_topics:
            self._undeclared()
        elif self.prune and not all(each.internal for each in self.world.topics.values()):
            self.notes.append("no file has a section `topics`, so no topic is pruned")
        self._access()
        ranks = {kind: index for index, kind in enumerate(ORDER)}
        self.steps.sort(
            key=lambda step: (ranks[step.kind], step.group or "", step.topic or step.name)
        )
        return Plan(
            self.world.cluster_id,
            tuple(self.steps),
            tuple(self.refusals),
            tuple(self.notes),
            tuple(dict.fromkeys(self.unknown)),
        )

    def _access(self) -> None:
        access = AccessPlanner(self.declared.access, self.world.access, self.selection, self.prune)
        access.plan()
        self.steps += access.steps
        self.refusals += access.refusals
        self.notes += access.notes
        self.unknown += access.unknown

    def _refuse(self, where: Where, message: str) -> None:
        self.refusals.append(Problem(file=where.file, line=where.line, message=message))

    # Topics

    def _topic(self, topic: DeclaredTopic, found: WorldTopic | None) -> None:
        if f"topic {topic.name}" in self.world.unknown:
            self.unknown.append(f"topic {topic.name}: not compared")
        elif topic.absent:
            if found is not None:
                self._delete(topic.name, found, topic.where, "declared absent")
        elif found is None:
            self._create(topic)
        else:
            self._partitions(topic, found)
            self._configs(topic, found)
            self._replicas(topic, found)

    def _create(self, topic: DeclaredTopic) -> None:
        assignment = topic.placement.assignment
        ruled = topic.placement.brokers is not None or topic.placement.spread_racks
        if assignment is None and ruled:
            if topic.partitions is None or topic.replication is None:
                self._refuse(
                    topic.at("placement"),
                    f"topic {topic.name}: placement needs partitions and replication",
                )
                return
            assignment = self._place(topic, [()] * topic.partitions)
            if assignment is None:
                return
        self._know_brokers(topic, assignment or ())
        if assignment and not self._even(topic, assignment, len(assignment[0])):
            return
        if assignment is None and (topic.replication or 1) > len(self.world.racks):
            up = len(self.world.racks)
            message = f"topic {topic.name}: replication {topic.replication}, but {up} brokers run"
            self._refuse(topic.at("replication"), message)
        self.steps.append(
            Step(
                kind=Kind.CREATE_TOPIC,
                topic=topic.name,
                after={
                    "partitions": topic.partitions,
                    "replication": topic.replication,
                    "assignment": [list(each) for each in assignment] if assignment else None,
                    "configs": {k: v for k, v in sorted(topic.configs.items()) if v is not None},
                },
                reasons=("there is no such topic",),
                where=str(topic.where),
            )
        )

    def _place(
        self, topic: DeclaredTopic, current: list[tuple[int, ...]]
    ) -> tuple[tuple[int, ...], ...] | None:
        count = topic.replication
        try:
            return tuple(
                self.placer.choose(each, count or len(each), topic.placement) for each in current
            )
        except NotEnoughBrokers as error:
            self._refuse(topic.at("replication"), f"topic {topic.name}: {error}")
            return None

    def _know_brokers(self, topic: DeclaredTopic, assignment: Any) -> None:
        used = {broker for replicas in assignment for broker in replicas}
        for broker in sorted(used - set(self.world.racks)):
            message = f"topic {topic.name}: broker {broker} does not run"
            self._refuse(topic.at("assignment"), message)

    @staticmethod
    def _copies(topic: DeclaredTopic, found: WorldTopic) -> int:
        """How many replicas the first partition will have when partitions are added."""
        fixed = topic.placement.assignment
        return len(fixed[0]) if fixed else topic.replication or len(found.assignment[0])

    def _even(self, topic: DeclaredTopic, assignment: Assignment, copies: int) -> bool:
        """Whether a cluster takes new partitions: all need as many replicas as the first."""
        if all(len(replicas) == copies for replicas in assignment):
            return True
        message = f"topic {topic.name}: new partitions need {copies} replicas each, as the first"
        self._refuse(topic.at("assignment"), message)
        return False

    def _partitions(self, topic: DeclaredTopic, found: WorldTopic) -> None:
        now, wanted = len(found.assignment), topic.partitions
        if wanted is None or wanted == now:
            return
        if wanted < now:
            message = f"topic {topic.name}: has {now} partitions and cannot shrink to {wanted}"
            self._refuse(topic.at("partitions"), message)
            return
        assignment = None
        if topic.placement.assignment is not None:
            assignment = topic.placement.assignment[now:]
            self._know_brokers(topic, assignment)
        elif topic.placement.brokers is not None or topic.placement.spread_racks:
            count = topic.replication or len(found.assignment[0])
            try:
                assignment = tuple(
                    self.placer.choose((), count, topic.placement) for _ in range(now, wanted)
                )
            except NotEnoughBrokers as error:
                self._refuse(topic.at("replication"), f"topic {topic.name}: {error}")
                return
        if not self._even(topic, assignment or (), self._copies(topic, found)):
            return
        self.steps.append(
            Step(
                kind=Kind.ADD_PARTITIONS,
                topic=topic.name,
                before={"id": found.id, "partitions": now},
                after={
                    "partitions": wanted,
                    "assignment": [list(each) for each in assignment] if assignment else None,
                },
                reasons=(f"{now} partitions, {wanted} declared",),
                where=str(topic.at("partitions")),
            )
        )

    def _configs(self, topic: DeclaredTopic, found: WorldTopic) -> None:
        if found.settings is None:
            if topic.configs or self.prune:
                self.unknown.append(f"topic {topic.name}: its settings are not known")
            return
        wanted: dict[str, str | None] = {}
        reasons: list[str] = []
        for name, value in sorted(topic.configs.items()):
            setting = found.settings.get(name)
            now = setting.value if setting is not None else None
            if setting is not None and setting.sensitive:
                self.notes.append(f"topic {topic.name}: {name} is secret and not compared")
            elif value is None:
                if setting is not None and setting.own:
                    wanted[name] = None
                    reasons.append(f"{name} is {now}, the default is declared")
            elif not same_setting(name, now, value):
                wanted[name] = value
                reasons.append(f"{name} is {'not set' if now is None else now}, {value} declared")
        if self.prune:
            for name, setting in sorted(found.settings.items()):
                if setting.own and name not in topic.configs:
                    wanted[name] = None
                    reasons.append(f"{name} is {setting.value} and not declared (pruning)")
        if wanted:
            self.steps.append(
                Step(
                    kind=Kind.SET_CONFIGS,
                    topic=topic.name,
                    before={"id": found.id, "configs": own_values(found, wanted)},
                    after={"configs": wanted},
                    reasons=tuple(reasons),
                    where=str(topic.at("configs")),
                )
            )

    def _replicas(self, topic: DeclaredTopic, found: WorldTopic) -> None:
        wanted: dict[str, list[int]] = {}
        reasons: list[str] = []
        for index, replicas in enumerate(found.assignment):
            target, reason = self._target(topic, index, replicas)
            moves = (topic.name, index) in self.world.moving
            if target is None:
                if moves:
                    self.notes.append(f"{topic.name}-{index} is on its way to {list(replicas)}")
                continue
            if moves:
                self.notes.append(f"{topic.name}-{index} is being moved elsewhere; that is stopped")
            wanted[str(index)] = list(target)
            reasons.append(reason)
        if not wanted:
            return
        self._know_brokers(
            topic, [set(to) - set(found.assignment[int(i)]) for i, to in wanted.items()]
        )
        self.steps.append(
            Step(
                kind=Kind.MOVE_REPLICAS,
                topic=topic.name,
                before={
                    "id": found.id,
                    "assignment": {i: list(found.assignment[int(i)]) for i in wanted},
                },
                after={"assignment": wanted},
                reasons=tuple(reasons),
                where=str(topic.at("assignment" if topic.placement.assignment else "replication")),
            )
        )

    def _target(
        self, topic: DeclaredTopic, index: int, replicas: tuple[int, ...]
    ) -> tuple[tuple[int, ...] | None, str]:
        """Where a partition should be and why; None when it is well where it is."""
        fixed = topic.placement.assignment
        if fixed is not None:
            if index >= len(fixed) or fixed[index] == replicas:
                return None, ""
            return fixed[
                index
            ], f"partition {index} is on {list(replicas)}, {list(fixed[index])} declared"
        if self.placer.conforms(replicas, topic.replication, topic.placement):
            return None, ""
        placed = self._place(topic, [replicas])
        if placed is None or placed[0] == replicas:
            return None, ""
        return placed[0], f"partition {index}: {self._why(topic, replicas)}"

    def _why(self, topic: DeclaredTopic, replicas: tuple[int, ...]) -> str:
        if topic.replication is not None and len(replicas) != topic.replication:
            return f"{len(replicas)} replicas, {topic.replication} declared"
        allowed = topic.placement.brokers
        if allowed is not None and not allowed.issuperset(replicas):
            outside = sorted(set(replicas) - allowed)
            return f"replicas on {outside}, allowed are {sorted(allowed)}"
        return f"replicas {list(replicas)} share a rack"

    # Deleting

    def _delete(self, name: str, found: WorldTopic, where: Where, reason: str) -> None:
        declared = self.declared.topics.get(name)
        guard = next(
            (place for glob, place in self.declared.protected if fnmatchcase(name, glob)), None
        )
        if declared is not None and declared.protect:
            guard = declared.at("protect")
        if found.internal:
            self._refuse(where, f"topic {name}: is the cluster's own and is never deleted")
        elif guard is not None:
            self._refuse(where, f"topic {name}: is protected from deletion by {guard}")
        else:
            self.steps.append(
                Step(
                    kind=Kind.DELETE_TOPIC,
                    topic=name,
                    before={"id": found.id},
                    reasons=(reason,),
                    where=str(where),
                )
            )

    def _undeclared(self) -> None:
        for name, found in sorted(self.world.topics.items()):
            if name in self.declared.topics or not self.selection.undeclared(name):
                continue
            guarded = any(fnmatchcase(name, glob) for glob, _ in self.declared.protected)
            if found.internal or guarded:
                if guarded:
                    self.notes.append(f"topic {name}: not declared, protected, left alone")
                continue
            where = Where(self.declared.files[0] if self.declared.files else "", 0)
            self._delete(name, found, where, "not declared (pruning)")

    # Offsets

    def _offsets(self, declared: DeclaredOffsets) -> None:
        if f"group {declared.group}" in self.world.unknown:
            self.unknown.append(f"group {declared.group}: its offsets are not known")
            return
        topic = self.world.topics.get(declared.topic)
        if topic is None:
            if declared.topic not in self.declared.topics:
                self._refuse(declared.where, f"there is no topic {declared.topic}")
            elif declared.at is None or declared.always:
                self.notes.append(
                    f"group {declared.group}: offsets in {declared.topic} follow when it exists"
                )
            return
        committed = self.world.offsets.get(declared.group, {})
        changes = dict(self._moved(declared, topic, committed))
        if not changes:
            return
        if declared.group in self.world.active:
            message = f"group {declared.group}: has members; stop them before its offsets are set"
            self._refuse(declared.where, message)
            return
        before = {str(p): committed.get((declared.topic, p)) for p in changes}
        self.steps.append(
            Step(
                kind=Kind.COMMIT_OFFSETS,
                topic=declared.topic,
                group=declared.group,
                before={"offsets": before},
                after={"offsets": {str(p): offset for p, offset in changes.items()}},
                reasons=tuple(
                    f"partition {p}: {_committed(before[str(p)])}, {offset} declared"
                    for p, offset in changes.items()
                ),
                where=str(declared.where),
            )
        )

    def _moved(
        self,
        declared: DeclaredOffsets,
        topic: WorldTopic,
        committed: Mapping[tuple[str, int], int],
    ) -> Iterator[tuple[int, int]]:
        numbers = sorted(declared.offsets) if declared.offsets else range(len(topic.assignment))
        for number in numbers:
            now = committed.get((declared.topic, number))
            if number >= len(topic.assignment):
                message = f"{declared.topic} has no partition {number}"
                self._refuse(declared.where, message)
                continue
            if now is not None and not declared.always:
                continue
            wanted = declared.offsets.get(number)
            if declared.at is not None:
                wanted = self.world.positions.get(((declared.topic, number), declared.at))
                if wanted is None:
                    self.unknown.append(
                        f"{declared.topic}-{number}: nobody could tell its offset at {declared.at}"
                    )
                    continue
            if wanted is not None and wanted != now:
                yield number, wanted


def _committed(offset: int | None) -> str:
    return "nothing committed" if offset is None else str(offset)


def same_setting(name: str, now: str | None, wanted: str) -> bool:
    """Whether two texts mean the same value of a setting."""
    if now is None or now == wanted:
        return now == wanted
    if name in _SETS:
        return _members(now) == _members(wanted)
    if now.casefold() in {"true", "false"}:
        return now.casefold() == wanted.casefold()
    try:
        return float(now) == float(wanted)
    except ValueError:
        return False


def _members(text: str) -> set[str]:
    return {part.strip() for part in text.split(",") if part.strip()}
