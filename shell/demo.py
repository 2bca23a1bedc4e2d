"""Tells the demo's story: inside the dashboard on a terminal, as lines anywhere else.

However it ends (the last step, a failure, Ctrl-C, SIGTERM), everything that it started is ended and
its folder removed before the process goes away.
"""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from broker.protocol.errors import LogctlError
from clusters.operations import Progress
from clusters.story import STEPS, Observation, Story
from clusters.throwaway import ThrowAwayCluster
from shell.exits import ExitCode
from shell.output import TABLE
from shell.session import Session

DEFAULT_SHOW_S = 4
FAST_SHOW_S = 2


def run_demo(session: Session, *, lines: bool, fast: bool, seconds: int | None) -> ExitCode:
    """Run the story to its end and return 0 only when every step was observed."""
    if session.interactive_shell:
        return _in_own_process(lines=lines, fast=fast, seconds=seconds)
    show_s = seconds or (FAST_SHOW_S if fast else DEFAULT_SHOW_S)
    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    as_lines = lines or not terminal or session.output.format != TABLE
    return asyncio.run(_demo(session, as_lines=as_lines, fast=fast, show_s=show_s))


def _in_own_process(*, lines: bool, fast: bool, seconds: int | None) -> ExitCode:
    # The story changes the folders of its whole process; the interactive shell keeps its own.
    words = [sys.executable, "-m", "shell.main", "demo"]
    words += ["--lines"] if lines else []
    words += ["--fast"] if fast else []
    words += ["--seconds", str(seconds)] if seconds else []
    return ExitCode.DONE if subprocess.call(words) == 0 else ExitCode.FAILED


async def _demo(session: Session, *, as_lines: bool, fast: bool, show_s: int) -> ExitCode:
    output, aside = session.output, Aside(session)
    cluster = ThrowAwayCluster(session.doors.bundled_specs()["local"], report=aside.report)
    story = Story(
        cluster,
        show_s=show_s,
        hurry=fast,
        tell=lambda text: output.say(f"        {text}", "dim") if as_lines else None,
    )
    interrupted = _interrupts(output.say)
    code = ExitCode.FAILED
    try:
        cluster.prepare()
        output.say(f"Everything lives in {cluster.folder}, which is removed at the end.", "dim")
        if cluster.note:
            output.say(f"Note: {cluster.note}.")
        if as_lines:
            code = await _tell_lines(session, story)
        else:
            code = await _tell_in_dashboard(session, story, aside)
    except asyncio.CancelledError:
        if not interrupted():
            raise
    finally:
        await _close(session, story)
    if interrupted():
        output.say("Stopped early; nothing is left behind.")
        code = ExitCode.FAILED
    return code


@dataclass(slots=True)
class Aside:
    """What is done to brokers, a line each; nothing while the dashboard has the screen."""

    session: Session
    hushed: bool = False

    def report(self, progress: Progress) -> None:
        """Tell a step of starting or stopping brokers."""
        if progress.message and not self.hushed:
            self.session.output.say(f"        {progress.message}", "dim")


def _interrupts(say: Callable[[str], None]) -> Callable[[], bool]:
    """Let the first Ctrl-C, SIGTERM or SIGHUP cancel the story; later ones wait for its end.

    Returns a function that tells whether there was one.
    """
    task = asyncio.current_task()
    assert task is not None
    loop = asyncio.get_running_loop()
    seen: list[int] = []

    def interrupt(number: int) -> None:
        seen.append(number)
        if len(seen) == 1:
            task.cancel()
        else:
            say("Still stopping the brokers ...")

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, interrupt, number)
    return lambda: bool(seen)


async def _close(session: Session, story: Story) -> None:
    """Close to the end, whatever is cancelled meanwhile."""
    closing = asyncio.create_task(story.close())
    while not closing.done():
        try:
            await asyncio.shield(closing)
        except asyncio.CancelledError:
            continue
        except LogctlError as error:
            session.output.error(str(error))


async def _tell_lines(session: Session, story: Story) -> ExitCode:
    for step in STEPS:
        session.output.say(f"{story.position + 1}/{len(STEPS)}  {step.title}", "strong")
        try:
            seen = await story.advance()
        except LogctlError as error:
            session.output.line(
                {"step": step.name, "title": step.title, "observed": None, "problem": str(error)},
                partial(session.output.paint, f"FAILED  {error}", "bad"),
            )
            return ExitCode.FAILED
        session.output.line(seen.to_json(), partial(_line, session, seen))
    return ExitCode.DONE


def _line(session: Session, seen: Observation) -> str:
    mark = session.output.paint("ok", "good")
    return f"{mark}  {seen.took_ms / 1000:6.2f} s  {seen.step.title}: {seen.text}"


@dataclass(slots=True)
class DashboardGuide:
    """The story as the dashboard's guide line. `advance` never raises; `failed` tells."""

    story: Story
    last: int
    busy: bool = False
    failed: bool = False
    observed: str = ""
    told: list[Observation] = field(default_factory=list)

    @property
    def text(self) -> str:
        """What goes on, or what was just seen and what the next step will do."""
        if self.failed:
            return self.observed
        if self.finished:
            return f"{self.observed} That is the story; everything stops when you quit."
        step = STEPS[self.story.position]
        if self.busy:
            return f"{step.title} ... {step.look}"
        before = f"{self.observed}  " if self.observed else ""
        return f"{before}Next: {step.title}."

    @property
    def finished(self) -> bool:
        """Whether the story is over."""
        return self.failed or self.story.position >= self.last

    async def advance(self) -> None:
        """Do the next step; what was observed, or why it failed, is in `text` afterwards."""
        if self.busy or self.finished:
            return
        self.busy = True
        try:
            seen = await self.story.advance()
            self.told.append(seen)
            self.observed = f"{seen.text[:1].upper()}{seen.text[1:]}."
        except Exception as error:  # noqa: BLE001 - told on the screen, and by the exit code
            self.failed = True
            self.observed = f"Not observed: {error}"
        finally:
            self.busy = False


async def _tell_in_dashboard(session: Session, story: Story, aside: Aside) -> ExitCode:
    from tui.app import show_dashboard
    from tui.doors import Target

    session.output.say(f"{STEPS[0].title} ...", "strong")
    started = await story.advance()
    session.output.say(f"{started.text}.")
    # The last step stops the brokers: on the screen that is quitting.
    guide = DashboardGuide(story, last=len(STEPS) - 1)
    aside.hushed = True
    try:
        await show_dashboard(Target(name="demo", bootstrap=story.bootstrap), guide=guide)
    finally:
        aside.hushed = False
    for seen in (started, *guide.told):
        session.output.line(seen.to_json(), partial(_line, session, seen))
    if guide.failed:
        session.output.error(guide.observed)
        return ExitCode.FAILED
    return ExitCode.DONE
