"""Calls on the kinds of group that came after the classic one, where the cluster serves them.

Consumer groups of the new protocol (KIP-848), streams groups (KIP-1071) and share groups (KIP-932).
What the three have in common with classic groups looks the same. Never joins a group.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from broker.protocol.api_keys import ApiKey
from broker.protocol.errors import ErrorCode
from broker.protocol.struct import Struct
from clusters.admin.asking import Partition
from clusters.admin.connections import Deadline
from clusters.admin.errors import AdminError, code_words
from clusters.admin.group_model import (
    CONSUMER,
    SHARE,
    STREAMS,
    CommittedOffset,
    GroupDetail,
    GroupMember,
    partitions_of,
)
from clusters.admin.offsets import OffsetCalls

Held = Callable[[Struct], Iterable[tuple[str, Sequence[int]]]]


class NewerGroupCalls(OffsetCalls):
    """What the admin client can do with groups that are no classic ones."""

    async def _newer_group(self, name: str, deadline: Deadline) -> GroupDetail | None:
        """A group of another kind than classic; None when there is none of that name."""
        found = await asyncio.gather(
            self._told(ApiKey.CONSUMER_GROUP_DESCRIBE, name, deadline),
            self._told(ApiKey.STREAMS_GROUP_DESCRIBE, name, deadline),
            self._told(ApiKey.SHARE_GROUP_DESCRIBE, name, deadline),
        )
        consumer, streams, share = found
        if consumer is not None:
            return _detail(CONSUMER, *consumer, held=_topics_held)
        if share is not None:
            return _detail(SHARE, *share, held=_topics_held)
        if streams is not None:
            held = await self._tasks(streams[1], deadline)
            return _detail(STREAMS, *streams, held=held)
        return None

    async def _told(
        self, api_key: ApiKey, name: str, deadline: Deadline
    ) -> tuple[int, Struct] | None:
        """(coordinator, what it tells); None where it is no such group, or none are served."""
        try:
            node, answer = await self._at_coordinator(
                name,
                api_key,
                Struct(group_ids=[name], include_authorized_operations=False),
                lambda answer: answer.groups[0].error_code,
                deadline,
            )
        except AdminError as error:
            if error.code == ErrorCode.unsupported_version:
                return None
            raise
        told: Struct = answer.groups[0]
        return (node, told) if told.error_code == ErrorCode.none else None

    async def _tasks(self, told: Struct, deadline: Deadline) -> Held:
        """What partitions the tasks of a streams group's members read."""
        sources: dict[str, list[str]] = {}
        for each in (told.topology.subtopologies if told.topology else None) or ():
            repartitioned = [topic.name for topic in each.repartition_source_topics]
            sources[each.subtopology_id] = [*each.source_topics, *repartitioned]
        names = sorted({topic for topics in sources.values() for topic in topics})
        metadata = await self._metadata(names, deadline) if names else None
        counts = (
            {topic.name: len(topic.partitions) for topic in metadata.topics} if metadata else {}
        )

        def held(member: Struct) -> Iterable[tuple[str, Sequence[int]]]:
            for task in member.assignment.active_tasks:
                # There are as many tasks as the largest of the topics has partitions.
                for topic in sources.get(task.subtopology_id, ()):
                    yield topic, [index for index in task.partitions if index < counts[topic]]

        return held

    # Where share groups are

    async def _share_offsets(self, name: str, deadline: Deadline) -> list[CommittedOffset]:
        """Where a share group begins to read, with its lag; empty when there is no such group."""
        try:
            _, answer = await self._at_coordinator(
                name,
                ApiKey.DESCRIBE_SHARE_GROUP_OFFSETS,
                Struct(groups=[Struct(group_id=name, topics=None)]),
                lambda answer: answer.groups[0].error_code,
                deadline,
            )
        except AdminError as error:
            if error.code == ErrorCode.unsupported_version:
                return []
            raise
        told = answer.groups[0]
        if told.error_code != ErrorCode.none:
            return []
        return [
            CommittedOffset(
                topic=topic.topic_name,
                partition=each.partition_index,
                offset=each.start_offset,
                leader_epoch=each.leader_epoch,
                metadata="",
                lag=each.lag if each.lag >= 0 else None,
            )
            for topic in told.topics
            for each in topic.partitions
            if each.error_code == ErrorCode.none and each.start_offset >= 0
        ]

    async def _is_share_group(self, name: str, deadline: Deadline) -> bool:
        return await self._told(ApiKey.SHARE_GROUP_DESCRIBE, name, deadline) is not None

    async def _alter_share_offsets(
        self, name: str, offsets: Mapping[Partition, int], deadline: Deadline
    ) -> None:
        by_topic: dict[str, list[Struct]] = {}
        for (topic, index), offset in sorted(offsets.items()):
            place = Struct(partition_index=index, start_offset=offset)
            by_topic.setdefault(topic, []).append(place)
        _, answer = await self._at_coordinator(
            name,
            ApiKey.ALTER_SHARE_GROUP_OFFSETS,
            Struct(
                group_id=name,
                topics=[Struct(topic_name=t, partitions=p) for t, p in by_topic.items()],
            ),
            lambda answer: answer.error_code,
            deadline,
        )
        what = f'The offsets of share group "{name}" were not set'
        self._raise_whole(ApiKey.ALTER_SHARE_GROUP_OFFSETS, answer, name, what)
        refused = [
            (f"{topic.topic_name}:{each.partition_index}", each.error_code)
            for topic in answer.responses
            for each in topic.partitions
            if each.error_code != ErrorCode.none
        ]
        _raise_refused(refused, what)

    async def _delete_share_offsets(
        self, name: str, partitions: Iterable[Partition], deadline: Deadline
    ) -> None:
        """Forget whole topics: a share group forgets no less."""
        chosen = set(partitions)
        topics = sorted({topic for topic, _ in chosen})
        what = f'The offsets of share group "{name}" were not deleted'
        for offset in await self._share_offsets(name, deadline):
            if offset.topic in topics and (offset.topic, offset.partition) not in chosen:
                raise AdminError(
                    f"{what}: a share group forgets all of a topic or nothing; "
                    f"name {offset.topic} without partitions"
                )
        _, answer = await self._at_coordinator(
            name,
            ApiKey.DELETE_SHARE_GROUP_OFFSETS,
            Struct(group_id=name, topics=[Struct(topic_name=topic) for topic in topics]),
            lambda answer: answer.error_code,
            deadline,
        )
        self._raise_whole(ApiKey.DELETE_SHARE_GROUP_OFFSETS, answer, name, what)
        refused = [
            (topic.topic_name, topic.error_code)
            for topic in answer.responses
            if topic.error_code != ErrorCode.none
        ]
        _raise_refused(refused, what)

    def _raise_whole(self, api_key: ApiKey, answer: Struct, name: str, what: str) -> None:
        if answer.error_code != ErrorCode.none:
            words = self._words(api_key, answer.error_code, name, answer)
            raise AdminError(f"{what}: {words}", code=int(answer.error_code))


def member_order(member: GroupMember) -> tuple[str, str]:
    """Members are told by client, then by id."""
    return member.client_id, member.member_id


def _topics_held(member: Struct) -> Iterable[tuple[str, Sequence[int]]]:
    for each in member.assignment.topic_partitions:
        yield each.topic_name, each.partitions


def _detail(kind: str, node: int, told: Struct, *, held: Held) -> GroupDetail:
    members = [
        GroupMember(
            member_id=each.member_id,
            instance_id=each.get("instance_id"),
            client_id=each.client_id,
            host=each.client_host.removeprefix("/"),
            partitions=partitions_of(list(held(each))),
        )
        for each in told.members
    ]
    return GroupDetail(
        group=told.group_id,
        state=told.group_state,
        protocol_type=kind,
        assignor=told.get("assignor_name") or "",
        coordinator=node,
        generation=told.group_epoch,
        members=tuple(sorted(members, key=member_order)),
    )


def _raise_refused(refused: Sequence[tuple[str, Any]], what: str) -> None:
    if refused:
        reasons = "; ".join(f"{place}: {code_words(ErrorCode(code))}" for place, code in refused)
        raise AdminError(f"{what}: {reasons}", code=int(refused[0][1]))
