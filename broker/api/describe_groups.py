"""DescribeGroups (15), versions 0-6: state, protocol and members of the groups kept here.

v3 authorized operations (KIP-430); v4 instance ids; v5 flexible; v6 GROUP_ID_NOT_FOUND for a group
that does not exist (KIP-1043), which is Dead without an error before.
"""

from broker.api.node import GROUP_OPERATIONS, Node
from broker.api.registry import Api, Reply, RequestContext
from broker.protocol.api_keys import ApiKey
from broker.protocol.errors import ErrorCode
from broker.protocol.struct import Struct
from broker.runtime.group_shard import GroupShard


async def handle(node: Node, context: RequestContext, request: Struct) -> Reply:
    """One answer per group."""
    groups = []
    for group_id in request.groups:
        shard = node.coordinators.find(group_id)
        if isinstance(shard, GroupShard):
            group = shard.core.describe(group_id, context.api_version)
        else:
            group = _refused(group_id, shard)
        if request.include_authorized_operations and group.error_code == ErrorCode.none:
            group.authorized_operations = GROUP_OPERATIONS
        groups.append(group)
    return Struct(groups=groups)


def _refused(group_id: str, code: ErrorCode) -> Struct:
    return Struct(
        error_code=code,
        group_id=group_id,
        group_state="",
        protocol_type="",
        protocol_data="",
        members=[],
    )


API = Api(key=ApiKey.DESCRIBE_GROUPS, min_version=0, max_version=6, handler=handle)
