"""Unmodified clients behind one small interface, so that each can read what the others wrote.

Nothing of a client is replaced or patched. Blocking; every wait has a limit.
"""

import asyncio
import importlib
import time
from collections.abc import Iterable, Sequence
from importlib import metadata
from typing import Any, NamedTuple, Protocol

WAIT_SECONDS = 60.0
MESSAGE_BYTES = 1_048_588
QUIET = {"log_level": 0}
NEW_TOPIC = {
    "_UNKNOWN_PARTITION",
    "LEADER_NOT_AVAILABLE",
    "NOT_LEADER_FOR_PARTITION",
    "UNKNOWN_TOPIC_OR_PART",
}


class Row(NamedTuple):
    """A record, as a client was given it or gives it back."""

    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    timestamp_ms: int


class Mode(NamedTuple):
    """How a producer asks for its acknowledgements."""

    acks: int
    idempotent: bool = False


MODES = (Mode(0), Mode(1), Mode(-1), Mode(-1, idempotent=True))


class Client(Protocol):
    name: str
    # Refuses to send a record with neither key nor value, or a header without a value.
    needs_content: bool

    def missing(self) -> str | None:
        """What it lacks here to run at all."""
        ...

    def version(self) -> str: ...

    def create_topic(
        self, bootstrap: str, name: str, partitions: int, configs: dict[str, str]
    ) -> None: ...

    def produce(
        self,
        bootstrap: str,
        topic: str,
        partition: int,
        rows: Sequence[Row],
        *,
        compression: str = "none",
        mode: Mode = MODES[2],
        max_bytes: int = MESSAGE_BYTES,
    ) -> list[int]:
        """Send in order; the offsets, which mean nothing with acks=0. Raises the client's error."""
        ...

    def consume(
        self, bootstrap: str, topic: str, partition: int, count: int, *, start: int = 0
    ) -> list[tuple[int, Row]]:
        """`count` records with their offsets, by assignment from the offset `start`."""
        ...

    def offsets(
        self, bootstrap: str, topic: str, partition: int, times_ms: Iterable[int]
    ) -> tuple[int, int, list[int | None]]:
        """Earliest, latest, and the first offset at or after each time (None: there is none)."""
        ...

    def begin_transaction(self, bootstrap: str, transactional_id: str) -> None:
        """Become a transactional producer, which asks for its coordinator and an id."""
        ...

    def error_name(self, error: Exception) -> str:
        """What the client calls an error of the broker."""
        ...


