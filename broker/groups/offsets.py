"""Committed offsets of all groups of one coordinator, as far as they are replicated.

What was appended but is not yet on every in-sync replica waits aside: nobody may read an offset
that could be lost again. Changes come by `put` alone, that is, by replaying records.
"""

from collections import deque
from collections.abc import Iterator, Mapping

from broker.groups.records import CommittedOffset

Partition = tuple[str, int]


class OffsetTable:
    """Offsets by group, topic and partition."""

    def __init__(self) -> None:
        self._groups: dict[str, dict[str, dict[int, CommittedOffset]]] = {}
        # (record offset, group, topic, partition, value), oldest first.
        # Invariant: every record offset here is at or above `bound`.
        self._pending: deque[tuple[int, str, str, int, CommittedOffset | None]] = deque()
        # The high watermark as far as it is known here: records below it are committed.
        self.bound = 0

    def put(
        self,
        record_offset: int,
        group: str,
        topic: str,
        partition: int,
        value: CommittedOffset | None,
    ) -> None:
        """Take over a record of the log; None deletes."""
        if record_offset < self.bound:
            self._apply(group, topic, partition, value)
        else:
            self._pending.append((record_offset, group, topic, partition, value))

    def advance(self, bound: int) -> None:
        """Records below `bound` are committed: readers may see them."""
        if bound <= self.bound:
            return
        self.bound = bound
        pending = self._pending
        while pending and pending[0][0] < bound:
            _, group, topic, partition, value = pending.popleft()
            self._apply(group, topic, partition, value)

    def _apply(self, group: str, topic: str, partition: int, value: CommittedOffset | None) -> None:
        if value is not None:
            topics = self._groups.get(group)
            if topics is None:
                topics = self._groups[group] = {}
            partitions = topics.get(topic)
            if partitions is None:
                partitions = topics[topic] = {}
            partitions[partition] = value
            return
        topics = self._groups.get(group, {})
        partitions = topics.get(topic, {})
        partitions.pop(partition, None)
        if not partitions:
            topics.pop(topic, None)
        if not topics:
            self._groups.pop(group, None)

    # -- what readers see

    def get(self, group: str, topic: str, partition: int) -> CommittedOffset | None:
        """The committed offset of one partition."""
        return self._groups.get(group, {}).get(topic, {}).get(partition)

    def topics(self, group: str) -> Mapping[str, Mapping[int, CommittedOffset]]:
        """Everything a group has committed."""
        return self._groups.get(group, {})

    # -- what decisions see: the log's end

    def last_pending(self, group: str) -> int:
        """The offset of the newest record of a group that is not committed yet, else -1."""
        return max((each[0] for each in self._pending if each[1] == group), default=-1)

    def latest(self, group: str) -> dict[Partition, CommittedOffset]:
        """A group's offsets as they will be once everything appended is committed."""
        found = {
            (topic, partition): value
            for topic, partitions in self._groups.get(group, {}).items()
            for partition, value in partitions.items()
        }
        for _, owner, topic, partition, value in self._pending:
            if owner != group:
                continue
            if value is None:
                found.pop((topic, partition), None)
            else:
                found[topic, partition] = value
        return found

    def group_ids(self) -> Iterator[str]:
        """Every group that has offsets or will have, in order."""
        return iter(sorted({*self._groups, *(each[1] for each in self._pending)}))
