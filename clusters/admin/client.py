"""The admin client: asks a cluster, and changes it, through Kafka's protocol alone.

Works with logd and Apache Kafka alike: versions are negotiated, and what a cluster cannot tell is
left out rather than guessed. Stays useful while brokers are down: answers are partial, never empty
because one broker did not answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Self
from uuid import UUID

from broker.protocol.api_keys import METADATA_TOPIC, ApiKey
from broker.protocol.errors import ErrorCode, LogctlError, UnsupportedVersion
from broker.protocol.network import Network
from broker.protocol.struct import ZERO_UUID, Struct, uuid_to_text
from clusters.admin import parse
from clusters.admin.connections import Connections, Deadline, join_address
from clusters.admin.errors import AdminError, UnknownTopic, code_words
from clusters.admin.model import (
    BrokerInfo,
    ClusterInfo,
    ConfigEntry,
    CreatedTopic,
    ElectionResult,
    PartitionInfo,
    QuorumInfo,
    TopicDetail,
    TopicSummary,
)
from clusters.nearest import nearest

EARLIEST = -2
LATEST = -1
RESOURCE_TOPIC = 2
RESOURCE_BROKER = 4
RETRY_PAUSE_S = 0.05
LEADER_TRIES = 3
VISIBLE_WAIT_MS = 3_000

# Nothing was done, and asking again soon may work.
RETRY_CODES = frozenset(
    {
        ErrorCode.not_controller,
        ErrorCode.coordinator_load_in_progress,
        ErrorCode.leader_not_available,
    }
)
MOVED_CODES = frozenset(
    {
        ErrorCode.not_leader_or_follower,
        ErrorCode.leader_not_available,
        ErrorCode.fenced_leader_epoch,
        ErrorCode.unknown_leader_epoch,
        ErrorCode.unknown_topic_or_partition,
    }
)

Partition = tuple[str, int]


class AdminClient:
    """Use as `async with AdminClient(["127.0.0.1:9092"]) as admin:`. Safe for concurrent calls.

    Every call ends within `timeout_ms` and raises LogctlError subclasses: ClusterUnreachable when
    no broker answers, AdminError when the cluster refuses.
    """

    def __init__(
        self,
        bootstrap: Sequence[str],
        *,
        timeout_ms: int = 10_000,
        network: Network | None = None,
    ) -> None:
        if not bootstrap:
            raise AdminError("No broker was named; give --bootstrap HOST:PORT or choose a context")
        self._connections = Connections(bootstrap, network)
        self._timeout_ms = timeout_ms

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection."""
        await self._connections.close()

    @property
    def source(self) -> str | None:
        """`host:port` of the broker that answered last."""
        return self._connections.last_good

    # Asking

    async def cluster(self) -> ClusterInfo:
        """The cluster's id, controller and brokers (without counts of leaders and replicas)."""
        deadline = self._deadline()
        described, leader_id = await asyncio.gather(
            self._describe_cluster(deadline), self._quorum_leader(deadline)
        )
        if leader_id is None:
            return described
        brokers = parse.mark_controller(described.brokers, leader_id)
        return ClusterInfo(
            cluster_id=described.cluster_id, controller_id=leader_id, brokers=brokers
        )

    async def brokers(self) -> list[BrokerInfo]:
        """Every broker that is registered or holds replicas, with counts, sorted by id."""
        deadline = self._deadline()
        cluster, metadata = await asyncio.gather(self.cluster(), self._metadata(None, deadline))
        return parse.broker_counts(cluster.brokers, metadata)

    async def topics(self) -> list[TopicSummary]:
        """Every topic, sorted by name."""
        metadata = await self._metadata(None, self._deadline())
        found = [parse.topic_summary(topic) for topic in metadata.topics if topic.name]
        return sorted(found, key=lambda summary: summary.topic)

    async def topic(self, name: str, *, offsets: bool = True) -> TopicDetail:
        """One topic with partitions, offsets and settings. Raises UnknownTopic."""
        deadline = self._deadline()
        entries: list[ConfigEntry] = []
        problems: list[str] = []
        topic = await self._topic_metadata(name, deadline)
        partitions = parse.partitions(topic)
        asked = [(name, partition.partition) for partition in partitions]
        wanted = (EARLIEST, LATEST) if offsets else ()
        answers = await asyncio.gather(
            self._configs(RESOURCE_TOPIC, name, deadline),
            *(self._offsets(asked, timestamp, deadline) for timestamp in wanted),
            return_exceptions=True,
        )
        for answer in answers:
            if isinstance(answer, BaseException) and not isinstance(answer, LogctlError):
                raise answer
        if isinstance(answers[0], LogctlError):
            problems.append(f"settings: {answers[0]}")
        elif isinstance(answers[0], list):
            entries = answers[0]
        found = [answer if isinstance(answer, dict) else {} for answer in answers[1:]] or [{}, {}]
        partitions = [
            parse.with_offsets(each, name, start=found[0], end=found[1]) for each in partitions
        ]
        missing = [
            str(each.partition) for each in partitions if offsets and each.end_offset is None
        ]
        if missing:
            problems.append(f"offsets of partition {', '.join(missing)}: no leader answered")
        return TopicDetail(
            topic=name,
            id=uuid_to_text(topic.get("topic_id") or ZERO_UUID),
            internal=bool(topic.is_internal),
            partitions=partitions,
            config={
                entry.name: entry.value
                for entry in entries
                if not entry.is_default and entry.value is not None
            },
            config_entries=entries,
            problems=problems,
        )

    async def quorum(self) -> QuorumInfo:
        """The metadata quorum: leader, voters, observers, controller addresses."""
        body = Struct(
            topics=[
                Struct(topic_name=METADATA_TOPIC, partitions=[Struct(partition_index=0)]),
            ]
        )
        answer = await self._ask(ApiKey.DESCRIBE_QUORUM, body, self._deadline())
        return parse.quorum(answer)

    async def offsets(
        self, partitions: Iterable[Partition], timestamp: int = LATEST
    ) -> dict[Partition, int | None]:
        """The offset at a time (ms since 1970; -1 end, -2 start, -3 largest timestamp).

        Asks all leaders at once; None for a partition whose leader did not answer, or that has no
        record that late.
        """
        return await self._offsets(list(partitions), timestamp, self._deadline())

    async def configs(self, resource_type: int, name: str) -> list[ConfigEntry]:
        """Every setting of a topic (type 2) or broker (type 4), sorted by name."""
        return await self._configs(resource_type, name, self._deadline())

    # Changing

    async def create_topic(
        self,
        name: str,
        partitions: int = -1,
        replication_factor: int = -1,
        configs: Mapping[str, str] | None = None,
        *,
        validate_only: bool = False,
    ) -> CreatedTopic:
        """Create a topic; -1 takes the cluster's default. Returns when brokers know it.

        Raises AdminError with the cluster's reason.
        """
        deadline = self._deadline()
        body = Struct(
            topics=[
                Struct(
                    name=name,
                    num_partitions=partitions,
                    replication_factor=replication_factor,
                    assignments=[],
                    configs=[
                        Struct(name=key, value=value)
                        for key, value in sorted((configs or {}).items())
                    ],
                )
            ],
            timeout_ms=deadline.left_ms(),
            validate_only=validate_only,
        )
        result = await self._change(
            ApiKey.CREATE_TOPICS, body, "topics", f'The topic "{name}" was not created', deadline
        )
        topic_id: UUID = result.get("topic_id") or ZERO_UUID
        if not validate_only:
            await self._until_visible(name, deadline)
        return CreatedTopic(
            topic=name,
            id=None if topic_id == ZERO_UUID else uuid_to_text(topic_id),
            partitions=_known(result.get("num_partitions", -1), partitions),
            replication_factor=_known(result.get("replication_factor", -1), replication_factor),
            validate_only=validate_only,
        )

    async def delete_topic(self, name: str) -> None:
        """Delete a topic. Raises UnknownTopic or AdminError."""
        deadline = self._deadline()
        body = Struct(
            topics=[Struct(name=name, topic_id=ZERO_UUID)],
            topic_names=[name],
            timeout_ms=deadline.left_ms(),
        )
        what = f'The topic "{name}" was not deleted'
        try:
            await self._change(ApiKey.DELETE_TOPICS, body, "responses", what, deadline)
        except AdminError as error:
            if error.code == ErrorCode.unknown_topic_or_partition:
                raise UnknownTopic(name, await self._hint(name, deadline)) from None
            raise

    async def create_partitions(
        self, name: str, count: int, *, validate_only: bool = False
    ) -> None:
        """Grow a topic to `count` partitions. Raises AdminError with the cluster's reason."""
        deadline = self._deadline()
        body = Struct(
            topics=[Struct(name=name, count=count, assignments=None)],
            timeout_ms=deadline.left_ms(),
            validate_only=validate_only,
        )
        what = f'The topic "{name}" did not get more partitions'
        await self._change(ApiKey.CREATE_PARTITIONS, body, "results", what, deadline)

    async def alter_configs(
        self,
        resource_type: int,
        name: str,
        changes: Mapping[str, str | None],
        *,
        validate_only: bool = False,
    ) -> None:
        """Set settings of a topic (2) or broker (4); None goes back to the default."""
        body = Struct(
            resources=[
                Struct(
                    resource_type=resource_type,
                    resource_name=name,
                    configs=[
                        Struct(
                            name=key, config_operation=0 if value is not None else 1, value=value
                        )
                        for key, value in sorted(changes.items())
                    ],
                )
            ],
            validate_only=validate_only,
        )
        what = f'The settings of "{name}" were not changed'
        await self._change(
            ApiKey.INCREMENTAL_ALTER_CONFIGS, body, "responses", what, self._deadline()
        )

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
            if code not in RETRY_CODES or deadline.left_ms() < 100:
                raise AdminError(f"No leader was elected: {code_words(code)}", code=int(code))
            await asyncio.sleep(RETRY_PAUSE_S)

    # Inside

    def _deadline(self) -> Deadline:
        return Deadline.after(self._timeout_ms)

    async def _ask(
        self, api_key: ApiKey, body: Struct, deadline: Deadline, max_version: int | None = None
    ) -> Struct:
        try:
            return await self._connections.request_any(
                api_key, body, deadline=deadline, max_version=max_version
            )
        except UnsupportedVersion as error:
            raise AdminError(
                f"The brokers do not support {api_key.name.lower()}: {error}",
                code=int(ErrorCode.unsupported_version),
            ) from None

    async def _describe_cluster(self, deadline: Deadline) -> ClusterInfo:
        body = Struct(include_cluster_authorized_operations=False, include_fenced_brokers=True)
        try:
            answer = await self._ask(ApiKey.DESCRIBE_CLUSTER, body, deadline)
        except AdminError as error:
            if error.code != ErrorCode.unsupported_version:
                raise
            answer = None
        if answer is not None and answer.error_code == ErrorCode.none:
            info = parse.described_cluster(answer)
        else:
            info = parse.metadata_cluster(await self._metadata([], deadline))
        self._connections.learn(
            join_address(each.host, each.port) for each in info.brokers if each.host
        )
        return info

    async def _quorum_leader(self, deadline: Deadline) -> int | None:
        body = Struct(
            topics=[Struct(topic_name=METADATA_TOPIC, partitions=[Struct(partition_index=0)])]
        )
        try:
            return parse.quorum(await self._ask(ApiKey.DESCRIBE_QUORUM, body, deadline)).leader_id
        except LogctlError:
            # Without the right to look at the quorum there is still the broker's word.
            return None

    async def _metadata(self, names: Sequence[str] | None, deadline: Deadline) -> Struct:
        topics = None if names is None else [Struct(topic_id=ZERO_UUID, name=n) for n in names]
        body = Struct(topics=topics, allow_auto_topic_creation=False)
        answer = await self._ask(ApiKey.METADATA, body, deadline)
        code = answer.get("error_code", ErrorCode.none)
        if code != ErrorCode.none:
            raise AdminError(f"The brokers do not tell: {code_words(code)}", code=int(code))
        self._connections.learn(join_address(each.host, each.port) for each in answer.brokers)
        return answer

    async def _topic_metadata(self, name: str, deadline: Deadline) -> Struct:
        while True:
            answer = await self._metadata([name], deadline)
            topic: Struct = answer.topics[0]
            if topic.error_code in {ErrorCode.none, ErrorCode.leader_not_available}:
                return topic
            if topic.error_code == ErrorCode.unknown_topic_or_partition:
                raise UnknownTopic(name, await self._hint(name, deadline))
            if topic.error_code not in RETRY_CODES or deadline.left_ms() < 100:
                words = code_words(topic.error_code)
                raise AdminError(f'The topic "{name}": {words}', code=int(topic.error_code))
            await asyncio.sleep(RETRY_PAUSE_S)

    async def _hint(self, name: str, deadline: Deadline) -> str:
        try:
            metadata = await self._metadata(None, deadline)
        except LogctlError:
            return ""
        match = nearest(name, [topic.name for topic in metadata.topics if topic.name])
        return f'did you mean "{match}"?' if match else ""

    async def _configs(
        self, resource_type: int, name: str, deadline: Deadline
    ) -> list[ConfigEntry]:
        body = Struct(
            resources=[
                Struct(resource_type=resource_type, resource_name=name, configuration_keys=None)
            ],
            include_synonyms=True,
            include_documentation=True,
        )
        answer = await self._ask_owner(resource_type, name, body, deadline)
        for result in answer.results:
            if result.error_code != ErrorCode.none:
                words = code_words(result.error_code, result.error_message)
                raise AdminError(f'The settings of "{name}": {words}', code=int(result.error_code))
            return parse.config_entries(result)
        return []

    async def _ask_owner(
        self, resource_type: int, name: str, body: Struct, deadline: Deadline
    ) -> Struct:
        """Static broker settings are known to that broker alone; all else to any."""
        if resource_type == RESOURCE_BROKER and name.isdigit():
            metadata = await self._metadata([], deadline)
            for each in metadata.brokers:
                if each.node_id == int(name):
                    return await self._connections.request_at(
                        join_address(each.host, each.port),
                        ApiKey.DESCRIBE_CONFIGS,
                        body,
                        timeout_ms=deadline.left_ms(),
                    )
            raise AdminError(f"Broker {name} is not running, so its settings are not known")
        return await self._ask(ApiKey.DESCRIBE_CONFIGS, body, deadline)

    async def _offsets(
        self, asked: list[Partition], timestamp: int, deadline: Deadline
    ) -> dict[Partition, int | None]:
        found: dict[Partition, int | None] = dict.fromkeys(asked)
        missing = asked
        for attempt in range(LEADER_TRIES):
            if not missing or deadline.left_ms() < 10:
                break
            if attempt:
                await asyncio.sleep(RETRY_PAUSE_S)
            topics = sorted({topic for topic, _ in missing})
            metadata = await self._metadata(topics, deadline)
            by_leader = parse.by_leader(metadata, missing)
            answers = await asyncio.gather(
                *(
                    self._offsets_at(address, partitions, timestamp, deadline)
                    for address, partitions in sorted(by_leader.items())
                )
            )
            again: list[Partition] = []
            for offsets, moved in answers:
                found.update(offsets)
                again += moved
            missing = again
        return found

    async def _offsets_at(
        self, address: str, partitions: list[Partition], timestamp: int, deadline: Deadline
    ) -> tuple[dict[Partition, int | None], list[Partition]]:
        by_topic: dict[str, list[Struct]] = {}
        for topic, partition in partitions:
            by_topic.setdefault(topic, []).append(
                Struct(partition_index=partition, current_leader_epoch=-1, timestamp=timestamp)
            )
        body = Struct(
            replica_id=-1,
            isolation_level=0,
            topics=[Struct(name=name, partitions=each) for name, each in by_topic.items()],
        )
        # Half of what is left, so that a leader that hangs leaves time for asking again.
        timeout_ms = max(1, deadline.left_ms() // 2)
        try:
            answer = await self._connections.request_at(
                address, ApiKey.LIST_OFFSETS, body, timeout_ms=timeout_ms
            )
        except LogctlError:
            return {}, partitions
        return parse.offsets(answer, MOVED_CODES)

    async def _change(
        self, api_key: ApiKey, body: Struct, field: str, what: str, deadline: Deadline
    ) -> Struct:
        """Send a change of one thing; ask again while the controller is moving."""
        while True:
            answer = await self._ask(api_key, body, deadline)
            results: list[Struct] = getattr(answer, field)
            if not results:
                raise AdminError(f"{what}: the cluster gave no answer")
            code = results[0].error_code
            if code == ErrorCode.none:
                return results[0]
            if code not in RETRY_CODES or deadline.left_ms() < 100:
                words = code_words(code, results[0].get("error_message"))
                raise AdminError(f"{what}: {words}", code=int(code))
            await asyncio.sleep(RETRY_PAUSE_S)

    async def _until_visible(self, name: str, deadline: Deadline) -> None:
        # Created means committed; brokers learn it some milliseconds later.
        limit = Deadline.after(min(VISIBLE_WAIT_MS, deadline.left_ms()))
        while limit.left_ms() > 0:
            try:
                topic = (await self._metadata([name], limit)).topics[0]
            except LogctlError:
                return
            leaders = [partition.leader_id for partition in topic.partitions]
            if topic.error_code == ErrorCode.none and leaders and min(leaders) >= 0:
                return
            await asyncio.sleep(RETRY_PAUSE_S / 5)


def _known(told: int, asked: int) -> int:
    return told if told > 0 else asked


__all__ = ["AdminClient", "PartitionInfo", "QuorumInfo"]
