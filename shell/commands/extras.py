"""The dashboard, shell completion and help."""

from __future__ import annotations

from collections.abc import Sequence

from shell.exits import ExitCode, Failed, UsageProblem
from shell.nearest import did_you_mean
from shell.registry import Argument, Command, Kind
from shell.session import Session

SHELLS = ("bash", "zsh", "fish")


async def _dash(session: Session) -> ExitCode:
    import sys

    if not sys.stdout.isatty() or not sys.stdin.isatty():
        raise Failed(
            "The dashboard needs a terminal.",
            hint="`logctl watch` prints the same events as lines.",
        )
    from tui.app import show_dashboard

    await show_dashboard(list(session.bootstrap()))
    return ExitCode.DONE


def _completion(session: Session, *, shell: str) -> None:
    from shell.outer_completion import completion_script

    session.output.text(completion_script(shell))


def _help(session: Session, *, command: Sequence[str]) -> None:
    from shell.cli import PROGRAM, HelpWanted, build, parse
    from shell.commands import all_commands

    registry = all_commands()
    words = tuple(command)
    if words and registry.find(words) is None and words[0] not in registry.groups:
        raise UsageProblem(
            f"There is no command '{' '.join(words)}'."
            + did_you_mean(words[0], registry.top_level()),
            hint=f"See `{PROGRAM} help`.",
        )
    try:
        parse(build(registry), [*words, "--help"])
    except HelpWanted as wanted:
        session.output.text(wanted.text)


COMMANDS = (
    Command(
        name="dash",
        summary="Open the full-screen dashboard.",
        examples=("dash", "dash --bootstrap 127.0.0.1:19092"),
        run=_dash,
    ),
    Command(
        name="completion",
        summary="Print the completion script of a shell.",
        details='Put it into your shell\'s start-up: eval "$(logctl completion bash)".',
        arguments=(Argument("SHELL", "Which shell.", kind=Kind.CHOICE, choices=SHELLS),),
        examples=("completion bash > ~/.local/share/bash-completion/completions/logctl",),
        run=_completion,
    ),
    Command(
        name="help",
        summary="Show help for a command.",
        arguments=(
            Argument(
                "COMMAND", "Whose help; without it, all.", Kind.COMMAND, required=False, many=True
            ),
        ),
        examples=("help", "help topic create"),
        run=_help,
    ),
)
