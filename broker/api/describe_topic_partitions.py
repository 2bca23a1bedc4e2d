"""DescribeTopicPartitions (75), version 0: partitions page by page, with eligible leader replicas.

An empty list of topics means all. At most max.request.partition.size.limit partitions are
answered at once; a cursor says where to go on (KIP-966).
"""

from broker.api.create_topics import is_valid_topic_name
from broker.api.node import INTERNAL_TOPICS, TOPIC_OPERATIONS, Node
from broker.api.registry import Api, Reply, RequestContext
from broker.protocol.api_keys import ApiKey
from broker.protocol.errors import ErrorCode
from broker.protocol.image import PartitionState, TopicImage
from broker.protocol.struct import ZERO_UUID, Struct


async def handle(node: Node, context: RequestContext, request: Struct) -> Reply:
    """One page, topics in name order."""
    del context
    cursor = request.cursor
    start_name, start_index = "", 0
    if cursor is not None:
        start_name, start_index = cursor.topic_name, cursor.partition_index
    names = sorted({topic.name for topic in request.topics} or node.image.topics)
    foreign = cursor is not None and bool(request.topics) and start_name not in names
    if start_index < 0 or foreign:
        return _refused(names)
    limit = node.config.settings.integer("max.request.partition.size.limit")
    room = max(min(request.response_partition_limit, limit), 1)
    topics: list[Struct] = []
    next_cursor: Struct | None = None
    for name in (each for each in names if each >= start_name):
        topic = node.image.topics.get(name)
        if topic is None:
            if request.topics:
                topics.append(_unknown(name))
            continue
        first = start_index if name == start_name else 0
        if room == 0:
            next_cursor = Struct(topic_name=name, partition_index=first)
            break
        taken = topic.partitions[first : first + room]
        room -= len(taken)
        topics.append(_topic(node, topic, first, taken))
        if first + len(taken) < len(topic.partitions):
            next_cursor = Struct(topic_name=name, partition_index=first + len(taken))
            break
    return Struct(topics=topics, next_cursor=next_cursor)


def _refused(names: list[str]) -> Struct:
    return Struct(
        topics=[
            Struct(
                error_code=ErrorCode.invalid_request, name=name, topic_id=ZERO_UUID, partitions=[]
            )
            for name in names
        ],
        next_cursor=None,
    )


def _unknown(name: str) -> Struct:
    valid = is_valid_topic_name(name)
    return Struct(
        error_code=(
            ErrorCode.unknown_topic_or_partition if valid else ErrorCode.invalid_topic_exception
        ),
        name=name,
        topic_id=ZERO_UUID,
        is_internal=name in INTERNAL_TOPICS,
        partitions=[],
        topic_authorized_operations=TOPIC_OPERATIONS,
    )


def _topic(
    node: Node, topic: TopicImage, first: int, partitions: tuple[PartitionState, ...]
) -> Struct:
    return Struct(
        error_code=ErrorCode.none,
        name=topic.name,
        topic_id=topic.id,
        is_internal=topic.name in INTERNAL_TOPICS,
        partitions=[
            _partition(node, first + place, state) for place, state in enumerate(partitions)
        ],
        topic_authorized_operations=TOPIC_OPERATIONS,
    )


def _partition(node: Node, index: int, state: PartitionState) -> Struct:
    led = state.leader >= 0 and node.unfenced(state.leader)
    return Struct(
        error_code=ErrorCode.none,  # without a leader, too: what is known is the answer
        partition_index=index,
        leader_id=state.leader if led else -1,
        leader_epoch=state.leader_epoch,
        replica_nodes=list(state.replicas),
        isr_nodes=list(state.isr),
        eligible_leader_replicas=list(state.elr),
        last_known_elr=list(state.last_known_elr),
        offline_replicas=[each for each in state.replicas if not node.unfenced(each)],
    )


API = Api(key=ApiKey.DESCRIBE_TOPIC_PARTITIONS, min_version=0, max_version=0, handler=handle)
