"""Whether one broker answers, from when it was asked and when it answered. Pure.

A controller calls a broker down only when its session is over, seconds after it died; who asks it
himself knows sooner. Must never call one silent that is only slow, or that was never reached from
here, nor count time in which this process itself stood still.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Literal

# Loss must be seen within a second or two: an answer that takes longer is told.
LATE_MS = 900
# One that takes long as a rule is given so many times as long before it is called silent. A rule is
# what happened more than once in a few times: one pause is none.
PATIENCE_TIMES = 3
USUAL_OF = 4
USUAL_MS_MAX = 10_000

State = Literal["unknown", "answers", "slow", "silent", "unreachable"]


@dataclass(frozen=True, slots=True)
class Standing:
    """How a broker answers, as seen from here.

    unknown: not asked yet, or the first answer is still waited for. slow: it answers, late. silent:
    it answered before and does not now. unreachable: it has never answered from here.
    `since_ms` is monotonic: of silent the last answer, of unreachable the first attempt, else None.
    `took_ms` is what answers take as a rule. `reason` is why there is none, in words.
    """

    state: State = "unknown"
    since_ms: int | None = None
    took_ms: int | None = None
    reason: str = ""


UNKNOWN = Standing()


class Heard:
    """What is known of one broker. Times are monotonic milliseconds."""

    def __init__(self, *, reached: bool = False) -> None:
        """`reached`: it has answered from here at an earlier time, though not to this object."""
        self.reached = reached
        self._asked_ms: int | None = None
        self._first_ms: int | None = None
        self._answered_ms: int | None = None
        self._took_ms: deque[int] = deque(maxlen=USUAL_OF)
        self._usual_ms = 0
        self._problem = ""

    def asked(self, now_ms: int) -> None:
        """It is being asked; asking again while nothing came does not begin anew."""
        if self._first_ms is None:
            self._first_ms = now_ms
        if self._asked_ms is None:
            self._asked_ms = now_ms

    def answered(self, now_ms: int) -> None:
        """Whatever it said: somebody is there."""
        began_ms = now_ms if self._asked_ms is None else self._asked_ms
        # After a failure the time it was away says nothing of how quick it is.
        self._took_ms.append(0 if self._problem else min(USUAL_MS_MAX, max(0, now_ms - began_ms)))
        longest = sorted(self._took_ms, reverse=True)
        # As a rule: the second longest of late.
        self._usual_ms = longest[min(1, len(longest) - 1)]
        self._answered_ms, self._asked_ms, self._problem, self.reached = now_ms, None, "", True

    def failed(self, now_ms: int, reason: str) -> None:
        """It could not be asked, or its time was over."""
        self.asked(now_ms)
        self._problem = reason

    def stood_still(self, for_ms: int, now_ms: int) -> None:
        """This process did not run: that is no time in which anybody was silent."""

        def later(at_ms: int | None) -> int | None:
            return None if at_ms is None else min(now_ms, at_ms + for_ms)

        self._asked_ms, self._first_ms = later(self._asked_ms), later(self._first_ms)
        self._answered_ms = later(self._answered_ms)

    @property
    def is_calm(self) -> bool:
        """Whether it stands the same until it is asked again: as time goes by nothing changes."""
        return self._asked_ms is None and not self._problem

    def standing(self, now_ms: int) -> Standing:
        """How it stands now."""
        waited_ms = 0 if self._asked_ms is None else max(0, now_ms - self._asked_ms)
        usual_ms = self._usual_ms
        if not self.reached:
            if not self._problem:
                return UNKNOWN
            return Standing("unreachable", self._first_ms, None, self._problem)
        if self._problem or waited_ms > max(LATE_MS, PATIENCE_TIMES * usual_ms):
            since_ms = self._asked_ms if self._answered_ms is None else self._answered_ms
            return Standing("silent", since_ms, usual_ms, self._problem or "no answer")
        if not self._took_ms:
            return UNKNOWN
        is_late = max(waited_ms, usual_ms) > LATE_MS
        return Standing("slow" if is_late else "answers", None, usual_ms)
