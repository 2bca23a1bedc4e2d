"""Which partitions this broker holds, and the roles that the metadata image gives them.

Follows the image: makes and deletes logs, turns partitions into leaders and followers, passes
settings on. It must never act on metadata older than this broker's own registration: replaying
history would make it lead partitions that it lost long ago.
"""

import logging
from collections import deque
from collections.abc import Callable, Mapping
from typing import Protocol
from uuid import UUID

from broker.protocol.compression import Compression
from broker.protocol.errors import ErrorCode
from broker.protocol.image import (
    EMPTY_IMAGE,
    RESOURCE_BROKER,
    RESOURCE_TOPIC,
    ImageDelta,
    MetadataImage,
    PartitionState,
)
from broker.replication import Partition, ReplicationSettings
from broker.runtime.disk_space import is_no_room
from broker.runtime.doors import Clock
from broker.runtime.replica_waits import HostedPartition
from broker.settings.broker import BrokerSettings
from broker.settings.topic import TopicSettings
from broker.storage.errors import InconsistentTopicId, StorageError, StorageFailure
from broker.storage.log import Log
from broker.storage.log_config import LogConfig
from broker.storage.manager import LogManager

log = logging.getLogger("logd.replicas")

PartitionKey = tuple[str, int]
# Some milliseconds of making logs and taking roles.
ROLES_AT_ONCE = 32


class TableEvents(Protocol):
    """Who is told of changes; called in the middle of ``apply``, so it must not call back."""

    def dispose(self, work: Callable[[], None]) -> None:
        """Do blocking work (removing files) some time later."""
        ...

    def role_changed(self, hosted: HostedPartition) -> None:
        """Leader, leader epoch or existence changed."""
        ...

    def isr_changed(self, hosted: HostedPartition, before: tuple[int, ...]) -> None:
        """The ISR of a partition led here changed, or a proposal of it may be waiting."""
        ...

    def no_room(self, error: StorageError) -> None:
        """A log can't be opened for want of space."""
        ...

    def log_failed(self, reason: str) -> None:
        """A log can't be used, and not for want of space."""
        ...


class ImageBrokers:
    """The BrokerView of an image."""

    def __init__(self) -> None:
        self.image: MetadataImage = EMPTY_IMAGE

    def registered_epoch(self, broker_id: int) -> int | None:
        """See BrokerView."""
        broker = self.image.brokers.get(broker_id)
        return None if broker is None else broker.epoch

    def eligible_epoch(self, broker_id: int) -> int | None:
        """See BrokerView."""
        broker = self.image.brokers.get(broker_id)
        return broker.epoch if broker is not None and broker.active else None


