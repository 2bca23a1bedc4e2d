"""AlterPartitionReassignments (45), versions 0-1: move replicas, or stop moving them (KIP-455).

v1 refuses, on request, a move that changes the replication factor. Decided by the active
controller, which ends a move by itself once every new replica is in sync.
"""

from broker.api.forwarded import BOTH, decide
from broker.api.node import Node
from broker.api.registry import Api, Reply, RequestContext
from broker.protocol.api_keys import ApiKey
from broker.protocol.errors import ErrorCode
from broker.protocol.struct import Struct


async def handle(node: Node, context: RequestContext, request: Struct) -> Reply:
    """Forward."""
    return await decide(node, context, request, _failure)


def _failure(request: Struct, code: ErrorCode, message: str) -> Struct:
    del request
    return Struct(error_code=code, error_message=message, responses=[])


API = Api(
    key=ApiKey.ALTER_PARTITION_REASSIGNMENTS,
    min_version=0,
    max_version=1,
    handler=handle,
    listeners=BOTH,
)
