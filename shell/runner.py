"""Runs an invocation: the one gate for changes, and the one place where errors become words.

The command line, the interactive shell and scripts all end here. No error leaves as a traceback:
what is expected is told in one line with what to do, the rest goes to the log file.
"""

from __future__ import annotations

import asyncio
import errno
import inspect
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from shell.cli import HelpWanted, Invocation, parse
from shell.exits import ExitCode, Failed, Refused, ShellError, UsageProblem
from shell.output import FORMATS
from shell.registry import Command
from shell.session import Doors, Session
from shell.settings import resolve

if TYPE_CHECKING:
    import click

    from shell.output import Output

LOG = logging.getLogger("logctl")
# What writing to stdout fails with: neither has the name of a file.
_WRITE_ERRNOS = {errno.EBADF, errno.EDQUOT, errno.EIO, errno.ENOSPC}


@dataclass(slots=True)
class Runner:
    """Parses and executes command lines with one writer and one set of doors."""

    tree: click.Group
    output: Output
    doors: Doors
    # Global options that hold unless a line gives its own: those the shell was started with.
    base: Mapping[str, Any] = field(default_factory=dict)

    def parse(self, words: Sequence[str]) -> Invocation:
        """Return the invocation of a command line; raises UsageProblem or HelpWanted."""
        return parse(self.tree, words)

    def session(self, invocation: Invocation, *, interactive_shell: bool = False) -> Session:
        """Return the surroundings in which an invocation runs."""
        settings = resolve({**self.base, **invocation.given}, self.doors.environ)
        command = invocation.command
        extra = command.extra_formats if command is not None else ()
        if settings.format not in (*FORMATS, *extra):
            raise UsageProblem(
                f"The format {settings.format} is for commands that print records, such as tail."
            )
        output = self.output
        output.format, output.columns, output.sort = (
            settings.format,
            settings.columns,
            settings.sort,
        )
        output.carries_on = (
            command is not None and command.changes and not command.is_trial(invocation.values)
        )
        if not settings.color:
            output.color_out = output.color_err = False
        return Session(settings, output, self.doors, interactive_shell)

    def run_blocking(self, invocation: Invocation) -> ExitCode:
        """Run one command to its end, on a loop of its own when it needs one; return its code."""
        command = invocation.command
        assert command is not None
        try:
            session = self.session(invocation)
            check(invocation, session)
            result = command.run(session, **invocation.values)
            if inspect.isawaitable(result):
                result = asyncio.run(_awaited(result))
            return result or ExitCode.DONE
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - told by explain
            return self.explain(error, command)

    async def run(self, words: Sequence[str], output: Output | None = None) -> ExitCode:
        """Run one command line on the running loop; cancelling it cancels the command alone.

        `output` takes its words instead of the runner's own writer.
        """
        if output is not None:
            return await replace(self, output=output).run(words)
        command: Command | None = None
        try:
            invocation = self.parse(words)
            command = invocation.command
            if command is None:
                raise UsageProblem("A command is missing; this already is the interactive shell.")
            session = self.session(invocation, interactive_shell=True)
            check(invocation, session)
            result = command.run(session, **invocation.values)
            if inspect.isawaitable(result):
                result = await result
            return result or ExitCode.DONE
        except (Exception, KeyboardInterrupt, asyncio.CancelledError) as error:  # noqa: BLE001
            return self.explain(error, command)

    def explain(self, error: BaseException, command: Command | None = None) -> ExitCode:
        """Tell an error in words and return the exit code that it means."""
        output = self.output
        output.end_progress()
        if isinstance(error, HelpWanted):
            output.text(error.text)
            return ExitCode.DONE
        if isinstance(error, ShellError):
            output.error(error.message, error.hint)
            return error.code
        if isinstance(error, BrokenPipeError):
            return _close_stdout(output)
        if isinstance(error, KeyboardInterrupt) or _is_cancelled(error):
            if command is not None and command.endless:
                return ExitCode.DONE
            output.say("Cancelled.", "dim")
            return ExitCode.FAILED
        if _is_expected(error):
            output.error(_words(error))
            return ExitCode.REFUSED if _is_wrong_cluster(error) else ExitCode.FAILED
        return _internal(error, output)


def check(invocation: Invocation, session: Session) -> None:
    """Refuse what a read-only session must not do, and ask before something is destroyed.

    Raises Refused.
    """
    command = invocation.command
    assert command is not None
    if command.is_trial(invocation.values):
        return
    if command.changes and session.read_only():
        raise Refused(
            f"'{command.name}' changes the cluster and this session is read-only.",
            hint="Leave out --read-only (or LOGCTL_READ_ONLY, or the context's read_only).",
        )
    if not command.destructive or command.question is None:
        return
    question = command.question(session, **invocation.values)
    if session.settings.yes and question.typed is None:
        return
    if question.typed is not None and question.typed == invocation.values.get("confirm_name"):
        return
    _ask(session, question.text, question.typed)


def _ask(session: Session, text: str, typed: str | None) -> None:
    how = f"--confirm-name {typed}" if typed is not None else "--yes"
    if session.settings.yes:
        raise Refused(f"Not confirmed. {text}", hint=f"Add {how} to confirm.")
    wanted = f"Type {typed} to confirm: " if typed is not None else "Type yes to confirm: "
    answer = session.doors.ask(f"{text}\n{wanted}")
    if answer is None:
        raise Refused(f"Not confirmed, and nobody to ask. {text}", hint=f"Add {how} to confirm.")
    accepted = {typed} if typed is not None else {"y", "yes"}
    if (answer.strip() if typed else answer.strip().lower()) not in accepted:
        raise Refused("Not confirmed; nothing was changed.")


async def _awaited(result: Any) -> ExitCode | None:
    code: ExitCode | None = await result
    return code


def _is_cancelled(error: BaseException) -> bool:
    return isinstance(error, asyncio.CancelledError)


def _is_expected(error: BaseException) -> bool:
    """Return whether the error was written for the reader: ours, or the system's about a file."""
    errors = sys.modules.get("broker.protocol.errors")
    if errors is not None and isinstance(error, errors.LogctlError):
        return True
    return isinstance(error, (Failed, OSError))


def _words(error: BaseException) -> str:
    """An error in words; of the system's without its number."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        name = error.filename
        shown = os.fsdecode(name) if isinstance(name, (str, bytes)) else str(name)
        return f"{shown}: {error.strerror}"
    if type(error) is OSError and error.errno in _WRITE_ERRNOS:
        return f"What was asked for could not be written: {error.strerror}."
    return str(error)


def _is_wrong_cluster(error: BaseException) -> bool:
    """Return whether the error is that another cluster answers than the context's."""
    errors = sys.modules.get("clusters.admin.errors")
    return errors is not None and isinstance(error, errors.WrongCluster)


def _close_stdout(output: Output) -> ExitCode:
    """End quietly: the program that read our output has read enough."""
    if output.stdout is not getattr(sys.stdout, "buffer", None):
        return ExitCode.DONE
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, sys.stdout.fileno())
    return ExitCode.DONE


def _internal(error: BaseException, output: Output) -> ExitCode:
    from shell.journal import is_debug, journal_path

    LOG.error("internal error", exc_info=error)
    summary = f"{type(error).__name__}: {error}".splitlines()[0]
    if is_debug():
        output.error(f"Internal error: {summary}")
    else:
        output.error(
            f"Internal error: {summary}",
            f"The traceback is in {journal_path()}; --debug shows it here.",
        )
    return ExitCode.FAILED
