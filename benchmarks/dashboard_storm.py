"""A large cluster in memory under a storm of events, and a stopwatch for the dashboard that shows it.

Shared by the benchmarks of the dashboard. Times are taken twice: as a person would with a watch, and in processor
time of this process, which other work on the machine does not stretch.
"""

import asyncio
import json
import random
import time
from asyncio import events as loop_events
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from textual.events import Key

from benchmarks.dashboard_redraw import load_fake
from clusters.admin import GroupSummary
from clusters.polls import PollKind

PARTITIONS, TOPICS = 10_000, 100
EVENTS_PER_S = 1_000
# After a pause of the machine no more than this is caught up with at once.
AT_ONCE_MAX = 200
SLICE_S = 0.02
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
    """Stands for the reader of records: tells them as `logctl tail --format json` would."""

    deploys = False

    def __init__(self, per_s: int = 200) -> None:
        self.per_s = per_s

    def shown(self, words: Sequence[str]) -> str:
        return " ".join(words)

    async def run(self, words: Sequence[str], on_line: Any) -> int:
        offset = 0
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


async def press(app: Any, key: str, into: Answers) -> None:
    """Press a key as a terminal would, and wait until what it changed is drawn; no pauses of tests."""
    wall, cpu = time.perf_counter(), time.process_time()
    character = {"slash": "/", "question_mark": "?", "space": " "}.get(
        key, key if len(key) == 1 else None
    )
    app.post_message(Key(key, character))
    done = asyncio.Event()
    # Behind the key in the application's queue, then behind the painting that follows.
    app.call_later(app.call_after_refresh, done.set)
    await asyncio.wait_for(done.wait(), 60)
    into.wall_ms.append((time.perf_counter() - wall) * 1000)
    into.cpu_ms.append((time.process_time() - cpu) * 1000)
    into.keys.append(f"{app.place.kind}:{key}")


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
