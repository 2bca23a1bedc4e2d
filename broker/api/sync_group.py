"""SyncGroup (14), versions 0-5: the leader brings the assignments, every member takes its own.

v3 static members; v4 flexible; v5 protocol type and name, which are then mandatory (KIP-559).
"""

import asyncio

from broker.api.node import Node
from broker.api.registry import Api, Reply, RequestContext
from broker.groups import sync_refused
from broker.protocol.api_keys import ApiKey
from broker.protocol.errors import ErrorCode
from broker.protocol.struct import Struct

PROTOCOL_SINCE = 5


async def handle(node: Node, context: RequestContext, request: Struct) -> Reply:
    """The answer comes once the assignment of the generation is stored."""
    if context.api_version >= PROTOCOL_SINCE and (
        request.protocol_type is None or request.protocol_name is None
    ):
        return sync_refused(ErrorCode.inconsistent_group_protocol)
    shard = node.coordinators.find(request.group_id)
    if isinstance(shard, ErrorCode):
        return sync_refused(shard)
    ticket: asyncio.Future[Struct] = asyncio.get_running_loop().create_future()
    shard.perform(shard.core.sync(request, ticket, shard.now()))
    return await ticket


API = Api(key=ApiKey.SYNC_GROUP, min_version=0, max_version=5, handler=handle)
