"""What is shown comes from here: the feed and the polls of one cluster, or of another one.

Tasks only put what arrived into the store or in a queue, and ask for painting. They must never
paint themselves, and nothing of the cluster before may come after a switch.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from textual.widgets import Input

from broker.protocol.errors import LogctlError
from clusters.polls import Poll, Poller, PollKind, Pulse, Questions
from clusters.polls.pulse import Ways
from clusters.watch import ClusterFeed
from clusters.watch.slices import RESTING, in_slices
from tui.doors import (
    Commander,
    Feed,
    Guide,
    MonotonicClock,
    Target,
    TargetOf,
    TargetProblem,
    monotonic_ms,
    saved_target,
    wall_ms,
)
from tui.holding import Hold
from tui.pages import Place
from tui.painting import Painting
from tui.saved import SavedContext
from tui.store import Store

POLL_TIMEOUT_MS = 4_000
LOOK_S = 1.0
TOLD_S = 15
FeedOf = Callable[[Sequence[str]], Feed]


def _feed(bootstrap: Sequence[str]) -> Feed:
    return ClusterFeed(bootstrap, from_start=True)


class Following(Painting):
    """`bootstrap` lists addresses of brokers; a dead one is passed over."""

    def __init__(
        self,
        bootstrap: Sequence[str],
        *,
        feed: Feed | None = None,
        kinds: Mapping[str, PollKind] | None = None,
        ways: Ways | None = None,
        guide: Guide | None = None,
        name: str = "",
        read_only: bool = False,
        now_ms: Callable[[], int] = monotonic_ms,
        wall_ms: Callable[[], int] = wall_ms,
        feed_of: FeedOf = _feed,
        admin_of: Callable[[], Any] | None = None,
        commander: Commander | None = None,
        target_of: TargetOf | None = None,
        color: str | None = None,
        saved: SavedContext | None = None,
    ) -> None:
        super().__init__()
        self.problem: BaseException | None = None
        self.bootstrap = list(bootstrap)
        self.cluster_name = name
        self.read_only, self.color = read_only, color
        self._saved = saved
        self._feed_of = feed_of
        self._admin_of = admin_of
        self.commander = commander
        self._target_of = target_of if target_of is not None else saved_target
        self._feed = feed if feed is not None else feed_of(self.bootstrap)
        # Given kinds ask somebody else than the cluster's brokers, of whom only `ways` tells.
        self._kinds, self._ways = kinds, ways
        self._guide = guide
        self.now_ms = now_ms
        self.wall_ms = wall_ms
        self.hold = Hold(now_ms, wall_ms)
        self._clock = MonotonicClock(now_ms, wall_ms)
        self.store = Store(self._feed.status)
        self._poller: Poller | None = None
        self._pulse: Pulse | None = None

    def _begin(self, place: Place | None = None) -> None:
        RESTING.set(self.key_first_s)
        self.run_worker(self._follow_feed(), group="feed", exclusive=True)
        self.run_worker(self._poll(), group="polls", exclusive=True)
        if self._saved is not None and self._saved.is_watched:
            self.run_worker(self._keep_up(self._saved), group="saved", exclusive=True)
        self.open_place(place or Place("overview"))

    # -- what arrives

    async def _follow_feed(self) -> None:
        async with self._feed:
            async for update in self._feed.updates():
                self._waiting.append(update)
                self._schedule()

    async def _poll(self) -> None:
        async with contextlib.AsyncExitStack() as stack:
            kinds, ways = self._kinds, self._ways
            if kinds is None:
                # Not entered, which asks the cluster: one that does not answer yet, or may not be
                # used, is told by each poll, and never ends the dashboard.
                admin = self._admin()
                admin.ask_often(POLL_TIMEOUT_MS)
                stack.push_async_callback(admin.close)
                kinds, ways = Questions(admin, self.store.partitions_of).kinds(), admin
            if ways is not None:
                self._listen(ways)
            store = self.store

            async def take(poll: Poll, answer: Any) -> None:
                if self.hold.is_on and store.answer(poll).at_ms is not None:
                    return
                await in_slices(store.taking(poll, answer))
                self._schedule()

            self._poller = Poller(kinds, clock=self._clock, on_answer=take)
            if self._places:
                self._want()
            await self._poller.run()

    def _listen(self, ways: Ways) -> None:
        """Ask brokers whether they are there: the metadata log tells seconds later."""
        self._pulse = Pulse(ways, clock=self._clock, on_change=self._schedule)
        self.run_worker(self._pulse.run(), group="pulse", exclusive=True)

    def _admin(self) -> Any:
        if self._admin_of is not None:
            return self._admin_of()
        from clusters.admin import AdminClient

        return AdminClient(self.bootstrap, timeout_ms=POLL_TIMEOUT_MS)

    # -- another cluster

    def _switch_context(self, name: str) -> None:
        try:
            target = self._target_of(name)
        except (TargetProblem, LogctlError) as error:
            self.notify(str(error), severity="error", markup=False)
            return
        # What is typed from now on is meant for that cluster.
        self.ahead.begin()
        self.run_worker(self._switch(target), group="switch", exclusive=True)

    async def _keep_up(self, saved: SavedContext) -> None:
        """Follow anew what is shown once its context is another in the file, and say so."""
        found = None
        while found is None or self._is_asked():
            await asyncio.sleep(LOOK_S)
            if found is not None or self._is_asked() or not saved.has_moved():
                continue
            try:
                found = await asyncio.to_thread(saved.look)
            except (TargetProblem, LogctlError) as error:
                self.notify(str(error), severity="warning", markup=False, timeout=TOLD_S)
        target, what = found
        said = f"The context {target.name} was changed ({what}): it is followed as it is now."
        self.notify(said, timeout=TOLD_S, markup=False)
        self.ahead.begin()
        self.run_worker(self._switch(target, saved), group="switch", exclusive=True)

    def _is_asked(self) -> bool:
        """Whether somebody is about to agree to something: to nothing else than was shown.

        At the end there is no screen, and nobody who could be told.
        """
        return len(self.screen_stack) != 1 or isinstance(self.focused, Input)

    async def _switch(self, target: Target, saved: SavedContext | None = None) -> None:
        """Show another cluster; with `saved` the same one anew, at the place where one is."""
        place = self.place if saved is not None and self._places else None
        for group in ("feed", "polls", "pulse", "saved", "action"):
            self.workers.cancel_group(self, group)
        for page in list(self._pages.values()):
            page.forget()
            await page.remove()
        self._pages.clear()
        self._places.clear()
        self.hold.end()
        self._waiting.clear()
        self._drawn.clear()
        self._poller = self._pulse = None
        self._told_source, self._paint_due = None, False
        self.bootstrap, self.cluster_name = list(target.bootstrap), target.name
        self.read_only, self.color = target.read_only, target.color
        self._saved = saved if saved is not None else SavedContext(target)
        self.commander, self._admin_of = target.commander, target.admin_of
        self._feed = target.feed if target.feed is not None else self._feed_of(self.bootstrap)
        self.store = Store(self._feed.status)
        self._begin()
        if place is not None:
            self.open_place(place)
