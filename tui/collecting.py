"""When the dashboard's process looks for garbage: in quiet moments, never under somebody's key.

Python goes through every object that it keeps when it likes; with ten thousand partitions that
takes as long as a person notices. Here only young objects are gone through as they come, few at a
time; the rest while nobody presses keys, and only when there may be garbage: changes of a cluster
leave none (see `tui.rings`), pages and dialogs that were closed do, as their widgets refer to one
another. Must be ended (`end`), which gives the process its own ways back.
"""

import gc

from tui.rings import free_lines

# Young objects often, those that stayed a while seldom, all of them never by itself.
THRESHOLDS = (1_000, 10, 100_000)
# A pause between keys in which to do the rest, how long after the last time it was done: the longer
# ago, the more there is to do, and the shorter a pause must do. At last it has to be borne.
PAUSES_MS = ((30_000, 1_500), (40_000, 800), (50_000, 400), (60_000, 0))
EVERY_MS, QUIET_MS = PAUSES_MS[0]
AT_LATEST_MS = PAUSES_MS[-1][0]
# Where nobody has pressed a key since the last time there is hardly anything to be found.
UNTOUCHED_MS = 600_000
# What was there at one collection is passed over by the next ones, but for these: after some
# minutes when nobody is about, and at last in any case.
WHOLE_MS, WHOLE_QUIET_MS, WHOLE_AT_LATEST_MS = 600_000, 30_000, 3_600_000
# How often what came is passed over, how long that is put off for what is open, and how long a page
# or dialog takes to close: then it is looked for, before it would be passed over.
SETTLE_MS, PASSING_MS_MAX, CLOSING_MS = 2_000, 10_000, 700
# What is closed again and again is looked for after so long, though some of it is still closing.
CLOSING_MS_MAX = 5_000


class Collector:
    """`tick` is called now and then with the time and when the last key came, monotonic ms."""

    def __init__(self) -> None:
        free_lines()
        self._before = gc.get_threshold()
        self._collected_ms: int | None = None
        self._whole_ms = 0
        self._settled_ms = 0
        self._passing_ms: int | None = None
        # When the last was closed of what is to be looked for, and when the first.
        self._closed_ms: int | None = None
        self._closing_ms = 0
        gc.set_threshold(*THRESHOLDS)
        gc.enable()

    def closed(self, now_ms: int) -> None:
        """Something was closed: what it leaves is to be found."""
        if self._closed_ms is None:
            self._closing_ms = now_ms
        self._closed_ms = now_ms

    def tick(self, now_ms: int, last_key_ms: int, *, loaded: bool, passing: bool = False) -> bool:
        """Collect if it is time; whether it did. `loaded`: the cluster is known, so it pays.

        `passing`: something is open that will be closed, a dialog or a page that is not kept.
        """
        since_ms = None if self._collected_ms is None else now_ms - self._collected_ms
        if loaded and since_ms is not None:
            self._settle(now_ms, passing)
        if not loaded or (since_ms is not None and since_ms < EVERY_MS):
            return False
        if since_ms is None:
            # What starting made stays: to go through it would only find that out.
            gc.freeze()
            self._collected_ms = self._whole_ms = self._settled_ms = now_ms
            return True
        quiet_ms = now_ms - last_key_ms
        untouched = quiet_ms >= since_ms
        if quiet_ms < min(pause_ms for after_ms, pause_ms in PAUSES_MS if since_ms >= after_ms):
            return False
        if untouched and since_ms < UNTOUCHED_MS:
            return False
        whole_ms = now_ms - self._whole_ms
        rested = whole_ms >= WHOLE_MS and quiet_ms >= WHOLE_QUIET_MS
        if rested or whole_ms >= WHOLE_AT_LATEST_MS:
            gc.unfreeze()
            self._whole_ms = now_ms
        gc.collect()
        gc.freeze()
        self._collected_ms = self._settled_ms = now_ms
        return True

    def _settle(self, now_ms: int, passing: bool) -> None:
        """Pass over what has come to stay."""
        if not passing:
            self._passing_ms = None
        elif self._passing_ms is None:
            self._passing_ms = now_ms
        if self._passing_ms is not None and now_ms - self._passing_ms < PASSING_MS_MAX:
            return
        if self._closed_ms is not None:
            waited_ms = now_ms - self._closing_ms
            if now_ms - self._closed_ms < CLOSING_MS and waited_ms < CLOSING_MS_MAX:
                return
            self._closed_ms = None
            gc.collect()
        elif now_ms - self._settled_ms < SETTLE_MS:
            return
        else:
            gc.collect(1)
        gc.freeze()
        self._settled_ms = now_ms

    def end(self) -> None:
        """Leave the collecting to Python again."""
        gc.unfreeze()
        gc.set_threshold(*self._before)
