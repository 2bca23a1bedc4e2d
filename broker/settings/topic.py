"""Every topic setting, the broker settings it inherits from, and the resolved typed values.

A topic's value is its own override, else the broker's value of the same meaning (dynamic for the
broker, dynamic for all brokers, from the file), else the default. It must never read a file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from broker.protocol.image import RESOURCE_BROKER, RESOURCE_TOPIC, MetadataImage
from broker.settings.broker import BROKER_SETTINGS
from broker.settings.definition import (
    LONG_MAX,
    ConfigSource,
    ConfigType,
    InvalidSetting,
    Setting,
    Value,
    all_of,
    at_least,
    between,
    index,
    one_of,
    setting_named,
    throttled_replicas,
)

_BOOLEAN, _STRING, _INT = ConfigType.BOOLEAN, ConfigType.STRING, ConfigType.INT
_LONG, _DOUBLE, _LIST = ConfigType.LONG, ConfigType.DOUBLE, ConfigType.LIST
COMPRESSIONS: Final = ("uncompressed", "zstd", "lz4", "snappy", "gzip", "producer")


TOPIC_SETTINGS: Final = index(
    (
        Setting(
            "cleanup.policy",
            _LIST,
            "delete",
            "What happens to old segments: delete them by age and size, compact them to the last "
            "value of each key, or both; empty keeps them for ever.",
            all_of("compact", "delete"),
        ),
        Setting(
            "compression.gzip.level",
            _INT,
            "-1",
            "The level used when compression.type is gzip; -1 is the library's own choice.",
            between(-1, 9),
        ),
        Setting(
            "compression.lz4.level",
            _INT,
            "9",
            "The level used when compression.type is lz4.",
            between(1, 17),
        ),
        Setting(
            "compression.type",
            _STRING,
            "producer",
            "How batches are compressed on disk. 'producer' keeps them as they were sent.",
            one_of(*COMPRESSIONS),
        ),
        Setting(
            "compression.zstd.level",
            _INT,
            "3",
            "The level used when compression.type is zstd.",
            between(-131072, 22),
        ),
        Setting(
            "delete.retention.ms",
            _LONG,
            "86400000",
            "How long a compacted topic keeps the marker of a deleted key, so that a reader that "
            "started before the deletion still sees it.",
            at_least(0),
        ),
        Setting(
            "file.delete.delay.ms",
            _LONG,
            "60000",
            "How long a segment that was taken out of the log stays on disk.",
            at_least(0),
        ),
        Setting(
            "flush.messages",
            _LONG,
            str(LONG_MAX),
            "Force the log to disk after this many records. Replication is what keeps records "
            "safe by default.",
            at_least(1),
        ),
        Setting(
            "flush.ms",
            _LONG,
            str(LONG_MAX),
            "Force the log to disk when its oldest unflushed record is this old.",
            at_least(0),
        ),
        Setting(
            "follower.replication.throttled.replicas",
            _LIST,
            "",
            "Replicas whose fetching is throttled: partition:broker pairs, or * for all.",
            throttled_replicas,
        ),
        Setting(
            "index.interval.bytes",
            _INT,
            "4096",
            "One entry of the offset index is written for about this many bytes of log.",
            at_least(0),
        ),
        Setting(
            "leader.replication.throttled.replicas",
            _LIST,
            "",
            "Replicas whose sending is throttled: partition:broker pairs, or * for all.",
            throttled_replicas,
        ),
        Setting(
            "local.retention.bytes",
            _LONG,
            "-2",
            "With remote storage: bytes kept on the broker's own disk. -2 follows retention.bytes.",
            at_least(-2),
        ),
        Setting(
            "local.retention.ms",
            _LONG,
            "-2",
            "With remote storage: time kept on the broker's own disk. -2 follows retention.ms.",
            at_least(-2),
        ),
        Setting(
            "max.compaction.lag.ms",
            _LONG,
            str(LONG_MAX),
            "A record becomes ready for compaction at the latest after this time.",
            at_least(1),
        ),
        Setting(
            "max.message.bytes",
            _INT,
            "1048588",
            "The largest record batch that is accepted, after compression.",
            at_least(0),
        ),
        Setting(
            "message.timestamp.after.max.ms",
            _LONG,
            "3600000",
            "How far a producer's timestamp may lie ahead of the broker's clock.",
            at_least(0),
        ),
        Setting(
            "message.timestamp.before.max.ms",
            _LONG,
            str(LONG_MAX),
            "How far a producer's timestamp may lie behind the broker's clock.",
            at_least(0),
        ),
        Setting(
            "message.timestamp.type",
            _STRING,
            "CreateTime",
            "Whether a record carries the time the producer gave it or that of its append.",
            one_of("CreateTime", "LogAppendTime"),
        ),
        Setting(
            "min.cleanable.dirty.ratio",
            _DOUBLE,
            "0.5",
            "Compact the log once this share of it has not been compacted yet.",
            between(0, 1),
        ),
        Setting(
            "min.compaction.lag.ms",
            _LONG,
            "0",
            "A record stays uncompacted for at least this time.",
            at_least(0),
        ),
        Setting(
            "min.insync.replicas",
            _INT,
            "1",
            "With acks=all a write is refused while fewer replicas than this are in sync.",
            at_least(1),
        ),
        Setting(
            "preallocate",
            _BOOLEAN,
            "false",
            "Whether a new segment's file is made at its full size.",
        ),
        Setting(
            "remote.log.copy.disable",
            _BOOLEAN,
            "false",
            "With remote storage: stop copying segments to it.",
        ),
        Setting(
            "remote.log.delete.on.disable",
            _BOOLEAN,
            "false",
            "With remote storage: delete what was copied once it is disabled.",
        ),
        Setting(
            "remote.storage.enable",
            _BOOLEAN,
            "false",
            "Whether segments are copied to remote storage. Not available in this broker.",
            lambda value: "remote storage is not available in this broker" if value else None,
        ),
        Setting(
            "retention.bytes",
            _LONG,
            "-1",
            "Delete the oldest segments of a partition beyond this size; negative is no limit.",
        ),
        Setting(
            "retention.ms",
            _LONG,
            "604800000",
            "Delete segments whose newest record is older than this; -1 keeps them for ever.",
            at_least(-1),
        ),
        Setting(
            "segment.bytes",
            _INT,
            "1073741824",
            "Start a new segment file at this size.",
            at_least(14),
        ),
        Setting(
            "segment.index.bytes",
            _INT,
            "10485760",
            "The largest size of a segment's index; a full index starts a new segment.",
            at_least(4),
        ),
        Setting(
            "segment.jitter.ms",
            _LONG,
            "0",
            "Spread segment rolls by up to this time, so that they do not come all at once.",
            at_least(0),
        ),
        Setting(
            "segment.ms",
            _LONG,
            "604800000",
            "Start a new segment after this time even when the last one is not full.",
            at_least(1),
        ),
        Setting(
            "unclean.leader.election.enable",
            _BOOLEAN,
            "false",
            "Whether a replica that is out of sync may become leader when no other is left. "
            "Acknowledged records can be lost then.",
        ),
    )
)

# Broker settings that stand in for a topic setting, strongest first, with the factor that turns
# the broker's unit into the topic's (log.retention.hours counts hours, retention.ms milliseconds).
_HOUR_MS, _MINUTE_MS = 3_600_000, 60_000
BROKER_SYNONYMS: Final[Mapping[str, tuple[tuple[str, int], ...]]] = {
    "cleanup.policy": (("log.cleanup.policy", 1),),
    "compression.gzip.level": (("compression.gzip.level", 1),),
    "compression.lz4.level": (("compression.lz4.level", 1),),
    "compression.type": (("compression.type", 1),),
    "compression.zstd.level": (("compression.zstd.level", 1),),
    "delete.retention.ms": (("log.cleaner.delete.retention.ms", 1),),
    "file.delete.delay.ms": (("log.segment.delete.delay.ms", 1),),
    "flush.messages": (("log.flush.interval.messages", 1),),
    "flush.ms": (("log.flush.interval.ms", 1), ("log.flush.scheduler.interval.ms", 1)),
    "index.interval.bytes": (("log.index.interval.bytes", 1),),
    "max.compaction.lag.ms": (("log.cleaner.max.compaction.lag.ms", 1),),
    "max.message.bytes": (("message.max.bytes", 1),),
    "message.timestamp.after.max.ms": (("log.message.timestamp.after.max.ms", 1),),
    "message.timestamp.before.max.ms": (("log.message.timestamp.before.max.ms", 1),),
    "message.timestamp.type": (("log.message.timestamp.type", 1),),
    "min.cleanable.dirty.ratio": (("log.cleaner.min.cleanable.ratio", 1),),
    "min.compaction.lag.ms": (("log.cleaner.min.compaction.lag.ms", 1),),
    "min.insync.replicas": (("min.insync.replicas", 1),),
    "preallocate": (("log.preallocate", 1),),
    "retention.bytes": (("log.retention.bytes", 1),),
    "retention.ms": (
        ("log.retention.ms", 1),
        ("log.retention.minutes", _MINUTE_MS),
        ("log.retention.hours", _HOUR_MS),
    ),
    "segment.bytes": (("log.segment.bytes", 1),),
    "segment.index.bytes": (("log.index.size.max.bytes", 1),),
    "segment.jitter.ms": (("log.roll.jitter.ms", 1), ("log.roll.jitter.hours", _HOUR_MS)),
    "segment.ms": (("log.roll.ms", 1), ("log.roll.hours", _HOUR_MS)),
    "unclean.leader.election.enable": (("unclean.leader.election.enable", 1),),
}


@dataclass(frozen=True, slots=True)
class Synonym:
    """One place a value may come from, strongest first in a list of them."""

    name: str
    value: str | None
    source: ConfigSource


def topic_setting(name: str) -> Setting:
    """The definition of a topic setting. Raises InvalidSetting."""
    return setting_named(TOPIC_SETTINGS, name, "topic")


def check_topic_config(values: Mapping[str, str]) -> None:
    """Check a topic's whole set of overrides. Raises InvalidSetting for the first that is wrong."""
    typed: dict[str, Value] = {}
    for name in sorted(values):
        typed[name] = topic_setting(name).parse(values[name])
    low = typed.get("min.compaction.lag.ms", 0)
    high = typed.get("max.compaction.lag.ms", LONG_MAX)
    assert isinstance(low, int)
    assert isinstance(high, int)
    if low > high:
        raise InvalidSetting(
            "conflict topic config setting min.compaction.lag.ms "
            f"({low}) > max.compaction.lag.ms ({high})"
        )


