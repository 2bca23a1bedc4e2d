"""What differs between kinds of broker: what to ship, configuration, command line, its log."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from clusters.layout import BrokerLayout
from clusters.spec.models import ClusterSpec

RELEASE_DIGITS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """A tar.gz archive that holds all that a host needs; `architecture` as `uname -m` tells it."""

    path: str
    sha256: str
    version: str
    size_bytes: int
    architecture: str

    @property
    def name(self) -> str:
        """Its folder on hosts: named by its content."""
        return self.sha256[:RELEASE_DIGITS]


class Engine(Protocol):
    """One kind of broker."""

    @property
    def name(self) -> str:
        """As the cluster file spells it."""

    async def release(self, spec: ClusterSpec, say: Callable[[str], None]) -> Release:
        """What is shipped to other machines, built when there is none yet."""

    def configuration(self, spec: ClusterSpec, layout: BrokerLayout, cluster_id: str) -> str:
        """The text of a broker's configuration file."""

    def command(self, python: str, layout: BrokerLayout) -> Sequence[str]:
        """The command that starts a broker in the foreground; `python` is for this machine."""

    def log_lines(self, output: str) -> list[str]:
        """A broker's output as lines for people."""
