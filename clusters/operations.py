"""Operations on the brokers of a cluster file, wherever they run: the one way for all of them.

Each operation connects, takes the locks, looks, and only then acts. Never signals a process that
is not known to be ours, never removes a folder without our marker. Brokers of this machine that a
failing or interrupted run started are stopped again; on other machines what was begun stays, and
running again completes it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import replace

from broker.protocol.errors import LogctlError
from broker.protocol.network import Network
from clusters import audit
from clusters.engines import engine_named
from clusters.errors import Interrupted, OperationError, Problem, SpecError
from clusters.hosts.connect import Connector
from clusters.hosts.local import LocalConnection
from clusters.hosts.secrets import Secrets
from clusters.hosts.tunnel import TunnelNetwork
from clusters.lock import LostLock, cluster_lock, host_lock
from clusters.manifest import ManifestFile
from clusters.nearest import hint
from clusters.operation_results import (
    BrokerStatus,
    ClusterStatus,
    Destroyed,
    DownResult,
    UpResult,
)
from clusters.phases import CHANGE, LOOK, Connect, Phase, Progress, Record, Run
from clusters.phases.base import Node
from clusters.phases.gate import gate_stop
from clusters.phases.host_checks import CheckResult
from clusters.phases.leaving import Leave
from clusters.phases.plan_model import Plan
from clusters.phases.roll import Roll, controller_last
from clusters.phases.start import Start
from clusters.phases.verify import Verify
from clusters.phases.voters import lacking_majority
from clusters.plans import restart_plan, rollback_plan, starts_only
from clusters.removal import destroy_cluster
from clusters.spec import ClusterSpec, load_spec
from clusters.statuses import cluster_status
from clusters.stopping import stop_nodes, stray_nodes

__all__ = [
    "BrokerStatus",
    "CheckResult",
    "ClusterStatus",
    "DownResult",
    "Operations",
    "Plan",
    "Problem",
    "Progress",
    "SpecError",
    "UpResult",
    "load_spec",
]

START_TIMEOUT_MS = 30_000
REMOTE_START_TIMEOUT_MS = 90_000
STOP_TIMEOUT_MS = 15_000
ROLL_BACK_MS = 3_000
STATUS_TIMEOUT_MS = 2_000

Confirm = Callable[[Plan], Awaitable[None]]


def _silent(_: Progress) -> None:
    """For callers that do not want to hear."""


async def _agreed(_: Plan) -> None:
    """For callers that need not ask."""


class Operations:
    """Acts on the brokers of one cluster file. Safe to interrupt at any await."""

    def __init__(
        self,
        spec: ClusterSpec,
        *,
        report: Callable[[Progress], None] = _silent,
        network: Network | None = None,
        secrets: Secrets | None = None,
        start_timeout_ms: int | None = None,
        stop_timeout_ms: int | None = None,
    ) -> None:
        self._spec = spec
        self._report = report
        self._network = network
        self._secrets = secrets or Secrets()
        self._began = 0.0
        local = spec.is_local
        self._start_timeout_ms = start_timeout_ms or (
            START_TIMEOUT_MS if local else REMOTE_START_TIMEOUT_MS
        )
        self._stop_timeout_ms = stop_timeout_ms or (
            STOP_TIMEOUT_MS if local else spec.run.stop_timeout
        )

    @property
    def spec(self) -> ClusterSpec:
        """The cluster file."""
        return self._spec

    # Up, and everything that goes its way

    async def up(
        self, *, confirm: Confirm = _agreed, force: bool = False, auto_rollback: bool = False
    ) -> UpResult:
        """Make the cluster what the file says: install, configure, upgrade, repair; else nothing.

        `confirm` is shown the plan when it changes something, and raises to refuse. Raises
        LogctlError subclasses.
        """
        return await self._up(
            self._ids(), "up", confirm=confirm, force=force, auto_rollback=auto_rollback
        )

    async def plan(self) -> Plan:
        """What `up` would do. Changes nothing."""
        async with self._run(self._ids(), lock=None) as run:
            run.takes_out = True
            await self._ship_list(run)
            await self._phases(run, LOOK)
            return await self._ordered(run, run.plan)

    async def plan_restart(self, ids: Sequence[int] | None = None) -> Plan:
        """What `restart` would do. Changes nothing."""
        for broker_id in ids or ():
            self._known(broker_id)
        return await self._planned(tuple(ids or self._ids()), restart_plan)

    async def plan_rollback(self) -> Plan:
        """What `rollback` would do. Changes nothing."""
        return await self._planned(self._ids(), rollback_plan)

    async def _planned(self, targets: tuple[int, ...], make: Callable[[Run], Plan]) -> Plan:
        async with self._run(targets, lock=None) as run:
            await self._note_others(run)
            await self._phases(run, LOOK)
            return await self._ordered(run, make(run))

    async def start_broker(self, broker_id: int) -> UpResult:
        """Start one broker of the cluster and wait until the cluster has taken it in.

        Where too few voters run for that, it waits for them there; `waits_for` of the result
        says for which.
        """
        self._known(broker_id)
        return await self._up((broker_id,), f"broker start {broker_id}", only_starts=True)

    async def plan_start(self, broker_id: int) -> tuple[Plan, str]:
        """What `start_broker` would do, and which voters it would wait for; "" for none.

        Changes nothing. Raises LogctlError subclasses for what the start would be refused for.
        """
        self._known(broker_id)
        async with self._run((broker_id,), lock=None) as run:
            await self._note_others(run)
            await self._phases(run, LOOK)
            assert run.plan is not None
            run.others_run[broker_id] = True
            return starts_only(run.plan), await lacking_majority(run)

    async def restart(
        self,
        ids: Sequence[int] | None = None,
        *,
        confirm: Confirm = _agreed,
        force: bool = False,
    ) -> UpResult:
        """Restart brokers one at a time with what they have; those that are down are started."""
        for broker_id in ids or ():
            self._known(broker_id)
        return await self._again("restart", restart_plan, tuple(ids or self._ids()), confirm, force)

    async def rollback(self, *, confirm: Confirm = _agreed, force: bool = False) -> UpResult:
        """Roll every broker back to the release and settings that it had before the last change."""
        return await self._again("rollback", rollback_plan, self._ids(), confirm, force)

    async def _up(
        self,
        targets: tuple[int, ...],
        command: str,
        *,
        confirm: Confirm = _agreed,
        force: bool = False,
        auto_rollback: bool = False,
        only_starts: bool = False,
    ) -> UpResult:
        async with self._run(targets, lock=command) as run, self._audited(run, command):
            run.force, run.auto_rollback = force, auto_rollback
            run.takes_out = not only_starts
            await self._ship_list(run)
            await self._note_others(run)
            try:
                await self._phases(run, LOOK)
                assert run.plan is not None
                if only_starts:
                    run.plan = starts_only(run.plan)
                run.plan = await self._ordered(run, run.plan)
                if run.plan.changes:
                    await confirm(run.plan)
                    await self._phases(run, _needed(run.plan))
                else:
                    await self._phases(run, (Record(),))
            except BaseException:
                await self._roll_back(run)
                raise
            return await self._result(run)

    async def _again(
        self,
        command: str,
        make: Callable[[Run], Plan],
        targets: tuple[int, ...],
        confirm: Confirm,
        force: bool,
    ) -> UpResult:
        async with self._run(targets, lock=command) as run, self._audited(run, command):
            run.force = force
            await self._note_others(run)
            await self._phases(run, LOOK)
            run.plan = await self._ordered(run, make(run))
            if run.plan.changes:
                await confirm(run.plan)
                phases = (Start(), Verify(), Roll(), Record())
                await self._phases(run, phases if run.plan.starts else phases[2:])
            return await self._result(run)

    async def _ordered(self, run: Run, plan: Plan | None) -> Plan:
        """The plan with its restarts as they will be done, as far as can be told before."""
        assert plan is not None
        return replace(plan, restarts=tuple(await controller_last(run, plan.restarts)))

    async def _ship_list(self, run: Run) -> None:
        if not self._spec.is_local:
            run.release = await run.engine.release(
                self._spec, lambda text: run.say("bundle", "wait", text)
            )

    async def _note_others(self, run: Run) -> None:
        """Which brokers of this machine run beside the targets: they count for the quorum."""
        for host in self._spec.hosts:
            if host.is_local and host.id not in run.targets:
                record = run.manifest.record(host.id)
                process = record.process if record is not None else None
                alive = process is not None and await LocalConnection().is_alive(process)
                run.others_run[host.id] = alive

    async def _result(self, run: Run) -> UpResult:
        return UpResult(
            changed=bool(run.started) or (run.plan is not None and run.plan.changes),
            started=tuple(each for each in run.started if each not in run.rolled),
            restarted=tuple(run.rolled),
            left=tuple(run.left),
            status=await self._status_of(run, STATUS_TIMEOUT_MS),
            elapsed_ms=self._elapsed_ms(),
            plan=run.plan,
            waits_for=run.waits_for,
        )

    async def _roll_back(self, run: Run) -> None:
        """Stop again what this run started on this machine: nobody else looks after it."""
        nodes = [
            run.nodes[each]
            for each in run.started
            if each not in run.rolled and run.nodes[each].connection.is_local
        ]
        if not nodes or (run.plan is not None and run.plan.restarts):
            return
        names = ", ".join(str(node.id) for node in nodes)
        run.say("roll back", "warning", f"stopping broker {names} again")
        await stop_nodes(nodes, self._report, ROLL_BACK_MS)

    # Down

    async def down(self) -> DownResult:
        """Stop every broker: a controlled shutdown, cut short after a limit."""
        return await self._down(self._ids(), "down")

    async def stop_broker(self, broker_id: int, *, force: bool = False) -> DownResult:
        """Stop one broker by a controlled shutdown, cut short after a limit.

        Raises GateClosed where that would interrupt partitions or the quorum on other machines.
        """
        self._known(broker_id)
        return await self._down((broker_id,), f"broker stop {broker_id}", force=force)

    async def kill_broker(self, broker_id: int) -> bool:
        """Kill one broker at once (SIGKILL), as a crash would. False when it did not run."""
        self._known(broker_id)
        command = f"broker kill {broker_id}"
        async with self._run((broker_id,), lock=command) as run, self._audited(run, command):
            await self._phases(run, LOOK[:1])
            run.started.append(broker_id)
            return await run.nodes[broker_id].driver.kill()

    async def _down(
        self, targets: tuple[int, ...], command: str, *, force: bool = True
    ) -> DownResult:
        every = len(targets) == len(self._spec.hosts)
        async with (
            self._run(targets, lock=command, partial=every) as run,
            self._audited(run, command),
        ):
            await self._phases(run, LOOK[:1])
            nodes = list(run.nodes.values())
            if not every and not force:
                await gate_stop(run, nodes[0])
            if every:
                nodes += stray_nodes(run)
            result = await stop_nodes(nodes, self._report, self._stop_timeout_ms)
            run.started += result.stopped
            if run.unreachable:
                told = "\n".join(dict.fromkeys(run.unreachable.values()))
                raise OperationError(f"Not every broker was stopped.\n{told}")
            return result

    # Looking

    async def status(self, *, timeout_ms: int = STATUS_TIMEOUT_MS) -> ClusterStatus:
        """What runs, and what the cluster says about it. Never fails for a sick cluster."""
        async with self._run(self._ids(), lock=None, partial=True) as run:
            return await self._status_of(run, timeout_ms)

    async def _status_of(self, run: Run, timeout_ms: int) -> ClusterStatus:
        if len(run.targets) == len(self._spec.hosts):
            return await cluster_status(run, timeout_ms)
        async with self._run(self._ids(), lock=None, partial=True) as whole:
            return await cluster_status(whole, timeout_ms)

    async def check(self) -> list[CheckResult]:
        """Whether the hosts are fit to run the cluster. Changes nothing."""
        from clusters.checking import check_cluster

        async with self._run(self._ids(), lock=None, partial=True) as run:
            return await check_cluster(run)

    async def fix(self, confirm: Callable[[str, str], Awaitable[None]]) -> list[str]:
        """Write what `check` would have written; `confirm(host, text)` is shown it first."""
        from clusters.checking import fix_hosts

        command = "check --fix"
        async with self._run(self._ids(), lock=command) as run, self._audited(run, command):
            await self._phases(run, LOOK[:1])
            return await fix_hosts(run, confirm)

    @contextlib.asynccontextmanager
    async def reach(self, ids: Sequence[int] | None = None) -> AsyncIterator[dict[int, Node]]:
        """The hosts of brokers, connected for the time of a block, without a lock."""
        for broker_id in ids or ():
            self._known(broker_id)
        async with self._run(tuple(ids or self._ids()), lock=None) as run:
            yield run.nodes

    # Removing

    async def destroy(self, *, data: bool = True) -> Destroyed:
        """Stop every broker, then remove what logctl made; data and logs only when asked for.

        A data folder is removed only when it holds our marker for this very broker; one that
        holds none is left and reported.
        """
        async with self._run(self._ids(), lock="destroy") as run, self._audited(run, "destroy"):
            await self._phases(run, LOOK[:1])
            nodes = [*run.nodes.values(), *stray_nodes(run)]
            await stop_nodes(nodes, self._report, self._stop_timeout_ms)
            run.started += list(run.nodes)
            return await destroy_cluster(run, data=data)

    # The frame of every operation

    def _ids(self) -> tuple[int, ...]:
        return tuple(host.id for host in self._spec.hosts)

    @contextlib.asynccontextmanager
    async def _run(
        self, targets: tuple[int, ...], *, lock: str | None, partial: bool = False
    ) -> AsyncIterator[Run]:
        """A run with connections, and with the locks when `lock` names what they are for."""
        if lock is not None:
            # Not by a look at the whole cluster within a change.
            self._began = asyncio.get_running_loop().time()
        engine = engine_named(self._spec.engine)
        connector = Connector(self._spec, self._secrets)
        network = self._network
        tunnel: TunnelNetwork | None = None
        if network is None and any(self._spec.ssh_of(host).jump for host in self._spec.hosts):
            network = tunnel = TunnelNetwork()
        run = Run(
            spec=self._spec,
            engine=engine,
            connector=connector,
            manifest=ManifestFile(self._spec.name),
            targets=targets,
            report=self._report,
            start_timeout_ms=self._start_timeout_ms,
            stop_timeout_ms=self._stop_timeout_ms,
            network=network,
        )
        try:
            async with LostLock() as lost, contextlib.AsyncExitStack() as locks:
                try:
                    self._say_start(Connect.title)
                    await Connect().run(run, partial=partial)
                    if tunnel is not None:
                        tunnel.ways = [node.connection for node in run.nodes.values()]
                    if lock is not None:
                        await self._take_locks(run, locks, lock, lost)
                except LogctlError as error:
                    self._note_failure(lock, error)
                    raise
                yield run
        finally:
            if tunnel is not None:
                tunnel.close()
            await connector.close()

    def _note_failure(self, command: str | None, error: LogctlError) -> None:
        """Record a run that did not get as far as looking at brokers."""
        if command is not None:
            entry = audit.new_entry(
                command,
                "failed",
                brokers=(),
                elapsed_ms=self._elapsed_ms(),
                spec=self._spec.source,
                detail=str(error),
            )
            audit.append(self._spec.name, entry)

    async def _take_locks(
        self,
        run: Run,
        locks: contextlib.AsyncExitStack,
        command: str,
        on_lost: Callable[[str], None],
    ) -> None:
        await locks.enter_async_context(cluster_lock(self._spec.name, command=command))
        run.manifest = ManifestFile(self._spec.name)  # as the holder before us left it
        for nodes in run.machines():
            connection = nodes[0].connection
            if not connection.is_local:
                held = host_lock(connection, self._spec.name, command, on_lost)
                await locks.enter_async_context(held)

    @contextlib.asynccontextmanager
    async def _audited(self, run: Run, command: str) -> AsyncIterator[None]:
        outcome, detail = "failed", ""
        try:
            yield
            acted = (
                run.started or run.rolled or run.left or (run.plan is not None and run.plan.changes)
            )
            outcome = "done" if acted else "unchanged"
        except (Interrupted, asyncio.CancelledError) as error:
            outcome, detail = "interrupted", str(error)
            raise
        except LogctlError as error:
            detail = str(error)
            raise
        except Exception:
            # Raised by whoever was asked: the plan was not agreed to.
            outcome = "refused" if run.plan is not None and not run.started else outcome
            raise
        finally:
            entry = audit.new_entry(
                command,
                outcome,
                brokers=tuple(sorted({*run.started, *run.rolled, *run.left})),
                elapsed_ms=self._elapsed_ms(),
                spec=self._spec.source,
                detail=detail,
            )
            audit.append(self._spec.name, entry)
            if outcome not in {"unchanged", "refused"}:
                for nodes in run.machines():
                    if not nodes[0].connection.is_local:
                        path = nodes[0].layout.audit_path
                        await audit.append_on_host(nodes[0].connection, path, entry)

    async def _phases(self, run: Run, phases: Iterable[Phase]) -> None:
        for phase in phases:
            self._say_start(phase.title)
            try:
                await phase.run(run)
            except asyncio.CancelledError:
                if phase in CHANGE and phase.title != Roll.title and not self._spec.is_local:
                    again = "what was done stays, and the same command goes on from there"
                    run.say(phase.title, "warning", f"interrupted: {again}")
                raise

    def _say_start(self, title: str) -> None:
        self._report(Progress(phase=title, step="start", message=""))

    def _elapsed_ms(self) -> int:
        return round((asyncio.get_running_loop().time() - self._began) * 1000)

    def _known(self, broker_id: int) -> None:
        ids = [str(each) for each in self._ids()]
        if str(broker_id) not in ids:
            where = self._spec.source or "the cluster file"
            raise OperationError(
                f"There is no broker {broker_id} in {where}; {hint(str(broker_id), ids)}"
            )


def _needed(plan: Plan) -> list[Phase]:
    """The phases of a change; a roll alone needs no starts, starts alone no roll."""
    left_out: set[str] = set() if plan.restarts else {Roll.title}
    if not plan.leaves:
        left_out.add(Leave.title)
    return [phase for phase in CHANGE if phase.title not in left_out]
