"""What differs between kinds of broker: configuration, command line, words of its log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from clusters.layout import BrokerLayout
from clusters.spec.models import ClusterSpec


class Engine(Protocol):
    """One kind of broker."""

    @property
    def name(self) -> str:
        """As the cluster file spells it."""

    def configuration(self, spec: ClusterSpec, layout: BrokerLayout, cluster_id: str) -> str:
        """The text of a broker's configuration file."""

    def command(self, python: str, layout: BrokerLayout) -> Sequence[str]:
        """The command that starts a broker in the foreground."""

    def log_lines(self, output: str) -> list[str]:
        """A broker's output as lines for people."""
