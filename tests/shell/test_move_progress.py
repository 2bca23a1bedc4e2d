"""Waiting for a move: a program can read how far it is, and a cancelled one is no success."""

from __future__ import annotations

import asyncio
import io
import re
import sys
from collections.abc import Sequence
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest

from shell.commander import ProcessCommander
from shell.commands import partition_move
from shell.exits import Failed
from shell.main import terminal_output
from shell.output import Output


class Mover:
    """Tells of a move less and less, then that partitions lie where `ends` says."""

    def __init__(self, left: Sequence[int], ends: dict[int, tuple[int, ...]]) -> None:
        self.left, self.ends = list(left), ends
        # Of the broker that gets it, at each look; None when it is not told of at all.
        self.states: list[str | None] = []

    async def progress(self, _: object) -> list[dict[str, object]]:
        left = self.left.pop(0) if self.left else None
        move = {"topic": "big", "partition": 0, "adding": (3,), "bytes_left": left}
        return [] if left is None else [move]

    async def brokers(self) -> list[SimpleNamespace]:
        state = self.states.pop(0) if self.states else "up"
        return [SimpleNamespace(id=3, state=state)] if state else []

    async def partitions(self) -> list[SimpleNamespace]:
        return [
            SimpleNamespace(topic="big", partition=index, replicas=replicas)
            for index, replicas in self.ends.items()
        ]


async def follow(mover: Mover, monkeypatch, plan: dict, **options: object) -> str:
    stderr = io.StringIO()

    @asynccontextmanager
    async def admin():
        yield mover

    output = Output(stdout=io.BytesIO(), stderr=stderr, **options)
    monkeypatch.setattr(partition_move, "progress", mover.progress)
    monkeypatch.setattr(partition_move, "POLL_S", 0)
    try:
        await partition_move._follow(SimpleNamespace(admin=admin, output=output), plan)
    except Failed as error:
        stderr.write(f"error: {error}")
    return stderr.getvalue()


async def test_each_step_of_progress_is_a_line_that_says_so(monkeypatch) -> None:
    mover = Mover([4096, 1024], {0: (2, 3)})
    said = await follow(mover, monkeypatch, {("big", 0): (3, 2)}, progress_lines=True)
    steps = [line for line in said.split("\n") if line.startswith("\r")]
    assert "4.0 KiB left" in steps[0]
    assert "1.0 KiB left" in steps[1]
    assert "1 partition moved in" in said


async def test_nobody_who_reads_means_no_progress(monkeypatch) -> None:
    mover = Mover([4096], {0: (3, 2)})
    said = await follow(mover, monkeypatch, {("big", 0): (3, 2)})
    assert "left" not in said


async def test_who_a_move_waits_for_is_said_once(monkeypatch) -> None:
    mover = Mover([4096] * 6, {0: (3, 2)})
    mover.states = ["up", "fenced", "fenced", "up", None, None]
    said = await follow(mover, monkeypatch, {("big", 0): (3, 2)})
    waits = "what goes there waits until it is up again, or until `partition move --cancel`."
    assert re.sub(r"in \d+ ms", "in N ms", said).splitlines() == [
        f"warning: broker 3 is fenced: {waits}",
        "Broker 3 is up again.",
        f"warning: broker 3 is gone: {waits}",
        "1 partition moved in N ms.",
    ]


async def test_a_move_that_others_cancelled_is_no_success(monkeypatch) -> None:
    mover = Mover([4096], {0: (1, 2), 1: (3,)})
    plan = {("big", 0): (3, 2), ("big", 1): (3,), ("gone", 0): (1,)}
    said = await follow(mover, monkeypatch, plan)
    assert "1 partition moved in" in said
    assert "big:0 was not moved: it is on 1,2." in said
    assert "gone:0 was not moved: it is gone." in said
    assert "error: 2 of 3 moves were cancelled" in said


async def test_the_dashboard_s_commands_tell_progress(monkeypatch, tmp_path) -> None:
    """A command that the commander runs writes progress although nobody's terminal is there."""
    script = "from shell.main import terminal_output as o; o().progress('half'); print('end')"
    program = tmp_path / "python"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "{script}"\n')
    program.chmod(0o755)
    monkeypatch.setattr("shell.commander.sys.executable", str(program))
    lines: list[str] = []
    assert await ProcessCommander([], deploys=False).run(["x"], lines.append) == 0
    assert sorted(lines) == ["\rhalf", "end"]


def test_a_terminal_s_own_output_has_no_lines_of_progress(monkeypatch) -> None:
    monkeypatch.delenv("_LOGCTL_PROGRESS", raising=False)
    assert not terminal_output().progress_lines


@pytest.fixture(autouse=True)
def _no_colour(monkeypatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")


async def test_what_an_interrupted_command_says_last_is_told(monkeypatch, tmp_path) -> None:
    """It may leave a move under way, and a throttle that somebody has to remove."""
    program = tmp_path / "program"
    program.write_text(
        f"#!{sys.executable}\n"
        "import time\n"
        "try:\n"
        "    print('begun', flush=True)\n"
        "    time.sleep(60)\n"
        "except KeyboardInterrupt:\n"
        "    print('the move goes on')\n"
    )
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    lines: list[str] = []
    begun = asyncio.Event()

    def hear(line: str) -> None:
        lines.append(line)
        begun.set()

    running = asyncio.create_task(ProcessCommander([], deploys=False).run([], hear))
    async with asyncio.timeout(60):
        await begun.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    assert lines == ["begun", "the move goes on"]


async def test_interrupted_before_it_is_answered_it_tells_of_the_throttle_that_stays(
    monkeypatch,
) -> None:
    stderr, asked = io.StringIO(), asyncio.Event()

    class Silent:
        async def reassign(self, _plan: object) -> None:
            asked.set()
            await asyncio.Event().wait()

    @asynccontextmanager
    async def admin():
        yield Silent()

    async def held_back(*_: object) -> None:
        """Throttled."""

    monkeypatch.setattr("clusters.admin.throttles.hold_back", held_back)
    output = Output(stdout=io.BytesIO(), stderr=stderr)
    session = SimpleNamespace(admin=admin, output=output)
    plan = {("big", 0): (3, 2)}
    moving = asyncio.create_task(partition_move._begin_throttled(session, plan, {}, 1000))
    async with asyncio.timeout(10):
        await asked.wait()
        moving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await moving
    assert "may have begun" in stderr.getvalue()
    assert "stays throttled. `logctl partition throttle off`" in stderr.getvalue()
