"""Apache Kafka's console tools, unchanged, against three brokers: what they print and what it does."""

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.api.catalogue import served_apis
from broker.api.registry import BROKER
from broker.protocol.errors import ErrorCode
from tests.interop.clients import CONFLUENT, MODES, Row
from tests.interop.console_tools import run_tool, tool
from tests.interop.mover import Mover, Targets
from tests.interop.real_cluster import ON_KAFKA, RealCluster, until

pytestmark = [pytest.mark.interop, pytest.mark.timeout(240), pytest.mark.usefixtures("java_client")]

START_MS = 1_700_000_000_000


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealCluster]:
    """Three brokers of this file's own: leaders are moved and brokers stopped."""
    settings = {"min.insync.replicas": "2"}
    with RealCluster(tmp_path_factory.mktemp("tools"), settings) as made:
        yield made


@pytest.fixture
def to(cluster: RealCluster) -> list[str]:
    return ["--bootstrap-server", cluster.bootstrap]


@pytest.fixture
def topic(cluster: RealCluster, to: list[str], request: pytest.FixtureRequest) -> str:
    """Three partitions of three replicas, made by kafka-topics, known to every broker."""
    name = request.node.name.removeprefix("test_").replace("_", "-")
    made = tool(
        "kafka-topics", *to, "--create", "--topic", name,
        "--partitions", "3", "--replication-factor", "3", "--config", "retention.ms=3600000",
    )  # fmt: skip
    assert f"Created topic {name}." in made
    cluster.wait_heard(name, 3)
    return str(name)


def write(cluster: RealCluster, topic: str, counts: dict[int, int]) -> None:
    for partition, count in counts.items():
        rows = [Row(b"k%d" % n, b"v%d" % n, (), START_MS + n) for n in range(count)]
        CONFLUENT.produce(cluster.bootstrap, topic, partition, rows)


def described(to: list[str], topic: str) -> dict[int, dict[str, str]]:
    """What kafka-topics says of each partition, by its words."""
    rows = {}
    for line in tool("kafka-topics", *to, "--describe", "--topic", topic).splitlines():
        fields = dict(re.findall(r"(\w+): (\S*)", line))
        if "Partition" in fields:
            rows[int(fields["Partition"])] = fields
    return rows


def numbers(text: str) -> list[int]:
    return [int(each) for each in text.split(",")]


def file_of(tmp_path: Path, name: str, content: object) -> str:
    path = tmp_path / name
    path.write_text(json.dumps(content))
    return str(path)


def test_kafka_topics(cluster: RealCluster, to: list[str], topic: str) -> None:
    partitions = described(to, topic)
    assert sorted(partitions) == [0, 1, 2]
    for each in partitions.values():
        assert sorted(numbers(each["Replicas"])) == sorted(numbers(each["Isr"])) == [1, 2, 3]
        assert each["Leader"] == each["Replicas"][0]
    head = tool("kafka-topics", *to, "--describe", "--topic", topic).splitlines()[0]
    assert "PartitionCount: 3" in head
    assert "ReplicationFactor: 3" in head
    assert "retention.ms=3600000" in head
    again = run_tool("kafka-topics", *to, "--create", "--topic", topic)
    assert again.code == 1
    assert f"Topic '{topic}' already exists" in again.out
    assert tool("kafka-topics", *to, "--create", "--if-not-exists", "--topic", topic) == ""
    tool("kafka-topics", *to, "--alter", "--topic", topic, "--partitions", "5")
    until(lambda: len(described(to, topic)) == 5, "partitions are added")
    asyncio.run(cluster.heard(topic, 5))
    assert tool("kafka-topics", *to, "--describe", "--under-replicated-partitions") == ""
    assert tool("kafka-topics", *to, "--describe", "--unavailable-partitions") == ""
    assert topic in tool("kafka-topics", *to, "--describe", "--topics-with-overrides")
    tool("kafka-topics", *to, "--delete", "--topic", topic)
    asyncio.run(cluster.forgotten(topic))
    assert topic not in tool("kafka-topics", *to, "--list").split()
    gone = run_tool("kafka-topics", *to, "--describe", "--topic", topic)
    assert gone.code == 1
    assert f"Topic '{topic}' does not exist" in gone.out


