"""The nearest known word to a mistyped one. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(word: str, known: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """The known word that looks most like `word`, or None when none does."""
    words = sorted(known)
    folded = {candidate.casefold(): candidate for candidate in words}
    matches = difflib.get_close_matches(word.casefold(), list(folded), 1, cutoff)
    return folded[matches[0]] if matches else None


def hint(word: str, known: Iterable[str]) -> str:
    """A clause that helps: the nearest word, or all of them when they are few."""
    words = sorted(known)
    match = nearest(word, words)
    if match is not None:
        return f'did you mean "{match}"?'
    if len(words) <= 12:
        return f"known: {', '.join(words)}"
    return "no known key looks like it"
