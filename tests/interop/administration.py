"""The administration that each client offers, behind one small interface.

Nothing of a client is replaced or patched. Blocking; every wait has a limit.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, ClassVar, NamedTuple, Protocol, TypeVar

from tests.interop.clients import QUIET, WAIT_SECONDS
from tests.interop.drivers import driver

T = TypeVar("T")


class Partition(NamedTuple):
    """Where a partition is."""

    leader: int
    replicas: tuple[int, ...]
    isr: tuple[int, ...]


class Cluster(NamedTuple):
    """What a cluster says of itself; the id is None where a client does not tell it."""

    id: str | None
    controller: int
    brokers: frozenset[int]


class Group(NamedTuple):
    """A group and the partitions of each of its members."""

    state: str
    shares: tuple[tuple[int, ...], ...]


class Administration(Protocol):
    """One client's administration of one cluster; `lacks` names what the client does not offer."""

    lacks: frozenset[str]

    def create_topic(self, topic: str, partitions: int, configs: dict[str, str]) -> None: ...

    def list_topics(self) -> set[str]: ...

    def describe_topic(self, topic: str) -> list[Partition]: ...

    def add_partitions(self, topic: str, total: int) -> None: ...

    def alter_topic(self, topic: str, configs: dict[str, str]) -> None: ...

    def topic_config(self, topic: str, name: str) -> str: ...

    def delete_records(self, topic: str, partition: int, offset: int) -> int:
        """Gives the new start of the partition."""
        ...

    def delete_topic(self, topic: str) -> None: ...

    def cluster(self) -> Cluster: ...

    def groups(self) -> set[str]: ...

    def describe_group(self, group: str) -> Group: ...

    def committed(self, group: str, topic: str) -> dict[int, int]: ...

    def delete_group(self, group: str) -> None: ...


class ConfluentAdministration:
    lacks: frozenset[str] = frozenset()

    def __init__(self, bootstrap: str) -> None:
        from confluent_kafka.admin import AdminClient

        self._bootstrap = bootstrap
        self._admin = AdminClient({"bootstrap.servers": bootstrap, **QUIET})

    def _one(self, futures: dict[Any, Any]) -> Any:
        (future,) = futures.values()
        return future.result(WAIT_SECONDS)

    def _resource(self, topic: str, configs: dict[str, str]) -> Any:
        from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource

        entries = [
            ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
            for name, value in configs.items()
        ]
        return ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=entries)

    def create_topic(self, topic: str, partitions: int, configs: dict[str, str]) -> None:
        from confluent_kafka.admin import NewTopic

        self._one(self._admin.create_topics([NewTopic(topic, partitions, 3, config=configs)]))

    def list_topics(self) -> set[str]:
        from confluent_kafka.admin import AdminClient

        # A client that knows a topic asks for it again, and asking creates.
        fresh = AdminClient({"bootstrap.servers": self._bootstrap, **QUIET})
        return set(fresh.list_topics(timeout=WAIT_SECONDS).topics)

    def describe_topic(self, topic: str) -> list[Partition]:
        from confluent_kafka import TopicCollection

        told = self._one(self._admin.describe_topics(TopicCollection([topic])))
        return [
            Partition(
                each.leader.id,
                tuple(node.id for node in each.replicas),
                tuple(node.id for node in each.isr),
            )
            for each in sorted(told.partitions, key=lambda each: each.id)
        ]

    def add_partitions(self, topic: str, total: int) -> None:
        from confluent_kafka.admin import NewPartitions

        self._one(self._admin.create_partitions([NewPartitions(topic, total)]))

    def alter_topic(self, topic: str, configs: dict[str, str]) -> None:
        self._one(self._admin.incremental_alter_configs([self._resource(topic, configs)]))

    def topic_config(self, topic: str, name: str) -> str:
        told = self._one(self._admin.describe_configs([self._resource(topic, {})]))
        return str(told[name].value)

    def delete_records(self, topic: str, partition: int, offset: int) -> int:
        from confluent_kafka import TopicPartition

        told = self._one(self._admin.delete_records([TopicPartition(topic, partition, offset)]))
        return int(told.low_watermark)

    def delete_topic(self, topic: str) -> None:
        self._one(self._admin.delete_topics([topic]))

    def cluster(self) -> Cluster:
        told = self._admin.describe_cluster(request_timeout=WAIT_SECONDS).result(WAIT_SECONDS)
        return Cluster(
            told.cluster_id, told.controller.id, frozenset(node.id for node in told.nodes)
        )

    def groups(self) -> set[str]:
        told = self._admin.list_consumer_groups().result(WAIT_SECONDS)
        assert not told.errors, told.errors
        return {each.group_id for each in told.valid}

    def describe_group(self, group: str) -> Group:
        told = self._one(self._admin.describe_consumer_groups([group]))
        return Group(
            told.state.name.capitalize(),
            tuple(
                tuple(sorted(each.partition for each in member.assignment.topic_partitions))
                for member in told.members
            ),
        )

    def committed(self, group: str, topic: str) -> dict[int, int]:
        from confluent_kafka import ConsumerGroupTopicPartitions

        told = self._one(
            self._admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])
        )
        return {e.partition: e.offset for e in told.topic_partitions if e.topic == topic}

    def delete_group(self, group: str) -> None:
        self._one(self._admin.delete_consumer_groups([group]))


