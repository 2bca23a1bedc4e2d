"""How often each group was seen to rebalance: one that does so without end reads little. Pure.

Polls see a group now and then: what begins and ends between two of them is seen by its members,
who have other ids afterwards, or not at all. The number is of what was seen, never of more.
"""

from collections import deque
from collections.abc import Iterable, Sequence

MOVING = ("PreparingRebalance", "CompletingRebalance", "Assigning", "Reconciling")
KEPT_MAX = 40
GROUPS_MAX = 2_000


class Rebalances:
    """Times are of the monotonic clock, in milliseconds."""

    def __init__(self) -> None:
        self._moving: dict[str, bool] = {}
        self._members: dict[str, frozenset[str]] = {}
        self._times: dict[str, deque[int]] = {}

    def saw(self, group: str, state: str, at_ms: int, members: Iterable[str] | None = None) -> None:
        """Take how a group stands; `members` are ids, None where they were not asked."""
        moving, known = state in MOVING, self._members.get(group)
        begun = moving and self._moving.get(group) is False
        if members is not None:
            ids = frozenset(members)
            # Others than when it last stood still: it has rebalanced in between.
            others = known is not None and ids != known and not self._moving.get(group)
            begun = begun or others
            self._members[group] = ids
        self._moving[group] = moving
        if begun:
            self._times.setdefault(group, deque(maxlen=KEPT_MAX)).append(at_ms)
        for kept in (self._moving, self._members, self._times):
            while len(kept) > GROUPS_MAX:
                del kept[next(iter(kept))]

    def since(self, group: str, at_ms: int) -> Sequence[int]:
        """When it was seen to begin one, from a time on."""
        return [each for each in self._times.get(group, ()) if each >= at_ms]
