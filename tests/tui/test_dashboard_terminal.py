"""The dashboard in a real terminal: nobody answers, and every way to leave gives the terminal back."""

import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

WAIT_S = 60.0
SIGNALS = {"terminate": signal.SIGTERM, "quit signal": signal.SIGQUIT}
ALTERNATE_OFF = b"\x1b[?1049l"
# What is asked of the terminal while the dashboard is up: the other screen, no cursor, the mouse
# in all its ways, the focus, and pastes told as such.
MODES = {1049: "l", 25: "h"} | dict.fromkeys((1000, 1002, 1003, 1015, 1006, 1004, 2004), "l")
RUN = "import sys; from shell.main import main; sys.exit(main(sys.argv[1:]))"
# Where a fault may sit: behind a key, the clock, what is drawn, and the cluster's news.
FAULTS = {
    "key": "DashboardApp.action_help = fail",
    "clock": "DashboardApp._tick = fail",
    "drawing": "LiveTable.render_line = fail",
    "feed": "DashboardApp._follow_feed = later",
}
FAULTY = """
import asyncio
from tui.app import DashboardApp, LiveTable

def fail(*_):
    raise ZeroDivisionError("a broken part")

async def later(_):
    await asyncio.sleep(0.5)
    fail()

"""


class Terminal:
    """A pseudo terminal with a process in it; what it wrote is kept."""

    def __init__(self, process: subprocess.Popen[bytes], master: int, slave: int) -> None:
        self.process, self.master, self.slave, self.output = process, master, slave, b""

    @property
    def settings(self) -> list[Any]:
        """What `stty -a` would tell."""
        return termios.tcgetattr(self.slave)

    @property
    def modes(self) -> dict[int, str]:
        """The private modes that were ever set or reset, and how each was left."""
        left: dict[int, str] = {}
        for numbers, way in re.findall(rb"\x1b\[\?([0-9;]+)([hl])", self.output):
            left |= dict.fromkeys(map(int, numbers.split(b";")), way.decode())
        return left

    def assert_given_back(self, settings_before: list[Any]) -> None:
        """The terminal is as it was: its settings, its screen, its cursor, its mouse."""
        assert self.settings == settings_before
        left = self.modes
        assert {mode: way for mode, way in left.items() if mode in MODES} == {
            mode: way for mode, way in MODES.items() if mode in left
        }
        assert {1049, 25, 1000, 1003} <= set(left)

    @property
    def words(self) -> str:
        """What was written, without the codes for colours and places."""
        return self.words_of(self.output)

    @staticmethod
    def words_of(output: bytes) -> str:
        return re.sub(r"\x1b\[[0-9;:?<>]*[a-zA-Z]", "", output.decode("utf-8", "replace"))

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

    def read_to_end(self) -> int:
        """Read until the process is gone, and return its exit code."""
        # Read on: a terminal that nobody reads keeps whoever writes to it.
        self.read_until(lambda: self.process.poll() is not None, "the end of the process")
        while select.select([self.master], [], [], 0)[0]:
            self.output += os.read(self.master, 65_536)
        return self.process.wait()

    def send(self, keys: bytes) -> None:
        os.write(self.master, keys)


@contextmanager
def dashboard(folder: Path, environ: dict[str, str], *, fault: str = "") -> Iterator[Terminal]:
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", fault + RUN, "--bootstrap", "127.0.0.1:1", "dash"],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        cwd=Path(__file__).parent.parent.parent,
        env=os.environ
        | {f"XDG_{name}_HOME": str(folder / name) for name in ("CONFIG", "DATA", "STATE")}
        | {"TERM": "xterm-256color", "COLUMNS": "100", "LINES": "30"}
        | environ,
    )
    terminal = Terminal(process, master, slave)
    try:
        yield terminal
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(10)
        os.close(terminal.master)
        os.close(terminal.slave)


def test_a_terminal_that_is_closed_leaves_no_process_behind(tmp_path: Path) -> None:
    with dashboard(tmp_path, {}) as terminal:
        terminal.read_until(lambda: "LOST" in terminal.words, "that nobody answers")
        # Nobody reads any more: what is written next fills the terminal and then blocks.
        terminal.process.send_signal(signal.SIGHUP)
        os.close(terminal.master)
        terminal.master = os.open(os.devnull, os.O_RDWR)
        assert terminal.process.wait(WAIT_S) is not None


