"""Apache Kafka for tests: who lacks Java's jars is told, the machine starts soon, brokers are up."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence

import pytest

from benchmarks.peers import ApacheKafka, kafka_libs
from broker.protocol.errors import LogctlError
from clusters.admin import AdminClient
from clusters.admin.security import Security

# Three virtual machines of Java on a busy machine of two cores start slowly.
START_S = 150.0


def require_kafka() -> None:
    """Skip, or fail where peers are required, when Apache Kafka cannot be had."""
    if kafka_libs() is not None:
        return
    reason = "Apache Kafka's jars can't be had: Java or Maven is absent, or Maven failed"
    if os.environ.get("LOGCTL_REQUIRE_PEERS"):
        pytest.fail(f"{reason}, and LOGCTL_REQUIRE_PEERS is set")
    pytest.skip(reason)


class QuickKafka(ApacheKafka):
    """Brokers that live for a minute: compiled quickly rather than well, with few threads beside."""

    def java(self, *arguments: str) -> list[str]:
        """The command line of a virtual machine."""
        program, *rest = super().java(*arguments)
        rest = [each for each in rest if each != "-XX:+UseG1GC"]
        return [program, "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", *rest]


async def until_up(bootstrap: Sequence[str], count: int, security: Security | None = None) -> None:
    """Wait until so many brokers, and no others, are told to be up."""
    limit = time.monotonic() + START_S
    last: object = None
    while True:
        try:
            async with AdminClient(bootstrap, timeout_ms=5_000, security=security) as admin:
                last = [each.state for each in await admin.brokers()]
                if last == ["up"] * count:
                    return
        except LogctlError as error:
            last = error
        assert time.monotonic() < limit, f"the brokers did not come up: {last}"
        await asyncio.sleep(0.1)
