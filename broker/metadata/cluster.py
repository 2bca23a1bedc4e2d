"""The controller's speculative image, and the questions its parts ask of it.

Speculative: it holds what was appended, committed or not. Only ``replay`` of records moves it.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from itertools import islice
from typing import TYPE_CHECKING
from uuid import UUID

from broker.metadata.decision import MOVED_AT_ONCE_MAX, ControllerConfig
from broker.metadata.election import leaderless, without_brokers
from broker.protocol.image import (
    EMPTY_IMAGE,
    LOST_DIRECTORY,
    NO_LEADER,
    RESOURCE_TOPIC,
    UNASSIGNED_DIRECTORY,
    BrokerRegistration,
    PartitionState,
    TopicImage,
)
from broker.protocol.metadata_records import MetadataRecord
from broker.protocol.struct import uuid_to_text
from broker.settings.definition import InvalidSetting
from broker.settings.topic import TOPIC_SETTINGS, topic_value_places

if TYPE_CHECKING:
    from random import Random

_UNCLEAN = "unclean.leader.election.enable"


class Cluster:
    """Read access to the image for every part of one controller."""

    def __init__(self, config: ControllerConfig, rng: Random) -> None:
        self.config = config
        self.rng = rng
        self.image = EMPTY_IMAGE
        # Whether fenced brokers may still have places in ISRs, and leaderless partitions a replica
        # that could lead them: one decision moves no more than so many partitions.
        self.unswept = False
        self.unrevived = False

    def broker(self, broker_id: int, epoch: int) -> BrokerRegistration | None:
        """The registration, if this is its current epoch."""
        broker = self.image.brokers.get(broker_id)
        return broker if broker is not None and broker.epoch == epoch else None

    def unclean(self, topic: str) -> bool:
        """Whether the topic allows a leader that is not in sync."""
        overrides = self.image.config(RESOURCE_TOPIC, topic)
        config = self.config
        for place in topic_value_places(
            _UNCLEAN, overrides, config.static, self.image, config.node_id
        ):
            try:
                return TOPIC_SETTINGS[_UNCLEAN].parse(place.value) is True
            except InvalidSetting:
                continue
        return False

    def stopped(self, gone: AbstractSet[int]) -> list[MetadataRecord]:
        """The changes of partitions when these brokers stop, beside those that are fenced already.

        The first so many; when there may be more, `swept` gives them.
        """
        fenced = {broker.id for broker in self.image.brokers.values() if broker.fenced}
        records = list(islice(self._stopped(gone | fenced), MOVED_AT_ONCE_MAX))
        self.unswept = self.unswept or len(records) == MOVED_AT_ONCE_MAX
        return records

    def swept(self) -> list[MetadataRecord]:
        """What is left to be changed on account of brokers that are fenced, or some of it."""
        self.unswept = False
        return self.stopped(frozenset())

    def stopped_all(self, gone: AbstractSet[int]) -> list[MetadataRecord]:
        """All the changes of partitions when these brokers stop."""
        return list(self._stopped(gone))

    def _stopped(self, gone: AbstractSet[int]) -> Iterator[MetadataRecord]:
        active = self.image.is_active
        for name in sorted(self.image.topics):
            topic = self.image.topics[name]
            unclean: bool | None = None
            for index, state in enumerate(topic.partitions):
                if state.leader not in gone and gone.isdisjoint(state.isr):
                    continue
                if unclean is None:
                    unclean = self.unclean(name)
                record = without_brokers(topic.id, index, state, gone, active, unclean=unclean)
                if record is not None:
                    yield record

    def out_of_room(self, broker_id: int) -> list[MetadataRecord]:
        """The changes of every partition that can do without a broker whose disk is full.

        Where no other replica is in sync it stays, and leads: what it has can be read. The first so
        many: its next heartbeat asks again.
        """
        records: list[MetadataRecord] = []
        for topic, index, state in self.image.iter_partitions():
            others = [r for r in state.isr if r != broker_id and self.image.is_active(r)]
            if broker_id not in (state.leader, *state.isr) or not others:
                continue
            record = without_brokers(
                topic.id, index, state, {broker_id}, self.image.is_active, unclean=False
            )
            if record is not None:
                records.append(record)
            if len(records) == MOVED_AT_ONCE_MAX:
                break
        return records

    def revived(self, back: int | None = None) -> list[MetadataRecord]:
        """Elections for partitions without leader, with broker ``back`` counted as active.

        The first so many; when there may be more, ``unrevived`` says so.
        """

        def active(replica: int) -> bool:
            return replica == back or self.image.is_active(replica)

        records: list[MetadataRecord] = []
        self.unrevived = False
        unclean: dict[str, bool] = {}
        for topic, index, state in self.image.iter_partitions():
            if len(records) == MOVED_AT_ONCE_MAX:
                self.unrevived = True
                break
            if state.leader == NO_LEADER:
                if topic.name not in unclean:
                    unclean[topic.name] = self.unclean(topic.name)
                record = leaderless(topic.id, index, state, active, unclean=unclean[topic.name])
                if record is not None:
                    records.append(record)
        return records

    def new_partition(self, replicas: tuple[int, ...]) -> PartitionState | None:
        """A new partition on these replicas; None when none of them is active."""
        isr = tuple(r for r in replicas if self.image.is_active(r))
        if not isr:
            return None
        return PartitionState(
            replicas=replicas,
            isr=isr,
            leader=isr[0],
            directories=tuple(self.directory(r) for r in replicas),
        )

    def directory(self, broker_id: int) -> UUID:
        """A broker's only data folder; unassigned when it has several to choose from."""
        broker = self.image.brokers.get(broker_id)
        folders = () if broker is None else [d for d in broker.log_dirs if d != LOST_DIRECTORY]
        return folders[0] if len(folders) == 1 else UNASSIGNED_DIRECTORY

    def new_topic_id(self) -> UUID:
        """A random id that no topic has, and that a shell does not take for an option."""
        while True:
            topic_id = UUID(int=self.rng.getrandbits(128), version=4)
            if topic_id not in self.image.topic_names and uuid_to_text(topic_id)[0] != "-":
                return topic_id

    def topic(self, topic_id: UUID) -> TopicImage | None:
        """The topic with this id."""
        return self.image.topic_by_id(topic_id)
