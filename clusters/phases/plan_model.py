"""What a run will do, as data: shown before it is done, and compared with what was found. Pure."""

from __future__ import annotations

import difflib
import hashlib
import re
from dataclasses import asdict, dataclass
from typing import Any, Literal

Action = Literal["none", "install", "start", "restart"]

_SECRET = re.compile(r"password|secret|credential|jaas|token", re.IGNORECASE)
MASK = "******"


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerPlan:
    """What happens to one broker. Releases and generations are short digests.

    `reasons` say why it is started or restarted; `prepares` what is made on the host before;
    `config_diff` is a unified diff in which secrets are masked.
    """

    id: int
    host: str
    action: Action
    generation: str
    generation_before: str | None
    release: str | None
    release_before: str | None
    upload: bool
    prepares: tuple[str, ...]
    reasons: tuple[str, ...]
    config_diff: str

    @property
    def changes(self) -> bool:
        """Whether anything is done at all."""
        return self.action != "none" or bool(self.prepares)

    def to_json(self) -> dict[str, Any]:
        """Plain data for output."""
        return {
            **asdict(self),
            "prepares": list(self.prepares),
            "reasons": list(self.reasons),
            "changes": self.changes,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A whole run. `starts` happen at once, `restarts` one after the other, in this order; then
    `leaves` are stopped, which the file no longer names.
    """

    brokers: tuple[BrokerPlan, ...]
    starts: tuple[int, ...]
    restarts: tuple[int, ...]
    upload_bytes: int
    version: str
    leaves: tuple[int, ...] = ()

    @property
    def changes(self) -> bool:
        """Whether anything is done at all."""
        return bool(self.leaves) or any(broker.changes for broker in self.brokers)

    @property
    def state_digest(self) -> str:
        """Names the state that the brokers are brought to: the same for a run that completes it."""
        rows = sorted(f"{broker.id} {broker.generation}" for broker in self.brokers)
        return hashlib.sha256("\n".join(rows).encode()).hexdigest()[:12]

    def of(self, broker_id: int) -> BrokerPlan:
        """The plan of one broker."""
        return next(broker for broker in self.brokers if broker.id == broker_id)

    def to_json(self) -> dict[str, Any]:
        """Plain data for output."""
        return {
            "changes": self.changes,
            "version": self.version,
            "upload_bytes": self.upload_bytes,
            "starts": list(self.starts),
            "restarts": list(self.restarts),
            "leaves": list(self.leaves),
            "brokers": [broker.to_json() for broker in self.brokers],
        }


def settings_of(text: str) -> list[str]:
    """The lines of a settings file that mean something: its heading names a file, no setting."""
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def generation_digest(configuration: str, release: str | None) -> str:
    """A short name for release and settings together."""
    content = "\n".join([release or "", *settings_of(configuration)])
    return hashlib.sha256(content.encode()).hexdigest()[:12]


def config_diff(before: str | None, after: str) -> str:
    """A unified diff of two settings files without context; "" when they say the same."""
    old = [_masked(line) for line in sorted(settings_of(before or ""))]
    new = [_masked(line) for line in sorted(settings_of(after))]
    if before is None:
        return ""
    rows = list(difflib.unified_diff(old, new, lineterm="", n=0))
    return "\n".join(row for row in rows[2:] if not row.startswith("@@"))


def changed_settings(before: str, after: str) -> list[str]:
    """Names of the settings that differ, sorted."""
    old, new = _named(before), _named(after)
    return sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))


def _named(text: str) -> dict[str, str]:
    pairs = (line.partition("=") for line in settings_of(text))
    return {name: value for name, _, value in pairs}


def _masked(line: str) -> str:
    name, equals, _ = line.partition("=")
    return f"{name}{equals}{MASK}" if _SECRET.search(name) else line
