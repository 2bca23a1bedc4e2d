"""A model of a cluster: does what a step of a plan says, as brokers would."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from clusters.declared import Kind, Setting, Step, World, WorldTopic

DEFAULTS = {"retention.ms": "604800000", "cleanup.policy": "delete", "min.insync.replicas": "1"}
DEFAULT_PARTITIONS = 1
DEFAULT_REPLICATION = 1


def settings_of(own: Mapping[str, str]) -> dict[str, Setting]:
    inherited = {name: Setting(value, own=False) for name, value in DEFAULTS.items()}
    return {**inherited, **{name: Setting(value, own=True) for name, value in own.items()}}


def topic_of(
    assignment: list[list[int]], own: Mapping[str, str] | None = None, name: str = "id"
) -> WorldTopic:
    return WorldTopic(
        id=name, assignment=tuple(map(tuple, assignment)), settings=settings_of(own or {})
    )


def done(step: Step, world: World) -> World:
    """The world after a step."""
    topics = dict(world.topics)
    after: Any = step.after
    if step.kind is Kind.COMMIT_OFFSETS:
        group = dict(world.offsets.get(step.group or "", {}))
        group |= {(step.topic, int(p)): offset for p, offset in after["offsets"].items()}
        return replace(world, offsets={**world.offsets, step.group or "": group})
    if step.kind is Kind.DELETE_TOPIC:
        del topics[step.topic]
    elif step.kind is Kind.CREATE_TOPIC:
        topics[step.topic] = topic_of(_created(after, world), after["configs"], "new")
    else:
        topics[step.topic] = _changed(step, topics[step.topic], world)
    return replace(world, topics=topics)


def _created(after: Any, world: World) -> list[list[int]]:
    if after["assignment"] is not None:
        assert len({len(replicas) for replicas in after["assignment"]}) == 1
        return [list(replicas) for replicas in after["assignment"]]
    count = after["replication"] or DEFAULT_REPLICATION
    brokers = sorted(world.racks)
    assert count <= len(brokers), "the cluster refuses this"
    return [
        [brokers[(i + j) % len(brokers)] for j in range(count)]
        for i in range(after["partitions"] or DEFAULT_PARTITIONS)
    ]


def _changed(step: Step, topic: WorldTopic, world: World) -> WorldTopic:
    after: Any = step.after
    if step.kind is Kind.ADD_PARTITIONS:
        added = after["assignment"]
        if added is None:
            count = after["partitions"] - len(topic.assignment)
            added = [topic.assignment[0]] * count
        assert {len(replicas) for replicas in added} == {len(topic.assignment[0])}
        return replace(topic, assignment=(*topic.assignment, *map(tuple, added)))
    if step.kind is Kind.MOVE_REPLICAS:
        moved = list(topic.assignment)
        for number, replicas in after["assignment"].items():
            assert set(replicas) - set(moved[int(number)]) <= set(world.racks)
            moved[int(number)] = tuple(replicas)
        return replace(topic, assignment=tuple(moved))
    own = {n: s.value for n, s in (topic.settings or {}).items() if s.own and s.value is not None}
    for name, value in after["configs"].items():
        if value is None:
            own.pop(name, None)
        else:
            own[name] = value
    return replace(topic, settings=settings_of(own))
