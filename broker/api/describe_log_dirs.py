"""DescribeLogDirs (35), versions 1-5: the data folder, its free space and the size of each log.

A folder without room for records is offline (KAFKA_STORAGE_ERROR), and still says what is in it:
whoever makes room wants to know. v3 top-level error; v4 sizes of the volume (KIP-827). Null topics
mean all. The lag of a log is how far its end is below the partition's high watermark, so a healthy
log has none.
"""

from collections.abc import Iterable

from broker.api.node import Node
from broker.api.registry import Api, Reply, RequestContext
from broker.protocol.api_keys import ApiKey
from broker.protocol.errors import ErrorCode
from broker.protocol.struct import Struct
from broker.replication.partition import Partition


async def handle(node: Node, context: RequestContext, request: Struct) -> Reply:
    """One result: one data folder is served."""
    del context
    found: dict[str, list[Struct]] = {}
    for partition in _wanted(node, request):
        lag = max(partition.high_watermark - partition.log.end_offset, 0)
        found.setdefault(partition.topic, []).append(
            Struct(
                partition_index=partition.index,
                partition_size=_size_bytes(node, partition),
                offset_lag=lag,
                is_future_key=False,
            )
        )
    short = node.replicas is not None and node.replicas.space.short
    free_bytes = node.disk.free_bytes(node.config.data_dir)
    return Struct(
        error_code=ErrorCode.none,
        results=[
            Struct(
                error_code=ErrorCode.kafka_storage_error if short else ErrorCode.none,
                log_dir=node.config.data_dir,
                topics=[Struct(name=name, partitions=found[name]) for name in sorted(found)],
                total_bytes=node.disk.total_bytes(node.config.data_dir),
                usable_bytes=free_bytes,
            )
        ],
    )


def _size_bytes(node: Node, partition: Partition) -> int:
    log = node.logs.get(partition.topic, partition.index)
    return 0 if log is None else log.size_bytes


def _wanted(node: Node, request: Struct) -> Iterable[Partition]:
    if request.topics is None:
        keys = [
            (topic.name, index)
            for topic, index, state in node.image.iter_partitions()
            if node.config.node_id in state.replicas
        ]
    else:
        keys = [(topic.topic, index) for topic in request.topics for index in topic.partitions]
    for name, index in keys:
        partition = node.partitions.partition(name, index)
        if partition is not None:
            yield partition


API = Api(key=ApiKey.DESCRIBE_LOG_DIRS, min_version=1, max_version=5, handler=handle)
