"""SCRAM credentials (KIP-554, RFC 5802): what brokers tell of them, and what they are given.

A password is salted here; it never leaves this process, and never shows in a repr.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, field
from typing import Any

from broker.protocol.lazy_dataclass import dataclass

SCRAM_MECHANISMS: Mapping[str, int] = {"SCRAM-SHA-256": 1, "SCRAM-SHA-512": 2}
_HASHES = {"SCRAM-SHA-256": "sha256", "SCRAM-SHA-512": "sha512"}
DEFAULT_MECHANISM = "SCRAM-SHA-512"
# The bounds of Apache Kafka's ScramMechanism.
ITERATIONS_MIN = 4_096
ITERATIONS_MAX = 16_384
DEFAULT_ITERATIONS = 8_192
SALT_BYTES = 24


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class ScramCredential:
    """A credential that exists; what it was made of cannot be read back."""

    user: str
    mechanism: str
    iterations: int

    def to_json(self) -> dict[str, Any]:
        """Plain data for output."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewCredential:
    """A credential to be set, already salted."""

    user: str
    mechanism: str
    iterations: int
    salt: bytes = field(repr=False)
    salted_password: bytes = field(repr=False)


def salted(
    user: str,
    mechanism: str,
    password: str,
    iterations: int = DEFAULT_ITERATIONS,
    *,
    salt: bytes | None = None,
) -> NewCredential:
    """Salt a password as RFC 5802's Hi does; slow on purpose. Raises ValueError.

    As Apache Kafka does, the password is taken as UTF-8 without SASLprep.
    """
    if mechanism not in _HASHES:
        raise ValueError(f"there is no mechanism {mechanism}")
    if not ITERATIONS_MIN <= iterations <= ITERATIONS_MAX:
        raise ValueError(f"iterations must be from {ITERATIONS_MIN} to {ITERATIONS_MAX}")
    if not user or not password:
        raise ValueError("a user and a password are not empty")
    # Only who sets a password pays for loading it.
    import hashlib

    salt = os.urandom(SALT_BYTES) if salt is None else salt
    derived = hashlib.pbkdf2_hmac(_HASHES[mechanism], password.encode(), salt, iterations)
    return NewCredential(
        user=user, mechanism=mechanism, iterations=iterations, salt=salt, salted_password=derived
    )
