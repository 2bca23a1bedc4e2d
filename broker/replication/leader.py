"""The leader role of one partition: appends, follower progress, high watermark, ISR.

It must never lower the high watermark, never count a replica that might not be in the ISR of the
next election, and never acknowledge below min.insync.replicas (KIP-966, strict minimum).
"""

from collections.abc import Mapping

from broker.protocol.errors import ErrorCode
from broker.protocol.image import RECOVERED, PartitionState
from broker.replication.isr import IsrState
from broker.replication.local import LocalReplica
from broker.replication.ports import (
    Appended,
    BrokerView,
    EpochEnd,
    IsrProposal,
    ReadOutcome,
)
from broker.replication.progress import FollowerProgress

ALL_REPLICAS = -1


class LeaderRole:
    """One leader epoch of a partition on its leader. Made anew for each epoch."""

    __slots__ = (
        "_brokers",
        "_followers",
        "_local",
        "_local_id",
        "_recovery_state",
        "epoch",
        "epoch_start_offset",
        "isr",
        "replicas",
    )

    def __init__(
        self,
        local: LocalReplica,
        local_id: int,
        state: PartitionState,
        brokers: BrokerView,
        now_ms: int,
    ) -> None:
        self._local = local
        self._local_id = local_id
        self._brokers = brokers
        self.epoch = state.leader_epoch
        # Before any write (KIP-101): followers find by it where this epoch begins.
        local.log.assign_epoch(self.epoch)
        self.epoch_start_offset = local.log.end_offset
        self.isr = IsrState(state)
        self.replicas = state.replicas
        self._recovery_state = state.leader_recovery_state
        self._followers: dict[int, FollowerProgress] = {}
        self._set_followers(state.replicas, now_ms)
        self.advance_high_watermark(now_ms)

    @property
    def followers(self) -> Mapping[int, FollowerProgress]:
        """Progress by broker id."""
        return self._followers

    @property
    def min_isr(self) -> int:
        """min.insync.replicas, or the number of replicas when that is lower."""
        return min(self._local.settings.min_insync_replicas, max(1, len(self.replicas)))

    @property
    def is_under_min_isr(self) -> bool:
        """Whether fewer replicas are in sync than acks=all needs."""
        return len(self.isr.committed) < self.min_isr

    @property
    def low_watermark(self) -> int:
        """The lowest log start of the replicas on live brokers (DeleteRecords waits for it)."""
        low = self._local.log.start_offset
        for replica_id, progress in self._followers.items():
            if self._brokers.eligible_epoch(replica_id) is not None:
                low = min(low, progress.log_start_offset)
        return low

    # -- metadata

    def update(self, state: PartitionState, now_ms: int) -> bool:
        """Newer metadata of the same leader epoch; whether anything changed."""
        if state.leader_epoch != self.epoch:
            return False
        if not self.isr.committed_by_metadata(state.isr, state.partition_epoch):
            return False
        self._recovery_state = state.leader_recovery_state
        if state.replicas != self.replicas:
            self.replicas = state.replicas
            self._set_followers(state.replicas, now_ms)
        self.advance_high_watermark(now_ms)
        self.expand_any()
        return True

    def _set_followers(self, replicas: tuple[int, ...], now_ms: int) -> None:
        kept = self._followers
        self._followers = {
            replica: kept.get(replica)
            or FollowerProgress(replica, in_sync=replica in self.isr.committed, now_ms=now_ms)
            for replica in replicas
            if replica != self._local_id
        }

    # -- produce

    def append(
        self, batches: bytes | memoryview, required_acks: int, now_ms: int, wall_ms: int
    ) -> tuple[ErrorCode, Appended | None]:
        """Write a producer's batches. Raises what the log raises for bad ones.

        ``now_ms`` is monotonic, ``wall_ms`` dates the records. With acks=all the answer waits
        until the high watermark passes ``last_offset``.
        """
        local = self._local
        if required_acks == ALL_REPLICAS and self.is_under_min_isr:
            return ErrorCode.not_enough_replicas, None
        settings = local.settings
        info = local.log.append_as_leader(
            batches,
            self.epoch,
            wall_ms,
            log_append_time=settings.log_append_time,
            max_batch_bytes=settings.max_message_bytes,
        )
        if len(self.isr.maximal) == 1:
            # Only then can our own end move the high watermark.
            self.advance_high_watermark(now_ms)
        return ErrorCode.none, info

    def acknowledged(self, required_offset: int) -> ErrorCode | None:
        """Whether acks=all up to ``required_offset`` (exclusive) is decided: None = not yet.

        A shrink below the minimum ends the wait with NOT_ENOUGH_REPLICAS_AFTER_APPEND: the
        records stay in the log, and the watermark stands still until the ISR grows again.
        """
        if self._local.high_watermark >= required_offset:
            return ErrorCode.none
        if self.is_under_min_isr:
            return ErrorCode.not_enough_replicas_after_append
        return None

    # -- followers

    def fetch(
        self,
        replica_id: int,
        *,
        fetch_offset: int,
        last_fetched_epoch: int,
        log_start_offset: int,
        broker_epoch: int,
        max_bytes: int,
        min_one: bool,
        now_ms: int,
    ) -> ReadOutcome:
        """A follower's fetch: note its progress, then read up to the log's end.

        Neither a diverging nor an out-of-range follower is noted: what it holds below its fetch
        offset is not ours.
        """
        log = self._local.log
        progress = self._followers.get(replica_id)
        if progress is None:
            # It knows of a reassignment that we have not heard of yet.
            return ReadOutcome(ErrorCode.unknown_leader_epoch)
        registered = self._brokers.registered_epoch(replica_id)
        if broker_epoch != -1 and registered is not None and broker_epoch < registered:
            return ReadOutcome(ErrorCode.not_leader_or_follower)
        if not log.start_offset <= fetch_offset:
            return self._outcome(ErrorCode.offset_out_of_range)
        if last_fetched_epoch >= 0:
            diverging = self._divergence(fetch_offset, last_fetched_epoch)
            if diverging is not None:
                return diverging
        if fetch_offset > log.end_offset:
            return self._outcome(ErrorCode.offset_out_of_range)
        previous_end = progress.log_end_offset
        progress.fetched(
            fetch_offset=fetch_offset,
            log_start_offset=log_start_offset,
            broker_epoch=broker_epoch,
            leader_end_offset=log.end_offset,
            now_ms=now_ms,
        )
        self.maybe_expand(replica_id)
        if previous_end != fetch_offset:
            self.advance_high_watermark(now_ms)
        outcome = self._outcome(ErrorCode.none)
        if (max_bytes > 0 or min_one) and fetch_offset < log.end_offset:
            outcome.records = log.read(
                fetch_offset, max_bytes, upto_offset=log.end_offset, min_one=min_one
            )
        return outcome

    def fetched_again(
        self,
        replica_id: int,
        *,
        fetch_offset: int,
        last_fetched_epoch: int,
        log_start_offset: int,
        broker_epoch: int,
        now_ms: int,
    ) -> bool:
        """Note the fetch of a follower in sync that has everything and asks as it did before.

        The short way of ``fetch`` for partitions at rest. False, with nothing noted, when there
        is anything to read, to tell or to decide. ``broker_epoch`` must be the registered one.
        """
        log, isr = self._local.log, self.isr
        progress = self._followers.get(replica_id)
        if (
            progress is None
            or fetch_offset != log.end_offset
            or fetch_offset != progress.log_end_offset
            or log_start_offset != progress.log_start_offset
            or broker_epoch != progress.broker_epoch
            or isr.pending is not None
            or replica_id not in isr.committed
        ):
            return False
        other_epoch = last_fetched_epoch >= 0 and last_fetched_epoch != log.latest_epoch
        if other_epoch and self._divergence(fetch_offset, last_fetched_epoch) is not None:
            return False
        progress.seen_again(fetch_offset, now_ms)
        return True

    def _outcome(self, error: ErrorCode) -> ReadOutcome:
        high_watermark = self._local.high_watermark
        return ReadOutcome(error, high_watermark, high_watermark, self._local.log.start_offset)

    def _divergence(self, fetch_offset: int, last_fetched_epoch: int) -> ReadOutcome | None:
        """Fetch v12+ (KIP-595): the follower's last record must be part of our history."""
        epoch, end_offset = self._local.log.end_offset_for_epoch(last_fetched_epoch)
        if epoch < 0 or end_offset < 0:
            return self._outcome(ErrorCode.offset_out_of_range)
        if epoch == last_fetched_epoch and end_offset >= fetch_offset:
            return None
        outcome = self._outcome(ErrorCode.none)
        outcome.diverging_epoch = EpochEnd(epoch, end_offset)
        return outcome

    # -- high watermark

    def advance_high_watermark(self, now_ms: int) -> bool:
        """Raise the high watermark as far as the rules allow; whether it moved.

        It is the lowest log end of the maximal ISR, and of replicas that are about to join it:
        were those not waited for, a busy partition would outrun them for ever (KAFKA-4477).
        """
        if self.is_under_min_isr:
            return False
        local = self._local
        candidate = local.durable_offset
        if candidate <= local.high_watermark:
            return False
        maximal = self.isr.maximal
        for replica_id, progress in self._followers.items():
            if progress.log_end_offset < candidate and (
                replica_id in maximal or self._is_joining(progress, now_ms)
            ):
                candidate = progress.log_end_offset
        return local.raise_high_watermark(candidate)

    def _is_joining(self, progress: FollowerProgress, now_ms: int) -> bool:
        return progress.is_caught_up(
            self._local.log.end_offset, now_ms, self._local.settings.replica_lag_time_max_ms
        ) and self._is_eligible(progress)

    # -- ISR

    def _is_eligible(self, progress: FollowerProgress) -> bool:
        """Live, and the incarnation that fetched is the one the controller knows (KIP-903)."""
        epoch = self._brokers.eligible_epoch(progress.replica_id)
        return epoch is not None and progress.broker_epoch in (-1, epoch)

    def maybe_expand(self, replica_id: int) -> bool:
        """Propose the replica for the ISR if it has all that is committed; whether it did."""
        isr = self.isr
        if isr.pending is not None or replica_id in isr.committed:
            return False
        progress = self._followers.get(replica_id)
        if progress is None or progress.log_end_offset < max(
            self._local.high_watermark, self.epoch_start_offset
        ):
            return False
        if not self._is_eligible(progress):
            return False
        self._propose((*isr.committed, replica_id))
        return True

    def expand_any(self) -> bool:
        """Propose the first replica that may join; whether there was one."""
        if self.isr.pending is not None or len(self.isr.committed) == len(self.replicas):
            return False
        return any(self.maybe_expand(replica) for replica in self._followers)

    def maybe_shrink(self, now_ms: int) -> bool:
        """Propose an ISR without the replicas that lag too long; whether it did."""
        isr = self.isr
        if isr.pending is not None:
            return False
        lag_ms = self._local.settings.replica_lag_time_max_ms
        end = self._local.log.end_offset
        kept = tuple(
            member
            for member in isr.committed
            if (progress := self._followers.get(member)) is None
            or progress.is_caught_up(end, now_ms, lag_ms)
        )
        if kept == isr.committed:
            return False
        self._propose(kept)
        return True

    def grant_fresh_lag(self, now_ms: int) -> None:
        """This process stood still: the time was ours, so nobody lagged in it."""
        for progress in self._followers.values():
            if progress.replica_id in self.isr.maximal:
                progress.last_caught_up_ms = max(progress.last_caught_up_ms, now_ms)

    def _propose(self, members: tuple[int, ...]) -> None:
        epochs = tuple((member, self._epoch_of(member)) for member in members)
        self.isr.propose(
            IsrProposal(
                isr=epochs,
                leader_epoch=self.epoch,
                partition_epoch=self.isr.partition_epoch,
                leader_recovery_state=RECOVERED,
            )
        )

    def _epoch_of(self, member: int) -> int:
        if member == self._local_id:
            registered = self._brokers.registered_epoch(member)
            return -1 if registered is None else registered
        progress = self._followers.get(member)
        if progress is not None and progress.broker_epoch != -1:
            return progress.broker_epoch
        registered = self._brokers.registered_epoch(member)
        return -1 if registered is None else registered
