"""Start brokers that do not run, all at once; each is noted at once, so that none is ever lost."""

from __future__ import annotations

from clusters.phases.base import Node, Run, all_or_tell
from clusters.phases.configure import use_generation


class Start:
    """Starts what the plan says."""

    title = "start"

    async def run(self, run: Run) -> None:
        """Fill `run.started`. A failure leaves it filled with what was started."""
        assert run.plan is not None
        run.manifest.begin(run.cluster_id, run.spec.source, run.engine.name)
        local = [each for each in run.plan.starts if run.nodes[each].connection.is_local]
        for broker_id in local:
            await start_node(run, run.nodes[broker_id], self.title)
        others = [each for each in run.plan.starts if each not in local]

        async def start(broker_id: int) -> None:
            await start_node(run, run.nodes[broker_id], self.title)

        await all_or_tell(others, start)


async def start_node(run: Run, node: Node, phase: str, generation: str | None = None) -> None:
    """Switch one stopped broker to its planned generation, or to another one, and start it."""
    assert run.plan is not None
    layout, connection = node.layout, node.connection
    if node.found.view.state == "stale" and not connection.is_local:
        await node.driver.stop(run.stop_timeout_ms)  # it may be about to be restarted
    await use_generation(run, node, generation or run.plan.of(node.id).generation)
    run.log_positions[node.id] = await connection.file_size(layout.log_path)
    words = await node.driver.start(run.engine.command(connection.python, layout))
    run.started.append(node.id)
    run.say(phase, "done", f"broker {node.id} at {layout.address} started, {words}", node.id)
