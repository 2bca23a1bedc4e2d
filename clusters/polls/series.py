"""Numbers over time with bounded memory: counts in buckets, samples and their rates. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from math import sqrt


class Buckets:
    """Counts per stretch of time, the last `count` of them. Times in milliseconds, any clock."""

    def __init__(self, width_ms: int, count: int) -> None:
        self.width_ms = width_ms
        self.count = count
        self._counts: dict[int, int] = {}

    def add(self, at_ms: int, number: int = 1) -> None:
        """Count at a time; one that is older than all kept is left out."""
        slot = at_ms // self.width_ms
        self._counts[slot] = self._counts.get(slot, 0) + number
        if len(self._counts) > self.count:
            newest = max(self._counts)
            self._counts = {s: n for s, n in self._counts.items() if s > newest - self.count}

    def values(self, now_ms: int) -> list[int]:
        """`count` numbers, the newest at the end; the last bucket is still being filled."""
        last = now_ms // self.width_ms
        return [self._counts.get(slot, 0) for slot in range(last - self.count + 1, last + 1)]


class Samples:
    """A counter or level, sampled. Keeps at most `count` samples as (at_ms, value)."""

    def __init__(self, count: int = 120) -> None:
        self._samples: deque[tuple[int, float]] = deque(maxlen=count)
        # Trends by their window, until another sample comes.
        self._trends: dict[int, float | None] = {}

    def add(self, at_ms: int, value: float) -> None:
        """Take a sample; one at the same time replaces the last."""
        if self._samples and self._samples[-1][0] >= at_ms:
            self._samples.pop()
        self._samples.append((at_ms, value))
        self._trends.clear()

    @property
    def last(self) -> float | None:
        """The newest value."""
        return self._samples[-1][1] if self._samples else None

    @property
    def span_ms(self) -> int:
        """Milliseconds from the oldest sample to the newest."""
        return self._samples[-1][0] - self._samples[0][0] if self._samples else 0

    @property
    def levels(self) -> list[float]:
        """All values, the newest at the end."""
        return [value for _, value in self._samples]

    def per_second(self, window_ms: int = 10_000) -> float | None:
        """Change per second over the last `window_ms`; None with fewer than two samples."""
        if len(self._samples) < 2:
            return None
        newest_ms, newest = self._samples[-1]
        oldest_ms, oldest = self._samples[-2]
        for at_ms, value in list(self._samples)[-3::-1]:
            if newest_ms - at_ms > window_ms:
                break
            oldest_ms, oldest = at_ms, value
        if newest_ms <= oldest_ms:
            return None
        return (newest - oldest) * 1000 / (newest_ms - oldest_ms)

    def trend(self, window_ms: int) -> float | None:
        """Where a level goes, change per second over the last `window_ms`, by least squares.

        0.0 where that cannot be told from how it goes up and down anyway (within two standard
        errors), as a lag does between two commits; None with fewer than two samples.
        """
        if window_ms not in self._trends:
            self._trends[window_ms] = self._fit(window_ms)
        return self._trends[window_ms]

    def _fit(self, window_ms: int) -> float | None:
        if len(self._samples) < 2:
            return None
        newest_ms = self._samples[-1][0]
        points = [each for each in self._samples if newest_ms - each[0] <= window_ms]
        if len(points) < 3:
            return self.per_second(window_ms)
        times = [(at_ms - newest_ms) / 1000 for at_ms, _ in points]
        middle = sum(times) / len(times)
        mean = sum(value for _, value in points) / len(points)
        spread = sum((at - middle) ** 2 for at in times)
        slope = (
            sum((at - middle) * (v - mean) for at, (_, v) in zip(times, points, strict=True))
            / spread
        )
        missed = sum(
            (v - mean - slope * (at - middle)) ** 2
            for at, (_, v) in zip(times, points, strict=True)
        )
        error = sqrt(missed / (len(points) - 2) / spread)
        return slope if abs(slope) > 2 * error else 0.0

    def rates(self) -> list[float]:
        """Change per second from each sample to the next; a counter that fell counts as zero."""
        pairs = zip(self._samples, list(self._samples)[1:], strict=False)
        return [
            max(0.0, (after - before) * 1000 / (after_ms - before_ms))
            for (before_ms, before), (after_ms, after) in pairs
            if after_ms > before_ms
        ]


def total(values: Iterable[int | None]) -> tuple[int, int]:
    """(sum of what is known, how many are not)."""
    known = list(values)
    return sum(value for value in known if value is not None), known.count(None)
