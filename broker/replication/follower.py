"""The follower role of one partition: what to fetch next, and what to do with the answer.

It must never truncate by its high watermark, only by leader epoch (KIP-101, KIP-279), and never
apply an answer to a question that it would no longer ask.
"""

from dataclasses import dataclass
from enum import Enum

from broker.protocol.image import PartitionState
from broker.replication.local import LocalReplica
from broker.replication.ports import EpochEnd


@dataclass(frozen=True, slots=True)
class FetchPosition:
    """What a follower asks its leader for; ``last_fetched_epoch`` is -1 on an empty log."""

    fetch_offset: int
    last_fetched_epoch: int
    leader_epoch: int
    log_start_offset: int


class Applied(Enum):
    """What became of a fetch answer."""

    NOTHING = "nothing new"
    APPENDED = "appended"
    TRUNCATED = "truncated"
    STALE = "answer to an outdated question"


class FollowerRole:
    """One leader epoch of a partition on a follower."""

    __slots__ = ("_local", "epoch", "leader_id")

    def __init__(self, local: LocalReplica, state: PartitionState) -> None:
        self._local = local
        self.epoch = state.leader_epoch
        self.leader_id = state.leader

    def position(self) -> FetchPosition:
        """The next fetch, derived from the log alone, so that nothing can reset it wrongly."""
        log = self._local.log
        return FetchPosition(log.end_offset, log.latest_epoch, self.epoch, log.start_offset)

    def is_current(self, asked: FetchPosition) -> bool:
        """Whether ``asked`` is still what we would ask."""
        return asked.leader_epoch == self.epoch and asked.fetch_offset == self._local.log.end_offset

    def apply(
        self,
        asked: FetchPosition,
        records: bytes | memoryview,
        *,
        high_watermark: int,
        log_start_offset: int,
        diverging_epoch: EpochEnd | None = None,
    ) -> Applied:
        """Take in a successful answer. Raises what the log raises for damaged batches."""
        if not self.is_current(asked):
            return Applied.STALE
        local = self._local
        if diverging_epoch is not None:
            local.truncate_to(self.cut_offset(diverging_epoch))
            return Applied.TRUNCATED
        result = Applied.NOTHING
        if len(records):
            local.log.append_as_follower(records)
            result = Applied.APPENDED
        # One fetch behind the leader's: never above what we hold.
        local.raise_high_watermark(high_watermark)
        local.advance_start_offset(log_start_offset)
        return result

    def cut_offset(self, leader: EpochEnd) -> int:
        """Where to cut: the leader's largest epoch not above ours ends at ``leader.end_offset``."""
        log = self._local.log
        end = log.end_offset
        if leader.end_offset < 0:
            return min(self._local.high_watermark, end)
        epoch, epoch_end = log.end_offset_for_epoch(leader.epoch)
        if epoch < 0 or epoch_end < 0:
            target = leader.end_offset
        elif epoch == leader.epoch:
            target = min(epoch_end, leader.end_offset)
        else:
            # We never saw the leader's epoch (KIP-279): go back to the end of our next lower
            # one; the next fetch asks again from there.
            target = epoch_end
        return min(target, end)

    def out_of_range(self, leader_start_offset: int, leader_end_offset: int) -> Applied:
        """The leader's log does not hold our position (KAFKA-7414). Never fatal.

        Longer than the leader's: cut to its end. Older than its start: begin again there.
        """
        local = self._local
        end = local.log.end_offset
        if leader_end_offset < end:
            local.truncate_to(leader_end_offset)
            return Applied.TRUNCATED
        if leader_start_offset > end:
            local.truncate_fully(leader_start_offset)
            return Applied.TRUNCATED
        if leader_start_offset > local.log.start_offset:
            local.advance_start_offset(leader_start_offset)
        return Applied.NOTHING
