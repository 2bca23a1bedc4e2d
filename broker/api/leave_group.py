"""LeaveGroup (13), versions 0-5: members go, and the rest of the group rebalances.

v3 many members, by their id or by their instance id alone (KIP-345); v4 flexible; v5 reason.
"""

import asyncio

from broker.api.node import Node
from broker.api.registry import Api, Reply, RequestContext
from broker.protocol.api_keys import ApiKey
from broker.protocol.errors import ErrorCode
from broker.protocol.struct import Struct

MANY_MEMBERS_SINCE = 3


async def handle(node: Node, context: RequestContext, request: Struct) -> Reply:
    """One answer per member; before version 3 there is one member."""
    single = context.api_version < MANY_MEMBERS_SINCE
    members = request.members
    if single:
        members = [Struct(member_id=request.member_id, group_instance_id=None)]
    shard = node.coordinators.find(request.group_id)
    if isinstance(shard, ErrorCode):
        return Struct(error_code=shard, members=[])
    ticket: asyncio.Future[tuple[ErrorCode, list[Struct]]] = (
        asyncio.get_running_loop().create_future()
    )
    shard.perform(shard.core.leave(request.group_id, members, ticket, shard.now()))
    code, answers = await ticket
    if single and answers:
        code = code or answers[0].error_code
    return Struct(error_code=code, members=answers)


API = Api(key=ApiKey.LEAVE_GROUP, min_version=0, max_version=5, handler=handle)
