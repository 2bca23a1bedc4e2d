"""What the controller decides, and what it needs to know to decide. Plain data, nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from broker.protocol.errors import ErrorCode, LogctlError
from broker.protocol.metadata_records import MetadataRecord
from broker.protocol.struct import Struct
from broker.settings.broker import BrokerSettings

PRODUCER_ID_BLOCK: Final = 1000
PARTITIONS_PER_REQUEST_MAX: Final = 10_000
ELECTIONS_PER_REBALANCE_MAX: Final = 1_000
# How many partitions one decision moves when a broker goes or comes: some ten milliseconds. The
# rest follows at once, but the quorum's own messages come in between.
MOVED_AT_ONCE_MAX: Final = 256
NEXT_ROUND_MS: Final = 100
# A look at sessions that comes later than this found the controller itself asleep, so brokers get
# this long to be heard before they are fenced.
LATE_MS_MAX: Final = 1_000
# After a broker comes back, leadership is looked at this often until it has it all again.
RETURN_CHECK_MS: Final = 5_000


@dataclass(frozen=True, slots=True)
class Decision:
    """Records to append as one batch, and what to answer once they are committed.

    Nothing has changed yet: the records take effect when they are replayed.
    """

    records: list[MetadataRecord] = field(default_factory=list)
    reply: Struct = field(default_factory=Struct)


class Refused(LogctlError):
    """One item of a request cannot be done; ``code`` is the wire error."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class ControllerConfig:
    """What a controller is told at its start. ``static`` is its node's file, by Kafka's names."""

    cluster_id: str
    node_id: int = 0
    static: Mapping[str, str] = field(default_factory=dict)
    metadata_version: int = 25  # Kafka's number for 4.0-IV3
    session_timeout_ms: int = 9_000
    default_partitions: int = 1
    default_replication_factor: int = 1
    topic_deletion_enabled: bool = True
    rebalance_enabled: bool = True
    rebalance_interval_ms: int = 300_000
    imbalance_percentage: int = 10

    @classmethod
    def from_static(
        cls, static: Mapping[str, str], *, cluster_id: str, node_id: int
    ) -> ControllerConfig:
        """Read what matters from a node's file. Raises InvalidSetting."""
        settings = BrokerSettings(static)
        return cls(
            cluster_id=cluster_id,
            node_id=node_id,
            static=dict(static),
            session_timeout_ms=settings.integer("broker.session.timeout.ms"),
            default_partitions=settings.integer("num.partitions"),
            default_replication_factor=settings.integer("default.replication.factor"),
            topic_deletion_enabled=settings.boolean("delete.topic.enable"),
            rebalance_enabled=settings.boolean("auto.leader.rebalance.enable"),
            rebalance_interval_ms=settings.integer("leader.imbalance.check.interval.seconds")
            * 1000,
            imbalance_percentage=settings.integer("leader.imbalance.per.broker.percentage"),
        )


def reply(**fields: Any) -> Struct:
    """A response body; no request is throttled here."""
    return Struct(throttle_time_ms=0, **fields)
