"""Access rules as Kafka's authorizer keeps them (KIP-11, KIP-290): frozen data with `to_json()`.

Words are Kafka's, in small letters with hyphens. A code that is newer than this table keeps its
number (`operation-99`), so that what was read can be written back unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from broker.protocol.lazy_dataclass import dataclass

RESOURCE_TYPES: Mapping[str, int] = {
    "topic": 2,
    "group": 3,
    "cluster": 4,
    "transactional-id": 5,
    "delegation-token": 6,
    "user": 7,
}
PATTERN_TYPES: Mapping[str, int] = {"literal": 3, "prefixed": 4}
# In filters alone: any pattern of that very name; any pattern that a name falls under.
FILTER_PATTERN_TYPES: Mapping[str, int] = {"any": 1, "match": 2, **PATTERN_TYPES}
OPERATIONS: Mapping[str, int] = {
    "all": 2,
    "read": 3,
    "write": 4,
    "create": 5,
    "delete": 6,
    "alter": 7,
    "describe": 8,
    "cluster-action": 9,
    "describe-configs": 10,
    "alter-configs": 11,
    "idempotent-write": 12,
    "create-tokens": 13,
    "describe-tokens": 14,
    "two-phase-commit": 15,
}
PERMISSIONS: Mapping[str, int] = {"deny": 2, "allow": 3}
ANY = 1
# The one resource of type cluster.
CLUSTER_NAME = "kafka-cluster"
ANY_HOST = "*"

# What the brokers take on each type of resource; AclEntry.supportedOperations of Apache Kafka.
OPERATIONS_OF: Mapping[str, tuple[str, ...]] = {
    "topic": (
        "all",
        "read",
        "write",
        "create",
        "delete",
        "alter",
        "describe",
        "describe-configs",
        "alter-configs",
    ),
    "group": ("all", "read", "describe", "delete", "describe-configs", "alter-configs"),
    "cluster": (
        "all",
        "create",
        "cluster-action",
        "describe",
        "describe-configs",
        "alter",
        "alter-configs",
        "idempotent-write",
    ),
    "transactional-id": ("all", "describe", "write", "two-phase-commit"),
    "delegation-token": ("all", "describe"),
    "user": ("all", "create-tokens", "describe-tokens"),
}


def code_of(words: Mapping[str, int], what: str, word: str) -> int:
    """The code of a word, or of `what-NUMBER`. Raises ValueError."""
    code = words.get(word)
    if code is not None:
        return code
    prefix, _, number = word.rpartition("-")
    if prefix == what and number.isdecimal() and int(number) < 128:
        return int(number)
    raise ValueError(f'there is no {what} "{word}"')


def word_of(words: Mapping[str, int], what: str, code: int) -> str:
    """The word of a code; `what-NUMBER` for one that is newer than the table."""
    return next((word for word, each in words.items() if each == code), f"{what}-{code}")


def principal(text: str) -> str:
    """A principal as brokers write it; a name alone stands for `User:NAME`.

    Raises ValueError for a type without a name.
    """
    kind, colon, name = text.partition(":")
    if not colon or not kind.isalpha():
        if not text.strip():
            raise ValueError("a principal has a name, as in User:alice")
        return f"User:{text}"
    if not name:
        raise ValueError(f'"{text}" names nobody; write {kind}:NAME')
    return text


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Acl:
    """One rule: who may or may not do what, on which resource, from where.

    `pattern` is literal (the name itself, or `*` for all) or prefixed; `host` an address or `*`.
    """

    principal: str
    permission: str
    operation: str
    resource: str
    name: str
    pattern: str = "literal"
    host: str = ANY_HOST

    def __str__(self) -> str:
        source = "" if self.host == ANY_HOST else f" from {self.host}"
        return f"{self.principal} {self.permission} {self.operation} on {self.target}{source}"

    @property
    def target(self) -> str:
        """The resource, for the reader."""
        if self.resource == "cluster":
            return "cluster"
        star = "*" if self.pattern == "prefixed" else ""
        return f"{self.resource} {self.name}{star}"

    def to_json(self) -> dict[str, Any]:
        """Plain data for output."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Acl:
        """The rule of `to_json`; raises KeyError or TypeError for anything else."""
        values = {each.name: data[each.name] for each in fields(cls)}
        if not all(isinstance(value, str) for value in values.values()):
            raise TypeError("a rule is made of words")
        return cls(**values)


@dataclass(frozen=True, slots=True, kw_only=True)
class AclFilter:
    """Which rules are meant; None stands for all.

    With `pattern` match a name finds every rule that it falls under: its own, prefixes of it, `*`.
    """

    principal: str | None = None
    permission: str | None = None
    operation: str | None = None
    resource: str | None = None
    name: str | None = None
    pattern: str = "any"
    host: str | None = None

    @classmethod
    def exactly(cls, acl: Acl) -> AclFilter:
        """The filter that finds one rule and no other."""
        return cls(**{each.name: getattr(acl, each.name) for each in fields(cls)})
