"""OffsetDelete (47), version 0: forget what a group committed for some partitions (KIP-496).

Refused for topics that live members consume.
"""

import asyncio

from broker.api.node import Node
from broker.api.registry import Api, Reply, RequestContext
from broker.protocol.api_keys import ApiKey
from broker.protocol.errors import ErrorCode
from broker.protocol.struct import Struct


async def handle(node: Node, context: RequestContext, request: Struct) -> Reply:
    """One code per partition, or one for the whole request."""
    del context
    known = [
        (topic.name, each.partition_index)
        for topic in request.topics
        for each in topic.partitions
        if node.image.partition(topic.name, each.partition_index) is not None
    ]
    shard = node.coordinators.find(request.group_id)
    if isinstance(shard, ErrorCode):
        return Struct(error_code=shard, topics=[])
    ticket: asyncio.Future[tuple[ErrorCode, list[ErrorCode]]] = (
        asyncio.get_running_loop().create_future()
    )
    shard.perform(shard.core.delete_offsets(request.group_id, known, ticket))
    code, codes = await ticket
    if code:
        return Struct(error_code=code, topics=[])
    decided = dict(zip(known, codes, strict=True))
    unknown = ErrorCode.unknown_topic_or_partition
    return Struct(
        error_code=ErrorCode.none,
        topics=[
            Struct(
                name=topic.name,
                partitions=[
                    Struct(
                        partition_index=each.partition_index,
                        error_code=decided.get((topic.name, each.partition_index), unknown),
                    )
                    for each in topic.partitions
                ],
            )
            for topic in request.topics
        ],
    )


API = Api(key=ApiKey.OFFSET_DELETE, min_version=0, max_version=0, handler=handle)
