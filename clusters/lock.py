"""One operation at a time on a cluster: across processes of this machine, and across machines.

Both locks are the kernel's, held by an open file: here by this process, on each host by a shell
whose standard input is our SSH channel. A holder that was killed or cut off never leaves one
behind: its channel closes, or its heartbeats stop.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import fcntl
import getpass
import json
import os
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any, Self

from clusters.errors import HostError, Interrupted, Locked, OperationError, StateError
from clusters.hosts.base import Connection, Stream
from clusters.hosts.shell_words import quote
from clusters.state import cluster_state_dir

POLL_S = 0.05
HEARTBEAT_S = 5.0
# The host lets go when it has heard nothing for so long: a cut that closes no connection.
SILENCE_S = 30
ANSWER_S = 15.0
ATTEMPTS = 5
ROOT_FOLDER = "/run/logctl"

_HOLD = """
umask 022; d={folder}
p="$d"/{name}.lock
IFS= read -r owner
# Another cluster's lock may take the empty folder away at any moment. A plain exec would end dash.
for try in 1 2 3 4 5 denied; do
  if mkdir -p "$d" && command exec 9>>"$p"; then break; fi 2>/dev/null
done
[ $try != denied ] || {{ echo "denied $d"; exit 0; }}
if ! flock -n 9; then printf 'held '; cat "$p.owner" 2>/dev/null || echo; exit 0; fi
if ! [ "$p" -ef /proc/$$/fd/9 ]; then echo again; exit 0; fi
printf '%s\\n' "$owner" > "$p.owner"
echo locked
while [ -n "$(timeout {silence} head -c 1)" ]; do :; done
rm -f "$p.owner" "$p"; rmdir "$d" 2>/dev/null
exit 0
"""


def owner_of(command: str) -> dict[str, Any]:
    """Who we are, for whoever finds the lock taken."""
    with contextlib.suppress(Exception):
        return {
            "by": f"{getpass.getuser()}@{socket.gethostname()}",
            "pid": os.getpid(),
            "since": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
            "command": command,
        }
    return {"by": "?", "pid": os.getpid(), "since": "", "command": command}


def _words(owner: str) -> str:
    """A holder in words, whatever the file holds."""
    try:
        told = json.loads(owner)
        by, pid, since = str(told["by"]), int(told["pid"]), str(told["since"])
    except (ValueError, KeyError, TypeError):
        return ""
    text = f"pid {pid}, {by}"
    with contextlib.suppress(ValueError):
        at = dt.datetime.fromisoformat(since)
        seconds = (dt.datetime.now(dt.UTC) - at).total_seconds()
        text += f", since {at:%H:%M:%S} UTC, {max(0, round(seconds))} s ago"
    command = str(told.get("command") or "")
    return f"{text}: {command}" if command else text


@contextlib.asynccontextmanager
async def cluster_lock(
    cluster: str, *, wait_ms: int = 5_000, command: str = ""
) -> AsyncIterator[None]:
    """Hold the cluster's lock on this machine. Raises Locked naming the holder after `wait_ms`."""
    descriptor = _open(cluster)
    try:
        deadline = asyncio.get_running_loop().time() + wait_ms / 1000
        while not _try_lock(descriptor):
            if asyncio.get_running_loop().time() >= deadline:
                holder = os.pread(descriptor, 1024, 0).decode("utf-8", "replace").strip()
                who = _words(holder) or "another process"
                raise Locked(
                    f"Another logctl ({who}) is working on the cluster {cluster}. "
                    "Wait for it to end and try again."
                )
            await asyncio.sleep(POLL_S)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{json.dumps(owner_of(command))}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _open(cluster: str) -> int:
    folder = cluster_state_dir(cluster)
    path = os.path.join(folder, ".lock")
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StateError(
            f"The state folder {folder} cannot be used: {error.strerror}. "
            "Make it writable, or set XDG_STATE_HOME to another folder."
        ) from None


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextlib.asynccontextmanager
async def host_lock(
    connection: Connection, cluster: str, command: str, on_lost: Callable[[str], None]
) -> AsyncIterator[None]:
    """Hold the cluster's lock on another machine. Raises Locked naming the holder.

    `on_lost` is told when the host let go by itself: we were silent for too long, because this
    machine was suspended or starved, and others may be at work there now.
    """
    folder = ROOT_FOLDER if connection.is_root else f"{connection.home}/.logctl"
    script = _HOLD.format(folder=quote(folder), name=quote(cluster), silence=SILENCE_S)
    for _ in range(ATTEMPTS):
        async with connection.stream(script, what="take the lock") as stream:
            answer = await _ask(connection, stream, command)
            if answer == "locked":
                tasks = [
                    asyncio.ensure_future(_beat(stream)),
                    asyncio.ensure_future(_watch(connection, stream, on_lost)),
                ]
                try:
                    yield
                finally:
                    for task in tasks:
                        task.cancel()
                    await asyncio.gather(*tasks, return_exceptions=True)
                    with contextlib.suppress(HostError):
                        await stream.finish()
                return
        if answer != "again":
            break
    if answer.startswith("held"):
        who = _words(answer.removeprefix("held").strip()) or "somebody"
        raise Locked(
            f"Another logctl ({who}) is working on the cluster {cluster} on {connection.name}. "
            "Wait for it to end and try again; a holder that died lets go by itself."
        )
    raise HostError(f"{connection.name} could not take the lock in {folder}: {answer}")


async def _ask(connection: Connection, stream: Stream, command: str) -> str:
    await stream.send(f"{json.dumps(owner_of(command))}\n".encode())
    try:
        async with asyncio.timeout(ANSWER_S):
            async for line in stream.lines():
                return line
            return await stream.complaint() or "it said nothing"
    except TimeoutError:
        raise HostError(
            f"{connection.name} could not take the lock: no answer within {ANSWER_S:g} s"
        ) from None


async def _beat(stream: Stream) -> None:
    # A connection that is lost is told by whatever uses it next.
    with contextlib.suppress(HostError):
        while True:
            await stream.send(b".")
            await asyncio.sleep(HEARTBEAT_S)


async def _watch(connection: Connection, stream: Stream, on_lost: Callable[[str], None]) -> None:
    # Here, too, a connection that is lost is no news; a script that ended is.
    with contextlib.suppress(HostError):
        async for _ in stream.lines():
            pass
        if await stream.finish() >= 0:
            on_lost(
                f"{connection.name} heard nothing of this logctl for {SILENCE_S} s (was this "
                "machine suspended?) and gave its lock to whoever asks next"
            )


class LostLock:
    """Called when the lock went to others, it interrupts the task that entered it, once.

    An interrupted roll finishes the broker at hand first. Then OperationError says why.
    """

    def __init__(self) -> None:
        self._task: asyncio.Task[Any] | None = None
        self._text = ""

    def __call__(self, text: str) -> None:
        """The lock is lost. Several hosts may tell so."""
        if not self._text and self._task is not None:
            self._text = text
            self._task.cancel()

    async def __aenter__(self) -> Self:
        self._task = asyncio.current_task()
        return self

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if self._text and isinstance(error, asyncio.CancelledError | Interrupted):
            if self._task is not None:
                self._task.uncancel()
            left = str(error) or "Run the same command again: it completes what is left."
            raise OperationError(f"{self._text}. This run has stopped. {left}") from None
