"""`logctl` on a real pseudo-terminal, and the screen that a person would see."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Mapping

import pexpect
import pyte


class _Screen(pyte.HistoryScreen):
    """A screen that answers a program's questions for the cursor's place."""

    answer: Callable[[bytes], object] = staticmethod(lambda data: None)

    def write_process_input(self, data: str) -> None:
        self.answer(data.encode())


def _surroundings() -> dict[str, str]:
    # The window tells its size; what whoever runs the tests says of theirs would win over it.
    return {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "LINES"}}


class Terminal:
    """A process and its screen. `started_s` is when it was started, on the monotonic clock."""

    def __init__(
        self, *words: str, environment: Mapping[str, str], lines: int = 55, columns: int = 110
    ) -> None:
        self.screen = _Screen(columns, lines, history=2_000)
        self.stream = pyte.ByteStream(self.screen)
        self.started_s = time.monotonic()
        self.process = pexpect.spawn(
            sys.executable,
            ["-m", "shell.main", *words],
            env={**_surroundings(), "TERM": "xterm-256color", **environment},
            dimensions=(lines, columns),
            timeout=None,
        )
        self.process.delaybeforesend = None
        self.screen.answer = self.process.send

    def type(self, keys: str) -> None:
        """Press keys."""
        self.process.send(keys)

    def resize(self, lines: int, columns: int) -> None:
        """Change the window's size."""
        self.screen.resize(lines, columns)
        self.process.setwinsize(lines, columns)

    @property
    def text(self) -> str:
        """What is on the screen, without spaces at the ends of lines."""
        return "\n".join(line.rstrip() for line in self.screen.display)

    @property
    def everything(self) -> str:
        """What is on the screen and what has left it at the top."""
        above = [
            "".join(line[x].data for x in range(self.screen.columns)).rstrip()
            for line in self.screen.history.top
        ]
        return "\n".join([*above, self.text])

    def until(self, wanted: str, seconds: float = 60, *, gone: bool = False) -> re.Match[str]:
        """Wait until a pattern is on the screen (or gone); fail with the screen when it is not."""
        deadline = time.monotonic() + seconds
        while True:
            found = re.search(wanted, self.text, re.MULTILINE)
            if gone and found is None:
                return re.search("", "")
            if found is not None and not gone:
                return found
            if time.monotonic() > deadline or not self._read():
                state = "still" if gone else "not"
                raise AssertionError(f"{wanted!r} is {state} on the screen:\n{self.text}")

    def _read(self) -> bool:
        try:
            self.stream.feed(self.process.read_nonblocking(65536, timeout=0.05))
        except pexpect.TIMEOUT:
            return True
        except pexpect.EOF:
            return False
        return True

    def leave(self) -> int:
        """Press Ctrl-D, once, and return the exit code."""
        self.type("\x04")
        return self.ended()

    def ended(self, seconds: float = 60) -> int:
        """Wait for the end of the process and return the exit code."""
        deadline = time.monotonic() + seconds
        while self._read():
            assert time.monotonic() < deadline, f"it does not end:\n{self.text}"
        self.process.wait()
        return int(self.process.exitstatus)

    def close(self) -> None:
        """End the process, whatever it does."""
        self.process.close(force=True)
