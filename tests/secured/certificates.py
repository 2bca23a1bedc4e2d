"""Certificates of a test: an authority, a broker's, clients', and those that must be refused.

All in PEM, keys alone in files of mode 0600 as PKCS #8, which is what Apache Kafka reads.
"""

from __future__ import annotations

import datetime as dt
import os
from dataclasses import dataclass
from pathlib import Path

import trustme
from cryptography.hazmat.primitives import serialization


@dataclass(frozen=True)
class Pair:
    """A certificate with its chain, its key, and both in one file as Kafka's keystore."""

    certificate: Path
    key: Path
    store: Path


@dataclass(frozen=True)
class Certificates:
    """What the tests need; each authority as the path of its certificate."""

    ca: Path
    stranger_ca: Path
    broker: Pair
    expired: Pair
    elsewhere: Pair
    monitor: Pair
    stranger: Pair


def write_private(path: Path, content: bytes) -> None:
    """A file that its owner alone can read, from its first moment on."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)


def make(folder: Path) -> Certificates:
    """Make them all in a folder."""
    ours, other = trustme.CA(), trustme.CA()
    ours.cert_pem.write_to_path(folder / "ca.pem")
    other.cert_pem.write_to_path(folder / "stranger-ca.pem")
    past = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)

    def pair(name: str, made: trustme.LeafCert) -> Pair:
        found = Pair(folder / f"{name}.pem", folder / f"{name}.key", folder / f"{name}-store.pem")
        chain = b"".join(blob.bytes() for blob in made.cert_chain_pems)
        loaded = serialization.load_pem_private_key(made.private_key_pem.bytes(), None)
        key = loaded.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        found.certificate.write_bytes(chain)
        write_private(found.key, key)
        write_private(found.store, key + chain)
        return found

    return Certificates(
        ca=folder / "ca.pem",
        stranger_ca=folder / "stranger-ca.pem",
        broker=pair("broker", ours.issue_cert("localhost", "127.0.0.1")),
        expired=pair("expired", ours.issue_cert("localhost", not_after=past)),
        elsewhere=pair("elsewhere", ours.issue_cert("kafka.example.com")),
        monitor=pair("monitor", ours.issue_cert("monitor.example.com", common_name="monitor")),
        stranger=pair("stranger", other.issue_cert("localhost", common_name="monitor")),
    )
