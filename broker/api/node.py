"""What a handler may use: the parts of this process, and answers that several handlers need.

Holds references only; builds, starts and stops nothing.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from broker.api.registry import Registry
from broker.config import BrokerConfig
from broker.protocol.api_keys import ApiKey
from broker.protocol.hot import NodeEndpoint
from broker.protocol.image import MetadataImage
from broker.protocol.struct import Struct
from broker.runtime.doors import Clock, Disk
from broker.runtime.forwarding import ControllerChannel
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
READ_YOUR_WRITES_MS = 1000
# The levels of metadata.version whose records this broker reads and writes: 4.0-IV3 alone.
METADATA_VERSION_MIN = 25
METADATA_VERSION_MAX = 25


@dataclass(slots=True, kw_only=True)
class Node:
    """The running parts. `replicas`, `producer_ids` and `channel` exist on brokers only."""

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

    def endpoint(self, broker_id: int, listener: str) -> tuple[str, int] | None:
        """Where clients of `listener` reach a live broker; None when it is down or has none."""
        broker = self.image.brokers.get(broker_id)
        if broker is None or broker.fenced:
            return None
        endpoint = broker.endpoint(listener)
        return None if endpoint is None else (endpoint.host, endpoint.port)

    def live_brokers(self, listener: str) -> list[Struct]:
        """The unfenced brokers as (node_id, host, port, rack), in id order."""
        return [
            Struct(node_id=broker_id, host=at[0], port=at[1], rack=broker.rack)
            for broker_id, broker in sorted(self.image.brokers.items())
            if (at := self.endpoint(broker_id, listener)) is not None
        ]

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

        Admin requests reach the controller from every broker, and the controllers' own listener is
        not for clients: so, like Kafka, any live broker serves, which spreads the work.
        """
        brokers = self.live_brokers(listener)
        return int(self.rng.choice(brokers).node_id) if brokers else -1

    def unfenced(self, replica: int) -> bool:
        """Whether a replica's broker takes part at present."""
        return self.image.is_unfenced(replica)

    async def ask_controller(self, api_key: ApiKey, request: Struct, timeout_ms: int) -> Struct:
        """Forward to the active controller; raises RequestTimedOut or UnsupportedVersion."""
        return await self.channel.send(api_key, request, timeout_ms)
