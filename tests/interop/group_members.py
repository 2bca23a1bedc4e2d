"""Members of consumer groups, each a client in a thread of its own, behind one small interface.

Nothing of a client is replaced or patched. A member polls, notes what it sees, and commits what it
has seen; a commit that a rebalance made void is no failure, as in any consumer.
"""

import asyncio
import importlib
import threading
import time
from collections.abc import Callable
from typing import Any

from tests.interop.clients import QUIET, WAIT_SECONDS

SESSION_MS = 6_000
HEARTBEAT_MS = 200
POLL_SECONDS = 0.1


class Member:
    """Started at once; `close` ends it as its client wants to be ended."""

    module = ""

    @classmethod
    def missing(cls) -> str | None:
        """What it lacks here to run at all."""
        try:
            importlib.import_module(cls.module)
        except ImportError:
            return f"the module {cls.module}"
        return None

    def __init__(
        self, bootstrap: str, group: str, topic: str, *, instance: str | None = None
    ) -> None:
        self.bootstrap = bootstrap
        self.group = group
        self.topic = topic
        self.instance = instance
        self.seen: list[tuple[int, int]] = []
        self.assigned: frozenset[int] = frozenset()
        # How often partitions were given to this member.
        self.assignments = 0
        self.uncommitted = False
        self.failures: list[BaseException] = []
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._guarded, daemon=True)
        self._thread.start()

    def _guarded(self) -> None:
        try:
            self.run()
        except BaseException as error:
            self.failures.append(error)
        finally:
            self.assigned = frozenset()

    def run(self) -> None:
        """Consume until `ended`."""
        raise NotImplementedError

    @property
    def ended(self) -> bool:
        return self._end.is_set()

    def close(self) -> None:
        self._end.set()
        self._thread.join(WAIT_SECONDS)
        assert not self._thread.is_alive(), "a member does not end"
        if self.failures:
            raise self.failures[0]


class ConfluentRange(Member):
    module = "confluent_kafka"
    strategy = "range"

    def run(self) -> None:
        from confluent_kafka import Consumer, KafkaError, KafkaException

        settings = {
            "bootstrap.servers": self.bootstrap,
            "group.id": self.group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "partition.assignment.strategy": self.strategy,
            "session.timeout.ms": SESSION_MS,
            "heartbeat.interval.ms": HEARTBEAT_MS,
            **QUIET,
        }
        if self.instance is not None:
            settings["group.instance.id"] = self.instance
        consumer = Consumer(settings)
        consumer.subscribe([self.topic], on_assign=self._on_assign)
        void = {
            KafkaError.ILLEGAL_GENERATION,
            KafkaError.REBALANCE_IN_PROGRESS,
            KafkaError.UNKNOWN_MEMBER_ID,
            KafkaError._NO_OFFSET,
            KafkaError._WAIT_COORD,
            KafkaError._TIMED_OUT,
            KafkaError._ASSIGNMENT_LOST,
            KafkaError.NOT_COORDINATOR,
            KafkaError.COORDINATOR_NOT_AVAILABLE,
            KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
            KafkaError._DESTROY_BROKER,
            KafkaError._TRANSPORT,
        }
        try:
            while not self.ended:
                messages = consumer.consume(500, POLL_SECONDS)
                found = [(m.partition(), m.offset()) for m in messages if m.error() is None]
                # In this order, so that whoever sees a record never takes it for committed.
                self.uncommitted |= bool(found)
                self.seen += found
                self.assigned = frozenset(each.partition for each in consumer.assignment())
                if self.uncommitted:
                    try:
                        consumer.commit(asynchronous=False)
                        self.uncommitted = False
                    except KafkaException as error:
                        if error.args[0].code() not in void:
                            raise
        finally:
            consumer.close()

    def _on_assign(self, consumer: Any, partitions: list[Any]) -> None:
        self.assignments += 1


class ConfluentCooperative(ConfluentRange):
    strategy = "cooperative-sticky"


class Aio(Member):
    module = "aiokafka"

    def run(self) -> None:
        asyncio.run(self._run())

    async def _run(self) -> None:
        from aiokafka import AIOKafkaConsumer
        from aiokafka.errors import CommitFailedError, KafkaError

        consumer = AIOKafkaConsumer(
            self.topic,
            bootstrap_servers=self.bootstrap,
            group_id=self.group,
            group_instance_id=self.instance,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            session_timeout_ms=SESSION_MS,
            heartbeat_interval_ms=HEARTBEAT_MS,
            metadata_max_age_ms=2_000,
        )
        await consumer.start()
        try:
            while not self.ended:
                batches = await consumer.getmany(timeout_ms=int(POLL_SECONDS * 1000))
                self.uncommitted |= bool(batches)
                self.seen += [(r.partition, r.offset) for rows in batches.values() for r in rows]
                self.assigned = frozenset(each.partition for each in consumer.assignment())
                if self.uncommitted:
                    try:
                        await consumer.commit()
                        self.uncommitted = False
                    except CommitFailedError:
                        pass
                    except KafkaError as error:
                        if not error.retriable:
                            raise
        finally:
            await consumer.stop()


class KafkaPython(Member):
    module = "kafka"

    def run(self) -> None:
        from kafka import KafkaConsumer
        from kafka.errors import CommitFailedError, KafkaError

        consumer = KafkaConsumer(
            self.topic,
            bootstrap_servers=self.bootstrap.split(","),
            group_id=self.group,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            session_timeout_ms=SESSION_MS,
            heartbeat_interval_ms=HEARTBEAT_MS,
        )
        try:
            while not self.ended:
                batches = consumer.poll(timeout_ms=int(POLL_SECONDS * 1000))
                self.uncommitted |= bool(batches)
                self.seen += [(r.partition, r.offset) for rows in batches.values() for r in rows]
                self.assigned = frozenset(each.partition for each in consumer.assignment())
                if self.uncommitted:
                    try:
                        consumer.commit()
                        self.uncommitted = False
                    except CommitFailedError:
                        pass
                    except KafkaError as error:
                        if not error.retriable:
                            raise
        finally:
            consumer.close()


MEMBERS: tuple[type[Member], ...] = (ConfluentRange, ConfluentCooperative, Aio, KafkaPython)


def until(condition: Callable[[], bool], what: str, members: list[Member]) -> None:
    """Wait, but not longer than a client that works would need."""
    limit = time.monotonic() + WAIT_SECONDS
    while not condition():
        for member in members:
            if member.failures:
                raise member.failures[0]
        assert time.monotonic() < limit, f"{what}: {[sorted(m.assigned) for m in members]}"
        time.sleep(0.02)
