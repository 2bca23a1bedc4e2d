"""The nearest valid word, as the command line says it."""

from __future__ import annotations

from collections.abc import Iterable


def did_you_mean(word: str, candidates: Iterable[str]) -> str:
    """Return " Did you mean 'x'?" (with a leading space), or "" when nothing is close."""
    from clusters.nearest import nearest

    found = nearest(word, candidates)
    return f" Did you mean '{found}'?" if found else ""
