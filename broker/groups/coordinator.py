"""The group coordinator of one partition of __consumer_offsets: decide, then replay.

A request gives a Decision: records to append and answers. What must survive, committed offsets and
stored generations, changes only in `replay`, with records in the log's order; so a restart and a
failover take the same path as live traffic. Joins, waits and sessions are soft: they end with the
coordinator, and the members join again. Nothing here awaits, reads a clock or knows a socket.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final, NamedTuple
from uuid import UUID

from broker.groups.decision import (
    Caller,
    Decision,
    GroupError,
    GroupSettings,
    Instant,
    Randomness,
    Ticket,
)
from broker.groups.group import DEAD, EMPTY, STABLE, Group
from broker.groups.membership import Membership, join_refused, leave_answer, sync_refused
from broker.groups.offsets import OffsetTable, Partition
from broker.groups.records import (
    NO_TIMESTAMP,
    CommittedOffset,
    CoordinatorRecord,
    GroupMetadata,
    GroupRecord,
    OffsetRecord,
)
from broker.groups.timers import Timers
from broker.protocol.errors import ErrorCode
from broker.protocol.struct import Struct

CLASSIC: Final = "classic"
GROUP_ID_NOT_FOUND_SINCE: Final = 9
DESCRIBE_NOT_FOUND_SINCE: Final = 6
# So that a coordinator of very many groups never holds everybody else up.
GROUPS_PER_CLEANUP_MAX: Final = 100
_CLEANUP_KEY: Final = ("cleanup",)


class CommitEntry(NamedTuple):
    """One partition of an OffsetCommit request."""

    topic: str
    partition: int
    offset: int
    leader_epoch: int
    metadata: str | None
    topic_id: UUID


class CommitRequest(NamedTuple):
    """An OffsetCommit request; `retention_ms` is -1 where the broker's setting holds."""

    group: str
    generation: int
    member_id: str
    instance_id: str | None
    entries: Sequence[CommitEntry]
    api_version: int
    retention_ms: int = -1


