"""DeleteRecords (21), versions 0-2: raise the log start of partitions led here, on every replica.

v2 flexible. Offset -1 means the high watermark. Answers when the lowest log start of the live
replicas has reached the offset, or with REQUEST_TIMED_OUT; then the new start stands all the same.
"""

from broker.api.node import INTERNAL_TOPICS, Node
from broker.api.registry import Api, Reply, RequestContext
from broker.protocol.api_keys import ApiKey
from broker.protocol.errors import ErrorCode
from broker.protocol.struct import Struct


async def handle(node: Node, context: RequestContext, request: Struct) -> Reply:
    """One answer per topic and partition; of a partition named twice the last offset counts."""
    del context
    offsets = {
        (topic.name, each.partition_index): each.offset
        for topic in request.topics
        for each in topic.partitions
    }
    deletable = {key: offset for key, offset in offsets.items() if key[0] not in INTERNAL_TOPICS}
    results = await node.partitions.delete_records(deletable, request.timeout_ms)
    answers: dict[str, list[Struct]] = {}
    for topic, index in offsets:
        refused = (ErrorCode.invalid_topic_exception, -1)
        code, low_watermark = results.get((topic, index), refused)
        answers.setdefault(topic, []).append(
            Struct(partition_index=index, low_watermark=low_watermark, error_code=code)
        )
    return Struct(topics=[Struct(name=name, partitions=found) for name, found in answers.items()])


API = Api(key=ApiKey.DELETE_RECORDS, min_version=0, max_version=2, handler=handle)
