"""ElectLeaders (43), versions 0-2: preferred or unclean election (KIP-460).

v0 knows preferred election only; null topics mean every partition.
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
    del message
    return Struct(
        error_code=code,
        replica_election_results=[
            Struct(
                topic=topic.topic,
                partition_result=[
                    Struct(partition_id=index, error_code=code, error_message=None)
                    for index in topic.partitions
                ],
            )
            for topic in request.topic_partitions or ()
        ],
    )


API = Api(key=ApiKey.ELECT_LEADERS, min_version=0, max_version=2, handler=handle, listeners=BOTH)
