"""One coordinator on a log that the test controls: what is committed when, what is refused."""

import random
from typing import Any

from broker.groups import (
    After,
    Caller,
    CommitEntry,
    CommitRequest,
    CoordinatorRecord,
    Decision,
    GroupCoordinator,
    GroupSettings,
    Instant,
    decode_record,
    encode_record,
)
from broker.groups.group import Group
from broker.protocol.codec import encode_data
from broker.protocol.errors import ErrorCode
from broker.protocol.struct import ZERO_UUID, Struct

GROUP = "orders-readers"
SESSION_MS = 10_000
REBALANCE_MS = 60_000
DELAY_MS = 3_000


class World:
    """Records are committed as soon as they are appended unless `hold` is set."""

    def __init__(self, seed: int = 1, **settings: Any) -> None:
        self.settings = GroupSettings(**settings)
        self.rng = random.Random(seed)
        self.monotonic_ms = 1_000
        self.wall_ms = 1_700_000_000_000
        self.core = GroupCoordinator(self.settings, self.rng)
        self.log: list[tuple[bytes, bytes | None]] = []
        self.records: list[CoordinatorRecord] = []
        self.committed = 0
        self.hold = False
        # The next append is refused with this code.
        self.refuse: ErrorCode | None = None
        self.waiting: list[tuple[int, After]] = []
        self.answers: dict[int, Any] = {}
        self.traces: list[str] = []
        self._tickets = 0
        self.perform(self.core.loaded(self.at))

    @property
    def at(self) -> Instant:
        return Instant(self.monotonic_ms, self.wall_ms)

    # -- the shell's part

    def perform(self, decision: Decision) -> None:
        self.traces += [trace.message for trace in decision.traces]
        after = decision.after
        if decision.records:
            if self.refuse is not None:
                code, self.refuse = self.refuse, None
                if after is not None:
                    self.perform(after.failed(code, self.at))
                after = None
            else:
                for record in decision.records:
                    self.core.replay(len(self.log), record)
                    key, value = encode_record(record)
                    assert decode_record(key, value) == record
                    self.log.append((key, value))
                    self.records.append(record)
                if after is not None:
                    self.waiting.append((len(self.log), after))
                    after = None
        if after is not None:
            self.perform(after.committed(self.at))
        for ticket, answer in decision.replies:
            assert ticket not in self.answers, "two answers to one request"
            self.answers[ticket] = answer
        if not self.hold:
            self.commit()

    def commit(self, upto: int | None = None) -> None:
        """Everything (or everything below `upto`) is on all replicas."""
        self.committed = len(self.log) if upto is None else upto
        self.core.offsets.advance(self.committed)
        while self.waiting and self.waiting[0][0] <= self.committed:
            _, after = self.waiting.pop(0)
            self.perform(after.committed(self.at))

    def fail_waiting(self, code: ErrorCode) -> None:
        while self.waiting:
            _, after = self.waiting.pop(0)
            self.perform(after.failed(code, self.at))

    def fail_over(self, end_offset: int | None = None) -> None:
        """Another broker takes over, whose log ends at `end_offset` (all that is committed)."""
        self.perform(self.core.unload())
        self.fail_waiting(ErrorCode.not_leader_or_follower)
        end = self.committed if end_offset is None else end_offset
        assert end >= self.committed
        del self.log[end:], self.records[end:]
        self.core = GroupCoordinator(self.settings, self.rng)
        self.core.offsets.advance(self.committed)
        for offset, (key, value) in enumerate(self.log):
            record = decode_record(key, value)
            assert record is not None
            self.core.replay(offset, record)
        self.perform(self.core.loaded(self.at))
        if not self.hold:
            self.commit()

    def pass_ms(self, ms: int) -> None:
        """Time passes; every limit in it is kept at its time."""
        end_ms = self.monotonic_ms + ms
        while True:
            wakeup_ms = self.core.next_wakeup_ms()
            if wakeup_ms is None or wakeup_ms > end_ms:
                break
            self._move_to(max(wakeup_ms, self.monotonic_ms))
            decision = self.core.tick(self.at)
            if decision is not None:
                self.perform(decision)
        self._move_to(end_ms)

    def _move_to(self, monotonic_ms: int) -> None:
        self.wall_ms += monotonic_ms - self.monotonic_ms
        self.monotonic_ms = monotonic_ms

    # -- requests; each gives its ticket

    def ticket(self) -> int:
        self._tickets += 1
        return self._tickets

    def join(
        self,
        member_id: str = "",
        *,
        group: str = GROUP,
        instance: str | None = None,
        version: int = 9,
        protocols: dict[str, bytes] | None = None,
        protocol_type: str = "consumer",
        session_ms: int = SESSION_MS,
        rebalance_ms: int = REBALANCE_MS,
        client: str = "client",
    ) -> int:
        names = {"range": b"subscription"} if protocols is None else protocols
        request = Struct(
            group_id=group,
            session_timeout_ms=session_ms,
            rebalance_timeout_ms=rebalance_ms,
            member_id=member_id,
            group_instance_id=instance,
            protocol_type=protocol_type,
            protocols=[Struct(name=name, metadata=data) for name, data in names.items()],
            reason=None,
        )
        ticket = self.ticket()
        caller = Caller(client, "/127.0.0.1", version)
        self.perform(self.core.join(request, caller, ticket, self.at))
        return ticket

    def sync(
        self,
        member_id: str,
        generation: int,
        assignments: dict[str, bytes] | None = None,
        *,
        group: str = GROUP,
        instance: str | None = None,
        protocol_type: str | None = "consumer",
        protocol: str | None = None,
    ) -> int:
        request = Struct(
            group_id=group,
            generation_id=generation,
            member_id=member_id,
            group_instance_id=instance,
            protocol_type=protocol_type,
            protocol_name=protocol,
            assignments=[
                Struct(member_id=each, assignment=data)
                for each, data in (assignments or {}).items()
            ],
        )
        ticket = self.ticket()
        self.perform(self.core.sync(request, ticket, self.at))
        return ticket

    def heartbeat(
        self, member_id: str, generation: int, *, group: str = GROUP, instance: str | None = None
    ) -> ErrorCode:
        request = Struct(
            group_id=group,
            generation_id=generation,
            member_id=member_id,
            group_instance_id=instance,
        )
        return self.core.heartbeat(request, self.at)

    def leave(self, *members: str | tuple[str, str], group: str = GROUP) -> int:
        """Members by id, or by (id, instance id)."""
        asked = [
            Struct(
                member_id=each if isinstance(each, str) else each[0],
                group_instance_id=None if isinstance(each, str) else each[1],
            )
            for each in members
        ]
        ticket = self.ticket()
        self.perform(self.core.leave(group, asked, ticket, self.at))
        return ticket

    def commit_offset(
        self,
        offset: int,
        *,
        member_id: str = "",
        generation: int = -1,
        group: str = GROUP,
        topic: str = "orders",
        partition: int = 0,
        instance: str | None = None,
        metadata: str | None = "",
        leader_epoch: int = -1,
        version: int = 9,
        retention_ms: int = -1,
    ) -> int:
        entry = CommitEntry(topic, partition, offset, leader_epoch, metadata, ZERO_UUID)
        request = CommitRequest(
            group, generation, member_id, instance, [entry], version, retention_ms
        )
        ticket = self.ticket()
        self.perform(self.core.commit(request, ticket, self.at))
        return ticket

    # -- what came of it

    def code(self, ticket: int) -> ErrorCode:
        """The error code of an answer, whatever its shape."""
        answer = self.answers[ticket]
        if isinstance(answer, Struct):
            return ErrorCode(answer.error_code)
        first = answer[0]
        assert isinstance(first, ErrorCode)
        return first

    def group(self, group: str = GROUP) -> Group:
        return self.core.groups[group]

    def offset(self, topic: str = "orders", partition: int = 0, group: str = GROUP) -> int | None:
        """What readers are told."""
        found = self.core.offsets.get(group, topic, partition)
        return None if found is None else found.offset

    # -- whole stories

    def new_member(self, **options: Any) -> tuple[str, int]:
        """The two steps to a member: (member id, ticket of its join)."""
        first = self.join(**options)
        assert self.code(first) is ErrorCode.member_id_required
        member_id = self.answers[first].member_id
        return member_id, self.join(member_id, **options)

    def stable_group(self, count: int = 1, **options: Any) -> list[str]:
        """A group of `count` members in its first stable generation, the leader first."""
        joins = [self.new_member(**options) for _ in range(count)]
        self.pass_ms(DELAY_MS * (count + 1))
        return self.settle([member_id for member_id, _ in joins])

    def settle(self, members: list[str], group: str = GROUP) -> list[str]:
        """Everybody syncs with the present generation; each gets "to ID"."""
        present = self.group(group)
        assert present.leader is not None
        generation, leader = present.generation, present.leader
        followers = [each for each in members if each != leader]
        tickets = [self.sync(each, generation, group=group) for each in followers]
        assignments = {each: f"to {each}".encode() for each in members}
        tickets.append(self.sync(leader, generation, assignments, group=group))
        for ticket in tickets:
            assert self.code(ticket) is ErrorCode.none
        return [leader, *followers]


def encode_subscription(*topics: str) -> bytes:
    """What a consumer says of itself: version 1, then its topics."""
    return b"\x00\x01" + encode_data(
        "consumer_protocol_subscription",
        1,
        Struct(topics=list(topics), user_data=None, owned_partitions=[]),
    )
