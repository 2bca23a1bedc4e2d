"""The active controller as a pure object: decide gives records and a reply, replay moves state.

A caller appends the records of a decision to the metadata log, replays them at once, and answers
when they are committed. The controller must never do I/O, read a clock or change its image in
any way but by ``replay``. Time comes in as milliseconds of a monotonic clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from broker.metadata.brokers import Brokers
from broker.metadata.cluster import Cluster
from broker.metadata.configs import Configs
from broker.metadata.decision import (
    ELECTIONS_PER_REBALANCE_MAX,
    NEXT_ROUND_MS,
    PRODUCER_ID_BLOCK,
    RETURN_CHECK_MS,
    ControllerConfig,
    Decision,
    reply,
)
from broker.metadata.features import Features
from broker.metadata.partitions import Partitions
from broker.metadata.reassignment import Reassignments
from broker.metadata.topics import Topics
from broker.protocol.errors import ErrorCode
from broker.protocol.image import (
    METADATA_VERSION_FEATURE,
    RESOURCE_BROKER,
    RESOURCE_TOPIC,
    ImageDelta,
    MetadataImage,
    apply,
)
from broker.protocol.metadata_records import (
    FeatureLevelRecord,
    MetadataRecord,
    ProducerIdsRecord,
)
from broker.protocol.struct import Struct

if TYPE_CHECKING:
    from random import Random


class Controller:
    """Decides on everything in the cluster. See the module for how to use it."""

    def __init__(self, config: ControllerConfig, rng: Random) -> None:
        self._cluster = Cluster(config, rng)
        self._brokers = Brokers(self._cluster)
        self._topics = Topics(self._cluster)
        self._reassignments = Reassignments(self._cluster)
        self._partitions = Partitions(self._cluster, self._reassignments)
        self._configs = Configs(self._cluster)
        self._features = Features(self._cluster)
        self._rebalance_at_ms: int | None = None
        # Brokers that came back: until when leadership is looked at more often on their account.
        self._returning: dict[int, int] = {}

    @property
    def config(self) -> ControllerConfig:
        """What it was told at its start."""
        return self._cluster.config

    @property
    def image(self) -> MetadataImage:
        """The state after everything that was replayed, committed or not."""
        return self._cluster.image

    def activate(self, image: MetadataImage, now_ms: int) -> None:
        """Become the active controller, from the committed state."""
        self._cluster.image = image
        self._brokers.activate(now_ms)
        self._returning = {}
        # Another may have been interrupted in the middle.
        self._cluster.unswept = self._cluster.unrevived = True
        self._rebalance_at_ms = now_ms + self.config.rebalance_interval_ms
        if not self.config.rebalance_enabled:
            self._rebalance_at_ms = None

    def bootstrap(self) -> Decision:
        """What an active controller writes first into an empty metadata log."""
        if METADATA_VERSION_FEATURE in self.image.features:
            return Decision()
        level = self.config.metadata_version
        return Decision([FeatureLevelRecord(name=METADATA_VERSION_FEATURE, feature_level=level)])

    def replay(
        self,
        base_offset: int,
        epoch: int,
        records: Sequence[MetadataRecord],
        now_ms: int | None = None,
    ) -> ImageDelta:
        """Apply records that stand in the log from ``base_offset`` on.

        With ``now_ms`` it also notes what makes the next look at leaders due earlier.
        Raises ImageError, after which this controller must not go on.
        """
        self._cluster.image, delta = apply(self._cluster.image, base_offset, epoch, records)
        if delta.brokers_changed:
            self._brokers.forget_unregistered()
        for broker_id, before, after in delta.brokers_changed:
            if after is None or not after.active:
                self._returning.pop(broker_id, None)
            elif (before is None or not before.active) and now_ms is not None:
                self._returns(broker_id, now_ms)
        if any(t in (RESOURCE_TOPIC, RESOURCE_BROKER) for (t, _), _, _ in delta.configs_changed):
            self._cluster.unrevived = True
        return delta

    def _returns(self, broker_id: int, now_ms: int) -> None:
        if self._rebalance_at_ms is None:
            return
        interval = self.config.rebalance_interval_ms
        self._returning[broker_id] = now_ms + interval
        soon = now_ms + min(RETURN_CHECK_MS, interval)
        self._rebalance_at_ms = min(self._rebalance_at_ms, soon)

    # Time

    def tick(self, now_ms: int) -> Decision:
        """What is due: sessions that ended, leaders that should move. Often nothing."""
        records = self._brokers.expired(now_ms)
        if records:
            return Decision(records)
        cluster = self._cluster
        for due, look in (
            (cluster.unswept, cluster.swept),
            (cluster.unrevived, cluster.revived),
        ):
            if due and (records := look()):
                return Decision(records)
        if self._rebalance_at_ms is not None and now_ms >= self._rebalance_at_ms:
            return Decision(self._rebalance(now_ms))
        return Decision()

    def _rebalance(self, now_ms: int) -> list[MetadataRecord]:
        self._returning = {
            broker: until
            for broker, until in self._returning.items()
            if until > now_ms and not self._partitions.leads_all_preferred(broker)
        }
        interval = self.config.rebalance_interval_ms
        wait = min(RETURN_CHECK_MS, interval) if self._returning else interval
        records = self._partitions.rebalance()
        if len(records) >= ELECTIONS_PER_REBALANCE_MAX:
            wait = min(wait, NEXT_ROUND_MS)
        self._rebalance_at_ms = now_ms + wait
        return records

    def next_wakeup_ms(self) -> int | None:
        """When ``tick`` has something to do at the latest; None when nothing is foreseen."""
        if self._cluster.unswept or self._cluster.unrevived:
            return 0
        moments = [self._rebalance_at_ms, self._brokers.next_expiry_ms()]
        return min((m for m in moments if m is not None), default=None)

    # Brokers

    def decide_register_broker(self, request: Struct, now_ms: int, next_offset: int) -> Decision:
        """BrokerRegistration; ``next_offset`` is where the first record will stand."""
        return self._brokers.register(request, now_ms, next_offset)

    def decide_heartbeat(self, request: Struct, now_ms: int, next_offset: int) -> Decision:
        """BrokerHeartbeat; ``next_offset`` is where the first record will stand."""
        return self._brokers.heartbeat(request, now_ms, next_offset)

    def decide_unregister_broker(self, request: Struct, now_ms: int) -> Decision:
        """UnregisterBroker."""
        return self._brokers.unregister(request)

    def broker_gone(self, broker_id: int, now_ms: int) -> Decision:
        """The broker's process is surely dead (its port refuses connections): fence it at once."""
        return self._brokers.gone(broker_id)

    def broker_disconnected(self, broker_id: int) -> None:
        """The connection that carried the broker's heartbeats closed; it may come back."""
        self._brokers.disconnected(broker_id)

    # Topics and partitions

    def decide_create_topics(self, request: Struct, now_ms: int) -> Decision:
        """CreateTopics."""
        return self._topics.create(request)

    def decide_delete_topics(self, request: Struct, now_ms: int) -> Decision:
        """DeleteTopics."""
        return self._topics.delete(request)

    def decide_create_partitions(self, request: Struct, now_ms: int) -> Decision:
        """CreatePartitions."""
        return self._topics.create_partitions(request)

    def decide_alter_partition(self, request: Struct, now_ms: int) -> Decision:
        """AlterPartition."""
        return self._partitions.alter(request)

    def decide_elect_leaders(self, request: Struct, now_ms: int) -> Decision:
        """ElectLeaders."""
        return self._partitions.elect(request)

    def decide_alter_partition_reassignments(self, request: Struct, now_ms: int) -> Decision:
        """AlterPartitionReassignments."""
        return self._reassignments.alter(request)

    def decide_list_partition_reassignments(self, request: Struct, now_ms: int) -> Decision:
        """ListPartitionReassignments."""
        return self._reassignments.under_way(request)

    # Settings and ids

    def decide_incremental_alter_configs(self, request: Struct, now_ms: int) -> Decision:
        """IncrementalAlterConfigs."""
        return self._configs.alter_incrementally(request)

    def decide_alter_configs(self, request: Struct, now_ms: int) -> Decision:
        """AlterConfigs, the legacy one."""
        return self._configs.alter(request)

    def decide_update_features(self, request: Struct, now_ms: int) -> Decision:
        """UpdateFeatures."""
        return self._features.update(request)

    def decide_allocate_producer_ids(self, request: Struct, now_ms: int) -> Decision:
        """AllocateProducerIds: the next block of ids, which nobody else gets."""
        broker = self._cluster.broker(request.broker_id, request.broker_epoch)
        if broker is None:
            code = ErrorCode.stale_broker_epoch
            return Decision(reply=reply(error_code=code, producer_id_start=0, producer_id_len=0))
        start = self.image.next_producer_id
        record = ProducerIdsRecord(
            broker_id=broker.id,
            broker_epoch=broker.epoch,
            next_producer_id=start + PRODUCER_ID_BLOCK,
        )
        answer = reply(
            error_code=ErrorCode.none, producer_id_start=start, producer_id_len=PRODUCER_ID_BLOCK
        )
        return Decision([record], answer)
