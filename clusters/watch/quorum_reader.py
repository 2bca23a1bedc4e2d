"""One controller, read as an observer that nobody counts (replica id -1, KIP-595).

Long-polls Fetch of the metadata partition and fetches snapshots. Knows one connection; who leads is
the feed's business.
"""

from __future__ import annotations

from dataclasses import dataclass

from broker.protocol.api_keys import METADATA_TOPIC, METADATA_TOPIC_ID, ApiKey
from broker.protocol.client import BrokerConnection
from broker.protocol.errors import ErrorCode, LogctlError, UnsupportedVersion
from broker.protocol.struct import Struct
from clusters.admin.errors import code_words
from clusters.watch.log_reader import Buffer

FETCH_VERSION_MIN = 12
FETCH_VERSION_MAX = 17
MAX_WAIT_MS = 500
FETCH_BYTES_MAX = 8 << 20
SNAPSHOT_BYTES_MAX = 1 << 30
SNAPSHOT_REQUEST_MS = 5_000


class NotLeader(LogctlError):
    """This controller does not lead; it may have said who does (-1: it does not know)."""

    def __init__(self, leader_id: int, leader_epoch: int) -> None:
        self.leader_id = leader_id
        self.leader_epoch = leader_epoch
        super().__init__("is not the leader of the quorum")


class Refused(LogctlError):
    """The controller answers, but will not let us read the metadata log."""


class RightLacking(Refused):
    """It would let others read it: this client may not ClusterAction the cluster."""


class Unusable(LogctlError):
    """The controller failed to answer properly; another one, or a later try, may do."""


