"""What was found on a machine and about the brokers installed there; read from one script's output.

Pure. A value that the machine did not tell is None; nothing is guessed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

TICKS_PER_S = 100  # what Linux tells to programs on every architecture that we know


@dataclass(frozen=True, slots=True, kw_only=True)
class MountFacts:
    """Where a path lies (or would lie): the nearest folder that exists, and its file system."""

    path: str
    exists: bool
    place: str
    writable: bool
    free_bytes: int
    total_bytes: int
    noexec: bool
    read_only: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignProcess:
    """A process that looks like a broker."""

    pid: int
    command: str


@dataclass(slots=True, kw_only=True)
class InstalledBroker:
    """What a machine holds of one broker. Generations and releases are short digests."""

    generation: str | None = None
    previous: str | None = None
    release: str | None = None
    files: dict[str, bytes] = field(default_factory=dict)
    unit_state: dict[str, str] = field(default_factory=dict)
    # kind ("child", "supervisor") -> pid, start in ticks after boot, boot id; start of that pid now
    identities: dict[str, tuple[int, int, str, int | None]] = field(default_factory=dict)
    filled: tuple[int, ...] = ()

    @property
    def configuration(self) -> str | None:
        """The settings file in use."""
        content = self.files.get("config")
        return content.decode("utf-8", "replace") if content is not None else None

    @property
    def change(self) -> tuple[str, str]:
        """When it came to its generation, and a digest of the cluster's state then; or ("", "")."""
        words = self.files.get("change", b"").decode("utf-8", "replace").split()
        return (words[0], words[1]) if len(words) == 2 else ("", "")

    @property
    def unit(self) -> str | None:
        """The unit file of systemd."""
        content = self.files.get("unit")
        return content.decode("utf-8", "replace") if content is not None else None

    @property
    def supervisor_state(self) -> Mapping[str, Any]:
        """What the built-in supervisor last wrote about itself."""
        return json_object(self.files.get("state")) or {}


@dataclass(slots=True, kw_only=True)
class MachineFacts:
    """One machine. Sizes in bytes; `clock_offset_ms` is its clock minus ours."""

    values: dict[str, str] = field(default_factory=dict)
    missing_tools: tuple[str, ...] = ()
    releases: frozenset[str] = frozenset()
    listening: frozenset[int] = frozenset()
    foreign: tuple[ForeignProcess, ...] = ()
    mounts: dict[str, MountFacts] = field(default_factory=dict)
    brokers: dict[int, InstalledBroker] = field(default_factory=dict)
    clock_offset_ms: float | None = None

    @property
    def architecture(self) -> str:
        """As `uname -m` tells it."""
        return self.values.get("arch", "")

    @property
    def has_systemd(self) -> bool:
        """Whether systemd is PID 1."""
        return self.values.get("systemd") == "yes"

    @property
    def has_user(self) -> bool:
        """Whether the user that brokers run as exists."""
        return self.values.get("has_user") == "yes"

    def number(self, name: str) -> int | None:
        """A value as a number; None when it is none or was not told."""
        text = self.values.get(name, "").strip()
        return int(text) if text.isdecimal() else None

    def uptime_ms(self, ticks: int) -> int | None:
        """Milliseconds since a moment given in ticks after boot."""
        try:
            now_s = float(self.values["uptime"].split()[0])
        except (KeyError, ValueError, IndexError):
            return None
        return max(0, int((now_s - ticks / TICKS_PER_S) * 1000))


def json_object(content: bytes | None) -> dict[str, Any] | None:
    """A JSON object, or None for anything else."""
    if content is None:
        return None
    try:
        value = json.loads(content)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


class _Reader:
    """Takes lines and counted blocks from a script's output."""

    def __init__(self, output: bytes) -> None:
        self._output = output
        self._position = 0

    def line(self) -> str | None:
        if self._position >= len(self._output):
            return None
        end = self._output.find(b"\n", self._position)
        end = len(self._output) if end < 0 else end
        text = self._output[self._position : end].decode("utf-8", "replace")
        self._position = end + 1
        return text

    def block(self, size: int) -> bytes:
        content = self._output[self._position : self._position + size]
        self._position += size + 1
        return content


def parse_facts(output: bytes) -> MachineFacts:
    """Facts from what the fact script wrote; unknown lines are skipped."""
    facts = MachineFacts()
    reader = _Reader(output)
    missing: list[str] = []
    releases: list[str] = []
    listening: set[int] = set()
    foreign: list[ForeignProcess] = []
    broker = InstalledBroker()
    while (line := reader.line()) is not None:
        key, _, value = line.partition("\t")
        if key == "file":
            name, _, size = value.rpartition("\t")
            broker.files[name] = reader.block(int(size)) if size.strip().isdecimal() else b""
        elif key == "broker" and value.isdecimal():
            broker = facts.brokers.setdefault(int(value), InstalledBroker())
        elif key == "missing":
            missing.append(value)
        elif key == "release":
            releases.append(value)
        elif key == "listen":
            listening.update(_port(value))
        elif key == "foreign":
            pid, _, command = value.partition(" ")
            foreign.append(ForeignProcess(pid=int(pid), command=command.strip()))
        elif key == "mount":
            mount = _mount(value)
            facts.mounts[mount.path] = mount
        elif not _about_broker(broker, key, value):
            facts.values[key] = value
    facts.missing_tools, facts.releases = tuple(missing), frozenset(releases)
    facts.listening, facts.foreign = frozenset(listening), tuple(foreign)
    return facts


def _about_broker(broker: InstalledBroker, key: str, value: str) -> bool:
    if key == "current":
        broker.generation = value.rsplit("/", 1)[-1] or None
    elif key == "previous":
        broker.previous = value.rsplit("/", 1)[-1] or None
    elif key == "in_use":
        broker.release = value.rsplit("/", 1)[-1] or None
    elif key == "show":
        name, _, text = value.partition("=")
        broker.unit_state[name] = text
    elif key == "filled":
        broker.filled = (*broker.filled, int(value))
    elif key == "identity":
        kind, pid, ticks, boot, now = (value.split() + [""] * 5)[:5]
        if pid.isdecimal() and ticks.isdecimal():
            start = int(now) if now.isdecimal() else None
            broker.identities[kind] = (int(pid), int(ticks), boot, start)
    else:
        return False
    return True


def _port(row: str) -> list[int]:
    # A row of /proc/net/tcp: the local address is `hex:hex`, state 0A listens.
    columns = row.split()
    if len(columns) < 4 or columns[3] != "0A":
        return []
    _, _, port = columns[1].rpartition(":")
    return [int(port, 16)]


def _mount(value: str) -> MountFacts:
    path, exists, place, writable, device, options = (value.split("\t") + [""] * 6)[:6]
    columns = device.split()
    sizes = [int(each) * 1024 if each.isdecimal() else 0 for each in columns[1:4]] + [0, 0, 0]
    flags = options.split(",")
    return MountFacts(
        path=path,
        exists=exists == "yes",
        place=place,
        writable=writable == "yes",
        total_bytes=sizes[0],
        free_bytes=sizes[2],
        noexec="noexec" in flags,
        read_only="ro" in flags,
    )
