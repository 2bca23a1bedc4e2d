"""The records of the metadata log, with KRaft's ids, fields and tags, as frozen dataclasses.

A record's bytes are: frame version, API key and version as unsigned varints, then the body in
Kafka's flexible encoding. Reading never fails on what a newer Kafka may have written: unknown tags
are skipped, and what does not fit the newest version we know comes back as UnknownRecord.
Nothing here decides what a record means; that is the image's work.
"""

import uuid
from dataclasses import field
from typing import Any, ClassVar, Final, cast, get_args

from broker.protocol.errors import DecodeError, EncodeError, InvalidValue, TrailingBytes
from broker.protocol.lazy_dataclass import dataclass
from broker.protocol.primitives import Buffer, encode_uvarint, read_uvarint
from broker.protocol.record_codec import decode_fields, encode_fields

FRAME_VERSION: Final = 1
RecordMetadata = dict[str, Any]


def _wire(
    kind: str, *, since: int = 0, tag: int | None = None, null: bool = False
) -> RecordMetadata:
    """How a field travels: its Kafka type, first version, tag, and whether null is allowed."""
    return {"kind": kind, "since": since, "tag": tag, "null": null}


_INT8, _INT16, _INT32, _INT64 = (_wire(f"int{bits}") for bits in (8, 16, 32, 64))
_UINT16, _BOOL, _FLOAT64 = _wire("uint16"), _wire("bool"), _wire("float64")
_STRING, _BYTES, _UUID = _wire("string"), _wire("bytes"), _wire("uuid")
_NULLABLE_STRING, _INT32S = _wire("string", null=True), _wire("[]int32")


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerEndpoint:
    """Where a broker listens; the security protocol is Kafka's number (0 is PLAINTEXT)."""

    name: str = field(metadata=_STRING)
    host: str = field(metadata=_STRING)
    port: int = field(metadata=_UINT16)
    security_protocol: int = field(metadata=_INT16, default=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerFeature:
    """The levels of one feature that a broker can run."""

    name: str = field(metadata=_STRING)
    min_supported_version: int = field(metadata=_INT16)
    max_supported_version: int = field(metadata=_INT16)


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterBrokerRecord:
    """A broker joined, or came back with a new incarnation. Its epoch is the record's offset."""

    api_key: ClassVar[int] = 0
    newest_version: ClassVar[int] = 3
    broker_id: int = field(metadata=_INT32)
    is_migrating_zk_broker: bool = field(metadata=_wire("bool", since=2), default=False)
    incarnation_id: uuid.UUID = field(metadata=_UUID)
    broker_epoch: int = field(metadata=_INT64)
    end_points: tuple[BrokerEndpoint, ...] = field(metadata=_wire("[]BrokerEndpoint"))
    features: tuple[BrokerFeature, ...] = field(metadata=_wire("[]BrokerFeature"), default=())
    rack: str | None = field(metadata=_NULLABLE_STRING, default=None)
    fenced: bool = field(metadata=_BOOL, default=True)
    in_controlled_shutdown: bool = field(metadata=_wire("bool", since=1), default=False)
    log_dirs: tuple[uuid.UUID, ...] = field(metadata=_wire("[]uuid", since=3, tag=0), default=())


@dataclass(frozen=True, slots=True, kw_only=True)
class UnregisterBrokerRecord:
    """A broker left for good."""

    api_key: ClassVar[int] = 1
    newest_version: ClassVar[int] = 0
    broker_id: int = field(metadata=_INT32)
    broker_epoch: int = field(metadata=_INT64)


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicRecord:
    """A topic was created; its partitions follow as PartitionRecords."""

    api_key: ClassVar[int] = 2
    newest_version: ClassVar[int] = 0
    name: str = field(metadata=_STRING)
    topic_id: uuid.UUID = field(metadata=_UUID)


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionRecord:
    """A partition with its whole state. Versions 1 and 2: KIP-858, KIP-966."""

    api_key: ClassVar[int] = 3
    newest_version: ClassVar[int] = 2
    partition_id: int = field(metadata=_INT32)
    topic_id: uuid.UUID = field(metadata=_UUID)
    replicas: tuple[int, ...] = field(metadata=_INT32S)
    isr: tuple[int, ...] = field(metadata=_INT32S)
    removing_replicas: tuple[int, ...] = field(metadata=_INT32S, default=())
    adding_replicas: tuple[int, ...] = field(metadata=_INT32S, default=())
    leader: int = field(metadata=_INT32, default=-1)
    leader_recovery_state: int = field(metadata=_wire("int8", tag=0), default=0)
    leader_epoch: int = field(metadata=_INT32, default=-1)
    partition_epoch: int = field(metadata=_INT32, default=-1)
    directories: tuple[uuid.UUID, ...] = field(metadata=_wire("[]uuid", since=1), default=())
    eligible_leader_replicas: tuple[int, ...] | None = field(
        metadata=_wire("[]int32", since=2, tag=1, null=True), default=None
    )
    last_known_elr: tuple[int, ...] | None = field(
        metadata=_wire("[]int32", since=2, tag=2, null=True), default=None
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigRecord:
    """A config was set, or removed when the value is None. Resource type 2: topic, 4: broker."""

    api_key: ClassVar[int] = 4
    newest_version: ClassVar[int] = 0
    resource_type: int = field(metadata=_INT8)
    resource_name: str = field(metadata=_STRING)
    name: str = field(metadata=_STRING)
    value: str | None = field(metadata=_NULLABLE_STRING)


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionChangeRecord:
    """What changed of a partition: None means unchanged (leader: -2, -1 is no leader).

    The epochs are implied: the partition epoch grows by one with each record, the leader epoch by
    one whenever a leader is named.
    """

    api_key: ClassVar[int] = 5
    newest_version: ClassVar[int] = 2
    partition_id: int = field(metadata=_INT32)
    topic_id: uuid.UUID = field(metadata=_UUID)
    isr: tuple[int, ...] | None = field(metadata=_wire("[]int32", tag=0, null=True), default=None)
    leader: int = field(metadata=_wire("int32", tag=1), default=-2)
    replicas: tuple[int, ...] | None = field(
        metadata=_wire("[]int32", tag=2, null=True), default=None
    )
    removing_replicas: tuple[int, ...] | None = field(
        metadata=_wire("[]int32", tag=3, null=True), default=None
    )
    adding_replicas: tuple[int, ...] | None = field(
        metadata=_wire("[]int32", tag=4, null=True), default=None
    )
    leader_recovery_state: int = field(metadata=_wire("int8", tag=5), default=-1)
    directories: tuple[uuid.UUID, ...] | None = field(
        metadata=_wire("[]uuid", since=1, tag=8, null=True), default=None
    )
    eligible_leader_replicas: tuple[int, ...] | None = field(
        metadata=_wire("[]int32", since=2, tag=6, null=True), default=None
    )
    last_known_elr: tuple[int, ...] | None = field(
        metadata=_wire("[]int32", since=2, tag=7, null=True), default=None
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FenceBrokerRecord:
    """A broker may lead nothing until it is unfenced (older logs)."""

    api_key: ClassVar[int] = 7
    newest_version: ClassVar[int] = 0
    id: int = field(metadata=_INT32)
    epoch: int = field(metadata=_INT64)


@dataclass(frozen=True, slots=True, kw_only=True)
class UnfenceBrokerRecord:
    """A broker may lead again (older logs)."""

    api_key: ClassVar[int] = 8
    newest_version: ClassVar[int] = 0
    id: int = field(metadata=_INT32)
    epoch: int = field(metadata=_INT64)


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveTopicRecord:
    """A topic and all its partitions were deleted."""

    api_key: ClassVar[int] = 9
    newest_version: ClassVar[int] = 0
    topic_id: uuid.UUID = field(metadata=_UUID)


@dataclass(frozen=True, slots=True, kw_only=True)
class DelegationTokenRecord:
    """A delegation token was made or renewed; the timestamps are milliseconds."""

    api_key: ClassVar[int] = 10
    newest_version: ClassVar[int] = 0
    owner: str = field(metadata=_STRING)
    requester: str = field(metadata=_STRING)
    renewers: tuple[str, ...] = field(metadata=_wire("[]string"))
    issue_timestamp: int = field(metadata=_INT64)
    max_timestamp: int = field(metadata=_INT64)
    expiration_timestamp: int = field(metadata=_INT64)
    token_id: str = field(metadata=_STRING)


@dataclass(frozen=True, slots=True, kw_only=True)
class UserScramCredentialRecord:
    """A user's SCRAM secret. Mechanism 1: SCRAM-SHA-256, 2: SCRAM-SHA-512."""

    api_key: ClassVar[int] = 11
    newest_version: ClassVar[int] = 0
    name: str = field(metadata=_STRING)
    mechanism: int = field(metadata=_INT8)
    salt: bytes = field(metadata=_BYTES, repr=False)
    stored_key: bytes = field(metadata=_BYTES, repr=False)
    server_key: bytes = field(metadata=_BYTES, repr=False)
    iterations: int = field(metadata=_INT32)


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureLevelRecord:
    """A feature was finalized at a level; 0 removes it. A new log begins with metadata.version."""

    api_key: ClassVar[int] = 12
    newest_version: ClassVar[int] = 0
    name: str = field(metadata=_STRING)
    feature_level: int = field(metadata=_INT16)


@dataclass(frozen=True, slots=True, kw_only=True)
class EntityData:
    """A part of a quota's subject, such as ("user", "alice"); a None name is the default."""

    entity_type: str = field(metadata=_STRING)
    entity_name: str | None = field(metadata=_NULLABLE_STRING)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientQuotaRecord:
    """A quota was set or removed."""

    api_key: ClassVar[int] = 14
    newest_version: ClassVar[int] = 0
    entity: tuple[EntityData, ...] = field(metadata=_wire("[]EntityData"))
    key: str = field(metadata=_STRING)
    value: float = field(metadata=_FLOAT64)
    remove: bool = field(metadata=_BOOL, default=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProducerIdsRecord:
    """A broker took a block of producer ids; the next block begins at next_producer_id."""

    api_key: ClassVar[int] = 15
    newest_version: ClassVar[int] = 0
    broker_id: int = field(metadata=_INT32)
    broker_epoch: int = field(metadata=_INT64, default=-1)
    next_producer_id: int = field(metadata=_INT64)


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerRegistrationChangeRecord:
    """What changed of a broker. fenced: -1 unfenced, 0 unchanged, 1 fenced.

    in_controlled_shutdown: 0 unchanged, 1 shutting down.
    """

    api_key: ClassVar[int] = 17
    newest_version: ClassVar[int] = 2
    broker_id: int = field(metadata=_INT32)
    broker_epoch: int = field(metadata=_INT64)
    fenced: int = field(metadata=_wire("int8", tag=0), default=0)
    in_controlled_shutdown: int = field(metadata=_wire("int8", since=1, tag=1), default=0)
    log_dirs: tuple[uuid.UUID, ...] = field(metadata=_wire("[]uuid", since=2, tag=2), default=())


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessControlEntryRecord:
    """An ACL entry was added; the small integers are Kafka's codes."""

    api_key: ClassVar[int] = 18
    newest_version: ClassVar[int] = 0
    id: uuid.UUID = field(metadata=_UUID)
    resource_type: int = field(metadata=_INT8)
    resource_name: str = field(metadata=_STRING)
    pattern_type: int = field(metadata=_INT8)
    principal: str = field(metadata=_STRING)
    host: str = field(metadata=_STRING)
    operation: int = field(metadata=_INT8)
    permission_type: int = field(metadata=_INT8)


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveAccessControlEntryRecord:
    """An ACL entry was removed."""

    api_key: ClassVar[int] = 19
    newest_version: ClassVar[int] = 0
    id: uuid.UUID = field(metadata=_UUID)


@dataclass(frozen=True, slots=True, kw_only=True)
class NoOpRecord:
    """Nothing changed; written so that the high watermark moves."""

    api_key: ClassVar[int] = 20
    newest_version: ClassVar[int] = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ZkMigrationStateRecord:
    """Where an Apache Kafka cluster stands in its move from ZooKeeper (read, never written)."""

    api_key: ClassVar[int] = 21
    newest_version: ClassVar[int] = 0
    zk_migration_state: int = field(metadata=_INT8)


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveUserScramCredentialRecord:
    """A user's SCRAM secret was removed."""

    api_key: ClassVar[int] = 22
    newest_version: ClassVar[int] = 0
    name: str = field(metadata=_STRING)
    mechanism: int = field(metadata=_INT8)


@dataclass(frozen=True, slots=True, kw_only=True)
class BeginTransactionRecord:
    """The records up to the end of this metadata transaction count together, or not at all."""

    api_key: ClassVar[int] = 23
    newest_version: ClassVar[int] = 0
    name: str | None = field(metadata=_wire("string", tag=0, null=True), default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class EndTransactionRecord:
    """The metadata transaction holds."""

    api_key: ClassVar[int] = 24
    newest_version: ClassVar[int] = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AbortTransactionRecord:
    """The metadata transaction is void."""

    api_key: ClassVar[int] = 25
    newest_version: ClassVar[int] = 0
    reason: str | None = field(metadata=_wire("string", tag=0, null=True), default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveDelegationTokenRecord:
    """A delegation token was removed."""

    api_key: ClassVar[int] = 26
    newest_version: ClassVar[int] = 0
    token_id: str = field(metadata=_STRING)


@dataclass(frozen=True, slots=True, kw_only=True)
class ControllerEndpoint:
    """Where a controller listens."""

    name: str = field(metadata=_STRING)
    host: str = field(metadata=_STRING)
    port: int = field(metadata=_UINT16)
    security_protocol: int = field(metadata=_INT16, default=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ControllerFeature:
    """The levels of one feature that a controller can run."""

    name: str = field(metadata=_STRING)
    min_supported_version: int = field(metadata=_INT16)
    max_supported_version: int = field(metadata=_INT16)


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterControllerRecord:
    """A controller introduced itself."""

    api_key: ClassVar[int] = 27
    newest_version: ClassVar[int] = 0
    controller_id: int = field(metadata=_INT32)
    incarnation_id: uuid.UUID = field(metadata=_UUID)
    zk_migration_ready: bool = field(metadata=_BOOL, default=False)
    end_points: tuple[ControllerEndpoint, ...] = field(metadata=_wire("[]ControllerEndpoint"))
    features: tuple[ControllerFeature, ...] = field(
        metadata=_wire("[]ControllerFeature"), default=()
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownRecord:
    """A record, or a version of one, that is newer than this table; its body is kept as it came."""

    api_key: int
    version: int
    body: bytes


MetadataRecord = (
    RegisterBrokerRecord
    | UnregisterBrokerRecord
    | TopicRecord
    | PartitionRecord
    | ConfigRecord
    | PartitionChangeRecord
    | FenceBrokerRecord
    | UnfenceBrokerRecord
    | RemoveTopicRecord
    | DelegationTokenRecord
    | UserScramCredentialRecord
    | FeatureLevelRecord
    | ClientQuotaRecord
    | ProducerIdsRecord
    | BrokerRegistrationChangeRecord
    | AccessControlEntryRecord
    | RemoveAccessControlEntryRecord
    | NoOpRecord
    | ZkMigrationStateRecord
    | RemoveUserScramCredentialRecord
    | BeginTransactionRecord
    | EndTransactionRecord
    | AbortTransactionRecord
    | RemoveDelegationTokenRecord
    | RegisterControllerRecord
    | UnknownRecord
)
RECORD_TYPES: Final[dict[int, type[Any]]] = {
    kind.api_key: kind for kind in get_args(MetadataRecord) if kind is not UnknownRecord
}


def encode_record(record: MetadataRecord, version: int | None = None) -> bytes:
    """The value of a log record: in its newest version unless one is asked for.

    Raises EncodeError for a value that its field cannot hold, or a version we do not know.
    """
    if isinstance(record, UnknownRecord):
        return _head(record.api_key, record.version) + record.body
    if version is None:
        version = record.newest_version
    elif not 0 <= version <= record.newest_version:
        raise EncodeError(f"{type(record).__name__} has no version {version}")
    return _head(record.api_key, version) + encode_fields(record, version)


def decode_record(buffer: Buffer) -> MetadataRecord:
    """Read the value of a log record; raises DecodeError for anything malformed."""
    end = len(buffer)
    frame_version, position = read_uvarint(buffer, 0, end)
    if frame_version != FRAME_VERSION:
        raise InvalidValue(
            f"a metadata record in frame version {frame_version}; only {FRAME_VERSION} is known"
        )
    api_key, position = read_uvarint(buffer, position, end)
    version, position = read_uvarint(buffer, position, end)
    kind = RECORD_TYPES.get(api_key)
    if kind is not None and version <= kind.newest_version:
        return _decode_body(kind, version, buffer, position)
    if kind is not None:
        # Newer versions mostly add tagged fields, which may be skipped; anything else does not fit.
        try:
            return _decode_body(kind, kind.newest_version, buffer, position)
        except DecodeError:
            pass
    return UnknownRecord(api_key=api_key, version=version, body=bytes(buffer[position:]))


def _decode_body(kind: type[Any], version: int, buffer: Buffer, position: int) -> MetadataRecord:
    end = len(buffer)
    record, position = decode_fields(kind, version, buffer, position, end)
    if position != end:
        raise TrailingBytes(f"{kind.__name__} is followed by {end - position} more bytes")
    return cast("MetadataRecord", record)


def _head(api_key: int, version: int) -> bytes:
    return bytes((FRAME_VERSION,)) + encode_uvarint(api_key) + encode_uvarint(version)
