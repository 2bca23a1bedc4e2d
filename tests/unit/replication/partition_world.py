"""Three brokers' copies of one partition, joined by plain calls instead of a network."""

from __future__ import annotations

from uuid import UUID

from broker.protocol.image import PartitionState
from broker.replication import Applied, Partition, ReplicationSettings
from tests.unit.replication.fake_log import FakeLog

TOPIC_ID = UUID(int=7)


class Brokers:
    """Who is registered and active; the epoch of broker n is 100 + n until changed."""

    def __init__(self, *ids: int) -> None:
        self.epochs = {i: 100 + i for i in ids}
        self.fenced: set[int] = set()

    def registered_epoch(self, broker_id: int) -> int | None:
        return self.epochs.get(broker_id)

    def eligible_epoch(self, broker_id: int) -> int | None:
        return None if broker_id in self.fenced else self.epochs.get(broker_id)


class World:
    """Partitions 1, 2, 3 and a controller that is a few lines."""

    def __init__(self, *, min_isr: int = 2, lag_ms: int = 10_000, flush: bool = False) -> None:
        self.now_ms = 1_000
        self.brokers = Brokers(1, 2, 3)
        self.settings = ReplicationSettings(
            min_insync_replicas=min_isr, replica_lag_time_max_ms=lag_ms, flush_on_commit=flush
        )
        self.state = PartitionState(replicas=(1, 2, 3), isr=(1, 2, 3), leader=-1)
        self.partitions = {i: self.new_partition(i) for i in (1, 2, 3)}

    def new_partition(self, broker: int) -> Partition:
        return Partition("orders", TOPIC_ID, 0, broker, FakeLog(), self.settings, self.brokers)

    def __getitem__(self, broker: int) -> Partition:
        return self.partitions[broker]

    def elect(self, leader: int, *, isr: tuple[int, ...] | None = None, tell=(1, 2, 3)) -> None:
        """The controller names a leader; the brokers in `tell` hear of it."""
        old = self.state
        self.state = PartitionState(
            replicas=old.replicas,
            isr=isr or old.isr,
            leader=leader,
            leader_epoch=old.leader_epoch + 1,
            partition_epoch=old.partition_epoch + 1,
        )
        self.publish(*tell)

    def publish(self, *tell: int) -> None:
        for broker in tell:
            if broker == self.state.leader:
                self[broker].become_leader(self.state, self.now_ms)
            else:
                self[broker].become_follower(self.state)

    def append(self, leader: int, data: bytes, acks: int = -1):
        return self[leader].append(data, acks, self.now_ms, self.now_ms)

    def fetch(self, follower: int, leader: int | None = None, max_bytes: int = 1 << 20) -> Applied:
        """One fetch round trip."""
        leader = self.state.leader if leader is None else leader
        replica = self[follower]
        asked = replica.follower.position()
        outcome = self[leader].fetch_as_follower(
            follower,
            fetch_offset=asked.fetch_offset,
            last_fetched_epoch=asked.last_fetched_epoch,
            current_leader_epoch=asked.leader_epoch,
            log_start_offset=asked.log_start_offset,
            broker_epoch=self.brokers.epochs[follower],
            max_bytes=max_bytes,
            min_one=True,
            now_ms=self.now_ms,
        )
        assert not outcome.error, outcome.error
        return replica.follower.apply(
            asked,
            outcome.records,
            high_watermark=outcome.high_watermark,
            log_start_offset=outcome.log_start_offset,
            diverging_epoch=outcome.diverging_epoch,
        )

    def sync(self, *followers: int, rounds: int = 10) -> None:
        for _ in range(rounds):
            for follower in followers:
                self.fetch(follower)

    def decide_isr(self, leader: int) -> None:
        """The controller accepts the leader's proposal and answers it."""
        proposal = self[leader].isr_proposal
        assert proposal is not None
        assert proposal.partition_epoch == self.state.partition_epoch
        old = self.state
        self.state = PartitionState(
            replicas=old.replicas,
            isr=proposal.members,
            leader=old.leader,
            leader_epoch=old.leader_epoch,
            partition_epoch=old.partition_epoch + 1,
        )
        self[leader].alter_partition_result(
            proposal,
            0,
            leader_epoch=self.state.leader_epoch,
            isr=self.state.isr,
            partition_epoch=self.state.partition_epoch,
            now_ms=self.now_ms,
        )
