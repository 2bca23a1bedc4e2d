"""Decide what is to be done, from facts alone."""

from __future__ import annotations

from clusters.phases.base import Progress, Run


class Plan:
    """Which brokers to start: all targets that do not run."""

    title = "plan"

    async def run(self, run: Run) -> None:
        """Fill `run.to_start`."""
        run.to_start = tuple(
            broker_id for broker_id in run.targets if not run.facts[broker_id].running
        )
        if run.to_start and len(run.to_start) < len(run.targets):
            running = [str(each) for each in run.targets if each not in run.to_start]
            message = f"already running: {', '.join(running)}"
            run.report(Progress(phase=self.title, step="done", message=message))
