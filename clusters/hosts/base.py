"""What a machine that brokers run on can be asked to do: the seam between local and SSH.

Every method raises HostError with the machine's name and a reason. Nothing here knows brokers.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from clusters.manifest import ProcessIdentity


@dataclass(frozen=True, slots=True, kw_only=True)
class PortUse:
    """Who holds a TCP port; `pid` and `command` are None when the system does not tell."""

    port: int
    pid: int | None
    command: str | None

    def __str__(self) -> str:
        if self.pid is None:
            return "another process"
        return f"pid {self.pid} ({self.command})" if self.command else f"pid {self.pid}"


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderFacts:
    """A folder as found: `obstacle` says in words why it cannot be used, or is None."""

    path: str
    exists: bool
    free_bytes: int
    obstacle: str | None


class Connection(Protocol):
    """A way to act on one machine."""

    @property
    def name(self) -> str:
        """The machine's name in messages."""

    @property
    def python(self) -> str:
        """The interpreter that runs logd on that machine."""

    async def close(self) -> None:
        """End the connection; processes started over it live on."""

    async def port_use(self, host: str, port: int) -> PortUse | None:
        """Who listens on a TCP port that we want to bind; None when it is free."""

    async def folder_facts(self, path: str, *, create: bool) -> FolderFacts:
        """Whether a folder can be written; with `create` its absence is no obstacle."""

    async def make_folder(self, path: str) -> None:
        """Create a folder (0700) and its parents."""

    async def remove_folder(self, path: str) -> None:
        """Remove a folder and all in it; absent is fine. Never follows symbolic links."""

    async def list_folder(self, path: str) -> list[str]:
        """Names in a folder, sorted; [] when there is none."""

    async def read_file(self, path: str) -> bytes | None:
        """A file's content; None when there is none."""

    async def write_file(self, path: str, content: bytes) -> None:
        """Write a file whole or not at all, mode 0600."""

    async def remove_file(self, path: str) -> None:
        """Remove a file; absent is fine."""

    async def file_size(self, path: str) -> int:
        """Size in bytes; 0 when there is none."""

    async def read_from(self, path: str, position: int, max_bytes: int) -> bytes:
        """The last `max_bytes` of a file after a position; b"" when there is none."""

    async def start_process(
        self, command: Sequence[str], *, log_path: str, environment: Mapping[str, str]
    ) -> ProcessIdentity:
        """Start a process of its own session that outlives us; output is added to `log_path`."""

    async def is_alive(self, process: ProcessIdentity) -> bool:
        """Whether exactly this process still runs (a zombie does not)."""

    async def uptime_ms(self, process: ProcessIdentity) -> int:
        """Milliseconds since the process started."""

    async def exit_status(self, process: ProcessIdentity) -> int | None:
        """How it ended (negative: by that signal), when the system still knows."""

    def signal_now(self, process: ProcessIdentity, number: signal.Signals) -> bool:
        """Send a signal to exactly this process; False when it is gone."""
