"""The metadata log on storage, as the quorum uses it: bytes and snapshots behind plain calls.

Every call is synchronous; those that block for the disk say so and belong off the event loop.
Must never decide what may be appended, cut or forgotten: the core does.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from broker.protocol.batch import (
    crc_matches,
    encode_leader_change,
    iter_batches,
    iter_records,
)
from broker.protocol.errors import InvalidBatch
from broker.protocol.metadata_records import MetadataRecord, decode_record
from broker.raft import messages as ms
from broker.raft.effects import AppendFetched, AppendLeaderChange, AppendRecords
from broker.raft.log_state import LogState
from broker.raft.types import SnapshotId
from broker.runtime.quorum_files import LoadedSnapshot, SnapshotFiles, records_batch
from broker.storage.disk import Disk
from broker.storage.errors import CorruptLog
from broker.storage.log import Log

DELIVERY_BYTES_MAX = 128 * 1024
# Some milliseconds of decoding.
RECORDS_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class CommittedBatch:
    """One committed batch; control batches have no records."""

    base_offset: int
    last_offset: int
    epoch: int
    append_timestamp_ms: int
    records: tuple[MetadataRecord, ...]
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Recovered:
    """What a node begins with."""

    log: LogState
    snapshot: LoadedSnapshot | None


class MetadataLog:
    """One node's copy of the metadata log with its snapshots.

    What a snapshot holds stays in the log until that is of ``bytes_kept``: those who follow it
    from its beginning hear what happened, not only what is.
    """

    def __init__(self, log: Log, disk: Disk, directory: str, *, bytes_kept: int) -> None:
        self._log = log
        self._bytes_kept = bytes_kept
        self._directory = directory
        self.snapshots = SnapshotFiles(disk, directory)
        self.newest_snapshot: SnapshotId | None = None

    @property
    def end_offset(self) -> int:
        """Where the next record goes."""
        return self._log.end_offset

    @property
    def snapshot_end_offset(self) -> int:
        """Where the newest snapshot ends; 0 without one."""
        return self.newest_snapshot.end_offset if self.newest_snapshot is not None else 0

    def recover(self) -> Recovered:
        """Load the newest snapshot, bring log and snapshot together, sync everything. Blocks."""
        self.snapshots.clean()
        ids = self.snapshots.list_ids()
        log, loaded = self._log, None
        if ids:
            self.newest_snapshot = ids[-1]
            loaded = self.snapshots.load(ids[-1])
            if self.snapshot_end_offset > log.end_offset:
                log.truncate_fully(self.snapshot_end_offset)
            # Where the log began may not have been saved, so that there is too much of it.
            log.advance_start_offset(self._start_offset_due())
        if log.start_offset > self.snapshot_end_offset:
            raise CorruptLog(
                self._directory, 0, f"the log begins at {log.start_offset}, no snapshot reaches it"
            )
        # What survived in the page cache counts as written only once it is synced.
        log.flush()
        state = LogState(
            start_offset=log.start_offset,
            end_offset=log.end_offset,
            epochs=log.epochs,
            snapshot=self.newest_snapshot,
        )
        return Recovered(state, loaded)

    def note_snapshot(self, snapshot_id: SnapshotId) -> int:
        """A snapshot is there; the offset below which the log may be forgotten now."""
        self.newest_snapshot = snapshot_id
        return self._start_offset_due()

    def _start_offset_due(self) -> int:
        log = self._log
        held_bytes = 0
        for segment in log.segments:
            if segment.end_offset > log.start_offset:
                held_bytes += segment.size - segment.position_of(log.start_offset)[0]
        long_enough = held_bytes >= self._bytes_kept
        return self.snapshot_end_offset if long_enough else log.start_offset

    # -- writing --------------------------------------------------------------------------------

    def append_leader_change(self, effect: AppendLeaderChange, now_ms: int) -> None:
        """Write the control batch that opens an epoch."""
        batch = encode_leader_change(
            base_offset=effect.base_offset,
            leader_epoch=effect.epoch,
            timestamp_ms=now_ms,
            leader_id=effect.leader_id,
            voters=effect.voters,
            granting_voters=effect.granting_voters,
        )
        self._append(batch, effect.base_offset)

    def append_records(self, effect: AppendRecords, now_ms: int) -> None:
        """Write the application's records (the payload) as one batch."""
        records = effect.payload
        assert isinstance(records, tuple)
        batch = records_batch(
            records, offset=effect.base_offset, epoch=effect.epoch, timestamp_ms=now_ms
        )
        self._append(batch, effect.base_offset)

    def append_fetched(self, effect: AppendFetched) -> None:
        """Write the leader's batches as they are."""
        assert isinstance(effect.records, bytes | memoryview)
        self._append(effect.records, effect.batches[0].base_offset)

    def _append(self, data: bytes | memoryview, base_offset: int) -> None:
        assert base_offset == self._log.end_offset, "the core and the log agree on the end"
        self._log.append_as_follower(data)

    def flush(self) -> None:
        """Bring everything to stable storage. Blocks."""
        self._log.flush()

    def truncate_to(self, offset: int) -> None:
        """Remove the records at and after ``offset``."""
        self._log.truncate_to(offset)

    def trim_to(self, offset: int) -> None:
        """Forget the records below ``offset``; a snapshot holds them."""
        self._log.advance_start_offset(offset)

    def reset_to(self, snapshot_id: SnapshotId) -> None:
        """Begin anew, empty, at the end of an installed snapshot."""
        self.newest_snapshot = snapshot_id
        self._log.truncate_fully(snapshot_id.end_offset)

    # -- reading --------------------------------------------------------------------------------

    def read(self, wanted: ms.ReadRange) -> bytes:
        """Whole batches for a fetch, at least one."""
        return self._log.read(wanted.offset, wanted.bytes_max, upto_offset=wanted.upto)

    def committed(self, offset: int, upto: int) -> Iterator[CommittedBatch]:
        """Decode the batches from ``offset`` up to the high watermark ``upto``."""
        return (batch for batch in self.decoding(offset, upto) if batch is not None)

    def decoding(self, offset: int, upto: int) -> Iterator[CommittedBatch | None]:
        """`committed`, with None where a reader may pause: a batch may be of thousands."""
        while offset < upto:
            data = self._log.read(offset, DELIVERY_BYTES_MAX, upto_offset=upto)
            if not data:
                raise CorruptLog(self._directory, 0, f"no batch at offset {offset}")
            for position, header in iter_batches(data):
                if header.last_offset < offset:
                    continue
                records: list[MetadataRecord] = []
                found = () if header.is_control else iter_records(data, position)
                for count, each in enumerate(found, 1):
                    records.append(decode_record(each.value or b""))
                    if not count % RECORDS_AT_ONCE:
                        yield None
                offset = header.next_offset
                yield CommittedBatch(
                    header.base_offset,
                    header.last_offset,
                    header.leader_epoch,
                    header.max_timestamp_ms,
                    tuple(records),
                    header.size_bytes,
                )


def spans(records: bytes | memoryview) -> tuple[ms.BatchSpan, ...]:
    """Where the batches of a fetch lie; raises DecodeError, also when a checksum is wrong."""
    found = []
    for position, header in iter_batches(records):
        if not crc_matches(records, position, header):
            raise InvalidBatch(f"the batch at offset {header.base_offset} has a wrong checksum")
        found.append(
            ms.BatchSpan(
                base_offset=header.base_offset,
                last_offset=header.last_offset,
                epoch=header.leader_epoch,
            )
        )
    return tuple(found)
