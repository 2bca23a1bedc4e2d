"""What must hold for data partitions at every moment, seen from outside of the brokers.

One leader per epoch; a leader's high watermark only grows; a new leader has everything that was
below any earlier high watermark; what is below it is on min.insync.replicas brokers. Looks at live
objects between callbacks and must never change them.
"""

from dataclasses import dataclass, field
from uuid import UUID

from broker.replication import Partition
from broker.runtime.replicas import ReplicaManager
from broker.simulation.violations import SafetyViolation

Key = tuple[UUID, int]


@dataclass(slots=True)
class _Seen:
    """What is known of one partition, over all replicas and time."""

    name: str
    leaders: dict[int, int] = field(default_factory=dict)  # leader epoch -> node
    watermarks: dict[tuple[int, int], int] = field(default_factory=dict)  # (node, epoch) -> offset
    # The highest high watermark of any leader, and its epoch.
    committed: int = 0
    committed_epoch: int = -1
    # Of this round: live node -> log end; and the newest known replicas, by metadata offset.
    ends: dict[int, int] = field(default_factory=dict)
    replicas: tuple[int, tuple[int, ...]] = (-1, ())


class PartitionChecker:
    """Feeds on `observe` for each live broker, then `compare`, again and again."""

    def __init__(self) -> None:
        self._partitions: dict[Key, _Seen] = {}

    def observe(self, node: int, replicas: ReplicaManager) -> None:
        """Look at every partition of one broker. Raises SafetyViolation."""
        image = replicas.image
        for topic, index, state in image.iter_partitions():
            partition = replicas.partition(topic.name, index) if node in state.replicas else None
            if partition is not None and partition.topic_id == topic.id:
                seen = self._look(node, (topic.id, index), partition)
                seen.replicas = max(seen.replicas, (image.offset, state.replicas))

    def ended(self, node: int) -> None:
        """The node's process is gone: what it knew and held in memory counts no more."""
        for seen in self._partitions.values():
            for key in [key for key in seen.watermarks if key[0] == node]:
                del seen.watermarks[key]

    def _look(self, node: int, key: Key, partition: Partition) -> _Seen:
        seen = self._partitions.get(key)
        if seen is None:
            seen = self._partitions[key] = _Seen(f"{partition.topic}-{partition.index}")
        end, watermark = partition.log.end_offset, partition.high_watermark
        seen.ends[node] = end
        if watermark > end:
            raise SafetyViolation(
                f"{seen.name} on {node}: high watermark {watermark} above end {end}"
            )
        leader = partition.leader
        if leader is None:
            return seen
        epoch = leader.epoch
        known = seen.leaders.setdefault(epoch, node)
        if known != node:
            raise SafetyViolation(f"{seen.name}: epoch {epoch} has two leaders, {known} and {node}")
        before = seen.watermarks.get((node, epoch))
        if before is None and epoch > seen.committed_epoch and end < seen.committed:
            raise SafetyViolation(
                f"{seen.name}: node {node} leads epoch {epoch} with log end {end}, but epoch "
                f"{seen.committed_epoch} had committed up to {seen.committed}"
            )
        if before is not None and watermark < before:
            raise SafetyViolation(
                f"{seen.name}: on leader {node} in epoch {epoch} the high watermark went from "
                f"{before} back to {watermark}"
            )
        seen.watermarks[node, epoch] = watermark
        if watermark > seen.committed:
            seen.committed, seen.committed_epoch = watermark, epoch
        return seen

    def compare(self, min_isr: int = 2) -> None:
        """What is committed is on enough replicas, if all are up. Raises SafetyViolation.

        Ends a round: the next one looks at everything anew.
        """
        for seen in self._partitions.values():
            everyone = seen.replicas[1]
            holders = [node for node, end in seen.ends.items() if end >= seen.committed]
            if len(holders) < min_isr and all(node in seen.ends for node in everyone):
                raise SafetyViolation(
                    f"{seen.name}: committed up to {seen.committed} (epoch "
                    f"{seen.committed_epoch}), but the logs end at {seen.ends}"
                )
            seen.ends.clear()
