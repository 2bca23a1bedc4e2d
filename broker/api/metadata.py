"""Metadata (3), versions 0-13: brokers, the controller, topics and who leads their partitions.

Null topics mean all, an empty list means none (v0: empty means all). v4 auto creation can be
refused; v5 offline replicas; v7 leader epochs; v10 topic ids; v12 by id; v13 top-level error
(KIP-1102). Endpoints are those of the listener that the client came through. A missing topic is
created when auto.create.topics.enable and the request allow it, and is answered as soon as this
broker knows it. Topics are encoded once and kept (``runtime.metadata_pieces``).
"""

from collections.abc import Iterable

from broker.api.create_topics import is_valid_topic_name
from broker.api.node import (
    CLUSTER_OPERATIONS,
    INTERNAL_TOPICS,
    NO_OPERATIONS,
    READ_YOUR_WRITES_MS,
    TOPIC_OPERATIONS,
    Node,
)
from broker.api.registry import Api, Reply, RequestContext
from broker.protocol.api_keys import ApiKey
from broker.protocol.errors import ErrorCode, WireError
from broker.protocol.image import TopicImage
from broker.protocol.metadata_answer import encode_metadata_response, encode_topic, topic_end
from broker.protocol.struct import ZERO_UUID, Struct
from broker.runtime.metadata_pieces import Liveness

AUTO_CREATE_TIMEOUT_MS = 5_000


async def handle(node: Node, context: RequestContext, request: Struct) -> Reply:
    """Brokers and topics as this broker knows them."""
    asked, version = request.topics, context.api_version
    if asked is None or (version == 0 and not asked):
        image = node.image
        found: list[TopicImage | Struct] = [image.topics[name] for name in sorted(image.topics)]
    else:
        missing = _missing_names(node, asked)
        errors: dict[str, ErrorCode] = {}
        if missing and request.allow_auto_topic_creation and _may_create(node):
            errors = await _create(node, missing)
        found = [_asked_topic(node, context, each, errors) for each in _distinct(asked)]
    include_topics = request.get("include_topic_authorized_operations")
    include_cluster = request.get("include_cluster_authorized_operations")
    return encode_metadata_response(
        version,
        context.correlation_id,
        brokers=node.listed_brokers(context.listener),
        cluster_id=node.config.cluster_id,
        controller_id=node.any_live_broker(context.listener),
        topics=_encoded(
            node, context, found, TOPIC_OPERATIONS if include_topics else NO_OPERATIONS
        ),
        topics_count=len(found),
        cluster_operations=CLUSTER_OPERATIONS if include_cluster else NO_OPERATIONS,
    )


def _encoded(
    node: Node, context: RequestContext, found: list[TopicImage | Struct], operations: int
) -> list[bytes]:
    """The topics' bytes, in order, each with its end."""
    version = context.api_version
    liveness = Liveness(
        frozenset(each.id for each in node.image.brokers.values() if not each.fenced),
        frozenset(node.live_brokers(context.listener)),
    )
    blocks = iter(
        node.metadata_pieces.topics(
            context.listener,
            version,
            liveness,
            [each for each in found if isinstance(each, TopicImage)],
            internal=INTERNAL_TOPICS,
            present=node.image.topics,
        )
    )
    end = topic_end(version, operations)
    pieces: list[bytes] = []
    for each in found:
        if isinstance(each, TopicImage):
            pieces += (next(blocks), end)
            continue
        refused = encode_topic(
            version,
            each.error_code,
            each.name,
            each.get("topic_id", ZERO_UUID),
            is_internal=each.name in INTERNAL_TOPICS,
            partitions=(),
        )
        pieces += (refused, end)
    return pieces


def _distinct(asked: Iterable[Struct]) -> Iterable[Struct]:
    return {(each.name, _id_of(each)): each for each in asked}.values()


def _may_create(node: Node) -> bool:
    return node.settings.boolean("auto.create.topics.enable")


def _missing_names(node: Node, asked: Iterable[Struct]) -> list[str]:
    names = dict.fromkeys(
        each.name for each in asked if each.name is not None and _id_of(each) == ZERO_UUID
    )
    return [
        name
        for name in names
        if name not in node.image.topics
        and name not in INTERNAL_TOPICS
        and is_valid_topic_name(name)
    ]


async def _create(node: Node, names: list[str]) -> dict[str, ErrorCode]:
    """Create topics with the cluster's defaults and wait until this broker knows them."""
    request = Struct(
        topics=[
            Struct(name=name, num_partitions=-1, replication_factor=-1, assignments=[], configs=[])
            for name in names
        ],
        timeout_ms=AUTO_CREATE_TIMEOUT_MS,
        validate_only=False,
    )
    try:
        response = await node.ask_controller(ApiKey.CREATE_TOPICS, request, AUTO_CREATE_TIMEOUT_MS)
    except WireError:
        return {}
    created = [
        each.name
        for each in response.topics
        if each.error_code in (ErrorCode.none, ErrorCode.topic_already_exists)
    ]
    await node.publisher.wait_until(
        lambda image: all(name in image.topics for name in created), READ_YOUR_WRITES_MS
    )
    # Brokers may be too few for the default replication factor: clients retry on this one.
    return {
        each.name: (
            ErrorCode.invalid_replication_factor
            if each.error_code == ErrorCode.invalid_replication_factor
            else ErrorCode.unknown_topic_or_partition
        )
        for each in response.topics
        if each.name not in created
    }


def _id_of(asked: Struct) -> object:
    return asked.get("topic_id", ZERO_UUID)


def _asked_topic(
    node: Node, context: RequestContext, asked: Struct, errors: dict[str, ErrorCode]
) -> TopicImage | Struct:
    """The topic, or what is said in its place: error_code, name, perhaps topic_id."""
    topic_id = _id_of(asked)
    if topic_id != ZERO_UUID:
        # Versions 10 and 11 have the field, but brokers did not look ids up before 12.
        if context.api_version < 12:
            return Struct(error_code=ErrorCode.invalid_request, name=asked.name or "")
        found = node.image.topic_by_id(asked.topic_id)
        if found is None:
            return Struct(error_code=ErrorCode.unknown_topic_id, name=None, topic_id=topic_id)
        return found
    if asked.name is None:
        return Struct(error_code=ErrorCode.invalid_request, name="")
    found = node.image.topics.get(asked.name)
    if found is not None:
        return found
    code = errors.get(asked.name, ErrorCode.unknown_topic_or_partition)
    if not is_valid_topic_name(asked.name):
        code = ErrorCode.invalid_topic_exception
    return Struct(error_code=code, name=asked.name)


API = Api(key=ApiKey.METADATA, min_version=0, max_version=13, handler=handle)
