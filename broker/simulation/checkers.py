"""What must hold in a simulated cluster, whatever happens to it.

Safety is checked while faults go on: one quorum leader per epoch, watermarks and epochs that only
grow, one history of committed metadata. Durability is checked after the cluster has healed. A
checker must never repair or retry: the first violation is raised.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from broker.simulation.violations import SafetyViolation
from broker.simulation.workload import Acknowledged


class QuorumChecker:
    """One leader per epoch; on each process epoch and high watermark only grow."""

    def __init__(self) -> None:
        self._leaders: dict[int, int] = {}
        self._seen: dict[tuple[int, int], tuple[int, int]] = {}

    def observe(
        self, node: int, incarnation: int, epoch: int, is_leader: bool, high_watermark: int
    ) -> None:
        """Look at one live process. Raises SafetyViolation."""
        if is_leader:
            leader = self._leaders.setdefault(epoch, node)
            if leader != node:
                raise SafetyViolation(f"epoch {epoch} has two quorum leaders: {leader} and {node}")
        before = self._seen.get((node, incarnation), (-1, -1))
        if epoch < before[0]:
            raise SafetyViolation(f"node {node}: epoch went from {before[0]} back to {epoch}")
        if high_watermark < before[1]:
            raise SafetyViolation(
                f"node {node}: metadata high watermark went from {before[1]} to {high_watermark}"
            )
        self._seen[(node, incarnation)] = (epoch, high_watermark)


class MetadataHistory:
    """Every process must see the same committed batches at the same offsets."""

    def __init__(self) -> None:
        self._batches: dict[int, tuple[int, int, str]] = {}

    def listener(self, node: int) -> "HistoryListener":
        """A quorum listener that checks what one process sees."""
        return HistoryListener(self, node)

    def check(self, node: int, base: int, last: int, epoch: int, content: str) -> None:
        """Compare one committed batch with what others saw at this offset."""
        mine = (last, epoch, content)
        known = self._batches.setdefault(base, mine)
        if known != mine:
            raise SafetyViolation(
                f"node {node} sees another committed batch at metadata offset {base}: "
                f"{mine}, elsewhere {known}"
            )

    @property
    def batches(self) -> int:
        """How many different committed batches were seen."""
        return len(self._batches)


class HistoryListener:
    """A QuorumListener; offsets must come in order, each once."""

    def __init__(self, history: MetadataHistory, node: int) -> None:
        self._history = history
        self._node = node
        self._next_offset = 0
        self.violation: SafetyViolation | None = None

    def on_committed(self, batch: Any) -> None:
        """A committed batch arrived at this process."""
        try:
            if batch.base_offset < self._next_offset:
                raise SafetyViolation(
                    f"node {self._node}: batch {batch.base_offset} again, expected "
                    f"{self._next_offset} or later"
                )
            self._next_offset = batch.last_offset + 1
            self._history.check(
                self._node, batch.base_offset, batch.last_offset, batch.epoch, repr(batch.records)
            )
        except SafetyViolation as error:
            # Listeners are called from the quorum, whose caller may log and go on: keep it.
            self.violation = error
            raise

    def on_snapshot(self, end_offset: int, epoch: int, records: Sequence[Any]) -> None:
        """State up to `end_offset` came as a snapshot."""
        self._next_offset = end_offset

    def on_leader_change(self, leader: Any) -> None:
        """Nothing to compare."""


def check_acknowledged(
    acknowledged: Iterable[Acknowledged], found: Mapping[int, Mapping[int, str]]
) -> None:
    """Every acknowledged record is where it was promised, once. Raises SafetyViolation."""
    where: dict[str, tuple[int, int]] = {}
    for partition, records in found.items():
        for offset, value in records.items():
            if value in where:
                raise SafetyViolation(
                    f"{value} is twice in the log: at {where[value]} and {(partition, offset)}"
                )
            where[value] = (partition, offset)
    for record in acknowledged:
        place = where.get(record.value)
        if place is None:
            raise SafetyViolation(f"acknowledged record {record} is lost")
        if place != (record.partition, record.offset):
            raise SafetyViolation(f"acknowledged record {record} is elsewhere, at {place}")


def check_order(found: Mapping[int, Mapping[int, str]]) -> None:
    """In a partition each producer's records stand in the order of sending."""
    for partition, records in found.items():
        last: dict[str, int] = {}
        for offset in sorted(records):
            name, _, number = records[offset].rpartition("-")
            if int(number) <= last.get(name, -1):
                raise SafetyViolation(
                    f"partition {partition}: {records[offset]} at offset {offset} came after "
                    f"{name}-{last[name]}"
                )
            last[name] = int(number)


def check_replicas_equal(partition: str, copies: Mapping[int, bytes]) -> None:
    """All replicas hold the same bytes. Raises SafetyViolation."""
    if len(set(copies.values())) > 1:
        sizes = {node: len(data) for node, data in copies.items()}
        raise SafetyViolation(f"{partition}: replicas differ, bytes per broker {sizes}")
