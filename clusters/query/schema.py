"""What can be asked about: tables, their fields, and what each field is. Data only.

`source` says what has to be asked of a cluster to know a field, so that a condition costs no more
than it needs.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from clusters.watch.events import EventKind


class Type(StrEnum):
    """What a value is, and so which operators fit."""

    NUMBER = "number"
    SIZE = "size"
    DURATION = "duration"
    TIME = "time"
    TEXT = "text"
    WORD = "one of some words"
    FLAG = "true or false"
    BROKERS = "set of brokers"
    NAMES = "set of names"
    SETTING = "setting"


# Compared by < and added up.
QUANTITIES: Final = frozenset({Type.NUMBER, Type.SIZE, Type.DURATION, Type.TIME})
SETS: Final = frozenset({Type.BROKERS, Type.NAMES})


class Source(StrEnum):
    """A question to the cluster."""

    METADATA = "metadata"
    TOPIC_CONFIGS = "topic configs"
    OFFSETS = "offsets"
    LOG_DIRS = "log dirs"
    REASSIGNMENTS = "reassignments"
    GROUPS = "groups"
    GROUP_LAG = "group lag"
    QUORUM = "quorum"
    EVENTS = "events"


@dataclass(frozen=True, slots=True)
class Field:
    """A column of a table. `choices` are all words that a WORD can be."""

    name: str
    type: Type
    help: str
    source: Source = Source.METADATA
    choices: tuple[str, ...] = ()
    nullable: bool = False


@dataclass(frozen=True, slots=True)
class TableSchema:
    """A kind of row; `keys` name the fields that tell one row from another, the first the best."""

    name: str
    one: str
    help: str
    source: Source
    keys: tuple[str, ...]
    fields: tuple[Field, ...]
    settings: bool = False

    def field(self, name: str) -> Field | None:
        """The field of that name; `config.NAME` is a topic's setting where the table has them."""
        for each in self.fields:
            if each.name == name:
                return each
        if self.settings and name.startswith("config.") and len(name) > len("config."):
            setting = name.removeprefix("config.")
            return Field(
                name, Type.SETTING, f"the setting {setting}", Source.TOPIC_CONFIGS, nullable=True
            )
        return None


_N, _S, _D, _B = Type.NUMBER, Type.SIZE, Type.DURATION, Type.BROKERS
GROUP_STATES: Final = (
    "Stable",
    "Empty",
    "PreparingRebalance",
    "CompletingRebalance",
    "Assigning",
    "Reconciling",
    "NotReady",
    "Dead",
    "Unknown",
)

