"""What phases share: the run that they read and fill, its nodes, and how they report.

A phase does one step for all brokers of a run. Order is facts, then checks, then the plan, then
change; every phase may run again without harm.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

from broker.protocol.errors import LogctlError
from broker.protocol.network import Network
from clusters.engines.base import Engine, Release
from clusters.errors import OperationError
from clusters.hosts.base import Connection
from clusters.hosts.connect import Connector
from clusters.hosts.machine_facts import InstalledBroker, MachineFacts
from clusters.layout import BrokerLayout
from clusters.manifest import ManifestFile
from clusters.processes.base import BrokerProcess, ProcessView
from clusters.spec.models import ClusterSpec, HostSpec

if TYPE_CHECKING:
    from clusters.phases.plan_model import Plan

Step = Literal["start", "wait", "done", "warning", "failed"]
Item = TypeVar("Item")
UPLOADS_MAX = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """One line of talk: which phase, about which broker (None: all), and what.

    `percent` is how far a long step is, where that is known.
    """

    phase: str
    step: Step
    message: str
    broker_id: int | None = None
    percent: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerFacts:
    """What was found about one broker before anything changed. `owner` is the data's marker."""

    view: ProcessView
    installed: InstalledBroker
    owner: dict[str, Any] | None
    data_dirs_with_files: tuple[str, ...]

    @property
    def running(self) -> bool:
        """Whether its process runs."""
        return self.view.state == "running"


@dataclass(slots=True, kw_only=True)
class Node:
    """One broker within a run: where it is, how it is reached, what keeps it up."""

    layout: BrokerLayout
    connection: Connection
    process: BrokerProcess | None = None
    facts: BrokerFacts | None = None
    machine: MachineFacts | None = None

    @property
    def id(self) -> int:
        """The broker's id."""
        return self.layout.id

    @property
    def driver(self) -> BrokerProcess:
        """Its process, known once facts were gathered."""
        assert self.process is not None, "facts come first"
        return self.process

    @property
    def found(self) -> BrokerFacts:
        """Its facts."""
        assert self.facts is not None, "facts come first"
        return self.facts


@dataclass(slots=True, kw_only=True)
class Run:
    """One operation on a cluster. Phases read what earlier ones filled in."""

    spec: ClusterSpec
    engine: Engine
    connector: Connector
    manifest: ManifestFile
    targets: tuple[int, ...]
    report: Callable[[Progress], None]
    start_timeout_ms: int
    stop_timeout_ms: int
    network: Network | None = None
    force: bool = False
    auto_rollback: bool = False
    nodes: dict[int, Node] = field(default_factory=dict)
    unreachable: dict[int, str] = field(default_factory=dict)
    # Brokers that run and that the file no longer names; filled where they are to be taken out.
    leaving: dict[int, Node] = field(default_factory=dict)
    takes_out: bool = False
    left: list[int] = field(default_factory=list)
    # Brokers of other machines that the file no longer names and that were not found running.
    gone: list[int] = field(default_factory=list)
    # Brokers of this machine beside the targets: whether they run.
    others_run: dict[int, bool] = field(default_factory=dict)
    # Set when what was started has to wait for other brokers: which, and what is missing.
    waits_for: str = ""
    release: Release | None = None
    cluster_id: str = ""
    plan: Plan | None = None
    started: list[int] = field(default_factory=list)
    rolled: list[int] = field(default_factory=list)
    log_positions: dict[int, int] = field(default_factory=dict)
    controller_id: int = -1

    @property
    def voters(self) -> frozenset[int]:
        """The voters that the file names."""
        return frozenset(host.id for host in self.spec.hosts if "controller" in host.roles)

    def host(self, broker_id: int) -> HostSpec:
        """The host of a broker."""
        return self.spec.host(broker_id)

    def say(
        self,
        phase: str,
        step: Step,
        message: str,
        broker_id: int | None = None,
        percent: int | None = None,
    ) -> None:
        """Report progress."""
        self.report(
            Progress(phase=phase, step=step, message=message, broker_id=broker_id, percent=percent)
        )

    def machines(self, ids: Iterable[int] | None = None) -> list[list[Node]]:
        """The nodes, those on one machine together."""
        grouped: dict[int, list[Node]] = {}
        for broker_id in self.nodes if ids is None else ids:
            node = self.nodes[broker_id]
            grouped.setdefault(id(node.connection), []).append(node)
        return list(grouped.values())


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


async def all_or_tell(
    items: Sequence[Item], act: Callable[[Item], Coroutine[Any, Any, None]]
) -> None:
    """Act on all items at once and wait for all; then raise OperationError with every failure."""
    results = await asyncio.gather(*(act(item) for item in items), return_exceptions=True)
    failures = [result for result in results if isinstance(result, BaseException)]
    for failure in failures:
        if not isinstance(failure, LogctlError):
            raise failure
    if len(failures) == 1:
        raise failures[0]
    if failures:
        raise OperationError(told_once([str(failure) for failure in failures]))


def told_once(texts: Sequence[str]) -> str:
    """Failures of hosts (`HOST: what`), a line each; what several hosts say is one line."""
    hosts: dict[str, list[str]] = {}
    for text in texts:
        host, colon, what = text.partition(": ")
        if not colon or " " in host:
            host, what = "", text
        hosts.setdefault(what, []).append(host)
    lines = []
    for what, named in hosts.items():
        listed = ", ".join(dict.fromkeys(host for host in named if host))
        lines.append(f"{listed}: {what}" if listed else what)
    return "\n".join(lines)
