"""Checks declared topics against policies. Pure; says which topic, which policy, and why."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase

from clusters.declared.model import ConfigRule, Declared, DeclaredTopic, Policy
from clusters.errors import Problem


def violations(declared: Declared) -> list[Problem]:
    """Every breach of every policy, at the line of the topic's key."""
    found: list[Problem] = []
    for topic in declared.topics.values():
        if topic.absent:
            continue
        for policy in declared.policies:
            if any(fnmatchcase(topic.name, glob) for glob in policy.match):
                for key, message in _breaches(topic, policy):
                    where = topic.at(key)
                    text = f"topic {topic.name}: {message} (policy at {policy.where})"
                    found.append(Problem(file=where.file, line=where.line, message=text))
    return found


def _breaches(topic: DeclaredTopic, policy: Policy) -> Iterator[tuple[str, str]]:
    if policy.name is not None and not re.search(policy.name, topic.name):
        yield "", f'the name does not match "{policy.name}"'
    replication = topic.replication
    if topic.placement.assignment:
        replication = min(len(replicas) for replicas in topic.placement.assignment)
    yield from _between("replication", replication, policy.replication)
    yield from _between("partitions", topic.partitions, policy.partitions)
    for label in policy.labels:
        if label not in topic.labels:
            yield "labels", f"the label {label} is missing"
    for name, rule in policy.configs.items():
        for message in _setting(name, topic.configs.get(name), rule):
            yield f"configs.{name}", message


def _between(
    key: str, value: int | None, bounds: tuple[int | None, int | None]
) -> Iterator[tuple[str, str]]:
    low, high = bounds
    if low is None and high is None:
        return
    if value is None:
        yield key, f"{key} must be declared"
    elif low is not None and value < low:
        yield key, f"{key} {value} is less than {low}"
    elif high is not None and value > high:
        yield key, f"{key} {value} is more than {high}"


def _setting(name: str, value: str | None, rule: ConfigRule) -> Iterator[str]:
    if value is None:
        if rule.required:
            yield f"the setting {name} must be declared"
        return
    if rule.forbidden:
        yield f"the setting {name} must not be declared"
        return
    if rule.allowed and value not in rule.allowed:
        yield f"{name} is {value}, allowed: {', '.join(rule.allowed)}"
    if rule.minimum is None and rule.maximum is None:
        return
    if not re.fullmatch(r"-?\d{1,18}", value):
        yield f"{name} is {value}, which is not a whole number"
        return
    # For retention and the like -1 means without end.
    number = int(value)
    endless = number == -1
    if rule.maximum is not None and (endless or number > rule.maximum):
        yield f"{name} is {value}, at most {rule.maximum} is allowed"
    if rule.minimum is not None and not endless and number < rule.minimum:
        yield f"{name} is {value}, at least {rule.minimum} is needed"
