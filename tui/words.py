"""Words as a person types them. Pure."""

import shlex
from collections.abc import Sequence


def command(verb: str, name: str, *options: str) -> list[str]:
    """The words of a command about a name, which stays a name when it begins with a hyphen."""
    if name.startswith("-"):
        return [*verb.split(), *options, "--", name]
    return [*verb.split(), name, *options]


def with_flag(words: Sequence[str], flag: str) -> list[str]:
    """A command with a flag more, among its options."""
    at = words.index("--") if "--" in words else len(words)
    return [*words[:at], flag, *words[at:]]


def split_words(text: str) -> list[str]:
    """Words of a line, quotes respected; an open quote is a letter like others."""
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()
