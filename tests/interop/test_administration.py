"""Topics and groups made, described, changed and deleted with the administration of each client."""

import asyncio
import re
from collections.abc import Callable
from typing import TypeVar

import pytest

from tests.interop.administration import ADMINISTRATIONS, Administration, Group, Partition
from tests.interop.clients import CONFLUENT, Client, Row
from tests.interop.conftest import absent
from tests.interop.group_members import ConfluentRange, Member, until
from tests.interop.real_cluster import RealCluster
from tests.interop.real_cluster import until as wait_until

pytestmark = [pytest.mark.interop, pytest.mark.timeout(180)]

T = TypeVar("T")
START_MS = 1_700_000_000_000


@pytest.fixture
def admin(brokers: RealCluster, client: Client) -> Administration:
    return ADMINISTRATIONS[client.name](brokers.bootstrap)


def eventually(check: Callable[[], T], what: str) -> T:
    """Wait until the answer is true. Each question may go to another broker, which may not have
    heard yet of what the controller decided: its error is no answer."""
    errors: list[Exception] = []

    def attempt() -> T | None:
        try:
            return check()
        except Exception as error:
            errors.append(error)
            return None

    try:
        found = wait_until(attempt, what)
    except AssertionError as late:
        raise late from (errors[-1] if errors else None)
    assert found is not None
    return found


def in_sync(partitions: list[Partition]) -> bool:
    return all(sorted(each.isr) == [1, 2, 3] for each in partitions)


def refused(act: Callable[[], None], word: str) -> None:
    """The client raises an error, and its words say why."""
    with pytest.raises(Exception) as raised:
        act()
    assert re.search(word, repr(raised.value).lower()), raised.value


def test_a_cluster_is_described(
    brokers: RealCluster, client: Client, admin: Administration
) -> None:
    told = admin.cluster()
    assert told.id == (brokers.properties(1).get("cluster.id") or brokers.cluster_id)
    assert told.controller in brokers.ports
    assert told.brokers == frozenset(brokers.ports)


def test_a_topic_is_made_described_changed_and_deleted(
    brokers: RealCluster, client: Client, admin: Administration
) -> None:
    topic = f"administered-by-{client.name}"
    admin.create_topic(topic, 3, {"retention.ms": "1234567"})
    # The broker that answers may hear of it a moment after the controller.
    eventually(lambda: topic in admin.list_topics(), f"{topic} is listed")
    asyncio.run(brokers.whole())
    eventually(lambda: in_sync(admin.describe_topic(topic)), "all replicas are in sync")
    partitions = eventually(lambda: admin.describe_topic(topic), "it is described")
    assert len(partitions) == 3
    for each in partitions:
        assert sorted(each.replicas) == sorted(each.isr) == [1, 2, 3]
        assert each.leader == each.replicas[0]
    assert {each.leader for each in partitions} == {1, 2, 3}

    eventually(lambda: admin.topic_config(topic, "retention.ms") == "1234567", "as it was made")
    eventually(lambda: admin.topic_config(topic, "min.insync.replicas") == "2", "of the brokers")
    admin.alter_topic(topic, {"retention.ms": "7654321", "cleanup.policy": "compact,delete"})
    eventually(
        lambda: admin.topic_config(topic, "retention.ms") == "7654321", "the setting is changed"
    )
    eventually(
        lambda: admin.topic_config(topic, "cleanup.policy") == "compact,delete", "this one too"
    )
    refused(lambda: admin.alter_topic(topic, {"retention.ms": "soon"}), "config")
    eventually(lambda: admin.topic_config(topic, "retention.ms") == "7654321", "it stays")

    admin.add_partitions(topic, 5)
    eventually(lambda: len(admin.describe_topic(topic)) == 5, "partitions are added")
    refused(lambda: admin.add_partitions(topic, 2), "partitions")
    eventually(lambda: len(admin.describe_topic(topic)) == 5, "there are 5 partitions")
    asyncio.run(brokers.heard(topic, 5))

    rows = [Row(b"%d" % n, b"v", (), START_MS) for n in range(10)]
    assert CONFLUENT.produce(brokers.bootstrap, topic, 4, rows) == list(range(10))
    assert eventually(lambda: admin.delete_records(topic, 4, 6), "records are deleted") == 6
    assert CONFLUENT.consume(brokers.bootstrap, topic, 4, 4, start=6) == list(enumerate(rows))[6:]
    assert CONFLUENT.offsets(brokers.bootstrap, topic, 4, ())[:2] == (6, 10)

    admin.delete_topic(topic)
    eventually(lambda: topic not in admin.list_topics(), f"{topic} is gone")
    refused(lambda: admin.delete_topic(topic), "unknown")


def test_a_group_is_listed_described_and_deleted(
    brokers: RealCluster, client: Client, admin: Administration
) -> None:
    topic = group = f"grouped-by-{client.name}"
    admin.create_topic(topic, 2, {})
    asyncio.run(brokers.heard(topic, 2))
    rows = [Row(None, b"v", (), START_MS)] * 7
    for partition in range(2):
        CONFLUENT.produce(brokers.bootstrap, topic, partition, rows)
    member: Member = ConfluentRange(brokers.bootstrap, group, topic)
    try:
        until(
            lambda: len(member.seen) == 14 and not member.uncommitted, "everything is read",
            [member],
        )  # fmt: skip
        assert group in admin.groups()
        told = admin.describe_group(group)
        assert (told.state, told.shares) == ("Stable", ((0, 1),))
        if "delete_group" not in admin.lacks:
            refused(lambda: admin.delete_group(group), r"no[nt].?empty")
    finally:
        member.close()
    eventually(lambda: admin.describe_group(group) == Group("Empty", ()), "nobody is left")
    assert admin.committed(group, topic) == {0: 7, 1: 7}
    if "delete_group" not in admin.lacks:
        admin.delete_group(group)
        assert group not in admin.groups()


def test_librdkafka_lists_offsets_of_every_kind(brokers: RealCluster) -> None:
    if what := CONFLUENT.missing():
        absent(what)
    from confluent_kafka import TopicPartition
    from confluent_kafka.admin import AdminClient, OffsetSpec

    CONFLUENT.create_topic(brokers.bootstrap, "listed", 1, {})
    rows = [Row(None, b"v", (), START_MS + (n * 3) % 10) for n in range(10)]
    CONFLUENT.produce(brokers.bootstrap, "listed", 0, rows)
    admin = AdminClient({"bootstrap.servers": brokers.bootstrap})

    def listed(spec: object) -> int:
        (future,) = admin.list_offsets({TopicPartition("listed", 0): spec}).values()
        return int(future.result(30).offset)

    assert listed(OffsetSpec.earliest()) == 0
    assert listed(OffsetSpec.latest()) == 10
    assert listed(OffsetSpec.max_timestamp()) == 3
    assert listed(OffsetSpec.for_timestamp(START_MS + 7)) == 3
