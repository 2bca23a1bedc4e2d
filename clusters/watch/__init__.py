"""The live feed of cluster events.

What reads the feed is loaded when it is first used: events have names that conditions speak of, and
a command that asks one must not wait until all that follows the metadata log is loaded.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from clusters.watch.events import ClusterEvent, EventKind, iso_time

if TYPE_CHECKING:
    from clusters.watch.feed import ClusterFeed
    from clusters.watch.projector import Entry, Projector
    from clusters.watch.status import Clock, FeedStatus, FeedUpdate, SystemClock

__all__ = [
    "Clock",
    "ClusterEvent",
    "ClusterFeed",
    "Entry",
    "EventKind",
    "FeedStatus",
    "FeedUpdate",
    "Projector",
    "SystemClock",
    "iso_time",
]

_LATER = {
    "Clock": "status",
    "ClusterFeed": "feed",
    "Entry": "projector",
    "FeedStatus": "status",
    "FeedUpdate": "status",
    "Projector": "projector",
    "SystemClock": "status",
}


def __getattr__(name: str) -> Any:
    """Load what follows the log (PEP 562)."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