class GroupCoordinator:
    """All groups whose id falls on one partition."""

    def __init__(self, settings: GroupSettings, rng: Randomness) -> None:
        self.settings = settings
        self.offsets = OffsetTable()
        # Live groups. Invariant: each has a record in the log or is only being formed.
        self.groups: dict[str, Group] = {}
        # Generations as the log has them, for a new coordinator to begin with.
        self.stored: dict[str, GroupMetadata] = {}
        self._timers = Timers()
        self._membership = Membership(settings, rng, self._timers)
        self._live = False

    # -- records

    def replay(self, record_offset: int, record: CoordinatorRecord) -> None:
        """Take over a record of the log, in its order."""
        if isinstance(record, OffsetRecord):
            group_id, topic, partition, value = record
            self.offsets.put(record_offset, group_id, topic, partition, value)
            if value is not None and self._live and group_id not in self.groups:
                self.groups[group_id] = Group(group_id, value.commit_timestamp_ms)
        elif record.value is not None:
            self.stored[record.group] = record.value
        else:
            self.stored.pop(record.group, None)
            gone = self.groups.pop(record.group, None)
            if gone is not None:
                gone.state = DEAD

    def loaded(self, at: Instant) -> Decision:
        """Everything of the log is replayed: begin to serve."""
        out = Decision()
        self._live = True
        for group_id, stored in sorted(self.stored.items()):
            group = self.groups[group_id] = Group.restored(group_id, stored)
            self._membership.loaded(group, at, out)
        for group_id in self.offsets.group_ids():
            if group_id not in self.groups:
                # It commits offsets and does not use groups otherwise.
                self.groups[group_id] = Group(group_id, NO_TIMESTAMP)
        self._plan_cleanup(at)
        out.trace("groups loaded", groups=len(self.groups))
        return out

    def unload(self) -> Decision:
        """Another broker coordinates from now on: nobody is to wait here."""
        out = Decision()
        for group in self.groups.values():
            self._membership.unloaded(group, out)
        self._live = False
        return out

    # -- time

    def next_wakeup_ms(self) -> int | None:
        """When, in monotonic milliseconds, to call `tick`."""
        return self._timers.next_wakeup_ms()

    def tick(self, at: Instant) -> Decision | None:
        """What the earliest time limit that has passed leads to; None when none has.

        To be called again until it gives None, with each decision's records replayed in between.
        """
        due = self._timers.pop_due(at.monotonic_ms)
        if due is None:
            return None
        key, action = due
        if key == _CLEANUP_KEY:
            return self._clean_up_some(action, at)
        out = Decision()
        group = self.groups.get(key[1])
        if group is None:
            return out
        if key[0] == "session":
            self._membership.session_timed_out(group, key[2], at, out)
        elif key[0] == "join":
            self._membership.join_timed_out(group, action, at, out)
        else:
            self._membership.sync_timed_out(group, action, at, out)
        return out

    def _plan_cleanup(self, at: Instant) -> None:
        deadline_ms = at.monotonic_ms + self.settings.retention_check_interval_ms
        self._timers.set(_CLEANUP_KEY, deadline_ms)

    # -- membership

    def join(self, request: Struct, caller: Caller, ticket: Ticket, at: Instant) -> Decision:
        """JoinGroup. The answer is a whole response body."""
        out = Decision()
        group_id, member_id = request.group_id, request.member_id
        settings = self.settings
        timeout_ms = request.session_timeout_ms
        if not group_id:
            out.reply(ticket, join_refused(ErrorCode.invalid_group_id, member_id))
            return out
        if not settings.session_timeout_ms_min <= timeout_ms <= settings.session_timeout_ms_max:
            out.reply(ticket, join_refused(ErrorCode.invalid_session_timeout, member_id))
            return out
        group = self.groups.get(group_id)
        if group is not None:
            self._membership.join(group, request, caller, ticket, at, out)
            return out
        if member_id:
            out.reply(ticket, join_refused(ErrorCode.unknown_member_id, member_id))
            return out
        group = Group(group_id, at.wall_ms)
        self._membership.join(group, request, caller, ticket, at, out)
        # Even when its first member is refused the group is there, empty, as in Kafka.
        self.groups[group_id] = group
        stored = GroupMetadata(state_timestamp_ms=group.state_timestamp_ms)
        out.records.append(GroupRecord(group_id, stored))
        return out

    def sync(self, request: Struct, ticket: Ticket, at: Instant) -> Decision:
        """SyncGroup. The answer is a whole response body."""
        out = Decision()
        group = self.groups.get(request.group_id)
        if not request.group_id:
            out.reply(ticket, sync_refused(ErrorCode.invalid_group_id))
        elif group is None:
            out.reply(ticket, sync_refused(ErrorCode.unknown_member_id))
        else:
            self._membership.sync(group, request, ticket, at, out)
        return out

    def heartbeat(self, request: Struct, at: Instant) -> ErrorCode:
        """Heartbeat; writes nothing and never waits."""
        if not request.group_id:
            return ErrorCode.invalid_group_id
        group = self.groups.get(request.group_id)
        if group is None:
            return ErrorCode.unknown_member_id
        return self._membership.heartbeat(group, request, at)

    def leave(
        self, group_id: str, members: Sequence[Struct], ticket: Ticket, at: Instant
    ) -> Decision:
        """LeaveGroup; the answer is (error code, one answer per member)."""
        out = Decision()
        if not group_id:
            out.reply(ticket, (ErrorCode.invalid_group_id, []))
            return out
        group = self.groups.get(group_id)
        if group is None:
            unknown = ErrorCode.unknown_member_id
            out.reply(ticket, (ErrorCode.none, [leave_answer(each, unknown) for each in members]))
            return out
        answers = self._membership.leave(group, members, at, out)
        out.answer_after(ticket, (ErrorCode.none, answers), lambda code: (code, []))
        return out

    # -- looking

    def describe(self, group_id: str, api_version: int) -> Struct:
        """One group of a DescribeGroups response."""
        group = self.groups.get(group_id)
        if group is None:
            missing = api_version >= DESCRIBE_NOT_FOUND_SINCE
            return Struct(
                error_code=ErrorCode.group_id_not_found if missing else ErrorCode.none,
                error_message=f"Group {group_id} not found." if missing else None,
                group_id=group_id,
                group_state=DEAD.value,
                protocol_type="",
                protocol_data="",
                members=[],
            )
        stable = group.state is STABLE
        protocol = group.protocol or ""
        return Struct(
            error_code=ErrorCode.none,
            error_message=None,
            group_id=group_id,
            group_state=group.state.value,
            protocol_type=group.protocol_type or "",
            protocol_data=protocol if stable else "",
            members=[
                Struct(
                    member_id=member.id,
                    group_instance_id=member.instance_id,
                    client_id=member.client_id,
                    client_host=member.client_host,
                    member_metadata=member.protocols.get(protocol, b"") if stable else b"",
                    member_assignment=member.assignment,
                )
                for member in group.members.values()
            ],
        )

    def list_groups(self, states: Collection[str], types: Collection[str]) -> list[Struct]:
        """The groups of a ListGroups response; empty filters let everything through."""
        wanted_states = {each.strip().lower() for each in states}
        if types and CLASSIC not in {each.lower() for each in types}:
            return []
        return [
            Struct(
                group_id=group.id,
                protocol_type=group.protocol_type or "",
                group_state=group.state.value,
                group_type=CLASSIC,
            )
            for group in self.groups.values()
            if not wanted_states or group.state.value.lower() in wanted_states
        ]

    # -- offsets

    def commit(self, request: CommitRequest, ticket: Ticket, at: Instant) -> Decision:
        """OffsetCommit; the answer is one error code per entry."""
        out = Decision()
        entries = request.entries
        try:
            self._check_commit(request)
        except GroupError as error:
            out.reply(ticket, [error.code] * len(entries))
            return out
        group = self.groups.get(request.group)
        if group is not None:
            self._membership.touch(group, request.member_id, at)
        expire_ms = NO_TIMESTAMP
        if request.retention_ms != -1:
            expire_ms = at.wall_ms + request.retention_ms
        limit = self.settings.offset_metadata_chars_max
        codes: list[ErrorCode] = []
        for topic, partition, offset, leader_epoch, metadata, topic_id in entries:
            note = metadata or ""
            if len(note) > limit or (not note.isascii() and _java_length(note) > limit):
                codes.append(ErrorCode.offset_metadata_too_large)
                continue
            codes.append(ErrorCode.none)
            value = CommittedOffset(offset, leader_epoch, note, at.wall_ms, expire_ms, topic_id)
            out.records.append(OffsetRecord(request.group, topic, partition, value))
        out.answer_after(ticket, codes, lambda code: [code] * len(entries))
        return out

    def _check_commit(self, request: CommitRequest) -> None:
        group = self.groups.get(request.group)
        if group is not None:
            group.check_commit(request.generation, request.member_id, request.instance_id)
        elif request.generation >= 0:
            known = request.api_version >= GROUP_ID_NOT_FOUND_SINCE
            code = ErrorCode.group_id_not_found if known else ErrorCode.illegal_generation
            raise GroupError(code)

    def delete_offsets(
        self, group_id: str, partitions: Sequence[Partition], ticket: Ticket
    ) -> Decision:
        """OffsetDelete; the answer is (error code, one code per partition)."""
        out = Decision()
        group = self.groups.get(group_id)
        if not group_id:
            out.reply(ticket, (ErrorCode.invalid_group_id, []))
            return out
        if group is None:
            out.reply(ticket, (ErrorCode.group_id_not_found, []))
            return out
        if group.state is not EMPTY and not group.uses_consumer_protocol:
            out.reply(ticket, (ErrorCode.non_empty_group, []))
            return out
        present = self.offsets.latest(group_id)
        codes = []
        for topic, partition in partitions:
            if group.state is not EMPTY and group.is_subscribed(topic):
                codes.append(ErrorCode.group_subscribed_to_topic)
                continue
            codes.append(ErrorCode.none)
            if present.pop((topic, partition), None) is not None:
                out.records.append(OffsetRecord(group_id, topic, partition, None))
        out.answer_after(ticket, (ErrorCode.none, codes), lambda code: (code, []))
        return out

    # -- the end of groups and offsets

    def delete_groups(self, group_ids: Iterable[str], ticket: Ticket) -> Decision:
        """DeleteGroups; the answer is {group id: error code}."""
        out = Decision()
        codes: dict[str, ErrorCode] = {}
        for group_id in group_ids:
            if group_id in codes:
                continue
            group = self.groups.get(group_id)
            if group is None:
                codes[group_id] = ErrorCode.group_id_not_found
            elif group.state is not EMPTY:
                codes[group_id] = ErrorCode.non_empty_group
            else:
                codes[group_id] = ErrorCode.none
                out.records += self._tombstones(group_id, self.offsets.latest(group_id))
                out.records.append(GroupRecord(group_id, None))
                out.trace("group deleted", group=group_id)

        def failure(code: ErrorCode) -> dict[str, ErrorCode]:
            return dict.fromkeys(codes, code)

        out.answer_after(ticket, codes, failure)
        return out

    def _tombstones(
        self, group_id: str, partitions: Iterable[Partition]
    ) -> list[CoordinatorRecord]:
        return [OffsetRecord(group_id, topic, index, None) for topic, index in partitions]

    def topics_deleted(self, topics: Collection[str]) -> Decision:
        """Topics are gone, and what was committed for them goes, too."""
        out = Decision()
        for group_id in self.offsets.group_ids():
            gone = [key for key in self.offsets.latest(group_id) if key[0] in topics]
            out.records += self._tombstones(group_id, gone)
        return out

    def _clean_up_some(self, left: list[str] | None, at: Instant) -> Decision:
        """Clean a number of groups up now; the rest as soon as others had their turn."""
        group_ids = sorted(self.groups) if left is None else left
        now, later = group_ids[:GROUPS_PER_CLEANUP_MAX], group_ids[GROUPS_PER_CLEANUP_MAX:]
        if later:
            self._timers.set(_CLEANUP_KEY, at.monotonic_ms + 1, later)
        else:
            self._plan_cleanup(at)
        return self.clean_up(now, at)

    def clean_up(self, group_ids: Iterable[str], at: Instant) -> Decision:
        """Let expired offsets go, and groups that are empty and have none (KIP-211)."""
        out = Decision()
        for group_id in group_ids:
            group = self.groups.get(group_id)
            if group is None:
                continue
            latest = self.offsets.latest(group_id)
            expired = [
                key for key, value in latest.items() if self._is_expired(group, key[0], value, at)
            ]
            out.records += self._tombstones(group_id, expired)
            if len(expired) == len(latest) and group.state is EMPTY and not group.pending_joins:
                out.records.append(GroupRecord(group_id, None))
                out.trace("empty group removed", group=group_id, offsets=len(expired))
        return out

    def _is_expired(self, group: Group, topic: str, value: CommittedOffset, at: Instant) -> bool:
        since_ms = value.commit_timestamp_ms
        if group.protocol_type is not None:
            if group.state is EMPTY:
                if group.state_timestamp_ms != NO_TIMESTAMP:
                    since_ms = group.state_timestamp_ms
            elif group.state is not STABLE or group.subscribed_topics is None:
                return False
            if group.state is STABLE and group.is_subscribed(topic):
                return False
        if value.expire_timestamp_ms != NO_TIMESTAMP:
            return at.wall_ms >= value.expire_timestamp_ms
        return at.wall_ms - since_ms >= self.settings.offsets_retention_ms

    # -- for tests and checkers

    def durable_state(self) -> dict[str, Any]:
        """What a coordinator that replays the same log must find."""
        return {
            "stored": dict(sorted(self.stored.items())),
            "offsets": {each: self.offsets.latest(each) for each in self.offsets.group_ids()},
        }


def _java_length(text: str) -> int:
    """Kafka counts UTF-16 units."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2
