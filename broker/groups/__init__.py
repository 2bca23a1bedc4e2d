"""Consumer groups, pure: the classic protocol and committed offsets. It must never await."""

from broker.groups.coordinator import CommitEntry, CommitRequest, GroupCoordinator
from broker.groups.decision import (
    After,
    Caller,
    Decision,
    GroupSettings,
    Instant,
    Ticket,
    Trace,
    client_error,
)
from broker.groups.group import GroupState
from broker.groups.membership import join_refused, sync_refused
from broker.groups.records import (
    CommittedOffset,
    CoordinatorRecord,
    GroupMetadata,
    GroupRecord,
    MemberMetadata,
    OffsetRecord,
    decode_record,
    encode_record,
)

__all__ = [
    "After",
    "Caller",
    "CommitEntry",
    "CommitRequest",
    "CommittedOffset",
    "CoordinatorRecord",
    "Decision",
    "GroupCoordinator",
    "GroupMetadata",
    "GroupRecord",
    "GroupSettings",
    "GroupState",
    "Instant",
    "MemberMetadata",
    "OffsetRecord",
    "Ticket",
    "Trace",
    "client_error",
    "decode_record",
    "encode_record",
    "join_refused",
    "sync_refused",
]
