"""The whole story on this machine, in one command."""

from __future__ import annotations

from shell.exits import ExitCode
from shell.registry import Command, Kind, Option
from shell.session import Session


def _demo(session: Session, *, lines: bool, fast: bool, seconds: int | None) -> ExitCode:
    from shell.demo import run_demo

    return run_demo(session, lines=lines, fast=fast, seconds=seconds)


COMMANDS = (
    Command(
        name="demo",
        summary="Start three brokers, feed them, kill a leader and watch the cluster heal.",
        details="Runs in a folder of its own that is removed at the end; your contexts and data "
        "are not touched. In a terminal it opens the dashboard; otherwise each step is a line, and "
        "the exit code is 0 only when every step was really observed.",
        options=(
            Option(("--lines",), "Tell the story as lines, also in a terminal.", kind=Kind.FLAG),
            Option(("--fast",), "Do not pause between the steps.", kind=Kind.FLAG),
            Option(
                ("--seconds",),
                "How long to show records arriving (default 4).",
                kind=Kind.INTEGER,
                minimum=1,
            ),
        ),
        examples=("demo", "demo --lines --fast"),
        run=_demo,
    ),
)
