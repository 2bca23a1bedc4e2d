"""DeleteTopics (20), versions 1-6: decided by the active controller.

v4 flexible; v5 error messages; v6 by topic id. Names of older versions are turned into v6's list.
When it succeeded, this broker answers only once it has forgotten the topics itself.
"""

from broker.api.forwarded import BOTH, decide
from broker.api.node import READ_YOUR_WRITES_MS, Node
from broker.api.registry import BROKER, Api, Reply, RequestContext
from broker.protocol.api_keys import ApiKey
from broker.protocol.errors import ErrorCode
from broker.protocol.struct import ZERO_UUID, Struct


async def handle(node: Node, context: RequestContext, request: Struct) -> Reply:
    """Forward, then wait for the topics to be gone here."""
    if context.api_version < 6:
        request = Struct(
            topics=[Struct(name=name, topic_id=ZERO_UUID) for name in request.topic_names],
            timeout_ms=request.timeout_ms,
        )
    response = await decide(node, context, request, _failure)
    gone = [each.topic_id for each in response.responses if each.error_code == ErrorCode.none]
    if gone and context.role == BROKER:
        await node.publisher.wait_until(
            lambda image: all(topic_id not in image.topic_names for topic_id in gone),
            READ_YOUR_WRITES_MS,
        )
    return response


def _failure(request: Struct, code: ErrorCode, message: str) -> Struct:
    return Struct(
        responses=[
            Struct(name=topic.name, topic_id=topic.topic_id, error_code=code, error_message=message)
            for topic in request.topics
        ]
    )


API = Api(key=ApiKey.DELETE_TOPICS, min_version=1, max_version=6, handler=handle, listeners=BOTH)
