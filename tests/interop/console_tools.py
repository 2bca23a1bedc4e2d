"""Apache Kafka's own console tools, each by the name of its script, run inside of the Java driver."""

from typing import NamedTuple

from tests.interop.drivers import driver

_TOOLS = "org.apache.kafka.tools"
CLASSES = {
    "kafka-broker-api-versions": f"{_TOOLS}.BrokerApiVersionsCommand",
    "kafka-cluster": f"{_TOOLS}.ClusterTool",
    "kafka-configs": "kafka.admin.ConfigCommand",
    "kafka-console-consumer": f"{_TOOLS}.consumer.ConsoleConsumer",
    "kafka-console-producer": f"{_TOOLS}.ConsoleProducer",
    "kafka-consumer-groups": f"{_TOOLS}.consumer.group.ConsumerGroupCommand",
    "kafka-consumer-perf-test": f"{_TOOLS}.ConsumerPerformance",
    "kafka-delete-records": f"{_TOOLS}.DeleteRecordsCommand",
    "kafka-dump-log": f"{_TOOLS}.DumpLogSegments",
    "kafka-features": f"{_TOOLS}.FeatureCommand",
    "kafka-get-offsets": f"{_TOOLS}.GetOffsetShell",
    "kafka-groups": f"{_TOOLS}.GroupsCommand",
    "kafka-leader-election": f"{_TOOLS}.LeaderElectionCommand",
    "kafka-log-dirs": f"{_TOOLS}.LogDirsCommand",
    "kafka-metadata-quorum": f"{_TOOLS}.MetadataQuorumCommand",
    "kafka-producer-perf-test": f"{_TOOLS}.ProducerPerformance",
    "kafka-reassign-partitions": f"{_TOOLS}.reassign.ReassignPartitionsCommand",
    "kafka-topics": f"{_TOOLS}.TopicCommand",
    "kafka-transactions": f"{_TOOLS}.TransactionsCommand",
}


class Said(NamedTuple):
    """What a tool left behind."""

    code: int
    out: str
    err: str


def run_tool(script: str, *arguments: str, given: str = "") -> Said:
    """Run a tool to its end, whatever that is."""
    asked = {"class": CLASSES[script], "arguments": list(arguments), "given": given}
    return Said(**driver("java").ask("tool", **asked))


def tool(script: str, *arguments: str, given: str = "") -> str:
    """Run a tool that has to succeed; gives what it printed."""
    said = run_tool(script, *arguments, given=given)
    assert said.code == 0, f"{script} ended with {said.code}: {said.out}\n{said.err}"
    return said.out
