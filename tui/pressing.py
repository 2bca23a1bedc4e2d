"""Which presses of a key are one press: a key that is held down sends itself again and again.

Pure; times are seconds of a clock that never goes back. No terminal tells that a key is held, only
how fast it comes: so a press that may be the first repeat is open until the next one would be due.
In doubt it must be taken for a repeat, which costs somebody one more press.
"""

from collections import deque
from dataclasses import dataclass

# Keyboards repeat every 20 to 100 ms, once a key was down for 200 to 1,000 ms.
REPEAT_S = 0.15
DELAY_S = 1.2
# The last repeats may come late over a slow line, with no more after them that would tell.
LATE_S = 0.4
# Who was not asked for so long stood still, and what came meanwhile may not be noted yet.
STILL_S = 0.1
# So many in a row are no longer somebody's two quick taps.
HELD_PRESSES = 3
# More are never waited for at once.
KEPT_MAX = 256


@dataclass(slots=True)
class Press:
    """A key at `at_s`. `down_s` is when the one press began that it is part of, of `count` so far.

    `maybe` is the press that it would go on with, if another should follow at once.
    """

    key: str
    at_s: float
    down_s: float
    count: int = 1
    maybe: "Press | None" = None
    asked_s: float = 0.0

    @property
    def is_repeat(self) -> bool:
        """Whether the key had been down before."""
        return self.count > 1

    @property
    def since_s(self) -> float:
        """Since when the key may have been down."""
        return self.down_s if self.maybe is None else self.maybe.down_s


class Presses:
    """The latest presses, in the order in which they came.

    `repeat_s` is how fast a key comes that is held; 0 where nobody's fingers press it.
    """

    def __init__(self, repeat_s: float = REPEAT_S) -> None:
        self._repeat_s = repeat_s
        self._all: deque[Press] = deque(maxlen=KEPT_MAX)

    def note(self, key: str, at_s: float) -> Press:
        """A key came."""
        press = Press(key, at_s, at_s, asked_s=at_s)
        last = self._all[-1] if self._all else None
        if last is not None and last.key == key and self._repeat_s:
            gap_s = at_s - last.at_s
            if gap_s <= self._repeat_s and last.maybe is not None:
                # It was the first repeat, after the delay.
                _go_on(last, last.maybe)
            if gap_s <= (LATE_S if last.count >= HELD_PRESSES else self._repeat_s):
                _go_on(press, last)
            elif gap_s <= DELAY_S:
                press.maybe = last
        if last is not None:
            last.maybe = None
        self._all.append(press)
        return press

    def find(self, key: str, at_s: float) -> Press | None:
        """The press of a key at a time; None when it is no longer known, or never was."""
        for press in reversed(self._all):
            if press.at_s == at_s and press.key == key:
                return press
            if press.at_s < at_s:
                break
        return None

    def is_settled(self, press: Press, now_s: float) -> bool:
        """Whether it is known by now if this is a repeat; asked again and again until it is."""
        if press.maybe is not None:
            still_s, press.asked_s = now_s - press.asked_s, now_s
            if still_s <= STILL_S and now_s >= press.at_s + self._repeat_s:
                press.maybe = None
        return press.maybe is None


def _go_on(press: Press, before: Press) -> None:
    press.down_s, press.count, press.maybe = before.down_s, before.count + 1, None
