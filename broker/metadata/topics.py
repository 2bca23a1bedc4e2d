"""Topics: creation, deletion, more partitions. One answer per topic, whatever the others get.

It must never leave a topic half made: each topic's records are in one batch or none are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final, TypeVar
from uuid import UUID

from broker.metadata.assignments import assignment_problem
from broker.metadata.cluster import Cluster
from broker.metadata.decision import PARTITIONS_PER_REQUEST_MAX, Decision, Refused, reply
from broker.metadata.names import topic_name_problem
from broker.metadata.placement import Candidate, NotEnoughBrokers, place
from broker.protocol.api_keys import METADATA_TOPIC
from broker.protocol.errors import ErrorCode
from broker.protocol.image import RESOURCE_TOPIC, PartitionState, TopicImage, partition_record
from broker.protocol.metadata_records import (
    ConfigRecord,
    MetadataRecord,
    RemoveTopicRecord,
    TopicRecord,
)
from broker.protocol.struct import ZERO_UUID, Struct
from broker.settings.definition import InvalidSetting
from broker.settings.describe import describe_new_topic
from broker.settings.topic import check_topic_config

T = TypeVar("T")

REPLICATION_FACTOR_MAX: Final = 32_767


class Topics:
    """Decides everything about topics and the number of their partitions."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    # CreateTopics

    def create(self, request: Struct) -> Decision:
        """CreateTopics: new topics with their partitions and settings."""
        repeated = _repeated(topic.name for topic in request.topics)
        taken = {name.replace(".", "_"): name for name in sorted(self._cluster.image.topics)}
        budget = PARTITIONS_PER_REQUEST_MAX
        records: list[MetadataRecord] = []
        results: list[Struct] = []
        done: set[str] = set()
        for topic in request.topics:
            if topic.name in done:
                continue
            done.add(topic.name)
            try:
                if topic.name in repeated:
                    raise Refused(ErrorCode.invalid_request, "Duplicate topic name.")
                self._check_name(topic.name, taken)
                overrides = _overrides(topic.get("configs") or ())
                states = self._new_partitions(topic, budget)
                created, result = self._created(topic, overrides, states)
            except Refused as refused:
                results.append(_create_result(topic.name, refused))
                continue
            budget -= len(states)
            results.append(result)
            if not request.validate_only:
                records += created
        return Decision(records, reply(topics=results))

    def _check_name(self, name: str, taken: dict[str, str]) -> None:
        problem = topic_name_problem(name)
        if problem is not None:
            raise Refused(ErrorCode.invalid_topic_exception, f"Topic name is invalid: {problem}")
        if name == METADATA_TOPIC:
            raise Refused(
                ErrorCode.invalid_request, f"Creation of internal topic {name} is prohibited."
            )
        if name in self._cluster.image.topics:
            raise Refused(ErrorCode.topic_already_exists, f"Topic '{name}' already exists.")
        other = taken.get(name.replace(".", "_"))
        if other is not None:
            raise Refused(
                ErrorCode.invalid_topic_exception,
                f"Topic '{name}' collides with existing topic: {other}",
            )

    def _new_partitions(self, topic: Struct, budget: int) -> list[PartitionState]:
        if topic.get("assignments"):
            states = self._assigned(topic)
        else:
            states = self._placed(topic, budget)
        if len(states) > budget:
            raise Refused(
                ErrorCode.policy_violation,
                "Excessively large number of partitions per request.",
            )
        return states

    def _placed(self, topic: Struct, budget: int) -> list[PartitionState]:
        config = self._cluster.config
        count, factor = topic.num_partitions, topic.replication_factor
        if count == -1:
            count = config.default_partitions
        if factor == -1:
            factor = config.default_replication_factor
        if not 1 <= factor <= REPLICATION_FACTOR_MAX:
            raise Refused(
                ErrorCode.invalid_replication_factor,
                "Replication factor must be larger than 0, or -1 to use the default value.",
            )
        if count < 1:
            raise Refused(
                ErrorCode.invalid_partitions,
                "Number of partitions was set to an invalid non-positive value.",
            )
        # One more than allowed is enough for the caller to refuse it.
        return self._place(min(count, budget + 1), factor)

    def _place(self, count: int, factor: int) -> list[PartitionState]:
        brokers = self._cluster.image.brokers
        candidates = [Candidate(b.id, b.rack, b.active) for b in brokers.values()]
        try:
            replicas = place(candidates, count, factor, self._cluster.rng)
        except NotEnoughBrokers as error:
            message = f"Unable to replicate the partition {factor} time(s): {error}"
            raise Refused(ErrorCode.invalid_replication_factor, message) from None
        states = [self._cluster.new_partition(r) for r in replicas]
        return [state for state in states if state is not None]

    def _assigned(self, topic: Struct) -> list[PartitionState]:
        for field, words in (
            ("replication_factor", "replication factor"),
            ("num_partitions", "numPartitions"),
        ):
            if topic.get(field, -1) != -1:
                raise Refused(
                    ErrorCode.invalid_request,
                    f"A manual partition assignment was specified, but {words} was not set to -1.",
                )
        by_index = {a.partition_index: tuple(a.broker_ids) for a in topic.assignments}
        if len(by_index) != len(topic.assignments):
            raise Refused(
                ErrorCode.invalid_replica_assignment,
                "Found multiple manual partition assignments for one partition.",
            )
        if sorted(by_index) != list(range(len(by_index))):
            raise Refused(
                ErrorCode.invalid_replica_assignment,
                "partitions should be a consecutive 0-based integer sequence",
            )
        replicas = [by_index[i] for i in range(len(by_index))]
        return self._manual(replicas, first=0, factor=len(replicas[0]))

    def _manual(
        self, assignments: Sequence[tuple[int, ...]], *, first: int, factor: int
    ) -> list[PartitionState]:
        states = []
        for index, replicas in enumerate(assignments, first):
            problem = assignment_problem(self._cluster.image, replicas, factor)
            state = self._cluster.new_partition(replicas) if problem is None else None
            if problem is None and state is None:
                problem = (
                    "All brokers specified in the manual partition assignment for partition "
                    f"{index} are fenced or in controlled shutdown."
                )
            if problem is not None:
                raise Refused(ErrorCode.invalid_replica_assignment, problem)
            assert state is not None
            states.append(state)
        return states

    def _created(
        self, topic: Struct, overrides: dict[str, str], states: Sequence[PartitionState]
    ) -> tuple[list[MetadataRecord], Struct]:
        topic_id = self._cluster.new_topic_id()
        records: list[MetadataRecord] = [TopicRecord(name=topic.name, topic_id=topic_id)]
        records += [
            ConfigRecord(
                resource_type=RESOURCE_TOPIC,
                resource_name=topic.name,
                name=name,
                value=overrides[name],
            )
            for name in sorted(overrides)
        ]
        records += [partition_record(topic_id, i, state) for i, state in enumerate(states)]
        cluster = self._cluster
        entries = describe_new_topic(
            cluster.image, cluster.config.static, overrides, node_id=cluster.config.node_id
        )
        result = Struct(
            name=topic.name,
            topic_id=topic_id,
            error_code=ErrorCode.none,
            error_message=None,
            topic_config_error_code=0,
            num_partitions=len(states),
            replication_factor=len(states[0].replicas),
            configs=[
                Struct(
                    name=e.setting.name,
                    value=e.value,
                    read_only=e.read_only,
                    config_source=int(e.source),
                    is_sensitive=e.setting.sensitive,
                )
                for e in entries
            ],
        )
        return records, result

    # DeleteTopics

    def delete(self, request: Struct) -> Decision:
        """DeleteTopics: by name or, since version 6, by id."""
        wanted: list[tuple[str | None, UUID]] = [
            (topic.name, topic.topic_id) for topic in request.get("topics") or ()
        ]
        wanted += [(name, ZERO_UUID) for name in request.get("topic_names") or ()]
        repeated = _repeated(wanted)
        records: list[MetadataRecord] = []
        results: list[Struct] = []
        removed: set[UUID] = set()
        for name, topic_id in dict.fromkeys(wanted):
            try:
                if (name, topic_id) in repeated:
                    kind = "name" if name is not None else "id"
                    raise Refused(ErrorCode.invalid_request, f"Duplicate topic {kind}.")
                topic = self._deletable(name, topic_id)
                if topic.id in removed:
                    raise Refused(
                        ErrorCode.invalid_request,
                        "The provided topic name maps to an ID that was already supplied.",
                    )
            except Refused as refused:
                results.append(
                    Struct(
                        name=name,
                        topic_id=topic_id,
                        error_code=refused.code,
                        error_message=str(refused),
                    )
                )
                continue
            removed.add(topic.id)
            records.append(RemoveTopicRecord(topic_id=topic.id))
            results.append(
                Struct(
                    name=topic.name,
                    topic_id=topic.id,
                    error_code=ErrorCode.none,
                    error_message=None,
                )
            )
        return Decision(records, reply(responses=results))

    def _deletable(self, name: str | None, topic_id: UUID) -> TopicImage:
        if name is None and topic_id == ZERO_UUID:
            raise Refused(ErrorCode.invalid_request, "Neither topic name nor id were specified.")
        if name is not None and topic_id != ZERO_UUID:
            raise Refused(
                ErrorCode.invalid_request, "You may not specify both topic name and topic id."
            )
        if not self._cluster.config.topic_deletion_enabled:
            raise Refused(ErrorCode.topic_deletion_disabled, "Topic deletion is disabled.")
        if name is None:
            topic = self._cluster.topic(topic_id)
            if topic is None:
                raise Refused(
                    ErrorCode.unknown_topic_id, "This server does not host this topic ID."
                )
            return topic
        return self._existing(name)

    def _existing(self, name: str) -> TopicImage:
        topic = self._cluster.image.topics.get(name)
        if topic is None:
            raise Refused(
                ErrorCode.unknown_topic_or_partition,
                "This server does not host this topic-partition.",
            )
        return topic

    # CreatePartitions

    def create_partitions(self, request: Struct) -> Decision:
        """CreatePartitions: raise the number of partitions to ``count``."""
        repeated = _repeated(topic.name for topic in request.topics)
        budget = PARTITIONS_PER_REQUEST_MAX
        records: list[MetadataRecord] = []
        results: list[Struct] = []
        done: set[str] = set()
        for wish in request.topics:
            if wish.name in done:
                continue
            done.add(wish.name)
            code, message = ErrorCode.none, None
            try:
                if wish.name in repeated:
                    raise Refused(ErrorCode.invalid_request, "Duplicate topic name.")
                topic = self._existing(wish.name)
                states = self._more_partitions(topic, wish, budget)
            except Refused as refused:
                code, message = refused.code, str(refused)
            else:
                budget -= len(states)
                if not request.validate_only:
                    records += [
                        partition_record(topic.id, i, state)
                        for i, state in enumerate(states, len(topic.partitions))
                    ]
            results.append(Struct(name=wish.name, error_code=code, error_message=message))
        return Decision(records, reply(results=results))

    def _more_partitions(
        self, topic: TopicImage, wish: Struct, budget: int
    ) -> list[PartitionState]:
        present = len(topic.partitions)
        more = wish.count - present
        if more == 0:
            raise Refused(
                ErrorCode.invalid_partitions, f"Topic already has {present} partition(s)."
            )
        if more < 0:
            raise Refused(
                ErrorCode.invalid_partitions,
                f"The topic {topic.name} currently has {present} partition(s); {wish.count} would "
                "not be an increase.",
            )
        if more > budget:
            raise Refused(
                ErrorCode.policy_violation,
                "Excessively large number of partitions per request.",
            )
        factor = len(topic.partitions[0].replicas)
        assignments = wish.get("assignments")
        if assignments is None:
            return self._place(more, factor)
        if len(assignments) != more:
            raise Refused(
                ErrorCode.invalid_replica_assignment,
                f"Attempted to add {more} additional partition(s), but only {len(assignments)} "
                "assignment(s) were specified.",
            )
        replicas = [tuple(a.broker_ids) for a in assignments]
        return self._manual(replicas, first=present, factor=factor)


def _overrides(configs: Iterable[Struct]) -> dict[str, str]:
    overrides: dict[str, str] = {}
    for config in configs:
        if config.value is None:
            raise Refused(
                ErrorCode.invalid_config,
                f"Null value not supported for topic configs: {config.name}",
            )
        overrides[config.name] = config.value
    try:
        check_topic_config(overrides)
    except InvalidSetting as error:
        raise Refused(ErrorCode.invalid_config, str(error)) from None
    return overrides


def _create_result(name: str, refused: Refused) -> Struct:
    return Struct(
        name=name,
        topic_id=ZERO_UUID,
        error_code=refused.code,
        error_message=str(refused),
        topic_config_error_code=0,
        num_partitions=-1,
        replication_factor=-1,
        configs=[],
    )


def _repeated(items: Iterable[T]) -> set[T]:
    return {item for item, count in Counter(items).items() if count > 1}
