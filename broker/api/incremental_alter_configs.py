"""IncrementalAlterConfigs (44), versions 0-1: change single settings (KIP-339).

Set, delete, append and subtract. Decided by the active controller, all or nothing per resource.
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
        responses=[
            Struct(
                error_code=code,
                error_message=message,
                resource_type=resource.resource_type,
                resource_name=resource.resource_name,
            )
            for resource in request.resources
        ]
    )


API = Api(
    key=ApiKey.INCREMENTAL_ALTER_CONFIGS,
    min_version=0,
    max_version=1,
    handler=handle,
    listeners=BOTH,
)
