"""The leader: appends, fetches of replicas and readers, the high watermark, its own resignation.

Must never count what is not on stable storage, nor a record of an older epoch by itself.
"""

from broker.protocol.errors import ErrorCode
from broker.raft.effects import AppendLeaderChange, AppendRecords, FlushLog, TrimLog
from broker.raft.elections import Elections
from broker.raft.events import AppendRequested
from broker.raft.messages import (
    BeginQuorumEpochRequest,
    BeginQuorumEpochResponse,
    FetchRequest,
    FetchResponse,
    FetchSnapshotRequest,
    FetchSnapshotResponse,
    ReadRange,
)
from broker.raft.roles import Leader, Parked, Replica
from broker.raft.types import (
    UNKNOWN_HIGH_WATERMARK,
    ElectionState,
    EpochEndOffset,
    SnapshotId,
)


class Leading(Elections):
    """What a leader does."""

    # -- beginning and end ----------------------------------------------------------------------

    def _become_leader(self, granted: frozenset[int]) -> None:
        """Open the epoch with a LeaderChange record; nothing older commits by itself before it."""
        start = self.log.end_offset
        self._remember(
            ElectionState(
                epoch=self.epoch,
                voted_for=self.state.voted_for,
                voted_directory_id=self.state.voted_directory_id,
                leader_id=self.node_id,
            )
        )
        replicas = {peer: Replica() for peer in self.peers}
        role = Leader(epoch_start_offset=start, elected_at_ms=self._now_ms, replicas=replicas)
        self._become(role)
        self.failed_rounds = 0
        self._trace("lead")
        self.log.append(start, start, self.epoch)
        self._emit(
            AppendLeaderChange(
                base_offset=start,
                epoch=self.epoch,
                leader_id=self.node_id,
                voters=self.voters,
                granting_voters=tuple(sorted(granted)),
            )
        )
        self._emit(FlushLog(upto=self.log.end_offset))
        for peer in self.peers:
            self._begin_epoch(role, peer)

    def _begin_epoch(self, role: Leader, peer: int) -> None:
        request = BeginQuorumEpochRequest(epoch=self.epoch, leader_id=self.node_id)
        role.begin_at_ms.pop(peer, None)
        role.begin_waiting[peer] = self._send(peer, request)

    def _on_begin_response(
        self, peer: int, send_id: int, response: BeginQuorumEpochResponse | None
    ) -> None:
        role = self.role
        if isinstance(role, Leader) and role.begin_waiting.get(peer) == send_id:
            del role.begin_waiting[peer]
            if response is None and role.replicas[peer].fetch_at_ms < 0:
                role.begin_at_ms[peer] = self._now_ms + self._retry_ms(3)
        if response is not None:
            self._learn(response.leader_id, response.epoch)

    def _leave_leadership(self, role: Leader) -> None:
        parked, role.parked = role.parked, []
        for fetch in parked:
            self._reply(
                fetch.token,
                FetchResponse(error=ErrorCode.not_leader_or_follower, epoch=self.epoch),
            )

    # -- appends --------------------------------------------------------------------------------

    def _on_append(self, event: AppendRequested) -> None:
        role = self.role
        assert isinstance(role, Leader), "only the leader appends"
        assert event.epoch == self.epoch, "only in its epoch"
        assert event.records_count > 0
        base = self.log.end_offset
        self.log.append(base, base + event.records_count - 1, self.epoch)
        self._emit(
            AppendRecords(
                base_offset=base,
                epoch=self.epoch,
                records_count=event.records_count,
                payload=event.payload,
            )
        )
        self._emit(FlushLog(upto=self.log.end_offset))
        self._wake_parked(role)

    def _on_leader_flushed(self) -> None:
        self._count_majority()

    def _count_majority(self) -> None:
        """Move the high watermark to what a majority has durably, once that is of this epoch.

        Raft thesis 3.6.2: a record of an older epoch on a majority may still be overwritten; it is
        committed by the first record of this epoch after it, the LeaderChange.
        """
        role = self.role
        if not isinstance(role, Leader):
            return
        own = self.log.flushed_offset
        if "count_unflushed" in self._bugs:
            own = self.log.end_offset
        matches = [own, *(replica.match_offset for replica in role.replicas.values())]
        offset = sorted(matches, reverse=True)[self.majority - 1]
        of_this_epoch = offset > role.epoch_start_offset or "hw_over_old_epoch" in self._bugs
        if offset > self.high_watermark and of_this_epoch:
            self._advance_high_watermark(offset)
            self._wake_parked(role)

    # -- fetches --------------------------------------------------------------------------------

    def _on_fetch(self, token: int, request: FetchRequest) -> None:
        role = self.role
        reader = request.replica_id < 0
        error = self._epoch_error(self.epoch if reader and request.epoch < 0 else request.epoch)
        if error == ErrorCode.none and (request.offset < 0 or request.replica_id == self.node_id):
            error = ErrorCode.invalid_request
        if error != ErrorCode.none or not isinstance(role, Leader):
            self._reply(
                token,
                FetchResponse(error=error, epoch=self.epoch, leader_id=self._live_leader_id()),
            )
            return
        replica = self._replica(role, request.replica_id)
        position = self._check_position(request)
        previous_ms = -1
        if replica is not None:
            previous_ms = replica.fetch_at_ms
            self._note_contact(role, request.replica_id, replica)
        if isinstance(position, ErrorCode):
            self._reply_fetch(token, error=position)
        elif isinstance(position, SnapshotId):
            self._reply_fetch(token, snapshot_id=position)
        elif isinstance(position, EpochEndOffset):
            self._reply_fetch(token, diverging=position)
        else:
            if replica is not None:
                self._note_position(request.replica_id, replica, request.offset, previous_ms)
            self._park_or_answer(role, token, request)

    def _check_position(
        self, request: FetchRequest
    ) -> EpochEndOffset | SnapshotId | ErrorCode | None:
        log = self.log
        if request.replica_id >= 0:
            if request.last_fetched_epoch < 0:
                return ErrorCode.invalid_request
            if request.offset == 0 and log.snapshot is not None:
                # An empty replica gets there sooner by the snapshot than by the records under it.
                return log.snapshot
        if request.last_fetched_epoch >= 0:
            return log.check_fetch(request.offset, request.last_fetched_epoch)
        if request.offset < log.start_offset and log.snapshot is not None:
            return log.snapshot
        if not log.start_offset <= request.offset <= log.end_offset:
            return ErrorCode.offset_out_of_range
        return None

    def _replica(self, role: Leader, replica_id: int) -> Replica | None:
        if replica_id < 0:
            return None
        if replica_id in role.replicas:
            return role.replicas[replica_id]
        self._forget_observers(role)
        return role.observers.setdefault(replica_id, Replica())

    def _forget_observers(self, role: Leader) -> None:
        limit_ms = self._now_ms - self.config.observer_session_ms
        for replica_id in [i for i, r in role.observers.items() if r.fetch_at_ms < limit_ms]:
            del role.observers[replica_id]

    def _note_contact(self, role: Leader, replica_id: int, replica: Replica) -> None:
        replica.fetch_at_ms = self._now_ms
        role.begin_at_ms.pop(replica_id, None)

    def _note_position(
        self, replica_id: int, replica: Replica, offset: int, previous_ms: int
    ) -> None:
        """A voter's fetch says that everything before its offset is on its stable storage."""
        if offset >= self.log.end_offset:
            replica.caught_up_at_ms = self._now_ms
        elif replica.end_offset_at_fetch >= 0 and offset >= replica.end_offset_at_fetch:
            replica.caught_up_at_ms = previous_ms
        replica.end_offset_at_fetch = self.log.end_offset
        if offset > replica.match_offset:
            replica.match_offset = offset
            if replica_id in self.voters:
                self._count_majority()

    def _park_or_answer(self, role: Leader, token: int, request: FetchRequest) -> None:
        wait_ms = min(request.wait_ms_max, self.config.fetch_wait_ms_max)
        if wait_ms <= 0 or self._has_news(request):
            self._answer(token, request)
            return
        role.parked.append(Parked(token, request, self._now_ms + wait_ms))

    def _has_news(self, request: FetchRequest) -> bool:
        if request.offset < self._readable_upto(request):
            return True
        known = request.high_watermark
        return known != UNKNOWN_HIGH_WATERMARK and self.high_watermark > known

    def _readable_upto(self, request: FetchRequest) -> int:
        """Replicas, and readers that say which high watermark they know, read to the end.

        A reader that does not say would learn late that what it has is committed; it is given
        committed records only.
        """
        if request.replica_id < 0 and request.high_watermark == UNKNOWN_HIGH_WATERMARK:
            return self.high_watermark
        return self.log.end_offset

    def _answer(self, token: int, request: FetchRequest) -> None:
        upto = self._readable_upto(request)
        read = None
        if request.offset < upto:
            read = ReadRange(offset=request.offset, upto=upto, bytes_max=request.bytes_max)
        self._reply_fetch(token, read=read)

    def _reply_fetch(
        self,
        token: int,
        *,
        error: ErrorCode = ErrorCode.none,
        diverging: EpochEndOffset | None = None,
        snapshot_id: SnapshotId | None = None,
        read: ReadRange | None = None,
    ) -> None:
        self._reply(
            token,
            FetchResponse(
                error=error,
                epoch=self.epoch,
                leader_id=self.node_id,
                high_watermark=self.high_watermark,
                log_start_offset=self.log.start_offset,
                diverging=diverging,
                snapshot_id=snapshot_id,
                read=read,
            ),
        )

    def _wake_parked(self, role: Leader) -> None:
        """Answer every waiting fetch that has something new: records or a high watermark."""
        waiting, role.parked = role.parked, []
        for parked in waiting:
            if self._has_news(parked.request):
                self._answer(parked.token, parked.request)
            else:
                role.parked.append(parked)

    def _on_fetch_snapshot(self, token: int, request: FetchSnapshotRequest) -> None:
        reader = request.replica_id < 0 and request.epoch < 0
        error = self._epoch_error(self.epoch if reader else request.epoch)
        if error == ErrorCode.none and isinstance(self.role, Leader):
            replica = self._replica(self.role, request.replica_id)
            if replica is not None:
                self._note_contact(self.role, request.replica_id, replica)
        self._reply(
            token,
            FetchSnapshotResponse(
                error=error,
                epoch=self.epoch,
                leader_id=self._live_leader_id(),
                snapshot_id=request.snapshot_id,
                position=request.position,
                bytes_max=min(request.bytes_max, self.config.snapshot_chunk_bytes_max),
            ),
        )

    # -- snapshots of one's own -----------------------------------------------------------------

    def _on_snapshot_written(self, snapshot: SnapshotId, trim_to: int) -> None:
        assert snapshot.end_offset <= self.high_watermark, "a snapshot holds committed records"
        assert trim_to <= snapshot.end_offset, "what the log forgets is in the snapshot"
        log = self.log
        if log.snapshot is not None and snapshot.end_offset <= log.snapshot.end_offset:
            return
        log.snapshot = snapshot
        if trim_to > log.start_offset:
            log.trim_to(trim_to)
            self._emit(TrimLog(start_offset=trim_to))

    # -- time -----------------------------------------------------------------------------------

    def _quorum_lost_at_ms(self, role: Leader) -> int | None:
        """When, without further fetches, too few voters will have been heard for too long."""
        others_needed = self.majority - 1
        if others_needed <= 0 or not role.replicas:
            return None
        heard = [max(r.fetch_at_ms, role.elected_at_ms) for r in role.replicas.values()]
        lost_at_ms = sorted(heard, reverse=True)[others_needed - 1] + self.config.fetch_timeout_ms
        return max(lost_at_ms, role.grace_until_ms)

    def _run_leader_timers(self, role: Leader) -> None:
        lost_at_ms = self._quorum_lost_at_ms(role)
        if lost_at_ms is None or lost_at_ms > max(self._now_ms, role.grace_until_ms):
            role.grace_until_ms = 0
        elif role.grace_until_ms == 0 and self._now_ms - lost_at_ms > self.config.late_ms:
            # It was this node that slept: their fetches wait in its sockets.
            role.grace_until_ms = self._now_ms + self.config.late_grace_ms
        elif self._now_ms >= lost_at_ms:
            self._trace("no fetches from a majority")
            self._resign(role)
            return
        due = [p for p in role.parked if self._now_ms >= p.deadline_ms]
        if due:
            role.parked = [p for p in role.parked if self._now_ms < p.deadline_ms]
            for parked in due:
                self._answer(parked.token, parked.request)
        for peer in [p for p, at in sorted(role.begin_at_ms.items()) if self._now_ms >= at]:
            self._begin_epoch(role, peer)

    def _leader_wakeup_ms(self, role: Leader) -> int | None:
        lost_at_ms = self._quorum_lost_at_ms(role)
        times = [*(p.deadline_ms for p in role.parked), *role.begin_at_ms.values()]
        if lost_at_ms is not None:
            times.append(lost_at_ms)
        return min(times, default=None)
