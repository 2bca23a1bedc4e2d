"""CreatePartitions (37), versions 0-3.

Decided by the active controller; one row per topic asked.
"""

from broker.api.forwarded import BOTH, decide
from broker.api.node import READ_YOUR_WRITES_MS, Node
from broker.api.registry import BROKER, Api, Reply, RequestContext
from broker.protocol.api_keys import ApiKey
from broker.protocol.errors import ErrorCode
from broker.protocol.image import MetadataImage
from broker.protocol.struct import Struct


async def handle(node: Node, context: RequestContext, request: Struct) -> Reply:
    """Forward, then wait for the partitions to be known here."""
    response = await decide(node, context, request, _failure)
    done = {each.name for each in response.results if each.error_code == ErrorCode.none}
    grown = {topic.name: topic.count for topic in request.topics if topic.name in done}
    if grown and context.role == BROKER and not request.validate_only:
        await node.publisher.wait_until(lambda image: _has(image, grown), READ_YOUR_WRITES_MS)
    return response


def _has(image: MetadataImage, counts: dict[str, int]) -> bool:
    return all(
        name not in image.topics or len(image.topics[name].partitions) >= count
        for name, count in counts.items()
    )


def _failure(request: Struct, code: ErrorCode, message: str) -> Struct:
    return Struct(
        results=[
            Struct(name=topic.name, error_code=code, error_message=message)
            for topic in request.topics
        ]
    )


API = Api(
    key=ApiKey.CREATE_PARTITIONS, min_version=0, max_version=3, handler=handle, listeners=BOTH
)
