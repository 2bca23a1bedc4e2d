"""The commands of actions that dashboards ran on this machine: what, where, when, how it ended.

Kept in a file, so that it can be told afterwards what was done. Must never hold a secret or what
somebody produced, never fail an action, and never grow without bound.
"""

import contextlib
import fcntl
import json
import os
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from clusters.watch.differences import SENSITIVE

HIDDEN = "(hidden)"
# Of two such files the older goes.
FILE_BYTES_MAX = 256 * 1024
COMMAND_MAX = 4_000
SAID_MAX = 600
# As a shell tells it.
INTERRUPTED = 130
# What they take is of a record, and stands in no log.
RECORD_OPTIONS = ("--key", "--header")


@dataclass(frozen=True, slots=True)
class Done:
    """A command that was begun at `at_ms` (since 1970); `code` is None while no end is known.

    `took_ms` is how long it ran, `said` its last lines; `is_here` tells one of this dashboard.
    """

    id: str
    at_ms: int
    context: str
    command: str
    code: int | None = None
    took_ms: int | None = None
    said: str = ""
    is_here: bool = False

    @property
    def ended(self) -> str:
        """How it ended, in words."""
        if self.code is None:
            return "under way" if self.is_here else "end not known"
        known = {0: "done", 4: "refused", INTERRUPTED: "interrupted"}
        return known.get(self.code, f"failed ({self.code})")

    def to_json(self) -> dict[str, Any]:
        """Plain data, for files and the clipboard."""
        return {**asdict(self), "ended": self.ended}


def kept_words(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """The words of a command that may be kept, and what was hidden of them."""
    kept, hidden = list(words), []
    for number, word in enumerate(words):
        name, is_pair, value = word.partition("=")
        before = words[number - 1] if number else ""
        is_record = words[0] == "produce" and (
            number == len(words) - 1 or (before in RECORD_OPTIONS and "--" not in words[:number])
        )
        if is_record and not (before == "--header" and is_pair):
            kept[number] = HIDDEN
            hidden.append(word)
        elif is_pair and (
            is_record or name in RECORD_OPTIONS or any(part in name.lower() for part in SENSITIVE)
        ):
            kept[number] = f"{name}={HIDDEN}"
            hidden.append(value)
    return kept, [each for each in hidden if each]


class DoneLog:
    """The file at `path`, whoever writes it, and what this dashboard has run.

    `problem` says why nothing can be kept; then this dashboard alone knows what it did.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.problem = ""
        self._mine: dict[str, Done] = {}
        self._hidden: dict[str, list[str]] = {}
        self._stamp: Any = None
        self._found: list[Done] = []

    def begin(self, context: str, command: str, hidden: Sequence[str], at_ms: int) -> str:
        """Note that a command is begun; returns what `end` takes. `hidden` stays out of it all."""
        done = Done(secrets.token_hex(6), at_ms, context, command[:COMMAND_MAX], is_here=True)
        self._mine[done.id], self._hidden[done.id] = done, list(hidden)
        self._stamp = None
        self._write(
            {"id": done.id, "at_ms": at_ms, "context": context, "command": done.command},
        )
        return done.id

    def end(self, id_: str, code: int, took_ms: int, said: str) -> None:
        """Note how a command ended."""
        for each in sorted(self._hidden.pop(id_), key=len, reverse=True):
            said = said.replace(each, HIDDEN)
        said = said.strip()[:SAID_MAX]
        self._mine[id_] = replace(self._mine[id_], code=code, took_ms=took_ms, said=said)
        self._stamp = None
        self._write({"id": id_, "code": code, "took_ms": took_ms, "said": said})

    def entries(self) -> list[Done]:
        """All of them, the newest first; the same list again while nothing is new."""
        stamp = [*map(_stamp, self._paths())]
        if stamp != self._stamp:
            found = self._read() | self._mine
            self._stamp = stamp
            self._found = sorted(found.values(), key=lambda each: each.at_ms, reverse=True)
        return self._found

    def _paths(self) -> tuple[str, str]:
        return f"{self.path}.1", self.path

    def _read(self) -> dict[str, Done]:
        found: dict[str, Done] = {}
        for line in self._lines():
            # What is damaged is left out.
            with contextlib.suppress(ValueError, TypeError, KeyError, AttributeError):
                told = json.loads(line)
                if "command" in told:
                    context, command = str(told["context"]), str(told["command"])
                    found[told["id"]] = Done(told["id"], int(told["at_ms"]), context, command)
                elif told["id"] in found:
                    code, took_ms, said = told["code"], told["took_ms"], str(told["said"])
                    begun = found[told["id"]]
                    found[begun.id] = replace(
                        begun, code=int(code), took_ms=int(took_ms), said=said
                    )
        return found

    def _lines(self) -> Iterator[bytes]:
        for path in self._paths():
            with contextlib.suppress(OSError), open(path, "rb") as file:
                yield from file.read(2 * FILE_BYTES_MAX).splitlines()

    def _write(self, told: dict[str, Any]) -> None:
        try:
            os.makedirs(os.path.dirname(self.path), mode=0o700, exist_ok=True)
            with self._locked() as descriptor:
                os.write(descriptor, (json.dumps(told) + "\n").encode())
        except OSError as error:
            self.problem = f"{self.path} could not be written: {error.strerror or error}"
        else:
            self.problem = ""

    @contextlib.contextmanager
    def _locked(self) -> Iterator[int]:
        """The file to be added to, alone; one that is full is put aside first."""
        while True:
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                status = os.fstat(descriptor)
                if _stamp(self.path)[2] != status.st_ino:
                    continue  # another dashboard has just put it aside
                if status.st_size < FILE_BYTES_MAX:
                    yield descriptor
                    return
                os.replace(self.path, f"{self.path}.1")
            finally:
                os.close(descriptor)


def _stamp(path: str) -> tuple[int, int, int]:
    try:
        status = os.stat(path)
    except OSError:
        return (0, 0, 0)
    return (status.st_mtime_ns, status.st_size, status.st_ino)


def done_log() -> DoneLog:
    """The log of this person on this machine."""
    from clusters import state  # not before it is needed

    return DoneLog(os.path.join(state.state_home(), "dashboard-commands.jsonl"))
