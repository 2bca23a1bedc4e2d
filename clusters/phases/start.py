"""Start brokers, and note each one at once, so that none is ever lost."""

from __future__ import annotations

from dataclasses import replace

from clusters.manifest import BrokerRecord, save_manifest
from clusters.phases.base import Progress, Run
from clusters.phases.checks import config_digest


class Start:
    """Starts `run.to_start` and writes the manifest after each."""

    title = "start"

    async def run(self, run: Run) -> None:
        """Fill `run.started`. A failure leaves it filled with what was started."""
        run.manifest = replace(
            run.saved(),
            cluster_id=run.cluster_id,
            spec_path=run.spec.source,
            engine=run.engine.name,
        )
        save_manifest(run.manifest)  # fails before anything runs, not after
        for broker_id in run.to_start:
            await self._start(run, broker_id)

    async def _start(self, run: Run, broker_id: int) -> None:
        layout, connection = run.layouts[broker_id], run.connections[broker_id]
        run.log_positions[broker_id] = await connection.file_size(layout.log_path)
        text = run.engine.configuration(run.spec, layout, run.cluster_id)
        record = BrokerRecord(
            id=broker_id,
            address=layout.address,
            process=None,
            config_path=layout.config_path,
            config_digest=config_digest(text),
            log_path=layout.log_path,
            data_dirs=layout.data_dirs,
        )
        process = await connection.start_process(
            run.engine.command(connection.python, layout), log_path=layout.log_path, environment={}
        )
        run.manifest = run.saved().with_broker(replace(record, process=process))
        run.started.append(broker_id)
        save_manifest(run.manifest)
        message = f"broker {broker_id} at {layout.address} started, pid {process.pid}"
        run.report(Progress(phase=self.title, step="done", message=message, broker_id=broker_id))
