"""Offsets by time, sizes, topics that are not there: each client says what its user expects."""

import random
import time
from typing import Any

import pytest

from tests.interop.clients import MODES, Client, Confluent, Row
from tests.interop.real_cluster import ON_KAFKA, RealCluster

pytestmark = [pytest.mark.interop, pytest.mark.timeout(180)]

START_MS = 1_700_000_000_000
LARGE_BYTES = 2_000_000
WHOLE_SECONDS = 60

TOO_LARGE = {
    "MSG_SIZE_TOO_LARGE",
    "MessageSizeTooLargeError",
    "RecordTooLargeException",
    "MESSAGE_TOO_LARGE",
}

# Far below each client's limit for this, a minute and more, and enough for a busy machine.
AT_ONCE_SECONDS = 20
# What a client says of a coordinator that there is not; some show the broker's words.
TELLS_OUR_WORDS = {"confluent-kafka", "java"}
REFUSED_AS = {
    "aiokafka": "TransactionalIdAuthorizationFailed",
    "kafka-python": "UnsupportedVersionError",
    "kafkajs": "Failed to find group coordinator",
    "franz-go": "UNSUPPORTED_VERSION",
}


def test_offsets_by_time(brokers: RealCluster, client: Client, readers: list[Client]) -> None:
    topic = f"times-{client.name}"
    client.create_topic(brokers.bootstrap, topic, 1, {})
    brokers.wait_heard(topic, 1)
    # Three requests, so at least three batches; 10 ms between records, and one from the past.
    offset = 0
    for start in (0, 50, 100):
        rows = [Row(None, b"%d" % n, (), START_MS + 10 * n) for n in range(start, start + 50)]
        client.produce(brokers.bootstrap, topic, 0, rows, compression="gzip")
        offset += 50
    client.produce(brokers.bootstrap, topic, 0, [Row(None, b"late", (), START_MS + 5)])
    times = [0, START_MS, START_MS + 1, START_MS + 755, START_MS + 1490, START_MS + 1491]
    expected = [0, 0, 1, 76, 149, None]
    for reader in readers:
        found = reader.offsets(brokers.bootstrap, topic, 0, times)
        assert found == (0, 151, expected), reader.name


def test_offsets_of_an_empty_partition(
    brokers: RealCluster, client: Client, readers: list[Client]
) -> None:
    topic = f"empty-{client.name}"
    client.create_topic(brokers.bootstrap, topic, 1, {})
    brokers.wait_heard(topic, 1)
    for reader in readers:
        assert reader.offsets(brokers.bootstrap, topic, 0, [0]) == (0, 0, [None]), reader.name


def test_a_message_that_is_too_large(brokers: RealCluster, client: Client) -> None:
    topic = f"large-{client.name}"
    client.create_topic(brokers.bootstrap, topic, 1, {})
    brokers.wait_heard(topic, 1)
    value = random.Random(topic).randbytes(LARGE_BYTES)
    large = Row(None, value, (), START_MS)
    for mode in MODES[1:]:
        with pytest.raises(Exception) as raised:
            client.produce(
                brokers.bootstrap, topic, 0, [large], mode=mode, max_bytes=2 * LARGE_BYTES
            )
        assert client.error_name(raised.value) in TOO_LARGE, mode
    # Nothing of it was kept, and the topic goes on; larger ones are fine where they are allowed.
    after = Row(None, b"after", (), START_MS)
    assert client.produce(brokers.bootstrap, topic, 0, [after]) == [0]
    wide = f"wide-{client.name}"
    client.create_topic(brokers.bootstrap, wide, 1, {"max.message.bytes": str(2 * LARGE_BYTES)})
    brokers.wait_heard(wide, 1)
    assert client.produce(
        brokers.bootstrap, wide, 0, [large, after], max_bytes=2 * LARGE_BYTES
    ) == [0, 1]
    # A batch larger than what a reader asks for is sent all the same (KIP-74).
    assert client.consume(brokers.bootstrap, wide, 0, 2) == [(0, large), (1, after)]


def test_a_topic_is_made_by_writing_to_it(brokers: RealCluster, client: Client) -> None:
    topic = f"made-by-{client.name}"
    rows = [Row(b"k", b"%d" % n, (), START_MS + n) for n in range(10)]
    for way, partition in ((brokers.address(3), 1), (brokers.address(1), 0)):
        assert client.produce(way, topic, partition, rows) == list(range(10))
        assert client.consume(way, topic, partition, 10) == list(enumerate(rows))