@pytest.mark.parametrize("way", ["q", "ctrl-c", "command", *SIGNALS])
def test_every_way_to_leave_gives_the_terminal_back(tmp_path: Path, way: str) -> None:
    with dashboard(tmp_path, {}) as terminal:
        before = terminal.settings
        terminal.read_until(lambda: "LOST" in terminal.words, "that nobody answers")
        assert "127.0.0.1:1" in terminal.words
        assert terminal.settings != before, "keys are read one by one meanwhile"
        if way in SIGNALS:
            terminal.process.send_signal(SIGNALS[way])
        else:
            if way == "command":
                terminal.send(b"?")
                terminal.read_until(lambda: "Keys of this page" in terminal.words, "the help")
                # In one piece, as from a slow line: two keys, none with Alt.
                terminal.send(b"\x1b:")
                terminal.read_until(lambda: "topic NAME" in terminal.words, "the line for words")
            terminal.send({"q": b"q", "ctrl-c": b"\x03", "command": b"quit\r"}[way])
        code = terminal.read_to_end()
        assert code == 0
        terminal.assert_given_back(before)
        assert "Traceback" not in terminal.words


def test_ctrl_z_gives_the_terminal_back_and_fg_draws_all_of_it_again(tmp_path: Path) -> None:
    with dashboard(tmp_path, {}) as terminal:
        before = terminal.settings
        terminal.read_until(lambda: "LOST" in terminal.words, "that nobody answers")
        terminal.send(b"3")
        terminal.read_until(lambda: "Topics (0)" in terminal.words, "the page of topics")
        terminal.send(b"\x1a")
        told = os.WSTOPPED | os.WNOHANG | os.WNOWAIT
        stopped = lambda: os.waitid(os.P_PID, terminal.process.pid, told)  # noqa: E731
        terminal.read_until(lambda: stopped() is not None, "that the process stops")
        terminal.assert_given_back(before)
        begun = len(terminal.output)
        terminal.process.send_signal(signal.SIGCONT)
        # Lines that did not change meanwhile, too.
        lines = ("LOST", "1 Overview", "Topics (0)", "parts", "Quit", "Filter")
        terminal.read_until(
            lambda: all(each in terminal.words_of(terminal.output[begun:]) for each in lines),
            "all of the screen again",
        )
        terminal.send(b"q")
        assert terminal.read_to_end() == 0
        terminal.assert_given_back(before)


@pytest.mark.parametrize("kind", ["dumb", "unknown"])
def test_a_terminal_that_cannot_be_drawn_on_is_told(tmp_path: Path, kind: str) -> None:
    with dashboard(tmp_path, {"TERM": kind}) as terminal:
        assert terminal.read_to_end() == 1
        assert "TERM says this one cannot" in terminal.words
        assert "xterm-256color" in terminal.words
        assert ALTERNATE_OFF not in terminal.output


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_the_dashboard_gives_the_terminal_back(tmp_path: Path, fault: str) -> None:
    with dashboard(tmp_path, {}, fault=f"{FAULTY}{FAULTS[fault]}\n") as terminal:
        before = terminal.settings
        if fault == "key":
            terminal.read_until(lambda: "LOST" in terminal.words, "that nobody answers")
            terminal.send(b"?")
        code = terminal.read_to_end()
        assert code == 1
        terminal.assert_given_back(before)
        # What is told stands on the normal screen, where the person is now.
        told = terminal.words_of(terminal.output.rpartition(ALTERNATE_OFF)[2])
        assert "Internal error: ZeroDivisionError: a broken part" in told
        assert "Traceback" not in terminal.words
        named = re.search(r"The traceback is in (\S+);\s+--debug shows it here", told)
        assert named, told
        journal = Path(named[1])
        assert journal.is_relative_to(tmp_path)
        assert "in fail\n" in journal.read_text()


def test_without_colour_the_words_are_the_same(tmp_path: Path) -> None:
    with dashboard(tmp_path, {"NO_COLOR": "1"}) as terminal:
        terminal.read_until(lambda: "LOST" in terminal.words, "that nobody answers")
        coloured = re.findall(rb"\x1b\[[0-9;]*38;2;(\d+);(\d+);(\d+)", terminal.output)
        assert all(red == green == blue for red, green, blue in coloured)
        terminal.send(b"q")
        assert terminal.read_to_end() == 0
