"""Rows of partitions, and what each adds to the counts of its topic and of the brokers.

Pure. A partition that changed is taken out of the sums and put in again: the cost of a change does
not grow with the partitions beside it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import compress
from operator import is_not

from broker.protocol.image import PartitionState, TopicImage
from tui.rows import Rows


class Health(StrEnum):
    """How a partition or topic stands, from best to worst."""

    OK = "ok"
    UNDER_REPLICATED = "under-replicated"
    UNDER_MIN_ISR = "under min ISR"
    OFFLINE = "offline"


@dataclass(frozen=True, slots=True)
class PartitionRow:
    """One partition as the metadata log says it is."""

    topic: str
    partition: int
    leader: int
    leader_epoch: int
    partition_epoch: int
    replicas: tuple[int, ...]
    isr: tuple[int, ...]
    health: Health
    min_isr: int | None = None
    adding: tuple[int, ...] = ()
    removing: tuple[int, ...] = ()

    @property
    def key(self) -> tuple[str, int]:
        """(topic, partition)."""
        return self.topic, self.partition

    @property
    def at_min_isr(self) -> bool:
        """Whether one more loss stops acks=all; False where min.insync.replicas is not known."""
        here, wanted = len(self.isr), len(self.replicas) - len(self.adding)
        # Without a leader nothing is acknowledged, with acks=all or without.
        led = self.leader >= 0
        return led and self.min_isr is not None and 0 < here == self.min_isr < wanted

    @property
    def is_moving(self) -> bool:
        """Whether replicas are being moved (KIP-455)."""
        return bool(self.adding or self.removing)

    @property
    def behind(self) -> tuple[int, ...]:
        """Replicas that are not in sync; one that a move adds has never been, and lacks nobody."""
        return _behind(self.replicas, self.isr, self.adding)

    @property
    def name(self) -> str:
        """`topic-partition`, as Kafka writes it."""
        return f"{self.topic}-{self.partition}"

    @property
    def on_preferred_leader(self) -> bool:
        """Whether the first replica leads, or could not do so yet: a move is just adding it."""
        first = self.replicas[0] if self.replicas else None
        return first is not None and (self.leader == first or first in self.adding)


@dataclass(frozen=True, slots=True)
class TopicRow:
    """One topic, its partitions summed up. `moving` counts those whose replicas are being moved,
    `filling` those of them that lack nothing but what the move adds.
    """

    name: str
    partitions: int
    replication_factor: int
    under_replicated: int
    offline: int
    under_min_isr: int = 0
    at_min_isr: int = 0
    not_preferred: int = 0
    moving: int = 0
    filling: int = 0

    @property
    def health(self) -> Health:
        """The worst of its partitions."""
        if self.offline:
            return Health.OFFLINE
        if self.under_min_isr:
            return Health.UNDER_MIN_ISR
        return Health.UNDER_REPLICATED if self.under_replicated else Health.OK


@dataclass(slots=True)
class Tally:
    """Counts of partitions: those that are not as they should be, and by broker."""

    under_replicated: int = 0
    offline: int = 0
    under_min_isr: int = 0
    at_min_isr: int = 0
    not_preferred: int = 0
    moving: int = 0
    filling: int = 0
    leaders: dict[int, int] = field(default_factory=dict)
    replicas: dict[int, int] = field(default_factory=dict)
    out_of_sync: dict[int, int] = field(default_factory=dict)

    def count(self, row: PartitionRow, sign: int = 1) -> None:
        """Put a partition in, or take it out with `sign` -1."""
        behind = row.behind
        self.under_replicated += sign * bool(behind)
        if row.is_moving:
            self.moving += sign
            self.filling += sign * (not behind and len(row.isr) < len(row.replicas))
        self.offline += sign * (row.health is Health.OFFLINE)
        self.under_min_isr += sign * (row.health is Health.UNDER_MIN_ISR)
        self.at_min_isr += sign * row.at_min_isr
        self.not_preferred += sign * (not row.on_preferred_leader)
        _add(self.leaders, row.leader, sign)
        for replica in row.replicas:
            _add(self.replicas, replica, sign)
        for replica in behind:
            _add(self.out_of_sync, replica, sign)

    def merge(self, other: "Tally", sign: int = 1) -> None:
        """Put all of another in, or take it out with `sign` -1."""
        self.under_replicated += sign * other.under_replicated
        self.offline += sign * other.offline
        self.under_min_isr += sign * other.under_min_isr
        self.at_min_isr += sign * other.at_min_isr
        self.not_preferred += sign * other.not_preferred
        self.moving += sign * other.moving
        self.filling += sign * other.filling
        for into, counts in (
            (self.leaders, other.leaders),
            (self.replicas, other.replicas),
            (self.out_of_sync, other.out_of_sync),
        ):
            for broker, number in counts.items():
                _add(into, broker, sign * number)


def _add(counts: dict[int, int], broker: int, number: int) -> None:
    now = counts.get(broker, 0) + number
    if now:
        counts[broker] = now
    else:
        # A broker of which nothing is left must not be listed.
        counts.pop(broker, None)


class TopicSums:
    """The rows of one topic and their tally. `start` is where they stand among all partitions."""

    def __init__(self, image: TopicImage, min_isr: int | None) -> None:
        self.image = image
        # The states that the rows were made from: those of `image`, unless `changes` was cut short.
        self._states = list(image.partitions)
        self.min_isr = min_isr
        self.name = image.name
        self.start = self.place = 0
        self.rows = Rows(
            partition_row(image.name, index, state, min_isr)
            for index, state in enumerate(image.partitions)
        )
        self.tally = Tally()
        for row in self.rows:
            self.tally.count(row)
        self._factor = max(map(_factor, image.partitions), default=0)
        self.row = self._topic_row()

    def changes(
        self, image: TopicImage, limit: int | None = None
    ) -> Sequence[tuple[int, PartitionRow, PartitionRow]]:
        """Take an image with as many partitions: (index, row before, row now) of each change.

        With a limit no more than that many at once; `image` is only kept once it is all taken.
        """
        states = image.partitions
        changed = list(compress(range(len(states)), map(is_not, self._states, states)))
        if limit is not None and len(changed) > limit:
            del changed[limit:]
        else:
            self.image = image
        told = []
        for index in changed:
            before = self.rows[index]
            now = partition_row(image.name, index, image.partitions[index], self.min_isr)
            self.rows.put(index, now)
            self._states[index] = states[index]
            self.tally.count(before, -1)
            self.tally.count(now)
            if (len(before.replicas), before.adding) != (len(now.replicas), now.adding):
                self._factor = max(map(_factor, image.partitions), default=0)
            told.append((index, before, now))
        if told:
            self.row = self._topic_row()
        return told

    def _topic_row(self) -> TopicRow:
        tally = self.tally
        return TopicRow(
            name=self.name,
            partitions=len(self.rows),
            replication_factor=self._factor,
            under_replicated=tally.under_replicated,
            offline=tally.offline,
            under_min_isr=tally.under_min_isr,
            at_min_isr=tally.at_min_isr,
            not_preferred=tally.not_preferred,
            moving=tally.moving,
            filling=tally.filling,
        )


def _behind(
    replicas: tuple[int, ...], isr: tuple[int, ...], adding: tuple[int, ...]
) -> tuple[int, ...]:
    if len(isr) == len(replicas):
        return ()
    return tuple(each for each in replicas if each not in isr and each not in adding)


def _factor(state: PartitionState) -> int:
    # As Kafka's own tools count: what a move adds is no replica before it is done.
    return len(state.replicas) - len(state.adding)


def partition_row(
    topic: str, index: int, state: PartitionState, min_isr: int | None
) -> PartitionRow:
    """The row of one partition."""
    if state.leader < 0:
        health = Health.OFFLINE
    elif min_isr is not None and len(state.isr) < min(min_isr, len(state.replicas)):
        health = Health.UNDER_MIN_ISR
    elif _behind(state.replicas, state.isr, state.adding):
        health = Health.UNDER_REPLICATED
    else:
        health = Health.OK
    return PartitionRow(
        topic=topic,
        partition=index,
        leader=state.leader,
        leader_epoch=state.leader_epoch,
        partition_epoch=state.partition_epoch,
        replicas=state.replicas,
        isr=state.isr,
        health=health,
        min_isr=min_isr,
        adding=state.adding,
        removing=state.removing,
    )


def rows_of_all(sums: Sequence[TopicSums]) -> list[PartitionRow]:
    """The rows of all these topics, each told where its own begin."""
    rows: list[PartitionRow] = []
    for place, each in enumerate(sums):
        each.start, each.place = len(rows), place
        rows += each.rows
    return rows
