"""OffsetCommit (8), versions 2-10: a group notes how far it has read.

v2-4 a retention time per request; v6 leader epochs; v7 static members; v8 flexible; v9 member
epochs (KIP-848; a classic group has generations in the same field); v10 topic ids. Answered once
every in-sync replica has the offsets.
"""

import asyncio
from uuid import UUID

from broker.api.node import Node
from broker.api.registry import Api, Reply, RequestContext
from broker.groups import CommitEntry, CommitRequest
from broker.protocol.api_keys import ApiKey
from broker.protocol.errors import ErrorCode
from broker.protocol.image import TopicImage
from broker.protocol.struct import Struct

TOPIC_IDS_SINCE = 10


async def handle(node: Node, context: RequestContext, request: Struct) -> Reply:
    """One code per partition, in the request's order."""
    by_id = context.api_version >= TOPIC_IDS_SINCE
    # One code per partition in order; None where the coordinator decides.
    codes: list[ErrorCode | None] = []
    entries: list[CommitEntry] = []
    for asked in request.topics:
        topic = _topic(node, by_id, asked)
        if topic is None:
            unknown = ErrorCode.unknown_topic_id if by_id else ErrorCode.unknown_topic_or_partition
            codes += [unknown] * len(asked.partitions)
            continue
        name, topic_id, count = topic.name, topic.id, len(topic.partitions)
        for each in asked.partitions:
            index = each.partition_index
            if not 0 <= index < count:
                codes.append(ErrorCode.unknown_topic_or_partition)
                continue
            codes.append(None)
            entries.append(_entry(name, topic_id, each))
    if entries:
        decided = iter(await _commit(node, context, request, entries))
        codes = [next(decided) if code is None else code for code in codes]
    return _response(by_id, request, codes)


def _topic(node: Node, by_id: bool, asked: Struct) -> TopicImage | None:
    if by_id:
        return node.image.topic_by_id(asked.topic_id)
    return node.image.topics.get(asked.name)


def _entry(name: str, topic_id: UUID, each: Struct) -> CommitEntry:
    return CommitEntry(
        name,
        each.partition_index,
        each.committed_offset,
        each.committed_leader_epoch,
        each.committed_metadata,
        topic_id,
    )


async def _commit(
    node: Node, context: RequestContext, request: Struct, entries: list[CommitEntry]
) -> list[ErrorCode]:
    shard = node.coordinators.find(request.group_id)
    if isinstance(shard, ErrorCode):
        return [shard] * len(entries)
    commit = CommitRequest(
        request.group_id,
        request.generation_id_or_member_epoch,
        request.member_id,
        request.group_instance_id,
        entries,
        context.api_version,
        request.retention_time_ms,
    )
    ticket: asyncio.Future[list[ErrorCode]] = asyncio.get_running_loop().create_future()
    shard.perform(shard.core.commit(commit, ticket, shard.now()))
    return await ticket


def _response(by_id: bool, request: Struct, codes: list[ErrorCode | None]) -> Struct:
    left = iter(codes)
    topics = []
    for asked in request.topics:
        partitions = [
            Struct(partition_index=each.partition_index, error_code=next(left))
            for each in asked.partitions
        ]
        if by_id:
            topics.append(Struct(topic_id=asked.topic_id, partitions=partitions))
        else:
            topics.append(Struct(name=asked.name, partitions=partitions))
    return Struct(topics=topics)


API = Api(key=ApiKey.OFFSET_COMMIT, min_version=2, max_version=10, handler=handle)