class LogChanged(LogctlError):
    """The log is not the one that was read so far; start from the beginning."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """An answer: record batches, or the id of a snapshot to fetch first.

    `leader_id` leads the quorum in `leader_epoch`; -1 where it was not told.
    """

    records: Buffer
    high_watermark: int
    leader_id: int
    leader_epoch: int
    snapshot: tuple[int, int] | None


class QuorumReader:
    """Reads the metadata log from one controller over an open connection."""

    def __init__(self, connection: BrokerConnection, cluster_id: str | None = None) -> None:
        """`cluster_id` is the pinned one, which the controller itself compares (KIP-595)."""
        self._connection = connection
        self._cluster_id = cluster_id
        known = connection.api_versions.get(int(ApiKey.FETCH))
        if known is not None and known[1] < FETCH_VERSION_MIN:
            raise Refused(f"it knows Fetch only up to version {known[1]}")

    async def fetch(
        self, offset: int, last_epoch: int, leader_epoch: int, wait_ms: int, *, timeout_ms: int
    ) -> Fetched:
        """The log from an offset on, waiting for news. Raises WireError or one of the above."""
        partition = Struct(
            partition=0,
            current_leader_epoch=max(0, leader_epoch),
            fetch_offset=offset,
            last_fetched_epoch=max(0, last_epoch),
            log_start_offset=-1,
            partition_max_bytes=FETCH_BYTES_MAX,
        )
        body = Struct(
            cluster_id=self._cluster_id,
            replica_id=-1,
            max_wait_ms=wait_ms,
            min_bytes=1,
            max_bytes=FETCH_BYTES_MAX,
            session_epoch=-1,
            topics=[
                Struct(topic=METADATA_TOPIC, topic_id=METADATA_TOPIC_ID, partitions=[partition]),
            ],
        )
        try:
            answer = await self._connection.request(
                ApiKey.FETCH, body, timeout_ms=timeout_ms, max_version=FETCH_VERSION_MAX
            )
        except UnsupportedVersion as error:
            raise Refused(str(error)) from None
        _check(answer.get("error_code", ErrorCode.none))
        return _fetched(_only_partition(answer.responses))

    async def snapshot(self, end_offset: int, epoch: int, leader_epoch: int) -> bytes:
        """A whole snapshot file. Raises WireError or one of the above."""
        content = bytearray()
        while True:
            part = await self._snapshot_part(end_offset, epoch, leader_epoch, len(content))
            if part.size > SNAPSHOT_BYTES_MAX:
                raise Refused(f"its snapshot is larger than {SNAPSHOT_BYTES_MAX >> 20} MiB")
            if part.position != len(content):
                raise Unusable("answered with another part of the snapshot than was asked for")
            content += part.unaligned_records or b""
            if len(content) >= part.size:
                return bytes(content)
            if not part.unaligned_records:
                raise Unusable("answered with an empty part of the snapshot")

    async def _snapshot_part(
        self, end_offset: int, epoch: int, leader_epoch: int, position: int
    ) -> Struct:
        partition = Struct(
            partition=0,
            current_leader_epoch=leader_epoch,
            snapshot_id=Struct(end_offset=end_offset, epoch=epoch),
            position=position,
        )
        body = Struct(
            cluster_id=self._cluster_id,
            replica_id=-1,
            max_bytes=FETCH_BYTES_MAX,
            topics=[Struct(name=METADATA_TOPIC, partitions=[partition])],
        )
        answer = await self._connection.request(
            ApiKey.FETCH_SNAPSHOT, body, timeout_ms=SNAPSHOT_REQUEST_MS
        )
        _check(answer.get("error_code", ErrorCode.none))
        part = _only_partition(answer.topics)
        _check(part.error_code, part)
        return part


def _only_partition(topics: list[Struct]) -> Struct:
    for topic in topics:
        for partition in topic.partitions:
            return partition  # type: ignore[no-any-return]
    raise Unusable("answered about no partition")


def _fetched(partition: Struct) -> Fetched:
    _check(partition.error_code, partition)
    diverging = partition.get("diverging_epoch")
    if diverging is not None and diverging.end_offset >= 0:
        # Cannot be below the high watermark, unless the cluster was made anew.
        raise LogChanged("the metadata log has another history than the one read so far")
    snapshot = partition.get("snapshot_id")
    has_snapshot = snapshot is not None and snapshot.end_offset >= 0
    leader = partition.get("current_leader")
    return Fetched(
        records=partition.records or b"",
        high_watermark=partition.high_watermark,
        leader_id=leader.leader_id if leader is not None else -1,
        leader_epoch=leader.leader_epoch if leader is not None else -1,
        snapshot=(snapshot.end_offset, snapshot.epoch) if has_snapshot else None,
    )


def _check(code: int, partition: Struct | None = None) -> None:
    if code == ErrorCode.none:
        return
    if code in {
        ErrorCode.not_leader_or_follower,
        ErrorCode.fenced_leader_epoch,
        ErrorCode.unknown_leader_epoch,
    }:
        leader = partition.get("current_leader") if partition is not None else None
        if leader is None:
            raise NotLeader(-1, -1)
        raise NotLeader(leader.leader_id, leader.leader_epoch)
    if code == ErrorCode.snapshot_not_found:
        # Deleted while it was read, because there is a newer one: the next answer names that.
        raise Unusable(f"deleted the snapshot that was being read ({code_words(code)})")
    if code == ErrorCode.offset_out_of_range:
        raise LogChanged(f"the place read so far is gone: {code_words(code)}")
    if code == ErrorCode.cluster_authorization_failed:
        raise RightLacking(
            "does not let this user read the metadata log, which needs CLUSTER_ACTION on the "
            "cluster (CLUSTER_AUTHORIZATION_FAILED)"
        )
    if code in {
        ErrorCode.topic_authorization_failed,
        ErrorCode.unsupported_version,
        ErrorCode.invalid_request,
        ErrorCode.unknown_topic_or_partition,
        ErrorCode.unknown_topic_id,
    }:
        raise Refused(code_words(code))
    if code == ErrorCode.inconsistent_cluster_id:
        raise Unusable("belongs to another cluster than the pinned one")
    raise Unusable(f"answered {code_words(code)}")
