"""Brokers of logd and of Apache Kafka, started the same way, for tests that hold for both."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from benchmarks.peers import ApacheKafka, Cluster, Logd, kafka_libs
from broker.protocol.errors import LogctlError
from clusters.admin import AdminClient

ENGINES = ("logd", "apache-kafka")
BROKERS = 3
# Three virtual machines of Java on a busy machine of two cores start slowly.
START_S = 150.0
WAIT_S = 60.0


@contextmanager
def running(engine: str) -> Iterator[Cluster]:
    """Three brokers that are up. Skips, or fails where peers are required, without Java's jars."""
    kind = ApacheKafka if engine == "apache-kafka" else Logd
    if kind is ApacheKafka and kafka_libs() is None:
        reason = "java, or Maven to fetch Apache Kafka's jars with, is not installed"
        if os.environ.get("LOGCTL_REQUIRE_PEERS"):
            pytest.fail(f"{reason}, and LOGCTL_REQUIRE_PEERS is set")
        pytest.skip(reason)
    with kind(BROKERS) as cluster:
        asyncio.run(_until_up(cluster))
        yield cluster


async def _until_up(cluster: Cluster) -> None:
    limit = time.monotonic() + START_S
    async with AdminClient(cluster.bootstrap.split(","), timeout_ms=3_000) as admin:
        while True:
            try:
                if [b.state for b in await admin.brokers()] == ["up"] * BROKERS:
                    return
            except LogctlError:
                pass
            assert time.monotonic() < limit, "the brokers did not come up"
            await asyncio.sleep(0.1)
