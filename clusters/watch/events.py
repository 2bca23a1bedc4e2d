"""Cluster events: what changed, when, from what to what. Plain frozen data.

`offset` is the place in the metadata log, -1 where there is none (sampled). `before` and `after`
are JSON values: broker ids for leaders (-1: no leader), lists of ids for ISR and replicas, words
for broker states, how many of a broker's log dirs take records, `name=value` for settings (None:
default), objects for topics and brokers.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class EventKind(StrEnum):
    """What can happen in a cluster."""

    LEADER_MOVED = "LeaderMoved"
    ISR_SHRUNK = "IsrShrunk"
    ISR_EXPANDED = "IsrExpanded"
    REPLICAS_CHANGED = "ReplicasChanged"
    UNCLEAN_ELECTION = "UncleanElection"
    BROKER_JOINED = "BrokerJoined"
    BROKER_LEFT = "BrokerLeft"
    BROKER_FENCED = "BrokerFenced"
    BROKER_UNFENCED = "BrokerUnfenced"
    BROKER_STOPPING = "BrokerStopping"
    LOG_DIR_OFFLINE = "LogDirOffline"
    LOG_DIR_ONLINE = "LogDirOnline"
    TOPIC_CREATED = "TopicCreated"
    TOPIC_DELETED = "TopicDeleted"
    PARTITIONS_ADDED = "PartitionsAdded"
    CONFIG_CHANGED = "ConfigChanged"
    FEATURE_CHANGED = "FeatureChanged"
    CONTROLLER_CHANGED = "ControllerChanged"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterEvent:
    """One event. `at_ms` is the record's timestamp, milliseconds since 1970 UTC."""

    at_ms: int
    offset: int
    kind: EventKind
    topic: str | None = None
    partition: int | None = None
    broker: int | None = None
    before: Any = None
    after: Any = None
    leader_epoch: int | None = None
    partition_epoch: int | None = None

    @property
    def at(self) -> str:
        """The time as ISO-8601 with milliseconds, UTC."""
        return iso_time(self.at_ms)

    def to_json(self) -> dict[str, Any]:
        """The documented fields, in order."""
        return {
            "at": self.at,
            "offset": self.offset,
            "kind": str(self.kind),
            "topic": self.topic,
            "partition": self.partition,
            "broker": self.broker,
            "before": self.before,
            "after": self.after,
            "leader_epoch": self.leader_epoch,
            "partition_epoch": self.partition_epoch,
        }


def iso_time(at_ms: int) -> str:
    """`2026-01-31T12:00:00.123Z` for milliseconds since 1970; "" for times no calendar has."""
    try:
        moment = _EPOCH + timedelta(milliseconds=at_ms)
    except OverflowError:
        return ""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at_ms % 1000:03d}Z"