def topic_value_places(
    name: str,
    overrides: Mapping[str, str],
    static: Mapping[str, str],
    image: MetadataImage | None = None,
    node_id: int | None = None,
) -> Iterator[Synonym]:
    """Every place that gives this topic setting a value, strongest first; the default ends it.

    ``static`` holds the broker's file, only what is written there. ``node_id`` selects the
    dynamic settings of one broker. The first place is the one in force.
    """
    if name in overrides:
        yield Synonym(name, overrides[name], ConfigSource.TOPIC)
    own = image.config(RESOURCE_BROKER, str(node_id)) if image and node_id is not None else {}
    common = image.config(RESOURCE_BROKER, "") if image else {}
    synonyms = BROKER_SYNONYMS.get(name, ())
    # Kafka's order: all places of the strongest synonym come before those of the next.
    for broker_name, factor in synonyms:
        for values, source in (
            (own, ConfigSource.DYNAMIC_BROKER),
            (common, ConfigSource.DYNAMIC_DEFAULT_BROKER),
            (static, ConfigSource.STATIC_BROKER),
        ):
            if broker_name in values:
                yield Synonym(broker_name, _scaled(values[broker_name], factor), source)
    default_name = name
    if synonyms:
        default_name = next(
            (n for n, _ in synonyms if BROKER_SETTINGS[n].default is not None), synonyms[-1][0]
        )
    yield Synonym(default_name, TOPIC_SETTINGS[name].default, ConfigSource.DEFAULT)


