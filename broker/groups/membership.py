"""The classic group protocol: joins, generations, assignments, sessions.

A member joins and waits until everybody has; then a generation begins, the leader assigns, and the
assignment reaches the members once it is stored. Every time limit is a key in `Timers`. It must
never give an assignment to somebody who is not of the generation, and never touch what is stored:
that changes by records alone.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias
from uuid import UUID

from broker.groups.decision import (
    Caller,
    Decision,
    GroupError,
    GroupSettings,
    Instant,
    Randomness,
    Ticket,
    client_error,
)
from broker.groups.group import (
    COMPLETING,
    DEAD,
    EMPTY,
    PREPARING,
    STABLE,
    Group,
    Member,
    read_protocols,
)
from broker.groups.records import GroupRecord
from broker.groups.timers import Timers
from broker.protocol.errors import ErrorCode
from broker.protocol.struct import Struct

MEMBER_ID_REQUIRED_SINCE: Final = 4
SKIP_ASSIGNMENT_SINCE: Final = 9
UNKNOWN_MEMBER: Final = ""

# What a join timer does: prolong the first rebalance, or end the joining.
JoinAction: TypeAlias = tuple[int, int] | None


def join_refused(code: ErrorCode, member_id: str = UNKNOWN_MEMBER) -> Struct:
    """A JoinGroup response that says no."""
    return Struct(
        error_code=code,
        generation_id=-1,
        protocol_type=None,
        protocol_name=None,
        leader="",
        skip_assignment=False,
        member_id=member_id,
        members=[],
    )


def sync_refused(code: ErrorCode) -> Struct:
    """A SyncGroup response that says no."""
    return Struct(error_code=code, protocol_type=None, protocol_name=None, assignment=b"")


def _joined(group: Group, member_id: str, **changes: Any) -> Struct:
    """The JoinGroup response of a member of the present generation; its leader sees everybody."""
    members = [] if member_id != group.leader else _member_list(group)
    response = Struct(
        error_code=ErrorCode.none,
        generation_id=group.generation,
        protocol_type=group.protocol_type,
        protocol_name=group.protocol,
        leader=group.leader or "",
        skip_assignment=False,
        member_id=member_id,
        members=members,
    )
    return response.replace(**changes) if changes else response


def _member_list(group: Group) -> list[Struct]:
    name = group.protocol or ""
    return [
        Struct(
            member_id=member.id,
            group_instance_id=member.instance_id,
            metadata=member.protocols.get(name, b""),
        )
        for member in group.members.values()
    ]


@dataclass(frozen=True, slots=True)
class _Joining:
    """A JoinGroup request with what surrounds it."""

    request: Struct
    protocols: dict[str, bytes]
    caller: Caller
    ticket: Ticket

    @property
    def reason(self) -> str:
        return str(self.request.get("reason") or "not provided")


class Membership:
    """Who is in which group, and when its next generation begins."""

    def __init__(self, settings: GroupSettings, rng: Randomness, timers: Timers) -> None:
        self.settings = settings
        self._rng = rng
        self._timers = timers

    # -- joining

    def join(
        self,
        group: Group,
        request: Struct,
        caller: Caller,
        ticket: Ticket,
        at: Instant,
        out: Decision,
    ) -> None:
        """JoinGroup: the answer comes now, or when the rebalance is through."""
        joining = _Joining(request, read_protocols(request.protocols), caller, ticket)
        member_id = request.member_id
        if not self._has_room(group, member_id):
            group.remove(member_id)
            self._timers.cancel(("session", group.id, member_id))
            out.reply(ticket, join_refused(ErrorCode.group_max_size_reached))
            self._go_on(group, at, out)
        elif not group.supports(request.protocol_type, joining.protocols):
            out.reply(ticket, join_refused(ErrorCode.inconsistent_group_protocol, member_id))
        elif member_id == UNKNOWN_MEMBER:
            self._join_new(group, joining, at, out)
        elif member_id in group.pending_joins and request.group_instance_id is None:
            self._add(group, member_id, joining, at, out)
        else:
            self._join_again(group, joining, at, out)

    def _has_room(self, group: Group, member_id: str) -> bool:
        if group.state in (EMPTY, DEAD):
            return True
        member = group.members.get(member_id)
        if group.state is PREPARING:
            # Those who wait are counted: so the last to come back are those who are left out.
            waiting = member is not None and member.join_ticket is not None
            return waiting or group.awaiting_joins < self.settings.members_max
        return member is not None or len(group.members) < self.settings.members_max

    def _join_new(self, group: Group, joining: _Joining, at: Instant, out: Decision) -> None:
        request, caller = joining.request, joining.caller
        instance_id = request.group_instance_id
        prefix = caller.client_id if instance_id is None else instance_id
        new_id = f"{prefix}-{UUID(int=self._rng.getrandbits(128), version=4)}"
        if instance_id is not None:
            old_id = group.static_members.get(instance_id)
            if old_id is None:
                self._add(group, new_id, joining, at, out)
            else:
                self._come_back(group, old_id, new_id, joining, at, out)
        elif caller.api_version >= MEMBER_ID_REQUIRED_SINCE:
            # KIP-394: a client that never hears of its id must not leave a member behind.
            group.pending_joins[new_id] = None
            deadline_ms = at.monotonic_ms + request.session_timeout_ms
            self._timers.set(("session", group.id, new_id), deadline_ms)
            out.reply(joining.ticket, join_refused(ErrorCode.member_id_required, new_id))
        else:
            self._add(group, new_id, joining, at, out)

    def _add(
        self, group: Group, member_id: str, joining: _Joining, at: Instant, out: Decision
    ) -> None:
        request, caller = joining.request, joining.caller
        member = Member(
            group.id,
            member_id,
            instance_id=request.group_instance_id,
            client_id=caller.client_id,
            client_host=caller.host,
            rebalance_timeout_ms=request.rebalance_timeout_ms,
            session_timeout_ms=request.session_timeout_ms,
            protocols=joining.protocols,
        )
        member.is_new = True
        if group.state is PREPARING and group.previous_state is EMPTY:
            group.new_member_added = True
        if not group.members:
            group.protocol_type = request.protocol_type
        group.add(member, joining.ticket)
        deadline_ms = at.monotonic_ms + self.settings.new_member_join_ms
        self._timers.set(member.session_key, deadline_ms)
        reason = f"adding member {member_id}; client reason: {joining.reason}"
        self._rebalance_or_go_on(group, reason, at, out)

    def _join_again(self, group: Group, joining: _Joining, at: Instant, out: Decision) -> None:
        """Somebody joins who has a member id already."""
        request = joining.request
        member_id = request.member_id
        try:
            member = group.check_member(member_id, request.group_instance_id)
        except GroupError as error:
            out.reply(joining.ticket, join_refused(error.code, member_id))
            return
        unchanged = member.matches(joining.protocols)
        if group.state is PREPARING:
            self._rejoin(group, member, joining, at, out)
        elif group.state is COMPLETING and unchanged:
            # It did not hear the answer to its first join.
            out.reply(joining.ticket, _joined(group, member_id))
        elif group.state is STABLE and unchanged and group.leader != member_id:
            out.reply(joining.ticket, _joined(group, member_id, members=[]))
        elif group.state in (COMPLETING, STABLE):
            # New metadata; or the leader, who so asks for a new assignment.
            self._rejoin(group, member, joining, at, out)
        else:
            out.reply(joining.ticket, join_refused(ErrorCode.unknown_member_id, member_id))

    def _rejoin(
        self, group: Group, member: Member, joining: _Joining, at: Instant, out: Decision
    ) -> None:
        self._take_over(group, member, joining, out)
        leads = " (leader)" if group.leader == member.id else ""
        state = group.state.value
        reason = f"member {member.id}{leads} joins in {state}; client reason: {joining.reason}"
        self._rebalance_or_go_on(group, reason, at, out)

    def _take_over(self, group: Group, member: Member, joining: _Joining, out: Decision) -> None:
        """The member's word and its wait are those of the newest join."""
        request = joining.request
        if member.join_ticket is not None:
            out.reply(member.join_ticket, join_refused(ErrorCode.rebalance_in_progress, member.id))
        group.update(
            member,
            joining.protocols,
            request.rebalance_timeout_ms,
            request.session_timeout_ms,
        )
        group.park_join(member, joining.ticket)

    # -- static members (KIP-345)

    def _come_back(
        self,
        group: Group,
        old_id: str,
        new_id: str,
        joining: _Joining,
        at: Instant,
        out: Decision,
    ) -> None:
        """A static member starts again: its old self is fenced, its assignment kept if it can."""
        instance_id = joining.request.group_instance_id
        leader_before = group.leader
        member = self._replace(group, instance_id, old_id, new_id, at, out)
        undo = _Undo(
            instance_id,
            old_id,
            member.protocols,
            member.rebalance_timeout_ms,
            member.session_timeout_ms,
        )
        self._take_over(group, member, joining, out)
        if group.state is STABLE and group.select_protocol() == group.protocol:
            # Nothing that an assignment depends on has changed: no rebalance.
            out.records.append(GroupRecord(group.id, group.stored()))
            assert out.after is None
            out.after = _StaticMemberStored(
                self, group, member, joining, group.generation, leader_before or "", undo
            )
        elif group.state in (STABLE, COMPLETING):
            # In CompletingRebalance the leader may know only of the old id.
            reason = f"static member {instance_id} is now {new_id}"
            self._prepare(group, f"{reason}; client reason: {joining.reason}", at, out)
        else:
            self._go_on(group, at, out)

    def _replace(
        self,
        group: Group,
        instance_id: str,
        old_id: str,
        new_id: str,
        at: Instant,
        out: Decision,
    ) -> Member:
        old = group.members[old_id]
        if old.join_ticket is not None:
            out.reply(old.join_ticket, join_refused(ErrorCode.fenced_instance_id, old_id))
        if old.sync_ticket is not None:
            out.reply(old.sync_ticket, sync_refused(ErrorCode.fenced_instance_id))
            old.sync_ticket = None
        self._timers.cancel(old.session_key)
        _, member = group.replace_static(instance_id, old_id, new_id)
        self._touch(member, at)
        out.trace(
            "static member replaced",
            group=group.id,
            instance=instance_id,
            before=old_id,
            after=new_id,
        )
        return member

    def revert_static(
        self, group: Group, member: Member, undo: "_Undo", at: Instant, out: Decision
    ) -> None:
        """The new id could not be stored: the old one counts again."""
        if group.members.get(member.id) is not member:
            return
        group.update(member, undo.protocols, undo.rebalance_timeout_ms, undo.session_timeout_ms)
        group.park_join(member, None)
        self._replace(group, undo.instance_id, member.id, undo.old_id, at, out)

    # -- generations

    def _rebalance_or_go_on(self, group: Group, reason: str, at: Instant, out: Decision) -> None:
        if group.can_rebalance:
            self._prepare(group, reason, at, out)
        else:
            self._go_on(group, at, out)

    def _prepare(self, group: Group, reason: str, at: Instant, out: Decision) -> None:
        """Begin a rebalance: everybody has to join again."""
        if group.state is COMPLETING:
            self._drop_assignments(group, ErrorCode.rebalance_in_progress, at, out)
        group.pending_syncs.clear()
        self._timers.cancel(group.sync_key)
        first = group.state is EMPTY
        group.become(PREPARING, at.wall_ms)
        out.trace(
            "preparing a rebalance", group=group.id, generation=group.generation, reason=reason
        )
        if first:
            # The first members of a group seldom come alone.
            delay_ms = self.settings.initial_rebalance_delay_ms
            rest_ms = max(group.rebalance_timeout_ms - delay_ms, 0)
            self._timers.set(group.join_key, at.monotonic_ms + delay_ms, (delay_ms, rest_ms))
        elif group.all_joined:
            self.complete_join(group, at, out)
        else:
            self._set_join_limit(group, at)

    def _set_join_limit(self, group: Group, at: Instant) -> None:
        self._timers.set(group.join_key, at.monotonic_ms + group.rebalance_timeout_ms, None)

    def _go_on(self, group: Group, at: Instant, out: Decision) -> None:
        """End the joining if nobody is waited for; a first rebalance lasts its delay."""
        if group.state is PREPARING and group.previous_state is not EMPTY and group.all_joined:
            self.complete_join(group, at, out)

    def join_timed_out(self, group: Group, action: JoinAction, at: Instant, out: Decision) -> None:
        """The timer of `group.join_key`: prolong the first rebalance, or end the joining."""
        if group.state is not PREPARING:
            return
        if action is not None and group.new_member_added and action[1]:
            delay_ms, rest_ms = action
            group.new_member_added = False
            next_ms = min(self.settings.initial_rebalance_delay_ms, rest_ms)
            left_ms = max(rest_ms - delay_ms, 0)
            self._timers.set(group.join_key, at.monotonic_ms + next_ms, (next_ms, left_ms))
        else:
            self.complete_join(group, at, out)

    def complete_join(self, group: Group, at: Instant, out: Decision) -> None:
        """Whoever has joined makes the next generation; static members may come later."""
        self._timers.cancel(group.join_key)
        absent = [
            each
            for each in group.members.values()
            if each.join_ticket is None and each.instance_id is None
        ]
        for member in absent:
            group.remove(member.id)
            self._timers.cancel(member.session_key)
        if absent:
            out.trace(
                "members did not join in time",
                group=group.id,
                members=[member.id for member in absent],
            )
        if group.members and not group.elect_joined_leader():
            # Only static members, none of whom came: their sessions will end this.
            self._set_join_limit(group, at)
            return
        group.new_member_added = False
        group.begin_generation(at.wall_ms)
        out.trace(
            "generation begins",
            group=group.id,
            generation=group.generation,
            members=len(group.members),
            protocol=group.protocol,
        )
        if not group.members:
            out.records.append(GroupRecord(group.id, group.stored()))
            return
        for member in group.members.values():
            if member.join_ticket is not None:
                out.reply(member.join_ticket, _joined(group, member.id))
                group.park_join(member, None)
            self._touch(member, at)
            member.is_new = False
            group.pending_syncs[member.id] = None
        deadline_ms = at.monotonic_ms + group.rebalance_timeout_ms
        self._timers.set(group.sync_key, deadline_ms, group.generation)

    # -- assignments

    def sync(
        self, group: Group, request: Struct, ticket: Ticket, at: Instant, out: Decision
    ) -> None:
        """SyncGroup: the leader brings the assignments, everybody takes theirs."""
        try:
            member = self._check_sync(group, request)
        except GroupError as error:
            out.reply(ticket, sync_refused(error.code))
            return
        if group.state is PREPARING:
            out.reply(ticket, sync_refused(ErrorCode.rebalance_in_progress))
            return
        group.pending_syncs.pop(member.id, None)
        if not group.pending_syncs:
            self._timers.cancel(group.sync_key)
        if group.state is STABLE:
            out.reply(ticket, self._assigned(group, member))
            return
        if member.sync_ticket is not None:
            out.reply(member.sync_ticket, sync_refused(ErrorCode.rebalance_in_progress))
        member.sync_ticket = ticket
        if group.leader == member.id:
            given = {each.member_id: bytes(each.assignment) for each in request.assignments}
            assignments = {each: given.get(each, b"") for each in group.members}
            out.records.append(GroupRecord(group.id, group.stored(assignments)))
            out.after = _AssignmentStored(self, group, group.generation, assignments)

    def _check_sync(self, group: Group, request: Struct) -> Member:
        if group.state is EMPTY:
            raise GroupError(ErrorCode.unknown_member_id)
        member = group.check_member(request.member_id, request.group_instance_id)
        if request.generation_id != group.generation:
            raise GroupError(ErrorCode.illegal_generation)
        for said, known in (
            (request.protocol_type, group.protocol_type),
            (request.protocol_name, group.protocol),
        ):
            if said is not None and known is not None and said != known:
                raise GroupError(ErrorCode.inconsistent_group_protocol)
        return member

    def _assigned(self, group: Group, member: Member) -> Struct:
        return Struct(
            error_code=ErrorCode.none,
            protocol_type=group.protocol_type,
            protocol_name=group.protocol,
            assignment=member.assignment,
        )

    def give_assignments(
        self, group: Group, assignments: dict[str, bytes], at: Instant, out: Decision
    ) -> None:
        """The assignments are stored: the generation is stable, whoever waits gets his."""
        for member in group.members.values():
            member.assignment = assignments.get(member.id, b"")
            if member.sync_ticket is not None:
                out.reply(member.sync_ticket, self._assigned(group, member))
                member.sync_ticket = None
                self._touch(member, at)
        group.become(STABLE, at.wall_ms)
        out.trace("generation is stable", group=group.id, generation=group.generation)

    def assignment_failed(self, group: Group, code: ErrorCode, at: Instant, out: Decision) -> None:
        """The assignments could not be stored: everybody joins again."""
        self._drop_assignments(group, client_error(code), at, out)
        self._prepare(group, f"the assignment could not be stored: {code.name}", at, out)

    def _drop_assignments(self, group: Group, code: ErrorCode, at: Instant, out: Decision) -> None:
        for member in group.members.values():
            member.assignment = b""
            if member.sync_ticket is not None:
                out.reply(member.sync_ticket, sync_refused(code))
                member.sync_ticket = None
                self._touch(member, at)

    def sync_timed_out(self, group: Group, generation: int, at: Instant, out: Decision) -> None:
        """The timer of `group.sync_key`: whoever did not ask for his assignment is out."""
        stale = generation != group.generation or group.state not in (COMPLETING, STABLE)
        if stale or not group.pending_syncs:
            return
        absent = list(group.pending_syncs)
        for member_id in absent:
            member = group.members.get(member_id)
            if member is not None:
                self._timers.cancel(member.session_key)
            group.remove(member_id)
        self._prepare(group, f"members did not sync in time: {', '.join(absent)}", at, out)

    # -- sessions

    def _touch(self, member: Member, at: Instant) -> None:
        self._timers.set(member.session_key, at.monotonic_ms + member.session_timeout_ms)

    def heartbeat(self, group: Group, request: Struct, at: Instant) -> ErrorCode:
        """Heartbeat: keeps the member's session; tells it when it has to join again."""
        try:
            member = group.check_member(request.member_id, request.group_instance_id)
        except GroupError as error:
            return error.code
        if request.generation_id != group.generation:
            return ErrorCode.illegal_generation
        if group.state in (EMPTY, DEAD):
            return ErrorCode.unknown_member_id
        self._touch(member, at)
        if group.state is PREPARING:
            return ErrorCode.rebalance_in_progress
        return ErrorCode.none

    def touch(self, group: Group, member_id: str, at: Instant) -> None:
        """A commit keeps the session, too, while the member may consume."""
        member = group.members.get(member_id)
        if member is not None and group.state in (STABLE, PREPARING):
            self._touch(member, at)

    def session_timed_out(self, group: Group, member_id: str, at: Instant, out: Decision) -> None:
        """The timer of a member or of a pending id."""
        if member_id in group.pending_joins:
            group.remove(member_id)
            out.trace("pending member expired", group=group.id, member=member_id)
            if group.state is PREPARING and group.all_joined:
                self.complete_join(group, at, out)
            return
        member = group.members.get(member_id)
        if member is None or member.keeps_alive:
            return
        self._remove(group, member, out)
        out.trace("member expired", group=group.id, member=member_id)
        if group.state in (STABLE, COMPLETING):
            self._prepare(group, f"member {member_id} expired", at, out)
        elif group.state is PREPARING and group.all_joined:
            self.complete_join(group, at, out)

    def _remove(self, group: Group, member: Member, out: Decision) -> None:
        """Take a member out; whatever it waits for is answered so that a live one joins anew."""
        self._timers.cancel(member.session_key)
        if member.join_ticket is not None:
            out.reply(member.join_ticket, join_refused(ErrorCode.unknown_member_id))
        if member.sync_ticket is not None:
            out.reply(member.sync_ticket, sync_refused(ErrorCode.unknown_member_id))
            member.sync_ticket = None
        group.remove(member.id)

    # -- leaving

    def leave(
        self, group: Group, leaving: Iterable[Struct], at: Instant, out: Decision
    ) -> list[Struct]:
        """LeaveGroup: one answer per member; a static one may be named by its instance id."""
        answers = []
        gone = []
        for each in leaving:
            code = self._leave_one(group, each, out)
            if code is ErrorCode.none:
                gone.append(each.member_id or str(each.group_instance_id))
            answers.append(leave_answer(each, code))
        if gone:
            if group.state in (STABLE, COMPLETING):
                self._prepare(group, f"members left: {', '.join(gone)}", at, out)
            else:
                self._go_on(group, at, out)
        return answers

    def _leave_one(self, group: Group, each: Struct, out: Decision) -> ErrorCode:
        member_id, instance_id = each.member_id, each.group_instance_id
        if member_id in group.pending_joins:
            group.remove(member_id)
            self._timers.cancel(("session", group.id, member_id))
            return ErrorCode.none
        if member_id == UNKNOWN_MEMBER and instance_id is not None:
            # A tool removes a static member: it knows the instance id only.
            member_id = group.static_members.get(instance_id, UNKNOWN_MEMBER)
        try:
            member = group.check_member(member_id, instance_id)
        except GroupError as error:
            return error.code
        self._remove(group, member, out)
        out.trace(
            "member left",
            group=group.id,
            member=member.id,
            reason=each.get("reason") or "not provided",
        )
        return ErrorCode.none

    # -- the coordinator comes and goes

    def loaded(self, group: Group, at: Instant, out: Decision) -> None:
        """A new coordinator knows this group: the members' sessions begin anew."""
        for member in group.members.values():
            self._touch(member, at)
        if len(group.members) > self.settings.members_max:
            self._prepare(group, "the group is over its size", at, out)

    def unloaded(self, group: Group, out: Decision) -> None:
        """This coordinator is none any more: whoever waits has to look for the new one."""
        for member in group.members.values():
            if member.join_ticket is not None:
                refused = join_refused(ErrorCode.not_coordinator, member.id)
                out.reply(member.join_ticket, refused)
                group.park_join(member, None)
            if member.sync_ticket is not None:
                out.reply(member.sync_ticket, sync_refused(ErrorCode.not_coordinator))
                member.sync_ticket = None
        group.state = DEAD


