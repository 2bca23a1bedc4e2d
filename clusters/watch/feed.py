"""The live feed: every change of the cluster, in order, each once, as long as anybody answers.

Finds the controllers through any broker and follows the metadata log at the leading one. When that
dies it goes on at the next one from the same offset. Where the controllers cannot be read it polls
brokers and says so. Never guesses: what it shows is committed, and its status says how old it is.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from broker.protocol.client import BrokerConnection
from broker.protocol.errors import LogctlError
from broker.protocol.image import EMPTY_IMAGE, ImageError, MetadataImage
from broker.protocol.network import Network
from clusters.admin.connections import why
from clusters.admin.errors import AdminError, WrongCluster
from clusters.admin.opening import Opener, split_address
from clusters.watch.differences import Stamp, comparing
from clusters.watch.discovery import Discovery, NobodyAnswers, discover
from clusters.watch.ending import end_task, in_time
from clusters.watch.events import ClusterEvent
from clusters.watch.log_reader import reading_committed, snapshot_records
from clusters.watch.projector import ProjectionError, Projector
from clusters.watch.quorum_reader import (
    MAX_WAIT_MS,
    Fetched,
    LogChanged,
    NotLeader,
    QuorumReader,
    Unusable,
)
from clusters.watch.sampled import NO_OFFSET, bridging, keeping, sample
from clusters.watch.sampled_settings import SampledSettings, as_if_known
from clusters.watch.scouts import Leading, Position, Scouts, patience_ms
from clusters.watch.slices import in_slices
from clusters.watch.status import Clock, FeedStatus, FeedUpdate, Mode, Refusal, SystemClock

if TYPE_CHECKING:
    from clusters.admin.credentials import Renewal
    from clusters.admin.security import Security

# Loss must be seen within a second: an answer that takes longer is told to be late.
LATE_MS = 900
# Nothing better was found meanwhile: then the connection is taken for dead.
GIVE_UP_MS = 15_000
WAIT_MS_MIN = 50
PAUSE_S_MIN = 0.03
PAUSE_S_MAX = 0.5
# Uncommitted records come back at once; do not spin until they are committed.
UNCOMMITTED_PAUSE_S = 0.005
SAMPLE_EVERY_S = 1.0
SAMPLED_AFTER_MS = 3_000
RETRY_LOG_EVERY_MS = 10_000
REFUSED_RETRY_MS = 60_000
NOT_TOLD_RETRY_MS = 3_000
REDISCOVER_MS = 2_000
QUEUE_UPDATES_MAX = 1_000
NOT_LET_IN_PAUSE_S = 10.0
WRONG_CLUSTER_PAUSE_S = 2.0
SAMPLED_NOTE = "sampled: may miss changes"

T = TypeVar("T")


class ClusterFeed:
    """Use as `async with ClusterFeed([...]) as feed: async for update in feed.updates(): ...`.

    `from_start` replays what the log still holds as events, marked `replaying`. The first update
    that is live carries the state at that moment.
    """

    def __init__(
        self,
        bootstrap: Sequence[str],
        *,
        network: Network | None = None,
        clock: Clock | None = None,
        from_start: bool = False,
        security: Security | None = None,
        cluster_id: str | None = None,
        renewal: Renewal | None = None,
    ) -> None:
        """`cluster_id` is the only cluster to follow; another one is refused, and never shown.

        `renewal` is where `security` is read again once it is not taken any more.
        """
        if not bootstrap:
            raise AdminError("No broker was named; give --bootstrap HOST:PORT or choose a context")
        self._bootstrap = list(dict.fromkeys(bootstrap))
        for address in self._bootstrap:
            split_address(address)
        self._opener = Opener(network, security, cluster_id, renewal)
        self._clock = clock if clock is not None else SystemClock()
        self._from_start = from_start
        self._queue: asyncio.Queue[FeedUpdate | None] = asyncio.Queue(QUEUE_UPDATES_MAX)
        self._task: asyncio.Task[None] | None = None
        self._status = FeedStatus(
            mode="connecting",
            source="",
            message=f"asking {', '.join(self._bootstrap)} for the controllers",
            last_contact_ms=0,
        )
        self._image: MetadataImage = EMPTY_IMAGE
        self._projector = Projector()
        self._settings = SampledSettings()
        # While catching up in silence: the image to compare with at its end, or None for no events.
        self._silent = not from_start
        self._compare_with: MetadataImage | None = None
        self._compare_sample = False
        self._caught_up = False
        self._target = -1
        self._controllers: dict[int, str] = {}
        self._brokers: list[str] = []
        self._hint: int = -1
        self._quorum_epoch = 0
        # Of the cluster that was followed last; "" where brokers do not tell.
        self._known_id = ""
        # The controller whose log is followed just now, why another one was left, and which.
        self._followed = ""
        self._left_because = ""
        self._last_source = ""
        self._live_at_ms = 0
        # When all was read that there was.
        self._whole_at_ms = 0
        self._discovered_at_ms = 0
        # What a request without waiting takes, and what the last answer took, waiting and all.
        self._trip_ms = 0
        self._answer_took_ms = 0

    async def __aenter__(self) -> Self:
        self._live_at_ms = self._clock.monotonic_ms()
        self._task = asyncio.create_task(self._guarded(), name="cluster feed")
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await end_task(self._task)

    @property
    def status(self) -> FeedStatus:
        """How the feed is doing right now; `last_contact_ms` is fresher than in any update."""
        return self._status

    @property
    def image(self) -> MetadataImage:
        """The state as last told."""
        return self._image

    async def updates(self) -> AsyncIterator[FeedUpdate]:
        """Every update in order, until the feed is left. A slow reader makes the feed wait."""
        while True:
            update = await self._queue.get()
            if update is None:
                if self._task is not None:
                    await self._task
                return
            yield update

    # Telling

    async def _guarded(self) -> None:
        try:
            await self._run()
        finally:
            # After a bug the reader must wake up and see it, and never wait for ever.
            with contextlib.suppress(asyncio.QueueFull):
                self._queue.put_nowait(None)

    async def _say(self, mode: Mode, source: str, message: str, refusal: Refusal = "") -> None:
        """Change the status, and tell it when it differs in more than its age."""
        now = FeedStatus(
            mode=mode,
            source=source,
            message=message,
            last_contact_ms=self._status.last_contact_ms,
            controller_id=self._projector.controller_id,
            controller_epoch=self._projector.controller_epoch,
            refusal=refusal,
        )
        changed = now != self._status
        self._status = now
        if changed:
            await self._tell(())

    async def _tell(self, events: Sequence[ClusterEvent], *, replaying: bool = False) -> None:
        await self._queue.put(
            FeedUpdate(
                image=self._image,
                events=tuple(events),
                status=self._status,
                replaying=replaying,
            )
        )

    def _touch(self, controller_id: int | None = None) -> None:
        self._status = FeedStatus(
            mode=self._status.mode,
            source=self._status.source,
            message=self._status.message,
            last_contact_ms=self._clock.wall_ms(),
            controller_id=self._projector.controller_id if controller_id is None else controller_id,
            controller_epoch=self._projector.controller_epoch,
        )

    # Finding the leader

    async def _run(self) -> None:
        pause_s = PAUSE_S_MIN
        while True:
            began_ms = self._clock.monotonic_ms()
            self._followed = ""
            try:
                leading = await self._find()
                if leading is not None:
                    await self._follow(leading)
            except NotLeader as moved:
                self._note_leader(moved)
            except (LogChanged, ProjectionError, ImageError) as error:
                self._start_over()
                await self._lose(self._followed or self._status.source, why(error))
            except LogctlError as error:
                self._drop_hint(self._followed)
                await self._lose(self._followed, why(error))
            if self._clock.monotonic_ms() - began_ms > REDISCOVER_MS:
                pause_s = PAUSE_S_MIN
            await asyncio.sleep(pause_s)
            pause_s = min(PAUSE_S_MAX, pause_s * 1.5)

    async def _find(self, *, beside: bool = False) -> Leading | None:
        """The controller that leads; meanwhile what can be told is told.

        `beside` a late answer nothing is given up: None where there is nothing but polling.
        """
        pause_s = PAUSE_S_MIN
        async with Scouts(lambda: self._opener, self._position, self._note_leader) as scouts:
            while True:
                scouts.send(self._order())
                quiet_ms = self._clock.monotonic_ms() - self._live_at_ms
                in_time = self._status.mode == "live" and quiet_ms < LATE_MS
                limit_ms = LATE_MS - quiet_ms if in_time else REDISCOVER_MS
                leading = await scouts.found(limit_ms)
                if leading is not None:
                    self._trip_ms = leading.took_ms
                    return leading
                if self._status.mode == "live" and not beside:
                    await self._say("connecting", "", "no controller leads; asking all of them")
                if not await self._between_rounds(scouts, beside=beside):
                    return None
                await asyncio.sleep(pause_s)
                pause_s = min(PAUSE_S_MAX, pause_s * 1.5)

    def _position(self) -> Position:
        projector = self._projector
        return Position(projector.next_offset, projector.last_epoch, self._quorum_epoch)

    def _order(self) -> list[str]:
        hinted = self._controllers.get(self._hint)
        rest = [address for _, address in sorted(self._controllers.items())]
        return list(dict.fromkeys([*([hinted] if hinted else []), *rest]))

    def _note_leader(self, moved: NotLeader) -> str:
        """Remember who leads; returns the address, "" while nobody knows it."""
        if moved.leader_epoch >= self._quorum_epoch:
            self._quorum_epoch = moved.leader_epoch
            self._hint = moved.leader_id
        return self._controllers.get(self._hint, "")

    def _drop_hint(self, address: str) -> None:
        if self._controllers.get(self._hint) == address:
            self._hint = -1

    async def _lose(self, address: str, reason: str) -> None:
        self._left_because = f"{address}: {reason}" if address else reason
        if self._status.mode in ("live", "slow"):
            self._last_source = address
            await self._say("connecting", "", f"{self._left_because}; asking the other controllers")

    async def _between_rounds(self, scouts: Scouts, *, beside: bool) -> bool:
        """After no controller could be followed: look again, or fall back to polling.

        False where only polling is left and must not be done, or was done.
        """
        now_ms = self._clock.monotonic_ms()
        all_gone, failed, refused = scouts.all_gone, dict(scouts.failed), scouts.refused
        some_answer = bool(self._controllers) and not refused and not all_gone
        if some_answer and now_ms - self._discovered_at_ms < REDISCOVER_MS:
            return True  # an election is going on; the controllers themselves will know first
        try:
            found = await discover(self._opener, self._addresses())
        except NobodyAnswers as error:
            await self._nobody(error, failed)
            return True
        self._learn(found)
        reason, retry_ms = "", 0
        # Controllers that answer, and do not lead, are electing: until one does nothing can change,
        # and afterwards the log tells all of it, though brokers may not tell of them meanwhile.
        electing = self._caught_up and bool(self._controllers) and not all_gone
        if refused or (not found.controllers and not electing):
            # A cluster that is only just starting must not be polled for a minute.
            lasting = bool(refused) or found.lasting
            retry_ms = REFUSED_RETRY_MS if lasting else NOT_TOLD_RETRY_MS
            reason = refused or found.reason
        elif failed and all_gone:
            reasons = "; ".join(f"{place}: {said}" for place, said in sorted(failed.items()))
            reason = f"no controller is reachable ({reasons})"
            if self._caught_up and now_ms - self._live_at_ms < SAMPLED_AFTER_MS:
                await self._say("connecting", "", reason)
            elif set(found.controllers.values()) <= set(failed):
                retry_ms = RETRY_LOG_EVERY_MS
        if not retry_ms:
            return True
        await scouts.end()
        if not beside:
            await self._sample(found, reason, retry_ms)
        return False

    async def _nobody(self, error: NobodyAnswers, failed: dict[str, str]) -> None:
        if isinstance(error.refusal, WrongCluster):
            await self._say("lost", "", f"WRONG CLUSTER: {error.refusal}", "wrong cluster")
            await asyncio.sleep(WRONG_CLUSTER_PAUSE_S)
            return
        if error.refusal is not None:
            again = f"; {words}" if (words := self._opener.credentials.words) else ""
            await self._say("lost", "", f"not let in: {error.refusal}{again}", "not let in")
            # A wrong password that is tried again and again gets its user locked out.
            await self._opener.credentials.changed(NOT_LET_IN_PAUSE_S)
            return
        told = list(dict.fromkeys([*error.failures, *failed.items()]))
        reasons = "; ".join(f"{address}: {reason}" for address, reason in told if reason)
        await self._say("lost", "", f"nobody answers: {reasons}")

    def _addresses(self) -> list[str]:
        return list(dict.fromkeys([*self._bootstrap, *self._brokers]))

    def _learn(self, found: Discovery) -> None:
        self._discovered_at_ms = self._clock.monotonic_ms()
        self._brokers = list(dict.fromkeys([*found.brokers, *self._brokers]))[:64]
        if found.controllers:
            self._controllers = dict(found.controllers)
        if found.cluster_id and self._known_id not in ("", found.cluster_id):
            # Wiped and made anew: its log begins at 0, its epochs are below those that we know.
            self._start_over()
            self._quorum_epoch = 0
            self._brokers = list(found.brokers)
            self._left_because = f"another cluster ({found.cluster_id}) is there now"
        self._known_id = found.cluster_id or self._known_id
        if found.leader_epoch >= self._quorum_epoch:
            self._quorum_epoch = found.leader_epoch
            self._hint = found.leader_id
        if found.failures and not self._left_because:
            dead = "; ".join(f"{address}: {reason}" for address, reason in found.failures)
            self._left_because = f"{dead}; {found.source} answered instead"

    # Following the log

    async def _follow(self, leading: Leading) -> None:
        """Follow who leads, and who leads next, until an exception ends it."""
        self._target, self._followed = -1, leading.address
        self._answered(leading.first, leading.took_ms)
        fetched = leading.first
        try:
            while True:
                await self._take(leading.reader, fetched, leading.address)
                answer = await self._next(leading, self._wait_ms() if self._caught_up else 0)
                if isinstance(answer, Leading):
                    await self._lose(leading.address, "it no longer answers")
                    leading.connection.close()
                    leading, self._target = answer, -1
                    self._followed = leading.address
                    self._answered(leading.first, leading.took_ms)
                    fetched = leading.first
                else:
                    fetched = answer
        finally:
            leading.connection.close()

    def _wait_ms(self) -> int:
        """How long the controller may wait for news, so that its answer is here in time."""
        return max(WAIT_MS_MIN, min(MAX_WAIT_MS, LATE_MS - 100 - 2 * self._trip_ms))

    def _answered(self, fetched: Fetched, took_ms: int) -> None:
        self._quorum_epoch = max(self._quorum_epoch, fetched.leader_epoch)
        self._live_at_ms = self._clock.monotonic_ms()
        self._answer_took_ms = took_ms
        self._touch()

    async def _next(self, leading: Leading, wait_ms: int) -> Fetched | Leading:
        """The next answer, however late; or another way, when that is found before it.

        A late answer alone proves nothing: the link may be slow, or this process was stopped. What
        was asked for is still waited for, while scouts look whether it can be had elsewhere.
        """
        at, began_ms = self._position(), self._clock.monotonic_ms()
        asking = asyncio.create_task(
            leading.reader.fetch(
                at.offset, at.last_epoch, at.quorum_epoch, wait_ms, timeout_ms=GIVE_UP_MS
            )
        )
        finding: asyncio.Task[Leading | None] | None = None
        taken: Leading | None = None
        try:
            if not await in_time(asking, LATE_MS):
                await self._say("slow", leading.address, f"{leading.address} is late to answer")
                # Where every answer takes long, there is no reason to look elsewhere yet.
                if not await in_time(asking, wait_ms + 3 * self._trip_ms - LATE_MS):
                    finding = asyncio.create_task(self._find(beside=True), name="beside")
                    await asyncio.wait({asking, finding}, return_when=asyncio.FIRST_COMPLETED)
            if finding is None or (asking.done() and asking.exception() is None):
                fetched = asking.result()
                took_ms = self._clock.monotonic_ms() - began_ms
                self._note_trip(took_ms - (0 if fetched.records else wait_ms))
                self._answered(fetched, took_ms)
                return fetched
            taken = await finding
            if taken is None:
                raise Unusable(f"no answer within {self._clock.monotonic_ms() - began_ms} ms")
            return taken
        finally:
            await end_task(asking)
            await end_task(finding)
            if finding is not None and not finding.cancelled() and finding.exception() is None:
                other = finding.result()
                if other is not None and other is not taken:
                    other.connection.close()

    def _note_trip(self, took_ms: int) -> None:
        took_ms = max(0, took_ms)
        slower = took_ms > self._trip_ms
        self._trip_ms = took_ms if slower else (3 * self._trip_ms + took_ms) // 4

    async def _take(self, reader: QuorumReader, fetched: Fetched, address: str) -> None:
        projector = self._projector
        before = projector.next_offset
        if fetched.snapshot is not None:
            end_offset, epoch = fetched.snapshot
            content = await self._unless_late(
                reader.snapshot(end_offset, epoch, self._quorum_epoch), address
            )
            at_ms, records = await in_slices(snapshot_records(content))
            work = projector.loading_snapshot(end_offset, epoch, at_ms, records)
            events = await in_slices(work)
            events += projector.learn_leader(fetched.leader_id, fetched.leader_epoch, at_ms)
            # What comes after the snapshot is told by the next answer.
            self._target = -1
        else:
            self._target = max(self._target, fetched.high_watermark)
            events = []
            committed = fetched.records, fetched.high_watermark
            try:
                await in_slices(reading_committed(projector, *committed, events))
            except LogctlError:
                # What came before the batch that cannot be read is never read again.
                await self._advance(events, address)
                raise
        await self._advance(events, address)
        if projector.next_offset == before and len(fetched.records):
            await asyncio.sleep(UNCOMMITTED_PAUSE_S)

    async def _unless_late(self, asking: Coroutine[Any, Any, T], address: str, note: str = "") -> T:
        """The answer, however late; that it is late is told."""
        task = asyncio.create_task(asking)
        try:
            if not await in_time(task, LATE_MS):
                await self._say("slow", address, f"{address} is late to answer{note}")
            return await task
        finally:
            await end_task(task)

    async def _advance(self, events: list[ClusterEvent], address: str) -> None:
        """Tell what was read, or stay silent until the end of what was there already."""
        projector = self._projector
        if not 0 <= self._target <= projector.next_offset:
            await self._read_on(events, address)
            return
        self._whole_at_ms = self._clock.monotonic_ms()
        replaying = not self._caught_up and not self._silent
        if self._silent:
            events = await self._silent_events()
        changed = projector.image is not self._image
        self._image = projector.image
        if replaying and events:
            await self._tell(events, replaying=True)
            events = []
        first = not self._caught_up
        self._caught_up, self._silent, self._compare_with = True, False, None
        self._compare_sample = False
        was = self._status
        late = self._answer_took_ms > LATE_MS
        self._status = FeedStatus(
            mode="slow" if late else "live",
            source=address,
            message=self._live_message(address) + ("; its answers are late" if late else ""),
            last_contact_ms=self._clock.wall_ms(),
            controller_id=projector.controller_id,
            controller_epoch=projector.controller_epoch,
        )
        now = self._status
        moved = (was.mode, was.source, was.controller_id) != (
            now.mode,
            now.source,
            now.controller_id,
        )
        if events or first or moved or changed:
            await self._tell(events)

    async def _read_on(self, events: list[ClusterEvent], address: str) -> None:
        """Tell what was read, and that it is not all there is: an answer ends with a segment."""
        projector, before = self._projector, self._image
        replaying = not self._caught_up and not self._silent
        if not self._silent:
            self._image = projector.image
        late = self._clock.monotonic_ms() - self._whole_at_ms > LATE_MS
        if self._status.mode not in ("live", "slow"):
            share = projector.next_offset * 100 // max(projector.next_offset, self._target, 1)
            done = f", {share} % done" if self._target >= 0 else ""
            await self._say("connecting", address, f"reading the metadata log{done}")
        elif late:
            await self._say("slow", address, f"{address} has more than could be read yet")
        if events or (self._caught_up and self._image is not before):
            await self._tell(() if self._silent else events, replaying=replaying)

    async def _silent_events(self) -> list[ClusterEvent]:
        before, after = self._compare_with, self._projector.image
        if before is None:
            return []
        stamp = Stamp(self._projector.next_offset - 1, self._clock.wall_ms())
        compare = bridging if self._compare_sample else comparing
        return await in_slices(compare(before, after, stamp))

    def _live_message(self, address: str) -> str:
        if self._left_because:
            if self._last_source and self._last_source != address:
                return f"moved from {self._last_source} to {address} ({self._left_because})"
            return f"following the metadata log at {address} ({self._left_because})"
        return f"following the metadata log at {address}"

    def _start_over(self) -> None:
        """Read the log anew; what differs from what was shown comes as events at the end."""
        self._projector = Projector()
        if self._caught_up:
            self._compare_with = self._image
        self._silent, self._caught_up = True, False

    # Polling

    async def _sampled(
        self, connection: BrokerConnection
    ) -> tuple[MetadataImage, int, frozenset[str]]:
        """(image, controller id, the topics whose settings are told for the first time)."""
        image, controller_id = await sample(connection)
        image, news = await self._with_settings(connection, image)
        return image, controller_id, news

    async def _with_settings(
        self, connection: BrokerConnection, image: MetadataImage
    ) -> tuple[MetadataImage, frozenset[str]]:
        """(the image with settings of topics, the topics that were told of for the first time)."""
        before = self._settings.known()
        await self._settings.look(connection, image.topics, self._clock.monotonic_ms())
        return self._settings.put_into(image), self._settings.known() - before

    async def _sample(self, found: Discovery, reason: str, retry_ms: int) -> None:
        """Poll one broker until it fails, or it is time to try the log again."""
        until_ms = self._clock.monotonic_ms() + retry_ms
        before: MetadataImage | None = self._image if self._status.mode == "sampled" else None
        try:
            connection = await self._opener.open(found.source, patience_ms(self._opener))
        except LogctlError as error:
            await self._lose(found.source, why(error))
            return
        if before is None:
            self._settings = SampledSettings()
        # The log is caught up with in silence later: sampled events must not come twice.
        self._silent, self._caught_up = True, False
        try:
            while self._clock.monotonic_ms() < until_ms:
                image, controller_id, news = await self._unless_late(
                    self._sampled(connection), found.source, f" ({SAMPLED_NOTE})"
                )
                events, stamp = [], Stamp(NO_OFFSET, self._clock.wall_ms())
                if before:
                    image = await in_slices(keeping(before, image))
                    known = as_if_known(before, image, news)
                    events = await in_slices(comparing(known, image, stamp))
                elif self._image is not EMPTY_IMAGE:
                    events = await in_slices(bridging(self._image, image, stamp))
                # What topics have set is told without an event when it was only learned.
                fresh = before is None or bool(news)
                before = self._image = self._compare_with = image
                self._compare_sample = True
                fresh = fresh or self._status.mode != "sampled"
                self._status = FeedStatus(
                    mode="sampled",
                    source=found.source,
                    message=f"{SAMPLED_NOTE} ({reason})",
                    last_contact_ms=self._clock.wall_ms(),
                    controller_id=controller_id,
                )
                if events or fresh:
                    await self._tell(events)
                await asyncio.sleep(SAMPLE_EVERY_S)
        except LogctlError as error:
            self._left_because = f"{found.source}: {why(error)}"
            await self._say("connecting", "", f"{self._left_because}; asking the other brokers")
        finally:
            connection.close()
