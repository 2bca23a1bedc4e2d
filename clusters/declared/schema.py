"""Files of declared state as a JSON schema, for editors that complete and check YAML. Pure.

Which keys a mapping may have, its choices and bounds come from the loaders' own tables; a key
without words here is an error, so that the two can't part. Any value may be a `${variable}`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from clusters.admin.acl_model import OPERATIONS, PATTERN_TYPES, RESOURCE_TYPES
from clusters.admin.quota_model import ENTITY_TYPES
from clusters.admin.scram_model import ITERATIONS_MAX, ITERATIONS_MIN, SCRAM_MECHANISMS
from clusters.declared import access_loading, loading

DIALECT = "https://json-schema.org/draft/2020-12/schema"
Words = dict[str, tuple[dict[str, Any], str]]
_VARIABLE: dict[str, Any] = {"type": "string", "pattern": r"\$\{"}
_NULL: dict[str, Any] = {"type": "null"}


def _or_variable(*shapes: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [*shapes, _VARIABLE, _NULL]}


def _integer(minimum: int, maximum: int | None = None) -> dict[str, Any]:
    upper = {} if maximum is None else {"maximum": maximum}
    return _or_variable({"type": "integer", "minimum": minimum, **upper})


def _choice(choices: Iterable[str]) -> dict[str, Any]:
    return _or_variable({"enum": list(choices)})


_TEXT = _or_variable({"type": ["string", "number"]})
_TEXTS = _or_variable(
    {"type": ["string", "number"]}, {"type": "array", "items": {"type": ["string", "number"]}}
)
_FLAG = _or_variable({"type": "boolean"})
_SETTING = _or_variable({"type": ["string", "number", "boolean", "array"]})
_IDS = {"type": "array", "items": _integer(0)}


def _map(inside: dict[str, Any]) -> dict[str, Any]:
    return {"type": ["object", "null"], "additionalProperties": inside}


def _mapping(keys: Iterable[str], words: Words) -> dict[str, Any]:
    return {
        "type": ["object", "null"],
        "properties": {key: {**words[key][0], "description": words[key][1]} for key in keys},
        "patternProperties": {"^x-": {}},
        "additionalProperties": False,
    }


def _list(inside: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [inside, {"type": "array", "items": inside}]}


def declared_schema() -> dict[str, Any]:
    """The schema of one file; keys that start with x- are free, as the loader leaves them."""
    return {
        "$schema": DIALECT,
        "title": "Declared state of a cluster for logctl",
        **_mapping(loading.KEYS, _file()),
    }


def _file() -> Words:
    topics = _topic()
    return {
        "variables": ({"type": ["object", "null"]}, "Values for ${name} in this file."),
        "include": (_TEXTS, "Files to read too, relative to this one; * is understood."),
        "defaults": (_mapping(loading.DEFAULTS_KEYS, topics), "For the topics of this file."),
        "policies": (_list(_policy()), "Rules for topics; a breach is refused."),
        "protect": (_TEXTS, "Topics, with * as wildcard, that are never deleted."),
        "topics": (_map(_mapping(loading.TOPIC_KEYS, topics)), "Topics by name."),
        "groups": (_map(_group()), "Committed offsets of consumer groups, by group."),
        **_access(),
    }


def _topic() -> Words:
    placement: Words = {
        "brokers": (_or_variable(_IDS), "Replicas lie on these brokers alone."),
        "spread": (_choice(loading.SPREADS), "racks: copies of a partition in different racks."),
    }
    many = {"type": "array", "items": _IDS, "minItems": 1}
    return {
        "partitions": (_integer(1, loading.PARTITIONS_MAX), "How many; they only grow."),
        "replication": (_integer(1, loading.REPLICATION_MAX), "Replicas of each partition."),
        "placement": (
            {"anyOf": [_choice(loading.SPREADS), _mapping(loading.PLACEMENT_KEYS, placement)]},
            "any, racks, or on which brokers.",
        ),
        "assignment": (
            _or_variable(many, {"type": "object", "additionalProperties": _IDS}),
            "The replicas of each partition, the first preferred to lead.",
        ),
        "configs": (_map(_SETTING), "Settings by Kafka's names; null is back to the default."),
        "labels": (_map(_TEXT), "For --only and policies; unknown to the cluster."),
        "protect": (_FLAG, "Never deleted."),
        "state": (_choice(loading.STATES), "absent: deleted where it exists."),
    }


def _group() -> dict[str, Any]:
    offsets: Words = {
        "at": (_TEXT, "earliest, latest or @2026-01-31T12:00:00Z."),
        "offsets": (_map(_integer(0)), "Offsets by partition."),
        "when": (_choice(loading.WHENS), "missing: only where nothing is committed."),
    }
    words: Words = {
        "topics": (_map(_mapping(loading.OFFSETS_KEYS, offsets)), "Offsets by topic."),
        "labels": (_map(_TEXT), "For --only."),
    }
    return _mapping(loading.GROUP_KEYS, words)


def _policy() -> dict[str, Any]:
    limits: Words = {"min": (_integer(0), "At least."), "max": (_integer(0), "At most.")}
    bounds = _mapping(loading.BOUNDS_KEYS, limits)
    rule: Words = {
        "min": (_TEXT, "At least; with a unit, as in 7d or 2MiB."),
        "max": (_TEXT, "At most; with a unit, as in 7d or 2MiB."),
        "allowed": (_TEXTS, "One of these values."),
        "required": (_FLAG, "Must be set."),
        "forbidden": (_FLAG, "Must not be set."),
    }
    words: Words = {
        "match": (_TEXTS, "Topics, with * as wildcard."),
        "name": (_TEXT, "A regular expression that names must fit."),
        "replication": (bounds, "Bounds of the replication factor."),
        "partitions": (bounds, "Bounds of the number of partitions."),
        "labels": (_TEXTS, "Labels that a topic must have."),
        "configs": (_map(_mapping(loading.RULE_KEYS, rule)), "Rules for settings, by name."),
    }
    return _mapping(loading.POLICY_KEYS, words)


def _access() -> Words:
    iterations = _integer(ITERATIONS_MIN, ITERATIONS_MAX)
    state = (_choice(loading.STATES), "absent: removed where it exists.")
    labels = (_map(_TEXT), "For --only.")
    words = {"enum": [*OPERATIONS, *(each.upper().replace("-", "_") for each in OPERATIONS)]}
    operations = _or_variable(words, {"type": "array", "items": words})
    by_name = {"type": "object", "additionalProperties": _integer(1)}
    mechanism = {"enum": list(SCRAM_MECHANISMS)}
    user: Words = {
        "password": (_TEXT, "Where it comes from: env:VARIABLE, file:PATH, command:PROGRAM."),
        "mechanisms": (
            _or_variable(mechanism, {"type": "array", "items": mechanism}, by_name),
            "SCRAM mechanisms, or their iterations by name.",
        ),
        "iterations": (iterations, "Rounds of hashing."),
        "rotate": (_FLAG, "Set the password anew, each time."),
        "state": state,
        "labels": labels,
    }
    acl: Words = {
        "principal": (_TEXTS, "Whose rights: billing stands for User:billing."),
        "host": (_TEXTS, "From where; everywhere when it is not given."),
        "allow": (operations, "Operations that are allowed."),
        "deny": (operations, "Operations that are denied."),
        "pattern": (_choice(PATTERN_TYPES), "How names are meant."),
        "state": state,
        "labels": labels,
        **{kind: (_TEXTS, f"Names of {kind}s.") for kind in RESOURCE_TYPES},
        "cluster": (_FLAG, "The cluster itself."),
    }
    quota: Words = {
        **{kind: (_TEXT, f"The {kind}, or <default>.") for kind in ENTITY_TYPES},
        "limits": (_map(_TEXT), "Limits by Kafka's names; null takes one away."),
        "state": state,
        "labels": labels,
    }
    return {
        "users": (_map(_mapping(access_loading.USER_KEYS, user)), "SCRAM users by name."),
        "acls": (_list(_mapping(access_loading.ACL_KEYS, acl)), "Access rules."),
        "quotas": (_list(_mapping(access_loading.QUOTA_KEYS, quota)), "Limits of clients."),
        "protect_principals": (_TEXTS, "Their rules and credentials are never removed."),
    }
