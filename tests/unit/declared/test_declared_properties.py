"""Doing a plan leaves no difference, whatever the world was; and half a plan can be gone on with."""

from __future__ import annotations

import importlib.util
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from clusters.declared import (
    Declared,
    DeclaredOffsets,
    DeclaredTopic,
    Placement,
    Plan,
    Step,
    World,
    plan,
)
from clusters.declared.model import Where
from clusters.declared.planner import same_setting
from clusters.declared.steps import Progress, progress

_SPEC = importlib.util.spec_from_file_location(
    "model_world", Path(__file__).with_name("model_world.py")
)
assert _SPEC is not None
assert _SPEC.loader is not None
model = importlib.util.module_from_spec(_SPEC)
sys.modules["model_world"] = model
_SPEC.loader.exec_module(model)

WHERE = Where("state.yaml", 1)
NAMES = st.sampled_from(["a", "b", "c"])
BROKERS = st.sets(st.integers(1, 6), min_size=1, max_size=6)
CONFIGS = st.dictionaries(
    st.sampled_from(["retention.ms", "cleanup.policy", "min.insync.replicas"]),
    st.sampled_from(["604800000", "1000", "2", "delete", "compact,delete", "delete,compact"]),
)


@st.composite
def worlds(draw: st.DrawFn) -> World:
    brokers = sorted(draw(BROKERS))
    racks = {broker: draw(st.sampled_from([None, "r1", "r2", "r3"])) for broker in brokers}
    # Some replicas are on brokers that do not run.
    holders = [*brokers, 9]
    topics = {}
    for name in draw(st.sets(NAMES)):
        replicas = st.lists(st.sampled_from(holders), min_size=1, max_size=3, unique=True)
        assignment = draw(st.lists(replicas, min_size=1, max_size=4))
        topics[name] = model.topic_of(assignment, draw(CONFIGS))
    committed = st.dictionaries(st.tuples(NAMES, st.integers(0, 3)), st.integers(0, 9))
    positions = {
        ((name, number), at): draw(st.integers(0, 9))
        for name in topics
        for number in range(4)
        for at in ("earliest", "latest")
    }
    return World(
        cluster_id="c",
        topics=topics,
        racks=racks,
        offsets=draw(st.dictionaries(st.sampled_from(["g", "h"]), committed)),
        positions=positions,
    )


@st.composite
def declarations(draw: st.DrawFn) -> Declared:
    topics = {}
    for name in draw(st.sets(NAMES)):
        fixed = draw(st.booleans())
        replicas = st.lists(st.integers(1, 4), min_size=1, max_size=3, unique=True).map(tuple)
        assignment = draw(st.lists(replicas, min_size=1, max_size=5)) if fixed else None
        placement = Placement(
            assignment=tuple(assignment) if assignment else None,
            brokers=None if fixed else draw(st.none() | BROKERS.map(frozenset)),
            spread_racks=not fixed and draw(st.booleans()),
        )
        topics[name] = DeclaredTopic(
            name=name,
            where=WHERE,
            partitions=len(assignment) if assignment else draw(st.none() | st.integers(1, 5)),
            replication=None if fixed else draw(st.none() | st.integers(1, 4)),
            placement=placement,
            configs=draw(CONFIGS.map(lambda found: {**found, "retention.ms": None}) | CONFIGS),
            protect=draw(st.booleans()),
            absent=draw(st.integers(0, 4)) == 0,
        )
    pairs = draw(st.sets(st.tuples(st.sampled_from(["g", "h"]), NAMES), max_size=2))
    offsets = []
    for group, topic in sorted(pairs):
        at = draw(st.sampled_from([None, "earliest", "latest"]))
        exact = draw(st.dictionaries(st.integers(0, 3), st.integers(0, 9), min_size=1))
        offsets.append(
            DeclaredOffsets(
                group=group,
                topic=topic,
                where=WHERE,
                at=at,
                offsets={} if at else exact,
                always=draw(st.booleans()),
            )
        )
    return Declared(topics=topics, offsets=tuple(offsets), files=("state.yaml",))


