"""DescribeConfigs (32), versions 1-4: every setting with value, source, type and synonyms.

v1 sources and synonyms; v3 types and documentation (KIP-569). Topics (2) are answered by any
broker, a broker's own settings (4) only by that broker because only it knows its file; the empty
broker name means the cluster-wide defaults.
"""

from collections.abc import Collection

from broker.api.create_topics import is_valid_topic_name
from broker.api.node import Node
from broker.api.registry import Api, Reply, RequestContext
from broker.protocol.api_keys import ApiKey
from broker.protocol.errors import ErrorCode
from broker.protocol.image import RESOURCE_BROKER, RESOURCE_TOPIC
from broker.protocol.struct import Struct
from broker.settings.describe import (
    ConfigEntry,
    describe_broker,
    describe_broker_defaults,
    describe_topic,
)


async def handle(node: Node, context: RequestContext, request: Struct) -> Reply:
    """One result per resource asked."""
    del context
    return Struct(results=[_result(node, request, resource) for resource in request.resources])


def _result(node: Node, request: Struct, resource: Struct) -> Struct:
    code, message, entries = _entries(node, resource)
    return Struct(
        error_code=code,
        error_message=message,
        resource_type=resource.resource_type,
        resource_name=resource.resource_name,
        configs=[
            entry.to_struct(
                synonyms=bool(request.include_synonyms),
                documentation=bool(request.include_documentation),
            )
            for entry in entries
        ],
    )


def _entries(node: Node, resource: Struct) -> tuple[ErrorCode, str | None, list[ConfigEntry]]:
    name = resource.resource_name
    # Older clients send an empty list when they mean every setting.
    keys: Collection[str] | None = resource.configuration_keys or None
    config = node.config
    if resource.resource_type == RESOURCE_TOPIC:
        if not is_valid_topic_name(name):
            return ErrorCode.invalid_topic_exception, f"{name!r} is not a topic name", []
        if name not in node.image.topics:
            return ErrorCode.unknown_topic_or_partition, f"there is no topic {name!r}", []
        return (
            ErrorCode.none,
            None,
            describe_topic(node.image, config.static, name, node_id=config.node_id, names=keys),
        )
    if resource.resource_type == RESOURCE_BROKER:
        if name == "":
            return ErrorCode.none, None, describe_broker_defaults(node.image, names=keys)
        if name != str(config.node_id):
            message = f"this is broker {config.node_id}; ask broker {name!r} itself"
            return ErrorCode.invalid_request, message, []
        return (
            ErrorCode.none,
            None,
            describe_broker(node.image, config.static, config.node_id, names=keys),
        )
    return (
        ErrorCode.invalid_request,
        f"resource type {resource.resource_type} has no settings here; 2 is topic, 4 is broker",
        [],
    )


API = Api(key=ApiKey.DESCRIBE_CONFIGS, min_version=1, max_version=4, handler=handle)