def test_kafka_topics_while_a_broker_is_down(
    cluster: RealCluster, to: list[str], topic: str
) -> None:
    cluster.stop(3)
    try:
        until(
            lambda: all(sorted(numbers(p["Isr"])) == [1, 2] for p in described(to, topic).values()),
            "the ISR shrinks",
        )
        for which in ("--under-replicated-partitions", "--at-min-isr-partitions"):
            until(
                lambda which=which: (
                    tool("kafka-topics", *to, "--describe", which).count(f"Topic: {topic}\t") == 3
                ),
                f"the broker that is asked tells {which}",
            )
        assert tool("kafka-topics", *to, "--describe", "--unavailable-partitions") == ""
    finally:
        cluster.start(3)
        asyncio.run(cluster.whole())


def test_kafka_configs(to: list[str], topic: str) -> None:
    def entries(*of: str) -> dict[str, str]:
        """Name and value of each dynamic setting."""
        return dict(re.findall(r"^  (\S+)=(\S*) sensitive=", tool("kafka-configs", *to, *of), re.M))

    assert entries("--describe", "--topic", topic) == {"retention.ms": "3600000"}
    tool(
        "kafka-configs", *to, "--alter", "--topic", topic, "--delete-config", "retention.ms",
        "--add-config", "cleanup.policy=[compact,delete],max.message.bytes=12345",
    )  # fmt: skip
    changed = {"cleanup.policy": "compact,delete", "max.message.bytes": "12345"}
    until(lambda: entries("--describe", "--topic", topic) == changed, "the settings are changed")
    every = tool("kafka-configs", *to, "--describe", "--all", "--topic", topic)
    assert "STATIC_BROKER_CONFIG:min.insync.replicas=2" in every
    assert "DEFAULT_CONFIG:log.cleanup.policy=delete" in every
    for wrong, word in (("no.such=1", "no.such"), ("retention.ms=soon", "retention.ms")):
        said = run_tool("kafka-configs", *to, "--alter", "--topic", topic, "--add-config", wrong)
        assert said.code == 1
        assert "InvalidConfigurationException" in said.err
        assert word in said.err

    one = ("--broker", "1")
    tool("kafka-configs", *to, "--alter", *one, "--add-config", "log.cleaner.threads=2")
    until(lambda: entries("--describe", *one) == {"log.cleaner.threads": "2"}, "the broker has it")
    tool("kafka-configs", *to, "--alter", *one, "--delete-config", "log.cleaner.threads")
    until(lambda: entries("--describe", *one) == {}, "the broker has its own again")
    every_broker = ("--broker-defaults",)
    tool("kafka-configs", *to, "--alter", *every_broker, "--add-config", "log.retention.ms=7200000")
    until(
        lambda: (
            "retention.ms=7200000 sensitive=false synonyms={DYNAMIC_DEFAULT_BROKER_CONFIG"
            in tool("kafka-configs", *to, "--describe", "--all", "--topic", topic)
        ),
        "topics have what all brokers have",
    )
    tool("kafka-configs", *to, "--alter", *every_broker, "--delete-config", "log.retention.ms")
    read_only = run_tool("kafka-configs", *to, "--alter", *one, "--add-config", "node.id=7")
    assert read_only.code == 1


def test_kafka_console_producer_and_consumer(to: list[str], topic: str) -> None:
    properties = ("parse.key=true", "key.separator=:", "parse.headers=true")
    given = [part for each in properties for part in ("--reader-property", each)]
    lines = "".join(f"origin:console,n:{n}\tk{n}:größe {n}\n" for n in range(50))
    for compression in ("none", "gzip", "snappy", "lz4", "zstd"):
        tool(
            "kafka-console-producer", *to, "--topic", topic, *given,
            "--compression-codec", compression, given=lines,
        )  # fmt: skip
    shown = ("print.key=true", "print.headers=true", "print.partition=true")
    options = [part for each in shown for part in ("--formatter-property", each)]
    out = tool(
        "kafka-console-consumer", *to, "--topic", topic, "--from-beginning", *options,
        "--max-messages", "250", "--timeout-ms", "60000", "--group", "console",
    )  # fmt: skip
    found = sorted(line.split("\t", 1)[1] for line in out.splitlines())
    expected = sorted(f"origin:console,n:{n}\tk{n}\tgröße {n}" for n in range(50)) * 5
    assert found == sorted(expected)
    assert {line.split("\t")[0] for line in out.splitlines()} <= {
        f"Partition:{n}" for n in range(3)
    }
    assert "console" in tool("kafka-groups", *to, "--list")