def accepted(declared: Declared, world: World, *, prune: bool = False) -> tuple[Declared, Plan]:
    """What is declared without what is refused, and its plan."""
    while (found := plan(declared, world, prune=prune)).refusals:
        words = " ".join(refusal.message for refusal in found.refusals)
        topics = {n: t for n, t in declared.topics.items() if f"topic {n}:" not in words}
        # Offsets are refused for topics and partitions that do not exist.
        offsets = declared.offsets if len(topics) < len(declared.topics) else ()
        declared = replace(declared, topics=topics, offsets=offsets)
    return declared, found


def done(found: Plan, world: World) -> World:
    for step in found.steps:
        world = model.done(step, world)
    return world


@settings(max_examples=80, deadline=None)
@given(declarations(), worlds(), st.booleans())
def test_doing_a_plan_leaves_no_difference(declared: Declared, world: World, prune: bool) -> None:
    declared, found = accepted(declared, world, prune=prune)
    after = done(found, world)
    again = plan(declared, after, prune=prune)
    # Offsets in topics that were just made can only be told now; nothing else may be left.
    left = [step for step in again.steps if step.group is None]
    assert left == []
    assert plan(declared, done(again, after), prune=prune).steps == ()


@settings(max_examples=60, deadline=None)
@given(declarations(), worlds(), st.booleans())
def test_what_was_declared_is_there_and_what_was_not_is_left_alone(
    declared: Declared, world: World, prune: bool
) -> None:
    declared, found = accepted(declared, world, prune=prune)
    after = done(found, world)
    for name, topic in declared.topics.items():
        assert (name in after.topics) is not topic.absent
        if topic.absent:
            continue
        now = after.topics[name]
        assert topic.partitions in {None, len(now.assignment)}
        for replicas in now.assignment:
            assert topic.replication in {None, len(replicas)}
            assert len(set(replicas)) == len(replicas)
            if topic.placement.brokers is not None:
                assert topic.placement.brokers.issuperset(replicas)
        for setting, value in topic.configs.items():
            if value is not None:
                assert same_setting(setting, now.settings[setting].value, value)
    for name, before in world.topics.items():
        if name not in declared.topics:
            assert after.topics.get(name) == (None if prune else before)


@settings(max_examples=60, deadline=None)
@given(declarations(), worlds(), st.data())
def test_a_saved_plan_knows_what_is_done_what_is_not_and_what_moved(
    declared: Declared, world: World, data: st.DataObject
) -> None:
    declared, found = accepted(declared, world)
    assume(found.steps)
    steps = [Step.from_json(json.loads(json.dumps(step.to_json()))) for step in found.steps]
    assert steps == list(found.steps)
    assert {progress(step, world)[0] for step in steps} == {Progress.PENDING}
    count = data.draw(st.integers(0, len(steps)))
    for step in steps[:count]:
        world = model.done(step, world)
    assert {progress(step, world)[0] for step in steps[:count]} <= {Progress.DONE}
    pending = {progress(step, world)[0] for step in steps[count:]}
    assert pending <= {Progress.PENDING}


@settings(max_examples=60, deadline=None)
@given(declarations(), worlds())
def test_replicas_are_spread_over_racks_where_there_are_racks(
    declared: Declared, world: World
) -> None:
    declared, found = accepted(declared, world)
    after = done(found, world)
    for name, topic in declared.topics.items():
        if topic.absent or not topic.placement.spread_racks:
            continue
        allowed = topic.placement.brokers
        usable = [b for b in world.racks if allowed is None or b in allowed]
        racks: dict[int, Any] = {b: world.racks[b] or b for b in usable}
        for replicas in after.topics[name].assignment:
            used = {racks.get(b, b) for b in replicas}
            assert len(used) >= min(len(replicas), len(set(racks.values())))
