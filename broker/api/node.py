"""What a handler may use: the parts of this process, and answers that several handlers need.

Holds references only; builds, starts and stops nothing.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

from broker.api.registry import Registry
from broker.config import BrokerConfig
from broker.protocol.api_keys import ApiKey
from broker.protocol.hot import NodeEndpoint
from broker.protocol.image import ImageDelta, MetadataImage
from broker.protocol.struct import Struct
from broker.runtime.doors import Clock, Disk
from broker.runtime.fetch_sessions import FetchSessions
from broker.runtime.forwarding import ControllerChannel
from broker.runtime.group_topic import OffsetsTopic
from broker.runtime.groups import GroupManager
from broker.runtime.metadata_pieces import MetadataPieces
from broker.runtime.producer_ids import ProducerIds
from broker.runtime.publisher import MetadataPublisher
from broker.settings.broker import BrokerSettings

if TYPE_CHECKING:
    from broker.runtime.controller import ControllerService
    from broker.runtime.quorum import MetadataQuorum
    from broker.runtime.replicas import ReplicaManager
    from broker.storage.manager import LogManager

INTERNAL_TOPICS = frozenset({"__consumer_offsets", "__transaction_state", "__share_group_state"})
NO_OPERATIONS = -2147483648
# KIP-430 bits, for a broker without an authorizer: everything is allowed.
TOPIC_OPERATIONS = sum(1 << bit for bit in (3, 4, 5, 6, 7, 8, 10, 11))
CLUSTER_OPERATIONS = sum(1 << bit for bit in (5, 7, 8, 9, 10, 11, 12))
GROUP_OPERATIONS = sum(1 << bit for bit in (3, 6, 8, 10, 11))
READ_YOUR_WRITES_MS = 1000
DEAD_BROKER_LISTED_MS = 9000
# The levels of metadata.version whose records this broker reads and writes: 4.0-IV3 alone.
METADATA_VERSION_MIN = 25
METADATA_VERSION_MAX = 25


@dataclass(slots=True, kw_only=True)
class Node:
    """The running parts. `replicas`, `producer_ids` and `groups` exist on brokers only."""

    config: BrokerConfig
    registry: Registry
    clock: Clock
    disk: Disk
    rng: Random
    publisher: MetadataPublisher
    quorum: "MetadataQuorum"
    controller: "ControllerService | None"
    logs: "LogManager"
    channel: ControllerChannel
    replicas: "ReplicaManager | None" = None
    producer_ids: ProducerIds | None = None
    groups: GroupManager | None = None
    offsets_topic: OffsetsTopic = field(default_factory=OffsetsTopic)
    # When brokers were fenced that had been active until then, in monotonic milliseconds.
    died_at_ms: dict[int, int] = field(default_factory=dict)
    metadata_pieces: MetadataPieces = field(default_factory=MetadataPieces)
    fetch_sessions: FetchSessions = field(init=False)

    def __post_init__(self) -> None:
        slots = self.config.settings.integer("max.incremental.fetch.session.cache.slots")
        self.fetch_sessions = FetchSessions(slots, self.rng)

    @property
    def image(self) -> MetadataImage:
        """The committed state of the cluster as far as this node has applied it."""
        return self.publisher.image

    @property
    def settings(self) -> BrokerSettings:
        """Typed settings in force on this broker, dynamic ones included."""
        return BrokerSettings(self.config.static, self.image, self.config.node_id)

    @property
    def partitions(self) -> "ReplicaManager":
        """The replica manager; handlers of broker listeners only."""
        assert self.replicas is not None, "a broker's API was called on a controller"
        return self.replicas

    @property
    def coordinators(self) -> GroupManager:
        """The group coordinators; handlers of broker listeners only."""
        assert self.groups is not None, "a broker's API was called on a controller"
        return self.groups

    def endpoint(self, broker_id: int, listener: str) -> tuple[str, int] | None:
        """Where clients of `listener` reach a live broker; None when it is down or has none."""
        broker = self.image.brokers.get(broker_id)
        if broker is None or broker.fenced:
            return None
        endpoint = broker.endpoint(listener)
        return None if endpoint is None else (endpoint.host, endpoint.port)

    def live_brokers(self, listener: str) -> list[int]:
        """The ids of the unfenced brokers that have this listener, in order."""
        return [
            broker_id
            for broker_id in sorted(self.image.brokers)
            if self.endpoint(broker_id, listener) is not None
        ]

    def listed_brokers(self, listener: str) -> list[tuple[int, str, int, str | None]]:
        """What Metadata lists as (id, host, port, rack): live brokers, and those that just died.

        librdkafka drops a broker that is no longer listed together with the partitions it thinks
        are there, and finds their new leader, named in the same answer, only a second later.
        Kafka lists a dead broker until its session ends; we notice sooner, so we keep it a while.
        """
        since_ms = self.clock.monotonic_ms() - DEAD_BROKER_LISTED_MS
        listed = []
        for broker_id, broker in sorted(self.image.brokers.items()):
            endpoint = broker.endpoint(listener)
            if endpoint is None:
                continue
            if broker.fenced and self.died_at_ms.get(broker_id, since_ms - 1) < since_ms:
                continue
            listed.append((broker_id, endpoint.host, endpoint.port, broker.rack))
        return listed

    def note_brokers(self, image: MetadataImage, delta: ImageDelta) -> None:
        """A publisher's subscriber: remember who was fenced without having said good-bye."""
        del image
        for broker_id, before, after in delta.brokers_changed:
            if after is None or not after.fenced:
                self.died_at_ms.pop(broker_id, None)
            elif before is not None and before.serving:
                self.died_at_ms[broker_id] = self.clock.monotonic_ms()

    def node_endpoints(self, broker_ids: Iterable[int], listener: str) -> list[NodeEndpoint]:
        """KIP-951 endpoints for the leaders named in a response."""
        found = []
        for broker_id in sorted(set(broker_ids)):
            endpoint = self.endpoint(broker_id, listener)
            if endpoint is not None:
                rack = self.image.brokers[broker_id].rack
                found.append(NodeEndpoint(broker_id, endpoint[0], endpoint[1], rack))
        return found

    def any_live_broker(self, listener: str) -> int:
        """What clients are told to be the controller.

        Every broker forwards admin requests, so any live one serves. The active controller itself
        is best where it is a broker, too: it is one hop less, and clients see a stable answer.
        """
        brokers = self.live_brokers(listener)
        leader_id = int(self.quorum.leader.leader_id)
        if leader_id in brokers:
            return leader_id
        return self.rng.choice(brokers) if brokers else -1

    def unfenced(self, replica: int) -> bool:
        """Whether a replica's broker takes part at present."""
        return self.image.is_unfenced(replica)

    async def ask_controller(self, api_key: ApiKey, request: Struct, timeout_ms: int) -> Struct:
        """Forward to the active controller; raises RequestTimedOut or UnsupportedVersion."""
        return await self.channel.send(api_key, request, timeout_ms)
