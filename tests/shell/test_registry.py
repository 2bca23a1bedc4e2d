"""The registry agrees with itself: each command can be called with what it declares."""

from __future__ import annotations

import inspect

import pytest

from shell.cli import build, parse
from shell.commands import all_commands, commands_for
from shell.script import parse_line
from shell.settings import GLOBAL_OPTIONS

REGISTRY = all_commands()
COMMANDS = list(REGISTRY.commands.values())


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_run_takes_exactly_the_declared_values(command):
    taken = inspect.signature(command.run).parameters
    declared = [value.parameter for value in (*command.arguments, *command.options)]
    assert sorted(declared) == sorted(name for name in taken if name != "session")


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_examples_parse_to_their_own_command(command):
    assert command.examples
    for example in command.examples:
        words = parse_line(example)[0].words
        assert parse(build(REGISTRY), words).command is command


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_words_and_flags_are_not_taken_twice(command):
    flags = [flag for option in (*command.options, *GLOBAL_OPTIONS) for flag in option.flags]
    flags += ["--help", "-h"]
    assert len(flags) == len(set(flags))
    names = [v.parameter for v in (*command.arguments, *command.options, *GLOBAL_OPTIONS)]
    assert len(names) == len(set(names))


def test_whatever_destroys_asks_and_whatever_asks_changes():
    for command in COMMANDS:
        assert command.destructive == (command.question is not None or command.asks_itself)
        assert not (command.question is not None and command.asks_itself)
        assert command.changes or not command.destructive


def test_every_change_can_be_tried_without_changing_anything():
    without = [
        command.name
        for command in COMMANDS
        if command.changes and not any(option.is_trial for option in command.options)
    ]
    assert not without


@pytest.mark.parametrize("word", REGISTRY.top_level())
def test_one_command_line_loads_all_commands_of_its_first_word(word):
    wanted = [name for name in REGISTRY.commands if name.split()[0] == word]
    assert [name for name in commands_for(word).commands if name.split()[0] == word] == wanted
    assert wanted


@pytest.mark.parametrize("word", [None, "tpic", "--help"])
def test_words_that_begin_no_command_are_looked_up_among_all(word):
    assert list(commands_for(word).commands) == list(REGISTRY.commands)