def test_kafka_perf_tests(to: list[str], topic: str) -> None:
    said = tool(
        "kafka-producer-perf-test", *to, "--topic", topic, "--num-records", "5000",
        "--record-size", "200", "--throughput", "-1", "--command-property", "acks=all",
        "compression.type=lz4",
    )  # fmt: skip
    assert said.strip().splitlines()[-1].startswith("5000 records sent")
    read = tool(
        "kafka-consumer-perf-test", *to, "--topic", topic, "--num-records", "5000",
        "--timeout", "60000",
    )  # fmt: skip
    columns = read.strip().splitlines()[-1].split(", ")
    assert columns[4] == "5000", read


def test_kafka_get_offsets(cluster: RealCluster, to: list[str], topic: str) -> None:
    write(cluster, topic, {0: 10, 2: 4})

    def at(*time: str) -> dict[int, int]:
        lines = tool("kafka-get-offsets", *to, "--topic", topic, *time).split()
        rows = [line.rsplit(":", 2) for line in lines]
        assert {name for name, _, _ in rows} == {topic}
        return {int(partition): int(offset) for _, partition, offset in rows}

    assert at() == {0: 10, 1: 0, 2: 4}
    assert at("--time", "latest") == {0: 10, 1: 0, 2: 4}
    assert at("--time", "earliest") == {0: 0, 1: 0, 2: 0}
    assert at("--time", "max-timestamp") == {0: 9, 2: 3}
    assert at("--time", str(START_MS + 3)) == {0: 3, 2: 3}
    assert at("--partitions", "2") == {2: 4}


def test_kafka_delete_records(
    cluster: RealCluster, to: list[str], topic: str, tmp_path: Path
) -> None:
    write(cluster, topic, {0: 10})
    wanted = {"topic": topic, "partition": 0, "offset": 4}
    path = file_of(tmp_path, "delete.json", {"version": 1, "partitions": [wanted]})
    said = tool("kafka-delete-records", *to, "--offset-json-file", path)
    assert f"partition: {topic}-0\tlow_watermark: 4" in said
    earliest = tool("kafka-get-offsets", *to, "--topic-partitions", f"{topic}:0", "--time", "-2")
    assert earliest.strip() == f"{topic}:0:4"


def test_kafka_log_dirs(cluster: RealCluster, to: list[str], topic: str) -> None:
    write(cluster, topic, {1: 100})
    said = tool("kafka-log-dirs", *to, "--describe", "--topic-list", topic)
    told = json.loads(said.splitlines()[-1])
    assert sorted(each["broker"] for each in told["brokers"]) == [1, 2, 3]
    for broker in told["brokers"]:
        (folder,) = broker["logDirs"]
        assert folder["error"] is None
        assert folder["logDir"] == str(cluster.folder / f"data-{broker['broker']}")
        sizes = {each["partition"]: each["size"] for each in folder["partitions"]}
        assert sizes.keys() == {f"{topic}-{n}" for n in range(3)}
        assert sizes[f"{topic}-1"] == len(cluster.log_bytes(broker["broker"], topic, 1)) > 1000
        assert all(each["offsetLag"] == 0 for each in folder["partitions"])
        assert not any(each["isFuture"] for each in folder["partitions"])


def test_kafka_metadata_quorum(cluster: RealCluster, to: list[str]) -> None:
    said = tool("kafka-metadata-quorum", *to, "describe", "--status")
    status = dict(re.findall(r"^(\w+): +(.*)$", said, re.M))
    assert int(status["LeaderId"]) in cluster.ports
    assert int(status["HighWatermark"]) > 0
    assert int(status["MaxFollowerLag"]) >= 0
    voters = json.loads(status["CurrentVoters"])
    assert {voter["id"]: voter["endpoints"] for voter in voters} == {
        node: [f"CONTROLLER://127.0.0.1:{port}"] for node, port in cluster.controller_ports.items()
    }
    said = tool("kafka-metadata-quorum", *to, "describe", "--replication")
    rows = [line.split() for line in said.splitlines()[1:] if line.strip()]
    assert {int(row[0]): row[-1] for row in rows} == {
        node: "Leader" if str(node) == status["LeaderId"] else "Follower" for node in cluster.ports
    }
    assert all(int(row[3]) >= 0 for row in rows), "lags"


