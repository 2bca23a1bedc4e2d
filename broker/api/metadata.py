"""Metadata (3), versions 0-13: brokers, the controller, topics and who leads their partitions.

Null topics mean all, an empty list means none (v0: empty means all). v4 auto creation can be
refused; v5 offline replicas; v7 leader epochs; v10 topic ids; v12 by id; v13 top-level error
(KIP-1102). Endpoints are those of the listener that the client came through. A missing topic is
created when auto.create.topics.enable and the request allow it, and is answered as soon as this
broker knows it.
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
from broker.protocol.image import PartitionState, TopicImage
from broker.protocol.struct import ZERO_UUID, Struct

AUTO_CREATE_TIMEOUT_MS = 5_000


async def handle(node: Node, context: RequestContext, request: Struct) -> Reply:
    """Brokers and topics as this broker knows them."""
    asked = request.topics
    if asked is None or (context.api_version == 0 and not asked):
        view, image = _View(node, context), node.image
        topics = [_topic(view, image.topics[name]) for name in sorted(image.topics)]
    else:
        missing = _missing_names(node, asked)
        errors: dict[str, ErrorCode] = {}
        if missing and request.allow_auto_topic_creation and _may_create(node):
            errors = await _create(node, missing)
        view = _View(node, context)
        topics = [_asked_topic(node, context, view, each, errors) for each in asked]
    if request.get("include_topic_authorized_operations"):
        for topic in topics:
            if topic.error_code == ErrorCode.none:
                topic.topic_authorized_operations = TOPIC_OPERATIONS
    include_cluster = request.get("include_cluster_authorized_operations")
    return Struct(
        brokers=node.listed_brokers(context.listener),
        cluster_id=node.config.cluster_id,
        controller_id=node.any_live_broker(context.listener),
        topics=topics,
        cluster_authorized_operations=CLUSTER_OPERATIONS if include_cluster else NO_OPERATIONS,
        error_code=ErrorCode.none,
    )


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
    node: Node,
    context: RequestContext,
    view: "_View",
    asked: Struct,
    errors: dict[str, ErrorCode],
) -> Struct:
    topic_id = _id_of(asked)
    if topic_id != ZERO_UUID:
        # Versions 10 and 11 have the field, but brokers did not look ids up before 12.
        if context.api_version < 12:
            return Struct(
                error_code=ErrorCode.invalid_request, name=asked.name or "", partitions=[]
            )
        found = node.image.topic_by_id(asked.topic_id)
        if found is None:
            return Struct(
                error_code=ErrorCode.unknown_topic_id, name=None, topic_id=topic_id, partitions=[]
            )
        return _topic(view, found)
    if asked.name is None:
        return Struct(error_code=ErrorCode.invalid_request, name="", partitions=[])
    found = node.image.topics.get(asked.name)
    if found is not None:
        return _topic(view, found)
    code = errors.get(asked.name, ErrorCode.unknown_topic_or_partition)
    if not is_valid_topic_name(asked.name):
        code = ErrorCode.invalid_topic_exception
    return Struct(
        error_code=code,
        name=asked.name,
        is_internal=asked.name in INTERNAL_TOPICS,
        partitions=[],
    )


def _topic(view: "_View", topic: TopicImage) -> Struct:
    return Struct(
        error_code=ErrorCode.none,
        name=topic.name,
        topic_id=topic.id,
        is_internal=topic.name in INTERNAL_TOPICS,
        partitions=[view.partition(index, state) for index, state in enumerate(topic.partitions)],
    )


class _View:
    """Who is alive, and reachable by the asking listener: looked up once, not per partition."""

    __slots__ = ("_live", "_reachable", "_unreachable_code")

    def __init__(self, node: Node, context: RequestContext) -> None:
        self._live = {each.id for each in node.image.brokers.values() if not each.fenced}
        self._reachable = set(node.live_brokers(context.listener))
        # Before version 6 clients did not know LISTENER_NOT_FOUND.
        self._unreachable_code = (
            ErrorCode.listener_not_found
            if context.api_version >= 6
            else ErrorCode.leader_not_available
        )

    def partition(self, index: int, state: PartitionState) -> Struct:
        """One partition of the response."""
        code, leader, live = ErrorCode.none, state.leader, self._live
        if leader not in self._reachable:
            code = self._unreachable_code if leader in live else ErrorCode.leader_not_available
            leader = -1
        return Struct(
            error_code=code,
            partition_index=index,
            leader_id=leader,
            leader_epoch=state.leader_epoch,
            replica_nodes=state.replicas,
            isr_nodes=state.isr,
            offline_replicas=[each for each in state.replicas if each not in live],
        )


API = Api(key=ApiKey.METADATA, min_version=0, max_version=13, handler=handle)
