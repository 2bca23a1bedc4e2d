"""What README and docs tell a person to type exists: commands, options and their values."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from shell.cli import HelpWanted, build, parse
from shell.commands import all_commands
from shell.exits import UsageProblem
from shell.guides import GUIDES
from shell.script import Form, tokens
from shell.settings import GLOBAL_OPTIONS

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "examples").rglob("*.md")),
    *sorted((ROOT / "benchmarks").glob("*.md")),
    *sorted((ROOT / "tests").rglob("*.md")),
]


def first_command(line: str) -> str:
    """A line up to the first pipe, file, sign or comment that stands outside of quotes."""
    for token in tokens(line):
        if token.form is not Form.WORD or token.text in {"<", "&"}:
            return line[: token.start].strip()
    return line.strip()


def command_lines(text: str) -> list[str]:
    """Command lines of logctl in fenced blocks and in code spans, without what surrounds them."""
    found = []
    for block in re.findall(r"^```[^\n]*\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            line = re.sub(r"^\s*(?:\$ )?", "", line)
            line = line.split(" | ")[-1] if " | logctl " in line else line
            if line.startswith("logctl ") and not re.match(r"logctl:? \[", line):
                found.append(line)
    spans = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    found += re.findall(r"`(logctl [a-z-][^`]*)`", spans)
    return [first_command(line) for line in found]


_PLACEHOLDER = re.compile(r"\[?[A-Z][A-Z:=\[\]-]*(\.\.\.)?\]?")


def problem_of_form(words: list[str]) -> str | None:
    """Why a line with placeholders (ID, [OPTIONS]) is no form of a command; None when it is one."""
    command = all_commands().find(tuple(words))
    if command is None:
        return "No such command."
    flags = {f for option in (*command.options, *GLOBAL_OPTIONS) for f in option.flags}
    wrong = {w.partition("=")[0] for w in words if w.startswith("--")} - flags
    return f"No such option {sorted(wrong)}." if wrong else None


def problem_of(line: str) -> str | None:
    """Why a documented line cannot be typed; None when it can, or only lacks its arguments."""
    words = shlex.split(line)[1:]
    if any(_PLACEHOLDER.fullmatch(word) for word in words):
        return problem_of_form(words)
    try:
        parse(build(all_commands()), words)
    except HelpWanted:
        return None
    except UsageProblem as problem:
        wrong = ("No such", "Invalid value", "Got unexpected", "Option")
        return problem.message if problem.message.startswith(wrong) else None
    return None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_documented_command_line_can_be_typed(page):
    lines = command_lines(page.read_text())
    assert {line: why for line in lines if (why := problem_of(line))} == {}


@pytest.mark.parametrize("name", GUIDES)
def test_every_command_line_of_a_page_of_help_can_be_typed(name):
    lines = re.findall(r"^  (logctl .*)", GUIDES[name].text, re.MULTILINE)
    lines += re.findall(r"(?:`|: )(logctl [^`\n]*)", GUIDES[name].text)
    assert {line: why for line in lines if (why := problem_of(line))} == {}


def anchor(heading: str) -> str:
    """What a heading is linked by."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def broken_links(page: Path) -> list[str]:
    """Links of a page to files or headings of this tree that are not there."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    wrong = []
    for link in re.findall(r"\]\((?!https?:)([^)\s]+)\)", text):
        name, _, wanted = link.partition("#")
        target = (page.parent / name) if name else page
        if target.exists() and not wanted:
            continue
        there = target.read_text() if target.exists() else ""
        if wanted not in map(anchor, re.findall(r"^#+ (.*)", there, re.MULTILINE)):
            wrong.append(link)
    return wrong


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page):
    assert broken_links(page) == []


def keys_of(schema: Any) -> set[str]:
    """The names of all properties below a JSON schema."""
    if isinstance(schema, list):
        return {key for each in schema for key in keys_of(each)}
    if not isinstance(schema, dict):
        return set()
    own = schema.get("properties")
    return {*(own if isinstance(own, dict) else ())} | keys_of(list(schema.values()))


@pytest.mark.parametrize(
    ("command", "page"),
    [
        ("cluster validate", "operations.md"),
        ("diff", "declared-state.md"),
        ("run", "runbooks.md"),
    ],
)
def test_every_key_of_a_file_stands_on_the_page_about_it(logctl, command, page):
    keys = keys_of(json.loads(logctl(*command.split(), "--schema").out))
    assert len(keys) > 10
    text = (ROOT / "docs" / page).read_text()
    code = re.findall(r"```\w*\n.*?```|`[^`\n]+`", text, re.DOTALL)
    assert keys - set(re.findall(r"[\w.-]+", " ".join(code))) == set()


def test_a_broken_link_would_be_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# A head, `lines`\n[a](#a-head-lines) [b](#b) [c](page.md) [d](none.md)\n")
    assert broken_links(page) == ["#b", "none.md"]


def test_a_wrong_form_would_be_found():
    assert problem_of("logctl broker stop ID --timeout TIME") is None
    assert problem_of("logctl broker stp ID") is not None
    assert problem_of("logctl broker stop ID --tmeout TIME") is not None


def test_a_wrong_line_would_be_found():
    page = (
        "Type `logctl topic lst`:\n```sh\n$ logctl watch --frm-start | jq\nlogctl topic list\n```\n"
    )
    lines = command_lines(page)
    assert sorted(lines) == ["logctl topic list", "logctl topic lst", "logctl watch --frm-start"]
    assert [line for line in lines if problem_of(line)] == [
        "logctl watch --frm-start",
        "logctl topic lst",
    ]
