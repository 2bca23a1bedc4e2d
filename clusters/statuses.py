"""What runs on the hosts, beside what the cluster itself says. Never fails for a sick cluster."""

from __future__ import annotations

import contextlib

from broker.protocol.errors import LogctlError
from clusters.admin.client import AdminClient
from clusters.admin.model import ClusterInfo
from clusters.errors import HostError
from clusters.layout import broker_layout
from clusters.log_dirs import LogDirStatus, status_of
from clusters.operation_results import BrokerStatus, ClusterStatus, problem_of
from clusters.phases.base import Run
from clusters.phases.facts import gather_facts
from clusters.processes import ProcessView


async def cluster_status(run: Run, timeout_ms: int) -> ClusterStatus:
    """The status of every broker of the file; hosts that could not be reached say so."""
    spec, manifest = run.spec, run.manifest.manifest
    for nodes in run.machines():
        try:
            await gather_facts(run, nodes)
        except HostError as error:
            for node in nodes:
                run.unreachable[node.id] = str(error)
    cluster, dirs, silence = await _ask(run, timeout_ms)
    if cluster is not None and manifest is not None and cluster.cluster_id != manifest.cluster_id:
        silence = f"another cluster ({cluster.cluster_id}) answers at {', '.join(spec.bootstrap)}"
        cluster, dirs = None, {}
    brokers = tuple(
        _broker_status(run, host.id, cluster, dirs.get(host.id, ())) for host in spec.hosts
    )
    controller_id = cluster.controller_id if cluster is not None else -1
    return ClusterStatus(
        cluster=spec.name,
        cluster_id=manifest.cluster_id if manifest is not None else None,
        spec_path=spec.source,
        bootstrap=tuple(spec.bootstrap),
        controller_id=controller_id,
        brokers=brokers,
        problem=problem_of(brokers, controller_id, silence),
    )


async def _ask(
    run: Run, timeout_ms: int
) -> tuple[ClusterInfo | None, dict[int, tuple[LogDirStatus, ...]], str | None]:
    dirs: dict[int, tuple[LogDirStatus, ...]] = {}
    try:
        async with AdminClient(
            run.spec.bootstrap, timeout_ms=timeout_ms, network=run.network
        ) as client:
            cluster = await client.cluster()
            # A broker that does not answer this has its own line already, or none of our rights.
            with contextlib.suppress(LogctlError):
                for each in (await client.log_dirs()).items:
                    dirs[each.broker] = (*dirs.get(each.broker, ()), status_of(each))
            return cluster, dirs, None
    except LogctlError as error:
        return None, dirs, str(error)


def _broker_status(
    run: Run,
    broker_id: int,
    cluster: ClusterInfo | None,
    log_dirs: tuple[LogDirStatus, ...],
) -> BrokerStatus:
    host = run.spec.host(broker_id)
    node = run.nodes.get(broker_id)
    layout = node.layout if node is not None else broker_layout(run.spec, host)
    view = ProcessView(state="unreachable", detail=run.unreachable.get(broker_id, ""))
    facts = node.facts if node is not None else None
    if facts is not None and broker_id not in run.unreachable:
        view = facts.view
    told = [broker for broker in cluster.brokers if broker.id == broker_id] if cluster else []
    cluster_state = None if cluster is None else "down"
    return BrokerStatus(
        id=broker_id,
        address=layout.address,
        rack=host.rack,
        roles=tuple(host.roles),
        state=view.state,
        pid=view.pid,
        uptime_ms=view.uptime_ms,
        cluster_state=told[0].state if told else cluster_state,
        is_controller=cluster is not None and cluster.controller_id == broker_id,
        log_path=layout.log_path,
        data_dirs=layout.data_dirs,
        host=host.address,
        supervisor=node.process.kind if node is not None and node.process is not None else None,
        release=facts.installed.release if facts is not None else None,
        generation=facts.installed.generation if facts is not None else None,
        detail=view.detail,
        log_dirs=log_dirs,
    )
