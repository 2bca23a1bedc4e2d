"""CreateTopics (19), versions 2-7: decided by the active controller.

v4 partitions and replication factor may be -1 for the defaults; v5 answers what was created; v7
topic id. When it succeeded, this broker answers only once it knows the topics itself, so that the
client's next request finds them.
"""

from broker.api.forwarded import BOTH, decide
from broker.api.node import READ_YOUR_WRITES_MS, Node
from broker.api.registry import BROKER, Api, Reply, RequestContext
from broker.metadata.names import topic_name_problem
from broker.protocol.api_keys import ApiKey
from broker.protocol.errors import ErrorCode
from broker.protocol.struct import Struct


def is_valid_topic_name(name: str) -> bool:
    """Kafka's rule: 1 to 249 letters, digits, dots, underscores and dashes; not "." or ".."."""
    return topic_name_problem(name) is None


async def handle(node: Node, context: RequestContext, request: Struct) -> Reply:
    """Forward, then wait for the topics to be known here."""
    response = await decide(node, context, request, _failure)
    created = [each.name for each in response.topics if each.error_code == ErrorCode.none]
    if created and context.role == BROKER and not request.validate_only:
        await node.publisher.wait_until(
            lambda image: all(name in image.topics for name in created), READ_YOUR_WRITES_MS
        )
    return response


def _failure(request: Struct, code: ErrorCode, message: str) -> Struct:
    return Struct(
        topics=[
            Struct(name=topic.name, error_code=code, error_message=message, configs=None)
            for topic in request.topics
        ]
    )


API = Api(key=ApiKey.CREATE_TOPICS, min_version=2, max_version=7, handler=handle, listeners=BOTH)
