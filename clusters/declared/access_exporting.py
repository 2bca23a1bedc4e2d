"""Writes users, access rules and quotas as the sections of a file that declares them. Pure."""

from __future__ import annotations

from typing import Any

from clusters.admin.acl_model import ANY_HOST, Acl
from clusters.admin.quota_model import DEFAULT
from clusters.declared.access_model import AccessWorld
from clusters.declared.selecting import Selection


def exported_access(world: AccessWorld, selection: Selection) -> dict[str, Any]:
    """The sections; one without anything is left out, so that pruning by it does nothing."""
    users = {
        escaped(name): {"mechanisms": dict(sorted(mechanisms.items()))}
        for name, mechanisms in sorted((world.users or {}).items())
        if selection.undeclared_user(name)
    }
    rules = [rule for rule in sorted(world.acls or ()) if selection.rule(rule, {})]
    quotas = [
        {kind: DEFAULT if name is None else escaped(name) for kind, name in who}
        | {"limits": {name: _number(value) for name, value in sorted(limits.items())}}
        for who, limits in sorted((world.quotas or {}).items(), key=lambda each: str(each[0]))
        if selection.undeclared_quota(who)
    ]
    found = {"users": users, "acls": _entries(rules), "quotas": quotas}
    return {section: data for section, data in found.items() if data}


def _entries(rules: list[Acl]) -> list[dict[str, Any]]:
    """One entry for the operations of a principal on a resource."""
    operations: dict[tuple[str, ...], list[str]] = {}
    for rule in rules:
        key = (rule.principal, rule.permission, rule.resource, rule.name, rule.pattern, rule.host)
        operations.setdefault(key, []).append(rule.operation)
    entries = []
    for (who, permission, resource, name, pattern, host), words in operations.items():
        entry: dict[str, Any] = {"principal": escaped(who), permission: words}
        entry[resource] = True if resource == "cluster" else escaped(name)
        if pattern != "literal":
            entry["pattern"] = pattern
        if host != ANY_HOST:
            entry["host"] = escaped(host)
        entries.append(entry)
    return entries


def _number(value: float) -> int | float:
    return int(value) if value.is_integer() else value


def escaped(text: str) -> str:
    """Text that the loader reads back as it is."""
    return text.replace("${", "$${")
