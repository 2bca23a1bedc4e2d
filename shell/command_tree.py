"""The registry as plain data, for programs that build on logctl: `logctl help --format json`.

The shape is stable: fields are added, never renamed or removed.
"""

from __future__ import annotations

from typing import Any

from shell.registry import Argument, Command, Option, Registry
from shell.settings import GLOBAL_OPTIONS


def command_tree(registry: Registry, words: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return {"version", "options", "groups", "commands"}; `words` choose a noun or a command."""
    wanted = " ".join(words)
    commands = [
        _command(command)
        for command in registry.commands.values()
        if not words or command.name == wanted or command.words[: len(words)] == words
    ]
    nouns = {command["name"].split()[0] for command in commands}
    return {
        "version": 1,
        "options": [_option(option) for option in GLOBAL_OPTIONS],
        "groups": [
            {"name": group.name, "summary": group.summary}
            for group in registry.groups.values()
            if group.name in nouns
        ],
        "commands": commands,
    }


def _command(command: Command) -> dict[str, Any]:
    return {
        "name": command.name,
        "summary": command.summary,
        "details": command.details,
        "arguments": [_argument(argument) for argument in command.arguments],
        "options": [_option(option) for option in command.options],
        "examples": [f"logctl {example}" for example in command.examples],
        "changes": command.changes,
        "destructive": command.destructive,
        "endless": command.endless,
        "extra_formats": list(command.extra_formats),
    }


def _argument(argument: Argument) -> dict[str, Any]:
    return {
        "name": argument.name,
        "help": argument.help,
        "kind": argument.kind.value,
        "required": argument.required,
        "many": argument.many,
        "choices": list(argument.choices),
    }


def _option(option: Option) -> dict[str, Any]:
    return {
        "flags": list(option.flags),
        "help": option.help,
        "kind": option.kind.value,
        "default": option.default,
        "many": option.many,
        "choices": list(option.choices),
        "minimum": option.minimum,
    }
