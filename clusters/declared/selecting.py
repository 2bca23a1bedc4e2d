"""Selectors: which declared things are meant, as in `topic=orders*` or `label.team=pay`. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from clusters.declared.model import DeclaredOffsets, DeclaredTopic
from clusters.nearest import hint

_KEYS = ("topic", "group", "kind")


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

    def _any(self, known: Mapping[str, str], labels: Mapping[str, str]) -> bool:
        values = {**known, **{f"label.{key}": value for key, value in labels.items()}}
        return not self.selectors or any(
            all(key in values and fnmatchcase(values[key], glob) for key, glob in parts)
            for parts in self.selectors
        )


def parse_selection(texts: Sequence[str]) -> Selection:
    """Read selectors such as `topic=orders*,label.team=pay`. Raises SelectorError."""
    selectors = []
    for text in texts:
        parts = []
        for part in text.split(","):
            key, equals, glob = part.strip().partition("=")
            if not equals or not glob:
                raise SelectorError(
                    f'"{part}" selects nothing; write topic=NAME, group=NAME or label.NAME=VALUE'
                )
            if key not in _KEYS and not key.startswith("label."):
                raise SelectorError(f'"{key}" is nothing to select by; {hint(key, _KEYS)}')
            parts.append((key, glob))
        selectors.append(tuple(parts))
    return Selection(tuple(selectors))
