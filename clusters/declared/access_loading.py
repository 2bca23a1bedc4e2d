"""Reads the sections `users`, `acls` and `quotas` of a file; every problem is noted with its line.

Must never take a password from a file: what is no source is refused, and not repeated.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from clusters.admin.acl_model import (
    ANY_HOST,
    CLUSTER_NAME,
    OPERATIONS,
    PATTERN_TYPES,
    RESOURCE_TYPES,
    Acl,
    code_of,
    principal,
)
from clusters.admin.quota_model import (
    DEFAULT,
    ENTITY_TYPES,
    Entity,
    entity,
    limit_value,
    limits_of,
)
from clusters.admin.scram_model import (
    DEFAULT_MECHANISM,
    ITERATIONS_MAX,
    ITERATIONS_MIN,
    SCRAM_MECHANISMS,
)
from clusters.declared.access_model import (
    SECTIONS,
    Access,
    DeclaredAcls,
    DeclaredQuota,
    DeclaredUser,
)
from clusters.declared.fields import Fields, shown
from clusters.declared.model import Where
from clusters.errors import StateError
from clusters.nearest import hint
from clusters.secret_sources import check_source

KEYS = (*SECTIONS, "protect_principals")
QUOTA_KEYS = (*ENTITY_TYPES, "limits", "state", "labels")
USER_KEYS = ("password", "mechanisms", "iterations", "rotate", "state", "labels")
ACL_KEYS = ("principal", "host", "allow", "deny", "pattern", "state", "labels", *RESOURCE_TYPES)


@dataclass(slots=True)
class AccessReader:
    """Gathers what several files declare."""

    users: dict[str, DeclaredUser] = field(default_factory=dict)
    acls: list[DeclaredAcls] = field(default_factory=list)
    quotas: dict[Entity, DeclaredQuota] = field(default_factory=dict)
    sections: dict[str, Where] = field(default_factory=dict)
    protected: list[tuple[str, Where]] = field(default_factory=list)
    _places: dict[Acl, tuple[bool, Where]] = field(default_factory=dict)

    def access(self) -> Access:
        """All that was read."""
        return Access(
            users=self.users,
            acls=tuple(self.acls),
            quotas=self.quotas,
            sections=self.sections,
            protected=tuple(self.protected),
        )

    def read(self, fields: Fields) -> None:
        """Read the sections of one file."""
        file = fields.document.file
        for section in SECTIONS:
            if section in fields.data:
                self.sections.setdefault(section, Where(file, fields.line(section)))
        for index, pattern in enumerate(fields.texts("protect_principals")):
            where = Where(file, fields.line("protect_principals", index))
            self.protected.append((pattern, where))
        users = fields.inside("users")
        for name in users.data:
            self._user(users.inside(name), name)
        for section, reader in (("acls", self._acls), ("quotas", self._quota)):
            for index, data in enumerate(fields.items(section)):
                reader(Fields.at(fields.document, (section, index), data))

    # Users

    def _user(self, fields: Fields, name: str) -> None:
        fields.known(USER_KEYS)
        where = Where(fields.document.file, fields.line())
        if not name.strip() or name.startswith("User:"):
            fields.problem("a user is named without User:, as in billing")
        before = self.users.get(name)
        if before is not None:
            fields.problem(f"is declared twice; the first is at {before.where}")
        absent = _absent(fields)
        password = fields.text("password")
        if password is not None:
            try:
                check_source(password)
            except StateError:
                fields.problem(
                    "must name the source of the password, never the password itself: "
                    "env:VARIABLE, file:PATH or command:PROGRAM ARGUMENTS",
                    "password",
                )
        self.users[name] = DeclaredUser(
            name=name,
            where=where,
            mechanisms={} if absent else _mechanisms(fields),
            password=password,
            rotate=fields.flag("rotate"),
            absent=absent,
            labels=_labels(fields),
        )

    # Rules

    def _acls(self, fields: Fields) -> None:
        fields.known(ACL_KEYS)
        where = Where(fields.document.file, fields.line())
        permission = "deny" if "deny" in fields.data else "allow"
        if ("allow" in fields.data) == ("deny" in fields.data):
            fields.problem("give either `allow` or `deny`, with operations")
            return
        rules = tuple(
            Acl(
                principal=who,
                permission=permission,
                operation=operation,
                resource=resource,
                name=name,
                pattern=pattern,
                host=host,
            )
            for who in _principals(fields)
            for host in fields.texts("host") or (ANY_HOST,)
            for resource, name, pattern in _resources(fields)
            for operation in _operations(fields, permission)
        )
        absent = fields.choice("state", ("present", "absent"), "present") == "absent"
        for rule in dict.fromkeys(rules):
            before = self._places.setdefault(rule, (absent, where))
            if before[0] != absent:
                fields.problem(f"{rule}: is declared the other way at {before[1]}")
        self.acls.append(
            DeclaredAcls(where=where, rules=rules, absent=absent, labels=_labels(fields))
        )

    # Quotas

    def _quota(self, fields: Fields) -> None:
        fields.known(QUOTA_KEYS)
        where = Where(fields.document.file, fields.line())
        parts: dict[str, str | None] = {}
        for kind in ENTITY_TYPES:
            if kind in fields.data:
                name = fields.text(kind)
                if name is None:
                    fields.problem(f"must be a name, or {DEFAULT} for all without their own", kind)
                parts[kind] = None if name == DEFAULT else name
        try:
            who = entity(parts)
        except ValueError as error:
            fields.problem(str(error))
            return
        before = self.quotas.get(who)
        if before is not None:
            fields.problem(f"is declared twice; the first is at {before.where}")
        absent = _absent(fields, *ENTITY_TYPES)
        limits = _limits(fields.inside("limits"), who)
        if not absent and not limits and "limits" not in fields.data:
            fields.problem("names no limits", "limits")
        self.quotas[who] = DeclaredQuota(
            entity=who, where=where, limits=limits, absent=absent, labels=_labels(fields)
        )


def _absent(fields: Fields, *named_by: str) -> bool:
    absent = fields.choice("state", ("present", "absent"), "present") == "absent"
    others = [key for key in fields.data if key not in {"state", "labels", *named_by}]
    if absent and others:
        fields.problem(f"what is absent has no {others[0]}", others[0])
    return absent


def _labels(fields: Fields) -> dict[str, str]:
    inside = fields.inside("labels")
    return {key: inside.text(key) or "" for key in inside.data}


def _mechanisms(fields: Fields) -> dict[str, int | None]:
    bounds = {"minimum": ITERATIONS_MIN, "maximum": ITERATIONS_MAX}
    data = fields.data.get("mechanisms")
    iterations = fields.integer("iterations", **bounds)
    found: dict[str, int | None] = {}
    if isinstance(data, dict):
        inside = fields.inside("mechanisms")
        for name in inside.data:
            # What exists may have been made with bounds of another version.
            own = inside.integer(name, minimum=1)
            found[name] = iterations if own is None else own
    else:
        found = dict.fromkeys(fields.texts("mechanisms") or (DEFAULT_MECHANISM,), iterations)
    for name in found:
        if name not in SCRAM_MECHANISMS:
            fields.problem(
                f'"{name}" is no mechanism; {hint(name, SCRAM_MECHANISMS)}', "mechanisms"
            )
    return found


def _principals(fields: Fields) -> list[str]:
    texts = fields.texts("principal")
    if not texts:
        fields.problem("names no principal")
    found = []
    for text in texts:
        try:
            found.append(principal(text))
        except ValueError as error:
            fields.problem(str(error), "principal")
    return found


def _operations(fields: Fields, permission: str) -> list[str]:
    texts = fields.texts(permission)
    if not texts:
        fields.problem("names no operation", permission)
    found = []
    for index, text in enumerate(texts):
        # DESCRIBE_CONFIGS is how Kafka's own tools write it.
        word = text.lower().replace("_", "-")
        try:
            code_of(OPERATIONS, "operation", word)
        except ValueError:
            fields.problem(f'"{text}" is no operation; {hint(word, OPERATIONS)}', permission, index)
        found.append(word)
    return found


def _resources(fields: Fields) -> list[tuple[str, str, str]]:
    """(type, name, pattern) of each resource."""
    pattern = fields.choice("pattern", PATTERN_TYPES, "literal") or "literal"
    found: list[tuple[str, str, str]] = []
    for kind in RESOURCE_TYPES:
        if kind == "cluster":
            if fields.flag("cluster"):
                found.append((kind, CLUSTER_NAME, "literal"))
        else:
            found += [(kind, name, pattern) for name in _names(fields, kind)]
    if not found:
        fields.problem(f"names no resource; known: {', '.join(RESOURCE_TYPES)}")
    return found


def _names(fields: Fields, kind: str) -> Iterable[str]:
    if kind in fields.data and not fields.items(kind):
        fields.problem(f"must be a name, not {shown(fields.data[kind])}", kind)
    return fields.texts(kind)


def _limits(fields: Fields, who: Entity) -> dict[str, float | None]:
    known = limits_of(who)
    found: dict[str, float | None] = {}
    for name, value in fields.data.items():
        if name not in known:
            fields.problem(f"is no limit of it; {hint(name, known)}", name)
        elif value is None:
            found[name] = None
        else:
            try:
                found[name] = limit_value(name, value)
            except ValueError as error:
                fields.problem(str(error), name)
    return found
