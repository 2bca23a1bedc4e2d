"""What could come next in a condition on the command line.

Pure. Loads the language of conditions only when the cursor is in one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from shell.names import Names
from shell.registry import Command

# Lists whose conditions are about one kind of row.
_TABLES = {"topic": "topics", "partition": "partitions", "broker": "brokers", "group": "groups"}


def table_of(command: Command | None) -> str | None:
    """The table that a command lists, or None when its condition names one."""
    if command is None:
        return None
    return _TABLES.get(command.words[0])


def next_words(
    command: Command | None, before: Sequence[str], current: str, names: Names
) -> list[tuple[str, str]]:
    """(word, what it is) for the started word `current` after the condition's words `before`.

    A started word may hold a whole condition in quotes; what is returned replaces all of it.
    """
    from clusters.query import suggest

    prefix = " ".join([*before, ""])
    text = prefix + current
    live: dict[str, Iterable[object]] = {
        "topic": names.topics,
        "topics": names.topics,
        "group": names.groups,
        **dict.fromkeys(
            ("leader", "preferred_leader", "broker", "node", "coordinator"), names.brokers
        ),
    }
    found = suggest(text, table=table_of(command), names=live)
    return [
        ((text[: each.start] + each.text)[len(prefix) :], each.help)
        for each in found
        if each.start >= len(prefix)
    ]
