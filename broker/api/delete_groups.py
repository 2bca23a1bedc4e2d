"""DeleteGroups (42), versions 0-2: groups without members go, with everything they committed.

v2 flexible.
"""

import asyncio

from broker.api.node import Node
from broker.api.registry import Api, Reply, RequestContext
from broker.protocol.api_keys import ApiKey
from broker.protocol.errors import ErrorCode
from broker.protocol.struct import Struct


async def handle(node: Node, context: RequestContext, request: Struct) -> Reply:
    """One answer per group, once their deletion is stored."""
    del context
    wanted = list(dict.fromkeys(request.groups_names))
    found, codes = node.coordinators.by_shard(wanted)
    tickets = []
    for shard, group_ids in found.items():
        ticket: asyncio.Future[dict[str, ErrorCode]] = asyncio.get_running_loop().create_future()
        shard.perform(shard.core.delete_groups(group_ids, ticket))
        tickets.append(ticket)
    for answer in await asyncio.gather(*tickets):
        codes.update(answer)
    return Struct(results=[Struct(group_id=each, error_code=codes[each]) for each in wanted])


API = Api(key=ApiKey.DELETE_GROUPS, min_version=0, max_version=2, handler=handle)
