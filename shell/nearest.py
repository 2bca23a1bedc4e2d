"""The nearest valid word to a mistyped one."""

from __future__ import annotations

from collections.abc import Iterable


def nearest(word: str, candidates: Iterable[str]) -> str | None:
    """Return the candidate that `word` most likely meant, or None when nothing is close."""
    from difflib import get_close_matches

    known = sorted(set(candidates))
    matches = get_close_matches(word, known, n=1, cutoff=0.6)
    if matches:
        return matches[0]
    starts = [name for name in known if len(word) >= 2 and name.startswith(word)]
    return starts[0] if len(starts) == 1 else None


def did_you_mean(word: str, candidates: Iterable[str]) -> str:
    """Return " Did you mean 'x'?" (with a leading space), or "" when nothing is close."""
    found = nearest(word, candidates)
    return f" Did you mean '{found}'?" if found else ""
