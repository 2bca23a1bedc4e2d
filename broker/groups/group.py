"""One classic consumer group: its members, its state, and the rules that need nothing else.

Soft state of the coordinator: joins, waits and sessions live only here and end with the
coordinator; what must survive is in the records (GroupMetadata). Nothing here writes or answers.
"""

from collections import Counter
from collections.abc import Iterable
from enum import Enum
from typing import Any, Final

from broker.groups.decision import GroupError, Ticket
from broker.groups.records import GroupMetadata, MemberMetadata
from broker.protocol.codec import decode_data
from broker.protocol.errors import ErrorCode, WireError
from broker.protocol.struct import Struct

CONSUMER_PROTOCOL: Final = "consumer"
NO_GENERATION: Final = -1


class GroupState(Enum):
    """Where a group is between two generations; the value is how Kafka spells it."""

    EMPTY = "Empty"
    PREPARING_REBALANCE = "PreparingRebalance"
    COMPLETING_REBALANCE = "CompletingRebalance"
    STABLE = "Stable"
    DEAD = "Dead"


EMPTY, PREPARING, COMPLETING = (
    GroupState.EMPTY,
    GroupState.PREPARING_REBALANCE,
    GroupState.COMPLETING_REBALANCE,
)
STABLE, DEAD = GroupState.STABLE, GroupState.DEAD

LEGAL: Final = {
    EMPTY: frozenset({PREPARING, DEAD}),
    PREPARING: frozenset({EMPTY, COMPLETING, DEAD}),
    COMPLETING: frozenset({PREPARING, STABLE, DEAD}),
    STABLE: frozenset({PREPARING, DEAD}),
    DEAD: frozenset({DEAD}),
}


class Member:
    """One member. `protocols` are (name, metadata), most wanted first; timeouts in milliseconds."""

    __slots__ = (
        "assignment",
        "client_host",
        "client_id",
        "id",
        "instance_id",
        "is_new",
        "join_ticket",
        "protocols",
        "rebalance_timeout_ms",
        "session_key",
        "session_timeout_ms",
        "sync_ticket",
    )

    def __init__(
        self,
        group_id: str,
        member_id: str,
        *,
        instance_id: str | None,
        client_id: str,
        client_host: str,
        rebalance_timeout_ms: int,
        session_timeout_ms: int,
        protocols: dict[str, bytes],
        assignment: bytes = b"",
    ) -> None:
        self.id = member_id
        self.instance_id = instance_id
        self.client_id = client_id
        self.client_host = client_host
        self.rebalance_timeout_ms = rebalance_timeout_ms
        self.session_timeout_ms = session_timeout_ms
        self.protocols = protocols
        self.assignment = assignment
        self.join_ticket: Ticket = None
        self.sync_ticket: Ticket = None
        self.is_new = False
        self.session_key = ("session", group_id, member_id)

    @property
    def keeps_alive(self) -> bool:
        """Whether the coordinator itself holds this member back: no heartbeat is expected.

        A new member does not know its id yet, so that one is never excused.
        """
        if self.is_new:
            return False
        return self.join_ticket is not None or self.sync_ticket is not None

    def matches(self, protocols: dict[str, bytes]) -> bool:
        """Whether `protocols` are what this member has said before, in the same order."""
        return list(self.protocols.items()) == list(protocols.items())

    def stored(self, protocol: str | None, assignment: bytes) -> MemberMetadata:
        """This member as it stands in a record of its group."""
        return MemberMetadata(
            member_id=self.id,
            instance_id=self.instance_id,
            client_id=self.client_id,
            client_host=self.client_host,
            rebalance_timeout_ms=self.rebalance_timeout_ms,
            session_timeout_ms=self.session_timeout_ms,
            subscription=self.protocols.get(protocol or "", b""),
            assignment=assignment,
        )