_PARTITIONS = TableSchema(
    name="partitions",
    one="partition",
    help="one row for each partition",
    source=Source.METADATA,
    keys=("topic", "partition"),
    settings=True,
    fields=(
        Field("topic", Type.TEXT, "the topic's name"),
        Field("partition", _N, "the partition's number"),
        Field("leader", _N, "the leader's broker id, or none", nullable=True),
        Field("preferred_leader", _N, "the first replica", nullable=True),
        Field("leader_epoch", _N, "how often a leader was named"),
        Field("replicas", _B, "brokers that keep a copy; as a number: how many"),
        Field("isr", _B, "in-sync replicas; as a number: how many"),
        Field("offline_replicas", _B, "replicas on brokers that are not up"),
        Field("min_isr", _N, "min.insync.replicas of the topic", Source.TOPIC_CONFIGS),
        Field("under_replicated", Type.FLAG, "isr < replicas"),
        Field("under_min_isr", Type.FLAG, "too few in sync: acks=all fails", Source.TOPIC_CONFIGS),
        Field("at_min_isr", Type.FLAG, "isr = min_isr: one more loss", Source.TOPIC_CONFIGS),
        Field("offline", Type.FLAG, "it has no leader"),
        Field("internal", Type.FLAG, "the cluster's own topic"),
        Field("start", _N, "the first offset", Source.OFFSETS),
        Field("end", _N, "the next offset to be written", Source.OFFSETS),
        Field("records", _N, "end - start", Source.OFFSETS),
        Field("size", _S, "bytes of the leader's copy", Source.LOG_DIRS, nullable=True),
        Field("reassigning", Type.FLAG, "a move of replicas goes on", Source.REASSIGNMENTS),
        Field("adding", _B, "replicas that are being added", Source.REASSIGNMENTS),
        Field("removing", _B, "replicas that are being removed", Source.REASSIGNMENTS),
    ),
)
_TOPICS = TableSchema(
    name="topics",
    one="topic",
    help="one row for each topic",
    source=Source.METADATA,
    keys=("topic",),
    settings=True,
    fields=(
        Field("topic", Type.TEXT, "the topic's name"),
        Field("partitions", _N, "how many partitions"),
        Field("replication", _N, "replicas of each partition, the fewest"),
        Field("internal", Type.FLAG, "the cluster's own topic"),
        Field("under_replicated", _N, "partitions with isr < replicas"),
        Field("offline", _N, "partitions without a leader"),
        Field("under_min_isr", _N, "partitions with isr < min_isr", Source.TOPIC_CONFIGS),
        Field("min_isr", _N, "min.insync.replicas", Source.TOPIC_CONFIGS),
        Field("cleanup", Type.TEXT, "cleanup.policy", Source.TOPIC_CONFIGS),
        Field("retention", _D, "retention.ms, none: for ever", Source.TOPIC_CONFIGS, nullable=True),
        Field("records", _N, "end - start, all partitions", Source.OFFSETS),
        Field("size", _S, "bytes of the leaders' copies", Source.LOG_DIRS, nullable=True),
    ),
)
_BROKERS = TableSchema(
    name="brokers",
    one="broker",
    help="one row for each broker",
    source=Source.METADATA,
    keys=("broker",),
    fields=(
        Field("broker", _N, "the broker's id"),
        Field("host", Type.TEXT, "where it listens"),
        Field("port", _N, "where it listens"),
        Field("rack", Type.TEXT, "its rack, or none", nullable=True),
        Field("state", Type.WORD, "up, fenced or down", choices=("up", "fenced", "down")),
        Field("controller", Type.FLAG, "it leads the metadata quorum"),
        Field("leaders", _N, "partitions it leads"),
        Field("replicas", _N, "partitions it keeps a copy of"),
        Field("size", _S, "bytes of all copies on it", Source.LOG_DIRS),
        Field("disk_total", _S, "bytes of its disks", Source.LOG_DIRS, nullable=True),
        Field("disk_free", _S, "bytes left on its disks", Source.LOG_DIRS, nullable=True),
        Field("disk_used_percent", _N, "how full its disks are", Source.LOG_DIRS, nullable=True),
    ),
)
_GROUPS = TableSchema(
    name="groups",
    one="group",
    help="one row for each consumer group",
    source=Source.GROUPS,
    keys=("group",),
    fields=(
        Field("group", Type.TEXT, "the group's name"),
        Field("state", Type.WORD, "what it is doing", Source.GROUPS, choices=GROUP_STATES),
        Field("members", _N, "how many consumers", Source.GROUP_LAG),
        Field("coordinator", _N, "the broker that looks after it", Source.GROUPS, nullable=True),
        Field("lag", _N, "records not consumed, all partitions", Source.GROUP_LAG),
        Field("max_lag", _N, "records not consumed, worst partition", Source.GROUP_LAG),
        Field("topics", Type.NAMES, "topics it has committed offsets of", Source.GROUP_LAG),
    ),
)
_LAGS = TableSchema(
    name="lags",
    one="lag",
    help="one row for each partition of each group",
    source=Source.GROUP_LAG,
    keys=("group", "topic", "partition"),
    fields=(
        Field("group", Type.TEXT, "the group's name", Source.GROUP_LAG),
        Field("topic", Type.TEXT, "the topic's name", Source.GROUP_LAG),
        Field("partition", _N, "the partition's number", Source.GROUP_LAG),
        Field("committed", _N, "the committed offset, or none", Source.GROUP_LAG, nullable=True),
        Field("start", _N, "the partition's first offset", Source.GROUP_LAG),
        Field("end", _N, "the partition's next offset", Source.GROUP_LAG),
        Field("lag", _N, "records not consumed", Source.GROUP_LAG, nullable=True),
        Field("member", Type.TEXT, "who consumes it, or none", Source.GROUP_LAG, nullable=True),
    ),
)
_QUORUM = TableSchema(
    name="quorum",
    one="node",
    help="one row for each voter and observer of the metadata quorum",
    source=Source.QUORUM,
    keys=("node",),
    fields=(
        Field("node", _N, "the node's id", Source.QUORUM),
        Field(
            "role",
            Type.WORD,
            "leader, voter or observer",
            Source.QUORUM,
            ("leader", "voter", "observer"),
        ),
        Field("end", _N, "the next offset of its metadata log", Source.QUORUM),
        Field("lag", _N, "records behind the leader", Source.QUORUM),
        Field("behind", _D, "how long since it was caught up", Source.QUORUM, nullable=True),
        Field("silent", _D, "how long since it last fetched", Source.QUORUM, nullable=True),
    ),
)
_EVENTS = TableSchema(
    name="events",
    one="event",
    help="one row for each change that the metadata log tells",
    source=Source.EVENTS,
    keys=("offset", "kind", "topic", "partition", "broker"),
    fields=(
        Field("kind", Type.WORD, "what happened", Source.EVENTS, tuple(kind for kind in EventKind)),
        Field("at", Type.TIME, "when", Source.EVENTS),
        Field("age", _D, "how long ago", Source.EVENTS),
        Field("offset", _N, "where in the metadata log", Source.EVENTS),
        Field("topic", Type.TEXT, "the topic, or none", Source.EVENTS, nullable=True),
        Field("partition", _N, "the partition, or none", Source.EVENTS, nullable=True),
        Field("broker", _N, "the broker, or none", Source.EVENTS, nullable=True),
        Field("leader_epoch", _N, "the leader epoch, or none", Source.EVENTS, nullable=True),
        Field("before", Type.TEXT, "what it was", Source.EVENTS, nullable=True),
        Field("after", Type.TEXT, "what it became", Source.EVENTS, nullable=True),
    ),
)

TABLES: Final[dict[str, TableSchema]] = {
    table.name: table
    for table in (_PARTITIONS, _TOPICS, _BROKERS, _GROUPS, _LAGS, _QUORUM, _EVENTS)
}
