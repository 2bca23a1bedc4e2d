"""Runs commands of logctl for the dashboard: each as a process of its own, as in a terminal.

A process, so that a command that fails, hangs or is interrupted never takes the dashboard with it.
Must never let a command ask: standard input is empty, so what is not agreed to is refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shlex
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from shell.exits import ShellError
from shell.output import PROGRESS_VARIABLE
from shell.session import Session

if TYPE_CHECKING:
    from tui.doors import Target

END_S = 5
LINE_BYTES_MAX = 32 * 1024 * 1024
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


OnLine = Callable[[str], Awaitable[None] | None]


class ProcessCommander:
    """Commands on one cluster; `where` are the options that name it."""

    def __init__(self, where: Sequence[str], *, deploys: bool) -> None:
        self._where = list(where)
        self._deploys = deploys

    @property
    def deploys(self) -> bool:
        """Whether logctl runs the brokers' processes of this cluster."""
        return self._deploys

    def shown(self, words: Sequence[str]) -> str:
        """The command as it can be pasted into a terminal."""
        return shlex.join(["logctl", *self._where, *words])

    async def run(self, words: Sequence[str], on_line: OnLine) -> int:
        """Run a command and tell each line of both its outputs; returns the exit code.

        The next line is read once what `on_line` returned is done. One that begins with "\\r" is
        progress.

        Cancelled, the command is interrupted as by Ctrl-C, and killed if it does not end.
        """
        environ = {
            **os.environ,
            "NO_COLOR": "1",
            "COLUMNS": "100",
            "PYTHONUNBUFFERED": "1",
            PROGRESS_VARIABLE: "lines",
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "shell.main",
            *self._where,
            *words,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=environ,
            cwd=os.getcwd(),
            start_new_session=True,
            limit=LINE_BYTES_MAX,
        )
        try:
            await _tell_lines(process, on_line)
            return await process.wait()
        except ValueError:
            on_line("(a line too long to be shown)")
            return await process.wait()
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.send_signal(signal.SIGINT)
                with contextlib.suppress(TimeoutError, ValueError):
                    async with asyncio.timeout(END_S):
                        # What it leaves under way, and what is to be done about that.
                        await _tell_lines(process, on_line)
                        await process.wait()
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()


async def _tell_lines(process: asyncio.subprocess.Process, on_line: OnLine) -> None:
    """Raises ValueError for a line that is longer than any is."""
    assert process.stdout is not None
    while line := await process.stdout.readline():
        told = on_line(CONTROL.sub("", line.decode(errors="replace")).rstrip("\r\n"))
        if told is not None:
            await told


def target(session: Session) -> Target:
    """The session's cluster for the dashboard: addresses, rights, security, and its commands.

    Raises Failed for a cluster that the feed cannot reach.
    """
    from tui.doors import Target

    context, settings = session.context(), session.settings
    again: Callable[[], Target] | None = None
    if context is not None:
        # By its name: the current one may be another by then.
        pinned = replace(session, settings=replace(settings, context=context.name))

        def again() -> Target:
            return _told(lambda: target(pinned))

    where = [] if context is None else ["--context", context.name]
    if settings.bootstrap:
        # They win over those of the context, as in the session itself.
        where += ["--bootstrap", ",".join(settings.bootstrap)]
    if settings.read_only:
        # What is not offered is refused besides.
        where.append("--read-only")
    spec = None if context is None or settings.bootstrap else context.spec_path
    return Target(
        name="" if context is None else context.name,
        bootstrap=session.bootstrap(),
        read_only=session.read_only(),
        feed=session.feed(from_start=True),
        admin_of=session.client,
        commander=ProcessCommander(where, deploys=bool(spec and Path(spec).exists())),
        color=getattr(context, "color", None),
        saved=context,
        again=again,
    )


def target_of(session: Session) -> Callable[[str], Target]:
    """What finds the cluster of another context, with the session's other options."""

    def find(name: str) -> Target:
        settings = replace(session.settings, context=name, bootstrap=None)
        return _told(lambda: target(replace(session, settings=settings)))

    return find


def _told(find: Callable[[], Target]) -> Target:
    from tui.doors import TargetProblem

    try:
        return find()
    except ShellError as error:
        hint = f" {error.hint}" if error.hint else ""
        raise TargetProblem(f"{error}{hint}") from None
