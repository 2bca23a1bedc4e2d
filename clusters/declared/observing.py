"""Finds out what exists of that which files declare, through the admin client alone.

What nobody tells is marked as unknown, so that it is neither compared nor taken for equal.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from broker.protocol.errors import LogctlError
from clusters.declared.access_observing import observe_access
from clusters.declared.model import Declared, DeclaredOffsets
from clusters.declared.steps import Kind, Step
from clusters.declared.world import Partition, Setting, World, WorldTopic

if TYPE_CHECKING:
    from clusters.admin import AdminClient, OffsetSpec

AT_ONCE = 16
_EMPTY = frozenset({"Empty", "Dead"})


@dataclass(slots=True)
class _Observer:
    admin: AdminClient
    problems: list[str] = field(default_factory=list)
    unknown: set[str] = field(default_factory=set)
    limit: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))

    async def settings(self, name: str) -> dict[str, Setting] | None:
        async with self.limit:
            try:
                entries = await self.admin.configs("topic", name)
            except LogctlError as error:
                self.problems.append(f"settings of {name}: {error}")
                return None
        return {
            each.name: Setting(each.value, each.source == "topic", each.is_sensitive)
            for each in entries
        }

    async def group(self, name: str) -> tuple[dict[Partition, int], bool]:
        """The offsets of a group, and whether it has members."""
        from clusters.admin import UnknownGroup

        async with self.limit:
            try:
                committed = await self.admin.group_offsets(name)
                try:
                    detail = await self.admin.group(name)
                    active = bool(detail.members) or detail.state not in _EMPTY
                except UnknownGroup:
                    active = False
            except LogctlError as error:
                self.problems.append(f"group {name}: {error}")
                self.unknown.add(f"group {name}")
                return {}, False
        return {(each.topic, each.partition): each.offset for each in committed}, active


async def observe(
    admin: AdminClient,
    topics: Iterable[str] | None,
    groups: Iterable[str],
    positions: Iterable[tuple[Partition, str | int]] = (),
    *,
    access: Collection[str] = (),
) -> World:
    """What exists: all topics by name and place, settings of those in `topics` (None: of all),
    and the sections named in `access`.

    Raises LogctlError when not even the list of topics can be had.
    """
    observer = _Observer(admin)
    info, summaries, placed, brokers = await asyncio.gather(
        admin.cluster(), admin.topics(), admin.partitions(), admin.brokers()
    )
    leaving: dict[Partition, tuple[int, ...]] = {}
    try:
        moves = await admin.reassignments()
        leaving = {(each.topic, each.partition): each.removing for each in moves}
    except LogctlError as error:
        observer.problems.append(f"moves under way: {error}")
    wanted = {each.topic for each in summaries if topics is None or each.topic in set(topics)}
    names, group_names = sorted(wanted), sorted(set(groups))
    settings = dict(zip(names, await asyncio.gather(*map(observer.settings, names)), strict=True))
    found = await asyncio.gather(*map(observer.group, group_names))
    assignments: dict[str, dict[int, tuple[int, ...]]] = {}
    for each in placed:
        # What is on the move counts as where it goes: it gets there by itself.
        leaves = leaving.get((each.topic, each.partition), ())
        stays = tuple(broker for broker in each.replicas if broker not in leaves)
        assignments.setdefault(each.topic, {})[each.partition] = stays
    return World(
        cluster_id=info.cluster_id,
        topics={
            each.topic: WorldTopic(
                id=each.id,
                assignment=tuple(
                    replicas for _, replicas in sorted(assignments.get(each.topic, {}).items())
                ),
                settings=settings.get(each.topic),
                internal=each.internal,
            )
            for each in summaries
        },
        racks={each.id: each.rack for each in brokers if each.state == "up"},
        moving=frozenset(leaving),
        offsets={name: own for name, (own, _) in zip(group_names, found, strict=True)},
        active=frozenset(n for n, (_, active) in zip(group_names, found, strict=True) if active),
        positions=await _positions(observer, positions),
        access=await observe_access(admin, access, observer.problems),
        problems=tuple(observer.problems),
        unknown=frozenset(observer.unknown),
    )


async def observe_declared(admin: AdminClient, declared: Declared, *, prune: bool) -> World:
    """The world that a declaration is to be compared with."""
    groups = {each.group for each in declared.offsets}
    topics = None if prune else set(declared.topics)
    access = declared.access.sections
    world = await observe(admin, topics, groups, access=access)
    asked = list(_asked(declared.offsets, world))
    if not asked:
        return world
    return await observe(admin, topics, groups, asked, access=access)


async def observe_steps(admin: AdminClient, steps: Sequence[Step]) -> World:
    """The world that a saved plan is to be compared with."""
    topics = {step.topic for step in steps if step.kind is Kind.SET_CONFIGS}
    groups = {step.group for step in steps if step.group is not None}
    access = {step.section for step in steps if step.section is not None}
    return await observe(admin, topics, groups, access=sorted(access))


def _asked(
    offsets: Iterable[DeclaredOffsets], world: World
) -> Iterable[tuple[Partition, str | int]]:
    for each in offsets:
        topic = world.topics.get(each.topic)
        if each.at is not None and topic is not None:
            for number in range(len(topic.assignment)):
                yield (each.topic, number), each.at


async def _positions(
    observer: _Observer, asked: Iterable[tuple[Partition, str | int]]
) -> dict[tuple[Partition, str | int], int]:
    by_place: dict[str | int, list[Partition]] = {}
    for partition, at in asked:
        by_place.setdefault(at, []).append(partition)
    found: dict[tuple[Partition, str | int], int] = {}
    for at, partitions in by_place.items():
        for place in _fallbacks(at):
            left = [key for key in partitions if (key, at) not in found]
            if not left:
                break
            try:
                answer = await observer.admin.list_offsets(dict.fromkeys(left, place))
            except LogctlError as error:
                observer.problems.append(f"offsets: {error}")
                break
            observer.problems += [str(failure) for failure in answer.failures]
            for each in answer.items:
                if each.offset is not None and each.offset >= 0:
                    found[((each.topic, each.partition), at)] = each.offset
    return found


def _fallbacks(at: str | int) -> list[OffsetSpec]:
    """Where to look; after the last record a time means the end."""
    from clusters.admin import OffsetSpec

    if at == "earliest":
        return [OffsetSpec.earliest]
    if at == "latest":
        return [OffsetSpec.latest]
    return [OffsetSpec.at(int(at)), OffsetSpec.latest]
