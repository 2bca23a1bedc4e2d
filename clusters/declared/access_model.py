"""What files declare of who may do what: SCRAM users, access rules, quotas; and what exists of it.

Frozen data. A password is never here: only the name of its source is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clusters.admin.acl_model import Acl
    from clusters.admin.quota_model import Entity
    from clusters.declared.model import Where

SECTIONS = ("users", "acls", "quotas")
ANONYMOUS = "User:ANONYMOUS"
EVERYBODY = "User:*"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredUser:
    """A SCRAM user. Iterations that are None are not declared, so never compared.

    `password` is the source of it (env:, file:, command:), needed only where one must be set.
    `rotate` sets it anew each time.
    """

    name: str
    where: Where
    mechanisms: Mapping[str, int | None] = field(default_factory=dict)
    password: str | None = None
    rotate: bool = False
    absent: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredAcls:
    """Some rules that are to be there, or to be absent: one entry of a file."""

    where: Where
    rules: tuple[Acl, ...]
    absent: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredQuota:
    """The limits of an entity; None takes a limit away, `absent` all of them."""

    entity: Entity
    where: Where
    limits: Mapping[str, float | None] = field(default_factory=dict)
    absent: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """All that files declare of it. `sections` has the place of each section that there is.

    `protected` are globs of principals whose rules and credentials are never removed.
    """

    users: Mapping[str, DeclaredUser] = field(default_factory=dict)
    acls: tuple[DeclaredAcls, ...] = ()
    quotas: Mapping[Entity, DeclaredQuota] = field(default_factory=dict)
    sections: Mapping[str, Where] = field(default_factory=dict)
    protected: tuple[tuple[str, Where], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessWorld:
    """What exists of it; None for what was not asked, or not told. Iterations by mechanism.

    `unserved` says by section why a cluster has nothing of it or does not show it. `principal` is
    who applies, None when only the brokers know.
    """

    principal: str | None = ANONYMOUS
    users: Mapping[str, Mapping[str, int]] | None = None
    acls: frozenset[Acl] | None = None
    quotas: Mapping[Entity, Mapping[str, float]] | None = None
    unserved: Mapping[str, str] = field(default_factory=dict)
