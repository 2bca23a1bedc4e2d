"""DescribeQuorum (55), versions 0-2: the metadata quorum's leader, voters and observers.

v1 fetch times (KIP-836); v2 directory ids, error messages and the voters' addresses (KIP-853).
Answered by the quorum's leader; asked on a broker listener it is forwarded there.
"""

from broker.api.forwarded import BOTH, decide
from broker.api.node import Node
from broker.api.registry import CONTROLLER, Api, Reply, RequestContext
from broker.protocol.api_keys import ApiKey
from broker.protocol.errors import ErrorCode
from broker.protocol.struct import Struct


async def handle(node: Node, context: RequestContext, request: Struct) -> Reply:
    """The quorum's answer."""
    if context.role == CONTROLLER:
        return await node.quorum.handle(context.api_key, context.api_version, request)
    return await decide(node, context, request, _failure)


def _failure(request: Struct, code: ErrorCode, message: str) -> Struct:
    del request
    return Struct(error_code=code, error_message=message, topics=[], nodes=[])


API = Api(key=ApiKey.DESCRIBE_QUORUM, min_version=0, max_version=2, handler=handle, listeners=BOTH)