class AioAdministration:
    lacks: frozenset[str] = frozenset({"delete_group"})

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap

    def _do(self, act: Callable[[Any], Awaitable[T]]) -> T:
        async def run() -> T:
            from aiokafka.admin import AIOKafkaAdminClient

            admin = AIOKafkaAdminClient(bootstrap_servers=self._bootstrap)
            await admin.start()
            try:
                async with asyncio.timeout(WAIT_SECONDS):
                    return await act(admin)
            finally:
                await admin.close()

        return asyncio.run(run())

    def _check(self, codes: Iterable[int]) -> None:
        """It leaves errors in the answer, by their numbers."""
        from aiokafka.errors import for_code

        for code in codes:
            if code:
                raise for_code(code)

    def _resource(self, topic: str, configs: dict[str, str] | None) -> Any:
        from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

        return ConfigResource(ConfigResourceType.TOPIC, topic, configs=configs)

    def create_topic(self, topic: str, partitions: int, configs: dict[str, str]) -> None:
        from aiokafka.admin import NewTopic

        new = NewTopic(topic, partitions, 3, topic_configs=configs)
        answer = self._do(lambda admin: admin.create_topics([new]))
        self._check(each[1] for each in answer.topic_errors)

    def list_topics(self) -> set[str]:
        return set(self._do(lambda admin: admin.list_topics()))

    def describe_topic(self, topic: str) -> list[Partition]:
        (told,) = self._do(lambda admin: admin.describe_topics([topic]))
        assert told["error_code"] == 0, told
        return [
            Partition(each["leader"], tuple(each["replicas"]), tuple(each["isr"]))
            for each in sorted(told["partitions"], key=lambda each: each["partition"])
        ]

    def add_partitions(self, topic: str, total: int) -> None:
        from aiokafka.admin import NewPartitions

        answer = self._do(lambda admin: admin.create_partitions({topic: NewPartitions(total)}))
        self._check(each[1] for each in answer.topic_errors)

    def alter_topic(self, topic: str, configs: dict[str, str]) -> None:
        (answer,) = self._do(lambda admin: admin.alter_configs([self._resource(topic, configs)]))
        self._check(each[0] for each in answer.resources)

    def topic_config(self, topic: str, name: str) -> str:
        asked = self._resource(topic, None)
        (answer,) = self._do(lambda admin: admin.describe_configs([asked]))
        (resource,) = answer.resources
        return str(next(entry[1] for entry in resource[4] if entry[0] == name))

    def delete_records(self, topic: str, partition: int, offset: int) -> int:
        from aiokafka import TopicPartition
        from aiokafka.admin import RecordsToDelete

        place = TopicPartition(topic, partition)
        wanted = {place: RecordsToDelete(offset)}
        return int(self._do(lambda admin: admin.delete_records(wanted))[place])

    def delete_topic(self, topic: str) -> None:
        answer = self._do(lambda admin: admin.delete_topics([topic]))
        self._check(each[1] for each in answer.topic_error_codes)

    def cluster(self) -> Cluster:
        told = self._do(lambda admin: admin.describe_cluster())
        nodes = frozenset(each["node_id"] for each in told["brokers"])
        return Cluster(told["cluster_id"], told["controller_id"], nodes)

    def groups(self) -> set[str]:
        return {each[0] for each in self._do(lambda admin: admin.list_consumer_groups())}

    def describe_group(self, group: str) -> Group:
        from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment

        (answer,) = self._do(lambda admin: admin.describe_consumer_groups([group]))
        (told,) = answer.groups
        shares = []
        for member in told[5]:
            assigned = ConsumerProtocolMemberAssignment.decode(member[4]).assignment
            shares.append(tuple(sorted(p for _, partitions in assigned for p in partitions)))
        return Group(told[2], tuple(shares))

    def committed(self, group: str, topic: str) -> dict[int, int]:
        told = self._do(lambda admin: admin.list_consumer_group_offsets(group))
        return {at.partition: what.offset for at, what in told.items() if at.topic == topic}

    def delete_group(self, group: str) -> None:
        raise NotImplementedError