def test_log_append_time(brokers: RealCluster, client: Client) -> None:
    from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, Consumer, TopicPartition

    topic = f"appended-{client.name}"
    client.create_topic(brokers.bootstrap, topic, 1, {"message.timestamp.type": "LogAppendTime"})
    brokers.wait_heard(topic, 1)
    before = int(time.time() * 1000)
    client.produce(brokers.bootstrap, topic, 0, [Row(None, b"x", (), 5), Row(None, b"y", (), 9)])
    consumer = Consumer(
        {"bootstrap.servers": brokers.bootstrap, "group.id": "none", "enable.auto.commit": False}
    )
    try:
        consumer.assign([TopicPartition(topic, 0, 0)])
        found: list[Any] = []
        limit = time.monotonic() + WHOLE_SECONDS
        while len(found) < 2 and time.monotonic() < limit:
            found += consumer.consume(2, 0.1)
    finally:
        consumer.close()
    assert [message.value() for message in found] == [b"x", b"y"]
    for message in found:
        kind, timestamp_ms = message.timestamp()
        assert kind == TIMESTAMP_LOG_APPEND_TIME
        assert before <= timestamp_ms <= int(time.time() * 1000)


def test_names_that_no_topic_may_have(brokers: RealCluster, client: Client) -> None:
    for name in ("no spaces", "käse", "x" * 250, ".."):
        with pytest.raises(Exception) as raised:
            client.create_topic(brokers.bootstrap, name, 1, {})
        assert "17" in str(raised.value) or "nvalid" in repr(raised.value), (name, raised.value)


def test_a_topic_that_exists_and_settings_that_do_not(brokers: RealCluster, client: Client) -> None:
    topic = f"twice-{client.name}"
    client.create_topic(brokers.bootstrap, topic, 1, {})
    brokers.wait_heard(topic, 1)
    with pytest.raises(Exception) as raised:
        client.create_topic(brokers.bootstrap, topic, 1, {})
    assert "exists" in repr(raised.value).lower() or "36" in str(raised.value)
    with pytest.raises(Exception) as raised:
        client.create_topic(brokers.bootstrap, f"{topic}-no", 1, {"retention.sm": "5"})
    assert "config" in repr(raised.value).lower() or "40" in str(raised.value)


def test_transactions_are_refused_at_once(brokers: RealCluster, client: Client) -> None:
    """logd has none: nobody waits for the end of a time limit to hear of that."""
    if ON_KAFKA:
        client.begin_transaction(brokers.bootstrap, f"payments-{client.name}")
        return
    began = time.monotonic()
    with pytest.raises(Exception) as raised:
        client.begin_transaction(brokers.bootstrap, f"payments-{client.name}")
    took = time.monotonic() - began
    assert took < AT_ONCE_SECONDS, raised.value
    if client.name in TELLS_OUR_WORDS:
        assert "logd has no transactions" in str(raised.value)
    else:
        assert REFUSED_AS[client.name] in f"{raised.value!r} {raised.value}"


def test_reading_beyond_the_end(brokers: RealCluster) -> None:
    from confluent_kafka import Consumer, TopicPartition

    Confluent().create_topic(brokers.bootstrap, "short", 1, {})
    brokers.wait_heard("short", 1)
    consumer = Consumer(
        {
            "bootstrap.servers": brokers.bootstrap,
            "group.id": "none",
            "auto.offset.reset": "error",
            "enable.auto.commit": False,
        }
    )
    try:
        consumer.assign([TopicPartition("short", 0, 5)])
        message = None
        limit = time.monotonic() + WHOLE_SECONDS
        while message is None and time.monotonic() < limit:
            message = consumer.poll(0.2)
    finally:
        consumer.close()
    assert message is not None
    assert message.error() is not None
    assert message.error().name() == "_AUTO_OFFSET_RESET"


def test_a_topic_that_is_not_there(brokers: RealCluster) -> None:
    from confluent_kafka import KafkaException, TopicCollection
    from confluent_kafka.admin import AdminClient

    admin = AdminClient({"bootstrap.servers": brokers.bootstrap})
    (future,) = admin.describe_topics(TopicCollection(["there-is-none"])).values()
    with pytest.raises(KafkaException) as raised:
        future.result(WHOLE_SECONDS)
    assert raised.value.args[0].name() == "UNKNOWN_TOPIC_OR_PART"
    (future,) = admin.delete_topics(["there-is-none"]).values()
    with pytest.raises(KafkaException) as raised:
        future.result(WHOLE_SECONDS)
    assert raised.value.args[0].name() == "UNKNOWN_TOPIC_OR_PART"
    # Asking did not make it.
    assert "there-is-none" not in admin.list_topics(timeout=WHOLE_SECONDS).topics
