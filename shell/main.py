"""The console script `logctl`.

Loads only what a one-shot command needs: no prompt, no dashboard, no client library.
"""

from __future__ import annotations

import os
import sys

# Nothing else is loaded before `main` can take a Ctrl-C.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from shell.exits import ExitCode
    from shell.output import Output
    from shell.session import Doors

COMPLETE_VARIABLE = "_LOGCTL_COMPLETE"


def terminal_output() -> Output:
    """Return the writer on this process's stdout and stderr."""
    from shell.output import PROGRESS_VARIABLE, Output

    color_out, color_err = sys.stdout.isatty(), sys.stderr.isatty()
    width = None
    if color_out:
        import shutil

        width = shutil.get_terminal_size().columns
    return Output(
        stdout=sys.stdout.buffer,
        stderr=sys.stderr,
        color_out=color_out,
        color_err=color_err,
        interactive=color_err,
        progress_lines=os.environ.get(PROGRESS_VARIABLE) == "lines",
        width=width,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line (or the interactive shell) and return the exit code."""
    try:
        return _run(argv)
    except KeyboardInterrupt:
        # Ctrl-C while the program was still being loaded: nothing was done.
        sys.stderr.write("Cancelled.\n")
        return 1


def _run(argv: Sequence[str] | None) -> int:
    _open_what_is_closed()
    words = list(sys.argv[1:] if argv is None else argv)
    from shell.commands import all_commands, commands_for
    from shell.session import Doors

    doors = Doors()
    if COMPLETE_VARIABLE in os.environ:
        from shell.outer_completion import answer

        return answer(all_commands(), doors, words)
    registry = commands_for(words[0] if words else None)
    from shell.cli import build
    from shell.journal import start_journal
    from shell.runner import Runner
    from shell.settings import is_true

    start_journal(debug="--debug" in words or is_true(os.environ.get("LOGCTL_DEBUG", "")))
    runner = Runner(build(registry), terminal_output(), doors)
    try:
        if words and not words[0].startswith("-") and words[0] not in registry.top_level():
            words = _expanded(words, doors)
        invocation = runner.parse(words)
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - told by explain
        return runner.explain(error)
    if invocation.command is None:
        from shell.repl import start

        return start(registry, runner, invocation)
    return _flush(runner.run_blocking(invocation))


def _open_what_is_closed() -> None:
    """Have stdin, stdout and stderr, as after `>&-`: what is opened next would take their place."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            # The lowest that is free.
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
            setattr(sys, name, open(number, mode, closefd=False))  # noqa: SIM115 - for good


def _expanded(words: Sequence[str], doors: Doors) -> list[str]:
    from shell import preferences
    from shell.script import expand

    return list(expand(words, preferences.load(doors.environ).aliases, lambda word: False))


def _flush(code: ExitCode) -> int:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
