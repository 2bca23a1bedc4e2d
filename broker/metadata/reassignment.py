"""Moving replicas (KIP-455): what AlterPartitionReassignments asks for, and how a move ends.

A move first adds the new replicas to the list. Once every replica of the target is in sync, the
others leave it (in the AlterPartition that says so, or at once when nothing has to be copied).
Pure. It must never finish a move while a target replica is out of sync, and never empty an ISR.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from uuid import UUID

from broker.metadata.assignments import assignment_problem
from broker.metadata.cluster import Cluster
from broker.metadata.decision import Decision, Refused, reply
from broker.metadata.election import change, elect
from broker.protocol.errors import ErrorCode
from broker.protocol.image import (
    LEADER_UNCHANGED,
    NO_LEADER,
    RECOVERY_UNCHANGED,
    PartitionState,
    TopicImage,
    changed_partition,
)
from broker.protocol.metadata_records import MetadataRecord, PartitionChangeRecord
from broker.protocol.struct import Struct


class Reassignments:
    """Decides where the replicas of existing partitions are."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    # AlterPartitionReassignments

    def alter(self, request: Struct) -> Decision:
        """AlterPartitionReassignments: each partition moves, stops moving, or is refused."""
        may_resize = bool(request.get("allow_replication_factor_change", True))
        records: list[MetadataRecord] = []
        # A partition that is named twice moves twice.
        moved: dict[tuple[str, int], PartitionState] = {}
        responses: list[Struct] = []
        for wanted in request.topics:
            rows: list[Struct] = []
            for part in wanted.partitions:
                code, message = ErrorCode.none, None
                key = (wanted.name, part.partition_index)
                try:
                    topic, state = self._found(*key)
                    state = moved.get(key, state)
                    record = self._altered(topic, state, part, may_resize=may_resize)
                except Refused as refused:
                    code, message = refused.code, str(refused)
                else:
                    if record is not None:
                        records.append(record)
                        moved[key] = changed_partition(state, record)
                rows.append(
                    Struct(
                        partition_index=part.partition_index, error_code=code, error_message=message
                    )
                )
            responses.append(Struct(name=wanted.name, partitions=rows))
        answer = reply(
            allow_replication_factor_change=may_resize,
            error_code=ErrorCode.none,
            error_message=None,
            responses=responses,
        )
        return Decision(records, answer)

    def _found(self, name: str, index: int) -> tuple[TopicImage, PartitionState]:
        topic = self._cluster.image.topics.get(name)
        if topic is None:
            raise Refused(
                ErrorCode.unknown_topic_or_partition, f"Unable to find a topic named {name}."
            )
        if not 0 <= index < len(topic.partitions):
            raise Refused(
                ErrorCode.unknown_topic_or_partition, f"Unable to find partition {name}:{index}."
            )
        return topic, topic.partitions[index]

    def _altered(
        self, topic: TopicImage, state: PartitionState, part: Struct, *, may_resize: bool
    ) -> PartitionChangeRecord | None:
        if part.replicas is None:
            return self._cancelled(topic, state, part.partition_index)
        target = tuple(part.replicas)
        problem = assignment_problem(self._cluster.image, target)
        if problem is not None:
            raise Refused(ErrorCode.invalid_replica_assignment, problem)
        if not may_resize:
            size = len(set(state.replicas) - set(state.removing))
            if size != len(target):
                raise Refused(
                    ErrorCode.invalid_replication_factor,
                    f"The replication factor is changed from {size} to {len(target)}",
                )
        removing = tuple(sorted(set(state.replicas) - set(target)))
        adding = tuple(sorted(set(target) - set(state.replicas)))
        goal = replace(
            state,
            replicas=target + removing,
            # Nothing new to add or remove: what an earlier request wanted goes on.
            adding=adding or state.adding,
            removing=removing or state.removing,
        )
        return self.towards(topic, part.partition_index, state, goal, unclean=False)

    def _cancelled(
        self, topic: TopicImage, state: PartitionState, index: int
    ) -> PartitionChangeRecord | None:
        """Back to the replicas before the move; what it had removed from the ISR stays out."""
        if not (state.adding or state.removing):
            raise Refused(
                ErrorCode.no_reassignment_in_progress, "No partition reassignment is in progress."
            )
        replicas = tuple(r for r in state.replicas if r not in state.adding)
        if not replicas:
            raise Refused(
                ErrorCode.invalid_replica_assignment,
                "Invalid replica assignment: addingReplicas contains all replicas.",
            )
        unclean = self._cluster.unclean(topic.name)
        isr = tuple(r for r in state.isr if r not in state.adding)
        if not isr:
            if not unclean:
                raise Refused(
                    ErrorCode.invalid_replica_assignment,
                    f"Unable to revert partition assignment for {topic.name}:{index} because it "
                    "would require an unclean leader election.",
                )
            isr = replicas[:1]
        goal = replace(state, replicas=replicas, isr=isr, adding=(), removing=())
        return self.towards(topic, index, state, goal, unclean=unclean)

    # The change itself

    def towards(
        self,
        topic: TopicImage,
        index: int,
        state: PartitionState,
        goal: PartitionState,
        *,
        unclean: bool,
        recovery: int = RECOVERY_UNCHANGED,
    ) -> PartitionChangeRecord | None:
        """The change from ``state`` to ``goal``, which ends the move if it can; None: no change.

        When a replica leaves the list the leader epoch grows, so that nobody serves the one that
        left by the old assignment.
        """
        goal = finished(goal) or goal
        active = self._cluster.image.is_active
        leader, isr = LEADER_UNCHANGED, goal.isr
        if state.leader not in isr or not active(state.leader):
            elected, isr, elected_recovery = elect(goal, active, unclean=unclean)
            old = self._cluster.image.brokers.get(state.leader)
            if elected == NO_LEADER and state.leader in goal.isr and old and old.serving:
                elected = state.leader  # out of room, but nobody else can, and it can be read
            if elected != state.leader:
                leader = elected
            if elected_recovery != RECOVERY_UNCHANGED:
                recovery = elected_recovery
        if leader == LEADER_UNCHANGED and not set(state.replicas) <= set(goal.replicas):
            leader = state.leader
        return change(
            topic.id,
            index,
            state,
            leader=leader,
            isr=isr,
            recovery=recovery,
            replicas=_unless(goal.replicas, state.replicas),
            adding=_unless(goal.adding, state.adding),
            removing=_unless(goal.removing, state.removing),
            directories=self._directories(state, goal.replicas),
        )

    def _directories(
        self, state: PartitionState, replicas: tuple[int, ...]
    ) -> tuple[UUID, ...] | None:
        if replicas == state.replicas:
            return None
        known: dict[int, UUID] = {}
        if len(state.directories) == len(state.replicas):
            known = dict(zip(state.replicas, state.directories, strict=True))
        return tuple(known.get(r) or self._cluster.directory(r) for r in replicas)

    # ListPartitionReassignments

    def under_way(self, request: Struct) -> Decision:
        """ListPartitionReassignments: the moves under way; of null topics, all of them."""
        topics = [
            Struct(name=topic.name, partitions=rows)
            for topic, indexes in self._listed(request)
            if (rows := _moves(topic, indexes))
        ]
        return Decision(reply=reply(error_code=ErrorCode.none, error_message=None, topics=topics))

    def _listed(self, request: Struct) -> Iterator[tuple[TopicImage, list[int]]]:
        topics = self._cluster.image.topics
        if request.topics is None:
            for name in sorted(topics):
                yield topics[name], list(range(len(topics[name].partitions)))
            return
        for asked in request.topics:
            if asked.name in topics:
                yield topics[asked.name], list(asked.partition_indexes)


def finished(state: PartitionState) -> PartitionState | None:
    """The partition after its move, or None while there is none or it is not over."""
    if not (state.adding or state.removing):
        return None
    target = tuple(r for r in state.replicas if r not in state.removing)
    isr = tuple(r for r in state.isr if r not in state.removing)
    if not target or not set(target) <= set(isr):
        return None
    return replace(state, replicas=target, isr=isr, adding=(), removing=())


def _moves(topic: TopicImage, indexes: list[int]) -> list[Struct]:
    return [
        Struct(
            partition_index=index,
            replicas=list(state.replicas),
            adding_replicas=list(state.adding),
            removing_replicas=list(state.removing),
        )
        for index in indexes
        if 0 <= index < len(topic.partitions)
        and ((state := topic.partitions[index]).adding or state.removing)
    ]


def _unless(wanted: tuple[int, ...], present: tuple[int, ...]) -> tuple[int, ...] | None:
    return None if wanted == present else wanted
