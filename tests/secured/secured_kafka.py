"""Apache Kafka with everything locked: TLS, SASL, client certificates and access rules.

Started once for all tests of a file. Its controllers want SASL_SSL, so that a client which shows a
certificate only cannot read the metadata log, and one with a password can.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import ClassVar

from benchmarks.peers import free_ports
from tests.real_kafka import QuickKafka
from tests.secured.certificates import Certificates, Pair, write_private

# A session by PLAIN is over after this long unless the client proves itself anew (KIP-368).
SESSION_MS = 2_500
PASSWORDS = {
    "operator": "operator-5d1f0c",
    "broker": "broker-77aa10",
    "viewer": "viewer-91be42",
    "nobody": "nobody-30c6d8",
}
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
LISTENERS = {
    "SASL": "SASL_SSL",
    "CERTIFICATE": "SSL",
    "EXPIRED": "SASL_SSL",
    "ELSEWHERE": "SASL_SSL",
    "OPEN": "PLAINTEXT",
    "PLAINONLY": "SASL_PLAINTEXT",
    "CONTROLLER": "SASL_SSL",
}


class SecuredKafka(QuickKafka):
    """Nodes that are broker and controller; use as a context manager.

    `place(listener)` is `localhost:port` of the first of them, or of the one that is named.
    """

    listeners: ClassVar[dict[str, str]] = LISTENERS

    def __init__(self, certificates: Certificates, brokers: int = 1) -> None:
        super().__init__(brokers)
        self.certificates = certificates
        keys = [(name, node) for node in self.ports for name in self.listeners]
        self.listener_ports = dict(zip(keys, free_ports(len(keys)), strict=True))

    def place(self, listener: str, node: int = 1) -> str:
        """Where a listener is."""
        return f"localhost:{self.listener_ports[listener, node]}"

    def places(self, listener: str) -> list[str]:
        """Where it is on each node."""
        return [self.place(listener, node) for node in self.ports]

    def properties(self, node: int) -> dict[str, str]:
        """A node's settings, secrets among them: the file is its owner's alone."""
        places = {name: f"{name}://{self.place(name, node)}" for name in self.listeners}
        voters = [f"{each}@{self.place('CONTROLLER', each)}" for each in self.ports]
        made = super().properties(node) | {
            "listeners": ",".join(places.values()),
            "advertised.listeners": ",".join(places.values()),
            "listener.security.protocol.map": ",".join(map(":".join, self.listeners.items())),
            "inter.broker.listener.name": "SASL",
            "sasl.mechanism.inter.broker.protocol": "PLAIN",
            "sasl.mechanism.controller.protocol": "PLAIN",
            "controller.quorum.voters": ",".join(voters),
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:operator;User:broker;User:monitor",
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(self.certificates.ca),
            "ssl.principal.mapping.rules": "RULE:^CN=([^,]+).*$/$1/,DEFAULT",
            "auto.create.topics.enable": "false",
            "offsets.topic.num.partitions": "4",
        }
        stores = {"EXPIRED": self.certificates.expired, "ELSEWHERE": self.certificates.elsewhere}
        for name, protocol in self.listeners.items():
            where = f"listener.name.{name.lower()}."
            if protocol.endswith("SSL"):
                made |= _keys(where, stores.get(name, self.certificates.broker))
            if protocol.startswith("SASL"):
                made |= _mechanisms(where, ("PLAIN",) if name == "PLAINONLY" else MECHANISMS)
        if "CERTIFICATE" in self.listeners:
            made["listener.name.certificate.ssl.client.auth"] = "required"
        for name in ("sasl", "controller"):
            made[f"listener.name.{name}.plain.connections.max.reauth.ms"] = str(SESSION_MS)
        return made

    def prepare(self, node: int, config: Path) -> None:
        """Format the disk; its settings are its owner's alone."""
        os.chmod(config, 0o600)
        super().prepare(node, config)

    def formatting(self, config: Path) -> list[str]:
        """How a disk is formatted: with the users of SCRAM."""
        words = super().formatting(config)
        for user, password in PASSWORDS.items():
            for mechanism in MECHANISMS[1:]:
                words += ["--add-scram", f"{mechanism}=[name={user},password={password}]"]
        return words

    def tool_properties(self, user: str = "operator") -> str:
        """What Kafka's own command line tools want in their file of properties."""
        jaas = "org.apache.kafka.common.security.plain.PlainLoginModule required"
        lines = {
            "security.protocol": "SASL_SSL",
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(self.certificates.ca),
            "sasl.mechanism": "PLAIN",
            "sasl.jaas.config": f'{jaas} username="{user}" password="{PASSWORDS[user]}";',
        }
        return "".join(f"{name}={value}\n" for name, value in lines.items())


class SecuredThree(SecuredKafka):
    """Three nodes, of which one may be killed; only what they need themselves is listened on."""

    listeners: ClassVar[dict[str, str]] = {name: LISTENERS[name] for name in ("SASL", "CONTROLLER")}

    def __init__(self, certificates: Certificates) -> None:
        super().__init__(certificates, 3)

    def properties(self, node: int) -> dict[str, str]:
        """A node that is killed is soon missed."""
        soon = {"broker.session.timeout.ms": "3000", "broker.heartbeat.interval.ms": "500"}
        return super().properties(node) | soon


def _keys(where: str, pair: Pair) -> dict[str, str]:
    return {f"{where}ssl.keystore.type": "PEM", f"{where}ssl.keystore.location": str(pair.store)}


def _mechanisms(where: str, mechanisms: tuple[str, ...]) -> dict[str, str]:
    users = " ".join(f'user_{user}="{password}"' for user, password in PASSWORDS.items())
    own = f'username="broker" password="{PASSWORDS["broker"]}"'
    package = "org.apache.kafka.common.security"
    made = {
        f"{where}sasl.enabled.mechanisms": ",".join(mechanisms),
        f"{where}plain.sasl.jaas.config": f"{package}.plain.PlainLoginModule required "
        f"{own} {users};",
    }
    for mechanism in mechanisms[1:]:
        made[f"{where}{mechanism.lower()}.sasl.jaas.config"] = (
            f"{package}.scram.ScramLoginModule required;"
        )
    return made


def secret_file(folder: Path, user: str) -> Path:
    """A user's password in a file of its own."""
    path = folder / f"{user}.password"
    write_private(path, PASSWORDS[user].encode() + b"\n")
    return path
