"""Errors of the clusters package, worded for the reader: what failed, where, why, what to do.

Must never carry secrets or a traceback in its text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from broker.protocol.errors import LogctlError


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing wrong in a file; `line` counts from 1, 0 means the file as a whole."""

    file: str
    line: int
    message: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        return f"{where}: {self.message}"


class SpecError(LogctlError):
    """A cluster file that cannot be used; `problems` lists everything wrong, in file order."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda problem: problem.line))
        super().__init__("\n".join(str(problem) for problem in self.problems))


class HostError(LogctlError):
    """A machine could not do what was asked of it: names the machine, the thing and the reason."""


class OperationError(LogctlError):
    """A cluster operation failed; nothing that it started is left running."""


class CheckFailed(OperationError):
    """One or more checks before a change failed; nothing was changed."""

    def __init__(self, failures: Sequence[str]) -> None:
        self.failures = tuple(failures)
        super().__init__("\n".join(self.failures))


class StateError(LogctlError):
    """A file of logctl's own state or configuration is unreadable or contradicts itself."""


class GateClosed(OperationError):
    """A broker was not stopped, because that would have interrupted partitions or the quorum."""


class Interrupted(OperationError):
    """A person interrupted a roll; what was begun is finished, what is left is named."""


class Locked(OperationError):
    """Somebody else is changing the cluster; the text says who and since when."""
