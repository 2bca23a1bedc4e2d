"""The quorum's small files: the election state and the snapshots, beside the metadata log.

``quorum-state`` is Kafka's JSON (data_version 1). A snapshot is ``END-EPOCH.checkpoint``: record
batches between a header and a footer control record (KIP-630), written as ``.part`` and renamed.
Must never guess: a file that cannot be read is an error that names it.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from broker.protocol.batch import (
    ControlType,
    Record,
    control_type,
    crc_matches,
    decode_records,
    encode_batch,
    encode_snapshot_footer,
    encode_snapshot_header,
    iter_batches,
)
from broker.protocol.errors import DecodeError
from broker.protocol.metadata_records import MetadataRecord, decode_record, encode_record
from broker.protocol.struct import uuid_from_text, uuid_to_text
from broker.raft.types import ElectionState, SnapshotId
from broker.storage.disk import Disk
from broker.storage.errors import CorruptFile

QUORUM_STATE = "quorum-state"
SUFFIX = ".checkpoint"
PART = ".part"
RECORDS_PER_BATCH = 500
SNAPSHOTS_KEPT = 2


def records_batch(
    records: Sequence[MetadataRecord], *, offset: int, epoch: int, timestamp_ms: int
) -> bytes:
    """Metadata records as one batch beginning at ``offset``."""
    framed = [
        Record(offset + index, timestamp_ms, None, encode_record(record))
        for index, record in enumerate(records)
    ]
    return encode_batch(framed, base_offset=offset, leader_epoch=epoch)


class ElectionStateFile:
    """The election state on disk."""

    def __init__(self, disk: Disk, directory: str) -> None:
        self._disk = disk
        self.path = f"{directory}/{QUORUM_STATE}"

    def load(self) -> ElectionState:
        """The state as last written, or the initial one; raises CorruptFile."""
        if not self._disk.exists(self.path):
            return ElectionState()
        try:
            data = json.loads(self._disk.read_file(self.path))
            return ElectionState(
                epoch=int(data["leaderEpoch"]),
                leader_id=int(data["leaderId"]),
                voted_for=int(data["votedId"]),
                voted_directory_id=uuid_from_text(data["votedDirectoryId"]),
            )
        except (ValueError, KeyError, TypeError, DecodeError) as error:
            raise CorruptFile(self.path, f"not an election state: {error}") from error

    def write(self, state: ElectionState) -> None:
        """Replace the file, synced. Blocks."""
        data = {
            "leaderId": state.leader_id,
            "leaderEpoch": state.epoch,
            "votedId": state.voted_for,
            "votedDirectoryId": uuid_to_text(state.voted_directory_id),
            "data_version": 1,
        }
        self._disk.write_atomic(self.path, json.dumps(data).encode())


@dataclass(frozen=True, slots=True)
class LoadedSnapshot:
    """A snapshot's records in memory."""

    snapshot_id: SnapshotId
    records: tuple[MetadataRecord, ...]


