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
from pathlib import Path

END_S = 5
LINE_BYTES_MAX = 32 * 1024 * 1024
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


OnLine = Callable[[str], Awaitable[None] | None]


class ProcessCommander:
    """Commands on one cluster: the context of that name, or brokers by address."""

    def __init__(self, context: str, bootstrap: Sequence[str], *, deploys: bool) -> None:
        where = ["--context", context] if context else ["--bootstrap", ",".join(bootstrap)]
        self._where = where
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

        The next line is read once what `on_line` returned is done.

        Cancelled, the command is interrupted as by Ctrl-C, and killed if it does not end.
        """
        environ = {**os.environ, "NO_COLOR": "1", "COLUMNS": "100", "PYTHONUNBUFFERED": "1"}
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
        assert process.stdout is not None
        try:
            while line := await process.stdout.readline():
                told = on_line(CONTROL.sub("", line.decode(errors="replace")).rstrip("\r\n"))
                if told is not None:
                    await told
            return await process.wait()
        except ValueError:
            on_line("(a line too long to be shown)")
            return await process.wait()
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.send_signal(signal.SIGINT)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(process.wait(), END_S)
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()


def commander_of(context: str, bootstrap: Sequence[str]) -> ProcessCommander:
    """A commander for the cluster that the dashboard shows."""
    from clusters import state
    from clusters.errors import StateError

    deploys = False
    if context:
        try:
            saved = state.contexts().get(context)
        except StateError:
            saved = None
        deploys = bool(saved is not None and saved.spec_path and Path(saved.spec_path).exists())
        if saved is None:
            context = ""
    return ProcessCommander(context, bootstrap, deploys=deploys)