def test_kafka_leader_election(cluster: RealCluster, to: list[str], topic: str) -> None:
    before = {partition: each["Leader"] for partition, each in described(to, topic).items()}
    cluster.stop(2)
    until(
        lambda: all(each["Leader"] in "13" for each in described(to, topic).values()),
        "the leaders have moved",
    )
    cluster.start(2)
    asyncio.run(cluster.whole())
    moved = next(partition for partition, leader in before.items() if leader == "2")
    said = run_tool(
        "kafka-leader-election", *to, "--election-type", "preferred",
        "--topic", topic, "--partition", str(moved),
    )  # fmt: skip
    assert said.code == 0, said
    assert f"{topic}-{moved}" in said.out
    until(lambda: described(to, topic)[moved]["Leader"] == "2", "it leads again")
    again = run_tool("kafka-leader-election", *to, "--election-type", "preferred",
                     "--all-topic-partitions")  # fmt: skip
    assert again.code == 0, again
    refused = run_tool("kafka-leader-election", *to, "--election-type", "unclean",
                       "--topic", "there-is-none", "--partition", "0")  # fmt: skip
    assert refused.code == 1
    assert "UnknownTopicOrPartition" in refused.err + refused.out


def move(topic: str, replicas: list[int]) -> object:
    """A plan for kafka-reassign-partitions: every partition to those brokers, in turn as leaders."""
    turned = [replicas[n % len(replicas) :] + replicas[: n % len(replicas)] for n in range(3)]
    places = [{"topic": topic, "partition": n, "replicas": each} for n, each in enumerate(turned)]
    return {"version": 1, "partitions": places}


async def begin(cluster: RealCluster, topic: str, targets: Targets) -> None:
    mover = await Mover.open(cluster.address(1), topic)
    try:
        assert set((await mover.move(targets)).values()) == {ErrorCode.none}
    finally:
        mover.close()


def test_kafka_reassign_partitions(
    cluster: RealCluster, to: list[str], topic: str, tmp_path: Path
) -> None:
    write(cluster, topic, {0: 100, 1: 100, 2: 100})

    def reassign(*arguments: str) -> str:
        return tool("kafka-reassign-partitions", *to, *arguments)

    def verified(path: str) -> bool:
        said = reassign("--reassignment-json-file", path, "--verify")
        return said.count("is completed") == 3

    topics = file_of(tmp_path, "topics.json", {"version": 1, "topics": [{"topic": topic}]})
    said = reassign("--topics-to-move-json-file", topics, "--broker-list", "1,2,3", "--generate")
    current, proposed = (json.loads(line) for line in said.splitlines() if line.startswith("{"))
    for plan in (current, proposed):
        assert sorted(each["partition"] for each in plan["partitions"]) == [0, 1, 2]
        assert all(sorted(each["replicas"]) == [1, 2, 3] for each in plan["partitions"])

    two = file_of(tmp_path, "two.json", move(topic, [1, 2]))
    said = reassign("--reassignment-json-file", two, "--execute")
    assert f"Successfully started partition reassignments for {topic}-0" in said
    until(lambda: verified(two), "the moves are completed")
    until(
        lambda: (
            [each["Replicas"] for _, each in sorted(described(to, topic).items())]
            == ["1,2", "2,1", "1,2"]
        ),
        "the broker that is asked knows where they are",
    )

    # To a broker that is down: it stays under way, and can be given up.
    asyncio.run(cluster.whole())
    cluster.stop(3)
    asyncio.run(cluster.without(3))
    try:
        other = file_of(tmp_path, "other.json", move(topic, [1, 3]))
        # The tool itself refuses to begin it.
        said = run_tool(
            "kafka-reassign-partitions", *to, "--reassignment-json-file", other, "--execute"
        ).out
        assert "Unknown broker id 3" in said
        asyncio.run(begin(cluster, topic, {0: [1, 3], 1: [3, 1], 2: [1, 3]}))
        said = reassign("--reassignment-json-file", other, "--verify", "--preserve-throttles")
        assert said.count("is still in progress") == 3
        assert reassign("--list").count(f"{topic}-") == 3
        said = reassign("--reassignment-json-file", other, "--cancel", "--preserve-throttles")
        assert "Successfully cancelled partition reassignments" in said
        assert "No partition reassignments found" in reassign("--list")
    finally:
        cluster.start(3)
        asyncio.run(cluster.whole())
    assert {each["Replicas"] for each in described(to, topic).values()} <= {"1,2", "2,1"}
    for partition in range(3):
        assert len(CONFLUENT.consume(cluster.bootstrap, topic, partition, 100)) == 100


