"""Heartbeat (12), versions 0-4: a member lives, and hears whether it has to join again.

v3 static members; v4 flexible. While a coordinator loads, every heartbeat is answered without an
error: the members' sessions begin anew afterwards.
"""

from broker.api.node import Node
from broker.api.registry import Api, Reply, RequestContext
from broker.protocol.api_keys import ApiKey
from broker.protocol.errors import ErrorCode
from broker.protocol.struct import Struct


async def handle(node: Node, context: RequestContext, request: Struct) -> Reply:
    """Answered at once; nothing is written."""
    del context
    shard = node.coordinators.find(request.group_id)
    if isinstance(shard, ErrorCode):
        loading = shard is ErrorCode.coordinator_load_in_progress
        return Struct(error_code=ErrorCode.none if loading else shard)
    return Struct(error_code=shard.core.heartbeat(request, shard.now()))


API = Api(key=ApiKey.HEARTBEAT, min_version=0, max_version=4, handler=handle)
