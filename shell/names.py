"""What is known of a cluster by name, for completion: topics, brokers, groups, settings.

Asks briefly and part by part, so that one sick part hides no other; keeps the last answer in a file
for the next process. Never raises: without an answer there is what was known before, marked stale.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

from shell.journal import state_folder
from shell.session import Session

_CACHE_VERSION = 3
# Values that Kafka takes for settings that are lists of words.
_WORDS = {
    "cleanup.policy": ("delete", "compact", "compact,delete"),
    "compression.type": ("producer", "uncompressed", "gzip", "snappy", "lz4", "zstd"),
    "message.timestamp.type": ("CreateTime", "LogAppendTime"),
}


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting's documentation, its default, and values it takes when they can be listed."""

    documentation: str = ""
    default: str | None = None
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """Names of a cluster as last seen. `topics` gives each topic's number of partitions.

    `age_s` says how old they are when that matters; `stale` that the cluster no longer answers.
    """

    topics: Mapping[str, int] = field(default_factory=dict)
    brokers: Mapping[int, str] = field(default_factory=dict)
    groups: Mapping[str, str] = field(default_factory=dict)
    principals: Mapping[str, str] = field(default_factory=dict)
    users: Mapping[str, str] = field(default_factory=dict)
    topic_settings: Mapping[str, Setting] = field(default_factory=dict)
    broker_settings: Mapping[str, Setting] = field(default_factory=dict)
    contexts: Sequence[str] = ()
    specs: Sequence[str] = ()
    aliases: Mapping[str, str] = field(default_factory=dict)
    # Settings as they are, of owners such as "topic orders" or "broker 1" that were asked for.
    values: Mapping[str, Mapping[str, str | None]] = field(default_factory=dict)
    stale: bool = False
    age_s: int | None = None

    @property
    def mark(self) -> str:
        """What follows each name: nothing, or that it is stale and since when."""
        if not self.stale:
            return ""
        return " (stale)" if self.age_s is None else f" (stale, {self.age_s} s old)"


