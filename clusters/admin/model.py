"""What the admin client answers: frozen data with `to_json()`. Names are Kafka's.

An `int | None` offset is None when the partition's leader did not answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, field
from typing import Any, Literal

from broker.protocol.lazy_dataclass import dataclass

BrokerState = Literal["up", "fenced", "down"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerInfo:
    """A broker. `down`: it holds replicas, but no broker list names it (host is "" then)."""

    id: int
    host: str
    port: int
    rack: str | None
    state: BrokerState
    is_controller: bool = False
    leaders: int = 0
    replicas: int = 0

    @property
    def address(self) -> str:
        """`host:port`, or "" when unknown."""
        return f"{self.host}:{self.port}" if self.host else ""

    def to_json(self) -> dict[str, Any]:
        """Plain data for output."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterInfo:
    """A cluster as one broker sees it; `controller_id` is -1 when there is none."""

    cluster_id: str
    controller_id: int
    brokers: list[BrokerInfo]

    def to_json(self) -> dict[str, Any]:
        """Plain data for output."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicSummary:
    """A topic in a list. `under_replicated` and `offline` count partitions."""

    topic: str
    id: str
    partitions: int
    replication_factor: int
    under_replicated: int
    offline: int
    internal: bool

    def to_json(self) -> dict[str, Any]:
        """Plain data for output."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionInfo:
    """One partition; `leader` is -1 when it has none; `offline` are replicas on dead brokers."""

    partition: int
    leader: int
    leader_epoch: int
    replicas: list[int]
    isr: list[int]
    offline: list[int]
    start_offset: int | None = None
    end_offset: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain data for output."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedPartition:
    """A partition of any topic, as Metadata tells it; `min_isr` is None when it was not found."""

    topic: str
    partition: int
    leader: int
    leader_epoch: int
    replicas: tuple[int, ...]
    isr: tuple[int, ...]
    offline: tuple[int, ...]
    internal: bool
    min_isr: int | None = None

    @property
    def is_offline(self) -> bool:
        """Whether nobody leads it."""
        return self.leader < 0

    @property
    def is_under_replicated(self) -> bool:
        """Whether a replica is out of sync."""
        return len(self.isr) < len(self.replicas)

    @property
    def needed_isr(self) -> int | None:
        """In-sync replicas that acks=all needs: never more than there are replicas."""
        return None if self.min_isr is None else min(self.min_isr, max(1, len(self.replicas)))

    @property
    def is_under_min_isr(self) -> bool:
        """Whether acks=all is refused."""
        return self.needed_isr is not None and len(self.isr) < self.needed_isr

    @property
    def is_at_min_isr(self) -> bool:
        """Whether the loss of one more in-sync replica would refuse acks=all."""
        return self.needed_isr is not None and len(self.isr) == self.needed_isr

    def to_json(self) -> dict[str, Any]:
        """Plain data for output."""
        return asdict(self) | {
            "replicas": list(self.replicas),
            "isr": list(self.isr),
            "offline": list(self.offline),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigEntry:
    """One setting; `value` is None when it is sensitive. `source` is Kafka's name of the origin."""

    name: str
    value: str | None
    source: str
    read_only: bool = False
    is_sensitive: bool = False
    type: str = "unknown"
    documentation: str | None = None
    synonyms: list[tuple[str, str | None, str]] = field(default_factory=list)

    @property
    def is_default(self) -> bool:
        """Whether nobody set it."""
        return self.source == "default"

    def to_json(self) -> dict[str, Any]:
        """Plain data for output."""
        data = asdict(self)
        data["is_default"] = self.is_default
        data["synonyms"] = [
            {"name": name, "value": value, "source": source}
            for name, value, source in self.synonyms
        ]
        return data


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicDetail:
    """A topic with its partitions. `config` holds what is not default, sensitive values left out.

    `problems` names what could not be found out because a broker did not answer.
    """

    topic: str
    id: str
    internal: bool
    partitions: list[PartitionInfo]
    config: dict[str, str]
    config_entries: list[ConfigEntry]
    problems: list[str]

    def to_json(self) -> dict[str, Any]:
        """The documented fields, in order."""
        return {
            "topic": self.topic,
            "id": self.id,
            "partitions": [partition.to_json() for partition in self.partitions],
            "config": self.config,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class QuorumReplica:
    """A voter or observer; times are milliseconds since 1970, -1 when unknown."""

    id: int
    directory_id: str | None
    log_end_offset: int
    last_fetch_ms: int
    last_caught_up_ms: int

    def to_json(self) -> dict[str, Any]:
        """Plain data for output."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class QuorumInfo:
    """The metadata quorum. `nodes` are controller listeners, empty before DescribeQuorum v2."""

    leader_id: int
    leader_epoch: int
    high_watermark: int
    voters: list[QuorumReplica]
    observers: list[QuorumReplica]
    nodes: Mapping[int, tuple[str, int]]

    def lag(self, replica: QuorumReplica) -> int | None:
        """Records that a replica is behind the leader; None while either end is unknown."""
        ends = [each.log_end_offset for each in self.voters if each.id == self.leader_id]
        if not ends or ends[0] < 0 or replica.log_end_offset < 0:
            return None
        return max(0, ends[0] - replica.log_end_offset)

    def to_json(self) -> dict[str, Any]:
        """Plain data for output."""
        return {
            "leader_id": self.leader_id,
            "leader_epoch": self.leader_epoch,
            "high_watermark": self.high_watermark,
            "voters": [each.to_json() | {"lag": self.lag(each)} for each in self.voters],
            "observers": [each.to_json() | {"lag": self.lag(each)} for each in self.observers],
            "nodes": [
                {"id": node, "host": host, "port": port}
                for node, (host, port) in sorted(self.nodes.items())
            ],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatedTopic:
    """A topic that was made, or would be (validate only)."""

    topic: str
    id: str | None
    partitions: int
    replication_factor: int
    validate_only: bool

    def to_json(self) -> dict[str, Any]:
        """Plain data for output."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class ElectionResult:
    """One partition of an election; `error` is None when it was elected or needed none."""

    topic: str
    partition: int
    elected: bool
    error: str | None

    def to_json(self) -> dict[str, Any]:
        """Plain data for output."""
        return asdict(self)
