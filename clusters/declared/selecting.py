"""Selectors: which declared things are meant, as in `topic=orders*` or `label.team=pay`. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from clusters.admin.acl_model import Acl
from clusters.admin.quota_model import DEFAULT, Entity
from clusters.declared.access_model import DeclaredQuota, DeclaredUser
from clusters.declared.model import DeclaredOffsets, DeclaredTopic
from clusters.nearest import hint

_KEYS = ("topic", "group", "kind", "user", "principal", "client-id", "ip")


class SelectorError(ValueError):
    """A selector that cannot be read; the text is for the reader."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Some selectors: one of them must match; all parts of it. Without any all is meant."""

    selectors: tuple[tuple[tuple[str, str], ...], ...] = ()

    def topic(self, topic: DeclaredTopic) -> bool:
        """Whether a declared topic is meant."""
        return self._any({"topic": topic.name, "kind": "topic"}, topic.labels)

    def offsets(self, offsets: DeclaredOffsets) -> bool:
        """Whether declared offsets are meant."""
        known = {"topic": offsets.topic, "group": offsets.group, "kind": "offsets"}
        return self._any(known, offsets.labels)

    def undeclared(self, name: str) -> bool:
        """Whether a topic that nobody declares is meant."""
        return self._any({"topic": name, "kind": "topic"}, {})

    def user(self, user: DeclaredUser) -> bool:
        """Whether a declared user is meant."""
        return self._any({"user": user.name, "kind": "user"}, user.labels)

    def undeclared_user(self, name: str) -> bool:
        """Whether a user whom nobody declares is meant."""
        return self._any({"user": name, "kind": "user"}, {})

    def rule(self, rule: Acl, labels: Mapping[str, str]) -> bool:
        """Whether a rule is meant: by its principal, or by its resource."""
        known = {"kind": "acl", "principal": rule.principal}
        if rule.principal.startswith("User:"):
            known["user"] = rule.principal.removeprefix("User:")
        if rule.resource in {"topic", "group"}:
            known[rule.resource] = rule.name
        return self._any(known, labels)

    def quota(self, quota: DeclaredQuota) -> bool:
        """Whether a declared quota is meant."""
        return self._any(_named(quota.entity), quota.labels)

    def undeclared_quota(self, who: Entity) -> bool:
        """Whether a quota that nobody declares is meant."""
        return self._any(_named(who), {})

    def _any(self, known: Mapping[str, str], labels: Mapping[str, str]) -> bool:
        values = {**known, **{f"label.{key}": value for key, value in labels.items()}}
        return not self.selectors or any(
            all(key in values and fnmatchcase(values[key], glob) for key, glob in parts)
            for parts in self.selectors
        )


def _named(who: Entity) -> dict[str, str]:
    return {"kind": "quota"} | {kind: DEFAULT if name is None else name for kind, name in who}


def parse_selection(texts: Sequence[str]) -> Selection:
    """Read selectors such as `topic=orders*,label.team=pay`. Raises SelectorError."""
    selectors = []
    for text in texts:
        parts = []
        for part in text.split(","):
            key, equals, glob = part.strip().partition("=")
            if not equals or not glob:
                raise SelectorError(
                    f'"{part}" selects nothing; write topic=NAME, group=NAME, user=NAME or '
                    "label.NAME=VALUE"
                )
            if key not in _KEYS and not key.startswith("label."):
                raise SelectorError(f'"{key}" is nothing to select by; {hint(key, _KEYS)}')
            parts.append((key, glob))
        selectors.append(tuple(parts))
    return Selection(tuple(selectors))
