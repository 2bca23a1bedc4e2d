"""CreatePartitions (37), versions 0-3.

Decided by the active controller; one row per topic asked.
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
    return Struct(
        results=[
            Struct(name=topic.name, error_code=code, error_message=message)
            for topic in request.topics
        ]
    )


API = Api(
    key=ApiKey.CREATE_PARTITIONS, min_version=0, max_version=3, handler=handle, listeners=BOTH
)
