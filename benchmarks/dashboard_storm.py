"""A large cluster in memory under a storm of events, and a stopwatch for the dashboard that shows it.

Shared by the benchmarks of the dashboard. Times are taken twice: as a person would with a watch, and in processor
time of this process, which other work on the machine does not stretch.
"""

import asyncio
import contextlib
import fcntl
import json
import os
import pty
import random
import struct
import subprocess
import sys
import termios
import time
from asyncio import events as loop_events
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from benchmarks.dashboard_redraw import load_fake
from clusters.admin import GroupSummary
from clusters.polls import PollKind

PARTITIONS, TOPICS = 10_000, 100
EVENTS_PER_S = 1_000
# After a pause of the machine no more than this is caught up with at once.
AT_ONCE_MAX = 200
SLICE_S = 0.02
# How often is looked whether what is waited for has gone.
CLOSED_S = 0.05
CHARACTERS = {
    "slash": "/",
    "question_mark": "?",
    "space": " ",
    "colon": ":",
    "equals_sign": "=",
}
# Every page, with what one does there; each line is one visit.
VISITS = (
    ("1", "j", "j", "k", "tab", "j", "shift+tab"),
    (
        "4",
        "j",
        "pagedown",
        "G",
        "k",
        "g",
        "p",
        "j",
        "p",
        "s",
        "S",
        "s",
        "s",
        "s",
        "s",
        "s",
        "s",
        "s",
    ),
    ("6", "G", "k", "pageup", "g", "l", "j", "l", "G"),
    ("3", "j", "G", "g", "enter", "j", "pagedown", "escape"),
    ("2", "j", "enter", "j", "G", "escape"),
    ("5", "j", "enter", "j", "escape"),
    ("7", "j"),
    ("3", "j", "v", "j", "space", "j", "k", "space", "G", "escape"),
    ("4", "question_mark", "escape", "T"),
    ("1", "slash", "t", "0", "0", "enter", "j", "escape", "escape"),
)


class Teller:
    """Stands for the reader of records: tells them as `logctl tail --format json` would.

    All else that is run says one line and ends.
    """

    deploys = False

    def __init__(self, per_s: int = 200) -> None:
        self.per_s = per_s

    def shown(self, words: Sequence[str]) -> str:
        return " ".join(words)

    async def run(self, words: Sequence[str], on_line: Any) -> int:
        offset = 0
        if words[0] != "tail":
            on_line("would be done")
            return 0
        while True:
            for _ in range(self.per_s // 20):
                record = {
                    "topic": words[1],
                    "partition": 0,
                    "offset": offset,
                    "key": f"k{offset}",
                    "value": "v" * 80,
                }
                told = on_line(json.dumps(record))
                offset += 1
                if told is not None:
                    await told
            await asyncio.sleep(0.05)


class Storm:
    """`cluster` has 10,000 partitions in 100 topics; `blow` changes them a thousand times a second."""

    def __init__(self, partitions: int = PARTITIONS, topics: int = TOPICS) -> None:
        self.cluster = load_fake().FakeCluster()
        self.topics = [f"t{number:03}" for number in range(topics)]
        self.each = partitions // topics
        for name in self.topics:
            self.cluster.create_topic(name, self.each)
        self.sent = 0
        self._ends = 0

    def kinds(self) -> dict[str, PollKind]:
        """What a real cluster of this size would answer, as often as it is asked of one."""
        keys = [(name, index) for name in self.topics for index in range(self.each)]

        async def ends(topic: str) -> dict[tuple[str, int], int]:
            self._ends += 1_000
            return {key: self._ends for key in keys if not topic or key[0] == topic}

        async def ranges(topic: str) -> dict[tuple[str, int], tuple[int, int]]:
            return {key: (0, end) for key, end in (await ends(topic)).items()}

        async def groups(_: str) -> list[GroupSummary]:
            return [
                GroupSummary(
                    group=f"g{number}",
                    state="Stable",
                    protocol_type="consumer",
                    group_type="",
                    coordinator=1,
                )
                for number in range(50)
            ]

        async def lag(group: str) -> list[Any]:
            return [
                SimpleNamespace(
                    topic=topic,
                    partition=index,
                    committed=5,
                    end=9,
                    lag=random.randrange(9),
                    member="",
                )
                for topic, index in keys[:100]
            ]

        async def lags(_: str) -> dict[str, Any]:
            return {f"g{number}": await lag("") for number in range(50)}

        return self.cluster.kinds() | {
            "ends": PollKind(ends, 2_000),
            "ranges": PollKind(ranges, 2_000),
            "groups": PollKind(groups, 3_000),
            "lag": PollKind(lag, 2_000),
            "lags": PollKind(lags, 5_000),
        }

    def change(self) -> None:
        """One event: a leader goes to another replica and, the next time round, back again."""
        name = self.topics[self.sent % len(self.topics)]
        index = self.sent // len(self.topics) % self.each
        state = self.cluster.projector.image.partition(name, index)
        away = state.leader == state.replicas[0]
        self.cluster.change(name, index, leader=state.replicas[1 if away else 0])
        self.sent += 1

    async def blow(self, seconds: float) -> None:
        """A thousand events a second for so long."""
        last = time.perf_counter()
        stop, owed = last + seconds, 0.0
        while (now := time.perf_counter()) < stop:
            owed, last = min(AT_ONCE_MAX, owed + (now - last) * EVENTS_PER_S), now
            while owed >= 1:
                self.change()
                owed -= 1
            await self.cluster.tell()
            await asyncio.sleep(SLICE_S)


@dataclass
class Answers:
    """How long keys took, milliseconds: by a watch, and in processor time; with what the key was."""

    wall_ms: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)

    def worst(self, number: int = 5) -> str:
        """The keys that took most processor time."""
        found = sorted(zip(self.cpu_ms, self.keys, strict=True), reverse=True)[:number]
        return ", ".join(f"{key} {took:.0f}" for took, key in found)


