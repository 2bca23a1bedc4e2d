"""Follower and observer: fetch, append, truncate by epoch, take a snapshot when told to.

Must never fetch on before what it has is on stable storage: the offset in its fetch is its word.
"""

from broker.protocol.errors import ErrorCode
from broker.raft.effects import (
    AppendFetched,
    FlushLog,
    InstallSnapshot,
    TruncateLog,
    WriteSnapshotChunk,
)
from broker.raft.leading import Leading
from broker.raft.messages import (
    FetchRequest,
    FetchResponse,
    FetchSnapshotRequest,
    FetchSnapshotResponse,
)
from broker.raft.roles import Fetching, Follower, Observer
from broker.raft.types import NO_NODE, SnapshotId


class Following(Leading):
    """What a follower or observer does."""

    def _fetching(self) -> Fetching | None:
        role = self.role
        return role.fetching if isinstance(role, Follower | Observer) else None

    def _wants_fetch(self) -> Fetching | None:
        """The fetch state when a fetch may be sent, now or at its time."""
        fetching = self._fetching()
        if fetching is None or fetching.in_flight != NO_NODE or self.installing:
            return None
        return fetching if self.log.flushed_offset >= self.log.end_offset else None

    def _drive_fetch(self) -> None:
        fetching = self._wants_fetch()
        if fetching is None or self._now_ms < fetching.next_at_ms:
            return
        target = self._leader_id()
        if target == NO_NODE:
            # An observer asks any voter; each answers with who leads.
            target = self.voters[self._random_ms(0, len(self.voters) - 1)]
        fetching.target = target
        fetching.offset = self.log.end_offset
        if fetching.snapshot is not None:
            fetching.in_flight = self._send(
                target,
                FetchSnapshotRequest(
                    replica_id=self.node_id,
                    epoch=self.epoch,
                    snapshot_id=fetching.snapshot,
                    position=fetching.snapshot_position,
                    bytes_max=self.config.snapshot_chunk_bytes_max,
                ),
            )
            return
        wait_ms = self.config.fetch_wait_ms_max
        fetching.in_flight = self._send(
            target,
            FetchRequest(
                replica_id=self.node_id,
                directory_id=self.directory_id,
                epoch=self.epoch,
                offset=self.log.end_offset,
                last_fetched_epoch=self.log.last_epoch,
                high_watermark=self.high_watermark,
                wait_ms_max=wait_ms,
                bytes_max=self.config.fetch_bytes_max,
            ),
            extra_ms=wait_ms,
        )

    def _fetch_wakeup_ms(self) -> int | None:
        fetching = self._wants_fetch()
        return fetching.next_at_ms if fetching is not None else None

    def _take_answer(self, send_id: int) -> Fetching | None:
        """The fetch state, if this answers the request under way."""
        fetching = self._fetching()
        if fetching is None or fetching.in_flight != send_id:
            return None
        fetching.in_flight = NO_NODE
        return fetching

    def _later(self, fetching: Fetching) -> None:
        fetching.failures += 1
        fetching.next_at_ms = self._now_ms + self._retry_ms(fetching.failures)

    def _on_fetch_failed(self, peer: int, send_id: int, *, refused: bool) -> None:
        fetching = self._take_answer(send_id)
        if fetching is None:
            return
        if fetching.failures == 0 and not refused:
            # The connection broke: whether the leader is gone shows when connecting again.
            fetching.failures = 1
            fetching.next_at_ms = self._now_ms
        else:
            self._later(fetching)
        if isinstance(self.role, Observer):
            self.role.leader_id = NO_NODE
        elif refused:
            self._on_leader_unreachable(peer)

    def _heard_leader(
        self, fetching: Fetching, response: FetchResponse | FetchSnapshotResponse
    ) -> bool:
        """Whether the answer is the leader's of this epoch; notes the contact if so."""
        leader_id = self._leader_id()
        if response.epoch != self.epoch or response.leader_id != leader_id:
            return False
        if fetching.target != leader_id:
            return False
        fetching.failures = 0
        fetching.next_at_ms = self._now_ms
        self.failed_rounds = 0
        role = self.role
        if isinstance(role, Follower):
            role.contact_at_ms = self._now_ms
            role.has_fetched = True
            role.unreachable = role.slept = False
            if not role.resigned:
                role.election_at_ms = self._now_ms + self._follower_timeout_ms()
        return True

    def _on_fetch_response(self, send_id: int, response: FetchResponse) -> None:
        self._learn(response.leader_id, response.epoch)
        fetching = self._take_answer(send_id)
        if fetching is None:
            return
        if response.error != ErrorCode.none:
            self._after_error(fetching, response)
            return
        if not self._heard_leader(fetching, response):
            self._later(fetching)
            return
        assert fetching.offset == self.log.end_offset, "the log changed during a fetch"
        if response.diverging is not None:
            self._truncate(self.log.truncation_offset(response.diverging))
        elif response.snapshot_id is not None:
            self._begin_snapshot(fetching, response.snapshot_id)
        else:
            if response.batches and not self._append_fetched(response):
                self._later(fetching)
                return
            upto = min(response.high_watermark, self.log.end_offset)
            if upto > self.high_watermark:
                self._advance_high_watermark(upto)

    def _after_error(
        self, fetching: Fetching, response: FetchResponse | FetchSnapshotResponse
    ) -> None:
        fetching.snapshot = None
        role = self.role
        if isinstance(role, Observer):
            # Whoever was asked does not lead (any more); its answer may name who does.
            known = response.leader_id in self.voters and response.epoch == self.epoch
            role.leader_id = response.leader_id if known else NO_NODE
        elif (
            isinstance(role, Follower)
            and response.error == ErrorCode.not_leader_or_follower
            and response.epoch == self.epoch
            and not role.resigned
        ):
            # It led this epoch and does not any more: it resigned, or was started anew.
            role.resigned = True
            soon_ms = self._now_ms + self._random_ms(50, 150)
            role.election_at_ms = min(role.election_at_ms, soon_ms)
        self._later(fetching)

    def _append_fetched(self, response: FetchResponse) -> bool:
        """Append whole batches that continue the log; epochs may not go back or beyond ours."""
        expected = self.log.end_offset
        epoch = self.log.last_epoch
        for span in response.batches:
            in_order = span.base_offset == expected and span.last_offset >= span.base_offset
            if not in_order or not epoch <= span.epoch <= self.epoch:
                self._trace(f"batch at {span.base_offset} does not continue {expected}")
                return False
            expected, epoch = span.last_offset + 1, span.epoch
        for span in response.batches:
            self.log.append(span.base_offset, span.last_offset, span.epoch)
        self._emit(AppendFetched(batches=response.batches, records=response.records))
        self._emit(FlushLog(upto=self.log.end_offset))
        return True

    def _truncate(self, offset: int) -> None:
        """Cut what the leader does not have. Committed records are never among it."""
        if "skip_truncation" in self._bugs:
            return
        assert offset >= self.high_watermark, (
            f"node {self.node_id} would cut at {offset}, below its high watermark"
            f" {self.high_watermark}"
        )
        assert self.log.flushed_offset == self.log.end_offset
        if offset == self.log.end_offset and not self.log.epochs:
            return
        self._trace(f"truncate to {offset} on diverging epoch")
        self.log.truncate_to(offset)
        self._emit(TruncateLog(offset=offset))

    # -- snapshots ------------------------------------------------------------------------------

    def _begin_snapshot(self, fetching: Fetching, snapshot: SnapshotId) -> None:
        if snapshot.end_offset <= self.high_watermark:
            self._trace(f"snapshot at {snapshot.end_offset} holds nothing new")
            self._later(fetching)
            return
        self._trace(f"fetch snapshot at {snapshot.end_offset}")
        fetching.snapshot = snapshot
        fetching.snapshot_position = 0

    def _on_fetch_snapshot_response(self, send_id: int, response: FetchSnapshotResponse) -> None:
        self._learn(response.leader_id, response.epoch)
        fetching = self._take_answer(send_id)
        if fetching is None:
            return
        if response.error != ErrorCode.none:
            self._after_error(fetching, response)
            return
        if not self._heard_leader(fetching, response):
            self._later(fetching)
            return
        snapshot = fetching.snapshot
        position = fetching.snapshot_position
        in_order = response.snapshot_id == snapshot and response.position == position
        if snapshot is None or not in_order or (not response.data and position < response.size):
            fetching.snapshot = None
            self._later(fetching)
            return
        self._emit(WriteSnapshotChunk(snapshot_id=snapshot, position=position, data=response.data))
        fetching.snapshot_position += len(response.data)
        if fetching.snapshot_position >= response.size:
            fetching.snapshot = None
            self.installing = True
            self._emit(InstallSnapshot(snapshot_id=snapshot))

    def _on_snapshot_installed(self, snapshot: SnapshotId) -> None:
        assert self.installing
        assert not self.is_leader
        self.installing = False
        self.log.reset_to(snapshot)
        if snapshot.end_offset > self.high_watermark:
            self._advance_high_watermark(snapshot.end_offset)
