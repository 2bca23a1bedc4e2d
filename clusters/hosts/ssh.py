"""A machine reached over SSH: scripts over exec channels, files by `cat`; never SFTP.

Login shells may be noisy: what a script writes is told apart by a marker. Everything is bounded,
on this side and on the other. Passwords go in by standard input, never in a command line.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

from clusters.errors import HostError
from clusters.hosts.base import RUN_TIMEOUT_MS, Answer
from clusters.hosts.remote_files import RemoteFiles
from clusters.hosts.shell_words import after_marker, command, new_marker, quote

# sshd allows ten sessions on a connection; some are left for streams.
SESSIONS_MAX = 8
GRACE_S = 8.0
CHUNK_BYTES = 256 << 10
TIMED_OUT = (124, 137)
COMPLAINT_CHARACTERS = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Privilege:
    """How scripts become root: not at all ("" when root or not wanted), or by sudo."""

    is_root: bool
    prefix: str = ""
    password: str | None = None

    def __repr__(self) -> str:
        return f"Privilege(is_root={self.is_root}, prefix={self.prefix!r})"

    @property
    def stdin(self) -> bytes:
        """What sudo reads before the script does."""
        return f"{self.password}\n".encode() if self.password is not None else b""


class SshStream:
    """A script that goes on over its own channel."""

    def __init__(self, connection: SshConnection, process: Any, marker: str, what: str) -> None:
        self._connection = connection
        self._process = process
        self._marker = f"{marker}\n".encode()
        self._what = what

    async def send(self, data: bytes) -> None:
        """Write to its standard input. Raises HostError when it has ended."""
        try:
            self._process.stdin.write(data)
            await self._process.stdin.drain()
        except (OSError, self._connection.ssh_error) as error:
            raise self._connection.failed(self._what, error) from None

    async def lines(self) -> AsyncIterator[str]:
        """Its lines as they come; what the login shell wrote before is left out."""
        seen = False
        try:
            async for line in self._process.stdout:
                if seen:
                    yield line.decode("utf-8", "replace").rstrip("\r\n")
                seen = seen or line.endswith(self._marker)
        except (OSError, self._connection.ssh_error) as error:
            raise self._connection.failed(self._what, error) from None

    async def complaint(self) -> str:
        """What it wrote to standard error so far and until its end."""
        with contextlib.suppress(OSError, self._connection.ssh_error, TimeoutError):
            async with asyncio.timeout(GRACE_S):
                told: bytes = await self._process.stderr.read()
                own = after_marker(told, self._marker.decode().strip())
                return (told if own is None else own).decode("utf-8", "replace").strip()
        return ""

    async def finish(self) -> int:
        """Close its standard input, wait for its end and return the exit status."""
        with contextlib.suppress(OSError, self._connection.ssh_error):
            self._process.stdin.write_eof()
        try:
            async with asyncio.timeout(GRACE_S):
                await self._process.wait_closed()
        except TimeoutError:
            raise HostError(
                f"{self._connection.name}: {self._what} did not end within {GRACE_S:g} s"
            ) from None
        status = self._process.exit_status
        return -1 if status is None else int(status)


class SshConnection(RemoteFiles):
    """One SSH connection; made by clusters.hosts.connect."""

    is_local = False
    python = "python3"

    def __init__(
        self, name: str, connection: Any, *, user: str, home: str, privilege: Privilege
    ) -> None:
        import asyncssh

        self._name = name
        self._connection = connection
        self._user = user
        self._home = home
        self._privilege = privilege
        self._sessions = asyncio.Semaphore(SESSIONS_MAX)
        self.ssh_error: type[Exception] = asyncssh.Error

    @property
    def name(self) -> str:
        """The machine's name in messages."""
        return self._name

    @property
    def user(self) -> str:
        """The user that logged in."""
        return self._user

    @property
    def home(self) -> str:
        """Home folder of the user that logged in."""
        return self._home

    @property
    def is_root(self) -> bool:
        """Whether scripts run as root."""
        return self._privilege.is_root

    @property
    def rights(self) -> str:
        """Whom we logged in as, and whether that makes us root, in words."""
        if not self.is_root:
            return f"logged in as {self._user}, without root"
        if not self._privilege.prefix:
            return f"logged in as {self._user}"
        how = "with its password" if self._privilege.password is not None else "without a password"
        return f"logged in as {self._user}; sudo gives root {how}"

    @property
    def tunnel(self) -> Any:
        """The asyncssh connection, to forward TCP connections through it."""
        return self._connection

    async def close(self) -> None:
        """End the connection; processes started over it live on."""
        self._connection.close()
        with contextlib.suppress(Exception):
            async with asyncio.timeout(GRACE_S):
                await self._connection.wait_closed()

    async def run(
        self,
        script: str,
        *,
        what: str,
        stdin: bytes = b"",
        timeout_ms: int = RUN_TIMEOUT_MS,
        as_user: bool = False,
    ) -> Answer:
        """Run a script to its end. Raises HostError when it did not end in time or never began."""
        marker = new_marker()
        prefix, ahead = ("", b"") if as_user else (self._privilege.prefix, self._privilege.stdin)
        line = command(script, marker, become=prefix, limit_s=timeout_ms / 1000)
        try:
            async with asyncio.timeout(timeout_ms / 1000 + GRACE_S), self._sessions:
                status, out, err = await self._communicate(line, ahead + stdin)
        except TimeoutError:
            raise HostError(
                f"{self.name} could not {what}: no answer within {timeout_ms / 1000 + GRACE_S:g} s"
            ) from None
        except (OSError, self.ssh_error) as error:
            raise self.failed(what, error) from None
        own = after_marker(out, marker)
        complaint = after_marker(err, marker)
        words = (err if complaint is None else complaint).decode("utf-8", "replace").strip()
        words = words[-COMPLAINT_CHARACTERS:]
        if status is None:
            raise self.failed(what, "the connection was lost")
        if own is None:
            raise HostError(f"{self.name} could not {what}: {words or _silent(status)}")
        if status in TIMED_OUT:
            raise HostError(
                f"{self.name} could not {what}: it did not end within {timeout_ms / 1000:g} s "
                "and was ended"
            )
        return Answer(status=status, out=own, complaint=words)

    async def _communicate(self, line: str, stdin: bytes) -> tuple[int | None, bytes, bytes]:
        process = await self._connection.create_process(line, encoding=None)
        try:
            out, err = await process.communicate(stdin)
            return process.exit_status, out, err
        finally:
            process.close()

    @contextlib.asynccontextmanager
    async def stream(
        self, script: str, *, what: str, as_user: bool = False
    ) -> AsyncIterator[SshStream]:
        """Run a script beside us; its channel is closed with the block, which ends its input."""
        marker = new_marker()
        prefix, ahead = ("", b"") if as_user else (self._privilege.prefix, self._privilege.stdin)
        line = command(script, marker, become=prefix)
        try:
            async with asyncio.timeout(GRACE_S):
                process = await self._connection.create_process(line, encoding=None)
                if ahead:
                    process.stdin.write(ahead)
        except TimeoutError:
            raise HostError(f"{self.name} could not {what}: no answer in {GRACE_S:g} s") from None
        except (OSError, self.ssh_error) as error:
            raise self.failed(what, error) from None
        try:
            yield SshStream(self, process, marker, what)
        finally:
            process.close()

    async def upload(
        self, source: str, path: str, progress: Callable[[int], None], *, timeout_ms: int
    ) -> None:
        """Copy a file there, mode 0600; what is left of a broken copy is overwritten next time."""
        what = f"write {path}"
        marker = new_marker()
        line = command(
            f"umask 077; cat > {quote(path)}",
            marker,
            become=self._privilege.prefix,
            limit_s=timeout_ms / 1000,
        )
        try:
            async with asyncio.timeout(timeout_ms / 1000 + GRACE_S), self._sessions:
                process = await self._connection.create_process(line, encoding=None)
                try:
                    status, err = await self._feed(process, source, progress)
                finally:
                    process.close()
        except TimeoutError:
            raise HostError(
                f"{self.name} could not {what}: not done within {timeout_ms / 1000:g} s"
            ) from None
        except (OSError, self.ssh_error) as error:
            raise self.failed(what, error) from None
        if status is None:
            raise self.failed(what, "the connection was lost")
        if status != 0:
            told = after_marker(err, marker)
            words = (err if told is None else told).decode("utf-8", "replace").strip()
            raise HostError(f"{self.name} could not {what}: {words or _silent(status)}")

    async def _feed(
        self, process: Any, source: str, progress: Callable[[int], None]
    ) -> tuple[int | None, bytes]:
        sent = 0
        # A host that gives up (its disk is full) breaks the channel: its words tell why.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            process.stdin.write(self._privilege.stdin)
            with open(source, "rb") as stream:  # noqa: ASYNC230 - in the page cache
                while chunk := stream.read(CHUNK_BYTES):
                    process.stdin.write(chunk)
                    await process.stdin.drain()
                    sent += len(chunk)
                    progress(sent)
            process.stdin.write_eof()
        _, err = await process.communicate()
        return process.exit_status, err

    def failed(self, what: str, reason: object) -> HostError:
        """An error about the connection, with words for what the library says."""
        text = str(reason)
        if self._connection.is_closed() or "connection" in text.lower():
            return HostError(
                f"{self.name} could not {what}: the SSH connection was lost ({text}). "
                "Look whether the host is up, then run the same command again."
            )
        return HostError(f"{self.name} could not {what}: {text}")


def _silent(status: int | None) -> str:
    return f"it ended with status {status} and said nothing"
