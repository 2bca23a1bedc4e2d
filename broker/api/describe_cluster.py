"""DescribeCluster (60), versions 0-2: cluster id, controller and the nodes behind this listener.

v1 endpoint type (KIP-919): a broker listener describes brokers, a controller listener describes
controllers, and asking for the other kind is MISMATCHED_ENDPOINT_TYPE; v2 fenced brokers too
(KIP-1073).
"""

from broker.api.forwarded import BOTH
from broker.api.node import CLUSTER_OPERATIONS, NO_OPERATIONS, Node
from broker.api.registry import CONTROLLER, Api, Reply, RequestContext
from broker.protocol.api_keys import ApiKey
from broker.protocol.errors import ErrorCode
from broker.protocol.struct import Struct

BROKERS, CONTROLLERS = 1, 2


async def handle(node: Node, context: RequestContext, request: Struct) -> Reply:
    """The nodes of the kind that this listener serves."""
    served = CONTROLLERS if context.role == CONTROLLER else BROKERS
    asked = request.endpoint_type if context.api_version >= 1 else served
    if asked != served:
        known = asked in (BROKERS, CONTROLLERS)
        return Struct(
            error_code=(
                ErrorCode.mismatched_endpoint_type if known else ErrorCode.unsupported_endpoint_type
            ),
            error_message=(
                f"this listener describes {'controllers' if served == CONTROLLERS else 'brokers'}"
            ),
            endpoint_type=BROKERS,
            cluster_id="",
            controller_id=-1,
            brokers=[],
        )
    allowed = request.include_cluster_authorized_operations
    return Struct(
        error_code=ErrorCode.none,
        endpoint_type=served,
        cluster_id=node.config.cluster_id,
        controller_id=(
            node.quorum.leader.leader_id
            if served == CONTROLLERS
            else node.any_live_broker(context.listener)
        ),
        brokers=(
            _controllers(node)
            if served == CONTROLLERS
            else _brokers(node, context, bool(request.include_fenced_brokers))
        ),
        cluster_authorized_operations=CLUSTER_OPERATIONS if allowed else NO_OPERATIONS,
    )


def _controllers(node: Node) -> list[Struct]:
    return [
        Struct(broker_id=node_id, host=host, port=port, rack=None, is_fenced=False)
        for node_id, (host, port) in sorted(node.config.voters.items())
    ]


def _brokers(node: Node, context: RequestContext, include_fenced: bool) -> list[Struct]:
    found = []
    for broker_id, broker in sorted(node.image.brokers.items()):
        endpoint = broker.endpoint(context.listener)
        if endpoint is None or (broker.fenced and not include_fenced):
            continue
        found.append(
            Struct(
                broker_id=broker_id,
                host=endpoint.host,
                port=endpoint.port,
                rack=broker.rack,
                is_fenced=broker.fenced,
            )
        )
    return found


API = Api(key=ApiKey.DESCRIBE_CLUSTER, min_version=0, max_version=2, handler=handle, listeners=BOTH)
