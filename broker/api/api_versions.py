"""ApiVersions (18), versions 0-4: what this listener speaks.

v0 keys only; v1 throttle time; v2 no change; v3 flexible, client name and version, features
(KIP-584); v4 features whose lowest version is 0. Unknown versions are answered in v0 by the
connection (KIP-511). Only metadata.version is announced: a transaction.version would switch Java
producers to a protocol that is not served.
"""

import re

from broker.api.forwarded import BOTH
from broker.api.node import METADATA_VERSION_MAX, METADATA_VERSION_MIN, Node
from broker.api.registry import Api, Reply, RequestContext
from broker.protocol.api_keys import ApiKey
from broker.protocol.errors import ErrorCode
from broker.protocol.image import METADATA_VERSION_FEATURE
from broker.protocol.struct import Struct

_SOFTWARE = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?")


async def handle(node: Node, context: RequestContext, request: Struct) -> Reply:
    """The version table of the listener that was asked."""
    if context.api_version >= 3 and not (
        _SOFTWARE.fullmatch(request.client_software_name)
        and _SOFTWARE.fullmatch(request.client_software_version)
    ):
        return Struct(error_code=ErrorCode.invalid_request, api_keys=[])
    image = node.image
    level = image.features.get(METADATA_VERSION_FEATURE)
    finalized = (
        []
        if level is None
        else [
            Struct(name=METADATA_VERSION_FEATURE, max_version_level=level, min_version_level=level)
        ]
    )
    return Struct(
        error_code=ErrorCode.none,
        api_keys=[
            Struct(api_key=key, min_version=low, max_version=high)
            for key, (low, high) in node.registry.versions(context.role).items()
        ],
        supported_features=[
            Struct(
                name=METADATA_VERSION_FEATURE,
                min_version=METADATA_VERSION_MIN,
                max_version=METADATA_VERSION_MAX,
            )
        ],
        finalized_features_epoch=image.offset if finalized else -1,
        finalized_features=finalized,
    )


API = Api(key=ApiKey.API_VERSIONS, min_version=0, max_version=4, handler=handle, listeners=BOTH)
