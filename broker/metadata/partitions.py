"""Partitions: ISR changes that leaders propose, elections on request, preferred leaders.

AlterPartition is compare-and-set on the partition epoch (KIP-497), and checks the broker epoch
of every new member (KIP-903). It must never let a broker into an ISR that is not active.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final
from uuid import UUID

from broker.metadata.cluster import Cluster
from broker.metadata.decision import ELECTIONS_PER_REBALANCE_MAX, Decision, Refused, reply
from broker.metadata.election import change, leaderless, preferred
from broker.metadata.reassignment import Reassignments
from broker.metadata.replies import refusal
from broker.protocol.api_keys import ApiKey
from broker.protocol.errors import ErrorCode
from broker.protocol.image import (
    NO_LEADER,
    RECOVERING,
    PartitionState,
    TopicImage,
    changed_partition,
)
from broker.protocol.metadata_records import MetadataRecord, PartitionChangeRecord
from broker.protocol.struct import Struct

PREFERRED: Final = 0
UNCLEAN: Final = 1


class Partitions:
    """Decides everything about the leaders and ISRs of partitions that exist."""

    def __init__(self, cluster: Cluster, reassignments: Reassignments) -> None:
        self._cluster = cluster
        self._reassignments = reassignments

    # AlterPartition

    def alter(self, request: Struct) -> Decision:
        """AlterPartition: a leader asks for a new ISR; each partition gets its own answer."""
        if self._cluster.broker(request.broker_id, request.broker_epoch) is None:
            return Decision(reply=reply(error_code=ErrorCode.stale_broker_epoch, topics=[]))
        records: list[MetadataRecord] = []
        topics: list[Struct] = []
        altered: set[tuple[UUID, int]] = set()
        for wanted in request.topics:
            topic = self._cluster.topic(wanted.topic_id)
            rows: list[Struct] = []
            for part in wanted.partitions:
                try:
                    key = (wanted.topic_id, part.partition_index)
                    if topic is None:
                        raise Refused(ErrorCode.unknown_topic_id, "no such topic")
                    state = self._alterable(topic, part.partition_index)
                    if key in altered:
                        raise Refused(ErrorCode.invalid_update_version, "asked for twice")
                    record, row = self._altered(topic, state, part, request.broker_id)
                except Refused as refused:
                    rows.append(
                        Struct(partition_index=part.partition_index, error_code=refused.code)
                    )
                    continue
                rows.append(row)
                if record is not None:
                    altered.add(key)
                    records.append(record)
            topics.append(Struct(topic_id=wanted.topic_id, partitions=rows))
        return Decision(records, reply(error_code=ErrorCode.none, topics=topics))

    @staticmethod
    def _alterable(topic: TopicImage, index: int) -> PartitionState:
        if not 0 <= index < len(topic.partitions):
            raise Refused(ErrorCode.unknown_topic_or_partition, "no such partition")
        return topic.partitions[index]

    def _altered(
        self, topic: TopicImage, state: PartitionState, part: Struct, broker_id: int
    ) -> tuple[PartitionChangeRecord | None, Struct]:
        members = _members(part)
        isr = tuple(broker for broker, _ in members)
        self._check_alter(state, part, broker_id, isr)
        self._check_eligible(members, broker_id)
        index = part.partition_index
        recovery = part.get("leader_recovery_state", 0)
        if state.adding or state.removing:
            goal = replace(state, isr=isr)
            record = self._reassignments.towards(
                topic, index, state, goal, unclean=False, recovery=recovery
            )
        else:
            record = change(topic.id, index, state, isr=isr, recovery=recovery)
        after = state if record is None else changed_partition(state, record)
        moved = after.leader != state.leader
        row = Struct(
            partition_index=index,
            error_code=ErrorCode.new_leader_elected if moved else ErrorCode.none,
            leader_id=after.leader,
            leader_epoch=after.leader_epoch,
            isr=list(after.isr),
            leader_recovery_state=after.leader_recovery_state,
            partition_epoch=after.partition_epoch,
        )
        return record, row

    @staticmethod
    def _check_alter(
        state: PartitionState, part: Struct, broker_id: int, isr: tuple[int, ...]
    ) -> None:
        recovering = part.get("leader_recovery_state", 0) == RECOVERING
        if part.leader_epoch > state.leader_epoch or part.partition_epoch > state.partition_epoch:
            # It knows more than we do, so we are most likely no longer the active controller.
            raise Refused(ErrorCode.not_controller, "the leader is ahead")
        if part.leader_epoch < state.leader_epoch:
            raise Refused(ErrorCode.fenced_leader_epoch, "another leader was elected")
        if broker_id != state.leader:
            raise Refused(ErrorCode.invalid_request, "only the leader may change the ISR")
        if part.partition_epoch < state.partition_epoch:
            raise Refused(ErrorCode.invalid_update_version, "the partition has changed")
        if not isr or len(set(isr)) != len(isr) or not set(isr) <= set(state.replicas):
            raise Refused(ErrorCode.invalid_request, "the ISR must be some of the replicas")
        if broker_id not in isr:
            raise Refused(ErrorCode.invalid_request, "the leader must stay in the ISR")
        if recovering and (len(isr) > 1 or state.leader_recovery_state != RECOVERING):
            raise Refused(ErrorCode.invalid_request, "a recovering leader is alone in the ISR")

    def _check_eligible(self, members: Sequence[tuple[int, int]], leader: int) -> None:
        for broker_id, epoch in members:
            broker = self._cluster.image.brokers.get(broker_id)
            # Epoch -1: the proposer does not know it (version 2 of the API).
            if broker is None or epoch not in (-1, broker.epoch):
                raise Refused(ErrorCode.ineligible_replica, f"broker {broker_id} is not eligible")
            # A leader that is out of room needs others in sync, to give its leadership away.
            leads = broker_id == leader and broker.out_of_room and broker.serving
            if not (broker.active or leads):
                raise Refused(ErrorCode.ineligible_replica, f"broker {broker_id} is not eligible")

    # ElectLeaders

    def elect(self, request: Struct) -> Decision:
        """ElectLeaders: preferred (0) or unclean (1), for some partitions or, with null, all."""
        kind = request.election_type
        if kind not in (PREFERRED, UNCLEAN):
            unknown = f"Unknown election type {kind}"
            code = ErrorCode.invalid_request
            return Decision(reply=refusal(ApiKey.ELECT_LEADERS, request, code, unknown))
        everything = request.topic_partitions is None
        records: list[MetadataRecord] = []
        results: list[Struct] = []
        for name, indexes in self._asked(request):
            rows = []
            for index in dict.fromkeys(indexes):
                code, message = ErrorCode.none, None
                try:
                    records.append(self._elected(kind, name, index))
                except Refused as refused:
                    code, message = refused.code, str(refused)
                if everything and code is ErrorCode.election_not_needed:
                    continue
                rows.append(Struct(partition_id=index, error_code=code, error_message=message))
            if rows or everything:
                results.append(Struct(topic=name, partition_result=rows))
        answer = reply(error_code=ErrorCode.none, replica_election_results=results)
        return Decision(records, answer)

    def _asked(self, request: Struct) -> list[tuple[str, list[int]]]:
        image = self._cluster.image
        if request.topic_partitions is None:
            return [
                (name, list(range(len(image.topics[name].partitions))))
                for name in sorted(image.topics)
            ]
        asked: dict[str, list[int]] = {}
        for topic in request.topic_partitions:
            asked.setdefault(topic.topic, []).extend(topic.partitions)
        return list(asked.items())

    def _elected(self, kind: int, name: str, index: int) -> MetadataRecord:
        image = self._cluster.image
        topic, state = image.topics.get(name), image.partition(name, index)
        if topic is None or state is None:
            missing = (
                f"No such topic as {name}"
                if topic is None
                else f"No such partition as {name}-{index}"
            )
            raise Refused(ErrorCode.unknown_topic_or_partition, missing)
        if kind == PREFERRED:
            if state.leader == state.preferred_leader:
                raise Refused(ErrorCode.election_not_needed, "The preferred leader leads already.")
            record = preferred(topic.id, index, state, image.is_active)
            if record is None:
                raise Refused(
                    ErrorCode.preferred_leader_not_available,
                    f"The preferred leader {state.preferred_leader} is fenced or out of sync.",
                )
            return record
        if state.leader != NO_LEADER:
            raise Refused(ErrorCode.election_not_needed, "The partition has a leader.")
        record = leaderless(topic.id, index, state, image.is_active, unclean=True)
        if record is None:
            raise Refused(
                ErrorCode.eligible_leaders_not_available, "No replica of the partition is active."
            )
        return record

    # Preferred leaders

    def rebalance(self) -> list[MetadataRecord]:
        """Elect preferred leaders for brokers that lead too little of what prefers them."""
        image = self._cluster.image
        owned: dict[int, int] = {}
        missing: dict[int, list[PartitionChangeRecord | None]] = {}
        for topic, index, state in image.iter_partitions():
            first = state.preferred_leader
            owned[first] = owned.get(first, 0) + 1
            if state.leader != first:
                record = preferred(topic.id, index, state, image.is_active)
                missing.setdefault(first, []).append(record)
        records: list[MetadataRecord] = []
        for broker in sorted(missing):
            share = 100 * len(missing[broker]) / owned[broker]
            if share > self._cluster.config.imbalance_percentage:
                records += [record for record in missing[broker] if record is not None]
        return records[:ELECTIONS_PER_REBALANCE_MAX]

    def leads_all_preferred(self, broker_id: int) -> bool:
        """Whether the broker leads every partition that prefers it."""
        return all(
            state.leader == broker_id
            for _, _, state in self._cluster.image.iter_partitions()
            if state.preferred_leader == broker_id
        )


def _members(part: Struct) -> list[tuple[int, int]]:
    """The proposed ISR as (broker, broker epoch or -1); version 2 has no epochs."""
    with_epochs = part.get("new_isr_with_epochs") or ()
    if with_epochs:
        return [(m.broker_id, m.get("broker_epoch", -1)) for m in with_epochs]
    return [(broker_id, -1) for broker_id in part.get("new_isr") or ()]
