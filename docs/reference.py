"""Writes docs/reference/: every command, from the registry that the command line is made of, and
every key of the dashboard.

`python docs/reference.py` writes the pages; `--check` fails when they are out of date. Examples of
JSON are the golden outputs of tests/shell/test_command_script.py, which hold for logd and Apache
Kafka alike. It must never hold a word about a command that the registry does not have.
"""

import json
import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from docs.dashboard_keys import dashboard_page  # noqa: E402
from shell.commands import all_commands  # noqa: E402
from shell.guides import EXIT_CODES, GUIDES  # noqa: E402
from shell.registry import Argument, Command, Option, Registry  # noqa: E402
from shell.settings import GLOBAL_OPTIONS  # noqa: E402

TARGET = ROOT / "docs" / "reference"
GOLDEN = ROOT / "tests" / "shell" / "golden"
INTRODUCTION = (
    "Written by `make docs` from the registry of commands. `logctl help --format json` gives the "
    "same as data."
)
DATA = (
    "stdout is data, stderr is talk. Lists are JSON arrays of objects, everything else is one "
    "object; `tail` and `watch` write one object a line. Fields are added, never renamed. "
    "An offset, size or lag that nobody could tell is `null`: what is missing is said on stderr, "
    "and the exit code is 10. Times end in `_ms` and count from 1970, sizes in `_bytes`, rates in "
    "`_per_s`."
)
# Commands without a noun stand on one page.
ALONE = "others"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _flags(option: Option) -> str:
    metavar = option.metavar or option.kind.value.upper()
    value = "" if option.is_flag else f" {metavar}"
    return ", ".join(f"`{flag}{value}`" for flag in option.flags)


def _usage(command: Command) -> str:
    words = ["logctl", command.name]
    for argument in command.arguments:
        name = argument.name + ("..." if argument.many else "")
        words.append(name if argument.required else f"[{name}]")
    if command.options:
        words.append("[OPTIONS]")
    return " ".join(words)


def _table(head: tuple[str, str], rows: Iterable[tuple[str, str]]) -> list[str]:
    lines = [f"| {head[0]} | {head[1]} |", "|---|---|"]
    return [*lines, *(f"| {_cell(left)} | {_cell(right)} |" for left, right in rows), ""]


def _argument_help(value: Argument | Option) -> str:
    choices = f" One of {', '.join(value.choices)}." if value.choices else ""
    return value.help + choices


def _command(command: Command) -> list[str]:
    lines = [f"## logctl {command.name}", "", command.summary]
    if command.details:
        lines += ["", command.details]
    lines += ["", "```", _usage(command), "```", ""]
    if command.destructive:
        lines += ["Destroys: asks before it does it; `--yes` answers. Refused when read-only.", ""]
    elif command.changes:
        lines += ["Changes the cluster: refused when read-only.", ""]
    rows = [(f"`{each.name}`", _argument_help(each)) for each in command.arguments]
    rows += [(_flags(each), _argument_help(each)) for each in command.options]
    if rows:
        lines += _table(("argument or option", "meaning"), rows)
    lines += ["```", *(f"logctl {example}" for example in command.examples), "```", ""]
    golden = GOLDEN / f"{command.name.replace(' ', '-')}.json"
    if golden.exists():
        lines += ["JSON (ids, places and times differ):", "", "```json"]
        lines += [*_shortened(json.loads(golden.read_text(encoding="utf-8"))), "```", ""]
    return lines


def _shortened(data: object) -> list[str]:
    """One element of a list shows the shape."""
    if isinstance(data, list):
        data = data[:1]
    elif isinstance(data, dict):
        data = {key: each[:1] if isinstance(each, list) else each for key, each in data.items()}
    return json.dumps(data, indent=2).splitlines()


def pages(registry: Registry) -> dict[str, str]:
    """The text of each page by file name."""
    nouns: dict[str, list[Command]] = {}
    for command in registry.commands.values():
        noun = command.words[0] if len(command.words) == 2 else ALONE
        nouns.setdefault(noun, []).append(command)
    found = {"README.md": _index(registry, nouns), "dashboard.md": dashboard_page()}
    for noun, commands in nouns.items():
        group = registry.groups.get(noun)
        title = f"logctl {noun}" if group else "Commands without a noun"
        lines = [f"# {title}", "", *([group.summary, ""] if group else [])]
        lines += ["Options of every command and exit codes: [README.md](README.md).", ""]
        for command in commands:
            lines += _command(command)
        found[f"{noun}.md"] = "\n".join(lines).rstrip() + "\n"
    return found


def _index(registry: Registry, nouns: dict[str, list[Command]]) -> str:
    lines = ["# Reference of commands", "", INTRODUCTION, ""]
    rows = []
    for noun, commands in nouns.items():
        rows += [
            (
                f"[{command.name}]({noun}.md#logctl-{command.name.replace(' ', '-')})",
                command.summary,
            )
            for command in commands
        ]
    lines += _table(("command", "what it does"), rows)
    lines += ["Keys and words of the dashboard: [dashboard.md](dashboard.md).", ""]
    lines += ["## Options of every command", ""]
    lines += _table(("option", "meaning"), [(_flags(o), _argument_help(o)) for o in GLOBAL_OPTIONS])
    lines += ["## Exit codes", ""]
    lines += _table(("code", "meaning"), [(f"{code:d}", text) for code, text in EXIT_CODES.items()])
    lines += ["## Data", "", DATA, ""]
    for guide in GUIDES.values():
        lines += [f"## logctl help {guide.name}", "", guide.summary, ""]
        lines += ["```text", guide.text.rstrip(), "```", ""]
    return "\n".join(lines).rstrip() + "\n"


def main() -> int:
    """Write the pages, or say what is out of date."""
    wanted = pages(all_commands())
    there = {path.name: path.read_text(encoding="utf-8") for path in TARGET.glob("*.md")}
    if "--check" in sys.argv[1:]:
        stale = sorted(name for name in {*wanted, *there} if wanted.get(name) != there.get(name))
        if stale:
            sys.stderr.write(f"out of date in docs/reference: {', '.join(stale)}; run make docs\n")
        return 1 if stale else 0
    TARGET.mkdir(exist_ok=True)
    for name in there.keys() - wanted.keys():
        (TARGET / name).unlink()
    for name, text in wanted.items():
        (TARGET / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
