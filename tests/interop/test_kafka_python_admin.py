"""What a cluster says of itself to kafka-python's admin client, through each of its brokers."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.interop.clients import KAFKA_PYTHON, Row
from tests.interop.conftest import absent
from tests.interop.real_cluster import RealCluster, until

pytestmark = [pytest.mark.interop, pytest.mark.timeout(180)]

START_MS = 1_700_000_000_000
# Kafka keeps it for the whole cluster since it has eligible leader replicas (KIP-966).
BROKER_SOURCES = {"STATIC_BROKER_CONFIG", "DYNAMIC_DEFAULT_BROKER_CONFIG"}
SETTINGS = {"retention.ms": "123456", "max.message.bytes": "9999"}


@pytest.fixture(params=[1, 2, 3])
def admin(brokers: RealCluster, request: pytest.FixtureRequest) -> Iterator[Any]:
    if what := KAFKA_PYTHON.missing():
        absent(what)
    from kafka import KafkaAdminClient

    client = KafkaAdminClient(bootstrap_servers=brokers.address(request.param))
    yield client
    client.close()


@pytest.fixture
def topic(admin: Any, brokers: RealCluster, request: pytest.FixtureRequest) -> str:
    from kafka.admin import NewTopic

    name = request.node.name.replace("[", "-").strip("]")
    admin.create_topics(
        [NewTopic(name, num_partitions=3, replication_factor=3, topic_configs=SETTINGS)]
    )
    # The client asks any broker each time, and one may hear of the topic later than another.
    brokers.wait_heard(name, 3)
    return str(name)


def described(admin: Any, topic: str) -> Any:
    """The topic; the broker that answers may hear of it a moment after it was created."""

    def ask() -> Any:
        (found,) = admin.describe_topics([topic])
        return found if found["error_code"] == 0 else None

    return until(ask, f"{topic} is known")


def test_describe_cluster(admin: Any, brokers: RealCluster) -> None:
    found = admin.describe_cluster()
    assert found["cluster_id"] == (brokers.properties(1).get("cluster.id") or brokers.cluster_id)
    assert found["controller_id"] in brokers.ports
    assert sorted((each["broker_id"], each["host"], each["port"]) for each in found["brokers"]) == [
        (node, "127.0.0.1", port) for node, port in sorted(brokers.ports.items())
    ]
    assert not any(each["is_fenced"] for each in found["brokers"])


def test_describe_topics(admin: Any, topic: str) -> None:
    found = described(admin, topic)
    assert found["name"] == topic
    assert not found["is_internal"]
    assert found["topic_id"] is not None
    partitions = sorted(found["partitions"], key=lambda each: each["partition_index"])
    assert [each["partition_index"] for each in partitions] == [0, 1, 2]
    for each in partitions:
        assert sorted(each["replica_nodes"]) == sorted(each["isr_nodes"]) == [1, 2, 3]
        assert each["leader_id"] == each["replica_nodes"][0]
        assert each["offline_replicas"] == []
    # Leaders are spread over the brokers.
    assert {each["leader_id"] for each in partitions} == {1, 2, 3}
    until(lambda: topic in admin.list_topics(), "every broker lists it")

    def pages() -> Any:
        (page,) = admin.describe_topic_partitions([topic])["topics"]
        return page if page["error_code"] == 0 else None

    page = until(pages, f"the partitions of {topic} are known")
    assert len(page["partitions"]) == 3
    assert str(page["topic_id"]) == str(found["topic_id"])


def test_describe_configs(admin: Any, topic: str) -> None:
    from kafka.admin import ConfigResource, ConfigResourceType

    asked = ConfigResource(ConfigResourceType.TOPIC, topic)

    def own_settings() -> dict[str, str]:
        """None yet of a broker that has not heard of the topic: the client drops its error."""
        return {
            name: each["value"]
            for name, each in admin.describe_configs([asked])["topic"][topic].items()
            if each["config_source"] == "DYNAMIC_TOPIC_CONFIG"
        }

    assert until(own_settings, f"the settings of {topic} are known") == SETTINGS
    entries = until(
        lambda: admin.describe_configs([asked], include_synonyms=True, config_filter="all")[
            "topic"
        ][topic],
        f"all settings of {topic} are known",  # The client asks any broker each time.
    )
    assert {"cleanup.policy", "segment.bytes", "min.insync.replicas"} <= set(entries)
    retention = entries["retention.ms"]
    assert retention["config_type"] == "LONG"
    (own,) = retention["synonyms"]
    assert (own["name"], own["value"]) == ("retention.ms", SETTINGS["retention.ms"])
    policy = entries["cleanup.policy"]["synonyms"][-1]
    assert (policy["name"], policy["value"]) == ("log.cleanup.policy", "delete")
    # Our cluster's file sets it, so the topic has it from there.
    assert entries["min.insync.replicas"]["value"] == "2"
    assert entries["min.insync.replicas"]["config_source"] in BROKER_SOURCES
    broker = ConfigResource(ConfigResourceType.BROKER, "2")
    settings = admin.describe_configs([broker], config_filter="all")["broker"]["2"]
    assert settings["node.id"]["value"] == "2"
    assert settings["node.id"]["read_only"]
    assert len(settings) > 50


def test_list_offsets(admin: Any, topic: str, brokers: RealCluster) -> None:
    from kafka import TopicPartition
    from kafka.admin import OffsetSpec

    rows = [Row(None, b"%d" % n, (), START_MS + (n * 7) % 10) for n in range(10)]
    KAFKA_PYTHON.produce(brokers.bootstrap, topic, 1, rows)
    place = TopicPartition(topic, 1)

    def listed(spec: Any) -> tuple[int, int]:
        answer = admin.list_partition_offsets({place: spec})[place]
        assert answer.leader_epoch == 0
        return answer.offset, answer.timestamp

    assert listed(OffsetSpec.EARLIEST) == (0, -1)
    assert listed(OffsetSpec.LATEST) == (10, -1)
    assert listed(OffsetSpec.MAX_TIMESTAMP) == (7, START_MS + 9)
    assert listed(START_MS + 3) == (1, START_MS + 7)


def test_log_dirs(admin: Any, topic: str, brokers: RealCluster) -> None:
    KAFKA_PYTHON.produce(brokers.bootstrap, topic, 2, [Row(None, b"x" * 1000, (), START_MS)])

    def sizes() -> dict[int, int]:
        found = {}
        for answer in admin.describe_log_dirs():
            (folder,) = answer["log_dirs"]
            assert folder["error_code"] == 0
            assert folder["usable_bytes"] > 0
            for each in folder["topics"]:
                assert all(part["offset_lag"] == 0 for part in each["partitions"])
                if each["name"] == topic:
                    found[answer["broker"]] = sum(
                        part["partition_size"] for part in each["partitions"]
                    )
        return found

    # The produce request was answered, so each in-sync replica has the record.
    held = sizes()
    assert sorted(held) == [1, 2, 3]
    assert len(set(held.values())) == 1
    assert min(held.values()) > 1000


def test_quorum_and_features(admin: Any, brokers: RealCluster) -> None:
    quorum = admin.describe_metadata_quorum()
    (partition,) = quorum["topics"][0]["partitions"]
    assert partition["leader_id"] in brokers.ports
    assert sorted(each["replica_id"] for each in partition["current_voters"]) == [1, 2, 3]
    assert partition["observers"] == []
    ends = [each["log_end_offset"] for each in partition["current_voters"]]
    assert max(ends) >= partition["high_watermark"] > 0
    assert {(each["node_id"], each["listeners"][0]["port"]) for each in quorum["nodes"]} == set(
        brokers.controller_ports.items()
    )
    assert "metadata.version" in admin.describe_features()


def test_leaders_are_elected_and_topics_deleted(admin: Any, topic: str) -> None:
    described(admin, topic)
    # The preferred leaders lead already, which Kafka calls an error of the partition alone.
    answer = admin.elect_leaders(0, {topic: [0]}, raise_errors=False)
    assert answer is not None
    admin.delete_topics([topic])
    until(lambda: topic not in set(admin.list_topics()), f"{topic} is deleted")
