"""A broker that follows the metadata log and publishes nothing of it, then all as one change.

So epochs are skipped, as a snapshot makes a broker skip them that was cut off from the log. It must
never let anything be published out of order.
"""

from broker.protocol.image import ImageDelta, MetadataImage, delta_between
from broker.runtime.publisher import MetadataPublisher


class LateMetadata:
    """Holds one publisher back from its making until `tell`."""

    def __init__(self, publisher: MetadataPublisher) -> None:
        self._publisher = publisher
        self._before = publisher._applied
        publisher._accept = self._hold  # type: ignore[method-assign]

    @staticmethod
    def is_held(publisher: MetadataPublisher) -> bool:
        """Whether somebody holds it back already."""
        return "_accept" in vars(publisher)

    def _hold(self, image: MetadataImage, delta: ImageDelta) -> None:
        self._publisher._applied = image

    def tell(self) -> None:
        """Publish what was held back."""
        publisher = self._publisher
        del publisher._accept
        if publisher._applied is not self._before:
            publisher._accept(publisher._applied, delta_between(self._before, publisher._applied))
