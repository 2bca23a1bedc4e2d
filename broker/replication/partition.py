"""One partition on one broker: its local replica, and the role that metadata gives it here.

Every read and write passes the epoch checks of KIP-320 first. Nothing awaits and no clock is read:
``now_ms`` is monotonic milliseconds, ``wall_ms`` dates records. It must never act on metadata of
a lower leader epoch than it has seen, be it in an image or in its own log.
"""

from uuid import UUID

from broker.protocol.errors import ErrorCode
from broker.protocol.image import NO_LEADER, PartitionState
from broker.replication.follower import FollowerRole
from broker.replication.leader import LeaderRole
from broker.replication.local import LocalReplica
from broker.replication.offsets import LATEST, ListedOffset, TimestampLog, look_up
from broker.replication.ports import (
    Appended,
    BrokerView,
    EpochEnd,
    IsrProposal,
    ReadOutcome,
    ReplicationSettings,
)

CONSUMER = -1
NO_LEADER_EPOCH = -1


class Partition:
    """A partition that this broker holds a replica of."""

    __slots__ = (
        "_brokers",
        "_follower",
        "_leader",
        "_led_since_epoch",
        "index",
        "leader_epoch",
        "leader_id",
        "local",
        "local_id",
        "log",
        "partition_epoch",
        "replicas",
        "topic",
        "topic_id",
    )

    def __init__(
        self,
        topic: str,
        topic_id: UUID,
        index: int,
        local_id: int,
        log: TimestampLog,
        settings: ReplicationSettings,
        brokers: BrokerView,
        *,
        high_watermark: int = 0,
    ) -> None:
        self.topic = topic
        self.topic_id = topic_id
        self.index = index
        self.local_id = local_id
        self.log = log
        self.local = LocalReplica(log, settings, high_watermark)
        self._brokers = brokers
        # At most one of the two roles is set; none before the first metadata.
        self._leader: LeaderRole | None = None
        self._follower: FollowerRole | None = None
        self._led_since_epoch = NO_LEADER_EPOCH
        self.leader_id = NO_LEADER
        self.leader_epoch = NO_LEADER_EPOCH
        self.partition_epoch = -1
        self.replicas: tuple[int, ...] = ()

    def __repr__(self) -> str:
        role = "leader" if self._leader else "follower" if self._follower else "no role"
        return f"<Partition {self.topic}-{self.index} {role} epoch {self.leader_epoch}>"

    # -- what is known

    @property
    def leader(self) -> LeaderRole | None:
        """The leader role, when this broker leads."""
        return self._leader

    @property
    def follower(self) -> FollowerRole | None:
        """The follower role, when another broker leads (or none does)."""
        return self._follower

    @property
    def is_leader(self) -> bool:
        """Whether this broker leads the partition, as far as it knows."""
        return self._leader is not None

    @property
    def led_since_epoch(self) -> int:
        """The epoch in which this broker began to lead, without a break since; while it leads."""
        return self._led_since_epoch

    @property
    def high_watermark(self) -> int:
        """The end of what every in-sync replica has; consumers read below it."""
        return self.local.high_watermark

    @property
    def last_stable_offset(self) -> int:
        """The end of what read_committed consumers may see."""
        return self.local.high_watermark

    @property
    def isr(self) -> tuple[int, ...]:
        """The committed ISR, known on the leader; empty elsewhere."""
        return self._leader.isr.committed if self._leader else ()

    @property
    def settings(self) -> ReplicationSettings:
        """The settings in force."""
        return self.local.settings

    def update_settings(self, settings: ReplicationSettings, now_ms: int) -> bool:
        """Take new settings; whether the high watermark moved (a lower min ISR frees it)."""
        self.local.settings = settings
        return self._leader is not None and self._leader.advance_high_watermark(now_ms)

    # -- metadata

    def become_leader(self, state: PartitionState, now_ms: int) -> bool:
        """Lead, as of ``state``; whether anything changed.

        A state older than what was seen changes nothing. One that is older than the log's own
        epochs is history replayed at start: this broker has led or followed since, so it takes
        no role by it.
        """
        if self._is_stale(state):
            return False
        leader = self._leader
        if leader is not None and leader.epoch == state.leader_epoch:
            changed = leader.update(state, now_ms)
            self._note(state)
            return changed
        self._note(state)
        self._follower = None
        if state.leader_epoch < self.log.latest_epoch:
            self._leader = None
            return False
        if leader is None:
            self._led_since_epoch = state.leader_epoch
        self._leader = LeaderRole(self.local, self.local_id, state, self._brokers, now_ms)
        return True

    def become_follower(self, state: PartitionState) -> bool:
        """Follow ``state.leader`` (-1: nobody leads); whether leader or leader epoch changed."""
        if self._is_stale(state):
            return False
        follower = self._follower
        self._note(state)
        if (
            follower is not None
            and follower.epoch == state.leader_epoch
            and follower.leader_id == state.leader
        ):
            return False
        self._leader = None
        self._follower = FollowerRole(self.local, state)
        return True

    def resign(self) -> None:
        """Take no role any more (shutting down, or the replica leaves this broker)."""
        self._leader = None
        self._follower = None

    def _is_stale(self, state: PartitionState) -> bool:
        return state.leader_epoch < self.leader_epoch or (
            state.leader_epoch == self.leader_epoch and state.partition_epoch < self.partition_epoch
        )

    def _note(self, state: PartitionState) -> None:
        self.leader_id = state.leader
        self.leader_epoch = state.leader_epoch
        self.partition_epoch = state.partition_epoch
        self.replicas = state.replicas

    # -- checks

    def check_epoch(self, current_leader_epoch: int) -> ErrorCode:
        """Compare the epoch a caller believes in with ours (KIP-320); -1 = it says nothing."""
        if current_leader_epoch in (NO_LEADER_EPOCH, self.leader_epoch):
            return ErrorCode.none
        if current_leader_epoch < self.leader_epoch:
            return ErrorCode.fenced_leader_epoch
        return ErrorCode.unknown_leader_epoch

    # -- produce

    def append(
        self, batches: bytes | memoryview, required_acks: int, now_ms: int, wall_ms: int
    ) -> tuple[ErrorCode, Appended | None]:
        """Write as the leader; see LeaderRole.append."""
        leader = self._leader
        if leader is None:
            return ErrorCode.not_leader_or_follower, None
        return leader.append(batches, required_acks, now_ms, wall_ms)

    def acknowledged(self, required_offset: int, leader_epoch: int) -> ErrorCode | None:
        """Whether what was appended in ``leader_epoch`` with acks=all is decided; None = not yet.

        Leadership that was lost meanwhile ends it, even when it came back: what was appended may
        be gone. An epoch that begins with the same leader (a reassignment that ends) does not,
        as in Kafka: this log was never cut. An error here and success for the batch behind it
        would leave a client to guess where the first one is.
        """
        leader = self._leader
        if leader is None or leader_epoch < self._led_since_epoch:
            return ErrorCode.not_leader_or_follower
        return leader.acknowledged(required_offset)

    # -- fetch

    def fetch_as_follower(
        self,
        replica_id: int,
        *,
        fetch_offset: int,
        last_fetched_epoch: int,
        current_leader_epoch: int,
        log_start_offset: int,
        broker_epoch: int,
        max_bytes: int,
        min_one: bool,
        now_ms: int,
    ) -> ReadOutcome:
        """A follower's fetch: notes its progress, may move the high watermark and the ISR."""
        error = self.check_epoch(current_leader_epoch)
        if error:
            return ReadOutcome(error)
        leader = self._leader
        if leader is None:
            return ReadOutcome(ErrorCode.not_leader_or_follower)
        return leader.fetch(
            replica_id,
            fetch_offset=fetch_offset,
            last_fetched_epoch=last_fetched_epoch,
            log_start_offset=log_start_offset,
            broker_epoch=broker_epoch,
            max_bytes=max_bytes,
            min_one=min_one,
            now_ms=now_ms,
        )

    def read_as_consumer(
        self,
        fetch_offset: int,
        *,
        current_leader_epoch: int,
        max_bytes: int,
        min_one: bool,
        only_from_leader: bool = True,
        last_fetched_epoch: int = -1,
    ) -> ReadOutcome:
        """A consumer's fetch, bounded by the high watermark.

        Off the leader (KIP-392) an offset that this replica has not reached yet is
        OFFSET_NOT_AVAILABLE: the consumer may well be right.
        """
        error = self.check_epoch(current_leader_epoch)
        if error:
            return ReadOutcome(error)
        if self._leader is None and (only_from_leader or self._follower is None):
            return ReadOutcome(ErrorCode.not_leader_or_follower)
        log, high_watermark = self.log, self.local.high_watermark
        outcome = ReadOutcome(ErrorCode.none, high_watermark, high_watermark, log.start_offset)
        if fetch_offset < log.start_offset:
            outcome.error = ErrorCode.offset_out_of_range
            return outcome
        if last_fetched_epoch >= 0:
            epoch, end = log.end_offset_for_epoch(last_fetched_epoch)
            if epoch < 0 or end < 0:
                outcome.error = ErrorCode.offset_out_of_range
                return outcome
            if epoch < last_fetched_epoch or end < fetch_offset:
                outcome.diverging_epoch = EpochEnd(epoch, end)
                return outcome
        if fetch_offset > log.end_offset:
            outcome.error = (
                ErrorCode.offset_out_of_range
                if self._leader is not None
                else ErrorCode.offset_not_available
            )
            return outcome
        if (max_bytes > 0 or min_one) and fetch_offset < high_watermark:
            outcome.records = log.read(
                fetch_offset, max_bytes, upto_offset=high_watermark, min_one=min_one
            )
        return outcome

    # -- offsets

    def list_offset(
        self, timestamp: int, *, replica_id: int = CONSUMER, current_leader_epoch: int = -1
    ) -> ListedOffset:
        """ListOffsets: a timestamp in ms, or -1 latest, -2 earliest, -3 of the newest timestamp.

        Consumers see up to the high watermark, replicas up to the log's end. Just after an
        election a consumer waits (OFFSET_NOT_AVAILABLE) until the watermark has reached the
        start of the epoch, so that "latest" never goes back (KIP-207).
        """
        error = self.check_epoch(current_leader_epoch)
        if error:
            return ListedOffset(error)
        leader = self._leader
        if leader is None:
            return ListedOffset(ErrorCode.not_leader_or_follower)
        if replica_id != CONSUMER:
            return look_up(self.log, timestamp, self.log.end_offset, self.leader_epoch)
        bound = self.local.high_watermark
        found = look_up(self.log, timestamp, bound, self.leader_epoch)
        behind = leader.epoch_start_offset > bound
        if behind and (timestamp == LATEST or (timestamp != -2 and found.offset < 0)):
            return ListedOffset(ErrorCode.offset_not_available)
        return found

    def end_offset_for_epoch(
        self, epoch: int, *, current_leader_epoch: int = -1
    ) -> tuple[ErrorCode, int, int]:
        """OffsetForLeaderEpoch: (error, largest epoch not above ``epoch``, its end offset)."""
        error = self.check_epoch(current_leader_epoch)
        if error:
            return error, -1, -1
        if self._leader is None:
            return ErrorCode.not_leader_or_follower, -1, -1
        found, end = self.log.end_offset_for_epoch(epoch)
        return ErrorCode.none, found, end

    # -- ISR

    @property
    def isr_proposal(self) -> IsrProposal | None:
        """The ISR change to send to the controller now, or None."""
        return self._leader.isr.sendable if self._leader else None

    def check_isr(self, now_ms: int) -> bool:
        """Look at every follower (each half of replica.lag.time.max.ms); whether to send something.

        A proposal whose newer metadata never arrived is sent again.
        """
        leader = self._leader
        if leader is None:
            return False
        return leader.isr.resume() or leader.maybe_shrink(now_ms) or leader.expand_any()

    def alter_partition_result(
        self,
        proposal: IsrProposal,
        error: ErrorCode | int,
        *,
        leader_epoch: int = -1,
        isr: tuple[int, ...] = (),
        partition_epoch: int = -1,
        now_ms: int,
    ) -> bool:
        """The controller's answer to ``proposal``; whether to send it again after a while."""
        leader = self._leader
        if leader is None or leader.epoch != proposal.leader_epoch:
            return False
        if error:
            return leader.isr.failed(proposal, error)
        if leader_epoch != leader.epoch:
            leader.isr.failed(proposal, ErrorCode.fenced_leader_epoch)
            return False
        if leader.isr.commit(isr, partition_epoch):
            self.partition_epoch = max(self.partition_epoch, partition_epoch)
            leader.advance_high_watermark(now_ms)
            leader.expand_any()
        return False

    # -- durability

    def flushed(self, upto_offset: int, now_ms: int) -> bool:
        """The log is on disk below ``upto_offset``; whether the high watermark moved."""
        self.local.flushed(upto_offset)
        return self._leader is not None and self._leader.advance_high_watermark(now_ms)
