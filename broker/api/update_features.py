"""UpdateFeatures (57), versions 0-2: bring a feature to another level (KIP-584).

v1 upgrade types instead of a flag, and validate_only; v2 no results per feature. Decided by the
active controller, which knows one level of metadata.version and no other feature.
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
    del request
    return Struct(error_code=code, error_message=message, results=[])


API = Api(key=ApiKey.UPDATE_FEATURES, min_version=0, max_version=2, handler=handle, listeners=BOTH)
