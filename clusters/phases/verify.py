"""Wait until the cluster itself says that it is whole; every wait has a limit and says on what."""

from __future__ import annotations

import asyncio

from broker.protocol.errors import LogctlError
from clusters.admin.client import AdminClient
from clusters.errors import OperationError
from clusters.phases.base import Run
from clusters.phases.explain import explain, log_of
from clusters.phases.voters import lacking_majority

POLL_S = 0.05
REMOTE_POLL_S = 0.2
REQUEST_MS = 2_000
RESTARTS_MAX = 3


class Verify:
    """All targets registered and unfenced, a controller elected, as each broker sees it.

    Where too few voters run for that, `run.waits_for` is filled instead: a start by hand is the
    way out of it, one broker after the other.
    """

    title = "verify"

    async def run(self, run: Run) -> None:
        """Fill `run.controller_id`. Raises OperationError with the last thing waited for."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + run.start_timeout_ms / 1000
        watch = _Watch(run)
        told, missing = "", "nothing was asked yet"
        while True:
            await watch.all_alive()
            missing = await self._missing(run)
            if not missing:
                break
            # A part of a cluster: its start is done once it waits for those that are not up.
            if len(run.targets) < len(run.spec.hosts):
                run.waits_for = await lacking_majority(run)
                if run.waits_for:
                    return
            if missing != told:
                told = missing
                run.say(self.title, "wait", missing)
            if loop.time() >= deadline:
                logs = [await explain(run, run.nodes[each]) for each in run.started]
                raise OperationError(
                    f"The cluster {run.spec.name} did not become whole within "
                    f"{run.start_timeout_ms / 1000:g} s: {missing}.{''.join(logs)}"
                )
            await asyncio.sleep(POLL_S if run.spec.is_local else REMOTE_POLL_S)
        for broker_id in run.nodes:
            run.say(self.title, "done", "", broker_id)

    async def _missing(self, run: Run) -> str:
        addresses = {
            broker_id: node.layout.address
            for broker_id, node in run.nodes.items()
            if node.layout.is_broker
        }
        if not addresses:
            return ""
        answers = await asyncio.gather(
            *(self._view(run, address, set(addresses)) for address in addresses.values())
        )
        return next((answer for answer in answers if answer), "")

    async def _view(self, run: Run, address: str, wanted: set[int]) -> str:
        try:
            async with AdminClient([address], timeout_ms=REQUEST_MS, network=run.network) as client:
                cluster = await client.cluster()
        except LogctlError:
            return f"waiting for {address} to answer"
        if cluster.cluster_id != run.cluster_id:
            raise OperationError(
                f"{address} belongs to another cluster: its id is {cluster.cluster_id}, not "
                f"{run.cluster_id}. Choose another port in the cluster file."
            )
        up = {broker.id for broker in cluster.brokers if broker.state == "up"}
        if not wanted <= up:
            names = ", ".join(str(each) for each in sorted(wanted - up))
            return f"waiting for broker {names} to register and catch up"
        if cluster.controller_id < 0:
            return "waiting for a controller to be elected"
        run.controller_id = cluster.controller_id
        return ""


class _Watch:
    """Notices brokers that end while they are waited for."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._pids: dict[int, set[int]] = {}

    async def all_alive(self) -> None:
        """Raises OperationError for a broker that ended, or ends again and again."""
        for broker_id in self._run.started:
            node = self._run.nodes[broker_id]
            view = await node.driver.look()
            pids = self._pids.setdefault(broker_id, set())
            if view.pid is not None:
                pids.add(view.pid)
            if view.state == "running" and len(pids) <= RESTARTS_MAX:
                continue
            if node.connection.is_local:
                status = await node.driver.explain()
                how = f" with {status}" if status else ""
                raise OperationError(
                    f"Broker {broker_id} stopped at start{how}.{await log_of(self._run, node)}"
                )
            if view.state == "running" or len(pids) > RESTARTS_MAX or view.state == "stopped":
                raise OperationError(
                    f"Broker {broker_id} on {node.connection.name} does not stay up."
                    f"{await explain(self._run, node)}"
                )
