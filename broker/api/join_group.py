"""JoinGroup (11), versions 0-9: become a member, or a member again, and wait for the generation.

v1 rebalance timeout; v4 two steps to a member id (KIP-394); v5 static members (KIP-345); v6
flexible; v7 protocol type; v8 reason (KIP-800); v9 the leader may skip the assignment (KIP-814).
"""

import asyncio

from broker.api.node import Node
from broker.api.registry import Api, Reply, RequestContext
from broker.groups import Caller, join_refused
from broker.protocol.api_keys import ApiKey
from broker.protocol.errors import ErrorCode
from broker.protocol.struct import Struct
from broker.runtime.groups import client_host

NULLABLE_PROTOCOL_SINCE = 7


async def handle(node: Node, context: RequestContext, request: Struct) -> Reply:
    """The answer comes when the rebalance is through."""
    shard = node.coordinators.find(request.group_id)
    if isinstance(shard, ErrorCode):
        return _fitting(context, join_refused(shard, request.member_id))
    if context.api_version == 0:
        request.rebalance_timeout_ms = request.session_timeout_ms
    caller = Caller(context.client_id or "", client_host(context.peer), context.api_version)
    ticket: asyncio.Future[Struct] = asyncio.get_running_loop().create_future()
    shard.perform(shard.core.join(request, caller, ticket, shard.now()))
    return _fitting(context, await ticket)


def _fitting(context: RequestContext, response: Struct) -> Struct:
    if context.api_version < NULLABLE_PROTOCOL_SINCE and response.protocol_name is None:
        response.protocol_name = ""
    return response


API = Api(key=ApiKey.JOIN_GROUP, min_version=0, max_version=9, handler=handle)
