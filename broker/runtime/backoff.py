"""Pauses between attempts: they double, up to a limit, with a little randomness."""

from random import Random


class Backoff:
    """A sequence of pauses in seconds, from ``first_ms`` to ``most_ms``, each 80 to 120 %."""

    __slots__ = ("_first_ms", "_most_ms", "_next_ms", "_rng")

    def __init__(self, rng: Random, *, first_ms: int, most_ms: int) -> None:
        self._rng = rng
        self._first_ms = first_ms
        self._most_ms = most_ms
        self._next_ms = first_ms

    def next_s(self) -> float:
        """The pause before the next attempt."""
        pause_ms = self._next_ms * self._rng.uniform(0.8, 1.2)
        self._next_ms = min(self._next_ms * 2, self._most_ms)
        return pause_ms / 1000

    def reset(self) -> None:
        """It worked: begin again with the shortest pause."""
        self._next_ms = self._first_ms
