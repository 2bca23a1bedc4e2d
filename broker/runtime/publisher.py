"""Turns the committed metadata log into the image that the whole broker reads.

Listens to the quorum, applies each committed batch, and hands (image, delta) to its subscribers
in the order they subscribed. Applies nothing that is not committed and never writes. A committed
record that does not fit is damage that no retry heals: it is reported to `on_fault` and nothing
more is applied, because a broker with a wrong image is worse than none.

A change may need slow work before it is published (folders for new partitions); `prepare` does it
while the loop runs on. A change of many partitions reaches the subscribers in pieces, between which
the loop runs, too: all with the same image, which becomes `image` with the last of them. What is
committed meanwhile waits its turn: the order never changes.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Generator, Iterator, Sequence
from dataclasses import replace
from typing import Protocol

from broker.protocol.image import (
    EMPTY_IMAGE,
    ImageDelta,
    ImageError,
    MetadataImage,
    delta_between,
    from_snapshot,
)
from broker.protocol.metadata_records import MetadataRecord
from broker.runtime.committed_images import AT_ONCE_RECORDS_MAX, Committed, CommittedImages

logger = logging.getLogger("logd.publisher")

Subscriber = Callable[[MetadataImage, ImageDelta], None]
# Gives the work that must be done before a change is published; None = there is none.
Prepare = Callable[[MetadataImage, ImageDelta], Awaitable[None] | None]
# Some milliseconds of making logs and changing roles.
PARTITIONS_A_PIECE = 32


class Leadership(Protocol):
    """Who leads the quorum: id (-1 nobody) and epoch."""

    @property
    def leader_id(self) -> int:
        """The leader's node id, -1 when none is known."""
        ...

    @property
    def epoch(self) -> int:
        """The quorum epoch."""
        ...


class MetadataPublisher:
    """A QuorumListener that keeps `image` and tells the broker what changed."""

    def __init__(
        self, on_fault: Callable[[str], None], images: CommittedImages | None = None
    ) -> None:
        """`images` is shared with others that follow the same log."""
        self._images = images or CommittedImages()
        # What is published. Invariant: at most as new as _applied, which runs ahead of it while
        # the changes in _waiting are prepared.
        self.image: MetadataImage = EMPTY_IMAGE
        self._applied: MetadataImage = EMPTY_IMAGE
        self._waiting: deque[tuple[MetadataImage, ImageDelta]] = deque()
        self._preparing: asyncio.Task[None] | None = None
        self.prepare: Prepare | None = None
        self._on_fault = on_fault
        self._subscribers: list[Subscriber] = []
        self._leader_watchers: list[Callable[[Leadership], None]] = []
        self._changed: asyncio.Future[None] | None = None
        self._faulty = False

    def subscribe(self, subscriber: Subscriber) -> None:
        """Call `subscriber(image, delta)` after each change; subscribe before the quorum starts."""
        self._subscribers.append(subscriber)

    def watch_leader(self, watcher: Callable[[Leadership], None]) -> None:
        """Call `watcher(leader)` whenever the quorum's leader changes."""
        self._leader_watchers.append(watcher)

    def on_committed(self, batch: Committed) -> Generator[None, None, None] | None:
        """QuorumListener: apply one committed batch."""
        if self._faulty:
            return None
        work = self._follow(batch)
        if len(batch.records) > AT_ONCE_RECORDS_MAX:
            return work
        for _ in work:
            pass
        return None

    def _follow(self, batch: Committed) -> Generator[None, None, None]:
        try:
            image, delta = yield from self._images.applying(self._applied, batch)
        except ImageError as error:
            self._fail(f"metadata offset {batch.base_offset} cannot be applied: {error}")
            return
        if not self._faulty:
            self._accept(image, delta)

    def on_snapshot(self, end_offset: int, epoch: int, records: Sequence[MetadataRecord]) -> None:
        """QuorumListener: replace the image by a snapshot's, and publish what differs."""
        if self._faulty:
            return
        try:
            image = from_snapshot(end_offset, epoch, records)
        except ImageError as error:
            self._fail(f"the snapshot at offset {end_offset} cannot be applied: {error}")
            return
        self._accept(image, delta_between(self._applied, image))

    def on_leader_change(self, leader: Leadership) -> None:
        """QuorumListener: tell the watchers."""
        for watcher in self._leader_watchers:
            watcher(leader)

    async def wait_until(self, condition: Callable[[MetadataImage], bool], timeout_ms: int) -> bool:
        """Wait until the image satisfies `condition`; False when `timeout_ms` passed first."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_ms / 1000
        while not condition(self.image):
            remaining = deadline - loop.time()
            if remaining <= 0:
                return False
            if self._changed is None:
                self._changed = loop.create_future()
            await asyncio.wait([self._changed], timeout=remaining)
        return True

    async def close(self) -> None:
        """Publish nothing more."""
        self._faulty = True
        self._waiting.clear()
        if self._preparing is not None:
            self._preparing.cancel()
            await asyncio.wait([self._preparing])

    def _accept(self, image: MetadataImage, delta: ImageDelta) -> None:
        self._applied = image
        if self._preparing is not None:
            self._waiting.append((image, delta))
            return
        work = self.prepare(image, delta) if self.prepare is not None else None
        if work is None and len(delta.partitions_changed) <= PARTITIONS_A_PIECE:
            self._publish(image, delta)
            return
        self._waiting.append((image, delta))
        self._preparing = asyncio.ensure_future(self._publish_waiting(work))

    async def _publish_waiting(self, work: Awaitable[None] | None) -> None:
        try:
            while self._waiting:
                image, delta = self._waiting[0]
                if work is None and self.prepare is not None:
                    work = self.prepare(image, delta)
                if work is not None:
                    await work
                    work = None
                *first, last = _pieces(delta)
                for piece in first:
                    self._tell(image, piece)
                    await asyncio.sleep(0)
                self._waiting.popleft()
                self._publish(image, last)
        except Exception as error:
            logger.exception("publishing metadata failed")
            self._fail(f"metadata offset {self.image.offset + 1} cannot be published: {error!r}")
        finally:
            self._preparing = None

    def _publish(self, image: MetadataImage, delta: ImageDelta) -> None:
        self.image = image
        self._tell(image, delta)
        if self._changed is not None:
            self._changed.set_result(None)
            self._changed = None

    def _tell(self, image: MetadataImage, delta: ImageDelta) -> None:
        for subscriber in self._subscribers:
            subscriber(image, delta)

    def _fail(self, reason: str) -> None:
        self._faulty = True
        logger.critical(reason)
        self._on_fault(reason)


def _pieces(delta: ImageDelta) -> Iterator[ImageDelta]:
    """A delta as several of few partitions each, in order; the whole when there are few.

    Topics and settings come with the first, for the partitions need them. Brokers come with the
    last: who came back or is gone is looked at in the roles that the partitions have then.
    """
    changes = delta.partitions_changed
    starts = range(0, len(changes), PARTITIONS_A_PIECE) or range(1)
    for start in starts:
        first, last = start == 0, start == starts[-1]
        piece = ImageDelta(partitions_changed=changes[start : start + PARTITIONS_A_PIECE])
        if first:
            piece = replace(delta, partitions_changed=piece.partitions_changed, brokers_changed=())
        if last:
            piece = replace(piece, brokers_changed=delta.brokers_changed)
        yield piece
