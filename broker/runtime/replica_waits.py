"""Requests that wait: acks=all for the high watermark, fetches for data (Kafka's purgatory).

A wait costs nothing while it waits: whoever changes a partition wakes those who wait for it. It
must never be left behind: each ends by its condition, its time limit, or the end of the broker.
"""

import asyncio
import heapq
from collections.abc import Callable

from broker.protocol.errors import ErrorCode
from broker.replication import Partition
from broker.runtime.replica_requests import ProduceResult
from broker.storage.log import Log


class ProduceWait:
    """One Produce request with acks=all. Completes when each of its partitions is decided."""

    __slots__ = ("future", "results", "undecided")

    def __init__(self, results: list[ProduceResult], future: "asyncio.Future[None]") -> None:
        self.results = results
        # Positions in `results` that still wait, and what they become if all goes well.
        self.undecided: dict[int, ProduceResult] = {}
        self.future = future

    def decide(self, position: int, error: ErrorCode) -> None:
        """One partition is decided."""
        success = self.undecided.pop(position, None)
        if success is None:
            return
        self.results[position] = ProduceResult(error) if error else success
        if not self.undecided and not self.future.done():
            self.future.set_result(None)

    def expire(self) -> None:
        """The time limit passed: what is undecided may or may not survive."""
        for position in list(self.undecided):
            self.decide(position, ErrorCode.request_timed_out)


# How long a follower's fetch still waits for records when there is a high watermark to tell.
WATERMARK_LINGER_S = 0.01


class FetchWait:
    """One Fetch request that waits for ``missing_bytes`` more.

    ``changed`` collects the positions in the request that are worth reading again. ``overdue``
    says that a new high watermark has waited long enough to be told.
    """

    __slots__ = ("_timer", "changed", "future", "missing_bytes", "overdue")

    def __init__(self, future: "asyncio.Future[None]", missing_bytes: int) -> None:
        self.future = future
        self.missing_bytes = missing_bytes
        self.changed: dict[int, None] = {}
        self.overdue = False
        self._timer: asyncio.TimerHandle | None = None

    def tell_soon(self) -> None:
        """There is a high watermark to tell, with the next records or after a moment without.

        Told at once, each append of a quiet partition would be three fetches of each follower;
        never told, its readers on followers wait for the end of the fetch (half a second).
        """
        if self._timer is None and not self.future.done():
            loop = self.future.get_loop()
            self._timer = loop.call_later(WATERMARK_LINGER_S, self._late)

    def _late(self) -> None:
        self.overdue = True
        self.end()

    def close(self) -> None:
        """Nobody waits any longer."""
        if self._timer is not None:
            self._timer.cancel()

    def end(self) -> None:
        """The wait is over, by its time limit or because something changed."""
        if not self.future.done():
            self.future.set_result(None)


class HostedPartition:
    """A partition of this broker with those who wait for it."""

    __slots__ = (
        "_consumer_waits",
        "_follower_waits",
        "_produce_waits",
        "_sequence",
        "deleted",
        "flushing",
        "log",
        "partition",
        "start_watchers",
    )

    def __init__(self, partition: Partition, log: Log) -> None:
        self.partition = partition
        self.log = log
        self.deleted = False
        # Set while a thread flushes the log; see replica_disk.settled.
        self.flushing: asyncio.Future[None] | None = None
        # A heap of (required offset, order, epoch, wait, position in the request).
        self._produce_waits: list[tuple[int, int, int, ProduceWait, int]] = []
        self._sequence = 0
        # Each with the position of this partition in the request.
        self._follower_waits: dict[FetchWait, int] = {}
        self._consumer_waits: dict[FetchWait, int] = {}
        # Called when a replica's log start, or who counts as a live replica, may have changed.
        self.start_watchers: list[Callable[[], None]] = []

    @property
    def key(self) -> tuple[str, int]:
        """Topic and index."""
        return self.partition.topic, self.partition.index

    # -- registering

    def add_produce_wait(self, required_offset: int, wait: ProduceWait, position: int) -> None:
        """Wait until the high watermark reaches ``required_offset``."""
        self._sequence += 1
        epoch = self.partition.leader_epoch
        heapq.heappush(
            self._produce_waits, (required_offset, self._sequence, epoch, wait, position)
        )

    def add_fetch_wait(self, wait: FetchWait, position: int, *, follower: bool) -> None:
        """Wake ``wait`` when there may be something for it."""
        (self._follower_waits if follower else self._consumer_waits)[wait] = position

    def remove_fetch_wait(self, wait: FetchWait) -> None:
        """Forget it."""
        self._follower_waits.pop(wait, None)
        self._consumer_waits.pop(wait, None)

    # -- waking

    def appended(self, size_bytes: int) -> None:
        """The log grew: followers read up to its end."""
        for wait, position in self._follower_waits.items():
            wait.changed[position] = None
            wait.missing_bytes -= size_bytes
            if wait.missing_bytes <= 0:
                wait.end()
        for wait in self._consumer_waits:
            wait.missing_bytes -= size_bytes

    def watermark_moved(self) -> None:
        """The high watermark rose: producers are answered, consumers read on."""
        if self._produce_waits:
            self.settle_producers()
        for wait in self._follower_waits:
            wait.tell_soon()
        for wait, position in self._consumer_waits.items():
            wait.changed[position] = None
            if wait.missing_bytes <= 0:
                wait.end()

    def settle_producers(self) -> None:
        """Answer the producers whose wait is decided: by the watermark, the ISR or the epoch."""
        waits, partition = self._produce_waits, self.partition
        while waits:
            required, _, epoch, wait, position = waits[0]
            if position in wait.undecided:
                verdict = partition.acknowledged(required, epoch)
                if verdict is None:
                    return
                wait.decide(position, verdict)
            heapq.heappop(waits)

    def role_changed(self) -> None:
        """Leadership, epoch or existence changed: everyone looks again, at once."""
        self.settle_producers()
        for waits in (self._follower_waits, self._consumer_waits):
            for wait, position in waits.items():
                wait.changed[position] = None
                wait.end()
        self.start_moved()

    def start_raised(self) -> None:
        """The leader's log start rose: followers hear of it at once."""
        for wait, position in self._follower_waits.items():
            wait.changed[position] = None
            wait.end()

    def start_moved(self) -> None:
        """Tell those who wait for every live replica's log start."""
        for watcher in self.start_watchers:
            watcher()


async def wait_at_most(
    future: "asyncio.Future[None]", seconds: float, on_timeout: Callable[[], None]
) -> None:
    """Await ``future``; after ``seconds`` call ``on_timeout``, which must complete it."""
    handle = asyncio.get_running_loop().call_later(seconds, on_timeout)
    try:
        await future
    finally:
        handle.cancel()
