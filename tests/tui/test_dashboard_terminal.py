"""The dashboard in a real terminal: nobody answers, and every way to leave gives the terminal back."""

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

WAIT_S = 30.0
ALTERNATE_OFF, CURSOR_ON, MOUSE_OFF = b"\x1b[?1049l", b"\x1b[?25h", b"\x1b[?1000l"


class Terminal:
    """A pseudo terminal with a process in it; what it wrote is kept."""

    def __init__(self, process: subprocess.Popen[bytes], master: int) -> None:
        self.process, self.master, self.output = process, master, b""

    @property
    def words(self) -> str:
        """What was written, without the codes for colours and places."""
        return re.sub(r"\x1b\[[0-9;:?<>]*[a-zA-Z]", "", self.output.decode("utf-8", "replace"))

    def read_until(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + WAIT_S
        while not condition():
            left = deadline - time.monotonic()
            assert left > 0, f"not within {WAIT_S} s: {what}\n{self.words[-2000:]}"
            ready, _, _ = select.select([self.master], [], [], min(left, 0.2))
            if ready:
                try:
                    self.output += os.read(self.master, 65_536)
                except OSError:  # the other end is closed
                    assert condition(), what
                    return

    def send(self, keys: bytes) -> None:
        os.write(self.master, keys)


@contextmanager
def dashboard(folder: Path, environ: dict[str, str]) -> Iterator[Terminal]:
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "shell.main", "--bootstrap", "127.0.0.1:1", "dash"],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        cwd=Path(__file__).parent.parent.parent,
        env=os.environ
        | {f"XDG_{name}_HOME": str(folder / name) for name in ("CONFIG", "DATA", "STATE")}
        | {"TERM": "xterm-256color", "COLUMNS": "100", "LINES": "30"}
        | environ,
    )
    os.close(slave)
    terminal = Terminal(process, master)
    try:
        yield terminal
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(10)
        os.close(terminal.master)


def test_a_terminal_that_is_closed_leaves_no_process_behind(tmp_path: Path) -> None:
    with dashboard(tmp_path, {}) as terminal:
        terminal.read_until(lambda: "LOST" in terminal.words, "that nobody answers")
        # Nobody reads any more: what is written next fills the terminal and then blocks.
        terminal.process.send_signal(signal.SIGHUP)
        os.close(terminal.master)
        terminal.master = os.open(os.devnull, os.O_RDWR)
        assert terminal.process.wait(WAIT_S) is not None


@pytest.mark.parametrize("way", ["q", "ctrl-c", "command", "terminate"])
def test_every_way_to_leave_gives_the_terminal_back(tmp_path: Path, way: str) -> None:
    with dashboard(tmp_path, {}) as terminal:
        terminal.read_until(lambda: "LOST" in terminal.words, "that nobody answers")
        assert "127.0.0.1:1" in terminal.words
        if way == "terminate":
            terminal.process.send_signal(signal.SIGTERM)
        else:
            if way == "command":
                terminal.send(b":")
                terminal.read_until(lambda: "topic NAME" in terminal.words, "the line for words")
            terminal.send({"q": b"q", "ctrl-c": b"\x03", "command": b"quit\r"}[way])
        terminal.read_until(lambda: ALTERNATE_OFF in terminal.output, "the normal screen again")
        terminal.read_until(lambda: CURSOR_ON in terminal.output, "the cursor again")
        assert MOUSE_OFF in terminal.output
        code = terminal.process.wait(10)
        assert code in ((0,) if way != "terminate" else (0, 143, -signal.SIGTERM))
        assert "Traceback" not in terminal.words


def test_without_colour_the_words_are_the_same(tmp_path: Path) -> None:
    with dashboard(tmp_path, {"NO_COLOR": "1"}) as terminal:
        terminal.read_until(lambda: "LOST" in terminal.words, "that nobody answers")
        coloured = re.findall(rb"\x1b\[[0-9;]*38;2;(\d+);(\d+);(\d+)", terminal.output)
        assert all(red == green == blue for red, green, blue in coloured)
        terminal.send(b"q")
        # Read on: a terminal that nobody reads keeps whoever writes to it.
        terminal.read_until(lambda: ALTERNATE_OFF in terminal.output, "the normal screen again")
        assert terminal.process.wait(10) == 0
