"""Operations on the brokers of a cluster file: up, down, status, destroy, and one broker alone.

Never leaves anything half-started: brokers started by a failing or interrupted run are stopped
again. Never signals a process that is not known to be ours, never removes a folder without our
marker.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

from broker.protocol.errors import LogctlError
from broker.protocol.network import Network
from clusters.admin.client import AdminClient
from clusters.admin.model import ClusterInfo
from clusters.engines import engine_named
from clusters.errors import HostError, OperationError, Problem, SpecError
from clusters.hosts import Connection, connect
from clusters.layout import MARKER, BrokerLayout, broker_layout
from clusters.lock import cluster_lock
from clusters.manifest import BrokerRecord, Manifest, load_manifest, manifest_path, save_manifest
from clusters.nearest import hint
from clusters.phases import CHANGE, UP, Phase, Progress, Run
from clusters.phases.facts import read_marker
from clusters.phases.stop import kill_broker, stop_brokers
from clusters.spec import ClusterSpec, load_spec
from clusters.state import remove_context

__all__ = [
    "BrokerStatus",
    "ClusterStatus",
    "DownResult",
    "Operations",
    "Problem",
    "Progress",
    "SpecError",
    "UpResult",
    "load_spec",
]

START_TIMEOUT_MS = 30_000
STOP_TIMEOUT_MS = 15_000
ROLL_BACK_MS = 3_000
STATUS_TIMEOUT_MS = 2_000

BrokerState = Literal["running", "stopped", "stale"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerStatus:
    """One broker: its process as we know it, and what the cluster says about it.

    `state`: running; stopped (not started, or stopped on request); stale (it was started, and
    ended by itself). `cluster_state` is the cluster's word: up, fenced, down, or None (no answer).
    """

    id: int
    address: str
    rack: str | None
    roles: tuple[str, ...]
    state: BrokerState
    pid: int | None
    uptime_ms: int | None
    cluster_state: str | None
    is_controller: bool
    log_path: str
    data_dirs: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain data for output."""
        return {
            **asdict(self),
            "roles": list(self.roles),
            "data_dirs": list(self.data_dirs),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterStatus:
    """A cluster; `problem` says in words why it is not healthy, None when it is."""

    cluster: str
    cluster_id: str | None
    spec_path: str
    bootstrap: tuple[str, ...]
    controller_id: int
    brokers: tuple[BrokerStatus, ...]
    problem: str | None

    @property
    def healthy(self) -> bool:
        """Every broker of the file runs, is registered and unfenced, and there is a controller."""
        return self.problem is None

    def to_json(self) -> dict[str, Any]:
        """Plain data for output."""
        return {
            "cluster": self.cluster,
            "cluster_id": self.cluster_id,
            "spec": self.spec_path,
            "bootstrap": list(self.bootstrap),
            "controller_id": self.controller_id,
            "healthy": self.healthy,
            "problem": self.problem,
            "brokers": [broker.to_json() for broker in self.brokers],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class UpResult:
    """What `up` did: `changed` is False when everything was running already."""

    changed: bool
    started: tuple[int, ...]
    status: ClusterStatus
    elapsed_ms: int

    @property
    def brokers(self) -> tuple[BrokerStatus, ...]:
        """Every broker of the file, after the operation."""
        return self.status.brokers

    def to_json(self) -> dict[str, Any]:
        """Plain data for output."""
        return {
            "changed": self.changed,
            "started": list(self.started),
            "elapsed_ms": self.elapsed_ms,
            **self.status.to_json(),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class DownResult:
    """What `down` did: ids of brokers that were stopped, and of those that had to be killed."""

    changed: bool
    stopped: tuple[int, ...]
    killed: tuple[int, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain data for output."""
        return {
            "changed": self.changed,
            "stopped": list(self.stopped),
            "killed": list(self.killed),
        }


def _silent(_: Progress) -> None:
    """For callers that do not want to hear."""


class Operations:
    """Acts on the brokers of one cluster file. Safe to interrupt at any await."""

    def __init__(
        self,
        spec: ClusterSpec,
        *,
        report: Callable[[Progress], None] = _silent,
        network: Network | None = None,
        start_timeout_ms: int = START_TIMEOUT_MS,
        stop_timeout_ms: int = STOP_TIMEOUT_MS,
    ) -> None:
        self._spec = spec
        self._report = report
        self._network = network
        self._start_timeout_ms = start_timeout_ms
        self._stop_timeout_ms = stop_timeout_ms

    @property
    def spec(self) -> ClusterSpec:
        """The cluster file."""
        return self._spec

    async def up(self) -> UpResult:
        """Start what does not run; complete a cluster that runs in part; else change nothing.

        Raises LogctlError subclasses; brokers started by this call are stopped again then.
        """
        return await self._up(tuple(host.id for host in self._spec.hosts))

    async def start_broker(self, broker_id: int) -> UpResult:
        """Start one broker of the cluster and wait until the cluster has taken it in."""
        self._known(broker_id)
        return await self._up((broker_id,))

    async def down(self) -> DownResult:
        """Stop every broker: a controlled shutdown, cut short after a limit."""
        async with cluster_lock(self._spec.name):
            return await self._down()

    async def stop_broker(self, broker_id: int) -> DownResult:
        """Stop one broker by a controlled shutdown, cut short after a limit."""
        self._known(broker_id)
        async with cluster_lock(self._spec.name):
            return await self._down(only=broker_id)

    async def kill_broker(self, broker_id: int) -> bool:
        """Kill one broker at once (SIGKILL), as a crash would. False when it did not run."""
        self._known(broker_id)
        async with cluster_lock(self._spec.name):
            manifest = load_manifest(self._spec.name)
            record = manifest.brokers.get(broker_id) if manifest is not None else None
            if manifest is None or record is None:
                return False
            killed = await kill_broker(await self._connection(broker_id), record)
            save_manifest(manifest.without_process(broker_id))
            return killed

    async def status(self, *, timeout_ms: int = STATUS_TIMEOUT_MS) -> ClusterStatus:
        """What runs, and what the cluster says about it. Never fails for a sick cluster."""
        manifest = load_manifest(self._spec.name)
        cluster, silence = await self._ask(timeout_ms)
        if (
            cluster is not None
            and manifest is not None
            and (cluster.cluster_id != manifest.cluster_id)
        ):
            silence = (
                f"another cluster ({cluster.cluster_id}) answers at "
                f"{', '.join(self._spec.bootstrap)}"
            )
            cluster = None
        brokers = tuple(
            [
                await self._broker_status(broker_layout(self._spec, host), manifest, cluster)
                for host in self._spec.hosts
            ]
        )
        controller_id = cluster.controller_id if cluster is not None else -1
        return ClusterStatus(
            cluster=self._spec.name,
            cluster_id=manifest.cluster_id if manifest is not None else None,
            spec_path=self._spec.source,
            bootstrap=tuple(self._spec.bootstrap),
            controller_id=controller_id,
            brokers=brokers,
            problem=_problem(brokers, controller_id, silence),
        )

    async def destroy(self) -> list[str]:
        """Stop every broker, then remove data, logs and state. Returns the removed folders.

        A data folder is removed only when it holds our marker for this very broker; one that
        holds none is left and reported.
        """
        async with cluster_lock(self._spec.name):
            await self._down()
            removed: list[str] = []
            for host in self._spec.hosts:
                layout = broker_layout(self._spec, host)
                removed += await self._remove_data(layout, await self._connection(host.id))
            await self._remove_state()
        remove_context(self._spec.name)
        return removed

    # Starting

    async def _up(self, targets: tuple[int, ...]) -> UpResult:
        began = asyncio.get_running_loop().time()
        run = Run(
            spec=self._spec,
            engine=engine_named(self._spec.engine),
            layouts={host.id: broker_layout(self._spec, host) for host in self._spec.hosts},
            targets=targets,
            report=self._report,
            start_timeout_ms=self._start_timeout_ms,
            network=self._network,
        )
        await self._phases(run, UP[:1])  # an unreachable host is told before a lock is taken
        async with cluster_lock(self._spec.name):
            try:
                await self._phases(run, UP)
                if run.to_start:
                    await self._phases(run, CHANGE)
                else:
                    await self._phases(run, CHANGE[-1:])
            except BaseException:
                await self._roll_back(run)
                raise
        elapsed_ms = round((asyncio.get_running_loop().time() - began) * 1000)
        return UpResult(
            changed=bool(run.started),
            started=tuple(run.started),
            status=await self.status(),
            elapsed_ms=elapsed_ms,
        )

    async def _phases(self, run: Run, phases: Iterable[Phase]) -> None:
        for phase in phases:
            self._report(Progress(phase=phase.title, step="start", message=""))
            await phase.run(run)

    async def _roll_back(self, run: Run) -> None:
        if not run.started:
            return
        names = ", ".join(str(broker_id) for broker_id in run.started)
        message = f"stopping broker {names} again"
        self._report(Progress(phase="roll back", step="warning", message=message))
        records = [
            (run.connections[broker_id], run.saved().brokers[broker_id])
            for broker_id in run.started
        ]
        try:
            await stop_brokers(records, report=self._report, timeout_ms=ROLL_BACK_MS)
        finally:
            for broker_id in run.started:
                run.manifest = run.saved().without_process(broker_id)
            save_manifest(run.saved())

    # Stopping

    async def _down(self, only: int | None = None) -> DownResult:
        manifest = load_manifest(self._spec.name)
        if manifest is None:
            return DownResult(changed=False, stopped=(), killed=())
        running: list[tuple[Connection, BrokerRecord]] = []
        for broker_id, record in sorted(manifest.brokers.items()):
            if record.process is None or only not in {None, broker_id}:
                continue
            connection = await self._connection(broker_id)
            if await connection.is_alive(record.process):
                running.append((connection, record))
            manifest = manifest.without_process(broker_id)
        try:
            killed = await stop_brokers(
                running, report=self._report, timeout_ms=self._stop_timeout_ms
            )
        finally:
            save_manifest(manifest)
        return DownResult(
            changed=bool(running),
            stopped=tuple(record.id for _, record in running),
            killed=tuple(killed),
        )

    # Looking

    async def _ask(self, timeout_ms: int) -> tuple[ClusterInfo | None, str | None]:
        try:
            async with AdminClient(
                self._spec.bootstrap, timeout_ms=timeout_ms, network=self._network
            ) as client:
                return await client.cluster(), None
        except LogctlError as error:
            return None, str(error)

    async def _broker_status(
        self, layout: BrokerLayout, manifest: Manifest | None, cluster: ClusterInfo | None
    ) -> BrokerStatus:
        record = manifest.brokers.get(layout.id) if manifest is not None else None
        process = record.process if record is not None else None
        state: BrokerState = "stopped"
        uptime_ms: int | None = None
        if process is not None:
            connection = await self._connection(layout.id)
            alive = await connection.is_alive(process)
            state = "running" if alive else "stale"
            uptime_ms = await connection.uptime_ms(process) if alive else None
        told = [broker for broker in cluster.brokers if broker.id == layout.id] if cluster else []
        cluster_state = None if cluster is None else "down"
        return BrokerStatus(
            id=layout.id,
            address=layout.address,
            rack=layout.host.rack,
            roles=tuple(layout.host.roles),
            state=state,
            pid=process.pid if process is not None and state == "running" else None,
            uptime_ms=uptime_ms,
            cluster_state=told[0].state if told else cluster_state,
            is_controller=cluster is not None and cluster.controller_id == layout.id,
            log_path=layout.log_path,
            data_dirs=layout.data_dirs,
        )

    # Removing

    async def _remove_data(self, layout: BrokerLayout, connection: Connection) -> list[str]:
        removed = []
        for folder in layout.data_dirs:
            marker = await read_marker(connection, folder)
            if marker is None:
                if await connection.list_folder(folder):
                    message = f"{folder} has no marker of logctl; it is left as it is"
                    self._report(Progress(phase="destroy", step="warning", message=message))
                continue
            if marker.get("cluster") != self._spec.name or marker.get("node_id") != layout.id:
                raise HostError(
                    f"{folder} belongs to broker {marker.get('node_id')} of the cluster "
                    f"{marker.get('cluster')}; it is left as it is"
                )
            await connection.remove_folder(folder)
            removed.append(folder)
            root = os.path.dirname(folder)
            if await connection.list_folder(root) == [MARKER]:
                await connection.remove_folder(root)
                removed.append(root)
        return removed

    async def _remove_state(self) -> None:
        for host in self._spec.hosts:
            layout = broker_layout(self._spec, host)
            connection = await self._connection(host.id)
            await connection.remove_file(layout.config_path)
            await connection.remove_file(layout.log_path)
        connection = await self._connection(self._spec.hosts[0].id)
        await connection.remove_file(manifest_path(self._spec.name))

    async def _connection(self, broker_id: int) -> Connection:
        hosts = {host.id: host for host in self._spec.hosts}
        return await connect(self._spec, hosts.get(broker_id, self._spec.hosts[0]))

    def _known(self, broker_id: int) -> None:
        ids = [str(host.id) for host in self._spec.hosts]
        if str(broker_id) not in ids:
            where = self._spec.source or "the cluster file"
            raise OperationError(
                f"There is no broker {broker_id} in {where}; {hint(str(broker_id), ids)}"
            )


def _problem(
    brokers: Iterable[BrokerStatus], controller_id: int, silence: str | None
) -> str | None:
    listed = list(brokers)
    if all(broker.state == "stopped" for broker in listed):
        return "no broker runs"
    words: list[str] = []
    for broker in listed:
        if broker.state != "running":
            ended = "ended by itself" if broker.state == "stale" else "is stopped"
            words.append(f"broker {broker.id} {ended}")
        elif broker.cluster_state not in {"up", None} and "broker" in broker.roles:
            words.append(f"broker {broker.id} is {broker.cluster_state}")
    if silence is not None:
        words.append(silence)
    elif controller_id < 0:
        words.append("there is no controller")
    return "; ".join(words) or None
