"""The admin client: asks a cluster, and changes it, through Kafka's protocol alone.

Works with logd and Apache Kafka alike: versions are negotiated, and what a cluster cannot tell is
left out rather than guessed. Stays useful while brokers are down: answers are partial, never empty
because one broker did not answer. Calls on topics, the cluster and the quorum are here; those on
groups, offsets, settings, placement, transactions, access rules, users and quotas in modules of
their own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Self
from uuid import UUID

from broker.protocol.api_keys import METADATA_TOPIC, ApiKey
from broker.protocol.errors import ErrorCode, LogctlError
from broker.protocol.network import Network
from broker.protocol.struct import ZERO_UUID, Struct, uuid_to_text
from clusters.admin import parse
from clusters.admin.acl_model import OPERATIONS, OPERATIONS_OF
from clusters.admin.acls import AclCalls
from clusters.admin.asking import RETRY_PAUSE_S
from clusters.admin.config_calls import ConfigCalls
from clusters.admin.connections import Connections, Deadline, join_address
from clusters.admin.errors import AdminError, UnknownTopic, WrongCluster
from clusters.admin.groups import GroupCalls
from clusters.admin.model import (
    BrokerInfo,
    ClusterInfo,
    ConfigEntry,
    CreatedTopic,
    PartitionInfo,
    PlacedPartition,
    QuorumInfo,
    TopicDetail,
    TopicSummary,
)
from clusters.admin.opening import Opener
from clusters.admin.quotas import QuotaCalls
from clusters.admin.rights import RightsCalls
from clusters.admin.scram_users import UserCalls
from clusters.admin.transactions import TransactionCalls

if TYPE_CHECKING:
    from broker.protocol.client import BrokerConnection
    from clusters.admin.credentials import Renewal
    from clusters.admin.security import Security

EARLIEST = -2
LATEST = -1
VISIBLE_WAIT_MS = 3_000
_RIGHTS_NOT_TOLD = -(2**31)
MIN_ISR = "min.insync.replicas"


class AdminClient(
    GroupCalls,
    ConfigCalls,
    TransactionCalls,
    AclCalls,
    UserCalls,
    QuotaCalls,
    RightsCalls,
):
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
        security: Security | None = None,
        cluster_id: str | None = None,
        total_ms: int | None = None,
        renewal: Renewal | None = None,
    ) -> None:
        """`cluster_id` is the only cluster to talk to: entering raises WrongCluster for another.

        `renewal` is where `security` is read again once the brokers do not take it any more.

        `total_ms` bounds all calls together, counted from entering; calls that come when it is
        used up get a short time of their own, so that what is well still answers.
        """
        if not bootstrap:
            raise AdminError("No broker was named; give --bootstrap HOST:PORT or choose a context")
        self._opener = Opener(network, security, cluster_id, renewal)
        self._connections = Connections(bootstrap, self._opener)
        self._timeout_ms = timeout_ms
        self._total_ms = total_ms
        self._cluster_id = cluster_id

    def ask_often(self, timeout_ms: int) -> None:
        """For who asks again and again: each call ends soon, so that another broker is tried.

        A controller that hangs then holds up only what brokers cannot tell without it: that goes
        over a connection of its own.
        """
        self._timeout_ms = min(self._timeout_ms, timeout_ms)
        self._connections.apart = True

    async def __aenter__(self) -> Self:
        if self._total_ms is not None:
            self._end = Deadline.after(self._total_ms)
        if self._cluster_id is not None:
            try:
                found = (await self._describe_cluster(self._deadline())).cluster_id
                if found != self._cluster_id:
                    raise WrongCluster(self._cluster_id, found, self.source or "")
            except BaseException:
                await self.close()
                raise
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

    @property
    def session_ms(self) -> int:
        """How long brokers let a connection last that does not prove itself anew; 0: for ever."""
        return self._opener.session_ms

    @property
    def principal(self) -> str | None:
        """Who the brokers take this client for, or None when only they know."""
        return self._opener.principal

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

    async def addresses(self) -> dict[int, str]:
        """`host:port` of each registered broker, on the listener by which this client comes."""
        described = await self._describe_cluster(self._deadline())
        return {each.id: join_address(each.host, each.port) for each in described.brokers}

    async def connect(self, address: str, timeout_ms: int) -> BrokerConnection:
        """A connection of the caller's own, proven like all others. Raises WireError."""
        return await self._opener.open(address, timeout_ms)

    async def lacking_rights(self) -> frozenset[str] | None:
        """What this client may not do with the cluster as a whole; None when that is not told.

        Who lacks rights is shown what he may describe, without a word of the rest. A cluster
        without an authorizer tells every right there is (KIP-430, KIP-700).
        """
        body = Struct(include_cluster_authorized_operations=True, include_fenced_brokers=False)
        answer = await self._ask(ApiKey.DESCRIBE_CLUSTER, body, self._deadline())
        rights: int = answer.cluster_authorized_operations
        if answer.error_code != ErrorCode.none or rights == _RIGHTS_NOT_TOLD:
            return None
        wanted = set(OPERATIONS_OF["cluster"]) - {"all"}
        return frozenset(each for each in wanted if not rights & (1 << OPERATIONS[each]))

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
            self._configs("topic", name, deadline),
            *(self.offsets(asked, timestamp) for timestamp in wanted),
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

    async def partitions(
        self, topics: Sequence[str] | None = None, *, min_isr: bool = False
    ) -> list[PlacedPartition]:
        """Every partition (of some topics), sorted; with `min_isr` also the setting of its topic.

        Raises UnknownTopic for a topic that was named.
        """
        deadline = self._deadline()
        metadata = await self._metadata(topics, deadline)
        for topic in metadata.topics:
            if topics is not None and topic.error_code == ErrorCode.unknown_topic_or_partition:
                raise UnknownTopic(topic.name, await self._hint(topic.name, deadline))
        placed = parse.placed(metadata)
        if not min_isr:
            return placed
        names = {each.topic for each in placed}
        settings = await self.topic_settings(names, [MIN_ISR])
        return [
            replace(each, min_isr=int(settings[each.topic][MIN_ISR]))
            if MIN_ISR in settings.get(each.topic, {})
            else each
            for each in placed
        ]

    async def quorum(self) -> QuorumInfo:
        """The metadata quorum: leader, voters, observers, controller addresses."""
        body = Struct(
            topics=[
                Struct(topic_name=METADATA_TOPIC, partitions=[Struct(partition_index=0)]),
            ]
        )
        answer = await self._ask(ApiKey.DESCRIBE_QUORUM, body, self._deadline())
        if answer.error_code == ErrorCode.cluster_authorization_failed:
            words = self._words(ApiKey.DESCRIBE_QUORUM, answer.error_code)
            raise AdminError(f"The quorum is not told: {words}", code=int(answer.error_code))
        return parse.quorum(answer)

    # Changing

    async def create_topic(
        self,
        name: str,
        partitions: int = -1,
        replication_factor: int = -1,
        configs: Mapping[str, str] | None = None,
        *,
        assignments: Mapping[int, Sequence[int]] | None = None,
        validate_only: bool = False,
    ) -> CreatedTopic:
        """Create a topic; -1 takes the cluster's default. Returns when brokers know it.

        `assignments` names the replicas of each partition; both counts are -1 then.
        Raises AdminError with the cluster's reason.
        """
        deadline = self._deadline()
        body = Struct(
            topics=[
                Struct(
                    name=name,
                    num_partitions=partitions,
                    replication_factor=replication_factor,
                    assignments=[
                        Struct(partition_index=index, broker_ids=list(replicas))
                        for index, replicas in sorted((assignments or {}).items())
                    ],
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
        self,
        topic: str,
        total: int,
        assignments: Sequence[Sequence[int]] | None = None,
        *,
        validate_only: bool = False,
    ) -> None:
        """Grow a topic to `total` partitions; `assignments` names the replicas of each new one.

        Raises UnknownTopic, or AdminError with the cluster's reason.
        """
        deadline = self._deadline()
        placed = (
            None if assignments is None else [Struct(broker_ids=list(each)) for each in assignments]
        )
        body = Struct(
            topics=[Struct(name=topic, count=total, assignments=placed)],
            timeout_ms=deadline.left_ms(),
            validate_only=validate_only,
        )
        what = f'The topic "{topic}" did not get more partitions'
        try:
            await self._change(ApiKey.CREATE_PARTITIONS, body, "results", what, deadline)
        except AdminError as error:
            if error.code == ErrorCode.unknown_topic_or_partition:
                raise UnknownTopic(topic, await self._hint(topic, deadline)) from None
            raise
        if not validate_only:
            await self._until_visible(topic, deadline, total)

    # Inside

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
        """Who leads the quorum, -1 for nobody; None where only the brokers' word can be had."""
        body = Struct(
            topics=[Struct(topic_name=METADATA_TOPIC, partitions=[Struct(partition_index=0)])]
        )
        try:
            return parse.quorum(await self._ask(ApiKey.DESCRIBE_QUORUM, body, deadline)).leader_id
        except LogctlError as error:
            # A broker passes the question on to the leader, so that it fails when there is none;
            # what the broker says of itself then is any broker that is up.
            return None if getattr(error, "code", None) in _QUORUM_IS_HIDDEN else -1

    async def _until_visible(self, name: str, deadline: Deadline, count: int = 1) -> None:
        # Created means committed; brokers learn it some milliseconds later.
        limit = Deadline.after(min(VISIBLE_WAIT_MS, deadline.left_ms()))
        while limit.left_ms() > 0:
            try:
                topic = (await self._metadata([name], limit)).topics[0]
            except LogctlError:
                return
            leaders = [partition.leader_id for partition in topic.partitions]
            if topic.error_code == ErrorCode.none and len(leaders) >= count and min(leaders) >= 0:
                return
            await asyncio.sleep(RETRY_PAUSE_S / 5)


# Of clusters without such a quorum, and to those who may not look at it.
_QUORUM_IS_HIDDEN = frozenset(
    {ErrorCode.unsupported_version, ErrorCode.cluster_authorization_failed}
)


def _known(told: int, asked: int) -> int:
    return told if told > 0 else asked


__all__ = ["AdminClient", "PartitionInfo", "QuorumInfo"]
