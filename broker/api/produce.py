"""Produce (0), versions 3-13: append record batches to the partitions led here.

Announced from 0 because librdkafka before 2.11.1 gives up compression otherwise (KAFKA-18659);
below 3 is refused. v7 zstd; v8 error messages; v9 flexible; v10 leader hints (KIP-951); v11, v12
transactions only; v13 topic ids. acks=0 has no response: when it fails the connection is closed,
which is the only sign that such a client understands. Transactions are not served.
"""

from collections.abc import Iterator
from uuid import UUID

from broker.api.node import INTERNAL_TOPICS, Node
from broker.api.registry import Api, Reply, RequestContext
from broker.connection import CloseConnection
from broker.protocol.api_keys import ApiKey
from broker.protocol.batch import HEADER_BYTES, Compression
from broker.protocol.errors import ErrorCode
from broker.protocol.hot import ProducedPartition, decode_produce_request, encode_produce_response
from broker.protocol.struct import ZERO_UUID, Struct
from broker.runtime.replica_requests import ProduceEntry, ProduceResult

ZSTD_SINCE = 7
HINTS_SINCE = 10
TOPIC_IDS_SINCE = 13
# The low byte of a batch's attributes, and the bits there that name its compression.
CODEC_AT, CODEC_BITS = 22, 0x07
_MOVED = frozenset({ErrorCode.not_leader_or_follower, ErrorCode.fenced_leader_epoch})

_Topic = tuple[str, UUID, list[ProducedPartition]]


async def handle(node: Node, context: RequestContext, request: Struct) -> Reply:
    """Append, wait as `acks` says, answer per partition."""
    # One place per partition in the request's order; None until the replica manager fills it.
    results: list[ProduceResult | None] = []
    entries: list[ProduceEntry] = []
    names: list[str] = []
    for topic in request.topic_data:
        name, code = _resolve(node, context, request, topic)
        names.append(name)
        for partition in topic.partition_data:
            refused = ProduceResult(code) if code else _refusal(node, context, name, partition)
            results.append(refused)
            if refused is None:
                entries.append(ProduceEntry(name, partition.index, partition.records))
    if entries:
        done = iter(await node.partitions.produce(entries, request.acks, request.timeout_ms))
        results = [next(done) if each is None else each for each in results]
    topics = list(_rows(context, request, names, results))
    if request.acks == 0:
        _close_on_error(topics)
        return None
    return _response(node, context, topics)


def _resolve(
    node: Node, context: RequestContext, request: Struct, topic: Struct
) -> tuple[str, ErrorCode]:
    if request.acks not in (-1, 0, 1):
        return topic.name, ErrorCode.invalid_required_acks
    if request.transactional_id is not None:
        return topic.name, ErrorCode.invalid_txn_state
    if context.api_version >= TOPIC_IDS_SINCE:
        name = node.image.topic_names.get(topic.topic_id)
        if name is None:
            return "", ErrorCode.unknown_topic_id
    else:
        name = topic.name
    if name in INTERNAL_TOPICS:
        return name, ErrorCode.invalid_topic_exception
    return name, ErrorCode.none


def _refusal(
    node: Node, context: RequestContext, name: str, partition: Struct
) -> ProduceResult | None:
    if node.image.partition(name, partition.index) is None:
        return ProduceResult(ErrorCode.unknown_topic_or_partition)
    if not partition.records:
        return ProduceResult(ErrorCode.invalid_record, message="there are no records")
    if context.api_version < ZSTD_SINCE and _is_zstd(partition.records):
        code = ErrorCode.unsupported_compression_type
        return ProduceResult(code, message=f"zstd needs Produce {ZSTD_SINCE} (KIP-110)")
    return None


def _is_zstd(batch: memoryview) -> bool:
    return len(batch) >= HEADER_BYTES and batch[CODEC_AT] & CODEC_BITS == Compression.ZSTD


def _rows(
    context: RequestContext,
    request: Struct,
    names: list[str],
    results: list[ProduceResult | None],
) -> Iterator[_Topic]:
    by_id = context.api_version >= TOPIC_IDS_SINCE
    place = 0
    for topic, name in zip(request.topic_data, names, strict=True):
        answers = []
        for partition in topic.partition_data:
            result = results[place]
            place += 1
            assert result is not None
            answers.append(ProducedPartition(partition.index, *result))
        yield name, topic.topic_id if by_id else ZERO_UUID, answers


def _close_on_error(topics: list[_Topic]) -> None:
    for name, topic_id, answers in topics:
        for answer in answers:
            if answer.error_code:
                code = ErrorCode(answer.error_code).name
                where = f"{name or topic_id}-{answer.partition}"
                raise CloseConnection(f"acks=0 produce to {where} failed: {code}")


def _response(node: Node, context: RequestContext, topics: list[_Topic]) -> Reply:
    leaders: set[int] = set()
    if context.api_version >= HINTS_SINCE:
        for name, _, answers in topics:
            for place, answer in enumerate(answers):
                if answer.error_code not in _MOVED:
                    continue
                hint = node.partitions.leader_and_epoch(name, answer.partition)
                answers[place] = answer._replace(current_leader=hint)
                leaders.add(hint.leader_id)
    return encode_produce_response(
        context.api_version,
        context.correlation_id,
        topics,
        node_endpoints=node.node_endpoints(leaders, context.listener) if leaders else (),
    )


API = Api(
    key=ApiKey.PRODUCE,
    min_version=3,
    max_version=13,
    handler=handle,
    advertised_min=0,
    decode=decode_produce_request,
)