class ReplicaTable:
    """The hosted partitions by (topic, index)."""

    def __init__(
        self,
        node_id: int,
        logs: LogManager,
        clock: Clock,
        static: Mapping[str, str],
        broker_epoch: Callable[[], int],
        events: TableEvents,
    ) -> None:
        self.node_id = node_id
        self.hosted: dict[PartitionKey, HostedPartition] = {}
        # Partitions whose log cannot be used, and why.
        self.offline: dict[PartitionKey, str] = {}
        self.ready = False
        # Partitions of the image whose role here is still to be taken; `take_roles` does it.
        self._untaken: deque[PartitionKey] = deque()
        self._logs = logs
        self._clock = clock
        self._static = static
        self._broker_epoch = broker_epoch
        self._events = events
        self._brokers = ImageBrokers()
        self._topic_settings: dict[str, TopicSettings] = {}

    @property
    def image(self) -> MetadataImage:
        """The image last applied."""
        return self._brokers.image

    def settings_of(self, topic: str) -> TopicSettings:
        """The settings in force for a topic."""
        settings = self._topic_settings.get(topic)
        if settings is None:
            settings = TopicSettings.resolve(self.image, self._static, topic, self.node_id)
            self._topic_settings[topic] = settings
        return settings

    @property
    def takes_roles(self) -> bool:
        """Whether `take_roles` has something to do."""
        return bool(self._untaken)

    # -- following the image

    def apply(self, image: MetadataImage, delta: ImageDelta | None) -> None:
        """Take over an image; ``delta`` is what changed since the last, None = unknown."""
        self._brokers.image = image
        if not self.ready:
            self.try_start()
            return
        if delta is None:
            self._topic_settings.clear()
            self._reconcile()
            return
        for name, topic_id in delta.topics_deleted:
            self._drop_topic(name, topic_id)
        self._apply_configs(delta)
        for name, index, _, after in delta.partitions_changed:
            if after is not None:
                self._apply_partition(name, index, after)
        if delta.brokers_changed:
            self._brokers_changed({broker for broker, _, _ in delta.brokers_changed})

    def try_start(self) -> bool:
        """Take roles once the image holds this broker's present registration."""
        epoch = self._broker_epoch()
        if self.ready or epoch < 0 or self._brokers.registered_epoch(self.node_id) != epoch:
            return self.ready
        self.ready = True
        self._topic_settings.clear()
        self._reconcile()
        return True

    def take_roles(self) -> bool:
        """Take the roles of a few more partitions, as the image has them now; whether any is left.

        What changed since they were noted may have been applied already: that is no harm.
        """
        for _ in range(min(ROLES_AT_ONCE, len(self._untaken))):
            key = self._untaken.popleft()
            state = self.image.partition(*key)
            if state is not None and self.node_id in state.replicas:
                self._apply_partition(*key, state)
            elif key not in self.hosted and (key in self._logs.logs or key in self._logs.failed):
                self._delete_log(key)
        return bool(self._untaken)

    def retry_offline(self) -> None:
        """Open again what did not open: a full disk may have space by now."""
        for name, index in sorted(self.offline):
            state = self.image.partition(name, index)
            if state is not None:
                if isinstance(self._logs.failed.get((name, index)), StorageFailure):
                    del self._logs.failed[name, index]
                self._apply_partition(name, index, state)

    def _reconcile(self) -> None:
        """Compare everything: at the start, or when what changed is not known.

        Roles are taken by `take_roles`, the first at once.
        """
        image = self.image
        wanted: set[PartitionKey] = set()
        for topic, index, state in image.iter_partitions():
            if self.node_id in state.replicas:
                wanted.add((topic.name, index))
        for hosted in list(self.hosted.values()):
            topic_now = image.topics.get(hosted.partition.topic)
            same = topic_now is not None and topic_now.id == hosted.partition.topic_id
            if not same or hosted.key not in wanted:
                self._drop(hosted)
        for key in sorted(k for k in (*self._logs.logs, *self._logs.failed) if k not in wanted):
            if image.topics:
                log.warning("deleting the stray log %s-%s: not a replica of it", *key)
                self._delete_log(key)
        for hosted in self.hosted.values():
            self._refresh_settings(hosted)
        self._untaken = deque(sorted(wanted))
        self.take_roles()

    def _apply_configs(self, delta: ImageDelta) -> None:
        topics: set[str] = set()
        for (resource_type, name), _, _ in delta.configs_changed:
            if resource_type == RESOURCE_TOPIC:
                topics.add(name)
            elif resource_type == RESOURCE_BROKER and name in ("", str(self.node_id)):
                topics.update(self._topic_settings)
                topics.update(topic for topic, _ in self.hosted)
        for topic in topics:
            self._topic_settings.pop(topic, None)
        if topics:
            for hosted in self.hosted.values():
                if hosted.partition.topic in topics:
                    self._refresh_settings(hosted)

    def _refresh_settings(self, hosted: HostedPartition) -> None:
        partition = hosted.partition
        settings = self.settings_of(partition.topic)
        hosted.log.config = self._log_config(settings)
        wanted = self._replication_settings(settings)
        if partition.settings != wanted:
            partition.update_settings(wanted, self._clock.monotonic_ms())
            hosted.watermark_moved()

    def _log_config(self, settings: TopicSettings) -> LogConfig:
        broker = BrokerSettings(self._static, self.image, self.node_id)
        return log_config(settings, broker.integer("producer.id.expiration.ms"))

    def _replication_settings(self, settings: TopicSettings) -> ReplicationSettings:
        broker = BrokerSettings(self._static, self.image, self.node_id)
        return ReplicationSettings(
            min_insync_replicas=settings.min_insync_replicas,
            replica_lag_time_max_ms=broker.integer("replica.lag.time.max.ms"),
            log_append_time=settings.log_append_time,
            max_message_bytes=settings.max_message_bytes,
            flush_on_commit=settings.flush_on_commit,
        )

    def _apply_partition(self, name: str, index: int, state: PartitionState) -> None:
        hosted = self.hosted.get((name, index))
        if self.node_id not in state.replicas:
            if hosted is not None:
                self._drop(hosted)
            return
        topic_id = self.image.topics[name].id
        if hosted is not None and hosted.partition.topic_id != topic_id:
            self._drop(hosted)
            hosted = None
        if hosted is None:
            hosted = self._host(name, topic_id, index)
        if hosted is None:
            return
        partition, now_ms = hosted.partition, self._clock.monotonic_ms()
        before = partition.isr
        epoch, leader = partition.leader_epoch, partition.leader_id
        high_watermark = partition.high_watermark
        try:
            if state.leader == self.node_id:
                partition.become_leader(state, now_ms)
            else:
                partition.become_follower(state)
        except StorageError as error:
            partition.resign()
            self._events.log_failed(f"the log of {name}-{index}: {error}")
        if (partition.leader_epoch, partition.leader_id) != (epoch, leader):
            self._events.role_changed(hosted)
        if partition.is_leader:
            if partition.high_watermark != high_watermark:
                hosted.watermark_moved()
            self._events.isr_changed(hosted, before)

    def _brokers_changed(self, changed: set[int]) -> None:
        """A broker that comes may join an ISR; one that goes no longer holds a watermark back."""
        now_ms = self._clock.monotonic_ms()
        for hosted in self.hosted.values():
            leader = hosted.partition.leader
            if leader is None or changed.isdisjoint(leader.replicas):
                continue
            hosted.start_moved()
            if leader.advance_high_watermark(now_ms):
                hosted.watermark_moved()
            if leader.expand_any():
                self._events.isr_changed(hosted, leader.isr.committed)

    # -- logs

    def _host(self, name: str, topic_id: UUID, index: int) -> HostedPartition | None:
        key = (name, index)
        settings = self.settings_of(name)
        try:
            the_log = self._open(key, topic_id, self._log_config(settings))
        except StorageError as error:
            if self.offline.get(key) != str(error):
                log.error("%s-%s is offline: %s", name, index, error)
            self.offline[key] = str(error)
            if is_no_room(error):
                self._events.no_room(error)
            elif isinstance(error, StorageFailure):
                self._events.log_failed(f"the log of {name}-{index}: {error}")
            return None
        self.offline.pop(key, None)
        partition = Partition(
            name,
            topic_id,
            index,
            self.node_id,
            the_log,
            self._replication_settings(settings),
            self._brokers,
            high_watermark=self._logs.high_watermark(name, index),
        )
        partition.local.flushed(the_log.recovery_point)
        hosted = self.hosted[key] = HostedPartition(partition, the_log)
        return hosted

    def _open(self, key: PartitionKey, topic_id: UUID, config: LogConfig) -> Log:
        try:
            return self._logs.get_or_create(key[0], topic_id, key[1], config)
        except InconsistentTopicId:
            log.info("%s-%s belongs to a deleted topic of the same name: deleting it", *key)
            self._delete_log(key)
            return self._logs.get_or_create(key[0], topic_id, key[1], config)

    def _drop_topic(self, name: str, topic_id: UUID) -> None:
        self._topic_settings.pop(name, None)
        for key in sorted(key for key in self.hosted if key[0] == name):
            hosted = self.hosted[key]
            if hosted.partition.topic_id == topic_id:
                self._drop(hosted)
        for key in [key for key in self.offline if key[0] == name]:
            del self.offline[key]
            self._delete_log(key)

    def _drop(self, hosted: HostedPartition) -> None:
        """The replica leaves this broker, with its log."""
        hosted.deleted = True
        del self.hosted[hosted.key]
        hosted.partition.resign()
        self._events.role_changed(hosted)
        self._delete_log(hosted.key)

    def _delete_log(self, key: PartitionKey) -> None:
        try:
            self._events.dispose(self._logs.delete(*key))
        except StorageError as error:
            log.error("the log of %s-%s could not be deleted: %s", *key, error)

    # -- answers about partitions that are not here

    def missing(self, topic: str, index: int) -> ErrorCode:
        """Why there is no such partition here."""
        if (topic, index) in self.offline:
            return ErrorCode.kafka_storage_error
        if self.image.partition(topic, index) is None:
            return ErrorCode.unknown_topic_or_partition
        return ErrorCode.not_leader_or_follower

    def led(self) -> list[HostedPartition]:
        """The partitions that this broker leads."""
        return [each for each in self.hosted.values() if each.partition.is_leader]


