"""DescribeConfigs (32), versions 1-4: every setting with value, source, type and synonyms.

v1 sources and synonyms; v3 types and documentation (KIP-569). Topics (2) are answered by any
broker, a broker's own settings (4) only by that broker because only it knows its file; the empty
broker name means the cluster-wide defaults. Loggers (8) are answered by their own broker, too.
"""

from collections.abc import Collection

from broker.api.node import Node
from broker.api.registry import Api, Reply, RequestContext
from broker.metadata.decision import Refused
from broker.metadata.names import topic_name_problem
from broker.protocol.api_keys import ApiKey
from broker.protocol.errors import ErrorCode
from broker.protocol.image import RESOURCE_BROKER, RESOURCE_TOPIC
from broker.protocol.struct import Struct
from broker.runtime.loggers import LOGGER_SOURCE, RESOURCE_LOGGER, logger_levels
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
    # Kafka says "" where there is no error.
    code, message, configs = ErrorCode.none, "", []
    try:
        configs = _configs(node, request, resource)
    except Refused as refused:
        code, message = refused.code, str(refused)
    return Struct(
        error_code=code,
        error_message=message,
        resource_type=resource.resource_type,
        resource_name=resource.resource_name,
        configs=configs,
    )


def _configs(node: Node, request: Struct, resource: Struct) -> list[Struct]:
    # Older clients send an empty list when they mean every setting.
    keys: Collection[str] | None = resource.configuration_keys or None
    if resource.resource_type == RESOURCE_LOGGER:
        return _loggers(node, resource.resource_name, keys)
    return [
        entry.to_struct(
            synonyms=bool(request.include_synonyms),
            documentation=bool(request.include_documentation),
        )
        for entry in _entries(node, resource.resource_type, resource.resource_name, keys)
    ]


def _entries(node: Node, kind: int, name: str, keys: Collection[str] | None) -> list[ConfigEntry]:
    config = node.config
    if kind == RESOURCE_TOPIC:
        problem = topic_name_problem(name)
        if problem is not None:
            raise Refused(ErrorCode.invalid_topic_exception, f"Topic name is invalid: {problem}")
        if name not in node.image.topics:
            raise Refused(ErrorCode.unknown_topic_or_partition, "")
        return describe_topic(node.image, config.static, name, node_id=config.node_id, names=keys)
    if kind == RESOURCE_BROKER:
        if name == "":
            return describe_broker_defaults(node.image, names=keys)
        _check_broker(node, name, f"{config.node_id} or empty string,")
        return describe_broker(node.image, config.static, config.node_id, names=keys)
    raise Refused(
        ErrorCode.invalid_request,
        f"Unsupported resource type: {kind}. Topics are 2, brokers 4, loggers of a broker 8.",
    )


def _loggers(node: Node, name: str, keys: Collection[str] | None) -> list[Struct]:
    if name == "":
        raise Refused(ErrorCode.invalid_request, "Broker id must not be empty")
    _check_broker(node, name, str(node.config.node_id))
    return [
        Struct(
            name=logger,
            value=level,
            read_only=False,
            config_source=LOGGER_SOURCE,
            is_sensitive=False,
            synonyms=[],
        )
        for logger, level in logger_levels().items()
        if keys is None or logger in keys
    ]


def _check_broker(node: Node, name: str, expected: str) -> None:
    try:
        broker_id = int(name)
    except ValueError:
        message = f"Broker id must be an integer, but it is: {name}"
        raise Refused(ErrorCode.invalid_request, message) from None
    if broker_id != node.config.node_id:
        message = f"Unexpected broker id, expected {expected} but received {name}"
        raise Refused(ErrorCode.invalid_request, message)


API = Api(key=ApiKey.DESCRIBE_CONFIGS, min_version=1, max_version=4, handler=handle)
