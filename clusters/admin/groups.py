"""Calls on consumer groups: list, describe, lag, commit, forget, delete.

Classic groups and, where the cluster serves them, the newer kinds. Never joins a group.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from broker.protocol.api_keys import ApiKey
from broker.protocol.errors import ErrorCode, LogctlError
from broker.protocol.struct import Struct
from clusters.admin.asking import Partition
from clusters.admin.errors import AdminError, UnknownGroup
from clusters.admin.gathered import Failure, Gathered
from clusters.admin.group_model import (
    CONSUMER,
    CommittedOffset,
    GroupDetail,
    GroupMember,
    GroupSummary,
    PartitionLag,
)
from clusters.admin.newer_groups import NewerGroupCalls, member_order
from clusters.admin.offset_model import OffsetSpec
from clusters.nearest import nearest

DEAD = "Dead"
# From version 10 on topics are named by id alone.
COMMIT_VERSION_MAX = 9
FETCH_VERSION_MAX = 9


def lag_partitions(detail: GroupDetail, offsets: Sequence[CommittedOffset]) -> Sequence[Partition]:
    """What a group has committed or is assigned, sorted."""
    assigned = {key for member in detail.members for key in member.partitions}
    return sorted({*assigned, *((each.topic, each.partition) for each in offsets)})


def lag_rows(
    detail: GroupDetail,
    offsets: Sequence[CommittedOffset],
    start: Mapping[Partition, int | None],
    end: Mapping[Partition, int | None],
) -> tuple[PartitionLag, ...]:
    """How far a group is behind, where partitions start and end there; without an end no lag."""
    members: dict[Partition, str] = {}
    for member in detail.members:
        for key in member.partitions:
            members.setdefault(key, member.member_id)
    committed = {(each.topic, each.partition): each.offset for each in offsets}
    counted = {(each.topic, each.partition): each.lag for each in offsets}
    rows = []
    for key in lag_partitions(detail, offsets):
        at, last = committed.get(key), end.get(key)
        lag = counted.get(key)
        if lag is None and at is not None and last is not None:
            # A commit beyond the end is left after records were lost: nothing is behind then.
            lag = max(0, last - at)
        rows.append(
            PartitionLag(
                topic=key[0],
                partition=key[1],
                committed=at,
                start=start.get(key),
                end=last,
                lag=lag,
                member=members.get(key),
            )
        )
    return tuple(rows)


class GroupCalls(NewerGroupCalls):
    """What the admin client can do with groups."""

    async def groups(self, states: Iterable[str] | None = None) -> Gathered[GroupSummary]:
        """Every group that a running broker coordinates, sorted; only those in `states`, if given.

        States are Kafka's (Stable, Empty, PreparingRebalance...), in any case (KIP-518).
        """
        deadline = self._deadline()
        wanted = {state.lower() for state in states or ()}
        addresses = await self._addresses(deadline)
        # Filtered here, so that brokers that do not know the filter give the same answer.
        answers, failures = await self._at_brokers(
            addresses,
            ApiKey.LIST_GROUPS,
            Struct(states_filter=[], types_filter=[]),
            "list of groups",
            deadline,
        )
        found: dict[str, GroupSummary] = {}
        for node, answer in answers.items():
            if answer.error_code != ErrorCode.none:
                reason = self._words(ApiKey.LIST_GROUPS, answer.error_code)
                failures.append(
                    Failure(where=f"broker {node}", what="list of groups", reason=reason)
                )
            for each in answer.groups:
                state = each.get("group_state", "")
                if wanted and state.lower() not in wanted:
                    continue
                found[each.group_id] = GroupSummary(
                    group=each.group_id,
                    state=state,
                    protocol_type=each.protocol_type,
                    group_type=each.get("group_type", ""),
                    coordinator=node,
                )
        return Gathered(tuple(found[name] for name in sorted(found)), tuple(failures))

    async def group(self, name: str) -> GroupDetail:
        """One group with its members. Raises UnknownGroup, or AdminError without a coordinator."""
        deadline = self._deadline()
        node, answer = await self._at_coordinator(
            name,
            ApiKey.DESCRIBE_GROUPS,
            Struct(groups=[name], include_authorized_operations=False),
            lambda answer: answer.groups[0].error_code,
            deadline,
        )
        told = answer.groups[0]
        unknown = told.error_code == ErrorCode.group_id_not_found
        if unknown or (told.error_code == ErrorCode.none and told.group_state == DEAD):
            newer = await self._newer_group(name, deadline)
            if newer is not None:
                return newer
            raise UnknownGroup(name, await self._group_hint(name))
        if told.error_code != ErrorCode.none:
            words = self._words(ApiKey.DESCRIBE_GROUPS, told.error_code, name, told)
            raise AdminError(f'The group "{name}": {words}', code=int(told.error_code))
        members = [_classic_member(each, told.protocol_type) for each in told.members]
        return GroupDetail(
            group=name,
            state=told.group_state,
            protocol_type=told.protocol_type,
            assignor=told.protocol_data,
            coordinator=node,
            generation=None,
            members=tuple(sorted(members, key=member_order)),
        )

    async def _group_hint(self, name: str) -> str:
        try:
            known = [each.group for each in (await self.groups()).items]
        except LogctlError:
            return ""
        match = nearest(name, known)
        if match:
            return f'did you mean "{match}"?'
        return "there is no group at all" if not known else ""

    async def group_offsets(self, name: str) -> list[CommittedOffset]:
        """Everything that a group has committed, sorted; empty for a group that is not known.

        Of a share group: where it begins to read, and the lag that the cluster counts.
        """
        deadline = self._deadline()
        group = Struct(group_id=name, member_id=None, member_epoch=-1, topics=None)
        _, answer = await self._at_coordinator(
            name,
            ApiKey.OFFSET_FETCH,
            Struct(group_id=name, topics=None, groups=[group], require_stable=False),
            lambda answer: _fetched(answer).get("error_code", ErrorCode.none),
            deadline,
            max_version=FETCH_VERSION_MAX,
        )
        told = _fetched(answer)
        code = told.get("error_code", ErrorCode.none)
        if code == ErrorCode.group_id_not_found or (code == ErrorCode.none and not told.topics):
            # Share groups commit nothing; brokers tell so in either way.
            shared = await self._share_offsets(name, deadline)
            return sorted(shared, key=lambda offset: (offset.topic, offset.partition))
        if code != ErrorCode.none:
            words = self._words(ApiKey.OFFSET_FETCH, code, name)
            raise AdminError(f'The offsets of group "{name}": {words}', code=int(code))
        found = [
            CommittedOffset(
                topic=topic.name,
                partition=each.partition_index,
                offset=each.committed_offset,
                leader_epoch=each.get("committed_leader_epoch", -1),
                metadata=each.metadata or "",
            )
            for topic in told.topics
            for each in topic.partitions
            if each.error_code == ErrorCode.none and each.committed_offset >= 0
        ]
        return sorted(found, key=lambda offset: (offset.topic, offset.partition))

    async def group_lag(self, name: str) -> Gathered[PartitionLag]:
        """How far a group is behind, by partition it has committed or is assigned, sorted.

        A partition whose leader is away stays in the list, without `end` and `lag`, and is told
        in `failures`. Raises UnknownGroup.
        """
        detail, offsets = await asyncio.gather(self.group(name), self.group_offsets(name))
        return await self.lag_of(detail, offsets)

    async def lag_of(
        self, detail: GroupDetail, offsets: Sequence[CommittedOffset]
    ) -> Gathered[PartitionLag]:
        """The lag of a group that was described already."""
        asked = lag_partitions(detail, offsets)
        starts, ends = await asyncio.gather(
            self.list_offsets(dict.fromkeys(asked, OffsetSpec.earliest)),
            self.list_offsets(dict.fromkeys(asked, OffsetSpec.latest)),
        )
        start = {(each.topic, each.partition): each.offset for each in starts.items}
        end = {(each.topic, each.partition): each.offset for each in ends.items}
        return Gathered(lag_rows(detail, offsets, start, end), ends.failures)

    async def commit_offsets(self, group: str, offsets: Mapping[Partition, int]) -> None:
        """Set committed offsets of a group without members, as its owner; makes the group if new.

        Raises AdminError naming each partition that was refused; the others are then committed.
        """
        deadline = self._deadline()
        if await self._is_share_group(group, deadline):
            await self._alter_share_offsets(group, offsets, deadline)
            return
        body = Struct(
            group_id=group,
            generation_id_or_member_epoch=-1,
            member_id="",
            retention_time_ms=-1,
            group_instance_id=None,
            topics=[
                Struct(
                    name=topic,
                    partitions=[
                        Struct(
                            partition_index=index,
                            committed_offset=offsets[topic, index],
                            committed_leader_epoch=-1,
                            committed_metadata="",
                        )
                        for index in indexes
                    ],
                )
                for topic, indexes in _by_topic(offsets)
            ],
        )
        _, answer = await self._at_coordinator(
            group,
            ApiKey.OFFSET_COMMIT,
            body,
            _first_partition_code,
            deadline,
            max_version=COMMIT_VERSION_MAX,
        )
        what = f'The offsets of group "{group}" were not committed'
        self._raise_partitions(ApiKey.OFFSET_COMMIT, group, answer, what)

    async def delete_group_offsets(self, group: str, partitions: Iterable[Partition]) -> None:
        """Forget what a group committed for partitions that no member reads (KIP-496).

        Raises AdminError naming each partition that was refused.
        """
        deadline, partitions = self._deadline(), list(partitions)
        if await self._is_share_group(group, deadline):
            await self._delete_share_offsets(group, partitions, deadline)
            return
        body = Struct(
            group_id=group,
            topics=[
                Struct(name=topic, partitions=[Struct(partition_index=i) for i in indexes])
                for topic, indexes in _by_topic(partitions)
            ],
        )
        what = f'The offsets of group "{group}" were not deleted'
        _, answer = await self._at_coordinator(
            group,
            ApiKey.OFFSET_DELETE,
            body,
            lambda answer: answer.error_code,
            deadline,
        )
        if answer.error_code == ErrorCode.group_id_not_found:
            raise UnknownGroup(group, await self._group_hint(group))
        if answer.error_code != ErrorCode.none:
            words = self._words(ApiKey.OFFSET_DELETE, answer.error_code, group)
            raise AdminError(f"{what}: {words}", code=int(answer.error_code))
        self._raise_partitions(ApiKey.OFFSET_DELETE, group, answer, what)

    def _raise_partitions(self, api_key: ApiKey, group: str, answer: Struct, what: str) -> None:
        refused: dict[str, list[str]] = {}
        codes: list[int] = []
        for topic in answer.topics:
            for each in topic.partitions:
                if each.error_code == ErrorCode.none:
                    continue
                codes.append(int(each.error_code))
                about_topic = each.error_code == ErrorCode.topic_authorization_failed
                name = topic.name if about_topic else group
                words = self._words(api_key, each.error_code, name)
                refused.setdefault(words, []).append(f"{topic.name}:{each.partition_index}")
        if refused:
            reasons = "; ".join(f"{', '.join(places)}: {why}" for why, places in refused.items())
            raise AdminError(f"{what}: {reasons}", code=codes[0])

    async def delete_groups(self, names: Sequence[str]) -> None:
        """Delete groups without members, with all their offsets.

        All are tried; raises AdminError (UnknownGroup for a single name) with what was refused.
        """
        deadline = self._deadline()

        async def one(name: str) -> tuple[str, int]:
            _, answer = await self._at_coordinator(
                name,
                ApiKey.DELETE_GROUPS,
                Struct(groups_names=[name]),
                lambda answer: answer.results[0].error_code,
                deadline,
            )
            return name, answer.results[0].error_code

        results: list[Any] = await asyncio.gather(
            *(one(name) for name in names), return_exceptions=True
        )
        refused: list[str] = []
        last_code: int | None = None
        for name, result in zip(names, results, strict=True):
            if isinstance(result, LogctlError):
                refused.append(str(result))
            elif isinstance(result, BaseException):
                raise result
            elif result[1] == ErrorCode.group_id_not_found and len(names) == 1:
                raise UnknownGroup(name, await self._group_hint(name))
            elif result[1] != ErrorCode.none:
                last_code = int(result[1])
                words = self._words(ApiKey.DELETE_GROUPS, result[1], name)
                refused.append(f'The group "{name}" was not deleted: {words}')
        if refused:
            raise AdminError("; ".join(refused), code=last_code)


def _fetched(answer: Struct) -> Struct:
    """The one group of an OffsetFetch answer; before version 8 the answer itself."""
    groups = answer.get("groups")
    group: Struct = groups[0] if groups else answer
    return group


def _first_partition_code(answer: Struct) -> int:
    for topic in answer.topics:
        for each in topic.partitions:
            return int(each.error_code)
    return int(ErrorCode.none)


def _by_topic(partitions: Iterable[Partition]) -> list[tuple[str, list[int]]]:
    by_topic: dict[str, list[int]] = {}
    for topic, index in sorted(partitions):
        by_topic.setdefault(topic, []).append(index)
    return list(by_topic.items())


def _classic_member(each: Struct, protocol_type: str) -> GroupMember:
    partitions: tuple[Partition, ...] = ()
    if protocol_type == CONSUMER and each.member_assignment:
        partitions = read_assignment(bytes(each.member_assignment))
    return GroupMember(
        member_id=each.member_id,
        instance_id=each.get("group_instance_id"),
        client_id=each.client_id,
        host=each.client_host.removeprefix("/"),
        partitions=partitions,
    )


def read_assignment(content: bytes) -> tuple[Partition, ...]:
    """The partitions of a consumer's assignment (ConsumerProtocolAssignment), sorted.

    Made by any client that leads a group: what cannot be read gives no partitions.
    """
    view = memoryview(content)

    def number(at: int, size: int) -> int:
        if at + size > len(view):
            raise ValueError("cut short")
        return int.from_bytes(view[at : at + size], "big", signed=True)

    try:
        at = 2
        found: list[Partition] = []
        topics = number(at, 4)
        at += 4
        for _ in range(topics):
            length = number(at, 2)
            topic = bytes(view[at + 2 : at + 2 + length]).decode()
            at += 2 + length
            count = number(at, 4)
            at += 4
            for _ in range(count):
                found.append((topic, number(at, 4)))
                at += 4
    except ValueError:
        return ()
    return tuple(sorted(found))
