"""What phases share: the run that they read and fill, and how they report.

A phase does one step for all brokers of a run. Order is facts, then checks, then change; every
phase may run again without harm.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeVar

from broker.protocol.network import Network
from clusters.engines.base import Engine
from clusters.hosts.base import Connection
from clusters.layout import BrokerLayout
from clusters.manifest import Manifest
from clusters.spec.models import ClusterSpec

Step = Literal["start", "wait", "done", "warning"]
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """One line of talk: which phase, about which broker (None: all), and what."""

    phase: str
    step: Step
    message: str
    broker_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerFacts:
    """What was found about one broker before anything changed."""

    running: bool
    owner: dict[str, Any] | None
    data_dirs_with_files: tuple[str, ...]


@dataclass(slots=True)
class Run:
    """One operation on a cluster. Phases read what earlier ones filled in."""

    spec: ClusterSpec
    engine: Engine
    layouts: dict[int, BrokerLayout]
    targets: tuple[int, ...]
    report: Callable[[Progress], None]
    start_timeout_ms: int
    network: Network | None = None
    connections: dict[int, Connection] = field(default_factory=dict)
    manifest: Manifest | None = None
    facts: dict[int, BrokerFacts] = field(default_factory=dict)
    cluster_id: str = ""
    to_start: tuple[int, ...] = ()
    started: list[int] = field(default_factory=list)
    log_positions: dict[int, int] = field(default_factory=dict)
    controller_id: int = -1

    def saved(self) -> Manifest:
        """The manifest, a fresh one when there was none."""
        if self.manifest is None:
            self.manifest = Manifest(
                cluster=self.spec.name,
                cluster_id=self.cluster_id,
                spec_path=self.spec.source,
                engine=self.engine.name,
            )
        return self.manifest


class Phase(Protocol):
    """One step of an operation."""

    @property
    def title(self) -> str:
        """A short word for progress lines."""

    async def run(self, run: Run) -> None:
        """Do the step. Raises LogctlError with words for the reader."""


async def for_each(items: Iterable[Item], act: Callable[[Item], Coroutine[Any, Any, None]]) -> None:
    """Act on all items at once; the first failure is raised after the others were cancelled."""
    tasks = [asyncio.ensure_future(act(item)) for item in items]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
