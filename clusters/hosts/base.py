"""What a machine that brokers run on can be asked to do: the seam between local and SSH.

Every method raises HostError with the machine's name and a reason. Nothing here knows brokers.
"""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from clusters.manifest import ProcessIdentity

RUN_TIMEOUT_MS = 30_000


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """How a script on a machine ended: exit status, what it wrote, its complaints as text."""

    status: int
    out: bytes
    complaint: str

    @property
    def text(self) -> str:
        """What it wrote, as text without the last line break."""
        return self.out.decode("utf-8", "replace").rstrip("\n")


class Stream(Protocol):
    """A script that runs on while we read its lines and write to it."""

    async def send(self, data: bytes) -> None:
        """Write to its standard input. Raises HostError when it has ended."""

    def lines(self) -> AsyncIterator[str]:
        """Its lines as they come, without line breaks; ends with the script or the connection."""

    async def complaint(self) -> str:
        """What it wrote to standard error until its end."""

    async def finish(self) -> int:
        """Close its standard input, wait for its end (bounded) and return the exit status."""


class Connection(Protocol):
    """A way to act on one machine."""

    @property
    def name(self) -> str:
        """The machine's name in messages."""

    @property
    def is_local(self) -> bool:
        """Whether it is this very machine, without SSH."""

    @property
    def is_root(self) -> bool:
        """Whether scripts and files are handled as root there."""

    @property
    def rights(self) -> str:
        """Whom we logged in as there, and whether that makes us root, in words."""

    @property
    def home(self) -> str:
        """Home folder of the user whom we act as."""

    @property
    def python(self) -> str:
        """The interpreter that runs logd on that machine when no release is shipped."""

    async def close(self) -> None:
        """End the connection; processes started over it live on."""

    async def run(
        self,
        script: str,
        *,
        what: str,
        stdin: bytes = b"",
        timeout_ms: int = RUN_TIMEOUT_MS,
        as_user: bool = False,
    ) -> Answer:
        """Run a POSIX shell script and wait for its end, which is forced after the limit.

        As root where we may, or as the user that logged in. `what` completes "could not ..." in
        messages. A status other than 0 is an answer, not an error.
        """

    def stream(
        self, script: str, *, what: str, as_user: bool = False
    ) -> AbstractAsyncContextManager[Stream]:
        """Run a POSIX shell script beside us for the time of a block; ended with it."""

    async def upload(
        self, source: str, path: str, progress: Callable[[int], None], *, timeout_ms: int
    ) -> None:
        """Copy a file of this machine to a path there; `progress` gets the bytes sent so far."""

    async def port_use(self, host: str, port: int) -> PortUse | None:
        """Who listens on a TCP port that we want to bind; None when it is free."""

    async def folder_facts(self, path: str, *, create: bool) -> FolderFacts:
        """Whether a folder can be written; with `create` its absence is no obstacle."""

    async def make_folder(self, path: str, *, owner: str | None = None, mode: int = 0o700) -> None:
        """Create a folder and its parents; `owner` and `mode` hold for the last one alone."""

    async def remove_folder(self, path: str) -> None:
        """Remove a folder and all in it; absent is fine. Never follows symbolic links."""

    async def list_folder(self, path: str) -> list[str]:
        """Names in a folder, sorted; [] when there is none."""

    async def read_file(self, path: str) -> bytes | None:
        """A file's content; None when there is none."""

    async def write_file(
        self, path: str, content: bytes, *, owner: str | None = None, mode: int = 0o600
    ) -> None:
        """Write a file whole or not at all; `owner` is `user` or `user:group`."""

    async def remove_file(self, path: str) -> None:
        """Remove a file; absent is fine."""

    async def read_link(self, path: str) -> str | None:
        """Where a symbolic link points to; None when there is none."""

    async def swap_link(self, path: str, target: str) -> None:
        """Make a symbolic link point to a target, in one step where the system can."""

    async def file_size(self, path: str) -> int:
        """Size in bytes; 0 when there is none."""

    async def read_from(self, path: str, position: int, max_bytes: int) -> bytes:
        """The last `max_bytes` of a file after a position; b"" when there is none.

        A file that is shorter than that was begun anew since: all of it counts.
        """


class ProcessHost(Protocol):
    """A machine whose processes we start and signal ourselves, without a supervisor."""

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
