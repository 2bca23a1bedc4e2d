"""UnregisterBroker (64), version 0: forget a broker that will not come back; by the controller."""

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
    return Struct(error_code=code, error_message=message)


API = Api(
    key=ApiKey.UNREGISTER_BROKER, min_version=0, max_version=0, handler=handle, listeners=BOTH
)
