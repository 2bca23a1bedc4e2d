"""ListOffsets (2), versions 1-11: an offset by timestamp, or the earliest or latest one.

v2 isolation level; v4 leader epoch; v5 OFFSET_NOT_AVAILABLE after an election, LEADER_NOT_AVAILABLE
before (KIP-207); v7 -3 max timestamp (KIP-734); v8 -4 earliest local; v9 -5
latest tiered; v10 timeout; v11 -6 earliest pending upload. Without tiered storage -4 is the
earliest offset, and -5 and -6 are found nowhere.
"""

from collections import Counter
from collections.abc import Iterable

from broker.api.node import Node
from broker.api.registry import Api, Reply, RequestContext
from broker.protocol.api_keys import ApiKey
from broker.protocol.errors import ErrorCode
from broker.protocol.struct import Struct

# The first version in which a client may ask for each of the special timestamps.
_OFFSET_NOT_AVAILABLE_SINCE = 5
_SPECIAL_SINCE = {-1: 1, -2: 1, -3: 7, -4: 8, -5: 9, -6: 11}


async def handle(node: Node, context: RequestContext, request: Struct) -> Reply:
    """One answer per partition asked; a partition asked twice is refused."""
    counts = Counter(
        (topic.name, each.partition_index) for topic in request.topics for each in topic.partitions
    )
    return Struct(
        topics=[
            Struct(
                name=topic.name,
                partitions=[
                    _refused(each, ErrorCode.invalid_request)
                    if counts[topic.name, each.partition_index] > 1
                    else _answer(node, context, request, topic.name, each)
                    for each in _once(topic.partitions)
                ],
            )
            for topic in request.topics
        ]
    )


def _once(partitions: list[Struct]) -> Iterable[Struct]:
    return {each.partition_index: each for each in partitions}.values()


def _refused(asked: Struct, code: ErrorCode) -> Struct:
    return Struct(partition_index=asked.partition_index, error_code=code)


def _answer(
    node: Node, context: RequestContext, request: Struct, topic: str, asked: Struct
) -> Struct:
    timestamp = asked.timestamp
    if timestamp < 0 and context.api_version < _SPECIAL_SINCE.get(timestamp, 1 << 15):
        return _refused(asked, ErrorCode.unsupported_version)
    found = node.partitions.list_offset(
        topic,
        asked.partition_index,
        timestamp,
        isolation=request.isolation_level,
        leader_epoch=asked.current_leader_epoch,
        replica_id=request.replica_id,
    )
    error = found.error
    if (
        error == ErrorCode.offset_not_available
        and context.api_version < _OFFSET_NOT_AVAILABLE_SINCE
    ):
        # Older clients know no such code (KIP-207) and would give up.
        error = ErrorCode.leader_not_available
    return Struct(
        partition_index=asked.partition_index,
        error_code=error,
        timestamp=found.timestamp_ms,
        offset=found.offset,
        leader_epoch=found.leader_epoch,
    )


API = Api(key=ApiKey.LIST_OFFSETS, min_version=1, max_version=11, handler=handle)
