"""The nearest known word to a mistyped one. Pure."""

from __future__ import annotations

from collections.abc import Iterable


def nearest(word: str, known: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """The known word that looks most like `word`, or None when none does."""
    # Only the mistyped word pays for loading it.
    from difflib import get_close_matches

    folded = {candidate.casefold(): candidate for candidate in sorted(known)}
    typed = word.casefold()
    matches = get_close_matches(typed, list(folded), 1, cutoff)
    if matches:
        return folded[matches[0]]
    starts = [name for name in folded if len(typed) >= 2 and name.startswith(typed)]
    return folded[starts[0]] if len(starts) == 1 else None


def hint(word: str, known: Iterable[str]) -> str:
    """A clause that helps: the nearest word, or all of them when they are few."""
    words = sorted(known)
    match = nearest(word, words)
    if match is not None:
        return f'did you mean "{match}"?'
    if len(words) <= 12:
        return f"known: {', '.join(words)}"
    return "no known key looks like it"
