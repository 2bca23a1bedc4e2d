"""FindCoordinator (10), versions 0-6: the broker that keeps a consumer group.

v1 key type; v3 flexible; v4 many keys (KIP-699); v5 TRANSACTION_ABORTABLE; v6 share groups. The
coordinator of a group is the leader of its partition of __consumer_offsets, which is created when
somebody first asks. Transactions are not served: whoever asks for their coordinator is told so by
an error that its client takes for final (docs/decisions/0007).
"""

from broker.api.node import Node
from broker.api.registry import Api, Reply, RequestContext
from broker.protocol.api_keys import ApiKey
from broker.protocol.errors import ErrorCode
from broker.protocol.struct import Struct
from broker.runtime.groups import OFFSETS_TOPIC

GROUP, TRANSACTION = 0, 1
MANY_KEYS_SINCE = 4
NO_NODE = (-1, "", -1)
NO_TRANSACTIONS = (
    "logd has no transactions: leave out transactional.id (exactly_once in Kafka Streams); "
    "enable.idempotence is served"
)
_MESSAGES = {
    ErrorCode.unsupported_version: NO_TRANSACTIONS,
    ErrorCode.transactional_id_authorization_failed: NO_TRANSACTIONS,
    ErrorCode.none: "NONE",
    ErrorCode.coordinator_not_available: "The coordinator is not available.",
    ErrorCode.invalid_request: (
        "This most likely occurs because of a request being malformed by the client library or "
        "the message was sent to an incompatible broker. See the broker logs for more details."
    ),
}


async def handle(node: Node, context: RequestContext, request: Struct) -> Reply:
    """One answer per key; before version 4 there is one key."""
    if request.key_type == GROUP:
        await node.offsets_topic.ensure(node)
    if context.api_version >= MANY_KEYS_SINCE:
        return Struct(
            coordinators=[
                Struct(key=key, **_answer(node, context, request.key_type, key))
                for key in request.coordinator_keys
            ]
        )
    return Struct(**_answer(node, context, request.key_type, request.key))


def _answer(node: Node, context: RequestContext, key_type: int, key: str) -> dict[str, object]:
    code, (node_id, host, port) = _find(node, context, key_type, key)
    message = _MESSAGES[code]
    if code is ErrorCode.none and context.api_version >= MANY_KEYS_SINCE:
        message = ""
    return {
        "error_code": code,
        "error_message": message,
        "node_id": node_id,
        "host": host,
        "port": port,
    }


def _find(
    node: Node, context: RequestContext, key_type: int, key: str
) -> tuple[ErrorCode, tuple[int, str, int]]:
    if key_type == TRANSACTION:
        return _no_transactions(context.api_version), NO_NODE
    if key_type != GROUP:
        return ErrorCode.invalid_request, NO_NODE
    state = node.image.partition(OFFSETS_TOPIC, node.coordinators.partition_of(key))
    endpoint = None if state is None else node.endpoint(state.leader, context.listener)
    if state is None or endpoint is None:
        return ErrorCode.coordinator_not_available, NO_NODE
    return ErrorCode.none, (state.leader, *endpoint)


def _no_transactions(api_version: int) -> ErrorCode:
    """The error that ends `init_transactions` at once.

    librdkafka asks again, until its time limit, after anything but a refused authorization; it
    shows our words then, and it never asks by more than version 2.
    """
    if api_version >= MANY_KEYS_SINCE:
        return ErrorCode.unsupported_version
    return ErrorCode.transactional_id_authorization_failed


API = Api(key=ApiKey.FIND_COORDINATOR, min_version=0, max_version=6, handler=handle)
