"""Calls on where replicas lie and who leads: log dirs, moves, elections, producers, features."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence

from broker.protocol.api_keys import ApiKey
from broker.protocol.errors import ErrorCode
from broker.protocol.struct import Struct
from clusters.admin import parse
from clusters.admin.asking import (
    LAST_CHANCE_MS,
    RETRY_CODES,
    RETRY_PAUSE_S,
    Asking,
    Partition,
)
from clusters.admin.errors import AdminError, code_words
from clusters.admin.gathered import Failure, Gathered
from clusters.admin.model import ElectionResult
from clusters.admin.placement_model import (
    ActiveProducer,
    Feature,
    LogDir,
    Reassignment,
    ReplicaSize,
)


class PlacementCalls(Asking):
    """What the admin client can do with replicas and leaders."""

    async def log_dirs(self, broker_ids: Iterable[int] | None = None) -> Gathered[LogDir]:
        """The log dirs of brokers (all, unless named) with the size of each replica, sorted."""
        deadline = self._deadline()
        addresses = await self._addresses(deadline)
        failures: list[Failure] = []
        if broker_ids is not None:
            wanted = set(broker_ids)
            failures += [
                Failure(where=f"broker {node}", what="log dirs", reason="it is not running")
                for node in sorted(wanted - set(addresses))
            ]
            addresses = {node: addresses[node] for node in wanted & set(addresses)}
        answers, silent = await self._at_brokers(
            addresses, ApiKey.DESCRIBE_LOG_DIRS, Struct(topics=None), "log dirs", deadline
        )
        failures += silent
        found: list[LogDir] = []
        for node, answer in answers.items():
            code = answer.get("error_code", ErrorCode.none)
            if code != ErrorCode.none:
                reason = self._words(ApiKey.DESCRIBE_LOG_DIRS, code)
                failures.append(Failure(where=f"broker {node}", what="log dirs", reason=reason))
            found += [_log_dir(node, result) for result in answer.results]
        found.sort(key=lambda each: (each.broker, each.path))
        return Gathered(tuple(found), tuple(failures))

    async def reassignments(self) -> list[Reassignment]:
        """The moves of replicas that are under way, sorted."""
        deadline = self._deadline()
        answer = await self._change_whole(
            ApiKey.LIST_PARTITION_REASSIGNMENTS,
            Struct(topics=None, timeout_ms=deadline.left_ms()),
            "The moves under way are not told",
            deadline,
        )
        found = [
            Reassignment(
                topic=topic.name,
                partition=each.partition_index,
                replicas=tuple(each.replicas),
                adding=tuple(each.adding_replicas),
                removing=tuple(each.removing_replicas),
            )
            for topic in answer.topics
            for each in topic.partitions
        ]
        return sorted(found, key=lambda each: (each.topic, each.partition))

    async def reassign(self, targets: Mapping[Partition, Sequence[int] | None]) -> None:
        """Begin to move partitions to replicas (the first is preferred to lead); None cancels.

        Raises AdminError naming each partition that was refused; the others are then moving.
        """
        deadline = self._deadline()
        by_topic: dict[str, list[Struct]] = {}
        for (topic, partition), replicas in sorted(targets.items(), key=lambda item: item[0]):
            by_topic.setdefault(topic, []).append(
                Struct(
                    partition_index=partition,
                    replicas=None if replicas is None else list(replicas),
                )
            )
        body = Struct(
            timeout_ms=deadline.left_ms(),
            topics=[Struct(name=name, partitions=each) for name, each in by_topic.items()],
        )
        what = "Replicas are not moved"
        answer = await self._change_whole(
            ApiKey.ALTER_PARTITION_REASSIGNMENTS, body, what, deadline
        )
        refused = [
            (f"{topic.name}:{each.partition_index}", each)
            for topic in answer.responses
            for each in topic.partitions
            if each.error_code != ErrorCode.none
        ]
        if refused:
            reasons = "; ".join(
                f"{place}: {code_words(each.error_code, each.error_message)}"
                for place, each in refused
            )
            raise AdminError(f"{what}: {reasons}", code=int(refused[0][1].error_code))

    async def elect_leaders(
        self, preferred: bool = True, partitions: Iterable[Partition] | None = None
    ) -> list[ElectionResult]:
        """Elect leaders: the preferred ones, or (`preferred=False`) any, even out of sync.

        None for `partitions` means all. Raises AdminError when the request fails as a whole.
        """
        deadline = self._deadline()
        by_topic: dict[str, list[int]] = {}
        for topic, partition in partitions or ():
            by_topic.setdefault(topic, []).append(partition)
        named = [
            Struct(topic=topic, partitions=sorted(indexes))
            for topic, indexes in sorted(by_topic.items())
        ]
        body = Struct(
            election_type=0 if preferred else 1,
            topic_partitions=None if partitions is None else named,
            timeout_ms=deadline.left_ms(),
        )
        while True:
            answer = await self._ask(ApiKey.ELECT_LEADERS, body, deadline)
            code = answer.get("error_code", ErrorCode.none)
            if code == ErrorCode.none:
                return parse.elections(answer)
            if code not in RETRY_CODES or deadline.left_ms() < LAST_CHANCE_MS:
                words = self._words(ApiKey.ELECT_LEADERS, code)
                raise AdminError(f"No leader was elected: {words}", code=int(code))
            await asyncio.sleep(RETRY_PAUSE_S)

    async def producers(self, partitions: Iterable[Partition]) -> Gathered[ActiveProducer]:
        """The producers that the leaders of partitions remember, sorted."""

        def body(asked: list[Partition], timeout_ms: int) -> Struct:
            del timeout_ms
            by_topic: dict[str, list[int]] = {}
            for topic, partition in asked:
                by_topic.setdefault(topic, []).append(partition)
            return Struct(
                topics=[
                    Struct(name=name, partition_indexes=sorted(each))
                    for name, each in by_topic.items()
                ]
            )

        answers, failures = await self._at_leaders(
            partitions,
            ApiKey.DESCRIBE_PRODUCERS,
            body,
            lambda answer: {
                (topic.name, each.partition_index): each
                for topic in answer.topics
                for each in topic.partitions
            },
            "producers",
            self._deadline(),
        )
        found: list[ActiveProducer] = []
        for (topic, partition), told in sorted(answers.items()):
            if told.error_code != ErrorCode.none:
                reason = self._words(ApiKey.DESCRIBE_PRODUCERS, told.error_code, topic, told)
                failures.append(
                    Failure(where=f"{topic}:{partition}", what="producers", reason=reason)
                )
                continue
            found += [
                ActiveProducer(
                    topic=topic,
                    partition=partition,
                    producer_id=each.producer_id,
                    producer_epoch=each.producer_epoch,
                    last_sequence=each.last_sequence,
                    last_timestamp_ms=each.last_timestamp,
                    coordinator_epoch=each.coordinator_epoch,
                    txn_start_offset=(
                        each.current_txn_start_offset
                        if each.current_txn_start_offset >= 0
                        else None
                    ),
                )
                for each in told.active_producers
            ]
        found.sort(key=lambda each: (each.topic, each.partition, each.producer_id))
        return Gathered(tuple(found), tuple(failures))

    async def features(self) -> list[Feature]:
        """The features that the answering broker supports, and the levels of the cluster."""
        body = Struct(client_software_name="logctl", client_software_version="0")
        answer = await self._ask(ApiKey.API_VERSIONS, body, self._deadline(), max_version=3)
        levels = {
            each.name: each.max_version_level for each in answer.get("finalized_features") or ()
        }
        found = {
            each.name: Feature(
                feature=each.name,
                level=levels.get(each.name),
                min_supported=each.min_version,
                max_supported=each.max_version,
            )
            for each in answer.get("supported_features") or ()
        }
        return [found[name] for name in sorted(found)]

    async def unregister_broker(self, broker_id: int) -> None:
        """Forget a broker that will not come back (KIP-631). Raises AdminError."""
        await self._change_whole(
            ApiKey.UNREGISTER_BROKER,
            Struct(broker_id=broker_id),
            f"Broker {broker_id} was not unregistered",
            self._deadline(),
        )


def _log_dir(node: int, result: Struct) -> LogDir:
    replicas = [
        ReplicaSize(
            topic=topic.name,
            partition=each.partition_index,
            size_bytes=each.partition_size,
            offset_lag=each.offset_lag,
            is_future=bool(each.is_future_key),
        )
        for topic in result.topics
        for each in topic.partitions
    ]
    total, usable = result.get("total_bytes", -1), result.get("usable_bytes", -1)
    return LogDir(
        broker=node,
        path=result.log_dir,
        error=None if result.error_code == ErrorCode.none else code_words(result.error_code),
        total_bytes=total if total >= 0 else None,
        usable_bytes=usable if usable >= 0 else None,
        replicas=tuple(sorted(replicas, key=lambda each: (each.topic, each.partition))),
    )
