"""More producers that write without a pause: kafka-python, clients of other languages, kcat.

What they send and how it is checked is told in `producing`. Only processes started here are ever
signalled.
"""

import asyncio
import re
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Any, ClassVar

from tests.interop.drivers import Event, driver
from tests.interop.producing import DELIVERY_SECONDS, DRAIN_SECONDS, PARTITIONS, Ledger

# Per partition: many clients write at once to brokers that share two cores with them.
IN_FLIGHT_MAX = 50
PAUSE_SECONDS = 0.02


class ThreadLoad:
    """A producer in a thread of its own."""

    name: ClassVar[str]

    def __init__(self, bootstrap: str, topic: str) -> None:
        self.ledger = Ledger(self.name)
        self._bootstrap, self._topic = bootstrap, topic
        self._stopping = threading.Event()

    async def run(self) -> None:
        # Not one of the loop's own few threads, which the test needs too.
        with ThreadPoolExecutor(1) as thread:
            await asyncio.get_running_loop().run_in_executor(thread, self._run)

    def _run(self) -> None:
        raise NotImplementedError

    def _room(self, partition: int) -> bool:
        ledger = self.ledger
        return ledger.sent[partition] - ledger.answered[partition] < IN_FLIGHT_MAX

    def stop(self) -> None:
        self._stopping.set()


class KafkaPythonLoad(ThreadLoad):
    name = "kafka-python"

    def _run(self) -> None:
        from kafka import KafkaProducer

        ledger = self.ledger
        producer = KafkaProducer(
            bootstrap_servers=self._bootstrap,
            acks="all",
            enable_idempotence=True,
            linger_ms=5,
            delivery_timeout_ms=DELIVERY_SECONDS * 1000,
            max_block_ms=DELIVERY_SECONDS * 1000,
            reconnect_backoff_max_ms=500,
        )

        def send(partition: int) -> None:
            number, value = ledger.next_record(partition)
            future = producer.send(self._topic, value, partition=partition)
            future.add_callback(lambda sent: ledger.acknowledge(partition, number, sent.offset))
            future.add_errback(lambda error: ledger.refuse(partition, number, error))

        while not self._stopping.is_set():
            for partition in range(PARTITIONS):
                if self._room(partition):
                    send(partition)
            time.sleep(PAUSE_SECONDS)
        producer.flush(DRAIN_SECONDS)
        producer.close(DRAIN_SECONDS)


class DriverLoad(ThreadLoad):
    """A producer inside of a driver, which tells what becomes of each record."""

    kind: ClassVar[str]

    def _run(self) -> None:
        running = driver(self.kind)
        number = running.next_number()
        running.listen("load", number, self._hear)
        running.ask(
            "load",
            bootstrap=self._bootstrap,
            topic=self._topic,
            load=number,
            name=self.name,
            partitions=PARTITIONS,
            in_flight=IN_FLIGHT_MAX,
            pause_ms=int(PAUSE_SECONDS * 1000),
            delivery_ms=DELIVERY_SECONDS * 1000,
        )
        self._stopping.wait()
        self.ledger.sent = dict(enumerate(running.ask("end_load", load=number)))

    def _hear(self, event: Event) -> None:
        for partition, turn, offset in event.get("acknowledged", ()):
            self.ledger.acknowledge(partition, turn, offset)
        if "refused" in event:
            self.ledger.refuse(*event["refused"])
        if "failed" in event:
            self.ledger.failures.append(event["failed"])


class JavaLoad(DriverLoad):
    name = "java"
    kind = "java"


class FranzGoLoad(DriverLoad):
    name = "franz-go"
    kind = "go"


class KafkaJsLoad(DriverLoad):
    name = "kafkajs"
    kind = "node"


class KcatLoad(ThreadLoad):
    """A kcat for each partition, fed line by line; it tells each delivery in order.

    It looks for deliveries only when a line comes, so lines must come whatever is under way.
    """

    name = "kcat"

    def __init__(self, bootstrap: str, topic: str) -> None:
        super().__init__(bootstrap, topic)
        self._words: list[str] = []

    def _run(self) -> None:
        running = [self._begin(partition) for partition in range(PARTITIONS)]
        while not self._stopping.is_set():
            for partition, (process, _) in enumerate(running):
                assert process.stdin is not None
                if process.poll() is None:
                    _, value = self.ledger.next_record(partition)
                    process.stdin.write(value + b"\n")
                    process.stdin.flush()
            time.sleep(PAUSE_SECONDS)
        for partition, (process, listener) in enumerate(running):
            assert process.stdin is not None
            process.stdin.close()
            try:
                code = process.wait(DRAIN_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                code = process.wait(DRAIN_SECONDS)
            listener.join(DRAIN_SECONDS)
            if code:
                words = "; ".join(self._words[-5:])
                self.ledger.failures.append(f"kcat of {partition} ended with {code}: {words}")

    def _begin(self, partition: int) -> tuple["subprocess.Popen[bytes]", threading.Thread]:
        settings = {
            "acks": "all",
            "enable.idempotence": "true",
            "linger.ms": "5",
            "message.timeout.ms": str(DELIVERY_SECONDS * 1000),
            "reconnect.backoff.max.ms": "500",
        }
        given = [part for item in settings.items() for part in ("-X", "=".join(item))]
        where = ["-t", self._topic, "-p", str(partition)]
        process = subprocess.Popen(
            ["kcat", "-b", self._bootstrap, "-v", "-v", "-E", *given, "-P", *where],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        listener = threading.Thread(
            target=self._listen, args=(partition, process.stderr), daemon=True
        )
        listener.start()
        return process, listener

    def _listen(self, partition: int, lines: IO[bytes]) -> None:
        number = 0
        for line in lines:
            if found := re.search(rb"delivered to partition \d+ \(offset (\d+)\)", line):
                self.ledger.acknowledge(partition, number, int(found[1]))
                number += 1
            elif b"delivery failed" in line.lower():
                self.ledger.refuse(partition, number, line.decode(errors="replace"))
                number += 1
            else:
                self._words.append(line.decode(errors="replace").strip())


FOREIGN_LOADS: dict[str, Any] = {
    kind.name: kind for kind in (KafkaPythonLoad, KafkaJsLoad, JavaLoad, FranzGoLoad, KcatLoad)
}
