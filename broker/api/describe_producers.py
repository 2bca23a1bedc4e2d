"""DescribeProducers (61), version 0: what a partition's leader knows of its producers (KIP-664)."""

from broker.api.create_topics import is_valid_topic_name
from broker.api.node import Node
from broker.api.registry import Api, Reply, RequestContext
from broker.protocol.api_keys import ApiKey
from broker.protocol.errors import ErrorCode
from broker.protocol.struct import Struct

_MESSAGES = {
    ErrorCode.not_leader_or_follower: "this broker does not lead the partition",
    ErrorCode.unknown_topic_or_partition: "there is no such partition",
    ErrorCode.invalid_topic_exception: "this is no name of a topic",
    ErrorCode.kafka_storage_error: "the partition's log cannot be used",
}


async def handle(node: Node, context: RequestContext, request: Struct) -> Reply:
    """One answer per partition asked."""
    del context
    return Struct(
        topics=[
            Struct(
                name=topic.name,
                partitions=[_answer(node, topic.name, index) for index in topic.partition_indexes],
            )
            for topic in request.topics
        ]
    )


def _answer(node: Node, topic: str, index: int) -> Struct:
    code, producers = node.partitions.producers(topic, index)
    if not is_valid_topic_name(topic):
        code = ErrorCode.invalid_topic_exception
    return Struct(
        partition_index=index,
        error_code=code,
        error_message=_MESSAGES.get(code),
        active_producers=[
            Struct(
                producer_id=each.producer_id,
                producer_epoch=each.epoch,
                last_sequence=each.last_sequence,
                last_timestamp=each.last_timestamp_ms,
                coordinator_epoch=each.coordinator_epoch,
                current_txn_start_offset=each.txn_first_offset,
            )
            for each in producers
        ],
    )


API = Api(key=ApiKey.DESCRIBE_PRODUCERS, min_version=0, max_version=0, handler=handle)