def log_config(
    settings: TopicSettings, producer_id_expiration_ms: int = LogConfig().producer_id_expiration_ms
) -> LogConfig:
    """What a topic's settings mean for its logs."""
    return LogConfig(
        segment_bytes=settings.segment_bytes,
        segment_ms=settings.segment_ms,
        index_interval_bytes=settings.index_interval_bytes,
        retention_ms=settings.retention_ms,
        retention_bytes=settings.retention_bytes,
        max_message_bytes=settings.max_message_bytes,
        flush_messages=settings.flush_messages,
        flush_ms=settings.flush_ms,
        message_timestamp_before_max_ms=settings.message_timestamp_before_max_ms,
        message_timestamp_after_max_ms=settings.message_timestamp_after_max_ms,
        compact=settings.compacted,
        delete=settings.deletes,
        segment_jitter_ms=settings.segment_jitter_ms,
        segment_index_bytes=settings.segment_index_bytes,
        file_delete_delay_ms=settings.file_delete_delay_ms,
        compression=_CODECS.get(settings.compression_type, -1),
        compression_level=_level(settings),
        min_cleanable_dirty_ratio=settings.min_cleanable_dirty_ratio,
        min_compaction_lag_ms=settings.min_compaction_lag_ms,
        max_compaction_lag_ms=settings.max_compaction_lag_ms,
        delete_retention_ms=settings.delete_retention_ms,
        producer_id_expiration_ms=producer_id_expiration_ms,
    )


_CODECS = {
    "uncompressed": Compression.NONE,
    "gzip": Compression.GZIP,
    "snappy": Compression.SNAPPY,
    "lz4": Compression.LZ4,
    "zstd": Compression.ZSTD,
}


def _level(settings: TopicSettings) -> int | None:
    """The level of the topic's own compression; None is the codec's usual one."""
    if settings.compression_type == "zstd":
        return settings.compression_zstd_level
    level = settings.compression_gzip_level
    return level if settings.compression_type == "gzip" and level >= 0 else None