class Group:
    """A group and its members, in the order in which they joined."""

    def __init__(self, group_id: str, state_timestamp_ms: int) -> None:
        self.id = group_id
        self.state = EMPTY
        self.previous_state = DEAD
        self.state_timestamp_ms = state_timestamp_ms
        self.protocol_type: str | None = None
        self.protocol: str | None = None
        # Invariant: only ever grows. Checked by the random test of the coordinator.
        self.generation = 0
        self.leader: str | None = None
        self.members: dict[str, Member] = {}
        self.static_members: dict[str, str] = {}
        # Ids that were given out by MEMBER_ID_REQUIRED and have not come back yet.
        self.pending_joins: dict[str, None] = {}
        self.pending_syncs: dict[str, None] = {}
        # Invariant: the number of members with a join_ticket.
        self.awaiting_joins = 0
        # Somebody joined during the initial delay, so it may be prolonged.
        self.new_member_added = False
        # None = not known, which counts as everything for a group of consumers.
        self.subscribed_topics: frozenset[str] | None = None
        self._support: Counter[str] = Counter()
        self.join_key = ("join", group_id)
        self.sync_key = ("sync", group_id)

    # -- state

    def become(self, state: GroupState, wall_ms: int) -> None:
        """Change state; a transition that the table does not have is a broken invariant."""
        assert state in LEGAL[self.state], f"{self.id}: {self.state} -> {state}"
        self.previous_state, self.state = self.state, state
        self.state_timestamp_ms = wall_ms

    @property
    def can_rebalance(self) -> bool:
        """Whether a rebalance can begin now."""
        return PREPARING in LEGAL[self.state]

    @property
    def uses_consumer_protocol(self) -> bool:
        """Whether the members say that they are consumers."""
        return self.protocol_type == CONSUMER_PROTOCOL

    @property
    def rebalance_timeout_ms(self) -> int:
        """The longest that any member asks for."""
        return max((m.rebalance_timeout_ms for m in self.members.values()), default=0)

    @property
    def all_joined(self) -> bool:
        """Whether nobody is waited for."""
        return self.awaiting_joins == len(self.members) and not self.pending_joins

    # -- members

    def add(self, member: Member, ticket: Ticket = None) -> None:
        """A member comes in; the first one becomes the leader."""
        if member.instance_id is not None:
            assert member.instance_id not in self.static_members
            self.static_members[member.instance_id] = member.id
        if self.leader is None:
            self.leader = member.id
        self.members[member.id] = member
        self._count_protocols(member.protocols, 1)
        self.park_join(member, ticket)
        self.pending_joins.pop(member.id, None)

    def remove(self, member_id: str) -> None:
        """A member goes, or an id that was still pending."""
        member = self.members.pop(member_id, None)
        if member is not None:
            self._count_protocols(member.protocols, -1)
            self.park_join(member, None)
            if member.instance_id is not None:
                del self.static_members[member.instance_id]
        if self.leader == member_id:
            self.leader = next(iter(self.members), None)
        self.pending_joins.pop(member_id, None)
        self.pending_syncs.pop(member_id, None)

    def park_join(self, member: Member, ticket: Ticket) -> None:
        """Remember (or, with None, forget) who waits for the answer to this member's join."""
        self.awaiting_joins += (ticket is not None) - (member.join_ticket is not None)
        member.join_ticket = ticket

    def update(
        self,
        member: Member,
        protocols: dict[str, bytes],
        rebalance_timeout_ms: int,
        session_timeout_ms: int,
    ) -> None:
        """What a member says of itself when it joins again."""
        self._count_protocols(member.protocols, -1)
        self._count_protocols(protocols, 1)
        member.protocols = protocols
        member.rebalance_timeout_ms = rebalance_timeout_ms
        member.session_timeout_ms = session_timeout_ms

    def replace_static(self, instance_id: str, old_id: str, new_id: str) -> tuple[Member, Member]:
        """A static member comes back under a new id (KIP-345): (the old one, the new one)."""
        old = self.members[old_id]
        new = Member(
            self.id,
            new_id,
            instance_id=instance_id,
            client_id=old.client_id,
            client_host=old.client_host,
            rebalance_timeout_ms=old.rebalance_timeout_ms,
            session_timeout_ms=old.session_timeout_ms,
            protocols=old.protocols,
            assignment=old.assignment,
        )
        was_leader = self.leader == old_id
        self.remove(old_id)
        self.add(new)
        if was_leader:
            self.leader = new_id
        return old, new

    def elect_joined_leader(self) -> bool:
        """Let somebody lead who did join; False when nobody did."""
        if self.leader is None:
            return False
        if self.members[self.leader].join_ticket is not None:
            return True
        for member in self.members.values():
            if member.join_ticket is not None:
                self.leader = member.id
                return True
        return False

    # -- protocols

    def _count_protocols(self, names: Iterable[str], by: int) -> None:
        for name in names:
            self._support[name] += by
            if not self._support[name]:
                del self._support[name]

    def supports(self, protocol_type: str, protocols: Iterable[str]) -> bool:
        """Whether a member with these protocols fits in."""
        if self.state is EMPTY:
            return bool(protocol_type) and any(True for _ in protocols)
        size = len(self.members)
        return protocol_type == self.protocol_type and any(
            self._support[name] == size for name in protocols
        )

    def select_protocol(self) -> str:
        """The protocol that most members want among those that all know."""
        size = len(self.members)
        votes: Counter[str] = Counter()
        for member in self.members.values():
            votes[next(name for name in member.protocols if self._support[name] == size)] += 1
        return votes.most_common(1)[0][0]

    def begin_generation(self, wall_ms: int) -> None:
        """The next generation: with members they are to be assigned, without it is empty."""
        self.generation += 1
        self.pending_syncs.clear()
        self.protocol = self.select_protocol() if self.members else None
        self.subscribed_topics = self.find_subscribed_topics()
        self.become(COMPLETING if self.members else EMPTY, wall_ms)

    def find_subscribed_topics(self) -> frozenset[str] | None:
        """What the members have subscribed to; None when that is not known.

        Version 0 of a subscription is the beginning of every later version.
        """
        if not self.uses_consumer_protocol:
            return None
        topics: set[str] = set()
        for member in self.members.values():
            subscription = member.protocols.get(self.protocol or "")
            if subscription is None:
                return None
            try:
                topics.update(_subscription_topics(subscription))
            except WireError:
                return None
        return frozenset(topics)

    def is_subscribed(self, topic: str) -> bool:
        """Whether the members consume `topic`, as far as can be known."""
        if self.subscribed_topics is None:
            return self.uses_consumer_protocol
        return topic in self.subscribed_topics

    # -- checks; they raise GroupError

    def check_member(self, member_id: str, instance_id: str | None) -> Member:
        """The member, if it is one and nobody has taken its instance id over."""
        if instance_id is not None:
            known_id = self.static_members.get(instance_id)
            if known_id is None:
                raise GroupError(ErrorCode.unknown_member_id)
            if known_id != member_id:
                raise GroupError(ErrorCode.fenced_instance_id)
        member = self.members.get(member_id)
        if member is None:
            raise GroupError(ErrorCode.unknown_member_id)
        return member

    def check_commit(self, generation: int, member_id: str, instance_id: str | None) -> None:
        """Whether this member of this generation may commit offsets now."""
        if self.state is DEAD:
            raise GroupError(ErrorCode.coordinator_not_available)
        if generation < 0 and self.state is EMPTY:
            # A tool, or a consumer that uses no group management.
            return
        if generation >= 0 or member_id or instance_id is not None:
            self.check_member(member_id, instance_id)
            if generation != self.generation:
                raise GroupError(ErrorCode.illegal_generation)
        else:
            raise GroupError(ErrorCode.unknown_member_id)
        if self.state is COMPLETING:
            # Its assignment is about to change: what it consumed belongs to the last one.
            raise GroupError(ErrorCode.rebalance_in_progress)

    # -- records

    def stored(self, assignments: dict[str, bytes] | None = None) -> GroupMetadata:
        """The group as a record; without `assignments` each member keeps the one it has."""
        return GroupMetadata(
            protocol_type=self.protocol_type or "",
            generation=self.generation,
            protocol=self.protocol,
            leader=self.leader,
            state_timestamp_ms=self.state_timestamp_ms,
            members=tuple(
                member.stored(
                    self.protocol,
                    member.assignment if assignments is None else assignments.get(member.id, b""),
                )
                for member in self.members.values()
            ),
        )

    @classmethod
    def restored(cls, group_id: str, stored: GroupMetadata) -> "Group":
        """The group of a record, as a new coordinator finds it."""
        group = cls(group_id, stored.state_timestamp_ms)
        group.protocol_type = stored.protocol_type or None
        group.protocol = stored.protocol
        group.generation = stored.generation
        for each in stored.members:
            rebalance_ms = each.rebalance_timeout_ms
            group.add(
                Member(
                    group_id,
                    each.member_id,
                    instance_id=each.instance_id,
                    client_id=each.client_id,
                    client_host=each.client_host,
                    rebalance_timeout_ms=each.session_timeout_ms
                    if rebalance_ms == -1
                    else rebalance_ms,
                    session_timeout_ms=each.session_timeout_ms,
                    protocols={stored.protocol or "": each.subscription},
                    assignment=each.assignment,
                )
            )
        if stored.leader in group.members:
            group.leader = stored.leader
        group.state = STABLE if group.members else EMPTY
        group.subscribed_topics = group.find_subscribed_topics()
        return group


def read_protocols(asked: Iterable[Struct]) -> dict[str, bytes]:
    """Names and metadata of a JoinGroup request, in order; the first of a name counts."""
    protocols: dict[str, bytes] = {}
    for each in asked:
        protocols.setdefault(each.name, bytes(each.metadata))
    return protocols


def _subscription_topics(subscription: bytes) -> list[str]:
    # Two bytes of version, then version 0.
    found: Any = decode_data("consumer_protocol_subscription", 0, subscription[2:])
    return list(found.topics)