class Confluent:
    """librdkafka, by confluent-kafka."""

    name = "confluent-kafka"
    modules: tuple[str, ...] = ("confluent_kafka",)
    needs_content = False

    def missing(self) -> str | None:
        return _missing(self.modules)

    def version(self) -> str:
        return metadata.version(self.name)

    def create_topic(
        self, bootstrap: str, name: str, partitions: int, configs: dict[str, str]
    ) -> None:
        from confluent_kafka.admin import AdminClient, NewTopic

        admin = AdminClient({"bootstrap.servers": bootstrap, **QUIET})
        topic = NewTopic(name, partitions, 3, config=configs)
        admin.create_topics([topic], request_timeout=WAIT_SECONDS)[name].result(WAIT_SECONDS)

    def produce(
        self,
        bootstrap: str,
        topic: str,
        partition: int,
        rows: Sequence[Row],
        *,
        compression: str = "none",
        mode: Mode = MODES[2],
        max_bytes: int = MESSAGE_BYTES,
    ) -> list[int]:
        from confluent_kafka import KafkaException, Producer

        producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "acks": mode.acks,
                "enable.idempotence": mode.idempotent,
                "compression.type": compression,
                "message.max.bytes": max_bytes,
                "linger.ms": 10,
                **QUIET,
            }
        )
        offsets: dict[int, int] = {}
        failures: list[Any] = []

        def delivered(place: int, error: Any, message: Any) -> None:
            if error is not None:
                failures.append(error)
            else:
                offsets[place] = message.offset() if message.offset() is not None else -1

        for place, row in enumerate(rows):
            producer.produce(
                topic,
                row.value,
                row.key,
                partition,
                on_delivery=lambda error, message, place=place: delivered(place, error, message),
                timestamp=row.timestamp_ms,
                headers=list(row.headers),
            )
            producer.poll(0)
        left = producer.flush(WAIT_SECONDS)
        if failures:
            raise KafkaException(failures[0])
        assert left == 0, f"{left} records without an answer"
        return [offsets[place] for place in range(len(rows))]

    def _consumer(self, bootstrap: str) -> Any:
        from confluent_kafka import Consumer

        return Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": "none",
                "enable.auto.commit": False,
                "check.crcs": True,
                **QUIET,
            }
        )

    def consume(
        self, bootstrap: str, topic: str, partition: int, count: int, *, start: int = 0
    ) -> list[tuple[int, Row]]:
        from confluent_kafka import TIMESTAMP_CREATE_TIME, KafkaException, TopicPartition

        consumer = self._consumer(bootstrap)
        consumer.assign([TopicPartition(topic, partition, start)])
        found: list[tuple[int, Row]] = []
        limit = time.monotonic() + WAIT_SECONDS
        try:
            while len(found) < count and time.monotonic() < limit:
                for message in consumer.consume(count - len(found), 0.1):
                    if message.error() is not None:
                        raise KafkaException(message.error())
                    kind, timestamp_ms = message.timestamp()
                    assert kind == TIMESTAMP_CREATE_TIME
                    headers = tuple((name, value) for name, value in message.headers() or ())
                    row = Row(message.key(), message.value(), headers, timestamp_ms)
                    found.append((message.offset(), row))
        finally:
            consumer.close()
        return found

    def offsets(
        self, bootstrap: str, topic: str, partition: int, times_ms: Iterable[int]
    ) -> tuple[int, int, list[int | None]]:
        from confluent_kafka import TopicPartition

        consumer = self._consumer(bootstrap)
        try:
            low, high = self._watermarks(consumer, TopicPartition(topic, partition))
            found: list[int | None] = []
            for time_ms in times_ms:
                asked = [TopicPartition(topic, partition, time_ms)]
                (answer,) = consumer.offsets_for_times(asked, timeout=WAIT_SECONDS)
                assert answer.error is None
                found.append(answer.offset if answer.offset >= 0 else None)
        finally:
            consumer.close()
        return low, high, found

    def _watermarks(self, consumer: Any, place: Any) -> tuple[int, int]:
        """Earliest and latest; it does not try again by itself when a topic is new."""
        from confluent_kafka import KafkaException

        limit = time.monotonic() + WAIT_SECONDS
        while True:
            try:
                low, high = consumer.get_watermark_offsets(place, timeout=WAIT_SECONDS)
            except KafkaException as error:
                if self.error_name(error) not in NEW_TOPIC or time.monotonic() > limit:
                    raise
                time.sleep(0.05)
            else:
                return low, high

    def begin_transaction(self, bootstrap: str, transactional_id: str) -> None:
        from confluent_kafka import Producer

        names = {"bootstrap.servers": bootstrap, "transactional.id": transactional_id}
        # It writes what is fatal to stderr, whatever the log level.
        Producer({**names, "error_cb": lambda error: None, **QUIET}).init_transactions(WAIT_SECONDS)

    def error_name(self, error: Exception) -> str:
        return str(error.args[0].name())