class KafkaPythonAdministration:
    lacks: frozenset[str] = frozenset()

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap

    def _do(self, act: Callable[[Any], T]) -> T:
        from kafka import KafkaAdminClient

        admin = KafkaAdminClient(bootstrap_servers=self._bootstrap)
        try:
            return act(admin)
        finally:
            admin.close()

    def _resource(self, topic: str, configs: dict[str, str] | None) -> Any:
        from kafka.admin import ConfigResource, ConfigResourceType

        return ConfigResource(ConfigResourceType.TOPIC, topic, configs=configs)

    def create_topic(self, topic: str, partitions: int, configs: dict[str, str]) -> None:
        from kafka.admin import NewTopic

        new = NewTopic(
            topic, num_partitions=partitions, replication_factor=3, topic_configs=configs
        )
        self._do(lambda admin: admin.create_topics([new]))

    def list_topics(self) -> set[str]:
        return set(self._do(lambda admin: admin.list_topics()))

    def describe_topic(self, topic: str) -> list[Partition]:
        (told,) = self._do(lambda admin: admin.describe_topics([topic]))
        assert told["error_code"] == 0, told
        return [
            Partition(each["leader_id"], tuple(each["replica_nodes"]), tuple(each["isr_nodes"]))
            for each in sorted(told["partitions"], key=lambda each: each["partition_index"])
        ]

    def add_partitions(self, topic: str, total: int) -> None:
        from kafka.admin import NewPartitions

        self._do(lambda admin: admin.create_partitions({topic: NewPartitions(total)}))

    def alter_topic(self, topic: str, configs: dict[str, str]) -> None:
        told = self._do(lambda admin: admin.alter_configs([self._resource(topic, configs)]))
        assert told["topic"][topic] == "OK", told

    def topic_config(self, topic: str, name: str) -> str:
        asked = self._resource(topic, None)
        told = self._do(lambda admin: admin.describe_configs([asked], config_filter="all"))
        return str(told["topic"][topic][name]["value"])

    def delete_records(self, topic: str, partition: int, offset: int) -> int:
        from kafka import TopicPartition

        place = TopicPartition(topic, partition)
        told = self._do(lambda admin: admin.delete_records({place: offset}))
        return int(told[place]["low_watermark"])

    def delete_topic(self, topic: str) -> None:
        self._do(lambda admin: admin.delete_topics([topic]))

    def cluster(self) -> Cluster:
        told = self._do(lambda admin: admin.describe_cluster())
        nodes = frozenset(each["broker_id"] for each in told["brokers"])
        return Cluster(told["cluster_id"], told["controller_id"], nodes)

    def groups(self) -> set[str]:
        return {each["group_id"] for each in self._do(lambda admin: admin.list_groups())}

    def describe_group(self, group: str) -> Group:
        told = self._do(lambda admin: admin.describe_groups([group]))[group]
        shares = []
        for member in told["members"]:
            assigned = member["member_assignment"]["assigned_partitions"]
            shares.append(tuple(sorted(p for each in assigned for p in each["partitions"])))
        return Group(told["group_state"], tuple(shares))

    def committed(self, group: str, topic: str) -> dict[int, int]:
        told = self._do(lambda admin: admin.list_group_offsets({group: None}))[group]
        return {at.partition: what.offset for at, what in told.items() if at.topic == topic}

    def delete_group(self, group: str) -> None:
        told = self._do(lambda admin: admin.delete_groups([group]))
        assert told[group] == "OK", told