def leave_answer(leaving: Struct, code: ErrorCode) -> Struct:
    """One member's part of a LeaveGroup response."""
    return Struct(
        member_id=leaving.member_id,
        group_instance_id=leaving.group_instance_id,
        error_code=code,
    )


@dataclass(frozen=True, slots=True)
class _AssignmentStored:
    """After the record of a generation's assignment.

    Whoever came in between began another rebalance; then the assignment is of no use any more.
    """

    membership: Membership
    group: Group
    generation: int
    assignments: dict[str, bytes]

    def _is_current(self) -> bool:
        return self.group.state is COMPLETING and self.group.generation == self.generation

    def committed(self, at: Instant) -> Decision:
        """See After."""
        out = Decision()
        if self._is_current():
            self.membership.give_assignments(self.group, self.assignments, at, out)
        return out

    def failed(self, code: ErrorCode, at: Instant) -> Decision:
        """See After."""
        out = Decision()
        if self._is_current():
            self.membership.assignment_failed(self.group, code, at, out)
        return out


@dataclass(frozen=True, slots=True)
class _Undo:
    """What a static member was before it came back."""

    instance_id: str
    old_id: str
    protocols: dict[str, bytes]
    rebalance_timeout_ms: int
    session_timeout_ms: int


@dataclass(frozen=True, slots=True)
class _StaticMemberStored:
    """After the record of a static member's new id, in a generation that stays as it is."""

    membership: Membership
    group: Group
    member: Member
    joining: _Joining
    generation: int
    leader_before: str
    undo: _Undo

    def _waits(self) -> bool:
        """Whether the join is still to be answered here, and not by a rebalance since."""
        return (
            self.member.join_ticket is self.joining.ticket
            and self.group.state is STABLE
            and self.group.generation == self.generation
        )

    def committed(self, at: Instant) -> Decision:
        """See After."""
        del at
        out = Decision()
        if not self._waits():
            return out
        group, member = self.group, self.member
        group.park_join(member, None)
        leads = group.leader == member.id
        if self.joining.caller.api_version >= SKIP_ASSIGNMENT_SINCE:
            # KIP-814: the leader learns who is in the group, and that it need not assign.
            answer = _joined(group, member.id, skip_assignment=leads)
        else:
            # Under its old id as the leader's, an old client takes itself for a follower.
            answer = _joined(group, member.id, leader=self.leader_before, members=[])
        out.reply(self.joining.ticket, answer)
        return out

    def failed(self, code: ErrorCode, at: Instant) -> Decision:
        """See After."""
        out = Decision()
        if self._waits():
            self.group.park_join(self.member, None)
            self.membership.revert_static(self.group, self.member, self.undo, at, out)
            refused = join_refused(client_error(code))
            out.reply(self.joining.ticket, refused)
        return out
