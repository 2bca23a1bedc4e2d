"""One broker of Apache Kafka with an authorizer and a SCRAM listener, for tests of who may what."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from benchmarks.peers import free_ports
from tests.real_kafka import QuickKafka, require_kafka, until_up

_SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule required;"


@dataclass
class AuthorizedKafka(QuickKafka):
    """Whoever connects without SASL is User:ANONYMOUS, who may do everything."""

    sasl_port: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.sasl_port = free_ports(1)[0]

    @property
    def sasl_bootstrap(self) -> str:
        return f"127.0.0.1:{self.sasl_port}"

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
    require_kafka()
    with AuthorizedKafka(1) as cluster:
        asyncio.run(until_up([cluster.bootstrap], 1))
        yield cluster
