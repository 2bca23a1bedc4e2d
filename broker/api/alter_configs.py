"""AlterConfigs (33), versions 0-2: replace all settings of a resource; the way of older clients.

Decided by the active controller, all or nothing per resource.
"""

from broker.api.forwarded import BOTH, decide
from broker.api.node import Node
from broker.api.own_resources import alter_here_first
from broker.api.registry import CONTROLLER, Api, Reply, RequestContext
from broker.protocol.api_keys import ApiKey
from broker.protocol.errors import ErrorCode
from broker.protocol.struct import Struct


async def handle(node: Node, context: RequestContext, request: Struct) -> Reply:
    """Decide what is this broker's own, forward the rest."""

    async def forward(rest: Struct) -> Struct:
        return await decide(node, context, rest, _failure)

    if context.role == CONTROLLER:
        return await forward(request)
    return await alter_here_first(node, request, forward, incremental=False)


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


API = Api(key=ApiKey.ALTER_CONFIGS, min_version=0, max_version=2, handler=handle, listeners=BOTH)
