"""Restart brokers one at a time, the controller last, with a gate before and after each.

Stops at the first failure and says what is left. An interruption lets the broker at hand be
finished first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

from broker.protocol.errors import LogctlError
from clusters.admin.client import AdminClient
from clusters.errors import GateClosed, Interrupted, OperationError
from clusters.phases.base import Node, Run
from clusters.phases.explain import explain
from clusters.phases.gate import gate_after, gate_before, gate_roll
from clusters.phases.leaving import lead_elsewhere
from clusters.phases.start import start_node

REQUEST_MS = 3_000


class Roll:
    """Restarts what the plan says."""

    title = "roll"

    async def run(self, run: Run) -> None:
        """Fill `run.rolled`. Raises OperationError at the first failure."""
        assert run.plan is not None
        await lead_elsewhere(run)
        order = await controller_last(run, run.plan.restarts)
        await gate_roll(run, order)
        for position, broker_id in enumerate(order):
            step = self._restart(run, run.nodes[broker_id], order[position:])
            await finish_first(run, step, broker_id, order[position + 1 :])

    async def _restart(self, run: Run, node: Node, left: Sequence[int]) -> None:
        assert run.plan is not None
        before = node.found.installed.generation
        reasons = "; ".join(run.plan.of(node.id).reasons) or "asked for"
        run.say(self.title, "start", f"restarting broker {node.id}: {reasons}", node.id)
        await lead_elsewhere(run)
        await gate_before(run, node, self.title)
        try:
            await restart_node(run, node, self.title)
            await gate_after(run, node, self.title)
        except GateClosed:
            raise
        except LogctlError as error:
            raise await self._failed(run, node, before, left, error) from None
        run.rolled.append(node.id)
        run.say(self.title, "done", f"broker {node.id} is back and in sync", node.id)

    async def _failed(
        self, run: Run, node: Node, before: str | None, left: Sequence[int], error: LogctlError
    ) -> OperationError:
        run.say(self.title, "failed", str(error), node.id)
        others = ", ".join(str(each) for each in left[1:])
        text = f"{str(error).rstrip('.')}.{await explain(run, node)}"
        if others:
            text += f"\n  Not touched: broker {others}."
        if not run.auto_rollback or before is None:
            return OperationError(
                f"{text}\n  Correct the cause and run the same command again, or go back with "
                f"`logctl cluster rollback {run.spec.source}`."
            )
        try:
            await restart_node(run, node, self.title, generation=before)
            await gate_after(run, node, self.title)
        except LogctlError as second:
            return OperationError(f"{text}\n  Going back to {before} failed, too: {second}")
        return OperationError(
            f"{text}\n  Broker {node.id} was put back to {before} and is in sync."
        )


async def restart_node(run: Run, node: Node, phase: str, *, generation: str | None = None) -> None:
    """Stop one broker, switch it to its planned generation or another one, and start it."""
    stopped = await node.driver.stop(run.stop_timeout_ms)
    if stopped.killed:
        seconds = run.stop_timeout_ms / 1000
        run.say(phase, "warning", f"it did not stop in {seconds:g} s and was killed", node.id)
    await start_node(run, node, phase, generation)


async def controller_last(run: Run, ids: Sequence[int]) -> list[int]:
    """The order of a roll; when nobody tells who is the controller, the file's order."""
    if len(ids) < 2:
        return list(ids)
    try:
        async with AdminClient(
            run.spec.bootstrap, timeout_ms=REQUEST_MS, network=run.network
        ) as admin:
            controller_id = (await admin.cluster()).controller_id
    except LogctlError:
        controller_id = -1
    return sorted(ids, key=lambda each: each == controller_id)


async def finish_first(
    run: Run, step: Coroutine[Any, Any, None], broker_id: int, left: Sequence[int]
) -> None:
    """Await a step; when interrupted, let it end before the interruption goes on."""
    task = asyncio.ensure_future(step)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        if task.done():
            raise
        run.say(
            Roll.title,
            "warning",
            f"interrupted: broker {broker_id} is finished first; interrupt again to give up",
            broker_id,
        )
        names = ", ".join(str(each) for each in left)
        try:
            await task
        except asyncio.CancelledError:
            rest = ", ".join(str(each) for each in (broker_id, *left))
            run.say(
                Roll.title,
                "warning",
                f"given up in the middle of broker {broker_id}, which may be down. Left: "
                f"{rest}; run the same command again.",
                broker_id,
            )
            raise
        rest = f"Left to restart: {names}; run the same command again." if left else "All is done."
        raise Interrupted(f"Interrupted after broker {broker_id}. {rest}") from None
