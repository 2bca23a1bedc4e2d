"""The group coordinators of this broker: one per partition of __consumer_offsets that it leads.

Follows the leadership of the partitions, finds the coordinator of a group, and has the offsets of
deleted topics removed. It must never answer for a partition that this broker does not lead.
"""

from collections.abc import Callable, Iterable
from functools import lru_cache
from ipaddress import IPv6Address
from random import Random

from broker.groups import GroupCoordinator, GroupSettings
from broker.protocol.errors import ErrorCode
from broker.protocol.image import ImageDelta, MetadataImage
from broker.replication import Partition
from broker.runtime.doors import Clock
from broker.runtime.group_shard import GroupShard
from broker.runtime.replicas import ReplicaManager
from broker.settings.broker import BrokerSettings

OFFSETS_TOPIC = "__consumer_offsets"


@lru_cache(maxsize=65_536)
def group_hash(group_id: str) -> int:
    """Java's String.hashCode, made positive as Kafka does: by its amount, the lowest one is 0."""
    value = 0
    data = group_id.encode("utf-16-be", "surrogatepass")
    for at in range(0, len(data), 2):
        value = (31 * value + (data[at] << 8 | data[at + 1])) & 0xFFFFFFFF
    signed = value - (1 << 32) if value & 0x80000000 else value
    return 0 if signed == -(1 << 31) else abs(signed)


@lru_cache(maxsize=4096)
def client_host(peer: str) -> str:
    """The host of a peer's "host:port" as Kafka prints it: "/127.0.0.1", "/0:0:0:0:0:0:0:1"."""
    host = peer.rpartition(":")[0].partition("%")[0]
    try:
        words = IPv6Address(host).packed
    except ValueError:
        return f"/{host}"
    return "/" + ":".join(f"{words[at] << 8 | words[at + 1]:x}" for at in range(0, 16, 2))


def group_settings(settings: BrokerSettings) -> GroupSettings:
    """The broker's settings as the core wants them."""
    return GroupSettings(
        initial_rebalance_delay_ms=settings.integer("group.initial.rebalance.delay.ms"),
        session_timeout_ms_min=settings.integer("group.min.session.timeout.ms"),
        session_timeout_ms_max=settings.integer("group.max.session.timeout.ms"),
        members_max=settings.integer("group.max.size"),
        offset_metadata_chars_max=settings.integer("offset.metadata.max.bytes"),
        offsets_retention_ms=settings.integer("offsets.retention.minutes") * 60_000,
        retention_check_interval_ms=settings.integer("offsets.retention.check.interval.ms"),
    )


class GroupManager:
    """The shards by partition index. `settings` gives the broker's settings as they are now."""

    def __init__(
        self,
        *,
        replicas: ReplicaManager,
        clock: Clock,
        rng: Random,
        settings: Callable[[], BrokerSettings],
    ) -> None:
        self._replicas = replicas
        self._clock = clock
        self._rng = rng
        self._settings = settings
        self._shards: dict[int, GroupShard] = {}
        self._stopping = False
        replicas.role_watchers.append(self._role_changed)

    def stop(self) -> None:
        """Coordinate nothing any more; whoever waits is told to look elsewhere."""
        self._stopping = True
        for index in list(self._shards):
            self._shards.pop(index).close()

    # -- leadership

    def _role_changed(self, partition: Partition) -> None:
        """A watcher of ReplicaManager: lead = load, anything else = unload, at once."""
        if partition.topic != OFFSETS_TOPIC:
            return
        index = partition.index
        shard = self._shards.get(index)
        if shard is not None:
            same_log = shard.partition is partition and partition.is_leader
            if same_log and not shard.closed and shard.leader_epoch >= partition.led_since_epoch:
                # Perhaps in a new epoch (a reassignment that ends), and nobody else appended.
                return
            del self._shards[index]
            shard.close()
        if partition.is_leader and not self._stopping:
            settings = self._settings()
            shard = self._shards[index] = GroupShard(
                GroupCoordinator(group_settings(settings), self._rng),
                partition,
                self._replicas,
                self._clock,
                settings.integer("offsets.commit.timeout.ms"),
            )
            shard.start()

    def apply(self, image: MetadataImage, delta: ImageDelta) -> None:
        """A publisher's subscriber: what was committed for deleted topics goes with them."""
        del image
        if not delta.topics_deleted:
            return
        names = frozenset(name for name, _ in delta.topics_deleted)
        for shard in list(self._shards.values()):
            if shard.loaded:
                shard.perform(shard.core.topics_deleted(names))

    # -- finding

    def partition_of(self, group_id: str) -> int:
        """The index of the partition that keeps this group."""
        topic = self._replicas.image.topics.get(OFFSETS_TOPIC)
        if topic is not None:
            count = len(topic.partitions)
        else:
            count = self._settings().integer("offsets.topic.num.partitions")
        return group_hash(group_id) % count

    def find(self, group_id: str) -> GroupShard | ErrorCode:
        """The shard that coordinates a group, or why it is not here."""
        if self._stopping:
            return ErrorCode.coordinator_not_available
        shard = self._shards.get(self.partition_of(group_id))
        if shard is None or shard.closed:
            return ErrorCode.not_coordinator
        if not shard.loaded:
            return ErrorCode.coordinator_load_in_progress
        return shard

    def by_shard(
        self, group_ids: Iterable[str]
    ) -> tuple[dict[GroupShard, list[str]], dict[str, ErrorCode]]:
        """Groups by the shard that coordinates them, and why the others are not here."""
        found: dict[GroupShard, list[str]] = {}
        missing: dict[str, ErrorCode] = {}
        for group_id in group_ids:
            shard = self.find(group_id)
            if isinstance(shard, GroupShard):
                found.setdefault(shard, []).append(group_id)
            else:
                missing[group_id] = shard
        return found, missing

    def shards(self) -> list[GroupShard]:
        """Every shard, in the order of the partitions."""
        return [self._shards[index] for index in sorted(self._shards)]
