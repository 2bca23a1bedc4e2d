"""Runs lines of the interactive shell: sequences, pipes into programs, files, aliases, the pager.

The text of a program is the user's own and goes to the system's shell as it was typed; nothing that
a cluster said is ever put into it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import BinaryIO

from shell import preferences
from shell.exits import ExitCode, UsageProblem
from shell.output import TABLE, Output
from shell.preferences import Preferences
from shell.registry import Registry
from shell.runner import Runner
from shell.script import Joint, Statement, expand, parse_line

_END_LIMIT_S = 2.0
# Commands that change what the shell itself goes by: its names, its context, its cluster.
_OF_INTEREST = frozenset({"alias", "context", "cluster"})
# Answers kept to be shown again when the cluster does not answer.
_ANSWERS_LIMIT = 50


@dataclass(slots=True)
class LineRunner:
    """Runs one line after the other. `interactive` pages long tables and shows old answers."""

    registry: Registry
    runner: Runner
    preferences: Preferences = field(default_factory=Preferences)
    interactive: bool = False
    interrupted: bool = False
    paging: bool = False
    changed: bool = False
    _answers: dict[tuple[str, ...], tuple[float, str]] = field(default_factory=dict)

    def aliases(self) -> Mapping[str, str]:
        """Return the aliases by name."""
        return self.preferences.aliases

    async def run(self, line: str, last_code: int = 0) -> int:
        """Run a line and return the code of the last statement that ran."""
        self.interrupted = self.changed = False
        try:
            statements = parse_line(line)
        except UsageProblem as problem:
            return self.runner.explain(problem)
        code = last_code
        for statement in statements:
            if statement.joint is Joint.AFTER_SUCCESS and code != 0:
                continue
            if statement.joint is Joint.AFTER_FAILURE and code == 0:
                continue
            code = await self._statement(statement)
            if self.interrupted:
                break
        return code

    async def _statement(self, statement: Statement) -> int:
        try:
            words = expand(statement.words, self.aliases(), self._is_known)
        except UsageProblem as problem:
            return self.runner.explain(problem)
        if words[:1] == ("logctl",):
            words = words[1:]
        if not words:
            if statement.program is None:
                return ExitCode.DONE
            return await self._program(statement.program, None)
        if statement.program is not None:
            return await self._program(statement.program, words)
        if statement.target is not None:
            return await self._file(statement.target, words, append=statement.append)
        return await self._terminal(words)

    def _is_known(self, word: str) -> bool:
        return word in self.registry.groups or word in self.registry.top_level()

    async def _terminal(self, words: tuple[str, ...]) -> int:
        output = self._output()
        if self.interactive and self.preferences.paging != "never":
            output.pager = self._page
        code = await self._command(words, output)
        if not self.interactive:
            return code
        if code in {ExitCode.DONE, ExitCode.UNHEALTHY, ExitCode.DIFFERENCES}:
            self._keep(words, output)
        elif code == ExitCode.FAILED and output.last_answer is None and not self.interrupted:
            self._show_old(words, output)
        return code

    async def _command(self, words: tuple[str, ...], output: Output) -> int:
        command = self.registry.find(words)
        self.changed = (
            self.changed or command is None or command.changes or command.words[0] in _OF_INTEREST
        )
        return await self.runner.run(words, output)

    def _output(self, stdout: BinaryIO | None = None) -> Output:
        base = self.runner.output
        if stdout is not None:
            return replace(base, stdout=stdout, color_out=False, width=None, pager=None)
        width = shutil.get_terminal_size().columns if base.width is not None else None
        return replace(base, width=width)

    def _page(self, text: str) -> bool:
        size = shutil.get_terminal_size()
        if text.count("\n") < size.lines or not self.preferences.pager:
            return False
        self.paging = True
        try:
            return preferences.page(self.preferences.pager, text.encode(errors="surrogateescape"))
        finally:
            self.paging = False

    def _keep(self, words: tuple[str, ...], output: Output) -> None:
        if output.last_answer is None or output.format != TABLE:
            return
        self._answers.pop(words, None)
        self._answers[words] = (time.monotonic(), output.last_answer)
        while len(self._answers) > _ANSWERS_LIMIT:
            del self._answers[next(iter(self._answers))]

    def _show_old(self, words: tuple[str, ...], output: Output) -> None:
        # During an incident what was true a moment ago is worth more than nothing.
        kept = self._answers.get(words)
        if kept is None:
            return
        age_s = round(time.monotonic() - kept[0])
        output.say(f"What was answered {age_s} s ago:", "warn")
        output.say(kept[1].rstrip("\n"))

    async def _file(self, path: str, words: tuple[str, ...], *, append: bool) -> int:
        try:
            self.runner.parse(words)  # a mistyped command must not empty a file
            file = open(path, "ab" if append else "wb")  # noqa: ASYNC230, SIM115
        except OSError as error:
            self.runner.output.error(f"{path} cannot be written: {error.strerror}.")
            return ExitCode.FAILED
        except Exception as error:  # noqa: BLE001 - help and wrong usage are told as always
            return self.runner.explain(error)
        with file:
            return await self._command(words, self._output(file))

    async def _program(self, text: str, words: tuple[str, ...] | None) -> int:
        if words is None:
            process = await asyncio.create_subprocess_shell(text)
            return await _ended(process)
        reading, writing = os.pipe()
        with os.fdopen(writing, "wb") as stream:
            try:
                process = await asyncio.create_subprocess_shell(text, stdin=reading)
            finally:
                os.close(reading)
            code: int = ExitCode.FAILED
            try:
                code = await self._command(words, self._output(stream))
            finally:
                # The program has read enough when it is gone; it waits for more until we close.
                with contextlib.suppress(BrokenPipeError):
                    stream.close()
                ended = await _ended(process)
        return code or ended


async def _ended(process: asyncio.subprocess.Process) -> int:
    """Wait for a program; on an interrupt see that it is gone, also when it does not care."""
    try:
        code = await process.wait()
    except asyncio.CancelledError:
        for stop in (process.terminate, process.kill):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_END_LIMIT_S):
                    await process.wait()
                break
            with contextlib.suppress(ProcessLookupError):
                stop()
        raise
    return code if code >= 0 else 128 - code
