"""`supervise start|stop|kill|status --run-dir DIR ...`: the supervisor's command line.

Exit codes: 0 done, 1 failed (said on stderr), 2 wrong usage. Answers are one line of JSON, but for
`start`, which speaks.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from clusters.supervisor import control
from clusters.supervisor.settings import Settings, SupervisorError

STOP_TIMEOUT_MS = 60_000


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; gives the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    command: list[str] = []
    if "--" in words:
        at = words.index("--")
        words, command = words[:at], words[at + 1 :]
    arguments = _parser().parse_args(words)
    try:
        return _act(arguments, command)
    except SupervisorError as error:
        sys.stderr.write(f"supervise: {error}\n")
    except OSError as error:
        sys.stderr.write(f"supervise: {error}\n")
    return 1


def _act(arguments: argparse.Namespace, command: list[str]) -> int:
    match arguments.action:
        case "start":
            if not command or not command[0].startswith("/"):
                sys.stderr.write("supervise: the command comes after --, with its whole path\n")
                return 2
            from clusters.supervisor.daemon import start

            settings = Settings(
                name=arguments.name,
                run_dir=arguments.run_dir,
                log=arguments.log,
                command=tuple(command),
                user=arguments.user,
                nofile=arguments.nofile,
                stop_timeout_ms=arguments.stop_timeout_ms,
            )
            sys.stdout.write(start(settings) + "\n")
        case "stop":
            _print(control.stop(arguments.run_dir, arguments.timeout_ms))
        case "kill":
            _print(control.kill(arguments.run_dir, everything=arguments.all))
        case _:
            _print(control.status(arguments.run_dir))
    return 0


def _print(answer: object) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="supervise", description="Keeps a broker running.")
    actions = parser.add_subparsers(dest="action", required=True)
    start = actions.add_parser("start", help="start a command and keep it running")
    start.add_argument("--name", required=True)
    start.add_argument("--log", required=True, metavar="FILE")
    start.add_argument("--user", help="run as this user, when started by root")
    start.add_argument("--nofile", type=int, metavar="N", help="limit of open files")
    start.add_argument("--stop-timeout-ms", type=int, default=STOP_TIMEOUT_MS, metavar="N")
    stop = actions.add_parser("stop", help="stop the command and the supervisor")
    stop.add_argument("--timeout-ms", type=int, default=STOP_TIMEOUT_MS, metavar="N")
    kill = actions.add_parser("kill", help="kill -9 the command, for drills")
    kill.add_argument("--all", action="store_true", help="the supervisor, too")
    status = actions.add_parser("status", help="one line of JSON")
    for action in (start, stop, kill, status):
        action.add_argument("--run-dir", required=True, metavar="DIR")
    return parser


if __name__ == "__main__":
    sys.exit(main())
