"""Brokers of logd and of Apache Kafka, started the same way, for tests that hold for both."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.peers import Cluster, Logd
from tests.real_kafka import QuickKafka, require_kafka, until_up

ENGINES = ("logd", "apache-kafka")
BROKERS = 3
WAIT_S = 60.0


@contextmanager
def running(engine: str, count: int = BROKERS) -> Iterator[Cluster]:
    """Brokers that are up. Skips, or fails where peers are required, without Java's jars.

    In the end they are killed: their folder goes away, nothing is gained by an orderly end.
    """
    kind = QuickKafka if engine == "apache-kafka" else Logd
    if kind is QuickKafka:
        require_kafka()
    with kind(count) as cluster:
        try:
            asyncio.run(until_up(cluster.bootstrap.split(","), count))
            yield cluster
        finally:
            for node in list(cluster.processes):
                cluster.kill(node)