NO_NAMES = Names()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a cluster said: names, and its parts as they came; None for a part that failed.

    `problems` tells by part what failed; its names are those known before.
    """

    names: Names
    cluster: Any = None
    topics: Any = None
    brokers: Any = None
    problems: Mapping[str, str] = field(default_factory=dict)


async def ask(session: Session, known: Names = NO_NAMES) -> Answer:
    """Ask the cluster for its names; what fails keeps what is `known` and is told by part.

    Settings are asked for once: their documentation does not change while a cluster runs.
    """
    problems: dict[str, str] = {}
    found: dict[str, Any] = {}
    async with session.admin() as admin:
        await asyncio.gather(
            _part(found, problems, "cluster", admin.cluster),
            _part(found, problems, "topics", admin.topics),
            _part(found, problems, "brokers", admin.brokers),
            _part(found, problems, "groups", partial(_groups, admin, problems)),
            _people(found, admin),
        )
        topics, brokers = found.get("topics"), found.get("brokers")
        names = replace(
            known,
            topics={t.topic: t.partitions for t in topics} if topics is not None else known.topics,
            brokers={b.id: f"{b.host}:{b.port} {b.state}" for b in brokers}
            if brokers is not None
            else known.brokers,
            groups=found.get("groups", known.groups),
            principals=found.get("principals", known.principals),
            users=found.get("users", known.users),
        )
        if topics is not None or brokers is not None:
            await _learn_settings(admin, names, found, problems)
    return Answer(
        names=replace(
            names,
            topic_settings=found.get("topic_settings", known.topic_settings),
            broker_settings=found.get("broker_settings", known.broker_settings),
        ),
        cluster=found.get("cluster"),
        topics=topics,
        brokers=brokers,
        problems=problems,
    )


async def _learn_settings(
    admin: Any, names: Names, found: dict[str, Any], problems: dict[str, str]
) -> None:
    if not names.topic_settings:
        asking = partial(_settings, admin, "topic", names.topics)
        await _part(found, problems, "topic_settings", asking)
    if not names.broker_settings:
        up = [i for i, text in names.brokers.items() if text.endswith(" up")]
        asking = partial(_settings, admin, "broker", dict.fromkeys(up))
        await _part(found, problems, "broker_settings", asking)


async def _part(
    found: dict[str, Any],
    problems: dict[str, str],
    name: str,
    asking: Callable[[], Awaitable[Any]],
) -> None:
    try:
        found[name] = await asking()
    except Exception as error:  # noqa: BLE001 - told as a part that is old
        problems[name] = str(error).splitlines()[0] if str(error) else type(error).__name__


async def _groups(admin: Any, problems: dict[str, str]) -> dict[str, str]:
    gathered = await admin.groups()
    for failure in gathered.failures:
        problems["groups"] = f"{failure.where}: {failure.reason}"
    return {group.group: group.state for group in gathered.items}


async def _people(found: dict[str, Any], admin: Any) -> None:
    """Principals of rules, and users; a cluster without them, or that does not tell, has none."""
    unheard: dict[str, str] = {}

    async def rules() -> Any:
        return await admin.acls()

    async def credentials() -> Any:
        return await admin.scram_users()

    await asyncio.gather(
        _part(found, unheard, "acls", rules),
        _part(found, unheard, "credentials", credentials),
    )
    acls, users = found.get("acls"), found.get("credentials")
    if acls is None and users is None:
        return
    mechanisms: dict[str, list[str]] = {}
    for each in users or ():
        mechanisms.setdefault(each.user, []).append(each.mechanism)
    found["users"] = {user: ", ".join(each) for user, each in mechanisms.items()}
    counts = Counter(acl.principal for acl in acls or ())
    found["principals"] = {f"User:{user}": "no rules" for user in mechanisms} | {
        who: f"{count} rules" for who, count in counts.items()
    }


async def _settings(admin: Any, kind: str, of: Mapping[Any, Any]) -> dict[str, Setting]:
    if not of:
        return {}
    name = str(min(of))
    entries = await admin.configs(kind, name, documentation=True)
    return {
        entry.name: Setting(
            documentation=_first_sentence(entry.documentation or ""),
            default=_default(entry),
            values=_values(entry),
        )
        for entry in entries
        if not entry.read_only or kind == "topic"
    }


async def values_of(session: Session, owner: str) -> dict[str, str | None]:
    """Return the settings of "topic NAME" or "broker ID" as they are; nothing when that fails."""
    kind, _, name = owner.partition(" ")
    if kind not in ("topic", "broker"):
        return {}
    try:
        async with session.admin() as admin:
            entries = await admin.configs("topic" if kind == "topic" else "broker", name)
    except Exception:  # noqa: BLE001 - completion does without
        return {}
    return {entry.name: entry.value for entry in entries if not entry.is_sensitive}


def _default(entry: Any) -> str | None:
    if entry.is_sensitive:
        return None
    told = [value for _, value, source in entry.synonyms if source == "default"]
    return told[-1] if told else entry.value if entry.is_default else None


def _values(entry: Any) -> tuple[str, ...]:
    if entry.name in _WORDS:
        return _WORDS[entry.name]
    return ("true", "false") if str(entry.type).lower() == "boolean" else ()


def _first_sentence(text: str) -> str:
    plain = " ".join(text.split())
    head, dot, _ = plain.partition(". ")
    return head + dot.strip()


def cache_path(session: Session) -> str:
    """Return the file that keeps the names of the cluster that a session talks to."""
    where = ",".join(session.bootstrap())
    digest = hashlib.sha256(where.encode()).hexdigest()[:24]
    return os.path.join(state_folder(session.doors.environ), "names", f"{digest}.json")


def load(path: str, now_s: float) -> Names | None:
    """Return what a file keeps, with its age; None when there is none or it is not ours."""
    try:
        with open(path, encoding="utf-8") as file:
            data = json.load(file)
        if data.pop("version") != _CACHE_VERSION:
            return None
        age_s = max(0, int(now_s - data.pop("at_s")))
        return Names(
            topics=data["topics"],
            brokers={int(key): value for key, value in data["brokers"].items()},
            groups=data["groups"],
            principals=data["principals"],
            users=data["users"],
            topic_settings={k: Setting(**v) for k, v in data["topic_settings"].items()},
            broker_settings={k: Setting(**v) for k, v in data["broker_settings"].items()},
            stale=True,
            age_s=age_s,
        )
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def save(path: str, names: Names, now_s: float) -> None:
    """Keep names for the next process, readable by their owner only; failing to is no matter."""
    data = asdict(names)
    for gone in ("contexts", "specs", "aliases", "values", "stale", "age_s"):
        del data[gone]
    content = json.dumps({"version": _CACHE_VERSION, "at_s": now_s, **data}).encode()
    temporary = f"{path}.{os.getpid()}"
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        os.replace(temporary, path)
    except OSError:
        return


def wall_clock_s() -> float:
    """Return the time, for ages that outlive a process."""
    return time.time()