class DriverAdministration:
    """A client of another language."""

    lacks: frozenset[str] = frozenset()
    kind: ClassVar[str]

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap

    def _ask(self, verb: str, **fields: Any) -> Any:
        return driver(self.kind).ask(verb, bootstrap=self._bootstrap, **fields)

    def create_topic(self, topic: str, partitions: int, configs: dict[str, str]) -> None:
        self._ask(
            "create_topic", topic=topic, partitions=partitions, replication=3, configs=configs
        )

    def list_topics(self) -> set[str]:
        return set(self._ask("list_topics"))

    def describe_topic(self, topic: str) -> list[Partition]:
        return [
            Partition(each["leader"], tuple(each["replicas"]), tuple(each["isr"]))
            for each in self._ask("describe_topic", topic=topic)
        ]

    def add_partitions(self, topic: str, total: int) -> None:
        self._ask("add_partitions", topic=topic, total=total)

    def alter_topic(self, topic: str, configs: dict[str, str]) -> None:
        self._ask("alter_topic", topic=topic, configs=configs)

    def topic_config(self, topic: str, name: str) -> str:
        return str(self._ask("topic_config", topic=topic, name=name))

    def delete_records(self, topic: str, partition: int, offset: int) -> int:
        return int(self._ask("delete_records", topic=topic, partition=partition, offset=offset))

    def delete_topic(self, topic: str) -> None:
        self._ask("delete_topic", topic=topic)

    def cluster(self) -> Cluster:
        told = self._ask("cluster")
        return Cluster(told["id"], told["controller"], frozenset(told["brokers"]))

    def groups(self) -> set[str]:
        return set(self._ask("groups"))

    def describe_group(self, group: str) -> Group:
        told = self._ask("describe_group", group=group)
        return Group(told["state"], tuple(tuple(each["partitions"]) for each in told["members"]))

    def committed(self, group: str, topic: str) -> dict[int, int]:
        told = self._ask("committed", group=group, topic=topic)
        return {int(partition): offset for partition, offset in told.items()}

    def delete_group(self, group: str) -> None:
        self._ask("delete_group", group=group)


class JavaAdministration(DriverAdministration):
    kind = "java"


class FranzGoAdministration(DriverAdministration):
    kind = "go"


class KafkaJsAdministration(DriverAdministration):
    kind = "node"


ADMINISTRATIONS: dict[str, Callable[[str], Administration]] = {
    "confluent-kafka": ConfluentAdministration,
    "aiokafka": AioAdministration,
    "kafka-python": KafkaPythonAdministration,
    "kafkajs": KafkaJsAdministration,
    "java": JavaAdministration,
    "franz-go": FranzGoAdministration,
}
