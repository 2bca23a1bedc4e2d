"""Produce (0), versions 3-13: append record batches to the partitions led here.

Announced from 0 because librdkafka before 2.11.1 gives up compression otherwise (KAFKA-18659);
below 3 is refused. v7 zstd; v8 error messages; v9 flexible; v10 leader hints (KIP-951); v11, v12
transactions only; v13 topic ids. acks=0 has no response: when it fails the connection is closed,
which is the only sign that such a client understands. Transactions are not served.
"""

from broker.api.node import INTERNAL_TOPICS, Node
from broker.api.registry import Api, Reply, RequestContext
from broker.connection import CloseConnection
from broker.protocol.api_keys import ApiKey
from broker.protocol.errors import ErrorCode
from broker.protocol.struct import Struct
from broker.runtime.replica_requests import ProduceEntry

HINTS_SINCE = 10
TOPIC_IDS_SINCE = 13
_MOVED = (ErrorCode.not_leader_or_follower, ErrorCode.fenced_leader_epoch)


async def handle(node: Node, context: RequestContext, request: Struct) -> Reply:
    """Append, wait as `acks` says, answer per partition."""
    rows: list[tuple[Struct, list[Struct]]] = []
    entries: list[ProduceEntry] = []
    places: list[Struct] = []
    for topic in request.topic_data:
        name, code = _resolve(node, context, topic)
        if code == ErrorCode.none:
            code = _request_error(request, name)
        answers = []
        for partition in topic.partition_data:
            answer = Struct(index=partition.index, error_code=code, base_offset=-1)
            answers.append(answer)
            if code != ErrorCode.none:
                continue
            if node.image.partition(name, partition.index) is None:
                answer.error_code = ErrorCode.unknown_topic_or_partition
            elif not partition.records:
                answer.error_code = ErrorCode.invalid_record
                answer.error_message = "no records"
            else:
                entries.append(ProduceEntry(name, partition.index, partition.records))
                places.append(answer)
        rows.append((topic, answers))
    if entries:
        results = await node.partitions.produce(entries, request.acks, request.timeout_ms)
        for answer, result in zip(places, results, strict=True):
            answer.error_code = result.error
            answer.base_offset = result.base_offset
            answer.log_append_time_ms = result.log_append_time_ms
            answer.log_start_offset = result.log_start_offset
            answer.error_message = result.message
    if request.acks == 0:
        _close_on_error(rows)
        return None
    return _response(node, context, rows)


def _resolve(node: Node, context: RequestContext, topic: Struct) -> tuple[str, ErrorCode]:
    if context.api_version < TOPIC_IDS_SINCE:
        return topic.name, ErrorCode.none
    name = node.image.topic_names.get(topic.topic_id)
    return ("", ErrorCode.unknown_topic_id) if name is None else (name, ErrorCode.none)


def _request_error(request: Struct, name: str) -> ErrorCode:
    if request.acks not in (-1, 0, 1):
        return ErrorCode.invalid_required_acks
    if request.transactional_id is not None:
        return ErrorCode.invalid_txn_state
    if name in INTERNAL_TOPICS:
        return ErrorCode.invalid_topic_exception
    return ErrorCode.none


def _close_on_error(rows: list[tuple[Struct, list[Struct]]]) -> None:
    for topic, answers in rows:
        for answer in answers:
            if answer.error_code != ErrorCode.none:
                raise CloseConnection(
                    f"acks=0 produce to {topic.get('name')}-{answer.index} failed: "
                    f"{ErrorCode(answer.error_code).name}"
                )


def _response(
    node: Node, context: RequestContext, rows: list[tuple[Struct, list[Struct]]]
) -> Struct:
    leaders: set[int] = set()
    if context.api_version >= HINTS_SINCE:
        for topic, answers in rows:
            for answer in answers:
                if answer.error_code in _MOVED:
                    name, _ = _resolve(node, context, topic)
                    state = node.image.partition(name, answer.index)
                    if state is not None:
                        answer.current_leader = Struct(
                            leader_id=state.leader, leader_epoch=state.leader_epoch
                        )
                        leaders.add(state.leader)
    return Struct(
        responses=[
            Struct(
                name=topic.get("name", ""),
                topic_id=topic.get("topic_id"),
                partition_responses=answers,
            )
            for topic, answers in rows
        ],
        node_endpoints=node.node_endpoints(leaders, context.listener) if leaders else [],
    )


API = Api(key=ApiKey.PRODUCE, min_version=3, max_version=13, handler=handle, advertised_min=0)