class Aio:
    """aiokafka."""

    name = "aiokafka"
    modules: tuple[str, ...] = ("aiokafka",)
    needs_content = True

    def missing(self) -> str | None:
        return _missing(self.modules)

    def version(self) -> str:
        return metadata.version(self.name)

    def create_topic(
        self, bootstrap: str, name: str, partitions: int, configs: dict[str, str]
    ) -> None:
        async def create() -> None:
            from aiokafka.admin import AIOKafkaAdminClient, NewTopic

            admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
            await admin.start()
            try:
                topic = NewTopic(name, partitions, 3, topic_configs=configs)
                answer = await admin.create_topics([topic])
            finally:
                await admin.close()
            assert [error[1] for error in answer.topic_errors] == [0], answer

        asyncio.run(create())

    def produce(
        self,
        bootstrap: str,
        topic: str,
        partition: int,
        rows: Sequence[Row],
        *,
        compression: str = "none",
        mode: Mode = MODES[2],
        max_bytes: int = MESSAGE_BYTES,
    ) -> list[int]:
        async def produce() -> list[int]:
            from aiokafka import AIOKafkaProducer

            producer = AIOKafkaProducer(
                bootstrap_servers=bootstrap,
                acks=mode.acks,
                enable_idempotence=mode.idempotent,
                compression_type=None if compression == "none" else compression,
                max_request_size=max_bytes,
                linger_ms=10,
            )
            await producer.start()
            try:
                pending = [
                    await producer.send(
                        topic,
                        row.value,
                        row.key,
                        partition,
                        timestamp_ms=row.timestamp_ms,
                        headers=list(row.headers),
                    )
                    for row in rows
                ]
                sent = await asyncio.gather(*pending)
            finally:
                await producer.stop()
            return [-1 if each is None else each.offset for each in sent]

        return asyncio.run(produce())

    def consume(
        self, bootstrap: str, topic: str, partition: int, count: int, *, start: int = 0
    ) -> list[tuple[int, Row]]:
        async def consume() -> list[tuple[int, Row]]:
            from aiokafka import AIOKafkaConsumer, TopicPartition

            found: list[tuple[int, Row]] = []
            consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
            await consumer.start()
            try:
                place = TopicPartition(topic, partition)
                consumer.assign([place])
                consumer.seek(place, start)
                async with asyncio.timeout(WAIT_SECONDS):
                    while len(found) < count:
                        batches = await consumer.getmany(
                            timeout_ms=1000, max_records=count - len(found)
                        )
                        for records in batches.values():
                            found += [_row_of(record) for record in records]
            except TimeoutError:
                pass  # the caller sees what is missing
            finally:
                await consumer.stop()
            return found

        return asyncio.run(consume())

    def offsets(
        self, bootstrap: str, topic: str, partition: int, times_ms: Iterable[int]
    ) -> tuple[int, int, list[int | None]]:
        async def offsets() -> tuple[int, int, list[int | None]]:
            from aiokafka import AIOKafkaConsumer, TopicPartition

            consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap)
            await consumer.start()
            try:
                place = TopicPartition(topic, partition)
                low = (await consumer.beginning_offsets([place]))[place]
                high = (await consumer.end_offsets([place]))[place]
                answers = [
                    (await consumer.offsets_for_times({place: time_ms}))[place]
                    for time_ms in times_ms
                ]
            finally:
                await consumer.stop()
            return low, high, [None if each is None else each.offset for each in answers]

        return asyncio.run(offsets())

    def begin_transaction(self, bootstrap: str, transactional_id: str) -> None:
        asyncio.run(self._begin_transaction(bootstrap, transactional_id))

    async def _begin_transaction(self, bootstrap: str, transactional_id: str) -> None:
        from aiokafka import AIOKafkaProducer

        producer = AIOKafkaProducer(bootstrap_servers=bootstrap, transactional_id=transactional_id)
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await producer.start()
        finally:
            await producer.stop()

    def error_name(self, error: Exception) -> str:
        return type(error).__name__


