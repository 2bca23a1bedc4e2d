"""Tab in bash, zsh and fish themselves: live names within a bound, quoted, kept for the next Tab."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time

import pexpect
import pytest

from shell.outer_completion import completion_script
from tests.peers import left_out


def program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        left_out(f"{name} is not installed")
    return found


@pytest.fixture
def home(tmp_path):
    """A home with `logctl` in the path, a context whose cluster is down, and names kept for it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    command = folder / "logctl"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m shell.main "$@"\n')
    command.chmod(0o755)
    return {
        **os.environ,
        "PATH": f"{folder}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "PYTHONPATH": os.getcwd(),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "XDG_DATA_HOME": str(tmp_path / "data"),
        "LOGCTL_BOOTSTRAP": "127.0.0.1:1",
        "TERM": "xterm",
    }


def keep_names(environment, **more):
    """Have names kept as an earlier process does."""
    from shell import names
    from shell.output import Output
    from shell.session import Doors, Session
    from shell.settings import resolve

    doors = Doors()
    doors.environ = environment
    session = Session(resolve({}, environment), Output(stdout=None, stderr=None), doors)
    known = names.Names(topics={"orders": 3, "signups": 1}, **more)
    names.save(names.cache_path(session), known, time.time())


def asked(environment, shell, *words, **more):
    done = subprocess.run(
        [sys.executable, "-m", "shell.main", *words],
        env={**environment, "_LOGCTL_COMPLETE": shell, **more},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


def bash(environment, line):
    return asked(environment, "bash", COMP_LINE=line, COMP_POINT=str(len(line)))


def test_names_that_were_kept_complete_while_nobody_answers(home):
    keep_names(home, groups={"billing": "Stable"})
    assert bash(home, "logctl topic describe ord") == ["orders"]
    assert bash(home, "logctl tail orders:") == ["0", "1", "2"]
    assert asked(home, "zsh", "topic", "describe", "or")[0].startswith("orders:3 partitions")
    assert asked(home, "fish", "tail", "--group", "b")[0].startswith("billing\tStable")


def test_without_anything_known_tab_is_silent_and_soon(home):
    assert bash(home, "logctl topic describe ") == []
    assert "topic" in bash(home, "logctl to")
    assert "--format" in bash(home, "logctl topic list --fo")
    assert bash(home, "logctl topic list --format=j") == ["json"]


def test_a_name_from_outside_stays_one_word_of_the_shell(home):
    evil = "x; touch pwned #"
    keep_names(home, groups={evil: "Empty", "tab\there\n": "Empty"})
    (found,) = bash(home, "logctl tail --group ")
    assert found == "'x; touch pwned #'"


def test_damaged_names_are_no_matter(home):
    keep_names(home)
    folder = os.path.join(home["XDG_STATE_HOME"], "logctl", "names")
    (name,) = os.listdir(folder)
    path = os.path.join(folder, name)
    assert os.stat(path).st_mode & 0o777 == 0o600
    for content in ("{", json.dumps({"version": 1}), json.dumps([1])):
        with open(path, "w") as file:
            file.write(content)
        assert bash(home, "logctl topic describe ") == []


@pytest.mark.parametrize(
    ("shell", "words", "load"),
    [
        ("bash", ["--norc", "-i"], 'eval "$(logctl completion bash)"'),
        (
            "zsh",
            ["-f", "-i"],
            'autoload -U compinit; compinit -u; eval "$(logctl completion zsh)"',
        ),
        ("fish", ["--no-config", "-i"], "logctl completion fish | source"),
    ],
)
def test_tab_in_a_real_shell(home, shell, words, load):
    path = program(shell)
    keep_names(home)
    terminal = pexpect.spawn(path, words, env=home, dimensions=(30, 120), timeout=45)
    try:
        terminal.send(load + "; echo loaded-$((40+2))\r" if shell != "fish" else load + "\r")
        if shell == "fish":
            terminal.send("echo loaded-(math 40 + 2)\r")
        terminal.expect("loaded-42")
        terminal.send("echo start; logctl topic describe ord\t")
        terminal.expect("describe orders")
    finally:
        terminal.close(force=True)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts_are_well_formed(shell):
    path = program(shell)
    done = subprocess.run(
        [path, "-n"], input=completion_script(shell), text=True, capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
