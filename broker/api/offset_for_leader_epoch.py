"""OffsetForLeaderEpoch (23), versions 2-4: where a leader epoch ends (KIP-101, KIP-279, KIP-320).

v2 leader epoch check; v3 replica id; v4 flexible. Consumers use it to notice a truncated log.
"""

from broker.api.node import Node
from broker.api.registry import Api, Reply, RequestContext
from broker.protocol.api_keys import ApiKey
from broker.protocol.struct import Struct


async def handle(node: Node, context: RequestContext, request: Struct) -> Reply:
    """One answer per partition asked."""
    del context
    return Struct(
        topics=[
            Struct(
                topic=topic.topic,
                partitions=[_answer(node, topic.topic, each) for each in topic.partitions],
            )
            for topic in request.topics
        ]
    )


def _answer(node: Node, topic: str, asked: Struct) -> Struct:
    code, epoch, end_offset = node.partitions.end_offset_for_epoch(
        topic, asked.partition, asked.leader_epoch, leader_epoch=asked.current_leader_epoch
    )
    return Struct(
        error_code=code, partition=asked.partition, leader_epoch=epoch, end_offset=end_offset
    )


API = Api(key=ApiKey.OFFSET_FOR_LEADER_EPOCH, min_version=2, max_version=4, handler=handle)
