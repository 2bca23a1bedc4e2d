"""Pages of `logctl help`: what they say of variables, folders, codes and conditions is so."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from broker.__main__ import main as logd
from clusters import state
from clusters.query import parse
from shell.exits import ExitCode
from shell.guides import EXIT_CODES, GUIDES, SYNONYMS
from shell.journal import journal_path, state_folder
from tests.peers import left_out
from tui.done import done_log

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", [*GUIDES, *SYNONYMS])
def test_a_page_is_read_by_its_name_and_as_data(logctl, name):
    shown = logctl("help", name)
    assert (shown.code, shown.err) == (ExitCode.DONE, "")
    guide = GUIDES[SYNONYMS.get(name, name)]
    assert shown.out == guide.text
    data = json.loads(logctl("help", name, "--json").out)
    assert data == {"name": guide.name, "summary": guide.summary, "text": guide.text}


def test_pages_fit_a_terminal_and_hide_no_command(logctl):
    lines = [line for guide in GUIDES.values() for line in guide.text.splitlines()]
    assert max(map(len, lines)) <= 79
    assert not {*GUIDES, *SYNONYMS} & set(logctl.registry.top_level())
    assert all(name in logctl("--help").out for name in GUIDES)


@pytest.mark.parametrize(
    ("words", "near"),
    [
        ("strat", "Did you mean 'start'?"),
        ("topic crate", "Did you mean 'create'?"),
        ("quorum xyz", "There are describe."),
    ],
)
def test_what_there_is_no_help_for_is_told_with_the_nearest(logctl, words, near):
    shown = logctl("help", *words.split())
    assert shown.code == ExitCode.USAGE
    assert near in shown.err


def test_every_exit_code_has_its_meaning(logctl):
    assert list(EXIT_CODES) == list(ExitCode)
    page = logctl("help", "exit-codes").out
    assert re.findall(r"^ +(\d+)  \w", page, re.MULTILINE) == [f"{code:d}" for code in ExitCode]


def test_the_variables_are_those_that_are_read():
    sources = [
        p.read_text() for part in ("shell", "clusters") for p in ROOT.glob(f"{part}/**/*.py")
    ]
    read = {name for text in sources for name in re.findall(r'"(LOGCTL_[A-Z_]+)"', text)}
    flags = {
        name for text in sources for name in re.findall(r'_flag\(given, environ, "(\w+)"', text)
    }
    told = set(re.findall(r"^  (LOGCTL_[A-Z_]+)", GUIDES["environment"].text, re.MULTILINE))
    assert told == read | {f"LOGCTL_{name.upper()}" for name in flags}


def test_the_folders_are_those_that_are_used(monkeypatch):
    for variable in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", "/home/somebody")
    told = re.findall(r"^  ~(\S+)", GUIDES["files"].text, re.MULTILINE)
    used = [
        state.config_path(),
        state.cluster_data_dir(""),
        state.cluster_state_dir("CLUSTER/"),
        f"{state_folder()}/history",
        journal_path(),
        f"{state.state_home()}/runs/",
        f"{state_folder()}/names/",
        done_log().path,
    ]
    assert told == [*(path.removeprefix("/home/somebody") for path in used), "/.cache/logctl/"]


def test_the_conditions_can_be_asked():
    block = GUIDES["conditions"].text.split("\n\n")[1]
    lines = [line.strip() for line in block.splitlines()]
    assert len(lines) > 4
    for line in lines:
        parse(line)


def test_both_programs_tell_the_version_of_the_project(logctl, capsys):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    with pytest.raises(SystemExit) as ended:
        logd(["--version"])
    assert (ended.value.code, capsys.readouterr().out) == (0, f"logd {project['version']}\n")
    assert logctl("--version").out == f"logctl {project['version']}\n"


def test_the_manual_page_has_every_command_option_and_code(logctl):
    shown = logctl("help", "--man")
    assert (shown.code, shown.err) == (ExitCode.DONE, "")
    lines = shown.out.splitlines()
    assert lines[0].startswith(".TH LOGCTL 1 ")
    for command in logctl.registry.commands.values():
        (at,) = [
            n
            for n, line in enumerate(lines)
            if re.match(rf"\.SS logctl {command.name}( [A-Z\[]|$)", line.replace("\\-", "-"))
        ]
        section = "\n".join(lines[at : lines.index(".nf", at)]).replace("\\-", "-")
        assert all(flag in section for option in command.options for flag in option.flags)
    assert [line[3:] for line in lines if re.fullmatch(r"\.B \d+", line)] == [
        f"{code:d}" for code in ExitCode
    ]
    # A line of text that begins like one of roff's own would be swallowed.
    known = {".TH", ".SH", ".SS", ".B", ".br", ".PP", ".TP", ".nf", ".fi"}
    assert {line.split()[0] for line in lines if line[:1] in {".", "'"}} == known
    assert logctl("help", "topic", "--man").code == ExitCode.USAGE


def test_the_manual_page_is_shown_by_man(logctl, tmp_path):
    groff = shutil.which("groff")
    if groff is None:
        left_out("groff is not installed")
    page = tmp_path / "logctl.1"
    page.write_text(logctl("help", "--man").out)
    done = subprocess.run(
        [groff, "-man", "-Tutf8", "-ww", "-rLL=100n", page],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stderr == ""
    text = re.sub(r"\x1b\[\d+m", "", done.stdout)
    assert "logctl tail orders --from @-10m --where 'customer.id=c42'" in text
