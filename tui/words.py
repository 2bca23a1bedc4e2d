"""Words as a person types them. Pure."""

import shlex


def split_words(text: str) -> list[str]:
    """Words of a line, quotes respected; an open quote is a letter like others."""
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()