class KafkaPython:
    """kafka-python."""

    name = "kafka-python"
    modules: tuple[str, ...] = ("kafka", "lz4", "snappy", "zstandard")
    needs_content = True

    def missing(self) -> str | None:
        return _missing(self.modules)

    def version(self) -> str:
        return metadata.version(self.name)

    def create_topic(
        self, bootstrap: str, name: str, partitions: int, configs: dict[str, str]
    ) -> None:
        from kafka import KafkaAdminClient
        from kafka.admin import NewTopic

        admin = KafkaAdminClient(bootstrap_servers=bootstrap)
        try:
            admin.create_topics(
                [
                    NewTopic(
                        name, num_partitions=partitions, replication_factor=3, topic_configs=configs
                    )
                ]
            )
        finally:
            admin.close()

    def produce(
        self,
        bootstrap: str,
        topic: str,
        partition: int,
        rows: Sequence[Row],
        *,
        compression: str = "none",
        mode: Mode = MODES[2],
        max_bytes: int = MESSAGE_BYTES,
    ) -> list[int]:
        from kafka import KafkaProducer

        producer = KafkaProducer(
            bootstrap_servers=bootstrap,
            acks=mode.acks,
            enable_idempotence=mode.idempotent,
            compression_type=None if compression == "none" else compression,
            max_request_size=max_bytes,
            linger_ms=10,
        )
        try:
            futures = [
                producer.send(
                    topic,
                    row.value,
                    row.key,
                    list(row.headers),
                    partition,
                    row.timestamp_ms,
                )
                for row in rows
            ]
            return [future.get(WAIT_SECONDS).offset for future in futures]
        finally:
            producer.close(WAIT_SECONDS)

    def consume(
        self, bootstrap: str, topic: str, partition: int, count: int, *, start: int = 0
    ) -> list[tuple[int, Row]]:
        from kafka import KafkaConsumer, TopicPartition

        # It waits at its end for the fetch under way.
        consumer = KafkaConsumer(
            bootstrap_servers=bootstrap, enable_auto_commit=False, fetch_max_wait_ms=50
        )
        found: list[tuple[int, Row]] = []
        limit = time.monotonic() + WAIT_SECONDS
        try:
            place = TopicPartition(topic, partition)
            consumer.assign([place])
            consumer.seek(place, start)
            while len(found) < count and time.monotonic() < limit:
                for records in consumer.poll(1000, max_records=count - len(found)).values():
                    found += [_row_of(record) for record in records]
        finally:
            consumer.close()
        return found

    def offsets(
        self, bootstrap: str, topic: str, partition: int, times_ms: Iterable[int]
    ) -> tuple[int, int, list[int | None]]:
        from kafka import KafkaConsumer, TopicPartition

        consumer = KafkaConsumer(bootstrap_servers=bootstrap)
        try:
            place = TopicPartition(topic, partition)
            low = consumer.beginning_offsets([place])[place]
            high = consumer.end_offsets([place])[place]
            answers = [consumer.offsets_for_times({place: time_ms})[place] for time_ms in times_ms]
        finally:
            consumer.close()
        return low, high, [None if each is None else each.offset for each in answers]

    def begin_transaction(self, bootstrap: str, transactional_id: str) -> None:
        from kafka import KafkaProducer

        producer = KafkaProducer(
            bootstrap_servers=bootstrap,
            transactional_id=transactional_id,
            max_block_ms=int(WAIT_SECONDS * 1000),
        )
        try:
            producer.init_transactions()
        finally:
            producer.close(timeout=0)

    def error_name(self, error: Exception) -> str:
        return type(error).__name__


def _row_of(record: Any) -> tuple[int, Row]:
    headers = tuple((name, value) for name, value in record.headers)
    return record.offset, Row(record.key, record.value, headers, record.timestamp)


def _missing(modules: Iterable[str]) -> str | None:
    for module in modules:
        try:
            importlib.import_module(module)
        except ImportError:
            return f"the module {module}"
    return None


CONFLUENT = Confluent()
AIOKAFKA = Aio()
KAFKA_PYTHON = KafkaPython()