def test_kafka_broker_api_versions(cluster: RealCluster, to: list[str]) -> None:
    said = tool("kafka-broker-api-versions", *to)
    for node, part in zip(
        cluster.ports, re.split(r"^127\.0\.0\.1:\d+ \(id: ", said, flags=re.M)[1:], strict=True
    ):
        found = {
            int(key): (int(low), int(high or low))
            for key, low, high in re.findall(r"\((\d+)\): (\d+)(?: to (\d+))? \[usable", part)
        }
        served = served_apis().versions(BROKER)
        assert ON_KAFKA or found == {key: served[key] for key in served}, node


def test_kafka_cluster(cluster: RealCluster, to: list[str]) -> None:
    expected = cluster.properties(1).get("cluster.id") or cluster.cluster_id
    assert tool("kafka-cluster", "cluster-id", *to).strip() == f"Cluster ID: {expected}"
    said = tool("kafka-cluster", "list-endpoints", *to)
    rows = [line.split() for line in said.splitlines()[1:] if line.strip()]
    assert {(int(row[0]), row[1], int(row[2])) for row in rows} == {
        (node, "127.0.0.1", port) for node, port in cluster.ports.items()
    }
    refused = run_tool("kafka-cluster", "unregister", *to, "--id", "77")
    assert "77" in refused.out + refused.err
    features = tool("kafka-features", *to, "describe")
    assert re.search(r"Feature: metadata.version\s.*FinalizedVersionLevel: 4", features)


def test_kafka_transactions_describes_producers(
    cluster: RealCluster, to: list[str], topic: str
) -> None:
    rows = [Row(None, b"v", (), START_MS)] * 5
    CONFLUENT.produce(cluster.bootstrap, topic, 0, rows, mode=MODES[3])
    said = tool(
        "kafka-transactions", *to, "describe-producers", "--topic", topic, "--partition", "0"
    )
    (row,) = [line.split() for line in said.splitlines()[1:] if line.strip()]
    assert row[3] == "4", "the last sequence"


def test_kafka_dump_log_reads_the_metadata_log(
    cluster: RealCluster, to: list[str], topic: str
) -> None:
    folder = cluster.folder / "data-1" / "__cluster_metadata-0"
    path = min(folder.glob("*.log"))
    said = tool("kafka-dump-log", "--cluster-metadata-decoder", "--files", str(path))
    payloads = [json.loads(each) for each in re.findall(r"payload: (\{.*\})", said)]
    made = [each["data"] for each in payloads if each["type"] == "TOPIC_RECORD"]
    (mine,) = [each for each in made if each["name"] == topic]
    partitions = [
        each["data"]
        for each in payloads
        if each["type"] == "PARTITION_RECORD" and each["data"]["topicId"] == mine["topicId"]
    ]
    assert sorted(each["partitionId"] for each in partitions) == [0, 1, 2]
    assert all(sorted(each["replicas"]) == [1, 2, 3] for each in partitions)
    assert {each["type"] for each in payloads} >= {"REGISTER_BROKER_RECORD", "CONFIG_RECORD"}
    # Indexes of the last segment are written when the broker stops.
    cluster.stop(1)
    try:
        for path in sorted(folder.glob("*.*index")):
            told = tool("kafka-dump-log", "--index-sanity-check", "--files", str(path))
            assert "passed sanity check" in told or "is empty" in told, told
        assert sorted(folder.glob("*.index"))
        assert "ismatch" not in tool("kafka-dump-log", "--files", str(path.with_suffix(".index")))
    finally:
        cluster.start(1)
        asyncio.run(cluster.whole())


@pytest.mark.skipif(ON_KAFKA, reason="Apache Kafka has replication quotas")
def test_kafka_reassign_partitions_is_refused_a_throttle(
    to: list[str], topic: str, tmp_path: Path
) -> None:
    path = file_of(tmp_path, "two.json", move(topic, [1, 2]))
    given = (*to, "--reassignment-json-file", path)
    said = run_tool("kafka-reassign-partitions", *given, "--execute", "--throttle", "1000000")
    assert said.code == 1
    assert "Unknown broker config name: leader.replication.throttled.rate" in said.out
    listed = tool("kafka-reassign-partitions", *to, "--list")
    assert "No partition reassignments found" in listed
    assert {len(numbers(each["Replicas"])) for each in described(to, topic).values()} == {3}
