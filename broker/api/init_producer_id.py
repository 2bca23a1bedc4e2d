"""InitProducerId (22), versions 0-5: a fresh id for an idempotent producer.

v2 flexible; v3 a producer may show its old id, which a producer without transactions replaces all
the same (KIP-360); v4 PRODUCER_FENCED; v5 TRANSACTION_ABORTABLE. Transactions are not served: a
transactional id finds no coordinator here.
"""

from broker.api.node import Node
from broker.api.registry import Api, Reply, RequestContext
from broker.protocol.api_keys import ApiKey
from broker.protocol.errors import ErrorCode, ServerError, WireError
from broker.protocol.struct import Struct

TIMEOUT_MS = 5_000


async def handle(node: Node, context: RequestContext, request: Struct) -> Reply:
    """An id from this broker's block, epoch 0."""
    del context
    if request.transactional_id is not None:
        empty = request.transactional_id == ""
        code = ErrorCode.invalid_request if empty else ErrorCode.not_coordinator
        return Struct(error_code=code, producer_id=-1, producer_epoch=-1)
    if (request.producer_id == -1) != (request.producer_epoch == -1):
        # An id and its epoch come together or not at all.
        return Struct(error_code=ErrorCode.invalid_request, producer_id=-1, producer_epoch=-1)
    assert node.producer_ids is not None
    try:
        producer_id = await node.producer_ids.take(TIMEOUT_MS)
    except ServerError as error:
        return Struct(error_code=error.code, producer_id=-1, producer_epoch=-1)
    except WireError:
        # Retriable, and what a client sees while coordinators load.
        code = ErrorCode.coordinator_load_in_progress
        return Struct(error_code=code, producer_id=-1, producer_epoch=-1)
    return Struct(error_code=ErrorCode.none, producer_id=producer_id, producer_epoch=0)


API = Api(key=ApiKey.INIT_PRODUCER_ID, min_version=0, max_version=5, handler=handle)
