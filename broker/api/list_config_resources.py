"""ListConfigResources (74), versions 0-1: the names of what has settings (KIP-1142).

v0 client metrics subscriptions only, of which there are none; v1 by type, none meaning all:
topics, brokers, their loggers, and groups, none of which has settings of its own.
"""

from broker.api.node import Node
from broker.api.registry import Api, Reply, RequestContext
from broker.protocol.api_keys import ApiKey
from broker.protocol.errors import ErrorCode
from broker.protocol.image import RESOURCE_BROKER, RESOURCE_TOPIC
from broker.protocol.struct import Struct
from broker.runtime.loggers import RESOURCE_LOGGER

RESOURCE_CLIENT_METRICS, RESOURCE_GROUP = 16, 32
_TYPES = (
    RESOURCE_TOPIC,
    RESOURCE_BROKER,
    RESOURCE_LOGGER,
    RESOURCE_CLIENT_METRICS,
    RESOURCE_GROUP,
)


async def handle(node: Node, context: RequestContext, request: Struct) -> Reply:
    """Every resource of the types asked for."""
    asked = tuple(request.resource_types) or _TYPES
    if context.api_version == 0:
        asked = (RESOURCE_CLIENT_METRICS,)
    if not set(asked) <= set(_TYPES):
        return Struct(error_code=ErrorCode.unsupported_version, config_resources=[])
    brokers = [str(each) for each in node.live_brokers(context.listener)]
    names = {
        RESOURCE_TOPIC: sorted(node.image.topics),
        RESOURCE_BROKER: brokers,
        RESOURCE_LOGGER: brokers,
    }
    return Struct(
        error_code=ErrorCode.none,
        config_resources=[
            Struct(resource_name=name, resource_type=kind)
            for kind in _TYPES
            if kind in asked
            for name in names.get(kind, ())
        ],
    )


API = Api(key=ApiKey.LIST_CONFIG_RESOURCES, min_version=0, max_version=1, handler=handle)