def say(words: str) -> None:
    """Tell a result past the application, which keeps what is printed for itself."""
    print(words, file=sys.__stdout__, flush=True)


class Pressing:
    """Presses keys as a terminal would and waits until what each changed stands on the screen.

    A key is taken by the widget with the focus and goes up from there; what it changes is drawn later, with whatever
    else is to be drawn then. So: all of those have done with the key, then one drawing of all that they left to draw.
    """

    def __init__(self, app: Any) -> None:
        self._app = app
        self._drawn = asyncio.Event()
        self._drawn_s = self._drawn_cpu_s = 0.0
        # What a key left to be drawn, as far as it has not been drawn since.
        self._left: set[Any] = set()
        # When all was drawn after the application had done with a key and with what it set off:
        # what the cluster tells may be painted before we have passed all nodes on its way.
        self._begun = False
        self._calm: tuple[float, float] | None = None
        app.post_display_hook = self._note

    def _note(self) -> None:
        if self._left or (self._begun and self._calm is None):
            # The screen says only after this that all is drawn; soon, before more is to be drawn.
            drawn = time.perf_counter(), time.process_time()
            asyncio.get_running_loop().call_soon(self._take_drawn, *drawn)

    def _take_drawn(self, at_s: float, cpu_s: float) -> None:
        done = self._begun and self._calm is None and not self._app.ahead.awaits
        if done and not self._undrawn():
            self._calm = at_s, cpu_s
        if self._left:
            self._left &= self._undrawn()
            self._drawn_s, self._drawn_cpu_s = at_s, cpu_s
            if not self._left:
                self._drawn.set()

    async def press(self, key: str, into: Answers, *, screen: str = "") -> None:
        """Press a key; how long it took goes into `into`.

        `screen` names the screen that it leads to, where that is opened by a task of its own.
        """
        from textual.events import Key  # not before tui, which says how often it draws

        app = self._app
        where = self._where(key)
        self._begun, self._calm = False, None
        wall, cpu = time.perf_counter(), time.process_time()
        app.post_message(Key(key, CHARACTERS.get(key, key if len(key) == 1 else None)))
        await self._passed(app)
        self._begun = True
        # Behind the key in the queue of each that it goes through, and behind what was put off until then.
        for node in [*(app.focused or app.screen).ancestors_with_self, app]:
            await self._passed(node)
        until = time.perf_counter() + 10
        while screen and not (type(app.screen).__name__ == screen and app.screen.is_mounted):
            if time.perf_counter() > until:
                raise TimeoutError(f"{where} has led to {app.screen}, not to {screen}")
            await asyncio.sleep(0.001)
        while not app.page.is_mounted:
            await asyncio.sleep(0.001)
        await self._passed(app.screen if screen else app.page)
        self._drawn_s, self._drawn_cpu_s = time.perf_counter(), time.process_time()
        self._drawn.clear()
        self._left = self._undrawn()
        if self._left:
            try:
                async with asyncio.timeout(10):
                    await self._drawn.wait()
            except TimeoutError:
                raise TimeoutError(f"{where} has not drawn {self._left}") from None
        if self._calm is not None and not screen:
            self._drawn_s, self._drawn_cpu_s = self._calm
        into.wall_ms.append((self._drawn_s - wall) * 1000)
        into.cpu_ms.append((self._drawn_cpu_s - cpu) * 1000)
        into.keys.append(where)

    def _where(self, key: str) -> str:
        """A key with where it is pressed, or with where it leads."""
        app = self._app
        if len(app.screen_stack) > 1:
            return f"{type(app.screen).__name__}:{key}"
        if key.isdigit() and not app._bar.display:
            return f"page:{key}"
        return f"{app.place.kind}{'/' * app._bar.display}:{key}"

    async def _passed(self, node: Any) -> None:
        """All that was in the queue of a node is done with, or it closes, which leaves the rest of it."""
        done = asyncio.Event()
        if node.call_later(done.set):
            waiting = asyncio.ensure_future(done.wait())
            try:
                async with asyncio.timeout(60):
                    while not (waiting.done() or node._closing or node._closed):
                        await asyncio.wait({waiting}, timeout=CLOSED_S)
            finally:
                waiting.cancel()

    def _undrawn(self) -> set[Any]:
        """What is still to be drawn of what can be seen."""
        screen = self._app.screen
        waiting = {each for each in screen.walk_children(with_self=True) if _waits(each)}
        return waiting | set(screen._dirty_widgets)


