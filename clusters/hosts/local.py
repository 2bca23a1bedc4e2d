"""This machine as a host: no SSH, the same questions and acts."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import TypeVar, TypeVarTuple

import psutil

from clusters.errors import HostError
from clusters.hosts import files
from clusters.hosts.base import RUN_TIMEOUT_MS, Answer, FolderFacts, PortUse
from clusters.manifest import ProcessIdentity
from clusters.state import write_private

Result = TypeVar("Result")
Arguments = TypeVarTuple("Arguments")

# The system derives start times from its clock, which may be corrected by a little in between.
START_TIME_TOLERANCE_S = 2.0

PORT_RELEASE_S = 1.0
END_S = 8.0
POLL_S = 0.02

_SINCE_BOOT = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)

# Children of this process: they must be reaped here, and only we learn how they ended.
_children: dict[int, subprocess.Popen[bytes]] = {}


class LocalConnection:
    """Acts on this machine as the present user."""

    @property
    def name(self) -> str:
        """The machine's name in messages."""
        return "this machine"

    is_local = True

    @property
    def is_root(self) -> bool:
        """Whether we are root here."""
        return os.geteuid() == 0

    @property
    def rights(self) -> str:
        """Whom we are here, in words."""
        return "this machine, as root" if self.is_root else "this machine, without root"

    @property
    def home(self) -> str:
        """Home folder of the present user."""
        return os.path.expanduser("~")

    @property
    def python(self) -> str:
        """The interpreter that runs logctl itself."""
        return sys.executable

    async def close(self) -> None:
        """Nothing to end."""

    async def run(
        self,
        script: str,
        *,
        what: str,
        stdin: bytes = b"",
        timeout_ms: int = RUN_TIMEOUT_MS,
        as_user: bool = False,
    ) -> Answer:
        """Run a POSIX shell script and wait for its end."""
        process = await self._shell(script, what)
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                out, err = await process.communicate(stdin)
        except TimeoutError:
            raise HostError(
                f"{self.name} could not {what}: it did not end within {timeout_ms / 1000:g} s"
            ) from None
        finally:
            await _end(process)
        complaint = err.decode("utf-8", "replace").strip()
        return Answer(status=process.returncode or 0, out=out, complaint=complaint)

    @contextlib.asynccontextmanager
    async def stream(
        self, script: str, *, what: str, as_user: bool = False
    ) -> AsyncIterator[LocalStream]:
        """Run a script beside us for the time of a block."""
        process = await self._shell(script, what)
        try:
            yield LocalStream(process, what)
        finally:
            await _end(process)

    async def _shell(self, script: str, what: str) -> asyncio.subprocess.Process:
        try:
            return await asyncio.create_subprocess_exec(
                "/bin/sh",
                "-c",
                script,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise HostError(f"{self.name} could not {what}: {error.strerror}") from None

    async def upload(
        self, source: str, path: str, progress: Callable[[int], None], *, timeout_ms: int
    ) -> None:
        """Copy a file."""
        await self._do(f"write {path}", shutil.copyfile, source, path)
        progress(await self.file_size(path))

    async def port_use(self, host: str, port: int) -> PortUse | None:
        """Who listens on a port; found by binding it, as the broker will.

        A holder that cannot be found may be a process that is just ending: it gets some time.
        """
        deadline = time.monotonic() + PORT_RELEASE_S
        while self._is_taken(host, port):
            use = await asyncio.to_thread(_holder, port)
            if use.pid is not None or time.monotonic() >= deadline:
                return use
            await asyncio.sleep(POLL_S)
        return None

    def _is_taken(self, host: str, port: int) -> bool:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    return True
                raise HostError(
                    f"{self.name} cannot use {host}:{port}: {error.strerror}. "
                    "Choose another port in the cluster file."
                ) from None
        return False

    async def folder_facts(self, path: str, *, create: bool) -> FolderFacts:
        """Whether a folder can be written, without leaving anything behind."""
        return await self._do(f"look at {path}", files.folder_facts, path, create)

    async def make_folder(self, path: str, *, owner: str | None = None, mode: int = 0o700) -> None:
        """Create a folder and its parents, which stay ours: brokers here run as this user."""
        await self._do(f"create the folder {path}", files.make_folder, path, mode)

    async def remove_folder(self, path: str) -> None:
        """Remove a folder and all in it; a symbolic link is refused."""
        await self._do(f"remove the folder {path}", files.remove_folder, path)

    async def list_folder(self, path: str) -> list[str]:
        """Names in a folder, sorted; [] when there is none."""
        return await self._do(f"list the folder {path}", files.list_folder, path)

    async def read_file(self, path: str) -> bytes | None:
        """A file's content; None when there is none."""
        return await self._do(f"read {path}", files.read_file, path)

    async def write_file(
        self, path: str, content: bytes, *, owner: str | None = None, mode: int = 0o600
    ) -> None:
        """Write a file whole or not at all, mode 0600."""
        await self._do(f"write {path}", write_private, path, content)

    async def remove_file(self, path: str) -> None:
        """Remove a file; absent is fine."""
        await self._do(f"remove {path}", files.remove_file, path)

    async def read_link(self, path: str) -> str | None:
        """Where a symbolic link points to; None when there is none."""
        return await self._do(f"read the link {path}", files.read_link, path)

    async def swap_link(self, path: str, target: str) -> None:
        """Make a symbolic link point to a target, in one step."""
        await self._do(f"switch {path}", files.swap_link, path, target)

    async def file_size(self, path: str) -> int:
        """Size in bytes; 0 when there is none."""
        return await self._do(f"read {path}", files.file_size, path)

    async def read_from(self, path: str, position: int, max_bytes: int) -> bytes:
        """The last `max_bytes` of a file after a position, all of it when it became shorter."""
        return await self._do(f"read {path}", files.read_from, path, position, max_bytes)

    async def start_process(
        self, command: Sequence[str], *, log_path: str, environment: Mapping[str, str]
    ) -> ProcessIdentity:
        """Start a process of its own session, so that Ctrl-C here does not reach it."""
        try:
            # Not in a thread: a cancelled wait must never lose a process that was started.
            return _start(command, log_path, environment)
        except OSError as error:
            raise HostError(
                f"{self.name} could not start {command[0]}: {error.strerror or error}"
            ) from None

    async def is_alive(self, process: ProcessIdentity) -> bool:
        """Whether exactly this process still runs."""
        return _find(process) is not None

    async def uptime_ms(self, process: ProcessIdentity) -> int:
        """Milliseconds since the process started."""
        found = _find(process)
        if found is None:
            return 0
        try:
            # Both are counted from the system's idea of its boot, which is off by up to a second.
            since_boot_s = found.create_time() - psutil.boot_time()
        except psutil.Error:
            return 0
        return max(0, int((time.clock_gettime(_SINCE_BOOT) - since_boot_s) * 1000))

    async def exit_status(self, process: ProcessIdentity) -> int | None:
        """How a process that we started in this run ended."""
        child = _children.get(process.pid)
        return child.poll() if child is not None else None

    def signal_now(self, process: ProcessIdentity, number: signal.Signals) -> bool:
        """Send a signal to exactly this process; False when it is gone."""
        found = _find(process)
        if found is None:
            return False
        try:
            found.send_signal(number)
        except psutil.NoSuchProcess:
            return False
        except psutil.AccessDenied:
            raise HostError(
                f"{self.name} does not allow a signal to pid {process.pid}: it belongs to "
                "another user. Run logctl as that user."
            ) from None
        return True

    async def _do(
        self, what: str, act: Callable[[*Arguments], Result], *args: *Arguments
    ) -> Result:
        try:
            return await asyncio.to_thread(act, *args)
        except OSError as error:
            reason = error.strerror or str(error)
            raise HostError(f"{self.name} could not {what}: {reason}") from None


class LocalStream:
    """A script that runs beside us on this machine."""

    def __init__(self, process: asyncio.subprocess.Process, what: str) -> None:
        self._process = process
        self._what = what

    async def send(self, data: bytes) -> None:
        """Write to its standard input."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(data)
            await self._process.stdin.drain()
        except OSError as error:
            raise HostError(f"{self._what} has ended: {error.strerror}") from None

    async def lines(self) -> AsyncIterator[str]:
        """Its lines as they come."""
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            yield line.decode("utf-8", "replace").rstrip("\r\n")

    async def complaint(self) -> str:
        """What it wrote to standard error until its end."""
        assert self._process.stderr is not None
        return (await self._process.stderr.read()).decode("utf-8", "replace").strip()

    async def finish(self) -> int:
        """Close its standard input, wait for its end and return the exit status."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(END_S):
                return await self._process.wait()
        except TimeoutError:
            raise HostError(f"{self._what} did not end within {END_S:g} s") from None


async def _end(process: asyncio.subprocess.Process) -> None:
    """End a shell and what it started."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(END_S):
            await process.wait()


def _start(
    command: Sequence[str], log_path: str, environment: Mapping[str, str]
) -> ProcessIdentity:
    descriptor = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        child = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            cwd="/",
            env={**os.environ, **environment},
            start_new_session=True,
        )
    finally:
        os.close(descriptor)
    _children[child.pid] = child
    try:
        started_at = psutil.Process(child.pid).create_time()
    except psutil.Error:
        # It ended at once; nobody else can have its pid before we reap it.
        started_at = time.time()
    return ProcessIdentity(pid=child.pid, started_at=started_at)


def _find(process: ProcessIdentity) -> psutil.Process | None:
    child = _children.get(process.pid)
    if child is not None and child.poll() is not None:
        return None
    try:
        found = psutil.Process(process.pid)
        if abs(found.create_time() - process.started_at) > START_TIME_TOLERANCE_S:
            return None
        # The first thread may be a zombie while others still hold the ports and the data folder.
        ended = found.status() == psutil.STATUS_ZOMBIE and found.num_threads() <= 1
        return None if ended else found
    except psutil.Error:
        return None


def _holder(port: int) -> PortUse:
    try:
        for connection in psutil.net_connections("tcp"):
            address = connection.laddr
            if (
                connection.status == psutil.CONN_LISTEN
                and address
                and address.port == port
                and connection.pid is not None
            ):
                command = " ".join(psutil.Process(connection.pid).cmdline())[:80]
                return PortUse(port=port, pid=connection.pid, command=command or None)
    except (psutil.Error, OSError):
        pass
    return PortUse(port=port, pid=None, command=None)
