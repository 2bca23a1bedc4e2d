"""What a feed says of itself, and its updates. Plain frozen data."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Literal, Protocol

from broker.protocol.image import MetadataImage
from clusters.watch.events import ClusterEvent

Mode = Literal["connecting", "live", "slow", "sampled", "lost"]
Refusal = Literal["", "wrong cluster", "not let in"]


class Clock(Protocol):
    """Two clocks, in whole milliseconds."""

    def monotonic_ms(self) -> int:
        """Never goes back; only differences mean something."""

    def wall_ms(self) -> int:
        """Milliseconds since 1970 UTC."""


class SystemClock:
    """The machine's clocks."""

    def monotonic_ms(self) -> int:
        """See `Clock.monotonic_ms`."""
        return time.monotonic_ns() // 1_000_000

    def wall_ms(self) -> int:
        """See `Clock.wall_ms`."""
        return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedStatus:
    """How the feed is doing.

    live: every change comes as it is committed. slow: no change is missed, but the answer is late,
    so that the image may be as old as the last contact, or more than could be read yet is waiting.
    sampled: polled, may miss changes. connecting: looking for the controller, or still reading its
    log, the image may be old. lost: nobody answers, the image is old.
    `source` is the `host:port` that is read from, "" while there is none. `last_contact_ms` is
    milliseconds since 1970 of the last answer, 0 before the first. `controller_id` is -1 when
    unknown. `refusal` is set when what answers may not be used, which time alone does not mend:
    "wrong cluster" (another than the pinned one), or "not let in" (user, password, mechanism).
    """

    mode: Mode
    source: str
    message: str
    last_contact_ms: int
    controller_id: int = -1
    controller_epoch: int = -1
    refusal: Refusal = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedUpdate:
    """The state after some events. `replaying` marks history from before the feed started."""

    image: MetadataImage
    events: tuple[ClusterEvent, ...]
    status: FeedStatus
    replaying: bool = False
