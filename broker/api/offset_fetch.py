"""OffsetFetch (9), versions 1-10: how far groups have read.

v2 null topics mean all; v5 leader epochs; v6 flexible; v7 require_stable (KIP-447); v8 many groups
(KIP-709); v9 member epochs (KIP-848); v10 topic ids. Only what every in-sync replica has is told;
with require_stable the answer waits until that is everything. A coordinator that has just taken
over tells nothing before all that it inherited is known to be committed. A partition without a
committed offset has -1 and no error.
"""

from collections.abc import Iterable, Mapping

from broker.api.node import Node
from broker.api.registry import Api, Reply, RequestContext
from broker.groups import CommittedOffset
from broker.protocol.api_keys import ApiKey
from broker.protocol.errors import ErrorCode
from broker.protocol.struct import Struct
from broker.runtime.group_shard import GroupShard

ALL_TOPICS_SINCE = 2
MANY_GROUPS_SINCE = 8
TOPIC_IDS_SINCE = 10
NOTHING = CommittedOffset(-1)


async def handle(node: Node, context: RequestContext, request: Struct) -> Reply:
    """One answer per group; before version 8 there is one group."""
    if context.api_version >= MANY_GROUPS_SINCE:
        by_id = context.api_version >= TOPIC_IDS_SINCE
        return Struct(
            groups=[
                await _answer(node, each.group_id, each.topics, request.require_stable, by_id)
                for each in request.groups
            ]
        )
    answer = await _answer(
        node, request.group_id, request.topics, request.get("require_stable", False), False
    )
    code = answer.error_code
    if code and context.api_version < ALL_TOPICS_SINCE:
        answer.topics = [
            _topic(each.name, [_partition(i, NOTHING, code) for i in each.partition_indexes])
            for each in request.topics
        ]
    return Struct(error_code=code, topics=answer.topics)


async def _answer(
    node: Node, group_id: str, topics: list[Struct] | None, require_stable: bool, by_id: bool
) -> Struct:
    shard = node.coordinators.find(group_id)
    if isinstance(shard, ErrorCode):
        return Struct(group_id=group_id, topics=[], error_code=shard)
    if not await shard.wait_readable(group_id, stable=require_stable):
        # Consumers before 3.9 know no better code that makes them look for a live coordinator.
        return Struct(group_id=group_id, topics=[], error_code=ErrorCode.not_coordinator)
    return Struct(
        group_id=group_id,
        topics=_read(node, shard, group_id, topics, by_id),
        error_code=ErrorCode.none,
    )


def _read(
    node: Node, shard: GroupShard, group_id: str, topics: list[Struct] | None, by_id: bool
) -> list[Struct]:
    committed = shard.fresh_core().offsets.topics(group_id)
    if topics is None:
        return list(_everything(node, committed, by_id))
    answers = []
    for asked in topics:
        if by_id:
            found = node.image.topic_by_id(asked.topic_id)
            name, key = (None if found is None else found.name), asked.topic_id
        else:
            name = key = asked.name
        code = ErrorCode.unknown_topic_id if name is None else ErrorCode.none
        offsets = committed.get(name or "", {})
        partitions = [
            _partition(index, offsets.get(index, NOTHING), code)
            for index in asked.partition_indexes
        ]
        answers.append(_topic(key, partitions))
    return answers


def _everything(
    node: Node, committed: Mapping[str, Mapping[int, CommittedOffset]], by_id: bool
) -> Iterable[Struct]:
    for name, offsets in committed.items():
        topic = node.image.topics.get(name)
        if by_id and topic is None:
            # It is being deleted: there is no id left to name it by.
            continue
        key = topic.id if by_id and topic is not None else name
        yield _topic(key, [_partition(index, each) for index, each in offsets.items()])


def _topic(key: object, partitions: list[Struct]) -> Struct:
    if isinstance(key, str):
        return Struct(name=key, partitions=partitions)
    return Struct(topic_id=key, partitions=partitions)


def _partition(
    index: int, value: CommittedOffset, code: ErrorCode | int = ErrorCode.none
) -> Struct:
    return Struct(
        partition_index=index,
        committed_offset=value.offset,
        committed_leader_epoch=value.leader_epoch,
        metadata=value.metadata,
        error_code=code,
    )


API = Api(key=ApiKey.OFFSET_FETCH, min_version=1, max_version=10, handler=handle)
