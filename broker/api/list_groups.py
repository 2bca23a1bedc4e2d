"""ListGroups (16), versions 0-5: every group that this broker coordinates.

v3 flexible; v4 a filter by state (KIP-518); v5 by type (KIP-848). Clients ask every broker.
"""

from broker.api.node import Node
from broker.api.registry import Api, Reply, RequestContext
from broker.protocol.api_keys import ApiKey
from broker.protocol.errors import ErrorCode
from broker.protocol.struct import Struct


async def handle(node: Node, context: RequestContext, request: Struct) -> Reply:
    """All of them, or an error: a list with holes would be taken for the whole."""
    del context
    groups: list[Struct] = []
    for shard in node.coordinators.shards():
        if not shard.loaded and not shard.closed:
            return Struct(error_code=ErrorCode.coordinator_load_in_progress, groups=[])
        if shard.loaded:
            groups += shard.core.list_groups(request.states_filter, request.types_filter)
    return Struct(error_code=ErrorCode.none, groups=groups)


API = Api(key=ApiKey.LIST_GROUPS, min_version=0, max_version=5, handler=handle)
