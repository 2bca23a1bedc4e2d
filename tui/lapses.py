"""How often each broker fell out: fenced, or dropped from an ISR. Pure.

One that comes and goes looks well half of the time; only its past tells. What happens to many of
its replicas at once is one lapse, and a replica that was moved away has not lapsed.
"""

from collections import deque
from collections.abc import Sequence

from broker.protocol.image import MetadataImage
from clusters.watch.events import ClusterEvent, EventKind

# What comes sooner than this after a lapse belongs to it.
ONE_MS = 5_000
KEPT_MAX = 30
LAPSING = (EventKind.BROKER_FENCED, EventKind.ISR_SHRUNK)


class Lapses:
    """Times of the metadata log's clock, by broker; the oldest first."""

    def __init__(self) -> None:
        self._times: dict[int, deque[int]] = {}

    def note(self, event: ClusterEvent, image: MetadataImage) -> None:
        """Take an event that led to this image; only those of LAPSING say something."""
        if event.kind is EventKind.BROKER_FENCED and event.broker is not None:
            self._add(event.broker, event.at_ms)
        elif event.kind is EventKind.ISR_SHRUNK:
            for broker in event.before or ():
                gone = broker not in event.after
                if gone and self._is_new(broker, event.at_ms) and _holds(image, event, broker):
                    self._add(broker, event.at_ms)

    def since(self, broker: int, at_ms: int) -> Sequence[int]:
        """When it lapsed, from a time on."""
        return [each for each in self._times.get(broker, ()) if each >= at_ms]

    def _is_new(self, broker: int, at_ms: int) -> bool:
        times = self._times.get(broker)
        return not times or at_ms - times[-1] >= ONE_MS

    def _add(self, broker: int, at_ms: int) -> None:
        if self._is_new(broker, at_ms):
            self._times.setdefault(broker, deque(maxlen=KEPT_MAX)).append(at_ms)


def _holds(image: MetadataImage, event: ClusterEvent, broker: int) -> bool:
    topic = image.topics.get(event.topic or "")
    if topic is None or event.partition is None or event.partition >= len(topic.partitions):
        return False
    return broker in topic.partitions[event.partition].replicas
