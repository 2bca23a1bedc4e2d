"""Stop brokers: ask all at once, insist after a limit. Only processes that we know to be ours."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from clusters.hosts.local import LocalConnection
from clusters.hosts.machine_facts import InstalledBroker
from clusters.layout import broker_layout
from clusters.manifest import BrokerRecord, ProcessIdentity
from clusters.operation_results import DownResult
from clusters.phases.base import BrokerFacts, Node, Progress, Run
from clusters.processes import DirectProcess, ProcessView


async def stop_nodes(
    nodes: Sequence[Node], report: Callable[[Progress], None], timeout_ms: int
) -> DownResult:
    """Stop every node that runs. Returns what was stopped and what had to be killed.

    When the wait is interrupted, brokers of this machine that are left are killed before the
    interruption goes on.
    """
    stopped: list[int] = []
    killed: list[int] = []

    async def stop(node: Node) -> None:
        result = await node.driver.stop(timeout_ms)
        if not result.was_running:
            return
        stopped.append(node.id)
        message = f"broker {node.id} stopped"
        report(Progress(phase="stop", step="done", message=message, broker_id=node.id))
        if result.killed:
            killed.append(node.id)

    try:
        results = await asyncio.gather(*(stop(node) for node in nodes), return_exceptions=True)
    finally:
        stopped.sort()
        killed.sort()
    if killed:
        names = ", ".join(str(each) for each in killed)
        message = f"broker {names} did not stop in {timeout_ms / 1000:g} s and was killed"
        report(Progress(phase="stop", step="warning", message=message))
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return DownResult(changed=bool(stopped), stopped=tuple(stopped), killed=tuple(killed))


def _always(record: BrokerRecord) -> Callable[[ProcessIdentity | None], BrokerRecord]:
    return lambda _: record


def stray_nodes(run: Run) -> list[Node]:
    """Brokers of this machine that were started once and that the file no longer names."""
    manifest = run.manifest.manifest
    known = {host.id for host in run.spec.hosts}
    nodes = []
    for broker_id, record in sorted(manifest.brokers.items() if manifest else ()):
        if broker_id in known or record.process is None:
            continue
        host = run.spec.hosts[0].model_copy(update={"id": broker_id})
        connection = LocalConnection()
        node = Node(layout=broker_layout(run.spec, host), connection=connection)
        node.process = DirectProcess(
            connection, run.manifest, broker_id, record.log_path, _always(record)
        )
        node.facts = BrokerFacts(
            view=ProcessView(state="running"),
            installed=InstalledBroker(),
            owner=None,
            data_dirs_with_files=(),
        )
        nodes.append(node)
    return nodes
