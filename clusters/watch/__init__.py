"""The live feed of cluster events."""

from clusters.watch.events import ClusterEvent, EventKind, iso_time
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
