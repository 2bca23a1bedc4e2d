"""The demo in the dashboard: what is done to brokers is told before and after it, never across it."""

from __future__ import annotations

import asyncio
import io

import tui.app
from clusters.operations import Progress
from clusters.story import STEPS, Observation
from shell import demo
from shell.exits import ExitCode
from shell.output import Output
from shell.session import Doors, Session
from shell.settings import Settings


class FakeCluster:
    """Reports as a real one does when its brokers are started and stopped."""

    folder, note = "/nowhere", ""

    def __init__(self, spec, *, report):
        self.report = report

    def prepare(self):
        """Nothing to prepare."""


class FakeStory:
    """Each step starts a broker; ending stops one."""

    def __init__(self, cluster, *, show_s, hurry, tell):
        self.cluster, self.position, self.bootstrap = cluster, 0, ("127.0.0.1:1",)

    async def advance(self):
        step = STEPS[self.position]
        self.position += 1
        self.cluster.report(
            Progress(phase="start", step="done", message=f"broker {self.position} started")
        )
        return Observation(step=step, text="it was seen", facts={}, took_ms=1)

    async def close(self):
        self.cluster.report(Progress(phase="stop", step="done", message="broker 1 stopped"))


def test_nothing_is_written_across_the_dashboard(monkeypatch):
    out, err = io.BytesIO(), io.StringIO()
    written = []

    async def show_dashboard(target, *, guide):
        before = err.getvalue()
        while not guide.finished:
            await guide.advance()
        written.append(err.getvalue().removeprefix(before))

    monkeypatch.setattr(demo, "ThrowAwayCluster", FakeCluster)
    monkeypatch.setattr(demo, "Story", FakeStory)
    monkeypatch.setattr(tui.app, "show_dashboard", show_dashboard)
    session = Session(Settings(), Output(stdout=out, stderr=err), Doors(), False)
    code = asyncio.run(demo._demo(session, as_lines=False, fast=True, show_s=1))
    assert code == ExitCode.DONE
    assert written == [""]
    assert "broker 1 started" in err.getvalue()
    assert "broker 1 stopped" in err.getvalue()
    assert out.getvalue().decode().count("it was seen") == len(STEPS) - 1
