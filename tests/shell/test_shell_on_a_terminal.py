"""The interactive shell in a real terminal, without any cluster: it works all the same."""

from __future__ import annotations

import os
import socket
import stat
import time

import pytest

from tests.shell.terminal import Terminal

CTRL_C, CTRL_R, TAB, DOWN, UP, RIGHT, ESCAPE = (
    "\x03",
    "\x12",
    "\t",
    "\x1b[B",
    "\x1b[A",
    "\x1b[C",
    "\x1b",
)
PROMPT = r"^logctl( \[\d+\])?> *$"


@pytest.fixture
def environment(tmp_path):
    return {
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "XDG_DATA_HOME": str(tmp_path / "data"),
        "LOGCTL_PAGER": "cat",
    }


@pytest.fixture
def shell(environment):
    """Start `logctl` on a terminal with a cluster that nobody answers for."""
    started = []

    def start(*words, **more):
        words = words or ("--bootstrap", "127.0.0.1:1", "--timeout", "2s")
        terminal = Terminal(*words, environment={**environment, **more.pop("env", {})}, **more)
        started.append(terminal)
        terminal.until(PROMPT)
        return terminal

    yield start
    for terminal in started:
        terminal.close()


@pytest.fixture
def silence():
    """The address of something that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def test_the_prompt_takes_keys_while_the_cluster_says_nothing(shell, silence):
    terminal = shell("--bootstrap", silence, "--timeout", "60s")
    terminal.type("help topic list\r")
    terminal.until(r"Usage: logctl topic list")
    terminal.until(PROMPT)
    terminal.until(rf"^ {silence}")


def test_a_cluster_that_is_down_is_told_in_the_toolbar(shell):
    shell().until(r"^ 127\.0\.0\.1:1 .*connection refused")


def test_commands_complete_with_their_summaries_and_help_follows_the_line(shell):
    terminal = shell()
    terminal.type("topic cr")
    terminal.until(r"create +Create a topic")
    terminal.type(TAB)
    terminal.until(r"> topic create")
    terminal.type(" orders --parti")
    terminal.until(r"--partitions +\S+")
    terminal.type(TAB + " ")
    terminal.until(r"^ --partitions \w+")


def test_required_arguments_are_named_and_wrong_words_told(shell):
    terminal = shell()
    terminal.type("topic create ")
    terminal.until(r"needs TOPIC")
    terminal.type("\x15" + "tpic create ")
    terminal.until(r"tpic: no such command")


def test_sequences_pipes_files_and_the_code_in_the_prompt(shell, tmp_path):
    terminal = shell()
    out = tmp_path / "out file"
    terminal.type(f"help topic | grep -c list; help > '{out}' && help produce | head -1\r")
    terminal.until(r"^Usage: logctl produce")
    assert "Usage: logctl" in out.read_text()
    terminal.type("topc list\r")
    terminal.until(r"^logctl \[2\]> *$")
    terminal.type(f"topc > '{out}'\r")
    terminal.until(r"No such command 'topc'.*\n(.*\n)+logctl \[2\]> *$")
    assert "Usage: logctl" in out.read_text(), "a mistyped command emptied a file"
    terminal.type("help | sh -c 'exit 7'\r")
    terminal.until(r"^logctl \[7\]> *$")
    terminal.type("!echo from-$((40+2))\r")
    terminal.until(r"^from-42$")
    terminal.until(PROMPT)


def test_history_outlives_the_shell_is_private_and_is_searched(shell, environment):
    terminal = shell()
    terminal.type("help topic list\r")
    terminal.until(r"Usage: logctl topic list")
    terminal.until(PROMPT)
    terminal.type(" help context\r")
    terminal.until(r"Usage: logctl context")
    terminal.until(PROMPT)
    assert terminal.leave() == 0
    path = os.path.join(environment["XDG_STATE_HOME"], "logctl", "history")
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    with open(path) as file:
        kept = file.read()
    assert "help topic list" in kept
    assert "help context" not in kept
    again = shell()
    again.type("help to")
    again.until(r"> help topic list")  # suggested from the history
    again.type("\x15" + CTRL_R + "pic li")
    again.until(r"help topic list")
    again.type("\r\r")
    again.until(r"Usage: logctl topic list")


def test_ctrl_c_clears_a_line_and_ends_a_command_that_waits(shell):
    terminal = shell()
    terminal.type("topic delete orders" + CTRL_C)
    terminal.until(r"^logctl> *\n")
    terminal.type("! sh -c 'echo begun-$((1+1)); exec sleep 60'\r")
    terminal.until(r"^begun-2")
    terminal.type(CTRL_C)
    terminal.until(r"^logctl \[\d+\]> *$")
    terminal.type("help help\r")
    terminal.until(r"logctl help --json")


def test_a_dead_cluster_costs_the_timeout_and_no_more(shell):
    terminal = shell()
    started_s = time.monotonic()
    terminal.type("topic list\r")
    terminal.until(r"^error: .*127\.0\.0\.1:1")
    terminal.until(r"^logctl \[1\]> *$")
    assert time.monotonic() - started_s < 25  # and not the half minute of every command


def test_aliases_are_kept_and_complete(shell):
    terminal = shell()
    terminal.type("alias hl 'help topic list'\r")
    terminal.until(r"^hl stands for: help topic list")
    terminal.until(PROMPT)
    terminal.type("h")
    terminal.until(r"hl +alias: help topic list")
    terminal.type("l\r")
    terminal.until(r"Usage: logctl topic list")
    terminal.until(PROMPT)
    assert terminal.leave() == 0
    again = shell()
    again.type("alias\r")
    again.until(r"^hl +help topic list")


def test_long_answers_go_through_the_pager_and_wide_ones_fit(shell, environment):
    config = os.path.join(environment["XDG_CONFIG_HOME"], "logctl")
    os.makedirs(config)
    with open(os.path.join(config, "config.yaml"), "w") as file:
        contexts = "".join(f"  c{i:02}: {{bootstrap: ['127.0.0.1:{i + 1}']}}\n" for i in range(60))
        file.write(f"contexts:\n{contexts}")
    terminal = shell(env={"LOGCTL_PAGER": "sed s/^/paged:/"})
    terminal.until(r"Tab completes")
    terminal.until(r"127\.0\.0\.1:1 ")
    terminal.type("context list\r")
    terminal.until(r"^paged:.*c59")
    terminal.until(PROMPT)
    terminal.type("context list | tail -1\r")
    terminal.until(r"^ +c59")


def test_a_new_size_of_the_window_is_used(shell):
    terminal = shell()
    terminal.resize(20, 60)
    terminal.type("topic describe x --form")
    terminal.until(r"--format")
    terminal.type("\x15" + "help topic\r")
    terminal.until(PROMPT)
    assert terminal.leave() == 0


def test_no_color_is_respected(shell):
    terminal = shell(env={"NO_COLOR": "1"})
    terminal.type("topic lst; help --x")
    terminal.until(r"topic lst; help --x")
    cells = [cell for row in terminal.screen.buffer.values() for cell in row.values()]
    assert {cell.fg for cell in cells} == {"default"}


def test_a_bad_configuration_is_told_and_the_shell_starts(shell, environment):
    config = os.path.join(environment["XDG_CONFIG_HOME"], "logctl")
    os.makedirs(config)
    with open(os.path.join(config, "config.yaml"), "w") as file:
        file.write("shell: {pagng: never}\naliases: {bad: 'topic list | cat'}\n")
    terminal = shell()
    terminal.until(r"Did you mean 'paging'\?")
    terminal.until(r"alias bad: An alias stands for the beginning of one command")


def test_ctrl_d_and_lines_typed_while_a_command_runs_are_the_next_prompts(shell, tmp_path):
    terminal, go = shell(), tmp_path / "go"
    wait = f"! sh -c 'echo begun-$((1+1)); until test -e {go}; do sleep 0.05; done'\r"
    terminal.type(wait)
    terminal.until(r"^begun-2")
    terminal.type("!echo next-$((40+2))\r\x04")
    go.touch()
    assert terminal.ended() == 0
    assert "next-42" in terminal.text
