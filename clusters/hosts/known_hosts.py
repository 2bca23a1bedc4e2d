"""Which host keys a cluster trusts: its own known_hosts file, pinned fingerprints, and the policy.

A key that changed is never accepted by itself, whatever the policy. The file has OpenSSH's format.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from clusters.errors import StateError
from clusters.state import cluster_state_dir, write_private

Policy = Literal["accept-new", "strict"]


def known_hosts_path(cluster: str) -> str:
    """The cluster's own known_hosts file."""
    return os.path.join(cluster_state_dir(cluster), "known_hosts")


def host_pattern(host: str, port: int) -> str:
    """A host as known_hosts spells it."""
    return host if port == 22 else f"[{host}]:{port}"


def fingerprint(blob: bytes) -> str:
    """The SHA256 fingerprint of a public key, as ssh-keygen prints it."""
    digest = base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")
    return f"SHA256:{digest}"


@dataclass(slots=True)
class KnownHosts:
    """The keys in one file. Lines that are not understood are kept as they are."""

    path: str
    lines: list[str] = field(default_factory=list)

    @classmethod
    def load(cls, path: str) -> KnownHosts:
        """Read a file; an absent one is empty. Raises StateError."""
        try:
            with open(path, encoding="utf-8", errors="surrogateescape") as stream:
                return cls(path, stream.read().splitlines())
        except FileNotFoundError:
            return cls(path)
        except OSError as error:
            raise StateError(f"{path} cannot be read: {error.strerror}") from None

    def keys_of(self, host: str, port: int) -> list[tuple[str, bytes]]:
        """(algorithm, public key) of every key known for a host."""
        wanted = host_pattern(host, port)
        found = []
        for line in self.lines:
            parts = line.split()
            if len(parts) < 3 or line.startswith(("#", "@")) or wanted not in parts[0].split(","):
                continue
            try:
                found.append((parts[1], base64.b64decode(parts[2], validate=True)))
            except binascii.Error:
                continue
        return found

    def add(self, host: str, port: int, algorithm: str, blob: bytes) -> None:
        """Trust a key from now on. Raises StateError when the file cannot be written."""
        key = base64.b64encode(blob).decode()
        self.lines.append(f"{host_pattern(host, port)} {algorithm} {key}")
        content = "".join(f"{line}\n" for line in self.lines)
        try:
            write_private(self.path, content.encode("utf-8", "surrogateescape"))
        except OSError as error:
            raise StateError(f"{self.path} cannot be written: {error.strerror}") from None


@dataclass(slots=True)
class KeyJudge:
    """Decides about the key that a host shows; `refusal` says in words why it was refused."""

    known: KnownHosts
    policy: Policy
    pins: Sequence[str]
    refusal: str | None = None
    learned: str | None = None

    def accepts(self, host: str, port: int, algorithm: str, blob: bytes) -> bool:
        """Whether to go on with a host that showed this key; a new key may be learned."""
        shown = fingerprint(blob)
        if self.pins:
            if shown in {pin.rstrip("=") for pin in self.pins}:
                return True
            pinned = ", ".join(self.pins)
            self.refusal = (
                f"it shows the key {shown}, but the cluster file pins {pinned} (host_key). "
                "Find out why before you change the file: it may be another machine."
            )
            return False
        known = self.known.keys_of(host, port)
        if any(blob == each for _, each in known):
            return True
        if known:
            listed = ", ".join(fingerprint(each) for _, each in known)
            self.refusal = (
                f"ITS HOST KEY CHANGED: it shows {shown}, known is {listed}. It was installed "
                "anew, or somebody is in between. If you know why it changed, remove its line "
                f"from {self.known.path} (ssh-keygen -R '{host_pattern(host, port)}' -f "
                f"{self.known.path}) and try again."
            )
            return False
        if self.policy == "strict":
            self.refusal = (
                f"its key {shown} is not known yet and `host_keys: strict` asks for known ones. "
                f'Compare it with the host, then write `host_key: "{shown}"` into the cluster file.'
            )
            return False
        self.known.add(host, port, algorithm, blob)
        self.learned = shown
        return True
