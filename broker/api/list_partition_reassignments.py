"""ListPartitionReassignments (46), version 0: the moves of replicas under way (KIP-455).

Null topics mean all; topics that do not exist are left out. Answered by the active controller.
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
    return Struct(error_code=code, error_message=message, topics=[])


API = Api(
    key=ApiKey.LIST_PARTITION_REASSIGNMENTS,
    min_version=0,
    max_version=0,
    handler=handle,
    listeners=BOTH,
)
