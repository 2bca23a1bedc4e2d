"""Exit codes and the errors that carry them.

Must never import click, rich or anything of a cluster: every module of the shell needs it, also the
fast paths.
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What a script learns from the end of a command."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    DIFFERENCES = 3
    REFUSED = 4
    UNHEALTHY = 10


class ShellError(Exception):
    """A command that ends early for a reason the reader can act on.

    `message` is one sentence of what failed and why; `hint`, when there is one, what to do.
    """

    code = ExitCode.FAILED

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageProblem(ShellError):
    """The words of the command line do not fit the command."""

    code = ExitCode.USAGE


class Refused(ShellError):
    """The command was understood and deliberately not done: read-only, or not confirmed."""

    code = ExitCode.REFUSED


class Failed(ShellError):
    """The command was tried and did not work."""
