"""The images that the committed metadata log makes, each made once for all that follow it.

Controller and publisher of one node follow the same log: what one has applied, the other takes
over. Must never give an image of anything that is not committed.
"""

from collections.abc import Generator, Sequence
from typing import Protocol

from broker.protocol.image import ImageDelta, MetadataImage, applying
from broker.protocol.metadata_records import MetadataRecord

Applied = tuple[MetadataImage, ImageDelta]
# A batch of so many records is applied at once; a larger one in pieces.
AT_ONCE_RECORDS_MAX = 64


class Committed(Protocol):
    """One committed batch of the metadata log, as the quorum delivers it."""

    @property
    def base_offset(self) -> int:
        """Offset of the first record."""
        ...

    @property
    def last_offset(self) -> int:
        """Offset of the last record."""
        ...

    @property
    def epoch(self) -> int:
        """Quorum epoch in which it was written."""
        ...

    @property
    def records(self) -> Sequence[MetadataRecord]:
        """The records; empty for a control batch."""
        ...


class CommittedImages:
    """Applies committed batches; the last one is kept for whoever asks for the same again."""

    def __init__(self) -> None:
        self._batch: Committed | None = None
        self._from_offset = -1
        self._applied: Applied | None = None

    def applying(self, before: MetadataImage, batch: Committed) -> Generator[None, None, Applied]:
        """The image after a batch and what it changes; may be interrupted where it yields.

        ``before`` is a committed image: two of them at the same offset are the same. Raises
        ImageError when a record does not fit.
        """
        if (
            self._applied is not None
            and self._batch is batch
            and self._from_offset == before.offset
        ):
            return self._applied
        applied = yield from applying(
            before, batch.epoch, batch.records, last_offset=batch.last_offset
        )
        self._batch, self._from_offset, self._applied = batch, before.offset, applied
        return applied


def finished(work: Generator[None, None, Applied]) -> Applied:
    """The result, without a pause."""
    while True:
        try:
            next(work)
        except StopIteration as done:
            found: Applied = done.value
            return found
