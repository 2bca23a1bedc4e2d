"""One broker of Apache Kafka with an authorizer and a SCRAM listener, for tests of who may what."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from benchmarks.peers import ApacheKafka, free_ports, kafka_libs
from broker.protocol.errors import LogctlError
from clusters.admin import AdminClient

START_S = 150.0
_SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule required;"


@dataclass
class AuthorizedKafka(ApacheKafka):
    """Whoever connects without SASL is User:ANONYMOUS, who may do everything."""

    sasl_port: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.sasl_port = free_ports(1)[0]

    @property
    def sasl_bootstrap(self) -> str:
        return f"127.0.0.1:{self.sasl_port}"

    def java(self, *arguments: str) -> list[str]:
        """Lives for seconds: compiled quickly rather than well."""
        program, *rest = super().java(*arguments)
        return [program, "-XX:TieredStopAtLevel=1", *rest]

    def properties(self, node: int) -> dict[str, str]:
        given = super().properties(node)
        sasl = f",SASL_PLAINTEXT://{self.sasl_bootstrap}"
        listener = "listener.name.sasl_plaintext"
        return given | {
            "listeners": given["listeners"] + sasl,
            "advertised.listeners": given["advertised.listeners"] + sasl,
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,"
            "SASL_PLAINTEXT:SASL_PLAINTEXT",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
            "sasl.enabled.mechanisms": "SCRAM-SHA-256,SCRAM-SHA-512",
            f"{listener}.scram-sha-256.sasl.jaas.config": _SCRAM,
            f"{listener}.scram-sha-512.sasl.jaas.config": _SCRAM,
        }


@contextmanager
def authorized_kafka() -> Iterator[AuthorizedKafka]:
    """The broker, when it is up. Skips, or fails where peers are required, without Java's jars."""
    if kafka_libs() is None:
        reason = "java, or Maven to fetch Apache Kafka's jars with, is not installed"
        if os.environ.get("LOGCTL_REQUIRE_PEERS"):
            pytest.fail(f"{reason}, and LOGCTL_REQUIRE_PEERS is set")
        pytest.skip(reason)
    with AuthorizedKafka(1) as cluster:
        asyncio.run(_until_up(cluster.bootstrap))
        yield cluster


async def _until_up(bootstrap: str) -> None:
    limit = time.monotonic() + START_S
    async with AdminClient([bootstrap], timeout_ms=3_000) as admin:
        while True:
            try:
                if [broker.state for broker in await admin.brokers()] == ["up"]:
                    return
            except LogctlError:
                pass
            assert time.monotonic() < limit, "the broker did not come up"
            await asyncio.sleep(0.1)
