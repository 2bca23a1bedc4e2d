"""Deadlines by key: set, moved and cancelled cheaply, found in order.

Moving a deadline further away, which every heartbeat does, costs one dictionary write: the heap
learns of it only when the old deadline comes. Time is handed in.
"""

import heapq
from typing import Any, TypeAlias

Key: TypeAlias = tuple[str, ...]


class Timers:
    """Monotonic deadlines, each with an action as data."""

    __slots__ = ("_due", "_heap", "_sequence")

    def __init__(self) -> None:
        # key -> (deadline, the time of its entry in the heap, action)
        self._due: dict[Key, tuple[int, int, Any]] = {}
        # (time, order, key). Invariant: each key of `_due` has the entry that it names, at or
        # before its deadline; other entries are left-overs.
        self._heap: list[tuple[int, int, Key]] = []
        self._sequence = 0

    def __len__(self) -> int:
        return len(self._due)

    def set(self, key: Key, deadline_ms: int, action: Any = None) -> None:
        """At `deadline_ms` do `action`; replaces what `key` had."""
        known = self._due.get(key)
        if known is not None and known[1] <= deadline_ms:
            self._due[key] = (deadline_ms, known[1], action)
            return
        self._push(key, deadline_ms, action)

    def _push(self, key: Key, deadline_ms: int, action: Any) -> None:
        self._due[key] = (deadline_ms, deadline_ms, action)
        self._sequence += 1
        heapq.heappush(self._heap, (deadline_ms, self._sequence, key))
        if len(self._heap) > 2 * len(self._due) + 1024:
            self._rebuild()

    def _rebuild(self) -> None:
        """Drop the left-overs: members that come and go must not make the heap grow."""
        self._heap.clear()
        for key, (deadline_ms, _, action) in self._due.items():
            self._sequence += 1
            self._due[key] = (deadline_ms, deadline_ms, action)
            self._heap.append((deadline_ms, self._sequence, key))
        heapq.heapify(self._heap)

    def cancel(self, key: Key) -> None:
        """Forget the deadline of `key`, if it has one."""
        self._due.pop(key, None)

    def get(self, key: Key) -> int | None:
        """The deadline of `key`."""
        known = self._due.get(key)
        return None if known is None else known[0]

    def next_wakeup_ms(self) -> int | None:
        """When to call `pop_due` next; None when nothing is set."""
        heap = self._heap
        while heap:
            time_ms, _, key = heap[0]
            known = self._due.get(key)
            if known is None or known[1] != time_ms:
                heapq.heappop(heap)
                continue
            if known[0] > time_ms:
                heapq.heappop(heap)
                self._push(key, known[0], known[2])
                continue
            return time_ms
        return None

    def pop_due(self, now_ms: int) -> tuple[Key, Any] | None:
        """The key and action of the earliest deadline that has come, taken out."""
        next_ms = self.next_wakeup_ms()
        if next_ms is None or next_ms > now_ms:
            return None
        _, _, key = heapq.heappop(self._heap)
        return key, self._due.pop(key)[2]
