"""Wait until the cluster itself says that it is whole; every wait has a limit and says on what."""

from __future__ import annotations

import asyncio

from broker.protocol.errors import LogctlError
from clusters.admin.client import AdminClient
from clusters.errors import OperationError
from clusters.phases.base import Progress, Run

POLL_S = 0.05
REQUEST_MS = 2_000
LOG_LINES = 12
LOG_BYTES = 16 << 10


class Verify:
    """All targets registered and unfenced, a controller elected, as each broker sees it."""

    title = "verify"

    async def run(self, run: Run) -> None:
        """Fill `run.controller_id`. Raises OperationError with the last thing waited for."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + run.start_timeout_ms / 1000
        told, missing = "", "nothing was asked yet"
        while True:
            await self._all_alive(run)
            missing = await self._missing(run)
            if not missing:
                return
            if missing != told:
                told = missing
                run.report(Progress(phase=self.title, step="wait", message=missing))
            if loop.time() >= deadline:
                raise OperationError(
                    f"The cluster {run.spec.name} did not become whole within "
                    f"{run.start_timeout_ms / 1000:g} s: {missing}.{await self._logs(run)}"
                )
            await asyncio.sleep(POLL_S)

    async def _all_alive(self, run: Run) -> None:
        for broker_id in run.started:
            record = run.saved().brokers[broker_id]
            connection = run.connections[broker_id]
            if record.process is None or await connection.is_alive(record.process):
                continue
            status = await connection.exit_status(record.process)
            how = "" if status is None else f" with exit status {status}"
            raise OperationError(
                f"Broker {broker_id} stopped at start{how}.{await self._log_of(run, broker_id)}"
            )

    async def _missing(self, run: Run) -> str:
        addresses = {
            broker_id: run.layouts[broker_id].address
            for broker_id in run.targets
            if run.layouts[broker_id].is_broker
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

    async def _logs(self, run: Run) -> str:
        return "".join([await self._log_of(run, broker_id) for broker_id in run.started])

    async def _log_of(self, run: Run, broker_id: int) -> str:
        layout = run.layouts[broker_id]
        output = await run.connections[broker_id].read_from(
            layout.log_path, run.log_positions.get(broker_id, 0), LOG_BYTES
        )
        lines = run.engine.log_lines(output.decode("utf-8", "replace"))[-LOG_LINES:]
        if not lines:
            return f" It wrote nothing to {layout.log_path}."
        shown = "\n".join(f"    {line[:300]}" for line in lines)
        return f"\n  Last lines of {layout.log_path}:\n{shown}"