def _waits(widget: Any) -> bool:
    asked = (
        widget._repaint_required
        or widget._layout_required
        or widget._scroll_required
        or widget._recompose_required
    )
    return asked and all(each.display for each in widget.ancestors_with_self)


@contextlib.asynccontextmanager
async def in_terminal(app: Any, size: tuple[int, int]) -> AsyncIterator[Any]:
    """The application in a pseudo-terminal that somebody reads, so that writing to it is paid for, too.

    Standard input and error of this process are that terminal meanwhile; results go to standard output.
    """
    columns, lines = size
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    before = os.dup(0), os.dup(2)
    # Textual asks standard output how large the terminal is, and that is another one here.
    os.environ.update(COLUMNS=str(columns), LINES=str(lines))
    reader = subprocess.Popen(["cat"], stdin=ours, stdout=subprocess.DEVNULL, stderr=before[1])
    os.dup2(theirs, 0)
    os.dup2(theirs, 2)
    running = asyncio.create_task(app.run_async(size=size))
    try:
        while not (app.is_running and app._dom_ready):
            if running.done():
                running.result()
            await asyncio.sleep(0.005)
        yield app
    finally:
        app.exit()
        await running
        os.dup2(before[0], 0)
        os.dup2(before[1], 2)
        reader.kill()
        reader.wait()
        for each in (ours, theirs, *before):
            os.close(each)


class Holds:
    """How long single turns of the event loop took, milliseconds of processor time.

    A key that comes meanwhile waits for so long: this is the tail, whoever else uses the machine.
    """

    def __init__(self) -> None:
        self.longest: list[tuple[float, str]] = []
        self.over_50_ms = 0
        self._run = loop_events.Handle._run

    def __enter__(self) -> "Holds":
        run, clock = self._run, time.thread_time

        def timed(handle: Any) -> None:
            started = clock()
            run(handle)
            took = (clock() - started) * 1000
            if took > 10:
                self._note(took, handle)

        loop_events.Handle._run = timed  # type: ignore[method-assign]
        return self

    def __exit__(self, *_: object) -> None:
        loop_events.Handle._run = self._run  # type: ignore[method-assign]

    def _note(self, took: float, handle: Any) -> None:
        self.over_50_ms += took > 50
        callback = getattr(handle, "_callback", None)
        task = getattr(callback, "__self__", None)
        name = task.get_name() if isinstance(task, asyncio.Task) else str(callback)
        self.longest = sorted([*self.longest, (took, name)], reverse=True)[:12]

    def told(self) -> str:
        """The longest, and how many were over 50 ms."""
        found = ", ".join(f"{took:.0f} ({name})" for took, name in self.longest[:5])
        return (
            f"turns of the loop over 50 ms: {self.over_50_ms}; longest: {found or 'none over 10'}"
        )
