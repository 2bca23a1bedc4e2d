"""Connect to every host of the run."""

from __future__ import annotations

from clusters.hosts import connect
from clusters.phases.base import Run


class Connect:
    """Opens a connection for each target."""

    title = "connect"

    async def run(self, run: Run) -> None:
        """Fill `run.connections`."""
        for broker_id in run.targets:
            if broker_id not in run.connections:
                run.connections[broker_id] = await connect(run.spec, run.layouts[broker_id].host)
