"""The dashboard in a browser, for tests: what serves it, and a page whose screen can be read."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pyte

from tests.peers import left_out

ROOT = Path(__file__).resolve().parents[1]
WAIT_S = 60.0


def until(condition: Callable[[], object], what: Callable[[], str] | str, pump=None) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        told = what if isinstance(what, str) else what()
        assert time.monotonic() < deadline, f"not within {WAIT_S} s: {told}"
        pump(50) if pump is not None else time.sleep(0.05)


@dataclass
class Served:
    """A `logctl dash --web` process."""

    process: subprocess.Popen[str]
    said: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        found = re.search(r"http://\S+/", "".join(self.said))
        return found[0] if found else ""

    def dashboards(self) -> list[psutil.Process]:
        with contextlib.suppress(psutil.Error):
            return psutil.Process(self.process.pid).children(recursive=True)
        return []


@contextlib.contextmanager
def serving(folder: Path | None, *words: str) -> Iterator[Served]:
    """Serve, with contexts and all that is kept in a folder; None: where the environment says."""
    kinds = ("CONFIG", "DATA", "STATE") if folder is not None else ()
    process = subprocess.Popen(
        [sys.executable, "-m", "shell.main", *words, "dash", "--web", "--port", "0"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=os.environ | {f"XDG_{name}_HOME": str(folder / name) for name in kinds},
    )
    served = Served(process)
    reader = threading.Thread(target=lambda: served.said.extend(process.stderr), daemon=True)
    reader.start()
    try:
        until(lambda: served.url or process.poll() is not None, "the address on stderr")
        assert process.poll() is None, served.said
        yield served
    finally:
        left = served.dashboards()
        process.kill()
        for each in left:
            with contextlib.suppress(psutil.Error):
                each.kill()
        process.wait(60)
        reader.join(60)


@contextlib.contextmanager
def chromium() -> Iterator[object]:
    """A browser; skips, or fails where peers are required, when there is none."""
    path = shutil.which("chromium")
    if path is None:
        left_out("chromium is not installed (apt install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        )
        try:
            yield started
        finally:
            started.close()


class Page:
    """A page of the browser; what its websocket brought is put on a screen that can be read."""

    def __init__(self, browser, url: str) -> None:
        self.received = b""
        self.everything = b""
        self.screen = pyte.Screen(80, 24)
        self.foreign: list[str] = []
        self.errors: list[str] = []
        self.sent: list[str] = []
        self.page = browser.new_context(viewport={"width": 1200, "height": 700}).new_page()
        self.page.on("websocket", self._opened)
        self.page.on("request", self._requested)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.origin = url
        self.page.goto(url)

    def _opened(self, websocket) -> None:
        websocket.on("framereceived", self._came)
        websocket.on("framesent", self._went)

    def _came(self, data) -> None:
        if isinstance(data, bytes):
            self.received += data
            self.everything += data

    def _went(self, data) -> None:
        self.sent.append(data)

    def _requested(self, request) -> None:
        if not request.url.startswith((self.origin, "data:", self.origin.replace("http", "ws"))):
            self.foreign.append(request.url)

    def size(self) -> tuple[int, int]:
        sizes = [json.loads(each) for each in self.sent if each.startswith('["resize"')]
        return (sizes[-1][1]["width"], sizes[-1][1]["height"]) if sizes else (80, 24)

    def lines(self) -> list[str]:
        if (self.screen.columns, self.screen.lines) != self.size():
            self.screen = pyte.Screen(*self.size())
        # Private modes with other leaders than `?` are not known to pyte.
        words = re.sub(rb"\x1b\[[<>=][0-9;]*[a-z]|\x1b\[\?[0-9]+\$p", b"", self.received)
        self.received = b""
        pyte.ByteStream(self.screen).feed(words)
        return self.screen.display

    def text(self) -> str:
        return "\n".join(self.lines())

    def until_shown(self, *words: str) -> None:
        until(
            lambda: all(word in self.text() for word in words),
            lambda: f"{words}\n{self.text()}\n{self.errors}",
            self.page.wait_for_timeout,
        )

    def click(self, words: str) -> None:
        """Click in the middle of words, wherever they are drawn."""
        lines = self.lines()
        row = next(row for row, line in enumerate(lines) if words in line)
        column = lines[row].index(words) + len(words) // 2
        box = self.page.locator(".xterm-screen").bounding_box()
        columns, rows = self.size()
        self.page.mouse.click(
            box["x"] + (column + 0.5) * box["width"] / columns,
            box["y"] + (row + 0.5) * box["height"] / rows,
        )

    def pasted(self, end: str) -> str:
        """Paste into a page that knows nothing of the dashboard, until what was copied is there."""
        other = self.page.context.new_page()
        other.set_content("<textarea></textarea>")
        field = other.locator("textarea")

        def came() -> bool:
            field.focus()
            other.keyboard.press("Control+a")
            other.keyboard.press("Control+v")
            return field.input_value().endswith(end)

        until(came, lambda: f"{end} pasted, not {field.input_value()}", other.wait_for_timeout)
        value = field.input_value()
        other.close()
        self.page.bring_to_front()
        return value

    def picture(self) -> bytes:
        return self.page.screenshot(path=os.environ.get("LOGCTL_TEST_PICTURE"))