class SnapshotFiles:
    """The snapshots of a metadata log's directory."""

    def __init__(self, disk: Disk, directory: str) -> None:
        self._disk = disk
        self._directory = directory

    def path(self, snapshot_id: SnapshotId) -> str:
        """Where a finished snapshot lies."""
        name = f"{snapshot_id.end_offset:020d}-{snapshot_id.epoch:010d}{SUFFIX}"
        return f"{self._directory}/{name}"

    def list_ids(self) -> list[SnapshotId]:
        """Every finished snapshot, oldest first."""
        found = []
        for name in self._disk.list_dir(self._directory):
            end, dash, epoch = name.removesuffix(SUFFIX).partition("-")
            if name.endswith(SUFFIX) and dash and end.isdigit() and epoch.isdigit():
                found.append(SnapshotId(int(end), int(epoch)))
        return sorted(found)

    def clean(self) -> None:
        """Remove unfinished files."""
        for name in self._disk.list_dir(self._directory):
            if name.endswith(SUFFIX + PART):
                self._disk.remove(f"{self._directory}/{name}")

    def remove_older(self) -> None:
        """Keep the newest few; an older one may still be on its way to a follower."""
        for snapshot_id in self.list_ids()[:-SNAPSHOTS_KEPT]:
            self._disk.remove(self.path(snapshot_id))

    def load(self, snapshot_id: SnapshotId) -> LoadedSnapshot:
        """Read a snapshot whole. Blocks. Raises CorruptFile."""
        path = self.path(snapshot_id)
        data = self._disk.read_file(path)
        records: list[MetadataRecord] = []
        complete = False
        try:
            for position, header in iter_batches(data):
                if not crc_matches(data, position, header):
                    raise CorruptFile(path, f"the batch at byte {position} has a wrong CRC")
                found = decode_records(data, position)
                if header.is_control:
                    complete = control_type(found[0]) == ControlType.SNAPSHOT_FOOTER
                else:
                    records.extend(decode_record(r.value or b"") for r in found)
        except (DecodeError, IndexError) as error:
            raise CorruptFile(path, str(error)) from error
        if not complete:
            raise CorruptFile(path, "its footer is missing")
        return LoadedSnapshot(snapshot_id, tuple(records))

    def write(
        self, snapshot_id: SnapshotId, records: Sequence[MetadataRecord], timestamp_ms: int
    ) -> None:
        """Write a snapshot, synced, under its final name. Blocks."""
        part = self.path(snapshot_id) + PART
        if self._disk.exists(part):
            self._disk.remove(part)
        file = self._disk.open(part)
        try:
            for batch in _snapshot_batches(snapshot_id.epoch, records, timestamp_ms):
                file.append(batch)
            file.sync()
        finally:
            file.close()
        self._disk.rename(part, self.path(snapshot_id))
        self._disk.sync_dir(self._directory)

    def write_chunk(self, snapshot_id: SnapshotId, position: int, data: bytes) -> None:
        """Put a fetched piece into the partial file; position 0 begins it anew."""
        part = self.path(snapshot_id) + PART
        if position == 0 and self._disk.exists(part):
            self._disk.remove(part)
        file = self._disk.open(part)
        try:
            assert file.size == position, f"{part} has {file.size} bytes, not {position}"
            file.append(data)
        finally:
            file.close()

    def finish(self, snapshot_id: SnapshotId) -> LoadedSnapshot:
        """Sync the fetched file, give it its name, read it. Blocks. Raises CorruptFile."""
        part = self.path(snapshot_id) + PART
        file = self._disk.open(part)
        try:
            file.sync()
        finally:
            file.close()
        self._disk.rename(part, self.path(snapshot_id))
        self._disk.sync_dir(self._directory)
        return self.load(snapshot_id)

    def read_chunk(
        self, snapshot_id: SnapshotId, position: int, bytes_max: int
    ) -> tuple[int, bytes] | None:
        """(size of the file, bytes from position), or None when there is no such snapshot."""
        path = self.path(snapshot_id)
        if not self._disk.exists(path):
            return None
        file = self._disk.open(path, create=False)
        try:
            size = file.size
            if not 0 <= position <= size:
                return size, b""
            return size, bytes(file.read(position, min(bytes_max, size - position)))
        finally:
            file.close()


def _snapshot_batches(
    epoch: int, records: Sequence[MetadataRecord], timestamp_ms: int
) -> Iterable[bytes]:
    yield encode_snapshot_header(
        base_offset=0,
        leader_epoch=epoch,
        timestamp_ms=timestamp_ms,
        last_contained_log_timestamp=timestamp_ms,
    )
    offset = 1
    for first in range(0, len(records), RECORDS_PER_BATCH):
        chunk = records[first : first + RECORDS_PER_BATCH]
        yield records_batch(chunk, offset=offset, epoch=epoch, timestamp_ms=timestamp_ms)
        offset += len(chunk)
    yield encode_snapshot_footer(base_offset=offset, leader_epoch=epoch, timestamp_ms=timestamp_ms)