def _scaled(text: str, factor: int) -> str:
    if factor == 1:
        return text
    value = int(text)
    return str(value * factor if value > 0 else value)


@dataclass(frozen=True, slots=True)
class TopicSettings:
    """A topic's settings in force, typed. Sizes in bytes, times in milliseconds, -1 = no limit."""

    cleanup_policy: tuple[str, ...] = ("delete",)
    compression_type: str = "producer"
    compression_gzip_level: int = -1
    compression_lz4_level: int = 9
    compression_zstd_level: int = 3
    delete_retention_ms: int = 86_400_000
    file_delete_delay_ms: int = 60_000
    flush_messages: int = LONG_MAX
    flush_ms: int = LONG_MAX
    index_interval_bytes: int = 4096
    max_compaction_lag_ms: int = LONG_MAX
    max_message_bytes: int = 1_048_588
    message_timestamp_after_max_ms: int = 3_600_000
    message_timestamp_before_max_ms: int = LONG_MAX
    message_timestamp_type: str = "CreateTime"
    min_cleanable_dirty_ratio: float = 0.5
    min_compaction_lag_ms: int = 0
    min_insync_replicas: int = 1
    preallocate: bool = False
    retention_bytes: int = -1
    retention_ms: int = 604_800_000
    segment_bytes: int = 1_073_741_824
    segment_index_bytes: int = 10_485_760
    segment_jitter_ms: int = 0
    segment_ms: int = 604_800_000
    unclean_leader_election_enable: bool = False
    # Ours, from the broker setting log.flush.policy: "background" or "commit".
    flush_policy: str = "background"

    @property
    def compacted(self) -> bool:
        """Whether old values of a key may be dropped, so that every record needs a key."""
        return "compact" in self.cleanup_policy

    @property
    def deletes(self) -> bool:
        """Whether old segments are deleted by age and size."""
        return "delete" in self.cleanup_policy

    @property
    def log_append_time(self) -> bool:
        """Whether the broker stamps records with its own time."""
        return self.message_timestamp_type == "LogAppendTime"

    @property
    def flush_on_commit(self) -> bool:
        """Whether acks=all waits for the disk, too."""
        return self.flush_policy == "commit"

    @classmethod
    def resolve(
        cls,
        image: MetadataImage,
        static: Mapping[str, str],
        topic: str,
        node_id: int | None = None,
    ) -> TopicSettings:
        """The settings in force for ``topic`` on broker ``node_id`` with the given broker file.

        A value that is not acceptable (written by another version) counts as not set.
        """
        overrides = image.config(RESOURCE_TOPIC, topic)
        own, common = image.config(RESOURCE_BROKER, str(node_id)), image.config(RESOURCE_BROKER, "")
        given = {*overrides, *own, *common, *static}
        resolved: dict[str, Any] = {
            _field(name): _in_force(TOPIC_SETTINGS[name], overrides, static, image, node_id)
            for name, places in _PLACES.items()
            if not given.isdisjoint(places)
        }
        policy = _flush_policy(static, image, node_id)
        return cls(**resolved, flush_policy=policy)


def _field(name: str) -> str:
    return name.replace(".", "_")


# For each setting that is resolved, every name that may give it a value other than the default.
_PLACES: Final[dict[str, frozenset[str]]] = {
    name: frozenset({name, *(synonym for synonym, _ in BROKER_SYNONYMS.get(name, ()))})
    for name in TOPIC_SETTINGS
    if _field(name) in TopicSettings.__dataclass_fields__
}


def _in_force(
    setting: Setting,
    overrides: Mapping[str, str],
    static: Mapping[str, str],
    image: MetadataImage,
    node_id: int | None,
) -> Value:
    for place in topic_value_places(setting.name, overrides, static, image, node_id):
        try:
            return setting.parse(place.value)
        except (InvalidSetting, ValueError):
            continue
    return setting.default_value


def _flush_policy(static: Mapping[str, str], image: MetadataImage, node_id: int | None) -> str:
    name = "log.flush.policy"
    for values in (
        image.config(RESOURCE_BROKER, str(node_id)),
        image.config(RESOURCE_BROKER, ""),
        static,
    ):
        if name in values:
            return values[name]
    return BROKER_SETTINGS[name].default or "background"
