"""Writes what a cluster holds as a file that declares it. Pure.

What is written applies back with no difference: `${` is escaped, and only what was set for a topic
itself is written, never what it inherits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from clusters.declared.access_exporting import escaped, exported_access
from clusters.declared.selecting import Selection
from clusters.declared.world import World, WorldTopic


def exported(
    world: World, *, selection: Selection | None = None, placement: bool = False
) -> dict[str, Any]:
    """The data of a file; the cluster's own topics are left out."""
    selection = selection or Selection()
    data: dict[str, Any] = {
        "topics": {
            name: _topic(topic, placement)
            for name, topic in sorted(world.topics.items())
            if not topic.internal and selection.undeclared(name)
        }
    }
    groups: dict[str, Any] = {}
    for group, offsets in sorted(world.offsets.items()):
        topics: dict[str, dict[int, int]] = {}
        for (topic, partition), offset in sorted(offsets.items()):
            topics.setdefault(topic, {})[partition] = offset
        if topics:
            groups[escaped(group)] = {
                "topics": {topic: {"offsets": each} for topic, each in topics.items()}
            }
    if groups:
        data["groups"] = groups
    return data | exported_access(world.access, selection)


def _topic(topic: WorldTopic, placement: bool) -> dict[str, Any]:
    counts = {len(replicas) for replicas in topic.assignment}
    data: dict[str, Any] = {"partitions": len(topic.assignment)}
    if len(counts) == 1:
        data["replication"] = counts.pop()
    if placement or "replication" not in data:
        data["assignment"] = [list(replicas) for replicas in topic.assignment]
    own = {
        name: escaped(setting.value)
        for name, setting in sorted((topic.settings or {}).items())
        if setting.own and setting.value is not None and not setting.sensitive
    }
    if own:
        data["configs"] = own
    return data


class _Dumper(yaml.SafeDumper):
    """Writes lists of numbers in one line, as people do."""


def _short_list(dumper: yaml.SafeDumper, data: list[Any]) -> yaml.Node:
    plain = all(isinstance(item, int) for item in data)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", data, flow_style=plain)


_Dumper.add_representer(list, _short_list)


def to_yaml(data: Mapping[str, Any]) -> str:
    """The text of a file."""
    text: str = yaml.dump(
        dict(data), Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=False
    )
    return text
